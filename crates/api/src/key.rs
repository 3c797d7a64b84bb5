//! The wire types of access keys.

use kit::Timestamp;
use serde::{Deserialize, Serialize};

/// An access key for somebody outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// What it is called.
    pub name: String,
    /// Its id: `AKIA…`.
    pub access_key: String,
    /// What it may be used for: `queue/jobs:send,receive`.
    pub allow: Vec<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was used last, to the minute; the last minute before a crash may be missing.
    pub last_used_at: Option<Timestamp>,
    /// Until when it is good; none: until it is revoked.
    pub expires_at: Option<Timestamp>,
    /// Whether it lets anybody in: it does not if its time is over, or its record was changed.
    pub usable: bool,
}

/// A wish: make an access key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateKey {
    /// What it is to be called.
    pub name: String,
    /// What it may be used for.
    pub allow: Vec<String>,
    /// For how long it is good, in seconds; none: until it is revoked.
    #[serde(default)]
    pub lifetime_s: Option<u64>,
}

/// A key that was made. Its secret is told this once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedKey {
    /// The key.
    pub key: Key,
    /// What it signs with.
    pub secret: String,
    /// Where queues and topics are, as `AWS_ENDPOINT_URL` has it; none while there are none.
    pub endpoint: Option<String>,
    /// What `AWS_REGION` has to be.
    pub region: String,
    /// Those of `allow` that are about no queue and no topic that there is now.
    pub about_nothing: Vec<String>,
}

/// A wish: let a key in no longer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokeKey {
    /// Its name, or its id.
    pub name: String,
}
