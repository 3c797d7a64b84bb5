//! A client's stream that counts what moves and reads along while a head comes in.

use std::future::Future;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::h2::PREFACE;
use super::lines::{Lines, Reader};
use crate::tls::ClientStream;

/// How long a connection lingers for the client to see that it ends.
const LINGER: Duration = Duration::from_secs(2);
/// Bytes read at once meanwhile.
const LINGER_BUFFER: usize = 16 * 1024;

/// Bytes that have moved over a connection. Atomic only because the engine wants streams that could
/// change threads; they don't.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    read: AtomicU64,
    written: AtomicU64,
    /// The end of the connection is to be a slow one.
    lingers: AtomicBool,
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

    /// The connection will be closed while the client is sending. Closed at once it would be reset, and the
    /// client might lose the answer with it (RFC 9112 §9.6): so what still comes is read for a while.
    pub(crate) fn linger(&self) {
        self.lingers.store(true, Ordering::Relaxed);
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
    stream: ClientStream,
    flow: Arc<Flow>,
    /// The head that is being read along.
    head: Reader,
    /// When the wait for the client's end is over.
    lingering: Option<Pin<Box<Sleep>>>,
    /// Read already, and given back.
    ahead: Bytes,
}

impl Metered {
    pub(crate) fn new(stream: ClientStream) -> (Self, Arc<Flow>) {
        let flow = Arc::new(Flow::default());
        (
            Self {
                stream,
                flow: Arc::clone(&flow),
                head: Reader::default(),
                lingering: None,
                ahead: Bytes::new(),
            },
            flow,
        )
    }

    /// Reads what a connection of HTTP/2 begins with, as far as it does begin with it.
    pub(super) async fn preface(&mut self) -> Bytes {
        let mut begun = [0; PREFACE.len()];
        let mut have = 0;
        while have < begun.len() && begun[..have] == PREFACE[..have] {
            match self.read(&mut begun[have..]).await {
                Ok(bytes @ 1..) => have += bytes,
                Ok(0) | Err(_) => break, // whoever reads next will see
            }
        }
        Bytes::copy_from_slice(&begun[..have])
    }

    /// Gives back what was read.
    pub(super) fn unread(&mut self, ahead: Bytes) {
        self.ahead = ahead;
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
        if !self.ahead.is_empty() {
            let size = self.ahead.len().min(buffer.remaining());
            buffer.put_slice(&self.ahead.split_to(size));
            return Poll::Ready(Ok(()));
        }
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
        if self.lingering.is_none() {
            std::task::ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            if !self.flow.lingers.load(Ordering::Relaxed) {
                return Poll::Ready(Ok(()));
            }
        }
        let over = self.lingering.get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER)));
        if over.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        let mut waste = [MaybeUninit::uninit(); LINGER_BUFFER];
        loop {
            let mut waste = ReadBuf::uninit(&mut waste);
            // The budget of the task bounds this loop: a read is pending now and then, whatever comes.
            match std::task::ready!(Pin::new(&mut self.stream).poll_read(cx, &mut waste)) {
                Ok(()) if !waste.filled().is_empty() => {}
                Ok(()) | Err(_) => return Poll::Ready(Ok(())),
            }
        }
    }
}
