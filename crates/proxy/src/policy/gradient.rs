//! How many requests at once a service carries, found out by how their time grows with their number: the pure
//! part of [`super::adaptive`]. In the manner of Netflix's concurrency-limits and Envoy's adaptive concurrency.
//!
//! ```text
//! gradient = clamp(TOLERANCE × best time / time lately, 0.5, 1)
//! limit    = limit × gradient + √limit          smoothed, within min..=max
//! ```
//!
//! The best time is the least average of the last half minute or minute. Under load that does not end the true one
//! is never seen. So when the limit has held requests back for so long, it is halved for a moment to look for it,
//! and again for as long as that makes answers faster.

use std::time::Duration;

use manifest::spec::Adaptive as Rule;
use registry::Moment;
use registry::moment::nanos;

/// So much slower than the best may the average be before the limit falls.
const TOLERANCE: f64 = 1.5;
/// How much a new estimate counts against the one before.
const SMOOTHING: f64 = 0.3;
/// What is left of the limit after requests that were dropped.
const AFTER_DROP: f64 = 0.9;
/// The best time is forgotten after once to twice this.
const MEMORY: Duration = Duration::from_secs(30);
/// The first time it is, sooner: the service may have been overloaded from the beginning.
const FIRST_MEMORY: Duration = Duration::from_secs(3);
/// Looking for the best time goes on while half the limit makes answers faster by this factor …
const FASTER: f64 = 0.9;
/// … down to this part of it.
const LEAST_PART: f64 = 1.0 / 64.0;

/// What happened within a moment, a sample of [`super::adaptive::SAMPLE`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// The average time to the head of an answer.
    pub time: Duration,
    /// The most requests under way at once.
    pub in_flight: u32,
    /// Some were dropped: out of time, or refused by the service for load.
    pub dropped: bool,
    /// Some were refused by this limit.
    pub shed: bool,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Gradient {
    limit: f64,
    /// In nanoseconds, of the current and the earlier half of the memory; infinite: not known.
    best: [f64; 2],
    /// When the halves are moved on.
    forget_at: Moment,
    looking: Option<Look>,
    /// The limit was what held requests back since the best time was last looked for.
    was_limiting: bool,
}

/// The best time is being looked for.
#[derive(Clone, Copy, Debug)]
struct Look {
    /// The part of the limit that is in force.
    part: f64,
    /// The time with twice that part, in nanoseconds.
    before: f64,
    /// The first sample with this part is over: it still held answers from before.
    settled: bool,
}

impl Gradient {
    /// Begins in the middle between the bounds, measured by factors.
    pub fn new(rule: &Rule, now: Moment) -> Self {
        let (min, max) = bounds(rule);
        let best = [f64::INFINITY; 2];
        let forget_at = now + FIRST_MEMORY;
        Self { limit: (min * max).sqrt(), best, forget_at, looking: None, was_limiting: false }
    }

    /// The limit in force, within the bounds of the rule.
    pub fn limit(&self, rule: &Rule) -> u32 {
        let (min, max) = bounds(rule);
        let part = self.looking.map_or(1.0, |look| look.part);
        (self.limit * part).clamp(min, max) as u32
    }

    /// Learns from a sample; returns the limit from now on.
    pub fn update(&mut self, rule: &Rule, sample: Sample, now: Moment) -> u32 {
        let time = (nanos(sample.time) as f64).max(1.0);
        self.move_on(time, now);
        self.best[0] = self.best[0].min(time);
        self.was_limiting |= sample.shed;
        if let Some(look) = &mut self.looking {
            if !look.settled {
                look.settled = true;
            } else if time < look.before * FASTER && look.part > LEAST_PART {
                *look = Look { part: look.part / 2.0, before: time, settled: false };
            } else {
                self.looking = None;
            }
            return self.limit(rule); // a part of the load says nothing about the whole
        }
        let (min, max) = bounds(rule);
        let held_back = sample.shed || f64::from(sample.in_flight) >= self.limit / 2.0;
        if sample.dropped {
            self.limit *= AFTER_DROP;
        } else {
            let best = self.best[0].min(self.best[1]);
            let gradient = (TOLERANCE * best / time).clamp(0.5, 1.0);
            let estimate = self.limit * gradient + self.limit.sqrt();
            // What is hardly used teaches nothing about more: the limit may fall but not grow.
            if estimate < self.limit || held_back {
                self.limit += (estimate - self.limit) * SMOOTHING;
            }
        }
        self.limit = self.limit.clamp(min, max);
        self.limit(rule)
    }

