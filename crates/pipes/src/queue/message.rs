//! What is sent and received.

use bytes::Bytes;
use kit::Timestamp;

use super::receipt::Receipt;

/// One named attribute of a message, as its sender gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// Its name.
    pub name: String,
    /// Its type, with whatever the sender put behind a dot: `String`, `Number.int`, `Binary.png`.
    pub kind: String,
    /// Its value.
    pub value: AttributeValue,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttributeValue {
    /// Text; numbers are text as well.
    Text(String),
    /// Bytes.
    Binary(Bytes),
}

/// A message as it is sent. Whoever makes one has checked its size and characters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outgoing {
    /// Its body.
    pub body: Bytes,
    /// Its attributes, in the order of their names.
    pub attributes: Vec<Attribute>,
    /// `traceparent` or an X-Ray header, handed on as it came.
    pub trace: Option<String>,
    /// Who sent it, as receivers are told.
    pub sender: String,
    /// Its group: required where the queue keeps order, and there the unit of order; elsewhere the unit of fairness.
    pub group: Option<String>,
    /// Its identity, where the queue keeps order; without one the queue may make it of the content.
    pub dedup: Option<String>,
    /// For how long nobody gets it, in seconds; `None`: as the queue says. Not where the queue keeps order.
    pub delay_seconds: Option<u32>,
    /// The queue that it was dead-lettered from, if it was.
    pub dead_letter_source: Option<String>,
}

impl Outgoing {
    /// What counts against the largest size of a message: body, and names, types and values of attributes.
    pub fn size(&self) -> usize {
        let attributes = self.attributes.iter().map(|attribute| {
            let value = match &attribute.value {
                AttributeValue::Text(text) => text.len(),
                AttributeValue::Binary(bytes) => bytes.len(),
            };
            attribute.name.len() + attribute.kind.len() + value
        });
        self.body.len() + attributes.sum::<usize>()
    }
}

/// What a sender is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The message, known by this from now on: a UUID in text form.
    pub id: String,
    /// Its place in the order of its queue, where that is kept.
    pub sequence: Option<u64>,
    /// It was known already, by its identity: this is the first one's answer.
    pub duplicate: bool,
}

/// A message as it is received, or looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The message.
    pub id: String,
    /// To delete it with, or to change its visibility.
    pub receipt: Receipt,
    /// What was sent.
    pub message: Outgoing,
    /// Its place in the order of its queue, where that is kept.
    pub sequence: Option<u64>,
    /// When it was sent.
    pub sent_at: Timestamp,
    /// When it was received first: now, if this is the first time.
    pub first_received_at: Timestamp,
    /// How often it has been received, this time included.
    pub receives: u32,
}
