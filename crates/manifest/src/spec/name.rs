//! Names of apps, services, queues and topics.

use std::fmt;
use std::str::FromStr;

/// Why a text is not a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a name: {rule}")]
pub struct BadName {
    /// What was written.
    pub text: String,
    /// The rule it breaks.
    pub rule: &'static str,
}

/// An app's name: lower-case letters, digits, `-` and `_`, first a letter or digit (Compose's rule for a
/// project name), at most [`AppName::MAX_LEN`] long.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppName(String);

impl AppName {
    /// Characters at most.
    pub const MAX_LEN: usize = 63;

    /// The text of the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Makes a name of any text the way Compose makes one of a directory: lower case, what is not allowed
    /// dropped. `None` when nothing is left.
    pub fn normalize(text: &str) -> Option<Self> {
        let kept: String = text
            .to_lowercase()
            .chars()
            .filter(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_'))
            .collect();
        let kept: String = kept.trim_start_matches(['-', '_']).chars().take(Self::MAX_LEN).collect();
        kept.parse().ok()
    }
}

impl FromStr for AppName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let first_ok = text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
        let rest_ok =
            text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'));
        if !first_ok || !rest_ok || text.len() > Self::MAX_LEN {
            let rule = "lower-case letters, digits, `-` and `_`, first a letter or digit, at most 63";
            return Err(BadName { text: text.to_owned(), rule });
        }
        Ok(Self(text.to_owned()))
    }
}

/// A service's name: letters, digits, `.`, `_` and `-` (Compose's rule), first a letter or digit, at most
/// [`ServiceName::MAX_LEN`] long, so that it is safe as a file name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceName(String);

impl ServiceName {
    /// Characters at most.
    pub const MAX_LEN: usize = 63;

    /// The text of the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as the front of environment variables: `user-api` is `USER_API`.
    pub fn env_prefix(&self) -> String {
        self.0.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
    }
}

impl FromStr for ServiceName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let first_ok = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        let rest_ok = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
        if !first_ok || !rest_ok || text.len() > Self::MAX_LEN {
            let rule = "letters, digits, `.`, `_` and `-`, first a letter or digit, at most 63";
            return Err(BadName { text: text.to_owned(), rule });
        }
        Ok(Self(text.to_owned()))
    }
}

/// A queue's or topic's name as the file has it: letters, digits, `-` and `_`, at most
/// [`PipeName::MAX_TOPIC`] long. `.fifo`, which ends the name of one that keeps order, is no part of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PipeName(String);

impl PipeName {
    /// Characters of a queue's name at most, `.fifo` included.
    pub const MAX_QUEUE: usize = 80;
    /// Characters of a topic's name at most, `.fifo` included.
    pub const MAX_TOPIC: usize = 256;
    /// What ends the name of a queue or topic that keeps order.
    pub const FIFO: &str = ".fifo";

    /// The text of the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name that clients use.
    pub fn on_the_wire(&self, fifo: bool) -> String {
        format!("{}{}", self.0, if fifo { Self::FIFO } else { "" })
    }
}

impl FromStr for PipeName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let fits = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        if text.is_empty() || !fits || text.len() > Self::MAX_TOPIC {
            let rule = "letters, digits, `-` and `_`, at most 80 for a queue and 256 for a topic";
            return Err(BadName { text: text.to_owned(), rule });
        }
        Ok(Self(text.to_owned()))
    }
}

macro_rules! shown_as_text {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

shown_as_text!(AppName);
shown_as_text!(ServiceName);
shown_as_text!(PipeName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_name_is_safe_as_a_file_name() {
        for good in ["catalog", "user_api", "a.b-c", "3d", "API"] {
            assert!(good.parse::<ServiceName>().is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "-a", "_a", "a/b", "a b", "ä", &"a".repeat(64)] {
            assert!(bad.parse::<ServiceName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_environment_prefix_has_only_what_shells_take() {
        assert_eq!("user-api.v2".parse::<ServiceName>().unwrap().env_prefix(), "USER_API_V2");
    }

    #[test]
    fn a_pipe_has_a_name_that_every_client_takes() {
        for good in ["a", "Jobs_2-x", &"t".repeat(256)] {
            assert!(good.parse::<PipeName>().is_ok(), "{good}");
        }
        for bad in ["", "a.fifo", "a b", "ä", "a/b", &"t".repeat(257)] {
            assert!(bad.parse::<PipeName>().is_err(), "{bad}");
        }
        assert_eq!("a".parse::<PipeName>().unwrap().on_the_wire(true), "a.fifo");
    }

    #[test]
    fn a_directory_becomes_a_project_name_as_in_compose() {
        assert_eq!(AppName::normalize("My Shop_2").unwrap().as_str(), "myshop_2");
        assert_eq!(AppName::normalize("__x").unwrap().as_str(), "x");
        assert_eq!(AppName::normalize("!!!"), None);
    }
}
