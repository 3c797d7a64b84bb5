//! A set of sequences that costs next to nothing while it is in one piece: five million messages that wait are a
//! hundred runs.

use std::collections::VecDeque;

/// A set of sequences: chunks of 64 Ki, each a list of runs, or a bitmap where that gets ragged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SeqSet {
    /// By the upper 48 bits, in order. None is empty.
    chunks: VecDeque<(u64, Chunk)>,
    len: u64,
}

/// Runs of one chunk before it becomes a bitmap, which has the size of so many runs.
const MOST_RUNS: usize = 2048;
const WORDS: usize = 1024;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Chunk {
    /// First and last of each run, in order, with gaps between.
    Runs(Vec<(u16, u16)>),
    Bits(Box<[u64; WORDS]>),
}

const fn split(seq: u64) -> (u64, u16) {
    (seq >> 16, (seq & 0xffff) as u16)
}

impl SeqSet {
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds one; whether it is new.
    pub(crate) fn insert(&mut self, seq: u64) -> bool {
        let (high, low) = split(seq);
        let at = match self.chunks.back() {
            Some((last, _)) if *last == high => self.chunks.len() - 1,
            _ => match self.chunks.binary_search_by_key(&high, |(key, _)| *key) {
                Ok(at) => at,
                Err(at) => {
                    self.chunks.insert(at, (high, Chunk::Runs(Vec::with_capacity(1))));
                    at
                }
            },
        };
        let new = self.chunks[at].1.insert(low);
        self.len += u64::from(new);
        new
    }

    /// Removes one; whether it was there.
    pub(crate) fn remove(&mut self, seq: u64) -> bool {
        let (high, low) = split(seq);
        let Ok(at) = self.chunks.binary_search_by_key(&high, |(key, _)| *key) else { return false };
        if !self.chunks[at].1.remove(low) {
            return false;
        }
        self.len -= 1;
        if self.chunks[at].1.is_empty() {
            self.chunks.remove(at);
        }
        true
    }

    pub(crate) fn contains(&self, seq: u64) -> bool {
        let (high, low) = split(seq);
        self.chunks
            .binary_search_by_key(&high, |(key, _)| *key)
            .is_ok_and(|at| self.chunks[at].1.contains(low))
    }

    pub(crate) fn first(&self) -> Option<u64> {
        let (high, chunk) = self.chunks.front()?;
        Some(high << 16 | u64::from(chunk.first()?))
    }

    pub(crate) fn pop_first(&mut self) -> Option<u64> {
        let (high, chunk) = self.chunks.front_mut()?;
        let low = chunk.first()?;
        let seq = *high << 16 | u64::from(low);
        chunk.remove(low);
        if chunk.is_empty() {
            self.chunks.pop_front();
        }
        self.len -= 1;
        Some(seq)
    }

    /// Takes out all that are below `end`.
    pub(crate) fn take_below(&mut self, end: u64) -> Self {
        let (high, low) = split(end);
        let mut taken = Self::default();
        while self.chunks.front().is_some_and(|(key, _)| *key < high) {
            if let Some((key, chunk)) = self.chunks.pop_front() {
                let len = chunk.len();
                self.len -= len;
                taken.len += len;
                taken.chunks.push_back((key, chunk));
            }
        }
        if self.chunks.front().is_some_and(|(key, _)| *key == high) && low > 0 {
            while let Some(seq) = self.first().filter(|seq| *seq < end) {
                self.remove(seq);
                taken.insert(seq);
            }
        }
        taken
    }

    /// Adds all of another set.
    pub(crate) fn add_all(&mut self, other: Self) {
        if self.is_empty() {
            *self = other;
            return;
        }
        for seq in other.iter() {
            self.insert(seq);
        }
    }

    #[cfg(test)]
    pub(crate) fn chunks(&self) -> usize {
        self.chunks.len()
    }

    /// All of them, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.chunks.iter().flat_map(|(high, chunk)| {
            let base = high << 16;
            chunk.iter().map(move |low| base | u64::from(low))
        })
    }
}

impl Chunk {
    fn is_empty(&self) -> bool {
        match self {
            Self::Runs(runs) => runs.is_empty(),
            Self::Bits(words) => words.iter().all(|word| *word == 0),
        }
    }

    fn len(&self) -> u64 {
        match self {
            Self::Runs(runs) => runs.iter().map(|(from, to)| u64::from(to - from) + 1).sum(),
            Self::Bits(words) => words.iter().map(|word| u64::from(word.count_ones())).sum(),
        }
    }

    fn first(&self) -> Option<u16> {
        match self {
            Self::Runs(runs) => runs.first().map(|(from, _)| *from),
            Self::Bits(words) => {
                let at = words.iter().position(|word| *word != 0)?;
                Some((at * 64) as u16 + words[at].trailing_zeros() as u16)
            }
        }
    }

    fn contains(&self, low: u16) -> bool {
        match self {
            Self::Runs(runs) => {
                let after = runs.partition_point(|(from, _)| *from <= low);
                after > 0 && runs[after - 1].1 >= low
            }
            Self::Bits(words) => words[usize::from(low) / 64] & 1 << (low % 64) != 0,
        }
    }

