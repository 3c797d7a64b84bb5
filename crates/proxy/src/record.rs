//! The record of an exchange while it is being filled. It is emitted when it is dropped: with the last
//! byte of the answer, or when the exchange is given up, whichever way that happens.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::StatusCode;
use registry::Endpoint;

use crate::access::AccessRecord;
use crate::connection::Connection;
use crate::failure::{Failure, Kind};
use crate::guard::Place;
use crate::head::Head;
use crate::table::Shown;
use crate::thread::Thread;
use crate::upload::Upload;

/// The status in the record of an exchange whose client left before there was one (nginx's convention).
const CLIENT_GONE: u16 = 499;

/// Fills an [`AccessRecord`] and emits it in the end.
pub(crate) struct Recorder {
    record: Option<AccessRecord>,
    started: Instant,
    thread: Rc<Thread>,
    connection: Rc<Connection>,
    upload: Option<Rc<Upload>>,
    answering: bool,
    progress: Progress,
}

/// What tries add to, which only borrow the exchange.
#[derive(Default)]
struct Progress {
    attempts: Cell<u32>,
    endpoint: RefCell<Option<Arc<Endpoint>>>,
    place: RefCell<Option<Place>>,
    upstream: Cell<Duration>,
    hedged: Cell<bool>,
}

impl Recorder {
    pub(crate) fn new(thread: Rc<Thread>, connection: Rc<Connection>, record: AccessRecord) -> Self {
        connection.begin();
        thread.counters.exchange_began();
        let started = Instant::now();
        Self {
            record: Some(record),
            started,
            thread,
            connection,
            upload: None,
            answering: false,
            progress: Progress::default(),
        }
    }

    /// When the head of the request was complete.
    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    /// The head has been found fit.
    pub(crate) fn head(&mut self, head: &Head) {
        self.with(|record| record.host = (!head.host.is_empty()).then(|| head.host.as_str().into()));
    }

    pub(crate) fn route(&mut self, route: &Arc<Shown>) {
        self.with(|record| record.route = Some(Arc::clone(route)));
    }

    /// An attempt is made on an instance.
    pub(crate) fn attempt(&self, endpoint: &Arc<Endpoint>) {
        *self.progress.endpoint.borrow_mut() = Some(Arc::clone(endpoint));
        self.progress.attempts.set(self.progress.attempts.get() + 1);
    }

    /// An instance has been waited for.
    pub(crate) fn upstream(&self, took: Duration) {
        self.progress.upstream.set(self.progress.upstream.get() + took);
    }

    /// A second attempt is made beside the first.
    pub(crate) fn hedged(&self) {
        self.progress.hedged.set(true);
    }

    /// Whose answer it is.
    pub(crate) fn answers(&self, endpoint: &Arc<Endpoint>) {
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

    /// How much of the time so far was spent on waiting for instances.
    pub(crate) fn waited(&self) -> Duration {
        self.progress.upstream.get()
    }

    /// The answer is not the service's own.
    pub(crate) fn fell_back(&mut self) {
        self.with(|record| record.fallback = true);
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
        self.record.as_ref().is_some_and(|record| record.error.is_some())
    }

    pub(crate) fn failed(&mut self, failure: &Failure) {
        if let Some(inside) = &failure.inside {
            tracing::debug!(code = failure.kind.code(), "{failure}: {}", inside.for_log());
        }
        self.broke(failure.kind);
    }

    /// Something went wrong; the first cause stays.
    pub(crate) fn broke(&mut self, kind: Kind) {
        self.with(|record| {
            record.error.get_or_insert(kind);
        });
    }

    /// The head of the answer is there.
    pub(crate) fn answered(&mut self, status: StatusCode) {
        let first_byte_us = micros(self.started);
        self.with(|record| {
            record.status = status.as_u16();
            record.first_byte_us = Some(first_byte_us);
        });
        self.answering = true;
        self.connection.answering();
    }

    /// Some of the answer's body was passed on.
    pub(crate) fn passed(&mut self, bytes: u64) {
        self.with(|record| record.bytes_out += bytes);
        self.connection.taken(bytes);
    }

    /// The connection is a tunnel from now on, with nothing for HTTP to watch.
    pub(crate) fn upgraded(&mut self) {
        self.with(|record| record.upgraded = true);
    }

    /// Bytes that a tunnel carried from the client.
    pub(crate) fn tunnelled(&mut self, bytes_in: u64, bytes_out: u64) {
        self.with(|record| {
            record.bytes_in = bytes_in;
            record.bytes_out = bytes_out;
        });
    }

    fn with(&mut self, change: impl FnOnce(&mut AccessRecord)) {
        if let Some(record) = &mut self.record {
            change(record);
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.connection.end(self.answering);
        let Some(mut record) = self.record.take() else { return };
        record.duration_us = micros(self.started);
        record.attempts = self.progress.attempts.get();
        record.hedged = self.progress.hedged.get();
        record.endpoint = self.progress.endpoint.take();
        record.upstream_us = u64::try_from(self.progress.upstream.get().as_micros()).unwrap_or(u64::MAX);
        if let Some(upload) = &self.upload {
            record.bytes_in += upload.bytes();
        }
        if record.first_byte_us.is_none() {
            record.status = CLIENT_GONE;
            record.error.get_or_insert(Kind::ClientGone);
        }
        self.thread.counters.exchange_ended(&record);
        self.thread.shared.access.record(record);
    }
}

fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}
