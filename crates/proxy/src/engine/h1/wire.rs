//! What comes in and goes out over a connection of HTTP/1.1, on either side of the proxy.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::chunked;
use crate::engine::buffers::{self, READ};

/// Less room than this is not worth a read.
const ROOM_MIN: usize = 4 * 1024;
/// Data up to this size is copied behind its head and leaves with it in one piece; more is written from where
/// it lies.
pub(super) const COPY_MAX: usize = 4 * 1024;
/// Heads and small data that may wait to be written together.
const WAITING_MAX: usize = 16 * 1024;

/// Bytes that have been read and not yet understood. Holds memory only while there are any.
#[derive(Debug, Default)]
pub(crate) struct Input {
    pub(crate) bytes: BytesMut,
    ended: bool,
}

impl Input {
    /// Reads once. How many bytes came; none: the other side has ended.
    pub(crate) fn poll_fill(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.ended {
            return Poll::Ready(Ok(0));
        }
        self.make_room();
        let read = tokio_util::io::poll_read_buf(Pin::new(stream), cx, &mut self.bytes);
        match &read {
            Poll::Ready(Ok(0) | Err(_)) => self.ended = true,
            Poll::Ready(Ok(_)) => {}
            Poll::Pending => self.rest(),
        }
        read
    }

    fn make_room(&mut self) {
        if self.bytes.capacity() == 0 {
            self.bytes = buffers::input();
        } else if self.bytes.capacity() - self.bytes.len() < ROOM_MIN {
            if !self.bytes.is_empty() {
                self.bytes.reserve(READ);
            } else if !self.bytes.try_reclaim(READ) {
                self.bytes = buffers::input();
            }
        }
    }

    /// Gives the memory back if nothing is in it.
    pub(crate) fn rest(&mut self) {
        if self.bytes.is_empty() {
            buffers::give_input(std::mem::take(&mut self.bytes));
        }
    }

    /// Nothing more will come.
    pub(crate) fn is_ended(&self) -> bool {
        self.ended
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        buffers::give_input(std::mem::take(&mut self.bytes));
    }
}

/// Bytes on their way out: a head with small data behind it, then large data, then what closes that.
#[derive(Debug, Default)]
pub(crate) struct Out {
    head: Vec<u8>,
    written: usize,
    data: Bytes,
    tail: &'static [u8],
    unflushed: bool,
}

/// How a body is put on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    /// As it is; so many bytes are left of what was announced.
    Length(u64),
    /// In chunks.
    Chunked,
    /// As it is, until the connection ends.
    UntilClose,
}

/// A body that is longer or shorter than was announced.
#[derive(Debug, thiserror::Error)]
#[error("a body is not as long as was announced")]
pub(crate) struct WrongLength;

impl Out {
    /// Where heads are written to: behind all that waits already.
    pub(crate) fn head(&mut self) -> &mut Vec<u8> {
        debug_assert!(self.data.is_empty());
        if self.head.capacity() == 0 {
            self.head = buffers::head();
        }
        &mut self.head
    }

    /// Puts a whole head in.
    pub(crate) fn put_head(&mut self, head: Vec<u8>) {
        if self.head.is_empty() {
            buffers::give_head(std::mem::replace(&mut self.head, head));
        } else {
            self.head.extend_from_slice(&head);
            buffers::give_head(head);
        }
    }

    /// More may be put in.
    pub(crate) fn has_room(&self) -> bool {
        self.data.is_empty() && self.tail.is_empty() && self.head.len() - self.written < WAITING_MAX
    }

    /// Everything has been written.
    pub(crate) fn is_empty(&self) -> bool {
        self.head.len() == self.written && self.data.is_empty() && self.tail.is_empty() && !self.unflushed
    }

    /// Puts some of a body in, and its end if it is the last. Only where there [is room](Self::has_room).
    pub(crate) fn put_data(
        &mut self,
        data: Bytes,
        coding: &mut Coding,
        last: bool,
    ) -> Result<(), WrongLength> {
        let size = data.len();
        let tail = match coding {
            Coding::Length(left) => {
                *left = left.checked_sub(size as u64).ok_or(WrongLength)?;
                if last && *left > 0 {
                    return Err(WrongLength);
                }
                &[][..]
            }
            Coding::UntilClose => &[],
            Coding::Chunked => match (size, last) {
                (0, false) => return Ok(()), // a chunk of no bytes would be the end
                (0, true) => chunked::END,
                (_, last) => {
                    chunked::open(self.head(), size);
                    if last { chunked::CLOSE_AND_END } else { chunked::CLOSE }
                }
            },
        };
        if size <= COPY_MAX {
            let head = self.head();
            head.extend_from_slice(&data);
            head.extend_from_slice(tail);
        } else {
            (self.data, self.tail) = (data, tail);
        }
        Ok(())
    }

    /// Puts the end of a body in that had nothing to say at its end.
    pub(crate) fn put_end(&mut self, coding: &mut Coding) -> Result<(), WrongLength> {
        self.put_data(Bytes::new(), coding, true)
    }

