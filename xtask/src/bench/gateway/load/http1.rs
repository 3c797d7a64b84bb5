//! A connection of HTTP/1.1: requests made beforehand, answers checked and thrown away.

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Job, Target, Wire, connect};

/// Header lines of an answer.
const MAX_LINES: usize = 64;

/// Bytes to read at once.
const BUFFER: usize = 16 << 10;

/// One connection.
pub(super) struct Line {
    target: Target,
    /// `None`: not open, or broken.
    stream: Option<Box<dyn Wire>>,
    buffer: BytesMut,
    requests: Vec<Vec<u8>>,
    next: usize,
    /// Bytes that the body of an answer must have.
    body: usize,
}

impl Line {
    /// Not open yet.
    pub(super) fn new(job: &Job, number: usize) -> Self {
        let token = job.ask.token(number);
        let requests = job.ask.paths_of(number).into_iter().map(|path| request(path, token)).collect();
        let buffer = BytesMut::with_capacity(BUFFER);
        Self { target: job.target.clone(), stream: None, buffer, requests, next: 0, body: job.ask.body }
    }

    /// Opens a connection unless there is one that can be used.
    pub(super) async fn open(&mut self) -> Result<(), String> {
        if self.stream.is_some() {
            return Ok(());
        }
        self.buffer.clear();
        self.stream = Some(connect(&self.target).await?);
        Ok(())
    }

    /// One request and its whole answer.
    pub(super) async fn exchange(&mut self) -> Result<(), String> {
        // Put back once the answer is whole: a connection in the middle of one is of no use.
        let Some(mut stream) = self.stream.take() else { return Err("not connected".into()) };
        let request = &self.requests[self.next];
        self.next = (self.next + 1) % self.requests.len();
        stream.write_all(request).await.map_err(|error| format!("write: {error}"))?;
        let answer = loop {
            if let Some(answer) = head(&self.buffer)? {
                break answer;
            }
            read(&mut stream, &mut self.buffer).await?;
        };
        self.buffer.advance(answer.head);
        let mut left = answer.body;
        loop {
            let here = left.min(self.buffer.len());
            self.buffer.advance(here);
            left -= here;
            if left == 0 {
                break;
            }
            read(&mut stream, &mut self.buffer).await?;
        }
        if !answer.close {
            self.stream = Some(stream);
        }
        if answer.status != 200 {
            return Err(format!("status {}{}", answer.status, answer.cause));
        }
        if answer.body != self.body {
            return Err(format!("a body of {} bytes", answer.body));
        }
        self.open().await
    }
}

async fn read(stream: &mut Box<dyn Wire>, buffer: &mut BytesMut) -> Result<(), String> {
    buffer.reserve(BUFFER);
    match stream.read_buf(buffer).await {
        Ok(0) => Err("closed before the end of the answer".into()),
        Ok(_) => Ok(()),
        Err(error) => Err(format!("read: {error}")),
    }
}

/// What a client that is no browser sends.
fn request(path: &str, token: Option<&str>) -> Vec<u8> {
    let mut text = format!(
        "GET {path} HTTP/1.1\r\nhost: bench.test\r\nuser-agent: atoll-bench/1\r\naccept: application/json\r\n"
    );
    if let Some(token) = token {
        text.push_str(&format!("authorization: Bearer {token}\r\n"));
    }
    text.push_str("\r\n");
    text.into_bytes()
}

/// What matters of an answer.
struct Answer {
    status: u16,
    /// Bytes.
    head: usize,
    /// Bytes.
    body: usize,
    close: bool,
    /// Who failed, if it is told: RFC 9209.
    cause: String,
}

/// The head at the start of `bytes`; `None` while it is not whole.
fn head(bytes: &[u8]) -> Result<Option<Answer>, String> {
    let mut lines = [httparse::EMPTY_HEADER; MAX_LINES];
    let mut response = httparse::Response::new(&mut lines);
    let parsed = response.parse(bytes).map_err(|error| format!("a bad head: {error}"))?;
    let httparse::Status::Complete(head) = parsed else { return Ok(None) };
    let status = response.code.unwrap_or_default();
    let mut answer = Answer { status, head, body: 0, close: false, cause: String::new() };
    let mut framed = false;
    for line in response.headers.iter() {
        if line.name.eq_ignore_ascii_case("content-length") {
            let text = std::str::from_utf8(line.value).unwrap_or_default();
            answer.body = text.parse().map_err(|_| format!("content-length {text}"))?;
            framed = true;
        } else if line.name.eq_ignore_ascii_case("connection") {
            answer.close = line.value.eq_ignore_ascii_case(b"close");
        } else if status != 200 && line.name.eq_ignore_ascii_case("proxy-status") {
            answer.cause = format!(" ({})", String::from_utf8_lossy(line.value));
        }
    }
    if !framed {
        return Err(format!("status {status} without content-length"));
    }
    Ok(Some(answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_once_it_is_whole_and_must_tell_the_length() {
        let text =
            b"HTTP/1.1 503 Busy\r\nContent-Length: 3\r\nProxy-Status: atoll\r\nConnection: close\r\n\r\nno\n";
        assert!(head(&text[..40]).unwrap().is_none());
        let answer = head(text).unwrap().unwrap();
        assert_eq!((answer.status, answer.head + answer.body, answer.close), (503, text.len(), true));
        assert_eq!(answer.cause, " (atoll)");
        assert!(head(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
    }
}
