//! The JSON protocol of SQS over HTTP/1.1, connections kept alive. Every request is signed; what is known
//! before the run, is signed before it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use super::body;
use super::line::Line;
use super::sigv4::{Keys, Signer};
use crate::bench::queues::load::Work;

/// Different sends that each connection cycles through.
const VARIANTS: usize = 8;

/// Header lines of an answer.
const MAX_LINES: usize = 32;

/// For how long a long poll waits, in seconds: the most there is.
pub(crate) const LONG_POLL: u64 = 20;

/// Where queues are. The one in use is made anew for each measurement: one may be emptied only once a minute.
#[derive(Debug)]
pub(crate) struct Place {
    /// Where the server listens.
    pub(crate) address: SocketAddr,
    /// Who signs.
    pub(crate) keys: Keys,
    /// Queues are below this.
    pub(crate) base: String,
    /// How many there were; the last one is in use.
    made: AtomicU64,
}

impl Place {
    /// No queue is in use yet.
    pub(crate) fn new(address: SocketAddr, keys: Keys, base: String) -> Self {
        Self { address, keys, base, made: AtomicU64::new(0) }
    }

    /// The name of the queue in use.
    fn queue(&self) -> String {
        format!("bench-{}", self.made.load(Ordering::Relaxed))
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        format!("{}/{}", self.base, self.queue())
    }
}

/// One connection.
pub(crate) struct Client {
    address: SocketAddr,
    signer: Signer,
    /// `None`: the server has closed it.
    line: Option<Line>,
    url: String,
    sends: Vec<Vec<u8>>,
    next: usize,
    receive: Vec<u8>,
}

impl Client {
    pub(crate) async fn open(place: &Place, number: usize, work: Work) -> Result<Self, String> {
        let signer = Signer::now(&place.keys, &place.address.to_string());
        let url = place.url();
        let (mut sends, mut receive) = (Vec::new(), Vec::new());
        if let Work::Send(batch) | Work::Cycle(batch) = work {
            sends.extend((0..VARIANTS).map(|n| send(&signer, &url, (number * VARIANTS + n) * 10, batch)));
        }
        if let Work::Take(batch) | Work::Cycle(batch) = work {
            receive = receive_of(&signer, &url, batch, 0);
        }
        let line = Some(Line::open(place.address).await?);
        Ok(Self { address: place.address, signer, line, url, sends, next: 0, receive })
    }

    /// A connection to ask for anything.
    pub(crate) async fn plain(place: &Place) -> Result<Self, String> {
        Self::open(place, 0, Work::Take(1)).await
    }

    pub(super) async fn send(&mut self, batch: usize) -> Result<usize, String> {
        let request = std::mem::take(&mut self.sends[self.next]);
        let answer = self.exchange(&request).await;
        self.sends[self.next] = request;
        self.next = (self.next + 1) % self.sends.len();
        whole(&answer?)?;
        Ok(batch)
    }

