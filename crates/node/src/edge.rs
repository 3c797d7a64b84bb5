//! What the edge checks: made with each wish, put in force with its routes, and kept up to date while the node
//! runs. A key file that is broken never replaces keys that work.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use control::{Happening, Level};
use gateway::edge::REFRESH_PERIOD;
use gateway::{Edge, EdgeError, News};
use kit::Explain;
use manifest::spec::{Gateway, Route, ServiceName};
use proxy::table::Additions;
use tokio_util::sync::CancellationToken;

/// Takes what is to be told to people.
pub(crate) type Tell = Arc<dyn Fn(Happening) + Send + Sync>;

/// The edge in force. Cheap to clone; all clones are the same.
#[derive(Clone)]
pub(crate) struct Edges {
    in_force: Arc<Mutex<Arc<Edge>>>,
    tell: Tell,
}

impl Edges {
    /// Nothing is checked yet.
    pub(crate) fn new(tell: Tell) -> Self {
        Self { in_force: Arc::default(), tell }
    }

    /// Makes the edge that a gateway asks for. What cannot be made lets nobody in, and is told. `None`: the
    /// node is ending.
    pub(crate) async fn load(&self, gateway: &Gateway) -> Option<(Arc<Edge>, Vec<EdgeError>)> {
        let (before, gateway) = (self.in_force(), gateway.clone());
        let load = move || before.next_as_far_as_possible(&gateway);
        let (edge, failed) = tokio::task::spawn_blocking(load).await.ok()?; // a file may be on a slow disk
        Some((Arc::new(edge), failed))
    }

    /// Puts an edge in force, and gives what its routes need.
    pub(crate) fn put(&self, edge: Arc<Edge>) -> Additions {
        *self.in_force.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&edge);
        let filters = move |_: &ServiceName, route: &Route| edge.filters(route);
        Additions { filters: Some(Box::new(filters)), ..Additions::default() }
    }

    fn in_force(&self) -> Arc<Edge> {
        Arc::clone(&self.in_force.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks after the key files until told to stop.
    pub(crate) async fn watch(self, stop: CancellationToken) -> Result<(), Infallible> {
        let mut every = tokio::time::interval(REFRESH_PERIOD);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = every.tick() => {}
            }
            let edge = self.in_force();
            if edge.is_empty() {
                continue;
            }
            // A look at a disk that hangs holds up nothing else, and is not waited for at the end.
            let look = tokio::task::spawn_blocking(move || edge.refresh());
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                news = look => news.unwrap_or_default().into_iter().for_each(|news| (self.tell)(told(news))),
            }
        }
    }
}

/// What people are told.
fn told(news: News) -> Happening {
    let happening = |level, kind, message| Happening {
        level,
        kind,
        service: None,
        instance: None,
        message,
        code: None,
        hint: None,
    };
    match news {
        News::Reloaded { auth, keys } => {
            let message = format!("`{auth}` checks tokens with new keys: {keys} in all");
            tracing::info!("{message}");
            happening(Level::Info, "gateway.keys_changed", message)
        }
        News::Failed(error) => {
            let message = format!("{}; what was in force still is", kit::report::chain(&error));
            tracing::warn!("{message}");
            let help = error.help();
            let told = happening(Level::Warning, "gateway.keys_unusable", message);
            Happening { code: Some(help.code.as_str()), hint: help.hint, ..told }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use manifest::spec::{Jwt, JwtKeys};
    use std::time::Duration;

    const PEM: &str = "-----BEGIN PUBLIC KEY-----\n\
        MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n";

    #[tokio::test]
    async fn keys_that_change_are_told_and_so_is_a_file_that_breaks() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key.pem");
        let keys = JwtKeys::PublicKey(file.clone());
        let jwt = Jwt { keys, issuer: None, audience: Vec::new(), leeway: Jwt::LEEWAY };
        let mut gateway = Gateway::default();
        gateway.auth.insert("customers".to_owned(), jwt);

        let (tell, mut told) = tokio::sync::mpsc::channel(8);
        let edges = Edges::new(Arc::new(move |happening| tell.try_send(happening).unwrap()));
        let (edge, failed) = edges.load(&gateway).await.unwrap();
        assert_eq!(failed[0].help().code.as_str(), "A0743");
        edges.put(edge);

        let stop = CancellationToken::new();
        let watch = edges.clone().watch(stop.clone());
        let drama = async {
            let mut next = async || tokio::time::timeout(Duration::from_secs(10), told.recv()).await.unwrap();
            std::fs::write(&file, PEM).unwrap();
            assert_eq!(next().await.unwrap().kind, "gateway.keys_changed");
            std::fs::write(&file, "no key").unwrap();
            let broken = next().await.unwrap();
            assert_eq!((broken.kind, broken.code), ("gateway.keys_unusable", Some("A0744")));
            stop.cancel();
        };
        let (ended, ()) = tokio::join!(watch, drama);
        ended.unwrap();
        let (_, failed) = edges.load(&gateway).await.unwrap();
        assert_eq!(failed.len(), 1, "who applies is told again");
    }
}
