//! From an application file to listeners, routes and desired state. One wish at a time; a wish that
//! cannot be met changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use api::{Action, Apply, Plan};
use control::ports::Ports;
use control::{Change, ChangeKind, Controller, Desired};
use manifest::spec::{App, Balance, InstanceId, Listen, ServiceName};
use proxy::table::Additions;
use proxy::{Entrance, Guards, Listener, RouteTable};
use registry::{Directory, Moment};
use tokio::sync::{Mutex, watch};

use crate::addresses::{Addresses, loopback};
use crate::apply_error::ApplyError;
use crate::broker::{self, Broker, BrokerError};
use crate::certificates::Certificates;
use crate::console::WebConsole;
use crate::edge::{Edges, Tell};
use crate::guards;
use crate::objectives::Objectives;
use crate::observe::shown::Parties;
use crate::observe::{self, Observer};
use crate::policies;
use crate::port_holder;
use crate::state_dir::StateDir;
use crate::takeover::Turn;

mod owners;

pub(crate) use owners::PipeOwners;

/// Instances of one service at most, as in a file.
pub(crate) const MAX_REPLICAS: u32 = 1000;

/// Applies wishes. Shared by reference; applications are in turn.
pub(crate) struct Applier {
    pub(crate) state: StateDir,
    pub(crate) detached: bool,
    pub(crate) directory: Directory,
    pub(crate) ports: Arc<Ports>,
    pub(crate) proxy: proxy::Handle,
    /// Over all route tables: a breaker that is open stays open when the file changes.
    pub(crate) guards: Arc<Guards>,
    /// How the routes in force spread requests.
    balances: std::sync::Mutex<Arc<BTreeMap<ServiceName, Balance>>>,
    certificates: Certificates,
    edges: Edges,
    pub(crate) broker: Arc<Broker>,
    pub(crate) observer: Observer,
    pub(crate) objectives: Objectives,
    pub(crate) console: Arc<WebConsole>,
    tell: Tell,
    in_force: Mutex<InForce>,
    /// Changes from ours only while `in_force` is locked.
    turn: watch::Sender<Turn>,
}

/// What a wish is put in force with.
pub(crate) struct Parts {
    pub(crate) directory: Directory,
    pub(crate) ports: Arc<Ports>,
    pub(crate) proxy: proxy::Handle,
    pub(crate) certificates: Certificates,
    pub(crate) edges: Edges,
    pub(crate) broker: Arc<Broker>,
    pub(crate) observer: Observer,
    pub(crate) objectives: Objectives,
    pub(crate) console: Arc<WebConsole>,
    pub(crate) tell: Tell,
}

/// What is in force.
#[derive(Default)]
struct InForce {
    apply: Apply,
    app: Option<App>,
    addresses: Addresses,
    desired: Desired,
    /// Where the gateway listens.
    gateway: Vec<Listen>,
    /// Everything stops: no further wish is met.
    going_down: bool,
}

/// Whose the addresses and files of a node's last life are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keeping {
    /// Ours: that node is gone.
    Now,
    /// Still that node's: it has not handed over yet. It listens on the addresses, and may have to go on.
    Later,
}

/// A wish worked out: everything that will be put in force.
pub(crate) struct Prepared {
    apply: Apply,
    app: App,
    addresses: Addresses,
    desired: Desired,
}

impl Applier {
    pub(crate) fn new(state: StateDir, detached: bool, parts: Parts) -> Self {
        let Parts {
            directory,
            ports,
            proxy,
            certificates,
            edges,
            broker,
            observer,
            objectives,
            console,
            tell,
        } = parts;
        let addresses = Addresses::read(&state);
        let in_force = Mutex::new(InForce { addresses, ..InForce::default() });
        let turn = watch::Sender::new(Turn::Ours);
        let (guards, balances) = (Arc::default(), std::sync::Mutex::default());
        Self {
            state,
            detached,
            directory,
            ports,
            proxy,
            guards,
            balances,
            certificates,
            edges,
            broker,
            observer,
            objectives,
            console,
            tell,
            in_force,
            turn,
        }
    }

