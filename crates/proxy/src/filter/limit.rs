//! A ceiling on the rate of requests, by whoever shares a count.

use std::net::IpAddr;
use std::sync::Arc;

use kit::units::format_duration;
use manifest::spec::{LimitKey, RateLimit};
use registry::Moment;

use super::{Filter, Verdict};
use crate::exchange::Exchange;
use crate::failure::{Failure, Kind};
use crate::policy::rate::{Rate, RateTable};

/// Refuses with 429 and `Retry-After` what is above a limit.
pub(crate) struct Limit {
    table: Arc<RateTable>,
    /// Names this limit in the table: another table of routes finds the same counts.
    scope: u64,
    rate: Rate,
    per: LimitKey,
    told: Box<str>,
}

impl Limit {
    /// The `number`th limit of a route.
    pub(crate) fn new(table: &Arc<RateTable>, route: &str, number: usize, limit: &RateLimit) -> Self {
        Self {
            table: Arc::clone(table),
            scope: table.scope((route, number)),
            rate: Rate::new(limit),
            per: limit.per.clone(),
            told: format!("more than {} requests in {}", limit.rate, format_duration(limit.period)).into(),
        }
    }
}

impl Filter for Limit {
    fn request(&self, exchange: &mut Exchange) -> Verdict {
        let mut room = [0; 16];
        let who = match &self.per {
            LimitKey::Route => &[][..],
            LimitKey::Client => client(exchange, &mut room),
            LimitKey::Header(name) => exchange.asked.head.fields.get(name).unwrap_or_default(),
            LimitKey::User => match &exchange.asked.subject {
                Some(subject) => subject.as_bytes(),
                None => client(exchange, &mut room),
            },
        };
        match self.table.check(self.table.key(self.scope, who), &self.rate, Moment::of(exchange.now)) {
            Ok(_) => Verdict::Continue,
            Err(limited) => {
                let failure = Failure::new(Kind::RateLimited, &*self.told);
                Verdict::Refuse(failure.retry_after(limited.retry_after))
            }
        }
    }
}

/// The client's address; of IPv6 the network, for whoever has one address there has them all.
fn client<'a>(exchange: &Exchange, room: &'a mut [u8; 16]) -> &'a [u8] {
    match exchange.asked.peer.ip() {
        IpAddr::V4(ip) => {
            room[..4].copy_from_slice(&ip.octets());
            &room[..4]
        }
        IpAddr::V6(ip) => {
            room.copy_from_slice(&ip.octets());
            &room[..8]
        }
    }
}
