//! What Atoll itself sees, as spans: every hop through the proxy, every operation on queues and topics. No service needs
//! a line of code for it. Attributes are named as OpenTelemetry names them; what it has no name for begins with `atoll.`.

use std::collections::HashMap;

use kit::trace::Context;
use proxy::signals::Hop;
use telemetry::model::{Attributes, Link, Span, SpanKind, Status, Text, Value};

use super::Observer;
use super::thrown::Failure;
use crate::spans::{self, Operation, SpanReader, What};

/// Spans that are handed over at once.
const BATCH: usize = 512;
/// Spans that are held while telemetry is being opened.
const HELD: usize = 8192;
/// Names that are remembered, so that spans share them.
const NAMES: usize = 4096;
/// What came in from outside, and reached no service.
pub(super) const GATEWAY: Text = Text::from_static("gateway");
/// What the node does by itself.
pub(super) const ATOLL: Text = Text::from_static("atoll");

/// Reads the node's spans and offers them.
pub(crate) struct Seen {
    observer: Observer,
    batch: Vec<Span>,
    names: Names,
}

impl Seen {
    pub(crate) fn new(observer: Observer) -> Self {
        Self { observer, batch: Vec::new(), names: Names::default() }
    }
}

impl SpanReader for Seen {
    fn read(&mut self, span: spans::Span<'_>) {
        self.batch.push(match span {
            spans::Span::Hop(hop) => {
                let span = of_hop(hop, &mut self.names);
                if span.status.failed()
                    && let Some(instance) = hop.instance()
                {
                    self.observer.0.failures.add(Failure {
                        instance: self.names.get(&instance.name()),
                        began_ns: span.start_ns,
                        took_ns: span.duration_ns,
                        trace: span.trace,
                        span: span.span,
                    });
                }
                span
            }
            spans::Span::Operation(operation) => of_operation(operation, &mut self.names),
        });
        if self.batch.len().is_multiple_of(BATCH) {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        if let Some(telemetry) = self.observer.telemetry() {
            telemetry.intake().offer_spans(std::mem::take(&mut self.batch)); // what has no room is counted there
        } else if !self.observer.is_undecided() || self.batch.len() >= HELD {
            self.batch.clear();
        }
    }
}

/// Names of services and routes, which are the same ones over and over.
#[derive(Default)]
struct Names(HashMap<Box<str>, Text>);

impl Names {
    fn get(&mut self, name: &str) -> Text {
        if let Some(text) = self.0.get(name) {
            return text.clone();
        }
        if self.0.len() >= NAMES {
            self.0.clear();
        }
        let text = Text::from(name);
        self.0.insert(name.into(), text.clone());
        text
    }
}

/// Attributes in the making.
struct Said(Attributes);

impl Said {
    fn text(&mut self, key: &'static str, value: Text) {
        self.0.push((Text::from_static(key), Value::Text(value)));
    }

