//! The guards of a route or a call: what is written, over what the gateway says, over the defaults.

use std::time::Duration;

use super::{detour, limit};
use crate::fault::Span;
use crate::spec::{
    Adaptive, Breaker, Bulkhead, Guard, HeaderMatch, Hedge, LimitKey, Priority, Retry, ServiceName, Slow,
};
use crate::text::At;
use crate::text::decode::{Faults, shown};
use crate::text::guard::{
    AdaptiveLong, BreakerText, BulkheadLong, HedgeLong, PriorityText, RetryLong, RetryText, SlowLong, Written,
};
use crate::text::routing::HeaderValue;
use crate::text::scalar::{Part, Time};
use crate::text::shape::{Form, Names, Switch};

/// Tries after the first at most.
const MAX_ATTEMPTS: u32 = 5;
/// Where the mean pause is written and the longest one is not, that is so many times as long.
const BACKOFF_SPAN: u32 = 10;
/// A breaker's window: no shorter, for there would be nothing to count, and no longer.
const WINDOW: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3600);
/// Requests of one route or call at once, or waiting, at most; also calls that a window must hold.
const MAX_PLACES: u32 = 1_000_000;
/// Probes of a breaker at most.
const MAX_PROBES: u32 = 1_000;

/// What is guarded.
pub(crate) struct Guarded<'a> {
    /// The service that is asked; `None`: the gateway's own defaults are looked at.
    pub(crate) service: Option<&'a ServiceName>,
    /// Who shares one count of a limit that does not say so.
    pub(crate) limit_key: LimitKey,
}

/// The guards of one place: `own` wins over `outer`, key by key.
pub(crate) fn guard(
    own: Written<'_>,
    outer: Written<'_>,
    guarded: &Guarded<'_>,
    faults: &mut Faults,
) -> Guard {
    let timeout = own.timeout.or(outer.timeout);
    if let Some(at) = timeout {
        not_zero(at, "a timeout of zero lets nothing through", "write how long an answer may take", faults);
    }
    let deadline = timeout.map_or(Guard::TIMEOUT, |at| at.value.0);
    // Inherited tries meet a tighter deadline of their own without a word: the deadline wins.
    let bound = own.retry.is_some().then_some(deadline);
    Guard {
        timeout: deadline,
        timeout_written: timeout.is_some(),
        retry: retry(own.retry.or(outer.retry), bound, faults),
        hedge: own.hedge.and_then(|at| hedge(at, faults)),
        breaker: breaker(own.breaker.or(outer.breaker), faults),
        bulkhead: bulkhead(own.bulkhead.or(outer.bulkhead), faults),
        adaptive: own.adaptive.and_then(|at| adaptive(at, faults)),
        priority: own.priority.map_or(Priority::Normal, |at| priority(at.value)),
        fallback: own.fallback.and_then(|at| detour::fallback(at, guarded.service, faults)),
        limits: own.limit.or(outer.limit).map_or_else(Vec::new, |at| limit::all(at, guarded, faults)),
        faults: own.fault.map_or_else(Vec::new, |at| detour::on_purpose(at, faults)),
        split: own.split.map_or_else(Vec::new, |at| detour::split(at, guarded.service, faults)),
        mirror: own.mirror.and_then(|at| detour::mirror(at, guarded.service, faults)),
        idempotent: false,
    }
}

fn retry(written: Option<&At<RetryText>>, deadline: Option<Duration>, faults: &mut Faults) -> Retry {
    let default = Retry::default();
    let Some(at) = written else { return default };
    let default = Retry { written: true, ..default };
    match &at.value {
        Switch::Plain(true) => default,
        Switch::Plain(false) => Retry { attempts: 0, ..default },
        Switch::Detail(Form::Short(attempts)) => {
            Retry { attempts: attempts_of(*attempts, at.span, faults), ..default }
        }
        Switch::Detail(Form::Long(long)) => retry_long(long, deadline, default, faults),
    }
}

fn attempts_of(attempts: u32, span: Span, faults: &mut Faults) -> u32 {
    if attempts > MAX_ATTEMPTS {
        faults.bad_value(
            span,
            format!("more than {MAX_ATTEMPTS} retries"),
            "retries multiply along a path: two are many",
        );
    }
    attempts.min(MAX_ATTEMPTS)
}

