//! Access keys, their secrets, and whose they are.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use kit::Timestamp;

/// The account that everything belongs to.
pub const ACCOUNT: &str = "000000000000";

/// Who asks for something.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Principal {
    /// A service of the app.
    Service(Arc<str>),
    /// A function of the app.
    Function(Arc<str>),
    /// Somebody outside, by the name of the key that was made for them.
    Key(Arc<str>),
    /// The owner of the node.
    Root,
}

impl Principal {
    /// Longest name.
    pub const MOST_NAME: usize = 128;

    /// Its name; the owner's is `root`.
    pub fn name(&self) -> &str {
        match self {
            Self::Service(name) | Self::Function(name) | Self::Key(name) => name,
            Self::Root => "root",
        }
    }

    /// How AWS would call it: services and functions have a role, keys are users.
    pub fn arn(&self) -> String {
        match self {
            Self::Service(name) => format!("arn:aws:iam::{ACCOUNT}:role/{name}"),
            Self::Function(name) => format!("arn:aws:iam::{ACCOUNT}:role/function/{name}"),
            Self::Key(name) => format!("arn:aws:iam::{ACCOUNT}:user/{name}"),
            Self::Root => format!("arn:aws:iam::{ACCOUNT}:root"),
        }
    }

    /// One byte per kind, for what is stored or derived: never to be changed.
    pub(crate) fn tag(&self) -> u8 {
        match self {
            Self::Service(_) => b's',
            Self::Function(_) => b'f',
            Self::Key(_) => b'k',
            Self::Root => b'r',
        }
    }

    pub(crate) fn from_tag(tag: u8, name: &str) -> Option<Self> {
        match tag {
            b's' => Some(Self::Service(name.into())),
            b'f' => Some(Self::Function(name.into())),
            b'k' => Some(Self::Key(name.into())),
            b'r' if name == "root" => Some(Self::Root),
            _ => None,
        }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(name) => write!(f, "service `{name}`"),
            Self::Function(name) => write!(f, "function `{name}`"),
            Self::Key(name) => write!(f, "key `{name}`"),
            Self::Root => f.write_str("the owner of the node"),
        }
    }
}

/// The id of an access key: `AKIA…` for one that lasts, `ASIA…` for one of a session; 20 characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccessKey([u8; 20]);

impl AccessKey {
    /// What begins the id of a key that lasts.
    pub(crate) const LASTING: &'static str = "AKIA";
    /// What begins the id of a session's key.
    pub(crate) const SESSION: &'static str = "ASIA";

    /// The id.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Whether it is of use only together with a session token.
    pub fn is_session(&self) -> bool {
        self.as_str().starts_with(Self::SESSION)
    }
}

/// A text that is no id of an access key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an access key is `AKIA` or `ASIA` with 16 capital letters and digits")]
pub struct BadAccessKey;

impl FromStr for AccessKey {
    type Err = BadAccessKey;

    fn from_str(text: &str) -> Result<Self, BadAccessKey> {
        let allowed = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
        let known = [Self::LASTING, Self::SESSION].iter().any(|start| text.starts_with(start));
        match text.as_bytes().try_into() {
            Ok(bytes) if known && text.bytes().all(allowed) => Ok(Self(bytes)),
            _ => Err(BadAccessKey),
        }
    }
}

impl fmt::Display for AccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AccessKey({})", self.as_str())
    }
}

/// What an access key signs with. Cannot be printed; its bytes are wiped when the last holder lets go.
#[derive(Clone)]
pub struct Secret(Arc<Wiped>);

struct Wiped(Vec<u8>);

impl Drop for Wiped {
    fn drop(&mut self) {
        self.0.fill(0);
        std::hint::black_box(&self.0); // else the compiler may leave out what nobody reads
    }
}

impl Secret {
    /// A secret of this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Arc::new(Wiped(text.into().into_bytes())))
    }

    /// The secret itself, for whoever it belongs to.
    pub fn expose(&self) -> &str {
        std::str::from_utf8(&self.0.0).unwrap_or_default()
    }

    /// Whether both are the same. For secrets that are both our own: the time that it takes says how much of
    /// them is.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.0 == other.0.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// All that a client needs to sign requests.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Which key it is.
    pub access_key: AccessKey,
    /// What it signs with.
    pub secret: Secret,
    /// What goes with every request of a session.
    pub session_token: Option<SessionToken>,
    /// Until when they are good; `None` for credentials that last.
    pub expires: Option<Timestamp>,
}

/// A session's token: who has it and the secret can act for its principal, so it is not printed.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionToken(pub(crate) String);

impl SessionToken {
    /// The text that goes into `X-Amz-Security-Token`.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionToken(…)")
    }
}

impl Credentials {
    /// The standard variables that SDKs read by themselves.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let mut variables = vec![
            ("AWS_ACCESS_KEY_ID", self.access_key.to_string()),
            ("AWS_SECRET_ACCESS_KEY", self.secret.expose().to_owned()),
        ];
        if let Some(token) = &self.session_token {
            variables.push(("AWS_SESSION_TOKEN", token.expose().to_owned()));
        }
        variables
    }
}

/// What the address in `AWS_CONTAINER_CREDENTIALS_FULL_URI` answers with; `None` for credentials that last, of
/// which SDKs would not know when to ask again.
pub fn container_document(credentials: &Credentials) -> Option<String> {
    let (token, expires) = (credentials.session_token.as_ref()?, credentials.expires?);
    let seconds = i64::try_from(expires.as_micros() / 1_000_000).ok()?;
    let expiration = jiff::Timestamp::from_second(seconds).ok()?;
    let document = serde_json::json!({
        "AccessKeyId": credentials.access_key.as_str(),
        "SecretAccessKey": credentials.secret.expose(),
        "Token": token.expose(),
        "Expiration": expiration.to_string(),
    });
    Some(document.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_secret_is_not_printed() {
        let credentials = Credentials {
            access_key: "ASIA234567ABCDEFGHIJ".parse().unwrap(),
            secret: Secret::new("very-secret"),
            session_token: Some(SessionToken("token-secret".into())),
            expires: Some(Timestamp::from_micros(1_440_938_160_000_001)),
        };
        let shown = format!("{credentials:?}");
        assert!(
            shown.contains("ASIA234567ABCDEFGHIJ")
                && !shown.contains("secret\"")
                && !shown.contains("-secret")
        );
        assert_eq!(
            container_document(&credentials).unwrap(),
            r#"{"AccessKeyId":"ASIA234567ABCDEFGHIJ","SecretAccessKey":"very-secret","Token":"token-secret","Expiration":"2015-08-30T12:36:00Z"}"#
        );
    }

    #[test]
    fn ids_of_access_keys() {
        for bad in [
            "",
            "AKIA",
            "AKIDEXAMPLE",
            "AKIA234567abcdefghij",
            "ABIA234567ABCDEFGHIJ",
            "AKIA234567ABCDEFGHIJK",
        ] {
            assert_eq!(bad.parse::<AccessKey>(), Err(BadAccessKey), "{bad}");
        }
        assert!(!"AKIA234567ABCDEFGHIJ".parse::<AccessKey>().unwrap().is_session());
    }
}
