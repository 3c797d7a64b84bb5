//! A client's connection of HTTP/2: one task for it, one for each of its streams.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::server::{Builder, Connection as Http2Connection, SendResponse};
use h2::{Ping, PingPong, Reason, RecvStream};
use http::{Method, Request, Response, StatusCode, header};
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite};

use super::PREFACE;
use super::calm::{Calm, Excess};
use super::frames::Frames;
use super::io::{Counted, Moved};
use super::message;
use super::stream::{Pump, Receive, Stopped};
use crate::body::{Body, BodyError};
use crate::connection::{Connection, Wish};
use crate::engine::begin::begin;
use crate::engine::{RequestStream, buffers};
use crate::exchange::{self, Answer, Asked, Exchange};
use crate::failure::Kind;
use crate::head;
use crate::limits::Limits;
use crate::outgoing::Outgoing;
use crate::thread::Thread;

/// Room above `Limits::header_bytes` in which a head that is too long still gets a full problem as its
/// answer. Beyond it h2 answers with a bare 431, and beyond four times that it closes the connection.
const HEAD_SLACK: usize = 16 * 1024;
/// How many times [`stream_window`](crate::limits::Http2::stream_window) what lies unread may cost beside its own
/// bytes. For h2 a frame costs 256 bytes, its own included: a window full of frames of 16 bytes costs 15 windows more.
/// So a stream of such messages may stall like any other, while frames of single bytes end the connection soon.
const SHORT_FRAMES: usize = 16;
/// When the process begins to drain, a connection that has never carried a request gets this long to
/// send one that is on its way already.
const FRESH_GRACE: Duration = Duration::from_millis(250);
/// How long a client that is sent away may take to read that it is.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// A client that takes more than this within the time for an answer to a ping is there, whether it answers or not.
/// Less would say nothing: there may be room for the ping itself, and for some more, where nobody is.
const READS: u64 = 4 * 1024;
/// Bytes read after which a client's conduct is looked at again.
const JUDGE_EVERY: u64 = 8 * 1024;

/// Serves a connection to its end. `ahead` is what was read of it already: some of the preface, or nothing.
pub(crate) async fn serve<T>(thread: Rc<Thread>, connection: Rc<Connection>, stream: T, ahead: Bytes)
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    connection.head_came(http::Version::HTTP_2);
    let limits = thread.limits_now();
    let (io, moved) = Counted::new(stream, ahead, Some(Frames::after(PREFACE.len())));
    let mut handshake = pin!(settings(&limits).handshake(io));
    let shaken = tokio::select! {
        shaken = handshake.as_mut() => shaken,
        wish = connection.wish() => match wish {
            Wish::Close | Wish::Abort => return,
            Wish::Drain => {
                let Ok(shaken) = tokio::time::timeout(FRESH_GRACE, handshake.as_mut()).await else { return };
                connection.tell(Wish::Drain); // once it is known what is on its way
                shaken
            }
        },
    };
    let outcome = match shaken {
        Ok(h2) => Serving::new(thread.clone(), connection.clone(), h2, moved, limits.streams).run().await,
        Err(error) => Err(error),
    };
    if let Err(error) = outcome {
        thread.counters.connection_failed(!error.is_io());
        tracing::debug!(peer = %connection.peer(), "client connection: {error}");
    }
}

fn settings(limits: &Limits) -> Builder {
    let own = &limits.http2;
    let mut builder = Builder::new();
    builder
        .initial_window_size(own.stream_window)
        .initial_connection_window_size(own.connection_window)
        .data_frame_budget(SHORT_FRAMES * own.stream_window as usize)
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(limits.header_bytes + HEAD_SLACK).unwrap_or(u32::MAX))
        .max_send_buffer_size(own.send_buffer)
        .max_pending_accept_reset_streams(own.unseen_resets);
    builder
}

