//! A message as it is published: its parts, checked.

use std::collections::BTreeMap;

use bytes::Bytes;
use pipes::topic::check::{good_subject, good_word};
use pipes::topic::{Protocol, Publication};
use pipes::{Attribute, AttributeValue};
use serde_json::Value;

use super::error::{Code, SnsError};
use crate::base64;

/// Most bytes of a message, and of a batch of them, attributes included.
pub(super) const MOST_BYTES: usize = Publication::MOST_BYTES;
/// Most bytes of the name of an attribute.
const MOST_NAME: usize = Publication::MOST_NAME;

/// What a message consists of, in either form of publishing.
#[derive(Default)]
pub(super) struct Parts<'a> {
    pub(super) message: Option<&'a str>,
    pub(super) subject: Option<&'a str>,
    pub(super) structure: Option<&'a str>,
    pub(super) group: Option<&'a str>,
    pub(super) dedup: Option<&'a str>,
    /// `Name`, `Value.DataType`, `Value.StringValue`, `Value.BinaryValue` of each.
    pub(super) attributes: Vec<BTreeMap<&'a str, &'a str>>,
    /// Its place in a batch, from 1.
    pub(super) place: Option<usize>,
}

impl Parts<'_> {
    /// What counts against the largest size.
    pub(super) fn size(&self) -> usize {
        let attributes = self.attributes.iter().flat_map(BTreeMap::iter).map(|(field, value)| {
            if *field == "Value.BinaryValue" { value.len() / 4 * 3 } else { value.len() }
        });
        self.message.map_or(0, str::len) + attributes.sum::<usize>()
    }

    /// The message, if a topic of this kind takes it.
    pub(super) fn into_domain(self, fifo: bool, sender: &str) -> Result<Publication, SnsError> {
        let size = self.size();
        let Self { message, subject, structure, group, dedup, attributes, place } = self;
        let message =
            message.filter(|text| !text.is_empty()).ok_or_else(|| SnsError::parameter("Empty message"))?;
        if subject.is_some_and(|subject| !good_subject(subject)) {
            return Err(SnsError::parameter("Subject"));
        }
        let mut attributes: Vec<_> =
            attributes.into_iter().map(|fields| attribute(&fields, place)).collect::<Result<_, _>>()?;
        attributes.sort_by(|a, b| a.name.cmp(&b.name));
        attributes.dedup_by(|a, b| a.name == b.name);
        if size > MOST_BYTES {
            return Err(SnsError::parameter("Message too long"));
        }
        if fifo && group.is_none() {
            return Err(pipes::topic::PublishError::NoGroup.into());
        }
        if !fifo && dedup.is_some() {
            return Err(SnsError::parameter(
                "MessageDeduplicationId Reason: The request includes MessageDeduplicationId parameter that is not \
                 valid for this topic type",
            ));
        }
        let group = group.map(|text| identity(text, "MessageGroupId")).transpose()?;
        let dedup = dedup.map(|text| identity(text, "MessageDeduplicationId")).transpose()?;
        let (body, bodies) = bodies(message, structure)?;
        Ok(Publication {
            body,
            bodies,
            subject: subject.map(str::to_owned),
            attributes,
            group,
            dedup,
            trace: None,
            sender: sender.to_owned(),
        })
    }
}

/// The body for everybody, and those for kinds of endpoints.
fn bodies(message: &str, structure: Option<&str>) -> Result<(Bytes, BTreeMap<Protocol, Bytes>), SnsError> {
    match structure {
        None | Some("") => return Ok((Bytes::copy_from_slice(message.as_bytes()), BTreeMap::new())),
        Some("json") => {}
        Some(_) => return Err(SnsError::parameter("MessageStructure")),
    }
    let parsed: Value = serde_json::from_str(message)
        .map_err(|_| SnsError::parameter("Message Structure - JSON message body failed to parse"))?;
    // What is no text is not looked at.
    let find = |name: &str| {
        parsed.get(name).and_then(Value::as_str).map(|text| Bytes::copy_from_slice(text.as_bytes()))
    };
    let default = find("default")
        .ok_or_else(|| SnsError::parameter("Message Structure - No default entry in JSON message body"))?;
    let kinds = [
        ("sqs", Protocol::Queue),
        ("http", Protocol::Http),
        ("https", Protocol::Https),
        ("lambda", Protocol::Function),
    ];
    let bodies = kinds.into_iter().filter_map(|(name, kind)| Some((kind, find(name)?)));
    Ok((default, bodies.collect()))
}

