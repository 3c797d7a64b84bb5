//! When somebody is told: once when it begins to hold, once when it has not held for a while.

/// Seconds for which it must not hold before it is over: one that comes and goes is one alert.
const CALM_S: u64 = 300;

/// How it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// It does not hold.
    #[default]
    Calm,
    /// It holds, and not long enough yet.
    Pending {
        /// Since when, in seconds.
        since_s: u64,
    },
    /// It was told.
    Firing {
        /// Since when.
        since_s: u64,
        /// When it held last.
        held_s: u64,
    },
}

/// What is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It began at this second.
    Fired {
        /// Since when.
        since_s: u64,
    },
    /// It is over.
    Resolved {
        /// Since when it was.
        since_s: u64,
    },
}

/// Remembers whether somebody was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Alarm {
    /// How it is.
    pub state: State,
}

impl Alarm {
    /// Looks whether it holds, at a second that never falls. It must have held for `hold_s`.
    pub fn look(&mut self, holds: bool, now_s: u64, hold_s: u64) -> Option<Change> {
        match (self.state, holds) {
            (State::Calm, false) => None,
            (State::Pending { .. }, false) => {
                self.state = State::Calm;
                None
            }
            (State::Calm | State::Pending { .. }, true) => {
                let since_s = if let State::Pending { since_s } = self.state { since_s } else { now_s };
                if now_s.saturating_sub(since_s) < hold_s {
                    self.state = State::Pending { since_s };
                    return None;
                }
                self.state = State::Firing { since_s, held_s: now_s };
                Some(Change::Fired { since_s })
            }
            (State::Firing { since_s, .. }, true) => {
                self.state = State::Firing { since_s, held_s: now_s };
                None
            }
            (State::Firing { since_s, held_s }, false) => {
                if now_s.saturating_sub(held_s) < CALM_S {
                    return None;
                }
                self.state = State::Calm;
                Some(Change::Resolved { since_s })
            }
        }
    }

    /// Since when it fires.
    pub const fn firing_since_s(&self) -> Option<u64> {
        match self.state {
            State::Firing { since_s, .. } => Some(since_s),
            State::Calm | State::Pending { .. } => None,
        }
    }
}
