//! The published JSON Schema agrees with the decoder.

use serde_json::Value as Json;

use crate::schema;
use crate::text::Service;
use crate::text::decode::Record;

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
fn every_reference_of_the_schema_leads_somewhere() {
    fn walk(value: &Json, root: &Json, seen: &mut usize) {
        match value {
            Json::Object(map) => {
                if let Some(Json::String(target)) = map.get("$ref") {
                    let path = target.strip_prefix('#').unwrap();
                    assert!(root.pointer(path).is_some(), "{target}");
                    *seen += 1;
                }
                map.values().for_each(|value| walk(value, root, seen));
            }
            Json::Array(items) => items.iter().for_each(|value| walk(value, root, seen)),
            _ => {}
        }
    }
    let schema = schema();
    let mut seen = 0;
    walk(&schema, &schema, &mut seen);
    assert!(seen > 30);
}

#[test]
fn the_example_application_has_no_faults_and_no_findings() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/bookshop");
    for profiles in [vec![], vec!["*".to_owned()]] {
        let request = crate::Request { working_dir: dir.clone(), profiles, ..crate::Request::default() };
        let loaded = crate::load(&request);
        assert_eq!(crate::report(&loaded.faults, &loaded.sources, false), "");
        assert_eq!(crate::lint(&loaded.app.unwrap()), []);
    }
}
