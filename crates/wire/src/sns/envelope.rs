//! How subscribers are told of a message: a JSON object.

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use kit::Timestamp;
use pipes::topic::{Envelope, MessageId, Notice, SubscriptionId, TopicSettings};
use pipes::{AttributeValue, TopicName};

use super::names::{sequence, subscription_arn, topic_arn};

/// Signs what subscribers are told. Without one, envelopes have no signature, rather than one that nobody can verify:
/// an RSA key cannot be made with what the binary has, so it has to be given.
pub trait Signer: Send + Sync + 'static {
    /// `1` for SHA-1, `2` for SHA-256.
    fn version(&self) -> &str;

    /// RSA with PKCS #1 v1.5 over the text, as base64.
    fn sign(&self, text: &str) -> String;

    /// Where the certificate of the key is served.
    fn certificate_url(&self) -> &str;
}

/// Writes envelopes.
pub struct Envelopes {
    base_url: String,
    signer: Option<Arc<dyn Signer>>,
}

impl Envelopes {
    /// `base_url` is how subscribers reach the face: `http://127.0.0.1:4566`.
    pub fn new(base_url: &str, signer: Option<Arc<dyn Signer>>) -> Self {
        Self { base_url: base_url.trim_end_matches('/').to_owned(), signer }
    }

    /// Adds the signature over these names and values.
    fn sign(&self, object: &mut Object, signed: &[(&str, &str)]) {
        let Some(signer) = &self.signer else { return };
        let mut text = String::new();
        for (name, value) in signed {
            let _ = write!(text, "{name}\n{value}\n");
        }
        object.text("SignatureVersion", signer.version());
        object.text("Signature", &signer.sign(&text));
        object.text("SigningCertURL", signer.certificate_url());
    }
}

/// Stands for the subscription until it is known: no JSON text has this character as it is.
const WHOSE: char = '\u{0}';

impl Envelope for Envelopes {
    fn seal(&self, notice: &Notice<'_>) -> String {
        let Notice { topic, settings, id, sequence: number, at, body, subject, attributes } = notice;
        let (id, arn, at) = (id.to_string(), topic_arn(topic), timestamp(*at));
        let message = String::from_utf8_lossy(body);
        let mut object = Object::new();
        object.text("Type", "Notification");
        object.text("MessageId", &id);
        if let Some(number) = number {
            object.text("SequenceNumber", &sequence(*number));
        }
        object.text("TopicArn", &arn);
        if let Some(subject) = subject {
            object.text("Subject", subject);
        }
        object.text("Message", &message);
        object.text("Timestamp", &at);
        // As the service does it, nothing is signed where order is kept.
        if settings.fifo.is_none() {
            let mut signed = vec![("Message", &*message), ("MessageId", &id)];
            signed.extend(subject.map(|subject| ("Subject", subject)));
            signed.extend([("Timestamp", &*at), ("TopicArn", &arn), ("Type", "Notification")]);
            self.sign(&mut object, &signed);
        }
        object.raw(
            "UnsubscribeURL",
            &format!("\"{}/?Action=Unsubscribe&SubscriptionArn={WHOSE}\"", self.base_url),
        );
        if !attributes.is_empty() {
            let mut inner = Object::new();
            for attribute in *attributes {
                let value = match &attribute.value {
                    AttributeValue::Text(text) => text.clone(),
                    AttributeValue::Binary(bytes) => crate::base64::text(bytes),
                };
                let mut one = Object::new();
                one.text("Type", &attribute.kind);
                one.text("Value", &value);
                inner.raw(&attribute.name, &one.end());
            }
            object.raw("MessageAttributes", &inner.end());
        }
        object.end()
    }

    fn address(&self, sealed: &str, topic: &TopicName, to: SubscriptionId) -> Bytes {
        let (before, behind) = sealed.split_once(WHOSE).unwrap_or((sealed, ""));
        [before, &subscription_arn(topic, to), behind].concat().into()
    }

    fn question(
        &self,
        topic: &TopicName,
        _: &TopicSettings,
        token: &str,
        id: MessageId,
        at: Timestamp,
    ) -> Bytes {
        let (id, arn, at) = (id.to_string(), topic_arn(topic), timestamp(at));
        let message = format!(
            "You have chosen to subscribe to the topic {arn}.\nTo confirm the subscription, visit the SubscribeURL \
             included in this message."
        );
        let url = format!("{}/?Action=ConfirmSubscription&TopicArn={arn}&Token={token}", self.base_url);
        let kind = "SubscriptionConfirmation";
        let mut object = Object::new();
        object.text("Type", kind);
        object.text("MessageId", &id);
        object.text("Token", token);
        object.text("TopicArn", &arn);
        object.text("Message", &message);
        object.text("SubscribeURL", &url);
        object.text("Timestamp", &at);
        self.sign(
            &mut object,
            &[
                ("Message", &message),
                ("MessageId", &id),
                ("SubscribeURL", &url),
                ("Timestamp", &at),
                ("Token", token),
                ("TopicArn", &arn),
                ("Type", kind),
            ],
        );
        object.end().into()
    }
}

