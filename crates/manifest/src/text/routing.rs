//! Keys of our own for traffic: `routes`, `calls`, `scale`. What guards them is in [`super::guard`].

use schemars::{Schema, SchemaGenerator, json_schema};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

use super::decode::{At, Decode, Faults, Record, at_item, record, shown};
use super::guard::{
    AdaptiveLong, BreakerText, BulkheadLong, FallbackText, FaultText, HedgeLong, MirrorLong, PriorityText,
    RetryText, SplitText,
};
use super::limit::LimitText;
use super::scalar::{Loose, Time};
use super::shape::{Dict, Form, Items, Names, Switch};
use super::slo::SloText;
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
        /// From the request to the head of the answer, all tries included.
        timeout: Time,
        /// Taken off the front of the path.
        strip_prefix: String,
        /// Who may come in: a name under `gateway.auth`.
        auth: String,
        /// How many requests: `20/s`, `20/s per client`, or a list.
        limit: LimitText,
        /// Further tries after a failed one, where a repeat is safe; `off`: none.
        retry: RetryText,
        /// A second try beside the first when that is slow: after how long.
        hedge: Form<Time, HedgeLong>,
        /// When to stop trying; `off`: never.
        breaker: Switch<BreakerText>,
        /// How many requests at once.
        bulkhead: Form<u32, BulkheadLong>,
        /// A limit of requests at once that finds itself.
        adaptive: Switch<AdaptiveLong>,
        /// What is shed first when there is too much.
        priority: PriorityText,
        /// What to answer when the service cannot.
        fallback: FallbackText,
        /// Faults made on purpose.
        fault: Items<FaultText>,
        /// Other services that take a part of the requests.
        split: Items<SplitText>,
        /// A service that sees copies of the requests.
        mirror: Form<String, MirrorLong>,
        /// What is promised of its requests.
        slo: SloText,
        /// How long answers may be kept and used again.
        cache: Loose,
        /// Whether a repeated request is recognised.
        idempotent: Loose,
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
        /// From the request to the head of the answer, all tries included.
        timeout: Time,
        /// Further tries after a failed one, where a repeat is safe; `off`: none.
        retry: RetryText,
        /// A second try beside the first when that is slow: after how long.
        hedge: Form<Time, HedgeLong>,
        /// When to stop trying; `off`: never.
        breaker: Switch<BreakerText>,
        /// How many calls at once.
        bulkhead: Form<u32, BulkheadLong>,
        /// A limit of calls at once that finds itself.
        adaptive: Switch<AdaptiveLong>,
        /// What is shed first when there is too much.
        priority: PriorityText,
        /// What to answer when the callee cannot.
        fallback: FallbackText,
        /// How many calls: `100/s`, or a list.
        limit: LimitText,
        /// Faults made on purpose.
        fault: Items<FaultText>,
        /// Other services that take a part of the calls.
        split: Items<SplitText>,
        /// A service that sees copies of the calls.
        mirror: Form<String, MirrorLong>,
        /// How long answers may be kept and used again.
        cache: Loose,
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
