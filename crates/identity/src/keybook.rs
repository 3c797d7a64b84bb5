//! Who has which access key. Services and functions have keys that are derived from the secret of the node, so
//! that nothing has to be stored and a restart changes none; sessions carry in their token what is to be known
//! of them; keys for the outside are kept by the caller as records whose secret is sealed.
//!
//! Sealed and not hashed: to verify a signature the secret itself is needed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use kit::Timestamp;
use ring::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

use crate::credentials::{AccessKey, Credentials, Principal, Secret, SessionToken};
use crate::grant::Grant;
use crate::record::KeyRecord;
use crate::sessions::{Session, Sessions};
use crate::sigv4::{Found, KeyError, KeySource};
use crate::text::{base32, base64, base64_url, from_base64_url};

/// What all keys of a node are derived from. Whoever has it can act for everybody.
pub struct NodeSecret([u8; 32]);

impl NodeSecret {
    /// A secret of these bytes, which must come from a source of randomness.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl Drop for NodeSecret {
    fn drop(&mut self) {
        self.0.fill(0);
        std::hint::black_box(&self.0); // else the compiler may leave out what nobody reads
    }
}

/// What the book does not do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BookError {
    /// The machine has no randomness.
    #[error("the machine gives no random bytes")]
    NoRandomness,
    /// There is a key of this name.
    #[error("there is a key `{0}` already")]
    NameTaken(String),
    /// A name that a key cannot have.
    #[error("`{0}` cannot name a key: 1 to 128 letters, digits and any of `_+=,.@-`")]
    BadName(String),
    /// As many keys as there may be.
    #[error("there are {} keys, which is the most", KeyBook::MOST_KEYS)]
    TooManyKeys,
    /// A key that may be used for nothing, or too much to be looked through.
    #[error("a key is made for 1 to {} things", KeyBook::MOST_GRANTS)]
    BadGrants,
    /// A record that was changed, or was made under another node secret.
    #[error("the record of key `{0}` cannot be opened: it was changed, or belongs to another node")]
    Sealed(String),
    /// A session for somebody who is not known here.
    #[error("{0} has no credentials here")]
    NotDeclared(Principal),
    /// A session that would last too long, or no time at all.
    #[error("a session lasts 1 second to {} hours", KeyBook::MOST_SESSION.as_secs() / 3600)]
    BadLifetime,
}

/// The access keys of a node, and whose they are.
pub struct KeyBook {
    app: String,
    root: hmac::Key,
    tokens: hmac::Key,
    session_secrets: hmac::Key,
    lending: hmac::Key,
    seal: LessSafeKey,
    random: SystemRandom,
    sessions: Sessions,
    table: ArcSwap<Table>,
}

#[derive(Clone, Default)]
struct Table {
    keys: HashMap<AccessKey, Known>,
    /// Who was let in, and until when if they are on their way out.
    declared: HashMap<Principal, Option<Timestamp>>,
}

impl Table {
    fn lets_in(&self, principal: &Principal, now: Timestamp) -> bool {
        self.declared.get(principal).is_some_and(|until| until.is_none_or(|until| now < until))
    }
}

#[derive(Clone)]
struct Known {
    secret: Secret,
    principal: Principal,
    expires: Option<Timestamp>,
    /// What a key for the outside may be used for.
    allow: Arc<[Grant]>,
}

const TOKEN_VERSION: u8 = 1;
const NONCE: usize = 10;
/// Bytes of a token before the name: its version, the nonce, the end and the kind of principal.
const TOKEN_HEAD: usize = 1 + NONCE + 8 + 1;
const MAC: usize = 32;
/// Bytes behind a secret, which has 40 characters.
const SECRET: usize = 30;

impl KeyBook {
    /// The most keys for the outside.
    pub const MOST_KEYS: usize = 10_000;
    /// The most grants of a key.
    pub const MOST_GRANTS: usize = 100;
    /// The longest session.
    pub const MOST_SESSION: Duration = Duration::from_secs(36 * 3600);
    /// The longest token that is looked at.
    const MOST_TOKEN: usize = 512;

    /// The book of an app on a node, with nobody in it.
    pub fn new(secret: &NodeSecret, app: &str) -> Self {
        let root = hmac::Key::new(hmac::HMAC_SHA256, &secret.0);
        let sub_key = |label: &str| derive(&root, label, &[app.as_bytes()]);
        let mac_key = |label: &str| hmac::Key::new(hmac::HMAC_SHA256, &sub_key(label));
        let seal = match UnboundKey::new(&aead::AES_256_GCM, &sub_key("seal")) {
            Ok(key) => LessSafeKey::new(key),
            Err(_) => unreachable!("a key of AES-256 has 32 bytes"),
        };
        Self {
            app: app.to_owned(),
            tokens: mac_key("session-token"),
            session_secrets: mac_key("session-secret"),
            lending: mac_key("lending-token"),
            seal,
            random: SystemRandom::new(),
            sessions: Sessions::new(),
            table: ArcSwap::default(),
            root,
        }
    }