    /// Another node may take over: no wish is met until it is clear whose turn it is.
    pub(crate) async fn open_turn(&self) -> Result<(), ApplyError> {
        let in_force = self.in_force.lock().await;
        if in_force.going_down {
            return Err(ApplyError::Stopping);
        }
        self.set_turn(Turn::Open);
        Ok(())
    }

    /// Says whose turn it is to decide what runs.
    pub(crate) fn set_turn(&self, turn: Turn) {
        self.turn.send_replace(turn);
    }

    /// An error while it is not this node that decides what runs.
    pub(crate) fn check_turn(&self) -> Result<(), ApplyError> {
        if *self.turn.borrow() == Turn::Ours { Ok(()) } else { Err(ApplyError::Upgrading) }
    }

    /// Works a wish out without doing anything: new addresses in it are made up.
    pub(crate) async fn prepare(&self, app_name: &str, apply: Apply) -> Result<Prepared, ApplyError> {
        let in_force = self.in_force.lock().await;
        let prepared = self.prepare_with(&in_force, app_name, apply, false)?;
        self.give_back(&prepared.addresses, &in_force.addresses); // nothing will listen there
        Ok(prepared)
    }

    /// Gives back the ports of `from` that are not in `kept`.
    fn give_back(&self, from: &Addresses, kept: &Addresses) {
        let kept: BTreeSet<u16> = kept.ports().collect();
        for port in from.ports().filter(|port| !kept.contains(port)) {
            self.ports.release(port);
        }
    }

    fn prepare_with(
        &self,
        in_force: &InForce,
        app_name: &str,
        mut apply: Apply,
        in_use: bool,
    ) -> Result<Prepared, ApplyError> {
        let app = resolve(&mut apply, in_force)?;
        if app.name.as_str() != app_name {
            return Err(ApplyError::OtherApp { running: app_name.into(), wanted: app.name.to_string() });
        }
        let replicas = replicas(&app, &apply.scale)?;
        let addresses = in_force.addresses.fitted(&app, &self.ports, in_use || in_force.app.is_some())?;
        let mut given = match addresses.pipes_at(&app) {
            Some(address) => self.broker.given(&app, address)?,
            None => BTreeMap::new(),
        };
        if let Some(doors) = addresses.doors(&app) {
            for (service, variables) in observe::given(&app, doors) {
                given.entry(service).or_default().extend(variables);
            }
        }
        let desired = Desired::of(&app, &replicas, &addresses.urls(), &given);
        Ok(Prepared { apply, app, addresses, desired })
    }

    /// The plan from what is in force to `prepared`.
    pub(crate) async fn difference(&self, prepared: &Prepared) -> Plan {
        let in_force = self.in_force.lock().await;
        let (changes, unchanged) = control::desired::changes(&in_force.desired, &prepared.desired);
        to_plan(changes, unchanged)
    }

    /// Puts the wish of the node's last life in force and hands out what should be, for a controller
    /// that is about to start. An address that is taken by now, or a certificate that is gone, is no reason
    /// to leave what runs alone: the rest goes on, and the error is handed out to be told.
    ///
    /// Queues and topics come later ([`Self::open_broker`]): to open a large store takes seconds, in which requests are
    /// served.
    pub(crate) async fn resume(
        &self,
        app_name: &str,
        apply: Apply,
        keeping: Keeping,
    ) -> Result<(Desired, Vec<ApplyError>), ApplyError> {
        let mut in_force = self.in_force.lock().await;
        let in_use = keeping == Keeping::Later;
        let mut prepared = self.prepare_with(&in_force, app_name, apply, in_use)?;
        let desired = prepared.desired.clone();
        let (certificates, missing) = self.certificates.load(&prepared.app.gateway).await;
        let (edge, closed) = self.edges.load(&prepared.app.gateway).await.ok_or(ApplyError::Stopping)?;
        self.certificates.put(certificates);
        let (gateway, failed) = self.listen(&mut prepared).await?;
        let console = prepared.app.console;
        self.put_in_force(&mut in_force, prepared, gateway, edge, keeping)?;
        if keeping == Keeping::Now {
            self.observe(&in_force); // else its directory is still that node's
            self.console.put(console, None).await;
        }
        let closed = closed.into_iter().map(ApplyError::from);
        Ok((desired, missing.into_iter().map(ApplyError::from).chain(closed).chain(failed).collect()))
    }

