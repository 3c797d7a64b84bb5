//! Sheds load before a service drowns in it, the least important first. How much it carries is found out by
//! [`super::gradient`]; this is the part that all threads share.
//!
//! It has no count of its own: whoever asks knows how many requests are under way, over all routes to the service.
//! Admitting is a load; learning from an answer is one addition, and a few times a second one thread draws conclusions.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use manifest::spec::{Adaptive as Rule, Priority};
use registry::Moment;
use registry::moment::nanos;

use super::gradient::{Gradient, Sample};

/// How long answers are gathered before conclusions are drawn …
pub const SAMPLE: Duration = Duration::from_millis(100);
/// … and how many there must be.
pub const SAMPLE_LEAST: u64 = 10;
/// With fewer answers a sample may take so long; then those must do.
const SAMPLE_LONGEST: Duration = Duration::from_secs(2);
/// Times are gathered in units of 2^10 nanoseconds, about a microsecond.
const UNIT_BITS: u32 = 10;
/// Answers of one sample: a sample beyond that waits for its end.
const COUNT_BITS: u32 = 20;
/// One answer that took longer counts as this, in units: about 17 minutes.
const LONGEST: u64 = 1 << 30;

/// For `Retry-After` of what is shed.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The part of the limit, in hundredths, that requests of a priority may fill.
pub const fn part_of(priority: Priority) -> u32 {
    match priority {
        Priority::Low => 50,
        Priority::Normal => 80,
        Priority::High => 95,
        Priority::Critical => 100,
    }
}

/// A request is refused, for the service carries no more of its priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shed {
    /// When to come again.
    pub retry_after: Duration,
    /// The limit that was reached, of this priority.
    pub limit: u32,
}

/// See the module.
#[derive(Debug)]
pub struct Adaptive {
    limit: Limit,
    answers: Answers,
    learned: Mutex<Learned>,
}

/// Written a few times a second.
#[derive(Debug)]
#[repr(align(128))]
struct Limit {
    limit: AtomicU32,
    /// When the current sample is over, in nanoseconds.
    ends: AtomicU64,
}

/// Written with every answer.
#[derive(Debug)]
#[repr(align(128))]
struct Answers {
    /// The sum of their times, and below it their number.
    sum: AtomicU64,
    in_flight: AtomicU32,
    dropped: AtomicBool,
    shed: AtomicBool,
}

#[derive(Debug)]
struct Learned {
    rule: Rule,
    gradient: Gradient,
}

impl Adaptive {
    /// Begins between the bounds of the rule.
    pub fn new(rule: &Rule, now: Moment) -> Self {
        let gradient = Gradient::new(rule, now);
        let limit = AtomicU32::new(gradient.limit(rule));
        let answers = Answers {
            sum: AtomicU64::new(0),
            in_flight: AtomicU32::new(0),
            dropped: AtomicBool::new(false),
            shed: AtomicBool::new(false),
        };
        let limit = Limit { limit, ends: AtomicU64::new((now + SAMPLE).nanos()) };
        Self { limit, answers, learned: Mutex::new(Learned { rule: *rule, gradient }) }
    }

    /// Other bounds from now on; what was learned stays.
    pub fn reconfigure(&self, rule: &Rule) {
        let mut learned = self.learned.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        learned.rule = *rule;
        self.limit.limit.store(learned.gradient.limit(rule), Relaxed);
    }

    /// Whether one more may go while so many are under way, itself not counted.
    /// Threads that ask at the same moment may go over by one each.
    #[inline]
    pub fn admit(&self, in_flight: u32, priority: Priority) -> Result<(), Shed> {
        let limit = self.limit_of(priority);
        if in_flight < limit {
            return Ok(());
        }
        if !self.answers.shed.load(Relaxed) {
            self.answers.shed.store(true, Relaxed);
        }
        Err(Shed { retry_after: RETRY_AFTER, limit })
    }

    /// An admitted request came to an end: it took so long to the head of its answer, while so many were under way.
    /// `dropped`: it ran out of time, or the service refused it for load (429, 503). Those whose client left say
    /// nothing: leave them out.
    #[inline]
    pub fn observe(&self, took: Duration, in_flight: u32, dropped: bool, now: Moment) {
        let answers = &self.answers;
        let time = (nanos(took) >> UNIT_BITS).min(LONGEST);
        let before = answers.sum.fetch_add(time << COUNT_BITS | 1, Relaxed);
        if in_flight > answers.in_flight.load(Relaxed) {
            answers.in_flight.store(in_flight, Relaxed);
        }
        if dropped && !answers.dropped.load(Relaxed) {
            answers.dropped.store(true, Relaxed);
        }
        if now.nanos() >= self.limit.ends.load(Relaxed) || is_full(before) {
            self.conclude(now);
        }
    }

