//! Sessions whose token was opened lately: opening one costs more than the rest of a verification.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};

use kit::Timestamp;

use crate::credentials::{AccessKey, Principal, Secret};

/// Sessions that are remembered at most.
const MOST: usize = 1024;

/// What the token of a session says, and the secret that goes with it.
#[derive(Clone)]
pub(crate) struct Session {
    pub principal: Principal,
    pub secret: Secret,
    pub expires: Timestamp,
}

/// One place per session, which another may take. Whether its time is over is to be looked at each time.
pub(crate) struct Sessions {
    places: Box<[Mutex<Option<Opened>>]>,
    hasher: RandomState,
}

struct Opened {
    access_key: AccessKey,
    token: Box<str>,
    session: Session,
}

impl Sessions {
    pub(crate) fn new() -> Self {
        Self { places: (0..MOST).map(|_| Mutex::default()).collect(), hasher: RandomState::new() }
    }

    pub(crate) fn find(&self, access_key: &AccessKey, token: &str) -> Option<Session> {
        let place = self.place(access_key).lock().unwrap_or_else(PoisonError::into_inner);
        let opened = place.as_ref()?;
        // A token is of no use without the secret, so it may be compared as any text.
        (opened.access_key == *access_key && *opened.token == *token).then(|| opened.session.clone())
    }

    /// To be called for tokens that were found good only.
    pub(crate) fn keep(&self, access_key: AccessKey, token: &str, session: Session) {
        let opened = Opened { access_key, token: token.into(), session };
        *self.place(&access_key).lock().unwrap_or_else(PoisonError::into_inner) = Some(opened);
    }

    fn place(&self, access_key: &AccessKey) -> &Mutex<Option<Opened>> {
        &self.places[self.hasher.hash_one(access_key) as usize % MOST]
    }
}
