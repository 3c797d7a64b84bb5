//! Fills variables into the values of a tree, file by file, before anything is merged. Keys stay as written.

use super::limits::Size;
use super::parse::nearest;
use super::session::{Env, Session};
use super::template::{self, Why};
use crate::fault::{Fault, Span};
use crate::tree::{Node, Value};

/// Fills in every scalar below `node`. A bad reference, or a required variable without a value, is a
/// fault; an unset variable is a warning, once per variable.
pub(super) fn interpolate(session: &mut Session<'_>, node: &mut Node, env: &Env) {
    match &mut node.value {
        Value::Scalar(scalar) => {
            if !scalar.text.contains('$') {
                return;
            }
            let Some(text) = fill(session, &scalar.text, node.span, env) else { return };
            // What a variable held is a string, also where it reads like nothing: `A: ${EMPTY}` is an
            // empty `A`, not one taken from the surroundings.
            scalar.plain &= !matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL");
            scalar.text = text;
        }
        Value::Seq(items) => {
            for item in items {
                interpolate(session, item, env);
            }
        }
        Value::Map(entries) => {
            for entry in entries {
                interpolate(session, &mut entry.value, env);
            }
        }
    }
}

/// Fills in one text that stands at `span`.
pub(super) fn fill(session: &mut Session<'_>, text: &str, span: Span, env: &Env) -> Option<String> {
    match template::fill(text, &|name| env.get(name).cloned()) {
        Ok(filled) => {
            for (name, at) in filled.unset {
                if !session.full() && session.unset.insert(name.clone()) {
                    let place = place(session, text, &at, span);
                    let message = format!("the variable `{name}` is not set: it is read as empty");
                    let near = nearest(&name, env.keys());
                    let mut fault = Fault::warning("A0112", place, message);
                    fault.hint = Some(match near {
                        Some(near) => format!("set it, or did you mean `{near}`?"),
                        None => format!("set it in `.env`, or give a default: `${{{name}:-…}}`"),
                    });
                    session.fault(fault);
                }
            }
            session.charge(Size { nodes: 0, text: filled.text.len() }, span).ok()?;
            Some(filled.text)
        }
        Err(bad) => {
            let place = place(session, text, &bad.at, span);
            let (message, hint) = bad.why.say(&text[bad.at]);
            let code = match bad.why {
                Why::Missing { .. } => "A0111",
                _ => "A0110",
            };
            session.fault(Fault::error(code, place, message).hint(hint));
            None
        }
    }
}

/// The place of a part of a scalar's text. Where quotes, escapes or folding moved the text, the same
/// words are looked up in what is written; failing that it is the whole scalar.
fn place(session: &Session<'_>, text: &str, part: &std::ops::Range<usize>, span: Span) -> Span {
    let Some(written) = session.text_at(span) else { return span };
    let words = &text[part.clone()];
    let lead = written.bytes().take_while(|b| matches!(b, b'"' | b'\'')).count().min(1);
    let start = if written.get(lead + part.start..lead + part.end) == Some(words) {
        Some(lead + part.start)
    } else {
        written.find(words)
    };
    let Some(start) = start else { return span };
    let byte = |at: usize| span.start + u32::try_from(at).unwrap_or(0);
    Span { source: span.source, start: byte(start), end: byte(start + words.len()) }
}