fn retry_long(long: &RetryLong, deadline: Option<Duration>, default: Retry, faults: &mut Faults) -> Retry {
    let mut retry = default;
    if let Some(at) = &long.attempts {
        retry.attempts = attempts_of(at.value, at.span, faults);
    }
    if let Some(at) = &long.per_try {
        not_zero(at, "a try of no time reaches nobody", "write how long one try may take", faults);
        if let Some(deadline) = deadline.filter(|deadline| !deadline.is_zero() && at.value.0 > *deadline) {
            let message =
                format!("one try may take {}, all of them together {}", units(at.value.0), units(deadline));
            faults.bad_value(at.span, message, "`timeout` holds for all tries: raise it, or lower `per_try`");
        }
        retry.per_try = Some(at.value.0);
    }
    if let Some(at) = &long.max_backoff {
        retry.max_backoff = at.value.0;
        retry.backoff = retry.backoff.min(at.value.0);
    }
    if let Some(at) = &long.backoff {
        retry.backoff = at.value.0;
        if long.max_backoff.is_none() {
            retry.max_backoff = at.value.0.saturating_mul(BACKOFF_SPAN);
        } else if at.value.0 > retry.max_backoff {
            faults.bad_value(
                at.span,
                format!("the mean pause is above the longest, {}", units(retry.max_backoff)),
                "raise `max_backoff` or lower `backoff`",
            );
        }
    }
    if let Some(at) = &long.budget {
        not_nothing(at, "a budget of nothing allows no retry", "write `retry: off`", faults);
        retry.budget = at.value.0;
    }
    if let Some(list) = &long.statuses {
        retry.statuses.clear();
        for at in &list.0 {
            if at.value.0 < 400 {
                let message = format!("{} is no failure", at.value.0);
                faults.bad_value(at.span, message, "statuses to try again go from 400 to 599");
            }
            if !retry.statuses.contains(&at.value.0) {
                retry.statuses.push(at.value.0);
            }
        }
    }
    retry.any_method = long.any_method.as_ref().is_some_and(|at| at.value);
    retry
}

fn hedge(at: &At<Form<Time, HedgeLong>>, faults: &mut Faults) -> Option<Hedge> {
    let after = match &at.value {
        Form::Short(time) => at.with(*time),
        Form::Long(long) => long.after.clone()?,
    };
    not_zero(
        &after,
        "every request would be sent twice",
        "write how long the first try has, such as `50ms`",
        faults,
    );
    Some(Hedge { after: after.value.0 })
}

fn breaker(written: Option<&At<Switch<BreakerText>>>, faults: &mut Faults) -> Option<Breaker> {
    let mut breaker = Breaker::default();
    let long = match written.map(|at| &at.value) {
        None | Some(Switch::Plain(true)) => return Some(breaker),
        Some(Switch::Plain(false)) => return None,
        Some(Switch::Detail(long)) => long,
    };
    if let Some(at) = &long.errors {
        not_nothing(
            at,
            "a breaker that opens without an error lets nothing through",
            "write it like `50%`",
            faults,
        );
        breaker.errors = at.value.0;
    }
    breaker.of = number(&long.of, breaker.of, 1..=MAX_PLACES, faults);
    if let Some(at) = &long.window {
        if !WINDOW.contains(&at.value.0) {
            let message =
                format!("a window goes from {} to {}", units(*WINDOW.start()), units(*WINDOW.end()));
            faults.bad_value(at.span, message, "write it like `10s`");
        }
        breaker.window = at.value.0;
    }
    breaker.slow = long.slow.as_ref().and_then(|at| slow(at, faults));
    if let Some(at) = &long.open {
        not_zero(
            at,
            "a breaker that is never open stops nothing",
            "write it like `5s`, or `breaker: off`",
            faults,
        );
        breaker.open = at.value.0;
    }
    breaker.probes = number(&long.probes, breaker.probes, 1..=MAX_PROBES, faults);
    Some(breaker)
}

/// Where `slow` does not say at which share.
const SLOW_SHARE: kit::units::Share = kit::units::Share::percent(50);

