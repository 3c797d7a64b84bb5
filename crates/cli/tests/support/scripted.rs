//! A node that plays a script: it answers the admin API with what a test gave it, and notes what it was
//! asked. HTTP/1.1 by hand, so that nothing of Atoll's own stands on both sides.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use api::{
    Breaker, BreakerState, Calls, Event, Guard, InstanceState, Level, LogLine, Phase, Plan, Service,
    ServiceState, Status,
};
use kit::Timestamp;
use serde_json::json;

/// Noted among what was asked when a watcher has seen the last status.
pub(crate) const PLAYED: &str = "(the script is played)";

/// What the node says.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    /// What `GET /v1/status?watch=true` says one after the other; the last one stays.
    pub(crate) statuses: Vec<Status>,
    /// Between two of them.
    pub(crate) pace: Duration,
    pub(crate) events: Vec<Event>,
    pub(crate) logs: Vec<LogLine>,
    pub(crate) plan: Plan,
    pub(crate) guards: Vec<Guard>,
    /// A problem instead of an answer to everything that changes something.
    pub(crate) refusal: Option<serde_json::Value>,
}

impl Script {
    pub(crate) fn new(statuses: Vec<Status>) -> Self {
        Self {
            statuses,
            pace: Duration::from_millis(30),
            events: Vec::new(),
            logs: Vec::new(),
            plan: Plan::default(),
            guards: Vec::new(),
            refusal: None,
        }
    }
}

/// The node.
pub(crate) struct ScriptedNode {
    shared: Arc<Shared>,
}

struct Shared {
    script: Script,
    socket: PathBuf,
    asked: Mutex<Vec<String>>,
    stopped: Mutex<bool>,
    stop: Condvar,
}

impl ScriptedNode {
    /// Listens in this state directory.
    pub(crate) fn start(state_dir: &Path, script: Script) -> Self {
        std::fs::create_dir_all(state_dir).unwrap();
        let socket = state_dir.join(api::SOCKET);
        let listener = UnixListener::bind(&socket).unwrap();
        let shared = Arc::new(Shared {
            script,
            socket,
            asked: Mutex::default(),
            stopped: Mutex::new(false),
            stop: Condvar::new(),
        });
        let node = Self { shared: Arc::clone(&shared) };
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                thread::spawn(move || shared.serve(stream));
            }
        });
        node
    }

    /// What it was asked so far: method, path and body.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.shared.asked.lock().unwrap().clone()
    }

    /// Whether somebody has stopped it.
    pub(crate) fn is_stopped(&self) -> bool {
        *self.shared.stopped.lock().unwrap()
    }
}

impl Drop for ScriptedNode {
    fn drop(&mut self) {
        self.shared.end();
    }
}

impl Shared {
    fn end(&self) {
        let _ = std::fs::remove_file(&self.socket);
        *self.stopped.lock().unwrap() = true;
        self.stop.notify_all();
    }

    /// Until the node is stopped.
    fn hold(&self) {
        let stopped = self.stopped.lock().unwrap();
        drop(self.stop.wait_while(stopped, |stopped| !*stopped).unwrap());
    }

