//! `up -d`: starts a node that goes on without this terminal.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::Up;
use crate::failure::{CliError, Failure, print};
use crate::show::{Paint, clean, plan};

/// The node's own log, in its state directory.
pub(in crate::command) const LOG: &str = "node.log";

/// The log is moved aside to `node.log.1` before a start when it is larger than this, in bytes.
const MOST_LOG: u64 = 4 << 20;

/// How long a node may take until its socket answers.
const COME_UP: Duration = Duration::from_secs(15);

/// Time between two looks at the socket.
const LOOK: Duration = Duration::from_millis(2);

/// Of a log that explains a failure, at most this much is shown, in bytes.
const MOST_SHOWN: u64 = 8 << 10;

/// Starts the node, applies the app, says where it is.
pub(super) async fn run(up: Up) -> Result<u8, Failure> {
    let state_dir = up.client.state_dir().to_owned();
    let log_path = state_dir.join(LOG);
    let (log, log_start) =
        open_log(&log_path).map_err(|source| CliError::State { path: log_path.clone(), source })?;
    let mut child = spawn(&state_dir, up.loaded.app.name.as_str(), &up.loaded.project_dir, log)
        .map_err(|source| CliError::Machine { what: "start the node", source })?;
    come_up(&up, &mut child, &log_path, log_start).await?;
    let done = match up.client.apply(&up.apply).await {
        Ok(done) => done,
        Err(refused) => {
            // It was started for this alone, unless it has found what a killed node had left running.
            if up.client.status().await.is_ok_and(|status| status.services.is_empty()) {
                let _ = up.client.stop(&api::Stop::default()).await;
            }
            return Err(refused.into());
        }
    };
    print(&(plan::summary(&done) + "\n"))?;
    up.wait_or_leave(&done).await
}

/// The log to append to, and how long it is now.
pub(in crate::command) fn open_log(path: &Path) -> io::Result<(File, u64)> {
    if std::fs::metadata(path).is_ok_and(|meta| meta.len() > MOST_LOG) {
        std::fs::rename(path, path.with_extension("log.1"))?;
    }
    let log = OpenOptions::new().create(true).append(true).open(path)?;
    let length = log.metadata()?.len();
    Ok((log, length))
}

/// The node makes itself a session of its own first thing, see [`super::node_process`].
fn spawn(state_dir: &Path, app: &str, project_dir: &Path, log: File) -> io::Result<Child> {
    Command::new(std::env::current_exe()?)
        .arg(super::NODE)
        .arg("--state-dir")
        .arg(state_dir)
        .arg("--app")
        .arg(app)
        .current_dir(project_dir)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
}

async fn come_up(up: &Up, child: &mut Child, log: &Path, log_start: u64) -> Result<(), Failure> {
    let give_up = Instant::now() + COME_UP;
    loop {
        if up.client.node().await.is_ok() {
            return Ok(());
        }
        let ended =
            child.try_wait().map_err(|source| CliError::Machine { what: "watch the node", source })?;
        let how = match ended {
            Some(status) => status.to_string(),
            None if Instant::now() < give_up => {
                tokio::time::sleep(LOOK).await;
                continue;
            }
            None => {
                let _ = child.kill();
                let _ = child.wait();
                format!("no answer within {}", crate::show::time::span(COME_UP))
            }
        };
        return Err(died(how, log.to_owned(), log_start));
    }
}

/// What the node said itself is better than anything that can be said about it.
pub(in crate::command) fn died(how: String, log: PathBuf, log_start: u64) -> Failure {
    let said = read_from(&log, log_start).unwrap_or_default();
    let said: Vec<String> = said.lines().map(|line| clean::line(line, false)).collect();
    if said.iter().any(|line| line.starts_with("error[")) {
        return Failure::rendered(said.join("\n") + "\n", 1);
    }
    for line in &said {
        crate::failure::remark(&Paint::stderr().dim(line));
    }
    CliError::NodeDied { how, log }.into()
}

fn read_from(path: &Path, start: u64) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(start.max(length.saturating_sub(MOST_SHOWN))))?;
    let mut bytes = Vec::new();
    file.take(MOST_SHOWN).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_last_start_said_is_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(LOG);
        std::fs::write(&path, "old\nnew\n").unwrap();
        assert_eq!(read_from(&path, 4).unwrap(), "new\n");
    }

    #[test]
    fn a_log_that_grew_too_long_is_moved_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(LOG);
        File::create(&path).unwrap().set_len(MOST_LOG + 1).unwrap();
        let (_, length) = open_log(&path).unwrap();
        assert_eq!(length, 0);
        assert!(dir.path().join("node.log.1").exists());
    }
}
