//! A connection to an instance over HTTP/1.1, driven by whoever uses it: no task runs for it.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use http::{Method, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use registry::Lease;
use tokio::net::TcpStream;

use super::decode::{Decoded, Decoder};
use super::framing::{self, Framing};
use super::parse::{self, Bounds, Scan};
use super::wire::{Coding, Input, Out, Prefixed};
use super::write;
use crate::body::{BodyError, Pause};
use crate::engine::{Broken, INTERIM_MAX, Reply, Source, Upgrade, buffers};
use crate::exchange::Asked;
use crate::failure::{Failure, Kind};
use crate::fields::{Fields, Known};
use crate::head::forward::{self, Attempt};
use crate::limits::Limits;
use crate::pool::Pool;
use crate::upload::Sending;

/// How long the head of an answer may be.
const BOUNDS: Bounds = Bounds { bytes: 64 * 1024, lines: 100, empty_before: 0 };

/// An open connection to an instance: idle, or with one exchange on it.
pub(crate) struct UpstreamConnection(Box<Inner>);

struct Inner {
    stream: TcpStream,
    input: Input,
    scan: Scan,
    out: Out,
    /// The body that is being sent.
    upload: Option<(Sending, Coding)>,
    /// Bytes of this exchange that were written.
    written: u64,
    /// Why nothing more can be written.
    deaf: Option<io::Error>,
    /// Its last answer had no body. Some services send one after all, and it would be the next answer.
    suspect: bool,
}

/// A request as an instance gets it, but for its body.
pub(crate) struct Outbound {
    head: Vec<u8>,
    to_head: bool,
    coding: Option<Coding>,
}

/// Where the body of an answer will come from.
pub(crate) struct Rest {
    connection: UpstreamConnection,
    decoder: Decoder,
    persists: bool,
}

/// A head that has come.
struct Head {
    status: StatusCode,
    framing: Framing,
    persists: bool,
}

impl UpstreamConnection {
    /// Opens a connection.
    pub(crate) async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        refuse_itself(&stream)?;
        stream.set_nodelay(true)?;
        Ok(Self(Box::new(Inner {
            stream,
            input: Input::default(),
            scan: Scan::default(),
            out: Out::default(),
            upload: None,
            written: 0,
            deaf: None,
            suspect: false,
        })))
    }

    /// A request as an instance gets it.
    pub(crate) fn request(asked: &Asked, attempt: &Attempt, limits: &Limits) -> Result<Outbound, Failure> {
        let mut head = buffers::head();
        write::request_line(&mut head, &asked.head.method, asked.head.target());
        forward::to_upstream(asked, attempt, limits, |name, value| write::field(&mut head, name, value))?;
        write::end(&mut head);
        let coding = match attempt.framing {
            crate::head::Framing::None => None,
            crate::head::Framing::Known(length) => Some(Coding::Length(length)),
            crate::head::Framing::Unknown => Some(Coding::Chunked),
        };
        Ok(Outbound { head, to_head: asked.head.method == Method::HEAD, coding })
    }

    /// Whether it can take a request, as far as can be told without a system call: what the runtime has not
    /// heard of is not asked for, but where there is reason to.
    pub(crate) fn is_usable(&mut self) -> bool {
        // Anything else is its end, or bytes that nobody asked for. It is not polled: to a task whose budget is
        // used up every connection would seem to be silent.
        let is_silent =
            |read: io::Result<usize>| matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        let peek = || socket2::SockRef::from(&self.0.stream).peek(&mut [std::mem::MaybeUninit::uninit()]);
        is_silent(self.0.stream.try_read(&mut [0])) && (!self.0.suspect || is_silent(peek()))
    }

    /// Sends a request and waits for the head of the answer. `go` is set when the upstream says
    /// `100 Continue`. Dropping the future closes the connection: that is how an exchange is cancelled.
    pub(crate) async fn send(
        mut self,
        request: Outbound,
        body: Sending,
        go: Option<Arc<AtomicBool>>,
    ) -> Result<Reply, Broken> {
        let inner = &mut *self.0;
        let upload = Rc::clone(body.upload());
        inner.out.put_head(request.head);
        (inner.written, inner.scan) = (0, Scan::default());
        inner.upload = request.coding.map(|coding| (body, coding));
        let mut fields = buffers::fields();
        let mut interim = 0;
        let came = std::future::poll_fn(|cx| {
            loop {
                inner.drive(cx).map_err(|error| Broken::Body(error.into()))?;
                let head = ready!(inner.poll_head(cx, request.to_head, interim > 0, &mut fields))?;
                if !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS {
                    return Poll::Ready(Ok::<_, Broken>(head));
                }
                interim += 1;
                if interim > INTERIM_MAX {
                    return Poll::Ready(Err(Broken::Malformed("there is no end of interim answers".into())));
                }
                match (head.status, &go) {
                    (StatusCode::CONTINUE, Some(go)) => go.store(true, Ordering::Relaxed),
                    (StatusCode::CONTINUE, None) => {} // nobody asked for it
                    (status, _) => {
                        forward::from_upstream(&mut fields, false);
                        fields.retain(|field| field.known != Known::ContentLength); // RFC 9110 §8.6
                        upload.inform(status, &fields);
                    }
                }
            }
        });
        let head = came.await?;
        let rest = Rest { connection: self, decoder: Decoder::new(head.framing), persists: head.persists };
        Ok(Reply { status: head.status, fields, source: Source::Http1(rest) })
    }
}

