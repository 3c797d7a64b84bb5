//! Which of the ready endpoints may be used when some are ejected: never more than the ceiling are passed over, and
//! with too few left none is (the panic threshold). Pure, over what a snapshot says at one moment.

use kit::units::Share;
use registry::Moment;

/// A set of numbers of endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Eligible(Vec<bool>);

/// Those that may be used. `ejected` tells of each ready endpoint until when it is ejected, or
/// [`Moment::NEVER`]; `known` is how many instances there are, ready or not.
///
/// Of more ejected ones than the ceiling allows those are passed over that are ejected the longest: they did worst.
/// All threads come to the same result. If then fewer than the share `panic` of the known ones are left, all
/// ready ones are used.
pub fn after_ejections(
    ejected: impl Iterator<Item = Moment>,
    known: usize,
    ceiling: Share,
    panic: Share,
) -> Eligible {
    let mut worst_first: Vec<(Moment, usize)> = Vec::new();
    let mut ready = 0;
    for until in ejected {
        if until > Moment::NEVER {
            worst_first.push((until, ready));
        }
        ready += 1;
    }
    let mut eligible = Eligible(vec![true; ready]);
    let most = most_ejected(ready, ceiling).min(worst_first.len());
    if !panic.is_reached((ready - most) as u64, known.max(ready) as u64) {
        return eligible;
    }
    worst_first.sort_unstable_by(|one, other| other.cmp(one));
    for (_, index) in worst_first.into_iter().take(most) {
        if let Some(entry) = eligible.0.get_mut(index) {
            *entry = false;
        }
    }
    eligible
}

/// Of so many endpoints at most so many are passed over; never all of them.
pub fn most_ejected(ready: usize, ceiling: Share) -> usize {
    let share = ready as u64 * u64::from(ceiling.millionths()) / 1_000_000;
    (share as usize).min(ready.saturating_sub(1))
}

impl Eligible {
    /// Whether this one may be used.
    pub fn has(&self, index: usize) -> bool {
        self.0.get(index).copied().unwrap_or(false)
    }

    /// How many may be used; never zero where any was ready.
    pub fn count(&self) -> usize {
        self.0.iter().filter(|eligible| **eligible).count()
    }

    /// The number of the nth that may be used, from zero.
    pub fn nth(&self, n: usize) -> Option<usize> {
        self.0.iter().enumerate().filter(|(_, eligible)| **eligible).nth(n).map(|(index, _)| index)
    }

    /// Leaves out some, unless then none would be left.
    pub fn avoid(&mut self, is_avoided: impl Fn(usize) -> bool) {
        let is_left = |(index, eligible): (usize, &bool)| *eligible && !is_avoided(index);
        if !self.0.iter().enumerate().any(is_left) {
            return;
        }
        for (index, eligible) in self.0.iter_mut().enumerate() {
            *eligible = *eligible && !is_avoided(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn eligible(until: &[u64], known: usize, ceiling: u32, panic: u32) -> Vec<usize> {
        let ejected = until.iter().map(|nanos| Moment::from_nanos(*nanos));
        let eligible = after_ejections(ejected, known, Share::percent(ceiling), Share::percent(panic));
        (0..until.len()).filter(|index| eligible.has(*index)).collect()
    }

    #[test]
    fn beyond_the_ceiling_those_that_did_least_badly_are_used_all_the_same() {
        assert_eq!(eligible(&[0, 5, 9, 7], 4, 50, 0), [0, 1]);
        assert_eq!(eligible(&[0, 5, 9, 7], 4, 100, 0), [0]);
        assert_eq!(eligible(&[6, 5, 9, 7], 4, 100, 0), [1]);
        assert_eq!(eligible(&[6], 1, 100, 0), [0]);
        assert_eq!(eligible(&[0, 5, 0], 3, 10, 0), [0, 1, 2]);
    }

    #[test]
    fn with_too_few_left_all_are_used() {
        assert_eq!(eligible(&[0, 5, 9, 0], 4, 50, 50), [0, 3]);
        assert_eq!(eligible(&[0, 5, 9, 0], 5, 50, 50), [0, 1, 2, 3]);
        assert_eq!(eligible(&[0, 5, 9, 0], 4, 50, 51), [0, 1, 2, 3]);
    }

    #[test]
    fn who_is_avoided_is_used_if_there_is_no_other() {
        let mut some = after_ejections([Moment::NEVER; 3].into_iter(), 3, Share::ALL, Share::NONE);
        some.avoid(|index| index != 1);
        assert_eq!((some.count(), some.nth(0), some.nth(1)), (1, Some(1), None));
        some.avoid(|_| true);
        assert_eq!(some.nth(0), Some(1));
    }

    proptest! {
        #[test]
        fn never_more_than_the_ceiling_are_passed_over_and_never_one_that_is_fine(
            until in prop::collection::vec(0u64..5, 0..30),
            more in 0usize..5, ceiling in 0u32..=100, panic in 0u32..=100,
        ) {
            let usable = eligible(&until, until.len() + more, ceiling, panic);
            let passed_over = until.len() - usable.len();
            prop_assert!(passed_over * 100 <= until.len() * ceiling as usize);
            prop_assert!(usable.is_empty() == until.is_empty());
            for (index, until) in until.iter().enumerate() {
                prop_assert!(*until > 0 || usable.contains(&index));
            }
            if passed_over > 0 {
                prop_assert!(usable.len() * 100 >= (until.len() + more) * panic as usize);
            }
        }
    }
}
