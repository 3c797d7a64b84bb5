//! What services threw, and which of it is the same error.

use std::fmt;
use std::str::FromStr;

use super::value::size_of_attributes;
use super::{Attributes, SpanId, Text, TraceId};

/// An error that a service threw.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ErrorEvent {
    /// Its id, as whoever sent it made it: 32 hexadecimal digits; empty where it has none.
    pub id: Text,
    /// When, in nanoseconds since the Unix epoch; 0 where nobody said: then the time of its arrival is put in.
    pub time_ns: u64,
    /// Who threw it.
    pub service: Text,
    /// The instance; empty where that is not known.
    pub instance: Text,
    /// Its type: `ValueError`.
    pub kind: Text,
    /// What it says: `no such book`.
    pub value: Text,
    /// Where, the innermost frame last.
    pub frames: Vec<Frame>,
    /// The release of the service; empty where that is not known.
    pub release: Text,
    /// The environment: `production`; empty where that is not known.
    pub environment: Text,
    /// What makes it the same error as another, said by the service; empty: type and frames decide.
    pub fingerprint: Vec<Text>,
    /// The trace that led to it.
    pub trace: Option<TraceId>,
    /// The span it was thrown in.
    pub span: Option<SpanId>,
    /// Tags and what else came with it.
    pub attributes: Attributes,
}

/// A frame of a stack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// The function; may be empty.
    pub function: Text,
    /// The module; may be empty.
    pub module: Text,
    /// The file; may be empty.
    pub file: Text,
    /// The line; 0 where that is not known.
    pub line: u32,
    /// It belongs to the service rather than to a library.
    pub in_app: bool,
}

/// Names a group of errors: 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub u64);

/// What was given for a group is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a group of errors has 16 hexadecimal digits")]
pub struct BadGroupId;

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for GroupId {
    type Err = BadGroupId;
    fn from_str(text: &str) -> Result<Self, BadGroupId> {
        let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let id = digits.then(|| u64::from_str_radix(text, 16).ok()).flatten();
        id.map(Self).ok_or(BadGroupId)
    }
}

/// Where a group of errors stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ErrorState {
    /// Nobody has decided anything.
    #[default]
    Open,
    /// Somebody said that it is mended.
    Resolved,
    /// It was resolved and has happened again.
    Regressed,
    /// Nobody wants to hear of it.
    Ignored,
}

/// Errors that are the same one.
#[derive(Clone, Debug, PartialEq)]
pub struct ErrorGroup {
    /// Its id.
    pub id: GroupId,
    /// Who threw it.
    pub service: Text,
    /// The type of the error.
    pub kind: Text,
    /// What the last of them says.
    pub value: Text,
    /// The function that threw it, in the service's own code where that is known; may be empty.
    pub culprit: Text,
    /// Where it stands.
    pub state: ErrorState,
    /// How often it was seen.
    pub count: u64,
    /// For the first time, in nanoseconds since the Unix epoch.
    pub first_seen_ns: u64,
    /// For the last time.
    pub last_seen_ns: u64,
    /// When somebody last said that it is mended; 0: never.
    pub resolved_ns: u64,
    /// The release it was first seen in; may be empty.
    pub first_release: Text,
    /// The release it was last seen in; may be empty.
    pub last_release: Text,
}

/// An error as it is kept: with the group it belongs to.
#[derive(Clone, Debug, PartialEq)]
pub struct TakenError {
    /// The group.
    pub group: GroupId,
    /// What happened.
    pub event: ErrorEvent,
}

impl ErrorEvent {
    /// About how many bytes it takes in memory.
    pub(crate) fn size(&self) -> usize {
        let frames: usize = self
            .frames
            .iter()
            .map(|f| size_of::<Frame>() + f.function.len() + f.module.len() + f.file.len())
            .sum();
        size_of::<Self>() + self.kind.len() + self.value.len() + frames + size_of_attributes(&self.attributes)
    }
}

/// Whether a file is one that cargo has fetched: `…/registry/src/NAME-16 digits/…` or `…/git/checkouts/NAME-16 digits/…`. A service's
/// own folder may be called `registry`.
pub(crate) fn is_of_cargo(path: &str) -> bool {
    let fetched = |below: &str| {
        let digits = below.split_once('/').and_then(|(source, _)| Some(source.rsplit_once('-')?.1));
        digits.is_some_and(|digits| digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    let below = |folder| path.match_indices(folder).map(|(at, folder)| &path[at + folder.len()..]);
    ["/registry/src/", "/git/checkouts/"].into_iter().flat_map(below).any(fetched)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cargo_has_fetched_is_told_from_a_folder_of_that_name() {
        assert!(is_of_cargo("/c/.cargo/registry/src/index-1949cf8c6b5b557f/serde-1.0.0/src/de.rs"));
        assert!(is_of_cargo("/c/git/checkouts/fjall-0123456789abcdef/abc1234/src/lib.rs"));
        assert!(is_of_cargo("/app/registry/src/c/registry/src/index-1949cf8c6b5b557f/a-1.0.0/src/de.rs"));
        for own in
            ["/app/registry/src/app.js", "/app/registry/src/a-b/app.js", "crates/registry/src/lib.rs", ""]
        {
            assert!(!is_of_cargo(own), "{own}");
        }
    }
}