impl Inner {
    /// Sends what can be sent. Fails when the body that is to be sent does; a connection that takes nothing
    /// more may still have an answer.
    fn drive(&mut self, cx: &mut Context<'_>) -> Result<(), BodyError> {
        loop {
            let waits = self.take_body(cx)?;
            if self.out.is_empty() {
                return Ok(());
            }
            match self.out.poll_write(&mut self.stream, cx, &mut self.written) {
                Poll::Ready(Ok(())) if waits || self.upload.is_none() => return Ok(()),
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => {
                    self.out.clear();
                    (self.deaf, self.upload) = (Some(error), None);
                    return Ok(());
                }
                Poll::Pending => return Ok(()),
            }
        }
    }

    /// Takes as much of the body as there is and as may wait. Whether there is none for now.
    fn take_body(&mut self, cx: &mut Context<'_>) -> Result<bool, BodyError> {
        let wrong = |error| BodyError::new(Kind::Internal, error);
        while self.out.has_room() {
            let Some((body, coding)) = &mut self.upload else { return Ok(false) };
            let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) else { return Ok(true) };
            let last = match frame.transpose()?.map(Frame::into_data) {
                Some(Ok(data)) => {
                    let last = body.is_end_stream();
                    self.out.put_data(data, coding, last).map_err(wrong)?;
                    last
                }
                Some(Err(frame)) => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    self.out.put_trailers(&trailers, coding).map_err(wrong)?;
                    true
                }
                None => {
                    self.out.put_end(coding).map_err(wrong)?;
                    true
                }
            };
            if last {
                self.upload = None;
            }
        }
        Ok(false)
    }

    /// Reads up to the end of a head.
    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        to_head: bool,
        answered: bool,
        fields: &mut Fields,
    ) -> Poll<Result<Head, Broken>> {
        let malformed = |fault: super::Fault| Broken::Malformed(fault.into());
        loop {
            let bytes = &mut self.input.bytes;
            if let Some(whole) = self.scan.look(bytes, &BOUNDS).map_err(malformed)? {
                let text = &bytes[whole.begin..whole.end];
                let (status, version) = parse::answer(text, BOUNDS.lines, fields).map_err(malformed)?;
                let framing = framing::of_answer(to_head, status, version, fields).map_err(malformed)?;
                bytes.advance(whole.end);
                self.scan = Scan::default();
                self.suspect = framing == Framing::Length(0);
                // Whoever announces a body where there is none may send it, too: as somebody else's answer.
                let persists = framing::persists(version, fields) && !framing::is_haunted(status, fields);
                return Poll::Ready(Ok(Head { status, framing, persists }));
            }
            let begun = answered || !bytes.is_empty();
            let error = match ready!(self.input.poll_fill(&mut self.stream, cx)) {
                Ok(0) => io::ErrorKind::UnexpectedEof.into(),
                Ok(_) => continue,
                Err(error) => error,
            };
            return Poll::Ready(Err(match self.deaf.take() {
                _ if begun => Broken::Malformed(error.into()),
                Some(deaf) if self.written == 0 => Broken::Unsent(deaf.into()),
                _ => Broken::Closed(error.into()),
            }));
        }
    }

    /// Fit for another exchange: this one has left nothing behind, in either direction.
    fn is_clean(&self) -> bool {
        let sent = self.upload.is_none() && self.out.is_empty() && self.deaf.is_none();
        sent && self.input.bytes.is_empty() && !self.input.is_ended()
    }
}

/// A connection to a local port from the range of ephemeral ports on which nobody listens may be given that
/// very port as its own, and TCP's simultaneous open then joins it to itself (RFC 9293 §3.5). It goes without
/// a trace, or the instance could not bind its port for a minute.
pub(crate) fn refuse_itself(stream: &TcpStream) -> io::Result<()> {
    if stream.local_addr()? != stream.peer_addr()? {
        return Ok(());
    }
    let _ = stream.set_zero_linger();
    Err(io::ErrorKind::ConnectionRefused.into())
}

impl Rest {
    /// The body, which holds the lease to its end and then gives the connection back to the pool.
    pub(crate) fn into_body(self, lease: Lease, pool: Rc<Pool>, pause: Duration) -> AnswerStream {
        let mut stream = AnswerStream {
            decoder: self.decoder,
            held: Some((self.connection, lease)),
            persists: self.persists,
            pool,
            pause: Pause::new(pause),
        };
        if stream.is_end() {
            stream.release();
        }
        stream
    }

