//! What listens: a router, its bounds, and its life.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Form, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Extension, Router, middleware};
use kit::{Clock, OnError, Tasks, Timestamp};
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

use crate::desk::Desk;
use crate::gate::{self, Reach};
use crate::place::{Place, Query};
use crate::session::{Granted, Role, SESSION_LIFE, Who};
use crate::view::At;
use crate::{act, assets, live, pages, view};

/// Bytes of a form at most: a message of a queue, with its characters escaped.
const MOST_BODY: usize = 4 << 20;
/// Connections at most; one more waits.
const MOST_CONNECTIONS: usize = 256;
/// How long nothing may come or go on a connection: who says nothing does not keep others out. Pages that are open are told
/// something more often.
const SILENCE: Duration = Duration::from_secs(60);
/// How long a connection that could not be taken holds up the next one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How to start a console.
pub struct Options {
    /// The way to the node.
    pub client: api::Client,
    /// Where it is reached.
    pub listener: StdListener,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What owns its tasks: it ends with them.
    pub tasks: Tasks,
}

/// A console that listens. Cheap to clone.
#[derive(Clone)]
pub struct Console {
    desk: Arc<Desk>,
    address: SocketAddr,
}

impl Console {
    /// Starts it on the current runtime.
    pub fn start(options: Options) -> io::Result<Self> {
        let Options { client, listener, clock, tasks } = options;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let reach = Reach { everywhere: !address.ip().is_loopback() };
        let desk = Arc::new(Desk::new(client, clock, &tasks, reach, address.port()));
        let router = router(desk.clone());
        let listener = Bounded { listener, places: Arc::new(Semaphore::new(MOST_CONNECTIONS)) };
        tasks.spawn("console.serve", OnError::Log, |stop| async move {
            axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await
        });
        Ok(Self { desk, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes a token for one login.
    pub fn grant(&self, role: Role) -> Granted {
        self.desk.grant(role)
    }

    /// Sessions that are open: their role, and when they end.
    pub fn sessions(&self) -> Vec<(Role, Timestamp)> {
        self.desk.sessions()
    }
}

fn router(desk: Arc<Desk>) -> Router {
    Router::new()
        .route("/login", get(login_page).post(log_in))
        .route("/assets/{name}", get(assets::serve))
        .route("/live", get(live::page))
        .route("/live/lines", get(live::tail))
        .route("/do/{action}", post(act::run))
        .fallback(get(page))
        .layer(middleware::from_fn_with_state(desk.clone(), gate::check))
        .layer(DefaultBodyLimit::max(MOST_BODY))
        .with_state(desk)
}

async fn page(State(desk): State<Arc<Desk>>, Extension(who): Extension<Who>, uri: Uri) -> Response {
    let head = pages::head(&desk).await;
    let Some(place) = Place::parse(uri.path()) else {
        let at = At { place: Place::Overview, query: Query::default(), who };
        let missing = pages::Missing::page(uri.path());
        return (StatusCode::NOT_FOUND, html(view::frame(&head, &at, &missing.into_view()))).into_response();
    };
    let at = At { place, query: Query::parse(&uri), who };
    match pages::view(&desk, &at).await {
        Ok(view) => html(view::frame(&head, &at, &view)).into_response(),
        Err(missing) => {
            let status = missing.status();
            (status, html(view::frame(&head, &at, &missing.into_view()))).into_response()
        }
    }
}

fn html(page: maud::Markup) -> Html<String> {
    Html(page.into_string())
}

async fn login_page(uri: Uri) -> Html<String> {
    html(view::login(gate::next_place(Query::parse(&uri).text("next")), None))
}

#[derive(Deserialize)]
struct LogIn {
    token: String,
    #[serde(default)]
    next: String,
}

async fn log_in(State(desk): State<Arc<Desk>>, headers: HeaderMap, Form(form): Form<LogIn>) -> Response {
    let next = gate::next_place(&form.next);
    let Some(secret) = desk.log_in(form.token.trim()) else {
        let problem = "This token has been used, or its time is over. Run `atoll console` for a new one.";
        return (StatusCode::UNAUTHORIZED, html(view::login(next, Some(problem)))).into_response();
    };
    desk.log_out(&headers); // one browser, one session
    let name = &desk.cookie;
    let life = SESSION_LIFE.as_secs();
    let cookie = format!("{name}={secret}; Path=/; HttpOnly; SameSite=Strict; Max-Age={life}");
    let mut response = Redirect::to(next).into_response();
    if let Ok(cookie) = HeaderValue::try_from(cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

/// The page to come back to after an action, as one of ours.
pub(crate) fn back(wanted: &str) -> Redirect {
    match wanted.parse::<Uri>() {
        Ok(_) => Redirect::to(gate::next_place(wanted)),
        Err(_) => Redirect::to("/"),
    }
}

/// Takes connections while there are places for them.
struct Bounded {
    listener: tokio::net::TcpListener,
    places: Arc<Semaphore>,
}

impl axum::serve::Listener for Bounded {
    type Io = Held;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Held, SocketAddr) {
        loop {
            let Ok(place) = Arc::clone(&self.places).acquire_owned().await else {
                std::future::pending::<()>().await; // the semaphore is never closed
                continue;
            };
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    let _ = stream.set_nodelay(true);
                    return (Held::new(stream, Some(place)), peer);
                }
                // Out of descriptors, or the peer has gone: the next may be better.
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection in its place.
struct Held<S = TcpStream> {
    stream: S,
    /// When it has been silent for too long.
    silent: Pin<Box<Sleep>>,
    _place: Option<OwnedSemaphorePermit>,
}

impl<S> Held<S> {
    fn new(stream: S, place: Option<OwnedSemaphorePermit>) -> Self {
        Self { stream, silent: Box::pin(tokio::time::sleep(SILENCE)), _place: place }
    }

    fn heard(&mut self) {
        self.silent.as_mut().reset(Instant::now() + SILENCE);
    }
}

mod held {
    use std::io;
    use std::pin::Pin;
    use std::task::{Context, Poll, ready};

    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

    use super::Held;

    impl<S: AsyncRead + Unpin> AsyncRead for Held<S> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            if let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(cx, buf) {
                self.heard();
                return Poll::Ready(read);
            }
            ready!(self.silent.as_mut().poll(cx));
            Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
        }
    }

    impl<S: AsyncWrite + Unpin> AsyncWrite for Held<S> {
        fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            if let Poll::Ready(written) = Pin::new(&mut self.stream).poll_write(cx, buf) {
                self.heard();
                return Poll::Ready(written);
            }
            ready!(self.silent.as_mut().poll(cx));
            Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.stream).poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.stream).poll_shutdown(cx)
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_on_which_nothing_comes_or_goes_gives_its_place_back() {
        let (here, mut there) = tokio::io::duplex(64);
        let mut held = Held::new(here, None);
        let (mut byte, began) = ([0], Instant::now());
        for _ in 0..3 {
            tokio::time::sleep(SILENCE / 2).await;
            there.write_all(b"x").await.unwrap();
            held.read_exact(&mut byte).await.unwrap();
            tokio::time::sleep(SILENCE / 2).await;
            held.write_all(b"y").await.unwrap(); // as a page that is told something
            there.read_exact(&mut byte).await.unwrap();
        }
        let gone = held.read(&mut byte).await.unwrap_err();
        assert_eq!((gone.kind(), began.elapsed()), (io::ErrorKind::TimedOut, SILENCE * 4));
        // Nor does one that reads nothing of what is sent keep it.
        let (here, _there) = tokio::io::duplex(64);
        let gone = Held::new(here, None).write_all(&[0; 1000]).await.unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::TimedOut);
    }
}
