//! How subscribers are told of a message: a JSON object, signed as the service signs it.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use kit::{BoxFuture, Timestamp};
use pipes::topic::{Crowded, Envelope, Notice, Question, QuestionKind, SubscriptionId, TopicSettings};
use pipes::{AttributeValue, TopicName};

use super::names::{sequence, subscription_arn, topic_arn};
use super::topic_attributes::SIGNATURE_VERSION;

/// Signs what subscribers are told: RSA with PKCS #1 v1.5.
pub trait Signer: Send + Sync + 'static {
    /// The signatures of these texts, in their order. `None`: there is no key now, and nothing is signed.
    ///
    /// # Errors
    /// When too many wait for that already.
    fn sign(&self, texts: Vec<(Digest, String)>) -> BoxFuture<'_, Result<Option<Signatures>, Crowded>>;

    /// The certificate of this name, in PEM.
    fn certificate(&self, name: &str) -> Option<String>;
}

/// What of a text is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Digest {
    /// `SignatureVersion` 1.
    Sha1,
    /// `SignatureVersion` 2.
    Sha256,
}

/// Signatures that were made with one key.
#[derive(Clone, Debug)]
pub struct Signatures {
    /// In base64.
    pub texts: Vec<String>,
    /// The name under which the certificate of the key is served.
    pub certificate: Arc<str>,
}

impl Digest {
    /// What a topic wants.
    fn of(settings: &TopicSettings) -> Self {
        match settings.kept.get(SIGNATURE_VERSION).map(String::as_str) {
            Some("2") => Self::Sha256,
            _ => Self::Sha1,
        }
    }

    fn version(self) -> &'static str {
        match self {
            Self::Sha1 => "1",
            Self::Sha256 => "2",
        }
    }
}

/// Writes envelopes.
pub struct Envelopes {
    base_url: RwLock<Arc<str>>,
    signer: Option<Arc<dyn Signer>>,
}

impl Envelopes {
    /// `base_url` is how subscribers reach the face: `http://127.0.0.1:4566`. Without a signer nothing is signed.
    pub fn new(base_url: &str, signer: Option<Arc<dyn Signer>>) -> Self {
        Self { base_url: RwLock::new(base_url.trim_end_matches('/').into()), signer }
    }

    /// The face is reached there from now on. What was told before says what it said.
    pub fn moved(&self, base_url: &str) {
        let mut held = self.base_url.write().unwrap_or_else(PoisonError::into_inner);
        *held = base_url.trim_end_matches('/').into();
    }

