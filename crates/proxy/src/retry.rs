//! For each attempt that is allowed: balance, connect, send. Ends with an answer's head or a failure.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use kit::Backoff;
use manifest::spec::InstanceId;
use registry::Lease;
use tokio::time::Instant;

use crate::body::Body;
use crate::engine::{Broken, Reply, UpstreamConnection};
use crate::exchange::{Answer, Exchange};
use crate::failure::{Failure, Kind, Retry};
use crate::head::forward::Attempt;
use crate::head::{self, Framing};
use crate::table::Target;
use crate::thread::Thread;
use crate::upload::{Gate, Upload};
use crate::{Limits, balance};

/// Between an attempt and the next.
const PAUSE: Backoff = Backoff { first: Duration::from_millis(20), max: Duration::from_millis(500) };

/// What an exchange is waiting for: names the failure when its time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Instance,
    Connection,
    Answer,
}

/// Gets an answer from an instance of the target. Its timeout, which begins with the last byte of the request,
/// is that of one try: attempts that provably
/// did not reach a service share it, a declared retry gets one of its own.
pub(crate) async fn forward(
    thread: &Rc<Thread>,
    exchange: &mut Exchange,
    target: &Target,
) -> Result<Answer, Failure> {
    let upload = Upload::new(exchange.take_body());
    exchange.record.upload(&upload);
    let repeatable = is_idempotent(exchange.method()) && upload.is_empty();
    let mut budget = Budget::new(&thread.limits, target, repeatable);
    let mut deadline = Instant::from_std(exchange.record.started()) + target.timeout;
    let mut avoid: Option<InstanceId> = None;
    loop {
        let picked = balance::pick(&target.upstream, &thread.waiting, thread.limits.waiting, avoid.as_ref());
        let picked = tokio::time::timeout_at(deadline, picked).await;
        let lease = picked.unwrap_or_else(|_| Err(too_late(Phase::Instance, target)))?;
        let endpoint = Arc::clone(lease.endpoint());
        exchange.record.attempt(&endpoint);
        let phase = Cell::new(Phase::Answer);
        let left = deadline.saturating_duration_since(Instant::now());
        let attempt = attempt(thread, exchange, lease, &upload, &phase, left);
        let outcome = in_time(attempt, deadline, target.timeout, &upload).await;
        let outcome = outcome.unwrap_or_else(|| Err(too_late(phase.get(), target)));
        match &outcome {
            Ok(_) => endpoint.record_success(),
            Err(failure) if failure.kind.is_of_the_connection() => endpoint.record_failure(),
            Err(_) => {}
        }
        let again = match &outcome {
            Ok((reply, _)) => budget.after_answer(reply.status),
            Err(failure) => budget.after_failure(failure, upload.is_whole()),
        };
        match again {
            Again::No => {
                let (reply, lease) = outcome?;
                return answer(thread, exchange, reply, lease, target);
            }
            Again::SameTry => {}
            Again::NewTry => deadline = Instant::now() + target.timeout,
        }
        thread.counters.retried();
        drop(outcome); // the connection of an answer that is not wanted closes, the lease is given back
        avoid = Some(endpoint.id().clone());
        if target.upstream.load().ready.len() < 2 {
            // The same instance again, if it is still the one: it may be on its way out.
            let mut changed = target.upstream.subscribe();
            let until = deadline.min(Instant::now() + PAUSE.draw(budget.failed));
            let _ = tokio::time::timeout_at(until, changed.changed()).await;
        }
    }
}

/// Waits for an attempt up to its deadline, which moves as long as the client sends its body: a service owes
/// no answer before the request is whole. How long a body may pause is bounded elsewhere.
async fn in_time<T>(
    attempt: impl Future<Output = T>,
    mut deadline: Instant,
    timeout: Duration,
    upload: &Upload,
) -> Option<T> {
    let mut attempt = std::pin::pin!(attempt);
    loop {
        if let Ok(outcome) = tokio::time::timeout_at(deadline, attempt.as_mut()).await {
            return Some(outcome);
        }
        let now = Instant::now();
        deadline = upload.client_was_last_at(now).map(|last| last + timeout).filter(|later| *later > now)?;
    }
}

fn too_late(phase: Phase, target: &Target) -> Failure {
    let service = target.upstream.service();
    let time = kit::units::format_duration(target.timeout);
    let (kind, detail) = match phase {
        Phase::Instance => (Kind::NoInstance, format!("no instance of `{service}` got ready in {time}")),
        Phase::Connection => {
            (Kind::ConnectionTimeout, format!("`{service}` did not take the connection in {time}"))
        }
        Phase::Answer => (Kind::AnswerTimeout, format!("`{service}` did not answer in {time}")),
    };
    Failure::new(kind, detail)
}

