//! What is seen of an app: its telemetry, taken in and kept. What Atoll sees itself ([`seen`]), what instances print
//! ([`lines`], and in it what they throw: [`thrown`]) and what they count ([`exposition`], [`sampler`]) comes in from inside,
//! what services send of their own comes in over the network ([`receiver`], [`taker`]). Tools of others ask at a door of their
//! own ([`reader`]).
//!
//! Telemetry is never in the way: where it cannot be opened or listened for, that is told, and the app goes on.

mod environment;
mod export;
mod exposition;
mod lines;
mod measures;
mod reader;
mod receiver;
mod sampler;
mod seen;
mod serving;
pub(crate) mod shown;
mod stalled;
mod taker;
mod thrown;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use kit::{OnError, SystemClock, Tasks};
use manifest::spec;
use telemetry::Telemetry;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::edge::Tell;
use crate::port_holder::{self, held_by};
use measures::Measures;
use serving::Answers;
use taker::{Projects, Taking};
use thrown::{Failures, Thrown};

pub(crate) use environment::{Doors, given};
pub(crate) use sampler::sample;
pub(crate) use seen::Seen;

/// Where telemetry is kept, in the state directory.
const DIRECTORY: &str = "telemetry";
/// The time of the last line of output that was taken, in that directory.
const LINES: &str = "lines";
/// How long to wait for the node before this one to let go of it.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks whether it has.
const LOOK: Duration = Duration::from_millis(50);
/// How long what is under way may take once everything stops.
const GRACE: Duration = Duration::from_secs(2);
/// How long it takes to close, with that, what is sent on last, and the rest.
const CLOSED_WITHIN: Duration = Duration::from_secs(7);