    fn serve(&self, stream: UnixStream) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut head = String::new();
        while reader.read_line(&mut head).unwrap_or(0) > 2 {}
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() || head.is_empty() {
            return;
        }
        let mut words = head.split(' ');
        let (method, path) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
        let body = String::from_utf8(body).unwrap();
        self.asked.lock().unwrap().push(format!("{method} {path} {body}").trim_end().to_owned());
        let _ = self.answer(stream, &method, &path);
    }

    fn answer(&self, mut stream: UnixStream, method: &str, path: &str) -> std::io::Result<()> {
        let script = &self.script;
        let changes = method != "GET" && path != "/v1/plan";
        if let (true, Some(refusal)) = (changes, &script.refusal) {
            write!(stream, "HTTP/1.1 409 Conflict\r\nconnection: close\r\n\r\n{refusal}")?;
            return Ok(());
        }
        write!(stream, "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")?;
        let (route, query) = path.split_once('?').unwrap_or((path, ""));
        let follow = query.contains("follow=true");
        match (method, route) {
            ("GET", "/v1/node") => {
                let node = json!({ "version": "0.0.1", "pid": 4711, "started_at": 0, "app": "shop",
                                   "state_dir": "/", "detached": true });
                write!(stream, "{node}")
            }
            ("GET", "/v1/status") if query.is_empty() => write_line(&mut stream, script.statuses.last()),
            ("GET", "/v1/status") => {
                for status in &script.statuses {
                    write_line(&mut stream, Some(status))?;
                    thread::sleep(script.pace);
                }
                self.asked.lock().unwrap().push(PLAYED.to_owned());
                self.hold();
                Ok(())
            }
            ("GET", "/v1/events") => {
                let since: u64 = query.split(['=', '&']).nth(1).unwrap().parse().unwrap();
                for event in script.events.iter().filter(|event| event.seq > since) {
                    write_line(&mut stream, Some(event))?;
                }
                if follow {
                    self.hold();
                }
                Ok(())
            }
            ("GET", "/v1/logs") => {
                for line in &script.logs {
                    write_line(&mut stream, Some(line))?;
                }
                if follow {
                    self.hold();
                }
                Ok(())
            }
            ("GET", "/v1/usage") => write!(
                stream,
                "{}",
                json!({ "node": { "cpu_us": 5, "memory": 20 << 20, "requests": 7 }, "instances": [{
                    "name": "catalog-1", "service": "catalog", "cpu_us": 10, "memory": 3 << 20,
                    "memory_limit": null, "processes": 1, "in_flight": 0, "requests": 7 }] })
            ),
            ("GET", "/v1/routes") => write!(
                stream,
                "{}",
                json!([{ "entrance": "gateway", "address": "127.0.0.1:8080", "route": "GET /books",
                         "service": "catalog", "timeout_ms": 1000 }])
            ),
            ("GET" | "POST", "/v1/breakers") => write_line(&mut stream, Some(&script.guards)),
            ("POST", "/v1/plan" | "/v1/scale") | ("PUT", "/v1/app") => {
                write_line(&mut stream, Some(&script.plan))
            }
            ("POST", "/v1/restart") => {
                write!(stream, "{}", json!({ "instances": ["catalog-1", "catalog-2"] }))
            }
            ("POST", "/v1/stop") => {
                write!(stream, "{}", json!({ "instances": ["catalog-1"] }))?;
                drop(stream);
                self.end();
                Ok(())
            }
            _ => write!(stream, "{{\"unexpected\": true}}"),
        }
    }
}

fn write_line<T: serde::Serialize>(stream: &mut UnixStream, value: Option<&T>) -> std::io::Result<()> {
    writeln!(stream, "{}", serde_json::to_string(&value).unwrap())
}

/// A status of the app `shop`, whose services have these states and no more than one instance.
pub(crate) fn status(phase: Phase, services: &[(&str, ServiceState, &str)]) -> Status {
    let service = |(name, state, detail): &(&str, ServiceState, &str)| {
        let ready = *state == ServiceState::Ready;
        let instance = api::Instance {
            name: format!("{name}-1"),
            service: (*name).into(),
            replica: 1,
            run: 1,
            state: if ready { InstanceState::Ready } else { InstanceState::Starting },
            detail: String::new(),
            pid: Some(77),
            address: Some("127.0.0.1:30001".into()),
            revision: "r".into(),
            started_at: Some(Timestamp::from_micros(1)),
            ready_after_ms: ready.then_some(12),
            restarts: 0,
            last_exit: None,
            in_flight: 0,
            ejected_ms: None,
        };
        let runs = matches!(state, ServiceState::Ready | ServiceState::Starting | ServiceState::Stopping);
        Service {
            name: (*name).into(),
            state: *state,
            detail: (*detail).into(),
            desired: 1,
            ready: u32::from(ready),
            routes: Vec::new(),
            calls: Vec::new(),
            ready_after_ms: ready.then_some(12),
            instances: if runs { vec![instance] } else { Vec::new() },
        }
    };
    Status {
        generation: 1,
        app: "shop".into(),
        root: "/".into(),
        phase,
        gateway: vec!["http://127.0.0.1:8080".into()],
        pipes: None,
        console: None,
        services: services.iter().map(service).collect(),
        guards: Vec::new(),
    }
}

/// A guarded call towards `service`.
pub(crate) fn guard(route: &str, service: &str, state: BreakerState) -> Guard {
    let window = Calls { total: 20, errors: 12, slow: 0 };
    let since = Timestamp::from_micros(1);
    let breaker = Breaker { state, since, window, opened: 1, half_opened: 0, closed: 0 };
    Guard {
        route: route.into(),
        service: service.into(),
        breaker: Some(breaker),
        in_use: 0,
        concurrency: 1024,
        waiting: 0,
        requests: 0,
        retries: 0,
    }
}

/// A line of output.
pub(crate) fn said(instance: &str, text: &str) -> LogLine {
    let at = Timestamp::from_micros(1_000_000_000_000_000);
    LogLine { at, instance: instance.into(), stream: "stdout".into(), text: text.into() }
}

/// An event about an instance.
pub(crate) fn happened(seq: u64, level: Level, instance: &str, message: &str) -> Event {
    Event {
        seq,
        at: Timestamp::from_micros(1_000_000_000_000_000 + seq),
        level,
        kind: "notice".into(),
        service: instance.rsplit_once('-').map(|(service, _)| service.to_owned()),
        instance: Some(instance.into()),
        message: message.into(),
        code: None,
        hint: None,
    }
}
