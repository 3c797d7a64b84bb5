//! One instance as the data path sees it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use manifest::spec::{InstanceId, Outlier};
use tokio::sync::Notify;

use crate::Moment;
use crate::latency::Latency;
use crate::moment::nanos;
use crate::outlier::Strikes;

/// Failures to connect in a row after which an endpoint leaves the balancer until a check passes again.
pub const PASSIVE_FAILURES: u32 = 3;

/// The share of its requests that an endpoint takes at the very beginning of its slow start.
const SLOWEST_START: f32 = 0.1;

/// An address behind which one instance listens, with what the data path counts about it.
#[derive(Debug)]
pub struct Endpoint {
    id: InstanceId,
    address: SocketAddr,
    hash: u64,
    idle: Notify,
    suspect: Notify,
    counts: Counts,
}

/// What threads write while requests pass. On cache lines of its own: threads on different cores write the
/// counters of different endpoints at once.
#[derive(Debug)]
#[repr(align(128))]
struct Counts {
    accepting: AtomicBool,
    in_flight: AtomicU32,
    /// Failures to connect in a row.
    failures: AtomicU32,
    requests: AtomicU64,
    /// Failures that may be its fault, since it was registered.
    failed: AtomicU64,
    ejections: AtomicU64,
    latency: Latency,
    strikes: Strikes,
    /// When the data path first saw it ready, in nanoseconds; zero: not yet.
    ready_since: AtomicU64,
}

impl Endpoint {
    /// An endpoint that takes requests.
    pub fn new(id: InstanceId, address: SocketAddr) -> Self {
        let counts = Counts {
            accepting: AtomicBool::new(true),
            in_flight: AtomicU32::new(0),
            failures: AtomicU32::new(0),
            requests: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            ejections: AtomicU64::new(0),
            latency: Latency::default(),
            strikes: Strikes::default(),
            ready_since: AtomicU64::new(0),
        };
        let hash = fnv1a(id.name().as_bytes());
        Self { id, address, hash, idle: Notify::new(), suspect: Notify::new(), counts }
    }

    /// Whose endpoint it is.
    pub fn id(&self) -> &InstanceId {
        &self.id
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it is called by consistent hashing: the same for every run of one replica, in every process.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Exchanges under way.
    pub fn in_flight(&self) -> u32 {
        self.counts.in_flight.load(Ordering::Relaxed)
    }

    /// Exchanges begun since it was registered.
    pub fn requests(&self) -> u64 {
        self.counts.requests.load(Ordering::Relaxed)
    }

    /// Exchanges since it was registered that failed in a way that may be its fault.
    pub fn failures(&self) -> u64 {
        self.counts.failed.load(Ordering::Relaxed)
    }

    /// How often it was ejected since it was registered.
    pub fn ejections(&self) -> u64 {
        self.counts.ejections.load(Ordering::Relaxed)
    }

    /// Takes a place for one exchange, or `None` when the endpoint is leaving the balancer.
    ///
    /// The count is raised before the flag is read, and [`Self::drain`] lowers the flag before it reads
    /// the count (both sequentially consistent): either the drain sees this exchange, or this sees the
    /// drain. So no exchange can slip past a finished drain.
    pub fn acquire(self: &Arc<Self>) -> Option<Lease> {
        self.counts.in_flight.fetch_add(1, Ordering::SeqCst);
        let lease = Lease { endpoint: Arc::clone(self) };
        if !self.counts.accepting.load(Ordering::SeqCst) {
            return None; // dropping the lease gives the place back and wakes the drain
        }
        self.counts.requests.fetch_add(1, Ordering::Relaxed);
        Some(lease)
    }

    /// Whether it takes new exchanges.
    pub fn is_accepting(&self) -> bool {
        self.counts.accepting.load(Ordering::SeqCst)
    }

    /// Takes no new exchanges from now on, for good.
    pub fn close(&self) {
        self.counts.accepting.store(false, Ordering::SeqCst);
    }

    /// Takes no new exchanges from now on and waits up to `limit` for those under way. Returns how many
    /// are left.
    pub async fn drain(&self, limit: Duration) -> u32 {
        self.close();
        let emptied = async {
            loop {
                let idle = self.idle.notified();
                tokio::pin!(idle);
                idle.as_mut().enable(); // registered before the look, so that no wake is missed
                if self.counts.in_flight.load(Ordering::SeqCst) == 0 {
                    return;
                }
                idle.await;
            }
        };
        match tokio::time::timeout(limit, emptied).await {
            // Not read again: a place taken only to be refused may raise the count for a moment.
            Ok(()) => 0,
            Err(_) => self.counts.in_flight.load(Ordering::SeqCst),
        }
    }

    /// The data path could not connect, or the connection broke before an answer. After
    /// [`PASSIVE_FAILURES`] in a row the registry is asked to look at once.
    pub fn record_failure(&self) {
        if self.counts.failures.fetch_add(1, Ordering::Relaxed) + 1 >= PASSIVE_FAILURES {
            self.suspect.notify_one();
        }
    }

    /// The instance answered.
    pub fn record_success(&self) {
        if self.counts.failures.load(Ordering::Relaxed) != 0 {
            self.counts.failures.store(0, Ordering::Relaxed);
        }
    }

    /// Forgets the failures so far: the instance has passed a check since. Its slow start begins anew.
    pub fn forgive(&self) {
        self.counts.failures.store(0, Ordering::Relaxed);
        self.counts.strikes.success();
        self.counts.ready_since.store(0, Ordering::Relaxed);
    }

    /// Waits until the data path has seen [`PASSIVE_FAILURES`] failures in a row.
    pub async fn suspected(&self) {
        loop {
            self.suspect.notified().await;
            if self.counts.failures.load(Ordering::Relaxed) >= PASSIVE_FAILURES {
                return;
            }
        }
    }
}

/// What balancing learns from exchanges and asks before the next. `now` is the request's one reading of the
/// clock, or a later one.
impl Endpoint {
    /// An exchange went well: its answer's head took so long. No read-modify-write.
    pub fn succeeded(&self, took: Duration, now: Moment) {
        self.counts.latency.observe(took, now);
        self.counts.strikes.success();
    }

