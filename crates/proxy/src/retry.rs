//! For each try that is allowed: breaker, balance, connect, send. Ends with an answer's head or a failure.

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{Method, StatusCode};
use kit::Backoff;
use manifest::spec::{self, InstanceId};
use registry::{Endpoint, Lease, Moment};
use tokio::time::Instant;

use crate::attempt::{Phase, attempt, in_time, is_gateway_failure, learn};
use crate::balance;
use crate::body::Body;
use crate::deadline::Deadline;
use crate::engine::Reply;
use crate::exchange::{Answer, Exchange};
use crate::failure::{Failure, Kind, Retry};
use crate::fields::{Fields, Known};
use crate::guard::Place;
use crate::head;
use crate::policy::backoff;
use crate::policy::breaker::Pass;
use crate::rare::{apart, rarely};
use crate::table::Target;
use crate::thread::Thread;
use crate::upload::Upload;

/// Until another look at the only instance, which may be on its way out.
const LOOK_AGAIN: Backoff = Backoff { first: Duration::from_millis(20), max: Duration::from_millis(500) };

/// A call that is to be made.
pub(crate) struct Call<'a> {
    pub(crate) thread: &'a Rc<Thread>,
    pub(crate) exchange: &'a Exchange,
    pub(crate) upload: &'a Rc<Upload>,
    pub(crate) target: &'a Target,
    pub(crate) rule: &'a spec::Guard,
    pub(crate) deadline: &'a Deadline,
    /// When it begins.
    pub(crate) now: Instant,
}

/// What a try ended with.
struct Tried {
    /// Who was asked, if it came to that.
    endpoint: Option<Arc<Endpoint>>,
    ended: Instant,
    outcome: Result<(Reply, Lease), Failure>,
}

