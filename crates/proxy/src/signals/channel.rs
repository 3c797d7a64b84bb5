//! The channel on which hops leave the data path: bounded, one lane per thread, one reader.
//!
//! A lane has two sides. Its thread writes to the one, the reader empties the other, and they change sides: a
//! writer never waits, for of two sides the reader holds one at most. Lists and texts keep their memory, so a
//! hop costs no allocation, and what many hops share (a route, an endpoint) is named once for each run of them.
//! The reader is woken when something comes after nothing; it then pauses, so that under load it is woken a few
//! times a second, not once per request.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use http::{Method, Version};
use kit::Timestamp;
use registry::Endpoint;
use tokio::sync::Notify;

use crate::access::AccessSink;
use crate::exchange::Entrance;
use crate::failure::Kind;
use crate::signals::{Hop, Label, Lane};
use crate::tls::Session;
use crate::trace::Trace;

/// Hops that one side of a lane holds at most: 50 ms of 160,000 requests a second.
pub const HOPS: usize = 8192;
/// Bytes of hosts, targets and request ids that one side holds at most.
pub const TEXT: usize = 2 << 20;
/// How long the reader lets hops gather after the first.
pub const PAUSE: Duration = Duration::from_millis(25);
/// How far back a hop looks for a neighbour that shares something with it.
const LOOK_BACK: usize = 8;
/// Below this many hops, memory that is not used is not given back either.
const KEEP: usize = 512;

/// Hops that were not taken, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// [`HOPS`] were waiting.
    pub full: u64,
    /// [`TEXT`] bytes were waiting.
    pub text: u64,
}

/// The writing end, for [`crate::Options::access`].
#[derive(Clone, Debug)]
pub struct Hops(Arc<Shared>);

/// The reading end. There is one.
#[derive(Debug)]
pub struct HopReader(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    lanes: Mutex<Vec<Arc<Sides>>>,
    wake: Notify,
    /// The reader wants to be woken by the first hop.
    asleep: AtomicBool,
    wants_text: AtomicBool,
    full: AtomicU64,
    text: AtomicU64,
}

/// A new channel.
pub fn channel() -> (Hops, HopReader) {
    let shared = Arc::new(Shared {
        lanes: Mutex::default(),
        wake: Notify::new(),
        asleep: AtomicBool::new(false),
        wants_text: AtomicBool::new(true),
        full: AtomicU64::new(0),
        text: AtomicU64::new(0),
    });
    (Hops(Arc::clone(&shared)), HopReader(shared))
}

impl Hops {
    /// What was dropped since the start.
    pub fn dropped(&self) -> Dropped {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Dropped { full: read(&self.0.full), text: read(&self.0.text) }
    }

    /// Whether hosts and targets are wanted.
    pub fn wants_text(&self) -> bool {
        self.0.wants_text.load(Ordering::Relaxed)
    }
}

impl AccessSink for Hops {
    fn lane(&self) -> Box<dyn Lane> {
        let sides = Arc::<Sides>::default();
        self.0.lanes().push(Arc::clone(&sides));
        Box::new(Writer { shared: Arc::clone(&self.0), sides })
    }

    fn want_text(&self, wanted: bool) {
        self.0.wants_text.store(wanted, Ordering::Relaxed);
    }
}

impl Shared {
    fn lanes(&self) -> MutexGuard<'_, Vec<Arc<Sides>>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Both sides of a lane.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Sides {
    /// Which one is written to.
    written: AtomicUsize,
    sides: [Mutex<Batch>; 2],
}

struct Writer {
    shared: Arc<Shared>,
    sides: Arc<Sides>,
}

impl Lane for Writer {
    fn record(&self, hop: &Hop<'_>) {
        let first = self.sides.written.load(Ordering::Relaxed);
        // It may change over from one to the other just when this does.
        for side in [first, first ^ 1, first, first ^ 1] {
            let mut batch = match self.sides.sides[side & 1].try_lock() {
                Ok(batch) => batch,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => continue, // the reader is there: it is not here
            };
            let counter = match batch.push(hop) {
                Ok(waiting) => {
                    drop(batch);
                    let news = waiting == 1 && self.shared.asleep.load(Ordering::Relaxed);
                    if news || waiting == HOPS / 2 {
                        self.shared.wake();
                    }
                    return;
                }
                Err(Full::Hops) => &self.shared.full,
                Err(Full::Text) => &self.shared.text,
            };
            counter.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.shared.full.fetch_add(1, Ordering::Relaxed);
    }

    fn wants_text(&self) -> bool {
        self.shared.wants_text.load(Ordering::Relaxed)
    }
}

impl Shared {
    #[cold]
    fn wake(&self) {
        self.asleep.store(false, Ordering::Relaxed);
        self.wake.notify_one();
    }
}

impl HopReader {
    /// Waits until there are hops, and a little longer, for more. Nothing is lost when this is given up.
    pub async fn ready(&mut self) {
        loop {
            // Before the look: a hop that comes after it finds the reader asleep. The locks order the two.
            self.0.asleep.store(true, Ordering::Relaxed);
            if self.has_any() {
                break;
            }
            self.0.wake.notified().await;
        }
        self.0.asleep.store(false, Ordering::Relaxed);
        let _ = tokio::time::timeout(PAUSE, self.0.wake.notified()).await;
    }

