//! The wire types of the console: how somebody gets in.

use kit::Timestamp;
use serde::{Deserialize, Serialize};

/// What somebody may do in the console.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConsoleRole {
    /// Looks.
    Viewer,
    /// Looks, restarts, scales, sends, purges.
    #[default]
    Operator,
}

/// A wish: let somebody in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenConsole {
    /// As what.
    #[serde(default)]
    pub role: ConsoleRole,
}

/// A way in, for one login.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsoleLogin {
    /// Where to log in. Behind `#`, which browsers keep to themselves, stands the token.
    pub url: String,
    /// As what.
    pub role: ConsoleRole,
    /// From then on it is worth nothing.
    pub expires_at: Timestamp,
}
