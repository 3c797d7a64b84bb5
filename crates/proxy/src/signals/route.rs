//! What is counted per route of the gateway and per edge of the mesh. Each thread that carries requests of a
//! route has counters of its own, which it writes plainly; whoever asks adds them up. They are made at a
//! route's first request and outlive route tables.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use manifest::spec::ServiceName;

use crate::failure::Kind;
use crate::policy::histogram::{self, Example, Histogram, Summary};
use crate::signals::Hop;

/// What a route is called in metrics, records and spans.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Label {
    /// `GET /books/{id}`, or `orders -> payments` in the mesh.
    pub route: String,
    /// The service behind it; `None`: Atoll answers.
    pub service: Option<ServiceName>,
    /// The service that calls; `None`: the gateway.
    pub caller: Option<ServiceName>,
}

/// What a route has carried since it is there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RouteStats {
    /// Exchanges that have ended, by class of status: `[1xx, 2xx, 3xx, 4xx, 5xx]`.
    pub classes: [u64; 5],
    /// Those that failed, by cause; in the order of [`Kind::ALL`], only those that happened.
    pub errors: Vec<(Kind, u64)>,
    /// Further tries.
    pub retries: u64,
    /// Second tries beside slow ones.
    pub hedges: u64,
    /// Answers that were not the service's own.
    pub fallbacks: u64,
    /// Bytes of request bodies passed on.
    pub bytes_in: u64,
    /// Bytes of answer bodies passed on.
    pub bytes_out: u64,
    /// From the request's head to the last byte of the answer; to the answer's head for what became a tunnel.
    pub latency: Summary,
}

impl RouteStats {
    /// Exchanges that have ended.
    pub fn requests(&self) -> u64 {
        self.classes.iter().sum()
    }

    fn add(&mut self, shard: &Shard) {
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        for (sum, class) in self.classes.iter_mut().zip(&shard.classes) {
            *sum += read(class);
        }
        for (kind, count) in Kind::ALL.into_iter().zip(&shard.errors) {
            let count = read(count);
            if count == 0 {
                continue;
            }
            match self.errors.binary_search_by_key(&(kind as usize), |(have, _)| *have as usize) {
                Ok(at) => self.errors[at].1 += count,
                Err(at) => self.errors.insert(at, (kind, count)),
            }
        }
        self.retries += read(&shard.retries);
        self.hedges += read(&shard.hedges);
        self.fallbacks += read(&shard.fallbacks);
        self.bytes_in += read(&shard.bytes_in);
        self.bytes_out += read(&shard.bytes_out);
        self.latency.add(&shard.latency);
    }
}

/// One thread's counters of one route; about 5 KiB.
#[derive(Debug)]
#[repr(align(128))]
struct Shard {
    classes: [AtomicU64; 5],
    retries: AtomicU64,
    hedges: AtomicU64,
    fallbacks: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    latency: Arc<Histogram>,
    errors: [AtomicU64; Kind::ALL.len()],
}

/// A route's counters, over all threads and tables.
#[derive(Debug)]
pub struct RouteSignals {
    label: Label,
    seat: usize,
    counted: Mutex<Counted>,
}

#[derive(Debug, Default)]
struct Counted {
    /// What threads have counted that count here no more.
    before: RouteStats,
    shards: Vec<Arc<Shard>>,
}

impl RouteSignals {
    /// Its number among the routes that are there at one time.
    #[inline]
    pub(crate) fn seat(&self) -> usize {
        self.seat
    }

    fn stats(&self) -> RouteStats {
        let counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let mut stats = counted.before.clone();
        counted.shards.iter().for_each(|shard| stats.add(shard));
        stats
    }
}

/// One thread's way to count for a route. It stays on its thread, as its histogram's recorder does: plain
/// writes of two threads would lose some.
#[derive(Debug)]
pub struct Local {
    signals: Arc<RouteSignals>,
    /// A copy of this thread's own: whoever keeps it touches no other thread's memory.
    label: Arc<Label>,
    shard: Arc<Shard>,
    latency: histogram::Recorder,
}

