//! A client's connection of HTTP/1.1: one task runs everything on it, its exchanges included.
//!
//! While it is idle it holds neither a buffer nor the future of an exchange: [`serve`] then waits for the socket
//! alone. When something comes it borrows a [`Worker`], which the connections of a thread share.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use http::{StatusCode, Version};
use tokio::time::Sleep;

use super::Fault;
use super::answer::{self, Cut, To};
use super::framing::{self, Framing};
use super::incoming::{Arrived, Wire};
use super::parse::Bounds;
use super::wire::Coding;
use crate::body::Body;
use crate::connection::{Connection, Wish};
use crate::engine::begin::begin;
use crate::engine::{Flow, RequestStream, Upgrade, buffers};
use crate::exchange::{self, Answer, Exchange};
use crate::failure::Failure;
use crate::fields::Known;
use crate::head::{self, Head};
use crate::outgoing::Outgoing;
use crate::rare::rarely;
use crate::thread::Thread;
use crate::tls::ClientStream;
use crate::{respond, tunnel};

/// The first line's share of a head, besides its target, and the ends of lines: what `Limits::header_bytes`
/// does not count. A head above both is not read to its end.
const HEAD_SLACK: usize = 512;
/// A head's memory that grew beyond this is not used again.
const HEAD_KEPT: usize = 16 * 1024;
/// Of a request's body that nobody wants this much is read, so that its connection can be used again.
const SKIM_BYTES: usize = 64 * 1024;
/// And for no longer than this.
const SKIM_TIME: Duration = Duration::from_millis(100);
/// How long a connection lingers for the client to see that it ends.
const LINGER: Duration = Duration::from_secs(2);
/// When the process begins to drain, a connection that has never carried a request gets this long to
/// send one that is on its way already.
const FRESH_GRACE: Duration = Duration::from_millis(250);

/// How a connection ended as one of HTTP/1.1.
pub(crate) enum Ended {
    /// It is closed.
    Closed,
    /// The client speaks HTTP/2. With what has been read.
    Http2(ClientStream, BytesMut),
    /// It is a tunnel now.
    Tunnel(Pin<Box<dyn Future<Output = ()>>>),
}

/// What the work on a connection came to.
enum After {
    /// It is idle.
    Idle,
    Ended(Ended),
}

enum Event {
    Stirred,
    After(After),
    Wish(Wish),
    GraceOver,
}

/// Serves a connection until it speaks HTTP/1.1 no more.
pub(crate) async fn serve(
    thread: &Rc<Thread>,
    connection: &Rc<Connection>,
    stream: ClientStream,
    flow: Rc<Flow>,
) -> Ended {
    let wire = Wire::new(stream, flow);
    let mut worker: Option<Worker> = None;
    let mut grace: Option<Pin<Box<Sleep>>> = None;
    loop {
        let event = poll_fn(|cx| {
            match &mut worker {
                Some(worker) => {
                    if let Poll::Ready(after) = worker.poll(cx) {
                        return Poll::Ready(Event::After(after));
                    }
                }
                None => {
                    if wire.poll_stir(cx).is_ready() {
                        return Poll::Ready(Event::Stirred);
                    }
                }
            }
            if let Some(grace) = &mut grace
                && grace.as_mut().poll(cx).is_ready()
            {
                return Poll::Ready(Event::GraceOver);
            }
            connection.poll_wish(cx).map(Event::Wish)
        });
        match event.await {
            Event::Stirred => {
                let (thread, connection, wire) = (Rc::clone(thread), Rc::clone(connection), Rc::clone(&wire));
                worker = Some(Worker::hire(Job { thread, connection, wire }));
            }
            Event::After(after) => {
                if let Some(worker) = worker.take() {
                    worker.rest();
                }
                let After::Ended(ended) = after else { continue };
                if grace.is_some() || wire.closing.get() {
                    connection.tell(Wish::Drain); // also whoever speaks HTTP/2 from here on
                }
                return ended;
            }
            Event::Wish(Wish::Abort) => return Ended::Closed,
            Event::Wish(Wish::Drain) if connection.is_fresh() => {
                grace = Some(Box::pin(tokio::time::sleep(FRESH_GRACE)));
            }
            Event::GraceOver if connection.is_fresh() => return closed(&wire),
            Event::Wish(Wish::Close | Wish::Drain) | Event::GraceOver => {
                grace = None;
                wire.closing.set(true);
                // What refuses something that was no request, and which nobody takes, is not waited for.
                if worker.is_none() || (connection.is_idle() && wire.has_unwritten()) {
                    return closed(&wire);
                }
            }
        }
    }
}

fn closed(wire: &Wire) -> Ended {
    wire.end();
    Ended::Closed
}

/// A connection on which something has come.
struct Job {
    thread: Rc<Thread>,
    connection: Rc<Connection>,
    wire: Rc<Wire>,
}

/// Where a worker finds its job and leaves what that came to.
#[derive(Default)]
struct Desk {
    job: Cell<Option<Job>>,
    after: Cell<Option<After>>,
}

