//! A project directory of its own for each test, and the real `atoll` in it.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use api::Client;

/// How long anything may take before a test fails.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// A project directory with the `atoll` of this build; what runs in it ends with it.
pub(crate) struct World {
    dir: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
}

impl World {
    /// A project called `world` with this application file. `ECHO` in it stands for the test service.
    pub(crate) fn new(file: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let world = Self { dir, runtime };
        world.write(file);
        world
    }

    /// Writes the application file anew.
    pub(crate) fn write(&self, file: &str) {
        let text = format!(
            "name: world\nconsole: 0\ngateway: {{ listen: \"127.0.0.1:0\" }}\n{}",
            file.replace("ECHO", &echo().display().to_string())
        );
        fs::write(self.path().join("atoll.yaml"), text).unwrap();
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.path().join(".atoll/world")
    }

    /// The command line, not yet run.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_atoll"));
        command.args(arguments).current_dir(self.path()).stdin(Stdio::null()).process_group(0);
        for name in ["ATOLL_STATE_DIR", "COMPOSE_FILE", "COMPOSE_PROJECT_NAME", "NO_COLOR"] {
            command.env_remove(name);
        }
        command.env("ATOLL_CA_DIR", self.path().join("ca")); // never the authority of whoever runs the tests
        command
    }

    /// Runs `atoll` to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        let child = self.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let pid = child.id();
        let (sender, ended) = std::sync::mpsc::channel();
        std::thread::spawn(move || sender.send(child.wait_with_output()));
        match ended.recv_timeout(LIMIT * 2) {
            Ok(output) => output.unwrap(),
            Err(_) => {
                kill(pid, "KILL");
                panic!("`atoll {}` does not end", arguments.join(" "));
            }
        }
    }

    /// Runs `atoll`, which must succeed; returns its standard output.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(
            output.status.success(),
            "`atoll {}` failed\n--- stdout\n{}\n--- stderr\n{}",
            arguments.join(" "),
            text(&output.stdout),
            text(&output.stderr)
        );
        text(&output.stdout)
    }

    /// Runs `atoll`, which must fail with this status; returns its standard error.
    pub(crate) fn fails(&self, status: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{stderr}\n--- stdout\n{}", text(&output.stdout));
        stderr
    }

    /// Starts `atoll up` in the foreground, its output in files.
    pub(crate) fn foreground(&self, arguments: &[&str]) -> Foreground {
        let log = fs::File::create(self.path().join("foreground.log")).unwrap();
        let child = self.command(arguments).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        Foreground { child, log: self.path().join("foreground.log") }
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.state_dir())
    }

    pub(crate) fn status(&self) -> Result<api::Status, api::ClientError> {
        self.runtime.block_on(self.client().status())
    }

    /// Polls the status until `wanted` says yes.
    pub(crate) fn until(&self, what: &str, wanted: impl Fn(&api::Status) -> bool) -> api::Status {
        let deadline = Instant::now() + LIMIT;
        loop {
            let status = self.status();
            if let Ok(status) = &status
                && wanted(status)
            {
                return status.clone();
            }
            assert!(Instant::now() < deadline, "{what}: not within {LIMIT:?}: {status:#?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until every service is ready.
    pub(crate) fn until_ready(&self) -> api::Status {
        self.until("ready", |status| status.phase == api::Phase::Ready && !status.services.is_empty())
    }

    /// Process ids by instance.
    pub(crate) fn pids(&self) -> Vec<(String, u32)> {
        let status = self.status().unwrap();
        let instances = status.services.iter().flat_map(|service| &service.instances);
        instances.filter_map(|instance| Some((instance.name.clone(), instance.pid?))).collect()
    }

    /// `GET path` through the gateway.
    pub(crate) fn get(&self, path: &str) -> Answer {
        let status = self.status().unwrap();
        let address = status.gateway[0].trim_start_matches("http://").to_owned();
        get(&address, path)
    }

    /// `GET /metrics` of the node, head and all, as one asks who accepts `accept`. Header names in lower case.
    pub(crate) fn metrics(&self, accept: &str) -> String {
        let mut stream = std::os::unix::net::UnixStream::connect(self.state_dir().join(api::SOCKET)).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let request =
            format!("GET /metrics HTTP/1.1\r\nhost: atoll\r\naccept: {accept}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        text(&bytes)
    }

    /// The process id of the node.
    pub(crate) fn node_pid(&self) -> u32 {
        self.runtime.block_on(self.client().node()).unwrap().pid
    }

    /// Runs what the API's client is asked.
    pub(crate) fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// Every living process that belongs to this project: those whose command line or environment names its
    /// directory, and the descendants of any of them.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let needle = self.path().display().to_string();
        let mut found: Vec<u32> = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
                continue;
            };
            let read = |name: &str| fs::read(entry.path().join(name)).unwrap_or_default();
            let speaks = [read("cmdline"), read("environ")]
                .iter()
                .any(|bytes| bytes.windows(needle.len()).any(|window| window == needle.as_bytes()));
            let stands_in =
                fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(self.path()));
            if (speaks || stands_in) && is_alive(pid) {
                found.push(pid);
            }
        }
        found
    }

    /// Waits until nothing of this project lives.
    pub(crate) fn until_nothing_lives(&self) {
        let deadline = Instant::now() + LIMIT;
        loop {
            let left = self.processes();
            if left.is_empty() {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "still alive: {:?}",
                left.iter().map(|p| describe(*p)).collect::<Vec<_>>()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for World {
    /// Ends whatever a failed test has left; the paths of a test's own directory tell what is its own.
    fn drop(&mut self) {
        for pid in self.processes() {
            kill(pid, "KILL");
        }
    }
}

/// An `atoll up` in the foreground.
pub(crate) struct Foreground {
    pub(crate) child: Child,
    log: PathBuf,
}

impl Foreground {
    pub(crate) fn output(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub(crate) fn signal(&self, name: &str) {
        kill(self.child.id(), name);
    }

    /// Waits for its end; returns its status.
    pub(crate) fn wait(&mut self) -> std::process::ExitStatus {
        let deadline = Instant::now() + LIMIT;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "`atoll up` does not end:\n{}", self.output());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Foreground {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An answer to a request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// One request over a connection of its own.
pub(crate) fn get(address: &str, path: &str) -> Answer {
    try_get(address, path).unwrap_or_else(|error| panic!("GET {path} at {address}: {error}"))
}

pub(crate) fn try_get(address: &str, path: &str) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(LIMIT))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    answer(&bytes)
}

/// An answer that has come whole.
pub(crate) fn answer(bytes: &[u8]) -> std::io::Result<Answer> {
    let all = text(bytes);
    let (head, body) = all.split_once("\r\n\r\n").unwrap_or((&all, ""));
    let status = head.split(' ').nth(1).and_then(|text| text.parse().ok()).unwrap_or(0);
    Ok(Answer { status, head: head.to_owned(), body: body.to_owned() })
}

/// Sends a signal to one process.
pub(crate) fn kill(pid: u32, signal: &str) {
    let _ =
        Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]).stderr(Stdio::null()).status();
}

/// Whether a process lives (a zombie does not).
pub(crate) fn is_alive(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit(") ").next().is_some_and(|rest| !rest.starts_with(['Z', 'X'])))
}

fn describe(pid: u32) -> String {
    let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    format!("{pid}: {}", text(&command).replace('\0', " "))
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The test service, built beside the tests.
pub(crate) fn echo() -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_atoll")).with_file_name("examples").join("echo");
    assert!(path.exists(), "{} is built by `cargo test -p cli`", path.display());
    path
}
