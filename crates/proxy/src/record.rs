//! The record of an exchange while it is being filled. It is emitted when it is dropped: with the last
//! byte of the answer, or when the exchange is given up, whichever way that happens.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Method, StatusCode, Version};
use registry::{Endpoint, Moment};

use crate::connection::Connection;
use crate::failure::{Failure, Kind};
use crate::guard::Place;
use crate::head::{Head, RequestId};
use crate::signals::{Hop, Local, RouteSignals};
use crate::thread::Thread;
use crate::trace::Trace;
use crate::upload::Upload;

/// The status in the record of an exchange whose client left before there was one (nginx's convention).
const CLIENT_GONE: u16 = 499;

/// Gathers what is known of an exchange and tells it in the end: as a [`Hop`].
pub(crate) struct Recorder {
    started: Instant,
    thread: Rc<Thread>,
    connection: Rc<Connection>,
    upload: Option<Rc<Upload>>,
    version: Version,
    method: Method,
    /// The target, then the host: empty if nobody wants them.
    text: String,
    target_len: usize,
    wants_text: bool,
    request_id: RequestId,
    trace: Trace,
    route: Option<Rc<Local>>,
    status: u16,
    first_byte: Option<Duration>,
    fallback: bool,
    upgraded: bool,
    /// What a tunnel carried from the client; a body's bytes are counted by `upload`.
    bytes_in: u64,
    bytes_out: u64,
    error: Option<Kind>,
    progress: Progress,
}

/// What tries add to, which only borrow the exchange.
#[derive(Default)]
struct Progress {
    attempts: Cell<u32>,
    retries: Cell<u32>,
    hedges: Cell<u32>,
    endpoint: RefCell<Option<Arc<Endpoint>>>,
    place: RefCell<Option<Place>>,
    waited: Cell<Duration>,
    /// When the head of the answer that is given came from an instance.
    came: Cell<Option<Instant>>,
}

impl Recorder {
    /// The head of a request has come.
    pub(crate) fn new(
        thread: &Rc<Thread>,
        connection: Rc<Connection>,
        head: &Head,
        request_id: RequestId,
        trace: Trace,
    ) -> Self {
        connection.begin();
        thread.counters.exchange_began();
        let wants_text = thread.signals.lane.wants_text();
        let mut text = String::new();
        if wants_text {
            text = thread.signals.text();
            text.push_str(head.target());
        }
        Self {
            started: Instant::now(),
            thread: Rc::clone(thread),
            connection,
            upload: None,
            version: head.version,
            method: head.method.clone(),
            target_len: text.len(),
            text,
            wants_text,
            request_id,
            trace,
            route: None,
            status: 0,
            first_byte: None,
            fallback: false,
            upgraded: false,
            bytes_in: 0,
            bytes_out: 0,
            error: None,
            progress: Progress::default(),
        }
    }

    /// When the head of the request was complete.
    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    /// The head has been found fit.
    pub(crate) fn head(&mut self, head: &Head) {
        if self.wants_text {
            self.text.push_str(head.host.as_str());
        }
    }

    pub(crate) fn route(&mut self, route: &Arc<RouteSignals>) {
        self.route = Some(self.thread.signals.local(route));
    }

    /// An attempt is made on an instance.
    pub(crate) fn attempt(&self, endpoint: &Arc<Endpoint>) {
        *self.progress.endpoint.borrow_mut() = Some(Arc::clone(endpoint));
        self.progress.attempts.set(self.progress.attempts.get() + 1);
        self.progress.came.set(None);
    }

    /// An instance has been waited for.
    pub(crate) fn upstream(&self, took: Duration) {
        self.progress.waited.set(self.progress.waited.get() + took);
    }

    /// Another attempt is made after one that failed.
    pub(crate) fn retried(&self) {
        self.thread.counters.retried();
        self.progress.retries.set(self.progress.retries.get() + 1);
    }

    /// A second attempt is made beside the first.
    pub(crate) fn hedged(&self) {
        self.progress.hedges.set(self.progress.hedges.get() + 1);
    }

    /// Whose answer it is, and when its head came.
    pub(crate) fn answers(&self, endpoint: &Arc<Endpoint>, came: Instant) {
        self.progress.came.set(Some(came));
        let mut last = self.progress.endpoint.borrow_mut();
        if !last.as_ref().is_some_and(|last| Arc::ptr_eq(last, endpoint)) {
            *last = Some(Arc::clone(endpoint));
        }
    }

