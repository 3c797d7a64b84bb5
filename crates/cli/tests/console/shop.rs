//! The bookshop as its file describes it, but from this build and at ports of its own.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::root;
use crate::world::{LIMIT, World, kill, text};

/// How long a visit by a browser may take.
const VISIT: Duration = Duration::from_secs(600);

pub(crate) struct Shop {
    world: World,
    gateway: String,
}

impl Shop {
    pub(crate) fn start() -> Self {
        let binaries = Path::new(env!("CARGO_BIN_EXE_atoll")).parent().unwrap().to_owned();
        build(&binaries);
        let world = World::new("");
        let example = root().join("examples/bookshop");
        for entry in fs::read_dir(&example).unwrap().flatten() {
            let name = entry.file_name();
            if name != "atoll.yaml" && name != ".atoll" && name != ".data" {
                symlink(entry.path(), world.path().join(name)).unwrap();
            }
        }
        let file = fs::read_to_string(example.join("atoll.yaml")).unwrap();
        let file = file
            .replace("target/release/", &format!("{}/", binaries.display()))
            .replace("working_dir: ../..", &format!("working_dir: {}", root().display()));
        let data = world.path().join("kept");
        let file = file.replace("${BOOKSHOP_DATA:-examples/bookshop/.data}", &data.display().to_string());
        let built = |line: &&str| !line.trim_start().starts_with("prepare:");
        let file: Vec<&str> = file.lines().filter(built).collect();
        fs::write(world.path().join("atoll.yaml"), file.join("\n") + "\n").unwrap();
        // Where `World` looks for an app.
        fs::create_dir_all(world.path().join(".atoll/bookshop")).unwrap();
        symlink("bookshop", world.state_dir()).unwrap();
        world.ok(&["up", "-d", "--wait", "--isolated"]);
        let gateway = world.status().unwrap().gateway.remove(0);
        Self { world, gateway }
    }

    pub(crate) fn path(&self) -> &Path {
        self.world.path()
    }

    pub(crate) fn gateway(&self) -> &str {
        &self.gateway
    }

    /// An address that is good for one login.
    pub(crate) fn console(&self, role: &str) -> String {
        let printed = self.world.ok(&["console", "--role", role, "--format", "json"]);
        let login: Value = serde_json::from_str(&printed).unwrap();
        login["url"].as_str().unwrap().to_owned()
    }

    /// The status of the answer to a JSON body.
    pub(crate) fn post(&self, path: &str, body: &str) -> u16 {
        let address = self.gateway.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let length = body.len();
        write!(stream, "POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}").unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        text(&bytes).split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// What `atoll` prints as JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let arguments: Vec<&str> = arguments.iter().chain(&["--format", "json"]).copied().collect();
        let output = self.world.run(&arguments);
        serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
    }

    /// Asks until there is an answer, and fails if it does not come in time.
    pub(crate) fn until<T>(
        &self,
        within: Duration,
        arguments: &[&str],
        wanted: impl Fn(&Value) -> Option<T>,
    ) -> T {
        let deadline = Instant::now() + within;
        loop {
            let printed = self.json(arguments);
            if let Some(found) = wanted(&printed) {
                return found;
            }
            assert!(Instant::now() < deadline, "{arguments:?} within {within:?}: {printed:#}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it in good order: nothing of it may be left.
    pub(crate) fn down(self) {
        self.world.ok(&["down"]);
        self.world.until_nothing_lives();
    }
}

/// Cargo builds the binaries of a package for its own tests only.
fn build(binaries: &Path) {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let mut command = Command::new(env!("CARGO"));
        command.args(["build", "--quiet", "--locked", "--package", "bookshop"]).current_dir(root());
        if binaries.ends_with("release") {
            command.arg("--release");
        }
        assert!(command.stdin(Stdio::null()).status().unwrap().success(), "the bookshop is not built");
    });
}

/// A Python that can speak WebSocket: the one beside the build, else the usual one.
pub(crate) fn python() -> Option<PathBuf> {
    let target = Path::new(env!("CARGO_BIN_EXE_atoll")).ancestors().nth(2).unwrap();
    let candidates = [target.join("clients-python/bin/python"), "python3".into()];
    let complete = |python: &PathBuf| {
        let output = Command::new(python).args(["-c", "import websockets"]).output();
        output.is_ok_and(|output| output.status.success())
    };
    candidates.into_iter().find(complete)
}

/// Whether a browser can be driven; in CI it must be possible.
pub(crate) fn has_browser() -> bool {
    let chromium = Command::new("chromium").arg("--version").stdin(Stdio::null()).output().is_ok();
    let missing = match (chromium, python()) {
        (false, _) => "chromium",
        (_, None) => "python packages",
        _ => return true,
    };
    assert!(std::env::var_os("ATOLL_CI_ALL").is_none(), "may not be skipped here: no {missing}");
    eprintln!("skipped: no {missing} (`.ci/run tools` installs it)");
    false
}

/// Runs a command to its end.
pub(crate) fn output(mut command: Command) -> Output {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = child.id();
    let (sender, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send(child.wait_with_output()));
    ended.recv_timeout(VISIT).map(Result::unwrap).unwrap_or_else(|_| {
        kill(pid, "KILL");
        panic!("{command:?} does not end");
    })
}
