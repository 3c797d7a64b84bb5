//! A service for tests, on the standard library alone, so that they need nothing installed. It listens on
//! `HOST:PORT` and does what the path asks for:
//!
//! - `/` says who answers: instance, process id and what of the environment tests look at;
//! - `/slow/250` answers at once with half of the body, and with the rest after 250 ms; `/late/250` answers
//!   after 250 ms;
//! - `/call/NAME/PATH` passes on the answer of `GET PATH` at `<NAME>_URL`;
//! - `/send/NAME/BODY` sends a message to the queue at `<NAME>_QUEUE_URL`, as a client without any library would;
//! - `/die/3` ends the process with status 3; `/sick` makes `/healthz` answer 500 from then on;
//! - `/note/FILE` appends the body of the request to a file as a line, and answers when it is on disk; while `FILE.refuse` is
//!   there it answers 500 instead;
//! - `/fork` starts a descendant that leaves its session, clears its environment and sleeps for ever.
//!
//! `STARTUP_MS` waits before it listens; `EXIT` ends at once with that status; `IGNORE_TERM` is deaf to
//! SIGTERM (through `trap` of the shell that `atoll.yaml` starts it under).

use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, exit};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::Duration;

static SICK: AtomicBool = AtomicBool::new(false);

fn main() {
    if let Ok(status) = env::var("EXIT") {
        eprintln!("ending at once, as told");
        exit(status.parse().unwrap_or(1));
    }
    if let Ok(millis) = env::var("STARTUP_MS") {
        sleep(Duration::from_millis(millis.parse().unwrap_or(0)));
    }
    let address = format!("{}:{}", setting("HOST", "127.0.0.1"), setting("PORT", "0"));
    let listener = match TcpListener::bind(&address) {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("cannot listen on {address}: {error}");
            exit(98);
        }
    };
    println!("listening on {address}");
    for stream in listener.incoming().flatten() {
        std::thread::spawn(move || {
            let _ = serve(stream); // the client has gone
        });
    }
}

fn setting(name: &str, default: &str) -> String {
    env::var(name).unwrap_or_else(|_| default.to_owned())
}

/// Answers requests on one connection until the client closes it.
fn serve(stream: TcpStream) -> std::io::Result<()> {
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head)? == 0 {
                return Ok(());
            }
        }
        let length = head
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok())
            .unwrap_or(0);
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let path = head.split(' ').nth(1).unwrap_or("/").to_owned();
        answer(&mut writer, &path, &head, &body)?;
        if head.to_ascii_lowercase().contains("connection: close") {
            return Ok(());
        }
    }
}

fn answer(to: &mut TcpStream, path: &str, head: &str, body: &[u8]) -> std::io::Result<()> {
    let mut parts = path.trim_start_matches('/').splitn(3, '/');
    match (parts.next().unwrap_or(""), parts.next(), parts.next()) {
        ("healthz", ..) if SICK.load(Ordering::Relaxed) => whole(to, "500 Sick", "sick\n"),
        ("healthz", ..) => whole(to, "200 OK", "well\n"),
        ("sick", ..) => {
            SICK.store(true, Ordering::Relaxed);
            whole(to, "200 OK", "sick from now on\n")
        }
        ("die", status, _) => exit(status.and_then(|text| text.parse().ok()).unwrap_or(1)),
        ("slow", millis, _) => {
            to.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nfirst")?;
            sleep(Duration::from_millis(millis.and_then(|text| text.parse().ok()).unwrap_or(0)));
            to.write_all(b"last\n")
        }
        ("late", millis, _) => {
            sleep(Duration::from_millis(millis.and_then(|text| text.parse().ok()).unwrap_or(0)));
            whole(to, "200 OK", "late\n")
        }
        ("note", Some(file), _) if std::path::Path::new(&format!("{file}.refuse")).exists() => {
            whole(to, "500 Refused", "not now\n")
        }
        ("note", Some(file), _) => {
            let mut file = std::fs::OpenOptions::new().create(true).append(true).open(file)?;
            file.write_all(&[body, b"\n"].concat())?;
            file.sync_all()?;
            whole(to, "200 OK", "noted\n")
        }
        ("headers", ..) => whole(to, "200 OK", head),
        ("call", Some(name), rest) => whole(to, "200 OK", &call(name, rest.unwrap_or(""), head)),
        ("send", Some(name), Some(text)) => whole(to, "200 OK", &send(name, text, head)),
        ("fork", ..) => {
            let child = Command::new("setsid").args(["--fork", "sleep", "1000"]).env_clear().spawn();
            whole(to, "200 OK", &format!("{}\n", child.is_ok()))
        }
        _ => whole(to, "200 OK", &who()),
    }
}

fn who() -> String {
    let mut lines: Vec<String> = env::vars()
        .filter(|(name, _)| {
            name.ends_with("_URL") || ["PORT", "GREETING", "OTEL_SERVICE_NAME"].contains(&name.as_str())
        })
        .map(|(name, value)| format!("{name}={value}\n"))
        .collect();
    lines.sort();
    format!("pid={}\n{}", std::process::id(), lines.concat())
}

/// The trace of a request, as a line for the next one: what every service should do.
fn trace_of(head: &str) -> String {
    let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with("traceparent:"));
    line.map(|line| format!("{line}\r\n")).unwrap_or_default()
}

fn send(name: &str, text: &str, head: &str) -> String {
    let variable = |name: &str| env::var(name).unwrap_or_default();
    let url = variable(&format!("{}_QUEUE_URL", name.to_uppercase()));
    let endpoint = variable("AWS_ENDPOINT_URL");
    let address = endpoint.trim_start_matches("http://");
    let body = format!(r#"{{"QueueUrl":"{url}","MessageBody":"{text}"}}"#);
    let sent = TcpStream::connect(address).and_then(|mut stream| {
        write!(
            stream,
            "POST / HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\nx-amz-target: AmazonSQS.SendMessage\r\n\
             content-type: application/x-amz-json-1.0\r\ncontent-length: {}\r\n{}\r\n{body}",
            body.len(),
            trace_of(head)
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    });
    sent.unwrap_or_else(|error| format!("{endpoint}: {error}\n"))
}

fn call(name: &str, path: &str, head: &str) -> String {
    let variable = format!("{}_URL", name.to_uppercase());
    let Ok(url) = env::var(&variable) else { return format!("no {variable}\n") };
    let address = url.trim_start_matches("http://").to_owned();
    let answer = TcpStream::connect(&address).and_then(|mut stream| {
        let trace = trace_of(head);
        write!(stream, "GET /{path} HTTP/1.1\r\nhost: {name}\r\nconnection: close\r\n{trace}\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    });
    answer.unwrap_or_else(|error| format!("{error}\n"))
}

fn whole(to: &mut TcpStream, status: &str, body: &str) -> std::io::Result<()> {
    write!(to, "HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}
