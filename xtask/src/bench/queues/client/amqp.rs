//! RabbitMQ over AMQP 0-9-1: persistent messages with publisher confirms; a consumer with as many messages
//! ahead as it acknowledges at once. Acknowledgements of a consumer are not answered in this protocol.

use std::net::SocketAddr;

use super::line::Line;
use super::{BODY, body};
use crate::bench::queues::load::Work;

/// The only channel of a connection.
const CHANNEL: u16 = 1;

/// Kinds of frame, and how one ends.
const METHOD: u8 = 1;
const HEADER: u8 = 2;
const CONTENT: u8 = 3;
const HEARTBEAT: u8 = 8;
const END: u8 = 0xce;

/// Methods by class and number.
const CONNECTION_START: (u16, u16) = (10, 10);
const CONNECTION_TUNE: (u16, u16) = (10, 30);
const CONNECTION_OPEN_OK: (u16, u16) = (10, 41);
const CHANNEL_OPEN_OK: (u16, u16) = (20, 11);
const DECLARE_OK: (u16, u16) = (50, 11);
const PURGE_OK: (u16, u16) = (50, 31);
const QOS_OK: (u16, u16) = (60, 11);
const CONSUME_OK: (u16, u16) = (60, 21);
const DELIVER: (u16, u16) = (60, 60);
const ACK: (u16, u16) = (60, 80);
const SELECT_OK: (u16, u16) = (85, 11);

/// Where it is, and which kind of queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// A replicated queue, of one replica here; else a classic one.
    pub(crate) quorum: bool,
}

impl Place {
    fn queue(self) -> &'static str {
        if self.quorum { "bench-quorum" } else { "bench" }
    }
}

/// The kind of a frame, and its content.
type Frame = (u8, Vec<u8>);

/// One connection with one channel.
pub(crate) struct Client {
    line: Line,
    queue: &'static str,
    /// Messages published so far: the tag of the last one.
    published: u64,
    /// Up to this tag the server has confirmed.
    confirmed: u64,
}

impl Client {
    pub(super) async fn open(place: Place, work: Work) -> Result<Self, String> {
        let mut client = Self::connect(place).await?;
        let mut request = Vec::new();
        match work {
            Work::Send(_) => {}
            Work::Take(batch) | Work::Cycle(batch) => {
                // Prefetch: no more than what is acknowledged at once.
                method(&mut request, (60, 10), |to| {
                    to.extend(0_u32.to_be_bytes());
                    to.extend((batch as u16).to_be_bytes());
                    to.push(0);
                });
                method(&mut request, (60, 20), |to| {
                    to.extend(0_u16.to_be_bytes());
                    short(to, client.queue);
                    short(to, "");
                    to.push(0);
                    to.extend(0_u32.to_be_bytes());
                });
                client.line.write(&request).await?;
                client.expect(QOS_OK).await?;
                // Messages may come right behind the answer; they are read later.
                client.expect(CONSUME_OK).await?;
            }
        }
        Ok(client)
    }

    async fn connect(place: Place) -> Result<Self, String> {
        let line = Line::open(place.address).await?;
        let mut client = Self { line, queue: place.queue(), published: 0, confirmed: 0 };
        client.line.write(b"AMQP\0\0\x09\x01").await?;
        client.expect(CONNECTION_START).await?;
        let mut request = Vec::new();
        frame(&mut request, METHOD, 0, &{
            let mut start = head((10, 11));
            start.extend(0_u32.to_be_bytes()); // no properties
            short(&mut start, "PLAIN");
            long(&mut start, b"\0guest\0guest");
            short(&mut start, "en_US");
            start
        });
        client.line.write(&request).await?;
        let tune = client.expect(CONNECTION_TUNE).await?;
        request.clear();
        frame(&mut request, METHOD, 0, &{
            let mut ok = head((10, 31));
            ok.extend(tune.get(4..10).unwrap_or(&[0; 6])); // channels and frame size as offered
            ok.extend(0_u16.to_be_bytes()); // no heartbeats
            ok
        });
        frame(&mut request, METHOD, 0, &{
            let mut open = head((10, 40));
            short(&mut open, "/");
            short(&mut open, "");
            open.push(0);
            open
        });
        client.line.write(&request).await?;
        client.expect(CONNECTION_OPEN_OK).await?;
        request.clear();
        method(&mut request, (20, 10), |to| short(to, ""));
        method(&mut request, (85, 10), |to| to.push(0));
        client.line.write(&request).await?;
        client.expect(CHANNEL_OPEN_OK).await?;
        client.expect(SELECT_OK).await?;
        Ok(client)
    }

