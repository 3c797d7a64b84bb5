//! Shapes that Compose's grammar uses again and again: lists, a list or one, maps, names, pairs, short
//! and long forms. Each has one inner form, whichever way it was written.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::decode::{At, Decode, Faults, at_entry, at_item, nearest, shown};
use crate::tree::Node;

/// A list.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[serde(transparent)]
pub struct List<T>(pub Vec<At<T>>);

impl<T: Decode> Decode for List<T> {
    fn decode(node: &Node, faults: &mut Faults) -> Option<Self> {
        let Some(items) = node.as_seq() else {
            faults.wrong_type(node, "a list", "[…]");
            return None;
        };
        Some(Self(items.iter().filter_map(|item| at_item(item, faults)).collect()))
    }

    fn shape(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "array", "items": T::shape(generator) })
    }
}

/// One, or a list of them.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[serde(transparent)]
pub struct Items<T>(pub Vec<At<T>>);

impl<T: Decode> Decode for Items<T> {
    fn decode(node: &Node, faults: &mut Faults) -> Option<Self> {
        if let Some(items) = node.as_seq() {
            return Some(Self(items.iter().filter_map(|item| at_item(item, faults)).collect()));
        }
        at_item(node, faults).map(|item| Self(vec![item]))
    }

    fn shape(generator: &mut SchemaGenerator) -> Schema {
        let one = T::shape(generator);
        json_schema!({ "anyOf": [one, { "type": "array", "items": one }] })
    }
}

/// A mapping from names the user chose, in file order.
#[derive(Clone, Debug, PartialEq)]
pub struct Dict<T>(pub Vec<(String, At<T>)>);

impl<T> Default for Dict<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Dict<T> {
    /// The value under `key`. Walks the list: for few look-ups.
    pub fn get(&self, key: &str) -> Option<&At<T>> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, at)| at)
    }
}

impl<T: Decode> Decode for Dict<T> {
    fn decode(node: &Node, faults: &mut Faults) -> Option<Self> {
        let Some(entries) = node.as_map() else {
            faults.wrong_type(node, "a mapping", "name: …");
            return None;
        };
        let mut dict = Vec::with_capacity(entries.len());
        for entry in entries {
            if let Some(at) = at_entry(entry, faults) {
                dict.push((entry.key.clone(), at));
            }
        }
        Some(Self(dict))
    }

    fn shape(generator: &mut SchemaGenerator) -> Schema {
        let value = T::shape(generator);
        json_schema!({ "type": "object", "additionalProperties": { "anyOf": [value, { "type": "null" }] } })
    }
}

fn serialize_entries<S: Serializer, T: Serialize>(
    entries: &[(String, At<T>)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(entries.len()))?;
    for (key, at) in entries {
        map.serialize_entry(key, &at.value)?;
    }
    map.end()
}

impl<T: Serialize> Serialize for Dict<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_entries(&self.0, serializer)
    }
}

/// A mapping from names to options, or a list of names only (`depends_on`, `calls`, `networks`).
#[derive(Clone, Debug, PartialEq)]
pub struct Names<T>(pub Vec<(String, At<T>)>);

impl<T: Decode + Default> Decode for Names<T> {
    fn decode(node: &Node, faults: &mut Faults) -> Option<Self> {
        let Some(items) = node.as_seq() else {
            if node.as_map().is_none() {
                faults.wrong_type(node, "a list of names or a mapping", "[name, other]");
                return None;
            }
            return Dict::decode(node, faults).map(|dict| Self(dict.0));
        };
        let mut names: Vec<(String, At<T>)> = Vec::with_capacity(items.len());
        let mut seen = std::collections::BTreeSet::new();
        for item in items {
            let Some(name) = at_item::<String>(item, faults) else { continue };
            if seen.insert(name.value.clone()) {
                let at = name.with(T::default());
                names.push((name.value, at));
            }
        }
        Some(Self(names))
    }

    fn shape(generator: &mut SchemaGenerator) -> Schema {
        let map = Dict::<T>::shape(generator);
        json_schema!({ "anyOf": [{ "type": "array", "items": { "type": "string" } }, map] })
    }
}

impl<T: Serialize> Serialize for Names<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_entries(&self.0, serializer)
    }
}

/// `KEY: value` or `[KEY=value]`; a key without a value is kept as `None` (`environment`, `labels`, …).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pairs(pub Vec<(String, At<Option<String>>)>);

