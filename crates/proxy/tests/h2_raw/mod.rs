//! A client of HTTP/2 that writes frames as it likes, and what a proxy says to them.
#![allow(dead_code, missing_docs, unreachable_pub)] // each test uses its part of this

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::common::within;

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;

pub const PROTOCOL_ERROR: u32 = 1;
pub const REFUSED_STREAM: u32 = 7;
pub const CANCEL: u32 = 8;
pub const ENHANCE_YOUR_CALM: u32 = 11;

#[derive(Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// How the proxy took what it was sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// An answer with this status, and its body.
    Answer(u16, String),
    /// The stream was reset.
    Reset(u32),
    /// The connection is over, with this code.
    GoAway(u32),
    Closed,
}

impl Verdict {
    /// The request went nowhere.
    pub fn is_refusal(&self) -> bool {
        !matches!(self, Self::Answer(200..=399, _))
    }
}

pub struct Raw {
    pub stream: TcpStream,
    /// Answer pings.
    pub polite: bool,
}

pub type Field<'a> = (&'a [u8], &'a [u8]);

/// The pseudo-header fields of `GET /` at `test`.
pub const GET: [Field<'static>; 4] =
    [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"test")];
pub const POST: [Field<'static>; 4] =
    [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"test")];

/// Fields as HPACK literals that are not indexed (RFC 7541 §6.2.2), without Huffman codes.
pub fn block(fields: &[Field<'_>]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            if text.len() < 127 {
                block.push(text.len() as u8);
            } else {
                block.push(127);
                let mut rest = text.len() - 127;
                while rest >= 128 {
                    block.push((rest % 128) as u8 | 128);
                    rest /= 128;
                }
                block.push(rest as u8);
            }
            block.extend_from_slice(text);
        }
    }
    block
}

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

impl Raw {
    /// A connection whose settings are exchanged. The peer is told to index nothing, so that statuses can be
    /// read without a table.
    pub async fn connect(address: SocketAddr) -> Self {
        Self::with(address, &[(1, 0)]).await
    }

    pub async fn with(address: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut raw = Self { stream, polite: true };
        let mut payload = Vec::new();
        for (id, value) in settings {
            payload.extend(id.to_be_bytes());
            payload.extend(value.to_be_bytes());
        }
        raw.send(PREFACE).await;
        raw.frame(SETTINGS, 0, 0, &payload).await;
        raw
    }

    /// Whether all of it could be written.
    pub async fn send(&mut self, bytes: &[u8]) -> bool {
        within(self.stream.write_all(bytes)).await.is_ok()
    }

    pub async fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        self.send(&frame(kind, flags, stream, payload)).await
    }

    pub async fn headers(&mut self, stream: u32, flags: u8, fields: &[Field<'_>]) -> bool {
        self.frame(HEADERS, flags | END_HEADERS, stream, &block(fields)).await
    }

    /// The next frame that is not of the connection's own business; `None`: closed.
    pub async fn next(&mut self) -> Option<Frame> {
        loop {
            let mut head = [0; 9];
            within(self.stream.read_exact(&mut head)).await.ok()?;
            let size = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; size as usize];
            within(self.stream.read_exact(&mut payload)).await.ok()?;
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            let frame = Frame { kind: head[3], flags: head[4], stream, payload };
            match frame.kind {
                SETTINGS if frame.flags & ACK == 0 => {
                    self.frame(SETTINGS, ACK, 0, &[]).await;
                }
                PING if frame.flags & ACK == 0 => {
                    if self.polite {
                        let payload = frame.payload.clone();
                        self.frame(PING, ACK, 0, &payload).await;
                    }
                }
                SETTINGS | PING | WINDOW_UPDATE => {}
                _ => return Some(frame),
            }
        }
    }

    /// What becomes of a stream.
    pub async fn verdict(&mut self, stream: u32) -> Verdict {
        let (mut code, mut body) = (0, Vec::new());
        while let Some(frame) = self.next().await {
            match frame.kind {
                GOAWAY => {
                    let reason = u32::from_be_bytes(frame.payload[4..8].try_into().unwrap());
                    if reason != 0 {
                        return Verdict::GoAway(reason);
                    }
                }
                _ if frame.stream != stream => {}
                HEADERS if code == 0 => code = status(&frame.payload),
                DATA => body.extend(&frame.payload),
                RST_STREAM => return Verdict::Reset(u32::from_be_bytes(frame.payload.try_into().unwrap())),
                _ => {}
            }
            if frame.stream == stream && matches!(frame.kind, HEADERS | DATA) && frame.flags & END_STREAM != 0
            {
                return Verdict::Answer(code, String::from_utf8_lossy(&body).into_owned());
            }
        }
        Verdict::Closed
    }

    /// How the connection ends.
    pub async fn end(&mut self) -> Verdict {
        let mut last = Verdict::Closed;
        while let Some(frame) = self.next().await {
            if frame.kind == GOAWAY {
                last = Verdict::GoAway(u32::from_be_bytes(frame.payload[4..8].try_into().unwrap()));
            }
        }
        last
    }
}

/// The `:status` of a block that begins with it.
fn status(block: &[u8]) -> u16 {
    // A change of the table's size may come first.
    let block = if block[0] & 0xe0 == 0x20 { &block[1..] } else { block };
    let indexed = [200, 204, 206, 304, 400, 404, 500];
    if block[0] & 0x80 != 0 {
        return indexed[usize::from(block[0] & 0x7f) - 8];
    }
    let (text, huffman) = (&block[2..2 + usize::from(block[1] & 0x7f)], block[1] & 0x80 != 0);
    if !huffman {
        return std::str::from_utf8(text).unwrap().parse().unwrap();
    }
    // RFC 7541 Appendix B: digits have codes of five bits, from 3 on of six.
    let bits = text.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte));
    let (mut left, mut status) = (text.len() * 8, 0);
    for _ in 0..3 {
        let five = bits >> (left - 5) & 0x1f;
        let digit = if five <= 2 {
            left -= 5;
            five
        } else {
            left -= 6;
            (bits >> left & 0x3f) - 0x19 + 3
        };
        status = status * 10 + digit as u16;
    }
    status
}
