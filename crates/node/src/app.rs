//! From an application file to listeners, routes and desired state. One wish at a time; a wish that
//! cannot be met changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use api::{Action, Apply, Plan};
use control::ports::Ports;
use control::{Change, ChangeKind, Controller, Desired};
use kit::{Explain, Help};
use manifest::spec::{App, ServiceName};
use proxy::{Entrance, Listener, RouteTable};
use registry::Directory;
use tokio::sync::Mutex;

use crate::addresses::{Addresses, loopback};
use crate::port_holder;
use crate::state_dir::StateDir;

/// Instances of one service at most, as in a file.
const MAX_REPLICAS: u32 = 1000;

/// Applies wishes. Shared by reference; applications are in turn.
pub(crate) struct Applier {
    pub(crate) state: StateDir,
    pub(crate) detached: bool,
    pub(crate) directory: Directory,
    pub(crate) ports: Arc<Ports>,
    pub(crate) proxy: proxy::Handle,
    in_force: Mutex<InForce>,
}

/// What is in force.
#[derive(Default)]
struct InForce {
    apply: Apply,
    app: Option<App>,
    addresses: Addresses,
    desired: Desired,
    /// Where the gateway listens.
    gateway: Vec<SocketAddr>,
    /// Everything stops: no further wish is met.
    going_down: bool,
}

/// A wish worked out: everything that will be put in force.
pub(crate) struct Prepared {
    apply: Apply,
    app: App,
    addresses: Addresses,
    desired: Desired,
}

