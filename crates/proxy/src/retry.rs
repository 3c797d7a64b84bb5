//! For each try that is allowed: breaker, balance, connect, send. Ends with an answer's head or a failure.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, Method, StatusCode};
use kit::Backoff;
use manifest::spec::{self, InstanceId};
use registry::{Endpoint, Lease, Moment};
use tokio::time::Instant;

use crate::attempt::{Phase, attempt, in_time};
use crate::balance;
use crate::body::Body;
use crate::deadline::Deadline;
use crate::engine::Reply;
use crate::exchange::{Answer, Exchange};
use crate::failure::{Failure, Kind, Retry};
use crate::fields::{Fields, Known};
use crate::head;
use crate::policy::backoff;
use crate::policy::breaker::Pass;
use crate::table::Target;
use crate::thread::Thread;
use crate::upload::Upload;

/// Until another look at the only instance, which may be on its way out.
const LOOK_AGAIN: Backoff = Backoff { first: Duration::from_millis(20), max: Duration::from_millis(500) };
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// A call that is to be made.
pub(crate) struct Call<'a> {
    pub(crate) thread: &'a Rc<Thread>,
    pub(crate) exchange: &'a Exchange,
    pub(crate) upload: &'a Rc<Upload>,
    pub(crate) target: &'a Target,
    pub(crate) rule: &'a spec::Guard,
    pub(crate) deadline: &'a Deadline,
}

/// What a try ended with.
struct Tried {
    /// Who was asked, if it came to that.
    endpoint: Option<Arc<Endpoint>>,
    outcome: Result<(Reply, Lease), Failure>,
}

