//! Latencies, counted: by one thread, which writes plainly; read by others at any time, who add the threads up.
//!
//! Each is counted twice: in a log-linear bin, for quantiles (error at most 1/32), and exactly in one of the
//! [`BOUNDS`], for Prometheus. A bucket keeps one recent example, so that a person who sees a slow bucket has a
//! trace to look at.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::time::Duration;

use registry::moment::nanos;

/// Upper bounds of the buckets, inclusive, in nanoseconds; the last bucket has none.
pub const BOUNDS: [u64; 16] = [
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
];
/// One for each bound, and one for what is beyond.
pub const BUCKETS: usize = BOUNDS.len() + 1;
/// A bucket's example is replaced when it is older than this.
const EXAMPLE_MS: u64 = 1000;

/// Steps per doubling, as bits.
const STEP_BITS: u32 = 4;
const STEPS: usize = 1 << STEP_BITS;
/// The finest step: 2^8 nanoseconds, up to about 4 µs.
const UNIT_BITS: u32 = 8;
/// Longer times than 2^38 nanoseconds, 4.6 minutes, count as that.
const TOP_BITS: u32 = 38;
const BINS: usize = (TOP_BITS - UNIT_BITS - STEP_BITS + 1) as usize * STEPS;

/// For each bin the first bucket that its least time may belong to.
static FIRST_BUCKET: [u8; BINS] = {
    let mut table = [0; BINS];
    let mut bin = 0;
    while bin < BINS {
        let mut bucket = 0;
        while bucket < BOUNDS.len() && least(bin) > BOUNDS[bucket] {
            bucket += 1;
        }
        table[bin] = bucket as u8;
        bin += 1;
    }
    table
};

/// What one thread has counted; about 5 KiB, so make one where there are requests, not beforehand.
#[derive(Debug)]
#[repr(align(128))]
pub struct Histogram {
    bins: [AtomicU64; BINS],
    buckets: [AtomicU64; BUCKETS],
    /// Seconds, as the bits of an `f64`.
    sum: AtomicU64,
    examples: [Slot; BUCKETS],
}

/// The one who counts. It stays on its thread: plain writes of two would lose some.
#[derive(Debug)]
pub struct Recorder {
    histogram: Arc<Histogram>,
    one_thread: PhantomData<*const ()>,
}

/// A request of a bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Example {
    /// Its trace (W3C trace context).
    pub trace: u128,
    /// How long it took.
    pub took: Duration,
    /// When it was counted, in milliseconds since the Unix epoch.
    pub unix_ms: u64,
}

/// An example, readable while it is written: `version` is odd meanwhile (a sequence lock).
#[derive(Debug, Default)]
struct Slot {
    version: AtomicU64,
    trace: [AtomicU64; 2],
    took: AtomicU64,
    unix_ms: AtomicU64,
}

impl Recorder {
    /// One that has counted nothing, and what others read it by.
    pub fn new() -> (Self, Arc<Histogram>) {
        let histogram = Arc::new(Histogram {
            bins: [const { AtomicU64::new(0) }; BINS],
            buckets: [const { AtomicU64::new(0) }; BUCKETS],
            sum: AtomicU64::new(0),
            examples: Default::default(),
        });
        (Self { histogram: Arc::clone(&histogram), one_thread: PhantomData }, histogram)
    }

    /// Counts a request.
    #[inline]
    pub fn record(&self, took: Duration) {
        self.count(nanos(took));
    }

    /// Counts a request whose trace is kept, and so may be an example: at most one a second in each bucket.
    #[inline]
    pub fn record_example(&self, example: Example) {
        let bucket = self.count(nanos(example.took));
        if let Some(slot) = self.histogram.examples.get(bucket) {
            slot.put(example);
        }
    }

    fn count(&self, nanos: u64) -> usize {
        let bin = bin_of(nanos);
        let bucket = bucket_of(nanos, bin);
        let Histogram { bins, buckets, sum, .. } = &*self.histogram;
        for counter in [bins.get(bin), buckets.get(bucket)].into_iter().flatten() {
            counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
        let seconds = f64::from_bits(sum.load(Ordering::Relaxed)) + nanos as f64 * 1e-9;
        sum.store(seconds.to_bits(), Ordering::Relaxed);
        bucket
    }
}

impl Slot {
    fn put(&self, example: Example) {
        let Example { trace, took, unix_ms } = example;
        let before = self.unix_ms.load(Ordering::Relaxed);
        if unix_ms < before + EXAMPLE_MS {
            return;
        }
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version + 1, Ordering::Relaxed);
        fence(Ordering::Release);
        self.trace[0].store((trace >> 64) as u64, Ordering::Relaxed);
        self.trace[1].store(trace as u64, Ordering::Relaxed);
        self.took.store(nanos(took), Ordering::Relaxed);
        self.unix_ms.store(unix_ms, Ordering::Relaxed);
        self.version.store(version + 2, Ordering::Release);
    }

