//! The resolved form: what an app asks for, in domain types, every default filled in. It has never
//! heard of YAML; [`crate::load`] makes it, the planes of the platform read it.

mod console;
mod guard;
mod instance;
mod name;
mod pipes;
mod slo;
mod telemetry;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use kit::units::Bytes;

pub use console::Console;
pub use guard::{
    Adaptive, Balance, BalanceBy, Breaker, Bulkhead, Certificate, EdgeLimits, Fallback, Fault, Guard,
    HashKey, Hedge, Jwt, JwtKeys, LimitKey, Mirror, Outlier, Priority, RateLimit, Retry, Slow, Split, Wire,
};
pub use instance::{BadInstanceId, InstanceId, Slot};
pub use name::{AppName, BadName, PipeName, ServiceName};
pub use pipes::{
    Access, Allow, CredentialKind, DeadLetter, Deliver, Engine, Fifo, FilterScope, Pipes, Queue,
    Subscription, Topic, Verb,
};

pub use slo::{AlertRule, Alerts, LatencySlo, Mail, MailAddress, MailTls, Measure, Slo};
pub use telemetry::{Compression, Export, ExportProtocol, QueryDoor, Telemetry};

/// An application: what its file asks for once merged, interpolated, selected and checked.
#[derive(Clone, Debug, PartialEq)]
pub struct App {
    /// The app's name: Compose's project name.
    pub name: AppName,
    /// The project directory: relative paths of the file start here. Absolute.
    pub root: PathBuf,
    /// The services that are enabled, by name.
    pub services: BTreeMap<ServiceName, Service>,
    /// The edge of the app.
    pub gateway: Gateway,
    /// Its queues and topics.
    pub pipes: Pipes,
    /// What is kept of its traces, logs and metrics; `None`: nothing.
    pub telemetry: Option<Telemetry>,
    /// Its web console.
    pub console: Console,
}

impl App {
    /// Its queues by name, those included that were made for dead letters.
    pub fn queues(&self) -> impl Iterator<Item = &Queue> {
        self.pipes.queues.values()
    }

    /// Its topics by name.
    pub fn topics(&self) -> impl Iterator<Item = &Topic> {
        self.pipes.topics.values()
    }
}

/// One service.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// Its name.
    pub name: ServiceName,
    /// How its instances come to life.
    pub work: Work,
    /// A command run to its end before the first instance starts (and again when it changes).
    pub prepare: Option<Vec<String>>,
    /// What the file says of the environment, `env_file`s included. What Atoll adds (`PORT`, `<NAME>_URL`, …)
    /// is not in here; a name in here wins over Atoll's.
    pub environment: BTreeMap<String, String>,
    /// Where commands run. Absolute.
    pub working_dir: PathBuf,
    /// The port every instance listens on; `None`: Atoll picks one for each.
    pub port: Option<u16>,
    /// Run as this user, `name|uid[:group|gid]`; `None`: as Atoll's own user.
    pub user: Option<String>,
    /// Resource limits of each process (`setrlimit`), by Linux name in lower case without `RLIMIT_`.
    pub ulimits: BTreeMap<String, Ulimit>,
    /// Limits of an instance as a whole.
    pub limits: Limits,
    /// When an instance that ended starts again.
    pub restart: Restart,
    /// The signal that asks an instance to end; a Linux name such as `SIGTERM`.
    pub stop_signal: String,
    /// How long an instance may take to end before it is killed.
    pub stop_grace: Duration,
    /// What must be there before an instance starts.
    pub depends_on: BTreeMap<ServiceName, Dependency>,
    /// How to tell that an instance is ready; `None`: it is ready as soon as it runs.
    pub healthcheck: Option<HealthCheck>,
    /// The path under which each instance says what it counts, in the text format of Prometheus.
    pub metrics: Option<String>,
    /// What is promised of all its requests.
    pub slo: Option<Slo>,
    /// Series that are made of what it logs, by name.
    pub measures: BTreeMap<String, Measure>,
    /// How many instances.
    pub scale: Scale,
    /// What it speaks on its port.
    pub wire: Wire,
    /// How requests are spread over its instances.
    pub balance: Balance,
    /// What the gateway sends here, in file order.
    pub routes: Vec<Route>,
    /// Whom it may call.
    pub calls: BTreeMap<ServiceName, Call>,
    /// How its output is kept.
    pub logging: Logging,
    /// Labels and annotations, for people and tools.
    pub labels: BTreeMap<String, String>,
}

impl Service {
    /// The guards of its routes, then those of its calls.
    pub fn guards(&self) -> impl Iterator<Item = &Guard> {
        let routes = self.routes.iter().map(|route| &route.guard);
        routes.chain(self.calls.values().map(|call| &call.guard))
    }
}

/// How instances come to life.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// A host process: the argument vector, `entrypoint` and `command` joined. Never empty.
    Process(Vec<String>),
    /// Something this version cannot run yet; the text says what and why (`image` needs a container).
    /// The service is known, shown and never started.
    Unsupported(String),
}

/// A soft and a hard limit; `None` is unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ulimit {
    /// The limit that is enforced.
    pub soft: Option<u64>,
    /// The ceiling to which the process may raise it.
    pub hard: Option<u64>,
}

/// Limits of an instance as a whole, enforced by cgroup where the machine allows it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Limits {
    /// CPU time per wall time; 1.5 is one and a half cores.
    pub cpus: Option<f64>,
    /// Memory.
    pub memory: Option<Bytes>,
    /// Processes and threads.
    pub pids: Option<u64>,
}