    fn has_any(&self) -> bool {
        let lanes = self.0.lanes();
        lanes.iter().flat_map(|lane| &lane.sides).any(|side| !lock(side).entries.is_empty())
    }

    /// Shows every hop that is there, thread by thread, oldest first, and forgets them. Says how many.
    pub fn drain(&mut self, mut show: impl FnMut(&Hop<'_>)) -> usize {
        let lanes = self.0.lanes().clone();
        let mut shown = 0;
        for lane in &lanes {
            for _ in 0..2 {
                let full = lane.written.fetch_xor(1, Ordering::Relaxed) & 1;
                let mut batch = lock(&lane.sides[full]);
                shown += batch.entries.len();
                batch.entries.iter().filter_map(|entry| batch.hop(entry)).for_each(|hop| show(&hop));
                batch.clear();
            }
        }
        // Those of threads that have ended.
        self.0.lanes().retain(|lane| Arc::strong_count(lane) > 2 || !lane.is_empty());
        shown
    }
}

impl Sides {
    fn is_empty(&self) -> bool {
        self.sides.iter().all(|side| lock(side).entries.is_empty())
    }
}

fn lock(side: &Mutex<Batch>) -> MutexGuard<'_, Batch> {
    side.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Hops that wait on one side, in the order in which they came.
#[derive(Debug, Default)]
struct Batch {
    entries: Vec<Entry>,
    text: String,
    entrances: Shares<Entrance>,
    sessions: Shares<Session>,
    routes: Shares<Label>,
    endpoints: Shares<Endpoint>,
}

enum Full {
    Hops,
    Text,
}

/// A hop without what others have as well.
#[derive(Debug)]
struct Entry {
    began: Timestamp,
    took: Duration,
    first_byte: Option<Duration>,
    waited: Duration,
    peer: std::net::SocketAddr,
    method: Method,
    trace: Trace,
    bytes_in: u64,
    bytes_out: u64,
    /// Where its text begins, and how long host, target and request id are.
    text: u32,
    lengths: [u32; 3],
    attempts: u32,
    hedges: u32,
    entrance: u32,
    session: Option<u32>,
    route: Option<u32>,
    endpoint: Option<u32>,
    version: Version,
    status: u16,
    error: Option<Kind>,
    fallback: bool,
    upgraded: bool,
}

impl Batch {
    /// Says how many there are now.
    fn push(&mut self, hop: &Hop<'_>) -> Result<usize, Full> {
        if self.entries.len() >= HOPS {
            return Err(Full::Hops);
        }
        let texts = [hop.host, hop.target, hop.request_id];
        let at = self.text.len();
        if at + texts.iter().map(|text| text.len()).sum::<usize>() > TEXT {
            return Err(Full::Text);
        }
        texts.iter().for_each(|text| self.text.push_str(text));
        self.entries.push(Entry {
            began: hop.began,
            took: hop.took,
            first_byte: hop.first_byte,
            waited: hop.waited,
            peer: hop.peer,
            method: hop.method.clone(),
            trace: hop.trace,
            bytes_in: hop.bytes_in,
            bytes_out: hop.bytes_out,
            text: at as u32, // at most `TEXT`, as are the lengths
            lengths: texts.map(|text| text.len() as u32),
            attempts: hop.attempts,
            hedges: hop.hedges,
            entrance: self.entrances.share(hop.entrance),
            session: hop.tls.map(|session| self.sessions.share(session)),
            route: hop.route.map(|route| self.routes.share(route)),
            endpoint: hop.endpoint.map(|endpoint| self.endpoints.share(endpoint)),
            version: hop.version,
            status: hop.status,
            error: hop.error,
            fallback: hop.fallback,
            upgraded: hop.upgraded,
        });
        Ok(self.entries.len())
    }

