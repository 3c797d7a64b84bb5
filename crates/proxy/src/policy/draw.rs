//! What chance decides: whether a share of requests includes this one, which side of a split it goes to.
//! Randomness comes in as a number; [`Dice`] makes such numbers, one per thread.

use std::cell::Cell;

use kit::units::Share;

/// A thread's random numbers (SplitMix64, Steele et al., 2014): for balance and jitter, not for secrets.
#[derive(Debug)]
pub struct Dice(Cell<u64>);

impl Dice {
    /// Numbers that follow from `seed`.
    pub fn new(seed: u64) -> Self {
        Self(Cell::new(seed))
    }

    /// The next number: all 64 bits are as good as each other.
    #[inline]
    pub fn roll(&self) -> u64 {
        self.0.set(self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15));
        mix(self.0.get())
    }
}

/// Scatters: each bit of the result depends on all of `x`.
#[inline]
pub fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A number from 0 to below 1.
#[inline]
pub fn fraction(random: u64) -> f64 {
    (random >> 11) as f64 / (1u64 << 53) as f64
}

/// A number below `count`, which is not zero.
#[inline]
pub fn below(count: usize, random: u32) -> usize {
    ((count as u64 * u64::from(random)) >> 32) as usize
}

/// Whether this one belongs to the share: for mirrors and faults.
#[inline]
pub fn is_in(share: Share, random: u64) -> bool {
    millionths(random) < share.millionths()
}

/// Which of the splits takes a request: `shares` are those whose conditions it meets, in the order of the file,
/// each with its number. They share one draw, so that 10 % and 20 % leave 70 % to the service itself; what goes
/// beyond all is not given. `None`: the service itself.
pub fn split(shares: impl IntoIterator<Item = (usize, Share)>, random: u64) -> Option<usize> {
    let drawn = millionths(random);
    let mut sum = 0u32;
    for (which, share) in shares {
        sum = sum.saturating_add(share.millionths());
        if drawn < sum {
            return Some(which);
        }
    }
    None
}

fn millionths(random: u64) -> u32 {
    ((u128::from(random) * 1_000_000) >> 64) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn shares_come_out_as_declared() {
        let dice = Dice::new(1);
        let shares = [(0, Share::percent(10)), (1, Share::percent(20))];
        let mut counts = [0u32; 3];
        for _ in 0..100_000 {
            counts[split(shares, dice.roll()).unwrap_or(2)] += 1;
        }
        assert!((9_500..10_500).contains(&counts[0]), "{counts:?}");
        assert!((19_500..20_500).contains(&counts[1]), "{counts:?}");
        let hits = (0..100_000).filter(|_| is_in("0.5%".parse().unwrap(), dice.roll())).count();
        assert!((400..600).contains(&hits), "{hits}");
    }

    #[test]
    fn splits_beyond_all_give_what_is_left() {
        let shares = [(0, Share::percent(80)), (1, Share::ALL)];
        assert_eq!(split(shares, u64::MAX), Some(1));
        assert_eq!(split(shares, 0), Some(0));
        assert_eq!(split([], 0), None);
    }

    proptest! {
        #[test]
        fn all_is_always_and_nothing_is_never(random: u64, count in 1usize..1000) {
            prop_assert!(is_in(Share::ALL, random) && !is_in(Share::NONE, random));
            prop_assert!((0.0..1.0).contains(&fraction(random)));
            prop_assert!(below(count, random as u32) < count);
        }
    }
}
