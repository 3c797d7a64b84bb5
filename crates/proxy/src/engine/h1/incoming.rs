//! A client's connection as those share it who use it in turn: its loop, the body of the request under way,
//! and whoever has an interim answer to pass on.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use http::{StatusCode, Version};
use http_body::{Frame, SizeHint};

use super::decode::{Decoded, Decoder};
use super::framing::{self, Framing};
use super::parse::{self, Bounds, Scan};
use super::wire::{Input, Out, Prefixed};
use super::{Fault, write};
use crate::body::BodyError;
use crate::engine::Flow;
use crate::engine::buffers::READ;
use crate::engine::h2::PREFACE;
use crate::failure::Kind;
use crate::fields::Fields;
use crate::head::{self, Head};
use crate::tls::ClientStream;

/// Bytes of interim answers that may wait for a client; more of them are not passed on.
const INTERIM_MAX: usize = 16 * 1024;

/// A client's connection.
pub(crate) struct Wire {
    inner: RefCell<Inner>,
    flow: Rc<Flow>,
    /// It ends after what it is doing.
    pub(super) closing: Cell<bool>,
}

struct Inner {
    stream: Option<ClientStream>,
    input: Input,
    /// The last read found nothing: whatever comes now comes from the socket, and readiness tells of it.
    quiet: bool,
    scan: Scan,
    out: Out,
    /// Which request is under way, counted from 1.
    number: u64,
    body: Decoder,
    body_max: u64,
    received: u64,
    /// Somebody has begun to read the body.
    reading: bool,
    /// The body cannot be read any more.
    broken: bool,
    /// The client waits for `100 Continue`.
    expects: bool,
    /// The answer has begun, or there is no place for others before it.
    answering: bool,
    /// Who waits for more of the body.
    reader: Option<Waker>,
}

/// What came instead of, or as, the head of a request.
#[derive(Debug)]
pub(super) enum Arrived {
    Request(Framing),
    /// The preface of HTTP/2.
    Http2,
    /// Nothing more.
    End,
    /// Nothing for now, and nothing is held.
    Idle,
    Bad(Fault),
}

impl Wire {
    pub(super) fn new(stream: ClientStream, flow: Rc<Flow>) -> Rc<Self> {
        Rc::new(Self {
            inner: RefCell::new(Inner {
                stream: Some(stream),
                input: Input::default(),
                quiet: false,
                scan: Scan::default(),
                out: Out::default(),
                number: 0,
                body: Decoder::Length(0),
                body_max: 0,
                received: 0,
                reading: false,
                broken: false,
                expects: false,
                answering: false,
                reader: None,
            }),
            flow,
            closing: Cell::new(false),
        })
    }

    /// Ready when something has come, or may have. Holds no memory meanwhile.
    pub(super) fn poll_stir(&self, cx: &mut Context<'_>) -> Poll<()> {
        let inner = &mut *self.inner.borrow_mut();
        match &mut inner.stream {
            Some(ClientStream::Plain(stream)) => stream.poll_read_ready(cx).map(|_| ()),
            Some(_) => inner.poll_fill(&self.flow, cx).map(|_| ()), // records wait inside the session
            None => Poll::Ready(()),
        }
    }