    /// The connection itself, for an answer that switches protocols. `None`: the request has not been sent to
    /// its end, and what comes after it would be taken for a part of it, or the other way round.
    pub(crate) fn into_upgrade(self, lease: Lease) -> Option<Upgrade> {
        let Inner { stream, mut input, out, upload, .. } = *self.connection.0;
        if upload.is_some() || !out.is_empty() {
            return None;
        }
        let stream = Prefixed::new(std::mem::take(&mut input.bytes), stream);
        Some(Upgrade::upstream(Box::new(stream), lease))
    }
}

/// An answer's body on its way through.
pub(crate) struct AnswerStream {
    decoder: Decoder,
    /// Up to the end of the body.
    held: Option<(UpstreamConnection, Lease)>,
    persists: bool,
    pool: Rc<Pool>,
    pause: Pause,
}

impl AnswerStream {
    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some((connection, _)) = &mut self.held else { return Poll::Ready(None) };
        let inner = &mut *connection.0;
        if let Err(error) = inner.drive(cx) {
            return self.broken(error.kind, error.detail); // the service cannot know what it answers
        }
        loop {
            match self.decoder.decode(&mut inner.input.bytes) {
                Ok(Decoded::Data(data)) => {
                    self.pause.moved();
                    if self.decoder.is_end() {
                        self.release();
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Ok(Decoded::Trailers(trailers)) => {
                    self.release();
                    return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                }
                Ok(Decoded::End) => {
                    self.release();
                    return Poll::Ready(None);
                }
                Ok(Decoded::More) => {}
                Err(fault) => return self.broken(Kind::AnswerIncomplete, fault.to_string()),
            }
            match inner.input.poll_fill(&mut inner.stream, cx) {
                Poll::Ready(Ok(0)) if self.decoder.closed() => {
                    self.held = None;
                    return Poll::Ready(None);
                }
                Poll::Ready(Ok(0)) => {
                    let detail = "the connection ended in the middle of the answer";
                    return self.broken(Kind::AnswerIncomplete, detail.to_owned());
                }
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return self.broken(Kind::AnswerIncomplete, error.to_string()),
                Poll::Pending => {
                    ready!(self.pause.poll_still(cx));
                    let detail = "the answer's body paused too long";
                    return self.broken(Kind::AnswerStalled, detail.to_owned());
                }
            }
        }
    }

    /// Goes on with the request. Ready when that has failed.
    pub(crate) fn poll_upload(&mut self, cx: &mut Context<'_>) -> Poll<BodyError> {
        let Some((connection, _)) = &mut self.held else { return Poll::Pending };
        let Err(error) = connection.0.drive(cx) else { return Poll::Pending };
        self.held = None;
        Poll::Ready(error)
    }

    #[cold]
    fn broken(&mut self, kind: Kind, detail: String) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.held = None;
        Poll::Ready(Some(Err(BodyError { kind, detail })))
    }

    pub(crate) fn is_end(&self) -> bool {
        self.decoder.is_end()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.decoder.left().map_or_else(SizeHint::default, SizeHint::with_exact)
    }

    /// The body has ended: gives the connection back if it is fit for another exchange, and the lease.
    fn release(&mut self) {
        if let Some((mut connection, lease)) = self.held.take()
            && self.persists
            && connection.0.is_clean()
        {
            connection.0.input.rest();
            connection.0.out.rest();
            self.pool.put(lease.endpoint(), connection);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::{TcpListener, TcpSocket};

    #[tokio::test]
    async fn a_connection_that_has_ended_is_known_for_it_even_to_a_task_without_budget() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut connection = UpstreamConnection::open(listener.local_addr().unwrap()).await.unwrap();
        assert!(connection.is_usable());
        drop(listener.accept().await.unwrap());
        connection.0.stream.readable().await.unwrap();
        while tokio::task::coop::has_budget_remaining() {
            let mut spend = std::pin::pin!(tokio::task::coop::consume_budget());
            let _ = spend.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop()));
        }
        assert!(!connection.is_usable());
    }

    #[tokio::test]
    async fn what_comes_behind_an_answer_without_a_body_is_seen_before_the_runtime_hears_of_it() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut connection = UpstreamConnection::open(listener.local_addr().unwrap()).await.unwrap();
        let (mut service, _) = listener.accept().unwrap();
        connection.0.suspect = true;
        assert!(connection.is_usable());
        std::io::Write::write_all(&mut service, b"poison").unwrap();
        assert!(!connection.is_usable());
    }

    #[tokio::test]
    async fn a_connection_joined_to_itself_is_a_refused_one_and_leaves_the_port_free() {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let own = socket.local_addr().unwrap();
        let stream = socket.connect(own).await.unwrap();
        assert_eq!(refuse_itself(&stream).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        drop(stream);
        let listener = TcpListener::bind(own).await.unwrap();
        assert!(refuse_itself(&TcpStream::connect(listener.local_addr().unwrap()).await.unwrap()).is_ok());
    }
}
