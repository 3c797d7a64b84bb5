//! The route table: all that the data path knows of an app. Compiled from the app's file and swapped
//! whole; requests in flight keep the one they began with.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, Method};
use manifest::spec::{App, Balance, Call, EdgeLimits, HashKey, ServiceName, Wire};
use registry::{Directory, Upstream};

use crate::compile::Compiler;
use crate::filter::{Filter, Handler, StripPrefix};
use crate::forward::Forward;
use crate::guard::{Guarded, Guards};
use crate::head::Head;
use crate::policy::choose::Chooser;
use crate::router::{Criteria, Miss, Router, Wanted};
use crate::signals::{Label, RouteSignals};

/// Where requests go. See the module.
#[derive(Default)]
pub struct RouteTable {
    routes: Vec<Route>,
    gateway: Router<usize>,
    calls: HashMap<ServiceName, HashMap<ServiceName, Route>>,
    /// What the app allows at most. They travel with the routes: both change at one moment.
    pub(crate) limits: EdgeLimits,
    /// Whether exchanges have lines in the access log.
    pub(crate) access_log: bool,
    /// Whether answers of the gateway say how much of their time was the platform's own.
    pub(crate) server_timing: bool,
    /// Whether anybody has said which routes there are: what is in no table before that is not unknown.
    pub(crate) known: bool,
}

/// A route that has been compiled.
pub(crate) struct Route {
    pub(crate) filters: Vec<Box<dyn Filter>>,
    pub(crate) action: Action,
    /// What people see of it.
    pub(crate) shown: Arc<Shown>,
    /// What is counted of it, from one table to the next.
    pub(crate) signals: Arc<RouteSignals>,
}

/// What a route does with a request.
pub(crate) enum Action {
    Forward(Box<Forward>),
    Handle(Arc<dyn Handler>),
}

/// A service as one route sees it.
pub(crate) struct Target {
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) chooser: Arc<Chooser>,
    /// What decides where a request goes, for a balance by hash.
    pub(crate) hash: Option<HashKey>,
    pub(crate) balance: Balance,
    pub(crate) wire: Wire,
    /// The state of what guards it.
    pub(crate) guarded: Arc<Guarded>,
}

/// A route as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Its name: `GET /books/{id}`, or `orders -> payments` in the mesh.
    pub name: String,
    /// The service that calls; `None`: the gateway.
    pub caller: Option<ServiceName>,
    /// The host it is for; `None`: any.
    pub host: Option<String>,
    /// The path pattern; `None`: any.
    pub path: Option<String>,
    /// The methods it takes; empty: all.
    pub methods: Vec<Method>,
    /// The headers it asks for.
    pub headers: Vec<(HeaderName, Option<String>)>,
    /// The service behind it; `None`: Atoll answers.
    pub service: Option<ServiceName>,
    /// The deadline: from the last byte of the request to the head of the answer.
    pub timeout: Duration,
}

/// A route that Atoll answers itself, and filters for routes of the file: what crates above add.
#[derive(Default)]
pub struct Additions {
    /// Routes without a service. Of equal routes the file's wins.
    pub handlers: Vec<(manifest::spec::Route, Arc<dyn Handler>)>,
    /// The state of guards, kept from one table to the next.
    pub guards: Arc<Guards>,
    /// Makes the filters of a route of the file; called once per route. They come before those of its guards.
    #[allow(clippy::type_complexity)] // named nowhere else
    pub filters: Option<Box<dyn Fn(&ServiceName, &manifest::spec::Route) -> Vec<Box<dyn Filter>>>>,
}

impl RouteTable {
    /// Compiles the routes and calls of an app. The upstreams are those of `directory`.
    pub fn compile(app: &App, directory: &Directory) -> Self {
        Self::compile_with(app, directory, Additions::default())
    }

