//! `protocol` and `balance` → what a service speaks, and how requests are spread over its instances.

use std::time::Duration;

use super::detour::cookie_name;
use super::guard::{header_name, not_nothing, not_zero, number, units};
use crate::fault::Fault;
use crate::spec::{Balance, BalanceBy, HashKey, Outlier, Wire};
use crate::text::balance::{BalanceWord, HashLong, HashWord, OutlierText, Protocol};
use crate::text::decode::Faults;
use crate::text::shape::{Form, Switch};
use crate::text::{At, Service};

/// The longest slow start.
const MAX_SLOW_START: Duration = Duration::from_secs(3600);
/// Failures in a row at most.
const MAX_FAILURES: u32 = 1_000;

/// What the service speaks on its port.
pub(crate) fn wire(service: &Service) -> Wire {
    match service.protocol.as_ref().map(|at| at.value) {
        None | Some(Protocol::Http) => Wire::Http1,
        Some(Protocol::H2 | Protocol::Grpc) => Wire::Http2,
    }
}

/// How requests are spread over its instances.
pub(crate) fn balance(service: &Service, faults: &mut Faults) -> Balance {
    let mut balance = Balance::default();
    let long = match service.balance.as_ref().map(|at| &at.value) {
        None => return balance,
        Some(Form::Short(word)) => return Balance { by: by(*word), ..balance },
        Some(Form::Long(long)) => long,
    };
    if let Some(at) = &long.by {
        balance.by = by(at.value);
    }
    if let Some(hash) = &long.hash {
        if let Some(word) = &long.by {
            let fault = Fault::error("A0203", word.span, "a hash says already which instance is next");
            faults.add(fault.also(hash.key, "the hash").hint("take `by` or `hash` out"));
        }
        if let Some(key) = hash_key(hash, faults) {
            balance.by = BalanceBy::Hash(key);
        }
    }
    if let Some(at) = &long.slow_start {
        if at.value.0 > MAX_SLOW_START {
            let message = format!("a slow start of more than {}", units(MAX_SLOW_START));
            faults.bad_value(at.span, message, "write it like `10s`");
        }
        balance.slow_start = at.value.0;
    }
    if let Some(at) = &long.panic {
        balance.panic = at.value.0;
    }
    if let Some(at) = &long.outlier {
        balance.outlier = match &at.value {
            Switch::Plain(on) => on.then(Outlier::default),
            Switch::Detail(long) => Some(outlier(long, faults)),
        };
    }
    balance
}

fn by(word: BalanceWord) -> BalanceBy {
    match word {
        BalanceWord::PeakEwma => BalanceBy::PeakEwma,
        BalanceWord::LeastRequest => BalanceBy::LeastRequest,
        BalanceWord::RoundRobin => BalanceBy::RoundRobin,
    }
}

fn hash_key(at: &At<Form<HashWord, HashLong>>, faults: &mut Faults) -> Option<HashKey> {
    let long = match &at.value {
        Form::Short(HashWord::Client) => return Some(HashKey::Client),
        Form::Long(long) => long,
    };
    match (&long.header, &long.cookie) {
        (Some(header), None) => header_name(header, header.span, faults).map(HashKey::Header),
        (None, Some(cookie)) => cookie_name(cookie, cookie.span, faults).map(HashKey::Cookie),
        (Some(header), Some(cookie)) => {
            let fault = Fault::error("A0203", cookie.key, "a hash is made of one thing")
                .also(header.key, "the first");
            faults.add(fault.hint("keep one of them"));
            None
        }
        (None, None) => {
            let fault = Fault::error("A0204", at.span, "the hash does not say what it is made of");
            faults.add(fault.hint("write `{ header: x-user }`, `{ cookie: session }` or `client`"));
            None
        }
    }
}

fn outlier(long: &OutlierText, faults: &mut Faults) -> Outlier {
    let mut outlier = Outlier::default();
    outlier.failures = number(&long.failures, outlier.failures, 1..=MAX_FAILURES, faults);
    if let Some(at) = &long.eject {
        not_zero(at, "an instance that is passed over for no time is not", "write it like `5s`", faults);
        outlier.eject = at.value.0;
        outlier.max_eject = outlier.max_eject.max(at.value.0);
    }
    if let Some(at) = &long.max_eject {
        outlier.max_eject = at.value.0;
        if at.value.0 < outlier.eject {
            let message = format!("the longest time is below the first, {}", units(outlier.eject));
            faults.bad_value(at.span, message, "raise `max_eject` or lower `eject`");
        }
    }
    if let Some(at) = &long.share {
        not_nothing(at, "no instance would ever be passed over", "write `outlier: off`", faults);
        outlier.share = at.value.0;
    }
    outlier
}
