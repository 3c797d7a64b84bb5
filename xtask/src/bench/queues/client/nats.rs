//! NATS JetStream: a publish that is acknowledged; a pull, then acknowledgements that are acknowledged.

use std::net::SocketAddr;

use super::body;
use super::line::Line;

/// Where messages are published, and what keeps and hands them out.
const SUBJECT: &str = "bench";
const STREAM: &str = "BENCH";
const CONSUMER: &str = "workers";

/// For how long a pull waits, in nanoseconds.
const PULL_WAIT: u64 = 1_000_000_000;

/// One connection. Answers come to its inbox: `.p` to publishes and other requests, `.m` pulled messages,
/// `.a` to acknowledgements.
pub(crate) struct Client {
    line: Line,
    inbox: String,
    sends: usize,
}

impl Client {
    pub(super) async fn open(address: SocketAddr, number: usize) -> Result<Self, String> {
        let mut line = Line::open(address).await?;
        let inbox = format!("_INBOX.c{number}");
        line.read(parse).await.and_then(|told| match told {
            Told::Info => Ok(()),
            other => Err(format!("greeted with {other:?}")),
        })?;
        let hello = r#"{"verbose":false,"pedantic":false,"headers":true,"no_responders":true,"lang":"bench","version":"1"}"#;
        line.write(format!("CONNECT {hello}\r\nSUB {inbox}.* 1\r\nPING\r\n").as_bytes()).await?;
        loop {
            match line.read(parse).await? {
                Told::Pong => break,
                Told::Error(text) => return Err(text),
                _ => {}
            }
        }
        Ok(Self { line, inbox, sends: number * 1000 })
    }

    pub(super) async fn send(&mut self, batch: usize) -> Result<usize, String> {
        let mut request = Vec::with_capacity(batch * 1200);
        for _ in 0..batch {
            self.sends += 1;
            publish(&mut request, SUBJECT, &format!("{}.p", self.inbox), &body(self.sends));
        }
        self.line.write(&request).await?;
        for _ in 0..batch {
            let message = self.message().await?;
            if !message.text.contains("\"seq\"") {
                return Err(refusal(&message));
            }
        }
        Ok(batch)
    }

    pub(super) async fn take(&mut self, batch: usize) -> Result<usize, String> {
        let mut request = Vec::new();
        let pull = format!("$JS.API.CONSUMER.MSG.NEXT.{STREAM}.{CONSUMER}");
        let want = format!("{{\"batch\":{batch},\"expires\":{PULL_WAIT}}}");
        publish(&mut request, &pull, &format!("{}.m", self.inbox), &want);
        self.line.write(&request).await?;
        let mut replies = Vec::new();
        while replies.len() < batch {
            let message = self.message().await?;
            match message.reply {
                Some(reply) if message.status.is_empty() => replies.push(reply),
                _ => break, // a status: no more messages
            }
        }
        request.clear();
        for reply in &replies {
            publish(&mut request, reply, &format!("{}.a", self.inbox), "+ACK");
        }
        self.line.write(&request).await?;
        for _ in &replies {
            let message = self.message().await?;
            if !message.status.is_empty() {
                return Err(refusal(&message));
            }
        }
        Ok(replies.len())
    }

    /// Asks and gives the answer's text.
    async fn ask(&mut self, subject: &str, text: &str) -> Result<String, String> {
        let mut request = Vec::new();
        publish(&mut request, subject, &format!("{}.p", self.inbox), text);
        self.line.write(&request).await?;
        Ok(self.message().await?.text)
    }

    async fn message(&mut self) -> Result<Message, String> {
        loop {
            match self.line.read(parse).await? {
                Told::Message(message) => return Ok(message),
                Told::Error(text) => return Err(text),
                Told::Ping => self.line.write(b"PONG\r\n").await?,
                Told::Info | Told::Pong | Told::Fine => {}
            }
        }
    }
}

