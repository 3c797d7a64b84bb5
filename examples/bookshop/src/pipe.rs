//! How a service publishes to a topic and fetches from a queue: Amazon's protocols, SNS and SQS, over plain HTTP. What it
//! needs is in the variables that every client library of theirs reads.

use std::fmt;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderName, HeaderValue, Method, Request, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::call::{HttpClient, encode, http_client};
use crate::server::{StartError, log};
use crate::sign::{Keys, authorization, stamp};
use crate::{CallError, Trail};

/// The largest answer that is read, in bytes: ten messages, each as large as one may be.
const MAX_ANSWER: usize = 12 << 20;
/// How long a message may take to be published: two tries are within the time that an order has.
const PUBLISH_LIMIT: Duration = Duration::from_millis(600);
/// For how long a receive waits for a message where there is none.
const LONG_POLL_S: u32 = 20;
/// By how much longer its answer may take.
const MARGIN: Duration = Duration::from_secs(5);

/// Where queues and topics are, and as whom.
#[derive(Clone)]
struct Account {
    endpoint: String,
    host: String,
    region: String,
    keys: Keys,
    client: HttpClient,
}

impl Account {
    fn from_env() -> Result<Self, StartError> {
        let endpoint = variable("AWS_ENDPOINT_URL")?.trim_end_matches('/').to_owned();
        let host = endpoint.parse::<Uri>().ok().and_then(|uri| {
            let plain = uri.scheme_str() == Some("http");
            uri.authority().filter(|_| plain).map(ToString::to_string)
        });
        let Some(host) = host else {
            return Err(format!("AWS_ENDPOINT_URL={endpoint} is not an http:// address"));
        };
        let keys = Keys {
            id: variable("AWS_ACCESS_KEY_ID")?,
            secret: variable("AWS_SECRET_ACCESS_KEY")?,
            session: variable("AWS_SESSION_TOKEN").ok(),
        };
        Ok(Self { endpoint, host, region: variable("AWS_REGION")?, keys, client: http_client() })
    }

    /// Sends a signed request to `service`; the body of a good answer.
    async fn ask(
        &self,
        (service, upstream): (&str, &'static str),
        (kind, target): (&str, Option<&str>),
        headers: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
        body: String,
        limit: Duration,
    ) -> Result<Bytes, CallError> {
        let failed = |why: &dyn fmt::Display| CallError::Failed { upstream, why: why.to_string() };
        let now = Timestamp::now();
        let date = stamp(now);
        let mut signed = vec![("content-type", kind), ("host", self.host.as_str()), ("x-amz-date", &date)];
        signed.extend(self.keys.session.as_deref().map(|token| ("x-amz-security-token", token)));
        signed.extend(target.map(|target| ("x-amz-target", target)));
        let authorization = authorization(&self.keys, now, (&self.region, service), &signed, body.as_bytes());
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(format!("{}/", self.endpoint))
            .header(header::AUTHORIZATION, authorization);
        for (name, value) in signed {
            request = request.header(name, value);
        }
        let mut request = request.body(Full::new(Bytes::from(body))).map_err(|error| failed(&error))?;
        request.headers_mut().extend(headers);

        let exchange = async {
            let answer =
                self.client.request(request).await.map_err(|error| failed(&crate::call::chain(&error)))?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
            let body = body.map_err(|error| failed(&error))?.to_bytes();
            if status.is_success() {
                return Ok(body);
            }
            let said: String = String::from_utf8_lossy(&body).chars().take(300).collect();
            Err(failed(&format_args!("{status} {said}")))
        };
        match tokio::time::timeout(limit, exchange).await {
            Ok(answered) => answered,
            Err(_) => Err(failed(&format_args!("no answer within {limit:?}"))),
        }
    }
}

fn variable(name: &str) -> Result<String, StartError> {
    match std::env::var(name) {
        Ok(text) if !text.is_empty() => Ok(text),
        _ => Err(format!("{name} is not set: queues and topics cannot be used without it")),
    }
}

/// A topic: who publishes to it need not know who listens.
#[derive(Clone)]
pub struct Topic {
    name: &'static str,
    arn: String,
    account: Account,
}

impl Topic {
    /// The topic at `<NAME>_TOPIC_ARN`.
    pub fn from_env(name: &'static str) -> Result<Self, StartError> {
        Ok(Self {
            name,
            arn: variable(&format!("{}_TOPIC_ARN", upper(name)))?,
            account: Account::from_env()?,
        })
    }

