//! What is known of tokens: a table of sets of eight, of a fixed size. One per thread, so there is no lock, and
//! a token that many requests bring at once is checked once per thread: a check runs to its end before the
//! thread looks at the next request.

use kit::clock::Timestamp;

use super::fingerprint::Fingerprint;

/// Places of a set. With two, tokens that share a set kept pushing each other out, at one signature each.
pub(crate) const WAYS: usize = 8;

/// A table of `V` by token. When a set is full, the one that was not asked for longest goes.
pub(crate) struct Cache<V> {
    sets: Box<[Set<V>]>,
    /// Counts up with every use.
    tick: u32,
}

struct Set<V> {
    /// A part of each name, close together: a look at them finds the place.
    marks: [u32; WAYS],
    used: [u32; WAYS],
    entries: [Option<Entry<V>>; WAYS],
}

struct Entry<V> {
    name: Fingerprint,
    generation: u64,
    until: Timestamp,
    value: V,
}

impl<V> Cache<V> {
    /// A table with room for `size` tokens, rounded up to a power of two and at least one set.
    pub(crate) fn new(size: usize) -> Self {
        let sets = size.div_ceil(WAYS).next_power_of_two();
        let empty = || Set { marks: [0; WAYS], used: [0; WAYS], entries: [const { None }; WAYS] };
        Self { sets: (0..sets).map(|_| empty()).collect(), tick: 0 }
    }

    /// What is known of a token under these keys; nothing any more from `until` on.
    pub(crate) fn get(&mut self, name: &Fingerprint, generation: u64, now: Timestamp) -> Option<&V> {
        self.tick = self.tick.wrapping_add(1);
        let tick = self.tick;
        let (set, mark) = self.set(name);
        let mut ways = 0..WAYS;
        let way = ways.find(|way| {
            set.marks[*way] == mark
                && set.entries[*way].as_ref().is_some_and(|e| e.generation == generation && e.name == *name)
        })?;
        if set.entries[way].as_ref().is_some_and(|entry| now >= entry.until) {
            set.entries[way] = None;
            return None;
        }
        set.used[way] = tick;
        set.entries[way].as_ref().map(|entry| &entry.value)
    }

    /// Keeps what is known of a token until `until`.
    pub(crate) fn put(
        &mut self,
        name: Fingerprint,
        generation: u64,
        until: Timestamp,
        value: V,
        now: Timestamp,
    ) {
        self.tick = self.tick.wrapping_add(1);
        let tick = self.tick;
        let (set, mark) = self.set(&name);
        let way = set.room(&name, generation, now, tick);
        set.marks[way] = mark;
        set.used[way] = tick;
        set.entries[way] = Some(Entry { name, generation, until, value });
    }

    fn set(&mut self, name: &Fingerprint) -> (&mut Set<V>, u32) {
        let mixed = name.mixed();
        let index = (mixed >> 32) as usize & (self.sets.len() - 1);
        (&mut self.sets[index], mixed as u32)
    }
}

impl<V> Set<V> {
    /// The place for a token: its own, a free one, one that has run out, else the one longest unused.
    fn room(&self, name: &Fingerprint, generation: u64, now: Timestamp, tick: u32) -> usize {
        let mut best = (0, 0); // how good, which
        for (way, entry) in self.entries.iter().enumerate() {
            let good = match entry {
                Some(entry) if entry.name == *name && entry.generation == generation => return way,
                None => u64::MAX,
                Some(entry) if now >= entry.until => u64::MAX - 1,
                Some(_) => u64::from(tick.wrapping_sub(self.used[way])),
            };
            best = best.max((good, way));
        }
        best.1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn at(second: u64) -> Timestamp {
        Timestamp::from_micros(second * 1_000_000)
    }

    fn token(n: u32) -> Fingerprint {
        Fingerprint::of(format!("token {n}").as_bytes())
    }

    #[test]
    fn what_was_put_is_found_until_its_time_and_under_its_keys_only() {
        let mut cache = Cache::new(64);
        cache.put(token(1), 7, at(10), "one", at(0));
        assert_eq!(cache.get(&token(1), 7, at(9)), Some(&"one"));
        assert_eq!(cache.get(&token(2), 7, at(9)), None);
        assert_eq!(cache.get(&token(1), 8, at(9)), None);
        assert_eq!(cache.get(&token(1), 7, at(10)), None);
        assert_eq!(cache.get(&token(1), 7, at(9)), None, "what has run out is gone");
    }

    #[test]
    fn the_one_longest_unused_makes_room() {
        let mut cache = Cache::new(WAYS); // one set
        for n in 0..WAYS as u32 {
            cache.put(token(n), 1, at(100), n, at(0));
        }
        assert!(cache.get(&token(0), 1, at(0)).is_some());
        cache.put(token(100), 1, at(100), 100, at(0));
        assert!(cache.get(&token(0), 1, at(0)).is_some());
        assert!(cache.get(&token(1), 1, at(0)).is_none());
        assert!(cache.get(&token(100), 1, at(0)).is_some());
    }

    #[test]
    fn a_table_holds_nearly_as_many_as_it_has_places() {
        let mut cache = Cache::new(4096);
        let wanted = 2048;
        for n in 0..wanted {
            cache.put(token(n), 1, at(100), n, at(0));
        }
        let held = (0..wanted).filter(|n| cache.get(&token(*n), 1, at(0)).is_some()).count();
        assert!(held > 2000, "{held} of {wanted}"); // in the mean 2,035: sets are half full
    }

    proptest! {
        /// Whatever is found is what was put last, under the same keys, and has not run out.
        #[test]
        fn it_never_says_what_was_not_put(
            steps in prop::collection::vec((0..40_u32, 0..2_u64, 0..20_u64, any::<bool>()), 0..400)
        ) {
            let mut cache = Cache::new(16);
            let mut told = HashMap::new();
            for (now, (n, generation, life, put)) in steps.into_iter().enumerate() {
                let now = now as u64;
                if put {
                    cache.put(token(n), generation, at(now + life), now, at(now));
                    told.insert((n, generation), (now + life, now));
                } else if let Some(found) = cache.get(&token(n), generation, at(now)) {
                    let (until, value) = told[&(n, generation)];
                    prop_assert_eq!(*found, value);
                    prop_assert!(now < until);
                }
            }
        }
    }
}
