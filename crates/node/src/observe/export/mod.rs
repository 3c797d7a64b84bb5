//! What is kept goes on to another backend (`telemetry.export`), over OTLP: HTTP with protobuf, or gRPC ([`request`] is how one is
//! made and what an answer means). Each kind of record by itself, in order, a request at a time; what may be tried again is, later
//! each time, as OTLP lays down; what is too large is halved. What comes meanwhile waits within a bound, then it is dropped and
//! counted (`onward`).

mod request;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use kit::{Backoff, Clock, OnError, Tasks};
use manifest::spec::{Compression, Export};
use telemetry::model::{LogRecord, MetricPoint, Span};
use telemetry::otlp::Signal;
use telemetry::otlp::encode::{self, Started, Starts};
use telemetry::{OnwardReader, Telemetry};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::outbound::{self, SendError};
pub(super) use request::MARKER;
use request::{Outcome, Packed};

/// Records of one request; they are sent when there are so many, or after [`PAUSE`].
const MOST: usize = 2_000;
/// Their bytes in memory: a server of gRPC usually takes messages of 4 MiB, an intake over HTTP often less.
const MOST_BYTES: usize = 1 << 20;
/// A request of fewer bytes than this is not halved: whoever calls it too large means something else.
const LEAST_BYTES: usize = 16 << 10;
/// Requests that have to be taken before a larger one is tried.
const TAKEN_BEFORE_LARGER: usize = 256;
const PAUSE: Duration = Duration::from_secs(1);
/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Tries of one request: about five minutes.
const TRIES: u32 = 14;
const AGAIN: Backoff = Backoff { first: Duration::from_secs(1), max: Duration::from_secs(30) };
/// The longest that another backend may ask us to wait.
const LONGEST: Duration = Duration::from_secs(120);
/// How long a node that ends goes on sending what it has.
pub(super) const LAST: Duration = Duration::from_secs(2);

/// What goes on, of one kind.
trait Outgoing: Sized + Send + 'static {
    /// As it is kept.
    type Kept: Send;
    const SIGNAL: Signal;
    fn of(kept: Self::Kept, starts: &mut Starts) -> Self;
    /// Bytes in memory.
    fn size(&self) -> usize;
    fn encode(records: &[Self]) -> Vec<u8>;
}

impl Outgoing for Span {
    type Kept = Self;
    const SIGNAL: Signal = Signal::Traces;
    fn of(kept: Self, _: &mut Starts) -> Self {
        kept
    }
    fn size(&self) -> usize {
        Self::size(self)
    }
    fn encode(records: &[Self]) -> Vec<u8> {
        encode::traces(records)
    }
}

impl Outgoing for LogRecord {
    type Kept = Self;
    const SIGNAL: Signal = Signal::Logs;
    fn of(kept: Self, _: &mut Starts) -> Self {
        kept
    }
    fn size(&self) -> usize {
        Self::size(self)
    }
    fn encode(records: &[Self]) -> Vec<u8> {
        encode::logs(records)
    }
}

impl Outgoing for Started {
    type Kept = MetricPoint;
    const SIGNAL: Signal = Signal::Metrics;
    fn of(kept: MetricPoint, starts: &mut Starts) -> Self {
        starts.of(kept)
    }
    fn size(&self) -> usize {
        self.point.size()
    }
    fn encode(records: &[Self]) -> Vec<u8> {
        encode::metrics(records)
    }
}

/// Begins to send on. Each task of `tasks` ends when they are told to, or when telemetry is closed, and within [`LAST`] of that.
pub(super) fn start(
    wanted: &Export,
    telemetry: &Arc<Telemetry>,
    marker: &Arc<str>,
    clock: &dyn Clock,
    tasks: &Tasks,
) {
    let begun_ns = clock.now().as_micros().saturating_mul(1_000);
    let begin = Begin { wanted, telemetry, marker, begun_ns, tasks };
    if wanted.traces {
        begin.sending::<Span>(telemetry.onward_spans());
    }
    if wanted.logs {
        begin.sending::<LogRecord>(telemetry.onward_logs());
    }
    if wanted.metrics {
        begin.sending::<Started>(telemetry.onward_points());
    }
}

struct Begin<'b> {
    wanted: &'b Export,
    telemetry: &'b Arc<Telemetry>,
    marker: &'b Arc<str>,
    begun_ns: u64,
    tasks: &'b Tasks,
}