    /// Puts the end of a body in, with its trailers where there is a place for them.
    pub(crate) fn put_trailers(
        &mut self,
        trailers: &HeaderMap,
        coding: &mut Coding,
    ) -> Result<(), WrongLength> {
        if *coding != Coding::Chunked {
            return self.put_end(coding);
        }
        chunked::end_with(self.head(), trailers);
        Ok(())
    }

    /// Writes all that waits, and counts it. Ready when the last byte has left.
    pub(crate) fn poll_write(
        &mut self,
        stream: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
        count: &mut u64,
    ) -> Poll<io::Result<()>> {
        loop {
            let head = self.head.get(self.written..).unwrap_or_default();
            let size = head.len() + self.data.len() + self.tail.len();
            if size == 0 {
                break;
            }
            let wrote = if size == head.len() {
                ready!(Pin::new(&mut *stream).poll_write(cx, head))?
            } else {
                let slices = [IoSlice::new(head), IoSlice::new(&self.data), IoSlice::new(self.tail)];
                let from = usize::from(head.is_empty());
                ready!(Pin::new(&mut *stream).poll_write_vectored(cx, &slices[from..]))?
            };
            if wrote == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            *count += wrote as u64;
            self.unflushed = true;
            self.advance(wrote);
        }
        if self.unflushed {
            ready!(Pin::new(stream).poll_flush(cx))?;
            self.unflushed = false;
        }
        self.head.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, mut wrote: usize) {
        let of_head = wrote.min(self.head.len() - self.written);
        self.written += of_head;
        wrote -= of_head;
        let of_data = wrote.min(self.data.len());
        self.data.advance(of_data);
        wrote -= of_data;
        self.tail = self.tail.get(wrote..).unwrap_or_default();
        if self.data.is_empty() {
            self.data = Bytes::new(); // lets go of the buffer it was part of
        }
    }

    /// Forgets what waits.
    pub(crate) fn clear(&mut self) {
        self.head.clear();
        (self.written, self.data, self.tail, self.unflushed) = (0, Bytes::new(), &[], false);
    }

    /// Gives the memory back if nothing is in it.
    pub(crate) fn rest(&mut self) {
        if self.is_empty() {
            buffers::give_head(std::mem::take(&mut self.head));
            self.written = 0;
        }
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        buffers::give_head(std::mem::take(&mut self.head));
    }
}

/// A stream whose first bytes have been read already.
pub(crate) struct Prefixed<S> {
    prefix: BytesMut,
    stream: S,
}

impl<S> Prefixed<S> {
    pub(crate) fn new(prefix: BytesMut, stream: S) -> Self {
        Self { prefix, stream }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Prefixed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.prefix.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let take = self.prefix.len().min(buffer.remaining());
        buffer.put_slice(&self.prefix[..take]);
        self.prefix.advance(take);
        if self.prefix.is_empty() {
            buffers::give_input(std::mem::take(&mut self.prefix));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Prefixed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
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
    use std::task::Waker;

    /// Takes a few bytes at a time.
    struct Narrow(Vec<u8>, usize);

    impl AsyncWrite for Narrow {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let take = bytes.len().min(self.1);
            self.0.extend_from_slice(&bytes[..take]);
            Poll::Ready(Ok(take))
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let all: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
            let take = all.len().min(self.1);
            self.0.extend_from_slice(&all[..take]);
            Poll::Ready(Ok(take))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn head_data_and_tail_leave_in_order_however_little_is_taken() {
        let large = Bytes::from(vec![b'x'; COPY_MAX + 1]);
        for take in [1, 2, 3, 7, 1000, usize::MAX] {
            let (mut out, mut coding) = (Out::default(), Coding::Chunked);
            out.head().extend_from_slice(b"head\r\n\r\n");
            out.put_data(Bytes::from_static(b"small"), &mut coding, false).unwrap();
            out.put_data(Bytes::new(), &mut coding, false).unwrap();
            out.put_data(large.clone(), &mut coding, true).unwrap();
            assert!(!out.has_room() && !out.is_empty());
            let (mut narrow, mut count) = (Narrow(Vec::new(), take), 0);
            let done = out.poll_write(&mut narrow, &mut Context::from_waker(Waker::noop()), &mut count);
            assert!(matches!(done, Poll::Ready(Ok(()))) && out.is_empty());
            let wanted = [b"head\r\n\r\n5\r\nsmall\r\n1001\r\n", &large[..], b"\r\n0\r\n\r\n"].concat();
            assert_eq!((narrow.0.len(), count), (wanted.len(), wanted.len() as u64));
            assert!(narrow.0 == wanted, "by {take}");
        }
    }

    #[test]
    fn a_body_is_as_long_as_was_announced() {
        let mut out = Out::default();
        assert!(out.put_data(Bytes::from_static(b"abc"), &mut Coding::Length(2), false).is_err());
        assert!(out.put_data(Bytes::from_static(b"abc"), &mut Coding::Length(4), true).is_err());
        let mut exact = Coding::Length(3);
        assert!(out.put_data(Bytes::from_static(b"abc"), &mut exact, false).is_ok());
        assert!(out.put_end(&mut exact).is_ok());
    }
}