    fn move_on(&mut self, time: f64, now: Moment) {
        if now < self.forget_at {
            return;
        }
        if self.was_limiting {
            // What was seen while requests were held back may all be too slow: only what comes now counts.
            self.looking = Some(Look { part: 0.5, before: time, settled: false });
            self.best = [f64::INFINITY; 2];
        } else {
            self.best = [f64::INFINITY, self.best[0]];
        }
        self.was_limiting = false;
        self.forget_at = now + MEMORY;
    }
}

fn bounds(rule: &Rule) -> (f64, f64) {
    let min = rule.min.max(1);
    (f64::from(min), f64::from(rule.max.max(min)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RULE: Rule = Rule { min: 4, max: 1000 };
    const MS: Duration = Duration::from_millis(1);

    fn at(ms: u64) -> Moment {
        Moment::from_nanos(1 << 40) + Duration::from_millis(ms)
    }

    /// A service that carries `capacity` requests at once in 10 ms, more of them in proportionally more time.
    /// `wanted` requests at once are on offer. Returns the limit after so many seconds.
    fn run(gradient: &mut Gradient, from: &mut u64, seconds: u64, capacity: u32, wanted: u32) -> u32 {
        let mut limit = gradient.limit(&RULE);
        for _ in 0..seconds * 10 {
            *from += 100;
            let in_flight = wanted.min(limit);
            let time = MS.mul_f64(10.0 * f64::from(in_flight.max(capacity)) / f64::from(capacity));
            let sample = Sample { time, in_flight, dropped: false, shed: wanted > limit };
            limit = gradient.update(&RULE, sample, at(*from));
        }
        limit
    }

    #[test]
    fn it_finds_about_what_the_service_carries_and_stays_there() {
        for capacity in [8, 20, 100, 400] {
            let mut gradient = Gradient::new(&RULE, at(0));
            let mut now = 0;
            run(&mut gradient, &mut now, 20, capacity, 5000);
            for _ in 0..40 {
                // Ten minutes of overload: the best time is looked for again and again.
                let limit = f64::from(run(&mut gradient, &mut now, 15, capacity, 5000)) / f64::from(capacity);
                assert!((0.7..3.0).contains(&limit), "{limit} of {capacity} at {now}");
            }
        }
    }

    #[test]
    fn it_follows_a_service_that_becomes_slower_and_recovers() {
        let mut gradient = Gradient::new(&RULE, at(0));
        let mut now = 0;
        let before = run(&mut gradient, &mut now, 20, 200, 5000);
        let slow = run(&mut gradient, &mut now, 10, 20, 5000);
        let after = run(&mut gradient, &mut now, 100, 200, 5000);
        assert!(slow * 3 < before, "{slow} {before}");
        assert!(after * 2 > before, "{after} {before}");
    }

    #[test]
    fn what_is_not_used_does_not_grow() {
        let mut gradient = Gradient::new(&RULE, at(0));
        let before = gradient.limit(&RULE);
        assert_eq!(run(&mut gradient, &mut 0, 100, 100, 3), before);
    }

    #[test]
    fn dropped_requests_bring_it_down_to_its_least() {
        let mut gradient = Gradient::new(&RULE, at(0));
        let sample = Sample { time: MS, in_flight: 50, dropped: true, shed: false };
        let limits: Vec<_> = (0..100).map(|n| gradient.update(&RULE, sample, at(n))).collect();
        assert!(limits.is_sorted_by(|a, b| a >= b));
        assert_eq!(limits.last(), Some(&RULE.min));
    }

    proptest! {
        #[test]
        fn the_limit_is_always_within_its_bounds(
            min in 0u32..100, span in 0u32..10_000,
            samples in prop::collection::vec((0u64..u64::MAX, any::<u32>(), any::<bool>(), any::<bool>(), 0u64..20_000), 1..200),
        ) {
            let rule = Rule { min, max: min + span };
            let mut gradient = Gradient::new(&rule, at(0));
            let mut now = 0;
            for (time, in_flight, dropped, shed, later) in samples {
                now += later;
                let sample = Sample { time: Duration::from_nanos(time), in_flight, dropped, shed };
                let limit = gradient.update(&rule, sample, at(now));
                prop_assert!(limit >= min.max(1) && limit <= rule.max.max(1));
                prop_assert_eq!(limit, gradient.limit(&rule));
            }
        }
    }
}
