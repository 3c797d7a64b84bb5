//! Which instance answers. [`crate::policy::choose`] decides; where none is ready but one is on its way, the
//! request waits for it.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use kit::units::Share;
use manifest::spec::{HashKey, InstanceId};
use registry::{Endpoint, Endpoints, Lease, Moment, Upstream};

use crate::exchange::Asked;
use crate::failure::{Failure, Kind};
use crate::fields::{Fields, Known};
use crate::policy::choose::Wish;
use crate::policy::hash;
use crate::table::Target;
use crate::thread::Thread;

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

/// A place on an instance, rather not on `avoid`, if there is one without a wait.
pub(crate) fn at_once(
    thread: &Thread,
    target: &Target,
    asked: &Asked,
    avoid: Option<&InstanceId>,
    now: Moment,
) -> Option<Lease> {
    let endpoints = target.upstream.load();
    let avoid = avoid.map(std::slice::from_ref).unwrap_or_default();
    let wish = Wish { key: key(target.hash.as_ref(), asked), avoid, random: thread.dice.roll(), now };
    target.chooser.lease(&usable(&endpoints, target.balance.panic), endpoints.known, &wish)
}

/// As [`at_once`], after a wait while one is expected; the caller bounds the time.
pub(crate) async fn pick(
    thread: &Thread,
    target: &Target,
    asked: &Asked,
    avoid: Option<&InstanceId>,
) -> Result<Lease, Failure> {
    let key = key(target.hash.as_ref(), asked);
    let avoid = avoid.map(std::slice::from_ref).unwrap_or_default();
    let choose = |ready: &[Arc<Endpoint>], known| {
        let wish = Wish { key, avoid, random: thread.dice.roll(), now: Moment::now() };
        target.chooser.lease(ready, known, &wish)
    };
    waiting(&target.upstream, target.balance.panic, &thread.waiting, thread.limits.waiting, choose).await
}

/// What the request says about where it should go.
fn key(hash: Option<&HashKey>, asked: &Asked) -> Option<u64> {
    match hash? {
        HashKey::Header(name) => asked.head.fields.get(name).map(hash::key),
        HashKey::Cookie(name) => cookie(&asked.head.fields, name).map(hash::key),
        HashKey::Client => match asked.peer.ip() {
            IpAddr::V4(ip) => Some(hash::key(&ip.octets())),
            IpAddr::V6(ip) => Some(hash::key(&ip.octets())),
        },
    }
}

/// The value of a cookie (RFC 6265 §4.2).
pub(crate) fn cookie<'a>(fields: &'a Fields, name: &str) -> Option<&'a [u8]> {
    let pairs = fields.all_known(Known::Cookie).flat_map(|line| line.split(|byte| *byte == b';'));
    pairs.map(<[u8]>::trim_ascii).find_map(|pair| {
        let at = pair.iter().position(|byte| *byte == b'=')?;
        (&pair[..at] == name.as_bytes()).then(|| &pair[at + 1..])
    })
}

/// The instances to choose from: the ready ones. When those are fewer than the share `panic` of all that are known,
/// those that only the data path suspects as well: a bad one may answer, none certainly does not. Who waits for
/// an instance that is on its way does better than that.
fn usable(endpoints: &Endpoints, panic: Share) -> Cow<'_, [Arc<Endpoint>]> {
    let ready = endpoints.ready.as_slice();
    let enough = |known: usize| panic.is_reached(ready.len() as u64, known as u64);
    let awaited = ready.is_empty() && endpoints.expected;
    if endpoints.suspected.is_empty() || awaited || enough(endpoints.known) {
        return ready.into();
    }
    [ready, &endpoints.suspected].concat().into()
}

