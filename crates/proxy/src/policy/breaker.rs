//! The circuit breaker: when too many calls fail or are slow, further ones are refused at once, until probes
//! have shown that it is worth while again (Nygard, "Release It!").
//!
//! ```text
//!            share reached, enough calls                 time is over
//!   Closed ──────────────────────────────▶ Open ─────────────────────────▶ HalfOpen
//!     ▲                                     ▲                               │  │
//!     │                                     └────── a probe failed ─────────┘  │
//!     └────────────────────── `probes` probes went well ───────────────────────┘
//! ```
//!
//! All threads share one. Its whole state is one word, so that every transition is one exchange: who is late
//! finds another word and has no say. Admitting a call to a closed one is a load; recording it an addition.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use manifest::spec::Breaker as Rule;
use registry::Moment;
use registry::moment::nanos;

use super::draw::mix;
use super::window::{Sum, Window};

/// More probes at once than this are not let through, whatever the rule says.
pub const MOST_PROBES: u32 = 1000;
/// A rule cannot ask for more calls than this before the window is judged.
pub const MOST_CALLS: u32 = 1_000_000;

/// Where a breaker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Calls pass and are counted.
    Closed,
    /// Calls are refused.
    Open,
    /// A few calls pass, as probes.
    HalfOpen,
    /// Refused because somebody said so.
    HeldOpen,
    /// Let through because somebody said so; counted, never judged.
    HeldClosed,
}

/// What a person may order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Refuse everything.
    Open,
    /// Let everything through.
    Closed,
    /// Judge again, beginning with a closed breaker and an empty window.
    Auto,
}

/// A call may pass. Hand it back to [`Breaker::record`] with what became of it. A probe that is dropped instead
/// gives its place back and says nothing.
#[derive(Debug)]
#[must_use = "a call that is let through is recorded in the end"]
pub struct Pass(Option<Probe>);

#[derive(Debug)]
struct Probe {
    breaker: Arc<Breaker>,
    /// When the half-open state that let it through began, in milliseconds: none begins twice in one.
    since: u64,
    reported: bool,
}

/// A call may not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// How long until it may be worth while to ask again; at least a millisecond.
    pub retry_after: Duration,
}

/// A breaker as people see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Where it stands. Open until it lets a probe through, even if its time is over.
    pub state: State,
    /// For how long; to the millisecond.
    pub age: Duration,
    /// The calls in its window: `first` are failed ones, `second` slow ones.
    pub window: Sum,
    /// How often it opened. Somebody who compares this with an earlier look has the events.
    pub opened: u64,
    /// How often it began to probe.
    pub half_opened: u64,
    /// How often it closed.
    pub closed: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Breaker {
    control: Control,
    window: Window,
}

/// Written only when the state or the rule changes.
#[derive(Debug)]
#[repr(align(128))]
struct Control {
    word: AtomicU64,
    errors: AtomicU32,
    of: AtomicU32,
    slow_share: AtomicU32,
    probes: AtomicU32,
    /// In nanoseconds; [`u64::MAX`]: slow calls are not counted.
    slow_over: AtomicU64,
    /// In milliseconds, at least one.
    open: AtomicU64,
    opened: AtomicU64,
    half_opened: AtomicU64,
    closed: AtomicU64,
}

/// The state, unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Word {
    state: State,
    /// Of `HalfOpen`: probes under way.
    under_way: u32,
    /// Of `HalfOpen`: probes that went well.
    went_well: u32,
    /// Since when, in milliseconds.
    since: u64,
}

impl Word {
    fn new(state: State, since: u64) -> Self {
        Self { state, under_way: 0, went_well: 0, since }
    }

    fn pack(self) -> u64 {
        self.state as u64
            | u64::from(self.under_way) << 3
            | u64::from(self.went_well) << 13
            | self.since << 23
    }

    fn unpack(word: u64) -> Self {
        let state = match word & 7 {
            0 => State::Closed,
            1 => State::Open,
            2 => State::HalfOpen,
            3 => State::HeldOpen,
            _ => State::HeldClosed,
        };
        Self {
            state,
            under_way: (word >> 3 & 1023) as u32,
            went_well: (word >> 13 & 1023) as u32,
            since: word >> 23,
        }
    }
}

