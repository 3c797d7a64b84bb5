//! The accumulating decoder: from a spanned tree to typed records, every fault on the way noted, none
//! of them ending the walk.
//!
//! [`record!`] and [`words!`] make a type, its decoding, its serialisation and its JSON Schema from one
//! list, so that a key is written once.

use std::collections::HashSet;

use kit::Code;
use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::fault::{Fault, Severity, Span};
use crate::tree::{Entry, Node};

/// Faults of one kind kept per file; a hostile file cannot make more.
const MAX_FAULTS: usize = 100;
/// Faults that are remembered to be said once.
const MAX_SAID: usize = 1000;
/// Names that are compared with a wrong one at most.
const MAX_CANDIDATES: usize = 2000;
/// A list of legal keys up to this long is printed whole.
const SHORT_LIST: usize = 14;

/// Everything wrong that was found so far. Bounded: past [`MAX_FAULTS`] errors (or warnings) the rest is
/// counted and said in one line.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    list: Vec<Fault>,
    errors: usize,
    warnings: usize,
    /// What was said already: services that share a part of the file (an anchor, a merge key) share its
    /// faults.
    said: HashSet<(Code, Option<Span>, String)>,
}

impl Faults {
    /// Notes a fault, once.
    pub(crate) fn add(&mut self, fault: Fault) {
        let key = (fault.code, fault.span, fault.message.clone());
        if self.said.len() < MAX_SAID && !self.said.insert(key) {
            return;
        }
        let count = match fault.severity {
            Severity::Error => &mut self.errors,
            Severity::Warning => &mut self.warnings,
        };
        *count += 1;
        if *count <= MAX_FAULTS {
            self.list.push(fault);
        }
    }

    /// Whether an error was noted.
    pub(crate) fn any_error(&self) -> bool {
        self.errors > 0
    }

    /// Whether an error was noted at a place from `first` to the end of `last`.
    pub(crate) fn any_error_in(&self, first: Span, last: Span) -> bool {
        let inside = |span: Span| {
            span.source == first.source && first.start <= span.start && span.end <= last.end.max(first.end)
        };
        self.list.iter().any(|fault| fault.severity == Severity::Error && fault.span.is_some_and(inside))
    }

    /// No further error would be kept: not worth looking for hints.
    pub(crate) fn full(&self) -> bool {
        self.errors >= MAX_FAULTS
    }

    /// The faults, in the order of their places.
    pub(crate) fn into_list(mut self) -> Vec<Fault> {
        self.list.sort_by_key(|fault| fault.span);
        for (count, severity, what) in
            [(self.errors, Severity::Error, "errors"), (self.warnings, Severity::Warning, "warnings")]
        {
            if count > MAX_FAULTS {
                let message = format!("{} more {what} are not shown", count - MAX_FAULTS);
                self.list.push(
                    Fault::new(severity, "A0210", None, message).hint("mend those above and check again"),
                );
            }
        }
        self.list
    }

    /// Notes that something else stands where `expected` should.
    pub(crate) fn wrong_type(&mut self, node: &Node, expected: &str, example: &str) {
        let message = format!("expected {expected}, found {}", found(node));
        let mut fault = Fault::error("A0202", node.span, message);
        if node.as_scalar().is_none() {
            fault = fault.label(format!("this is {}", node.kind()));
        }
        if !example.is_empty() {
            fault = fault.hint(format!("write it like `{example}`"));
        }
        self.add(fault);
    }

    /// Notes a value of the right type that is not legal.
    pub(crate) fn bad_value(&mut self, span: Span, message: impl Into<String>, hint: impl Into<String>) {
        self.add(Fault::error("A0203", span, message).hint(hint));
    }