    fn base_url(&self) -> Arc<str> {
        Arc::clone(&self.base_url.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The members of a signature for each of these texts; empty for all that are not to be, or cannot be, signed.
    async fn sign(
        &self,
        texts: Vec<Option<(Digest, String)>>,
        base_url: &str,
    ) -> Result<Vec<Vec<Member>>, Crowded> {
        let wanted: Vec<Option<Digest>> = texts.iter().map(|text| text.as_ref().map(|(d, _)| *d)).collect();
        let texts: Vec<_> = texts.into_iter().flatten().collect();
        let signed = match &self.signer {
            Some(signer) if !texts.is_empty() => signer.sign(texts).await?,
            _ => None,
        };
        let Some(Signatures { texts, certificate }) = signed else {
            return Ok(vec![Vec::new(); wanted.len()]);
        };
        let mut signatures = texts.into_iter();
        let members = |digest: Option<Digest>| {
            let Some((digest, signature)) = digest.and_then(|digest| Some((digest, signatures.next()?)))
            else {
                return Vec::new();
            };
            vec![
                ("SignatureVersion", digest.version().to_owned()),
                ("Signature", signature),
                ("SigningCertURL", format!("{base_url}/{certificate}")),
            ]
        };
        Ok(wanted.into_iter().map(members).collect())
    }
}

type Member = (&'static str, String);

/// What is signed of these names and values.
fn canonical(members: &[(&str, &str)]) -> String {
    members.iter().fold(String::new(), |mut text, (name, value)| {
        let _ = write!(text, "{name}\n{value}\n");
        text
    })
}

/// Stands for the subscription until it is known: no JSON text has this character as it is.
const WHOSE: char = '\u{0}';

/// A notification but for its signature.
struct Draft<'a> {
    notice: &'a Notice<'a>,
    id: String,
    arn: String,
    at: String,
    message: Cow<'a, str>,
}

impl<'a> Draft<'a> {
    fn of(notice: &'a Notice<'a>) -> Self {
        let message = String::from_utf8_lossy(notice.body);
        let (id, arn, at) = (notice.id.to_string(), topic_arn(notice.topic), timestamp(notice.at));
        Self { notice, id, arn, at, message }
    }

    /// As the service does it, nothing is signed where order is kept. Nor what goes to queues alone: nobody puts messages
    /// there whom the gate does not know, and a signature costs as much as a hundred messages.
    fn to_sign(&self) -> Option<(Digest, String)> {
        let Self { notice, id, arn, at, message } = self;
        if notice.settings.fifo.is_some() || !notice.abroad {
            return None;
        }
        let mut signed = vec![("Message", &**message), ("MessageId", id)];
        signed.extend(notice.subject.map(|subject| ("Subject", subject)));
        signed.extend([("Timestamp", &**at), ("TopicArn", arn), ("Type", "Notification")]);
        Some((Digest::of(notice.settings), canonical(&signed)))
    }

    fn sealed(&self, signature: &[Member], base_url: &str) -> String {
        let Self { notice, id, arn, at, message } = self;
        let mut object = Object::new();
        object.text("Type", "Notification");
        object.text("MessageId", id);
        if let Some(number) = notice.sequence {
            object.text("SequenceNumber", &sequence(number));
        }
        object.text("TopicArn", arn);
        if let Some(subject) = notice.subject {
            object.text("Subject", subject);
        }
        object.text("Message", message);
        object.text("Timestamp", at);
        for (name, value) in signature {
            object.text(name, value);
        }
        object.raw("UnsubscribeURL", &format!("\"{base_url}/?Action=Unsubscribe&SubscriptionArn={WHOSE}\""));
        if !notice.attributes.is_empty() {
            let mut inner = Object::new();
            for attribute in notice.attributes {
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
}

impl Envelope for Envelopes {
    fn seal<'a>(&'a self, notices: &'a [Notice<'a>]) -> BoxFuture<'a, Result<Vec<String>, Crowded>> {
        Box::pin(async move {
            let base_url = self.base_url();
            let drafts: Vec<_> = notices.iter().map(Draft::of).collect();
            let signatures = self.sign(drafts.iter().map(Draft::to_sign).collect(), &base_url).await?;
            Ok(drafts
                .iter()
                .zip(&signatures)
                .map(|(draft, signed)| draft.sealed(signed, &base_url))
                .collect())
        })
    }

    fn address(&self, sealed: &str, topic: &TopicName, to: SubscriptionId) -> Bytes {
        let (before, behind) = sealed.split_once(WHOSE).unwrap_or((sealed, ""));
        [before, &subscription_arn(topic, to), behind].concat().into()
    }

    fn question<'a>(&'a self, question: &'a Question<'a>) -> BoxFuture<'a, Result<Bytes, Crowded>> {
        let Question { kind, topic, settings, subscription, token, id, at } = question;
        Box::pin(async move {
            let base_url = self.base_url();
            let (id, arn, at) = (id.to_string(), topic_arn(topic), timestamp(*at));
            let (kind, message) = match kind {
                QuestionKind::Begin => (
                    "SubscriptionConfirmation",
                    format!(
                        "You have chosen to subscribe to the topic {arn}.\nTo confirm the subscription, visit the \
                         SubscribeURL included in this message."
                    ),
                ),
                QuestionKind::Restore => (
                    "UnsubscribeConfirmation",
                    format!(
                        "You have chosen to deactivate subscription {}.\nTo cancel this operation and restore the \
                         subscription, visit the SubscribeURL included in this message.",
                        subscription_arn(topic, *subscription)
                    ),
                ),
            };
            let url = format!("{base_url}/?Action=ConfirmSubscription&TopicArn={arn}&Token={token}");
            let text = canonical(&[
                ("Message", &message),
                ("MessageId", &id),
                ("SubscribeURL", &url),
                ("Timestamp", &at),
                ("Token", token),
                ("TopicArn", &arn),
                ("Type", kind),
            ]);
            let signatures = self.sign(vec![Some((Digest::of(settings), text))], &base_url).await?;
            let mut object = Object::new();
            object.text("Type", kind);
            object.text("MessageId", &id);
            object.text("Token", token);
            object.text("TopicArn", &arn);
            object.text("Message", &message);
            object.text("SubscribeURL", &url);
            object.text("Timestamp", &at);
            for (name, value) in signatures.iter().flatten() {
                object.text(name, value);
            }
            Ok(object.end().into())
        })
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
        fn sign(&self, texts: Vec<(Digest, String)>) -> BoxFuture<'_, Result<Option<Signatures>, Crowded>> {
            let texts = texts.into_iter().map(|(digest, text)| format!("{digest:?} {text}")).collect();
            Box::pin(async move { Ok(Some(Signatures { texts, certificate: "cert.pem".into() })) })
        }

