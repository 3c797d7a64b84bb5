//! The access log: one line per exchange, in files beside those of the instances, as `gateway` and `mesh`, and one per
//! operation on queues and topics, as `pipes`. It is the first reader of the node's spans ([`crate::spans`]).

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kit::Tasks;
use kit::trace::{SpanId, Trace};
use kit::units::Bytes;
use manifest::spec::Logging;
use proxy::AccessSink;
use proxy::signals::{Hop, Lane};
use runtime::logs::{RotatingFile, Stream};

use crate::spans::{Operation, Span, SpanReader, Spans, What};

/// How much of each log is kept.
const KEEP: Logging = Logging { max_size: Bytes(16 << 20), max_files: 3 };

/// The pseudo instances under which exchanges and operations are logged.
pub(crate) const GATEWAY: &str = "gateway";
pub(crate) const MESH: &str = "mesh";
pub(crate) const PIPES: &str = "pipes";
/// All of them.
pub(crate) const ALL: [&str; 3] = [GATEWAY, MESH, PIPES];

/// Where the data path leaves its hops; notes what the file says of the log.
pub(crate) struct Sink {
    spans: Spans,
    wanted: Arc<AtomicBool>,
}

impl AccessSink for Sink {
    fn lane(&self) -> Box<dyn Lane> {
        self.spans.hops().lane()
    }

    fn want_text(&self, wanted: bool) {
        self.spans.hops().want_text(wanted);
        self.wanted.store(wanted, Ordering::Relaxed);
    }
}

/// Writes lines: one write to each file for all that has gathered.
pub(crate) struct AccessLog {
    gateway: RotatingFile,
    mesh: RotatingFile,
    pipes: RotatingFile,
    line: String,
    wanted: Arc<AtomicBool>,
}

impl AccessLog {
    pub(crate) fn new(logs: &Path) -> Self {
        let [gateway, mesh, pipes] = ALL.map(|name| RotatingFile::new(logs, name, KEEP));
        Self { gateway, mesh, pipes, line: String::new(), wanted: Arc::new(AtomicBool::new(true)) }
    }

    /// Starts the stream of spans with this as its first reader.
    pub(crate) fn start(self, tasks: &Tasks, others: Vec<Box<dyn SpanReader>>) -> (Spans, Sink) {
        let wanted = Arc::clone(&self.wanted);
        let mut readers: Vec<Box<dyn SpanReader>> = vec![Box::new(self)];
        readers.extend(others);
        let spans = Spans::start(tasks, readers);
        (spans.clone(), Sink { spans, wanted })
    }
}

impl SpanReader for AccessLog {
    fn read(&mut self, span: Span<'_>) {
        let Self { gateway, mesh, pipes, line, wanted } = self;
        line.clear();
        match span {
            Span::Hop(hop) if hop.target.is_empty() => {} // the file wants no access log
            Span::Hop(hop) => {
                let _ = describe(line, hop); // writing to a String cannot fail
                let file = if hop.caller().is_none() { gateway } else { mesh };
                file.add(hop.began, Stream::Out, line.as_bytes());
            }
            Span::Operation(_) if !wanted.load(Ordering::Relaxed) => {}
            Span::Operation(operation) => {
                let _ = describe_operation(line, operation);
                pipes.add(operation.began, Stream::Out, line.as_bytes());
            }
        }
    }

    fn flush(&mut self) {
        for file in [&mut self.gateway, &mut self.mesh, &mut self.pipes] {
            // A full disk costs lines of the log, not requests.
            let _ = file.flush();
        }
    }
}

