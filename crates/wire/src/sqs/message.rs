//! A message as it is sent: its parts, checked.

use std::borrow::Cow;

use bytes::Bytes;
use pipes::{Attribute, AttributeValue, Outgoing, Settings};
use serde::Deserialize;

use super::error::{Code, SqsError};
use crate::base64;
use crate::digest::{self, Hex};
use crate::encode::{Encoder, Named};
use crate::text::{Pairs, Text};

/// Most bytes of a message, and of a batch of them.
pub(super) const MOST_BYTES: usize = 1024 * 1024;
/// Most attributes of one message.
const MOST_ATTRIBUTES: usize = 10;
/// Most bytes of the name of an attribute, and of its type.
const MOST_NAME_BYTES: usize = 256;
/// Longest delay, in seconds.
const MOST_DELAY: i64 = 900;

/// What a message consists of, in either form of sending.
#[derive(Default)]
pub(super) struct Parts<'a> {
    pub(super) body: Option<Text<'a>>,
    pub(super) delay: Option<i64>,
    pub(super) attributes: Option<Pairs<'a, Value<'a>>>,
    pub(super) system_attributes: Option<Pairs<'a, Value<'a>>>,
    pub(super) dedup: Option<Text<'a>>,
    pub(super) group: Option<Text<'a>>,
}

/// The value of an attribute.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Value<'a> {
    #[serde(borrow)]
    data_type: Option<Text<'a>>,
    #[serde(borrow)]
    string_value: Option<Text<'a>>,
    #[serde(borrow)]
    binary_value: Option<Text<'a>>,
    #[serde(borrow)]
    string_list_values: Option<Vec<Text<'a>>>,
    #[serde(borrow)]
    binary_list_values: Option<Vec<Text<'a>>>,
}

/// A message that may be sent, and the digests that its sender is told.
pub(super) struct Checked {
    pub(super) outgoing: Outgoing,
    pub(super) body: Hex,
    pub(super) attributes: Option<Hex>,
    pub(super) system_attributes: Option<Hex>,
}

impl Parts<'_> {
    /// What counts against the size of a batch, before anything is checked.
    pub(super) fn size(&self) -> usize {
        let text = |text: &Option<Text<'_>>| text.as_ref().map_or(0, |text| text.len());
        let attributes = self.attributes.iter().flat_map(|attributes| &attributes.0).map(|(name, value)| {
            let binary = value.binary_value.as_ref().map_or(0, |value| value.len() / 4 * 3);
            name.len() + text(&value.data_type) + text(&value.string_value) + binary
        });
        text(&self.body) + attributes.sum::<usize>()
    }

    /// The message, if the queue with these settings takes it.
    pub(super) fn into_domain(self, settings: &Settings, sender: &str) -> Result<Checked, SqsError> {
        let Self { body, delay, attributes, system_attributes, dedup, group } = self;
        let body = body.filter(|body| !body.is_empty()).ok_or_else(|| SqsError::missing("MessageBody"))?;
        if !may_be_sent(&body) {
            return Err(SqsError::new(
                Code::InvalidMessageContents,
                "Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | [#x20 to #xD7FF] | \
                 [#xE000 to #xFFFD] | [#x10000 to #x10FFFF]",
            ));
        }
        let delay_seconds = delay_seconds(delay, settings)?;
        let attributes = attributes.map(read_attributes).transpose()?.unwrap_or_default();
        let system = system_attributes.map(read_system_attributes).transpose()?.flatten();
        let group = group.map(|group| identity(&group, "MessageGroupId")).transpose()?;
        let dedup = dedup.map(|dedup| identity(&dedup, "MessageDeduplicationId")).transpose()?;
        match settings.fifo {
            Some(_) if group.is_none() => return Err(SqsError::missing("MessageGroupId")),
            Some(fifo) if dedup.is_none() && !fifo.content_dedup => {
                return Err(pipes::SendError::NoDedup.into());
            }
            None if let Some(dedup) = &dedup => {
                let reason = "The request includes a parameter that is not valid for this queue type.";
                return Err(SqsError::value(dedup, "MessageDeduplicationId", reason));
            }
            _ => {}
        }
        let digest_of =
            |attributes: &[Attribute]| (!attributes.is_empty()).then(|| digest::of_attributes(attributes));
        let checked = Checked {
            body: digest::of_body(body.as_bytes()),
            attributes: digest_of(&attributes),
            system_attributes: system.as_ref().map(|attribute| digest::of_attributes([attribute])),
            outgoing: Outgoing {
                // Copied: a part of the request's buffer would keep all of it, and that is larger than what the pipes count.
                body: Bytes::copy_from_slice(body.as_bytes()),
                attributes,
                trace: match system {
                    Some(Attribute { value: AttributeValue::Text(header), .. }) => Some(header),
                    _ => None,
                },
                sender: sender.to_owned(),
                group,
                dedup,
                delay_seconds,
                dead_letter_source: None,
            },
        };
        let most = settings.message_bytes as usize;
        let size = checked.outgoing.size();
        if size > most {
            return Err(pipes::SendError::TooLarge { size, most }.into());
        }
        Ok(checked)
    }
}

