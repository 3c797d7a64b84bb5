//! The bearer check: requests of a route must bring a token (RFC 6750) that is a JWT signed with a known key
//! (RFC 7519, RFC 8725). Of a token that holds, the subject goes on: to later filters as
//! [`Exchange::subject`], to the service as `x-atoll-subject`. The token itself goes on untouched.

mod authenticator;
pub(crate) mod base64url;
mod cache;
mod claims;
mod fingerprint;
mod refusal;
mod throttle;
mod token;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use http::HeaderName;
use kit::clock::Timestamp;
use manifest::spec::Jwt;
use proxy::filter::Verdict;
use proxy::{Exchange, Failure, Filter, Kind};

use crate::keys::KeyError;
pub(crate) use authenticator::Authenticator;
use refusal::Refusal;

/// Whom a checked token speaks for. What is not printable ASCII, `%`, and spaces are percent-encoded. A client
/// cannot send it: the proxy drops every `x-atoll-*` that comes from outside.
pub const SUBJECT: HeaderName = HeaderName::from_static("x-atoll-subject");

/// What time it is, as the machine's clock is set: tokens say times of other machines.
pub type Now = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The filter.
pub(crate) struct Bearer {
    pub(crate) authenticator: Arc<Authenticator>,
    pub(crate) now: Now,
}

impl Filter for Bearer {
    fn request(&self, exchange: &mut Exchange) -> Verdict {
        let client = exchange.peer().ip();
        let outcome = {
            let mut values = exchange.authorization();
            match (values.next(), values.next()) {
                (Some(_), Some(_)) => Err(Refusal::Several),
                (value, _) => match value.and_then(token_of) {
                    Some(token) => self.authenticator.check_here(token, client, (self.now)()),
                    None => Err(Refusal::Missing),
                },
            }
        };
        match outcome {
            Ok(verified) => {
                if let Some(header) = verified.header {
                    exchange.set_header(SUBJECT, header);
                }
                if let Some(subject) = verified.subject {
                    exchange.set_subject(subject);
                }
                Verdict::Continue
            }
            Err(refusal) => Verdict::Refuse(refusal.failure(&self.authenticator.name)),
        }
    }
}

/// Lets nobody in: for a route whose check does not exist.
pub(crate) struct Closed;

impl Filter for Closed {
    fn request(&self, _: &mut Exchange) -> Verdict {
        Verdict::Refuse(Failure::new(Kind::Internal, "the check that this route asks for does not exist"))
    }
}

/// The token of `Authorization: Bearer …`; the scheme is compared without case (RFC 9110 §11.1).
fn token_of(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"bearer") || rest.first() != Some(&b' ') {
        return None;
    }
    let token = rest.trim_ascii();
    (!token.is_empty()).then_some(token)
}

/// The check by itself, for measurements: no request, no proxy.
pub struct Probe {
    authenticator: Authenticator,
}

impl Probe {
    /// A check as the file would declare it.
    pub fn new(jwt: &Jwt) -> Result<Self, KeyError> {
        let authenticator = Authenticator::new("probe", jwt);
        authenticator.refresh()?;
        Ok(Self { authenticator })
    }

    /// Whether a token is let in, by what this thread knows.
    pub fn check(&self, token: &str) -> bool {
        let client = IpAddr::V4(Ipv4Addr::LOCALHOST);
        self.authenticator.check_here(token.as_bytes(), client, wall_clock()).is_ok()
    }
}

/// The machine's clock as it is set, in the steps of its timer: some milliseconds, at a fraction of the cost.
pub(crate) fn wall_clock() -> Timestamp {
    use rustix::time::{ClockId, clock_gettime};
    let now = clock_gettime(ClockId::RealtimeCoarse);
    let (seconds, micros) = (now.tv_sec.max(0) as u64, now.tv_nsec as u64 / 1000);
    Timestamp::from_micros(seconds * 1_000_000 + micros)
}

#[cfg(test)]
mod tests;
