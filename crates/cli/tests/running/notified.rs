//! An address that is subscribed to topics: it listens in the test itself and remembers what it is told.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use serde_json::Value;

use crate::world::{self, Answer, LIMIT, World};

/// The ARN of a topic.
pub(crate) fn arn(topic: &str) -> String {
    format!("arn:aws:sns:us-east-1:000000000000:{topic}")
}

/// What the address was told: one request.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    head: String,
    pub(crate) body: String,
}

impl Told {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }
}

/// A header field, by its name.
fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    fields.find_map(|(there, value)| there.eq_ignore_ascii_case(name).then(|| value.trim()))
}

#[derive(Default)]
struct Heard {
    all: Mutex<Vec<Told>>,
    more: Condvar,
}

/// The address.
pub(crate) struct Address {
    pub(crate) url: String,
    heard: Arc<Heard>,
}

impl Address {
    /// Listens until the test ends, and takes everything.
    pub(crate) fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let heard = Arc::new(Heard::default());
        let hears = Arc::clone(&heard);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let hears = Arc::clone(&hears);
                std::thread::spawn(move || while hear(&stream, &hears).is_ok() {});
            }
        });
        Self { url, heard }
    }

    /// Everything it was told so far.
    pub(crate) fn all(&self) -> Vec<Told> {
        self.heard.all.lock().unwrap().clone()
    }

    /// What it was told at this place in the order, once it was.
    pub(crate) fn at(&self, place: usize) -> Told {
        let deadline = Instant::now() + LIMIT;
        let mut all = self.heard.all.lock().unwrap();
        while all.len() <= place {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "number {place} of what is told has not come: {all:#?}");
            all = self.heard.more.wait_timeout(all, left).unwrap().0;
        }
        all[place].clone()
    }
}

/// Hears one request.
fn hear(stream: &TcpStream, heard: &Heard) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    let length = field(&head, "content-length").and_then(|length| length.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body)?;
    let body = String::from_utf8_lossy(&body).into_owned();
    heard.all.lock().unwrap().push(Told { head, body });
    heard.more.notify_all();
    (&*stream).write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
}

/// Where clients of queues and topics go.
pub(crate) fn face(world: &World) -> String {
    world.status().unwrap().pipes.unwrap().replace("http://", "")
}

/// Calls an action, as a client without any library would; what it answered.
pub(crate) fn call(address: &str, action: &str, parameters: &[(&str, &str)]) -> std::io::Result<Answer> {
    let escape = |text: &str| {
        let byte = |byte: u8| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        };
        text.bytes().map(byte).collect::<String>()
    };
    let mut body = format!("Action={action}");
    for (name, value) in parameters {
        body += &format!("&{name}={}", escape(value));
    }
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(LIMIT))?;
    write!(
        stream,
        "POST / HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-type: application/x-www-form-urlencoded\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    world::answer(&bytes)
}

/// The same, which must succeed: the body of the answer.
pub(crate) fn done(world: &World, action: &str, parameters: &[(&str, &str)]) -> String {
    let answer = call(&face(world), action, parameters).unwrap();
    assert_eq!(answer.status, 200, "{action}: {}", answer.body);
    answer.body
}

/// Goes to an address that a topic has told.
pub(crate) fn visit(url: &str) -> Answer {
    let (address, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    world::get(address, &format!("/{path}"))
}

/// Subscribes the address to a topic, and answers as it does.
pub(crate) fn subscribe(world: &World, topic: &str, to: &Address, attributes: &[(&str, &str)]) {
    let place = to.all().len();
    let mut parameters =
        vec![("TopicArn".to_owned(), arn(topic)), ("Protocol".to_owned(), "http".to_owned())];
    parameters.push(("Endpoint".to_owned(), to.url.clone()));
    for (number, (name, value)) in attributes.iter().enumerate() {
        parameters.push((format!("Attributes.entry.{}.key", number + 1), (*name).to_owned()));
        parameters.push((format!("Attributes.entry.{}.value", number + 1), (*value).to_owned()));
    }
    let parameters: Vec<_> = parameters.iter().map(|(name, value)| (&**name, &**value)).collect();
    done(world, "Subscribe", &parameters);
    let question = to.at(place).json();
    assert_eq!(visit(question["SubscribeURL"].as_str().unwrap()).status, 200);
}