fn slow(at: &At<Form<Time, SlowLong>>, faults: &mut Faults) -> Option<Slow> {
    let (over, share) = match &at.value {
        Form::Short(time) => (at.with(*time), None),
        Form::Long(long) => (long.over.clone()?, long.share.as_ref()),
    };
    not_zero(&over, "every call takes some time", "write from when on a call is slow, such as `1s`", faults);
    if let Some(at) = share {
        not_nothing(
            at,
            "a breaker that opens without a slow call lets nothing through",
            "write it like `50%`",
            faults,
        );
    }
    Some(Slow { over: over.value.0, share: share.map_or(SLOW_SHARE, |at| at.value.0) })
}

fn bulkhead(written: Option<&At<Form<u32, BulkheadLong>>>, faults: &mut Faults) -> Bulkhead {
    let default = Bulkhead::default();
    let (concurrency, queue) = match written.map(|at| (at, &at.value)) {
        None => return default,
        Some((at, Form::Short(concurrency))) => (Some(at.with(*concurrency)), None),
        Some((_, Form::Long(long))) => (long.concurrency.clone(), long.queue.clone()),
    };
    Bulkhead {
        concurrency: number(&concurrency, default.concurrency, 1..=MAX_PLACES, faults),
        queue: number(&queue, default.queue, 0..=MAX_PLACES, faults),
    }
}

fn adaptive(at: &At<Switch<AdaptiveLong>>, faults: &mut Faults) -> Option<Adaptive> {
    let default = Adaptive::default();
    let long = match &at.value {
        Switch::Plain(on) => return on.then_some(default),
        Switch::Detail(long) => long,
    };
    let max = number(&long.max, default.max, 1..=MAX_PLACES, faults);
    let min = number(&long.min, default.min.min(max), 1..=MAX_PLACES, faults);
    let max = if long.max.is_none() { max.max(min) } else { max };
    if let Some(at) = long.min.as_ref().filter(|_| min > max) {
        faults.bad_value(at.span, format!("`min` {min} is above `max` {max}"), "raise `max` or lower `min`");
    }
    Some(Adaptive { min, max })
}

fn priority(written: PriorityText) -> Priority {
    match written {
        PriorityText::Low => Priority::Low,
        PriorityText::Normal => Priority::Normal,
        PriorityText::High => Priority::High,
        PriorityText::Critical => Priority::Critical,
    }
}

/// Headers that a request must carry.
pub(crate) fn headers(written: Option<&At<Names<HeaderValue>>>, faults: &mut Faults) -> Vec<HeaderMatch> {
    let mut headers = Vec::new();
    for (name, value) in written.iter().flat_map(|headers| &headers.0) {
        if let Some(name) = header_name(name, value.key, faults) {
            headers.push(HeaderMatch { name, value: value.0.clone() });
        }
    }
    headers
}

/// The name of a header, lower case.
pub(crate) fn header_name(text: &str, span: Span, faults: &mut Faults) -> Option<http::HeaderName> {
    let name = text.to_ascii_lowercase().parse();
    if name.is_err() {
        faults.bad_value(
            span,
            format!("`{}` is not a header name", shown(text)),
            "write it like `x-version`",
        );
    }
    name.ok()
}

/// A duration as people write it.
pub(super) fn units(duration: Duration) -> String {
    kit::units::format_duration(duration)
}

/// A number that is written and fits, else what holds without it.
pub(super) fn number(
    written: &Option<At<u32>>,
    default: u32,
    range: std::ops::RangeInclusive<u32>,
    faults: &mut Faults,
) -> u32 {
    let Some(at) = written else { return default };
    if !range.contains(&at.value) {
        let message = format!("`{}` is not a number from {} to {}", at.value, range.start(), range.end());
        faults.bad_value(at.span, message, format!("left out, it is {default}"));
        return default;
    }
    at.value
}

/// Notes a time of zero.
pub(super) fn not_zero(at: &At<Time>, message: &str, hint: &str, faults: &mut Faults) {
    if at.value.0.is_zero() {
        faults.bad_value(at.span, message, hint);
    }
}

/// Notes a share of nothing.
pub(super) fn not_nothing(at: &At<Part>, message: &str, hint: &str, faults: &mut Faults) {
    if at.value.0 == kit::units::Share::NONE {
        faults.bad_value(at.span, message, hint);
    }
}