    /// Publishes a message with attributes that filters look at. Once this returns it is on disk for everybody who listens.
    /// It is tried twice: a message that was published twice is for its readers to recognise.
    pub async fn publish(
        &self,
        trail: &Trail,
        message: &impl Serialize,
        numbers: &[(&str, u64)],
    ) -> Result<(), CallError> {
        let message = serde_json::to_string(message)
            .map_err(|error| CallError::Failed { upstream: self.name, why: error.to_string() })?;
        let first = self.publish_once(trail, &message, numbers).await;
        let Err(error) = first else { return Ok(()) };
        log(format_args!("{error}; trying again request_id={}", trail.request_id()));
        let second = self.publish_once(trail, &message, numbers).await;
        if let Err(error) = &second {
            log(format_args!("{error} request_id={}", trail.request_id()));
        }
        second
    }

    async fn publish_once(
        &self,
        trail: &Trail,
        message: &str,
        numbers: &[(&str, u64)],
    ) -> Result<(), CallError> {
        let mut form = format!(
            "Action=Publish&Version=2010-03-31&TopicArn={}&Message={}",
            encode(&self.arn),
            encode(message)
        );
        for (place, (name, number)) in (1..).zip(numbers) {
            let entry = format!("MessageAttributes.entry.{place}");
            form += &format!(
                "&{entry}.Name={name}&{entry}.Value.DataType=Number&{entry}.Value.StringValue={number}"
            );
        }
        let kind = ("application/x-www-form-urlencoded", None);
        let headers = trail.headers().map(|(name, value)| (name.clone(), value.clone()));
        self.account.ask(("sns", self.name), kind, headers, form, PUBLISH_LIMIT).await.map(|_| ())
    }
}

/// A queue to fetch messages from.
#[derive(Clone)]
pub struct Queue {
    name: &'static str,
    url: String,
    account: Account,
}

/// A message that was fetched. It comes back, to whoever asks then, unless it is deleted.
#[derive(Debug, Deserialize)]
pub struct Message {
    /// What it says.
    #[serde(rename = "Body")]
    pub body: String,
    #[serde(rename = "ReceiptHandle")]
    receipt: String,
    #[serde(rename = "Attributes", default)]
    attributes: Attributes,
}

#[derive(Debug, Default, Deserialize)]
struct Attributes {
    #[serde(rename = "AWSTraceHeader", default)]
    trace: Option<String>,
}

impl Queue {
    /// The queue at `<NAME>_QUEUE_URL`.
    pub fn from_env(name: &'static str) -> Result<Self, StartError> {
        Ok(Self {
            name,
            url: variable(&format!("{}_QUEUE_URL", upper(name)))?,
            account: Account::from_env()?,
        })
    }

    /// Up to ten messages; waits for one where there is none, and may come back without.
    pub async fn receive(&self) -> Result<Vec<Message>, CallError> {
        let ask = json!({
            "QueueUrl": self.url,
            "MaxNumberOfMessages": 10,
            "WaitTimeSeconds": LONG_POLL_S,
            "MessageSystemAttributeNames": ["AWSTraceHeader"],
        });
        #[derive(Deserialize)]
        struct Received {
            #[serde(rename = "Messages", default)]
            messages: Vec<Message>,
        }
        let limit = Duration::from_secs(LONG_POLL_S.into()) + MARGIN;
        let answer = self.ask("AmazonSQS.ReceiveMessage", None, &ask, limit).await?;
        serde_json::from_slice(&answer)
            .map(|Received { messages }| messages)
            .map_err(|error| CallError::Failed { upstream: self.name, why: error.to_string() })
    }

    /// Deletes a message: what it asked for is done.
    pub async fn delete(&self, message: &Message) -> Result<(), CallError> {
        let ask = json!({ "QueueUrl": self.url, "ReceiptHandle": message.receipt });
        let trace = message.attributes.trace.as_deref();
        self.ask("AmazonSQS.DeleteMessage", trace, &ask, MARGIN).await.map(|_| ())
    }

    /// `trace` is how a message says where it stands in one.
    async fn ask(
        &self,
        target: &str,
        trace: Option<&str>,
        body: &Value,
        limit: Duration,
    ) -> Result<Bytes, CallError> {
        let trace = trace.and_then(|trace| HeaderValue::from_str(trace).ok());
        let headers = trace.map(|trace| (HeaderName::from_static("x-amzn-trace-id"), trace));
        let kind = ("application/x-amz-json-1.0", Some(target));
        self.account.ask(("sqs", self.name), kind, headers, body.to_string(), limit).await
    }
}

fn upper(name: &str) -> String {
    name.to_ascii_uppercase().replace('-', "_")
}
