//! Where the machines of routes live, so that a new route table finds those of the old one: a breaker stays open
//! over a change of the file, a count goes on. For whoever compiles tables; a request holds [`Guards`] already.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use manifest::spec::Guard;
use registry::Moment;

use super::breaker::Breaker;
use super::budget::RetryBudget;
use super::bulkhead::Bulkhead;
use super::rate::{KEYS, Rate, RateTable};

/// The machines of one route of the gateway, or of one entry of `calls`. Cheap to clone; clones are the same.
#[derive(Clone, Debug)]
pub struct Guards {
    /// `None`: `breaker: off`.
    pub breaker: Option<Arc<Breaker>>,
    /// Retries and hedges.
    pub budget: Arc<RetryBudget>,
    /// Requests at once.
    pub bulkhead: Arc<Bulkhead>,
    /// Whether the file asks for a limit that finds itself. It is one for all routes to a service, and so not here.
    pub adaptive: bool,
    /// In the order of the file, each with the scope of its keys ([`RateTable::key`]).
    pub rates: Vec<(Rate, u64)>,
}

/// All guards, by the name of their route. See the module.
#[derive(Debug)]
pub struct Book {
    guards: Mutex<HashMap<String, Guards>>,
    rates: Arc<RateTable>,
}

impl Default for Book {
    fn default() -> Self {
        Self { guards: Mutex::default(), rates: Arc::new(RateTable::new(KEYS)) }
    }
}

impl Book {
    /// The counts of all rate limits.
    pub fn rates(&self) -> &Arc<RateTable> {
        &self.rates
    }

    /// The guards of the route of this name, which must be unique (`gateway GET shop.example/books`, `orders ->
    /// payments`). Those that are there already get the new rule at once, also for requests that the old table
    /// still serves; those that the rule no longer asks for are forgotten.
    pub fn guards(&self, name: &str, rule: &Guard, now: Moment) -> Guards {
        let mut all = self.guards.lock().unwrap_or_else(PoisonError::into_inner);
        let before = all.get(name);
        let breaker = rule.breaker.as_ref().map(|rule| {
            let kept = before.and_then(|guards| guards.breaker.clone());
            kept.inspect(|breaker| breaker.reconfigure(rule)).unwrap_or_else(|| Breaker::new(rule, now))
        });
        let adaptive = rule.adaptive.is_some();
        let rates = rule.limits.iter().enumerate();
        let rates = rates.map(|(n, limit)| (Rate::new(limit), self.rates.scope((name, n)))).collect();
        let guards = match before {
            Some(before) => {
                before.budget.reconfigure(rule.retry.budget);
                before.bulkhead.reconfigure(&rule.bulkhead);
                Guards { breaker, adaptive, rates, ..before.clone() }
            }
            None => Guards {
                breaker,
                budget: Arc::new(RetryBudget::new(rule.retry.budget)),
                bulkhead: Bulkhead::new(&rule.bulkhead),
                adaptive,
                rates,
            },
        };
        all.insert(name.to_owned(), guards.clone());
        guards
    }

    /// Forgets the routes that are not in the new table. Requests under way keep what they hold.
    pub fn retain(&self, is_there: impl Fn(&str) -> bool) {
        let mut all = self.guards.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|name, _| is_there(name));
    }

    /// The guards of a route, for orders from people (`guards.breaker…order(…)`).
    pub fn find(&self, name: &str) -> Option<Guards> {
        self.guards.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// Another number whenever a breaker has changed, or there are others: cheap to look at.
    pub fn version(&self) -> u64 {
        let all = self.guards.lock().unwrap_or_else(PoisonError::into_inner);
        let breakers = all.values().filter_map(|guards| guards.breaker.as_ref());
        breakers.fold(all.len() as u64, |sum, breaker| sum.wrapping_add(breaker.version()))
    }

    /// All guards by name, in its order: for people and metrics.
    pub fn all(&self) -> Vec<(String, Guards)> {
        let all = self.guards.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = all.iter().map(|(name, guards)| (name.clone(), guards.clone())).collect();
        all.sort_by(|one, other| one.0.cmp(&other.0));
        all
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::policy::breaker::{Order, State};
    use manifest::spec;

    #[test]
    fn a_new_table_finds_the_state_of_the_old_one() {
        let book = Book::default();
        let now = Moment::now();
        let old = book.guards("a -> b", &Guard::default(), now);
        old.breaker.as_ref().unwrap().order(Order::Open, now);
        let _permit = old.bulkhead.try_acquire().unwrap();
        let bulkhead = spec::Bulkhead { concurrency: 1, queue: 0 };
        let limit =
            spec::RateLimit { rate: 1, period: Duration::from_secs(1), burst: 1, per: spec::LimitKey::Route };
        let rule = Guard { bulkhead, limits: vec![limit], ..Guard::default() };
        let new = book.guards("a -> b", &rule, now);
        assert_eq!(new.breaker.unwrap().seen(now).state, State::HeldOpen);
        assert!(new.bulkhead.try_acquire().is_none() && old.bulkhead.try_acquire().is_none());
        assert_eq!(book.guards("a -> b", &rule, now).rates, new.rates);
        assert_ne!(book.guards("a -> c", &rule, now).rates[0].1, new.rates[0].1);
        assert_eq!(book.all().len(), 2);
        let version = book.version();
        assert_eq!(book.version(), version);
        book.find("a -> c").unwrap().breaker.unwrap().order(Order::Closed, now);
        assert_ne!(book.version(), version);
        book.retain(|name| name == "a -> c");
        assert!(book.find("a -> b").is_none() && book.find("a -> c").is_some());
    }

    #[test]
    fn a_breaker_that_is_turned_off_is_forgotten() {
        let book = Book::default();
        let now = Moment::now();
        let first = book.guards("r", &Guard::default(), now).breaker.unwrap();
        first.order(Order::Open, now);
        assert!(book.guards("r", &Guard { breaker: None, ..Guard::default() }, now).breaker.is_none());
        let again = book.guards("r", &Guard::default(), now).breaker.unwrap();
        assert_eq!(again.seen(now).state, State::Closed);
    }
}
