//! A stream that counts what moves, and first gives back what was read of it already.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frames::{Counts, Frames};

/// Bytes that have moved over a connection.
#[derive(Debug, Default)]
pub(super) struct Moved {
    pub(super) read: Cell<u64>,
    pub(super) written: Cell<u64>,
    /// What the peer has sent, where frames are counted.
    pub(super) frames: Cell<Counts>,
}

/// The stream.
pub(super) struct Counted<T> {
    stream: T,
    ahead: Bytes,
    moved: Rc<Moved>,
    frames: Option<Frames>,
}

impl<T> Counted<T> {
    /// `ahead`: what was read from the stream before. `frames`: where frames are to be counted, how.
    pub(super) fn new(stream: T, ahead: Bytes, frames: Option<Frames>) -> (Self, Rc<Moved>) {
        let moved = Rc::new(Moved::default());
        (Self { stream, ahead, moved: Rc::clone(&moved), frames }, moved)
    }

    fn wrote(&self, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = outcome {
            self.moved.written.set(self.moved.written.get() + bytes as u64);
        }
        outcome
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Counted<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = if self.ahead.is_empty() {
            Pin::new(&mut self.stream).poll_read(cx, buffer)
        } else {
            let size = self.ahead.len().min(buffer.remaining());
            buffer.put_slice(&self.ahead[..size]);
            self.ahead.advance(size);
            Poll::Ready(Ok(()))
        };
        let bytes = buffer.filled().len() - before;
        let this = &mut *self;
        if let Some(frames) = &mut this.frames {
            let mut counts = this.moved.frames.get();
            frames.feed(&buffer.filled()[before..], &mut counts);
            this.moved.frames.set(counts);
        }
        self.moved.read.set(self.moved.read.get() + bytes as u64);
        outcome
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Counted<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wrote(outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.wrote(outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    #[tokio::test]
    async fn what_was_read_before_comes_first_in_whatever_portions() {
        let (mut stream, moved) = Counted::new(&b"world"[..], Bytes::from_static(b"hello "), None);
        let mut two = [0; 2];
        stream.read_exact(&mut two).await.unwrap();
        let mut rest = String::new();
        stream.read_to_string(&mut rest).await.unwrap();
        assert_eq!((&two[..], rest.as_str(), moved.read.get()), (&b"he"[..], "llo world", 11));
    }
}
