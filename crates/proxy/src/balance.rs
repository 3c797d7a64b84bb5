//! Which instance answers: of two drawn at random the one with fewer exchanges under way (Mitzenmacher,
//! "The Power of Two Choices in Randomized Load Balancing", 2001). Where none is ready but one is on its
//! way, the request waits for it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use manifest::spec::InstanceId;
use rand::RngExt;
use registry::{Endpoint, Lease, Upstream};

use crate::failure::{Failure, Kind};

/// How many requests of one thread wait, per upstream.
#[derive(Default)]
pub(crate) struct Waiting {
    /// By the address of the upstream, which the table of each waiting request keeps alive.
    counts: RefCell<HashMap<usize, u32>>,
}

/// One waiting request's place.
struct Place {
    waiting: Rc<Waiting>,
    key: usize,
}

impl Waiting {
    fn enter(self: &Rc<Self>, upstream: &Arc<Upstream>, limit: u32) -> Result<Place, Failure> {
        let key = Arc::as_ptr(upstream).addr();
        let mut counts = self.counts.borrow_mut();
        let count = counts.entry(key).or_default();
        if *count >= limit {
            let detail = format!("{limit} requests wait for `{}` already", upstream.service());
            return Err(Failure::new(Kind::WaitingFull, detail));
        }
        *count += 1;
        Ok(Place { waiting: Rc::clone(self), key })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.waiting.counts.borrow_mut();
        if let Some(count) = counts.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.key);
            }
        }
    }
}

/// A place on an instance, rather not on `avoid`. Waits while one is expected; the caller bounds the time.
pub(crate) async fn pick(
    upstream: &Arc<Upstream>,
    waiting: &Rc<Waiting>,
    limit: u32,
    avoid: Option<&InstanceId>,
) -> Result<Lease, Failure> {
    if let Some(lease) = choose(&upstream.load().ready, avoid) {
        return Ok(lease);
    }
    let mut place = None;
    let mut changed = upstream.subscribe();
    loop {
        {
            let endpoints = upstream.load(); // after the subscription: no snapshot is missed between them
            if let Some(lease) = choose(&endpoints.ready, avoid) {
                return Ok(lease);
            }
            // One that is listed but takes nothing any more is being replaced: the next snapshot tells.
            if !endpoints.expected && endpoints.ready.is_empty() {
                let detail =
                    format!("no instance of `{}` is ready, and none is starting", upstream.service());
                return Err(Failure::new(Kind::NoInstance, detail));
            }
        }
        if place.is_none() {
            place = Some(waiting.enter(upstream, limit)?);
        }
        if changed.changed().await.is_err() {
            let detail = format!("`{}` is gone", upstream.service());
            return Err(Failure::new(Kind::NoInstance, detail));
        }
    }
}

/// Takes a place on one of the ready endpoints, if any gives one.
fn choose(ready: &[Arc<Endpoint>], avoid: Option<&InstanceId>) -> Option<Lease> {
    let count = ready.len();
    if count < 2 {
        return ready.first()?.acquire();
    }
    let mut rng = rand::rng();
    let first = rng.random_range(0..count);
    let second = (first + rng.random_range(1..count)) % count;
    let cost = |index: usize| (avoid == Some(ready[index].id()), ready[index].in_flight());
    let (better, worse) = if cost(second) < cost(first) { (second, first) } else { (first, second) };
    let drawn = [better, worse].into_iter().filter(|index| avoid != Some(ready[*index].id()));
    let lease = drawn.into_iter().find_map(|index| ready[index].acquire());
    // Both were leaving: any other, and in the end the one that was to be avoided.
    lease.or_else(|| {
        let mut others = ready.iter().filter(|endpoint| avoid != Some(endpoint.id()));
        others.find_map(Endpoint::acquire).or_else(|| ready.iter().find_map(Endpoint::acquire))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use registry::Endpoints;

    fn endpoint(n: u16) -> Arc<Endpoint> {
        let id = format!("web-{n}#1").parse().unwrap();
        Arc::new(Endpoint::new(id, ([127, 0, 0, 1], n).into()))
    }

    fn upstream() -> Arc<Upstream> {
        registry::Directory::default().upstream(&"web".parse().unwrap())
    }

    #[test]
    fn of_two_the_less_busy_is_chosen() {
        let ready = [endpoint(1), endpoint(2)];
        let busy = ready[0].acquire().unwrap();
        for _ in 0..50 {
            assert_eq!(choose(&ready, None).unwrap().endpoint().id(), ready[1].id());
        }
        drop(busy);
    }

    #[test]
    fn load_spreads_over_many() {
        let ready: Vec<_> = (1..=8).map(endpoint).collect();
        let held: Vec<_> = (0..800).map(|_| choose(&ready, None).unwrap()).collect();
        for endpoint in &ready {
            assert!((90..=110).contains(&endpoint.in_flight()), "{}", endpoint.in_flight());
        }
        drop(held);
    }

    #[test]
    fn what_just_failed_is_avoided_while_there_is_another() {
        let ready = [endpoint(1), endpoint(2), endpoint(3)];
        for _ in 0..50 {
            assert_ne!(choose(&ready, Some(ready[1].id())).unwrap().endpoint().id(), ready[1].id());
        }
        assert!(choose(&ready[1..2], Some(ready[1].id())).is_some());
    }

    #[tokio::test]
    async fn one_that_is_leaving_is_passed_over() {
        let ready = [endpoint(1), endpoint(2), endpoint(3)];
        ready[0].drain(Duration::ZERO).await;
        ready[2].drain(Duration::ZERO).await;
        for _ in 0..20 {
            assert_eq!(choose(&ready, None).unwrap().endpoint().id(), ready[1].id());
        }
        ready[1].drain(Duration::ZERO).await;
        assert!(choose(&ready, None).is_none());
    }

    #[tokio::test]
    async fn a_request_waits_while_one_is_expected_and_no_longer() {
        let upstream = upstream();
        let waiting = Rc::new(Waiting::default());
        upstream.publish(Endpoints { ready: Vec::new(), expected: true });
        let publish = async {
            tokio::task::yield_now().await;
            upstream.publish(Endpoints { ready: vec![endpoint(1)], expected: false });
        };
        let (lease, ()) = tokio::join!(pick(&upstream, &waiting, 1, None), publish);
        assert!(lease.is_ok());
        upstream.publish(Endpoints::default());
        assert_eq!(pick(&upstream, &waiting, 1, None).await.unwrap_err().kind, Kind::NoInstance);
        assert!(waiting.counts.borrow().is_empty());
    }

    #[tokio::test]
    async fn only_so_many_requests_wait() {
        let upstream = upstream();
        let waiting = Rc::new(Waiting::default());
        upstream.publish(Endpoints { ready: Vec::new(), expected: true });
        let first = pick(&upstream, &waiting, 1, None);
        let second = async {
            tokio::task::yield_now().await;
            pick(&upstream, &waiting, 1, None).await
        };
        tokio::select! {
            biased;
            _ = first => panic!("nothing is ready"),
            refused = second => assert_eq!(refused.unwrap_err().kind, Kind::WaitingFull),
        }
    }
}