impl Breaker {
    /// A closed one.
    pub fn new(rule: &Rule, now: Moment) -> Arc<Self> {
        let control = Control {
            word: AtomicU64::new(Word::new(State::Closed, millis(now)).pack()),
            errors: AtomicU32::new(0),
            of: AtomicU32::new(0),
            slow_share: AtomicU32::new(0),
            probes: AtomicU32::new(0),
            slow_over: AtomicU64::new(0),
            open: AtomicU64::new(0),
            opened: AtomicU64::new(0),
            half_opened: AtomicU64::new(0),
            closed: AtomicU64::new(0),
        };
        let breaker = Self { control, window: Window::new(rule.window) };
        breaker.reconfigure(rule);
        Arc::new(breaker)
    }

    /// Another rule from now on. The state stays, and what was counted, unless the window has another length.
    pub fn reconfigure(&self, rule: &Rule) {
        let control = &self.control;
        control.errors.store(rule.errors.millionths(), Relaxed);
        control.of.store(rule.of.clamp(1, MOST_CALLS), Relaxed);
        control.probes.store(rule.probes.clamp(1, MOST_PROBES), Relaxed);
        control
            .open
            .store(u64::try_from(rule.open.as_millis()).unwrap_or(u64::MAX).clamp(1, 1 << 40), Relaxed);
        let slow = rule.slow.map_or((u64::MAX, u32::MAX), |slow| (nanos(slow.over), slow.share.millionths()));
        control.slow_over.store(slow.0, Relaxed);
        control.slow_share.store(slow.1, Relaxed);
        self.window.resize(rule.window);
    }

    /// Whether a call may pass.
    #[inline]
    pub fn admit(self: &Arc<Self>, now: Moment) -> Result<Pass, Refused> {
        let word = self.control.word.load(Relaxed);
        match Word::unpack(word).state {
            State::Closed | State::HeldClosed => Ok(Pass(None)),
            _ => self.admit_probe(now),
        }
    }

    #[cold]
    fn admit_probe(self: &Arc<Self>, now: Moment) -> Result<Pass, Refused> {
        let control = &self.control;
        let open = control.open.load(Relaxed);
        let mut packed = control.word.load(Relaxed);
        // Ends: an exchange fails only if another thread's succeeded.
        loop {
            let word = Word::unpack(packed);
            let mut next = match word.state {
                State::Closed | State::HeldClosed => return Ok(Pass(None)),
                State::HeldOpen => return Err(Refused::for_millis(open)),
                State::Open => {
                    let until = word.since + open;
                    if millis(now) < until {
                        return Err(Refused::for_millis(until - millis(now)));
                    }
                    Word::new(State::HalfOpen, millis(now))
                }
                State::HalfOpen => word,
            };
            if next.under_way + next.went_well >= control.probes.load(Relaxed) {
                return Err(Refused::for_millis(open.min(1000)));
            }
            next.under_way += 1;
            match control.word.compare_exchange_weak(packed, next.pack(), Relaxed, Relaxed) {
                Ok(_) => {
                    if word.state == State::Open {
                        control.half_opened.fetch_add(1, Relaxed);
                    }
                    return Ok(Pass(Some(Probe {
                        breaker: Arc::clone(self),
                        since: next.since,
                        reported: false,
                    })));
                }
                Err(other) => packed = other,
            }
        }
    }

    /// What became of a call: whether it failed, and how long it took to the head of its answer or its failure.
    /// A good call never opens a breaker, whatever the window holds by then; one that failed or was slow may.
    #[inline]
    pub fn record(&self, pass: Pass, failed: bool, took: Duration, now: Moment) {
        let slow = nanos(took) > self.control.slow_over.load(Relaxed);
        if let Some(probe) = pass.0 {
            probe.finish(!failed && !slow, now);
            return;
        }
        let word = self.control.word.load(Relaxed);
        let state = Word::unpack(word).state;
        // What comes back from before it opened says nothing about now.
        if !matches!(state, State::Closed | State::HeldClosed) {
            return;
        }
        self.window.add(Sum { total: 1, first: u64::from(failed), second: u64::from(slow) }, now);
        if (failed || slow) && state == State::Closed {
            self.judge(word, now);
        }
    }

    #[cold]
    fn judge(&self, packed: u64, now: Moment) {
        let control = &self.control;
        let Some(sum) = self.window.sum(now) else { return };
        let errors = is_reached(control.errors.load(Relaxed), sum.first, sum.total);
        let slow = is_reached(control.slow_share.load(Relaxed), sum.second, sum.total);
        if !(errors || slow) || sum.total < u64::from(control.of.load(Relaxed)) {
            return;
        }
        let since = millis(now).max(Word::unpack(packed).since);
        let next = Word::new(State::Open, since).pack();
        if control.word.compare_exchange(packed, next, Relaxed, Relaxed).is_ok() {
            control.opened.fetch_add(1, Relaxed);
        }
    }

