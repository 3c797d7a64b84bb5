//! The published JSON Schema agrees with the decoder.

use std::path::Path;

use serde_json::Value as Json;

use super::round_trip::WHOLE;
use crate::text::Service;
use crate::text::decode::Record;
use crate::{Request, render_json, schema};

#[test]
fn the_schema_is_2020_12_and_closed_but_for_extensions() {
    let schema = schema();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(schema["additionalProperties"], false);
    assert!(schema["patternProperties"]["^x-"].is_object());
    let service = &schema["$defs"]["Service"];
    let properties = service["properties"].as_object().unwrap();
    assert_eq!(properties.keys().map(String::as_str).collect::<Vec<_>>(), Service::KEYS);
    assert!(
        properties.values().all(|property| property["description"].is_string()),
        "a key without a description"
    );
    assert_eq!(schema["$defs"]["Watch"]["required"], serde_json::json!(["path", "action"]));
}

#[test]
fn the_example_application_has_no_faults_and_no_findings() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/bookshop");
    for profiles in [vec![], vec!["*".to_owned()]] {
        let request = Request { working_dir: dir.clone(), profiles, ..Request::default() };
        let loaded = crate::load(&request);
        assert_eq!(crate::report(&loaded.faults, &loaded.sources, false), "");
        assert_eq!(crate::lint(&loaded.app.unwrap()), []);
        assert_eq!(complaints(&render_json(&loaded.file)), Vec::<String>::new());
    }
}

#[test]
fn files_as_people_write_them_are_valid_by_the_schema() {
    // The text itself, not what was rendered of it: short forms count.
    for text in [WHOLE, include_str!("../../../../examples/bookshop/atoll.yaml")] {
        let mut written: Json = serde_saphyr::from_str(text).unwrap();
        unmerge(&mut written);
        assert_eq!(complaints(&written), Vec::<String>::new());
    }
}

#[test]
fn what_the_compose_schema_allows_ours_allows_too() {
    let mut examples = super::compose_schema::Examples::new();
    for pick in 0..8 {
        let example = examples.file(pick);
        assert_eq!(complaints(&example), Vec::<String>::new(), "{example:#}");
    }
}

#[test]
fn the_schema_refuses_what_the_decoder_refuses() {
    let bad = serde_json::json!({
        "services": { "web": { "comand": ["x"], "scale": [], "depends_on": { "a": { "condition": "up" } }, "routes": {}, "queues": { "q": { "dead_letter": [], "deliver": { "path": "/x" } } }, "topics": { "t": { "fifo": { "dedup": "body" } } } } },
        "pipes": { "engine": "rocks" },
        "gateway": { "listen": {}, "tls": { "certificate": "x" }, "retry": { "attempts": [] }, "limit": {} },
    });
    let complaints = complaints(&bad);
    for place in [
        "/services/web/comand",
        "/services/web/scale",
        "/services/web/depends_on",
        "/services/web/routes",
        "/services/web/queues",
        "/services/web/topics",
        "/pipes/engine",
        "/gateway/listen",
        "/gateway/tls",
        "/gateway/retry",
        "/gateway/limit",
    ] {
        assert!(complaints.iter().any(|complaint| complaint.starts_with(place)), "{place}: {complaints:?}");
    }
}

/// Puts what stands under a merge key beside it, as YAML readers that know merge keys do.
fn unmerge(value: &mut Json) {
    match value {
        Json::Object(map) => {
            if let Some(Json::Object(base)) = map.remove("<<") {
                for (key, value) in base {
                    map.entry(key).or_insert(value);
                }
            }
            map.values_mut().for_each(unmerge);
        }
        Json::Array(items) => items.iter_mut().for_each(unmerge),
        _ => {}
    }
}

fn complaints(value: &Json) -> Vec<String> {
    let schema = schema();
    let mut list = Vec::new();
    validate(value, &schema, &schema, "", &mut list);
    list
}

/// As much of JSON Schema 2020-12 as our schema uses; panics on a keyword it does not know.
fn validate(value: &Json, shape: &Json, root: &Json, place: &str, out: &mut Vec<String>) {
    let Some(shape) = shape.as_object() else {
        if shape == &Json::Bool(false) {
            out.push(format!("{place} is not allowed"));
        }
        return;
    };
    let complain = |out: &mut Vec<String>, what: String| out.push(format!("{place} {what}"));
    for (keyword, rule) in shape {
        match keyword.as_str() {
            "$schema" | "$defs" | "title" | "description" | "examples" => {}
            "$ref" => {
                let target = root.pointer(rule.as_str().unwrap().strip_prefix('#').unwrap());
                validate(value, target.expect("a reference that leads somewhere"), root, place, out);
            }
            "type" => {
                let types = rule.as_array().cloned().unwrap_or_else(|| vec![rule.clone()]);
                if !types.iter().any(|name| is(value, name.as_str().unwrap())) {
                    complain(out, format!("is not {rule}"));
                }
            }
            "enum" if !rule.as_array().unwrap().contains(value) => {
                complain(out, format!("is none of {rule}"));
            }
            "const" if rule != value => complain(out, format!("is not {rule}")),
            "enum" | "const" => {}
            "minimum" if value.as_f64().is_some_and(|number| number < rule.as_f64().unwrap()) => {
                complain(out, format!("is below {rule}"));
            }
            "minimum" | "format" => {}
            "anyOf" => {
                let mut wrong: Vec<Vec<String>> = Vec::new();
                for shape in
                    rule.as_array().unwrap().iter().filter(|shape| shape["type"] != "null" || value.is_null())
                {
                    let mut inner = Vec::new();
                    validate(value, shape, root, place, &mut inner);
                    wrong.push(inner);
                }
                if !wrong.iter().any(Vec::is_empty) {
                    match &wrong[..] {
                        [only] => out.extend_from_slice(only),
                        _ => complain(out, "fits no alternative".to_owned()),
                    }
                }
            }
            "items" => {
                for (i, item) in value.as_array().into_iter().flatten().enumerate() {
                    validate(item, rule, root, &format!("{place}/{i}"), out);
                }
            }
            "required" => {
                for key in rule.as_array().unwrap() {
                    if value.as_object().is_some_and(|map| !map.contains_key(key.as_str().unwrap())) {
                        complain(out, format!("lacks {key}"));
                    }
                }
            }
            "minProperties" | "maxProperties" => {
                let count = value.as_object().map(serde_json::Map::len);
                if count.is_some_and(|count| count != 1) {
                    complain(out, "has not one key".to_owned());
                }
            }
            "properties" | "patternProperties" | "additionalProperties" => {}
            other => panic!("the schema uses `{other}`, which this test does not know"),
        }
    }
    for (key, inner) in value.as_object().into_iter().flatten() {
        let place = format!("{place}/{key}");
        let known = shape.get("properties").and_then(|properties| properties.get(key));
        let extension = shape.get("patternProperties").filter(|_| key.starts_with("x-"));
        if let Some(shape) = known.or(shape.get("additionalProperties").filter(|_| extension.is_none())) {
            validate(inner, shape, root, &place, out);
        }
    }
}

fn is(value: &Json, name: &str) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("type {other}"),
    }
}
