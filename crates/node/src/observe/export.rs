//! What is kept goes on to another backend (`telemetry.export`), over OTLP: HTTP with protobuf, or gRPC. In order, a request at a time; what
//! may be tried again is, later each time, as OTLP lays down. What comes meanwhile waits within a bound, then it is dropped and
//! counted (`onward`).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Request, StatusCode};
use http_body_util::Full;
use kit::{Backoff, Tasks};
use manifest::spec::{Export, ExportProtocol};
use telemetry::otlp::{Signal, encode};
use telemetry::{Onward, OnwardReader, Telemetry};
use tokio_util::sync::CancellationToken;

use crate::outbound::{self, Answer, SendError, Version};

/// Records of one request; they are sent when there are so many, or after [`PAUSE`].
const MOST: usize = 2_000;
/// Their bytes in memory: a server of gRPC usually takes messages of 4 MiB, an intake over HTTP often less.
const MOST_BYTES: usize = 1 << 20;
const PAUSE: Duration = Duration::from_secs(1);
/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Tries of one request: about five minutes.
const TRIES: u32 = 14;
const AGAIN: Backoff = Backoff { first: Duration::from_secs(1), max: Duration::from_secs(30) };
/// The longest that another backend may ask us to wait.
const LONGEST: Duration = Duration::from_secs(120);

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Taken,
    /// It may come again, after this time if it is said.
    Later(Option<Duration>, String),
    /// It never will be taken.
    Never(String),
}

/// Sends on until told to stop, or until telemetry is closed.
pub(super) async fn run(
    wanted: Export,
    telemetry: Arc<Telemetry>,
    mut onward: OnwardReader,
    tasks: Tasks,
    stop: CancellationToken,
) {
    let mut gathered = Gathered::default();
    let mut due = tokio::time::interval(PAUSE);
    due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut telling = Telling::default();
    loop {
        let ends = tokio::select! {
            batch = onward.next() => match batch {
                Some(batch) => {
                    gathered.add(batch);
                    if gathered.most() < MOST {
                        continue;
                    }
                    false
                }
                None => true,
            },
            _ = due.tick() => false,
            () = stop.cancelled() => true,
        };
        for (signal, count, body) in gathered.requests() {
            let sent = send(&wanted, signal, body, &tasks, &stop).await;
            if let Err(why) = &sent {
                telemetry.not_sent_on(count);
                tracing::debug!("{count} records of telemetry could not be sent on: {why}");
            }
            telling.tell(&wanted.endpoint, sent.err());
        }
        if ends {
            return;
        }
    }
}

/// Says once when it fails, and once when it works again.
#[derive(Default)]
struct Telling {
    fails: bool,
}

impl Telling {
    fn tell(&mut self, endpoint: &str, failed: Option<String>) {
        match failed {
            Some(why) if !self.fails => tracing::warn!("telemetry cannot be sent on to {endpoint}: {why}"),
            None if self.fails => tracing::info!("telemetry is sent on to {endpoint} again"),
            _ => return,
        }
        self.fails = !self.fails;
    }
}

/// Records that wait to be sent together.
#[derive(Default)]
struct Gathered {
    spans: Vec<telemetry::model::Span>,
    logs: Vec<telemetry::model::LogRecord>,
    points: Vec<telemetry::model::MetricPoint>,
}

impl Gathered {
    fn add(&mut self, batch: Onward) {
        match batch {
            Onward::Spans(mut spans) => self.spans.append(&mut spans),
            Onward::Logs(mut records) => self.logs.append(&mut records),
            Onward::Points(mut points) => self.points.append(&mut points),
        }
    }

    fn most(&self) -> usize {
        self.spans.len().max(self.logs.len()).max(self.points.len())
    }