    /// Opens the queues, the topics and the telemetry of what is in force, once the node before has let go of them.
    pub(crate) async fn open_broker(&self) -> Result<(), ApplyError> {
        let in_force = self.in_force.lock().await;
        let Some(app) = in_force.app.as_ref().filter(|_| !in_force.going_down) else { return Ok(()) };
        self.observe(&in_force);
        Ok(self.open_broker_for(app, &in_force.addresses).await?)
    }

    fn observe(&self, in_force: &InForce) {
        if let Some(app) = &in_force.app {
            self.objectives.put(app).into_iter().for_each(|failed| (self.tell)(failed));
            self.observer.put(app, in_force.addresses.doors(app));
        }
    }

    /// Opens the console of what is in force; `before` is the node that this one has taken over from.
    pub(crate) async fn open_console(&self, before: u32) {
        let wanted = self.in_force.lock().await.app.as_ref().map(|app| app.console);
        if let Some(wanted) = wanted {
            self.console.put(wanted, Some(before)).await;
        }
    }

    async fn open_broker_for(&self, app: &App, addresses: &Addresses) -> Result<(), BrokerError> {
        let mesh = |service: &ServiceName| {
            addresses.mesh.get(&(service.clone(), service.clone())).map(|port| loopback(*port))
        };
        self.broker.put(&app.pipes, addresses.pipes_at(app), mesh).await?;
        self.broker.keep_services(app);
        Ok(())
    }

    /// Puts a wish in force: certificates and listeners first (they can fail), then routes, then instances.
    pub(crate) async fn apply(
        &self,
        app_name: &str,
        apply: Apply,
        controller: &Controller,
    ) -> Result<Plan, ApplyError> {
        let mut in_force = self.in_force.lock().await;
        self.check_turn()?;
        if in_force.going_down {
            return Err(ApplyError::Stopping);
        }
        let mut prepared = self.prepare_with(&in_force, app_name, apply, false)?;
        let desired = prepared.desired.clone();
        let made = prepared.addresses.clone();
        let (certificates, missing) = self.certificates.load(&prepared.app.gateway).await;
        let (edge, closed) = self.edges.load(&prepared.app.gateway).await.ok_or(ApplyError::Stopping)?;
        let missing = missing.into_iter().map(ApplyError::from);
        if let Some(error) = missing.chain(closed.into_iter().map(ApplyError::from)).next() {
            self.give_back(&made, &in_force.addresses);
            return Err(error);
        }
        let certificates_before = self.certificates.put(certificates); // a listener needs them at once
        let listening = self.listen(&mut prepared).await;
        let made = prepared.addresses.clone();
        let outcome = match listening {
            Err(error) => Err(error),
            Ok((gateway, failed)) => match failed.into_iter().next() {
                Some(error) => Err(error),
                None => match self.open_broker_for(&prepared.app, &prepared.addresses).await {
                    Ok(()) => self.put_in_force(&mut in_force, prepared, gateway, edge, Keeping::Now),
                    Err(error) => Err(error.into()),
                },
            },
        };
        if let Err(error) = outcome {
            self.proxy.listen(listeners(&in_force.gateway, &in_force.addresses)).await;
            self.certificates.put(certificates_before);
            let before = in_force.app.as_ref().map(|app| self.open_broker_for(app, &in_force.addresses));
            if let Some(before) = before
                && let Err(error) = before.await
            {
                tracing::error!("queues and topics: {}", kit::report::chain(&error));
            }
            self.give_back(&made, &in_force.addresses);
            return Err(error);
        }
        self.observe(&in_force);
        if let Some(app) = &in_force.app {
            self.console.put(app.console, None).await; // what it cannot do is told, and fails nothing
        }
        let (changes, unchanged) = controller.apply(desired).await.map_err(|_| ApplyError::Stopping)?;
        Ok(to_plan(changes, unchanged))
    }

