//! ReceiveMessage.

use std::time::Duration;

use kit::trace::Context;
use pipes::{Attribute, Delivery, Queue, Receive};
use serde::Deserialize;

use super::call::{Answer, Call};
use super::error::{Code, SqsError};
use super::message::{identity, write_attributes};
use super::visibility::seconds;
use crate::digest;
use crate::encode::{Encoder, Named};
use crate::names::queue_arn;
use crate::text::Text;

/// Most seconds that a receive waits.
const MOST_WAIT: i64 = 20;

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ReceiveMessage<'a> {
    #[serde(borrow)]
    queue_url: Option<Text<'a>>,
    /// What `MessageSystemAttributeNames` was called before.
    #[serde(borrow)]
    attribute_names: Option<Vec<Text<'a>>>,
    #[serde(borrow)]
    message_system_attribute_names: Option<Vec<Text<'a>>>,
    #[serde(borrow)]
    message_attribute_names: Option<Vec<Text<'a>>>,
    max_number_of_messages: Option<i64>,
    visibility_timeout: Option<i64>,
    wait_time_seconds: Option<i64>,
    #[serde(borrow)]
    receive_request_attempt_id: Option<Text<'a>>,
}

/// Which attributes a receiver wants to see.
struct Wanted<'a> {
    system: System,
    /// Names, or prefixes that end with `.*`; `All` and `.*` are all.
    user: Vec<Text<'a>>,
}

/// A bit for each system attribute.
#[derive(Clone, Copy, Default)]
struct System(u16);

/// The system attributes in the order in which they are written.
const SYSTEM: [&str; 9] = [
    "SenderId",
    "SentTimestamp",
    "ApproximateReceiveCount",
    "ApproximateFirstReceiveTimestamp",
    "SequenceNumber",
    "MessageDeduplicationId",
    "MessageGroupId",
    "AWSTraceHeader",
    "DeadLetterQueueSourceArn",
];

impl System {
    fn add(&mut self, name: &str) -> Result<(), SqsError> {
        match SYSTEM.iter().position(|known| *known == name) {
            Some(bit) => self.0 |= 1 << bit,
            None if name == "All" => self.0 = u16::MAX,
            None => {
                let name = name.chars().take(256).collect::<String>();
                return Err(SqsError::new(Code::InvalidAttributeName, format!("Unknown Attribute {name}.")));
            }
        }
        Ok(())
    }

    fn has(self, bit: usize) -> bool {
        self.0 & 1 << bit != 0
    }
}

impl<'a> ReceiveMessage<'a> {
    fn into_domain(self, call: &Call<'_>) -> Result<(Queue, Receive, Wanted<'a>), SqsError> {
        let Self {
            queue_url,
            attribute_names,
            message_system_attribute_names,
            message_attribute_names,
            max_number_of_messages,
            visibility_timeout,
            wait_time_seconds,
            receive_request_attempt_id,
        } = self;
        let queue = call.queue(queue_url.as_ref())?;
        let max = max_number_of_messages.unwrap_or(1);
        if !(1..=10).contains(&max) {
            let reason = "Must be between 1 and 10, if provided.";
            return Err(SqsError::value(&max.to_string(), "MaxNumberOfMessages", reason));
        }
        if let Some(wait) = wait_time_seconds
            && !(0..=MOST_WAIT).contains(&wait)
        {
            let reason = "Must be >= 0 and <= 20, if provided.";
            return Err(SqsError::value(&wait.to_string(), "WaitTimeSeconds", reason));
        }
        let settings = queue.settings();
        let wait = wait_time_seconds.map_or(u64::from(settings.wait_seconds), i64::unsigned_abs);
        let attempt = match receive_request_attempt_id {
            Some(id) if settings.fifo.is_none() => {
                let reason = "The request includes a parameter that is not valid for this queue type.";
                return Err(SqsError::value(&id, "ReceiveRequestAttemptId", reason));
            }
            Some(id) => Some(identity(&id, "ReceiveRequestAttemptId")?),
            None => None,
        };
        let mut system = System::default();
        for name in attribute_names.iter().chain(&message_system_attribute_names).flatten() {
            system.add(name)?;
        }
        let want = Receive {
            max: max.unsigned_abs() as usize,
            visibility_seconds: visibility_timeout.map(seconds).transpose()?,
            wait: Duration::from_secs(wait),
            attempt,
        };
        Ok((queue, want, Wanted { system, user: message_attribute_names.unwrap_or_default() }))
    }
}