/// One attempt on one instance.
async fn attempt(
    thread: &Rc<Thread>,
    exchange: &mut Exchange,
    lease: Lease,
    upload: &Rc<Upload>,
    phase: &Cell<Phase>,
    left: Duration,
) -> Result<(Reply, Lease), Failure> {
    let limits = &thread.limits;
    let endpoint = lease.endpoint();
    let framing = match upload.size() {
        _ if upload.is_empty() => Framing::None,
        Some(size) => Framing::Known(size),
        None => Framing::Unknown,
    };
    let attempt = Attempt { endpoint: endpoint.address(), framing, left };
    let request = UpstreamConnection::request(&exchange.asked, &attempt, limits)?;
    let idle = thread.pool.take(endpoint);
    let reused = idle.is_some();
    let connection = match idle {
        Some(connection) => connection,
        None => {
            phase.set(Phase::Connection);
            thread.counters.upstream_opened();
            match tokio::time::timeout(limits.connect, UpstreamConnection::open(endpoint.address())).await {
                Ok(Ok(connection)) => connection,
                Ok(Err(error)) => return Err(not_connected(endpoint.id(), &error)),
                Err(_) => {
                    let detail = format!("`{}` did not take the connection in time", endpoint.id());
                    return Err(Failure::new(Kind::ConnectionTimeout, detail));
                }
            }
        }
    };
    phase.set(Phase::Answer);
    let waits = framing != Framing::None && head::expects_continue(&exchange.asked.head);
    let gate = waits.then(|| Gate::new(limits.expect));
    let go = gate.as_ref().map(Gate::key);
    let sending = upload.attempt(limits.body_idle, gate);
    match connection.send(request, sending, go).await {
        Ok(reply) if head::check::is_plain(&reply.fields) => Ok((reply, lease)),
        Ok(_) => {
            let detail =
                format!("`{}` answered in a transfer coding nobody asked for", lease.endpoint().id());
            Err(Failure::new(Kind::BadAnswer, detail))
        }
        Err(broken) => Err(no_answer(lease.endpoint().id(), broken, upload, reused)),
    }
}

fn not_connected(instance: &InstanceId, error: &io::Error) -> Failure {
    use io::ErrorKind::{AddrNotAvailable, TimedOut};
    let out_of_files = matches!(error.raw_os_error(), Some(23 | 24)); // ENFILE, EMFILE
    if out_of_files || error.kind() == AddrNotAvailable {
        return Failure::new(Kind::Internal, "no connection could be opened").inside(error);
    }
    if error.kind() == TimedOut {
        let detail = format!("`{instance}` did not take the connection in time");
        return Failure::new(Kind::ConnectionTimeout, detail).inside(error);
    }
    Failure::new(Kind::ConnectionRefused, format!("`{instance}` refused the connection")).inside(error)
}

fn no_answer(instance: &InstanceId, broken: Broken, upload: &Upload, reused: bool) -> Failure {
    if let Some(kind) = upload.fault() {
        let detail = match kind {
            Kind::RequestStalled => "the request's body paused too long",
            _ => "the request's body broke off",
        };
        return Failure::new(kind, detail);
    }
    let closed = format!("`{instance}` closed the connection before it answered");
    match broken {
        Broken::Unsent(error) => Failure::new(Kind::ClosedUnsent, closed).inside(error),
        Broken::Closed(error) if reused => Failure::new(Kind::ClosedReused, closed).inside(error),
        Broken::Closed(error) => Failure::new(Kind::ConnectionTerminated, closed).inside(error),
        Broken::Malformed(error) => {
            Failure::new(Kind::BadAnswer, format!("`{instance}` did not answer in HTTP")).inside(error)
        }
        Broken::Body(error) => {
            Failure::new(Kind::RequestIncomplete, "the request's body broke off").inside(error)
        }
    }
}

/// The reply as an answer: its body, or its bare connection, holds the lease from here.
fn answer(
    thread: &Rc<Thread>,
    exchange: &Exchange,
    mut reply: Reply,
    lease: Lease,
    target: &Target,
) -> Result<Answer, Failure> {
    let switching = reply.status == StatusCode::SWITCHING_PROTOCOLS;
    let mut answer = Answer::new(reply.status);
    answer.fields = std::mem::take(&mut reply.fields);
    head::forward::from_upstream(&mut answer.fields, switching);
    if !switching {
        answer.body =
            Body::answer(reply.into_body(lease, Rc::clone(&thread.pool), thread.limits.answer_idle));
        return Ok(answer);
    }
    if exchange.upgrade.is_none() || head::wants_upgrade(&exchange.asked.head).is_none() {
        let detail = format!("`{}` switched protocols without being asked", target.upstream.service());
        return Err(Failure::new(Kind::UpgradeFailed, detail));
    }
    answer.upgrade = reply.into_upgrade(lease);
    Ok(answer)
}

