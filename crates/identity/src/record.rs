//! Keys for the outside, as they are stored.

use kit::Timestamp;
use serde::{Deserialize, Serialize};

use crate::grant::Grant;

/// A key for the outside as it is stored. Who reads it without the secret of the node learns no secret, and
/// who changes it makes it useless.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRecord {
    /// The format of this record: [`KeyRecord::VERSION`].
    pub version: u8,
    /// What it is called.
    pub name: String,
    /// Its id.
    pub access_key: String,
    /// Its secret, sealed (AES-256-GCM), in base 64.
    pub sealed: String,
    /// What it may be used for.
    pub allow: Vec<Grant>,
    /// When it was made.
    pub created: Timestamp,
    /// Until when it is good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
}

impl KeyRecord {
    /// The format that is written.
    pub const VERSION: u8 = 1;

    /// What the sealed secret is bound to: all else that the record says.
    pub(crate) fn bound(&self) -> Vec<u8> {
        let expires = self.expires.map_or(0, Timestamp::as_micros);
        let mut bytes = vec![self.version];
        bytes.extend_from_slice(&self.created.as_micros().to_be_bytes());
        bytes.extend_from_slice(&expires.to_be_bytes());
        bytes.push(u8::from(self.expires.is_some()));
        bytes.extend_from_slice(self.access_key.as_bytes()); // 20 bytes, always
        for text in std::iter::once(self.name.as_str()).chain(self.allow.iter().map(Grant::as_str)) {
            // Each with its length: no two records read the same.
            bytes.extend_from_slice(&(text.len() as u64).to_be_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        bytes
    }
}