impl Call<'_> {
    /// Gets an answer from an instance of the target.
    pub(crate) async fn run(&self) -> Result<Answer, Failure> {
        let Self { thread, exchange, upload, target, rule, now, .. } = self;
        let mut now = Moment::of(now.into_std());
        // Refused before it takes or waits for a place. A pass that is no probe is asked for again below: the
        // breaker may have opened during the wait.
        let mut probe = target.guarded.admit(now)?.filter(Pass::is_probe);
        let place = match target.guarded.enter(rule.priority, now)? {
            Some(place) => place,
            None => {
                let entered = rarely(self.place(now)).await;
                now = Moment::now();
                entered?
            }
        };
        exchange.record.hold(place);
        target.guarded.budget().deposit(now);
        let harmless = rule.retry.any_method || exchange.method().is_idempotent();
        let mut tries = Tries::new(thread.limits.attempts, &rule.retry, harmless);
        let mut avoid: Option<InstanceId> = None;
        loop {
            let pass = match probe.take() {
                None => target.guarded.admit(now)?,
                probe => probe,
            };
            let tried = match rule.hedge {
                None => self.once(pass, avoid.as_ref(), now).await,
                Some(hedge) => apart(self.hedged(hedge, pass, avoid.as_ref(), now)).await,
            };
            let again = match &tried.outcome {
                Ok((reply, _)) => tries.after_answer(reply.amounts_to(), upload.is_whole(), &rule.retry),
                Err(failure) => tries.after_failure(failure, upload.is_whole()),
            };
            let pause = match again {
                Again::No => None,
                again => self.pause(again, &tried),
            };
            let Some(pause) = pause else {
                let (reply, lease) = tried.outcome?;
                return self.answer(reply, lease, tried.ended);
            };
            exchange.record.retried();
            // The connection of an answer that is not wanted closes, its lease is given back.
            let Tried { endpoint, outcome, .. } = tried;
            drop(outcome);
            avoid = endpoint.map(|endpoint| endpoint.id().clone()).or(avoid);
            rarely(self.rest(pause, tries.failed)).await;
            now = Moment::now();
        }
    }

    /// Waits for a place at the service.
    async fn place(&self, now: Moment) -> Result<Place, Failure> {
        let Self { target, rule, deadline, .. } = self;
        let waiting = target.guarded.wait(rule.priority, Moment::of(deadline.at().into_std()), now);
        tokio::time::timeout_at(deadline.at(), waiting).await.unwrap_or_else(|_| {
            let detail = format!("no place at `{}` came free in time", target.upstream.service());
            Err(Failure::new(Kind::BulkheadFull, detail))
        })
    }

    /// Waits before another try.
    async fn rest(&self, pause: Duration, failed: u32) {
        let Self { target, deadline, .. } = self;
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        } else if target.upstream.load().ready.len() < 2 {
            // The same instance again, if it is still the one: it may be on its way out.
            let mut changed = target.upstream.subscribe();
            let until = deadline.at().min(Instant::now() + LOOK_AGAIN.draw(failed));
            let _ = tokio::time::timeout_at(until, changed.changed()).await;
        }
    }

    /// How long to wait before another try; `None`: there is no time or no budget for it, or the breaker is open.
    fn pause(&self, again: Again, tried: &Tried) -> Option<Duration> {
        let now = Instant::now();
        let left = self.deadline.left(now);
        // What the service said last tells more than that the breaker has opened over it.
        if left.is_zero() || self.target.guarded.admit(Moment::of(now.into_std())).is_err() {
            return None;
        }
        let Again::Declared(nth) = again else { return Some(Duration::ZERO) };
        // What a client was told to wait is waited for, if there is time.
        let wall = SystemTime::now();
        let asked = tried.outcome.as_ref().ok().and_then(|(reply, _)| retry_after(&reply.fields, wall));
        let pause = backoff::pause(&self.rule.retry, nth, asked, left, self.thread.dice.roll())?;
        self.target.guarded.budget().withdraw(Moment::of(now.into_std())).then_some(pause)
    }

    /// One try, and a second one beside it if it is slow. The first good answer wins.
    async fn hedged(
        &self,
        hedge: spec::Hedge,
        pass: Option<Pass>,
        avoid: Option<&InstanceId>,
        now: Moment,
    ) -> Tried {
        let is_probe = pass.as_ref().is_some_and(Pass::is_probe);
        let read = [Method::GET, Method::HEAD].contains(self.exchange.method()) && self.upload.is_empty();
        if !read || is_probe || self.target.upstream.load().ready.len() < 2 {
            return self.once(pass, avoid, now).await;
        }
        let began = Instant::now();
        let mut first = Box::pin(self.once(pass, avoid, now));
        if let Ok(tried) = tokio::time::timeout(hedge.after, first.as_mut()).await {
            return tried;
        }
        let now = Moment::now();
        let pass = match self.target.guarded.admit(now) {
            Ok(pass) if !pass.as_ref().is_some_and(Pass::is_probe) => pass,
            _ => return first.await,
        };
        if !self.target.guarded.budget().withdraw(now) {
            return first.await;
        }
        self.exchange.record.hedged();
        let slow = self.exchange.record.endpoint();
        let mut second = Box::pin(self.once(pass, slow.as_deref().map(Endpoint::id), now));
        let tried = tokio::select! {
            tried = first.as_mut() => return if tried.is_good() { tried } else { second.await },
            tried = second.as_mut() => tried,
        };
        if !tried.is_good() {
            return first.await;
        }
        // Nobody hears how long the first would have taken. So long at least: it is to be asked less.
        if let Some(slow) = &slow {
            slow.outrun(began.elapsed(), Moment::now());
        }
        tried
    }

    /// One try on one instance, and what is learned from it.
    async fn once(&self, pass: Option<Pass>, avoid: Option<&InstanceId>, now: Moment) -> Tried {
        let Self { thread, exchange, upload, target, rule, deadline, .. } = self;
        let mut began = Instant::now();
        let lease = match balance::at_once(thread, target, &exchange.asked, avoid, now) {
            Some(lease) => lease,
            None => {
                let picked = rarely(self.pick(avoid)).await;
                began = Instant::now();
                match picked {
                    Ok(lease) => lease,
                    Err(failure) => return Tried { endpoint: None, ended: began, outcome: Err(failure) },
                }
            }
        };
        let endpoint = Arc::clone(lease.endpoint());
        exchange.record.attempt(&endpoint);
        let phase = Cell::new(Phase::Answer);
        let per_try = rule.retry.per_try;
        // What the instance is told: it need not work for longer than this try is waited for.
        let left = deadline.left(began).min(per_try.unwrap_or(Duration::MAX));
        let attempt = attempt(thread, &exchange.asked, lease, target.wire, upload, &phase, left);
        let outcome = in_time(thread, pin!(attempt), per_try, deadline, upload).await;
        let outcome = outcome.unwrap_or_else(|| Err(self.too_late(phase.get(), per_try)));
        let ended = Instant::now();
        let waited = ended.saturating_duration_since(began);
        exchange.record.upstream(waited);
        // The service's time begins when it has all of the request.
        let took =
            upload.sent_last().map_or(waited, |last| ended.saturating_duration_since(last).min(waited));
        let now = Moment::of(ended.into_std());
        if ended >= deadline.at() && deadline.is_hurried() && exchange.caller().is_none() && is_late(&outcome)
        {
            // A stranger's impatience says nothing about the service, but that it takes longer.
            endpoint.outrun(took, now);
        } else {
            learn(target, &endpoint, &outcome, pass, took, now);
        }
        Tried { endpoint: Some(endpoint), ended, outcome }
    }

    /// Waits for an instance.
    async fn pick(&self, avoid: Option<&InstanceId>) -> Result<Lease, Failure> {
        let picking = balance::pick(self.thread, self.target, &self.exchange.asked, avoid);
        let picked = tokio::time::timeout_at(self.deadline.at(), picking).await;
        picked.unwrap_or_else(|_| Err(self.too_late(Phase::Instance, None)))
    }

    #[cold]
    fn too_late(&self, phase: Phase, per_try: Option<Duration>) -> Failure {
        if self.deadline.is_missed_by_client(Instant::now()) {
            return Failure::new(Kind::RequestStalled, "the request's body comes too slowly");
        }
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
    fn answer(&self, mut reply: Reply, lease: Lease, came: Instant) -> Result<Answer, Failure> {
        let Self { thread, exchange, target, .. } = self;
        let switching = reply.status == StatusCode::SWITCHING_PROTOCOLS;
        exchange.record.answers(lease.endpoint(), came.into_std());
        let mut answer = Answer::new(reply.status);
        answer.fields = std::mem::take(&mut reply.fields);
        head::forward::from_upstream(&mut answer.fields, switching);
        if answer.status == StatusCode::NO_CONTENT {
            answer.fields.retain(|field| field.known != Known::ContentLength); // RFC 9110 §8.6
        }
        self.upload.answer_begins();
        if !switching {
            answer.body =
                Body::answer(reply.into_body(lease, Rc::clone(&thread.pool), thread.limits.answer_idle));
            return Ok(answer);
        }
        if exchange.upgrade.is_none() || head::wants_upgrade(&exchange.asked.head).is_none() {
            let detail = format!("`{}` switched protocols without being asked", target.upstream.service());
            return Err(Failure::new(Kind::UpgradeFailed, detail));
        }
        let upgrade = reply.into_upgrade(lease).filter(|_| self.upload.is_finished());
        answer.upgrade = Some(upgrade.ok_or_else(|| {
            let detail =
                format!("`{}` switched protocols in the middle of the request", target.upstream.service());
            Failure::new(Kind::UpgradeFailed, detail)
        })?);
        Ok(answer)
    }
}

