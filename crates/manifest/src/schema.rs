//! The file's JSON Schema, for editors.

use schemars::generate::SchemaSettings;

use crate::text::File;

/// JSON Schema 2020-12 of the application file, made from the text types.
pub fn schema() -> serde_json::Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.into_root_schema_for::<File>();
    schema.insert("title".into(), "Atoll application file".into());
    schema.to_value()
}