/// The future that carries exchanges. It is some kilobytes large, so that connections which are idle have none;
/// and the one used last is used next, while it is still in the caches.
struct Worker {
    desk: Rc<Desk>,
    work: Pin<Box<dyn Future<Output = ()>>>,
}

/// Workers that are kept, per thread.
const WORKERS: usize = 256;

thread_local! {
    static IDLE: RefCell<Vec<Worker>> = const { RefCell::new(Vec::new()) };
}

impl Worker {
    fn hire(job: Job) -> Self {
        let worker = IDLE.with_borrow_mut(Vec::pop).unwrap_or_else(|| {
            let desk = Rc::new(Desk::default());
            Self { desk: Rc::clone(&desk), work: Box::pin(work(desk)) }
        });
        worker.desk.job.set(Some(job));
        worker
    }

    /// Ready when the job is done.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<After> {
        let _ = self.work.as_mut().poll(cx); // it never ends
        self.desk.after.take().map_or(Poll::Pending, Poll::Ready)
    }

    /// The job is done: waits for another, of any connection.
    fn rest(self) {
        IDLE.with_borrow_mut(|idle| {
            if idle.len() < WORKERS {
                idle.push(self);
            }
        });
    }
}

async fn work(desk: Rc<Desk>) {
    let mut spare = None;
    loop {
        let job = poll_fn(|_| desk.job.take().map_or(Poll::Pending, Poll::Ready)).await;
        let after = carry(&job, &mut spare).await;
        desk.after.set(Some(after));
    }
}

/// Carries exchanges, one after the other, as long as there are any. Their heads are in the memory of `spare`, in
/// turn.
async fn carry(job: &Job, spare: &mut Option<Box<Head>>) -> After {
    let Job { thread, connection, wire } = job;
    loop {
        let limits = thread.limits_now();
        let bounds =
            Bounds { bytes: limits.header_bytes + HEAD_SLACK, lines: limits.headers, empty_before: 1 };
        let mut head = spare.take().unwrap_or_default();
        let framing = match poll_fn(|cx| wire.poll_head(cx, &bounds, &mut head)).await {
            Arrived::Request(framing) => framing,
            Arrived::Idle => {
                *spare = Some(head);
                return After::Idle;
            }
            Arrived::End => return After::Ended(closed(wire)),
            Arrived::Http2 => {
                let ended = wire.take().map(|(stream, ahead)| Ended::Http2(stream, ahead));
                return After::Ended(ended.unwrap_or(Ended::Closed));
            }
            Arrived::Bad(fault) => {
                thread.counters.connection_failed(true);
                rarely(refuse(thread, connection, wire, fault)).await;
                rarely(linger(wire)).await;
                return After::Ended(Ended::Closed);
            }
        };
        match exchange(job, head, framing, limits.body_bytes).await {
            Next::Request(mut used) => {
                if used.capacity() <= HEAD_KEPT {
                    used.clear();
                    *spare = Some(used);
                }
                connection.waits_for_head(wire.ahead());
            }
            Next::Close => return After::Ended(Ended::Closed),
            Next::Linger => {
                rarely(linger(wire)).await;
                return After::Ended(Ended::Closed);
            }
            Next::Tunnel(tunnel) => return After::Ended(Ended::Tunnel(tunnel)),
        }
    }
}

/// What comes after an exchange.
enum Next {
    /// Another; in the memory of this head.
    Request(Box<Head>),
    Close,
    /// The end, of which the client is told while it may still be sending.
    Linger,
    Tunnel(Pin<Box<dyn Future<Output = ()>>>),
}