    fn hop<'a>(&'a self, entry: &'a Entry) -> Option<Hop<'a>> {
        let mut at = entry.text as usize;
        let [host, target, request_id] = entry.lengths.map(|length| {
            let from = at;
            at += length as usize;
            self.text.get(from..at).unwrap_or_default()
        });
        Some(Hop {
            began: entry.began,
            took: entry.took,
            first_byte: entry.first_byte,
            waited: entry.waited,
            entrance: self.entrances.get(entry.entrance)?,
            tls: entry.session.and_then(|at| self.sessions.get(at)),
            peer: entry.peer,
            version: entry.version,
            method: &entry.method,
            host,
            target,
            status: entry.status,
            route: entry.route.and_then(|at| self.routes.get(at)),
            endpoint: entry.endpoint.and_then(|at| self.endpoints.get(at)),
            attempts: entry.attempts,
            hedges: entry.hedges,
            fallback: entry.fallback,
            bytes_in: entry.bytes_in,
            bytes_out: entry.bytes_out,
            upgraded: entry.upgraded,
            request_id,
            trace: entry.trace,
            error: entry.error,
        })
    }

    /// Forgets everything; memory stays that hops as many as these need, twice over.
    fn clear(&mut self) {
        let (hops, text) = (self.entries.len().max(KEEP) * 2, self.text.len().max(KEEP * 128) * 2);
        self.entries.clear();
        self.text.clear();
        self.entries.shrink_to(hops);
        self.text.shrink_to(text);
        self.entrances.0.clear();
        self.sessions.0.clear();
        self.routes.0.clear();
        self.endpoints.0.clear();
    }
}

/// What hops share. A run of hops that have the same holds it once: counts of owners are memory that threads
/// write in turn, and that is slow.
#[derive(Debug)]
struct Shares<T>(Vec<Arc<T>>);

impl<T> Default for Shares<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Shares<T> {
    fn share(&mut self, one: &Arc<T>) -> u32 {
        let recent = self.0.iter().enumerate().rev().take(LOOK_BACK);
        let mut found = recent.filter(|(_, have)| Arc::ptr_eq(have, one)).map(|(at, _)| at);
        let at = found.next().unwrap_or_else(|| {
            self.0.push(Arc::clone(one));
            self.0.len() - 1
        });
        at as u32 // at most `HOPS`
    }

