//! What the YAML parser complains about, in words that help.

use granit_parser::{ErrorKind, ScanError};

use crate::fault::{Fault, SourceId, Span};

/// The fault for a syntax error. `read`: up to here all was well.
pub(super) fn fault(error: &ScanError, source: SourceId, text: &str, read: usize) -> Fault {
    let mut at = error.marker().byte_offset().unwrap_or(0).min(text.len());
    match error.kind() {
        // The parser notices the end of the text; what people look for is its start.
        ErrorKind::UnclosedQuotedScalar
        | ErrorKind::DocumentIndicatorInQuotedScalar
        | ErrorKind::InvalidQuotedScalarIndent => {
            at = text.get(read..at).and_then(|rest| rest.find(['"', '\''])).map_or(at, |quote| read + quote);
        }
        // It has passed the tab.
        _ if at > 0 && text.as_bytes()[at - 1] == b'\t' && is_tab(error.kind()) => at -= 1,
        _ => {}
    }
    let (message, hint) = explain(error.kind());
    let message = message.map_or_else(|| error.kind().to_string(), str::to_owned);
    if let Some(control) = text.get(at..).and_then(|rest| rest.chars().next()).filter(|c| c.is_control())
        && matches!(error.kind(), ErrorKind::UnexpectedCharacter { .. })
    {
        let message = format!("the control character U+{:04X} stands here", u32::from(control));
        let hint = "take it out; between double quotes `\\x1b` stands for one";
        return Fault::error(code(error.kind()), place(text, at, source), message).hint(hint);
    }
    Fault::error(code(error.kind()), place(text, at, source), message).hint(hint)
}

/// One character at `at`; at the end of a line, or of the text, a point.
fn place(text: &str, at: usize, source: SourceId) -> Span {
    let mut start = at;
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    let width = match text[start..].chars().next() {
        None | Some('\n' | '\r') => 0,
        Some(c) => c.len_utf8(),
    };
    let byte = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    Span { source, start: byte(start), end: byte(start + width) }
}

fn is_tab(kind: &ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::TabInBlockIndentation
            | ErrorKind::TabInIndentation
            | ErrorKind::TabNotAllowed
            | ErrorKind::TabAtBlockScalarStart
            | ErrorKind::TabInPlainScalar
    )
}

fn code(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::RecursionLimitExceeded => "A0108",
        _ => "A0105",
    }
}

/// A clearer message where we have one, and a hint.
fn explain(kind: &ErrorKind) -> (Option<&'static str>, &'static str) {
    match kind {
        kind if is_tab(kind) => (Some("a tab stands where YAML takes spaces only"), "indent with spaces"),
        ErrorKind::UnclosedQuotedScalar
        | ErrorKind::DocumentIndicatorInQuotedScalar
        | ErrorKind::InvalidQuotedScalarIndent => (
            Some("the quoted text that starts here is not closed"),
            "close the quote; `'` inside single quotes is written `''`, `\"` inside double quotes `\\\"`",
        ),
        ErrorKind::InvalidTrailingSingleQuotedScalar | ErrorKind::InvalidTrailingDoubleQuotedScalar => (
            Some("text follows a closed quote"),
            "put the whole value in quotes; `'` inside single quotes is written `''`",
        ),
        ErrorKind::UnknownQuotedScalarEscape => (
            Some("this backslash sequence is not known"),
            "write `\\\\` for a backslash, or use single quotes",
        ),
        ErrorKind::UnclosedFlowCollection { .. }
        | ErrorKind::UnexpectedEofFlowSequence
        | ErrorKind::UnexpectedEofFlowMapping
        | ErrorKind::UnexpectedEofImplicitFlowMapping => (
            Some("this `[` or `{` is never closed"),
            "close it, or put the text in quotes if it is meant literally",
        ),
        ErrorKind::ExpectedFlowMappingSeparator => {
            (Some("expected `,` or `}`"), "entries between braces are separated by commas")
        }
        ErrorKind::ExpectedFlowSequenceSeparator => {
            (Some("expected `,` or `]`"), "items between brackets are separated by commas")
        }
        ErrorKind::MisplacedFlowCollectionEnd | ErrorKind::MismatchedFlowCollectionEnd { .. } => {
            (None, "each bracket needs its counterpart; put a literal one in quotes")
        }
        ErrorKind::ExpectedBlockMappingKey | ErrorKind::SimpleKeyExpected | ErrorKind::InvalidSimpleKey => (
            Some("expected `key: value`"),
            "is a colon missing, or is this line indented differently from its neighbours?",
        ),
        ErrorKind::MappingValueNotAllowed | ErrorKind::InvalidColonPlacement => (
            Some("a second `: ` in one line, or a key under a value"),
            "put a text with `: ` in quotes; put a nested mapping on lines of its own",
        ),
        ErrorKind::MappingKeyNotAllowed
        | ErrorKind::InvalidIndentation
        | ErrorKind::ExpectedBlockSequenceEntry
        | ErrorKind::BlockSequenceEntryNotAllowed
        | ErrorKind::UnexpectedEndOfPlainScalar => {
            (None, "check the indentation: lines that belong together start in the same column")
        }
        ErrorKind::UnexpectedCharacter { .. } => {
            (None, "put texts that start with `@`, `` ` `` or `%` in quotes")
        }
        ErrorKind::CommentNotSeparated => (None, "put a space before `#`, or quotes around the text"),
        ErrorKind::RecursionLimitExceeded => (
            Some("too many mappings and lists inside each other"),
            "nothing an app needs is nested this deep",
        ),
        ErrorKind::UndeclaredTagHandle => (None, "known tags are `!reset` and `!override`"),
        _ => (None, "check quotes, brackets and indentation around this place"),
    }
}
