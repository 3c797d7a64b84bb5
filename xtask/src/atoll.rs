//! A running app under measurement: started with the release binary, asked over its admin API, stopped
//! however the measurement ends.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{go_on, schema};

/// How long anything may take before a measurement is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a foreground `atoll up` may take to end after Ctrl-C before it is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(30);

/// Builds packages in release mode; quick when there is nothing to do.
pub(crate) fn build(packages: &[&str]) -> anyhow::Result<()> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--release", "--quiet"]).current_dir(schema::root());
    for package in packages {
        cargo.args(["--package", package]);
    }
    let status = cargo.status().context("run cargo")?;
    ensure!(status.success(), "cargo build: {status}");
    Ok(())
}

/// The build profile whose binary is measured.
static PROFILE: OnceLock<&str> = OnceLock::new();

/// Measures the binary of this build profile from now on; the first word counts.
pub(crate) fn use_profile(name: &'static str) {
    let _ = PROFILE.set(name);
}

/// The binary under measurement: the release build, unless told otherwise.
pub(crate) fn binary() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR");
    let profile = PROFILE.get().copied().unwrap_or("release");
    target.map_or_else(|| schema::root().join("target"), PathBuf::from).join(profile).join("atoll")
}

/// The example application.
pub(crate) fn bookshop() -> PathBuf {
    schema::root().join("examples/bookshop")
}

/// A port nobody listens on now. Somebody may before it is used: then the run fails and says so.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// The binary, told where the state of the app under measurement is, silent.
pub(crate) fn command(verb: &str, state: &Path) -> Command {
    let mut command = Command::new(binary());
    command.arg(verb).arg("--state-dir").arg(state);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("ATOLL_") || text.starts_with("COMPOSE_") {
            command.env_remove(name);
        }
    }
    command
}

/// Runs a command to its end; what it said on standard error is in the failure.
pub(crate) fn succeed(mut command: Command) -> anyhow::Result<()> {
    let output = command.output().with_context(|| format!("run {:?}", command.get_program()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let arguments: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
        bail!("atoll {}: {}\n{}", arguments.join(" "), output.status, said.trim_end());
    }
    Ok(())
}

/// An app of `atoll up -d`. Stopped when dropped.
pub(crate) struct Detached {
    state: PathBuf,
    pid: Option<u32>,
}

impl Detached {
    /// Starts the app at `place` on ports of its own; returns once the command does.
    pub(crate) fn up(place: &Path, state: &Path, flags: &[&str]) -> anyhow::Result<Self> {
        Self::up_with(place, state, flags, &[])
    }

    /// The same with more in its environment.
    pub(crate) fn up_with(
        place: &Path,
        state: &Path,
        flags: &[&str],
        environment: &[(&str, &Path)],
    ) -> anyhow::Result<Self> {
        let mut up = command("up", state);
        up.arg(place).args(["-d", "--isolated"]).args(flags).envs(environment.iter().copied());
        // Made first: whatever fails from here on, what has started is stopped.
        let mut app = Self { state: state.to_owned(), pid: None };
        succeed(up)?;
        app.pid = app.get("/v1/node")?["pid"].as_u64().and_then(|pid| pid.try_into().ok());
        Ok(app)
    }

    /// The node's process.
    pub(crate) fn pid(&self) -> anyhow::Result<u32> {
        self.pid.context("the node does not tell its process id")
    }

    /// Kills the node with `SIGKILL`; what it ran lives on. The app can be started again.
    pub(crate) fn kill(self) -> anyhow::Result<()> {
        let pid = self.pid()?;
        let raw = Pid::from_raw(pid.cast_signed()).context("the node's process id")?;
        kill_process(raw, Signal::KILL).context("kill the node")?;
        let give_up = Instant::now() + STOP_PATIENCE;
        while is_alive(pid) {
            ensure!(Instant::now() < give_up, "the node (process {pid}) does not die");
            std::thread::sleep(Duration::from_millis(1));
        }
        std::mem::forget(self); // there is nothing to stop: whoever starts the app again does that
        Ok(())
    }

    /// Where its state is.
    pub(crate) fn state(&self) -> &Path {
        &self.state
    }

    /// Asks the admin API.
    pub(crate) fn get(&self, path: &str) -> anyhow::Result<Value> {
        get(&self.state, path)
    }

    /// Where its gateway listens.
    pub(crate) fn gateway(&self) -> anyhow::Result<SocketAddr> {
        let status = self.get("/v1/status")?;
        let url = status["gateway"][0].as_str().context("the app has no gateway")?;
        let address = url.trim_start_matches("http://").trim_end_matches('/');
        address.parse().with_context(|| format!("the gateway's address `{address}`"))
    }

    /// Waits until every service is where it should be.
    pub(crate) fn wait_ready(&self, look: Duration) -> anyhow::Result<()> {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let status = self.get("/v1/status")?;
            if status["phase"] == "ready" && all_ready(&status) {
                return Ok(());
            }
            ensure!(Instant::now() < give_up, "not ready within {PATIENCE:?}: {}", not_ready(&status));
            go_on()?;
            std::thread::sleep(look);
        }
    }

    /// The names of all instances.
    pub(crate) fn instances(&self) -> anyhow::Result<Vec<String>> {
        let status = self.get("/v1/status")?;
        let services = status["services"].as_array().context("the status lists no services")?;
        let instances = services.iter().filter_map(|service| service["instances"].as_array()).flatten();
        Ok(instances.filter_map(|instance| instance["name"].as_str()).map(str::to_owned).collect())
    }
}