    fn number(&mut self, key: &'static str, value: u64) {
        self.0.push((Text::from_static(key), Value::Int(i64::try_from(value).unwrap_or(i64::MAX))));
    }
}

/// The work of the service behind a hop, as its caller saw it; of the gateway itself where no service was reached.
fn of_hop(hop: &Hop<'_>, names: &mut Names) -> Span {
    let mut said = Said(Vec::with_capacity(12));
    said.text("http.request.method", names.get(hop.method.as_str()));
    said.number("http.response.status_code", hop.status.into());
    said.text(telemetry::CALLER, hop.caller().map_or(GATEWAY, |caller| names.get(caller.as_str())));
    if let Some(route) = hop.route_name() {
        said.text("http.route", names.get(route));
    }
    if !hop.target.is_empty() {
        said.text("url.path", hop.path().into());
    }
    if let Some(instance) = hop.instance() {
        said.text("service.instance.id", names.get(&instance.name()));
    }
    if hop.caller().is_none() {
        said.text("client.address", names.get(&hop.peer.ip().to_string()));
        if !hop.host.is_empty() {
            said.text("server.address", names.get(hop.host));
        }
    }
    if let Some(first) = hop.first_byte {
        let own = first.saturating_sub(hop.waited);
        said.number("atoll.own_us", u64::try_from(own.as_micros()).unwrap_or(u64::MAX));
    }
    if hop.bytes_in > 0 {
        said.number("http.request.body.size", hop.bytes_in);
    }
    said.number("http.response.body.size", hop.bytes_out);
    if hop.attempts > 1 {
        said.number("atoll.attempts", hop.attempts.into());
    }
    for (flag, key) in [(hop.hedges > 0, "atoll.hedged"), (hop.fallback, "atoll.fallback")] {
        if flag {
            said.0.push((Text::from_static(key), Value::Bool(true)));
        }
    }
    let mut status = Status::Unset;
    if let Some(error) = hop.error {
        let token = names.get(error.token());
        said.text("error.type", token.clone());
        // What a client did wrong is no failure of whoever told it so.
        if !(400..500).contains(&hop.status) {
            status = Status::Error { message: token };
        }
    } else if hop.status >= 500 {
        status = Status::Error { message: Text::default() };
    }
    let name = match hop.route_name() {
        Some(route) => names.get(route),
        None => names.get(hop.method.as_str()),
    };
    Span {
        trace: hop.trace.id,
        span: hop.trace.span,
        parent: hop.trace.parent,
        service: hop.service().map_or(GATEWAY, |service| names.get(service.as_str())),
        name,
        kind: SpanKind::Server,
        start_ns: hop.began.as_micros().saturating_mul(1000),
        duration_ns: u64::try_from(hop.took.as_nanos()).unwrap_or(u64::MAX),
        status,
        attributes: said.0,
        events: Vec::new(),
        links: Vec::new(),
    }
}

/// What a service did to messages.
fn of_operation(operation: &Operation, names: &mut Names) -> Span {
    let what = &operation.what;
    let mut said = Said(Vec::with_capacity(8));
    said.text("messaging.system", Text::from_static(operation.system));
    said.text("messaging.destination.name", names.get(&operation.destination));
    said.text("messaging.operation.name", Text::from_static(what.name()));
    said.text("messaging.operation.type", Text::from_static(what.kind()));
    if let Some(message) = &operation.message {
        said.text("messaging.message.id", (**message).into());
    }
    said.number("messaging.batch.message_count", operation.messages.into());
    if let What::Redrive { to } = what {
        said.text("atoll.to", names.get(to));
    }
    // Who gave and who took: what the graph of an app is drawn from.
    match what {
        What::Send | What::Publish => said.text(telemetry::PEER_SERVICE, names.get(&operation.destination)),
        What::Receive | What::Deliver => said.text(telemetry::CALLER, names.get(&operation.destination)),
        What::Delete | What::Postpone | What::Redrive { .. } => {}
    }
    let mut status = Status::Unset;
    if let Some(error) = &operation.error {
        let code = names.get(error);
        said.text("error.type", code.clone());
        status = Status::Error { message: code };
    }
    Span {
        trace: operation.trace.id,
        span: operation.trace.span,
        parent: operation.trace.parent,
        service: operation.service.as_ref().map_or(ATOLL, |service| names.get(service)),
        name: names.get(&format!("{} {}", what.name(), operation.destination)),
        kind: match what {
            What::Send | What::Publish | What::Redrive { .. } => SpanKind::Producer,
            // Not `Consumer`: it waits for messages, and says nothing of how long work on them takes.
            What::Receive | What::Delete | What::Postpone | What::Deliver => SpanKind::Client,
        },
        start_ns: operation.began.as_micros().saturating_mul(1000),
        duration_ns: u64::try_from(operation.took.as_nanos()).unwrap_or(u64::MAX),
        status,
        attributes: said.0,
        events: Vec::new(),
        links: operation.links.iter().filter_map(link).collect(),
    }
}

fn link(to: &Context) -> Option<Link> {
    Some(Link { trace: to.id, span: to.span?, attributes: Vec::new() })
}