impl Tried {
    fn is_good(&self) -> bool {
        self.outcome.as_ref().is_ok_and(|(reply, _)| !is_gateway_failure(reply.amounts_to()))
    }
}

fn is_late<T>(outcome: &Result<T, Failure>) -> bool {
    outcome
        .as_ref()
        .is_err_and(|failure| matches!(failure.kind, Kind::AnswerTimeout | Kind::ConnectionTimeout))
}

/// The pause that an answer asks for, in seconds or up to a date (RFC 9110 §10.2.3).
fn retry_after(fields: &Fields, now: SystemTime) -> Option<Duration> {
    let text = std::str::from_utf8(fields.known(Known::RetryAfter)?).ok()?.trim();
    match text.parse::<u32>() {
        Ok(seconds) => Some(Duration::from_secs(seconds.into())),
        Err(_) => Some(httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default()),
    }
}

/// How many tries are left, and for what. Pure.
#[derive(Debug)]
struct Tries {
    /// Left for a request that was provably not processed.
    unsent: u32,
    /// Left of those that were declared.
    declared: u32,
    allowed: u32,
    /// To process the request twice does no harm.
    harmless: bool,
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
    fn new(attempts: u32, rule: &spec::Retry, harmless: bool) -> Self {
        let (unsent, declared) = (attempts.saturating_sub(1), rule.attempts);
        Self { unsent, declared, allowed: declared, harmless, failed: 0 }
    }