    /// Sets replica counts; they hold until the file is applied anew.
    pub(crate) async fn scale(
        &self,
        counts: BTreeMap<String, u32>,
        controller: &Controller,
    ) -> Result<Plan, ApplyError> {
        let mut in_force = self.in_force.lock().await;
        self.check_turn()?;
        if in_force.going_down {
            return Err(ApplyError::Stopping);
        }
        let Some(app) = &in_force.app else {
            return Err(ApplyError::Select("nothing runs yet".into()));
        };
        let replicas = replicas(app, &counts)?;
        let mut apply = in_force.apply.clone();
        apply.scale.extend(counts);
        self.state.keep_wish(&apply, self.detached).map_err(ApplyError::Keep)?;
        in_force.apply = apply;
        for (name, count) in &replicas {
            if let Some(want) = in_force.desired.services.get_mut(name) {
                want.replicas = *count;
            }
        }
        let (changes, unchanged) = controller.scale(replicas).await.map_err(|_| ApplyError::Stopping)?;
        Ok(to_plan(changes, unchanged))
    }

    /// Keeps the wish, then lets the data path follow it.
    fn put_in_force(
        &self,
        in_force: &mut InForce,
        prepared: Prepared,
        gateway: Vec<Listen>,
        edge: Arc<gateway::Edge>,
        keeping: Keeping,
    ) -> Result<(), ApplyError> {
        let Prepared { apply, app, addresses, desired } = prepared;
        if keeping == Keeping::Now {
            self.keep_all(&addresses, &apply)?;
        }
        let additions = Additions { guards: Arc::clone(&self.guards), ..self.edges.put(edge) };
        self.proxy.publish(RouteTable::compile_with(&app, &self.directory, additions));
        let balances = app.services.values().map(|service| (service.name.clone(), service.balance.clone()));
        *self.balances.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(balances.collect());
        self.give_back(&in_force.addresses, &addresses);
        *in_force = InForce { apply, app: Some(app), addresses, desired, gateway, going_down: false };
        Ok(())
    }

    /// Opens what the app needs and closes what it no longer does. Says where the gateway listens, and what
    /// could not be opened.
    async fn listen(&self, prepared: &mut Prepared) -> Result<(Vec<Listen>, Vec<ApplyError>), ApplyError> {
        let addresses = &mut prepared.addresses;
        let mut gateway = Vec::new();
        for wanted in &prepared.app.gateway.listen {
            let mut address = wanted.address;
            if address.port() == 0 {
                let port = match addresses.gateway.get(wanted) {
                    Some(port) => *port,
                    None => self.ports.pick()?,
                };
                addresses.gateway.insert(*wanted, port);
                address.set_port(port);
            }
            gateway.push(Listen { address, ..*wanted });
        }
        let failed = self.proxy.listen(listeners(&gateway, addresses)).await;
        let failed = failed.into_iter().map(|(listener, source)| {
            let holder = port_holder::of_tcp_port(listener.address.port());
            ApplyError::Listen { address: listener.address, holder, source }
        });
        Ok((gateway, failed.collect()))
    }

    /// Meets no further wish and takes no new connections from outside; services may go on calling each other.
    /// While another node may take over this waits: the end is for whoever has the app then.
    pub(crate) async fn go_down(&self) -> Result<(), ApplyError> {
        let mut turn = self.turn.subscribe();
        loop {
            // It comes to an end within the limits of `takeover`; the sender is our own.
            let _ = turn.wait_for(|turn| *turn != Turn::Open).await;
            let mut in_force = self.in_force.lock().await;
            match *turn.borrow() {
                Turn::Open => continue,
                Turn::Theirs => return Err(ApplyError::Upgrading),
                Turn::Ours => {}
            }
            in_force.going_down = true;
            self.proxy.listen(listeners(&[], &in_force.addresses)).await;
            return Ok(());
        }
    }

