//! A request over a stream of HTTP/2 to an instance, and its answer.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use http::{Request, Response, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use registry::Lease;
use tokio::task::AbortHandle;
use tokio_util::task::TaskTracker;

use super::links::Place;
use super::message;
use super::stream::{Pump, Receive, Stopped};
use crate::body::{BodyError, Pause};
use crate::engine::{Broken, Cause, INTERIM_MAX, Reply, Source};
use crate::exchange::Asked;
use crate::failure::{Failure, Kind};
use crate::head::forward::Attempt;
use crate::limits::Limits;
use crate::upload::Sending;

/// A request as an instance gets it.
pub(crate) fn request(asked: &Asked, attempt: &Attempt, limits: &Limits) -> Result<Request<()>, Failure> {
    message::request_of(asked, attempt, limits)
}

/// Sends a request and waits for the head of its answer. `go` is set when the instance says `100 Continue`.
/// Dropping the future resets the stream: that is how an exchange is cancelled.
pub(crate) async fn send(
    place: Place,
    mut request: Request<()>,
    body: Sending,
    go: Option<Arc<AtomicBool>>,
    tasks: &TaskTracker,
) -> Result<Reply, Broken> {
    let written = place.link.moved.borrow().written.get();
    if !place.reused {
        message::introduce(request.headers_mut());
    }
    let ends = body.is_end_stream();
    let (mut answer, stream) = place.send(request, ends).map_err(|error| {
        Broken::Unsent(error.map_or_else(|| Cause::from("the connection has just been closed"), Cause::from))
    })?;
    let mut pump = (!ends).then(|| Pump::new(body, stream, None));
    let mut interim = 0;
    let outcome = poll_fn(|cx| {
        while let Poll::Ready(Some(Ok(early))) = answer.poll_informational(cx) {
            interim += 1;
            if interim > INTERIM_MAX {
                return Poll::Ready(Err(Broken::Malformed("there is no end of interim answers".into())));
            }
            if let Some(go) = &go
                && early.status() == StatusCode::CONTINUE
            {
                go.store(true, Ordering::Relaxed);
            }
        }
        if let Some(sending) = &mut pump
            && let Poll::Ready(sent) = sending.poll(cx)
        {
            if let Err(Stopped::Source(error)) = sent {
                sending.reset(Reason::CANCEL);
                return Poll::Ready(Err(Broken::Body(error.into())));
            }
            pump = None; // what the instance has to say about it, its answer says
        }
        Pin::new(&mut answer).poll(cx).map_err(|error| broken(error, &place, written))
    });
    let (parts, incoming) = Response::into_parts(outcome.await?);
    place.link.answered.set(true);
    if parts.status.is_informational() {
        return Err(Broken::Malformed("status 101 does not exist in HTTP/2".into()));
    }
    let receive = Receive::new(incoming, message::length_of(&parts.headers));
    let fields = message::fields_of(parts.headers);
    let rest = Rest { receive, place, upload: pump.map(|pump| Uploading::start(pump, tasks)) };
    Ok(Reply { status: parts.status, fields, source: Source::Http2(rest) })
}

/// What became of a request that has no answer. `written`: bytes of its connection before it was sent.
fn broken(error: h2::Error, place: &Place, written: u64) -> Broken {
    let refused = error.is_reset() && error.is_remote() && error.reason() == Some(Reason::REFUSED_STREAM);
    // h2 gives a stream the error of a GOAWAY only if the stream is beyond the last one it names.
    let not_taken = error.is_go_away() && error.is_remote();
    // The connection is given up for what came on it; where it has carried answers, that was not about this stream.
    let given_up = error.is_go_away() && error.is_library() && place.link.answered.get();
    let unsent = error.is_io() && place.link.moved.borrow().written.get() == written;
    match error {
        // RFC 9113 §8.7: neither was processed.
        error if refused => Broken::Refused(error.into()),
        error if not_taken || unsent => Broken::Unsent(error.into()),
        error if error.is_reset() && error.is_remote() => Broken::Reset(error.into()),
        error if given_up => Broken::Closed(error.into()),
        error if error.is_library() => Broken::Malformed(error.into()),
        error => Broken::Closed(error.into()),
    }
}

/// Where the body of an answer will come from.
pub(crate) struct Rest {
    receive: Receive,
    place: Place,
    upload: Option<Uploading>,
}

impl Rest {
    /// The body, which holds the lease, and the place on the connection, to its end.
    pub(crate) fn into_body(self, lease: Lease, pause: Duration) -> AnswerBody {
        let ended = self.receive.is_end();
        let held = (!ended).then_some((self.upload, self.place, lease));
        AnswerBody { receive: self.receive, held, pause: Pause::new(pause) }
    }
}

/// An answer's body on its way through.
pub(crate) struct AnswerBody {
    receive: Receive,
    held: Option<(Option<Uploading>, Place, Lease)>,
    pause: Pause,
}

impl AnswerBody {
    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let error = match self.receive.poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.pause.moved();
                if self.receive.is_end() {
                    self.held = None;
                }
                return Poll::Ready(Some(Ok(frame)));
            }
            Poll::Ready(Some(Err(error))) => BodyError::new(Kind::AnswerIncomplete, error),
            Poll::Ready(None) => {
                self.held = None;
                return Poll::Ready(None);
            }
            Poll::Pending => {
                std::task::ready!(self.pause.poll_still(cx));
                BodyError::new(Kind::AnswerStalled, "the answer's body paused too long")
            }
        };
        self.held = None;
        Poll::Ready(Some(Err(error)))
    }

    pub(crate) fn is_end(&self) -> bool {
        self.receive.is_end()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.receive.size_hint()
    }
}

/// The rest of a request's body, which is sent while its answer is on its way already. Dropped, it stops.
struct Uploading {
    pump: Rc<RefCell<Option<Pump<Sending>>>>,
    task: AbortHandle,
}

impl Uploading {
    fn start(pump: Pump<Sending>, tasks: &TaskTracker) -> Self {
        let pump = Rc::new(RefCell::new(Some(pump)));
        let sending = Rc::clone(&pump);
        let task = tasks.spawn_local(poll_fn(move |cx| {
            let mut pump = sending.borrow_mut();
            let Some(sending) = &mut *pump else { return Poll::Ready(()) };
            let sent = std::task::ready!(sending.poll(cx));
            if let Err(Stopped::Source(_)) = sent {
                sending.reset(Reason::CANCEL); // the answer breaks off with it
            }
            *pump = None;
            Poll::Ready(())
        }));
        Self { pump, task: task.abort_handle() }
    }
}

impl Drop for Uploading {
    fn drop(&mut self) {
        self.task.abort();
        self.pump.take(); // at once: who comes after must not meet it
    }
}