/// RFC 3339 with milliseconds.
pub(super) fn timestamp(at: Timestamp) -> String {
    let text = at.to_string(); // 2001-09-09T01:46:40.500000Z
    text.get(..23).map_or_else(|| text.clone(), |start| format!("{start}Z"))
}

/// A JSON object whose members come in the order in which they are written.
struct Object(String);

impl Object {
    fn new() -> Self {
        Self("{".to_owned())
    }

    fn text(&mut self, name: &str, value: &str) {
        self.raw(name, &serde_json::Value::from(value).to_string());
    }

    fn raw(&mut self, name: &str, json: &str) {
        let comma = if self.0.len() > 1 { "," } else { "" };
        let _ = write!(self.0, "{comma}{}:{json}", serde_json::Value::from(name));
    }

    fn end(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

#[cfg(test)]
mod tests {
    use pipes::Attribute;
    use serde_json::Value;

    use super::*;

    struct Loud;

    impl Signer for Loud {
        fn version(&self) -> &str {
            "2"
        }

        fn sign(&self, text: &str) -> String {
            text.to_owned()
        }

        fn certificate_url(&self) -> &str {
            "http://h/cert.pem"
        }
    }

    fn told(envelopes: &Envelopes, fifo: bool) -> Value {
        let topic: TopicName = "orders".parse().unwrap();
        let attributes = [
            Attribute { name: "a".into(), kind: "String".into(), value: AttributeValue::Text("x\"".into()) },
            Attribute {
                name: "b".into(),
                kind: "Binary".into(),
                value: AttributeValue::Binary("foo".into()),
            },
        ];
        let settings = TopicSettings { fifo: fifo.then(Default::default), ..TopicSettings::default() };
        let sealed = envelopes.seal(&Notice {
            topic: &topic,
            settings: &settings,
            id: "01234567-89ab-4def-8123-456789abcdef".parse().unwrap(),
            sequence: fifo.then_some(3),
            at: Timestamp::from_micros(1_000_000_000_500_000),
            body: &Bytes::from("say \"hi\"\u{0}"),
            subject: Some("S"),
            attributes: &attributes,
        });
        let addressed =
            envelopes.address(&sealed, &topic, "11111111-89ab-4def-8123-456789abcdef".parse().unwrap());
        serde_json::from_slice(&addressed).unwrap()
    }

    #[test]
    fn a_notification_says_what_was_published_and_to_whom() {
        let told = told(&Envelopes::new("http://h:1/", None), false);
        assert_eq!(told["Type"], "Notification");
        assert_eq!(told["Message"], "say \"hi\"\u{0}");
        assert_eq!(told["Timestamp"], "2001-09-09T01:46:40.500Z");
        assert_eq!(told["TopicArn"], "arn:aws:sns:us-east-1:000000000000:orders");
        assert_eq!(
            told["UnsubscribeURL"],
            "http://h:1/?Action=Unsubscribe&SubscriptionArn=arn:aws:sns:us-east-1:000000000000:orders:\
             11111111-89ab-4def-8123-456789abcdef"
        );
        assert_eq!(told["MessageAttributes"]["a"]["Value"], "x\"");
        assert_eq!(told["MessageAttributes"]["b"]["Value"], "Zm9v");
        assert!(told.get("Signature").is_none() && told.get("SequenceNumber").is_none());
    }

    #[test]
    fn a_signature_is_over_the_names_and_values_of_the_service() {
        let envelopes = Envelopes::new("http://h", Some(Arc::new(Loud)));
        let signed = told(&envelopes, false);
        let signature = signed["Signature"].as_str().unwrap();
        assert!(signature.starts_with("Message\nsay \"hi\"\u{0}\nMessageId\n01234567"), "{signature}");
        assert!(signature.ends_with("Subject\nS\nTimestamp\n2001-09-09T01:46:40.500Z\nTopicArn\narn:aws:sns:us-east-1:000000000000:orders\nType\nNotification\n"));
        assert_eq!(
            (&signed["SignatureVersion"], &signed["SigningCertURL"]),
            (&"2".into(), &"http://h/cert.pem".into())
        );
        let in_order = told(&envelopes, true);
        assert!(in_order.get("Signature").is_none());
        assert_eq!(in_order["SequenceNumber"], "10000000000000000003");
    }
}
