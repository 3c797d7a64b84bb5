//! Fields for h2 without memory of their own. Most of a head says what the last one said, so a thread keeps what
//! it has made and clones it; what is new every time shares a block of memory with others of its kind.

use std::cell::RefCell;

use bytes::BytesMut;
use http::{HeaderName, HeaderValue};

use crate::fields::Known;

/// Fields that a thread keeps.
const SLOTS: usize = 128;
/// Longest name and value of a field that is kept.
const LONGEST: usize = 128;
/// Bytes that fresh values share. A value keeps its block, so none that may be kept for long goes in here: h2 holds
/// what it lets its peer remember.
const BLOCK: usize = 2048;

/// A place for a field.
#[derive(Default)]
struct Slot {
    /// What was asked for last. A field is kept once it was asked for twice in a row: most of those that pass
    /// by but once would cost more than they save.
    asked: u64,
    kept: Option<(Known, HeaderName, HeaderValue)>,
}

thread_local! {
    static SLOTS_OF_THREAD: RefCell<[Slot; SLOTS]> = RefCell::new(std::array::from_fn(|_| Slot::default()));
    static BLOCK_OF_THREAD: RefCell<BytesMut> = RefCell::new(BytesMut::new());
}

/// A field whose value is likely to come again. `None`: it is none that may be sent.
pub(super) fn field(known: Known, name: &[u8], value: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    // What is secret lives no longer than its request.
    let secret = matches!(known, Known::Authorization | Known::Cookie);
    if secret || name.len() > LONGEST || value.len() > LONGEST {
        return make(known, name, value);
    }
    let hash = hash(name.len(), value);
    // Two that go to the same place would drive each other out all the time if each had but one.
    let (first, second) = ((hash >> 57) as usize % SLOTS, (hash >> 50) as usize % SLOTS);
    SLOTS_OF_THREAD.with_borrow_mut(|slots| {
        for at in [first, second] {
            if let Some((kept, kept_name, kept_value)) = &slots[at].kept
                && kept_value.as_bytes() == value
                && is_name(*kept, kept_name, known, name)
            {
                return Some((kept_name.clone(), kept_value.clone()));
            }
        }
        let made = make(known, name, value)?;
        let free = slots[first].kept.is_none() && [0, hash].contains(&slots[first].asked);
        let slot = &mut slots[if free { first } else { second }];
        if slot.asked == hash {
            slot.kept = Some((known, made.0.clone(), made.1.clone()));
        }
        slot.asked = hash;
        Some(made)
    })
}