    pub(super) async fn send(&mut self, batch: usize) -> Result<usize, String> {
        let mut request = Vec::with_capacity(batch * (BODY + 100));
        for _ in 0..batch {
            self.published += 1;
            publish(&mut request, self.queue, &body(self.published as usize));
        }
        self.line.write(&request).await?;
        while self.confirmed < self.published {
            let (kind, content) = self.frame().await?;
            if kind == METHOD {
                let (tag, multiple) = match name(&content) {
                    Some(ACK) => tag(&content)?,
                    other => return Err(unexpected(other, &content)),
                };
                // One by one or all up to a tag, not always in order: all are in once as many are.
                self.confirmed = if multiple { self.confirmed.max(tag) } else { self.confirmed + 1 };
            }
        }
        Ok(batch)
    }

    pub(super) async fn take(&mut self, batch: usize) -> Result<usize, String> {
        let (mut last, mut got, mut left) = (0, 0, 0);
        while got < batch || left > 0 {
            let (kind, content) = self.frame().await?;
            match kind {
                METHOD => match name(&content) {
                    Some(DELIVER) => last = delivery(&content)?,
                    other => return Err(unexpected(other, &content)),
                },
                HEADER => {
                    left = size(&content)?;
                    if left == 0 {
                        return Err("a message without a body".into());
                    }
                }
                CONTENT => {
                    left = left.saturating_sub(content.len() as u64);
                    if left == 0 {
                        got += 1;
                    }
                }
                _ => {}
            }
        }
        let mut request = Vec::new();
        method(&mut request, ACK, |to| {
            to.extend(last.to_be_bytes());
            to.push(1); // and all before it
        });
        self.line.write(&request).await?;
        Ok(got)
    }

    /// The next frame that says something.
    async fn frame(&mut self) -> Result<Frame, String> {
        loop {
            let (kind, content) = self.line.read(parse).await?;
            if kind != HEARTBEAT {
                return Ok((kind, content));
            }
        }
    }

    async fn expect(&mut self, wanted: (u16, u16)) -> Result<Vec<u8>, String> {
        let (kind, content) = self.frame().await?;
        let found = name(&content);
        if kind == METHOD && found == Some(wanted) {
            return Ok(content);
        }
        Err(unexpected(found, &content))
    }
}

/// Makes the queue if it is not there, and empties it.
pub(super) async fn reset(place: Place) -> Result<(), String> {
    let mut client = Client::connect(place).await?;
    let mut request = Vec::new();
    let kind = if place.quorum { "quorum" } else { "classic" };
    method(&mut request, (50, 10), |to| {
        to.extend(0_u16.to_be_bytes());
        short(to, place.queue());
        to.push(0b0000_0010); // durable
        let mut table = Vec::new();
        short(&mut table, "x-queue-type");
        table.push(b'S');
        long(&mut table, kind.as_bytes());
        long(to, &table);
    });
    method(&mut request, (50, 30), |to| {
        to.extend(0_u16.to_be_bytes());
        short(to, place.queue());
        to.push(0);
    });
    client.line.write(&request).await?;
    client.expect(DECLARE_OK).await?;
    client.expect(PURGE_OK).await?;
    Ok(())
}

/// A persistent message to a queue.
fn publish(to: &mut Vec<u8>, queue: &str, text: &str) {
    method(to, (60, 40), |to| {
        to.extend(0_u16.to_be_bytes());
        short(to, ""); // the exchange where a queue's name is the route to it
        short(to, queue);
        to.push(0);
    });
    let mut header = Vec::new();
    header.extend(60_u16.to_be_bytes());
    header.extend(0_u16.to_be_bytes());
    header.extend((text.len() as u64).to_be_bytes());
    header.extend(0x1000_u16.to_be_bytes()); // of all properties the delivery mode
    header.push(2); // persistent
    frame(to, HEADER, CHANNEL, &header);
    frame(to, CONTENT, CHANNEL, text.as_bytes());
}

fn frame(to: &mut Vec<u8>, kind: u8, channel: u16, content: &[u8]) {
    to.push(kind);
    to.extend(channel.to_be_bytes());
    to.extend((content.len() as u32).to_be_bytes());
    to.extend_from_slice(content);
    to.push(END);
}

fn head((class, number): (u16, u16)) -> Vec<u8> {
    [class.to_be_bytes(), number.to_be_bytes()].concat()
}

