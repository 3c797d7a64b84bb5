//! The request's body on its way to an upstream. Attempts share it: as long as no frame was taken, the
//! next attempt can still send it whole.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::Instant;

use crate::body::{Body, BodyError, Pause};
use crate::failure::Kind;
use crate::head;

/// What the attempts of one exchange share.
pub(crate) struct Upload {
    body: RefCell<Body>,
    taken: Cell<bool>,
    ended: Cell<bool>,
    /// It is the client that is waited for.
    waits: Cell<bool>,
    /// When the client sent something last.
    moved: Cell<Option<Instant>>,
    bytes: Cell<u64>,
    fault: Cell<Option<Kind>>,
    answered: Cell<bool>,
}

impl Upload {
    pub(crate) fn new(body: Body) -> Rc<Self> {
        Rc::new(Self {
            body: RefCell::new(body),
            taken: Cell::new(false),
            ended: Cell::new(false),
            waits: Cell::new(false),
            moved: Cell::new(None),
            bytes: Cell::new(0),
            fault: Cell::new(None),
            answered: Cell::new(false),
        })
    }

    /// There was no body to begin with.
    pub(crate) fn is_empty(&self) -> bool {
        !self.taken.get() && self.body.borrow().is_empty()
    }

    /// Nothing of it has been sent yet.
    pub(crate) fn is_whole(&self) -> bool {
        !self.taken.get()
    }

    pub(crate) fn size(&self) -> Option<u64> {
        self.body.borrow().size()
    }

    /// Bytes passed on.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// All of it has come.
    pub(crate) fn is_finished(&self) -> bool {
        self.ended.get() || self.body.borrow().is_empty()
    }

    /// Until when the service could not answer for the client's sake; `None`: it was given nothing to wait
    /// for.
    pub(crate) fn client_was_last_at(&self, now: Instant) -> Option<Instant> {
        if self.waits.get() { Some(now) } else { self.moved.get() }
    }

    /// When the client sent something last; `None`: nothing was read from it.
    pub(crate) fn sent_last(&self) -> Option<Instant> {
        self.moved.get()
    }

    /// Passes an interim answer (1xx) on to the client.
    pub(crate) fn inform(&self, status: http::StatusCode, fields: &crate::fields::Fields) {
        self.body.borrow().inform(status, fields);
    }

    /// What nobody has taken of it, once no attempt sends it any more.
    pub(crate) fn rest(&self) -> Body {
        self.body.take()
    }

    /// The answer has begun: who is told something may listen. From now on the pauses of the answer are those
    /// that are bounded, or a call that streams both ways would end whenever its client has nothing to add.
    pub(crate) fn answer_begins(&self) {
        self.answered.set(true);
    }

    /// What went wrong on the client's side of it.
    pub(crate) fn fault(&self) -> Option<Kind> {
        self.fault.get()
    }

    /// The body for one attempt. With a gate, nothing is read from the client until the gate opens or its
    /// time is over.
    pub(crate) fn attempt(self: &Rc<Self>, pause: Duration, gate: Option<Gate>) -> Sending {
        self.answered.set(false); // an answer that was there is not given
        Sending { upload: Rc::clone(self), pause: Pause::new(pause), gate }
    }
}

/// Holds a body back until the upstream says `100 Continue`.
pub(crate) struct Gate {
    open: Arc<AtomicBool>,
    patience: Pause,
}

impl Gate {
    pub(crate) fn new(patience: Duration) -> Self {
        Self { open: Arc::default(), patience: Pause::new(patience) }
    }

    /// What to set to open it. The connection polls the body right after it has read.
    pub(crate) fn key(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.open)
    }
}

/// The body as one attempt sends it.
pub(crate) struct Sending {
    upload: Rc<Upload>,
    pause: Pause,
    gate: Option<Gate>,
}

impl Sending {
    /// Whose body it is.
    pub(crate) fn upload(&self) -> &Rc<Upload> {
        &self.upload
    }
}

impl http_body::Body for Sending {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if let Some(gate) = &mut this.gate {
            if !gate.open.load(Ordering::Relaxed) && gate.patience.poll_still(cx).is_pending() {
                return Poll::Pending;
            }
            this.gate = None;
        }
        let upload = &this.upload;
        upload.waits.set(false);
        match Pin::new(&mut *upload.body.borrow_mut()).poll_frame(cx) {
            Poll::Ready(Some(Ok(mut frame))) => {
                this.pause.moved();
                upload.taken.set(true);
                upload.moved.set(Some(Instant::now()));
                if let Some(trailers) = frame.trailers_mut() {
                    upload.ended.set(true);
                    head::trust::clean_trailers(trailers);
                }
                let size = frame.data_ref().map_or(0, Bytes::len) as u64;
                upload.bytes.set(upload.bytes.get() + size);
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                upload.taken.set(true);
                upload.fault.set(Some(error.kind));
                Poll::Ready(Some(Err(error)))
            }
            Poll::Ready(None) => {
                upload.ended.set(true);
                Poll::Ready(None)
            }
            Poll::Pending => {
                if upload.answered.get() || this.pause.poll_still(cx).is_pending() {
                    upload.waits.set(true);
                    return Poll::Pending;
                }
                upload.fault.set(Some(Kind::RequestStalled));
                let error = BodyError::new(Kind::RequestStalled, "the request body paused too long");
                Poll::Ready(Some(Err(error)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.upload.body.borrow().is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        self.upload.body.borrow().size_hint()
    }
}
