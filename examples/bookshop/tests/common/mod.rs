//! Runs the services for the tests, each as the process it is, and talks to them as any client would.
#![allow(dead_code, unreachable_pub, reason = "each test file has its own copy and uses a part of it")]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
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

    /// Ends it as the death of its process would.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
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
    orders_at(catalog, payments, &Pipes::start())
}

pub fn orders_at(catalog: &str, payments: &str, pipes: &Pipes) -> Service {
    let environment = [("CATALOG_URL", catalog.to_owned()), ("PAYMENTS_URL", payments.to_owned())];
    Service::start(env!("CARGO_BIN_EXE_orders"), &[&environment[..], &pipes.environment()].concat())
}

pub fn settlement(data_dir: &Path) -> Service {
    let data_dir = data_dir.display().to_string();
    Service::start(env!("CARGO_BIN_EXE_settlement"), &[("DATA_DIR", data_dir)])
}

pub fn notifications(data_dir: &Path, pipes: &Pipes) -> Service {
    let data_dir = ("DATA_DIR", data_dir.display().to_string());
    Service::start(env!("CARGO_BIN_EXE_notifications"), &[&[data_dir][..], &pipes.environment()].concat())
}

pub fn storefront(catalog: &str, orders: &str, recommendations: &str) -> Service {
    storefront_with(catalog, orders, recommendations, &nowhere())
}

pub fn storefront_with(catalog: &str, orders: &str, recommendations: &str, settlement: &str) -> Service {
    let environment = [
        ("CATALOG_URL", catalog.to_owned()),
        ("ORDERS_URL", orders.to_owned()),
        ("RECOMMENDATIONS_URL", recommendations.to_owned()),
        ("SETTLEMENT_URL", settlement.to_owned()),
    ];
    Service::start(env!("CARGO_BIN_EXE_storefront"), &environment)
}

/// Stands in for whatever has queues and topics: takes requests, and answers each as it is told to, else as if it had
/// done what was asked.
pub struct Pipes {
    address: SocketAddr,
    /// Heads and bodies of requests, as they came.
    asked: Receiver<(String, String)>,
    answers: SyncSender<(u16, String)>,
}

impl Pipes {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, asked) = sync_channel(100);
        let (answers, to_answer) = sync_channel::<(u16, String)>(100);
        std::thread::spawn(move || {
            for mut socket in listener.incoming().map_while(Result::ok) {
                let mut reader = BufReader::new(socket.try_clone().unwrap());
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).is_ok_and(|read| read > 0) {}
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
                if reader.read_exact(&mut body).is_err() {
                    continue;
                }
                let (status, answer) = to_answer.try_recv().unwrap_or((200, "{}".to_owned()));
                let length = answer.len();
                let answer = format!(
                    "HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{answer}"
                );
                let _ = socket.write_all(answer.as_bytes());
                let _ = tell.try_send((head, String::from_utf8(body).unwrap())); // nobody may be looking
            }
        });
        Self { address, asked, answers }
    }

    /// What the next requests are answered with, in turn.
    pub fn answer(&self, status: u16, body: &str) {
        self.answers.send((status, body.to_owned())).unwrap();
    }

    /// The next request.
    pub fn asked(&self) -> (String, String) {
        self.asked.recv_timeout(LIMIT).unwrap()
    }

    /// What a service is given to find it.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL", format!("http://{}", self.address)),
            ("AWS_REGION", "us-east-1".into()),
            ("AWS_ACCESS_KEY_ID", "AKIA234567ABCDEFGHIJ".into()),
            ("AWS_SECRET_ACCESS_KEY", "secret".into()),
            ("AWS_SESSION_TOKEN", String::new()),
            ("ORDER_PLACED_TOPIC_ARN", "arn:aws:sns:us-east-1:000000000000:order-placed".into()),
            ("LARGE_ORDERS_QUEUE_URL", format!("http://{}/000000000000/large-orders", self.address)),
        ]
    }
}

/// A directory of its own, gone with the test.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("bookshop-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
