//! PostgreSQL with a cluster of its own. It refuses to run as root: then the user of the distribution's
//! package runs it, or `nobody`.

use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;

use anyhow::{Context, ensure};

use super::Peer;
use crate::atoll::free_port;
use crate::bench::gateway::child::Process;
use crate::bench::gateway::machine::{self, Tree};
use crate::bench::queues::client::Endpoint;
use crate::bench::queues::system::{Guard, System, explain, logged};

/// Where distributions have its programs, a folder for each version.
const VERSIONS: &str = "/usr/lib/postgresql";

/// A program of the newest version that is installed.
pub(super) fn program(name: &str) -> Option<PathBuf> {
    let versions = std::fs::read_dir(VERSIONS).into_iter().flatten().flatten();
    let mut found: Vec<_> = versions
        .filter_map(|version| {
            let number = version.file_name().to_str()?.parse::<u32>().ok()?;
            Some((number, version.path().join("bin").join(name)))
        })
        .filter(|(_, program)| program.is_file())
        .collect();
    found.sort();
    found.pop().map(|(_, program)| program).or_else(|| machine::find(name))
}

pub(super) fn start(folder: &Path, slow: Option<&Path>) -> anyhow::Result<Vec<System>> {
    let (server, initdb) = (Peer::Postgres.program().context("postgres is gone")?, program("initdb"));
    let initdb = initdb.context("initdb is not beside postgres")?;
    let user = if rustix::process::geteuid().is_root() { Some(other_user()?) } else { None };
    let (data, log, port) = (folder.join("data"), folder.join("log"), free_port()?);
    std::fs::create_dir_all(&data)?;
    if let Some((uid, gid)) = user {
        for path in [folder, &data] {
            std::os::unix::fs::chown(path, Some(uid), Some(gid))
                .with_context(|| format!("give {} to another user", path.display()))?;
        }
    }
    let become_user = |command: &mut Command| {
        command.current_dir(folder);
        if let Some((uid, gid)) = user {
            command.uid(uid).gid(gid);
        }
    };
    let mut init = logged(&initdb, &log)?;
    init.arg("-D").arg(&data).args(["-U", "bench", "--auth", "trust", "-E", "UTF8", "--locale", "C"]);
    become_user(&mut init);
    let status = init.status().context("run initdb")?;
    let made = if status.success() { Ok(()) } else { Err(anyhow::anyhow!("initdb: {status}")) };
    explain(made, &log)?;
    let mut command = logged(&server, &log)?;
    command.arg("-D").arg(&data).args(["-p", &port.to_string(), "-h", "127.0.0.1", "-k", ""]);
    command.args(["-c", "max_connections=300", "-c", "shared_buffers=512MB", "-c", "max_wal_size=8GB"]);
    become_user(&mut command);
    if let Some(library) = slow {
        command.env("LD_PRELOAD", library);
    }
    let mut process = Process::start_anywhere("postgres", command)?;
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    explain(process.wait_listening(address), &log)?;
    Ok(vec![System {
        name: "PostgreSQL, SKIP LOCKED".into(),
        endpoint: Endpoint::Postgres(address),
        tree: Tree::Of(process.pid()),
        most: usize::MAX,
        durable: true,
        guard: Guard::Processes { _processes: Rc::new(vec![process]) },
    }])
}

/// Who may run it instead of root.
fn other_user() -> anyhow::Result<(u32, u32)> {
    let text = std::fs::read_to_string("/etc/passwd").context("read /etc/passwd")?;
    let found = ["postgres", "nobody"].iter().find_map(|name| ids(&text, name));
    let (uid, gid) = found.context("there is neither a user `postgres` nor `nobody` to run PostgreSQL")?;
    ensure!(uid != 0, "PostgreSQL does not run as root");
    Ok((uid, gid))
}

/// The ids of a user and its group in the text of `/etc/passwd`.
fn ids(passwd: &str, user: &str) -> Option<(u32, u32)> {
    let line = passwd.lines().find_map(|line| line.strip_prefix(user)?.strip_prefix(':'))?;
    let mut fields = line.split(':').skip(1);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_its_whole_name() {
        let text = "root:x:0:0::/:/bin/sh\npostgresql:x:1:1::/:/x\npostgres:x:100:103:P:/var:/bin/sh\n";
        assert_eq!((ids(text, "postgres"), ids(text, "post")), (Some((100, 103)), None));
    }
}