    #[cold]
    fn conclude(&self, now: Moment) {
        let Ok(mut learned) = self.learned.try_lock() else { return };
        let ends = self.limit.ends.load(Relaxed);
        let sum = self.answers.sum.load(Relaxed);
        let is_over = now.nanos() >= ends && count(sum) >= SAMPLE_LEAST;
        let is_late = now.nanos().saturating_sub(ends) >= nanos(SAMPLE_LONGEST);
        if count(sum) == 0 || !(is_over || is_late || is_full(sum)) {
            return;
        }
        let sum = self.answers.sum.swap(0, Relaxed);
        let sample = Sample {
            time: Duration::from_nanos(((sum >> COUNT_BITS) << UNIT_BITS) / count(sum).max(1)),
            in_flight: self.answers.in_flight.swap(0, Relaxed),
            dropped: self.answers.dropped.swap(false, Relaxed),
            shed: self.answers.shed.swap(false, Relaxed),
        };
        let Learned { rule, gradient } = &mut *learned;
        self.limit.limit.store(gradient.update(rule, sample, now), Relaxed);
        self.limit.ends.store((now + SAMPLE).nanos(), Relaxed);
    }

    /// The limit for all priorities together.
    pub fn limit(&self) -> u32 {
        self.limit.limit.load(Relaxed)
    }

    /// How many may be under way for one more of this priority to be refused; at least one.
    pub fn limit_of(&self, priority: Priority) -> u32 {
        (u64::from(self.limit()) * u64::from(part_of(priority))).div_ceil(100) as u32
    }
}

fn count(sum: u64) -> u64 {
    sum & ((1 << COUNT_BITS) - 1)
}

/// Neither the number nor the times may run over into what is not theirs.
fn is_full(sum: u64) -> bool {
    count(sum) >= 1 << (COUNT_BITS - 1) || sum >= 1 << 63
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Rule = Rule { min: 4, max: 1000 };
    const MS: Duration = Duration::from_millis(1);

    fn at(ms: u64) -> Moment {
        Moment::from_nanos(1 << 40) + Duration::from_millis(ms)
    }

    #[test]
    fn the_least_important_is_shed_first() {
        let adaptive = Adaptive::new(&Rule { min: 100, max: 100 }, at(0));
        let admitted = |priority| (0..200).find(|n| adaptive.admit(*n, priority).is_err()).unwrap();
        assert_eq!(admitted(Priority::Low), 50);
        assert_eq!(admitted(Priority::Normal), 80);
        assert_eq!(admitted(Priority::High), 95);
        assert_eq!(admitted(Priority::Critical), 100);
        let least = Adaptive::new(&Rule { min: 1, max: 1 }, at(0));
        assert!(least.admit(0, Priority::Low).is_ok());
    }

    #[test]
    fn it_shrinks_when_answers_become_slow_and_grows_back() {
        let adaptive = Adaptive::new(&RULE, at(0));
        let mut now = 0;
        let mut run = |seconds: u64, took: Duration| {
            for _ in 0..seconds * 1000 {
                now += 1;
                adaptive.observe(took, adaptive.limit(), false, at(now));
            }
            adaptive.limit()
        };
        let fast = run(10, MS * 5);
        let slow = run(5, MS * 50);
        let again = run(10, MS * 5);
        assert!(slow * 4 < fast && again > slow * 4, "{fast} {slow} {again}");
    }

    #[test]
    fn few_answers_are_no_ground_for_conclusions_until_there_have_been_no_more_for_long() {
        let adaptive = Adaptive::new(&RULE, at(0));
        let before = adaptive.limit();
        for n in 0..9 {
            adaptive.observe(MS, 1000, true, at(n * 100));
        }
        assert_eq!(adaptive.limit(), before);
        adaptive.observe(MS, 1000, true, at(5_000));
        assert!(adaptive.limit() < before);
    }

    #[test]
    fn very_many_and_very_slow_answers_do_not_run_over() {
        let adaptive = Adaptive::new(&RULE, at(0));
        for _ in 0..1 << 21 {
            adaptive.observe(Duration::from_secs(3600), 1, false, at(0));
        }
        assert!(adaptive.limit() >= RULE.min);
        adaptive.reconfigure(&Rule { min: 7, max: 9 });
        assert!((7..=9).contains(&adaptive.limit()));
    }
}
