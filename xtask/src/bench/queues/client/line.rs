//! A connection that is read into a buffer until what is in it is whole.

use std::net::SocketAddr;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Bytes to read at once.
const BUFFER: usize = 16 << 10;

/// Most bytes that one answer may have: beyond it something is wrong.
const MAX_ANSWER: usize = 8 << 20;

/// A connection.
pub(super) struct Line {
    stream: TcpStream,
    buffer: BytesMut,
}

impl Line {
    /// Connects.
    pub(super) async fn open(address: SocketAddr) -> Result<Self, String> {
        let stream = TcpStream::connect(address).await.map_err(|error| format!("connect: {error}"))?;
        stream.set_nodelay(true).map_err(|error| format!("connect: {error}"))?;
        Ok(Self { stream, buffer: BytesMut::with_capacity(BUFFER) })
    }

    /// Writes all of it.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.stream.write_all(bytes).await.map_err(|error| format!("write: {error}"))
    }

    /// Reads until `parse` finds something whole at the start; it says how many bytes that takes.
    pub(super) async fn read<T>(
        &mut self,
        mut parse: impl FnMut(&[u8]) -> Result<Option<(T, usize)>, String>,
    ) -> Result<T, String> {
        loop {
            if !self.buffer.is_empty()
                && let Some((found, length)) = parse(&self.buffer)?
            {
                self.buffer.advance(length);
                return Ok(found);
            }
            if self.buffer.len() > MAX_ANSWER {
                return Err("an answer without an end".into());
            }
            self.buffer.reserve(BUFFER);
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) => return Err("closed before the end of the answer".into()),
                Ok(_) => {}
                Err(error) => return Err(format!("read: {error}")),
            }
        }
    }
}
