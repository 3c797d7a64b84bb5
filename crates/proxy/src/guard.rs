//! What guards calls, as state: one [`Guarded`] per route (or call) and service behind it. It outlives route
//! tables: a breaker that is open stays open when the file changes.
//!
//! What a service carries is found out once for all routes to it ([`Carried`]): only so can the requests of a
//! route make room for those of a more important one.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::StatusCode;
use manifest::spec::{self, Priority, ServiceName};
use registry::Moment;

use crate::failure::{Failure, Kind};
use crate::policy::adaptive::Adaptive;
use crate::policy::breaker::{Order, Pass, Seen};
use crate::policy::budget::RetryBudget;
use crate::policy::bulkhead::{self, Full, Why};
use crate::policy::rate::RateTable;
use crate::policy::{self, Book};
use crate::signals::{self, Label, RouteStats};
use crate::stale;

/// Parts the names of a route and a service in the book. Neither has one in it.
const AND: char = '\n';

/// The guards of one route towards one service.
#[derive(Debug)]
pub(crate) struct Guarded {
    service: ServiceName,
    machines: policy::Guards,
    /// `None`: the route does not ask for it.
    carried: Option<Arc<Carried>>,
}

/// How much one service carries, and how much it has, over all routes that ask for an adaptive limit.
#[derive(Debug)]
struct Carried {
    limit: Adaptive,
    under_way: AtomicU32,
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
    /// Requests at once that the adaptive limit of its service allows those of normal priority, over all routes;
    /// `None`: the route does not ask for one.
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
    /// By service.
    carried: Mutex<HashMap<ServiceName, Arc<Carried>>>,
    /// Answers kept for fallbacks.
    pub(crate) stale: Arc<stale::Store>,
    /// What is counted per route.
    pub(crate) signals: signals::Book,
}

impl Guards {
    /// The guards of a call, with what `rule` says from now on; `adaptive` is the limit of the whole service, which
    /// holds if the rule asks for one. For compiling tables.
    pub(crate) fn of(
        &self,
        route: &str,
        service: &ServiceName,
        rule: &spec::Guard,
        adaptive: Option<&spec::Adaptive>,
    ) -> Arc<Guarded> {
        let machines = self.book.guards(&format!("{route}{AND}{service}"), rule, Moment::now());
        let carried = rule.adaptive.as_ref().map(|own| self.carried(service, adaptive.unwrap_or(own)));
        Arc::new(Guarded { service: service.clone(), machines, carried })
    }

    fn carried(&self, service: &ServiceName, rule: &spec::Adaptive) -> Arc<Carried> {
        let mut all = self.carried.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(carried) = all.get(service) {
            carried.limit.reconfigure(rule);
            return Arc::clone(carried);
        }
        let limit = Adaptive::new(rule, Moment::now());
        let carried = Arc::new(Carried { limit, under_way: AtomicU32::new(0) });
        all.insert(service.clone(), Arc::clone(&carried));
        carried
    }

    /// Forgets the calls of which no table knows any more.
    pub(crate) fn keep(&self, is_known: impl Fn(&str, &str) -> bool) {
        self.book
            .retain(|name| name.split_once(AND).is_some_and(|(route, service)| is_known(route, service)));
        let all = self.book.all();
        let asks = |service: &ServiceName| {
            all.iter().any(|(name, machines)| {
                let of_it = name.split_once(AND).is_some_and(|(_, other)| other == service.as_str());
                of_it && machines.adaptive
            })
        };
        let mut carried = self.carried.lock().unwrap_or_else(PoisonError::into_inner);
        carried.retain(|service, _| asks(service));
    }

    /// The counts of all rate limits.
    pub(crate) fn rates(&self) -> &Arc<RateTable> {
        self.book.rates()
    }

    /// What every route has carried that has carried anything, in order.
    pub fn routes(&self) -> Vec<(Label, RouteStats)> {
        self.signals.stats()
    }

    /// Another number whenever [`Self::states`] tells of a change of a breaker, for whoever looks often.
    pub fn version(&self) -> u64 {
        self.book.version()
    }

