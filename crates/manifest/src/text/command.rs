//! Commands: an argument vector, or a text that is split the way a shell splits words.

use schemars::{Schema, SchemaGenerator, json_schema};

use super::decode::{Decode, Faults, shown};
use super::scalar::note;
use crate::fault::Fault;
use crate::tree::Node;

/// An argument vector. A text is split into words (quotes and backslashes as in a shell) but never run by
/// a shell. Empty: whatever the image has is cleared.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(transparent)]
pub struct Command(pub Vec<String>);

impl Decode for Command {
    fn decode(node: &Node, faults: &mut Faults) -> Option<Self> {
        if node.as_seq().is_some() {
            return words_of_list(node, faults).map(Self);
        }
        let Some(scalar) = node.as_scalar().filter(|_| !node.is_null()) else {
            faults.wrong_type(node, "a command: a string or a list of strings", "[program, argument]");
            return None;
        };
        let words = match split(&scalar.text) {
            Ok(words) => words,
            Err(message) => {
                let hint = "close it, or write the command as a list";
                faults.add(Fault::error("A0207", node.span, message).hint(hint));
                // There is a command: what comes after must not complain that there is none.
                return Some(Self(vec![scalar.text.clone()]));
            }
        };
        if let Some(operator) = words.iter().find(|word| is_operator(word)).filter(|_| !runs_shell(&words)) {
            let message =
                format!("no shell runs this command: `{}` is passed on as an argument", shown(operator));
            note(faults, "A0208", node.span, message, "write it as `[sh, -c, \"…\"]`");
        }
        Some(Self(words))
    }

    fn shape(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }] })
    }
}

/// A command that a shell runs when it is a text, and that is run as it is when it is a list (`prepare`).
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(transparent)]
pub struct Script(pub Vec<String>);

impl Decode for Script {
    fn decode(node: &Node, faults: &mut Faults) -> Option<Self> {
        if node.as_seq().is_some() {
            return words_of_list(node, faults).map(Self);
        }
        let Some(scalar) = node.as_scalar().filter(|_| !node.is_null()) else {
            faults.wrong_type(node, "a command: a string or a list of strings", "cargo build --release");
            return None;
        };
        Some(Self(in_shell(&scalar.text)))
    }

    fn shape(generator: &mut SchemaGenerator) -> Schema {
        Command::shape(generator)
    }
}

/// The argument vector that has a shell run `text`.
pub(crate) fn in_shell(text: &str) -> Vec<String> {
    vec!["/bin/sh".to_owned(), "-c".to_owned(), text.to_owned()]
}

/// What a health check runs: `CMD`, `CMD-SHELL` or `NONE` and the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    /// No check.
    None,
    /// An argument vector.
    Exec(Vec<String>),
    /// A text for the shell.
    Shell(String),
}

impl Decode for Test {
    fn decode(node: &Node, faults: &mut Faults) -> Option<Self> {
        if node.as_seq().is_none() {
            let scalar = node.as_scalar().filter(|_| !node.is_null());
            let Some(scalar) = scalar else {
                faults.wrong_type(
                    node,
                    "a command: a string or a list of strings",
                    "[CMD, curl, -f, localhost]",
                );
                return None;
            };
            return Some(Self::Shell(scalar.text.clone()));
        }
        let words = words_of_list(node, faults)?;
        match words.split_first() {
            Some((first, [])) if first == "NONE" => Some(Self::None),
            Some((first, rest)) if first == "CMD" && !rest.is_empty() => Some(Self::Exec(rest.to_vec())),
            Some((first, [text])) if first == "CMD-SHELL" => Some(Self::Shell(text.clone())),
            _ => {
                let message = "a health check's list starts with `NONE`, `CMD` or `CMD-SHELL`";
                let hint = "write it like `[CMD, program, argument]` or `[CMD-SHELL, \"text\"]`";
                faults.bad_value(node.span, message, hint);
                None
            }
        }
    }

    fn shape(generator: &mut SchemaGenerator) -> Schema {
        Command::shape(generator)
    }
}

impl serde::Serialize for Test {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let list = match self {
            Self::None => vec!["NONE"],
            Self::Exec(words) => std::iter::once("CMD").chain(words.iter().map(String::as_str)).collect(),
            Self::Shell(text) => vec!["CMD-SHELL", text],
        };
        list.serialize(serializer)
    }
}

fn words_of_list(node: &Node, faults: &mut Faults) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut whole = true;
    for item in node.as_seq().unwrap_or_default() {
        match String::decode(item, faults) {
            Some(word) => words.push(word),
            None => whole = false,
        }
    }
    whole.then_some(words)
}

/// A word that a shell would not pass on.
fn is_operator(word: &str) -> bool {
    matches!(word, "&&" | "||" | "|" | ";" | ">" | ">>" | "<" | "&" | "2>&1" | "2>")
}

fn runs_shell(words: &[String]) -> bool {
    words.iter().any(|word| word == "-c" || word == "-lc" || word == "-ec")
}

/// Splits a text into words as a POSIX shell does (quoting only: 2.2 of its command language), without
/// expanding anything.
pub(crate) fn split(text: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\n' | '\r' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some('\'') => break,
                        Some(inner) => word.push(inner),
                        None => return Err("a single quote is not closed"),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some('"') => break,
                        Some('\\') => match chars.next() {
                            Some(escaped @ ('"' | '\\' | '$' | '`')) => word.push(escaped),
                            Some('\n') => {}
                            Some(other) => word.extend(['\\', other]),
                            None => return Err("a double quote is not closed"),
                        },
                        Some(inner) => word.push(inner),
                        None => return Err("a double quote is not closed"),
                    }
                }
            }
            '\\' => match chars.next() {
                Some('\n') => {}
                Some(escaped) => word.get_or_insert_default().push(escaped),
                None => return Err("a backslash at the end escapes nothing"),
            },
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_are_split_as_a_shell_splits_them() {
        let cases: [(&str, &[&str]); 6] = [
            ("a b  c", &["a", "b", "c"]),
            ("a 'b c' \"d \\\"e\\\"\" f\\ g", &["a", "b c", "d \"e\"", "f g"]),
            ("a '' \"\"", &["a", "", ""]),
            ("a\\\n b", &["a", "b"]),
            ("--x='1 2'y", &["--x=1 2y"]),
            ("  ", &[]),
        ];
        for (text, words) in cases {
            assert_eq!(split(text).unwrap(), words, "{text}");
        }
        assert!(split("a 'b").is_err() && split("a \"b").is_err() && split("a\\").is_err());
    }

    proptest! {
        #[test]
        fn a_quoted_word_comes_back_as_it_was(text in "\\PC*") {
            let quoted = format!("'{}'", text.replace('\'', r"'\''"));
            prop_assert_eq!(split(&quoted), Ok(vec![text]));
        }
    }
}
