//! Tells a busy peer from a hostile one. h2 bounds what a peer can make it hold; this bounds what a peer can
//! make it do: streams that are begun and reset at once (CVE-2023-44487), and frames that carry nothing
//! (PING, SETTINGS, PRIORITY, WINDOW_UPDATE, empty DATA, heads that are refused). Pure.

use std::time::Instant;

use crate::limits::Http2;

/// What a peer did too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Excess {
    /// It resets most of the streams that it begins.
    Resets,
    /// It sends what serves no stream.
    Chatter,
}

/// What a peer did since the window began.
#[derive(Debug)]
pub(super) struct Calm {
    since: Instant,
    begun: u32,
    reset: u32,
    /// Bytes that had moved when it began.
    read: u64,
    written: u64,
    /// Bytes of heads and bodies since then.
    useful: u64,
}

impl Calm {
    pub(super) fn new(now: Instant) -> Self {
        Self { since: now, begun: 0, reset: 0, read: 0, written: 0, useful: 0 }
    }

    /// A stream was begun, with a head of so many bytes.
    pub(super) fn began(&mut self, bytes: u64) {
        self.begun += 1;
        self.useful(bytes);
    }

    /// Bytes of a body came, in one frame.
    pub(super) fn useful(&mut self, bytes: u64) {
        const FRAME_HEAD: u64 = 9;
        self.useful += bytes + FRAME_HEAD;
    }

    /// The peer reset a stream before it was answered.
    pub(super) fn reset(&mut self) {
        self.reset += 1;
    }

    /// Whether it is too much, now that so many bytes have been read and written in all.
    pub(super) fn judge(&mut self, now: Instant, read: u64, written: u64, limits: &Http2) -> Option<Excess> {
        if now.saturating_duration_since(self.since) > limits.calm_window {
            *self = Self { since: now, begun: 0, reset: 0, read, written, useful: 0 };
            return None;
        }
        // Somebody who types ahead in a search box resets many, but not hundreds, and not most of them.
        if self.reset > limits.resets && self.reset.saturating_mul(2) > self.begun {
            return Some(Excess::Resets);
        }
        // Reading answers takes window updates: some bytes per frame of ours.
        let (read, written) = (read - self.read, written - self.written);
        let allowed = limits.chatter + 2 * self.useful + written / 2;
        (read > allowed).then_some(Excess::Chatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn limits() -> Http2 {
        Http2 { resets: 10, chatter: 1000, ..Http2::default() }
    }

    #[test]
    fn many_resets_are_too_many_only_where_they_are_most_of_the_streams() {
        let now = Instant::now();
        let mut calm = Calm::new(now);
        for _ in 0..11 {
            calm.began(50);
            calm.reset();
        }
        assert_eq!(calm.judge(now, 0, 0, &limits()), Some(Excess::Resets));
        for _ in 0..11 {
            calm.began(50);
        }
        assert_eq!(calm.judge(now, 0, 0, &limits()), None);
    }

    #[test]
    fn the_past_is_forgotten_with_its_window() {
        let now = Instant::now();
        let mut calm = Calm::new(now);
        (0..100).for_each(|_| calm.reset());
        let later = now + limits().calm_window + Duration::from_millis(1);
        assert_eq!(calm.judge(later, 0, 0, &limits()), None);
        assert_eq!(calm.judge(later, 0, 0, &limits()), None);
    }

    #[test]
    fn frames_that_carry_nothing_are_chatter_beyond_what_bodies_explain() {
        let now = Instant::now();
        let mut calm = Calm::new(now);
        assert_eq!(calm.judge(now, 1000, 0, &limits()), None);
        assert_eq!(calm.judge(now, 1001, 0, &limits()), Some(Excess::Chatter));
        assert_eq!(calm.judge(now, 2000, 2000, &limits()), None);
        calm.useful(100_000);
        assert_eq!(calm.judge(now, 100_000, 0, &limits()), None);
    }

    proptest! {
        /// Whoever sends bodies and heads, in frames however small, is never taken for hostile.
        #[test]
        fn bodies_are_never_chatter(frames in proptest::collection::vec(1u64..2000, 0..200)) {
            let now = Instant::now();
            let mut calm = Calm::new(now);
            let mut read = 0;
            for size in frames {
                calm.useful(size);
                read += size + 9;
                prop_assert_eq!(calm.judge(now, read, 0, &limits()), None);
            }
        }
    }
}