/// Takes the stream away and makes it anew, with its consumer.
pub(super) async fn reset(address: SocketAddr) -> Result<(), String> {
    let mut client = Client::open(address, 0).await?;
    client.ask(&format!("$JS.API.STREAM.DELETE.{STREAM}"), "").await?; // it may not be there
    let stream = format!(
        r#"{{"name":"{STREAM}","subjects":["{SUBJECT}"],"retention":"workqueue","storage":"file","num_replicas":1,"discard":"old"}}"#
    );
    let made = client.ask(&format!("$JS.API.STREAM.CREATE.{STREAM}"), &stream).await?;
    let consumer = format!(
        r#"{{"stream_name":"{STREAM}","config":{{"durable_name":"{CONSUMER}","ack_policy":"explicit","ack_wait":600000000000,"max_ack_pending":-1,"max_waiting":1024,"deliver_policy":"all"}}}}"#
    );
    let joined =
        client.ask(&format!("$JS.API.CONSUMER.DURABLE.CREATE.{STREAM}.{CONSUMER}"), &consumer).await?;
    for answer in [made, joined] {
        if answer.contains("\"error\"") {
            return Err(answer);
        }
    }
    Ok(())
}

fn publish(to: &mut Vec<u8>, subject: &str, reply: &str, text: &str) {
    to.extend_from_slice(format!("PUB {subject} {reply} {}\r\n", text.len()).as_bytes());
    to.extend_from_slice(text.as_bytes());
    to.extend_from_slice(b"\r\n");
}

fn refusal(message: &Message) -> String {
    format!("refused: {} {}", message.status, message.text.chars().take(200).collect::<String>())
}

/// What the server says.
#[derive(Debug, PartialEq)]
enum Told {
    Info,
    Fine,
    Ping,
    Pong,
    Error(String),
    Message(Message),
}

#[derive(Debug, PartialEq)]
struct Message {
    /// Where an acknowledgement goes.
    reply: Option<String>,
    /// In its headers: why this is no message.
    status: String,
    text: String,
}

/// What is at the start of `bytes` and its length; `None` while it is not whole.
fn parse(bytes: &[u8]) -> Result<Option<(Told, usize)>, String> {
    let Some(end) = bytes.windows(2).position(|pair| pair == b"\r\n") else { return Ok(None) };
    let line = std::str::from_utf8(&bytes[..end]).map_err(|error| error.to_string())?;
    let at = end + 2;
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    let told = match verb {
        "INFO" => Told::Info,
        "+OK" => Told::Fine,
        "PING" => Told::Ping,
        "PONG" => Told::Pong,
        "-ERR" => Told::Error(rest.to_owned()),
        "MSG" | "HMSG" => {
            let bad = || format!("a bad line: {line}");
            let mut words: Vec<&str> = rest.split(' ').filter(|word| !word.is_empty()).collect();
            let mut length = || words.pop()?.parse::<usize>().ok();
            let total = length().ok_or_else(bad)?;
            let head = if verb == "HMSG" { length().ok_or_else(bad)? } else { 0 };
            let (Some(content), true) = (bytes.get(at..at + total), bytes.len() >= at + total + 2) else {
                return Ok(None);
            };
            let head = content.get(..head).ok_or_else(bad)?;
            let text = String::from_utf8_lossy(&content[head.len()..]).into_owned();
            let status = String::from_utf8_lossy(head);
            let status = status.lines().next().unwrap_or_default().trim_start_matches("NATS/1.0").trim();
            let reply = words.get(2).map(|word| (*word).to_owned());
            let message = Message { reply, status: status.to_owned(), text };
            return Ok(Some((Told::Message(message), at + total + 2)));
        }
        _ => return Err(format!("a strange line: {line}")),
    };
    Ok(Some((told, at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_once_they_are_whole_with_where_to_acknowledge() {
        let text = b"MSG bench 1 $JS.ACK.x 5\r\nhello\r\nPING\r\n";
        assert_eq!(parse(&text[..30]).unwrap(), None);
        let (told, length) = parse(text).unwrap().unwrap();
        let Told::Message(message) = told else { panic!("{told:?}") };
        assert_eq!((message.reply.as_deref(), message.text.as_str()), (Some("$JS.ACK.x"), "hello"));
        assert_eq!(parse(&text[length..]).unwrap(), Some((Told::Ping, 6)));
    }

    #[test]
    fn a_status_is_no_message() {
        let head = "NATS/1.0 408 Request Timeout\r\n\r\n";
        let text = format!("HMSG _INBOX.c1.m 1 {} {}\r\n{head}\r\n", head.len(), head.len());
        let Some((Told::Message(message), _)) = parse(text.as_bytes()).unwrap() else { panic!() };
        assert_eq!((message.reply, message.status.as_str()), (None, "408 Request Timeout"));
        assert!(parse(b"MSG a 1 x\r\n").is_err() && parse(b"WHAT\r\n").is_err());
    }
}
