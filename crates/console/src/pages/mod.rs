//! The pages, one file each: ask the admin API, then draw.

mod errors;
mod events;
pub(crate) mod lines;
mod logs;
mod metrics;
mod objectives;
mod overview;
mod queues;
mod requests;
mod routes;
mod services;
mod settings;
mod topics;
mod topology;
mod trace;
mod traces;

use std::time::Duration;

use api::Range;
use axum::http::StatusCode;
use kit::Timestamp;

use crate::desk::{Desk, Note};
use crate::place::{Place, Query};
use crate::view::{At, Head, View, nothing};

/// Why a page cannot be shown.
#[derive(Debug)]
pub(crate) enum Missing {
    /// There is no such thing.
    Nothing(String),
    /// The node says no, or nothing.
    Note(Note),
}

impl From<Note> for Missing {
    fn from(note: Note) -> Self {
        Self::Note(note)
    }
}

impl From<api::ClientError> for Missing {
    fn from(error: api::ClientError) -> Self {
        Self::Note(error.into())
    }
}

impl Missing {
    pub(crate) fn page(path: &str) -> Self {
        Self::Nothing(format!("There is no page at {}", crate::words::clip(path, 100)))
    }

    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Nothing(_) => StatusCode::NOT_FOUND,
            Self::Note(note) if note.missing => StatusCode::NOT_FOUND,
            Self::Note(_) => StatusCode::BAD_GATEWAY,
        }
    }

    pub(crate) fn into_view(self) -> View {
        match self {
            Self::Nothing(what) => {
                let note = Note { title: what, code: None, hint: None, missing: true };
                nothing("Not here", &note)
            }
            Self::Note(note) => nothing("This cannot be shown", &note),
        }
    }
}

/// What stands above every page.
pub(crate) async fn head(desk: &Desk) -> Head {
    match desk.feed.status().await {
        Ok(status) => Head { app: status.app.clone(), phase: Some(status.phase) },
        Err(_) => Head { app: String::new(), phase: None },
    }
}

/// A page.
pub(crate) async fn view(desk: &Desk, at: &At) -> Result<View, Missing> {
    match &at.place {
        Place::Overview => overview::page(desk, at).await,
        Place::Services => services::list(desk, at).await,
        Place::Service(name) => services::one(desk, at, name).await,
        Place::Routes => routes::page(desk, at).await,
        Place::Requests => requests::page(desk, at).await,
        Place::Traces => traces::list(desk, at).await,
        Place::Trace(id) => trace::one(desk, at, id).await,
        Place::Logs => logs::page(desk, at).await,
        Place::Metrics => metrics::page(desk, at).await,
        Place::Queues => queues::list(desk, at).await,
        Place::Queue(name) => queues::one(desk, at, name).await,
        Place::Topic(name) => topics::one(desk, at, name).await,
        Place::Errors => errors::list(desk, at).await,
        Place::Error(id) => errors::one(desk, at, id).await,
        Place::Objectives => objectives::page(desk, at).await,
        Place::Events => events::page(desk, at).await,
        Place::Settings => settings::page(desk, at).await,
    }
}

/// The spans of time that pages offer, and how they stand in an address.
pub(crate) const SPANS: [(&str, &str); 6] = [
    ("", "last hour"),
    ("5m", "last 5 minutes"),
    ("15m", "last 15 minutes"),
    ("6h", "last 6 hours"),
    ("1d", "last day"),
    ("7d", "last 7 days"),
];
/// The same for charts: a line that just began should not be a dot at the edge of an hour.
pub(crate) const CHART_SPANS: [(&str, &str); 6] = [
    ("", "last 15 minutes"),
    ("5m", "last 5 minutes"),
    ("1h", "last hour"),
    ("6h", "last 6 hours"),
    ("1d", "last day"),
    ("7d", "last 7 days"),
];
const HOUR: Duration = Duration::from_secs(3_600);
const QUARTER: Duration = Duration::from_secs(15 * 60);
const LONGEST: Duration = Duration::from_secs(400 * 86_400);

/// The time that a page is asked for: `?last=15m`.
pub(crate) fn range(query: &Query, now: Timestamp) -> (Range, (Timestamp, Timestamp)) {
    within(query, now, HOUR)
}

/// The time that charts are asked for.
pub(crate) fn chart_range(query: &Query, now: Timestamp) -> (Range, (Timestamp, Timestamp)) {
    within(query, now, QUARTER)
}

fn within(query: &Query, now: Timestamp, usual: Duration) -> (Range, (Timestamp, Timestamp)) {
    let span = query.get("last").and_then(|last| kit::units::parse_duration(last).ok()).unwrap_or(usual);
    let since = now - span.min(LONGEST);
    (Range { since: Some(since), until: None }, (since, now))
}

/// Names of services, for fields that ask for one.
pub(crate) async fn service_names(desk: &Desk) -> Vec<String> {
    let status = desk.feed.status().await;
    status
        .map(|status| status.services.iter().map(|service| service.name.clone()).collect())
        .unwrap_or_default()
}

/// Whether all words of a search occur.
pub(crate) fn has(search: &str, texts: &[&str]) -> bool {
    search.split_whitespace().all(|word| {
        let word = word.to_lowercase();
        texts.iter().any(|text| text.to_lowercase().contains(&word))
    })
}
