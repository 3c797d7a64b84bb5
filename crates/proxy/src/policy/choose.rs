//! Which instance is next. One number drawn at random, one reading of the clock, one look at the snapshot.
//!
//! While nothing is ejected, choosing by peak EWMA or fewest requests looks at two endpoints, whatever their number
//! (Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001).

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use kit::units::Share;
use manifest::spec::{Balance, BalanceBy, InstanceId};
use registry::{Endpoint, Lease, Moment};

use super::{draw, eligible, hash};

/// How a service's requests are spread; one per upstream, shared by all threads.
#[derive(Debug)]
pub struct Chooser {
    by: By,
    slow_start: Duration,
    panic: Share,
    /// Of all instances at most this share is passed over.
    ceiling: Share,
    turn: Turn,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    PeakEwma,
    LeastRequest,
    RoundRobin,
    Hash,
}

#[derive(Debug, Default)]
#[repr(align(128))]
struct Turn(AtomicU32);

/// What a request says about where it should go.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// [`hash::key`] of what `balance: hash` names; `None`: the request does not have it, and chance decides.
    pub key: Option<u64>,
    /// Where it failed before: chosen only if there is no other.
    pub avoid: &'a [InstanceId],
    /// From [`draw::Dice`].
    pub random: u64,
    /// The request's one reading of the clock.
    pub now: Moment,
}

impl Chooser {
    /// What the file says.
    pub fn new(balance: &Balance) -> Self {
        let by = match balance.by {
            BalanceBy::PeakEwma => By::PeakEwma,
            BalanceBy::LeastRequest => By::LeastRequest,
            BalanceBy::RoundRobin => By::RoundRobin,
            BalanceBy::Hash(_) => By::Hash,
        };
        Self {
            by,
            slow_start: balance.slow_start,
            panic: balance.panic,
            ceiling: balance.outlier.map_or(Share::NONE, |outlier| outlier.share),
            turn: Turn::default(),
        }
    }

    /// A place on one of the `ready`: the chosen one, or if that is leaving another. `known` is how many instances
    /// the service has, ready or not. `None`: none takes any more requests.
    pub fn lease(&self, ready: &[Arc<Endpoint>], known: usize, wish: &Wish<'_>) -> Option<Lease> {
        let first = self.choose(ready, known, wish)?;
        ready.get(first)?.acquire().or_else(|| {
            let others = || (1..ready.len()).filter_map(|step| ready.get((first + step) % ready.len()));
            let mut fine = others().filter(|endpoint| is_fine(endpoint, wish));
            fine.find_map(Endpoint::acquire).or_else(|| others().find_map(Endpoint::acquire))
        })
    }

    /// The number of the endpoint that is next; `None` only if there is none.
    pub fn choose(&self, ready: &[Arc<Endpoint>], known: usize, wish: &Wish<'_>) -> Option<usize> {
        if ready.len() < 2 {
            return (!ready.is_empty()).then_some(0);
        }
        match (self.by, wish.key) {
            (By::Hash, Some(key)) => {
                if ready.iter().all(|endpoint| is_fine(endpoint, wish)) {
                    return hash::choose(ready, key, |_| true);
                }
                let eligible = self.eligible(ready, known, wish);
                hash::choose(ready, key, |index| eligible.has(index))
            }
            (By::RoundRobin, _) => self.in_turn(ready, known, wish),
            (By::LeastRequest, _) => {
                self.better_of_two(ready, known, wish, |endpoint| endpoint.in_flight() as f32)
            }
            (By::PeakEwma | By::Hash, _) => {
                self.better_of_two(ready, known, wish, |endpoint| endpoint.cost(wish.now))
            }
        }
    }

    fn better_of_two(
        &self,
        ready: &[Arc<Endpoint>],
        known: usize,
        wish: &Wish<'_>,
        cost: impl Fn(&Endpoint) -> f32,
    ) -> Option<usize> {
        let (mut first, mut second) = two_of(ready.len(), wish.random);
        let (mut one, mut other) = (ready.get(first)?, ready.get(second)?);
        if !is_fine(one, wish) || !is_fine(other, wish) {
            let eligible = self.eligible(ready, known, wish);
            let count = eligible.count();
            if count < 2 {
                return eligible.nth(0);
            }
            let (m, n) = two_of(count, wish.random);
            (first, second) = (eligible.nth(m)?, eligible.nth(n)?);
            (one, other) = (ready.get(first)?, ready.get(second)?);
        }
        let (better, worse) = if cost(other) < cost(one) { (second, first) } else { (first, second) };
        let warmth = ready.get(better)?.warmth(self.slow_start, wish.now);
        Some(if is_let_off(warmth, wish.random) { worse } else { better })
    }

    fn in_turn(&self, ready: &[Arc<Endpoint>], known: usize, wish: &Wish<'_>) -> Option<usize> {
        let mut eligible = None;
        let turn = self.turn.0.fetch_add(1, Relaxed) as usize;
        let mut index = turn % ready.len();
        if !is_fine(ready.get(index)?, wish) {
            let eligible = eligible.insert(self.eligible(ready, known, wish));
            index = eligible.nth(turn % eligible.count().max(1))?;
        }
        let warmth = ready.get(index)?.warmth(self.slow_start, wish.now);
        if !is_let_off(warmth, wish.random) {
            return Some(index);
        }
        let next = (index + 1) % ready.len();
        let is_eligible = match &eligible {
            Some(eligible) => eligible.has(next),
            None => is_fine(ready.get(next)?, wish),
        };
        Some(if is_eligible { next } else { index })
    }

    fn eligible(&self, ready: &[Arc<Endpoint>], known: usize, wish: &Wish<'_>) -> eligible::Eligible {
        let ejected = ready.iter().map(|endpoint| {
            let strikes = endpoint.strikes();
            if strikes.is_ejected(wish.now) { strikes.ejected_until() } else { Moment::NEVER }
        });
        let mut eligible = eligible::after_ejections(ejected, known, self.ceiling, self.panic);
        if !wish.avoid.is_empty() {
            eligible.avoid(|index| ready.get(index).is_some_and(|endpoint| is_avoided(endpoint, wish.avoid)));
        }
        eligible
    }
}

/// Neither ejected nor avoided: nothing else has to be looked at.
fn is_fine(endpoint: &Endpoint, wish: &Wish<'_>) -> bool {
    !endpoint.strikes().is_ejected(wish.now) && !is_avoided(endpoint, wish.avoid)
}

fn is_avoided(endpoint: &Endpoint, avoid: &[InstanceId]) -> bool {
    avoid.iter().any(|id| id == endpoint.id())
}

/// Two different numbers below `count`, which is at least two.
fn two_of(count: usize, random: u64) -> (usize, usize) {
    let first = draw::below(count, (random >> 32) as u32);
    let second = draw::below(count - 1, random as u32);
    (first, if second >= first { second + 1 } else { second })
}

/// Whether one that is warming up does not take a request that would be its. Not of the bits that chose it.
fn is_let_off(warmth: f32, random: u64) -> bool {
    warmth < 1.0 && draw::fraction(draw::mix(random ^ 0x5101)) as f32 >= warmth
}

#[cfg(test)]
#[path = "choose_tests.rs"]
mod tests;