    /// Keeps what is in force: the node that was here before may have kept it in another form.
    pub(crate) async fn keep(&self) -> Result<(), ApplyError> {
        let in_force = self.in_force.lock().await;
        self.keep_all(&in_force.addresses, &in_force.apply)
    }

    fn keep_all(&self, addresses: &Addresses, apply: &Apply) -> Result<(), ApplyError> {
        addresses
            .write(&self.state)
            .and_then(|()| self.state.keep_wish(apply, self.detached))
            .map_err(ApplyError::Keep)
    }

    /// The instances that the data path passes over for what they answered, each with the end of that.
    pub(crate) fn passed_over(&self) -> BTreeMap<InstanceId, Moment> {
        let balances = Arc::clone(&self.balances.lock().unwrap_or_else(PoisonError::into_inner));
        guards::passed_over(&self.directory, &balances, Moment::now())
    }

    /// The wish in force.
    pub(crate) async fn wish(&self) -> Apply {
        self.in_force.lock().await.apply.clone()
    }

    /// Memory limits in bytes, of the services that have one.
    pub(crate) async fn memory_limits(&self) -> BTreeMap<ServiceName, u64> {
        let in_force = self.in_force.lock().await;
        let services = in_force.app.iter().flat_map(|app| app.services.values());
        services.filter_map(|s| Some((s.name.clone(), s.limits.memory?.0))).collect()
    }

    /// What takes part in the app.
    pub(crate) async fn parties(&self) -> Parties {
        let in_force = self.in_force.lock().await;
        let mut parties = Parties::default();
        if let (Some(app), Parties(all)) = (&in_force.app, &mut parties) {
            all.extend(app.services.keys().map(|name| ("service", name.to_string())));
            all.extend(app.pipes.queues.values().map(|queue| ("queue", queue.wire_name())));
            all.extend(app.pipes.topics.values().map(|topic| ("topic", topic.wire_name())));
            if !in_force.gateway.is_empty() {
                all.insert(("gateway", "gateway".into()));
            }
        }
        parties
    }

    /// Where services say what they count.
    pub(crate) async fn metrics_paths(&self) -> BTreeMap<ServiceName, String> {
        let in_force = self.in_force.lock().await;
        let services = in_force.app.iter().flat_map(|app| app.services.values());
        services.filter_map(|s| Some((s.name.clone(), s.metrics.clone()?))).collect()
    }

    /// Whose queues and topics are, and where clients find them.
    pub(crate) async fn pipe_owners(&self) -> PipeOwners {
        let in_force = self.in_force.lock().await;
        let Some(app) = &in_force.app else { return PipeOwners::default() };
        PipeOwners::new(&app.pipes, in_force.addresses.pipes_at(app))
    }

    /// Where things are, for people.
    pub(crate) async fn outline(&self) -> Outline {
        let in_force = self.in_force.lock().await;
        let mut outline = Outline {
            root: in_force.app.as_ref().map_or_else(PathBuf::new, |app| app.root.clone()),
            gateway: in_force.gateway.clone(),
            pipes: in_force.app.as_ref().and_then(|app| in_force.addresses.pipes_at(app)),
            ..Outline::default()
        };
        let Some(app) = &in_force.app else { return outline };
        let gateway: Vec<String> = in_force.gateway.iter().map(|listen| listen.address.to_string()).collect();
        for service in app.services.values() {
            for route in &service.routes {
                outline.routes.push(api::Route {
                    entrance: "gateway".into(),
                    address: gateway.join(", "),
                    route: proxy::table::name_of(route),
                    service: service.name.to_string(),
                    timeout_ms: route.guard.timeout.as_millis() as u64,
                    policies: policies::said(&route.guard, route.auth.as_deref()),
                });
            }
            let names = service.routes.iter().map(proxy::table::name_of).collect();
            let calls = service.calls.keys().map(ToString::to_string).collect();
            outline.services.insert(service.name.clone(), (names, calls));
            for (callee, call) in &service.calls {
                let port = in_force.addresses.mesh.get(&(service.name.clone(), callee.clone()));
                outline.routes.push(api::Route {
                    entrance: service.name.to_string(),
                    address: port.map_or_else(String::new, |port| loopback(*port).to_string()),
                    route: format!("{} -> {callee}", service.name),
                    service: callee.to_string(),
                    timeout_ms: call.guard.timeout.as_millis() as u64,
                    policies: policies::said(&call.guard, None),
                });
            }
        }
        outline
    }
}

