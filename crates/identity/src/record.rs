//! Keys for the outside, as they are stored.

use kit::Timestamp;
use serde::{Deserialize, Serialize};

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
        bytes.extend_from_slice(self.name.as_bytes());
        bytes
    }
}