impl Local {
    /// Counters for the thread that calls.
    pub fn new(signals: &Arc<RouteSignals>) -> Self {
        let (recorder, latency) = histogram::Recorder::new();
        let shard = Arc::new(Shard {
            classes: Default::default(),
            retries: AtomicU64::new(0),
            hedges: AtomicU64::new(0),
            fallbacks: AtomicU64::new(0),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            latency,
            errors: std::array::from_fn(|_| AtomicU64::new(0)),
        });
        let mut counted = signals.counted.lock().unwrap_or_else(PoisonError::into_inner);
        counted.shards.push(Arc::clone(&shard));
        drop(counted);
        let label = Arc::new(signals.label.clone());
        Self { signals: Arc::clone(signals), label, shard, latency: recorder }
    }

    pub(crate) fn is_of(&self, signals: &Arc<RouteSignals>) -> bool {
        Arc::ptr_eq(&self.signals, signals)
    }

    /// What the route is called.
    pub fn label(&self) -> &Arc<Label> {
        &self.label
    }

    /// Counts an exchange that has ended.
    #[inline]
    pub fn count(&self, hop: &Hop<'_>, retries: u32) {
        let shard = &*self.shard;
        let class = usize::from(hop.status / 100).wrapping_sub(1);
        if let Some(class) = shard.classes.get(class) {
            add(class, 1);
        }
        if let Some(count) = hop.error.and_then(|kind| shard.errors.get(kind as usize)) {
            add(count, 1);
        }
        add(&shard.retries, retries.into());
        add(&shard.hedges, hop.hedges.into());
        add(&shard.fallbacks, hop.fallback.into());
        add(&shard.bytes_in, hop.bytes_in);
        add(&shard.bytes_out, hop.bytes_out);
        let took = if hop.upgraded { hop.first_byte.unwrap_or(hop.took) } else { hop.took };
        if hop.trace.flags & 1 == 0 {
            return self.latency.record(took); // nobody keeps this trace
        }
        let unix_ms = (hop.began + hop.took).as_micros() / 1000;
        self.latency.record_example(Example { trace: u128::from_be_bytes(hop.trace.id.0), took, unix_ms });
    }
}

/// Only the thread that owns a counter writes it.
#[inline]
fn add(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(more), Relaxed);
}

impl Drop for Local {
    /// Leaves what it has counted.
    fn drop(&mut self) {
        let mut counted = self.signals.counted.lock().unwrap_or_else(PoisonError::into_inner);
        counted.shards.retain(|shard| !Arc::ptr_eq(shard, &self.shard));
        counted.before.add(&self.shard);
    }
}

/// The signals of every route, over all tables.
#[derive(Debug, Default)]
pub struct Book(Mutex<HashMap<Label, Arc<RouteSignals>>>);

