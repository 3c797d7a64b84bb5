//! The app that all these clients talk to, and what they need themselves.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::world::{World, kill, text};

/// Services in files beside this one. `PYTHON` has grpcio and websockets, `FILES` is their directory.
pub(crate) const WEB: &str = r#"
  web:
    command: [python3, FILES/web.py]
    healthcheck: { http: /, interval: 1s }
    routes:
      - "/web/{*rest}": { timeout: 20s, strip_prefix: /web }
      - /limited: { timeout: 5s, limit: { rate: 1/30s, burst: 3 } }
      - /private: { timeout: 5s, auth: person }
"#;
pub(crate) const ECHO: &str = r#"
  echo:
    command: [PYTHON, FILES/grpc_service.py]
    protocol: grpc
    healthcheck: { grpc: true, interval: 1s }
    routes: [ "POST /clients.Echo/{method}": { timeout: 20s } ]
"#;
pub(crate) const SOCKETS: &str = r#"
  sockets:
    command: [PYTHON, FILES/ws_service.py]
    healthcheck: { tcp: true, interval: 1s }
    routes: [ "GET /ws/{*rest}": { timeout: 20s } ]
"#;

/// The secret that tokens are checked with.
const SECRET: &str = "only-for-tests-and-longer-than-32-bytes";

/// The app, running.
pub(crate) struct App {
    world: World,
    /// The gateway in the clear, and with TLS.
    pub(crate) plain: String,
    pub(crate) secure: String,
    /// What a client has to trust for the latter.
    pub(crate) ca: PathBuf,
}

impl App {
    /// Starts it with these services and waits until they are ready.
    pub(crate) fn start(services: &[&str]) -> Self {
        let world = World::new("");
        let file = format!(
            "name: world\n\
             gateway:\n  \
               tls: development\n  \
               listen: [{{ address: \"127.0.0.1:0\" }}, {{ address: \"127.0.0.1:0\", tls: true }}]\n  \
               auth: {{ person: {{ jwt: {{ secret: secret.txt, audience: clients }} }} }}\n\
             services:{}",
            services.concat()
        );
        let python = python().unwrap_or_else(|| "python3".into());
        let file = file.replace("PYTHON", &python.display().to_string());
        fs::write(world.path().join("secret.txt"), SECRET).unwrap();
        fs::write(world.path().join("atoll.yaml"), file.replace("FILES", files().to_str().unwrap())).unwrap();
        world.ok(&["up", "-d", "--wait"]);
        let ca = world.ok(&["trust", "--print"]).trim_end().into();
        let gateway = world.status().unwrap().gateway;
        let (mut secure, mut plain): (Vec<_>, Vec<_>) =
            gateway.into_iter().partition(|url| url.starts_with("https://"));
        Self { plain: plain.remove(0), secure: secure.remove(0), ca, world }
    }

    /// Its directory.
    pub(crate) fn path(&self) -> &Path {
        self.world.path()
    }

    /// Waits until a service that plays the client has said how it went; it must be `all well`.
    pub(crate) fn until_well(&self, service: &str) {
        let said = || {
            let output = self.world.run(&["logs", service]); // fails before it has started
            text(&output.stdout)
        };
        let ended = |said: &str| said.contains("all well") || said.contains(" failed");
        self.world.until(service, |_| ended(&said()));
        let said = said();
        assert!(said.contains("all well") && !said.contains("FAILED"), "{said}");
    }

    /// Ends it in good order: nothing of it may be left.
    pub(crate) fn down(self) {
        self.world.ok(&["down"]);
        self.world.until_nothing_lives();
    }
}

/// Where the services and scripts are.
pub(crate) fn files() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

/// A Python with the packages of requirements.txt: the one beside the build, else the usual one.
pub(crate) fn python() -> Option<PathBuf> {
    python_with("grpc, websockets")
}

/// A Python that has these modules.
pub(crate) fn python_with(modules: &str) -> Option<PathBuf> {
    let target = Path::new(env!("CARGO_BIN_EXE_atoll")).ancestors().nth(2).unwrap();
    let candidates = [target.join("clients-python/bin/python"), "python3".into()];
    let complete = |python: &PathBuf| {
        let output = Command::new(python).args(["-c", &format!("import {modules}")]).output();
        output.is_ok_and(|output| output.status.success())
    };
    candidates.into_iter().find(complete)
}

/// Runs a script beside this file to its end; it says what does not hold and fails then.
pub(crate) fn script(name: &str, arguments: &[&OsStr]) {
    let mut command = Command::new(python().unwrap());
    command.arg(files().join(name)).args(arguments);
    let output = output(command);
    assert!(
        output.status.success(),
        "{name} {arguments:?}\n{}\n{}",
        text(&output.stdout),
        text(&output.stderr)
    );
}

/// A token signed with the app's secret, by Python's own library.
pub(crate) fn token(claims: &str) -> String {
    let make = "import base64, hashlib, hmac, sys\n\
                b = lambda x: base64.urlsafe_b64encode(x).rstrip(b'=')\n\
                t = b(b'{\"alg\":\"HS256\",\"typ\":\"JWT\"}') + b'.' + b(sys.argv[2].encode())\n\
                print((t + b'.' + b(hmac.new(sys.argv[1].encode(), t, hashlib.sha256).digest())).decode())";
    let mut command = Command::new("python3");
    command.args(["-c", make, SECRET, claims]);
    text(&output(command).stdout).trim_end().to_owned()
}

/// Runs a command to its end, at most a minute.
pub(crate) fn output(mut command: Command) -> Output {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let pid = child.id();
    let (sender, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send(child.wait_with_output()));
    ended.recv_timeout(crate::world::LIMIT * 2).map(Result::unwrap).unwrap_or_else(|_| {
        kill(pid, "KILL");
        panic!("{command:?} does not end");
    })
}

/// Whether everything is there that a test needs; if not, the test is left out. In CI nothing may be.
pub(crate) fn has(needed: &[&str]) -> bool {
    // Not all of them know `--version`; that they start is enough.
    let starts = |name| Command::new(name).arg("--version").stdin(Stdio::null()).output().is_ok();
    let missing = needed.iter().find(|name| match **name {
        "python packages" => python().is_none(),
        "boto3" => python_with("boto3").is_none(),
        name => !starts(name),
    });
    let Some(missing) = missing else { return true };
    assert!(std::env::var_os("ATOLL_CI_ALL").is_none(), "may not be skipped here: no {missing}");
    eprintln!("skipped: no {missing} (`.ci/run tools` installs it)");
    false
}