impl Begin<'_> {
    fn sending<R: Outgoing>(&self, onward: OnwardReader<R::Kept>) {
        let (telemetry, tasks) = (Arc::clone(self.telemetry), self.tasks.clone());
        let (wanted, marker) = (self.wanted.clone(), Arc::clone(self.marker));
        let begun_ns = self.begun_ns;
        self.tasks.spawn("telemetry.export", OnError::Log, move |stop| async move {
            let sender = Sender {
                packed: wanted.compression == Compression::Gzip,
                wanted,
                signal: R::SIGNAL,
                marker,
                telemetry,
                tasks,
                stop,
                until: OnceLock::new(),
                most_bytes: MOST_BYTES,
                taken_since: 0,
                fails: false,
                lost_at_the_end: 0,
            };
            sender.run::<R>(onward, begun_ns).await;
            Ok::<_, std::convert::Infallible>(())
        });
    }
}

struct Sender {
    wanted: Export,
    signal: Signal,
    /// By which the node knows its own.
    marker: Arc<str>,
    telemetry: Arc<Telemetry>,
    tasks: Tasks,
    stop: CancellationToken,
    /// Once it is told to stop: when it ends.
    until: OnceLock<Instant>,
    /// What a request may have, as far as the other side has shown.
    most_bytes: usize,
    /// Requests that were taken since that was changed.
    taken_since: usize,
    packed: bool,
    /// Whether the last request failed: that is said once, and once when it works again.
    fails: bool,
    lost_at_the_end: usize,
}

/// Why a request was not taken, for good.
#[derive(Debug)]
enum Failed {
    TooLarge(String),
    Never(String),
}

impl Failed {
    fn why(self) -> String {
        match self {
            Self::TooLarge(why) | Self::Never(why) => why,
        }
    }
}