/// A value that is another one every time. The peer is told not to remember it: it would only drive out of its
/// table what does come again (RFC 7541 §7.1.3 is about secrets, but says it in the same way).
pub(super) fn fresh(value: &[u8]) -> Option<HeaderValue> {
    let bytes = block(value);
    let mut value = HeaderValue::from_maybe_shared(bytes).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// A copy for something that lives as long as its request.
pub(super) fn block(text: &[u8]) -> bytes::Bytes {
    BLOCK_OF_THREAD.with_borrow_mut(|block| {
        if block.capacity() < text.len() {
            // If nobody has a part of the block any more, this is the same memory once more.
            block.reserve(BLOCK.max(text.len()));
        }
        block.extend_from_slice(text);
        block.split().freeze()
    })
}

fn is_name(kept: Known, kept_name: &HeaderName, known: Known, name: &[u8]) -> bool {
    if kept != known {
        return false;
    }
    let several = matches!(known, Known::Other | Known::Claim | Known::Ours | Known::Disguised);
    let kept = kept_name.as_str().as_bytes();
    !several || kept == name || kept.eq_ignore_ascii_case(name)
}

/// Its upper bits say most.
fn hash(name: usize, value: &[u8]) -> u64 {
    const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15; // 2^64 over the golden ratio
    let mut hash = (name as u64) << 32 | value.len() as u64;
    let mut words = value.chunks_exact(8);
    for word in &mut words {
        let word = word.try_into().map_or(0, u64::from_le_bytes);
        hash = (hash.rotate_left(5) ^ word).wrapping_mul(FACTOR);
    }
    for byte in words.remainder() {
        hash = hash << 8 ^ hash >> 56 ^ u64::from(*byte);
    }
    (hash.rotate_left(5)).wrapping_mul(FACTOR)
}

fn make(known: Known, name: &[u8], value: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let name = name_of(known).or_else(|| HeaderName::from_bytes(name).ok())?;
    Some((name, HeaderValue::from_bytes(value).ok()?))
}

/// Names that are in most heads, none of which has to be made.
pub(super) fn name_of(known: Known) -> Option<HeaderName> {
    Some(match known {
        Known::ContentLength => http::header::CONTENT_LENGTH,
        Known::ContentType => http::header::CONTENT_TYPE,
        Known::Te => http::header::TE,
        Known::Via => http::header::VIA,
        Known::Traceparent => const { HeaderName::from_static("traceparent") },
        Known::RequestId => const { HeaderName::from_static("x-request-id") },
        Known::RequestTimeout => const { HeaderName::from_static("x-request-timeout-ms") },
        Known::GrpcTimeout => const { HeaderName::from_static("grpc-timeout") },
        Known::ServerTiming => const { HeaderName::from_static("server-timing") },
        Known::ForwardedFor => const { HeaderName::from_static("x-forwarded-for") },
        Known::ForwardedHost => const { HeaderName::from_static("x-forwarded-host") },
        Known::ForwardedProto => const { HeaderName::from_static("x-forwarded-proto") },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn asked(name: &str, value: &str) -> (HeaderName, HeaderValue) {
        field(Known::of(name.as_bytes()), name.as_bytes(), value.as_bytes()).unwrap()
    }

    #[test]
    fn what_comes_again_is_not_made_again() {
        let made: Vec<_> =
            ["accept", "Accept", "accept"].map(|name| asked(name, "that comes again").1).into();
        let places: Vec<_> = made.iter().map(|value| value.as_bytes().as_ptr()).collect();
        assert_ne!(places[0], places[1]);
        assert_eq!(places[1], places[2]);
    }

    #[test]
    fn two_that_go_to_the_same_place_are_both_kept() {
        let place = |value: &str| hash(9, value.as_bytes()) >> 57;
        let values = (0..).map(|n| format!("value {n}"));
        let other = values.skip(1).find(|value| place(value) == place("value 0")).unwrap();
        let both = || ["value 0", &other].map(|value| asked("collision", value).1);
        (0..2).for_each(|_| drop(both()));
        let (once, again) = (both(), both()); // both alive: the same place is no coincidence
        for (once, again) in once.iter().zip(&again) {
            assert_eq!(once.as_bytes().as_ptr(), again.as_bytes().as_ptr());
        }
    }

    #[test]
    fn what_is_secret_is_not_kept() {
        for _ in 0..3 {
            let kept = asked("authorization", "Bearer of a secret");
            let again = asked("authorization", "Bearer of a secret");
            assert_ne!(kept.1.as_bytes().as_ptr(), again.1.as_bytes().as_ptr());
        }
    }

    #[test]
    fn what_may_not_be_sent_is_not() {
        assert!(field(Known::Other, b"a", b"x\r\ny").is_none());
        assert!(field(Known::Other, b"a b", b"x").is_none());
        assert!(fresh(b"x\n").is_none());
    }

    #[test]
    fn fresh_values_are_apart_though_they_share_memory() {
        let values: Vec<_> = (0..1000).map(|n| fresh(format!("value {n}").as_bytes()).unwrap()).collect();
        for (n, value) in values.iter().enumerate() {
            assert_eq!(value.as_bytes(), format!("value {n}").as_bytes());
            assert!(value.is_sensitive());
        }
        let long = "x".repeat(3 * BLOCK);
        assert_eq!(fresh(long.as_bytes()).unwrap(), long.as_str());
    }

    proptest! {
        #[test]
        fn a_field_is_what_was_asked_for(
            fields in proptest::collection::vec(("[aA]?[a-b]{1,2}|Via|x_real_ip|x-atoll-[ab]", "[ab]{0,18}"), 0..300)
        ) {
            for (name, value) in fields {
                let made = asked(&name, &value);
                prop_assert_eq!(made.0.as_str(), name.to_ascii_lowercase());
                prop_assert_eq!(made.1, value.as_str());
            }
        }
    }
}
