//! Tells a busy peer from a hostile one. h2 bounds what a peer can make it hold; this bounds what a peer can
//! make it do: streams that are begun and reset at once (CVE-2023-44487), and frames that carry nothing
//! (PING, SETTINGS, PRIORITY, WINDOW_UPDATE, empty DATA). Pure.

use std::time::Instant;

use super::frames::Counts;
use crate::limits::Http2;

/// For so many bytes of answers a peer may send one frame that carries nothing: it gives windows back, and
/// clients of gRPC ask with pings how fast the line is.
const WRITTEN_PER_FRAME: u64 = 64;

/// What a peer did too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Excess {
    /// It resets most of the streams that it begins.
    Resets,
    /// It sends frames that carry nothing.
    Chatter,
}

/// What a peer did since the window began.
#[derive(Debug)]
pub(super) struct Calm {
    since: Instant,
    begun: u32,
    reset: u32,
    /// What had come and gone when it began.
    frames: Counts,
    written: u64,
}

impl Calm {
    pub(super) fn new(now: Instant) -> Self {
        Self { since: now, begun: 0, reset: 0, frames: Counts::default(), written: 0 }
    }

    /// A stream was begun.
    pub(super) fn began(&mut self) {
        self.begun += 1;
    }

    /// The peer reset a stream before it was answered whole.
    pub(super) fn reset(&mut self) {
        self.reset += 1;
    }

    /// Whether it is too much, now that so many frames have come and so many bytes were written in all.
    pub(super) fn judge(
        &mut self,
        now: Instant,
        frames: Counts,
        written: u64,
        limits: &Http2,
    ) -> Option<Excess> {
        // Somebody who types ahead in a search box resets many, but not hundreds, and not most of them.
        if self.reset > limits.resets && self.reset.saturating_mul(2) > self.begun {
            return Some(Excess::Resets);
        }
        let (idle, useful) = (frames.idle - self.frames.idle, frames.useful - self.frames.useful);
        let allowed = limits.chatter + useful + (written - self.written) / WRITTEN_PER_FRAME;
        if idle > allowed {
            return Some(Excess::Chatter);
        }
        if now.saturating_duration_since(self.since) > limits.calm_window {
            *self = Self { since: now, begun: 0, reset: 0, frames, written };
        }
        None
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

    fn idle(idle: u64) -> Counts {
        Counts { idle, useful: 0 }
    }

    #[test]
    fn many_resets_are_too_many_only_where_they_are_most_of_the_streams() {
        let now = Instant::now();
        let mut calm = Calm::new(now);
        for _ in 0..11 {
            calm.began();
            calm.reset();
        }
        assert_eq!(calm.judge(now, Counts::default(), 0, &limits()), Some(Excess::Resets));
        (0..11).for_each(|_| calm.began());
        assert_eq!(calm.judge(now, Counts::default(), 0, &limits()), None);
    }

    #[test]
    fn the_past_is_forgotten_with_its_window() {
        let now = Instant::now();
        let mut calm = Calm::new(now);
        (0..10).for_each(|_| calm.reset());
        let later = now + limits().calm_window + Duration::from_millis(1);
        assert_eq!(calm.judge(later, idle(1000), 0, &limits()), None);
        (0..10).for_each(|_| calm.reset());
        assert_eq!(calm.judge(later, idle(2000), 0, &limits()), None);
        assert_eq!(calm.judge(later, idle(2001), 0, &limits()), Some(Excess::Chatter));
    }

    #[test]
    fn frames_that_carry_nothing_are_chatter_beyond_what_others_explain() {
        let now = Instant::now();
        let mut calm = Calm::new(now);
        assert_eq!(calm.judge(now, idle(1000), 0, &limits()), None);
        assert_eq!(calm.judge(now, idle(1001), 0, &limits()), Some(Excess::Chatter));
        assert_eq!(calm.judge(now, idle(2000), 64_000, &limits()), None);
        assert_eq!(calm.judge(now, Counts { idle: 2000, useful: 1000 }, 0, &limits()), None);
    }

    proptest! {
        /// Whoever sends heads and bodies, and as much beside them, is never taken for hostile.
        #[test]
        fn who_sends_something_is_not_hostile(steps in proptest::collection::vec(0u64..2000, 0..200)) {
            let now = Instant::now();
            let mut calm = Calm::new(now);
            let mut counts = Counts::default();
            for (step, frames) in steps.into_iter().enumerate() {
                counts.useful += frames;
                counts.idle += frames;
                let at = now + Duration::from_secs(step as u64);
                prop_assert_eq!(calm.judge(at, counts, 0, &limits()), None);
            }
        }
    }
}