async fn waiting(
    upstream: &Arc<Upstream>,
    panic: Share,
    waiting: &Rc<Waiting>,
    limit: u32,
    mut choose: impl FnMut(&[Arc<Endpoint>], usize) -> Option<Lease>,
) -> Result<Lease, Failure> {
    {
        let endpoints = upstream.load();
        if let Some(lease) = choose(&usable(&endpoints, panic), endpoints.known) {
            return Ok(lease);
        }
    }
    let mut place = None;
    let mut changed = upstream.subscribe();
    loop {
        {
            let endpoints = upstream.load(); // after the subscription: no snapshot is missed between them
            let usable = usable(&endpoints, panic);
            if let Some(lease) = choose(&usable, endpoints.known) {
                return Ok(lease);
            }
            // One that is listed but takes nothing any more is being replaced: the next snapshot tells.
            if !endpoints.expected && usable.is_empty() {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(n: u16) -> Arc<Endpoint> {
        let id = format!("web-{n}#1").parse().unwrap();
        Arc::new(Endpoint::new(id, ([127, 0, 0, 1], n).into()))
    }

    fn upstream() -> Arc<Upstream> {
        registry::Directory::default().upstream(&"web".parse().unwrap())
    }

    fn take_first(ready: &[Arc<Endpoint>], _known: usize) -> Option<Lease> {
        ready.first()?.acquire()
    }

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let mut fields = Fields::new();
        fields.push(b"Cookie", b"aid=1; id=2;x");
        fields.push(b"cookie", b" sid = 3");
        assert_eq!(cookie(&fields, "id"), Some(&b"2"[..]));
        assert_eq!(cookie(&fields, "sid"), None);
        assert_eq!(cookie(&fields, "x"), None);
    }

    #[test]
    fn with_too_few_ready_those_that_are_merely_suspected_are_used_as_well() {
        let of = |ready: u16, suspected: u16, known, expected| {
            let some = |range: std::ops::Range<u16>| range.map(endpoint).collect();
            let (ready, suspected) = (some(0..ready), some(10..10 + suspected));
            let endpoints = Endpoints { ready, suspected, known, expected };
            usable(&endpoints, Share::percent(50)).len()
        };
        assert_eq!(of(2, 2, 4, false), 2);
        assert_eq!(of(1, 2, 4, false), 3);
        assert_eq!(of(0, 1, 1, false), 1);
        assert_eq!(of(0, 1, 1, true), 0, "one is on its way");
        assert_eq!(of(1, 2, 4, true), 3);
        assert_eq!(of(3, 0, 0, false), 3);
        assert_eq!(of(0, 0, 3, false), 0);
    }

    #[tokio::test]
    async fn a_request_waits_while_one_is_expected_and_no_longer() {
        let upstream = upstream();
        let waiting = Rc::new(Waiting::default());
        upstream.publish(Endpoints { expected: true, ..Endpoints::default() });
        let publish = async {
            tokio::task::yield_now().await;
            upstream.publish(Endpoints { ready: vec![endpoint(1)], ..Endpoints::default() });
        };
        let (lease, ()) =
            tokio::join!(super::waiting(&upstream, Share::percent(50), &waiting, 1, take_first), publish);
        assert!(lease.is_ok());
        upstream.publish(Endpoints::default());
        assert_eq!(
            super::waiting(&upstream, Share::percent(50), &waiting, 1, take_first).await.unwrap_err().kind,
            Kind::NoInstance
        );
        assert!(waiting.counts.borrow().is_empty());
    }

    #[tokio::test]
    async fn only_so_many_requests_wait() {
        let upstream = upstream();
        let waiting = Rc::new(Waiting::default());
        upstream.publish(Endpoints { expected: true, ..Endpoints::default() });
        let first = super::waiting(&upstream, Share::percent(50), &waiting, 1, take_first);
        let second = async {
            tokio::task::yield_now().await;
            super::waiting(&upstream, Share::percent(50), &waiting, 1, take_first).await
        };
        tokio::select! {
            biased;
            _ = first => panic!("nothing is ready"),
            refused = second => assert_eq!(refused.unwrap_err().kind, Kind::WaitingFull),
        }
    }
}
