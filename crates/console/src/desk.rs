//! What all pages share: the client, who is logged in, the time, and the bounds.

use std::sync::{Arc, Mutex, PoisonError};

use api::{Client, ClientError};
use axum::http::HeaderMap;
use kit::{Clock, Tasks, Timestamp};
use serde::de::DeserializeOwned;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::feed::Feed;
use crate::gate::{self, Reach};
use crate::session::{Door, Granted, Role, Who};

/// Streams to browsers at most; one more is refused.
pub(crate) const MOST_STREAMS: usize = 64;
/// Actions under way at most; one more is refused.
const MOST_ACTIONS: usize = 16;

/// Shared by every request.
pub(crate) struct Desk {
    pub(crate) client: Client,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) reach: Reach,
    /// The name of the session's cookie: browsers do not tell ports apart.
    pub(crate) cookie: String,
    pub(crate) feed: Feed,
    pub(crate) streams: Arc<Semaphore>,
    pub(crate) actions: Arc<Semaphore>,
    /// Cancelled when the console ends: streams end with it.
    pub(crate) stop: CancellationToken,
    /// Changes whenever somebody logs out: whoever is sent something looks whether they may still see it.
    pub(crate) left: watch::Sender<()>,
    door: Mutex<Door>,
}

impl Desk {
    pub(crate) fn new(client: Client, clock: Arc<dyn Clock>, tasks: &Tasks, reach: Reach, port: u16) -> Self {
        Self {
            feed: Feed::new(client.clone(), clock.clone(), tasks.clone()),
            client,
            clock,
            stop: tasks.stopping(),
            reach,
            cookie: format!("atoll_console_{port}"),
            streams: Arc::new(Semaphore::new(MOST_STREAMS)),
            actions: Arc::new(Semaphore::new(MOST_ACTIONS)),
            left: watch::Sender::new(()),
            door: Mutex::default(),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn grant(&self, role: Role) -> Granted {
        self.door().grant(role, self.now())
    }

    pub(crate) fn log_in(&self, token: &str) -> Option<String> {
        self.door().log_in(token, self.now())
    }

    pub(crate) fn log_out(&self, headers: &HeaderMap) {
        if let Some(cookie) = gate::cookie(headers, &self.cookie) {
            self.door().log_out(cookie, self.now());
            self.left.send_replace(());
        }
    }

    /// Who sends this.
    pub(crate) fn who(&self, headers: &HeaderMap) -> Option<Who> {
        let cookie = gate::cookie(headers, &self.cookie)?;
        self.door().who(cookie, self.now())
    }

    /// Sessions that are open.
    pub(crate) fn sessions(&self) -> Vec<(Role, Timestamp)> {
        self.door().open(self.now())
    }

    fn door(&self) -> std::sync::MutexGuard<'_, Door> {
        self.door.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What cannot be shown, and why. (Not `kit::Explain`: that would keep the code of every refusal for good.)
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) title: String,
    pub(crate) code: Option<String>,
    pub(crate) hint: Option<String>,
    /// The node knows nothing of it.
    pub(crate) missing: bool,
}

impl From<ClientError> for Note {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Refused(problem) => Self {
                title: problem.title,
                code: Some(problem.code),
                hint: problem.hint,
                missing: problem.status == 404,
            },
            other => {
                let hint = "the node has ended or is being replaced; this page goes on once it answers";
                Self {
                    title: kit::report::chain(&other),
                    code: None,
                    hint: Some(hint.to_owned()),
                    missing: false,
                }
            }
        }
    }
}

/// The values of a stream, at most so many.
pub(crate) async fn all<T: DeserializeOwned>(
    lines: Result<api::Lines<T>, ClientError>,
    most: usize,
) -> Result<Vec<T>, Note> {
    let mut lines = lines?;
    let mut values = Vec::new();
    while values.len() < most {
        match lines.next().await {
            Some(value) => values.push(value?),
            None => break,
        }
    }
    Ok(values)
}
