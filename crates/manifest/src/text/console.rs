//! `console`: the web console.

use super::decode::record;
use super::scalar::Word;
use super::shape::{Form, Switch};

/// `off`, a port or an address, or a mapping.
pub(crate) type ConsoleText = Switch<Form<Word, ConsoleLong>>;

record! {
    /// The web console.
    pub struct ConsoleLong: "a console section" {
        /// Where browsers reach it: a port, or `host:port`.
        listen: Word,
    }
}