impl Call<'_> {
    /// Gets an answer from an instance of the target.
    pub(crate) async fn run(&self) -> Result<Answer, Failure> {
        let Self { thread, exchange, upload, target, rule, deadline } = self;
        let now = Moment::now();
        let entering = target.guarded.enter(rule.priority, Moment::of(deadline.at().into_std()), now);
        let entered = tokio::time::timeout_at(deadline.at(), entering).await;
        let place = entered.unwrap_or_else(|_| {
            let detail = format!("no place at `{}` came free in time", target.upstream.service());
            Err(Failure::new(Kind::BulkheadFull, detail))
        })?;
        exchange.record.hold(place);
        target.guarded.budget().deposit(now);
        let harmless = rule.retry.any_method || exchange.method().is_idempotent();
        let mut tries = Tries::new(thread.limits.attempts, &rule.retry, harmless && upload.is_empty());
        let mut avoid: Option<InstanceId> = None;
        loop {
            let pass = target.guarded.admit(Moment::now())?;
            let tried = self.hedged(pass, avoid.as_ref()).await;
            let again = match &tried.outcome {
                Ok((reply, _)) => tries.after_answer(reply.status, &rule.retry),
                Err(failure) => tries.after_failure(failure, upload.is_whole()),
            };
            let pause = match again {
                Again::No => None,
                again => self.pause(again, &tried),
            };
            let Some(pause) = pause else {
                let (reply, lease) = tried.outcome?;
                return self.answer(reply, lease);
            };
            thread.counters.retried();
            // The connection of an answer that is not wanted closes, its lease is given back.
            let Tried { endpoint, .. } = tried;
            avoid = endpoint.map(|endpoint| endpoint.id().clone()).or(avoid);
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            } else if target.upstream.load().ready.len() < 2 {
                // The same instance again, if it is still the one: it may be on its way out.
                let mut changed = target.upstream.subscribe();
                let until = deadline.at().min(Instant::now() + LOOK_AGAIN.draw(tries.failed));
                let _ = tokio::time::timeout_at(until, changed.changed()).await;
            }
        }
    }

    /// How long to wait before another try; `None`: there is no time, or no budget, for it.
    fn pause(&self, again: Again, tried: &Tried) -> Option<Duration> {
        let left = self.deadline.left(Instant::now());
        let Again::Declared(nth) = again else { return (!left.is_zero()).then_some(Duration::ZERO) };
        if left.is_zero() || !self.target.guarded.budget().withdraw(Moment::now()) {
            return None;
        }
        // What a client was told to wait is waited for, if there is time.
        let asked = tried.outcome.as_ref().ok().and_then(|(reply, _)| retry_after(&reply.fields));
        backoff::pause(&self.rule.retry, nth, asked, left, self.thread.dice.roll())
    }

    /// One try, and a second one beside it if it is slow and the rule says so. The first good answer wins.
    async fn hedged(&self, pass: Option<Pass>, avoid: Option<&InstanceId>) -> Tried {
        let Some(hedge) = self.rule.hedge else { return self.once(pass, avoid).await };
        let is_probe = pass.as_ref().is_some_and(Pass::is_probe);
        let read = [Method::GET, Method::HEAD].contains(self.exchange.method()) && self.upload.is_empty();
        if !read || is_probe || self.target.upstream.load().ready.len() < 2 {
            return self.once(pass, avoid).await;
        }
        let mut first = Box::pin(self.once(pass, avoid));
        if let Ok(tried) = tokio::time::timeout(hedge.after, first.as_mut()).await {
            return tried;
        }
        let now = Moment::now();
        let allowed = self.target.guarded.budget().withdraw(now);
        let pass = match self.target.guarded.admit(now) {
            Ok(pass) if allowed && !pass.as_ref().is_some_and(Pass::is_probe) => pass,
            _ => return first.await,
        };
        self.exchange.record.hedged();
        let slow = self.exchange.record.endpoint().map(|endpoint| endpoint.id().clone());
        let mut second = Box::pin(self.once(pass, slow.as_ref()));
        tokio::select! {
            tried = first.as_mut() => if tried.is_good() { tried } else { second.await },
            tried = second.as_mut() => if tried.is_good() { tried } else { first.await },
        }
    }

    /// One try on one instance, and what is learned from it.
    async fn once(&self, pass: Option<Pass>, avoid: Option<&InstanceId>) -> Tried {
        let Self { thread, exchange, upload, target, rule, deadline } = self;
        let picking = balance::pick(thread, target, &exchange.asked, avoid);
        let picked = tokio::time::timeout_at(deadline.at(), picking).await;
        let lease = match picked.unwrap_or_else(|_| Err(self.too_late(Phase::Instance, None))) {
            Ok(lease) => lease,
            Err(failure) => return Tried { endpoint: None, outcome: Err(failure) },
        };
        let endpoint = Arc::clone(lease.endpoint());
        exchange.record.attempt(&endpoint);
        let phase = Cell::new(Phase::Answer);
        let (began, per_try) = (Instant::now(), rule.retry.per_try);
        let attempt =
            attempt(thread, &exchange.asked, lease, target.wire, upload, &phase, deadline.left(began));
        let outcome = in_time(attempt, per_try, deadline, upload).await;
        let outcome = outcome.unwrap_or_else(|| Err(self.too_late(phase.get(), per_try)));
        let ended = Instant::now();
        // The service's time begins when it has all of the request.
        let whole = upload.sent_last().map_or(began, |last| last.max(began));
        exchange.record.upstream(ended.saturating_duration_since(began));
        let took = ended.saturating_duration_since(whole);
        self.learn(&endpoint, &outcome, pass, took, Moment::of(ended.into_std()));
        Tried { endpoint: Some(endpoint), outcome }
    }

    fn learn(
        &self,
        endpoint: &Arc<Endpoint>,
        outcome: &Result<(Reply, Lease), Failure>,
        pass: Option<Pass>,
        took: Duration,
        now: Moment,
    ) {
        let outlier = self.target.balance.outlier.as_ref();
        let failed = match outcome {
            Ok((reply, _)) => {
                endpoint.record_success();
                if is_gateway_failure(reply.status) {
                    endpoint.failed(took, outlier, now);
                } else {
                    endpoint.succeeded(took, now);
                }
                reply.status.is_server_error() || is_grpc_failure(&reply.fields)
            }
            Err(failure) => {
                let of_the_connection = failure.kind.is_of_the_connection();
                if !of_the_connection && !matches!(failure.kind, Kind::AnswerTimeout | Kind::BadAnswer) {
                    return; // the client's fault, or ours: the pass is given back unused
                }
                if of_the_connection {
                    endpoint.record_failure();
                }
                endpoint.failed(took, outlier, now);
                true
            }
        };
        self.target.guarded.record(pass, failed, took, now);
    }

    fn too_late(&self, phase: Phase, per_try: Option<Duration>) -> Failure {
        let service = self.target.upstream.service();
        let allowed = self.deadline.allowed();
        let time = kit::units::format_duration(per_try.map_or(allowed, |limit| limit.min(allowed)));
        let (kind, detail) = match phase {
            Phase::Instance => (Kind::NoInstance, format!("no instance of `{service}` got ready in {time}")),
            Phase::Connection => {
                (Kind::ConnectionTimeout, format!("`{service}` did not take the connection in {time}"))
            }
            Phase::Answer => (Kind::AnswerTimeout, format!("`{service}` did not answer in {time}")),
        };
        Failure::new(kind, detail)
    }

    /// The reply as an answer: its body, or its bare connection, holds the lease from here.
    fn answer(&self, mut reply: Reply, lease: Lease) -> Result<Answer, Failure> {
        let Self { thread, exchange, target, .. } = self;
        let switching = reply.status == StatusCode::SWITCHING_PROTOCOLS;
        exchange.record.answers(lease.endpoint());
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
}

