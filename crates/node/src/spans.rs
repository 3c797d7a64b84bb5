//! Every span of the node in one stream: hops of the proxy and operations on queues and topics, as they end.
//!
//! Both leave where they happen over bounded channels; what does not fit is dropped and counted, and nobody waits.
//! One task takes them off and shows each, borrowed, to its readers. The first is the access log ([`crate::access`]).
//!
//! Names and fields of operations follow OpenTelemetry's conventions for messaging:
//!
//! | OpenTelemetry | here |
//! |---|---|
//! | span name | name and destination: `send jobs` |
//! | `messaging.system` | [`Operation::system`] |
//! | `messaging.operation.name`, `messaging.operation.type` | [`Operation::name`], [`Operation::kind`] |
//! | `messaging.destination.name` | [`Operation::destination`] |
//! | `messaging.message.id`, `messaging.batch.message_count` | [`Operation::message`], [`Operation::messages`] |
//! | `error.type` | [`Operation::error`] |

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kit::trace::{Context, Trace};
use kit::{OnError, Tasks, Timestamp};
use proxy::signals::channel::{self, Dropped, PAUSE};
use proxy::signals::{Hop, Hops};
use tokio::sync::mpsc;

/// Operations that wait to be read at most.
const OPERATIONS: usize = 8192;

/// Something done to messages of a queue or a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Operation {
    /// Trace, span of this, and the span that it follows.
    pub(crate) trace: Trace,
    /// Where its messages stand in traces, beside that.
    pub(crate) links: Vec<Context>,
    /// `aws_sqs`, `aws_sns`.
    pub(crate) system: &'static str,
    /// What was done.
    pub(crate) what: What,
    /// The queue or topic.
    pub(crate) destination: Box<str>,
    /// Who did it: a service, or the name of a key. `None`: the node itself.
    pub(crate) service: Option<Box<str>>,
    /// The message, if it was one and its id is known.
    pub(crate) message: Option<Box<str>>,
    /// How many messages.
    pub(crate) messages: u32,
    /// When it began.
    pub(crate) began: Timestamp,
    /// Until it ended.
    pub(crate) took: Duration,
    /// The code of the error that it ended with.
    pub(crate) error: Option<Box<str>>,
}

/// What can be done to messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Send,
    Publish,
    Receive,
    Delete,
    /// For how long it is hidden was changed.
    Postpone,
    /// It was handed to a service, or to an address.
    Deliver,
    /// It went on to another queue: as a dead letter, or back from there.
    Redrive {
        /// Which one.
        to: Box<str>,
    },
}

impl What {
    /// `messaging.operation.name`.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Publish => "publish",
            Self::Receive => "receive",
            Self::Delete => "delete",
            Self::Postpone => "postpone",
            Self::Deliver => "deliver",
            Self::Redrive { .. } => "redrive",
        }
    }

    /// `messaging.operation.type`.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Send | Self::Publish | Self::Redrive { .. } => "send",
            Self::Receive => "receive",
            Self::Delete | Self::Postpone => "settle",
            Self::Deliver => "process",
        }
    }
}

/// One span. Shown, not given: whoever keeps something of it copies that.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Span<'a> {
    Hop(&'a Hop<'a>),
    Operation(&'a Operation),
}

/// Is shown every span, in the order in which they end, or nearly so.
pub(crate) trait SpanReader: Send + 'static {
    fn read(&mut self, span: Span<'_>);

    /// All that had gathered has been shown.
    fn flush(&mut self) {}
}

/// Where spans go in.
#[derive(Clone)]
pub(crate) struct Spans {
    hops: Hops,
    operations: mpsc::Sender<Operation>,
    dropped: Arc<AtomicU64>,
}

impl Spans {
    /// Starts the task that shows them.
    pub(crate) fn start(tasks: &Tasks, mut readers: Vec<Box<dyn SpanReader>>) -> Self {
        let (hops, mut from_proxy) = channel::channel();
        let (operations, mut from_pipes) = mpsc::channel(OPERATIONS);
        tasks.spawn("node.spans", OnError::Log, |stop| async move {
            let mut ending = false;
            while !ending {
                let mut first = None;
                tokio::select! {
                    () = from_proxy.ready() => {}
                    operation = from_pipes.recv() => {
                        first = operation;
                        // As with hops: under load a few looks a second, not one for each.
                        let _ = tokio::time::timeout(PAUSE, stop.cancelled()).await;
                    }
                    () = stop.cancelled() => ending = true, // what came to its end last
                }
                let mut show = |span: Span<'_>| readers.iter_mut().for_each(|reader| reader.read(span));
                from_proxy.drain(|hop| show(Span::Hop(hop)));
                // As many as there may be: others come meanwhile.
                let waiting = std::iter::from_fn(|| from_pipes.try_recv().ok()).take(OPERATIONS);
                first.into_iter().chain(waiting).for_each(|operation| show(Span::Operation(&operation)));
                readers.iter_mut().for_each(|reader| reader.flush());
            }
            Ok::<_, String>(())
        });
        Self { hops, operations, dropped: Arc::default() }
    }

    /// Where the data path leaves its hops.
    pub(crate) fn hops(&self) -> &Hops {
        &self.hops
    }

    /// Takes an operation that has ended, unless too many wait.
    pub(crate) fn operation(&self, operation: Operation) {
        if self.operations.try_send(operation).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Hops that were dropped because they came faster than they were read.
    pub(crate) fn hops_dropped(&self) -> Dropped {
        self.hops.dropped()
    }

    /// Operations that were dropped for the same reason.
    pub(crate) fn operations_dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}
