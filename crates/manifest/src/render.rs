//! Writes a text form out: canonical, standing on its own. What `atoll config` prints, what the CLI sends
//! to the node, what the node keeps.

use std::fmt::Write;

use serde_json::Value as Json;

use crate::text::File;

/// The file as a JSON value, which is a legal application file too: every `$` in a value is written `$$`,
/// so that it reads back as it was.
pub fn render_json(file: &File) -> Json {
    // Serialising records of strings, numbers and maps with string keys cannot fail.
    let mut json = serde_json::to_value(file).unwrap_or_default();
    double_dollars(&mut json);
    json
}

/// The file as YAML; `$` as in [`render_json`].
pub fn render_yaml(file: &File) -> String {
    let json = render_json(file);
    let mut text = String::new();
    match &json {
        Json::Object(map) if !map.is_empty() => block(&json, 0, &mut text),
        _ => text.push_str("{}\n"),
    }
    text
}

/// Variables are filled in in values, not in keys.
fn double_dollars(value: &mut Json) {
    match value {
        Json::String(text) if text.contains('$') => *text = text.replace('$', "$$"),
        Json::Array(items) => items.iter_mut().for_each(double_dollars),
        Json::Object(map) => map.values_mut().for_each(double_dollars),
        _ => {}
    }
}

/// Writes a mapping or list that is not empty, one entry to a line.
fn block(value: &Json, indent: usize, out: &mut String) {
    match value {
        Json::Object(map) => {
            for (key, value) in map {
                let _ = write!(out, "{:indent$}{}:", "", string_text(key));
                entry(value, indent, out);
            }
        }
        Json::Array(items) => {
            for item in items {
                let _ = write!(out, "{:indent$}-", "");
                match item {
                    Json::Object(map) if !map.is_empty() => {
                        // `- key: value`: the first entry goes on the line of the dash.
                        let start = out.len();
                        block(item, indent + 2, out);
                        out.replace_range(start..start + indent + 2, " ");
                    }
                    _ => entry(item, indent, out),
                }
            }
        }
        _ => {}
    }
}

/// Writes what follows a `key:` or a `-`.
fn entry(value: &Json, indent: usize, out: &mut String) {
    match value {
        Json::Object(map) if !map.is_empty() => {
            out.push('\n');
            block(value, indent + 2, out);
        }
        Json::Array(items) if !items.is_empty() => {
            out.push('\n');
            block(value, indent + 2, out);
        }
        scalar => {
            let _ = writeln!(out, " {}", scalar_text(scalar));
        }
    }
}

fn scalar_text(value: &Json) -> String {
    match value {
        Json::Object(_) => "{}".to_owned(),
        Json::Array(_) => "[]".to_owned(),
        Json::String(text) => string_text(text),
        other => other.to_string(),
    }
}

/// A string without quotes where every reader takes it for the same string, else between double quotes.
fn string_text(text: &str) -> String {
    if is_plain(text) { text.to_owned() } else { quoted(text) }
}

fn is_plain(text: &str) -> bool {
    let first_ok = text.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '/' | '.' | '_' | '$'));
    let rest_ok = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-$+{}=@,() ".contains(&b));
    // What some YAML reader takes for a bool, null or number.
    let word = matches!(
        text.to_ascii_lowercase().as_str(),
        "true" | "false" | "yes" | "no" | "on" | "off" | "y" | "n" | "null" | ".nan" | ".inf"
    );
    let dot_number = text.starts_with('.') && text[1..].starts_with(|c: char| c.is_ascii_digit());
    first_ok && rest_ok && !word && !dot_number && !text.ends_with(' ') && text != "..." && text.len() <= 200
}

/// YAML's double-quoted style, in ASCII but for what is printable everywhere.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control()
                || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}') =>
            {
                let code = u32::from(c);
                let _ = match code {
                    0..=0xff => write!(out, "\\x{code:02x}"),
                    0x100..=0xffff => write!(out, "\\u{code:04x}"),
                    _ => write!(out, "\\U{code:08x}"),
                };
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