    /// The instance that was tried last.
    pub(crate) fn endpoint(&self) -> Option<Arc<Endpoint>> {
        self.progress.endpoint.borrow().clone()
    }

    /// The place that the exchange has with a service, in the stead of one that it had before.
    pub(crate) fn hold(&self, place: Place) {
        *self.progress.place.borrow_mut() = Some(place);
    }

    /// The answer is not the service's own.
    pub(crate) fn fell_back(&mut self) {
        self.fallback = true;
    }

    pub(crate) fn upload(&mut self, upload: &Rc<Upload>) {
        self.upload = Some(Rc::clone(upload));
    }

    /// The body of the request, if it was to be passed on.
    pub(crate) fn upload_of(&self) -> Option<Rc<Upload>> {
        self.upload.clone()
    }

    /// Whether anything has gone wrong so far.
    pub(crate) fn has_failed(&self) -> bool {
        self.error.is_some()
    }

    pub(crate) fn failed(&mut self, failure: &Failure) {
        if let Some(inside) = &failure.inside {
            tracing::debug!(code = failure.kind.code(), "{failure}: {}", inside.for_log());
        }
        self.broke(failure.kind);
    }

    /// Something went wrong; the first cause stays.
    pub(crate) fn broke(&mut self, kind: Kind) {
        self.error.get_or_insert(kind);
    }

    /// The head of the answer is there.
    pub(crate) fn answered(&mut self, status: StatusCode) {
        let came = self.progress.came.take().unwrap_or_else(Instant::now);
        self.status = status.as_u16();
        self.first_byte = Some(came.saturating_duration_since(self.started));
        self.connection.answering();
    }

    /// How much of the time so far was the platform's own: not spent on waiting for instances.
    pub(crate) fn own(&self) -> Duration {
        self.started.elapsed().saturating_sub(self.progress.waited.get())
    }

    /// Some of the answer's body was passed on.
    pub(crate) fn passed(&mut self, bytes: u64) {
        self.bytes_out += bytes;
        self.connection.taken(bytes);
    }

    /// The connection is a tunnel from now on, with nothing for HTTP to watch.
    pub(crate) fn upgraded(&mut self) {
        self.upgraded = true;
    }

    /// Bytes that a tunnel carried from the client.
    pub(crate) fn tunnelled(&mut self, bytes_in: u64, bytes_out: u64) {
        (self.bytes_in, self.bytes_out) = (bytes_in, bytes_out);
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let now = Instant::now();
        self.connection.end(self.first_byte.is_some(), now);
        let took = now.saturating_duration_since(self.started);
        if let Some(place) = self.progress.place.take() {
            place.leave(Moment::of(now));
        }
        let (mut status, mut error) = (self.status, self.error);
        if self.first_byte.is_none() {
            status = CLIENT_GONE;
            error.get_or_insert(Kind::ClientGone);
        }
        let (target, host) = self.text.split_at(self.target_len);
        let endpoint = self.progress.endpoint.borrow();
        let hop = Hop {
            began: self.thread.clock.at(self.started),
            took,
            first_byte: self.first_byte,
            waited: self.progress.waited.get(),
            entrance: self.connection.entrance(),
            tls: self.connection.session(),
            peer: self.connection.peer(),
            version: self.version,
            method: &self.method,
            host,
            target,
            status,
            route: self.route.as_ref().map(|route| route.label()),
            endpoint: endpoint.as_ref(),
            attempts: self.progress.attempts.get(),
            hedges: self.progress.hedges.get(),
            fallback: self.fallback,
            bytes_in: self.bytes_in + self.upload.as_ref().map_or(0, |upload| upload.bytes()),
            bytes_out: self.bytes_out,
            upgraded: self.upgraded,
            request_id: self.request_id.as_str(),
            trace: self.trace,
            error,
        };
        self.thread.counters.exchange_ended(&hop);
        if let Some(route) = &self.route {
            route.count(&hop, self.progress.retries.get());
        }
        self.thread.signals.lane.record(&hop);
        self.thread.signals.give_back(std::mem::take(&mut self.text));
    }
}
