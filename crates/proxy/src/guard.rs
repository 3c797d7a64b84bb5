//! What guards calls, as state: one [`Guarded`] per route (or call) and service behind it. It outlives route
//! tables: a breaker that is open stays open when the file changes.

use std::sync::Arc;
use std::time::Duration;

use manifest::spec::{self, Priority, ServiceName};
use registry::Moment;

use crate::failure::{Failure, Kind};
use crate::policy::breaker::{Order, Pass, Seen};
use crate::policy::budget::RetryBudget;
use crate::policy::bulkhead::{self, Full, Why};
use crate::policy::rate::RateTable;
use crate::policy::{self, Book};
use crate::stale;

/// Parts the names of a route and a service in the book. Neither has one in it.
const AND: char = '\n';

/// The guards of one route towards one service.
#[derive(Debug)]
pub(crate) struct Guarded {
    service: ServiceName,
    machines: policy::Guards,
}

/// A guarded call as people see it.
#[derive(Clone, Debug)]
pub struct GuardState {
    /// The route: `GET /books/{id}`, or `orders -> payments` in the mesh.
    pub route: String,
    /// The service behind it.
    pub service: ServiceName,
    /// Its breaker; `None`: it has none.
    pub breaker: Option<Seen>,
    /// Requests under way, waiting, and at most.
    pub load: bulkhead::Load,
    /// Requests at once that the adaptive limit allows those of normal priority; `None`: it has none.
    pub adaptive: Option<u32>,
    /// Requests of the last seconds.
    pub requests: u64,
    /// Further tries among them.
    pub retries: u64,
}

/// Every guarded call of an app, over all its route tables.
#[derive(Debug, Default)]
pub struct Guards {
    book: Book,
    /// Answers kept for fallbacks.
    pub(crate) stale: Arc<stale::Store>,
}

impl Guards {
    /// The guards of a call, with what `rule` says from now on. For compiling tables.
    pub(crate) fn of(&self, route: &str, service: &ServiceName, rule: &spec::Guard) -> Arc<Guarded> {
        let machines = self.book.guards(&format!("{route}{AND}{service}"), rule, Moment::now());
        Arc::new(Guarded { service: service.clone(), machines })
    }

    /// Forgets the calls of which no table knows any more.
    pub(crate) fn keep(&self, is_known: impl Fn(&str, &str) -> bool) {
        self.book
            .retain(|name| name.split_once(AND).is_some_and(|(route, service)| is_known(route, service)));
    }

    /// The counts of all rate limits.
    pub(crate) fn rates(&self) -> &Arc<RateTable> {
        self.book.rates()
    }

    /// Every guarded call, by route.
    pub fn states(&self) -> Vec<GuardState> {
        let now = Moment::now();
        let state = |(name, machines): (String, policy::Guards)| {
            let (route, service) = name.split_once(AND)?;
            let spent = machines.budget.spent(now);
            Some(GuardState {
                route: route.to_owned(),
                service: service.parse().ok()?,
                breaker: machines.breaker.as_ref().map(|breaker| breaker.seen(now)),
                load: machines.bulkhead.load(),
                adaptive: machines.adaptive.as_ref().map(|limit| limit.limit_of(Priority::Normal)),
                requests: spent.total,
                retries: spent.first,
            })
        };
        self.book.all().into_iter().filter_map(state).collect()
    }

    /// Holds the breakers of a route open or closed, or lets them judge again. Says how many there are.
    pub fn order(&self, route: &str, order: Order) -> usize {
        let now = Moment::now();
        let is_of_route = |name: &str| name.split_once(AND).is_some_and(|(name, _)| name == route);
        let all = self.book.all().into_iter().filter(|(name, _)| is_of_route(name));
        let breakers: Vec<_> = all.filter_map(|(_, machines)| machines.breaker).collect();
        breakers.iter().for_each(|breaker| breaker.order(order, now));
        breakers.len()
    }
}