/// One line: what a person scans first comes first, then `key=value` for tools. There is one per request:
/// what is in every line is written without formatting machinery.
fn describe(line: &mut String, hop: &Hop<'_>) -> std::fmt::Result {
    number(line, hop.status.into());
    for word in [" ", hop.method.as_str(), " ", hop.path(), " "] {
        line.push_str(word);
    }
    milliseconds(line, hop.took, 1);
    match hop.instance() {
        Some(instance) => write!(line, " {}", instance.name())?,
        None => line.push_str(" -"),
    }
    if let Some(caller) = hop.caller() {
        write!(line, " caller={caller}")?;
    }
    if let Some(route) = hop.route_name() {
        for word in [" route=\"", route, "\""] {
            line.push_str(word);
        }
    }
    if !hop.host.is_empty() {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._[:]".contains(&byte);
        if hop.host.bytes().all(plain) {
            for word in [" host=\"", hop.host, "\""] {
                line.push_str(word);
            }
        } else {
            write!(line, " host={:?}", hop.host)?;
        }
    }
    if let Some(session) = hop.tls {
        write!(line, " tls={}", session.version())?;
    }
    write!(line, " peer={}", hop.peer)?;
    for (name, bytes) in [(" in=", hop.bytes_in), (" out=", hop.bytes_out)] {
        line.push_str(name);
        number(line, bytes);
    }
    line.push_str(" upstream=");
    milliseconds(line, hop.waited, 3);
    if hop.attempts > 1 {
        write!(line, " attempts={}", hop.attempts)?;
    }
    for (flag, name) in
        [(hop.hedges > 0, " hedged"), (hop.fallback, " fallback"), (hop.upgraded, " upgraded")]
    {
        if flag {
            line.push_str(name);
        }
    }
    for word in [" request=", hop.request_id] {
        line.push_str(word);
    }
    trace(line, &hop.trace);
    if let Some(error) = hop.error {
        write!(line, " error={}", error.token())?;
    }
    Ok(())
}

/// The same of something done to messages: how it ended, what it was, and to which queue or topic.
fn describe_operation(line: &mut String, operation: &Operation) -> std::fmt::Result {
    let Operation { what, destination, messages, took, .. } = operation;
    for word in [operation.error.as_deref().unwrap_or("ok"), " ", what.name(), " ", destination, " "] {
        line.push_str(word);
    }
    milliseconds(line, *took, 1);
    if let What::Redrive { to } = what {
        write!(line, " to={to}")?;
    }
    if let Some(service) = &operation.service {
        write!(line, " by={service}")?;
    }
    write!(line, " messages={messages}")?;
    if let Some(message) = &operation.message {
        write!(line, " message={message}")?;
    }
    write!(line, " system={} type={}", operation.system, what.kind())?;
    trace(line, &operation.trace);
    for (index, link) in operation.links.iter().enumerate() {
        line.push_str(if index == 0 { " links=" } else { "," });
        line.push_str(&link.to_w3c().unwrap_or_default());
    }
    Ok(())
}

/// Trace, span and parent, as a `traceparent` writes them.
fn trace(line: &mut String, trace: &Trace) {
    let mut put = |name: &str, bytes: &[u8]| {
        let mut digits = [0; 32];
        let digits = &mut digits[..bytes.len() * 2];
        kit::trace::hex_into(bytes, digits);
        line.push_str(name);
        line.push_str(std::str::from_utf8(digits).unwrap_or_default());
    };
    put(" trace=", &trace.id.0);
    put(" span=", &trace.span.0);
    if let Some(SpanId(parent)) = &trace.parent {
        put(" parent=", parent);
    }
}

/// `12.3ms`: rounded down, with so many decimals (three at most).
fn milliseconds(line: &mut String, time: Duration, decimals: u32) {
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    number(line, micros / 1000);
    line.push('.');
    let mut rest = micros % 1000;
    for _ in 0..decimals.min(3) {
        line.push(char::from(b'0' + (rest / 100) as u8)); // one digit
        rest = rest % 100 * 10;
    }
    line.push_str("ms");
}

