//! Signing keys, and a bounded cache of them: deriving one costs as much as all the rest of a verification.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

use ring::hmac;

use crate::credentials::Secret;

/// What ends every scope.
pub(super) const TERMINATOR: &str = "aws4_request";

/// Derives the key that requests of one day to one service in one region are signed with.
pub(super) fn signing_key(secret: &Secret, day: &[u8], region: &str, service: &str) -> hmac::Key {
    let mut seed = Vec::with_capacity(4 + secret.expose().len());
    seed.extend_from_slice(b"AWS4");
    seed.extend_from_slice(secret.expose().as_bytes());
    let mut key = hmac::Key::new(hmac::HMAC_SHA256, &seed);
    seed.fill(0);
    std::hint::black_box(&seed); // the secret is not left in freed memory
    for part in [day, region.as_bytes(), service.as_bytes(), TERMINATOR.as_bytes()] {
        key = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part).as_ref());
    }
    key
}

/// How many sets the cache has.
const SETS: usize = 256;
/// How many keys a set holds.
const WAYS: usize = 4;

/// Derived keys, at most [`SigningKeys::MOST`].
pub(super) struct SigningKeys {
    sets: Box<[Mutex<Set>]>,
    hasher: RandomState,
}

#[derive(Default)]
struct Set {
    entries: Vec<Entry>,
    next: usize,
}

struct Entry {
    access_key: Box<str>,
    day: [u8; 8],
    region: Box<str>,
    service: Box<str>,
    /// What it was derived from: a key id whose secret has changed is derived anew.
    secret: Secret,
    key: Arc<hmac::Key>,
}

impl SigningKeys {
    /// The most keys that it holds.
    pub(super) const MOST: usize = SETS * WAYS;

    pub(super) fn new() -> Self {
        Self { sets: (0..SETS).map(|_| Mutex::default()).collect(), hasher: RandomState::new() }
    }

    /// The key, if it is here.
    pub(super) fn find(
        &self,
        access_key: &str,
        secret: &Secret,
        day: [u8; 8],
        region: &str,
        service: &str,
    ) -> Option<Arc<hmac::Key>> {
        let set = self.set(access_key, day, region, service);
        let set = set.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |entry: &&Entry| {
            entry.day == day
                && *entry.access_key == *access_key
                && *entry.region == *region
                && *entry.service == *service
                && entry.secret.is_same(secret)
        };
        set.entries.iter().find(same).map(|entry| Arc::clone(&entry.key))
    }

    /// Keeps a key. To be called for requests that were found good only, so that nobody without a key can
    /// push out those of others.
    pub(super) fn keep(
        &self,
        access_key: &str,
        secret: &Secret,
        day: [u8; 8],
        region: &str,
        service: &str,
        key: Arc<hmac::Key>,
    ) {
        let entry = Entry {
            access_key: access_key.into(),
            day,
            region: region.into(),
            service: service.into(),
            secret: secret.clone(),
            key,
        };
        let set = self.set(access_key, day, region, service);
        let mut set = set.lock().unwrap_or_else(PoisonError::into_inner);
        if set.entries.len() < WAYS {
            set.entries.push(entry);
            return;
        }
        let at = set.next % WAYS;
        set.next = (at + 1) % WAYS;
        if let Some(place) = set.entries.get_mut(at) {
            *place = entry;
        }
    }

    fn set(&self, access_key: &str, day: [u8; 8], region: &str, service: &str) -> &Mutex<Set> {
        let hash = self.hasher.hash_one((access_key, day, region, service));
        &self.sets[hash as usize % SETS]
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.sets.iter().map(|set| set.lock().unwrap().entries.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::hex32;

    #[test]
    fn the_key_of_the_example_in_the_documentation() {
        let secret = Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
        let key = signing_key(&secret, b"20150830", "us-east-1", "iam");
        let to_sign = "AWS4-HMAC-SHA256\n20150830T123600Z\n20150830/us-east-1/iam/aws4_request\n\
            f536975d06c0309214f805bb90ccff089219ecd68b2577efef23edd43b7e1a59";
        let signature = hex32(hmac::sign(&key, to_sign.as_bytes()).as_ref());
        assert_eq!(
            String::from_utf8_lossy(&signature),
            "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
        );
    }

    #[test]
    fn the_cache_is_bounded_and_knows_when_a_secret_has_changed() {
        let keys = SigningKeys::new();
        let (old, new) = (Secret::new("old"), Secret::new("new"));
        let key = Arc::new(signing_key(&old, b"20150830", "r", "s"));
        for number in 0..3 * SigningKeys::MOST {
            keys.keep(&format!("K{number}"), &old, *b"20150830", "r", "s", Arc::clone(&key));
        }
        assert!(keys.len() <= SigningKeys::MOST && keys.len() > SigningKeys::MOST / 2);
        keys.keep("K", &old, *b"20150830", "r", "s", key);
        assert!(keys.find("K", &old, *b"20150830", "r", "s").is_some());
        assert!(keys.find("K", &new, *b"20150830", "r", "s").is_none());
        assert!(keys.find("K", &old, *b"20150831", "r", "s").is_none());
        assert!(keys.find("K", &old, *b"20150830", "q", "s").is_none());
    }
}