/// What the streams of a connection tell it.
struct Peer {
    calm: RefCell<Calm>,
    /// Streams whose task has not ended.
    streams: Cell<u32>,
    /// An answer was sent.
    answered: Cell<bool>,
    /// Whom to wake when a stream was reset.
    connection: RefCell<Option<Waker>>,
    resets: Cell<bool>,
}

impl Peer {
    /// The client reset a stream: its conduct is to be looked at.
    fn was_reset(&self) {
        self.calm.borrow_mut().reset();
        self.resets.set(true);
        if let Some(waker) = self.connection.take() {
            waker.wake();
        }
    }
}

/// One stream's place in the count.
struct Place(Rc<Peer>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.streams.set(self.0.streams.get() - 1);
    }
}

/// A connection that is being served.
struct Serving<T> {
    thread: Rc<Thread>,
    connection: Rc<Connection>,
    h2: Http2Connection<Counted<T>, Bytes>,
    moved: Rc<Moved>,
    peer: Rc<Peer>,
    pings: Option<PingPong>,
    /// When something came last, and how much had by then.
    heard: (Instant, u64),
    /// When it was asked whether anybody is there, if it has not said, and how much had been written by then.
    asked: Option<(Instant, u64)>,
    /// When its conduct was looked at last.
    judged: u64,
    /// It was told to end: by when, unless it is busy.
    closing: Option<Instant>,
    /// The client has been told so.
    told: bool,
    /// Streams at once that the client was told it may have.
    streams: u32,
}

/// What a connection does next.
#[allow(clippy::large_enum_variant)] // it is looked at once, where it was made
enum Event {
    Stream(Request<RecvStream>, SendResponse<Bytes>),
    Wish(Wish),
    Excess(Excess),
    Alarm,
    End(Result<(), h2::Error>),
}

impl<T: AsyncRead + AsyncWrite + Unpin> Serving<T> {
    fn new(
        thread: Rc<Thread>,
        connection: Rc<Connection>,
        mut h2: Http2Connection<Counted<T>, Bytes>,
        moved: Rc<Moved>,
        streams: u32,
    ) -> Self {
        let now = Instant::now();
        let peer = Peer {
            calm: RefCell::new(Calm::new(now)),
            streams: Cell::new(0),
            answered: Cell::new(false),
            connection: RefCell::default(),
            resets: Cell::new(false),
        };
        let pings = h2.ping_pong();
        let heard = (now, moved.read.get());
        let peer = Rc::new(peer);
        Self {
            thread,
            connection,
            h2,
            moved,
            peer,
            pings,
            heard,
            asked: None,
            judged: 0,
            closing: None,
            told: false,
            streams,
        }
    }

