//! A table as a queue in PostgreSQL: `INSERT`; `DELETE` of what `FOR UPDATE SKIP LOCKED` finds first. One
//! prepared statement for each connection.

use std::net::SocketAddr;

use super::body;
use super::line::Line;
use crate::bench::queues::load::Work;

/// Whom to be; the server under measurement trusts everybody on loopback.
const USER: &str = "bench";

/// One connection.
pub(crate) struct Client {
    line: Line,
    sends: usize,
}

impl Client {
    pub(super) async fn open(address: SocketAddr, work: Work) -> Result<Self, String> {
        let mut client = Self::connect(address).await?;
        let mut request = Vec::new();
        let (Work::Send(batch) | Work::Take(batch) | Work::Cycle(batch)) = work;
        prepare(&mut request, "send", &insert(batch));
        prepare(&mut request, "take", TAKE);
        message(&mut request, b'S', &[]);
        client.line.write(&request).await?;
        client.until_ready().await?;
        Ok(client)
    }

    async fn connect(address: SocketAddr) -> Result<Self, String> {
        let mut line = Line::open(address).await?;
        let mut hello = Vec::from(196_608_u32.to_be_bytes()); // protocol 3.0
        for word in ["user", USER, "database", "postgres", ""] {
            text(&mut hello, word);
        }
        let mut request = Vec::from((hello.len() as u32 + 4).to_be_bytes());
        request.extend(hello);
        line.write(&request).await?;
        let mut client = Self { line, sends: 0 };
        client.until_ready().await?;
        Ok(client)
    }

    pub(super) async fn send(&mut self, batch: usize) -> Result<usize, String> {
        let bodies: Vec<_> = (0..batch).map(|at| body(self.sends + at)).collect();
        self.sends += batch;
        self.execute("send", &bodies).await?;
        Ok(batch)
    }

    pub(super) async fn take(&mut self, batch: usize) -> Result<usize, String> {
        self.execute("take", &[batch.to_string()]).await
    }

    /// Runs a prepared statement; how many rows it gave.
    async fn execute(&mut self, statement: &str, values: &[String]) -> Result<usize, String> {
        let mut request = Vec::with_capacity(values.len() * 1100 + 100);
        let mut bind = Vec::new();
        text(&mut bind, "");
        text(&mut bind, statement);
        bind.extend(0_u16.to_be_bytes()); // all values as text
        bind.extend((values.len() as u16).to_be_bytes());
        for value in values {
            bind.extend((value.len() as u32).to_be_bytes());
            bind.extend(value.as_bytes());
        }
        bind.extend(0_u16.to_be_bytes());
        message(&mut request, b'B', &bind);
        let mut run = Vec::new();
        text(&mut run, "");
        run.extend(0_u32.to_be_bytes()); // all rows
        message(&mut request, b'E', &run);
        message(&mut request, b'S', &[]);
        self.line.write(&request).await?;
        self.until_ready().await
    }

    /// Reads until the server is ready for more; how many rows came meanwhile.
    async fn until_ready(&mut self) -> Result<usize, String> {
        let (mut rows, mut failure) = (0, None);
        loop {
            match self.line.read(parse).await? {
                Told::Row => rows += 1,
                Told::Other => {}
                Told::Error(text) => failure = Some(text),
                Told::Fatal(text) => return Err(text),
                Told::Ready => return failure.map_or(Ok(rows), Err),
            }
        }
    }
}

/// The oldest that nobody else has under way.
const TAKE: &str = "DELETE FROM q WHERE id IN \
    (SELECT id FROM q ORDER BY id FOR UPDATE SKIP LOCKED LIMIT $1::int8) RETURNING body";

fn insert(batch: usize) -> String {
    let values: Vec<_> = (1..=batch).map(|number| format!("(${number})")).collect();
    format!("INSERT INTO q (body) VALUES {}", values.join(","))
}

