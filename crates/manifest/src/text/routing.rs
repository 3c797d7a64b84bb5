//! Keys of our own for traffic: `routes`, `calls`, `scale`, `gateway`.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

use super::decode::{At, Decode, Faults, Record, at_item, record, shown};
use super::scalar::{Loose, Time, Word};
use super::shape::{Dict, Form, Items, Names};
use crate::fault::Fault;
use crate::tree::{Entry, Node};

/// The ways into a service from the gateway, in file order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Routes(pub Vec<RouteText>);

/// One way in: `GET /books/{id}` and its options.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteText {
    /// Methods and path as written.
    pub pattern: At<String>,
    /// What else is said of it.
    pub options: RouteOptions,
}

record! {
    /// What is said of a route.
    pub struct RouteOptions: "a route" {
        /// Only for this host; `*.example.com` takes any sub-domain.
        host: String,
        /// Only with these headers; without a value: any value.
        headers: Names<HeaderValue>,
        /// From the request to the head of the answer.
        timeout: Time,
        /// Taken off the front of the path.
        strip_prefix: String,
        /// How long answers may be kept and used again.
        cache: Loose,
        /// Who may come in.
        auth: Loose,
        /// How many requests.
        limit: Loose,
        /// Whether a repeated request is recognised.
        idempotent: Loose,
        /// Further tries after a failed one.
        retry: Loose,
        /// When to stop trying.
        breaker: Loose,
        /// What to answer when the service cannot.
        fallback: Loose,
    }
}

/// The value that a header must have; `None`: any.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(transparent)]
pub struct HeaderValue(pub Option<String>);

impl Decode for HeaderValue {
    fn decode(node: &Node, faults: &mut Faults) -> Option<Self> {
        if node.is_null() {
            return Some(Self(None));
        }
        String::decode(node, faults).map(|text| Self(Some(text)))
    }

    fn shape(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "number", "boolean", "null"] })
    }
}

/// An example for messages.
const ROUTE_EXAMPLE: &str = "- GET /books/{id}: { timeout: 2s }";

impl Decode for Routes {
    fn decode(node: &Node, faults: &mut Faults) -> Option<Self> {
        if let Some(items) = node.as_seq() {
            return Some(Self(items.iter().filter_map(|item| route_item(item, faults)).collect()));
        }
        if node.as_map().is_some() {
            faults.wrong_type(node, "a list of routes", ROUTE_EXAMPLE);
            return None;
        }
        Some(Self(route_item(node, faults).into_iter().collect()))
    }

    fn shape(generator: &mut SchemaGenerator) -> Schema {
        let options = RouteOptions::shape(generator);
        let one = json_schema!({ "anyOf": [
            { "type": "string", "examples": ["GET /books/{id}"] },
            {
                "type": "object", "minProperties": 1, "maxProperties": 1,
                "additionalProperties": { "anyOf": [options, { "type": "null" }] },
            },
        ] });
        json_schema!({ "anyOf": [{ "type": "string" }, { "type": "array", "items": one }] })
    }
}

fn route_item(node: &Node, faults: &mut Faults) -> Option<RouteText> {
    let Some(entries) = node.as_map() else {
        let pattern = match node.as_scalar() {
            Some(_) if !node.is_null() => at_item(node, faults)?,
            _ => {
                faults.wrong_type(node, "a route", ROUTE_EXAMPLE);
                return None;
            }
        };
        return Some(RouteText { pattern, options: RouteOptions::default() });
    };
    match entries {
        [only] => route_entry(only, faults),
        [] => {
            faults.wrong_type(node, "a route", ROUTE_EXAMPLE);
            None
        }
        [first, second, ..] => {
            let message = format!("one route has {} keys", entries.len());
            let hint = if RouteOptions::KEYS.contains(&second.key.as_str()) {
                format!("options go one level deeper: `- {}: {{ {}: … }}`", shown(&first.key), second.key)
            } else {
                "begin each route with `- `".to_owned()
            };
            let fault = Fault::error("A0209", second.key_span, message).label("this is a second key");
            faults.add(fault.also(first.key_span, "the route").hint(hint));
            None
        }
    }
}

fn route_entry(entry: &Entry, faults: &mut Faults) -> Option<RouteText> {
    let pattern = At { value: entry.key.clone(), span: entry.key_span, key: entry.key_span };
    Some(RouteText { pattern, options: RouteOptions::decode(&entry.value, faults)? })
}

impl Serialize for Routes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct One<'a>(&'a RouteText);
        impl Serialize for One<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if self.0.options == RouteOptions::default() {
                    return serializer.serialize_str(&self.0.pattern);
                }
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry(&self.0.pattern.value, &self.0.options)?;
                map.end()
            }
        }
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for route in &self.0 {
            list.serialize_element(&One(route))?;
        }
        list.end()
    }
}

record! {
    /// One edge of the app's graph.
    pub struct CallOptions: "a call" {
        /// From the request to the head of the answer.
        timeout: Time,
        /// Further tries after a failed one, where a repeat is safe.
        retry: u32,
        /// When to stop trying.
        breaker: Loose,
        /// What to use when the callee cannot answer.
        fallback: Loose,
        /// How long answers may be kept and used again.
        cache: Loose,
        /// How many calls.
        limit: Loose,
    }
}

/// How many instances: a number, or bounds.
pub(crate) type ScaleText = Form<u32, ScaleBounds>;

record! {
    /// Bounds for scaling.
    pub struct ScaleBounds: "a scale section" {
        /// Fewest.
        min: u32,
        /// Most.
        max: u32,
        /// What the autoscaler aims at, such as `concurrency: 32`.
        target: Dict<f64>,
        /// Scale ahead of load.
        predict: bool,
    }
}

record! {
    /// The edge of the app.
    pub struct GatewayText: "a gateway" {
        /// Where it listens: a port, `host:port`, or a list.
        listen: Items<Word>,
        /// The timeout of every route that has none of its own.
        timeout: Time,
        /// Who may come in.
        auth: Loose,
        /// How many requests.
        limit: Loose,
        /// Certificates.
        tls: Loose,
    }
}
