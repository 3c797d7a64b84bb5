//! What is done to messages, as spans of the node ([`crate::spans`]).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kit::trace::{Context, Trace};
use kit::{Clock, SystemClock, Timestamp};
use pipes::Moved;

use crate::spans::{Operation, Spans, What};

/// `messaging.system` of queues.
pub(crate) const SQS: &str = "aws_sqs";
/// `messaging.system` of topics.
pub(crate) const SNS: &str = "aws_sns";

/// Tells the node of operations.
#[derive(Clone)]
pub(crate) struct Told {
    spans: Spans,
    clock: SystemClock,
    lending: Arc<Lending>,
}

/// What became of requests for credentials.
#[derive(Default)]
struct Lending {
    /// By the name of whoever got them: services, of which there are few.
    lent: Mutex<BTreeMap<Box<str>, u64>>,
    refused: AtomicU64,
    /// When a refusal was logged last, in microseconds.
    logged: AtomicU64,
}

/// Between two lines of the log about credentials that were refused: they may come as fast as somebody guesses.
const REFUSALS_APART: Duration = Duration::from_secs(60);

/// An operation that has begun.
pub(crate) struct Begun {
    pub(crate) trace: Trace,
    pub(crate) links: Vec<Context>,
    began: Timestamp,
}

impl Begun {
    /// What the next one is told.
    pub(crate) fn traceparent(&self) -> String {
        String::from_utf8_lossy(&self.trace.text()).into_owned()
    }
}

/// What an operation was about.
pub(crate) struct About<'a> {
    pub(crate) system: &'static str,
    pub(crate) destination: &'a str,
    /// The ids of its messages.
    pub(crate) messages: Vec<&'a str>,
}

impl Told {
    pub(crate) fn new(spans: Spans, clock: SystemClock) -> Self {
        Self { spans, clock, lending: Arc::default() }
    }

    /// How often credentials were lent to each, and how often refused.
    pub(crate) fn lending(&self) -> (BTreeMap<Box<str>, u64>, u64) {
        let lent = self.lending.lent.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (lent, self.lending.refused.load(Ordering::Relaxed))
    }

    /// Counts and logs what became of a request for credentials.
    fn lent(&self, exchange: &wire::Exchange<'_>) {
        let Lending { lent, refused, logged } = &*self.lending;
        if exchange.error.is_none() {
            let mut lent = lent.lock().unwrap_or_else(PoisonError::into_inner);
            *lent.entry(exchange.caller.into()).or_default() += 1;
            tracing::info!("credentials were lent to `{}`", exchange.caller);
            return;
        }
        let count = refused.fetch_add(1, Ordering::Relaxed) + 1;
        let (now, last) = (self.clock.now().as_micros(), logged.load(Ordering::Relaxed));
        let due = last == 0 || now.saturating_sub(last) >= micros(REFUSALS_APART);
        if due && logged.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            tracing::warn!("credentials were refused to somebody, {count} times since the node began");
        }
    }

    /// The node itself begins to do something to messages that stand there in traces. It follows an only one, and is
    /// linked with several.
    pub(crate) fn begin(&self, messages: &[Option<Context>]) -> Begun {
        let only = match messages {
            [only] => only.as_ref(),
            _ => None,
        };
        let linked = |context: &Context| context.span.is_some() && messages.len() > 1;
        let links = messages.iter().flatten().copied().filter(linked).collect();
        Begun { trace: Trace::after(only), links, began: self.clock.now() }
    }

    /// It has ended.
    pub(crate) fn end(&self, begun: Begun, what: What, about: &About<'_>, error: Option<&str>) {
        let Begun { trace, links, began } = begun;
        let About { system, destination, messages } = about;
        self.spans.operation(Operation {
            trace,
            links,
            system,
            what,
            destination: (*destination).into(),
            service: None,
            message: only(messages).map(Into::into),
            messages: u32::try_from(messages.len()).unwrap_or(u32::MAX),
            began,
            took: self.clock.now().since(began),
            error: error.map(Into::into),
        });
    }
}

fn only<'a>(messages: &[&'a str]) -> Option<&'a str> {
    match messages {
        [only] => Some(only),
        _ => None,
    }
}

impl wire::Witness for Told {
    fn saw(&self, exchange: &wire::Exchange<'_>) {
        if exchange.face == wire::server::LENDING {
            return self.lent(exchange);
        }
        let Some(what) = what(exchange.action) else { return };
        // Whoever asked and got nothing has received nothing: a worker that waits is no news.
        if what == What::Receive && exchange.messages == 0 && exchange.error.is_none() {
            return;
        }
        let mut took = exchange.took;
        let now = self.clock.now().as_micros();
        let mut began = Timestamp::from_micros(now.saturating_sub(micros(exchange.began.elapsed())));
        // To wait for a message that nobody had sent yet is no part of what became of it.
        if let Some(since) = exchange.since.filter(|since| *since > began) {
            took = took.saturating_sub(since.since(began));
            began = since;
        }
        self.spans.operation(Operation {
            trace: exchange.trace,
            links: exchange.links.to_vec(),
            system: if exchange.face == "sns" { SNS } else { SQS },
            what,
            destination: exchange.resource.into(),
            service: (!exchange.caller.is_empty()).then(|| exchange.caller.into()),
            message: exchange.message.map(Into::into),
            messages: exchange.messages,
            began,
            took,
            error: exchange.error.map(Into::into),
        });
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Which actions have to do with messages; the others are about queues and topics themselves.
fn what(action: &str) -> Option<What> {
    Some(match action {
        "SendMessage" | "SendMessageBatch" => What::Send,
        "Publish" | "PublishBatch" => What::Publish,
        "ReceiveMessage" => What::Receive,
        "DeleteMessage" | "DeleteMessageBatch" => What::Delete,
        "ChangeMessageVisibility" | "ChangeMessageVisibilityBatch" => What::Postpone,
        _ => return None,
    })
}

impl pipes::Watch for Told {
    fn moved(&self, moved: &Moved<'_>) {
        let Moved { from, to, id, context, began, took } = moved;
        self.spans.operation(Operation {
            trace: Trace::after(context.as_ref()),
            links: Vec::new(),
            system: SQS,
            what: What::Redrive { to: to.as_str().into() },
            destination: from.as_str().into(),
            service: None,
            message: Some((*id).into()),
            messages: 1,
            began: *began,
            took: *took,
            error: None,
        });
    }
}