    fn unknown_key(&mut self, entry: &Entry, what: &str, legal: &[&'static str]) {
        if self.full() {
            self.errors += 1;
            return;
        }
        let fault =
            Fault::error("A0201", entry.key_span, format!("{what} has no key `{}`", shown(&entry.key)));
        let fault = fault.label("unknown key");
        let keys = || legal.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
        self.add(match nearest(&entry.key, legal.iter().copied()) {
            Some(near) => fault.hint(format!("did you mean `{near}`?")),
            None if legal.len() <= SHORT_LIST => fault.hint(format!("the keys are {}", keys())),
            None => fault.hint("keys of your own start with `x-`; `atoll schema` lists the rest"),
        });
    }
}

/// What a node is, with its text when that is short.
fn found(node: &Node) -> String {
    match node.as_scalar() {
        Some(_) if node.is_null() => "nothing".to_owned(),
        Some(scalar) => format!("`{}`", shown(&scalar.text)),
        None => node.kind().to_owned(),
    }
}

/// A text cut to what fits into a message.
pub(crate) fn shown(text: &str) -> String {
    const MOST: usize = 60;
    let line = text.lines().next().unwrap_or_default();
    if line.len() == text.len() && line.chars().count() <= MOST {
        return text.to_owned();
    }
    line.chars().take(MOST).chain(['…']).collect()
}

/// The candidate that is most like `text`, if one is near enough to have been meant.
pub(crate) fn nearest<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if text.is_empty() || text.len() > 64 {
        return None;
    }
    let folded = text.to_ascii_lowercase().replace('-', "_");
    let mut best: Option<(f64, &str)> = None;
    for candidate in candidates.into_iter().take(MAX_CANDIDATES) {
        let other = candidate.to_ascii_lowercase().replace('-', "_");
        let likeness =
            if other == folded { 1.0 } else { strsim::normalized_damerau_levenshtein(&folded, &other) };
        // A plural or a cut-off word is near, however short.
        let part = folded.len() >= 3
            && (other.starts_with(&folded) || folded.starts_with(&other) && other.len() >= 3);
        let likeness = if part { likeness.max(0.8) } else { likeness };
        if likeness >= 0.6 && best.is_none_or(|(most, _)| likeness > most) {
            best = Some((likeness, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// What can be read from a tree.
pub(crate) trait Decode: Sized {
    /// Reads it; `None` when it is too wrong to go on with, which is then noted.
    fn decode(node: &Node, faults: &mut Faults) -> Option<Self>;

    /// What an editor should know of it.
    fn shape(generator: &mut SchemaGenerator) -> Schema;
}

/// A value with the places of itself and of its key.
#[derive(Clone, Debug, PartialEq)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub span: Span,
    /// Where its key stands; the same as `span` for an item of a list.
    pub key: Span,
}

impl<T> std::ops::Deref for At<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

/// Reads the value of an entry.
pub(crate) fn at_entry<T: Decode>(entry: &Entry, faults: &mut Faults) -> Option<At<T>> {
    let value = T::decode(&entry.value, faults)?;
    Some(At { value, span: entry.value.span, key: entry.key_span })
}

/// Reads an item of a list.
pub(crate) fn at_item<T: Decode>(node: &Node, faults: &mut Faults) -> Option<At<T>> {
    let value = T::decode(node, faults)?;
    Some(At { value, span: node.span, key: node.span })
}

impl<T> At<T> {
    /// The same places with another value.
    pub(crate) fn with<U>(&self, value: U) -> At<U> {
        At { value, span: self.span, key: self.key }
    }
}

impl<T: serde::Serialize> serde::Serialize for At<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(serializer)
    }
}

impl<T: Decode> JsonSchema for At<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "value".into()
    }

    fn schema_id() -> std::borrow::Cow<'static, str> {
        std::any::type_name::<Self>().into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::shape(generator)
    }
}

/// What a generated record knows about itself.
pub(crate) trait Record: Sized {
    /// Its keys, in the order of the list that made it.
    const KEYS: &'static [&'static str];

    /// The keys that are set, each with its place.
    fn present(&self) -> Vec<(&'static str, Span)>;
}

/// Closes an object schema but for `x-` keys, and takes out the `null` that stands for an absent field:
/// editors then say what is wrong with a value instead of naming alternatives.
pub(crate) fn closed(schema: &mut Schema) {
    schema.insert("additionalProperties".into(), false.into());
    schema.insert("patternProperties".into(), serde_json::json!({ "^x-": {} }));
    let properties = schema.get_mut("properties").and_then(serde_json::Value::as_object_mut);
    for property in properties.into_iter().flat_map(serde_json::Map::values_mut) {
        without_null(property);
    }
}

fn without_null(property: &mut serde_json::Value) {
    let Some(property) = property.as_object_mut() else { return };
    if let Some(types) = property.get_mut("type").and_then(serde_json::Value::as_array_mut) {
        types.retain(|name| name != "null");
    }
    let Some(forms) = property.get_mut("anyOf").and_then(serde_json::Value::as_array_mut) else { return };
    forms.retain(|form| *form != serde_json::json!({ "type": "null" }));
    if let [serde_json::Value::Object(only)] = &mut forms[..] {
        let only = std::mem::take(only);
        property.remove("anyOf");
        for (key, value) in only {
            property.entry(key).or_insert(value);
        }
    }
}