impl Tried {
    fn is_good(&self) -> bool {
        self.outcome.as_ref().is_ok_and(|(reply, _)| !is_gateway_failure(reply.status))
    }
}

/// A service, or a proxy before it, says that it cannot.
fn is_gateway_failure(status: StatusCode) -> bool {
    matches!(status.as_u16(), 502..=504)
}

/// An answer of gRPC that is a failure of the service, as far as its head tells: UNKNOWN, DEADLINE_EXCEEDED,
/// INTERNAL, UNAVAILABLE, DATA_LOSS.
fn is_grpc_failure(fields: &Fields) -> bool {
    head::is_grpc(fields)
        && fields.get(&GRPC_STATUS).is_some_and(|code| matches!(code, b"2" | b"4" | b"13" | b"14" | b"15"))
}

/// The pause that an answer asks for in seconds (RFC 9110 §10.2.3). A date is not waited for.
fn retry_after(fields: &Fields) -> Option<Duration> {
    let seconds = std::str::from_utf8(fields.known(Known::RetryAfter)?).ok()?.trim();
    Some(Duration::from_secs(seconds.parse::<u32>().ok()?.into()))
}

/// How many tries are left, and for what. Pure.
#[derive(Debug)]
struct Tries {
    /// Left for a request that was provably not processed.
    unsent: u32,
    /// Left of those that were declared, for a request whose repetition is harmless.
    declared: u32,
    allowed: u32,
    repeatable: bool,
    failed: u32,
}

/// Whether there is another try, and on whose account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Again {
    No,
    /// The request was not processed: a try like the first.
    Unsent,
    /// The so-and-so-manieth of those that were declared.
    Declared(u32),
}

