//! Consistent hashing: the same key goes to the same instance for as long as that is there. By rendezvous (Thaler
//! and Ravishankar, 1996): each instance has a number for each key, and the highest wins. So an instance that comes
//! or goes moves only its own share of the keys, and there is no ring to keep. The work grows with the number
//! of instances.
//!
//! Loads are bounded (Mirrokni et al., "Consistent Hashing with Bounded Loads", 2017): where too much is under way
//! already, the key goes to its next choice.

use std::sync::Arc;

use registry::Endpoint;

use super::draw::mix;

/// An instance takes at most so many hundredths of the average load …
pub const BOUND: u64 = 125;
/// … but always so many requests at once: at little load a key stays where it belongs.
pub const ALWAYS: u64 = 8;

/// What a header, a cookie or an address is as a key. The same in every process, so that all nodes send a key to
/// the same instance.
pub fn key(bytes: &[u8]) -> u64 {
    let mut hash = 0x9ae1_6a3b_2f90_404fu64 ^ bytes.len() as u64;
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        hash = mix(hash ^ u64::from_le_bytes(word));
    }
    let mut word = [0; 8];
    for (to, from) in word.iter_mut().zip(chunks.remainder()) {
        *to = *from;
    }
    mix(hash ^ u64::from_le_bytes(word))
}

/// Where a key goes among those that are eligible.
pub fn choose(ready: &[Arc<Endpoint>], key: u64, is_eligible: impl Fn(usize) -> bool) -> Option<usize> {
    let (mut under_way, mut count) = (0u64, 0u64);
    let mut best: Option<(u64, usize)> = None;
    for (index, endpoint) in ready.iter().enumerate() {
        if !is_eligible(index) {
            continue;
        }
        under_way += u64::from(endpoint.in_flight());
        count += 1;
        best = best.max(Some((rank(endpoint, key), index)));
    }
    let (_, first) = best?;
    // What all would have, this request included, and some more; rounded up.
    let most = ((under_way + 1) * BOUND).div_ceil(count * 100).max(ALWAYS);
    let has_room = |index: usize| ready.get(index).is_some_and(|e| u64::from(e.in_flight()) < most);
    if has_room(first) {
        return Some(first);
    }
    let others = ready.iter().enumerate().filter(|(index, _)| is_eligible(*index) && has_room(*index));
    let next = others.map(|(index, endpoint)| (rank(endpoint, key), index)).max();
    Some(next.map_or(first, |(_, index)| index))
}

fn rank(endpoint: &Endpoint, key: u64) -> u64 {
    mix(endpoint.hash() ^ key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn endpoints(numbers: impl IntoIterator<Item = u16>) -> Vec<Arc<Endpoint>> {
        let endpoint = |n| Endpoint::new(format!("web-{n}#1").parse().unwrap(), ([127, 0, 0, 1], n).into());
        numbers.into_iter().map(|n| Arc::new(endpoint(n))).collect()
    }

    fn goes_to(ready: &[Arc<Endpoint>], n: u64) -> String {
        let index = choose(ready, key(format!("user-{n}").as_bytes()), |_| true).unwrap();
        ready[index].id().name()
    }

    #[test]
    fn keys_spread_evenly() {
        let ready = endpoints(1..=8);
        let mut counts = std::collections::BTreeMap::<_, u32>::new();
        for n in 0..16_000 {
            *counts.entry(goes_to(&ready, n)).or_default() += 1;
        }
        assert!(
            counts.len() == 8 && counts.values().all(|count| (1_800..2_200).contains(count)),
            "{counts:?}"
        );
    }

    #[test]
    fn a_key_that_everybody_asks_for_overflows_to_others_within_the_bound() {
        let ready = endpoints(1..=4);
        let mut leases = Vec::new();
        for _ in 0..1_000 {
            let index = choose(&ready, 42, |_| true).unwrap();
            leases.push(ready[index].acquire().unwrap());
        }
        for endpoint in &ready {
            assert!(endpoint.in_flight() <= 1_000 / 4 * 125 / 100 + 1, "{}", endpoint.in_flight());
        }
        drop(leases);
        let chosen = || choose(&ready, 42, |_| true).unwrap();
        let home = chosen();
        let mut few = Vec::new();
        for _ in 0..ALWAYS {
            assert_eq!(chosen(), home);
            few.push(ready[home].acquire().unwrap());
        }
    }

    #[test]
    fn keys_of_any_length_differ_in_every_byte() {
        let text = [7u8; 40];
        for length in 0..40 {
            assert_ne!(key(&text[..length]), key(&text[..length + 1]));
            let mut other = text;
            other[length] = 8;
            assert_ne!(key(&text), key(&other));
        }
        assert_ne!(key(b"a"), key(b"a\0"));
    }

    proptest! {
        #[test]
        fn only_the_keys_of_an_instance_that_goes_move(count in 2u16..20, gone in any::<prop::sample::Index>()) {
            const KEYS: u64 = 2_000;
            let gone = gone.index(usize::from(count)) as u16 + 1;
            let (all, fewer) = (endpoints(1..=count), endpoints((1..=count).filter(|n| *n != gone)));
            let mut moved = 0;
            for n in 0..KEYS {
                let (before, after) = (goes_to(&all, n), goes_to(&fewer, n));
                if before == format!("web-{gone}") {
                    moved += 1;
                } else {
                    prop_assert_eq!(before, after);
                }
            }
            let expected = KEYS / u64::from(count);
            prop_assert!(moved > expected / 2 && moved < expected * 3 / 2 + 30, "{} of {}", moved, expected);
        }
    }
}
