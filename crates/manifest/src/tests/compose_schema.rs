//! The published schema of the Compose Specification is the oracle: no property of it is unknown here.

use serde_json::{Value as Json, json};

use crate::fault::{SourceId, Span};
use crate::text::File;
use crate::text::decode::{Decode, Faults};
use crate::tree::{Entry, Node, Scalar, Value};

const SCHEMA: &str = include_str!("../../tests/compose-spec.json");

/// Every object of the schema is written with all its properties, each with an example value; the decoder
/// must take the whole without a fault.
#[test]
fn the_decoder_knows_every_property_of_the_compose_schema() {
    const PICKS: usize = 8;
    let mut examples = Examples::new();
    for pick in 0..PICKS {
        let example = examples.file(pick);
        let mut faults = Faults::default();
        File::decode(&node(&example), &mut faults).unwrap();
        let list = faults.into_list();
        let messages: Vec<_> = list.iter().map(|fault| fault.message.as_str()).collect();
        assert_eq!(messages, Vec::<&str>::new(), "for alternative {pick} of {example:#}");
    }
    let seen = examples.properties / PICKS;
    assert!(seen > 200, "the walk saw only {seen} properties");
}

/// Makes files out of the schema.
pub(crate) struct Examples {
    schema: Json,
    properties: usize,
}

impl Examples {
    pub(crate) fn new() -> Self {
        Self { schema: serde_json::from_str(SCHEMA).unwrap(), properties: 0 }
    }

    /// A file with every property; `pick` chooses among the forms of each value.
    pub(crate) fn file(&mut self, pick: usize) -> Json {
        let schema = self.schema.clone();
        self.of(&schema, "file", pick)
    }

    /// An example of a value that has every property, in the form number `pick`.
    fn of(&mut self, shape: &Json, key: &str, pick: usize) -> Json {
        if let Some(target) = shape["$ref"].as_str() {
            let name = target.rsplit('/').next().unwrap();
            let shape = self.schema["definitions"][name].clone();
            return self.of(&shape, key, pick);
        }
        if let Some(forms) = shape["oneOf"].as_array().or(shape["anyOf"].as_array()) {
            let forms = forms.clone();
            return self.of(&forms[pick % forms.len()], key, pick);
        }
        if let Some(words) = shape["enum"].as_array() {
            return words[pick % words.len()].clone();
        }
        let types: Vec<&str> = match &shape["type"] {
            Json::String(one) => vec![one],
            Json::Array(several) => several.iter().filter_map(Json::as_str).collect(),
            _ => vec!["object"],
        };
        match types[pick % types.len()] {
            "object" => self.object(shape, pick),
            "array" if key == "test" => json!(["CMD", "true"]),
            "array" => json!([self.of(&shape["items"], key, pick)]),
            "null" => Json::Null,
            "boolean" => json!(pick.is_multiple_of(2)),
            "integer" | "number" => json!(5),
            "string" => string_for(key, &types),
            other => panic!("type {other}"),
        }
    }

    fn object(&mut self, shape: &Json, pick: usize) -> Json {
        let mut map = serde_json::Map::new();
        for (key, value) in shape["properties"].as_object().into_iter().flatten() {
            self.properties += 1;
            let mut example = self.of(value, key, pick);
            if example.is_null() {
                example = self.of(value, key, pick + 1); // absent is no example
            }
            map.insert(key.clone(), example);
        }
        for (pattern, value) in shape["patternProperties"].as_object().into_iter().flatten() {
            let (key, value) = match pattern.as_str() {
                "^x-" => ("x-extra", json!({ "any": ["thing"] })),
                "^[a-z]+$" => ("nofile", self.of(value, "ulimit", pick)),
                _ => ("some_name", self.of(value, "named", pick)),
            };
            map.insert(key.to_owned(), value);
        }
        Json::Object(map)
    }
}

/// A text that is legal under `key`.
fn string_for(key: &str, types: &[&str]) -> Json {
    let text = match key {
        "interval" | "timeout" | "start_period" | "start_interval" | "delay" | "window" | "monitor"
        | "stop_grace_period" => "1m30s",
        "mem_limit" | "memory" | "mem_reservation" | "memswap_limit" | "shm_size" | "size" => "64m",
        "ports" => "127.0.0.1:8080-8081:80-81/udp",
        "expose" => "80-81/udp",
        "volumes" => "data:/data:ro",
        "test" => return json!("exit 0"),
        _ if types.contains(&"boolean") && !types.contains(&"number") => "true",
        _ if types.contains(&"number") || types.contains(&"integer") => "5",
        "cpu_count" | "cpu_percent" | "oom_score_adj" => "5",
        "mode" => "replicated",
        "condition" => "any",
        "format" => "raw",
        _ => "text",
    };
    json!(text)
}

fn node(json: &Json) -> Node {
    let mut sources = crate::Sources::default();
    build(json, sources.add("file".into(), String::new()))
}

fn build(json: &Json, source: SourceId) -> Node {
    let span = Span { source, start: 0, end: 0 };
    let scalar = |text: String, plain| Value::Scalar(Scalar { text, plain });
    let value = match json {
        Json::Null => scalar(String::new(), true),
        Json::Bool(_) | Json::Number(_) => scalar(json.to_string(), true),
        Json::String(text) => scalar(text.clone(), false),
        Json::Array(items) => Value::Seq(items.iter().map(|item| build(item, source)).collect()),
        Json::Object(map) => Value::Map(
            map.iter()
                .map(|(key, value)| Entry { key: key.clone(), key_span: span, value: build(value, source) })
                .collect(),
        ),
    };
    Node { value, span }
}