fn method(to: &mut Vec<u8>, name: (u16, u16), arguments: impl FnOnce(&mut Vec<u8>)) {
    let mut content = head(name);
    arguments(&mut content);
    frame(to, METHOD, CHANNEL, &content);
}

fn short(to: &mut Vec<u8>, text: &str) {
    to.push(text.len() as u8);
    to.extend_from_slice(text.as_bytes());
}

fn long(to: &mut Vec<u8>, bytes: &[u8]) {
    to.extend((bytes.len() as u32).to_be_bytes());
    to.extend_from_slice(bytes);
}

/// The frame at the start of `bytes` and its length; `None` while it is not whole.
fn parse(bytes: &[u8]) -> Result<Option<(Frame, usize)>, String> {
    if bytes.starts_with(b"AMQP") {
        return Err("the server speaks another version of AMQP".into());
    }
    let Some(head) = bytes.first_chunk::<7>() else { return Ok(None) };
    let length = u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize;
    let (Some(content), Some(end)) = (bytes.get(7..7 + length), bytes.get(7 + length)) else {
        return Ok(None);
    };
    if *end != END {
        return Err("a frame without its end".into());
    }
    Ok(Some(((head[0], content.to_vec()), length + 8)))
}

/// Which method a frame's content is.
fn name(content: &[u8]) -> Option<(u16, u16)> {
    let [a, b, c, d] = *content.first_chunk::<4>()?;
    Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
}

fn number(bytes: Option<&[u8]>) -> Result<u64, String> {
    let bytes = bytes.and_then(|bytes| bytes.first_chunk::<8>()).ok_or("a method that is too short")?;
    Ok(u64::from_be_bytes(*bytes))
}

/// The tag that an acknowledgement is about, and whether it is about all before it, too.
fn tag(content: &[u8]) -> Result<(u64, bool), String> {
    Ok((number(content.get(4..))?, content.get(12).is_some_and(|bits| bits & 1 == 1)))
}

/// The tag of a delivery: behind the consumer's name.
fn delivery(content: &[u8]) -> Result<u64, String> {
    let length = usize::from(*content.get(4).ok_or("a method that is too short")?);
    number(content.get(5 + length..))
}

/// Bytes of the body that a header announces.
fn size(content: &[u8]) -> Result<u64, String> {
    number(content.get(4..))
}

fn unexpected(name: Option<(u16, u16)>, content: &[u8]) -> String {
    let text: String =
        String::from_utf8_lossy(content.get(7..).unwrap_or_default()).chars().take(120).collect();
    match name {
        // Of a connection or a channel: it says why.
        Some((10, 50) | (20, 40)) => format!("closed: {text}"),
        name => format!("an answer that was not asked for: {name:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_once_they_are_whole_and_end_as_they_should() {
        let mut bytes = Vec::new();
        method(&mut bytes, ACK, |to| {
            to.extend(7_u64.to_be_bytes());
            to.push(1);
        });
        for length in 0..bytes.len() {
            assert_eq!(parse(&bytes[..length]).unwrap(), None);
        }
        let ((kind, content), length) = parse(&bytes).unwrap().unwrap();
        assert_eq!((kind, name(&content), length), (METHOD, Some(ACK), bytes.len()));
        assert_eq!(tag(&content).unwrap(), (7, true));
        *bytes.last_mut().unwrap() = 0;
        assert!(parse(&bytes).is_err() && parse(b"AMQP\0\0\x09\x01").is_err());
    }

    #[test]
    fn a_message_is_a_method_a_header_and_its_body() {
        let mut bytes = Vec::new();
        publish(&mut bytes, "q", "hello");
        let mut kinds = Vec::new();
        let mut at = 0;
        while let Some(((kind, content), length)) = parse(&bytes[at..]).unwrap() {
            if kind == HEADER {
                assert_eq!(size(&content).unwrap(), 5);
            }
            kinds.push(kind);
            at += length;
            if at == bytes.len() {
                break;
            }
        }
        assert_eq!(kinds, [METHOD, HEADER, CONTENT]);
    }

    #[test]
    fn the_tag_of_a_delivery_is_behind_the_name_of_the_consumer() {
        let mut content = head(DELIVER);
        short(&mut content, "ctag-1");
        content.extend(9_u64.to_be_bytes());
        assert_eq!(delivery(&content).unwrap(), 9);
        assert!(delivery(&content[..8]).is_err());
    }
}