/// When an instance that ended starts again, and how patiently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restart {
    /// Which ends count.
    pub when: RestartWhen,
    /// At most this many restarts in a row (without a time of health between them); `None`: no bound.
    pub max_attempts: Option<u32>,
    /// The first delay; it doubles with each failure in a row.
    pub delay: Duration,
    /// An instance that ran this long counts as recovered: the next failure is its first again.
    pub window: Duration,
}

/// Which ends of an instance lead to a new start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartWhen {
    /// None.
    Never,
    /// A non-zero exit status or a signal.
    OnFailure,
    /// Every end that Atoll did not ask for.
    Always,
}

/// What a dependency must have reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// The state to wait for.
    pub condition: Condition,
    /// Restart the dependant when Atoll restarts the dependency.
    pub restart: bool,
    /// `false`: a dependency that is not enabled or cannot run is only warned about.
    pub required: bool,
}

/// A state of a dependency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Its instances have been started.
    Started,
    /// Its instances pass their health check.
    Healthy,
    /// Its instances ran to their end with status 0.
    Completed,
}

/// How to tell that an instance is ready.
#[derive(Clone, Debug, PartialEq)]
pub struct HealthCheck {
    /// What is asked.
    pub probe: Probe,
    /// Time between two checks of a ready instance.
    pub interval: Duration,
    /// How long one check may take.
    pub timeout: Duration,
    /// Failures in a row that make a ready instance unready.
    pub retries: u32,
    /// Failures within this time after the start do not count.
    pub start_period: Duration,
    /// Time between two checks until the first one passes. Where the file says nothing Atoll begins at
    /// 25 ms and slows down to `interval`, so that readiness is seen at once.
    pub start_interval: Option<Duration>,
}

/// One kind of check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// `GET path` answers 2xx or 3xx.
    Http {
        /// Path and query.
        path: String,
        /// Another port than the instance's own.
        port: Option<u16>,
    },
    /// A connection opens.
    Tcp {
        /// Another port than the instance's own.
        port: Option<u16>,
    },
    /// `grpc.health.v1.Health/Check` says SERVING.
    Grpc {
        /// The service to ask about; empty: the server as a whole.
        service: String,
        /// Another port than the instance's own.
        port: Option<u16>,
    },
    /// The command, run beside the instance with its environment, ends with status 0.
    Exec(Vec<String>),
}

/// How many instances. Elastic bounds are kept for the autoscaler; today `replicas` is the count.
#[derive(Clone, Debug, PartialEq)]
pub struct Scale {
    /// Instances that run.
    pub replicas: u32,
    /// Fewest, when elastic.
    pub min: u32,
    /// Most, when elastic.
    pub max: u32,
    /// What the autoscaler aims at, as written (`concurrency: 32`).
    pub target: BTreeMap<String, f64>,
    /// Scale ahead of load.
    pub predict: bool,
}

/// One way into a service from the gateway.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// As people write it: `GET /books/{id}`. Names the route in logs, metrics and problems.
    pub name: String,
    /// Methods it takes; empty: all.
    pub methods: Vec<http::Method>,
    /// The path: literal segments, `{name}` for one segment, a last `{*name}` for the rest.
    pub path: String,
    /// The host, lower case, without a port; `*.example.com` takes any one label or more. `None`: any host.
    pub host: Option<String>,
    /// Headers the request must carry.
    pub headers: Vec<HeaderMatch>,
    /// Who may come in: a name under `gateway.auth`; `None`: everybody.
    pub auth: Option<String>,
    /// What guards it.
    pub guard: Guard,
    /// Taken off the front of the path before the service sees it (`/shop`).
    pub strip_prefix: Option<String>,
    /// What is promised of its requests.
    pub slo: Option<Slo>,
}

/// A header a request must carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderMatch {
    /// Name, lower case.
    pub name: http::HeaderName,
    /// Its exact value; `None`: any value.
    pub value: Option<String>,
}

/// One entry of `calls`: an edge of the app's graph.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Call {
    /// What guards it.
    pub guard: Guard,
}

/// The edge of the app.
#[derive(Clone, Debug, PartialEq)]
pub struct Gateway {
    /// Where it listens. Empty when no service has routes.
    pub listen: Vec<Listen>,
    /// The certificates of listeners that speak TLS; the first is for clients that name no host.
    pub certificates: Vec<Certificate>,
    /// Who may come in, by the name that routes use.
    pub auth: BTreeMap<String, Jwt>,
    /// What is allowed at most.
    pub limits: EdgeLimits,
    /// Whether each exchange has a line in the access log.
    pub access_log: bool,
    /// Whether answers say in `Server-Timing` how much of their time was the platform's own.
    pub server_timing: bool,
}

impl Default for Gateway {
    /// What holds where the file says nothing and no service has routes.
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            certificates: Vec::new(),
            auth: BTreeMap::new(),
            limits: EdgeLimits::default(),
            access_log: true,
            server_timing: true,
        }
    }
}

/// One address of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Listen {
    /// Where.
    pub address: std::net::SocketAddr,
    /// TLS, with HTTP/1.1 and HTTP/2 by ALPN; else both in the clear.
    pub tls: bool,
}

/// How output is kept: per instance `max_files` files of `max_size`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Logging {
    /// A file is rotated before it grows past this.
    pub max_size: Bytes,
    /// Files kept per instance, the current one included; at least 1.
    pub max_files: u32,
}
