//! When an instance counts as ready. Decisions only: the time, what a check found and the random spread
//! come in; nothing here reads a clock or opens a socket.

use std::fmt;
use std::time::Duration;

use kit::Timestamp;
use manifest::spec::HealthCheck;

/// The pause after the first failed check of an instance that is not ready, where the file says nothing.
pub const FIRST_GAP: Duration = Duration::from_millis(25);
/// Each further pause of an instance that is not ready is this much longer (in halves: 3/2), so that what
/// comes up is seen after at most about half of the time it took.
const GROWTH_HALVES: u32 = 3;
/// No two checks of one instance follow each other faster, whatever the file says.
pub const MIN_GAP: Duration = Duration::from_millis(5);
/// A pause is made up to this share shorter or longer, so that instances started together part.
pub const JITTER: f64 = 0.1;
/// Longest pause between two looks whether an instance without a check listens yet.
const LISTEN_INTERVAL: Duration = Duration::from_secs(1);
/// How long such a look may take.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an instance that nobody can ask must have run to count as ready: what ends at once was never well
/// (the default of supervisord's `startsecs`).
pub const SETTLING_TIME: Duration = Duration::from_secs(1);
/// An instance that was ready for this long before the data path suspected it has a clean record.
const CLEAN_RECORD: Duration = Duration::from_secs(10);
/// The longest an instance that is suspected again and again waits for the check that may bring it back.
const MAX_HOLD: Duration = Duration::from_secs(1);

/// What is known of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Health {
    /// No check has passed yet.
    Starting,
    /// It takes requests.
    Ready,
    /// Its checks fail, or the data path could not reach it.
    Unready,
    /// It was asked to leave and takes no new requests.
    Draining,
}

impl Health {
    /// The word for people and wires.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Unready => "unready",
            Self::Draining => "draining",
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// When an instance is checked and what failures mean.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rhythm {
    /// From the start to the first check.
    delay: Duration,
    /// Between two checks of a ready instance.
    interval: Duration,
    /// How long one check may take.
    timeout: Duration,
    /// Failures in a row that make a ready instance unready.
    retries: u32,
    /// Failures within this time after the start do not count.
    start_period: Duration,
    /// Between two checks until the first passes; `None`: [`FIRST_GAP`], growing up to `interval`.
    start_interval: Option<Duration>,
    /// `false`: one pass is enough until somebody complains, and patience has no end.
    repeats: bool,
}

impl Rhythm {
    /// What the file asks for, with what would spin or never end put right.
    pub(crate) fn of(check: &HealthCheck) -> Self {
        Self {
            delay: Duration::ZERO,
            interval: check.interval.max(MIN_GAP),
            timeout: check.timeout.max(Duration::from_millis(1)),
            retries: check.retries.max(1),
            start_period: check.start_period,
            start_interval: check.start_interval.map(|gap| gap.max(MIN_GAP)),
            repeats: true,
        }
    }

    /// For an instance that has an address and no check: wait until it listens, however long that takes
    /// (requests sent before would fail), then leave it alone.
    pub(crate) fn until_it_listens() -> Self {
        Self {
            delay: Duration::ZERO,
            interval: LISTEN_INTERVAL,
            timeout: LISTEN_TIMEOUT,
            retries: 1,
            start_period: Duration::ZERO,
            start_interval: None,
            repeats: false,
        }
    }

    /// For an instance that nobody can ask and nobody sends requests to: one look whether it is still there.
    pub(crate) fn once_it_has_settled() -> Self {
        Self { delay: SETTLING_TIME, ..Self::until_it_listens() }
    }

    /// How long one check may take.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The pause after the first failure.
    fn first_gap(&self) -> Duration {
        self.start_interval.unwrap_or(FIRST_GAP).min(self.interval)
    }

    /// From when on a starting instance may be called unready: where a check every `interval` would have
    /// failed `retries` times. The checks of a starting instance come much faster than that, and must not
    /// make it fail faster.
    fn patience(&self) -> Duration {
        self.start_period.saturating_add(self.interval.saturating_mul(self.retries))
    }
}

/// A change of health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Transition {
    /// What it was.
    pub from: Health,
    /// What it is now.
    pub to: Health,
}

/// What one instance's checks amount to.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    rhythm: Rhythm,
    started_at: Timestamp,
    health: Health,
    since: Timestamp,
    /// Failures in a row that count.
    failures: u32,
    /// The next pause while not ready, before jitter.
    gap: Duration,
    /// Times in a row that the data path suspected it without a clean record between.
    suspicions: u32,
    /// The data path took it out, and no check has spoken since: those before had passed.
    merely_suspected: bool,
    next: Option<Timestamp>,
}

