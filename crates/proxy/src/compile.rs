//! From an app's file to what routes do: targets, guards and filters of one table.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use http::{HeaderValue, StatusCode};
use manifest::spec::{self, App, Guard, ServiceName};
use registry::Directory;

use crate::fallback::Fallback;
use crate::filter::{Faults, Filter, Limit};
use crate::forward::Forward;
use crate::guard::Guards;
use crate::policy::choose::Chooser;
use crate::signals::{Label, RouteSignals};
use crate::table::{Shown, Target};

/// Compiles the routes of one table.
pub(crate) struct Compiler<'a> {
    app: &'a App,
    directory: &'a Directory,
    guards: &'a Guards,
    /// One per service: routes take turns together.
    choosers: BTreeMap<&'a ServiceName, Arc<Chooser>>,
    /// The adaptive limit of each service that a route or call asks one for: the widest bounds of all.
    adaptive: BTreeMap<&'a ServiceName, spec::Adaptive>,
    /// Guards that the table uses.
    used: RefCell<BTreeSet<(String, String)>>,
    /// Routes of the table.
    counted: RefCell<BTreeSet<Label>>,
}

impl<'a> Compiler<'a> {
    pub(crate) fn new(app: &'a App, directory: &'a Directory, guards: &'a Guards) -> Self {
        let services = app.services.values();
        let choosers = services.map(|service| (&service.name, Arc::new(Chooser::new(&service.balance))));
        let choosers = choosers.collect();
        Self {
            app,
            directory,
            guards,
            choosers,
            adaptive: adaptive(app),
            used: RefCell::default(),
            counted: RefCell::default(),
        }
    }

    /// What a route does with a request for `service`.
    pub(crate) fn forward(&self, route: &Arc<str>, service: &ServiceName, rule: &Guard) -> Forward {
        Forward {
            target: self.target(route, service, rule),
            split: rule.split.iter().map(|part| (part.clone(), self.target(route, &part.to, rule))).collect(),
            mirror: rule.mirror.as_ref().map(|mirror| {
                let name = format!("{route} (mirror)").into();
                (mirror.share, Arc::new(self.target(&name, &mirror.to, &Guard::default())))
            }),
            fallback: rule.fallback.as_ref().and_then(|fallback| self.fallback(route, service, fallback)),
            rule: rule.clone(),
        }
    }

    fn target(&self, route: &Arc<str>, service: &ServiceName, rule: &Guard) -> Target {
        self.used.borrow_mut().insert((route.to_string(), service.to_string()));
        let known = self.app.services.get(service);
        let balance = known.map_or_else(spec::Balance::default, |service| service.balance.clone());
        Target {
            upstream: self.directory.upstream(service),
            chooser: match self.choosers.get(service) {
                Some(chooser) => Arc::clone(chooser),
                None => Arc::new(Chooser::new(&balance)),
            },
            hash: match &balance.by {
                spec::BalanceBy::Hash(key) => Some(key.clone()),
                _ => None,
            },
            wire: known.map_or_else(spec::Wire::default, |service| service.wire),
            guarded: self.guards.of(route, service, rule, self.adaptive.get(service)),
            balance,
        }
    }

    fn fallback(
        &self,
        route: &Arc<str>,
        service: &ServiceName,
        fallback: &spec::Fallback,
    ) -> Option<Fallback> {
        Some(match fallback {
            spec::Fallback::Static { status, headers, body } => {
                let value = |value: &String| HeaderValue::from_str(value).ok();
                let headers = headers.iter().filter_map(|(name, text)| Some((name.clone(), value(text)?)));
                Fallback::Static {
                    status: StatusCode::from_u16(*status).ok()?,
                    headers: headers.collect(),
                    body: body.clone().into(),
                }
            }
            spec::Fallback::Stale { max_age } => Fallback::Stale {
                store: Arc::clone(&self.guards.stale),
                scope: Arc::clone(route),
                max_age: *max_age,
            },
            spec::Fallback::From { service: other, path } => {
                let name = format!("{route} (fallback)").into();
                let from = other.as_ref().unwrap_or(service);
                let shown = match path {
                    Some(path) => format!("from={from}; path=\"{path}\""),
                    None => format!("from={from}"),
                };
                Fallback::From {
                    target: Box::new(self.target(&name, from, &Guard::default())),
                    path: path.clone(),
                    shown: HeaderValue::from_str(&shown).unwrap_or(HeaderValue::from_static("from")),
                }
            }
        })
    }

    /// The filters that a guard asks for.
    pub(crate) fn filters(&self, route: &Arc<str>, rule: &Guard) -> Vec<Box<dyn Filter>> {
        let mut filters: Vec<Box<dyn Filter>> = Vec::new();
        for (number, limit) in rule.limits.iter().enumerate() {
            filters.push(Box::new(Limit::new(self.guards.rates(), route, number, limit)));
        }
        if let Some(faults) = Faults::new(&rule.faults, rule.timeout) {
            filters.push(Box::new(faults));
        }
        filters
    }

    /// What is counted of a route.
    pub(crate) fn signals(&self, shown: &Shown) -> Arc<RouteSignals> {
        let label = shown.label();
        self.counted.borrow_mut().insert(label.clone());
        self.guards.signals.of(label)
    }

    /// The table is whole: what no route of it uses is forgotten.
    pub(crate) fn forget_others(&self) {
        let used = self.used.borrow();
        self.guards.keep(|route, service| used.contains(&(route.to_owned(), service.to_owned())));
        let counted = self.counted.borrow();
        self.guards.signals.keep(|label| counted.contains(label));
    }
}

fn adaptive(app: &App) -> BTreeMap<&ServiceName, spec::Adaptive> {
    let mut widest = BTreeMap::<_, spec::Adaptive>::new();
    for service in app.services.values() {
        let routes = service.routes.iter().map(|route| (&service.name, &route.guard));
        let calls = service.calls.iter().map(|(callee, call)| (callee, &call.guard));
        for (service, rule) in routes.chain(calls) {
            let Some(own) = rule.adaptive else { continue };
            for service in rule.split.iter().map(|part| &part.to).chain([service]) {
                let bounds = widest.entry(service).or_insert(own);
                bounds.min = bounds.min.min(own.min);
                bounds.max = bounds.max.max(own.max);
            }
        }
    }
    widest
}
