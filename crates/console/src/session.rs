//! Who is logged in: tokens that are good for one login, and the sessions they open. Pure: the time is an
//! argument. Of each secret only its digest is kept.

use std::fmt;
use std::time::Duration;

use kit::Timestamp;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

/// How long a token can be used.
pub(crate) const TOKEN_LIFE: Duration = Duration::from_secs(10 * 60);
/// How long a session lasts.
pub(crate) const SESSION_LIFE: Duration = Duration::from_secs(12 * 60 * 60);
/// Tokens that wait to be used at most; the oldest gives way.
const MOST_TOKENS: usize = 32;
/// Sessions at most; the oldest gives way.
const MOST_SESSIONS: usize = 64;
/// Random bytes of a secret.
const SECRET: usize = 32;

/// What somebody may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Looks.
    Viewer,
    /// Looks, restarts, scales, sends, purges.
    Operator,
}

impl Role {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
        }
    }
}

/// A token that was made.
#[derive(Clone)]
pub struct Granted {
    /// The token: 64 hexadecimal digits.
    pub token: String,
    /// From then on it is worth nothing.
    pub expires_at: Timestamp,
}

impl fmt::Debug for Granted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Granted").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// Somebody who is logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Who {
    pub(crate) role: Role,
    /// What forms of this session carry, so that other pages cannot send them.
    pub(crate) csrf: String,
}

impl Who {
    /// Whether a form was made for this session.
    pub(crate) fn sent(&self, csrf: &str) -> bool {
        self.csrf.as_bytes().ct_eq(csrf.as_bytes()).into()
    }
}

/// Tokens and sessions.
#[derive(Default)]
pub(crate) struct Door {
    tokens: Vec<Kept<Role>>,
    sessions: Vec<Kept<Who>>,
}

struct Kept<T> {
    digest: [u8; 32],
    until: Timestamp,
    value: T,
}

impl Door {
    /// Makes a token for one login.
    pub(crate) fn grant(&mut self, role: Role, now: Timestamp) -> Granted {
        let token = secret();
        add(&mut self.tokens, MOST_TOKENS, &token, now + TOKEN_LIFE, role, now);
        Granted { token, expires_at: now + TOKEN_LIFE }
    }

    /// Takes a token and opens a session for it: what its cookie holds.
    pub(crate) fn log_in(&mut self, token: &str, now: Timestamp) -> Option<String> {
        let at = find(&self.tokens, token, now)?;
        let role = self.tokens.remove(at).value;
        let cookie = secret();
        let who = Who { role, csrf: secret() };
        add(&mut self.sessions, MOST_SESSIONS, &cookie, now + SESSION_LIFE, who, now);
        Some(cookie)
    }

    /// Whose session a cookie is.
    pub(crate) fn who(&self, cookie: &str, now: Timestamp) -> Option<Who> {
        find(&self.sessions, cookie, now).map(|at| self.sessions[at].value.clone())
    }

    /// Ends a session.
    pub(crate) fn log_out(&mut self, cookie: &str, now: Timestamp) {
        if let Some(at) = find(&self.sessions, cookie, now) {
            self.sessions.remove(at);
        }
    }

    /// Sessions that are open: their role, and when they end.
    pub(crate) fn open(&self, now: Timestamp) -> Vec<(Role, Timestamp)> {
        let open = self.sessions.iter().filter(|session| session.until > now);
        open.map(|session| (session.value.role, session.until)).collect()
    }
}

/// The place of a secret that is known and in time. Looks at all of them, however early it finds it.
fn find<T>(kept: &[Kept<T>], secret: &str, now: Timestamp) -> Option<usize> {
    let digest = digest(secret);
    let mut found = None;
    for (at, one) in kept.iter().enumerate() {
        let same: Choice = one.digest.ct_eq(&digest);
        if bool::from(same) && one.until > now {
            found = Some(at);
        }
    }
    found
}

fn add<T>(kept: &mut Vec<Kept<T>>, most: usize, secret: &str, until: Timestamp, value: T, now: Timestamp) {
    kept.retain(|one| one.until > now);
    if kept.len() >= most {
        kept.remove(0);
    }
    kept.push(Kept { digest: digest(secret), until, value });
}

fn digest(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

fn secret() -> String {
    let mut bytes = [0_u8; SECRET];
    rand::fill(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

    #[test]
    fn a_token_opens_one_session_of_its_role() {
        let mut door = Door::default();
        let granted = door.grant(Role::Viewer, NOW);
        assert_eq!(granted.token.len(), 64);
        let cookie = door.log_in(&granted.token, NOW).unwrap();
        assert_eq!(door.who(&cookie, NOW).unwrap().role, Role::Viewer);
        assert_eq!(door.log_in(&granted.token, NOW), None, "used");
        assert_eq!(door.who(&granted.token, NOW), None, "a token is no cookie");
    }

    #[test]
    fn tokens_and_sessions_end_in_time() {
        let mut door = Door::default();
        let late = door.grant(Role::Operator, NOW);
        let used = door.grant(Role::Operator, NOW);
        assert_eq!(door.log_in(&late.token, NOW + TOKEN_LIFE), None);
        let cookie = door.log_in(&used.token, NOW).unwrap();
        assert!(door.who(&cookie, NOW + SESSION_LIFE - Duration::from_secs(1)).is_some());
        assert_eq!(door.who(&cookie, NOW + SESSION_LIFE), None);
        let again = door.grant(Role::Operator, NOW);
        let cookie = door.log_in(&again.token, NOW).unwrap();
        door.log_out(&cookie, NOW);
        assert_eq!(door.who(&cookie, NOW), None);
    }

    #[test]
    fn neither_tokens_nor_sessions_pile_up() {
        let mut door = Door::default();
        let first = door.grant(Role::Viewer, NOW);
        for _ in 0..200 {
            door.grant(Role::Viewer, NOW);
        }
        assert_eq!(door.tokens.len(), MOST_TOKENS);
        assert_eq!(door.log_in(&first.token, NOW), None);
        for _ in 0..200 {
            let token = door.grant(Role::Viewer, NOW).token;
            door.log_in(&token, NOW).unwrap();
        }
        assert_eq!(door.open(NOW).len(), MOST_SESSIONS);
    }

    #[test]
    fn what_is_kept_and_printed_tells_no_secret() {
        let mut door = Door::default();
        let granted = door.grant(Role::Viewer, NOW);
        assert!(!format!("{granted:?}").contains(&granted.token));
        let cookie = door.log_in(&granted.token, NOW).unwrap();
        let who = door.who(&cookie, NOW).unwrap();
        assert!(who.sent(&who.csrf) && !who.sent("") && !who.sent(&cookie));
    }
}