    /// `None`: there is none, or it is being replaced right now.
    fn get(&self) -> Option<Example> {
        let version = self.version.load(Ordering::Acquire);
        let [high, low] = &self.trace;
        let trace = u128::from(high.load(Ordering::Relaxed)) << 64 | u128::from(low.load(Ordering::Relaxed));
        let took = Duration::from_nanos(self.took.load(Ordering::Relaxed));
        let unix_ms = self.unix_ms.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        let is_whole =
            version != 0 && version.is_multiple_of(2) && self.version.load(Ordering::Relaxed) == version;
        is_whole.then_some(Example { trace, took, unix_ms })
    }
}

/// The histograms of several threads, added up.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    bins: Vec<u64>,
    buckets: [u64; BUCKETS],
    examples: [Option<Example>; BUCKETS],
    sum: f64,
}

impl Default for Summary {
    fn default() -> Self {
        Self { bins: vec![0; BINS], buckets: [0; BUCKETS], examples: [None; BUCKETS], sum: 0.0 }
    }
}

impl Summary {
    /// Adds what a thread has counted so far; of examples the newer one stays.
    pub fn add(&mut self, histogram: &Histogram) {
        for (sum, bin) in self.bins.iter_mut().zip(&histogram.bins) {
            *sum += bin.load(Ordering::Relaxed);
        }
        for (sum, bucket) in self.buckets.iter_mut().zip(&histogram.buckets) {
            *sum += bucket.load(Ordering::Relaxed);
        }
        for (best, slot) in self.examples.iter_mut().zip(&histogram.examples) {
            let newer = slot.get().filter(|new| best.is_none_or(|best| new.unix_ms > best.unix_ms));
            *best = newer.or(*best);
        }
        self.sum += f64::from_bits(histogram.sum.load(Ordering::Relaxed));
    }

    /// How many requests.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The sum of their times, in seconds.
    pub fn sum_seconds(&self) -> f64 {
        self.sum
    }

    /// The time that this fraction of requests did not exceed (0.99: the 99th percentile), right to 1/32 or 128 ns;
    /// `None` if there was no request.
    pub fn quantile(&self, fraction: f64) -> Option<Duration> {
        let count: u64 = self.bins.iter().sum();
        let rank = ((count as f64 * fraction).ceil() as u64).clamp(1, count.max(1));
        let mut seen = 0;
        for (bin, in_bin) in self.bins.iter().enumerate() {
            seen += in_bin;
            if seen >= rank {
                return Some(Duration::from_nanos(u64::midpoint(least(bin), least(bin + 1))));
            }
        }
        None
    }

    /// For Prometheus: each bucket's upper bound in seconds (infinite for the last), the requests up to it, and an
    /// example of those between it and the bound before.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64, Option<Example>)> {
        let bounds = BOUNDS.iter().map(|nanos| *nanos as f64 / 1e9).chain([f64::INFINITY]);
        let mut sum = 0;
        bounds.zip(&self.buckets).zip(&self.examples).map(move |((bound, count), example)| {
            sum += count;
            (bound, sum, *example)
        })
    }
}

#[inline]
fn bin_of(nanos: u64) -> usize {
    let units = nanos.min((1 << TOP_BITS) - 1) >> UNIT_BITS;
    let doublings = units.max(1).ilog2();
    if doublings < STEP_BITS {
        return units as usize;
    }
    let step = (units >> (doublings - STEP_BITS)) as usize & (STEPS - 1);
    (doublings - STEP_BITS + 1) as usize * STEPS + step
}

#[inline]
fn bucket_of(nanos: u64, bin: usize) -> usize {
    let first = FIRST_BUCKET.get(bin).map_or(0, |bucket| usize::from(*bucket));
    // A bin is narrower than a bucket: it reaches over one bound at most.
    first + usize::from(BOUNDS.get(first).is_some_and(|bound| nanos > *bound))
}

