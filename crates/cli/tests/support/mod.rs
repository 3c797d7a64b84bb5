//! A project directory of its own for each test, and `atoll` in it.

#![allow(dead_code, clippy::unwrap_used)] // each test file uses a part of it

pub(crate) mod scripted;
pub(crate) mod terminal;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// No command of a test takes longer.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// A directory that goes away with the test, together with every node that still runs in it.
pub(crate) struct Project {
    directory: tempfile::TempDir,
}

/// What a command left.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) status: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Done {
    /// The command ended with this status; shows what it said otherwise.
    #[track_caller]
    pub(crate) fn ends_with(self, status: i32) -> Self {
        assert_eq!(self.status, Some(status), "\n--- out\n{}\n--- err\n{}", self.out, self.err);
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }
}

impl Project {
    /// An empty directory.
    pub(crate) fn empty() -> Self {
        Self { directory: tempfile::Builder::new().prefix("shop").tempdir().unwrap() }
    }

    /// A directory with an `atoll.yaml`.
    pub(crate) fn new(file: &str) -> Self {
        let project = Self::empty();
        project.write("atoll.yaml", file);
        project
    }

    /// The directory.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a file, parents included.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// A command that is not started yet. The environment of the test run does not reach in.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_atoll"));
        command.args(arguments).current_dir(self.path()).stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            let ours =
                text.starts_with("ATOLL_") || text.starts_with("COMPOSE_") || text.starts_with("CLICOLOR");
            if ours || text == "NO_COLOR" {
                command.env_remove(&name);
            }
        }
        command
    }

    /// Runs a command to its end, within [`LIMIT`].
    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) -> Done {
        finish(self.command(arguments))
    }

    /// Starts a command that goes on.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        let mut command = self.command(arguments);
        Running { child: Some(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()) }
    }

    /// The directories with the state of apps.
    fn state_dirs(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.path().join(".atoll"));
        entries.map(|entries| entries.flatten().map(|entry| entry.path()).collect()).unwrap_or_default()
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        for state in self.state_dirs() {
            if state.join("admin.sock").exists() {
                let mut down = self.command(&["down", "--timeout", "0", "--state-dir"]);
                let _ = down.arg(state).stdout(Stdio::null()).stderr(Stdio::null()).status();
            }
        }
    }
}

/// Runs a command to its end, within [`LIMIT`].
#[track_caller]
pub(crate) fn finish(mut command: Command) -> Done {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    Running { child: Some(child) }.finish()
}

/// A command that goes on; killed, by its process id, when the test ends without waiting for it.
pub(crate) struct Running {
    child: Option<Child>,
}

impl Running {
    /// A command that was started elsewhere.
    pub(crate) fn of(child: Child) -> Self {
        Self { child: Some(child) }
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Sends a signal, such as `INT`.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status();
        assert!(status.unwrap().success());
    }

    /// Takes standard output, to be read while it runs.
    pub(crate) fn take_stdout(&mut self) -> std::process::ChildStdout {
        self.child.as_mut().unwrap().stdout.take().unwrap()
    }

    /// Waits for its end, within [`LIMIT`].
    #[track_caller]
    pub(crate) fn finish(mut self) -> Done {
        let mut child = self.child.take().unwrap();
        let out = reader(child.stdout.take());
        let err = reader(child.stderr.take());
        let give_up = Instant::now() + LIMIT;
        let status: Option<ExitStatus> = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break Some(status);
            }
            if Instant::now() > give_up {
                child.kill().unwrap();
                child.wait().unwrap();
                break None;
            }
            thread::sleep(Duration::from_millis(5));
        };
        let take = |text: mpsc::Receiver<String>| text.recv_timeout(LIMIT).unwrap_or_default();
        Done { status: status.and_then(|status| status.code()), out: take(out), err: take(err) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn reader<R: Read + Send + 'static>(stream: Option<R>) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::sync_channel(1);
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            let _ = stream.read_to_end(&mut bytes);
        }
        let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    receiver
}

/// Waits until `done` gives something, within [`LIMIT`].
#[track_caller]
pub(crate) fn eventually<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    let give_up = Instant::now() + LIMIT;
    loop {
        if let Some(value) = done() {
            return value;
        }
        assert!(Instant::now() < give_up, "not within {LIMIT:?}: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}