    /// As [`Self::compile`], with handlers and filters that are not in the file.
    pub fn compile_with(app: &App, directory: &Directory, additions: Additions) -> Self {
        let compiler = Compiler::new(app, directory, &additions.guards);
        let mut routes = Vec::new();
        for service in app.services.values() {
            for route in &service.routes {
                let name: Arc<str> = name_of(route).into();
                let forward = compiler.forward(&name, &service.name, &route.guard);
                let mut filters = Vec::new();
                if let Some(added) = &additions.filters {
                    filters.extend(added(&service.name, route));
                }
                filters.extend(compiler.filters(&name, &route.guard));
                if let Some(strip) = route.strip_prefix.as_deref().and_then(StripPrefix::new) {
                    filters.push(Box::new(strip));
                }
                let shown = Arc::new(Shown::of_gateway(route, Some(&service.name)));
                let signals = compiler.signals(&shown);
                routes.push(Route { filters, action: Action::Forward(Box::new(forward)), shown, signals });
            }
        }
        for (route, handler) in additions.handlers {
            let shown = Arc::new(Shown::of_gateway(&route, None));
            let signals = compiler.signals(&shown);
            routes.push(Route { filters: Vec::new(), action: Action::Handle(handler), shown, signals });
        }
        let gateway = Router::new(routes.iter().map(|route| route.shown.criteria()).zip(0..));
        let calls = app.services.values().map(|service| {
            let compiled = service.calls.iter().map(|(callee, call)| {
                let shown = Arc::new(Shown::of_mesh(&service.name, callee, call));
                let name: Arc<str> = shown.name.as_str().into();
                let forward = compiler.forward(&name, callee, &call.guard);
                let filters = compiler.filters(&name, &call.guard);
                let (action, signals) = (Action::Forward(Box::new(forward)), compiler.signals(&shown));
                (callee.clone(), Route { filters, action, shown, signals })
            });
            (service.name.clone(), compiled.collect())
        });
        let calls = calls.collect();
        compiler.forget_others();
        Self {
            routes,
            gateway,
            calls,
            limits: app.gateway.limits.clone(),
            access_log: app.gateway.access_log,
            server_timing: app.gateway.server_timing,
            known: true,
        }
    }

    /// Every route, for display: the gateway's in the order of the file, then the mesh's by caller.
    pub fn routes(&self) -> impl Iterator<Item = &Shown> {
        let calls: BTreeMap<_, BTreeMap<_, _>> =
            self.calls.iter().map(|(caller, calls)| (caller, calls.iter().collect())).collect();
        let calls = calls.into_values().flat_map(BTreeMap::into_values);
        self.routes.iter().chain(calls).map(|route| &*route.shown)
    }

    /// The route that takes a request at the gateway.
    pub(crate) fn gateway(&self, head: &Head, path: &str) -> Result<&Route, Miss> {
        let host = Some(head.host.as_str()).filter(|host| !host.is_empty());
        let wanted = Wanted { host, path, method: &head.method };
        let has = |name: &HeaderName, value: Option<&str>| {
            let mut values = head.fields.get_all(name);
            values.any(|have| value.is_none_or(|want| have == want.as_bytes()))
        };
        let index = self.gateway.find(&wanted, has)?;
        self.routes.get(*index).ok_or(Miss::NoRoute)
    }

    /// The route from one service to another, if that call is declared.
    pub(crate) fn call(&self, caller: &ServiceName, callee: &ServiceName) -> Option<&Route> {
        self.calls.get(caller)?.get(callee)
    }
}

impl fmt::Debug for RouteTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.routes().map(|route| &route.name)).finish()
    }
}

/// What a route of the gateway is called: as in the file, with its host and headers where it has any (`GET
/// shop.example/books`, `GET /books with x-beta: 1`). No other route of a service is called so: by this name the
/// state of its guards is found.
pub fn name_of(route: &manifest::spec::Route) -> String {
    let mut name = match (&route.host, route.name.strip_suffix(route.path.as_str())) {
        (Some(host), Some(methods)) => format!("{methods}{host}{}", route.path),
        _ => route.name.clone(),
    };
    for (at, header) in route.headers.iter().enumerate() {
        name.push_str(if at == 0 { " with " } else { ", " });
        name.push_str(header.name.as_str());
        if let Some(value) = &header.value {
            name.push_str(": ");
            name.extend(value.chars().map(|c| if c.is_control() { '?' } else { c })); // it is one line for people
        }
    }
    name
}

impl Shown {
    fn of_gateway(route: &manifest::spec::Route, service: Option<&ServiceName>) -> Self {
        let headers = route.headers.iter().map(|header| (header.name.clone(), header.value.clone()));
        Self {
            name: name_of(route),
            caller: None,
            host: route.host.clone(),
            path: Some(route.path.clone()),
            methods: route.methods.clone(),
            headers: headers.collect(),
            service: service.cloned(),
            timeout: route.guard.timeout,
        }
    }

    fn of_mesh(caller: &ServiceName, callee: &ServiceName, call: &Call) -> Self {
        Self {
            name: format!("{caller} -> {callee}"),
            caller: Some(caller.clone()),
            host: None,
            path: None,
            methods: Vec::new(),
            headers: Vec::new(),
            service: Some(callee.clone()),
            timeout: call.guard.timeout,
        }
    }

    /// What it is called in metrics and records.
    pub(crate) fn label(&self) -> Label {
        Label { route: self.name.clone(), service: self.service.clone(), caller: self.caller.clone() }
    }

    fn criteria(&self) -> Criteria {
        Criteria {
            host: self.host.as_ref().map(|host| host.to_ascii_lowercase()),
            path: self.path.clone().unwrap_or_default(),
            methods: self.methods.clone(),
            headers: self.headers.clone(),
        }
    }
}
