//! What guards a route or a call: tries, breaker, places, fallback, faults, split, mirror.

use super::decode::{At, record, words};
use super::limit::LimitText;
use super::routing::{CallOptions, HeaderValue, RouteOptions};
use super::scalar::{Part, Size, Status, Time};
use super::shape::{Dict, Form, Items, Names, Switch};

/// `retry: 2`, `retry: off`, or the long form.
pub(crate) type RetryText = Switch<Form<u32, RetryLong>>;

record! {
    /// Further tries after a failed one.
    pub struct RetryLong: "a retry section" {
        /// Tries after the first.
        attempts: u32,
        /// The time of one try.
        per_try: Time,
        /// The mean pause before the first further try; it doubles.
        backoff: Time,
        /// The longest pause.
        max_backoff: Time,
        /// Retries at most, as a share of the requests.
        budget: Part,
        /// Statuses that are tried again.
        statuses: Items<Status>,
        /// Also repeat requests whose method is not idempotent.
        any_method: bool,
    }
}

record! {
    /// A second try beside the first.
    pub struct HedgeLong: "a hedge section" requires ["after"] {
        /// How long the first try has before the second begins.
        after: Time,
    }
}

record! {
    /// When to stop trying.
    pub struct BreakerText: "a breaker" {
        /// Share of failed calls at which it opens.
        errors: Part,
        /// Calls that the window must hold before it is judged.
        of: u32,
        /// How far back is counted.
        window: Time,
        /// Opens for slow calls, too.
        slow: Form<Time, SlowLong>,
        /// How long it stays open before it lets probes through.
        open: Time,
        /// Probes that must succeed before it closes.
        probes: u32,
    }
}

record! {
    /// When a share of calls is too slow.
    pub struct SlowLong: "a section for slow calls" requires ["over"] {
        /// A call that takes longer than this is slow.
        over: Time,
        /// Share of slow calls at which the breaker opens.
        share: Part,
    }
}

record! {
    /// How many requests at once.
    pub struct BulkheadLong: "a bulkhead" {
        /// Requests under way at once.
        concurrency: u32,
        /// Requests that wait for a place.
        queue: u32,
    }
}

record! {
    /// Bounds of a limit that finds itself.
    pub struct AdaptiveLong: "an adaptive limit" {
        /// Never fewer than this.
        min: u32,
        /// Never more than this.
        max: u32,
    }
}

words! {
    /// What is shed first when there is too much.
    pub enum PriorityText: "a priority" {
        /// Shed first.
        Low = "low",
        /// Everything that says nothing.
        Normal = "normal",
        /// A person waits.
        High = "high",
        /// Shed last.
        Critical = "critical",
    }
}

record! {
    /// What is answered when the service cannot: a fixed answer, a kept one, or somebody else's.
    pub struct FallbackText: "a fallback" {
        /// Status of the fixed answer.
        status: Status,
        /// Headers of the fixed answer.
        headers: Dict<String>,
        /// Body of the fixed answer.
        body: String,
        /// The last good answer, if it is no older than this.
        stale: Time,
        /// Another service is asked.
        from: String,
        /// Another path is asked.
        path: String,
    }
}

record! {
    /// A fault made on purpose.
    pub struct FaultText: "a fault on purpose" {
        /// The share of requests it happens to; left out: all.
        share: Part,
        /// Only for requests with these headers.
        headers: Names<HeaderValue>,
        /// Wait so long first.
        delay: Time,
        /// Answer with this status instead of asking the service.
        abort: Status,
        /// Break the answer off after so many bytes of its body.
        truncate: Size,
    }
}

record! {
    /// Another service that takes a part of the requests.
    pub struct SplitText: "a split" requires ["to"] {
        /// Which service.
        to: String,
        /// The share of the requests that match; left out: all of them.
        share: Part,
        /// Only requests with these headers.
        headers: Names<HeaderValue>,
        /// Only requests with these cookies.
        cookies: Names<HeaderValue>,
    }
}

record! {
    /// A service that sees copies of the requests.
    pub struct MirrorLong: "a mirror" requires ["to"] {
        /// Which service.
        to: String,
        /// The share of requests that are copied; left out: all.
        share: Part,
    }
}

/// The guards that are written at one place of the file.
#[derive(Clone, Copy, Default)]
pub(crate) struct Written<'a> {
    pub(crate) timeout: Option<&'a At<Time>>,
    pub(crate) retry: Option<&'a At<RetryText>>,
    pub(crate) hedge: Option<&'a At<Form<Time, HedgeLong>>>,
    pub(crate) breaker: Option<&'a At<Switch<BreakerText>>>,
    pub(crate) bulkhead: Option<&'a At<Form<u32, BulkheadLong>>>,
    pub(crate) adaptive: Option<&'a At<Switch<AdaptiveLong>>>,
    pub(crate) priority: Option<&'a At<PriorityText>>,
    pub(crate) fallback: Option<&'a At<FallbackText>>,
    pub(crate) limit: Option<&'a At<LimitText>>,
    pub(crate) fault: Option<&'a At<Items<FaultText>>>,
    pub(crate) split: Option<&'a At<Items<SplitText>>>,
    pub(crate) mirror: Option<&'a At<Form<String, MirrorLong>>>,
}

/// Names of services that stand in the guards of one place.
pub(crate) struct Targets<'a> {
    pub(crate) fallback: &'a mut Option<At<FallbackText>>,
    pub(crate) split: &'a mut Option<At<Items<SplitText>>>,
    pub(crate) mirror: &'a mut Option<At<Form<String, MirrorLong>>>,
}

/// Routes and calls have the same guards; the records only look alike.
macro_rules! guarded {
    ($($record:ty),*) => {$(
        impl $record {
            /// The guards that are written here.
            pub(crate) fn guards(&self) -> Written<'_> {
                Written {
                    timeout: self.timeout.as_ref(),
                    retry: self.retry.as_ref(),
                    hedge: self.hedge.as_ref(),
                    breaker: self.breaker.as_ref(),
                    bulkhead: self.bulkhead.as_ref(),
                    adaptive: self.adaptive.as_ref(),
                    priority: self.priority.as_ref(),
                    fallback: self.fallback.as_ref(),
                    limit: self.limit.as_ref(),
                    fault: self.fault.as_ref(),
                    split: self.split.as_ref(),
                    mirror: self.mirror.as_ref(),
                }
            }

            /// The services that the guards name.
            pub(crate) fn targets(&mut self) -> Targets<'_> {
                Targets { fallback: &mut self.fallback, split: &mut self.split, mirror: &mut self.mirror }
            }
        }
    )*};
}

guarded!(RouteOptions, CallOptions);