impl Sender {
    /// Sends on until told to stop, or until telemetry is closed.
    async fn run<R: Outgoing>(mut self, mut onward: OnwardReader<R::Kept>, begun_ns: u64) {
        let mut starts = Starts::new(begun_ns);
        let (mut gathered, mut bytes): (Vec<R>, usize) = (Vec::new(), 0);
        let mut due = tokio::time::interval(PAUSE);
        due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let ends = tokio::select! {
                batch = onward.next() => match batch {
                    Some(batch) => {
                        let before = gathered.len();
                        gathered.extend(batch.into_iter().map(|kept| R::of(kept, &mut starts)));
                        bytes += gathered[before..].iter().map(R::size).sum::<usize>();
                        if gathered.len() < MOST && bytes < MOST_BYTES {
                            continue;
                        }
                        false
                    }
                    None => true,
                },
                _ = due.tick() => false,
                () = self.stop.cancelled() => true,
            };
            bytes = 0;
            self.send_all(std::mem::take(&mut gathered)).await;
            if ends {
                // What is still waiting is all that will ever be.
                while let Some(batch) = onward.waiting() {
                    if self.is_over() {
                        self.lost(batch.len());
                        continue;
                    }
                    self.send_all(batch.into_iter().map(|kept| R::of(kept, &mut starts)).collect()).await;
                }
                if self.lost_at_the_end > 0 {
                    let (lost, to) = (self.lost_at_the_end, &self.wanted.endpoint);
                    tracing::warn!("{lost} {} were not sent on to {to} before the end", self.what());
                }
                return;
            }
        }
    }

    const fn what(&self) -> &'static str {
        match self.signal {
            Signal::Traces => "spans",
            Signal::Logs => "log records",
            Signal::Metrics => "points of metrics",
        }
    }

    /// Sends these in as many requests as it takes, fewer bytes in each once the other side has said that one was too large.
    async fn send_all<R: Outgoing>(&mut self, records: Vec<R>) {
        let mut parts = vec![records];
        while let Some(mut part) = parts.pop() {
            let behind = part.split_off(fitting(&part, self.most_bytes, R::size).min(part.len()));
            if part.is_empty() {
                continue;
            }
            if !behind.is_empty() {
                parts.push(behind);
            }
            if self.is_over() {
                self.lost(part.len()); // not worth the work: nobody would be waited for
                continue;
            }
            let body = R::encode(&part);
            let large = body.len() >= LEAST_BYTES && part.len() > 1;
            match self.send(body.into(), part.len()).await {
                Ok(said) => {
                    self.told(said);
                    self.larger_again();
                }
                Err(Failed::TooLarge(_)) if large => {
                    let size = part.iter().map(R::size).sum::<usize>();
                    self.most_bytes = self.most_bytes.min((size / 2).max(LEAST_BYTES));
                    self.taken_since = 0;
                    parts.push(part.split_off(part.len() / 2));
                    parts.push(part);
                }
                Err(failed) => {
                    self.lost(part.len());
                    self.told(Some(failed.why()));
                }
            }
        }
    }

    /// A limit may have been one of that hour: after a while it is tried again with twice as much.
    fn larger_again(&mut self) {
        self.taken_since += 1;
        if self.taken_since >= TAKEN_BEFORE_LARGER {
            self.most_bytes = (self.most_bytes * 2).min(MOST_BYTES);
            self.taken_since = 0;
        }
    }

    fn lost(&mut self, count: usize) {
        self.telemetry.not_sent_on(count);
        if self.stop.is_cancelled() {
            self.lost_at_the_end += count;
        }
    }

    fn told(&mut self, failed: Option<String>) {
        let (what, to, fails) = (self.what(), &self.wanted.endpoint, failed.is_some());
        match failed {
            Some(why) if !self.fails => tracing::warn!("{what} cannot be sent on to {to}: {why}"),
            Some(why) => tracing::debug!("{what} cannot be sent on to {to}: {why}"),
            None if self.fails => tracing::info!("{what} are sent on to {to} again"),
            None => {}
        }
        self.fails = fails;
    }

    /// Until it is taken, refused, or tried often enough; once it is told to stop, one more time. If only a part was taken, says so.
    async fn send(&mut self, body: Bytes, count: usize) -> Result<Option<String>, Failed> {
        let mut body = Packed::new(body, self.packed);
        for tries in 1.. {
            let last = self.stop.is_cancelled() || tries >= TRIES;
            let sent = tokio::select! {
                biased;
                () = self.has_ended() => return Err(Failed::Never("the node ends, and nobody has answered".into())),
                sent = self.once(&body) => sent,
            };
            let (pause, why) = match sent {
                Outcome::Taken => return Ok(None),
                Outcome::InPart { refused, why } => {
                    self.lost(usize::try_from(refused).unwrap_or(usize::MAX).min(count));
                    return Ok((refused > 0).then_some(why));
                }
                Outcome::TooLarge(why) => return Err(Failed::TooLarge(why)),
                Outcome::NotPacked(_) if self.packed => {
                    self.packed = false;
                    body.unpack();
                    continue;
                }
                Outcome::Never(why) | Outcome::NotPacked(why) => return Err(Failed::Never(why)),
                Outcome::Later(pause, why) => (pause, why),
            };
            if last {
                return Err(Failed::Never(why));
            }
            let pause = pause.map_or_else(|| AGAIN.draw(tries), |pause| pause.min(LONGEST));
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.stop.cancelled() => {}
            }
        }
        Ok(None)
    }

    /// Whether that was so long ago that nobody waits any more.
    fn is_over(&self) -> bool {
        self.until.get().is_some_and(|end| Instant::now() >= *end)
    }

    /// Once it was told to stop, after [`LAST`].
    async fn has_ended(&self) {
        self.stop.cancelled().await;
        tokio::time::sleep_until(*self.until.get_or_init(|| Instant::now() + LAST)).await;
    }

    async fn once(&self, body: &Packed) -> Outcome {
        let request = match request::of(&self.wanted, self.signal, &self.marker, body) {
            Ok(request) => request,
            Err(error) => return Outcome::Never(error.to_string()),
        };
        match outbound::send(request, request::version(self.wanted.protocol), PATIENCE, &self.tasks).await {
            Ok(answer) => request::outcome(self.wanted.protocol, &answer),
            Err(error @ SendError::Address(_)) => Outcome::Never(error.to_string()),
            Err(error) => Outcome::Later(None, kit::report::chain(&error)),
        }
    }
}

/// How many of these records a request can have: one at least.
fn fitting<T>(records: &[T], most_bytes: usize, size: impl Fn(&T) -> usize) -> usize {
    let mut bytes = 0;
    let fit = records.iter().take(MOST).take_while(|record| {
        bytes += size(record);
        bytes <= most_bytes
    });
    fit.count().max(1)
}

#[cfg(test)]
mod tests;
