//! Scalars: what one word of the file can mean.

use std::collections::BTreeMap;
use std::time::Duration;

use kit::units::{self, Bytes, Share};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};
use serde_json::Value as Json;

use super::decode::{Decode, Faults, shown};
use crate::fault::Fault;
use crate::tree::{Entry, Node, Scalar, Value};

/// How deep a value of free shape may nest.
const MAX_DEPTH: usize = 64;

/// The text of a scalar that is there; otherwise the fault is noted.
fn scalar<'a>(node: &'a Node, faults: &mut Faults, expected: &str, example: &str) -> Option<&'a Scalar> {
    match node.as_scalar() {
        Some(scalar) if !node.is_null() => Some(scalar),
        _ => {
            faults.wrong_type(node, expected, example);
            None
        }
    }
}

impl Decode for String {
    fn decode(node: &Node, faults: &mut Faults) -> Option<Self> {
        Some(scalar(node, faults, "a string", "")?.text.clone())
    }

    fn shape(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

/// A string that people write as a number or bool too: kept as written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Word(pub String);

impl Decode for Word {
    fn decode(node: &Node, faults: &mut Faults) -> Option<Self> {
        Some(Self(scalar(node, faults, "a string or a number", "")?.text.clone()))
    }

    fn shape(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "number", "boolean"] })
    }
}

impl Decode for bool {
    fn decode(node: &Node, faults: &mut Faults) -> Option<Self> {
        let text = &scalar(node, faults, "`true` or `false`", "true")?.text;
        match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "y" => Some(true),
            "false" | "no" | "off" | "n" => Some(false),
            _ => {
                faults.wrong_type(node, "`true` or `false`", "true");
                None
            }
        }
    }

    fn shape(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["boolean", "string"] })
    }
}

macro_rules! whole_number {
    ($($ty:ty, from $read:ty: $expected:literal, $example:literal, $least:literal;)*) => {$(
        impl Decode for $ty {
            fn decode(node: &Node, faults: &mut Faults) -> Option<Self> {
                let text = &scalar(node, faults, $expected, $example)?.text;
                let number = text.parse::<$read>().ok().map(<$ty>::from);
                if number.is_none() {
                    faults.wrong_type(node, $expected, $example);
                }
                number
            }

            fn shape(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": ["integer", "string"], "minimum": $least })
            }
        }
    )*};
}

whole_number! {
    u16, from std::num::NonZeroU16: "a port number from 1 to 65535", "8080", 1;
    u32, from u32: "a whole number", "3", 0;
    u64, from u64: "a whole number", "3", 0;
}

impl Decode for i64 {
    fn decode(node: &Node, faults: &mut Faults) -> Option<Self> {
        let number = scalar(node, faults, "a whole number", "3")?.text.parse().ok();
        if number.is_none() {
            faults.wrong_type(node, "a whole number", "3");
        }
        number
    }

    fn shape(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["integer", "string"] })
    }
}

impl Decode for f64 {
    fn decode(node: &Node, faults: &mut Faults) -> Option<Self> {
        let text = &scalar(node, faults, "a number", "0.5")?.text;
        let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
        if number.is_none() {
            faults.wrong_type(node, "a number", "0.5");
        }
        number
    }

    fn shape(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["number", "string"] })
    }
}

/// A duration, written `1m30s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time(pub Duration);

impl Decode for Time {
    fn decode(node: &Node, faults: &mut Faults) -> Option<Self> {
        let text = &scalar(node, faults, "a duration", "1m30s")?.text;
        match units::parse_duration(text) {
            Ok(duration) => Some(Self(duration)),
            Err(bad) => {
                let hint = match text.parse::<f64>() {
                    Ok(_) => format!("add the unit: `{text}s`"),
                    Err(_) => "units are `d`, `h`, `m`, `s`, `ms`, `us`".to_owned(),
                };
                let message = format!("`{}` is not {}", shown(text), bad.expected);
                faults.bad_value(node.span, message, hint);
                None
            }
        }
    }

    fn shape(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "integer"], "examples": ["1m30s", "250ms"] })
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&units::format_duration(self.0))
    }
}

/// A number of bytes, written `64m`. `-1` (no limit) is kept as `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub Option<Bytes>);

impl Decode for Size {
    fn decode(node: &Node, faults: &mut Faults) -> Option<Self> {
        let text = &scalar(node, faults, "a size", "64m")?.text;
        if text == "-1" {
            return Some(Self(None));
        }
        match text.parse::<Bytes>() {
            Ok(bytes) => Some(Self(Some(bytes))),
            Err(bad) => {
                let message = format!("`{}` is not {}", shown(text), bad.expected);
                faults.bad_value(node.span, message, "units are `b`, `k`, `m`, `g`, `t`, powers of 1024");
                None
            }
        }
    }