    /// An exchange failed in a way that may be the instance's fault (statuses 502, 503, 504, a lost connection,
    /// a try out of time). It is wanted less from now on; with a rule, enough failures in a row eject it. True:
    /// just now.
    pub fn failed(&self, took: Duration, rule: Option<&Outlier>, now: Moment) -> bool {
        self.counts.failed.fetch_add(1, Ordering::Relaxed);
        self.counts.latency.observe_failure(took, now);
        let ejected = rule.is_some_and(|rule| self.counts.strikes.failure(rule, now));
        if ejected {
            self.counts.ejections.fetch_add(1, Ordering::Relaxed);
        }
        ejected
    }

    /// An exchange that nobody waits for any more had taken so long already: it is at least that slow.
    pub fn outrun(&self, took: Duration, now: Moment) {
        if self.latency(now).is_none_or(|expected| took > expected) {
            self.counts.latency.observe(took, now);
        }
    }

    /// What another request would cost here, in nanoseconds: peak EWMA × (requests under way + 1). Nothing for
    /// an endpoint that nobody knows and that is idle: somebody should try it. Very much for one that is being
    /// tried for the first time: its first answer comes before the crowd.
    pub fn cost(&self, now: Moment) -> f32 {
        let in_flight = self.in_flight() as f32;
        match self.counts.latency.expected(now) {
            Some(expected) => expected * (in_flight + 1.0),
            None if in_flight == 0.0 => 0.0,
            None => 1e15 * in_flight,
        }
    }

    /// The time that an answer's head is expected to take; `None`: nothing is known yet.
    pub fn latency(&self, now: Moment) -> Option<Duration> {
        self.counts.latency.expected(now).map(|nanos| Duration::from_nanos(nanos as u64))
    }

    /// What it has done lately: whether and until when it is ejected, failures in a row.
    pub fn strikes(&self) -> &Strikes {
        &self.counts.strikes
    }