/// The id of a group, or of a message: 1 to 128 letters, digits and marks of ASCII.
fn identity(text: &str, parameter: &str) -> Result<String, SnsError> {
    if !good_word(text) {
        return Err(SnsError::parameter(&format!(
            "{parameter} Reason: {parameter} can only include alphanumeric and punctuation characters. 1 to 128 in length"
        )));
    }
    Ok(text.to_owned())
}

fn attribute(fields: &BTreeMap<&str, &str>, place: Option<usize>) -> Result<Attribute, SnsError> {
    let wrong = |message: String| SnsError::new(Code::ParameterValueInvalid, message);
    let name = fields.get("Name").copied().unwrap_or_default();
    check_name(name)?;
    let Some(kind) = fields.get("Value.DataType").copied() else {
        let at = match place {
            Some(place) => {
                format!("publishBatchRequestEntries.{place}.member.messageAttributes.{name}.member.dataType")
            }
            None => format!("messageAttributes.{name}.member.dataType"),
        };
        return Err(SnsError::new(
            Code::Validation,
            format!(
                "1 validation error detected: Value null at '{at}' failed to satisfy constraint: Member must not be null"
            ),
        ));
    };
    let logical = kind.split('.').next().unwrap_or_default();
    let custom_is_empty = kind.len() == logical.len() + 1;
    if !matches!(logical, "String" | "Number" | "Binary") || custom_is_empty || kind.len() > MOST_NAME {
        return Err(wrong(format!(
            "The message attribute '{name}' has an invalid message attribute type, the set of supported type prefixes \
             is Binary, Number, and String."
        )));
    }
    let (text, bytes) = (fields.get("Value.StringValue"), fields.get("Value.BinaryValue"));
    let (field, given, other) =
        if logical == "Binary" { ("Binary", bytes, text) } else { ("String", text, bytes) };
    let empty = || {
        wrong(format!(
            "The message attribute '{name}' must contain non-empty message attribute value for message attribute type \
             '{kind}'."
        ))
    };
    let given = match (given, other) {
        (Some(given), _) if !given.is_empty() => *given,
        (None, Some(_)) => {
            return Err(wrong(format!(
                "The message attribute '{name}' with type '{kind}' must use field '{field}'."
            )));
        }
        _ => return Err(empty()),
    };
    let value = match logical {
        "Binary" => {
            let bytes = base64::decode(given).ok_or_else(empty)?;
            AttributeValue::Binary(bytes.into())
        }
        "Number" if given.trim().parse::<f64>().is_ok_and(f64::is_finite) => {
            AttributeValue::Text(given.to_owned())
        }
        "Number" => {
            return Err(wrong(format!("Could not cast message attribute '{name}' value to number.")));
        }
        _ => AttributeValue::Text(given.to_owned()),
    };
    Ok(Attribute { name: name.to_owned(), kind: kind.to_owned(), value })
}