    fn insert(&mut self, low: u16) -> bool {
        let runs = match self {
            Self::Runs(runs) => runs,
            Self::Bits(words) => {
                let word = &mut words[usize::from(low) / 64];
                let new = *word & 1 << (low % 64) == 0;
                *word |= 1 << (low % 64);
                return new;
            }
        };
        let after = runs.partition_point(|(from, _)| *from <= low);
        if after > 0 && runs[after - 1].1 >= low {
            return false;
        }
        let joins_before = after > 0 && runs[after - 1].1 + 1 == low;
        let joins_behind = runs.get(after).is_some_and(|(from, _)| low < u16::MAX && *from == low + 1);
        match (joins_before, joins_behind) {
            (true, true) => {
                runs[after - 1].1 = runs[after].1;
                runs.remove(after);
            }
            (true, false) => runs[after - 1].1 = low,
            (false, true) => runs[after].0 = low,
            (false, false) => runs.insert(after, (low, low)),
        }
        if runs.len() > MOST_RUNS {
            let mut words = Box::new([0; WORDS]);
            for low in self.iter() {
                words[usize::from(low) / 64] |= 1 << (low % 64);
            }
            *self = Self::Bits(words);
        }
        true
    }

    fn remove(&mut self, low: u16) -> bool {
        let runs = match self {
            Self::Runs(runs) => runs,
            Self::Bits(words) => {
                let word = &mut words[usize::from(low) / 64];
                let was = *word & 1 << (low % 64) != 0;
                *word &= !(1 << (low % 64));
                return was;
            }
        };
        let after = runs.partition_point(|(from, _)| *from <= low);
        if after == 0 || runs[after - 1].1 < low {
            return false;
        }
        let (from, to) = runs[after - 1];
        match (from == low, to == low) {
            (true, true) => {
                runs.remove(after - 1);
            }
            (true, false) => runs[after - 1].0 += 1,
            (false, true) => runs[after - 1].1 -= 1,
            (false, false) => {
                runs[after - 1].1 = low - 1;
                runs.insert(after, (low + 1, to));
            }
        }
        true
    }

    fn iter(&self) -> Box<dyn Iterator<Item = u16> + '_> {
        match self {
            Self::Runs(runs) => Box::new(runs.iter().flat_map(|(from, to)| *from..=*to)),
            Self::Bits(words) => Box::new(words.iter().enumerate().flat_map(|(at, word)| {
                let word = *word;
                (0..64u16).filter(move |bit| word & 1 << bit != 0).map(move |bit| (at * 64) as u16 + bit)
            })),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Act {
        Insert(u64),
        Remove(u64),
        PopFirst,
        TakeBelow(u64),
        InsertEverySecondOf(u64),
    }

    fn act() -> impl Strategy<Value = Act> {
        let near = prop_oneof![0u64..300, 65_400u64..65_700, 131_000u64..131_200];
        prop_oneof![
            6 => near.clone().prop_map(Act::Insert),
            4 => near.clone().prop_map(Act::Remove),
            2 => Just(Act::PopFirst),
            1 => near.prop_map(Act::TakeBelow),
            1 => (0u64..3).prop_map(|chunk| Act::InsertEverySecondOf(chunk << 16)),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]
        #[test]
        fn a_set_of_sequences_is_a_set(acts in proptest::collection::vec(act(), 1..120)) {
            let (mut set, mut model) = (SeqSet::default(), BTreeSet::new());
            for act in acts {
                match act {
                    Act::Insert(seq) => prop_assert_eq!(set.insert(seq), model.insert(seq)),
                    Act::Remove(seq) => prop_assert_eq!(set.remove(seq), model.remove(&seq)),
                    Act::PopFirst => prop_assert_eq!(set.pop_first(), model.pop_first()),
                    Act::TakeBelow(end) => {
                        let rest = model.split_off(&end);
                        let below = std::mem::replace(&mut model, rest);
                        let taken = set.take_below(end);
                        prop_assert_eq!(taken.len(), below.len() as u64);
                        prop_assert!(taken.iter().eq(below.iter().copied()));
                    }
                    Act::InsertEverySecondOf(base) => for seq in (base..base + 5000).step_by(2) {
                        set.insert(seq);
                        model.insert(seq);
                    },
                }
                prop_assert_eq!(set.len(), model.len() as u64);
                prop_assert_eq!(set.first(), model.first().copied());
            }
            prop_assert!(set.iter().eq(model.iter().copied()));
            prop_assert!(model.iter().all(|seq| set.contains(*seq)));
        }
    }

    #[test]
    fn millions_in_one_piece_are_a_hundred_runs() {
        let mut set = SeqSet::default();
        (1..=5_000_000).for_each(|seq| assert!(set.insert(seq)));
        assert!(
            set.chunks.len() < 100
                && set.chunks.iter().all(|(_, chunk)| matches!(chunk, Chunk::Runs(runs) if runs.len() == 1))
        );
    }
}