/// The entries of a record, unknown and missing keys noted. `take` reads one entry and says whether it
/// knew the key. An absent value (`key:`) is no fault: it is as if the key were not there.
pub(crate) fn decode_record(
    node: &Node,
    faults: &mut Faults,
    what: &str,
    legal: &[&'static str],
    required: &[&str],
    mut take: impl FnMut(&Entry, &mut Faults) -> bool,
) -> Option<()> {
    if node.is_null() && required.is_empty() {
        return Some(());
    }
    let Some(entries) = node.as_map() else {
        let usual = legal.iter().find(|key| **key == "command").or(legal.first());
        let example = usual.map(|key| format!("{key}: …")).unwrap_or_default();
        faults.wrong_type(node, &format!("{what} (a mapping)"), &example);
        return None;
    };
    for entry in entries {
        if !take(entry, faults) {
            faults.unknown_key(entry, what, legal);
        }
    }
    for key in required {
        if !entries.iter().any(|entry| entry.key == *key && !entry.value.is_null()) {
            let fault = Fault::error("A0204", node.span, format!("{what} needs the key `{key}`"));
            faults.add(fault.label(format!("`{key}` is missing")));
        }
    }
    Some(())
}

/// A field's name as its key: without the `r#` that Rust's own words need.
pub(crate) const fn bare(name: &'static str) -> &'static str {
    match name.as_bytes() {
        [b'r', b'#', ..] => name.split_at(2).1,
        _ => name,
    }
}

/// Makes a record of the file: a struct of optional, spanned fields.
///
/// ```text
/// record! {
///     /// Shown in editors.
///     pub struct Watch: "a watch rule" requires ["path"] {
///         /// Shown in editors.
///         path: String,
///     }
/// }
/// ```
macro_rules! record {
    (
        $(#[$about:meta])*
        pub struct $name:ident: $what:literal $(requires [$($required:literal),*])? {
            $($(#[$field_about:meta])* $field:ident: $ty:ty,)*
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Debug, Default, PartialEq, serde::Serialize, schemars::JsonSchema)]
        #[schemars(transform = $crate::text::decode::closed)]
        $(#[schemars(extend("required" = [$($required),*]))])?
        pub struct $name {
            $(
                $(#[$field_about])*
                #[serde(skip_serializing_if = "Option::is_none")]
                pub $field: Option<$crate::text::decode::At<$ty>>,
            )*
            /// Keys that start with `x-`, kept as they are.
            #[serde(flatten)]
            #[schemars(skip)]
            pub extensions: $crate::text::scalar::Extensions,
        }

        impl $crate::text::decode::Record for $name {
            const KEYS: &'static [&'static str] =
                &[$($crate::text::decode::bare(stringify!($field)),)*];

            fn present(&self) -> Vec<(&'static str, $crate::fault::Span)> {
                let mut keys = Vec::new();
                $(
                    if let Some(at) = &self.$field {
                        keys.push(($crate::text::decode::bare(stringify!($field)), at.key));
                    }
                )*
                keys
            }
        }

        impl $crate::text::decode::Decode for $name {
            fn decode(
                node: &$crate::tree::Node,
                faults: &mut $crate::text::decode::Faults,
            ) -> Option<Self> {
                use $crate::text::decode::Record;
                let mut record = Self::default();
                let required: &[&str] = &[$($($required),*)?];
                $crate::text::decode::decode_record(node, faults, $what, Self::KEYS, required, |entry, faults| {
                    let key = entry.key.as_str();
                    $(
                        if key == const { $crate::text::decode::bare(stringify!($field)) } {
                            if !entry.value.is_null() {
                                record.$field = $crate::text::decode::at_entry(entry, faults);
                            }
                            return true;
                        }
                    )*
                    record.extensions.take(entry, faults)
                })?;
                Some(record)
            }

            fn shape(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                generator.subschema_for::<Self>()
            }
        }
    };
}

/// Makes an enum of legal words.
macro_rules! words {
    (
        $(#[$about:meta])*
        pub enum $name:ident: $what:literal {
            $($(#[$word_about:meta])* $word:ident = $text:literal,)*
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
        pub enum $name {
            $($(#[$word_about])* #[serde(rename = $text)] $word,)*
        }

        impl $crate::text::decode::Decode for $name {
            fn decode(
                node: &$crate::tree::Node,
                faults: &mut $crate::text::decode::Faults,
            ) -> Option<Self> {
                let words: &[&'static str] = &[$($text),*];
                let text = $crate::text::decode::decode_word(node, faults, $what, words)?;
                match text {
                    $($text => Some(Self::$word),)*
                    _ => None,
                }
            }

            fn shape(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "enum": [$($text),*] })
            }
        }
    };
}

pub(crate) use {record, words};

/// Reads one of the legal words.
pub(crate) fn decode_word(
    node: &Node,
    faults: &mut Faults,
    what: &str,
    legal: &[&'static str],
) -> Option<&'static str> {
    let Some(scalar) = node.as_scalar().filter(|_| !node.is_null()) else {
        faults.wrong_type(node, what, legal.first().copied().unwrap_or_default());
        return None;
    };
    if let Some(word) = legal.iter().find(|word| **word == scalar.text) {
        return Some(word);
    }
    let list = legal.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    let hint = match nearest(&scalar.text, legal.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("legal are {list}"),
    };
    faults.bad_value(node.span, format!("`{}` is not {what}", shown(&scalar.text)), hint);
    None
}
