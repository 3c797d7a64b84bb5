//! Copies of requests for another service. What it answers is thrown away, and whether it fails is nobody's
//! business but the counters'. The request itself never waits for its copy: that is made of what passes by, and
//! leaves when the request has.

use std::cell::Cell;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use registry::Moment;
use tokio::time::Instant;

use crate::attempt::{Phase, attempt, in_time, learn};
use crate::balance;
use crate::body::{Body, BodyError};
use crate::deadline::Deadline;
use crate::exchange::{Asked, Exchange};
use crate::failure::{Failure, Kind};
use crate::head;
use crate::table::Target;
use crate::thread::Thread;
use crate::upload::Upload;

/// Longest body that is copied. A request with a longer one is not.
const BODY_MAX: usize = 64 * 1024;
/// Bytes of an answer that are read, so that its connection can be used again.
const ANSWER_MAX: u64 = 1024 * 1024;

/// Has the request copied on its way.
pub(crate) fn copy(thread: &Rc<Thread>, exchange: &mut Exchange, target: &Arc<Target>, timeout: Duration) {
    if head::wants_upgrade(&exchange.asked.head).is_some() {
        return;
    }
    let body = exchange.take_body();
    if body.size().is_some_and(|size| size > BODY_MAX as u64) {
        exchange.body = body;
        return;
    }
    let Some(slot) = Slot::take(thread) else {
        exchange.body = body;
        return;
    };
    let (asked, target) = (exchange.asked.clone(), Arc::clone(target));
    let copy = Copy { slot, asked, target, timeout };
    if body.is_empty() {
        copy.leave(Body::empty());
    } else {
        exchange.body = Body::wrap(Passing { body, copied: BytesMut::new(), copy: Some(copy) });
    }
}

/// A copy that is to be sent.
struct Copy {
    slot: Slot,
    asked: Asked,
    target: Arc<Target>,
    timeout: Duration,
}

impl Copy {
    fn leave(self, body: Body) {
        let tasks = self.slot.0.tasks.clone();
        tasks.spawn_local(async move {
            let Self { slot, asked, target, timeout } = self;
            let deadline = Deadline::new(Instant::now(), timeout, None);
            // The time that its answer takes is bounded as well: it must not keep its slot.
            let asking =
                tokio::time::timeout_at(deadline.at(), ask(&slot.0, &asked, &target, body, &deadline));
            slot.0.counters.mirrored(asking.await.is_ok_and(|answered| answered.is_some()));
        });
    }
}

/// A body that is copied while the service reads it. The copy leaves with its end; what broke off, or nobody read
/// to the end, is not copied.
struct Passing {
    body: Body,
    copied: BytesMut,
    copy: Option<Copy>,
}

impl http_body::Body for Passing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                let data = frame.data_ref().map_or(&[][..], |data| data);
                if self.copied.len() + data.len() > BODY_MAX {
                    self.copy = None;
                } else if self.copy.is_some() {
                    self.copied.extend_from_slice(data);
                }
            }
            Some(Err(_)) => self.copy = None,
            None => {}
        }
        let ended = frame.is_none() || self.body.is_end_stream();
        if let Some(copy) = self.copy.take_if(|_| ended) {
            copy.leave(Body::full(std::mem::take(&mut self.copied)));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// `Some` if it was answered well.
async fn ask(
    thread: &Rc<Thread>,
    asked: &Asked,
    target: &Target,
    body: Body,
    deadline: &Deadline,
) -> Option<()> {
    let pass = target.guarded.admit(Moment::now()).ok()?;
    let lease = balance::pick(thread, target, asked, None).await.ok()?;
    let endpoint = Arc::clone(lease.endpoint());
    let upload = Upload::new(body);
    let (began, phase) = (Instant::now(), Cell::new(Phase::Answer));
    let tried = attempt(thread, asked, lease, target.wire, &upload, &phase, deadline.left(began));
    let outcome = in_time(thread, pin!(tried), None, deadline, &upload).await;
    let outcome = outcome.unwrap_or_else(|| Err(Failure::new(Kind::AnswerTimeout, "")));
    learn(target, &endpoint, &outcome, pass, began.elapsed(), Moment::now());
    let (reply, lease) = outcome.ok()?;
    let well = !reply.status.is_server_error();
    let mut body = Body::answer(reply.into_body(lease, Rc::clone(&thread.pool), thread.limits.answer_idle));
    let mut read = 0;
    while let Some(frame) = body.frame().await {
        read += frame.ok()?.data_ref().map_or(0, |data| data.len() as u64);
        if read > ANSWER_MAX {
            break;
        }
    }
    well.then_some(())
}

/// A place among the copies that are under way on one thread.
struct Slot(Rc<Thread>);

impl Slot {
    fn take(thread: &Rc<Thread>) -> Option<Self> {
        let under_way = thread.mirrors.get();
        if under_way >= thread.limits.mirrors {
            thread.counters.mirrored(false);
            return None;
        }
        thread.mirrors.set(under_way + 1);
        Some(Self(Rc::clone(thread)))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.mirrors.set(self.0.mirrors.get().saturating_sub(1));
    }
}
