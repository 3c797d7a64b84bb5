//! `x-atoll: {K: …}` becomes `K` at the same level, so that a file with keys of ours can stay legal for
//! other tools.

use std::collections::HashMap;

use super::session::Session;
use crate::fault::{Fault, Span};
use crate::tree::{Entry, Node, Value};

/// The key whose content is moved up.
const KEY: &str = "x-atoll";

/// Hoists at the top level and everywhere below a service, a function, the gateway, `pipes`, `telemetry` or `console`.
pub(super) fn hoist(session: &mut Session<'_>, root: &mut Node) {
    lift(session, root, true);
    let Value::Map(entries) = &mut root.value else { return };
    for section in entries {
        match section.key.as_str() {
            "services" | "functions" | "volumes" | "networks" | "secrets" | "configs" => {
                // Names are the author's own: a service may well be called `x-atoll`.
                let Value::Map(named) = &mut section.value.value else { continue };
                for entry in named {
                    below(session, &mut entry.value, true);
                }
            }
            "gateway" | "pipes" | "telemetry" | "console" => below(session, &mut section.value, true),
            _ => {}
        }
    }
}

fn below(session: &mut Session<'_>, node: &mut Node, known: bool) {
    lift(session, node, known);
    match &mut node.value {
        Value::Scalar(_) => {}
        Value::Seq(items) => {
            for item in items {
                below(session, item, false);
            }
        }
        Value::Map(entries) => {
            for entry in entries {
                below(session, &mut entry.value, false);
            }
        }
    }
}

/// Moves the entries of `x-atoll` into `node` itself. `strict`: this mapping takes keys of ours for sure,
/// so anything but a mapping is a fault; elsewhere (a label of that name) it is left alone.
fn lift(session: &mut Session<'_>, node: &mut Node, strict: bool) {
    let Value::Map(entries) = &mut node.value else { return };
    let Some(at) = entries.iter().position(|entry| entry.key == KEY) else { return };
    if entries[at].value.as_map().is_none() {
        if strict && !entries[at].value.is_null() {
            let entry = &entries[at];
            let message = format!("`{KEY}` takes a mapping, this is {}", entry.value.kind());
            let hint = format!("write the keys below it: `{KEY}: {{routes: […]}}`");
            session.fault(Fault::error("A0119", entry.value.span, message).hint(hint));
        }
        if strict {
            entries.remove(at);
        }
        return;
    }
    let Entry { key_span, value: Node { value: Value::Map(ours), .. }, .. } = entries.remove(at) else {
        return;
    };
    let known: HashMap<String, Span> =
        entries.iter().map(|entry| (entry.key.clone(), entry.key_span)).collect();
    let mut fresh = Vec::with_capacity(ours.len());
    for entry in ours {
        let Some(&other) = known.get(&entry.key) else {
            fresh.push(entry);
            continue;
        };
        let message = format!("`{}` stands both here and below `{KEY}`", entry.key);
        let fault = Fault::error("A0119", entry.key_span, message)
            .label(format!("below `{KEY}`"))
            .also(other, "and here")
            .also(key_span, "this puts its keys at the level it stands on")
            .hint("keep one of them");
        session.fault(fault);
    }
    entries.splice(at..at, fresh);
}