    /// Every guarded call, by route.
    pub fn states(&self) -> Vec<GuardState> {
        let now = Moment::now();
        let carried = self.carried.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let state = |(name, machines): (String, policy::Guards)| {
            let (route, service) = name.split_once(AND)?;
            let service: ServiceName = service.parse().ok()?;
            let spent = machines.budget.spent(now);
            let carried = carried.get(&service).filter(|_| machines.adaptive);
            Some(GuardState {
                route: route.to_owned(),
                service,
                breaker: machines.breaker.as_ref().map(|breaker| breaker.seen(now)),
                load: machines.bulkhead.load(),
                adaptive: carried.map(|carried| carried.limit.limit_of(Priority::Normal)),
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
    _counted: Option<UnderWay>,
}

/// One more request under way at a service. Whoever drops it, and however: it is no more.
#[derive(Debug)]
struct UnderWay(Arc<Carried>);

impl UnderWay {
    fn new(carried: &Arc<Carried>) -> Self {
        carried.under_way.fetch_add(1, Relaxed);
        Self(Arc::clone(carried))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Relaxed);
    }
}

impl Place {
    /// Gives it back, and tells how long it was held.
    pub(crate) fn leave(self, now: Moment) {
        self.guarded.machines.bulkhead.observe(now.since(self.since));
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

impl Ended {
    /// With an answer that amounts to this status.
    pub(crate) fn answered(status: StatusCode) -> Self {
        let overloaded = matches!(status.as_u16(), 429 | 503);
        Self { failed: status.is_server_error(), overloaded }
    }

    /// Without one.
    pub(crate) fn unanswered(kind: Kind) -> Self {
        Self { failed: true, overloaded: matches!(kind, Kind::AnswerTimeout | Kind::ConnectionTimeout) }
    }
}

impl Guarded {
    /// How many further tries there may be.
    pub(crate) fn budget(&self) -> &RetryBudget {
        &self.machines.budget
    }

    /// A place for a request. `None`: there is none now, but it may be [waited](Self::wait) for.
    pub(crate) fn enter(self: &Arc<Self>, priority: Priority, now: Moment) -> Result<Option<Place>, Failure> {
        if let Some(carried) = &self.carried {
            carried.limit.admit(carried.under_way.load(Relaxed), priority).map_err(|shed| {
                let detail = format!("`{}` carries {} such requests at once now", self.service, shed.limit);
                Failure::new(Kind::Shed, detail).retry_after(shed.retry_after)
            })?;
        }
        Ok(self.machines.bulkhead.try_acquire().map(|permit| self.place(permit, now)))
    }

    /// A place after a wait, which the caller ends at `deadline`.
    pub(crate) async fn wait(
        self: &Arc<Self>,
        priority: Priority,
        deadline: Moment,
        now: Moment,
    ) -> Result<Place, Failure> {
        let permit = self.machines.bulkhead.acquire(deadline, priority, now).await;
        Ok(self.place(permit.map_err(|full| self.full(full))?, Moment::now()))
    }

    fn place(self: &Arc<Self>, permit: bulkhead::Permit, since: Moment) -> Place {
        let counted = self.carried.as_ref().map(UnderWay::new);
        Place { guarded: Arc::clone(self), since, _permit: permit, _counted: counted }
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
        if let Some(carried) = &self.carried {
            carried.limit.observe(took, carried.under_way.load(Relaxed), ended.overloaded, now);
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
        let old = guards.of("GET /", &web, &rule, None);
        assert_eq!(guards.order("GET /", Order::Open), 1);
        assert_eq!(guards.order("GET /x", Order::Open), 0);
        let refused = old.admit(Moment::now()).unwrap_err();
        assert_eq!(refused.kind, Kind::BreakerOpen);
        assert!(guards.of("GET /", &web, &rule, None).admit(Moment::now()).is_err());
        assert_eq!(guards.states()[0].breaker.unwrap().state, State::HeldOpen);
        guards.keep(|route, service| (route, service) != ("GET /", "web"));
        assert!(guards.states().is_empty());
        let off = spec::Guard { breaker: None, ..rule };
        assert!(guards.of("GET /", &web, &off, None).admit(Moment::now()).unwrap().is_none());
    }

    #[test]
    fn what_fails_without_being_too_much_is_no_reason_to_send_less() {
        let ended = |status: u16| {
            let Ended { failed, overloaded } = Ended::answered(status.try_into().unwrap());
            (failed, overloaded)
        };
        assert_eq!([ended(200), ended(404)], [(false, false); 2]);
        assert_eq!([ended(429), ended(503)], [(false, true), (true, true)]);
        assert_eq!([ended(500), ended(502)], [(true, false); 2]);
        assert!(Ended::unanswered(Kind::AnswerTimeout).overloaded);
        assert!(!Ended::unanswered(Kind::ConnectionRefused).overloaded);
    }

    #[test]
    fn the_requests_of_all_routes_to_a_service_count_against_its_limit_and_the_least_important_go_first() {
        let guards = Guards::default();
        let web: ServiceName = "web".parse().unwrap();
        let rule = |priority| spec::Guard {
            priority,
            adaptive: Some(spec::Adaptive { min: 10, max: 10 }),
            ..spec::Guard::default()
        };
        let low = guards.of("GET /export", &web, &rule(Priority::Low), None);
        let critical = guards.of("POST /pay", &web, &rule(Priority::Critical), None);
        let now = Moment::now();
        let enter =
            |guarded: &Arc<Guarded>, priority| guarded.enter(priority, now).map(|place| place.unwrap());
        let places: Vec<_> = (0..5).map(|_| enter(&critical, Priority::Critical).unwrap()).collect();
        assert_eq!(enter(&low, Priority::Low).unwrap_err().kind, Kind::Shed);
        let more: Vec<_> = (0..5).map(|_| enter(&critical, Priority::Critical).unwrap()).collect();
        assert_eq!(enter(&critical, Priority::Critical).unwrap_err().kind, Kind::Shed);
        drop((places, more));
        assert!(enter(&low, Priority::Low).is_ok());
        assert_eq!(guards.states()[0].adaptive, Some(8));
        guards.keep(|_, _| false);
        assert!(guards.carried.lock().unwrap().is_empty());
    }
}
