//! The access log: one line per exchange, in files beside those of the instances, as `gateway` and
//! `mesh`. The data path leaves its hops on a channel (`proxy::signals`) and never waits; this is its reader,
//! and would be the one to hand them on to whoever wants spans.

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kit::units::Bytes;
use kit::{OnError, Tasks};
use manifest::spec::Logging;
use proxy::AccessSink;
use proxy::signals::channel::{self, Dropped};
use proxy::signals::{Hop, HopReader, Hops};
use runtime::logs::{RotatingFile, Stream};

/// How much of each log is kept.
const KEEP: Logging = Logging { max_size: Bytes(16 << 20), max_files: 3 };

/// The pseudo instances under which exchanges are logged.
pub(crate) const GATEWAY: &str = "gateway";
pub(crate) const MESH: &str = "mesh";

/// Knows the way on which exchanges come in, and what was lost on it.
pub(crate) struct AccessLog {
    hops: Hops,
}

impl AccessLog {
    /// Starts the writer.
    pub(crate) fn start(logs: &Path, tasks: &Tasks) -> Self {
        let (hops, mut reader) = channel::channel();
        let mut writer = Writer::new(logs);
        tasks.spawn("node.access_log", OnError::Log, |stop| async move {
            loop {
                tokio::select! {
                    () = reader.ready() => writer.write(&mut reader),
                    () = stop.cancelled() => break,
                }
            }
            writer.write(&mut reader); // what came to its end last
            Ok::<_, String>(())
        });
        Self { hops }
    }

    /// Where the data path leaves its hops.
    pub(crate) fn sink(&self) -> Arc<dyn AccessSink> {
        Arc::new(self.hops.clone())
    }

    /// Exchanges that have no line because they came faster than lines could be written.
    pub(crate) fn dropped(&self) -> Dropped {
        self.hops.dropped()
    }
}

/// Writes lines: one write to each file for all that has gathered.
struct Writer {
    gateway: RotatingFile,
    mesh: RotatingFile,
    line: String,
}

impl Writer {
    fn new(logs: &Path) -> Self {
        let [gateway, mesh] = [GATEWAY, MESH].map(|name| RotatingFile::new(logs, name, KEEP));
        Self { gateway, mesh, line: String::new() }
    }

    fn write(&mut self, reader: &mut HopReader) {
        let Self { gateway, mesh, line } = self;
        reader.drain(|hop| {
            if hop.target.is_empty() {
                return; // the file wants no access log
            }
            line.clear();
            let _ = describe(line, hop); // writing to a String cannot fail
            let file = if hop.caller().is_none() { &mut *gateway } else { &mut *mesh };
            file.add(hop.began, Stream::Out, line.as_bytes());
        });
        for file in [gateway, mesh] {
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
    for word in [" request=", hop.request_id, " trace="] {
        line.push_str(word);
    }
    write!(line, "{}", hop.trace.id)?;
    if let Some(error) = hop.error {
        write!(line, " error={}", error.token())?;
    }
    Ok(())
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
    use proxy::trace::{SpanId, Trace, TraceId};
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
                 upstream=11.007ms request=r-1 trace={trace}"
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
                 trace={trace} error={}",
                proxy::Kind::AnswerTimeout.token()
            )
        );
    }

    #[test]
    fn lines_go_to_the_log_of_their_side_unless_the_file_wants_none() {
        let dir = tempfile::tempdir().unwrap();
        let (hops, mut reader) = channel::channel();
        let mut writer = Writer::new(dir.path());
        let lane = hops.lane();
        let gateway = Arc::new(Entrance::Gateway);
        let mesh = Entrance::Mesh { caller: "a".parse().unwrap(), callee: "b".parse().unwrap() };
        let mesh = Arc::new(mesh);
        for _ in 0..3 {
            lane.record(&hop(&gateway));
        }
        lane.record(&hop(&mesh));
        writer.write(&mut reader);
        hops.want_text(false);
        assert!(!lane.wants_text());
        lane.record(&Hop { host: "", target: "", ..hop(&gateway) });
        writer.write(&mut reader);
        let lines = Reader::new(dir.path()).read(&Query::all()).unwrap();
        let mut of: Vec<_> = lines.iter().map(|line| line.instance.as_str()).collect();
        of.sort_unstable();
        assert_eq!(of, ["gateway", "gateway", "gateway", "mesh"]);
        assert!(lines.iter().all(|line| line.at == AT && line.text.starts_with("200 GET /books/7 ")));
    }
}