/// A delay that a message of the queue can have.
fn delay_seconds(delay: Option<i64>, settings: &Settings) -> Result<Option<u32>, SqsError> {
    let Some(delay) = delay else { return Ok(None) };
    let seconds = u32::try_from(delay).ok().filter(|_| delay <= MOST_DELAY).ok_or_else(|| {
        SqsError::value(&delay.to_string(), "DelaySeconds", "DelaySeconds must be >= 0 and <= 900.")
    })?;
    if settings.fifo.is_none() {
        return Ok(Some(seconds));
    }
    if seconds == 0 {
        return Ok(None);
    }
    let reason = "The request include parameter that is not valid for this queue type.";
    Err(SqsError::value(&seconds.to_string(), "DelaySeconds", reason))
}

/// Whether a text has only characters that a message may have: those of XML 1.0.
fn may_be_sent(text: &str) -> bool {
    let bytes = text.as_bytes();
    // Without a branch for each byte, which is a few bytes at once; nearly every text ends here.
    if !bytes.iter().fold(false, |odd, byte| odd | (*byte < 0x20) | (*byte == 0xef)) {
        return true;
    }
    // U+FFFE and U+FFFF are EF BF BE and EF BF BF; surrogates cannot stand in a `str`.
    bytes.iter().all(|byte| *byte >= 0x20 || matches!(byte, b'\t' | b'\n' | b'\r'))
        && !text.contains('\u{fffe}')
        && !text.contains('\u{ffff}')
}

/// The id of a group, or of a message: 1 to 128 letters, digits and marks of ASCII.
pub(super) fn identity(text: &str, parameter: &'static str) -> Result<String, SqsError> {
    if text.is_empty() || text.len() > 128 || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        let reason = format!(
            "{parameter} can only include alphanumeric and punctuation characters. 1 to 128 in length."
        );
        return Err(SqsError::value(text, parameter, &reason));
    }
    Ok(text.to_owned())
}

/// Attributes in the order of their names.
fn read_attributes(pairs: Pairs<'_, Value<'_>>) -> Result<Vec<Attribute>, SqsError> {
    if pairs.0.len() > MOST_ATTRIBUTES {
        let message = format!(
            "Number of message attributes [{}] exceeds the allowed maximum [{MOST_ATTRIBUTES}].",
            pairs.0.len()
        );
        return Err(SqsError::invalid(message));
    }
    let mut attributes = Vec::with_capacity(pairs.0.len());
    for (name, value) in pairs.0 {
        check_name(&name)?;
        attributes.push(value.into_domain(&name)?);
    }
    attributes.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(twice) = attributes.windows(2).find(|pair| pair[0].name == pair[1].name) {
        let message = format!("Message (user) attribute '{}' is given more than once.", twice[0].name);
        return Err(SqsError::invalid(message));
    }
    Ok(attributes)
}

fn check_name(name: &str) -> Result<(), SqsError> {
    if name.is_empty() {
        return Err(SqsError::invalid("Message (user) attribute names must not be empty."));
    }
    if name.len() > MOST_NAME_BYTES {
        return Err(SqsError::invalid("Message (user) attribute names must be shorter than 256 Bytes"));
    }
    if !name.chars().all(|character| character.is_alphanumeric() || matches!(character, '_' | '-' | '.')) {
        return Err(SqsError::invalid(
            "Message (user) attributes name can only contain upper and lower score characters, digits, periods, \
             hyphens and underscores. ",
        ));
    }
    let starts =
        |prefix: &str| name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    let dots = name.starts_with('.') || name.ends_with('.') || name.contains("..");
    if dots || starts("aws.") || starts("amazon.") {
        return Err(SqsError::invalid(
            "You can't use message attribute names beginning with 'AWS.' or 'Amazon.'. \
             These strings are reserved for internal use. Additionally, they cannot start or end with '.'.",
        ));
    }
    Ok(())
}