/// The least time of a bin, in nanoseconds.
const fn least(bin: usize) -> u64 {
    let (doublings, step) = (bin / STEPS, bin % STEPS);
    if doublings == 0 {
        return (step as u64) << UNIT_BITS;
    }
    ((STEPS + step) as u64) << (doublings as u32 - 1 + UNIT_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn summary(of: &[&Histogram]) -> Summary {
        let mut summary = Summary::default();
        of.iter().for_each(|histogram| summary.add(histogram));
        summary
    }

    #[test]
    fn bins_follow_each_other_without_a_gap() {
        for bin in 0..BINS {
            assert!(least(bin) < least(bin + 1));
            assert_eq!(bin_of(least(bin)), bin);
            assert_eq!(bin_of(least(bin + 1) - 1), bin);
        }
        assert_eq!(bin_of(u64::MAX), BINS - 1);
        assert_eq!(least(BINS), 1 << TOP_BITS);
    }

    #[test]
    fn a_bucket_holds_exactly_what_is_no_longer_than_its_bound() {
        for (index, bound) in BOUNDS.into_iter().enumerate() {
            assert_eq!(bucket_of(bound, bin_of(bound)), index);
            assert_eq!(bucket_of(bound + 1, bin_of(bound + 1)), index + 1);
        }
        let (recorder, histogram) = Recorder::new();
        for ms in [1, 2, 3, 700, 60_000] {
            recorder.record(Duration::from_millis(ms));
        }
        let summary = summary(&[&histogram]);
        let cumulative: Vec<_> = summary.buckets().map(|(_, count, _)| count).collect();
        assert_eq!(cumulative, [0, 0, 0, 1, 2, 3, 3, 3, 3, 3, 3, 3, 4, 4, 4, 4, 5]);
        assert!((summary.sum_seconds() - 60.706).abs() < 1e-9);
    }

    #[test]
    fn a_bucket_shows_a_recent_example_of_all_threads() {
        let (one, first) = Recorder::new();
        let (other, second) = Recorder::new();
        let took = Duration::from_millis(3);
        one.record_example(Example { trace: 1 << 100 | 7, took, unix_ms: 5_000 });
        other.record_example(Example { trace: 8, took, unix_ms: 6_000 });
        other.record_example(Example { trace: 9, took, unix_ms: 6_999 });
        let example = |of: &[&Histogram]| summary(of).buckets().find_map(|(_, _, example)| example).unwrap();
        assert_eq!(example(&[&first]).trace, 1 << 100 | 7);
        assert_eq!(example(&[&first, &second]), Example { trace: 8, took, unix_ms: 6_000 });
        assert_eq!(example(&[&second, &first]).trace, 8);
    }

    #[test]
    fn a_reader_never_sees_half_an_example() {
        let (recorder, histogram) = Recorder::new();
        let reader = std::thread::spawn(move || {
            let mut seen = 0;
            while seen < 20_000 {
                let Some(example) = histogram.examples[5].get() else { continue };
                assert_eq!((example.trace >> 64) as u64, example.trace as u64);
                assert_eq!(example.unix_ms, example.trace as u64);
                seen += 1;
            }
        });
        let mut n = 0;
        while !reader.is_finished() {
            n += EXAMPLE_MS;
            let trace = u128::from(n) << 64 | u128::from(n);
            recorder.record_example(Example { trace, took: Duration::from_millis(4), unix_ms: n });
        }
        reader.join().unwrap();
    }

    proptest! {
        #[test]
        fn quantiles_are_right_to_a_thirty_second(
            mut times in prop::collection::vec(prop_oneof![0u64..10_000, 0u64..1_000_000_000, 0u64..200_000_000_000], 1..300),
            fraction in 0.0f64..=1.0, parts in 1usize..4,
        ) {
            let threads: Vec<_> = (0..parts).map(|_| Recorder::new()).collect();
            for (n, time) in times.iter().enumerate() {
                threads[n % parts].0.record(Duration::from_nanos(*time));
            }
            let summary = summary(&threads.iter().map(|(_, histogram)| &**histogram).collect::<Vec<_>>());
            times.sort_unstable();
            let rank = ((times.len() as f64 * fraction).ceil() as usize).max(1);
            let exact = times[rank - 1] as f64;
            let found = summary.quantile(fraction).unwrap().as_nanos() as f64;
            prop_assert!((found - exact).abs() <= (exact / 32.0).max(128.0), "{} {}", found, exact);
            prop_assert_eq!(summary.count(), times.len() as u64);
            for (bound, count, _) in summary.buckets() {
                prop_assert_eq!(count, times.iter().filter(|time| **time as f64 <= bound * 1e9).count() as u64);
            }
        }
    }
}