    pub(super) async fn take(&mut self, _batch: usize) -> Result<usize, String> {
        let request = std::mem::take(&mut self.receive);
        let answer = self.exchange(&request).await;
        self.receive = request;
        let handles = receipts(&answer?);
        let request = match handles.as_slice() {
            [] => return Ok(0),
            [one] => {
                let text = format!(r#"{{"QueueUrl":"{}","ReceiptHandle":"{one}"}}"#, self.url);
                self.signer.request("DeleteMessage", text.as_bytes())
            }
            many => {
                let entry =
                    |(id, handle): (usize, &String)| format!(r#"{{"Id":"{id}","ReceiptHandle":"{handle}"}}"#);
                let entries: Vec<_> = many.iter().enumerate().map(entry).collect();
                let text = format!(r#"{{"QueueUrl":"{}","Entries":[{}]}}"#, self.url, entries.join(","));
                self.signer.request("DeleteMessageBatch", text.as_bytes())
            }
        };
        whole(&self.exchange(&request).await?)?;
        Ok(handles.len())
    }

    /// A receive that waits; whether it gave a message.
    pub(crate) async fn poll(&mut self) -> Result<bool, String> {
        let request = receive_of(&self.signer, &self.url, 1, LONG_POLL);
        Ok(!receipts(&self.exchange(&request).await?).is_empty())
    }

    /// Any action; the answer's body.
    pub(crate) async fn ask(&mut self, action: &str, input: &str) -> Result<Vec<u8>, String> {
        let request = self.signer.request(action, input.as_bytes());
        self.exchange(&request).await
    }

    async fn exchange(&mut self, request: &[u8]) -> Result<Vec<u8>, String> {
        // Put back once the answer is whole: a connection in the middle of one is of no use.
        let mut line = match self.line.take() {
            Some(line) => line,
            None => Line::open(self.address).await?,
        };
        line.write(request).await?;
        let answer = line.read(parse).await?;
        if !answer.close {
            self.line = Some(line);
        }
        if answer.status != 200 {
            let text: String = String::from_utf8_lossy(&answer.body).chars().take(200).collect();
            return Err(format!("status {}: {text}", answer.status));
        }
        Ok(answer.body)
    }
}

/// Takes the queue away and makes another one.
pub(super) async fn reset(place: &Place) -> Result<(), String> {
    let mut client = Client::plain(place).await?;
    if place.made.load(Ordering::Relaxed) > 0 {
        let delete = format!(r#"{{"QueueUrl":"{}"}}"#, place.url());
        client.ask("DeleteQueue", &delete).await?;
    }
    place.made.fetch_add(1, Ordering::Relaxed);
    let create = format!(r#"{{"QueueName":"{}","Attributes":{{"VisibilityTimeout":"600"}}}}"#, place.queue());
    client.ask("CreateQueue", &create).await?;
    Ok(())
}

fn send(signer: &Signer, url: &str, number: usize, batch: usize) -> Vec<u8> {
    if batch == 1 {
        let text = format!(r#"{{"QueueUrl":"{url}","MessageBody":"{}"}}"#, body(number));
        return signer.request("SendMessage", text.as_bytes());
    }
    let entry = |id: usize| format!(r#"{{"Id":"{id}","MessageBody":"{}"}}"#, body(number + id));
    let entries: Vec<_> = (0..batch).map(entry).collect();
    let text = format!(r#"{{"QueueUrl":"{url}","Entries":[{}]}}"#, entries.join(","));
    signer.request("SendMessageBatch", text.as_bytes())
}

fn receive_of(signer: &Signer, url: &str, batch: usize, wait: u64) -> Vec<u8> {
    let text = format!(r#"{{"QueueUrl":"{url}","MaxNumberOfMessages":{batch},"WaitTimeSeconds":{wait}}}"#);
    signer.request("ReceiveMessage", text.as_bytes())
}

/// What matters of an answer.
struct Answer {
    status: u16,
    close: bool,
    body: Vec<u8>,
}

/// The answer at the start of `bytes` and its length; `None` while it is not whole.
fn parse(bytes: &[u8]) -> Result<Option<(Answer, usize)>, String> {
    let mut lines = [httparse::EMPTY_HEADER; MAX_LINES];
    let mut response = httparse::Response::new(&mut lines);
    let parsed = response.parse(bytes).map_err(|error| format!("a bad head: {error}"))?;
    let httparse::Status::Complete(head) = parsed else { return Ok(None) };
    let (mut length, mut close) = (None, response.version == Some(0));
    for line in response.headers.iter() {
        if line.name.eq_ignore_ascii_case("content-length") {
            let text = std::str::from_utf8(line.value).unwrap_or_default();
            length = Some(text.parse::<usize>().map_err(|_| format!("content-length {text}"))?);
        } else if line.name.eq_ignore_ascii_case("connection") {
            close = line.value.eq_ignore_ascii_case(b"close");
        }
    }
    let status = response.code.unwrap_or_default();
    let length = length.ok_or_else(|| format!("status {status} without content-length"))?;
    let Some(body) = bytes.get(head..head + length) else { return Ok(None) };
    Ok(Some((Answer { status, close, body: body.to_vec() }, head + length)))
}

/// All receipt handles in the answer to a receive.
fn receipts(answer: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(answer);
    let behind = text.split("\"ReceiptHandle\":").skip(1);
    // A handle has nothing that JSON would write in another way.
    behind
        .filter_map(|rest| Some(rest.trim_start().strip_prefix('"')?.split('"').next()?.to_owned()))
        .collect()
}

/// Whether all entries of a batch were done.
fn whole(answer: &[u8]) -> Result<(), String> {
    let text = String::from_utf8_lossy(answer);
    match text.split_once("\"Failed\":") {
        Some((_, failed)) if !failed.trim_start().trim_start_matches('[').trim_start().starts_with(']') => {
            Err(format!("in a batch: {}", failed.chars().take(200).collect::<String>()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_once_its_body_is_whole() {
        let text = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}HTTP";
        assert!(parse(&text[..text.len() - 5]).unwrap().is_none());
        let (answer, length) = parse(text).unwrap().unwrap();
        assert_eq!((answer.status, answer.close, answer.body.as_slice()), (200, false, &b"{}"[..]));
        assert_eq!(length, text.len() - 4);
        let (answer, _) = parse(b"HTTP/1.0 404 No\r\nContent-Length: 0\r\n\r\n").unwrap().unwrap();
        assert_eq!((answer.status, answer.close), (404, true));
        assert!(parse(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
    }

    #[test]
    fn receipts_are_found_however_the_answer_is_spaced() {
        let answer =
            br#"{"Messages":[{"Body":"x","ReceiptHandle":"a1"},{"ReceiptHandle": "b2","Body":"y"}]}"#;
        assert_eq!(receipts(answer), ["a1", "b2"]);
        assert!(receipts(b"{}").is_empty());
    }

    #[test]
    fn a_batch_is_whole_if_nothing_failed() {
        assert!(whole(br#"{"Successful":[{"Id":"0"}]}"#).is_ok());
        assert!(whole(br#"{"Successful":[],"Failed": []}"#).is_ok());
        assert!(whole(br#"{"Failed":[{"Id":"3","Code":"Throttling"}]}"#).is_err());
    }
}