/// One exchange, from its head to the last byte of its answer.
async fn exchange(job: &Job, mut head: Box<Head>, framing: Framing, body_max: u64) -> Next {
    let Job { thread, connection, wire } = job;
    head.secure = connection.session().is_some();
    connection.head_came(head.version);
    let keeps = framing::persists(head.version, &head.fields);
    let to = To::of(&head.method, head.version, &head.fields, keeps);
    let body = Body::request(RequestStream::Http1(wire.begin(framing, &head, body_max)));
    let upgrade = head::wants_upgrade(&head).is_some().then(|| Upgrade::client(wire));
    let mut exchange = begin(thread, Rc::clone(connection), head, body, upgrade);
    let answer = {
        let mut running = pin!(exchange::run(thread, &mut exchange));
        poll_fn(|cx| {
            if let Poll::Ready(answer) = running.as_mut().poll(cx) {
                return Poll::Ready(Some(answer));
            }
            // Interim answers, and a client that leaves: dropping the exchange cancels it.
            if let Poll::Ready(Err(_)) = wire.poll_write(cx) {
                return Poll::Ready(None);
            }
            wire.poll_gone(cx).map(|()| None)
        })
        .await
    };
    let Some(answer) = answer else { return Next::Close };
    if answer.upgrade.is_some() && answer.status == StatusCode::SWITCHING_PROTOCOLS {
        return rarely(switch(thread, wire, exchange, answer, to)).await;
    }
    let whole = wire.is_read() || rarely(is_skimmed(wire, &mut exchange, &answer)).await;
    let says_close =
        answer.fields.known(Known::Connection).is_some_and(|value| value.eq_ignore_ascii_case(b"close"));
    let keeps = keeps && whole && !says_close && !wire.closing.get() && !thread.is_leaving();
    let Exchange { asked, record, .. } = exchange;
    let Answer { status, fields, body, .. } = answer;
    let size = body.size();
    let coding = (!to.is_bodiless(status)).then(|| to.coding(size));
    let to = To { keeps: keeps && coding != Some(Coding::UntilClose), ..to };
    wire.answer(|out| answer::head(out.head(), to, status, &fields, size, coding));
    buffers::give_fields(fields);
    let mut body = Outgoing::new(if coding.is_some() { body } else { Body::empty() }, record);
    let coding = coding.unwrap_or(Coding::Length(0));
    match answer::send(wire, &mut body, coding, to.trailers).await {
        Ok(()) => {}
        Err(cut) => {
            drop(body); // with the record
            tracing::debug!(peer = %connection.peer(), "answer cut: {cut}");
            thread.counters.connection_failed(false);
            if matches!(cut, Cut::Short(_)) {
                wire.abort(coding == Coding::UntilClose);
            }
            return Next::Close;
        }
    }
    drop(body);
    match to.keeps {
        true => Next::Request(asked.head),
        false if !wire.is_read() || wire.ahead() > 0 => Next::Linger,
        false => {
            wire.end();
            Next::Close
        }
    }
}

/// Whether the rest of a request could be read by the time its answer begins. Where it could not, the connection is
/// of no more use.
async fn is_skimmed(wire: &Wire, exchange: &mut Exchange, answer: &Answer) -> bool {
    let upload = exchange.record.upload_of();
    let size = match &upload {
        Some(upload) if upload.is_finished() => return false, // its end is not where the client's is
        Some(_) if !exchange.record.has_failed() => return false, // it may still be on its way to the service
        Some(upload) => upload.size(),
        None => exchange.body.size(),
    };
    // Who waits for `100 Continue` would be told so by reading.
    let near =
        size.is_some_and(|size| size <= SKIM_BYTES as u64) && !head::expects_continue(&exchange.asked.head);
    if !near || answer.fields.known(Known::Connection).is_some() {
        return false;
    }
    let mut rest = upload.map_or_else(|| exchange.take_body(), |upload| upload.rest());
    let end = async { while rest.frame().await.is_some_and(|frame| frame.is_ok()) {} };
    tokio::time::timeout(SKIM_TIME, end).await.is_ok() && wire.is_read()
}

/// Answers what is no request. There is no exchange, and no record.
async fn refuse(thread: &Thread, connection: &Connection, wire: &Wire, fault: Fault) {
    tracing::debug!(peer = %connection.peer(), "unreadable: {fault}");
    let failure = Failure::new(fault.kind(), fault.detail());
    thread.counters.failed(failure.kind);
    let Answer { status, fields, mut body, .. } = respond::unreadable(&failure);
    let to = To { version: Version::HTTP_11, head: false, trailers: false, keeps: false };
    let size = body.size();
    let mut coding = to.coding(size);
    wire.answer(|out| answer::head(out.head(), to, status, &fields, size, Some(coding)));
    if let Some(Ok(frame)) = body.frame().await
        && let Ok(data) = frame.into_data()
    {
        let _ = wire.answer(|out| out.put_data(data, &mut coding, true));
    }
    let _ = poll_fn(|cx| wire.poll_write(cx)).await;
}

/// Answers `101`: from here on the two connections are one tunnel.
async fn switch(thread: &Thread, wire: &Rc<Wire>, exchange: Exchange, answer: Answer, to: To) -> Next {
    let Exchange { upgrade: client, record, .. } = exchange;
    let Answer { status, fields, upgrade, .. } = answer;
    wire.answer(|out| answer::head(out.head(), to, status, &fields, None, None));
    if poll_fn(|cx| wire.poll_write(cx)).await.is_err() {
        return Next::Close;
    }
    match (client, upgrade) {
        (Some(client), Some(upstream)) => {
            Next::Tunnel(Box::pin(tunnel::run(client, upstream, record, thread.limits.tunnel_idle)))
        }
        _ => Next::Close,
    }
}

/// Ends a connection whose client may still be sending. Closed at once it would be reset, and the client might
/// lose the answer with it (RFC 9112 §9.6): so what still comes is read for a while.
async fn linger(wire: &Wire) {
    let end = async {
        let _ = poll_fn(|cx| wire.poll_shutdown(cx)).await; // with TLS it waits for a client that does not read
        poll_fn(|cx| wire.poll_waste(cx)).await;
    };
    let _ = tokio::time::timeout(LINGER, end).await;
}