    /// Lets somebody in, with credentials that are the same every time.
    pub fn declare(&self, principal: &Principal) -> Credentials {
        let credentials = self.lasting(principal);
        let known = Known {
            secret: credentials.secret.clone(),
            principal: principal.clone(),
            expires: None,
            allow: Arc::default(),
        };
        self.table.rcu(|table| {
            let mut table = Table::clone(table);
            table.keys.insert(credentials.access_key, known.clone());
            table.declared.insert(principal.clone(), None);
            table
        });
        credentials
    }

    /// Lets somebody in no longer, sessions included.
    pub fn withdraw(&self, principal: &Principal) {
        self.table.rcu(|table| {
            let mut table = Table::clone(table);
            table.declared.remove(principal);
            table.keys.retain(|_, known| known.principal != *principal);
            table
        });
    }

    /// Of services, those that stay have their credentials for good; all others that were let in keep theirs for a while, in
    /// which they may come to their end, and sessions are of no use any longer than that.
    pub fn keep_services(&self, stays: impl Fn(&str) -> bool, now: Timestamp, grace: Duration) {
        // `None`: it is no service.
        let end = |principal: &Principal, before: Option<Timestamp>| match principal {
            Principal::Service(name) if stays(name) => Some(None),
            // Whoever is on their way out already is not kept longer.
            Principal::Service(_) => Some(Some(before.unwrap_or(now + grace))),
            Principal::Function(_) | Principal::Key(_) | Principal::Root => None,
        };
        let is_over = |end: Option<Option<Timestamp>>| end.flatten().is_some_and(|end| end <= now);
        self.table.rcu(|table| {
            let mut table = Table::clone(table);
            table.declared.retain(|principal, until| {
                let end = end(principal, *until);
                *until = end.unwrap_or(*until);
                !is_over(end)
            });
            table.keys.retain(|_, known| {
                let end = end(&known.principal, known.expires);
                known.expires = end.unwrap_or(known.expires);
                !is_over(end)
            });
            table
        });
    }

    fn lasting(&self, principal: &Principal) -> Credentials {
        let who = [self.app.as_bytes(), &[principal.tag()], principal.name().as_bytes()];
        let id = derive(&self.root, "access-key", &who);
        let secret = derive(&self.root, "secret", &who);
        Credentials {
            access_key: access_key(AccessKey::LASTING, &id[..NONCE]),
            secret: Secret::new(base64(&secret[..SECRET])),
            session_token: None,
            expires: None,
        }
    }

    /// Makes short-lived credentials for somebody who was let in.
    ///
    /// # Errors
    /// When they were not, or the lifetime is none.
    pub fn session(
        &self,
        principal: &Principal,
        now: Timestamp,
        lifetime: Duration,
    ) -> Result<Credentials, BookError> {
        if lifetime < Duration::from_secs(1) || lifetime > Self::MOST_SESSION {
            return Err(BookError::BadLifetime);
        }
        if !self.table.load().lets_in(principal, now) {
            return Err(BookError::NotDeclared(principal.clone()));
        }
        let nonce: [u8; NONCE] = self.random()?;
        let expires = now + lifetime;
        let mut token = Vec::with_capacity(TOKEN_HEAD + principal.name().len() + MAC);
        token.push(TOKEN_VERSION);
        token.extend_from_slice(&nonce);
        token.extend_from_slice(&expires.as_micros().to_be_bytes());
        token.push(principal.tag());
        token.extend_from_slice(principal.name().as_bytes());
        let secret = self.session_secret(&token);
        let mac = hmac::sign(&self.tokens, &token);
        token.extend_from_slice(mac.as_ref());
        Ok(Credentials {
            access_key: access_key(AccessKey::SESSION, &nonce),
            secret,
            session_token: Some(SessionToken(base64_url(&token))),
            expires: Some(expires),
        })
    }

    fn session_secret(&self, payload: &[u8]) -> Secret {
        Secret::new(base64(&hmac::sign(&self.session_secrets, payload).as_ref()[..SECRET]))
    }

    /// What somebody shows to be given sessions: the same every time, and of no use for anything else.
    pub fn lending_token(&self, principal: &Principal) -> String {
        let mut token = vec![principal.tag()];
        token.extend_from_slice(principal.name().as_bytes());
        let mac = hmac::sign(&self.lending, &token);
        token.extend_from_slice(mac.as_ref());
        base64_url(&token)
    }