fn check_name(name: &str) -> Result<(), SnsError> {
    let wrong = |message: String| Err(SnsError::new(Code::ParameterValueInvalid, message));
    if name.is_empty() || name.len() > MOST_NAME {
        return wrong("Length of message attribute name must be less than 256 bytes.".to_owned());
    }
    if name.starts_with('.') {
        return wrong("Invalid message attribute name starting with character '.' was found.".to_owned());
    }
    if name.ends_with('.') {
        return wrong("Invalid message attribute name ending with character '.' was found.".to_owned());
    }
    let allowed =
        |character: &char| character.is_ascii_alphanumeric() || matches!(character, '_' | '-' | '.');
    if let Some(character) = name.chars().find(|character| !allowed(character)) {
        return wrong(format!(
            "Invalid non-alphanumeric character '#x{:X}' was found in the message attribute name. Can only include \
             alphanumeric characters, hyphens, underscores, or dots.",
            u32::from(character)
        ));
    }
    if name.contains("..") {
        return wrong("Message attribute name can not have successive '.' character.".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields<'a>(fields: &[(&'a str, &'a str)]) -> BTreeMap<&'a str, &'a str> {
        fields.iter().copied().collect()
    }

    fn published(parts: Parts<'_>) -> Result<Publication, String> {
        parts.into_domain(false, "me").map_err(|error| error.message.into_owned())
    }

    #[test]
    fn a_structured_message_has_a_body_for_each_kind_of_endpoint() {
        let message = r#"{"default": "d", "sqs": "q", "http": 5, "sms": "x"}"#;
        let parts = Parts { message: Some(message), structure: Some("json"), ..Parts::default() };
        let publication = published(parts).unwrap();
        assert_eq!(publication.body, "d");
        assert_eq!(publication.bodies, [(Protocol::Queue, Bytes::from("q"))].into());
        for (message, error) in [
            ("no", "Invalid parameter: Message Structure - JSON message body failed to parse"),
            (
                "{\"sqs\": \"q\"}",
                "Invalid parameter: Message Structure - No default entry in JSON message body",
            ),
        ] {
            let parts = Parts { message: Some(message), structure: Some("json"), ..Parts::default() };
            assert_eq!(published(parts).unwrap_err(), error);
        }
    }

    #[test]
    fn attributes_are_read_and_checked() {
        let good = attribute(
            &fields(&[("Name", "a"), ("Value.DataType", "Number.int"), ("Value.StringValue", "5")]),
            None,
        );
        assert_eq!(good.unwrap().kind, "Number.int");
        let bytes = attribute(
            &fields(&[("Name", "a"), ("Value.DataType", "Binary"), ("Value.BinaryValue", "Zm9v")]),
            None,
        );
        assert_eq!(bytes.unwrap().value, AttributeValue::Binary("foo".into()));
        for (name, kind, value, error) in [
            (".a", "String", "x", "Invalid message attribute name starting with character '.' was found."),
            ("a.", "String", "x", "Invalid message attribute name ending with character '.' was found."),
            ("a..b", "String", "x", "Message attribute name can not have successive '.' character."),
            (
                "a b",
                "String",
                "x",
                "Invalid non-alphanumeric character '#x20' was found in the message attribute name. Can only include \
                 alphanumeric characters, hyphens, underscores, or dots.",
            ),
            (
                "a",
                "Text",
                "x",
                "The message attribute 'a' has an invalid message attribute type, the set of supported type prefixes is \
                 Binary, Number, and String.",
            ),
            ("a", "Binary", "x", "The message attribute 'a' with type 'Binary' must use field 'Binary'."),
            ("a", "Number", "x", "Could not cast message attribute 'a' value to number."),
            (
                "a",
                "String",
                "",
                "The message attribute 'a' must contain non-empty message attribute value for message attribute type \
                 'String'.",
            ),
        ] {
            let given = fields(&[("Name", name), ("Value.DataType", kind), ("Value.StringValue", value)]);
            assert_eq!(attribute(&given, None).unwrap_err().message, error);
        }
        let no_type = attribute(&fields(&[("Name", "a")]), Some(2)).unwrap_err();
        assert!(
            no_type
                .message
                .contains("publishBatchRequestEntries.2.member.messageAttributes.a.member.dataType")
        );
    }

    #[test]
    fn what_is_too_long_or_belongs_to_another_kind_of_topic_is_refused() {
        let long = "x".repeat(MOST_BYTES + 1);
        let parts = Parts { message: Some(&long), ..Parts::default() };
        assert_eq!(published(parts).unwrap_err(), "Invalid parameter: Message too long");
        assert_eq!(published(Parts::default()).unwrap_err(), "Invalid parameter: Empty message");
        let parts = Parts { message: Some("x"), dedup: Some("d"), ..Parts::default() };
        assert!(published(parts).unwrap_err().contains("not valid for this topic type"));
        let parts = Parts { message: Some("x"), subject: Some("a\nb"), ..Parts::default() };
        assert_eq!(published(parts).unwrap_err(), "Invalid parameter: Subject");
        let in_order = Parts { message: Some("x"), ..Parts::default() }.into_domain(true, "").unwrap_err();
        assert!(in_order.message.contains("MessageGroupId parameter is required"));
    }
}