/// Why telemetry is not as the file wants it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ObserveError {
    #[error(transparent)]
    Open(#[from] telemetry::OpenError),
    #[error("telemetry cannot be opened: {0}")]
    Panicked(String),
    #[error("cannot listen for telemetry on {address}{}", held_by(.holder))]
    Listen { address: SocketAddr, holder: Option<port_holder::Holder>, source: std::io::Error },
    #[error("cannot start the threads of telemetry")]
    Threads(#[source] std::io::Error),
}

impl kit::Explain for ObserveError {
    fn help(&self) -> kit::Help {
        match self {
            Self::Open(error) => error.help(),
            Self::Panicked(_) => kit::Help::code("A0680")
                .hint("move its directory away, then `atoll up -d`; or write `telemetry: off`"),
            Self::Listen { .. } => kit::Help::code("A0681").hint(
                "stop what holds the port, or give `telemetry.grpc`, `telemetry.http` or `telemetry.query` another one",
            ),
            Self::Threads(_) => {
                kit::Help::code("A0603").hint("`atoll doctor` checks what this machine allows")
            }
        }
    }
}

/// The telemetry of an app. Cheap to clone; all clones are the same.
///
/// What should be is said at once and brought about by a task of its own ([`Self::look_after`]): opening what was kept
/// takes longer the more it is, and nothing waits for that.
#[derive(Clone)]
pub(crate) struct Observer(Arc<Inner>);

struct Inner {
    directory: PathBuf,
    logs: PathBuf,
    clock: SystemClock,
    tell: Tell,
    wish: watch::Sender<Wish>,
    /// Nobody has found out yet whether anything can be kept.
    undecided: AtomicBool,
    /// Cancelled once everything is closed.
    closed: CancellationToken,
    /// For those who only look or tell; empty while nothing is kept.
    telemetry: ArcSwapOption<Telemetry>,
    projects: Arc<Projects>,
    /// Requests that failed, for errors that name none.
    failures: Failures,
    measures: watch::Sender<Measures>,
    /// By this the node knows what it sent on itself.
    marker: Arc<str>,
}

/// What should be.
#[derive(Clone, PartialEq)]
enum Wish {
    /// Keep nothing, listen nowhere.
    Nothing,
    Keep(Box<spec::Telemetry>, Doors),
    /// The same as nothing, for good.
    End,
}

struct Running {
    /// Until it is closed.
    runtime: Option<tokio::runtime::Runtime>,
    wanted: spec::Telemetry,
    telemetry: Arc<Telemetry>,
    tasks: Tasks,
    /// What goes on, and where to.
    sending: Option<(spec::Export, Tasks)>,
    taking: serving::Room,
    reading: serving::Room,
    listening: Vec<(SocketAddr, CancellationToken)>,
}

impl Observer {
    pub(crate) fn new(state_dir: &Path, logs: PathBuf, clock: SystemClock, tell: Tell) -> Self {
        Self(Arc::new(Inner {
            directory: state_dir.join(DIRECTORY),
            logs,
            clock,
            tell,
            wish: watch::Sender::new(Wish::Nothing),
            undecided: AtomicBool::new(true),
            closed: CancellationToken::new(),
            telemetry: ArcSwapOption::empty(),
            projects: Arc::default(),
            failures: Failures::default(),
            measures: watch::Sender::default(),
            marker: marker(),
        }))
    }

    /// What is kept, while anything is.
    pub(crate) fn telemetry(&self) -> Option<Arc<Telemetry>> {
        self.0.telemetry.load_full()
    }

    /// Whether it may still turn out that something is kept.
    pub(crate) fn is_undecided(&self) -> bool {
        self.0.undecided.load(Ordering::Relaxed)
    }

    /// Says what should be.
    pub(crate) fn put(&self, app: &spec::App, doors: Option<Doors>) {
        self.0.projects.put(app.services.keys());
        self.0.measures.send_replace(Measures::of(app));
        // Who is told is no matter of what is kept: another rule is no reason to close and open all of it.
        let kept =
            app.telemetry.clone().map(|kept| spec::Telemetry { alerts: spec::Alerts::default(), ..kept });
        let wish = kept.zip(doors);
        self.0.undecided.fetch_and(wish.is_some(), Ordering::Relaxed);
        self.wish(wish.map_or(Wish::Nothing, |(wanted, doors)| Wish::Keep(Box::new(wanted), doors)));
    }

    /// Ends everything; what was taken is written.
    pub(crate) async fn close(&self) {
        self.wish(Wish::End);
        let closed = self.0.closed.cancelled();
        if tokio::time::timeout(CLOSED_WITHIN, closed).await.is_err() {
            tracing::warn!("telemetry is not closed within {CLOSED_WITHIN:?}");
        }
    }

    fn wish(&self, new: Wish) {
        self.0.wish.send_if_modified(|wish| {
            let news = *wish != Wish::End && *wish != new;
            if news {
                *wish = new;
            }
            news
        });
    }

    /// Opens, sets up and closes what is needed for the wish to hold, whenever it changes. What cannot be is told.
    pub(crate) async fn look_after(self, stop: CancellationToken) {
        let mut wishes = self.0.wish.subscribe();
        let mut running = None;
        loop {
            let wish = wishes.borrow_and_update().clone();
            if wish == Wish::End {
                break;
            }
            self.meet(&wish, &mut running, wishes.clone()).await;
            tokio::select! {
                changed = wishes.changed() => if changed.is_err() { break },
                () = stop.cancelled() => break,
            }
        }
        self.end(&mut running).await;
        self.0.closed.cancel();
    }

    async fn end(&self, running: &mut Option<Running>) {
        self.0.telemetry.store(None);
        if let Some(running) = running.take() {
            running.close().await;
        }
    }

    /// Gives up opening when another wish comes.
    async fn meet(&self, wish: &Wish, running: &mut Option<Running>, mut others: watch::Receiver<Wish>) {
        let wanted = if let Wish::Keep(wanted, doors) = wish { Some((wanted, *doors)) } else { None };
        // Where it goes on to is no matter of what is kept.
        let kept = |wanted: &spec::Telemetry| spec::Telemetry { export: None, ..wanted.clone() };
        let stays = running
            .as_ref()
            .is_some_and(|now| wanted.is_some_and(|(wanted, _)| kept(&now.wanted) == kept(wanted)));
        if !stays {
            self.end(running).await;
        }
        if let Some((wanted, doors)) = wanted {
            if running.is_none() {
                self.0.undecided.store(true, Ordering::Relaxed);
                let opened = tokio::select! {
                    opened = self.open(wanted) => opened,
                    _ = others.changed() => return,
                };
                match opened {
                    Ok(opened) => {
                        self.0.telemetry.store(Some(Arc::clone(&opened.telemetry)));
                        *running = Some(opened);
                    }
                    Err(error) => self.tell(&error),
                }
            }
            if let Some(running) = running {
                running.wanted.clone_from(wanted);
                running.send_on(wanted.export.as_ref(), &self.0.marker, &self.0.clock).await;
                let taking = Taking::new(running.telemetry.intake(), Arc::clone(&self.0.projects));
                let own = Arc::clone(&self.0.marker);
                let take = receiver::answers(Arc::new(taking), own, running.taking.clone());
                let read = running.wanted.query.clone().map(|door| {
                    let reader = reader::Reader {
                        query: running.telemetry.query(),
                        clock: self.0.clock.clone(),
                        token: door.token,
                    };
                    (door.listen, reader::answers(reader, running.reading.clone()))
                });
                for error in running.listen(doors, &take, read) {
                    self.tell(&error);
                }
            }
            self.0.undecided.store(false, Ordering::Relaxed);
        }
    }

    fn tell(&self, error: &ObserveError) {
        let help = kit::Explain::help(error);
        (self.0.tell)(control::Happening {
            level: control::Level::Warning,
            kind: "telemetry.off",
            service: None,
            instance: None,
            message: kit::report::chain(error),
            code: Some(help.code.as_str()),
            hint: help.hint,
        });
    }

    async fn open(&self, wanted: &spec::Telemetry) -> Result<Running, ObserveError> {
        let telemetry = Arc::new(self.open_directory(wanted).await?);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("atoll-observe")
            .enable_all()
            .build()
            .map_err(ObserveError::Threads)?;
        let tasks = Tasks::new();
        {
            let _on = runtime.enter();
            let (logs, kept) = (self.0.logs.clone(), self.0.directory.join(LINES));
            let intake = telemetry.intake();
            let thrown = Thrown::new(self.0.failures.clone(), intake.clone());
            tasks.spawn("telemetry.lines", OnError::Log, move |stop| async move {
                lines::take(logs, kept, (intake, thrown), stop).await;
                Ok::<_, Infallible>(())
            });
            let (measures, measured) = (self.0.measures.subscribe(), Arc::clone(&telemetry));
            tasks.spawn("telemetry.measures", OnError::Log, move |stop| async move {
                measures::take(measures, measured, stop).await;
                Ok::<_, Infallible>(())
            });
        }
        let (taking, reading) = (receiver::room(), reader::room());
        let (wanted, runtime, listening) = (wanted.clone(), Some(runtime), Vec::new());
        Ok(Running { runtime, wanted, telemetry, tasks, sending: None, taking, reading, listening })
    }

    /// Opens what is kept, which the node before this one may still be about to let go of.
    async fn open_directory(&self, wanted: &spec::Telemetry) -> Result<Telemetry, ObserveError> {
        let give_up = tokio::time::Instant::now() + PATIENCE;
        loop {
            let (path, options, clock) = (self.0.directory.clone(), options(wanted), self.0.clock.clone());
            let opening =
                tokio::task::spawn_blocking(move || Telemetry::open(&path, options, Arc::new(clock)));
            match opening.await {
                Ok(Ok(telemetry)) => return Ok(telemetry),
                Ok(Err(telemetry::OpenError::InUse { .. })) if tokio::time::Instant::now() < give_up => {
                    tokio::time::sleep(LOOK).await;
                }
                Ok(Err(error)) => return Err(error.into()),
                Err(panicked) => return Err(ObserveError::Panicked(panicked.to_string())),
            }
        }
    }
}

fn options(wanted: &spec::Telemetry) -> telemetry::Options {
    let share = f64::from(wanted.sample.millionths()) / 1_000_000.0;
    let sampling = telemetry::Sampling {
        share,
        slow: telemetry::Slow::Over(wanted.slow),
        ..telemetry::Sampling::default()
    };
    telemetry::Options {
        keep: wanted.keep,
        disk_bytes: wanted.size.0,
        sampling,
        ..telemetry::Options::default()
    }
}

/// A name that no other node has.
fn marker() -> Arc<str> {
    let mut bytes = [0u8; 16];
    rand::fill(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into()
}

impl Running {
    /// Sends on what is wanted to where it is wanted. What the one before has still to send, it does.
    async fn send_on(&mut self, wanted: Option<&spec::Export>, marker: &Arc<str>, clock: &SystemClock) {
        if self.sending.as_ref().map(|(now, _)| now) == wanted {
            return;
        }
        let before = self.sending.take();
        if let Some(wanted) = wanted {
            let tasks = Tasks::new();
            let _on = self.runtime.as_ref().map(tokio::runtime::Runtime::enter);
            export::start(wanted, &self.telemetry, marker, clock, &tasks);
            self.sending = Some((wanted.clone(), tasks));
        }
        end_sending(before).await;
    }

    /// Listens where it is wanted, and nowhere else.
    fn listen(
        &mut self,
        doors: Doors,
        take: &Answers,
        read: Option<(SocketAddr, Answers)>,
    ) -> Vec<ObserveError> {
        let taking = [doors.grpc, doors.http].map(|address| (address, take.clone(), self.taking.clone()));
        let reading = read.map(|(address, read)| (address, read, self.reading.clone()));
        let wanted: Vec<_> = taking.into_iter().chain(reading).collect();
        self.listening.retain(|(address, stop)| {
            let stays = wanted.iter().any(|(wanted, ..)| wanted == address);
            if !stays {
                stop.cancel();
            }
            stays
        });
        let mut failed = Vec::new();
        for (address, answers, room) in wanted {
            if self.listening.iter().any(|(now, _)| *now == address) {
                continue;
            }
            let _on = self.runtime.as_ref().map(tokio::runtime::Runtime::enter);
            let bound = crate::listener::bind(address).and_then(|listener| {
                listener.set_nonblocking(true)?;
                tokio::net::TcpListener::from_std(listener)
            });
            let listener = match bound {
                Ok(listener) => listener,
                Err(source) => {
                    let holder = port_holder::of_tcp_port(address.port());
                    failed.push(ObserveError::Listen { address, holder, source });
                    continue;
                }
            };
            let tasks = self.tasks.clone();
            let stop = CancellationToken::new();
            let until = stop.clone();
            self.tasks.spawn("telemetry.serve", OnError::Log, move |stopping| async move {
                let all = until.clone();
                let serving = serving::serve(listener, answers, room, tasks, until);
                tokio::pin!(serving);
                tokio::select! {
                    () = &mut serving => {}
                    () = stopping.cancelled() => {
                        all.cancel();
                        serving.await;
                    }
                }
                Ok::<_, Infallible>(())
            });
            self.listening.push((address, stop));
        }
        failed
    }

    async fn close(mut self) {
        if let Err(late) = self.tasks.shutdown(GRACE).await {
            tracing::warn!("{late}");
        }
        // Nothing comes in any more: what came in is worked on to its end, and only then is it known what is still to be sent on.
        let telemetry = Arc::clone(&self.telemetry);
        let _ = tokio::task::spawn_blocking(move || telemetry.close()).await;
        end_sending(self.sending.take()).await;
        // What was taken is written before the lock is let go of; neither is work for a thread that serves others.
        let _ = tokio::task::spawn_blocking(move || {
            if let Some(runtime) = self.runtime.take() {
                runtime.shutdown_timeout(GRACE);
            }
        })
        .await;
    }
}

async fn end_sending(sending: Option<(spec::Export, Tasks)>) {
    if let Some((_, tasks)) = sending
        && let Err(late) = tasks.shutdown(export::LAST + LOOK).await
    {
        tracing::warn!("{late}");
    }
}

impl Drop for Running {
    /// A runtime must not be waited for where tasks run.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_rule_for_alerts_does_not_open_what_is_kept_anew() {
        let app = |telemetry: &str| {
            let text =
                format!("name: x\ntelemetry: {telemetry}\nservices:\n  front: {{ command: [front] }}\n");
            manifest::parse_resolved(&text, Path::new("x")).app.unwrap()
        };
        let here = SocketAddr::from(([127, 0, 0, 1], 0));
        let doors = Some(Doors { grpc: here, http: here });
        let clock = SystemClock::new();
        let observer = Observer::new(Path::new("x"), PathBuf::from("x"), clock, Arc::new(|_| ()));
        observer.put(&app("{ keep: 2h }"), doors);
        let mut wishes = observer.0.wish.subscribe();
        observer.put(&app("{ keep: 2h, alerts: { rules: { down: { ask: up == 0 } } } }"), doors);
        assert!(!wishes.has_changed().unwrap());
        observer.put(&app("{ keep: 3h }"), doors);
        assert!(wishes.has_changed().unwrap());
        wishes.mark_unchanged();
    }
}