/// RFC 9110 §9.2.2.
fn is_idempotent(method: &Method) -> bool {
    method.is_idempotent()
}

/// How many tries are left, and for what. Pure.
#[derive(Debug)]
struct Budget {
    /// Tries left for a request that was provably not processed.
    unsent: u32,
    /// Tries left that the caller declared, for a request whose repetition is harmless.
    declared: u32,
    repeatable: bool,
    failed: u32,
}

impl Budget {
    fn new(limits: &Limits, target: &Target, repeatable: bool) -> Self {
        let unsent = limits.attempts.saturating_sub(1);
        Self { unsent, declared: target.retries, repeatable, failed: 0 }
    }

    /// What to do after a failure. `whole`: nothing of the request's body was taken.
    fn after_failure(&mut self, failure: &Failure, whole: bool) -> Again {
        self.failed += 1;
        let unprocessed = match failure.retry() {
            Retry::Never => return Again::No,
            Retry::Safe if !whole => return Again::No,
            Retry::Safe => true,
            // A connection that dies when it is used again was most likely closed while it was idle.
            Retry::IfIdempotent => self.repeatable && failure.kind == Kind::ClosedReused,
        };
        if unprocessed && take(&mut self.unsent) {
            return Again::SameTry;
        }
        if (unprocessed || self.repeatable) && take(&mut self.declared) {
            return Again::NewTry;
        }
        Again::No
    }

    /// What to do after an answer, which may say that the service could not.
    fn after_answer(&mut self, status: StatusCode) -> Again {
        let retried = [StatusCode::BAD_GATEWAY, StatusCode::SERVICE_UNAVAILABLE, StatusCode::GATEWAY_TIMEOUT];
        if !retried.contains(&status) || !self.repeatable {
            return Again::No;
        }
        self.failed += 1;
        if take(&mut self.declared) { Again::NewTry } else { Again::No }
    }
}

/// Whether there is another attempt, and in whose time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Again {
    No,
    SameTry,
    NewTry,
}

fn take(left: &mut u32) -> bool {
    let any = *left > 0;
    *left = left.saturating_sub(1);
    any
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(declared: u32, repeatable: bool) -> Budget {
        Budget { unsent: 2, declared, repeatable, failed: 0 }
    }

    fn failure(kind: Kind) -> Failure {
        Failure::new(kind, "")
    }

    #[test]
    fn a_request_that_never_left_is_tried_three_times_in_all() {
        let mut post = budget(0, false);
        let refused = failure(Kind::ConnectionRefused);
        assert_eq!(post.after_failure(&refused, true), Again::SameTry);
        assert_eq!(post.after_failure(&refused, true), Again::SameTry);
        assert_eq!(post.after_failure(&refused, true), Again::No);
        assert_eq!(budget(9, true).after_failure(&refused, false), Again::No);
    }

    #[test]
    fn a_request_that_may_have_been_processed_is_repeated_only_when_that_is_harmless() {
        let reused = failure(Kind::ClosedReused);
        assert_eq!(budget(0, true).after_failure(&reused, true), Again::SameTry);
        assert_eq!(budget(5, false).after_failure(&reused, true), Again::No);
        for kind in [Kind::ConnectionTerminated, Kind::AnswerTimeout] {
            assert_eq!(budget(0, true).after_failure(&failure(kind), true), Again::No);
            assert_eq!(budget(1, true).after_failure(&failure(kind), true), Again::NewTry);
            assert_eq!(budget(1, false).after_failure(&failure(kind), true), Again::No);
        }
    }

    #[test]
    fn answers_are_tried_again_only_as_often_as_was_declared() {
        let mut get = budget(1, true);
        assert_eq!(get.after_answer(StatusCode::INTERNAL_SERVER_ERROR), Again::No);
        assert_eq!(get.after_answer(StatusCode::SERVICE_UNAVAILABLE), Again::NewTry);
        assert_eq!(get.after_answer(StatusCode::SERVICE_UNAVAILABLE), Again::No);
        assert_eq!(budget(1, false).after_answer(StatusCode::BAD_GATEWAY), Again::No);
    }

    #[test]
    fn what_will_fail_again_is_not_tried_again() {
        for kind in [Kind::BadAnswer, Kind::NoInstance, Kind::RequestStalled, Kind::Internal] {
            assert_eq!(budget(5, true).after_failure(&failure(kind), true), Again::No);
        }
    }
}