/// `AWSTraceHeader`, the one system attribute that can be sent.
fn read_system_attributes(pairs: Pairs<'_, Value<'_>>) -> Result<Option<Attribute>, SqsError> {
    let mut trace = None;
    for (name, value) in pairs.0 {
        if &*name != "AWSTraceHeader" {
            return Err(SqsError::invalid(format!("Message system attribute name '{}' is invalid.", &*name)));
        }
        let attribute = value.into_domain(&name)?;
        if attribute.kind != "String" {
            return Err(SqsError::invalid(
                "The message system attribute 'AWSTraceHeader' must be of type 'String'.",
            ));
        }
        trace = Some(attribute);
    }
    Ok(trace)
}

impl Value<'_> {
    fn into_domain(self, name: &str) -> Result<Attribute, SqsError> {
        let Self { data_type, string_value, binary_value, string_list_values, binary_list_values } = self;
        let lists = string_list_values.is_some_and(|list| !list.is_empty())
            || binary_list_values.is_some_and(|list| !list.is_empty());
        if lists {
            return Err(SqsError::new(
                Code::UnsupportedOperation,
                "Message attribute list values in SendMessage operation are not supported.",
            ));
        }
        let kind = data_type.filter(|kind| !kind.is_empty()).ok_or_else(|| {
            SqsError::invalid(format!(
                "The message attribute '{name}' must contain non-empty message attribute type."
            ))
        })?;
        if kind.len() > MOST_NAME_BYTES {
            return Err(SqsError::invalid("Message (user) attribute types must be shorter than 256 Bytes"));
        }
        let logical = kind.split('.').next().unwrap_or_default();
        let empty = || {
            SqsError::invalid(format!(
                "Message (user) attribute '{name}' must contain a non-empty value of type '{logical}'."
            ))
        };
        let value = match logical {
            "String" | "Number" => {
                let text = string_value.filter(|text| !text.is_empty()).ok_or_else(empty)?;
                if !may_be_sent(&text) {
                    return Err(SqsError::invalid(format!(
                        "Message (user) attribute '{name}' has characters that a message cannot have."
                    )));
                }
                if logical == "Number" && !is_number(&text) {
                    return Err(SqsError::invalid(format!(
                        "Can't cast the value of message (user) attribute '{name}' to a number."
                    )));
                }
                AttributeValue::Text(text.0.into_owned())
            }
            "Binary" => {
                let text = binary_value.filter(|text| !text.is_empty()).ok_or_else(empty)?;
                let bytes = base64::decode(&text).ok_or_else(|| {
                    SqsError::new(Code::Malformed, format!("The value of '{name}' is not base64."))
                })?;
                AttributeValue::Binary(bytes.into())
            }
            _ => {
                return Err(SqsError::invalid(format!(
                    "The type of message (user) attribute '{name}' is invalid. You must use only the following \
                     supported type prefixes: Binary, Number, String."
                )));
            }
        };
        Ok(Attribute { name: name.to_owned(), kind: kind.0.into_owned(), value })
    }
}

/// A decimal number: up to 38 digits that count, from 10^-128 to 10^126.
fn is_number(text: &str) -> bool {
    let text = text.trim();
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        None => (unsigned, 0),
        Some((mantissa, exponent)) => match exponent.parse::<i32>() {
            Ok(exponent) if !exponent.to_string().is_empty() => (mantissa, exponent),
            _ => return false,
        },
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = || whole.bytes().chain(fraction.bytes());
    if digits().next().is_none() || !digits().all(|byte| byte.is_ascii_digit()) {
        return false;
    }
    let digits: Cow<'_, str> =
        if fraction.is_empty() { whole.into() } else { format!("{whole}{fraction}").into() };
    let counting = digits.trim_start_matches('0').trim_end_matches('0');
    if counting.is_empty() {
        return true; // nought, however it is written
    }
    let leading = digits.len() - digits.trim_start_matches('0').len();
    // The place of the first digit that counts, as a power of ten.
    let magnitude = i64::from(exponent) + whole.len() as i64 - 1 - leading as i64;
    counting.len() <= 38 && (-128..=126).contains(&magnitude)
}

/// Writes attributes as receivers get them.
pub(super) fn write_attributes<'a>(out: &mut Encoder, attributes: impl Iterator<Item = &'a Attribute>) {
    let named = Named { json: "MessageAttributes", xml: "MessageAttribute" };
    let entries = attributes.map(|attribute| (&*attribute.name, attribute));
    out.map_of_objects(named, ("Name", "Value"), entries, |out, attribute| {
        match &attribute.value {
            AttributeValue::Text(text) => out.text("StringValue", text),
            AttributeValue::Binary(bytes) => out.bytes("BinaryValue", bytes),
        }
        out.text("DataType", &attribute.kind);
    });
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