fn number(line: &mut String, number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = number;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8; // one digit
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    line.push_str(std::str::from_utf8(&digits[at..]).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use kit::Timestamp;
    use proxy::Entrance;
    use proxy::signals::Label;
    use proxy::trace::TraceId;
    use runtime::logs::{Query, Reader};

    const AT: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

    fn hop(entrance: &Arc<Entrance>) -> Hop<'_> {
        Hop {
            began: AT,
            took: Duration::from_micros(12_399),
            first_byte: Some(Duration::from_micros(12_000)),
            waited: Duration::from_micros(11_007),
            entrance,
            tls: None,
            peer: SocketAddr::from(([127, 0, 0, 1], 4000)),
            version: axum::http::Version::HTTP_11,
            method: &axum::http::Method::GET,
            host: "shop.example",
            target: "/books/7?token=secret",
            status: 200,
            route: None,
            endpoint: None,
            attempts: 1,
            hedges: 0,
            fallback: false,
            bytes_in: 0,
            bytes_out: 321,
            upgraded: false,
            request_id: "r-1",
            trace: Trace { id: TraceId([0xab; 16]), parent: None, span: SpanId([1; 8]), flags: 1 },
            error: None,
        }
    }

    fn line(hop: &Hop<'_>) -> String {
        let mut line = String::new();
        describe(&mut line, hop).unwrap();
        line
    }

    #[test]
    fn a_line_begins_with_what_a_person_looks_for() {
        let trace = "ab".repeat(16);
        let gateway = Arc::new(Entrance::Gateway);
        assert_eq!(
            line(&hop(&gateway)),
            format!(
                "200 GET /books/7 12.3ms - host=\"shop.example\" peer=127.0.0.1:4000 in=0 out=321 \
                 upstream=11.007ms request=r-1 trace={trace} span=0101010101010101"
            )
        );
        let (caller, callee) = ("orders".parse().unwrap(), "payments".parse().unwrap());
        let mesh = Arc::new(Entrance::Mesh { caller, callee });
        let route = Arc::new(Label { route: "orders -> payments".into(), service: None, caller: None });
        let endpoint = registry::Endpoint::new("payments-2#9".parse().unwrap(), ([127, 0, 0, 1], 1).into());
        let endpoint = Arc::new(endpoint);
        let error = Some(proxy::Kind::AnswerTimeout);
        let failed = Hop {
            status: 504,
            host: "",
            route: Some(&route),
            endpoint: Some(&endpoint),
            attempts: 3,
            hedges: 1,
            fallback: true,
            error,
            ..hop(&mesh)
        };
        assert_eq!(
            line(&failed),
            format!(
                "504 GET /books/7 12.3ms payments-2 caller=orders route=\"orders -> payments\" \
                 peer=127.0.0.1:4000 in=0 out=321 upstream=11.007ms attempts=3 hedged fallback request=r-1 \
                 trace={trace} span=0101010101010101 error={}",
                proxy::Kind::AnswerTimeout.token()
            )
        );
    }

    fn operation() -> Operation {
        let trace =
            Trace { id: TraceId([0xab; 16]), parent: Some(SpanId([2; 8])), span: SpanId([1; 8]), flags: 1 };
        Operation {
            trace,
            links: vec![trace.context()],
            system: "aws_sqs",
            what: What::Redrive { to: "jobs-dead".into() },
            destination: "jobs".into(),
            service: Some("orders".into()),
            message: Some("7b".into()),
            messages: 1,
            began: AT,
            took: Duration::from_micros(1999),
            error: None,
        }
    }

    #[test]
    fn an_operation_says_how_it_ended_and_what_it_belongs_to() {
        let mut line = String::new();
        describe_operation(&mut line, &operation()).unwrap();
        let trace = "ab".repeat(16);
        let (one, two) = ("01".repeat(8), "02".repeat(8));
        assert_eq!(
            line,
            format!(
                "ok redrive jobs 1.9ms to=jobs-dead by=orders messages=1 message=7b system=aws_sqs type=send \
                 trace={trace} span={one} parent={two} links=00-{trace}-{one}-01"
            )
        );
    }

    #[tokio::test]
    async fn lines_go_to_the_log_of_their_side_unless_the_file_wants_none() {
        let dir = tempfile::tempdir().unwrap();
        let tasks = Tasks::new();
        let (spans, sink) = AccessLog::new(dir.path()).start(&tasks, Vec::new());
        let lane = sink.lane();
        let gateway = Arc::new(Entrance::Gateway);
        let mesh = Entrance::Mesh { caller: "a".parse().unwrap(), callee: "b".parse().unwrap() };
        let mesh = Arc::new(mesh);
        for _ in 0..3 {
            lane.record(&hop(&gateway));
        }
        lane.record(&hop(&mesh));
        spans.operation(operation());
        let read = || Reader::new(dir.path()).read(&Query::all()).unwrap();
        let written = async {
            while read().len() < 5 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), written).await.unwrap();
        sink.want_text(false);
        assert!(!lane.wants_text());
        lane.record(&Hop { host: "", target: "", ..hop(&gateway) });
        spans.operation(operation());
        tasks.shutdown(Duration::from_secs(10)).await.unwrap();
        let lines = read();
        let mut of: Vec<_> = lines.iter().map(|line| line.instance.as_str()).collect();
        of.sort_unstable();
        assert_eq!(of, ["gateway", "gateway", "gateway", "mesh", "pipes"]);
        assert!(lines.iter().all(|line| line.at == AT));
    }
}
