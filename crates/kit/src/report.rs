//! How an error speaks to a person: what failed, why, and what to do next.
//!
//! `Display` of an error says one level as a lowercase fragment. Only [`render`] walks the causes,
//! adds the code and the hint; nothing else in Atoll prints a chain.

use std::error::Error;
use std::fmt;

/// A stable name for one kind of failure, such as `A0601`; `atoll explain A0601` has its page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(&'static str);

impl Code {
    /// Makes a code. Codes are written in the source as `Code::new("A0601")`, where a test finds them
    /// and asks for their page in `docs/errors`.
    pub const fn new(text: &'static str) -> Self {
        Self(text)
    }

    /// The text of the code.
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// The process exit statuses of `atoll`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 1: what was asked for did not happen.
    Failed,
    /// 2: the command line or the application file is wrong; nothing was tried.
    Usage,
}

/// What goes with an error beyond its text.
#[derive(Clone, Debug)]
pub struct Help {
    /// The code of this kind of failure.
    pub code: Code,
    /// What to do next, one imperative sentence without a full stop.
    pub hint: Option<String>,
    /// The exit status of a command that ends with this error.
    pub exit: Exit,
}

impl Help {
    /// Help with a code and nothing else; exit status 1.
    pub const fn code(code: &'static str) -> Self {
        Self { code: Code::new(code), hint: None, exit: Exit::Failed }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Marks the error as the caller's: exit status 2.
    #[must_use]
    pub const fn usage(mut self) -> Self {
        self.exit = Exit::Usage;
        self
    }
}

/// An error that a user can meet.
pub trait Explain: Error {
    /// The code, the hint and the exit status of this error.
    fn help(&self) -> Help;
}

/// Joins an error and its causes into one line: `cannot read x: permission denied`. A cause whose text
/// is already part of the line is not said twice.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let text = inner.to_string();
        if !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        cause = inner.source();
    }
    line
}

/// Renders an error for a person, without colours.
///
/// ```text
/// error[A0603]: cannot listen on 127.0.0.1:8080: address in use
///   hint: stop what holds the port, or run with `--isolated`
/// ```
pub fn render<E: Explain + 'static>(error: &E) -> String {
    let help = error.help();
    let mut text = format!("error[{}]: {}\n", help.code, chain(error));
    if let Some(hint) = help.hint {
        text.push_str(&format!("  hint: {hint}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read the list")]
    struct Outer(#[source] std::io::Error);

    impl Explain for Outer {
        fn help(&self) -> Help {
            Help::code("A0000").hint("look twice")
        }
    }

    #[test]
    fn an_error_is_rendered_with_its_causes_and_its_hint() {
        let error = Outer(std::io::Error::other("disk on fire"));
        assert_eq!(render(&error), "error[A0000]: cannot read the list: disk on fire\n  hint: look twice\n");
    }
}
