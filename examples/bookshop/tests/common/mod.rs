//! Runs the services for the tests, each as the process it is, and talks to them as any client would.
#![allow(dead_code, unreachable_pub, reason = "each test file has its own copy and uses a part of it")]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

/// The longest any state is waited for.
const LIMIT: Duration = Duration::from_secs(10);

/// A service that runs; killed when dropped.
pub struct Service {
    child: Child,
    pub address: SocketAddr,
    lines: Receiver<String>,
}

impl Service {
    /// Starts a program on a free port and waits until it says where it listens.
    pub fn start(program: &str, environment: &[(&str, String)]) -> Self {
        Self::spawn(Command::new(program), environment)
    }

    pub fn spawn(mut command: Command, environment: &[(&str, String)]) -> Self {
        command.env("HOST", "127.0.0.1").env("PORT", "0").envs(environment.iter().map(|(k, v)| (k, v)));
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (send, lines) = sync_channel(1000);
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut service = Self { child, address, lines };
        let line = service.line_with(" listening on ");
        service.address = line.rsplit(' ').next().unwrap().parse().unwrap();
        service
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next line of its log that holds `text`.
    pub fn line_with(&self, text: &str) -> String {
        let until = Instant::now() + LIMIT;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).unwrap_or_else(|_| panic!("no line with `{text}`"));
            if line.contains(text) {
                return line;
            }
        }
    }

    /// All of its log that was not asked for yet, once it has ended.
    pub fn rest_of_log(&self) -> Vec<String> {
        self.lines.iter().collect()
    }

    pub fn terminate(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }

    /// Waits for its end.
    pub fn ended(&mut self) -> ExitStatus {
        let until = Instant::now() + LIMIT;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "it does not end");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], "")
    }

    pub fn post_json(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        self.send("POST", path, &[headers, &[("content-type", "application/json")]].concat(), body)
    }

    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut socket = self.connect();
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n");
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("content-length: {}\r\n\r\n{body}", body.len());
        socket.write_all(head.as_bytes()).unwrap();
        Answer::read(&mut socket)
    }

    pub fn connect(&self) -> TcpStream {
        let socket = TcpStream::connect(self.address).unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        socket
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An answer, read until the service closed the connection.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HashMap<String, String>,
    pub body: String,
}

impl Answer {
    pub fn read(socket: &mut TcpStream) -> Self {
        let mut text = String::new();
        socket.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("not an answer: {text:?}"));
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
        Self { status, headers, body: body.to_owned() }
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    /// The detail of an `application/problem+json`.
    pub fn problem(&self) -> String {
        assert_eq!(self.headers["content-type"], "application/problem+json", "{self:?}");
        assert_eq!(self.json()["status"], self.status);
        self.json()["detail"].as_str().unwrap().to_owned()
    }
}

/// An address where nobody listens: port 1 is nobody's on a machine that runs tests.
pub fn nowhere() -> String {
    "http://127.0.0.1:1".to_owned()
}

pub fn catalog() -> Service {
    Service::start(env!("CARGO_BIN_EXE_catalog"), &[])
}

pub fn payments() -> Service {
    Service::start(env!("CARGO_BIN_EXE_payments"), &[])
}

pub fn recommendations(catalog: &Service, environment: &[(&str, String)]) -> Service {
    let environment = [&[("CATALOG_URL", catalog.url())], environment].concat();
    Service::start(env!("CARGO_BIN_EXE_recommendations"), &environment)
}

pub fn orders(catalog: &str, payments: &str) -> Service {
    let environment = [("CATALOG_URL", catalog.to_owned()), ("PAYMENTS_URL", payments.to_owned())];
    Service::start(env!("CARGO_BIN_EXE_orders"), &environment)
}

pub fn storefront(catalog: &str, orders: &str, recommendations: &str) -> Service {
    let environment = [
        ("CATALOG_URL", catalog.to_owned()),
        ("ORDERS_URL", orders.to_owned()),
        ("RECOMMENDATIONS_URL", recommendations.to_owned()),
    ];
    Service::start(env!("CARGO_BIN_EXE_storefront"), &environment)
}
