//! The gateway's certificates: read from files or issued by the development authority, put in force, and
//! looked after while the node runs. A new file that is broken never replaces a certificate that works.

mod load;

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use control::{Happening, Level};
use identity::Name;
use kit::{Clock, Explain, Help, SystemClock, Timestamp};
use manifest::spec::{Certificate, Gateway};
use proxy::tls::ChainError;
use tokio_util::sync::CancellationToken;

use load::Held;

/// How often files are looked at. A look is two `stat` calls per certificate.
const LOOK: Duration = Duration::from_secs(1);
/// How long a development certificate that could not be renewed is left before the next try.
const RENEW_AGAIN: Duration = Duration::from_secs(3600);

/// Takes what is to be told to people.
pub(crate) type Tell = Arc<dyn Fn(Happening) + Send + Sync>;

/// Why a certificate cannot be put in force.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error("cannot read `{}` for the gateway's TLS", .path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("cannot use `{}` for the gateway's TLS", .path.display())]
    Unfit { path: PathBuf, source: ChainError },
    #[error("the gateway speaks TLS, but has no certificate")]
    NoCertificate,
    #[error(transparent)]
    Name(#[from] identity::BadName),
    #[error(transparent)]
    Authority(#[from] identity::OpenError),
    #[error("reading the certificates broke off")]
    BrokeOff,
}

impl Explain for LoadError {
    fn help(&self) -> Help {
        match self {
            Self::Read { .. } => {
                Help::code("A0640").hint("see that the file is there and that this user may read it")
            }
            Self::Unfit { source, .. } => source.help(),
            Self::NoCertificate => {
                Help::code("A0641").hint("add `tls: development` to `gateway`, or `tls: { cert: …, key: … }`")
            }
            Self::Name(error) => error.help(),
            Self::Authority(error) => error.help(),
            Self::BrokeOff => {
                Help::code("A0640").hint("try again; `node.log` in the state directory says more")
            }
        }
    }
}

/// Everything about the certificates in force. Cheap to clone; all clones are the same.
#[derive(Clone)]
pub(crate) struct Certificates {
    inner: Arc<Inner>,
}

struct Inner {
    proxy: proxy::tls::Certificates,
    authority: PathBuf,
    tell: Tell,
    in_force: Mutex<InForce>,
}

#[derive(Default)]
struct InForce {
    /// Counts changes: a look that was overtaken by a wish is void.
    change: u64,
    held: Vec<Held>,
}

/// Certificates that were loaded for a wish, and are not in force yet.
#[derive(Clone, Default)]
pub(crate) struct Loaded(Vec<Held>);

impl Certificates {
    /// None is in force yet. `authority` is the directory of the development authority: made when a wish
    /// asks for a certificate of it, and not before.
    pub(crate) fn new(proxy: proxy::tls::Certificates, authority: PathBuf, tell: Tell) -> Self {
        Self { inner: Arc::new(Inner { proxy, authority, tell, in_force: Mutex::default() }) }
    }

    /// Loads what a gateway asks for. What cannot be loaded is told, and looked for again later.
    pub(crate) async fn load(&self, gateway: &Gateway) -> (Loaded, Vec<LoadError>) {
        if !gateway.listen.iter().any(|listen| listen.tls) {
            return (Loaded::default(), Vec::new());
        }
        if gateway.certificates.is_empty() {
            return (Loaded::default(), vec![LoadError::NoCertificate]);
        }
        let wanted: Vec<_> = gateway.certificates.iter().flat_map(apart).collect();
        let authority = self.inner.authority.clone();
        let load = move || {
            let mut loaded = Loaded::default();
            let mut failed = Vec::new();
            for one in wanted {
                let (held, error) = Held::load(one, &authority, now());
                loaded.0.push(held);
                failed.extend(error);
            }
            (loaded, failed)
        };
        let done = tokio::task::spawn_blocking(load).await; // a file may be on a slow disk
        done.unwrap_or_else(|_| (Loaded::default(), vec![LoadError::BrokeOff]))
    }

    /// Puts certificates in force and gives those that were.
    pub(crate) fn put(&self, Loaded(held): Loaded) -> Loaded {
        let mut in_force = self.locked();
        in_force.change += 1;
        let before = std::mem::replace(&mut in_force.held, held);
        self.show(&in_force);
        Loaded(before)
    }

    /// Hands the data path what is held.
    fn show(&self, in_force: &InForce) {
        self.inner.proxy.replace(in_force.held.iter().filter_map(|held| held.chain.clone()).collect());
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, InForce> {
        self.inner.in_force.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks after the certificates until told to stop: files that have changed, and time that passes.
    pub(crate) async fn watch(self, stop: CancellationToken) -> Result<(), Infallible> {
        let mut every = tokio::time::interval(LOOK);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = every.tick() => {}
            }
            if self.locked().held.is_empty() {
                continue;
            }
            let this = self.clone();
            // A look at a disk that hangs holds up nothing else, and is not waited for at the end.
            let look = tokio::task::spawn_blocking(move || this.look(now()));
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = look => {}
            }
        }
    }

    /// Looks once at every certificate.
    fn look(&self, now: Timestamp) {
        let (change, mut held) = {
            let in_force = self.locked();
            (in_force.change, in_force.held.clone())
        };
        let mut news = Vec::new();
        let mut fresh = false;
        for one in &mut held {
            fresh |= one.look(&self.inner.authority, now, &mut news);
        }
        let mut in_force = self.locked();
        if in_force.change != change {
            return; // a wish came in between, and has loaded everything itself
        }
        in_force.held = held;
        if fresh {
            self.show(&in_force);
        }
        drop(in_force);
        for happening in news {
            match happening.level {
                Level::Info => tracing::info!("{}", happening.message),
                _ => tracing::warn!("{}", happening.message),
            }
            (self.inner.tell)(happening);
        }
    }
}

/// The wall clock, read anew: certificates go by it also after the machine has slept.
fn now() -> Timestamp {
    SystemClock::new().now()
}

fn happening(level: Level, kind: &'static str, message: String) -> Happening {
    Happening { level, kind, service: None, instance: None, message, code: None, hint: None }
}

fn trouble(kind: &'static str, error: &LoadError) -> Happening {
    let help = error.help();
    Happening {
        code: Some(help.code.as_str()),
        hint: help.hint,
        ..happening(Level::Warning, kind, kit::report::chain(error))
    }
}

/// One certificate for the addresses and one for the names. BoringSSL, and with it gRPC's C core, knows no name
/// constraints on addresses and refuses a certificate that has any; so clients that say a name (SNI) are shown
/// one without. Those that connect to an address say nothing, and get the first.
fn apart(certificate: &Certificate) -> Vec<Certificate> {
    let Certificate::Development { names } = certificate else { return vec![certificate.clone()] };
    let is_address = |name: &String| matches!(name.parse(), Ok(Name::Ip(_)));
    let (addresses, names): (Vec<_>, Vec<_>) = names.iter().cloned().partition(is_address);
    let both = [addresses, names].into_iter().filter(|names| !names.is_empty());
    both.map(|names| Certificate::Development { names }).collect()
}

fn names_of(certificate: &Certificate) -> Result<Vec<Name>, identity::BadName> {
    match certificate {
        Certificate::Files { .. } => Ok(Vec::new()),
        Certificate::Development { names } => names.iter().map(|name| name.parse()).collect(),
    }
}

#[cfg(test)]
mod tests;