    /// Whose token it is, if they are let in.
    pub fn lent_to(&self, token: &str, now: Timestamp) -> Option<Principal> {
        let bytes = Some(token)
            .filter(|token| token.len() <= Self::MOST_TOKEN)
            .and_then(from_base64_url)
            .filter(|bytes| bytes.len() > 1 + MAC)?;
        let (payload, mac) = bytes.split_at(bytes.len() - MAC);
        hmac::verify(&self.lending, payload, mac).ok()?;
        let principal = Principal::from_tag(payload[0], std::str::from_utf8(&payload[1..]).ok()?)?;
        self.table.load().lets_in(&principal, now).then_some(principal)
    }

    /// What the key of this name may be used for; `None`: nobody has one.
    pub fn allowed(&self, name: &str) -> Option<Arc<[Grant]>> {
        let of_name = |known: &&Known| matches!(&known.principal, Principal::Key(own) if **own == *name);
        self.table.load().keys.values().find(of_name).map(|known| Arc::clone(&known.allow))
    }

    /// Makes a key for somebody outside, who is let in at once. The record is to be stored; the credentials are
    /// to be shown once.
    ///
    /// # Errors
    /// When the name is taken or none, when it may be used for too much or nothing, or there are too many keys.
    pub fn create_key(
        &self,
        name: &str,
        allow: Vec<Grant>,
        now: Timestamp,
        expires: Option<Timestamp>,
    ) -> Result<(KeyRecord, Credentials), BookError> {
        check_name(name)?;
        if allow.is_empty() || allow.len() > Self::MOST_GRANTS {
            return Err(BookError::BadGrants);
        }
        let id: [u8; NONCE] = self.random()?;
        let secret = Secret::new(base64(&self.random::<SECRET>()?));
        let access_key = access_key(AccessKey::LASTING, &id);
        let mut record = KeyRecord {
            version: KeyRecord::VERSION,
            name: name.to_owned(),
            access_key: access_key.to_string(),
            sealed: String::new(),
            allow,
            created: now,
            expires,
        };
        record.sealed = self.seal(secret.expose().as_bytes(), &record.bound())?;
        self.insert(access_key, &record, secret.clone())?;
        Ok((record, Credentials { access_key, secret, session_token: None, expires }))
    }

    /// Lets in who has a key that was stored.
    ///
    /// # Errors
    /// When the record was not made by this node, or was changed.
    pub fn load_key(&self, record: &KeyRecord) -> Result<(), BookError> {
        check_name(&record.name)?;
        let damaged = || BookError::Sealed(record.name.clone());
        let access_key: AccessKey = record.access_key.parse().map_err(|_| damaged())?;
        if record.version != KeyRecord::VERSION || record.sealed.len() > Self::MOST_TOKEN {
            return Err(damaged());
        }
        let mut opened = self.unseal(&record.sealed, &record.bound()).ok_or_else(damaged)?;
        let secret = Secret::new(std::str::from_utf8(&opened).map_err(|_| damaged())?);
        opened.fill(0);
        std::hint::black_box(&opened);
        self.insert(access_key, record, secret)
    }

