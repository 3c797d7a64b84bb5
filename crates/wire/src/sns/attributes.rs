//! What attributes of topics and of subscriptions have in common.

use serde_json::Value;

use super::error::SnsError;

/// `true` or `false`, however it is written.
pub(super) fn boolean(name: &str, value: &str, prefix: &str) -> Result<bool, SnsError> {
    match value.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(SnsError::parameter(&format!(
            "{prefix}{name}: Invalid value [{value}]. Must be true or false."
        ))),
    }
}

/// A JSON object.
pub(super) fn object(
    name: &str,
    value: &str,
    prefix: &str,
) -> Result<serde_json::Map<String, Value>, SnsError> {
    match serde_json::from_str(value) {
        Ok(Value::Object(object)) => Ok(object),
        _ => Err(SnsError::parameter(&format!("{prefix}{name}: failed to parse JSON."))),
    }
}
