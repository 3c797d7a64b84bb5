//! The edge of one app: its checks, made from the file and kept up to date.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kit::{Explain, Help};
use manifest::spec::{Gateway, Route};
use proxy::Filter;

use crate::bearer::{Authenticator, Bearer, Closed, Now, wall_clock};
use crate::keys::KeyError;

/// How often the node calls [`Edge::refresh`].
pub const REFRESH_PERIOD: Duration = Duration::from_secs(1);

/// What only the edge does, for one app. Shared by reference; another version of the app has another.
pub struct Edge {
    checks: BTreeMap<String, Arc<Authenticator>>,
    now: Now,
}

/// Why a check cannot be made as the file declares it.
#[derive(Debug, thiserror::Error)]
#[error("the check `{auth}` of the gateway cannot be made")]
pub struct EdgeError {
    /// Which: its name under `gateway.auth`.
    pub auth: String,
    /// Why.
    #[source]
    pub source: KeyError,
}

impl Explain for EdgeError {
    fn help(&self) -> Help {
        self.source.help()
    }
}

/// What [`Edge::refresh`] found. The same fault is told once.
#[derive(Debug)]
pub enum News {
    /// Other keys are in force.
    Reloaded {
        /// The name of the check.
        auth: String,
        /// How many keys.
        keys: usize,
    },
    /// The file cannot be used; the keys that were in force still are.
    Failed(EdgeError),
}

impl Edge {
    /// The edge of an app; reads its key files. An error if one of them cannot be used.
    pub fn new(gateway: &Gateway) -> Result<Self, EdgeError> {
        Self::default().next(gateway)
    }

    /// The edge of the next version of the app. A check that has not changed keeps its keys, and what threads
    /// know of tokens.
    pub fn next(&self, gateway: &Gateway) -> Result<Self, EdgeError> {
        let (edge, faults) = self.next_as_far_as_possible(gateway);
        match faults.into_iter().next() {
            Some(fault) => Err(fault),
            None => Ok(edge),
        }
    }

    /// As [`Self::next`], but checks without keys are made, too: they let nobody in until [`Self::refresh`]
    /// finds a file that can be used.
    pub fn next_as_far_as_possible(&self, gateway: &Gateway) -> (Self, Vec<EdgeError>) {
        let mut checks = BTreeMap::new();
        let mut faults = Vec::new();
        for (name, jwt) in &gateway.auth {
            let kept = self.checks.get(name).filter(|kept| kept.jwt == *jwt);
            let check = kept.map_or_else(|| Arc::new(Authenticator::new(name, jwt)), Arc::clone);
            if let Err(source) = check.refresh_anew() {
                faults.push(EdgeError { auth: name.clone(), source });
            }
            checks.insert(name.clone(), check);
        }
        (Self { checks, now: Arc::clone(&self.now) }, faults)
    }

    /// An edge without checks that goes by another clock; for tests, with [`Self::next`].
    pub fn with_clock(now: Now) -> Self {
        Self { checks: BTreeMap::new(), now }
    }

    /// The filters that a route of the file asks for, in order. A route whose check does not exist is closed.
    pub fn filters(&self, route: &Route) -> Vec<Box<dyn Filter>> {
        let Some(name) = &route.auth else { return Vec::new() };
        match self.checks.get(name) {
            Some(check) => {
                let authenticator = Arc::clone(check);
                vec![Box::new(Bearer { authenticator, now: Arc::clone(&self.now) })]
            }
            None => vec![Box::new(Closed)],
        }
    }

    /// Looks at the key files and reads those that have changed. Reads files: not for the data path. Call it
    /// every [`REFRESH_PERIOD`].
    pub fn refresh(&self) -> Vec<News> {
        let mut news = Vec::new();
        for (name, check) in &self.checks {
            match check.refresh() {
                Ok(None) => {}
                Ok(Some(keys)) => news.push(News::Reloaded { auth: name.clone(), keys }),
                Err(source) => news.push(News::Failed(EdgeError { auth: name.clone(), source })),
            }
        }
        news
    }

    /// Whether there is anything to refresh.
    pub fn is_empty(&self) -> bool {
        self.checks.is_empty()
    }
}

impl Default for Edge {
    /// Nothing is checked; the machine's clock.
    fn default() -> Self {
        Self::with_clock(Arc::new(wall_clock))
    }
}