    /// Seals what only this node may read, bound to what is kept beside it.
    pub(crate) fn seal(&self, secret: &[u8], bound: &[u8]) -> Result<String, BookError> {
        let nonce: [u8; aead::NONCE_LEN] = self.random()?;
        let mut sealed = secret.to_vec();
        self.seal
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(bound), &mut sealed)
            .map_err(|_| BookError::NoRandomness)?; // else it is longer than anything is
        Ok(base64_url(&[&nonce[..], &sealed].concat()))
    }

    /// What was sealed; to be wiped by whoever asks. `None`: it was changed, is bound to something else, or belongs to
    /// another node.
    pub(crate) fn unseal(&self, sealed: &str, bound: &[u8]) -> Option<Vec<u8>> {
        let mut sealed = from_base64_url(sealed)?;
        let (nonce, sealed) = sealed.split_first_chunk_mut()?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = self.seal.open_in_place(nonce, Aad::from(bound), sealed).ok()?;
        let secret = opened.to_vec();
        opened.fill(0);
        std::hint::black_box(&opened);
        Some(secret)
    }

    /// Lets a key in no longer. Whether there was one of this name.
    pub fn revoke_key(&self, name: &str) -> bool {
        let principal = Principal::Key(name.into());
        let was_there = self.table.load().keys.values().any(|known| known.principal == principal);
        self.withdraw(&principal);
        was_there
    }

    fn insert(&self, access_key: AccessKey, record: &KeyRecord, secret: Secret) -> Result<(), BookError> {
        let principal = Principal::Key(record.name.as_str().into());
        let allow = record.allow.as_slice().into();
        let known = Known { secret, principal: principal.clone(), expires: record.expires, allow };
        let mut outcome = Ok(());
        self.table.rcu(|table| {
            let is_other =
                |(id, known): (&AccessKey, &Known)| known.principal == principal && *id != access_key;
            let outside = |known: &&Known| matches!(known.principal, Principal::Key(_));
            if table.keys.iter().any(is_other) {
                outcome = Err(BookError::NameTaken(record.name.clone()));
                return Arc::clone(table);
            }
            if table.keys.values().filter(outside).count() >= Self::MOST_KEYS {
                outcome = Err(BookError::TooManyKeys);
                return Arc::clone(table);
            }
            outcome = Ok(());
            let mut table = Table::clone(table);
            table.keys.insert(access_key, known.clone());
            Arc::new(table)
        });
        outcome
    }

    fn random<const N: usize>(&self) -> Result<[u8; N], BookError> {
        let mut bytes = [0; N];
        self.random.fill(&mut bytes).map_err(|_| BookError::NoRandomness)?;
        Ok(bytes)
    }

    fn find_session(&self, access_key: AccessKey, token: &str, now: Timestamp) -> Result<Found, KeyError> {
        let session = match self.sessions.find(&access_key, token) {
            Some(session) => session,
            None => {
                let session = self.open(access_key, token).ok_or(KeyError::Unknown)?;
                self.sessions.keep(access_key, token, session.clone());
                session
            }
        };
        if !self.table.load().lets_in(&session.principal, now) {
            return Err(KeyError::Unknown);
        }
        if now >= session.expires {
            return Err(KeyError::Expired);
        }
        Ok(Found { secret: session.secret, principal: session.principal })
    }

    /// Opens the token of a session, which is good for this access key alone.
    fn open(&self, access_key: AccessKey, token: &str) -> Option<Session> {
        let bytes = Some(token)
            .filter(|token| token.len() <= Self::MOST_TOKEN)
            .and_then(from_base64_url)
            .filter(|bytes| bytes.len() >= TOKEN_HEAD + MAC)?;
        let (payload, mac) = bytes.split_at(bytes.len() - MAC);
        hmac::verify(&self.tokens, payload, mac).ok()?;
        // From here on it is what this node has written.
        let (head, name) = payload.split_at(TOKEN_HEAD);
        let id = self::access_key(AccessKey::SESSION, &head[1..=NONCE]);
        if head[0] != TOKEN_VERSION || id != access_key {
            return None;
        }
        let mut end = [0; 8];
        end.copy_from_slice(&head[1 + NONCE..1 + NONCE + 8]);
        Some(Session {
            principal: Principal::from_tag(head[TOKEN_HEAD - 1], std::str::from_utf8(name).ok()?)?,
            secret: self.session_secret(payload),
            expires: Timestamp::from_micros(u64::from_be_bytes(end)),
        })
    }
}

impl KeySource for KeyBook {
    fn find(&self, access_key: &str, token: Option<&str>, now: Timestamp) -> Result<Found, KeyError> {
        let access_key: AccessKey = access_key.parse().map_err(|_| KeyError::Unknown)?;
        if access_key.is_session() {
            return self.find_session(access_key, token.ok_or(KeyError::Unknown)?, now);
        }
        if token.is_some() {
            return Err(KeyError::Unknown);
        }
        let table = self.table.load();
        let known = table.keys.get(&access_key).ok_or(KeyError::Unknown)?;
        if known.expires.is_some_and(|expires| now >= expires) {
            return Err(KeyError::Expired);
        }
        Ok(Found { secret: known.secret.clone(), principal: known.principal.clone() })
    }
}

/// 32 bytes that only this key gives for this label and these parts. Each part goes in with its length, so that
/// no two lists read the same.
fn derive(key: &hmac::Key, label: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(key);
    for part in std::iter::once(label.as_bytes()).chain(parts.iter().copied()) {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut bytes = [0; 32];
    bytes.copy_from_slice(context.sign().as_ref());
    bytes
}

/// An id of 16 characters that stand for ten bytes.
fn access_key(start: &str, bytes: &[u8]) -> AccessKey {
    match format!("{start}{}", base32(bytes)).parse() {
        Ok(key) => key,
        Err(_) => unreachable!("ten bytes are 16 characters"),
    }
}

fn check_name(name: &str) -> Result<(), BookError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte);
    if name.is_empty() || name.len() > Principal::MOST_NAME || !name.bytes().all(allowed) {
        return Err(BookError::BadName(name.chars().take(60).collect()));
    }
    Ok(())
}

#[cfg(test)]
#[path = "keybook_tests.rs"]
mod tests;
