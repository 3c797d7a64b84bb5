//! Who comes in, and what they may do: asked for here, decided elsewhere.

use std::sync::Arc;

use http::HeaderMap;

/// What a request looks like to whoever verifies it: the bytes that were signed.
#[derive(Clone, Copy, Debug)]
pub struct RequestView<'a> {
    /// `POST`.
    pub method: &'a str,
    /// The path as it came, percent signs included.
    pub path: &'a str,
    /// What stands behind the `?`, as it came; empty without one.
    pub query: &'a str,
    /// The headers. Over HTTP/2 `host` is what `:authority` said.
    pub headers: &'a HeaderMap,
    /// The whole body.
    pub body: &'a [u8],
}

/// Who a request comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// What receivers are told as `SenderId`: the service's name, or the id of a key.
    pub name: Arc<str>,
    /// The access key that signed; empty if nothing was signed.
    pub key: Arc<str>,
}

/// What somebody wants to act on.
#[derive(Clone, Copy, Debug)]
pub struct Resource<'a> {
    /// `sqs`, `sns`.
    pub service: &'a str,
    /// Its name, `*` if an action is about no particular one.
    pub name: &'a str,
    /// The policy that is set on it, in IAM's grammar, if there is one.
    pub policy: Option<&'a str>,
}

impl Resource<'_> {
    /// Its ARN; `*` for no particular one.
    pub fn arn(&self) -> String {
        let Self { service, name, policy: _ } = self;
        match *name {
            "*" => "*".to_owned(),
            name => format!("arn:aws:{service}:{}:{}:{name}", crate::names::REGION, crate::names::ACCOUNT),
        }
    }
}

/// Why somebody does not come in, or may not do something. Texts are for the caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// There is no signature.
    #[error("the request is not signed")]
    Unsigned,
    /// Nobody has this key.
    #[error("the security token included in the request is invalid")]
    UnknownKey,
    /// The credentials were good once.
    #[error("the security token included in the request is expired")]
    ExpiredToken,
    /// The signature is not that of this key for this request.
    #[error("{0}")]
    WrongSignature(String),
    /// It was signed too long ago, or in the future.
    #[error("{0}")]
    Expired(String),
    /// What should be a signature is none.
    #[error("{0}")]
    Malformed(String),
    /// Who it is is known, and they may not.
    #[error("{0}")]
    Forbidden(String),
}

/// Verifies requests and decides on actions. Called on the request path: it neither waits nor reads files.
pub trait Gatekeeper: Send + Sync + 'static {
    /// Who sent this request.
    fn admit(&self, request: &RequestView<'_>) -> Result<Caller, Denied>;

    /// Whether they may do `action` (`sqs:SendMessage`) to `resource`.
    fn may(&self, caller: &Caller, action: &str, resource: &Resource<'_>) -> Result<(), Denied>;

    /// What a request gets that asks for credentials, as SDKs do of containers; `None`: it asks for something else. `near`:
    /// it comes from this machine.
    fn lend(&self, _: &RequestView<'_>, near: bool) -> Option<Lent> {
        let _ = near;
        None
    }
}

/// What becomes of a request for credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lent {
    /// They are in a document.
    Document {
        /// Whose they are.
        to: Arc<str>,
        /// The document.
        document: String,
    },
    /// They are not lent, for this reason.
    Refused(&'static str),
}

/// Lets everybody in as one caller, and do everything: for tests.
#[derive(Clone, Debug)]
pub struct AllowAll(Caller);

impl AllowAll {
    /// Everybody is called `name`.
    pub fn new(name: &str) -> Self {
        Self(Caller { name: name.into(), key: "".into() })
    }
}

impl Gatekeeper for AllowAll {
    fn admit(&self, _: &RequestView<'_>) -> Result<Caller, Denied> {
        Ok(self.0.clone())
    }

    fn may(&self, _: &Caller, _: &str, _: &Resource<'_>) -> Result<(), Denied> {
        Ok(())
    }
}