/// Why a wish was not met. What ran goes on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApplyError {
    #[error("the application file has faults")]
    Faults { report: String },
    #[error("this node runs `{running}`, not `{wanted}`")]
    OtherApp { running: String, wanted: String },
    #[error("{0}")]
    Select(String),
    #[error("there is no service `{name}`")]
    NoService { name: String },
    #[error("{count} instances of `{name}` are more than {MAX_REPLICAS}")]
    TooMany { name: String, count: u32 },
    #[error("cannot listen on {address}{}", held_by(.holder))]
    Listen { address: SocketAddr, holder: Option<port_holder::Holder>, source: std::io::Error },
    #[error(transparent)]
    Ports(#[from] control::ports::NoFreePort),
    #[error("cannot keep the application file in the state directory")]
    Keep(#[source] std::io::Error),
    #[error("the node is stopping")]
    Stopping,
}

fn held_by(holder: &Option<port_holder::Holder>) -> String {
    holder.as_ref().map_or_else(String::new, |holder| {
        format!(": `{}` (process {}) holds the port", holder.command, holder.pid)
    })
}

impl Explain for ApplyError {
    fn help(&self) -> Help {
        match self {
            Self::Faults { .. } => Help::code("A0610").hint("mend the file: `atoll check` shows every fault"),
            Self::OtherApp { .. } => Help::code("A0611").hint("use another project name with `-p`"),
            Self::Select(_) | Self::NoService { .. } => {
                Help::code("A0612").hint("`atoll config --services` lists the services")
            }
            Self::TooMany { .. } => Help::code("A0617").hint("ask for fewer"),
            Self::Listen { .. } => Help::code("A0613")
                .hint("stop what holds the port, set `gateway.listen`, or run with `--isolated`"),
            Self::Ports(_) => Help::code("A0614").hint("stop services of other apps on this machine"),
            Self::Keep(_) => Help::code("A0615").hint("free space, or say another place with `--state-dir`"),
            Self::Stopping => Help::code("A0616").hint("wait for it to end, then `atoll up` again"),
        }
    }
}

impl Applier {
    pub(crate) fn new(
        state: StateDir,
        detached: bool,
        directory: Directory,
        ports: Arc<Ports>,
        proxy: proxy::Handle,
    ) -> Self {
        let addresses = Addresses::read(&state);
        let in_force = Mutex::new(InForce { addresses, ..InForce::default() });
        Self { state, detached, directory, ports, proxy, in_force }
    }

    /// Works a wish out without doing anything: new addresses in it are made up.
    pub(crate) async fn prepare(&self, app_name: &str, apply: Apply) -> Result<Prepared, ApplyError> {
        let in_force = self.in_force.lock().await;
        let prepared = self.prepare_with(&in_force, app_name, apply)?;
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
    ) -> Result<Prepared, ApplyError> {
        let app = resolve(&mut apply, in_force)?;
        if app.name.as_str() != app_name {
            return Err(ApplyError::OtherApp { running: app_name.into(), wanted: app.name.to_string() });
        }
        let replicas = replicas(&app, &apply.scale)?;
        let addresses = in_force.addresses.fitted(&app, &self.ports, in_force.app.is_some())?;
        let desired = Desired::of(&app, &replicas, &addresses.urls());
        Ok(Prepared { apply, app, addresses, desired })
    }

    /// The plan from what is in force to `prepared`.
    pub(crate) async fn difference(&self, prepared: &Prepared) -> Plan {
        let in_force = self.in_force.lock().await;
        let (changes, unchanged) = control::desired::changes(&in_force.desired, &prepared.desired);
        to_plan(changes, unchanged)
    }

    /// Puts the wish of the node's last life in force and hands out what should be, for a controller
    /// that is about to start. An address that is taken by now is no reason to leave what runs alone: the
    /// rest goes on, and the error is handed out to be told.
    pub(crate) async fn resume(
        &self,
        app_name: &str,
        apply: Apply,
    ) -> Result<(Desired, Vec<ApplyError>), ApplyError> {
        let mut in_force = self.in_force.lock().await;
        let mut prepared = self.prepare_with(&in_force, app_name, apply)?;
        let desired = prepared.desired.clone();
        let (gateway, failed) = self.listen(&mut prepared).await?;
        self.put_in_force(&mut in_force, prepared, gateway)?;
        Ok((desired, failed))
    }

    /// Puts a wish in force: listeners first (they can fail), then routes, then instances.
    pub(crate) async fn apply(
        &self,
        app_name: &str,
        apply: Apply,
        controller: &Controller,
    ) -> Result<Plan, ApplyError> {
        let mut in_force = self.in_force.lock().await;
        if in_force.going_down {
            return Err(ApplyError::Stopping);
        }
        let mut prepared = self.prepare_with(&in_force, app_name, apply)?;
        let desired = prepared.desired.clone();
        let listening = self.listen(&mut prepared).await;
        let made = prepared.addresses.clone();
        let outcome = match listening {
            Err(error) => Err(error),
            Ok((gateway, failed)) => match failed.into_iter().next() {
                Some(error) => Err(error),
                None => self.put_in_force(&mut in_force, prepared, gateway),
            },
        };
        if let Err(error) = outcome {
            self.proxy.listen(listeners(&in_force.gateway, &in_force.addresses)).await;
            self.give_back(&made, &in_force.addresses);
            return Err(error);
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
        gateway: Vec<SocketAddr>,
    ) -> Result<(), ApplyError> {
        let Prepared { apply, app, addresses, desired } = prepared;
        addresses
            .write(&self.state)
            .and_then(|()| self.state.keep_wish(&apply, self.detached))
            .map_err(ApplyError::Keep)?;
        self.proxy.publish(RouteTable::compile(&app, &self.directory));
        self.give_back(&in_force.addresses, &addresses);
        *in_force = InForce { apply, app: Some(app), addresses, desired, gateway, going_down: false };
        Ok(())
    }

    /// Opens what the app needs and closes what it no longer does. Says where the gateway listens, and what
    /// could not be opened.
    async fn listen(
        &self,
        prepared: &mut Prepared,
    ) -> Result<(Vec<SocketAddr>, Vec<ApplyError>), ApplyError> {
        let addresses = &mut prepared.addresses;
        let mut gateway = Vec::new();
        for wanted in &prepared.app.gateway.listen {
            let mut address = wanted.address;
            if address.port() == 0 {
                let port = match addresses.gateway.get(&wanted.address) {
                    Some(port) => *port,
                    None => self.ports.pick()?,
                };
                addresses.gateway.insert(wanted.address, port);
                address.set_port(port);
            }
            gateway.push(address);
        }
        let failed = self.proxy.listen(listeners(&gateway, addresses)).await;
        let failed = failed.into_iter().map(|(listener, source)| {
            let holder = port_holder::of_tcp_port(listener.address.port());
            ApplyError::Listen { address: listener.address, holder, source }
        });
        Ok((gateway, failed.collect()))
    }

    /// Meets no further wish and takes no new connections from outside; services may go on calling each other.
    pub(crate) async fn go_down(&self) {
        let mut in_force = self.in_force.lock().await;
        in_force.going_down = true;
        self.proxy.listen(listeners(&[], &in_force.addresses)).await;
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

    /// Where things are, for people.
    pub(crate) async fn outline(&self) -> Outline {
        let in_force = self.in_force.lock().await;
        let mut outline = Outline {
            root: in_force.app.as_ref().map_or_else(PathBuf::new, |app| app.root.clone()),
            gateway: in_force.gateway.clone(),
            ..Outline::default()
        };
        let Some(app) = &in_force.app else { return outline };
        let gateway: Vec<String> = in_force.gateway.iter().map(ToString::to_string).collect();
        for service in app.services.values() {
            for route in &service.routes {
                outline.routes.push(api::Route {
                    entrance: "gateway".into(),
                    address: gateway.join(", "),
                    route: route.name.clone(),
                    service: service.name.to_string(),
                    timeout_ms: route.guard.timeout.as_millis() as u64,
                });
            }
            let names = service.routes.iter().map(|route| route.name.clone()).collect();
            let calls = service.calls.keys().map(ToString::to_string).collect();
            outline.services.insert(service.name.clone(), (names, calls));
            for (callee, call) in &service.calls {
                let port = in_force.addresses.mesh.get(&(service.name.clone(), callee.clone()));
                outline.routes.push(api::Route {
                    entrance: service.name.to_string(),
                    address: port.map_or_else(String::new, |port| loopback(*port).to_string()),
                    route: "*".into(),
                    service: callee.to_string(),
                    timeout_ms: call.guard.timeout.as_millis() as u64,
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
    pub(crate) gateway: Vec<SocketAddr>,
    pub(crate) routes: Vec<api::Route>,
    /// Routes and calls of each service, as written.
    pub(crate) services: BTreeMap<ServiceName, (Vec<String>, Vec<String>)>,
}

/// The app that a wish asks for. A wish for some services leaves the others as they are, as `docker compose
/// up NAME` does.
fn resolve(apply: &mut Apply, in_force: &InForce) -> Result<App, ApplyError> {
    let loaded = manifest::parse_resolved(&apply.file, Path::new("<application>"));
    let Some(app) = loaded.app else {
        return Err(ApplyError::Faults { report: manifest::report(&loaded.faults, &loaded.sources, false) });
    };
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

fn listeners(gateway: &[SocketAddr], addresses: &Addresses) -> Vec<Listener> {
    let gateway = gateway.iter().map(|address| Listener { address: *address, entrance: Entrance::Gateway });
    let mesh = addresses.mesh.iter().map(|((caller, callee), port)| Listener {
        address: loopback(*port),
        entrance: Entrance::Mesh { caller: caller.clone(), callee: callee.clone() },
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
mod tests {
    use super::*;

    struct Nowhere;

    impl proxy::AccessSink for Nowhere {
        fn record(&self, _: proxy::AccessRecord) {}
    }

    fn applier(dir: &Path) -> Applier {
        let access = Arc::new(Nowhere);
        let proxy = proxy::Proxy::start(proxy::Options { access, ..proxy::Options::default() }).unwrap();
        let ports = Arc::new(Ports::new(std::process::id().into()));
        Applier::new(StateDir::open(dir).unwrap(), true, Directory::default(), ports, proxy)
    }

    fn wish(services: &str) -> Apply {
        Apply { file: format!("name: x\nservices:\n{services}"), ..Apply::default() }
    }

    const PAIR: &str = "  front: { command: [front], calls: { back: {} } }\n  back: { command: [back] }\n";

    #[tokio::test]
    async fn looking_at_a_plan_takes_no_ports() {
        let dir = tempfile::tempdir().unwrap();
        let applier = applier(dir.path());
        for _ in 0..3 {
            applier.prepare("x", wish(PAIR)).await.unwrap();
        }
        assert_eq!(applier.ports.taken(), 0);
        applier.resume("x", wish(PAIR)).await.unwrap();
        let in_force = applier.ports.taken();
        applier.prepare("x", wish(PAIR)).await.unwrap();
        assert_eq!(applier.ports.taken(), in_force);
        // What is no longer called gives its address back.
        applier.resume("x", wish("  back: { command: [back] }\n")).await.unwrap();
        assert_eq!(applier.ports.taken(), in_force - 1);
    }

    #[tokio::test]
    async fn an_address_of_an_earlier_life_that_somebody_has_taken_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let pair = || ("front".parse().unwrap(), "back".parse().unwrap());
        let first = applier(dir.path());
        first.resume("x", wish(PAIR)).await.unwrap();
        let port = first.in_force.lock().await.addresses.mesh[&pair()];
        first.proxy.listen(Vec::new()).await;
        drop(first);
        let somebody = std::net::TcpListener::bind(loopback(port)).unwrap();
        let second = applier(dir.path());
        let (desired, failed) = second.resume("x", wish(PAIR)).await.unwrap();
        assert!(failed.is_empty());
        assert_ne!(desired.services[&"front".parse().unwrap()].urls[&pair().1].port(), port);
        drop(somebody);
    }

    #[tokio::test]
    async fn a_wish_for_some_services_leaves_the_counts_of_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let applier = applier(dir.path());
        let mut all = wish(PAIR);
        all.scale.insert("back".into(), 3);
        applier.resume("x", all).await.unwrap();
        let some = Apply { services: vec!["front".into()], no_deps: true, ..wish(PAIR) };
        let prepared = applier.prepare("x", some).await.unwrap();
        assert_eq!(prepared.desired.services[&"back".parse().unwrap()].replicas, 3);
    }

    #[tokio::test]
    async fn a_count_with_a_digit_too_many_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut many = wish(PAIR);
        many.scale.insert("back".into(), u32::MAX);
        let error = applier(dir.path()).prepare("x", many).await.err().unwrap();
        assert_eq!(error.to_string(), "4294967295 instances of `back` are more than 1000");
    }
}