    fn shape(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "number"], "examples": ["64m", "1.5g"] })
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(Bytes(bytes)) => serializer.serialize_u64(bytes),
            None => serializer.serialize_i64(-1),
        }
    }
}

/// A share of a whole, written `25%` or `0.25`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part(pub Share);

impl Decode for Part {
    fn decode(node: &Node, faults: &mut Faults) -> Option<Self> {
        let text = &scalar(node, faults, "a share", "25%")?.text;
        match text.parse::<Share>() {
            Ok(share) => Some(Self(share)),
            Err(bad) => {
                let hint = match text.trim().parse::<u32>() {
                    Ok(number @ 2..=100) => format!("write it like `{number}%`"),
                    _ => "a share goes from `0%` to `100%`".to_owned(),
                };
                faults.bad_value(node.span, format!("`{}` is not {}", shown(text), bad.expected), hint);
                None
            }
        }
    }

    fn shape(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "number"], "examples": ["25%", 0.25] })
    }
}

impl Serialize for Part {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.to_string())
    }
}

/// The status of an answer (RFC 9110, section 15).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Status(pub u16);

impl Decode for Status {
    fn decode(node: &Node, faults: &mut Faults) -> Option<Self> {
        const EXPECTED: &str = "a status from 200 to 599";
        let text = &scalar(node, faults, EXPECTED, "503")?.text;
        let status = text.parse::<u16>().ok().filter(|status| (200..600).contains(status));
        if status.is_none() {
            faults.wrong_type(node, EXPECTED, "503");
        }
        status.map(Self)
    }

    fn shape(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["integer", "string"], "minimum": 200, "examples": [503] })
    }
}

/// A value of any shape: what the file says is kept and not looked into.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Loose(pub Json);

impl Decode for Loose {
    fn decode(node: &Node, faults: &mut Faults) -> Option<Self> {
        match loose(node, MAX_DEPTH) {
            Some(json) => Some(Self(json)),
            None => {
                let message = format!("nested deeper than {MAX_DEPTH} levels");
                faults.bad_value(node.span, message, "move the inner part to a file of its own");
                None
            }
        }
    }

    fn shape(_: &mut SchemaGenerator) -> Schema {
        json_schema!({})
    }
}

fn loose(node: &Node, depth: usize) -> Option<Json> {
    let depth = depth.checked_sub(1)?;
    Some(match &node.value {
        Value::Scalar(scalar) => plain_value(node, scalar),
        Value::Seq(items) => Json::Array(items.iter().map(|item| loose(item, depth)).collect::<Option<_>>()?),
        Value::Map(entries) => {
            let mut map = serde_json::Map::new();
            for entry in entries {
                map.insert(entry.key.clone(), loose(&entry.value, depth)?);
            }
            Json::Object(map)
        }
    })
}

/// What YAML's core schema reads a scalar as. A number that would lose digits stays a string.
fn plain_value(node: &Node, scalar: &Scalar) -> Json {
    if node.is_null() {
        return Json::Null;
    }
    if scalar.plain {
        match scalar.text.as_str() {
            "true" | "True" | "TRUE" => return Json::Bool(true),
            "false" | "False" | "FALSE" => return Json::Bool(false),
            text => {
                let number = text.parse::<i64>().ok().map(serde_json::Number::from).or_else(|| {
                    let looks = text.bytes().any(|b| b.is_ascii_digit())
                        && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'.' | b'-' | b'+' | b'e' | b'E'));
                    let float = text.parse::<f64>().ok().filter(|_| looks)?;
                    serde_json::Number::from_f64(float)
                });
                if let Some(number) = number.filter(|number| number.to_string() == text) {
                    return Json::Number(number);
                }
            }
        }
    }
    Json::String(scalar.text.clone())
}

/// Keys that start with `x-`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Extensions(pub BTreeMap<String, Loose>);

impl Extensions {
    /// Keeps an entry whose key starts with `x-`; `false`: the key is not one.
    pub(crate) fn take(&mut self, entry: &Entry, faults: &mut Faults) -> bool {
        if !entry.key.starts_with("x-") {
            return false;
        }
        if let Some(value) = Loose::decode(&entry.value, faults) {
            self.0.insert(entry.key.clone(), value);
        }
        true
    }
}

/// What is not a fault yet but has no effect: says so with the place.
pub(crate) fn note(faults: &mut Faults, code: &'static str, span: crate::Span, message: String, hint: &str) {
    let fault = Fault::warning(code, span, message);
    faults.add(if hint.is_empty() { fault } else { fault.hint(hint) });
}