/// Makes the table anew.
pub(super) async fn reset(address: SocketAddr) -> Result<(), String> {
    let mut client = Client::connect(address).await?;
    for statement in [
        "DROP TABLE IF EXISTS q",
        "CREATE TABLE q (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body text NOT NULL)",
    ] {
        let (mut request, mut query) = (Vec::new(), Vec::new());
        text(&mut query, statement);
        message(&mut request, b'Q', &query);
        client.line.write(&request).await?;
        client.until_ready().await?;
    }
    Ok(())
}

fn prepare(to: &mut Vec<u8>, name: &str, statement: &str) {
    let mut parse = Vec::new();
    text(&mut parse, name);
    text(&mut parse, statement);
    parse.extend(0_u16.to_be_bytes());
    message(to, b'P', &parse);
}

fn text(to: &mut Vec<u8>, word: &str) {
    to.extend_from_slice(word.as_bytes());
    to.push(0);
}

fn message(to: &mut Vec<u8>, kind: u8, content: &[u8]) {
    to.push(kind);
    to.extend((content.len() as u32 + 4).to_be_bytes());
    to.extend_from_slice(content);
}

/// What the server says, as far as it matters.
#[derive(Debug, PartialEq)]
enum Told {
    Row,
    Ready,
    Error(String),
    /// It will say nothing more.
    Fatal(String),
    Other,
}

/// The message at the start of `bytes` and its length; `None` while it is not whole.
fn parse(bytes: &[u8]) -> Result<Option<(Told, usize)>, String> {
    let Some((kind, rest)) = bytes.split_first() else { return Ok(None) };
    let Some(length) = rest.first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_be_bytes(*length) as usize;
    if length < 4 {
        return Err(format!("a message of {length} bytes"));
    }
    let Some(content) = rest.get(4..length) else { return Ok(None) };
    let told = match kind {
        b'D' => Told::Row,
        b'Z' => Told::Ready,
        b'E' => match failure(content) {
            (true, text) => Told::Fatal(text),
            (false, text) => Told::Error(text),
        },
        b'R' if content.first_chunk::<4>() != Some(&[0; 4]) => {
            Told::Fatal("the server wants a password".into())
        }
        _ => Told::Other,
    };
    Ok(Some((told, length + 1)))
}

/// Whether an error ends the connection, and its text: fields that begin with a letter and end with 0.
fn failure(content: &[u8]) -> (bool, String) {
    let (mut fatal, mut said) = (false, String::new());
    for field in content.split(|byte| *byte == 0) {
        match field.split_first() {
            Some((b'S', severity)) => fatal = severity != b"ERROR",
            Some((b'M', text)) => said = String::from_utf8_lossy(text).into_owned(),
            _ => {}
        }
    }
    (fatal, said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_carry_their_kind_and_length() {
        let mut bytes = Vec::new();
        message(&mut bytes, b'D', b"row");
        message(&mut bytes, b'Z', b"I");
        assert_eq!(parse(&bytes[..7]).unwrap(), None);
        assert_eq!(parse(&bytes).unwrap(), Some((Told::Row, 8)));
        assert_eq!(parse(&bytes[8..]).unwrap(), Some((Told::Ready, 6)));
        assert!(parse(&[b'Z', 0, 0, 0, 3]).is_err());
        assert_eq!(insert(2), "INSERT INTO q (body) VALUES ($1),($2)");
    }

    #[test]
    fn an_error_says_whether_it_ends_the_connection() {
        let mut bytes = Vec::new();
        message(&mut bytes, b'E', b"SFATAL\0C53300\0Mtoo many\0\0");
        assert_eq!(parse(&bytes).unwrap().unwrap().0, Told::Fatal("too many".into()));
        bytes.clear();
        message(&mut bytes, b'E', b"SERROR\0Mno table\0\0");
        assert_eq!(parse(&bytes).unwrap().unwrap().0, Told::Error("no table".into()));
        bytes.clear();
        message(&mut bytes, b'R', &[0, 0, 0, 5]);
        assert!(matches!(parse(&bytes).unwrap().unwrap().0, Told::Fatal(_)));
    }
}
