//! `limit` → rates with their bursts and keys.

use std::time::Duration;

use super::guard::{Guarded, header_name};
use crate::fault::Span;
use crate::spec::{LimitKey, RateLimit};
use crate::text::At;
use crate::text::decode::Faults;
use crate::text::limit::{LimitLong, LimitText, Per, Rate};
use crate::text::shape::{Form, Switch};

/// Limits of one route or call at most.
const MAX_LIMITS: usize = 8;
/// Requests in a second at most; more is the same as no limit.
const MAX_PER_SECOND: u64 = 1_000_000;
/// The longest period.
const MAX_PERIOD: Duration = Duration::from_secs(24 * 3600);
/// How long a burst may take to be earned again. Nanoseconds of it fit into 64 bits many times over.
const MAX_REFILL: Duration = Duration::from_secs(30 * 24 * 3600);

/// The limits of one place, those that are wrong noted and left out.
pub(crate) fn all(at: &At<LimitText>, guarded: &Guarded<'_>, faults: &mut Faults) -> Vec<RateLimit> {
    let list = match &at.value {
        Switch::Plain(false) => return Vec::new(),
        Switch::Plain(true) => {
            faults.bad_value(at.span, "a limit says how many", "write it like `20/s per client`");
            return Vec::new();
        }
        Switch::Detail(list) => list,
    };
    if list.0.len() > MAX_LIMITS {
        faults.bad_value(at.span, format!("more than {MAX_LIMITS} limits"), "keep the tightest");
    }
    let mut limits = Vec::new();
    for item in list.0.iter().take(MAX_LIMITS) {
        let limit = match &item.value {
            Form::Short(short) => {
                one(&item.with(short.rate), None, short.per.clone(), item.span, guarded, faults)
            }
            Form::Long(long) => of_long(long, guarded, faults),
        };
        limits.extend(limit);
    }
    limits
}

fn of_long(long: &LimitLong, guarded: &Guarded<'_>, faults: &mut Faults) -> Option<RateLimit> {
    let rate = long.rate.as_ref()?; // a missing key was noted
    let per = long.per.as_ref();
    let span = per.map_or(rate.span, |per| per.span);
    one(rate, long.burst.as_ref(), per.map(|per| per.value.clone()), span, guarded, faults)
}

fn one(
    rate: &At<Rate>,
    burst: Option<&At<u32>>,
    per: Option<Per>,
    per_span: Span,
    guarded: &Guarded<'_>,
    faults: &mut Faults,
) -> Option<RateLimit> {
    let Rate { count, period } = rate.value;
    if count == 0 {
        faults.bad_value(rate.span, "a rate of zero lets nothing through", "take the route out instead");
        return None;
    }
    if period.is_zero() || period > MAX_PERIOD {
        faults.bad_value(
            rate.span,
            "a period goes from a moment to a day",
            "write it like `20/s` or `500/d`",
        );
        return None;
    }
    let per_second = u128::from(count) * 1_000_000_000 / period.as_nanos();
    if per_second > u128::from(MAX_PER_SECOND) {
        let message = format!("more than {MAX_PER_SECOND} in a second");
        faults.bad_value(rate.span, message, "leave the limit out: the machine is the limit");
        return None;
    }
    let per = match per {
        None => guarded.limit_key.clone(),
        Some(Per::Route) => LimitKey::Route,
        Some(Per::Client) => LimitKey::Client,
        Some(Per::User) => LimitKey::User,
        Some(Per::Header(name)) => LimitKey::Header(header_name(&name, per_span, faults)?),
    };
    let usual =
        u32::try_from((u128::from(count) * 1_000_000_000).div_ceil(period.as_nanos())).unwrap_or(u32::MAX);
    let burst = match burst {
        None => usual.max(1),
        Some(at) if at.value == 0 => {
            faults.bad_value(at.span, "a burst of zero lets nothing through", "write at least 1");
            return None;
        }
        Some(at) => {
            let refill = period.as_nanos() * u128::from(at.value) / u128::from(count);
            if refill > MAX_REFILL.as_nanos() {
                faults.bad_value(
                    at.span,
                    "a burst that takes more than 30 days to be earned again",
                    "lower it",
                );
                return None;
            }
            at.value
        }
    };
    Some(RateLimit { rate: count, period, burst, per })
}