impl Pairs {
    /// Sets a key, replacing its value where it is set already.
    fn set(
        &mut self,
        index: &mut std::collections::HashMap<String, usize>,
        key: String,
        at: At<Option<String>>,
    ) {
        match index.get(&key) {
            Some(place) => self.0[*place].1 = at,
            None => {
                index.insert(key.clone(), self.0.len());
                self.0.push((key, at));
            }
        }
    }
}

impl Decode for Pairs {
    fn decode(node: &Node, faults: &mut Faults) -> Option<Self> {
        let mut pairs = Self::default();
        let mut index = std::collections::HashMap::new();
        if let Some(items) = node.as_seq() {
            for item in items {
                let Some(text) = at_item::<String>(item, faults) else { continue };
                let (key, value) = match text.split_once('=') {
                    Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
                    None => (text.value.clone(), None),
                };
                let at = text.with(value);
                pairs.set(&mut index, key, at);
            }
            return Some(pairs);
        }
        let Some(entries) = node.as_map() else {
            faults.wrong_type(node, "a mapping or a list of `KEY=value`", "KEY: value");
            return None;
        };
        for entry in entries {
            let value = if entry.value.is_null() {
                None
            } else {
                match String::decode(&entry.value, faults) {
                    Some(text) => Some(text),
                    None => continue,
                }
            };
            let at = At { value, span: entry.value.span, key: entry.key_span };
            pairs.set(&mut index, entry.key.clone(), at);
        }
        Some(pairs)
    }

    fn shape(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "type": "object", "additionalProperties": { "type": ["string", "number", "boolean", "null"] } },
            { "type": "array", "items": { "type": "string" } },
        ] })
    }
}

impl Serialize for Pairs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_entries(&self.0, serializer)
    }
}

/// Values by name where a value may be one or several (`extra_hosts`).
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[serde(untagged)]
pub enum Hosts {
    /// `["name=address", "name:address"]`.
    List(List<String>),
    /// `{name: address}` or `{name: [address]}`.
    Map(Dict<Items<String>>),
}

impl Decode for Hosts {
    fn decode(node: &Node, faults: &mut Faults) -> Option<Self> {
        if node.as_seq().is_some() {
            List::decode(node, faults).map(Self::List)
        } else {
            Dict::decode(node, faults).map(Self::Map)
        }
    }

    fn shape(generator: &mut SchemaGenerator) -> Schema {
        let (list, map) = (List::<String>::shape(generator), Dict::<Items<String>>::shape(generator));
        json_schema!({ "anyOf": [list, map] })
    }
}

/// A short form (a scalar) or a long one (a mapping).
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[serde(untagged)]
pub enum Form<S, L> {
    /// One scalar.
    Short(S),
    /// A mapping.
    Long(Box<L>),
}

impl<S: Decode, L: Decode> Decode for Form<S, L> {
    fn decode(node: &Node, faults: &mut Faults) -> Option<Self> {
        if node.as_map().is_some() {
            return L::decode(node, faults).map(|long| Self::Long(Box::new(long)));
        }
        if node.as_seq().is_some() {
            faults.wrong_type(node, "a scalar or a mapping", "");
            return None;
        }
        S::decode(node, faults).map(Self::Short)
    }

    fn shape(generator: &mut SchemaGenerator) -> Schema {
        let (short, long) = (S::shape(generator), L::shape(generator));
        json_schema!({ "anyOf": [short, long] })
    }
}

/// `true` or `on`, `false` or `off`, or something that says more.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[serde(untagged)]
pub enum Switch<T> {
    /// On with defaults, or off.
    Plain(bool),
    /// On, with detail.
    Detail(T),
}

impl<T: Decode> Decode for Switch<T> {
    fn decode(node: &Node, faults: &mut Faults) -> Option<Self> {
        match node.as_scalar().map(|scalar| scalar.text.as_str()) {
            Some("true" | "on") => Some(Self::Plain(true)),
            Some("false" | "off") => Some(Self::Plain(false)),
            _ => T::decode(node, faults).map(Self::Detail),
        }
    }

    fn shape(generator: &mut SchemaGenerator) -> Schema {
        let detail = T::shape(generator);
        json_schema!({ "anyOf": [{ "enum": [true, false, "true", "false", "on", "off"] }, detail] })
    }
}

/// The names of `Names` or `Dict` entries that are most like `text`.
pub(crate) fn near_hint<'a>(text: &str, names: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(text, names).map(|near| format!("did you mean `{}`?", shown(near)))
}