    /// Reads up to the end of a head, into `head`.
    pub(super) fn poll_head(&self, cx: &mut Context<'_>, bounds: &Bounds, head: &mut Head) -> Poll<Arrived> {
        let inner = &mut *self.inner.borrow_mut();
        loop {
            let bytes = &inner.input.bytes;
            let maybe_http2 = inner.number == 0 && !bytes.is_empty() && {
                let seen = bytes.len().min(PREFACE.len());
                bytes[..seen] == PREFACE[..seen]
            };
            if maybe_http2 && bytes.len() >= PREFACE.len() {
                return Poll::Ready(Arrived::Http2);
            }
            if !maybe_http2 && !bytes.is_empty() {
                match inner.take_head(bounds, head) {
                    Ok(None) => {}
                    Ok(Some(framing)) => return Poll::Ready(Arrived::Request(framing)),
                    Err(fault) => return Poll::Ready(Arrived::Bad(fault)),
                }
            }
            if inner.input.bytes.is_empty() && self.closing.get() {
                return Poll::Ready(Arrived::End);
            }
            match inner.poll_fill(&self.flow, cx) {
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(_) => return Poll::Ready(Arrived::End),
                Poll::Pending if inner.input.bytes.is_empty() => {
                    inner.out.rest();
                    return Poll::Ready(Arrived::Idle);
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// The request whose head has come begins: this is its body.
    pub(super) fn begin(self: &Rc<Self>, framing: Framing, head: &Head, body_max: u64) -> RequestBody {
        let inner = &mut *self.inner.borrow_mut();
        inner.number += 1;
        (inner.body, inner.body_max) = (Decoder::new(framing), body_max);
        (inner.received, inner.reading, inner.broken) = (0, false, false);
        (inner.answering, inner.reader) = (false, None);
        // Who has begun to send does not wait (RFC 9110 §10.1.1).
        inner.expects = head.version == Version::HTTP_11
            && !inner.body.is_end()
            && inner.input.bytes.is_empty()
            && head::expects_continue(head);
        if head.version != Version::HTTP_11 {
            inner.answering = true; // 1.0 knows no interim answers
        }
        RequestBody { wire: Rc::clone(self), number: inner.number }
    }

    /// Ready when the client has gone. What it sends ahead meanwhile is kept, up to a buffer's size.
    pub(super) fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        let inner = &mut *self.inner.borrow_mut();
        loop {
            if inner.input.is_ended() || inner.input.bytes.len() >= READ {
                return inner.gone_if_ended();
            }
            if let Some(ClientStream::Plain(stream)) = &mut inner.stream {
                let _ = ready!(stream.poll_read_ready(cx)); // no buffer while there is nothing for it
            }
            let read = ready!(inner.poll_fill(&self.flow, cx));
            if let Some(reader) = inner.reader.take() {
                reader.wake();
            }
            if !matches!(read, Ok(1..)) {
                return inner.gone_if_ended();
            }
        }
    }

    /// Passes an interim answer on, if that still makes sense.
    fn inform(&self, number: u64, status: StatusCode, fields: &Fields) {
        let inner = &mut *self.inner.borrow_mut();
        if inner.number != number || inner.answering || inner.out.head().len() > INTERIM_MAX {
            return;
        }
        let head = inner.out.head();
        write::status_line(head, Version::HTTP_11, status);
        for field in fields.iter() {
            write::field(head, field.name, field.value);
        }
        write::end(head);
        // It leaves when the loop next looks: it is what polls whoever has called this.
    }

    /// Gives room for the head of the answer.
    pub(super) fn answer<T>(&self, put: impl FnOnce(&mut Out) -> T) -> T {
        let inner = &mut *self.inner.borrow_mut();
        (inner.answering, inner.expects) = (true, false);
        put(&mut inner.out)
    }

    pub(super) fn has_room(&self) -> bool {
        self.inner.borrow().out.has_room()
    }

    /// Something waits to be written.
    pub(super) fn has_unwritten(&self) -> bool {
        !self.inner.borrow().out.is_empty()
    }

    /// Bytes that were read ahead.
    pub(super) fn ahead(&self) -> usize {
        self.inner.borrow().input.bytes.len()
    }

    /// All of the request has been read.
    pub(super) fn is_read(&self) -> bool {
        let inner = self.inner.borrow();
        inner.body.is_end() && !inner.broken
    }

    /// Ready when all has been written.
    pub(super) fn poll_write(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let inner = &mut *self.inner.borrow_mut();
        inner.poll_write(&self.flow, cx)
    }

    /// Says that nothing more will be written.
    pub(super) fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.inner.borrow_mut().stream {
            Some(stream) => tokio::io::AsyncWrite::poll_shutdown(std::pin::Pin::new(stream), cx),
            None => Poll::Ready(Ok(())),
        }
    }

    /// Says so as far as that goes at once.
    pub(super) fn end(&self) {
        let _ = self.poll_shutdown(&mut Context::from_waker(Waker::noop()));
    }

    /// Reads to the end and throws it away.
    pub(super) fn poll_waste(&self, cx: &mut Context<'_>) -> Poll<()> {
        let inner = &mut *self.inner.borrow_mut();
        // The budget of the task bounds this loop: a read is pending now and then, whatever comes.
        loop {
            inner.input.bytes.clear();
            if !matches!(ready!(inner.poll_fill(&self.flow, cx)), Ok(1..)) {
                return Poll::Ready(());
            }
        }
    }

    /// Ends the connection at once; if need be in a way that nobody takes for the end of a message.
    pub(super) fn abort(&self, reset: bool) {
        let inner = &mut *self.inner.borrow_mut();
        if let Some(stream) = inner.stream.as_ref().filter(|_| reset) {
            let _ = stream.socket().set_zero_linger();
        }
        inner.stream = None;
    }

    /// The bare connection with what has been read of it, for another protocol.
    pub(crate) fn take(&self) -> Option<(ClientStream, BytesMut)> {
        let inner = &mut *self.inner.borrow_mut();
        Some((inner.stream.take()?, std::mem::take(&mut inner.input.bytes)))
    }

    /// The same as one stream.
    pub(crate) fn take_stream(&self) -> Option<Prefixed<ClientStream>> {
        self.take().map(|(stream, bytes)| Prefixed::new(bytes, stream))
    }
}

impl Inner {
    fn poll_fill(&mut self, flow: &Flow, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Some(stream) = &mut self.stream else { return Poll::Ready(Ok(0)) };
        if self.quiet && !self.input.is_ended() {
            let _ = ready!(stream.socket().poll_read_ready(cx)); // what is wrong shows when reading
        }
        let read = self.input.poll_fill(stream, cx);
        self.quiet = read.is_pending();
        if let Poll::Ready(Ok(count)) = &read {
            flow.add_read(*count as u64);
        }
        read
    }

    fn poll_write(&mut self, flow: &Flow, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.out.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        let mut count = 0;
        let written = self.out.poll_write(stream, cx, &mut count);
        flow.add_written(count);
        written
    }

    /// Parses a head if it is whole.
    fn take_head(&mut self, bounds: &Bounds, head: &mut Head) -> Result<Option<Framing>, Fault> {
        let bytes = &mut self.input.bytes;
        let Some(whole) = self.scan.look(bytes, bounds)? else { return Ok(None) };
        parse::request(&bytes[whole.begin..whole.end], bounds.lines, head)?;
        let framing = framing::of_request(head.version, &head.fields)?;
        bytes.advance(whole.end);
        self.scan = Scan::default();
        Ok(Some(framing))
    }

    /// A client that ends its side while its request is being read leaves that to whoever reads it.
    fn gone_if_ended(&self) -> Poll<()> {
        let being_read = self.reading && !self.body.is_end() && !self.broken;
        if self.input.is_ended() && !being_read { Poll::Ready(()) } else { Poll::Pending }
    }

    fn poll_body(
        &mut self,
        flow: &Flow,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.reading = true;
        if self.expects && !self.answering {
            self.expects = false;
            self.out.head().extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        if !self.answering {
            let _ = self.poll_write(flow, cx); // an interim answer; what is wrong shows when reading
        }
        loop {
            if self.broken {
                return self.break_off(Kind::RequestIncomplete, "the request's body broke off");
            }
            match self.body.decode(&mut self.input.bytes) {
                Ok(Decoded::Data(data)) => {
                    self.received += data.len() as u64;
                    if self.received > self.body_max {
                        return self.break_off(Kind::BodyTooLarge, "the request's body is too long");
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Ok(Decoded::Trailers(trailers)) => return Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
                Ok(Decoded::End) => return Poll::Ready(None),
                Ok(Decoded::More) => {}
                Err(fault) => return self.break_off(Kind::BadRequest, fault.detail()),
            }
            match self.poll_fill(flow, cx) {
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(_) => {
                    let detail = "the client closed the connection in the middle of its request";
                    return self.break_off(Kind::RequestIncomplete, detail);
                }
                Poll::Pending => {
                    self.reader = Some(cx.waker().clone());
                    return Poll::Pending;
                }
            }
        }
    }

    #[cold]
    fn break_off(&mut self, kind: Kind, detail: &str) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.broken = true;
        self.reader = None;
        Poll::Ready(Some(Err(BodyError::new(kind, detail))))
    }
}

/// The body of one request, as it comes.
pub(crate) struct RequestBody {
    wire: Rc<Wire>,
    number: u64,
}

impl RequestBody {
    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let inner = &mut *self.wire.inner.borrow_mut();
        if inner.number != self.number || inner.body.is_end() {
            return Poll::Ready(None); // no other request begins before this one has been read
        }
        inner.poll_body(&self.wire.flow, cx)
    }

    pub(crate) fn is_end(&self) -> bool {
        let inner = self.wire.inner.borrow();
        inner.number != self.number || inner.body.is_end()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        if self.is_end() {
            return SizeHint::with_exact(0);
        }
        self.wire.inner.borrow().body.left().map_or_else(SizeHint::default, SizeHint::with_exact)
    }

    /// Passes an interim answer (1xx) of the service on.
    pub(crate) fn inform(&self, status: StatusCode, fields: &Fields) {
        self.wire.inform(self.number, status, fields);
    }
}