/// A request's place with its service, held to the last byte of its answer.
#[derive(Debug)]
pub(crate) struct Place {
    guarded: Arc<Guarded>,
    since: Moment,
    _permit: bulkhead::Permit,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.guarded.machines.bulkhead.observe(Moment::now().since(self.since));
    }
}

/// How a try ended, as far as its guards care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    /// Without an answer, or with one that tells of a failure.
    pub(crate) failed: bool,
    /// In a way that speaks of too much load: too late, or refused for it.
    pub(crate) overloaded: bool,
}

impl Guarded {
    /// How many further tries there may be.
    pub(crate) fn budget(&self) -> &RetryBudget {
        &self.machines.budget
    }

    /// A place for a request, if need be after a wait, which the caller ends at `deadline`.
    pub(crate) async fn enter(
        self: &Arc<Self>,
        priority: Priority,
        deadline: Moment,
        now: Moment,
    ) -> Result<Place, Failure> {
        if let Some(adaptive) = &self.machines.adaptive {
            adaptive.admit(self.machines.bulkhead.load().in_use, priority).map_err(|shed| {
                let detail = format!("`{}` carries {} such requests at once now", self.service, shed.limit);
                Failure::new(Kind::Shed, detail).retry_after(shed.retry_after)
            })?;
        }
        if let Some(permit) = self.machines.bulkhead.try_acquire() {
            return Ok(Place { guarded: Arc::clone(self), since: now, _permit: permit });
        }
        let permit = self.machines.bulkhead.acquire(deadline, priority, now).await;
        let permit = permit.map_err(|full| self.full(full))?;
        Ok(Place { guarded: Arc::clone(self), since: Moment::now(), _permit: permit })
    }

    fn full(&self, full: Full) -> Failure {
        let service = &self.service;
        let detail = match full.why {
            Why::QueueFull => format!("too many requests to `{service}` are under way and waiting"),
            Why::TooLate => format!("a place at `{service}` would come free after the deadline"),
            Why::PushedOut => format!("more important requests to `{service}` came in between"),
        };
        Failure::new(Kind::BulkheadFull, detail).retry_after(full.retry_after)
    }

    /// Whether a try may be made.
    pub(crate) fn admit(&self, now: Moment) -> Result<Option<Pass>, Failure> {
        let Some(breaker) = &self.machines.breaker else { return Ok(None) };
        breaker.admit(now).map(Some).map_err(|refused| {
            let detail = format!("the breaker towards `{}` is open", self.service);
            Failure::new(Kind::BreakerOpen, detail).retry_after(refused.retry_after)
        })
    }

    /// What became of a try.
    pub(crate) fn record(&self, pass: Option<Pass>, ended: Ended, took: Duration, now: Moment) {
        if let (Some(breaker), Some(pass)) = (&self.machines.breaker, pass) {
            breaker.record(pass, ended.failed, took, now);
        }
        if let Some(adaptive) = &self.machines.adaptive {
            adaptive.observe(took, self.machines.bulkhead.load().in_use, ended.overloaded, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::breaker::State;

    #[test]
    fn a_breaker_is_held_by_the_name_of_its_route_and_stays_so_in_the_next_table() {
        let guards = Guards::default();
        let web: ServiceName = "web".parse().unwrap();
        let rule = spec::Guard::default();
        let old = guards.of("GET /", &web, &rule);
        assert_eq!(guards.order("GET /", Order::Open), 1);
        assert_eq!(guards.order("GET /x", Order::Open), 0);
        let refused = old.admit(Moment::now()).unwrap_err();
        assert_eq!(refused.kind, Kind::BreakerOpen);
        assert!(guards.of("GET /", &web, &rule).admit(Moment::now()).is_err());
        assert_eq!(guards.states()[0].breaker.unwrap().state, State::HeldOpen);
        guards.keep(|route, service| (route, service) != ("GET /", "web"));
        assert!(guards.states().is_empty());
        let off = spec::Guard { breaker: None, ..rule };
        assert!(guards.of("GET /", &web, &off).admit(Moment::now()).unwrap().is_none());
    }
}