    /// What a person orders holds until they order `Auto`.
    pub fn order(&self, order: Order, now: Moment) {
        let control = &self.control;
        let mut packed = control.word.load(Relaxed);
        loop {
            let word = Word::unpack(packed);
            let held = matches!(word.state, State::HeldOpen | State::HeldClosed);
            let state = match order {
                Order::Open => State::HeldOpen,
                Order::Closed => State::HeldClosed,
                Order::Auto if held => State::Closed,
                Order::Auto => return,
            };
            if state == word.state {
                return;
            }
            if state == State::Closed {
                self.window.clear();
            }
            // Later than what was, so that probes from before are told apart.
            let next = Word::new(state, millis(now).max(word.since + 1)).pack();
            match control.word.compare_exchange(packed, next, Relaxed, Relaxed) {
                Ok(_) => {
                    let refused = |state| matches!(state, State::Open | State::HeldOpen);
                    let count = if refused(state) { &control.opened } else { &control.closed };
                    if refused(state) != refused(word.state) || word.state == State::HalfOpen {
                        count.fetch_add(1, Relaxed);
                    }
                    return;
                }
                Err(other) => packed = other,
            }
        }
    }

    /// Another number after every change of state, for whoever looks often.
    pub fn version(&self) -> u64 {
        let Control { word, opened, half_opened, closed, .. } = &self.control;
        [opened, half_opened, closed]
            .iter()
            .fold(mix(word.load(Relaxed)), |sum, count| sum.wrapping_add(count.load(Relaxed)))
    }

    /// For people, metrics and events; not for the path of a request.
    pub fn seen(&self, now: Moment) -> Seen {
        let control = &self.control;
        let word = Word::unpack(control.word.load(Relaxed));
        Seen {
            state: word.state,
            age: Duration::from_millis(millis(now).saturating_sub(word.since)),
            window: self.window.sum(now).unwrap_or_default(),
            opened: control.opened.load(Relaxed),
            half_opened: control.half_opened.load(Relaxed),
            closed: control.closed.load(Relaxed),
        }
    }
}

impl Pass {
    /// Whether this call is a probe: better not repeated elsewhere, and not hedged.
    pub fn is_probe(&self) -> bool {
        self.0.is_some()
    }
}

impl Refused {
    fn for_millis(millis: u64) -> Self {
        Self { retry_after: Duration::from_millis(millis.max(1)) }
    }
}

impl Probe {
    #[cold]
    fn finish(mut self, went_well: bool, now: Moment) {
        self.reported = true;
        let Control { word, probes, opened, closed, .. } = &self.breaker.control;
        let mut packed = word.load(Relaxed);
        loop {
            let Some(mut next) = self.given_back(packed) else { return };
            let since = millis(now).max(next.since);
            next.went_well += u32::from(went_well);
            if !went_well {
                next = Word::new(State::Open, since);
            } else if next.went_well >= probes.load(Relaxed) {
                next = Word::new(State::Closed, since);
                self.breaker.window.clear(); // before it counts: what it opened for must not open it again
            }
            match word.compare_exchange_weak(packed, next.pack(), Relaxed, Relaxed) {
                Ok(_) => {
                    match next.state {
                        State::Open => drop(opened.fetch_add(1, Relaxed)),
                        State::Closed => drop(closed.fetch_add(1, Relaxed)),
                        _ => {}
                    }
                    return;
                }
                Err(other) => packed = other,
            }
        }
    }

    /// The word without this probe; `None` if it does not know of it any more.
    fn given_back(&self, packed: u64) -> Option<Word> {
        let mut word = Word::unpack(packed);
        if word.state != State::HalfOpen || word.since != self.since {
            return None;
        }
        word.under_way = word.under_way.saturating_sub(1);
        Some(word)
    }
}

impl Drop for Probe {
    /// Nobody knows how it went: the place is free for another probe.
    fn drop(&mut self) {
        let word = &self.breaker.control.word;
        if !self.reported {
            let _ = word.fetch_update(Relaxed, Relaxed, |packed| self.given_back(packed).map(Word::pack));
        }
    }
}

fn millis(moment: Moment) -> u64 {
    moment.nanos() / 1_000_000
}

fn is_reached(millionths: u32, part: u64, whole: u64) -> bool {
    part > 0 && part * 1_000_000 >= whole * u64::from(millionths)
}

#[cfg(test)]
#[path = "breaker_tests.rs"]
mod tests;
