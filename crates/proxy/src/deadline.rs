//! Until when an answer is of use.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::Instant;

/// The deadline of one exchange. What the route allows counts from the last byte of the request: a service owes
/// no answer before that. What the caller allows counts from the head, whatever its body does.
#[derive(Debug)]
pub(crate) struct Deadline {
    own: Cell<Instant>,
    allowed: Duration,
    asked: Option<Instant>,
}

impl Deadline {
    /// `allowed` by the route, `asked` by whoever called.
    pub(crate) fn new(start: Instant, allowed: Duration, asked: Option<Duration>) -> Self {
        Self { own: Cell::new(start + allowed), allowed, asked: asked.map(|asked| start + asked) }
    }

    /// The same for a call in its stead, which begins now.
    pub(crate) fn renewed(&self, now: Instant) -> Self {
        Self { own: Cell::new(now + self.allowed), allowed: self.allowed, asked: self.asked }
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

    /// The client has sent some of its body.
    pub(crate) fn client_sent_at(&self, last: Instant) {
        self.own.set(self.own.get().max(last + self.allowed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearer_of_both_holds_and_only_our_own_waits_for_the_body() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let own = Deadline::new(start, second, None);
        assert_eq!(own.at(), start + second);
        own.client_sent_at(start + second);
        assert_eq!(own.at(), start + 2 * second);
        let asked = Deadline::new(start, 3 * second, Some(second));
        asked.client_sent_at(start + second);
        assert!(asked.is_hurried() && !own.is_hurried());
        assert_eq!(asked.left(start), second);
        assert_eq!(asked.left(start + 2 * second), Duration::ZERO);
        assert_eq!(asked.renewed(start + second).at(), start + second);
    }
}