/// Where things are, for people.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outline {
    pub(crate) root: PathBuf,
    pub(crate) gateway: Vec<Listen>,
    /// Where clients of queues and topics find them.
    pub(crate) pipes: Option<SocketAddr>,
    pub(crate) routes: Vec<api::Route>,
    /// Routes and calls of each service, as written.
    pub(crate) services: BTreeMap<ServiceName, (Vec<String>, Vec<String>)>,
}

/// The app that a wish asks for. A wish for some services leaves the others as they are, as `docker compose
/// up NAME` does.
fn resolve(apply: &mut Apply, in_force: &InForce) -> Result<App, ApplyError> {
    let loaded = manifest::parse_resolved(&apply.file, Path::new("<application>"));
    let Some(mut app) = loaded.app else {
        return Err(ApplyError::Faults { report: manifest::report(&loaded.faults, &loaded.sources, false) });
    };
    broker::call_for_deliveries(&mut app);
    if apply.services.is_empty() {
        return Ok(app);
    }
    let mut names = Vec::new();
    for name in &apply.services {
        names.push(name.parse().map_err(|_| ApplyError::NoService { name: name.clone() })?);
    }
    let mut chosen = manifest::select(&app, &names, !apply.no_deps)
        .map_err(|error| ApplyError::Select(error.to_string()))?;
    for (name, service) in in_force.app.iter().flat_map(|app| &app.services) {
        if app.services.contains_key(name) && !chosen.services.contains_key(name) {
            chosen.services.insert(name.clone(), service.clone());
            if let Some(count) = in_force.apply.scale.get(name.as_str()) {
                apply.scale.entry(name.to_string()).or_insert(*count);
            }
        }
    }
    apply.services = chosen.services.keys().map(ToString::to_string).collect();
    apply.no_deps = true; // they are all named now
    Ok(chosen)
}

fn replicas(app: &App, counts: &BTreeMap<String, u32>) -> Result<BTreeMap<ServiceName, u32>, ApplyError> {
    let mut replicas = BTreeMap::new();
    for (name, count) in counts {
        let known = name.parse().ok().filter(|name| app.services.contains_key(name));
        let name: ServiceName = known.ok_or_else(|| ApplyError::NoService { name: name.clone() })?;
        if *count > MAX_REPLICAS {
            return Err(ApplyError::TooMany { name: name.to_string(), count: *count });
        }
        replicas.insert(name, *count);
    }
    Ok(replicas)
}

fn listeners(gateway: &[Listen], addresses: &Addresses) -> Vec<Listener> {
    let gateway = gateway.iter().map(|listen| Listener {
        address: listen.address,
        entrance: Entrance::Gateway,
        tls: listen.tls,
    });
    let mesh = addresses.mesh.iter().map(|((caller, callee), port)| Listener {
        address: loopback(*port),
        entrance: Entrance::Mesh { caller: caller.clone(), callee: callee.clone() },
        tls: false,
    });
    gateway.chain(mesh).collect()
}

fn to_plan(changes: Vec<Change>, unchanged: u32) -> Plan {
    let changes = changes
        .into_iter()
        .map(|change| api::Change {
            action: match change.kind {
                ChangeKind::Start => Action::Start,
                ChangeKind::Replace => Action::Replace,
                ChangeKind::Stop => Action::Stop,
                ChangeKind::Update => Action::Update,
            },
            instances: change.replicas.iter().map(|index| format!("{}-{index}", change.service)).collect(),
            service: change.service.to_string(),
            why: change.why,
        })
        .collect();
    Plan { changes, unchanged }
}

#[cfg(test)]
mod tests;
