//! What an attribute can say.

use std::borrow::Cow;

use super::Text;

/// Attributes in the order they were given.
pub type Attributes = Vec<(Text, Value)>;

/// What an attribute says.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Text.
    Text(Text),
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// Bytes that are no text.
    Bytes(Vec<u8>),
    /// Several, in order.
    List(Vec<Value>),
    /// Several by name.
    Map(Vec<(Text, Value)>),
}

impl Value {
    /// The form in which attributes are compared with what somebody looks for: text as it is, numbers and booleans as
    /// JSON writes them, the rest as JSON (bytes as hexadecimal digits).
    pub fn as_text(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) => Cow::Borrowed(text),
            Self::Bool(true) => Cow::Borrowed("true"),
            Self::Bool(false) => Cow::Borrowed("false"),
            other => match other.to_json() {
                serde_json::Value::String(text) => Cow::Owned(text),
                json => Cow::Owned(json.to_string()),
            },
        }
    }

    /// The value as JSON; bytes as hexadecimal digits, numbers that JSON has not (infinite, none) as text.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Text(text) => text.as_str().into(),
            Self::Bool(yes) => (*yes).into(),
            Self::Int(number) => (*number).into(),
            Self::Float(number) => serde_json::Number::from_f64(*number)
                .map_or_else(|| number.to_string().into(), serde_json::Value::Number),
            Self::Bytes(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into(),
            Self::List(values) => values.iter().map(Self::to_json).collect(),
            Self::Map(values) => {
                values.iter().map(|(key, value)| (key.to_string(), value.to_json())).collect()
            }
        }
    }

    /// What JSON says; nothing is said by `null`.
    pub fn from_json(json: serde_json::Value) -> Option<Self> {
        Some(match json {
            serde_json::Value::Null => return None,
            serde_json::Value::Bool(yes) => Self::Bool(yes),
            serde_json::Value::Number(number) => {
                number.as_i64().map_or_else(|| Self::Float(number.as_f64().unwrap_or(f64::NAN)), Self::Int)
            }
            serde_json::Value::String(text) => Self::Text(text.into()),
            serde_json::Value::Array(values) => {
                Self::List(values.into_iter().filter_map(Self::from_json).collect())
            }
            serde_json::Value::Object(fields) => Self::Map(
                fields
                    .into_iter()
                    .filter_map(|(key, value)| Some((key.into(), Self::from_json(value)?)))
                    .collect(),
            ),
        })
    }

    /// About how many bytes it takes in memory.
    pub(crate) fn size(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Text(text) => text.len(),
                Self::Bytes(bytes) => bytes.len(),
                Self::List(values) => values.iter().map(Self::size).sum(),
                Self::Map(values) => size_of_attributes(values),
                Self::Bool(_) | Self::Int(_) | Self::Float(_) => 0,
            }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

/// About how many bytes attributes take in memory.
pub(crate) fn size_of_attributes(attributes: &[(Text, Value)]) -> usize {
    attributes.iter().map(|(key, value)| size_of::<Text>() + key.len() + value.size()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_compared_as_people_write_it() {
        let text = |value: Value| value.as_text().into_owned();
        assert_eq!(text(Value::Int(-5)), "-5");
        assert_eq!(text(Value::Float(0.5)), "0.5");
        assert_eq!(text(Value::Bool(true)), "true");
        assert_eq!(text(Value::from("a b")), "a b");
        assert_eq!(text(Value::Bytes(vec![0, 255])), "00ff");
        assert_eq!(text(Value::List(vec![Value::Int(1), Value::from("x")])), r#"[1,"x"]"#);
        assert_eq!(text(Value::Float(f64::NAN)), "NaN");
    }
}
