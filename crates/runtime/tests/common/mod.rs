//! What the tests of this crate share.
#![allow(dead_code)] // each test file uses its part

pub(crate) mod machine;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kit::Tasks;
use kit::units::Bytes;
use manifest::spec::{Limits, Logging};
use runtime::process::{Options, ProcessDriver};
use runtime::{Driver, Event, Exit, Launch, Lifetime, Stop};
use tokio::sync::mpsc;

/// How long anything may take that should happen at once.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);

/// The node and keeper program of the tests; `cargo test` builds examples before it runs tests.
pub(crate) fn node_program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.parent().unwrap().parent().unwrap().join("examples/runtime_node");
    assert!(program.exists(), "{} is missing: run `cargo build -p runtime --examples`", program.display());
    program
}

/// A driver in a directory of its own. Everything it runs has `token` in its arguments or environment.
pub(crate) struct Rig {
    pub(crate) driver: ProcessDriver,
    pub(crate) events: mpsc::Receiver<Event>,
    pub(crate) tasks: Tasks,
    pub(crate) token: String,
    pub(crate) dir: PathBuf,
    home: Option<tempfile::TempDir>,
}

impl Rig {
    pub(crate) async fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut rig = Self::open(home.path(), Lifetime::WithNode).await;
        rig.home = Some(home);
        rig
    }

    /// With a keeper that `prelude` (run by a shell in a mount namespace of its own; `$D` is the state
    /// directory) has prepared the machine for. `None` without the right to do that.
    pub(crate) async fn start_after(prelude: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            skip("needs root for a mount namespace");
            return None;
        }
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("state");
        std::fs::create_dir_all(dir.join("logs")).unwrap();
        let tasks = Tasks::new();
        let script = format!("D={}; {{ {prelude}; }} || exit 1; exec \"$0\" \"$@\"", dir.display());
        let mut options = options(&dir, Lifetime::WithNode, &tasks);
        options.keeper_command.splice(0..0, ["unshare", "-m", "/bin/sh", "-c", &script].map(Into::into));
        let mut rig = Self::with(home.path(), options).await;
        rig.home = Some(home);
        Some(rig)
    }

    /// Where no cgroup can be made.
    pub(crate) async fn start_without_cgroups() -> Option<Self> {
        Self::start_after("umount -R /sys/fs/cgroup").await
    }

    pub(crate) async fn open(home: &Path, lifetime: Lifetime) -> Self {
        Self::with(home, options(&home.join("state"), lifetime, &Tasks::new())).await
    }

    /// Leaves the driver's events to somebody else.
    pub(crate) fn without_events(home: tempfile::TempDir, driver: ProcessDriver) -> Self {
        let (dir, token) = (home.path().join("state"), token_of(home.path()));
        Self { driver, events: mpsc::channel(1).1, tasks: Tasks::new(), token, dir, home: Some(home) }
    }

    async fn with(home: &Path, options: Options) -> Self {
        let (tasks, dir) = (options.tasks.clone(), options.state_dir.clone());
        let driver = ProcessDriver::open(options).await.unwrap();
        let events = driver.events();
        let token = token_of(home);
        Self { driver, events, tasks, token, dir, home: None }
    }

    /// A shell that runs `script` with the token as its name.
    pub(crate) fn shell(&self, id: &str, script: &str) -> Launch {
        let mut launch = launch(id, &["sh", "-c", script, &self.token]);
        launch.environment.insert("TOKEN".into(), self.token.clone());
        launch
    }

    pub(crate) async fn stop(&self, id: &str, grace: Duration) {
        let stop = Stop { signal: "SIGTERM".into(), grace };
        tokio::time::timeout(LIMIT + grace, self.driver.stop(&id.parse().unwrap(), stop))
            .await
            .unwrap()
            .unwrap();
    }

    /// The same, for many at once.
    pub(crate) async fn stop_owned(&self, id: String, grace: Duration) {
        self.stop(&id, grace).await;
    }

    /// The next event.
    pub(crate) async fn event(&mut self) -> Event {
        tokio::time::timeout(LIMIT, self.events.recv()).await.expect("an event in time").expect("an event")
    }

    /// The next end, with the last lines.
    pub(crate) async fn exit_of(&mut self, id: &str) -> (Exit, Vec<String>) {
        loop {
            if let Event::Exited { id: who, exit, last_lines, .. } = self.event().await {
                assert_eq!(who.to_string(), id);
                return (exit, last_lines);
            }
        }
    }

    /// Runs a script to its end; returns how it ended and its last lines.
    pub(crate) async fn run(&mut self, launch: Launch) -> (Exit, Vec<String>) {
        let id = launch.id.to_string();
        self.driver.start(launch).await.unwrap();
        self.exit_of(&id).await
    }

    /// Hangs up and waits until nothing is left.
    pub(crate) async fn end(self) {
        let keeper = self.driver.keeper_pid();
        self.driver.close();
        machine::wait_until_gone(&self.token).await;
        machine::wait_until_ended(keeper).await;
    }
}

impl Drop for Rig {
    /// A test that fails leaves nothing behind.
    fn drop(&mut self) {
        if std::thread::panicking() {
            machine::kill(self.driver.keeper_pid());
        }
    }
}

pub(crate) fn options(dir: &Path, lifetime: Lifetime, tasks: &Tasks) -> Options {
    Options {
        state_dir: dir.to_owned(),
        keeper_command: vec![node_program().into(), "__keep".into()],
        lifetime,
        tasks: tasks.clone(),
    }
}

/// A word that only the processes of this test carry.
pub(crate) fn token_of(home: &Path) -> String {
    format!("token-{}", home.file_name().unwrap().to_str().unwrap().trim_start_matches('.'))
}

pub(crate) fn launch(id: &str, command: &[&str]) -> Launch {
    Launch {
        id: id.parse().unwrap(),
        revision: "1".into(),
        command: command.iter().map(|&word| word.to_owned()).collect(),
        working_dir: "/".into(),
        environment: BTreeMap::from([("PATH".into(), std::env::var("PATH").unwrap())]),
        user: None,
        ulimits: BTreeMap::new(),
        limits: Limits::default(),
        port: None,
        stop_signal: "SIGTERM".into(),
        stop_grace: Duration::from_secs(10),
        logging: Logging { max_size: Bytes(1 << 20), max_files: 3 },
    }
}

/// A test that the machine does not allow. In CI nothing may be skipped.
pub(crate) fn skip(why: &str) {
    assert!(std::env::var_os("ATOLL_CI_ALL").is_none(), "may not be skipped here: {why}");
    eprintln!("skipped: {why}");
}

/// Waits until an instance has written a line.
pub(crate) async fn wait_for_log(state_dir: &Path, name: &str, text: &str) {
    machine::wait_until(&format!("{name} writes {text}"), || {
        lines_of(state_dir, name).iter().any(|line| line == text)
    })
    .await;
}

/// What an instance has written.
pub(crate) fn lines_of(state_dir: &Path, name: &str) -> Vec<String> {
    let reader = runtime::logs::Reader::new(state_dir.join("logs"));
    let lines = reader.read(&runtime::logs::Query::of(name)).unwrap();
    lines.into_iter().map(|line| line.text).collect()
}
