//! One call of an action: what it was given, and how it answers.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use http::StatusCode;
use kit::Timestamp;
use kit::trace::Context;
use pipes::{Outgoing, Pipes, Queue, QueueName};
use serde::Deserialize;

use super::error::{Code, SqsError};
use crate::encode::{Encoder, Protocol};
use crate::face::{Arrived, Reply, Told};
use crate::gate::Resource;
use crate::names;
use crate::text::Text;
use crate::trace::Span;

/// One call of an action.
pub(super) struct Call<'a> {
    pub(super) pipes: &'a Pipes,
    pub(super) arrived: &'a Arrived<'a>,
    pub(super) protocol: Protocol,
    /// The action's name, and how policies call it.
    pub(super) action: &'static str,
    pub(super) verb: &'static str,
    /// The input as JSON, whichever protocol it came in.
    pub(super) input: &'a [u8],
    /// What a witness is told of it.
    pub(super) seen: Seen,
}

/// What a witness is told, filled in on the way.
#[derive(Default)]
pub(super) struct Seen {
    resource: OnceLock<QueueName>,
    messages: AtomicU32,
    message: OnceLock<String>,
    since: OnceLock<Timestamp>,
    span: OnceLock<Span>,
}

impl Seen {
    /// So many messages went in or out.
    pub(super) fn messages(&self, count: usize) {
        self.messages.store(u32::try_from(count).unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    /// There was nothing to do before that.
    pub(super) fn since(&self, moment: Timestamp) {
        let _ = self.since.set(moment);
    }

    /// It was about this message, and no other.
    pub(super) fn message(&self, id: &str) {
        let _ = self.message.set(id.to_owned());
    }
}

/// What an action answers.
pub(super) enum Answer {
    /// That it was done.
    Done,
    /// Members of its output, as [`Call::answer`] began them.
    Members(Encoder),
}

impl<'a> Call<'a> {
    /// The input, decoded.
    pub(super) fn decode<T: Deserialize<'a>>(&self) -> Result<T, SqsError> {
        let input = if self.input.is_empty() { b"{}" } else { self.input };
        // A list would be taken for the members in their order.
        if input.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
            return Err(SqsError::new(Code::Malformed, "The input is not an object."));
        }
        serde_json::from_slice(input)
            .map_err(|error| SqsError::new(Code::Malformed, format!("The input cannot be read: {error}.")))
    }

    /// The queue of a URL, if there is one and the caller may do this to it.
    pub(super) fn queue(&self, url: Option<&Text<'_>>) -> Result<Queue, SqsError> {
        let url = url.filter(|url| !url.is_empty()).ok_or_else(|| SqsError::missing("QueueUrl"))?;
        self.queue_of(&names::parse_queue_url(url)?)
    }

    /// The queue of a name, if there is one and the caller may do this to it.
    pub(super) fn queue_of(&self, name: &QueueName) -> Result<Queue, SqsError> {
        let queue = self.pipes.queue(name);
        match &queue {
            Some(queue) => self.may(name, queue.settings().policy.as_deref())?,
            None => self.may(name, None)?,
        }
        queue.ok_or_else(SqsError::no_queue)
    }

    /// Whether the caller may do this to the queue of that name.
    pub(super) fn may(&self, name: &QueueName, policy: Option<&str>) -> Result<(), SqsError> {
        let _ = self.seen.resource.set(name.clone()); // the first one is what the action is about
        let resource = Resource { service: "sqs", name: name.as_str(), policy };
        Ok(self.arrived.gate.may(&self.arrived.caller, self.verb, &resource)?)
    }

    /// Whether the caller may do this, which is about no particular queue.
    pub(super) fn may_at_all(&self) -> Result<(), SqsError> {
        let resource = Resource { service: "sqs", name: "*", policy: None };
        Ok(self.arrived.gate.may(&self.arrived.caller, self.verb, &resource)?)
    }

    /// The URL of a queue, as this client reaches it.
    pub(super) fn url(&self, name: &QueueName) -> String {
        names::queue_url(self.arrived.host, name.as_str())
    }

    /// The span of this call, which has to do with messages that stand there in traces. The first time counts.
    pub(super) fn span(&self, messages: &[Option<Context>]) -> &Span {
        self.seen.span.get_or_init(|| Span::of(self.arrived.came.as_ref(), messages))
    }

    /// Messages are about to be sent: what has no trace gets that of this call.
    pub(super) fn trace_messages(&self, messages: &mut [Outgoing]) {
        self.seen.messages(messages.len());
        let contexts: Vec<_> = messages.iter().map(Outgoing::context).collect();
        let span = self.span(&contexts);
        for (message, own) in messages.iter_mut().zip(contexts) {
            if message.trace.is_none() {
                message.trace = span.for_message(own);
            }
        }
    }

    /// Begins an answer that has members.
    pub(super) fn answer(&self, capacity: usize) -> Encoder {
        let mut begin = Vec::with_capacity(capacity + 400);
        match self.protocol {
            Protocol::Json => begin.push(b'{'),
            Protocol::Query => {
                self.open(&mut begin);
                for piece in ["<", self.action, "Result>"] {
                    begin.extend_from_slice(piece.as_bytes());
                }
            }
        }
        Encoder::continued(self.protocol, begin)
    }

    fn open(&self, to: &mut Vec<u8>) {
        for piece in ["<?xml version=\"1.0\"?><", self.action, "Response xmlns=\"", super::NAMESPACE, "\">"] {
            to.extend_from_slice(piece.as_bytes());
        }
    }

    /// The reply to be sent.
    pub(super) fn reply(&self, outcome: Result<Answer, SqsError>) -> Reply {
        let mut reply = match outcome {
            Err(error) => error.reply(self.protocol, self.arrived.id),
            Ok(answer) => self.success(answer),
        };
        reply.told.action = self.action;
        reply.told.resource =
            self.seen.resource.get().map(|name| name.as_str().to_owned()).unwrap_or_default();
        reply.told.messages = self.seen.messages.load(Ordering::Relaxed);
        reply.told.message = self.seen.message.get().cloned();
        reply.told.since = self.seen.since.get().copied();
        if let Some(Span { trace, links }) = self.seen.span.get() {
            reply.told.span = Some(*trace);
            reply.told.links.clone_from(links);
        }
        reply
    }

    fn success(&self, answer: Answer) -> Reply {
        let (content_type, body) = match (self.protocol, answer) {
            (Protocol::Json, Answer::Done) => (None, Vec::new()),
            (Protocol::Json, Answer::Members(encoder)) => {
                let mut body = encoder.into_bytes();
                body.push(b'}');
                (Some(super::JSON), body)
            }
            (Protocol::Query, answer) => {
                let mut body = match answer {
                    Answer::Done => {
                        let mut body = Vec::with_capacity(400);
                        self.open(&mut body);
                        body
                    }
                    Answer::Members(encoder) => {
                        let mut body = encoder.into_bytes();
                        for piece in ["</", self.action, "Result>"] {
                            body.extend_from_slice(piece.as_bytes());
                        }
                        body
                    }
                };
                let id = self.arrived.id.as_str();
                for piece in [
                    "<ResponseMetadata><RequestId>",
                    id,
                    "</RequestId></ResponseMetadata></",
                    self.action,
                    "Response>",
                ] {
                    body.extend_from_slice(piece.as_bytes());
                }
                (Some(super::XML), body)
            }
        };
        Reply {
            status: StatusCode::OK,
            content_type,
            query_error: None,
            body: Bytes::from(body),
            told: Told::default(),
        }
    }
}
