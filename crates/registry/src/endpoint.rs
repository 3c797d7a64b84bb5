//! One instance as the data path sees it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use manifest::spec::InstanceId;
use tokio::sync::Notify;

/// Failures to connect in a row after which an endpoint leaves the balancer until a check passes again.
pub const PASSIVE_FAILURES: u32 = 3;

/// An address behind which one instance listens, with what the data path counts about it. Cache-line
/// aligned: threads on different cores write the counters of different endpoints at once.
#[derive(Debug)]
#[repr(align(128))]
pub struct Endpoint {
    id: InstanceId,
    address: SocketAddr,
    accepting: AtomicBool,
    in_flight: AtomicU32,
    failures: AtomicU32,
    requests: AtomicU64,
    idle: Notify,
    suspect: Notify,
}

impl Endpoint {
    /// An endpoint that takes requests.
    pub fn new(id: InstanceId, address: SocketAddr) -> Self {
        Self {
            id,
            address,
            accepting: AtomicBool::new(true),
            in_flight: AtomicU32::new(0),
            failures: AtomicU32::new(0),
            requests: AtomicU64::new(0),
            idle: Notify::new(),
            suspect: Notify::new(),
        }
    }

    /// Whose endpoint it is.
    pub fn id(&self) -> &InstanceId {
        &self.id
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Exchanges under way.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Exchanges begun since it was registered.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Takes a place for one exchange, or `None` when the endpoint is leaving the balancer.
    ///
    /// The count is raised before the flag is read, and [`Self::drain`] lowers the flag before it reads
    /// the count (both sequentially consistent): either the drain sees this exchange, or this sees the
    /// drain. So no exchange can slip past a finished drain.
    pub fn acquire(self: &Arc<Self>) -> Option<Lease> {
        self.in_flight.fetch_add(1, Ordering::SeqCst);
        let lease = Lease { endpoint: Arc::clone(self) };
        if !self.accepting.load(Ordering::SeqCst) {
            return None; // dropping the lease gives the place back and wakes the drain
        }
        self.requests.fetch_add(1, Ordering::Relaxed);
        Some(lease)
    }

    /// Whether it takes new exchanges.
    pub fn is_accepting(&self) -> bool {
        self.accepting.load(Ordering::SeqCst)
    }

    /// Takes no new exchanges from now on, for good.
    pub fn close(&self) {
        self.accepting.store(false, Ordering::SeqCst);
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
                if self.in_flight.load(Ordering::SeqCst) == 0 {
                    return;
                }
                idle.await;
            }
        };
        match tokio::time::timeout(limit, emptied).await {
            // Not read again: a place taken only to be refused may raise the count for a moment.
            Ok(()) => 0,
            Err(_) => self.in_flight.load(Ordering::SeqCst),
        }
    }

    /// The data path could not connect, or the connection broke before an answer. After
    /// [`PASSIVE_FAILURES`] in a row the registry is asked to look at once.
    pub fn record_failure(&self) {
        if self.failures.fetch_add(1, Ordering::Relaxed) + 1 >= PASSIVE_FAILURES {
            self.suspect.notify_one();
        }
    }

    /// The instance answered.
    pub fn record_success(&self) {
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    /// Forgets the failures so far: the instance has passed a check since.
    pub fn forgive(&self) {
        self.failures.store(0, Ordering::Relaxed);
    }

    /// Waits until the data path has seen [`PASSIVE_FAILURES`] failures in a row.
    pub async fn suspected(&self) {
        loop {
            self.suspect.notified().await;
            if self.failures.load(Ordering::Relaxed) >= PASSIVE_FAILURES {
                return;
            }
        }
    }
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
        let before = self.endpoint.in_flight.fetch_sub(1, Ordering::SeqCst);
        if before == 1 && !self.endpoint.accepting.load(Ordering::SeqCst) {
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
}