    /// What to do after a failure. `whole`: nothing of the request's body was taken.
    fn after_failure(&mut self, failure: &Failure, whole: bool) -> Again {
        self.failed += 1;
        let unprocessed = match failure.retry() {
            Retry::Never => return Again::No,
            _ if !whole => return Again::No, // what has been taken of a body cannot be sent again
            Retry::Safe => true,
            // A connection that dies when it is used again was most likely closed while it was idle.
            Retry::IfIdempotent => self.harmless && failure.kind == Kind::ClosedReused,
        };
        if unprocessed && take(&mut self.unsent) {
            return Again::Unsent;
        }
        if unprocessed || self.harmless { self.declared() } else { Again::No }
    }

    /// What to do after an answer, which may say that the service could not.
    fn after_answer(&mut self, status: StatusCode, whole: bool, rule: &spec::Retry) -> Again {
        if !self.harmless || !whole || !rule.statuses.contains(&status.as_u16()) {
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

    fn tries(declared: u32, harmless: bool) -> Tries {
        Tries::new(3, &rule(declared), harmless)
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
            assert_eq!(tries(1, true).after_failure(&failure(kind), false), Again::No);
        }
    }

    #[test]
    fn answers_are_tried_again_only_as_often_as_was_declared() {
        let mut get = tries(2, true);
        assert_eq!(get.after_answer(StatusCode::INTERNAL_SERVER_ERROR, true, &rule(2)), Again::No);
        assert_eq!(get.after_answer(StatusCode::SERVICE_UNAVAILABLE, true, &rule(2)), Again::Declared(1));
        assert_eq!(get.after_answer(StatusCode::SERVICE_UNAVAILABLE, true, &rule(2)), Again::Declared(2));
        assert_eq!(get.after_answer(StatusCode::SERVICE_UNAVAILABLE, true, &rule(2)), Again::No);
        assert_eq!(tries(1, false).after_answer(StatusCode::BAD_GATEWAY, true, &rule(1)), Again::No);
        assert_eq!(tries(1, true).after_answer(StatusCode::BAD_GATEWAY, false, &rule(1)), Again::No);
        let own = spec::Retry { statuses: vec![500], ..rule(1) };
        assert_eq!(
            tries(1, true).after_answer(StatusCode::INTERNAL_SERVER_ERROR, true, &own),
            Again::Declared(1)
        );
    }

    #[test]
    fn what_will_fail_again_is_not_tried_again() {
        for kind in [Kind::BadAnswer, Kind::NoInstance, Kind::RequestStalled, Kind::Internal] {
            assert_eq!(tries(5, true).after_failure(&failure(kind), true), Again::No);
        }
    }

    #[test]
    fn a_pause_that_is_asked_for_is_read_in_seconds_or_as_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777); // Sun, 06 Nov 1994 08:49:37 GMT
        let asked = |value: &str| {
            let mut fields = Fields::new();
            fields.push(b"Retry-After", value.as_bytes());
            retry_after(&fields, now)
        };
        assert_eq!(asked("2"), Some(Duration::from_secs(2)));
        assert_eq!(asked("Sun, 06 Nov 1994 08:49:40 GMT"), Some(Duration::from_secs(3)));
        assert_eq!(asked("Sunday, 06-Nov-94 08:49:36 GMT"), Some(Duration::ZERO));
        assert_eq!(asked("-1"), None);
        assert_eq!(asked("soon"), None);
    }
}
