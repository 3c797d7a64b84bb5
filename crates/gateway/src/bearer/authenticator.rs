//! The check of one token, from what is known of it to the signature. [`Authenticator::check`] is the function
//! to read.

use std::cell::RefCell;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use kit::clock::Timestamp;
use manifest::spec::Jwt;

use super::cache::Cache;
use super::fingerprint::Fingerprint;
use super::refusal::Refusal;
use super::throttle::Throttle;
use super::token::{self, MAX_TOKEN, Verified};
use crate::keys::{KeyError, Keys, Seen, Watched};

/// Good tokens that a thread remembers; some 500 KB, and their subjects.
const GOOD_TOKENS: usize = 4096;

/// Bad ones. They have a table of their own: nobody can push a good token out with bad ones.
const BAD_TOKENS: usize = 1024;

/// How long a bad token is remembered. It stays bad, but its place may be wanted.
const BAD_FOR: Duration = Duration::from_secs(10);

/// One check of tokens as the file declares it, with the keys in force. Shared by all threads, which share
/// nothing that changes with a request.
pub(crate) struct Authenticator {
    /// Its name in the file: the realm that clients are told.
    pub(crate) name: String,
    pub(crate) jwt: Jwt,
    /// `None`: they could not be read yet.
    keys: ArcSwapOption<Keys>,
    /// Of these keys; a known token needs no more of them. Zero: there are none.
    generation: AtomicU64,
    file: Mutex<Watched>,
}

/// What one thread knows of tokens, under all checks of the process: generations of keys tell them apart.
pub(crate) struct Known {
    good: Cache<Verified>,
    bad: Cache<Refusal>,
    throttle: Throttle,
}

thread_local! {
    static KNOWN: RefCell<Known> = RefCell::new(Known::new());
}

impl Known {
    pub(crate) fn new() -> Self {
        Self { good: Cache::new(GOOD_TOKENS), bad: Cache::new(BAD_TOKENS), throttle: Throttle::new() }
    }
}

impl Authenticator {
    /// Without keys until the first [`Self::refresh`].
    pub(crate) fn new(name: &str, jwt: &Jwt) -> Self {
        Self {
            name: name.to_owned(),
            jwt: jwt.clone(),
            keys: ArcSwapOption::empty(),
            generation: AtomicU64::new(0),
            file: Mutex::default(),
        }
    }

    /// Checks a token with what this thread knows.
    pub(crate) fn check_here(
        &self,
        token: &[u8],
        client: IpAddr,
        now: Timestamp,
    ) -> Result<Verified, Refusal> {
        KNOWN.with_borrow_mut(|known| self.check(known, token, client, now))
    }

    /// Checks a token: is it known, is its form right, is there a key for it, is it its time, is it signed, is
    /// it for us. What is cheap comes first.
    pub(crate) fn check(
        &self,
        known: &mut Known,
        token: &[u8],
        client: IpAddr,
        now: Timestamp,
    ) -> Result<Verified, Refusal> {
        if token.len() > MAX_TOKEN {
            return Err(Refusal::TooLong);
        }
        let name = Fingerprint::of(token);
        let generation = self.generation.load(Ordering::Acquire);
        if let Some(verified) = known.good.get(&name, generation, now) {
            return Ok(verified.clone());
        }
        if let Some(refusal) = known.bad.get(&name, generation, now) {
            return Err(*refusal);
        }
        let keys = self.keys.load();
        let keys = keys.as_deref().ok_or(Refusal::NoKeys)?;
        let unchecked = token::parse(token)?;
        let candidates = unchecked.candidates(keys)?;
        let until = unchecked.holds_until(&self.jwt, now)?;
        if !known.throttle.allows(client, now) {
            return Err(Refusal::TooManyBad);
        }
        let outcome = if unchecked.is_signed_by(&candidates) {
            unchecked.admit(&self.jwt)
        } else {
            known.throttle.failed(client, now);
            Err(Refusal::Signature)
        };
        match &outcome {
            Ok(verified) => known.good.put(name, keys.generation, until, verified.clone(), now),
            Err(refusal) => known.bad.put(name, keys.generation, now + BAD_FOR, *refusal, now),
        }
        outcome
    }

    /// Looks at the key file. The number of keys if there are other ones now; an error, once, if it cannot be
    /// used: the keys that are in force then stay.
    pub(crate) fn refresh(&self) -> Result<Option<usize>, KeyError> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        self.follow(file.look(&self.jwt.keys))
    }

    /// As [`Self::refresh`], but tells an error that has been told.
    pub(crate) fn refresh_anew(&self) -> Result<Option<usize>, KeyError> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        self.follow(file.look_anew(&self.jwt.keys))
    }

    fn follow(&self, seen: Result<Seen, KeyError>) -> Result<Option<usize>, KeyError> {
        let Seen::Changed(keys) = seen? else { return Ok(None) };
        let keys = Keys::new(keys);
        let (count, generation) = (keys.len(), keys.generation);
        self.keys.store(Some(keys.into()));
        self.generation.store(generation, Ordering::Release);
        Ok(Some(count))
    }
}
