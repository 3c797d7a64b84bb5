//! Queues and topics of an app: the store, what is kept in it, and the faces that clients know, on threads of their own.
//! They begin with the first file that asks for them.
//!
//! Read in this order: [`Broker`], `declare` with `settings` (what the file wants), `environment` (what services find), `gate`
//! with `policies` (who may do what), `keys` (for who is outside), `push` and `envelope` (queues that are handed to a service),
//! `courier` (topics to addresses), `signing` (what they tell), `secret`, `told` (what becomes of it all, as spans).

mod courier;
mod declare;
mod envelope;
mod environment;
mod gate;
mod keys;
mod policies;
mod push;
mod secret;
mod settings;
mod signing;
mod told;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use identity::KeyBook;
use kit::{Clock, Explain, Help, OnError, SystemClock, Tasks};
use manifest::spec::{self, App, ServiceName};
use pipes::topic::{self, TopicLimits, Topics, TopicsOptions};
use pipes::{Pipes, QueueName};
use store::{EngineKind, Space, Store};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::edge::Tell;
use crate::listener;
use crate::port_holder::{self, held_by};
use crate::spans::Spans;

use gate::Gate;
use signing::Signing;
use told::Told;

pub(crate) use environment::{REGION, endpoint, queue_url, reachable, topic_arn};
pub(crate) use keys::{Keys, KeysError, ShownKey};
pub(crate) use told::{About, SNS, SQS};

/// What is kept in the store.
pub(crate) static SPACES: &[Space] = &SPACES_OF_BOTH;
const SPACES_OF_BOTH: [Space; pipes::SPACES.len() + topic::SPACES.len()] = {
    let mut all = [pipes::SPACES[0]; pipes::SPACES.len() + topic::SPACES.len()];
    let mut at = 0;
    while at < all.len() {
        let queues = pipes::SPACES.len();
        all[at] = if at < queues { pipes::SPACES[at] } else { topic::SPACES[at - queues] };
        at += 1;
    }
    all
};

/// Where the store is, in the state directory.
pub(crate) const STORE: &str = "store";
/// Threads that serve clients of queues and topics.
const THREADS: usize = 2;
/// How long requests under way may take once everything stops; then the store is closed.
const GRACE: Duration = Duration::from_secs(5);
/// How long to wait for the node before this one to close its store.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long the credentials of a service are good that the file has no longer: it has to finish what it has begun.
const LEAVE: Duration = Duration::from_secs(600);
/// Between two looks whether it has.
const LOOK: Duration = Duration::from_millis(50);

