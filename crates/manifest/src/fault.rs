//! What is wrong with a file, and where.

use std::path::{Path, PathBuf};

use kit::Code;

/// A file that was read: its name as people know it and its text.
#[derive(Clone, Debug)]
pub struct Source {
    /// The path as shown to people: relative to the working directory where that is shorter.
    pub path: PathBuf,
    /// The whole text; cut before the first byte that is not UTF-8.
    pub text: String,
}

/// Every file that took part, in the order of reading. A [`SourceId`] is a place in this list.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    list: Vec<Source>,
}

/// Which file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(u32);

impl Sources {
    /// Adds a file.
    pub fn add(&mut self, path: PathBuf, text: String) -> SourceId {
        self.list.push(Source { path, text });
        SourceId(u32::try_from(self.list.len() - 1).unwrap_or(u32::MAX))
    }

    /// Gives the files known as `old` another name, when there is a better one than how they were read.
    pub(crate) fn rename(&mut self, old: &Path, new: &Path) {
        for source in self.list.iter_mut().filter(|source| source.path == old) {
            source.path = new.to_owned();
        }
    }

    /// The file with this id.
    pub fn get(&self, id: SourceId) -> Option<&Source> {
        self.list.get(id.0 as usize)
    }

    /// All files, first read first.
    pub fn iter(&self) -> impl Iterator<Item = &Source> {
        self.list.iter()
    }

    /// Line and column of a place, both from 1; the column counts characters.
    pub fn line_and_column(&self, span: Span) -> Option<(usize, usize)> {
        let text = &self.get(span.source)?.text;
        let before = text.get(..(span.start as usize).min(text.len()))?;
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Some((before.matches('\n').count() + 1, before[line_start..].chars().count() + 1))
    }
}

/// A stretch of bytes of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// The file.
    pub source: SourceId,
    /// First byte.
    pub start: u32,
    /// One past the last byte; equal to `start` for a point.
    pub end: u32,
}

/// How bad a fault is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The file can be used; something in it has no effect or is likely not meant.
    Warning,
    /// The file cannot be used.
    Error,
}

/// One thing that is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// How bad it is.
    pub severity: Severity,
    /// Its kind: `atoll explain` has the page.
    pub code: Code,
    /// What is wrong: a lowercase fragment.
    pub message: String,
    /// Where; `None` for what has no place (a file that does not exist).
    pub span: Option<Span>,
    /// What to say under the carets; may be empty.
    pub label: String,
    /// Other places that matter, each with what to say there ("first defined here").
    pub also: Vec<(Span, String)>,
    /// What to do next.
    pub hint: Option<String>,
}

impl Fault {
    /// An error with a place.
    pub fn error(code: &'static str, span: Span, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, Some(span), message)
    }

    /// A warning with a place.
    pub fn warning(code: &'static str, span: Span, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, Some(span), message)
    }

    /// A fault of any kind.
    pub fn new(
        severity: Severity,
        code: &'static str,
        span: Option<Span>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            severity,
            code: Code::new(code),
            message: message.into(),
            span,
            label: String::new(),
            also: Vec::new(),
            hint: None,
        }
    }

    /// Says something under the carets.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Points at another place that matters.
    #[must_use]
    pub fn also(mut self, span: Span, label: impl Into<String>) -> Self {
        self.also.push((span, label.into()));
        self
    }
}