    async fn run(mut self) -> Result<(), h2::Error> {
        let connection = Rc::clone(&self.connection);
        let mut wish = pin!(connection.wish());
        let mut alarm = pin!(tokio::time::sleep(self.thread.limits.http2.ping));
        loop {
            let event = poll_fn(|cx| {
                if let Poll::Ready(event) = self.poll(cx) {
                    return Poll::Ready(event);
                }
                if let Poll::Ready(wish) = wish.as_mut().poll(cx) {
                    return Poll::Ready(Event::Wish(wish));
                }
                alarm.as_mut().poll(cx).map(|()| Event::Alarm)
            });
            match event.await {
                Event::Stream(request, respond) => self.begin(request, respond),
                Event::End(outcome) => return outcome,
                Event::Excess(excess) => return self.send_away(excess).await,
                Event::Wish(Wish::Abort) => return Ok(()),
                Event::Wish(what) => {
                    wish.set(connection.wish());
                    if what == Wish::Drain && connection.is_fresh() {
                        self.closing = Some(Instant::now() + FRESH_GRACE);
                    } else if !self.told {
                        self.close();
                    }
                    alarm.as_mut().reset(tokio::time::Instant::now());
                }
                Event::Alarm => match self.look(Instant::now()) {
                    Some(next) => alarm.as_mut().reset(next.into()),
                    None => return Ok(()),
                },
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        if let Poll::Ready(accepted) = self.h2.poll_accept(cx) {
            return Poll::Ready(match accepted {
                Some(Ok((request, respond))) => Event::Stream(request, respond),
                Some(Err(error)) => Event::End(Err(error)),
                None => Event::End(Ok(())),
            });
        }
        let read = self.moved.read.get();
        if read - self.judged >= JUDGE_EVERY || self.peer.resets.take() {
            self.judged = read;
            let mut calm = self.peer.calm.borrow_mut();
            let now = Instant::now();
            let limits = &self.thread.limits.http2;
            if let Some(excess) = calm.judge(now, self.moved.frames.get(), self.moved.written.get(), limits) {
                return Poll::Ready(Event::Excess(excess));
            }
        }
        let mut waker = self.peer.connection.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Starts a stream's task.
    fn begin(&mut self, request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
        // Streams that the client has reset count no more for h2, but what they began may still be under way.
        if self.peer.streams.get() >= self.streams.saturating_mul(2) {
            respond.send_reset(Reason::REFUSED_STREAM);
            return;
        }
        self.peer.streams.set(self.peer.streams.get() + 1);
        let place = Place(Rc::clone(&self.peer));
        let job = Job { connection: Rc::clone(&self.connection), request, respond, place };
        self.thread.workers.serve(&self.thread, job);
    }

    /// Takes no more streams, finishes those under way.
    fn close(&mut self) {
        self.h2.graceful_shutdown();
        self.told = true;
        self.closing = Some(Instant::now() + self.thread.limits.header_read);
    }

    /// Looks at what time has brought. When to look again; `None`: the connection is to be cut off.
    fn look(&mut self, now: Instant) -> Option<Instant> {
        let busy = self.peer.streams.get() > 0;
        if let Some(by) = self.closing
            && by <= now
        {
            if !busy && (self.told || self.connection.is_fresh()) {
                return None; // it has taken no note
            }
            self.close();
        }
        let (read, written) = (self.moved.read.get(), self.moved.written.get());
        if read != self.heard.1 {
            self.heard = (now, read);
            self.asked = None;
        }
        let limits = &self.thread.limits;
        let next = match self.asked {
            // The question is behind what the client has yet to read: whoever goes on reading will get to it.
            Some((asked, before)) if now >= asked + limits.header_read => {
                if written - before <= READS {
                    return None;
                }
                self.asked = Some((now, written));
                now + limits.header_read
            }
            Some((asked, _)) => asked + limits.header_read,
            None if now >= self.heard.0 + limits.http2.ping => {
                // Fails only while the last one is unanswered, or when the connection ends.
                let _ = self.pings.as_mut().map(|pings| pings.send_ping(Ping::opaque()));
                self.asked = Some((now, written));
                now + limits.header_read
            }
            None => self.heard.0 + limits.http2.ping,
        };
        Some(self.closing.map_or(next, |closing| closing.min(next)))
    }

    /// Tells a client why it is not served any longer.
    async fn send_away(mut self, excess: Excess) -> Result<(), h2::Error> {
        tracing::debug!(peer = %self.connection.peer(), ?excess, "too much of a client");
        self.h2.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
        let end = poll_fn(|cx| self.h2.poll_closed(cx));
        tokio::time::timeout(LAST_WORDS, end).await.unwrap_or(Ok(()))?;
        Err(Reason::ENHANCE_YOUR_CALM.into())
    }
}

/// A request's body.
pub(crate) struct RequestBody {
    receive: Receive,
    /// Bytes that may still come, whatever the head said.
    room: u64,
    /// The client waits to be told to go on: set when the first of the body is asked for.
    wanted: Option<Rc<Cell<bool>>>,
}

impl RequestBody {
    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(wanted) = self.wanted.take() {
            wanted.set(true);
        }
        let frame = std::task::ready!(self.receive.poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
            let Some(room) = self.room.checked_sub(bytes) else {
                let error = BodyError::new(Kind::BodyTooLarge, "the request's body is too long");
                return Poll::Ready(Some(Err(error)));
            };
            self.room = room;
        }
        Poll::Ready(frame.map(|frame| frame.map_err(|error| BodyError::new(Kind::RequestIncomplete, error))))
    }

    pub(crate) fn is_end(&self) -> bool {
        self.receive.is_end()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.receive.size_hint()
    }
}

/// A stream to be served.
pub(super) struct Job {
    connection: Rc<Connection>,
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
    place: Place,
}

/// One stream: a request in, its answer out. Ends early when the client resets it, and the exchange with it.
pub(super) async fn stream(thread: &Rc<Thread>, job: Job) {
    let Job { connection, request, mut respond, place } = job;
    let peer = Rc::clone(&place.0);
    let (parts, receive) = request.into_parts();
    let receive = Receive::new(receive, message::length_of(&parts.headers));
    let head = message::head_of(parts, connection.session().is_some());
    let (expects, wanted) = (head::expects_continue(&head), Rc::new(Cell::new(false)));
    peer.calm.borrow_mut().began();
    let body = match receive.is_end() {
        true => Body::empty(),
        false => {
            let room = thread.limits_now().body_bytes;
            let wanted = expects.then(|| Rc::clone(&wanted));
            Body::request(RequestStream::Http2(RequestBody { receive, room, wanted }))
        }
    };
    let mut exchange = begin(thread, connection, head, body, None);
    let answer = {
        let mut running = pin!(exchange::run(thread, &mut exchange));
        poll_fn(|cx| match running.as_mut().poll(cx) {
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
            Poll::Pending => {
                if wanted.take() {
                    go_on(&mut respond);
                }
                respond.poll_reset(cx).map(|_| None)
            }
        })
        .await
    };
    match answer {
        Some(answer) => send(thread, exchange, answer, respond, &peer).await,
        None => peer.was_reset(),
    }
}

/// Tells a client to send the body that it holds back (RFC 9110 §10.1.1).
fn go_on(respond: &mut SendResponse<Bytes>) {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::CONTINUE;
    let _ = respond.send_informational(response); // fails only on a stream that is over
}

/// Sends an answer. Its body carries the record.
async fn send(
    thread: &Thread,
    exchange: Exchange,
    answer: Answer,
    mut respond: SendResponse<Bytes>,
    peer: &Peer,
) {
    let Exchange { asked: Asked { head, .. }, body: unread, record, .. } = exchange;
    let Answer { status, fields, body, .. } = answer;
    let mut response = message::response_of(status, &fields);
    if !peer.answered.replace(true) {
        message::introduce(response.headers_mut());
    }
    buffers::give_fields(fields);
    let to_head = head.method == Method::HEAD;
    buffers::give_request(head);
    if to_head && let Some(size) = body.size().filter(|size| *size > 0) {
        response.headers_mut().entry(header::CONTENT_LENGTH).or_insert(size.into());
    }
    let bodiless = to_head || [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&status);
    let body = if bodiless { Body::empty() } else { body };
    let ends = body.is_empty();
    let body = Outgoing::new(body, record);
    let Ok(stream) = respond.send_response(response, ends) else { return };
    drop(respond);
    if ends {
        return;
    }
    let mut pump = Pump::new(body, stream, Some(thread.limits.answer_idle));
    let outcome = poll_fn(|cx| pump.poll(cx)).await;
    match outcome {
        Ok(()) => {}
        Err(Stopped::Source(_)) => pump.reset(Reason::INTERNAL_ERROR),
        Err(Stopped::Stalled) => pump.reset(Reason::CANCEL),
        Err(Stopped::Peer) => peer.was_reset(),
    }
    drop(unread); // only now: a request that is not read to its end ends with its answer (RFC 9113 §8.1)
}