/// Why queues and topics are not as the file wants them.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BrokerError {
    #[error("cannot read or make the secret `{}`", .path.display())]
    Secret { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Store(#[from] store::OpenError),
    #[error("cannot read the queues back from the store: {0}")]
    Read(String),
    #[error("cannot listen for clients of queues and topics on {address}{}", held_by(.holder))]
    Listen { address: SocketAddr, holder: Option<port_holder::Holder>, source: std::io::Error },
    #[error("cannot set up {what} `{name}`: {why}")]
    Declare { what: &'static str, name: String, why: String },
    #[error("the store was opened with another engine: stop the app before `pipes.engine` changes")]
    Engine,
    #[error("cannot start the threads of queues and topics")]
    Threads(#[source] std::io::Error),
}

impl Explain for BrokerError {
    fn help(&self) -> Help {
        match self {
            Self::Secret { .. } => Help::code("A0660").hint("see who owns it, or put it back from a backup"),
            Self::Store(error) => error.help(),
            Self::Read(_) => Help::code("A0661").hint("look at it with `atoll store verify`"),
            Self::Listen { .. } => Help::code("A0662")
                .hint("stop what holds the port, set `pipes.listen`, or run with `--isolated`"),
            Self::Declare { .. } => Help::code("A0663").hint("see what the file says of it: `atoll config`"),
            Self::Engine => Help::code("A0664").hint("`atoll down`, then `atoll up`"),
            Self::Threads(_) => Help::code("A0603").hint("`atoll doctor` checks what this machine allows"),
        }
    }
}

/// The queues and topics of an app.
pub(crate) struct Broker {
    app: String,
    state_dir: PathBuf,
    tell: Tell,
    clock: SystemClock,
    told: Told,
    door: OnceLock<Door>,
    running: Mutex<Option<Running>>,
    /// For those who only look, who must not wait for a store that is being opened; empty while nothing runs.
    seen: ArcSwapOption<Seen>,
}

/// Who comes in.
struct Door {
    book: Arc<KeyBook>,
    keys: Arc<Keys>,
    gate: Arc<Gate>,
    signing: Signing,
}

struct Seen {
    pipes: Arc<Pipes>,
    topics: Topics,
    store: Arc<dyn Store>,
}

struct Running {
    runtime: tokio::runtime::Runtime,
    engine: spec::Engine,
    store: Arc<dyn Store>,
    pipes: Pipes,
    topics: Topics,
    tasks: Tasks,
    server: wire::Server,
    envelopes: Arc<wire::sns::Envelopes>,
    signing: Signing,
    told: Told,
    listening: Option<Listening>,
    /// What hands queues to services, each with how to end it.
    pushed: BTreeMap<QueueName, Pushed>,
}

struct Pushed {
    deliver: spec::Deliver,
    to: SocketAddr,
    stop: CancellationToken,
}

struct Listening {
    address: SocketAddr,
    stop: CancellationToken,
}

impl Broker {
    pub(crate) fn new(app: &str, state_dir: &Path, clock: SystemClock, tell: Tell, spans: Spans) -> Self {
        Self {
            told: Told::new(spans, clock.clone()),
            app: app.to_owned(),
            state_dir: state_dir.to_owned(),
            tell,
            clock,
            door: OnceLock::new(),
            running: Mutex::default(),
            seen: ArcSwapOption::empty(),
        }
    }

    /// What services find in their environment, where clients listen at `address`.
    pub(crate) fn given(
        &self,
        app: &App,
        address: SocketAddr,
    ) -> Result<BTreeMap<ServiceName, BTreeMap<String, String>>, BrokerError> {
        Ok(environment::given(app, address, &self.door()?.book))
    }

    /// The queues, while there are any.
    pub(crate) fn pipes(&self) -> Option<Arc<Pipes>> {
        self.seen.load().as_ref().map(|seen| Arc::clone(&seen.pipes))
    }

    /// The topics, while there are any.
    pub(crate) fn topics(&self) -> Option<Topics> {
        self.seen.load().as_ref().map(|seen| seen.topics.clone())
    }

    /// The time, as queues count it.
    pub(crate) fn now(&self) -> kit::Timestamp {
        self.clock.now()
    }

    /// Who is to be told of what is done to messages.
    pub(crate) fn told(&self) -> &Told {
        &self.told
    }

    /// How the store is, while there is one.
    pub(crate) fn store(&self) -> Option<Arc<dyn Store>> {
        self.seen.load().as_ref().map(|seen| Arc::clone(&seen.store))
    }

    /// Opens, sets up and closes what is needed for the file to hold. What is on disk stays there, also when the file
    /// does not ask for it any more.
    ///
    /// `mesh` tells for a service the address that leads to it.
    pub(crate) async fn put(
        &self,
        wanted: &spec::Pipes,
        address: Option<SocketAddr>,
        mesh: impl Fn(&ServiceName) -> Option<SocketAddr>,
    ) -> Result<(), BrokerError> {
        let mut running = self.running.lock().await;
        let Some(address) = address else {
            if let Some(running) = running.take() {
                self.seen.store(None);
                running.close().await;
            }
            return Ok(());
        };
        let gate = &self.door()?.gate;
        if running.is_none() {
            *running = Some(self.open(wanted.engine, address, Arc::clone(gate)).await?);
        }
        let Some(running) = running.as_mut() else { return Ok(()) };
        if running.engine != wanted.engine {
            return Err(BrokerError::Engine);
        }
        running.declare(wanted).await?;
        gate.put(wanted.clone());
        running.listen(address)?;
        running.push(wanted, mesh);
        let (pipes, store) = (Arc::new(running.pipes.clone()), Arc::clone(&running.store));
        let topics = running.topics.clone();
        self.seen.store(Some(Arc::new(Seen { pipes, topics, store })));
        Ok(())
    }

    /// A file is in force: services that it does not have keep their credentials for as long as they may take to end.
    pub(crate) fn keep_services(&self, app: &App) {
        if let Some(door) = self.door.get() {
            let stays = |name: &str| app.services.keys().any(|service| service.as_str() == name);
            door.book.keep_services(stays, self.clock.now(), LEAVE);
        }
    }

    /// Ends everything: requests under way are answered, the store is closed.
    pub(crate) async fn close(&self) {
        self.seen.store(None);
        if let Some(running) = self.running.lock().await.take() {
            running.close().await;
        }
    }

    /// The keys of who is outside.
    pub(crate) fn keys(&self) -> Result<&Keys, BrokerError> {
        Ok(&self.door()?.keys)
    }

    fn door(&self) -> Result<&Door, BrokerError> {
        if let Some(door) = self.door.get() {
            return Ok(door);
        }
        let secret = secret::of(&self.state_dir)
            .map_err(|source| BrokerError::Secret { path: self.state_dir.join("secret"), source })?;
        let book = Arc::new(KeyBook::new(&secret, &self.app));
        let keys = Arc::new(Keys::new(Arc::clone(&book), &self.state_dir));
        let tell = || Arc::clone(&self.tell);
        let gate = Arc::new(Gate::new(Arc::clone(&book), Arc::clone(&keys), self.clock.clone(), tell()));
        let signing = Signing::new(Arc::clone(&book), &self.app, &self.state_dir, self.clock.clone(), tell());
        Ok(self.door.get_or_init(|| Door { book, keys, gate, signing }))
    }

    async fn open(
        &self,
        engine: spec::Engine,
        address: SocketAddr,
        gate: Arc<Gate>,
    ) -> Result<Running, BrokerError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("atoll-pipes")
            .enable_all()
            .build()
            .map_err(BrokerError::Threads)?;
        let store = self.open_store(engine).await?;
        let tasks = Tasks::new();
        let (keys, signing) = (Arc::clone(&self.door()?.keys), self.door()?.signing.clone());
        // Only now: until it let go of the store, the node before this one may have written them.
        keys.read_again(&self.tell);
        {
            let _on = runtime.enter();
            tasks.spawn("broker.keys", OnError::Log, |stop| keys.keep_uses(stop));
            tasks.spawn("broker.signing", OnError::Log, |stop| signing.clone().run(stop));
        }
        let options = pipes::Options {
            store: Arc::clone(&store),
            clock: Arc::new(self.clock.clone()),
            tasks: tasks.clone(),
            limits: pipes::Limits::default(),
            watch: Some(Arc::new(self.told.clone())),
        };
        let pipes = read(runtime.spawn(Pipes::open(options)).await)?;
        let endpoint = environment::endpoint(address);
        let signer = Arc::new(signing.clone());
        let envelopes = Arc::new(wire::sns::Envelopes::new(&endpoint, Some(signer.clone())));
        let options = TopicsOptions {
            pipes: pipes.clone(),
            store: Arc::clone(&store),
            clock: Arc::new(self.clock.clone()),
            tasks: tasks.clone(),
            envelope: Arc::clone(&envelopes) as Arc<dyn topic::Envelope>,
            deliver: Some(Arc::new(courier::Courier::new(self.told.clone(), tasks.clone()))),
            limits: TopicLimits::default(),
        };
        let topics = read(runtime.spawn(Topics::open(options)).await)?;
        let server = wire::Server::new(wire::Options {
            faces: vec![
                Arc::new(wire::Sqs::new(pipes.clone())),
                Arc::new(wire::sns::Sns::new(topics.clone(), pipes.clone()).signed_by(signer)),
            ],
            gate,
            witness: Arc::new(self.told.clone()),
            limits: wire::Limits::default(),
        });
        let pushed = BTreeMap::new();
        let told = self.told.clone();
        Ok(Running {
            runtime,
            engine,
            store,
            pipes,
            topics,
            tasks,
            server,
            envelopes,
            signing,
            told,
            listening: None,
            pushed,
        })
    }

    /// Opens the store, which the node before this one may still be about to close.
    async fn open_store(&self, engine: spec::Engine) -> Result<Arc<dyn Store>, BrokerError> {
        let directory = self.state_dir.join(STORE);
        let give_up = tokio::time::Instant::now() + PATIENCE;
        loop {
            let mut options = store::Options::new(&directory, SPACES);
            options.engine = match engine {
                spec::Engine::Fjall => EngineKind::Fjall,
                spec::Engine::Redb => EngineKind::Redb,
            };
            options.clock = Arc::new(self.clock.clone());
            let opened = tokio::task::spawn_blocking(move || store::open(options)).await;
            match opened {
                Ok(Err(store::OpenError::Locked { .. })) if tokio::time::Instant::now() < give_up => {
                    tokio::time::sleep(LOOK).await;
                }
                Ok(outcome) => return Ok(outcome?),
                Err(panicked) => return Err(BrokerError::Read(panicked.to_string())),
            }
        }
    }
}

fn read<T, E: std::error::Error + 'static>(
    opened: Result<Result<T, E>, tokio::task::JoinError>,
) -> Result<T, BrokerError> {
    match opened {
        Ok(Ok(opened)) => Ok(opened),
        Ok(Err(error)) => Err(BrokerError::Read(kit::report::chain(&error))),
        Err(panicked) => Err(BrokerError::Read(panicked.to_string())),
    }
}

impl Running {
    /// Listens at an address, and nowhere else.
    fn listen(&mut self, address: SocketAddr) -> Result<(), BrokerError> {
        if self.listening.as_ref().is_some_and(|now| now.address == address) {
            return Ok(());
        }
        let listener = listener::bind(address).map_err(|source| {
            let holder = port_holder::of_tcp_port(address.port());
            BrokerError::Listen { address, holder, source }
        })?;
        let stop = CancellationToken::new();
        let (server, until) = (self.server.clone(), stop.clone());
        let _on = self.runtime.enter();
        self.tasks.spawn("broker.serve", OnError::Log, move |stopping| async move {
            let all = until.clone();
            let serving = server.serve(listener, until);
            tokio::pin!(serving);
            tokio::select! {
                ended = &mut serving => ended,
                () = stopping.cancelled() => {
                    all.cancel();
                    serving.await
                }
            }
        });
        self.envelopes.moved(&environment::endpoint(address));
        if let Some(before) = self.listening.replace(Listening { address, stop }) {
            before.stop.cancel();
        }
        Ok(())
    }

    /// On the runtime of its own: what is made may have tasks.
    async fn declare(&self, wanted: &spec::Pipes) -> Result<(), BrokerError> {
        let (pipes, topics, wanted) = (self.pipes.clone(), self.topics.clone(), wanted.clone());
        let declaring = self.runtime.spawn(async move { declare::declare(&pipes, &topics, &wanted).await });
        declaring.await.unwrap_or_else(|panicked| Err(BrokerError::Read(panicked.to_string())))?;
        let signs = |topic: &Arc<topic::Topic>| {
            topic.settings().fifo.is_none()
                && topic.subscriptions().iter().any(|there| there.endpoint.url().is_some())
        };
        if self.topics.topics(None, usize::MAX).iter().any(signs) {
            self.signing.prepare();
        }
        Ok(())
    }

    /// Hands queues to services as the file says; what has not changed goes on.
    fn push(&mut self, wanted: &spec::Pipes, mesh: impl Fn(&ServiceName) -> Option<SocketAddr>) {
        let mut before = std::mem::take(&mut self.pushed);
        let _on = self.runtime.enter();
        for queue in wanted.queues.values() {
            let Some((deliver, to)) = queue.deliver.clone().zip(mesh(&queue.owner)) else { continue };
            let Some(queue) = settings::wire_name(queue).and_then(|name| self.pipes.queue(&name)) else {
                continue;
            };
            let name = queue.name().clone();
            if let Some(same) = before.remove(&name) {
                if same.deliver == deliver && same.to == to {
                    self.pushed.insert(name, same);
                    continue;
                }
                same.stop.cancel();
            }
            // Either ends it: the file that has changed, or everything.
            let stop = self.tasks.stopping().child_token();
            let pusher = push::Pusher::new(queue, deliver.clone(), to, self.told.clone());
            for _ in 0..deliver.concurrency.max(1) {
                let (pusher, stop) = (pusher.clone(), stop.clone());
                self.tasks.spawn("broker.push", OnError::Log, move |_| async move {
                    pusher.run(stop).await;
                    Ok::<_, std::convert::Infallible>(())
                });
            }
            self.pushed.insert(name, Pushed { deliver, to, stop });
        }
        for gone in before.into_values() {
            gone.stop.cancel();
        }
    }

    async fn close(self) {
        let Self { runtime, store, pipes, topics, tasks, server, .. } = self;
        if let Err(late) = tasks.shutdown(GRACE).await {
            tracing::warn!("{late}");
        }
        drop((pipes, topics, server));
        // Whoever opens it next must find it closed; a runtime is not to be dropped where tasks run.
        let _ = tokio::task::spawn_blocking(move || runtime.shutdown_timeout(GRACE)).await;
        store.close().await;
    }
}

/// A queue that is handed to its service is a call of the service to itself: it has an address, a breaker and a place in
/// the list of routes like any other.
pub(crate) fn call_for_deliveries(app: &mut App) {
    for queue in app.pipes.queues.values() {
        let Some(deliver) = &queue.deliver else { continue };
        let Some(service) = app.services.get_mut(&queue.owner) else { continue };
        let guard = spec::Guard {
            timeout: deliver.timeout,
            // What was not done comes back with the queue's own pause.
            retry: spec::Retry { attempts: 0, ..spec::Retry::default() },
            ..spec::Guard::default()
        };
        let call = service.calls.entry(queue.owner.clone()).or_insert(spec::Call { guard });
        call.guard.timeout = call.guard.timeout.max(deliver.timeout);
    }
}
