//! A node of YAML while its tag still matters, before it becomes a node of the tree.

use super::limits::Size;
use super::reset::Marks;
use crate::fault::Span;
use crate::tree::{Entry, Node, Scalar, Value};

/// A node while its tag still matters.
#[derive(Clone, Debug)]
pub(super) struct Raw {
    pub(super) value: RawValue,
    pub(super) span: Span,
    /// Its tag, if it is one of Compose's.
    pub(super) mark: Option<Mark>,
}

#[derive(Clone, Debug)]
pub(super) enum RawValue {
    Scalar(Scalar),
    Seq(Vec<Raw>),
    Map(Vec<RawEntry>),
}

#[derive(Clone, Debug)]
pub(super) struct RawEntry {
    pub(super) key: String,
    pub(super) key_span: Span,
    pub(super) value: Raw,
}

/// Compose's two tags: take away what is below, or replace it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    Reset,
    Override,
}

impl Raw {
    /// What this is, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match &self.value {
            RawValue::Scalar(_) => "a scalar",
            RawValue::Seq(_) => "a list",
            RawValue::Map(_) => "a mapping",
        }
    }

    /// What a copy costs, and how deep it goes. Recursion ends at the bound on nesting.
    pub(super) fn measure(&self) -> (Size, usize) {
        let mut size = Size { nodes: 1, text: 0 };
        let mut below = 0;
        match &self.value {
            RawValue::Scalar(scalar) => size.text = scalar.text.len(),
            RawValue::Seq(items) => {
                for item in items {
                    let (inner, depth) = item.measure();
                    size = size + inner;
                    below = below.max(depth);
                }
            }
            RawValue::Map(entries) => {
                for entry in entries {
                    let (inner, depth) = entry.value.measure();
                    size = size + inner;
                    size.text += entry.key.len();
                    below = below.max(depth);
                }
            }
        }
        let own = usize::from(!matches!(self.value, RawValue::Scalar(_)));
        (size, own + below)
    }

    /// The node without its tag. What is marked is written down in `marks` (`in_map`: every step of `path`
    /// is a key), and what is to be reset is left out.
    pub(super) fn into_node(self, path: &mut Vec<String>, in_map: bool, marks: &mut Marks) -> Node {
        let value = match self.value {
            RawValue::Scalar(scalar) => Value::Scalar(scalar),
            RawValue::Seq(items) => {
                let mut nodes = Vec::with_capacity(items.len());
                for item in items {
                    if item.mark != Some(Mark::Reset) {
                        nodes.push(item.into_node(path, false, marks));
                    }
                }
                Value::Seq(nodes)
            }
            RawValue::Map(raw) => {
                let mut entries = Vec::with_capacity(raw.len());
                for entry in raw {
                    // What `x-atoll` holds is moved one level up before anything is merged.
                    let hoisted = entry.key == "x-atoll";
                    if !hoisted {
                        path.push(entry.key.clone());
                    }
                    let mark = entry.value.mark;
                    if in_map && !hoisted && mark.is_some() {
                        marks.add(path);
                    }
                    if mark != Some(Mark::Reset) {
                        let value = entry.value.into_node(path, in_map, marks);
                        entries.push(Entry { key: entry.key, key_span: entry.key_span, value });
                    }
                    if !hoisted {
                        path.pop();
                    }
                }
                Value::Map(entries)
            }
        };
        Node { value, span: self.span }
    }
}

/// A value that is not there.
pub(super) fn null(at: Span) -> Raw {
    Raw { value: RawValue::Scalar(Scalar { text: String::new(), plain: true }), span: at, mark: None }
}

/// What YAML's core schema makes of a plain scalar, if not a string.
pub(super) fn other_than_string(scalar: &Scalar) -> Option<&'static str> {
    if !scalar.plain {
        return None;
    }
    match scalar.text.as_str() {
        "" | "~" | "null" | "Null" | "NULL" => return Some("null"),
        "true" | "True" | "TRUE" | "false" | "False" | "FALSE" => return Some("a boolean"),
        ".nan" | ".NaN" | ".NAN" => return Some("a number"),
        _ => {}
    }
    let text = scalar.text.as_str();
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let based = |prefix: &str, radix: u32| {
        text.strip_prefix(prefix).is_some_and(|d| !d.is_empty() && d.chars().all(|c| c.is_digit(radix)))
    };
    let decimal = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && digits.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-'))
        && digits.parse::<f64>().is_ok();
    let infinite = matches!(digits, ".inf" | ".Inf" | ".INF");
    (decimal || infinite || based("0x", 16) || based("0o", 8)).then_some("a number")
}