    fn get(&self, at: u32) -> Option<&Arc<T>> {
        self.0.get(at as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signals::hop::tests::hop;

    fn statuses(reader: &mut HopReader) -> Vec<u16> {
        let mut statuses = Vec::new();
        reader.drain(|hop| statuses.push(hop.status));
        statuses
    }

    #[test]
    fn a_hop_comes_out_as_it_went_in() {
        let (hops, mut reader) = channel();
        let lane = hops.lane();
        let label = Label { route: "a -> b".to_owned(), service: "b".parse().ok(), caller: "a".parse().ok() };
        let route = Arc::new(label);
        let endpoint = Arc::new(Endpoint::new("b-1#2".parse().unwrap(), ([127, 0, 0, 1], 1).into()));
        let method = Method::from_bytes(b"PURGE").unwrap();
        let sent = Hop {
            route: Some(&route),
            endpoint: Some(&endpoint),
            method: &method,
            error: Some(Kind::AnswerTimeout),
            fallback: true,
            hedges: 2,
            attempts: 3,
            ..hop()
        };
        lane.record(&hop());
        lane.record(&sent);
        let mut seen = Vec::new();
        assert_eq!(reader.drain(|hop| seen.push(format!("{hop:?}"))), 2);
        // An endpoint has a clock and locks: what is compared is all that is shown.
        assert_eq!(seen, [format!("{:?}", hop()), format!("{sent:?}")]);
        assert_eq!(reader.drain(|_| panic!("shown twice")), 0);
    }

    #[test]
    fn a_run_of_hops_holds_what_it_shares_once() {
        let mut batch = Batch::default();
        let endpoints: Vec<_> = (1..=4u16)
            .map(|n| Arc::new(Endpoint::new(format!("b-{n}#1").parse().unwrap(), ([127, 0, 0, 1], n).into())))
            .collect();
        for n in 0..1000 {
            let _ = batch.push(&Hop { endpoint: endpoints.get(n % 4), ..hop() });
        }
        assert_eq!((batch.endpoints.0.len(), batch.entrances.0.len(), batch.entries.len()), (4, 1, 1000));
        let names: Vec<_> = batch.entries[..4]
            .iter()
            .map(|entry| batch.hop(entry).unwrap().instance().unwrap().name())
            .collect();
        assert_eq!(names, ["b-1", "b-2", "b-3", "b-4"]);
        batch.clear();
        assert_eq!(Arc::strong_count(&endpoints[0]), 1);
    }

    #[test]
    fn what_is_too_much_is_dropped_and_counted_by_its_reason() {
        let (hops, mut reader) = channel();
        let lane = hops.lane();
        for _ in 0..HOPS + 5 {
            lane.record(&Hop { target: "/", ..hop() });
        }
        assert_eq!(hops.dropped(), Dropped { full: 5, text: 0 });
        assert_eq!(statuses(&mut reader).len(), HOPS);
        let long = "x".repeat(TEXT / 2);
        for _ in 0..2 {
            lane.record(&Hop { target: &long, ..hop() });
        }
        assert_eq!(hops.dropped(), Dropped { full: 5, text: 1 });
        lane.record(&hop());
        assert_eq!(statuses(&mut reader).len(), 2, "a shorter one still fits");
    }

    #[test]
    fn memory_of_a_rush_is_given_back() {
        let mut batch = Batch::default();
        for _ in 0..HOPS {
            let _ = batch.push(&hop());
        }
        batch.clear();
        assert!(batch.entries.capacity() >= HOPS, "the next batch may be as large");
        batch.clear();
        assert!(batch.entries.capacity() <= KEEP * 2);
    }

    #[test]
    fn a_writer_does_not_wait_for_a_reader_in_the_middle_of_its_work() {
        let (hops, mut reader) = channel();
        let lane = hops.lane();
        lane.record(&Hop { status: 201, ..hop() });
        let mut seen = Vec::new();
        reader.drain(|hop| {
            seen.push(hop.status);
            if hop.status == 201 {
                lane.record(&Hop { status: 202, ..*hop }); // the same thread: a lock that is waited for hangs
            }
        });
        assert_eq!(seen, [201, 202]);
    }

    #[test]
    fn the_lane_of_a_thread_that_has_ended_is_read_to_its_end_and_forgotten() {
        let (hops, mut reader) = channel();
        let lane = hops.lane();
        lane.record(&hop());
        drop(lane);
        let other = hops.lane();
        other.record(&hop());
        assert_eq!(statuses(&mut reader), [200, 200]);
        assert_eq!(reader.0.lanes().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_reader_is_woken_by_the_first_hop_and_waits_for_a_few_more() {
        let (hops, mut reader) = channel();
        let lane = hops.lane();
        let write = async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            lane.record(&Hop { status: 201, ..hop() });
            tokio::time::sleep(PAUSE / 2).await;
            lane.record(&Hop { status: 202, ..hop() });
        };
        let start = tokio::time::Instant::now();
        let ((), ()) = tokio::join!(reader.ready(), write);
        assert_eq!(statuses(&mut reader), [201, 202]);
        assert!(start.elapsed() >= Duration::from_secs(5) + PAUSE);
    }

    #[tokio::test(start_paused = true)]
    async fn half_of_a_lane_ends_the_pause() {
        let (hops, mut reader) = channel();
        let lane = hops.lane();
        (0..HOPS / 2).for_each(|_| lane.record(&hop()));
        let start = tokio::time::Instant::now();
        reader.ready().await;
        assert!(start.elapsed() < PAUSE);
    }

    /// Threads write as fast as they can while the reader sleeps, wakes and reads: whatever is not dropped
    /// comes out once, in order.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn nothing_is_lost_between_threads_and_the_reader() {
        const THREADS: u64 = 3;
        const EACH: u64 = 30_000;
        let (hops, mut reader) = channel();
        let writers = (0..THREADS).map(|writer| {
            let hops = hops.clone();
            std::thread::spawn(move || {
                let lane = hops.lane();
                for n in 0..EACH {
                    lane.record(&Hop { bytes_in: writer, bytes_out: n, ..hop() });
                    if n % 1000 == 0 {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                }
            })
        });
        let writers: Vec<_> = writers.collect();
        let mut last = [None; THREADS as usize];
        let mut seen = 0;
        let lost = || hops.dropped().full + hops.dropped().text;
        while seen + lost() < THREADS * EACH {
            tokio::time::timeout(Duration::from_secs(20), reader.ready()).await.expect("woken");
            seen += reader.drain(|hop| {
                let last = &mut last[hop.bytes_in as usize];
                // Between two sides the order may be lost by what came while they changed.
                assert_ne!(*last, Some(hop.bytes_out));
                *last = Some(hop.bytes_out);
            }) as u64;
        }
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        assert_eq!(seen + lost(), THREADS * EACH);
    }
}