        fn certificate(&self, _: &str) -> Option<String> {
            None
        }
    }

    fn settings(version: &str) -> TopicSettings {
        TopicSettings {
            kept: [(SIGNATURE_VERSION.to_owned(), version.to_owned())].into(),
            ..TopicSettings::default()
        }
    }

    async fn told(envelopes: &Envelopes, fifo: bool) -> Value {
        told_to(envelopes, fifo, true).await
    }

    async fn told_to(envelopes: &Envelopes, fifo: bool, abroad: bool) -> Value {
        let topic: TopicName = "orders".parse().unwrap();
        let attributes = [
            Attribute { name: "a".into(), kind: "String".into(), value: AttributeValue::Text("x\"".into()) },
            Attribute {
                name: "b".into(),
                kind: "Binary".into(),
                value: AttributeValue::Binary("foo".into()),
            },
        ];
        let settings = TopicSettings { fifo: fifo.then(Default::default), ..settings("2") };
        let body = Bytes::from("say \"hi\"\u{0}");
        let notice = Notice {
            topic: &topic,
            settings: &settings,
            id: "01234567-89ab-4def-8123-456789abcdef".parse().unwrap(),
            sequence: fifo.then_some(3),
            at: Timestamp::from_micros(1_000_000_000_500_000),
            body: &body,
            subject: Some("S"),
            attributes: &attributes,
            abroad,
        };
        let sealed = envelopes.seal(&[notice]).await.unwrap();
        let whose = "11111111-89ab-4def-8123-456789abcdef".parse().unwrap();
        let addressed = envelopes.address(&sealed[0], &topic, whose);
        serde_json::from_slice(&addressed).unwrap()
    }

    #[tokio::test]
    async fn a_notification_says_what_was_published_and_to_whom() {
        let told = told(&Envelopes::new("http://h:1/", None), false).await;
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

    #[tokio::test]
    async fn a_signature_is_over_the_names_and_values_of_the_service() {
        let envelopes = Envelopes::new("http://old", Some(Arc::new(Loud)));
        envelopes.moved("http://h/");
        let signed = told(&envelopes, false).await;
        assert_eq!(
            signed["Signature"],
            "Sha256 Message\nsay \"hi\"\u{0}\nMessageId\n01234567-89ab-4def-8123-456789abcdef\nSubject\nS\nTimestamp\n2001-09-09T01:46:40.500Z\nTopicArn\narn:aws:sns:us-east-1:000000000000:orders\nType\nNotification\n"
        );
        assert_eq!(
            (&signed["SignatureVersion"], &signed["SigningCertURL"]),
            (&"2".into(), &"http://h/cert.pem".into())
        );
        let to_queues = told_to(&envelopes, false, false).await;
        assert!(to_queues.get("Signature").is_none() && to_queues.get("UnsubscribeURL").is_some());
        let in_order = told(&envelopes, true).await;
        assert!(in_order.get("Signature").is_none());
        assert_eq!(in_order["SequenceNumber"], "10000000000000000003");
    }

    #[tokio::test]
    async fn an_address_is_asked_at_the_beginning_and_at_the_end() {
        let envelopes = Envelopes::new("http://h", Some(Arc::new(Loud)));
        let topic: TopicName = "orders".parse().unwrap();
        let subscription = "11111111-89ab-4def-8123-456789abcdef".parse().unwrap();
        let id = "01234567-89ab-4def-8123-456789abcdef".parse().unwrap();
        let at = Timestamp::from_micros(1_000_000_000_500_000);
        let settings = settings("1");
        for (kind, name) in [
            (QuestionKind::Begin, "SubscriptionConfirmation"),
            (QuestionKind::Restore, "UnsubscribeConfirmation"),
        ] {
            let question =
                Question { kind, topic: &topic, settings: &settings, subscription, token: "t0", id, at };
            let asked: Value = serde_json::from_slice(&envelopes.question(&question).await.unwrap()).unwrap();
            let text = |name: &str| asked[name].as_str().unwrap();
            assert_eq!((text("Type"), text("SignatureVersion")), (name, "1"));
            assert_eq!(
                text("SubscribeURL"),
                "http://h/?Action=ConfirmSubscription&TopicArn=arn:aws:sns:us-east-1:000000000000:orders&Token=t0"
            );
            let signed = ["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"];
            let signed = signed.map(|name| format!("{name}\n{}\n", text(name))).concat();
            assert_eq!(text("Signature"), format!("Sha1 {signed}"));
            let about_the_end = text("Message").contains("orders:11111111-89ab");
            assert_eq!(about_the_end, kind == QuestionKind::Restore);
        }
    }
}