impl Watch {
    /// An instance that started `now`.
    pub(crate) fn new(rhythm: Rhythm, now: Timestamp) -> Self {
        Self {
            started_at: now,
            health: Health::Starting,
            since: now,
            failures: 0,
            gap: rhythm.first_gap(),
            suspicions: 0,
            merely_suspected: false,
            next: Some(now + rhythm.delay),
            rhythm,
        }
    }

    /// Its health.
    pub(crate) fn health(&self) -> Health {
        self.health
    }

    /// Since when.
    pub(crate) fn since(&self) -> Timestamp {
        self.since
    }

    /// Whether the data path alone speaks against it: it is unready for that, and its checks passed.
    pub(crate) fn is_merely_suspected(&self) -> bool {
        self.merely_suspected
    }

    /// When to check next; `None`: not before something happens.
    pub(crate) fn next_check(&self) -> Option<Timestamp> {
        self.next
    }

    /// Failures in a row of a ready instance and how many make it unready.
    pub(crate) fn strikes(&self) -> (u32, u32) {
        (self.failures, self.rhythm.retries)
    }

    /// A check ended at `now`. `spread`, a share in 0..=1, is the luck of the draw for the next pause.
    pub(crate) fn after(&mut self, passed: bool, now: Timestamp, spread: f64) -> Option<Transition> {
        if self.health == Health::Draining {
            return None;
        }
        let rhythm = self.rhythm.clone();
        self.merely_suspected = false;
        let verdict = if passed { self.pass(&rhythm) } else { self.fail(&rhythm, now) };
        let transition = self.turn(verdict, now);
        self.next = self.pause(&rhythm, transition.is_some(), spread).map(|pause| now + pause);
        transition
    }

    /// The data path could not reach it: it is unready until a check passes, and the check is due at once.
    /// Only one that is suspected right after each return waits a little before it may come back.
    pub(crate) fn suspect(&mut self, now: Timestamp) -> Option<Transition> {
        if self.health != Health::Ready {
            return None;
        }
        if now.since(self.since) >= CLEAN_RECORD {
            self.suspicions = 0;
        }
        let hold = match self.suspicions {
            0 => Duration::ZERO,
            again => FIRST_GAP.saturating_mul(1 << again.min(16)).min(MAX_HOLD),
        };
        self.gap = self.rhythm.first_gap();
        self.merely_suspected = self.failures == 0;
        self.failures = 0;
        self.suspicions = self.suspicions.saturating_add(1);
        self.next = Some(now + hold);
        self.turn(Health::Unready, now)
    }

    /// It leaves: no checks any more, and no way back.
    pub(crate) fn drain(&mut self, now: Timestamp) -> Option<Transition> {
        self.next = None;
        self.merely_suspected = false;
        self.turn(Health::Draining, now)
    }

    fn pass(&mut self, rhythm: &Rhythm) -> Health {
        self.failures = 0;
        self.gap = rhythm.first_gap();
        Health::Ready
    }

    fn fail(&mut self, rhythm: &Rhythm, now: Timestamp) -> Health {
        let age = now.since(self.started_at);
        match self.health {
            Health::Starting if age < rhythm.start_period => Health::Starting,
            Health::Starting => {
                self.failures = self.failures.saturating_add(1);
                let gives_up = rhythm.repeats && self.failures >= rhythm.retries && age >= rhythm.patience();
                if gives_up { Health::Unready } else { Health::Starting }
            }
            Health::Ready => {
                self.failures = self.failures.saturating_add(1);
                if self.failures >= rhythm.retries { Health::Unready } else { Health::Ready }
            }
            other => other,
        }
    }

    fn turn(&mut self, to: Health, now: Timestamp) -> Option<Transition> {
        let from = self.health;
        if from == to {
            return None;
        }
        self.health = to;
        self.since = now;
        Some(Transition { from, to })
    }

    /// How long until the next check.
    fn pause(&mut self, rhythm: &Rhythm, turned: bool, spread: f64) -> Option<Duration> {
        let spread = spread.clamp(0.0, 1.0);
        let base = match self.health {
            Health::Draining => return None,
            Health::Ready if !rhythm.repeats => return None,
            // Instances that turned ready together are checked at moments spread over a whole interval.
            Health::Ready if turned => return Some(rhythm.interval.mul_f64(spread).max(MIN_GAP)),
            Health::Ready => rhythm.interval,
            Health::Starting if rhythm.start_interval.is_some() => rhythm.start_interval?,
            Health::Starting | Health::Unready => {
                let gap = self.gap;
                self.gap = (gap.saturating_mul(GROWTH_HALVES) / 2).min(rhythm.interval);
                gap
            }
        };
        Some(base.mul_f64(1.0 - JITTER + 2.0 * JITTER * spread).max(MIN_GAP))
    }
}

#[cfg(test)]
mod tests;