    /// Each with what it is, and how many records it has.
    fn requests(&mut self) -> Vec<(Signal, usize, Bytes)> {
        let mut requests = Vec::new();
        for some in parts(&self.spans, telemetry::model::Span::size) {
            requests.push((Signal::Traces, some.len(), encode::traces(some).into()));
        }
        for some in parts(&self.logs, telemetry::model::LogRecord::size) {
            requests.push((Signal::Logs, some.len(), encode::logs(some).into()));
        }
        for some in parts(&self.points, telemetry::model::MetricPoint::size) {
            requests.push((Signal::Metrics, some.len(), encode::metrics(some).into()));
        }
        *self = Self::default();
        requests
    }
}

/// Records in order, in parts that a request can have: one at least.
fn parts<T>(mut records: &[T], size: impl Fn(&T) -> usize) -> Vec<&[T]> {
    let mut parts = Vec::new();
    while !records.is_empty() {
        let mut bytes = 0;
        let fit = records.iter().take(MOST).take_while(|record| {
            bytes += size(record);
            bytes <= MOST_BYTES
        });
        let (part, rest) = records.split_at(fit.count().max(1));
        parts.push(part);
        records = rest;
    }
    parts
}

async fn send(
    wanted: &Export,
    signal: Signal,
    body: Bytes,
    tasks: &Tasks,
    stop: &CancellationToken,
) -> Result<(), String> {
    for tries in 1.. {
        let sent = tokio::select! {
            biased;
            sent = once(wanted, signal, body.clone(), tasks) => sent,
            // What is under way may end; who stops has a limit of their own.
            () = async { stop.cancelled().await; tokio::time::sleep(PAUSE).await } => {
                return Err("the node ends".into());
            }
        };
        let (pause, why) = match sent {
            Outcome::Taken => return Ok(()),
            Outcome::Never(why) => return Err(why),
            Outcome::Later(pause, why) => (pause, why),
        };
        if tries == TRIES || stop.is_cancelled() {
            return Err(why);
        }
        let pause = pause.map_or_else(|| AGAIN.draw(tries), |pause| pause.min(LONGEST));
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return Err(why),
        }
    }
    Ok(())
}

async fn once(wanted: &Export, signal: Signal, body: Bytes, tasks: &Tasks) -> Outcome {
    let request = match request(wanted, signal, body) {
        Ok(request) => request,
        Err(error) => return Outcome::Never(error.to_string()),
    };
    let version = match wanted.protocol {
        ExportProtocol::Http => Version::One,
        ExportProtocol::Grpc => Version::Two,
    };
    match outbound::send(request, version, PATIENCE, tasks).await {
        Ok(answer) => match wanted.protocol {
            ExportProtocol::Http => of_http(&answer),
            ExportProtocol::Grpc => of_grpc(&answer),
        },
        Err(error @ SendError::Address(_)) => Outcome::Never(error.to_string()),
        Err(error) => Outcome::Later(None, kit::report::chain(&error)),
    }
}

fn request(wanted: &Export, signal: Signal, body: Bytes) -> Result<Request<Full<Bytes>>, http::Error> {
    let base = wanted.endpoint.trim_end_matches('/');
    let (name, service) = match signal {
        Signal::Traces => ("traces", "trace.v1.TraceService"),
        Signal::Logs => ("logs", "logs.v1.LogsService"),
        Signal::Metrics => ("metrics", "metrics.v1.MetricsService"),
    };
    let (path, kind, body) = match wanted.protocol {
        ExportProtocol::Http => (format!("{base}/v1/{name}"), "application/x-protobuf", body),
        ExportProtocol::Grpc => {
            let mut framed = Vec::with_capacity(5 + body.len());
            framed.push(0);
            framed.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes());
            framed.extend_from_slice(&body);
            let path = format!("{base}/opentelemetry.proto.collector.{service}/Export");
            (path, "application/grpc", framed.into())
        }
    };
    let mut request = Request::post(path).header(CONTENT_TYPE, kind);
    if wanted.protocol == ExportProtocol::Grpc {
        request = request.header("te", "trailers");
    }
    for (name, value) in &wanted.headers {
        request = request.header(HeaderName::try_from(name)?, HeaderValue::try_from(value)?);
    }
    request.body(Full::new(body))
}

