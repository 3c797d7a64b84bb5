//! What strangers may cost. A check of a signature takes some 50 µs, as much as a thousand tokens that are
//! known, and anybody may send texts that look like tokens. So each client's address has a small allowance of
//! signatures that do not hold; beyond it, its unknown tokens are not checked for a while.
//!
//! The generic cell rate algorithm on a table that is indexed by a hash of the address and nothing else: it
//! needs no room per client and nothing can be pushed out of it. Its size bounds all of them together:
//! [`PLACES`] × [`PER_SECOND`] × 50 µs is 20 % of a thread, from however many addresses.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::time::Duration;

use kit::clock::Timestamp;

/// Addresses that share a place share an allowance; who shares it is random in each process.
const PLACES: usize = 1024;

/// Signatures that may fail, per second.
const PER_SECOND: u32 = 4;

/// And at once.
const BURST: u32 = 32;

const INTERVAL: Duration = Duration::from_micros(1_000_000 / PER_SECOND as u64);
const TOLERANCE: Duration = Duration::from_micros(INTERVAL.as_micros() as u64 * (BURST as u64 - 1));

/// Who has had too many signatures checked in vain. One per thread.
pub(crate) struct Throttle {
    hash: RandomState,
    /// When the allowance of each place will be whole again.
    whole_at: Box<[Timestamp]>,
}

impl Throttle {
    /// Everybody's allowance is whole.
    pub(crate) fn new() -> Self {
        Self { hash: RandomState::new(), whole_at: vec![Timestamp::from_micros(0); PLACES].into() }
    }

    /// Whether a signature from there may be checked.
    pub(crate) fn allows(&self, client: IpAddr, now: Timestamp) -> bool {
        let ahead = self.whole_at[self.place(client)].since(now);
        // Further ahead than it can come: the clock was set back.
        ahead <= TOLERANCE || ahead > TOLERANCE + INTERVAL
    }

    /// One from there did not hold.
    pub(crate) fn failed(&mut self, client: IpAddr, now: Timestamp) {
        let place = self.place(client);
        let whole_at = self.whole_at[place];
        let from = if whole_at.since(now) > TOLERANCE + INTERVAL { now } else { whole_at.max(now) };
        self.whole_at[place] = from + INTERVAL;
    }

    /// Of IPv6 the first 64 bits count: more is one client's to choose.
    fn place(&self, client: IpAddr) -> usize {
        let bits = match client.to_canonical() {
            IpAddr::V4(v4) => u64::from(u32::from(v4)),
            IpAddr::V6(v6) => (u128::from(v6) >> 64) as u64,
        };
        self.hash.hash_one(bits) as usize % PLACES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_micros(1_000_000_000 + ms * 1000)
    }

    fn exhaust(throttle: &mut Throttle, client: IpAddr, now: Timestamp) -> u32 {
        let mut checked = 0;
        while throttle.allows(client, now) {
            throttle.failed(client, now);
            checked += 1;
        }
        checked
    }

    #[test]
    fn an_allowance_is_used_up_and_comes_back_steadily() {
        let mut throttle = Throttle::new();
        let client = IpAddr::from([192, 0, 2, 1]);
        assert_eq!(exhaust(&mut throttle, client, at(0)), BURST);
        assert_eq!(exhaust(&mut throttle, client, at(249)), 0);
        assert_eq!(exhaust(&mut throttle, client, at(250)), 1);
        assert_eq!(exhaust(&mut throttle, client, at(1250)), PER_SECOND);
        assert_eq!(exhaust(&mut throttle, client, at(60_000)), BURST);
    }

    #[test]
    fn others_are_not_concerned_but_a_network_of_ipv6_is_one_client() {
        let mut throttle = Throttle::new();
        exhaust(&mut throttle, "2001:db8::1".parse().unwrap(), at(0));
        assert!(!throttle.allows("2001:db8::2".parse().unwrap(), at(0)));
        let others = (0..100_u8).filter(|n| throttle.allows([192, 0, 2, *n].into(), at(0))).count();
        assert!(others > 90, "{others}");
    }

    #[test]
    fn a_clock_that_is_set_back_shuts_nobody_out() {
        let mut throttle = Throttle::new();
        let client = IpAddr::from([192, 0, 2, 1]);
        exhaust(&mut throttle, client, at(3_600_000));
        assert!(throttle.allows(client, at(0)));
        assert_eq!(exhaust(&mut throttle, client, at(0)), BURST);
    }
}
