//! A TCP stream that counts what moves and reads along while a head comes in.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::lines::{Lines, Reader};

/// Bytes that have moved over a connection. Atomic only because the engine wants streams that could
/// change threads; they don't.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    read: AtomicU64,
    written: AtomicU64,
    /// A head is waited for: it is to be read along.
    expects_head: AtomicBool,
    /// What was wrong with the last one ([`Lines`]).
    lines: AtomicU8,
}

impl Flow {
    pub(crate) fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// From now on a head of HTTP/1 may come.
    pub(crate) fn expect_head(&self) {
        self.lines.store(Lines::Fine.as_u8(), Ordering::Relaxed);
        self.expects_head.store(true, Ordering::Relaxed);
    }

    /// A head has come. What was wrong with its lines, as far as they were seen.
    pub(crate) fn take_lines(&self) -> Lines {
        self.expects_head.store(false, Ordering::Relaxed);
        Lines::from_u8(self.lines.swap(Lines::Fine.as_u8(), Ordering::Relaxed))
    }
}

/// The stream.
pub(crate) struct Metered {
    stream: TcpStream,
    flow: Arc<Flow>,
    /// The head that is being read along.
    head: Reader,
}

impl Metered {
    pub(crate) fn new(stream: TcpStream) -> (Self, Arc<Flow>) {
        let flow = Arc::new(Flow::default());
        (Self { stream, flow: Arc::clone(&flow), head: Reader::default() }, flow)
    }

    fn wrote(&self, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = outcome {
            self.flow.written.fetch_add(bytes as u64, Ordering::Relaxed);
        }
        outcome
    }
}

impl AsyncRead for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let bytes = buffer.filled().len() - before;
        self.flow.read.fetch_add(bytes as u64, Ordering::Relaxed);
        if self.flow.expects_head.load(Ordering::Relaxed)
            && let Some(lines) = self.head.feed(&buffer.filled()[before..])
        {
            self.head = Reader::default();
            self.flow.lines.store(lines.as_u8(), Ordering::Relaxed);
            self.flow.expects_head.store(false, Ordering::Relaxed);
        }
        outcome
    }
}

impl AsyncWrite for Metered {
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