impl Drop for Detached {
    fn drop(&mut self) {
        if let Err(error) = succeed(command("down", &self.state))
            && self.pid.is_some()
        {
            eprintln!("xtask: {error:#}");
        }
        let Some(pid) = self.pid else { return };
        let give_up = Instant::now() + STOP_PATIENCE;
        while is_alive(pid) {
            if Instant::now() > give_up {
                eprintln!("xtask: the node (process {pid}) does not end: killed");
                if let Some(pid) = Pid::from_raw(pid.cast_signed()) {
                    let _ = kill_process(pid, Signal::KILL);
                }
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Whether a process is there and not just waiting to be reaped.
fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name may hold anything; what follows its closing parenthesis is regular, the state first.
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// Counts for itself: an app whose services are not listed yet is not ready, whatever it is called.
fn all_ready(status: &Value) -> bool {
    let services = status["services"].as_array().map(Vec::as_slice).unwrap_or_default();
    !services.is_empty() && services.iter().all(|service| service["ready"] == service["desired"])
}

fn not_ready(status: &Value) -> String {
    let services = status["services"].as_array().map(Vec::as_slice).unwrap_or_default();
    let late = services.iter().filter(|service| service["state"] != "ready").take(5);
    let late: Vec<_> = late.map(|s| format!("{} is {} {}", s["name"], s["state"], s["detail"])).collect();
    late.join(", ")
}

/// An app of `atoll up` in the foreground. Stopped when dropped.
pub(crate) struct Foreground {
    child: Child,
}

impl Foreground {
    /// Starts the app of `file`.
    pub(crate) fn up(file: &Path, state: &Path) -> anyhow::Result<Self> {
        let mut up = command("up", state);
        up.arg(file).stderr(Stdio::null());
        Ok(Self { child: up.spawn().context("start atoll")? })
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }
}

impl Drop for Foreground {
    fn drop(&mut self) {
        let pid = Pid::from_child(&self.child);
        let _ = kill_process(pid, Signal::INT); // gone already: all the better
        let give_up = Instant::now() + STOP_PATIENCE;
        while let Ok(None) = self.child.try_wait() {
            if Instant::now() > give_up {
                eprintln!("xtask: `atoll up` does not end: killed");
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Asks the admin API of the app whose state is in `state`.
pub(crate) fn get(state: &Path, path: &str) -> anyhow::Result<Value> {
    let stream = UnixStream::connect(state.join("admin.sock")).context("connect to the admin socket")?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let (status, body) = exchange(stream, path)?;
    ensure!(status == 200, "GET {path}: status {status}: {body}");
    serde_json::from_str(&body).with_context(|| format!("GET {path}: {body}"))
}

/// Asks an HTTP server for `path` once; the status of the answer.
pub(crate) fn status_of(address: SocketAddr, path: &str) -> anyhow::Result<u16> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(exchange(stream, path)?.0)
}

/// One exchange in HTTP/1.0: the answer ends with the connection and has no chunks.
fn exchange(mut stream: impl Read + Write, path: &str) -> anyhow::Result<(u16, String)> {
    stream.write_all(format!("GET {path} HTTP/1.0\r\nhost: localhost\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").context("the answer has no end of head")?;
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
    Ok((status.context("the answer has no status")?, body.to_owned()))
}