    /// The share of its requests that it takes during slow start, from 0.1 up to 1. The start is when this was
    /// first asked since the endpoint became ready: an instance warms up by requests, not by waiting for them.
    pub fn warmth(&self, slow_start: Duration, now: Moment) -> f32 {
        if slow_start.is_zero() {
            return 1.0;
        }
        let mut since = self.counts.ready_since.load(Ordering::Relaxed);
        if since == 0 {
            since = now.nanos();
            self.counts.ready_since.store(since, Ordering::Relaxed);
        }
        let passed = now.nanos().saturating_sub(since);
        (passed as f32 / nanos(slow_start) as f32).clamp(SLOWEST_START, 1.0)
    }
}

/// FNV-1a, 64 bits: the same everywhere and always, unlike the standard library's.
fn fnv1a(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for byte in bytes {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash
}

/// A place for one exchange on an endpoint; dropping it gives the place back.
#[derive(Debug)]
pub struct Lease {
    endpoint: Arc<Endpoint>,
}

impl Lease {
    /// The endpoint.
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let before = self.endpoint.counts.in_flight.fetch_sub(1, Ordering::SeqCst);
        if before == 1 && !self.endpoint.counts.accepting.load(Ordering::SeqCst) {
            self.endpoint.idle.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint() -> Arc<Endpoint> {
        Arc::new(Endpoint::new("web-1#1".parse().unwrap(), ([127, 0, 0, 1], 1).into()))
    }

    #[tokio::test]
    async fn a_drain_waits_for_exchanges_under_way_and_lets_none_begin() {
        let web = endpoint();
        let lease = web.acquire().unwrap();
        let drain = web.drain(Duration::from_secs(10));
        let finish = async {
            tokio::task::yield_now().await;
            assert!(web.acquire().is_none());
            drop(lease);
        };
        let (left, ()) = tokio::join!(drain, finish);
        assert_eq!(left, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_gives_up_at_its_limit_and_says_how_many_are_left() {
        let web = endpoint();
        let _lease = web.acquire().unwrap();
        assert_eq!(web.drain(Duration::from_secs(1)).await, 1);
    }

    #[tokio::test]
    async fn three_failures_in_a_row_raise_suspicion_and_a_success_between_them_does_not() {
        let web = endpoint();
        web.record_failure();
        web.record_failure();
        web.record_success();
        web.record_failure();
        let calm = tokio::time::timeout(Duration::from_millis(5), web.suspected()).await;
        assert!(calm.is_err());
        web.record_failure();
        web.record_failure();
        web.suspected().await;
    }

    /// Threads take and give back places as fast as they can while the endpoint is drained.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_exchange_slips_past_a_finished_drain() {
        for _ in 0..200 {
            let web = endpoint();
            let drained = AtomicBool::new(false);
            std::thread::scope(|threads| {
                for _ in 0..3 {
                    threads.spawn(|| {
                        while let Some(lease) = web.acquire() {
                            assert!(
                                !drained.load(Ordering::SeqCst),
                                "an exchange is under way after the drain"
                            );
                            drop(lease);
                        }
                    });
                }
                let drain = web.drain(Duration::from_secs(10));
                let left = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(drain));
                drained.store(true, Ordering::SeqCst);
                assert_eq!(left, 0);
            });
        }
    }

    #[tokio::test]
    async fn failures_before_a_pardon_do_not_count_and_none_after_it_is_missed() {
        let web = endpoint();
        for _ in 0..100 {
            for _ in 0..5 {
                web.record_failure();
            }
            web.suspected().await;
            web.record_failure(); // an exchange from before comes to its end late
            web.forgive();
            let calm = futures_util::future::poll_immediate(web.suspected()).await;
            assert!(calm.is_none());
        }
    }

    fn at(ms: u64) -> Moment {
        Moment::from_nanos(1 << 40) + Duration::from_millis(ms)
    }

    #[test]
    fn an_endpoint_that_nobody_knows_is_tried_by_one_request_first() {
        let web = endpoint();
        assert_eq!(web.cost(at(0)), 0.0);
        let first = web.acquire().unwrap();
        let known = endpoint();
        known.succeeded(Duration::from_secs(9), at(0));
        assert!(web.cost(at(0)) > known.cost(at(0)) * 1000.0);
        web.succeeded(Duration::from_millis(1), at(5));
        drop(first);
        assert_eq!(web.cost(at(5)), 1e6);
        let _second = web.acquire().unwrap();
        assert_eq!(web.cost(at(5)), 2e6);
    }

    #[test]
    fn an_exchange_that_was_given_up_makes_slower_but_never_faster() {
        let web = endpoint();
        web.succeeded(Duration::from_millis(10), at(0));
        web.outrun(Duration::from_millis(1), at(1));
        assert!(web.latency(at(1)) > Some(Duration::from_millis(9)));
        web.outrun(Duration::from_millis(80), at(2));
        assert_eq!(web.latency(at(2)), Some(Duration::from_millis(80)));
    }

    #[test]
    fn a_new_endpoint_warms_up_from_its_first_request_and_again_after_it_was_away() {
        let web = endpoint();
        let slow_start = Duration::from_secs(10);
        assert_eq!(web.warmth(Duration::ZERO, at(0)), 1.0);
        assert_eq!(web.warmth(slow_start, at(60_000)), 0.1);
        assert_eq!(web.warmth(slow_start, at(65_000)), 0.5);
        assert_eq!(web.warmth(slow_start, at(80_000)), 1.0);
        web.forgive();
        assert_eq!(web.warmth(slow_start, at(90_000)), 0.1);
    }

    #[test]
    fn runs_of_one_replica_have_the_same_hash_and_replicas_do_not() {
        let named = |id: &str| Endpoint::new(id.parse().unwrap(), ([127, 0, 0, 1], 1).into()).hash();
        assert_eq!(named("web-1#1"), named("web-1#9"));
        assert_ne!(named("web-1#1"), named("web-2#1"));
    }

    #[test]
    fn failures_in_a_row_eject_only_where_there_is_a_rule() {
        let web = endpoint();
        for _ in 0..100 {
            assert!(!web.failed(Duration::ZERO, None, at(0)));
        }
        let rule = Outlier::default();
        let ejected = (0..rule.failures).filter(|_| web.failed(Duration::ZERO, Some(&rule), at(0))).count();
        assert_eq!(ejected, 1);
        assert_eq!((web.failures(), web.ejections()), (105, 1));
        assert!(web.strikes().is_ejected(at(4_999)) && !web.strikes().is_ejected(at(5_000)));
    }
}
