//! Keyspaces: few, declared by whoever owns their keys.

use std::fmt;

/// A keyspace of the store: an ordered map of its own, in the same journal as all others. Tenants, queues and tables are
/// prefixes of keys, never spaces: each space costs memory of its own.
///
/// Declared as a constant by the crate that owns the keys. Number and name are written to disk: neither may change
/// or be given to another space.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Space {
    /// Its number, 1 to [`Space::MOST`]. 0 is the store's own.
    id: u8,
    name: &'static str,
    kind: SpaceKind,
}

/// How the keys of a space are used, for the engine to choose its settings by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SpaceKind {
    /// Each key is put once and deleted once; large values at a high rate. [`crate::Op::Delete`] of such a key may
    /// annihilate its put. Putting one a second time is an error of the caller that may bring the first value back.
    WriteOnce,
    /// Keys are put again and again; small values at a high rate.
    Rewritten,
    /// Few keys or few writes.
    Quiet,
}

impl Space {
    /// The highest number of a space.
    pub const MOST: u8 = 48;

    /// The store's own.
    pub(crate) const OWN: Self = Self { id: 0, name: "store", kind: SpaceKind::Quiet };

    /// Declares a space. Panics, at compile time where it stands in a constant, if the number is out of bounds or the
    /// name is not `a-z`, `0-9`, `.` and `_`.
    pub const fn new(id: u8, name: &'static str, kind: SpaceKind) -> Self {
        assert!(id >= 1 && id <= Self::MOST, "the number of a space is 1 to 48");
        let bytes = name.as_bytes();
        assert!(!bytes.is_empty() && bytes.len() <= 32, "the name of a space has 1 to 32 characters");
        let mut at = 0;
        while at < bytes.len() {
            let byte = bytes[at];
            assert!(byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'.' || byte == b'_');
            at += 1;
        }
        Self { id, name, kind }
    }

    /// Its number.
    pub const fn id(self) -> u8 {
        self.id
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        self.name
    }

    /// How its keys are used.
    pub const fn kind(self) -> SpaceKind {
        self.kind
    }
}

impl fmt::Debug for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}
