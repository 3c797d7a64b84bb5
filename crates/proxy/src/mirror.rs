//! Copies of requests for another service. What it answers is thrown away, and whether it fails is nobody's
//! business but the counters'. The request itself never waits for its copy.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use registry::Moment;
use tokio::time::Instant;

use crate::attempt::{Phase, attempt, in_time};
use crate::body::Body;
use crate::deadline::Deadline;
use crate::exchange::{Asked, Exchange};
use crate::table::Target;
use crate::thread::Thread;
use crate::upload::Upload;
use crate::{balance, head};

/// Longest body that is copied: it is read whole before the request goes on. A request with a longer one, or
/// with one whose length is not known, is not copied.
const BODY_MAX: u64 = 64 * 1024;
/// Bytes of an answer that are read, so that its connection can be used again.
const ANSWER_MAX: u64 = 1024 * 1024;

/// Sends a copy of the request on its way.
pub(crate) async fn copy(
    thread: &Rc<Thread>,
    exchange: &mut Exchange,
    target: &Arc<Target>,
    timeout: Duration,
) {
    let head = &exchange.asked.head;
    // To read a body that waits for `100 Continue` would be to say that the service wants it.
    if head::wants_upgrade(head).is_some() || head::expects_continue(head) {
        return;
    }
    let Some(slot) = Slot::take(thread) else { return };
    let body = if exchange.body.is_empty() {
        Body::empty()
    } else {
        if exchange.body.size().is_none_or(|size| size > BODY_MAX) {
            return;
        }
        let paused = tokio::time::timeout(thread.limits.body_idle, whole(&mut exchange.body)).await;
        let Ok(Some(bytes)) = paused else { return };
        exchange.body = Body::full(bytes.clone());
        Body::full(bytes)
    };
    let (asked, target, tasks) = (exchange.asked.clone(), Arc::clone(target), thread.tasks.clone());
    let thread = Rc::clone(thread);
    tasks.spawn_local(async move {
        let answered = ask(&thread, &asked, &target, body, timeout).await;
        thread.counters.mirrored(answered.is_some());
        drop(slot);
    });
}

/// The whole body; `None`: it broke off, which the exchange finds out again when it reads on.
async fn whole(body: &mut Body) -> Option<Bytes> {
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        bytes.extend_from_slice(frame.ok()?.data_ref()?);
    }
    Some(bytes.freeze())
}

async fn ask(
    thread: &Rc<Thread>,
    asked: &Asked,
    target: &Target,
    body: Body,
    timeout: Duration,
) -> Option<()> {
    let deadline = Deadline::new(Instant::now(), timeout, None);
    let pass = target.guarded.admit(Moment::now()).ok()?;
    let picking = balance::pick(thread, target, asked, None);
    let lease = tokio::time::timeout_at(deadline.at(), picking).await.ok()?.ok()?;
    let upload = Upload::new(body);
    let (began, phase) = (Instant::now(), Cell::new(Phase::Answer));
    let tried = attempt(thread, asked, lease, target.wire, &upload, &phase, deadline.left(began));
    let outcome = in_time(tried, None, &deadline, &upload).await;
    let failed = !matches!(&outcome, Some(Ok((reply, _))) if !reply.status.is_server_error());
    target.guarded.record(pass, failed, began.elapsed(), Moment::now());
    let (reply, lease) = outcome?.ok()?;
    let mut body = Body::answer(reply.into_body(lease, Rc::clone(&thread.pool), thread.limits.answer_idle));
    let mut read = 0;
    while let Some(frame) = body.frame().await {
        read += frame.ok()?.data_ref().map_or(0, |data| data.len() as u64);
        if read > ANSWER_MAX {
            break;
        }
    }
    (!failed).then_some(())
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
