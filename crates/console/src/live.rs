//! What changes is sent: parts of a page that are not as they were, and lines as they come. One stream per page
//! that is open.

use std::collections::HashMap;
use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures_util::Stream;
use kit::Timestamp;
use maud::Markup;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;

use crate::desk::{Desk, Note};
use crate::pages::{self, lines};
use crate::place::{Place, Query};
use crate::session::Who;
use crate::view::{self, At};

/// Between two drawings of a page at least.
const PACE: Duration = Duration::from_millis(300);
/// Between two signs of life.
const ALIVE: Duration = Duration::from_secs(15);
/// Between two looks whether the session still holds.
const CHECK: Duration = Duration::from_secs(20);

#[derive(Serialize)]
struct Fresh<'a> {
    id: &'a str,
    html: &'a str,
}

/// `GET /live?at=ADDRESS`: parts of that page as they change.
pub(crate) async fn page(
    State(desk): State<Arc<Desk>>,
    Extension(who): Extension<Who>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let asked = Query::parse(&uri);
    let address = asked.get("at").and_then(|at| at.parse::<Uri>().ok());
    let Some(place) = address.as_ref().and_then(|uri| Place::parse(uri.path())) else {
        return (StatusCode::BAD_REQUEST, "there is no such page\n").into_response();
    };
    let query = address.as_ref().map(Query::parse).unwrap_or_default();
    let Some(permit) = permit(&desk) else { return full() };
    let beat = desk.feed.follow();
    let pages = Pages {
        at: At { place, query, who },
        headers,
        left: desk.left.subscribe(),
        beat,
        known: HashMap::new(),
        waiting: Vec::new(),
        next: Instant::now(),
        desk,
        _permit: permit,
    };
    stream(futures_util::stream::unfold(pages, Pages::next))
}

struct Pages {
    desk: Arc<Desk>,
    at: At,
    headers: HeaderMap,
    left: watch::Receiver<()>,
    beat: watch::Receiver<u64>,
    /// A digest of each part as the browser has it.
    known: HashMap<&'static str, u64>,
    waiting: Vec<Event>,
    next: Instant,
    _permit: OwnedSemaphorePermit,
}

impl Pages {
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        loop {
            if let Some(event) = self.waiting.pop() {
                return Some((Ok(event), self));
            }
            let first = self.known.is_empty();
            tokio::select! {
                () = self.desk.stop.cancelled() => return None,
                // A session that has ended sees nothing more.
                () = tokio::time::sleep(CHECK), if !first => { self.desk.who(&self.headers)?; }
                _ = self.left.changed() => { self.desk.who(&self.headers)?; }
                changed = self.beat.changed(), if !first => changed.ok()?,
                () = std::future::ready(()), if first => {}
            }
            tokio::time::sleep_until(self.next).await;
            self.beat.mark_unchanged();
            self.draw().await;
            self.next = Instant::now() + PACE;
        }
    }

    async fn draw(&mut self) {
        let head = pages::head(&self.desk).await;
        let view = pages::view(&self.desk, &self.at).await.unwrap_or_else(pages::Missing::into_view);
        let mut fresh: Vec<Event> = Vec::new();
        let say = maud::html! { (view.said) };
        let always = [("phase", &view::phase(&head)), ("say", &say)].map(|(id, html)| (id, html.clone()));
        let parts = view.parts.into_iter().filter(|part| part.live).map(|part| (part.id, part.html));
        for (id, html) in always.into_iter().chain(parts) {
            let html = html.into_string();
            let digest = digest(&html);
            if self.known.insert(id, digest) != Some(digest) {
                fresh.extend(event("part", &Fresh { id, html: &html }));
            }
        }
        fresh.reverse(); // they are taken from the end
        self.waiting = fresh;
    }
}

/// `GET /live/lines?…`: lines of output, or requests, as they come.
pub(crate) async fn tail(State(desk): State<Arc<Desk>>, uri: Uri, headers: HeaderMap) -> Response {
    let Some(permit) = permit(&desk) else { return full() };
    match lines::follow(&desk, &Query::parse(&uri)).await {
        Ok(follow) => {
            let left = desk.left.subscribe();
            let tail = Tail { follow, desk, headers, left, _permit: permit };
            stream(futures_util::stream::unfold(tail, Tail::next))
        }
        Err(Note { title, hint, .. }) => {
            (StatusCode::BAD_GATEWAY, Json(serde_json::json!({ "title": title, "hint": hint })))
                .into_response()
        }
    }
}

struct Tail {
    follow: lines::Follow,
    desk: Arc<Desk>,
    headers: HeaderMap,
    left: watch::Receiver<()>,
    _permit: OwnedSemaphorePermit,
}

impl Tail {
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        let mut check = tokio::time::interval_at(Instant::now() + CHECK, CHECK);
        let (at, html): (Timestamp, Markup) = loop {
            tokio::select! {
                () = self.desk.stop.cancelled() => return None,
                // A session that has ended sees nothing more.
                _ = check.tick() => { self.desk.who(&self.headers)?; }
                _ = self.left.changed() => { self.desk.who(&self.headers)?; }
                line = self.follow.next() => break line?,
            }
        };
        // A log that never rests leaves no time for the looks above.
        self.desk.who(&self.headers)?;
        let html = html.into_string();
        let event = event("line", &Fresh { id: "", html: &html }).unwrap_or_default();
        // With it a browser says where to go on.
        Some((Ok(event.id(at.as_micros().to_string())), self))
    }
}

fn permit(desk: &Desk) -> Option<OwnedSemaphorePermit> {
    Arc::clone(&desk.streams).try_acquire_owned().ok()
}

fn full() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, "too many pages are open: close some\n").into_response()
}

fn stream(events: impl Stream<Item = Result<Event, Infallible>> + Send + 'static) -> Response {
    Sse::new(events).keep_alive(KeepAlive::new().interval(ALIVE)).into_response()
}

fn event(name: &str, fresh: &Fresh<'_>) -> Option<Event> {
    Event::default().event(name).json_data(fresh).ok() // text always encodes
}

fn digest(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}