impl Tries {
    fn new(attempts: u32, rule: &spec::Retry, repeatable: bool) -> Self {
        let (unsent, declared) = (attempts.saturating_sub(1), rule.attempts);
        Self { unsent, declared, allowed: declared, repeatable, failed: 0 }
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
            return Again::Unsent;
        }
        if unprocessed || self.repeatable { self.declared() } else { Again::No }
    }

    /// What to do after an answer, which may say that the service could not.
    fn after_answer(&mut self, status: StatusCode, rule: &spec::Retry) -> Again {
        if !self.repeatable || !rule.statuses.contains(&status.as_u16()) {
            return Again::No;
        }
        self.failed += 1;
        self.declared()
    }

    fn declared(&mut self) -> Again {
        if take(&mut self.declared) { Again::Declared(self.allowed - self.declared) } else { Again::No }
    }
}

fn take(left: &mut u32) -> bool {
    let any = *left > 0;
    *left = left.saturating_sub(1);
    any
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(attempts: u32) -> spec::Retry {
        spec::Retry { attempts, ..spec::Retry::default() }
    }

    fn tries(declared: u32, repeatable: bool) -> Tries {
        Tries::new(3, &rule(declared), repeatable)
    }

    fn failure(kind: Kind) -> Failure {
        Failure::new(kind, "")
    }

    #[test]
    fn a_request_that_never_left_is_tried_three_times_in_all() {
        let mut post = tries(0, false);
        let refused = failure(Kind::ConnectionRefused);
        assert_eq!(post.after_failure(&refused, true), Again::Unsent);
        assert_eq!(post.after_failure(&refused, true), Again::Unsent);
        assert_eq!(post.after_failure(&refused, true), Again::No);
        assert_eq!(tries(9, true).after_failure(&refused, false), Again::No);
    }

    #[test]
    fn a_request_that_may_have_been_processed_is_repeated_only_when_that_is_harmless() {
        let reused = failure(Kind::ClosedReused);
        assert_eq!(tries(0, true).after_failure(&reused, true), Again::Unsent);
        assert_eq!(tries(5, false).after_failure(&reused, true), Again::No);
        for kind in [Kind::ConnectionTerminated, Kind::AnswerTimeout] {
            assert_eq!(tries(0, true).after_failure(&failure(kind), true), Again::No);
            assert_eq!(tries(1, true).after_failure(&failure(kind), true), Again::Declared(1));
            assert_eq!(tries(1, false).after_failure(&failure(kind), true), Again::No);
        }
    }

    #[test]
    fn answers_are_tried_again_only_as_often_as_was_declared() {
        let mut get = tries(2, true);
        assert_eq!(get.after_answer(StatusCode::INTERNAL_SERVER_ERROR, &rule(2)), Again::No);
        assert_eq!(get.after_answer(StatusCode::SERVICE_UNAVAILABLE, &rule(2)), Again::Declared(1));
        assert_eq!(get.after_answer(StatusCode::SERVICE_UNAVAILABLE, &rule(2)), Again::Declared(2));
        assert_eq!(get.after_answer(StatusCode::SERVICE_UNAVAILABLE, &rule(2)), Again::No);
        assert_eq!(tries(1, false).after_answer(StatusCode::BAD_GATEWAY, &rule(1)), Again::No);
        let own = spec::Retry { statuses: vec![500], ..rule(1) };
        assert_eq!(tries(1, true).after_answer(StatusCode::INTERNAL_SERVER_ERROR, &own), Again::Declared(1));
    }

    #[test]
    fn what_will_fail_again_is_not_tried_again() {
        for kind in [Kind::BadAnswer, Kind::NoInstance, Kind::RequestStalled, Kind::Internal] {
            assert_eq!(tries(5, true).after_failure(&failure(kind), true), Again::No);
        }
    }

    #[test]
    fn a_pause_that_is_asked_for_is_read_in_seconds() {
        let asked = |value: &str| {
            let mut fields = Fields::new();
            fields.push(b"Retry-After", value.as_bytes());
            retry_after(&fields)
        };
        assert_eq!(asked("2"), Some(Duration::from_secs(2)));
        assert_eq!(asked("Sat, 21 Nov 2026 00:00:00 GMT"), None);
        assert_eq!(asked("-1"), None);
    }
}
