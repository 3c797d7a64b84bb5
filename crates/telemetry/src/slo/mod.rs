//! Objectives: a promise, what was counted of it ([`History`]), how much of its budget is left and how fast that burns
//! ([`Standing`]), and when somebody has to be told ([`Alarm`]). Without a clock, without I/O.
//!
//! Alerts are those of Google's "Site Reliability Workbook" (chapter 5, "multiwindow, multi-burn-rate"): the budget burns so many times
//! faster than it may, over a long window and still over a short one. Its windows are those of 30 days; of other objectives they are the
//! same parts.

mod alarm;
mod history;

#[cfg(test)]
mod tests;

pub use alarm::{Alarm, Change, State};
pub use history::{Counts, History};

/// Requests in the long window that an alert needs: of three requests one that failed says nothing.
pub const FEWEST: u64 = 10;

/// What is promised.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Objective {
    /// The share that is to be good; above 0, below 1.
    pub share: f64,
    /// Over so many minutes.
    pub window_min: u64,
}

/// How urgent it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Within days.
    Ticket,
    /// Now.
    Page,
}

impl Urgency {
    /// Its name: `page`, `ticket`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Ticket => "ticket",
        }
    }
}

/// The shortest window: the minute under way, which may just have begun, and the one before.
const SHORTEST_MIN: u64 = 2;

/// When the budget burns too fast: over a window that is this part of the objective's, and over a shorter one.
struct Rule {
    long: u64,
    short: u64,
    burn: f64,
    urgency: Urgency,
}

/// Of 30 days: an hour and 5 minutes, 6 hours and 30 minutes, a day and 2 hours, 3 days and 6 hours.
const RULES: [Rule; 4] = [
    Rule { long: 720, short: 8640, burn: 14.4, urgency: Urgency::Page },
    Rule { long: 120, short: 1440, burn: 6.0, urgency: Urgency::Page },
    Rule { long: 30, short: 360, burn: 3.0, urgency: Urgency::Ticket },
    Rule { long: 10, short: 120, burn: 1.0, urgency: Urgency::Ticket },
];

/// How fast the budget burns over a long and a short window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Burn {
    /// Minutes.
    pub long_min: u64,
    /// Minutes.
    pub short_min: u64,
    /// How many times faster than it may, over the long one.
    pub long: f64,
    /// The same over the short one.
    pub short: f64,
    /// From where on it is too fast.
    pub limit: f64,
    /// How urgent that is.
    pub urgency: Urgency,
    /// Whether it is too fast in both.
    pub holds: bool,
}

/// How an objective stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// What was counted in its window.
    pub counts: Counts,
    /// The share that was good; 1 where nothing was counted.
    pub good: f64,
    /// The share of the budget that is left: 1 is all of it, below 0 the promise is broken.
    pub left: f64,
    /// How fast it burns.
    pub burns: [Burn; 4],
}

impl Standing {
    /// The most urgent that holds.
    pub fn urgency(&self) -> Option<Urgency> {
        self.burns.iter().filter(|burn| burn.holds).map(|burn| burn.urgency).max()
    }
}

impl Objective {
    /// How it stands at a minute since the Unix epoch.
    pub fn standing(&self, history: &History, now_min: u64) -> Standing {
        let counts = history.sum(now_min, self.window_min);
        let burns = RULES.map(|rule| {
            let [long_min, short_min] =
                [rule.long, rule.short].map(|part| (self.window_min / part).max(SHORTEST_MIN));
            let (in_long, in_short) = (history.sum(now_min, long_min), history.sum(now_min, short_min));
            let (long, short) = (self.burn(in_long), self.burn(in_short));
            let holds = long > rule.burn && short > rule.burn && in_long.total >= FEWEST;
            Burn { long_min, short_min, long, short, limit: rule.burn, urgency: rule.urgency, holds }
        });
        Standing { counts, good: 1.0 - counts.bad_share(), left: 1.0 - self.burn(counts), burns }
    }

    /// How many times faster than it may the budget burns: 1 uses it up in just its window.
    fn burn(&self, counts: Counts) -> f64 {
        counts.bad_share() / (1.0 - self.share)
    }

    /// What is left of the budget after each of so many parts of the window: the burn-down. `all` is what the whole window brought: the
    /// budget is a share of that.
    #[expect(clippy::cast_precision_loss, reason = "counts")]
    pub fn burn_down(&self, history: &History, now_min: u64, parts: u64) -> Vec<(u64, f64)> {
        let all = history.sum(now_min, self.window_min);
        let budget = all.total as f64 * (1.0 - self.share);
        let start = (now_min + 1).saturating_sub(self.window_min);
        let end_of = |part: u64| start + self.window_min * part / parts.max(1);
        let left = |part: u64| {
            let bad = history.between(start, end_of(part)).bad as f64;
            (end_of(part), if bad == 0.0 { 1.0 } else { 1.0 - bad / budget })
        };
        (1..=parts).map(left).collect()
    }
}
