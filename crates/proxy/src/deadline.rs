//! Until when an answer is of use.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::Instant;

use crate::limits::Limits;

/// The deadline of one exchange. What the route allows counts from the last byte of the request: a service owes
/// no answer before that, and the client has to send it at a least rate. What the caller allows counts from the head,
/// whatever its body does.
#[derive(Debug)]
pub(crate) struct Deadline {
    start: Instant,
    own: Cell<Instant>,
    allowed: Duration,
    asked: Option<Instant>,
    /// The client has sent less than it had to.
    slow: Cell<bool>,
}

impl Deadline {
    /// `allowed` by the route, `asked` by whoever called.
    pub(crate) fn new(start: Instant, allowed: Duration, asked: Option<Duration>) -> Self {
        let (own, slow) = (Cell::new(start + allowed), Cell::new(false));
        Self { start, own, allowed, asked: asked.map(|asked| start + asked), slow }
    }

    /// The same for a call in its stead, which begins now.
    pub(crate) fn renewed(&self, now: Instant) -> Self {
        Self { asked: self.asked, ..Self::new(now, self.allowed, None) }
    }

    /// When it is over.
    pub(crate) fn at(&self) -> Instant {
        self.asked.map_or(self.own.get(), |asked| asked.min(self.own.get()))
    }

    /// What is left.
    pub(crate) fn left(&self, now: Instant) -> Duration {
        self.at().saturating_duration_since(now)
    }

    /// What the route allows.
    pub(crate) fn allowed(&self) -> Duration {
        self.allowed
    }

    /// Whether whoever called allows less than the route.
    pub(crate) fn is_hurried(&self) -> bool {
        self.asked.is_some_and(|asked| asked < self.own.get())
    }

    /// The client has sent some of its body, or is waited for: so many bytes in all.
    pub(crate) fn client_sent_at(&self, last: Instant, bytes: u64, limits: &Limits) {
        let due = self.start + limits.body_slack + Duration::from_secs(bytes / limits.body_rate.max(1));
        self.slow.set(last > due);
        self.own.set(self.own.get().max(last.min(due) + self.allowed));
    }

    /// Whether it is over because the client takes too long to send its body.
    pub(crate) fn is_missed_by_client(&self, now: Instant) -> bool {
        self.slow.get() && self.own.get() <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_waited_for_as_long_as_it_comes_at_the_least_rate() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let limits = Limits { body_slack: 10 * second, body_rate: 1000, ..Limits::default() };
        let deadline = Deadline::new(start, second, None);
        deadline.client_sent_at(start + 10 * second, 0, &limits);
        assert_eq!(deadline.at(), start + 11 * second);
        deadline.client_sent_at(start + 12 * second, 2000, &limits);
        assert_eq!(deadline.at(), start + 13 * second);
        assert!(!deadline.is_missed_by_client(start + 13 * second), "it is the service that is late");
        for more in 13..20 {
            deadline.client_sent_at(start + more * second, 2001, &limits);
        }
        assert_eq!(deadline.at(), start + 13 * second);
        assert!(deadline.is_missed_by_client(start + 13 * second));
        // A call in its stead begins anew.
        assert!(!deadline.renewed(start + 13 * second).is_missed_by_client(start + 14 * second));
    }

    #[test]
    fn the_nearer_of_both_holds_and_only_our_own_waits_for_the_body() {
        let limits = Limits::default();
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let own = Deadline::new(start, second, None);
        assert_eq!(own.at(), start + second);
        own.client_sent_at(start + second, 0, &limits);
        assert_eq!(own.at(), start + 2 * second);
        let asked = Deadline::new(start, 3 * second, Some(second));
        asked.client_sent_at(start + second, 0, &limits);
        assert!(asked.is_hurried() && !own.is_hurried());
        assert_eq!(asked.left(start), second);
        assert_eq!(asked.left(start + 2 * second), Duration::ZERO);
        assert_eq!(asked.renewed(start + second).at(), start + second);
    }
}
