//! What is sent and received.

use bytes::Bytes;
use kit::Timestamp;
use kit::trace::Context;

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
    /// Where it stands in a trace, if that is known.
    pub fn context(&self) -> Option<Context> {
        context(&self.attributes, self.trace.as_deref())
    }

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

/// The attribute in which instrumented clients hand their trace on.
const TRACEPARENT: &str = "traceparent";

/// Where a message with these attributes stands in a trace: what its sender wrote into the message comes first.
pub fn context(attributes: &[Attribute], trace: Option<&str>) -> Option<Context> {
    let written = attributes.iter().find(|attribute| attribute.name == TRACEPARENT);
    let written = written.and_then(|attribute| match &attribute.value {
        AttributeValue::Text(text) => Context::w3c(text.as_bytes()),
        AttributeValue::Binary(_) => None,
    });
    written.or_else(|| Context::parse(trace?))
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
    /// When it was received: it was there, and whoever waited waited no longer.
    pub received_at: Timestamp,
    /// How often it has been received, this time included.
    pub receives: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_sender_wrote_into_the_message_says_where_it_stands() {
        let (own, other) = ("00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01", "Root=1-1-2");
        let attribute = |value| Attribute { name: TRACEPARENT.into(), kind: "String".into(), value };
        let text = |text: &str| vec![attribute(AttributeValue::Text(text.into()))];
        let bytes = vec![attribute(AttributeValue::Binary(Bytes::from_static(own.as_bytes())))];
        assert_eq!(context(&text(own), Some(other)), Context::parse(own));
        assert_eq!(context(&text("x"), Some(own)), Context::parse(own));
        assert_eq!(context(&bytes, None), None);
        assert_eq!(context(&[], Some(other)), None);
    }
}