impl Book {
    /// The signals of a route: those that are there already, else new ones. For compiling tables.
    pub fn of(&self, label: Label) -> Arc<RouteSignals> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(signals) = all.get(&label) {
            return Arc::clone(signals);
        }
        let mut taken = vec![false; all.len() + 1];
        for signals in all.values() {
            if let Some(seat) = taken.get_mut(signals.seat) {
                *seat = true;
            }
        }
        let seat = taken.iter().position(|taken| !taken).unwrap_or(all.len());
        let signals = Arc::new(RouteSignals { label: label.clone(), seat, counted: Mutex::default() });
        all.insert(label, Arc::clone(&signals));
        signals
    }

    /// Forgets the routes that are not there any more. Requests under way go on counting for nobody.
    pub(crate) fn keep(&self, is_there: impl Fn(&Label) -> bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|label, _| is_there(label));
    }

    /// Every route that has carried a request, in order.
    pub fn stats(&self) -> Vec<(Label, RouteStats)> {
        let all: Vec<_> = self.0.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        let stats = all.into_iter().map(|signals| (signals.label.clone(), signals.stats()));
        let mut stats: Vec<_> = stats.filter(|(_, stats)| stats.requests() > 0).collect();
        stats.sort_by(|one, other| one.0.cmp(&other.0));
        stats
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::signals::hop::tests::hop;

    fn label(route: &str) -> Label {
        Label { route: route.to_owned(), service: "web".parse().ok(), caller: None }
    }

    #[test]
    fn what_threads_count_is_added_up_and_stays_when_they_end() {
        let book = Book::default();
        let route = book.of(label("GET /"));
        assert!(book.stats().is_empty(), "only routes with requests are shown");
        let threads = (0..3u64).map(|n| {
            let route = Arc::clone(&route);
            std::thread::spawn(move || {
                let local = Local::new(&route);
                let ok = Hop { status: 200, bytes_out: 7, took: Duration::from_millis(n), ..hop() };
                let failed =
                    Hop { status: 503, error: Some(Kind::BreakerOpen), fallback: true, hedges: 1, ..hop() };
                for _ in 0..10 {
                    local.count(&ok, 2);
                }
                local.count(&failed, 0);
            })
        });
        threads.collect::<Vec<_>>().into_iter().for_each(|thread| thread.join().unwrap());
        let here = Local::new(&route);
        here.count(&Hop { status: 404, ..hop() }, 0);
        let stats = book.stats();
        let (name, stats) = &stats[0];
        assert_eq!((name, stats.requests()), (&label("GET /"), 34));
        assert_eq!(stats.classes, [0, 30, 0, 1, 3]);
        assert_eq!(stats.errors, [(Kind::BreakerOpen, 3)]);
        assert_eq!((stats.retries, stats.hedges, stats.fallbacks, stats.bytes_out), (60, 3, 3, 210));
        assert_eq!(stats.latency.count(), 34);
        assert!(stats.latency.sum_seconds() >= 0.030);
    }

    #[test]
    fn a_new_table_counts_on_and_what_is_gone_is_forgotten() {
        let book = Book::default();
        let old = book.of(label("a"));
        Local::new(&old).count(&hop(), 0);
        assert!(Arc::ptr_eq(&old, &book.of(label("a"))));
        assert_ne!(book.of(label("b")).seat(), old.seat());
        book.keep(|label| label.route == "b");
        assert!(book.stats().is_empty());
        Local::new(&old).count(&hop(), 0); // a request of the old table comes to its end
        assert!(!Arc::ptr_eq(&old, &book.of(label("a"))));
        assert_eq!(book.of(label("a")).seat(), old.seat(), "seats are taken again");
    }

    #[test]
    fn a_tunnel_counts_with_the_time_to_its_answer() {
        let book = Book::default();
        let took = Duration::from_secs(3600);
        let first_byte = Some(Duration::from_millis(3));
        Local::new(&book.of(label("ws")))
            .count(&Hop { upgraded: true, took, first_byte, status: 101, ..hop() }, 0);
        let stats = &book.stats()[0].1;
        assert_eq!(stats.classes[0], 1);
        assert!((stats.latency.sum_seconds() - 0.003).abs() < 1e-9);
    }

    #[test]
    fn a_trace_that_nobody_keeps_is_no_example() {
        let book = Book::default();
        let local = Local::new(&book.of(label("x")));
        let mut unsampled = hop();
        unsampled.trace.flags = 0;
        local.count(&unsampled, 0);
        let example = |book: &Book| book.stats()[0].1.latency.buckets().find_map(|(_, _, example)| example);
        assert_eq!(example(&book), None);
        local.count(&hop(), 0);
        assert_eq!(example(&book).unwrap().trace, u128::from_be_bytes(hop().trace.id.0));
    }
}