/// OTLP/HTTP: 429, 502, 503 and 504 may come again.
fn of_http(answer: &Answer) -> Outcome {
    if answer.status.is_success() {
        return Outcome::Taken;
    }
    let why = format!("it answers {}", answer.status);
    let again = [
        StatusCode::TOO_MANY_REQUESTS,
        StatusCode::BAD_GATEWAY,
        StatusCode::SERVICE_UNAVAILABLE,
        StatusCode::GATEWAY_TIMEOUT,
    ];
    if !again.contains(&answer.status) {
        return Outcome::Never(why);
    }
    let after = answer.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    Outcome::Later(after.map(Duration::from_secs), why)
}

/// OTLP/gRPC: CANCELLED, DEADLINE_EXCEEDED, ABORTED, OUT_OF_RANGE, UNAVAILABLE and DATA_LOSS may come again.
fn of_grpc(answer: &Answer) -> Outcome {
    // A refusal at once has its status in the head.
    let status = answer.trailers.get("grpc-status").or_else(|| answer.headers.get("grpc-status"));
    let Some(status) = status.and_then(|status| status.to_str().ok()?.parse::<u8>().ok()) else {
        let why = format!("it answers {} without a status of gRPC", answer.status);
        return if answer.status.is_server_error() { Outcome::Later(None, why) } else { Outcome::Never(why) };
    };
    match status {
        0 => Outcome::Taken,
        1 | 4 | 10 | 11 | 14 | 15 => {
            Outcome::Later(None, format!("it answers with the status {status} of gRPC"))
        }
        _ => Outcome::Never(format!("it answers with the status {status} of gRPC")),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn answer(
        status: u16,
        headers: &[(&'static str, &'static str)],
        trailers: &[(&'static str, &'static str)],
    ) -> Answer {
        let map = |pairs: &[(&'static str, &'static str)]| {
            let pair = |(name, value): &(&'static str, &'static str)| {
                (HeaderName::from_static(name), HeaderValue::from_static(value))
            };
            pairs.iter().map(pair).collect::<HeaderMap>()
        };
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: map(headers),
            trailers: map(trailers),
        }
    }

    #[test]
    fn a_request_has_no_more_records_and_bytes_than_it_may() {
        let lengths = |records: &[usize]| {
            parts(records, |size| *size).iter().map(|part| part.len()).collect::<Vec<_>>()
        };
        let none: Vec<usize> = Vec::new();
        assert_eq!(lengths(&[]), none);
        assert_eq!(lengths(&[1; 4_500]), [2_000, 2_000, 500]);
        assert_eq!(lengths(&[MOST_BYTES / 2, MOST_BYTES / 2, 1, 2 * MOST_BYTES, 1]), [2, 1, 1, 1]);
    }

    #[test]
    fn what_may_come_again_is_what_otlp_says() {
        assert_eq!(of_http(&answer(200, &[], &[])), Outcome::Taken);
        for status in [429, 502, 503, 504] {
            assert!(matches!(of_http(&answer(status, &[], &[])), Outcome::Later(None, _)), "{status}");
        }
        for status in [400, 401, 404, 413, 500] {
            assert!(matches!(of_http(&answer(status, &[], &[])), Outcome::Never(_)), "{status}");
        }
        let later = of_http(&answer(503, &[("retry-after", "7")], &[]));
        assert!(matches!(later, Outcome::Later(Some(after), _) if after.as_secs() == 7));
        assert_eq!(of_grpc(&answer(200, &[], &[("grpc-status", "0")])), Outcome::Taken);
        for (status, again) in [("14", true), ("4", true), ("8", false), ("3", false), ("16", false)] {
            let refused = answer(200, &[("grpc-status", status)], &[]);
            assert_eq!(matches!(of_grpc(&refused), Outcome::Later(..)), again, "{status}");
        }
        assert!(matches!(of_grpc(&answer(502, &[], &[])), Outcome::Later(..)));
    }
}