pub(super) async fn receive_message(call: &Call<'_>) -> Result<Answer, SqsError> {
    let (queue, want, wanted) = call.decode::<ReceiveMessage<'_>>()?.into_domain(call)?;
    let waits = !want.wait.is_zero();
    // The future ends with the connection: whoever has left takes no message along.
    let deliveries = if waits {
        tokio::select! {
            biased;
            deliveries = queue.receive(want) => deliveries?,
            () = call.arrived.stop.cancelled() => Vec::new(),
        }
    } else {
        queue.receive(want).await?
    };
    if let Some(first) = deliveries.first().filter(|_| waits) {
        call.seen.since(first.received_at);
    }
    call.seen.messages(deliveries.len());
    let contexts: Vec<_> = deliveries.iter().map(|delivery| delivery.message.context()).collect();
    call.span(&contexts);
    if let [only] = &deliveries[..] {
        call.seen.message(&only.id);
    }
    let bodies: usize = deliveries.iter().map(|delivery| delivery.message.body.len()).sum();
    let mut out = call.answer(bodies + bodies / 8 + 768 * deliveries.len());
    if !deliveries.is_empty() {
        out.objects(Named { json: "Messages", xml: "Message" }, &deliveries, |out, delivery| {
            write(out, &queue, delivery, &wanted);
        });
    }
    Ok(Answer::Members(out))
}

fn write(out: &mut Encoder, queue: &Queue, delivery: &Delivery, wanted: &Wanted<'_>) {
    let message = &delivery.message;
    out.text("MessageId", &delivery.id);
    out.text("ReceiptHandle", &queue.receipt_text(&delivery.receipt));
    out.ascii("MD5OfBody", digest::of_body(&message.body).as_bytes());
    match std::str::from_utf8(&message.body) {
        Ok(body) => out.text("Body", body),
        Err(_) => out.text("Body", &String::from_utf8_lossy(&message.body)), // not sent over this wire
    }
    if wanted.system.0 != 0 {
        let system = (0..SYSTEM.len()).filter(|bit| wanted.system.has(*bit));
        let mut entries =
            system.filter_map(|bit| Some((SYSTEM[bit], system_attribute(bit, delivery)?))).peekable();
        if entries.peek().is_some() {
            out.map(Named { json: "Attributes", xml: "Attribute" }, ("Name", "Value"), entries);
        }
    }
    if wanted.user.is_empty() || message.attributes.is_empty() {
        return;
    }
    let attributes = || message.attributes.iter().filter(|attribute| wants(&wanted.user, attribute));
    if attributes().next().is_some() {
        out.ascii("MD5OfMessageAttributes", digest::of_attributes(attributes()).as_bytes());
        write_attributes(out, attributes());
    }
}

fn wants(names: &[Text<'_>], attribute: &Attribute) -> bool {
    names.iter().any(|name| match name.strip_suffix(".*") {
        Some(prefix) => attribute.name.starts_with(prefix),
        None => **name == *attribute.name || &**name == "All",
    })
}

fn system_attribute(bit: usize, delivery: &Delivery) -> Option<String> {
    let message = &delivery.message;
    let millis = |moment: kit::Timestamp| (moment.as_micros() / 1000).to_string();
    match SYSTEM[bit] {
        "SenderId" => Some(message.sender.clone()),
        "SentTimestamp" => Some(millis(delivery.sent_at)),
        "ApproximateReceiveCount" => Some(delivery.receives.to_string()),
        "ApproximateFirstReceiveTimestamp" => Some(millis(delivery.first_received_at)),
        "SequenceNumber" => delivery.sequence.map(|sequence| format!("{sequence:020}")),
        "MessageDeduplicationId" => message.dedup.clone(),
        "MessageGroupId" => message.group.clone(),
        "AWSTraceHeader" => message.trace.as_deref().map(trace_header),
        _ => message.dead_letter_source.as_deref().map(|source| match source.starts_with("arn:") {
            true => source.to_owned(),
            false => queue_arn(source),
        }),
    }
}

/// A trace in the form of this header: what came as `traceparent` is the same trace, written otherwise.
fn trace_header(trace: &str) -> String {
    Context::w3c(trace.as_bytes()).map_or_else(|| trace.to_owned(), |context| context.to_xray())
}

#[cfg(test)]
mod tests {
    use pipes::AttributeValue;

    use super::*;

    #[test]
    fn names_of_attributes_may_be_prefixes() {
        let wants = |names: &[&str], name: &str| {
            let names: Vec<_> = names.iter().map(|name| Text((*name).into())).collect();
            let attribute = Attribute {
                name: name.into(),
                kind: "String".into(),
                value: AttributeValue::Text("v".into()),
            };
            super::wants(&names, &attribute)
        };
        assert!(wants(&["All"], "x") && wants(&[".*"], "x") && wants(&["a", "x"], "x"));
        assert!(wants(&["bar.*"], "bar.one") && wants(&["bar.*"], "bar"));
        assert!(!wants(&["bar.*"], "ba") && !wants(&["X"], "x") && !wants(&[], "x"));
    }

    #[test]
    fn a_traceparent_is_told_as_a_trace_header() {
        assert_eq!(
            trace_header("00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01"),
            "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
        );
        for other in ["Root=1-5759e988-bd862e3fe1be46a994272793", "", "00-ä-b-c"] {
            assert_eq!(trace_header(other), other);
        }
    }

    #[test]
    fn unknown_system_attributes_are_refused() {
        let mut system = System::default();
        assert!(system.add("SentTimestamp").is_ok() && system.has(1) && !system.has(0));
        assert!(system.add("All").is_ok() && (0..SYSTEM.len()).all(|bit| system.has(bit)));
        assert_eq!(system.add("Nope").unwrap_err().code, Code::InvalidAttributeName);
    }
}
