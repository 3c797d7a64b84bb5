//! What is promised of services and routes (`slo`), counted from the node's spans, and who is told when a promise is at risk.
//!
//! [`Counting`] reads the spans, [`book`] holds what was counted and keeps it on disk, [`watch`](Objectives::watch) looks every ten seconds
//! how all stands and what the rules of the file say ([`rules`]), and [`notify`] tells. What a budget and a burn rate are is
//! `telemetry::slo`'s.

mod book;
mod notify;
mod rules;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use control::{Happening, Level};
use kit::{Clock, SystemClock, Tasks, Timestamp};
use manifest::spec::{Alerts, App, ServiceName, Slo};
use proxy::signals::Hop;
use telemetry::slo::{Burn, Change, Counts, Objective, Standing, Urgency};
use tokio_util::sync::CancellationToken;

use crate::broker::Broker;
use crate::edge::Tell;
use crate::observe::Observer;
use crate::spans::{Span, SpanReader};
use crate::state_dir::StateDir;
use book::Book;
use notify::Notifier;
use rules::Rules;

/// Between two looks at how all stands.
const EVERY: Duration = Duration::from_secs(10);
/// Objectives of an app at most; those behind are not counted.
const MOST: usize = 400;
/// Points of a burn-down.
const POINTS: u64 = 60;

/// The objectives of an app. Cheap to clone; all clones are the same.
#[derive(Clone)]
pub(crate) struct Objectives(Arc<Inner>);

struct Inner {
    clock: SystemClock,
    table: ArcSwap<Table>,
    book: Mutex<Book>,
    rules: Mutex<Rules>,
    alerts: ArcSwap<Alerts>,
}

/// Which promises there are, and what is counted for each.
#[derive(Default)]
struct Table {
    promises: Vec<Promise>,
    of_service: HashMap<ServiceName, Vec<usize>>,
    of_route: HashMap<ServiceName, HashMap<String, Vec<usize>>>,
}

/// One promise.
#[derive(Clone, Debug)]
pub(crate) struct Promise {
    /// Names it, in the book and to people: `orders availability`, `orders GET /orders/{id} latency`.
    pub(crate) name: Arc<str>,
    pub(crate) service: ServiceName,
    pub(crate) route: Option<String>,
    /// What is good: within so long. `None`: what does not fail.
    pub(crate) within: Option<Duration>,
    pub(crate) objective: Objective,
    pub(crate) window: Duration,
}

/// How a promise stands.
pub(crate) struct Shown {
    pub(crate) promise: Promise,
    pub(crate) standing: Standing,
    pub(crate) firing: Option<(Urgency, Timestamp)>,
    pub(crate) burn_down: Vec<(Timestamp, f64)>,
}

/// Something that somebody has to be told.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Notice {
    /// Names the alert.
    pub(crate) name: String,
    pub(crate) service: Option<ServiceName>,
    pub(crate) route: Option<String>,
    pub(crate) urgency: Urgency,
    /// One line.
    pub(crate) summary: String,
    pub(crate) since: Timestamp,
    /// When it ended.
    pub(crate) ended: Option<Timestamp>,
}

impl Table {
    fn new(app: &App) -> Self {
        let mut table = Self::default();
        for service in app.services.values() {
            let of_routes =
                service.routes.iter().filter_map(|route| Some((Some(&*route.name), route.slo.as_ref()?)));
            let all = service.slo.iter().map(|slo| (None, slo)).chain(of_routes);
            for (route, slo) in all {
                for promise in promises(&service.name, route, slo) {
                    if table.promises.len() == MOST {
                        return table;
                    }
                    let place = table.promises.len();
                    match route {
                        None => table.of_service.entry(service.name.clone()).or_default().push(place),
                        Some(route) => {
                            let routes = table.of_route.entry(service.name.clone()).or_default();
                            routes.entry(route.to_owned()).or_default().push(place);
                        }
                    }
                    table.promises.push(promise);
                }
            }
        }
        table
    }

    /// The promises that a hop is counted for.
    fn of(&self, hop: &Hop<'_>) -> impl Iterator<Item = &Promise> {
        let service = hop.service();
        let of_service = service.and_then(|service| self.of_service.get(service));
        let of_route = service
            .filter(|_| hop.caller().is_none())
            .and_then(|service| self.of_route.get(service)?.get(hop.route_name()?));
        of_service.into_iter().chain(of_route).flatten().map(|place| &self.promises[*place])
    }
}

fn promises(service: &ServiceName, route: Option<&str>, slo: &Slo) -> Vec<Promise> {
    let window_min = (slo.window.as_secs() / 60).max(1);
    let promise = |share: kit::units::Share, within: Option<Duration>| {
        let what = if within.is_some() { "latency" } else { "availability" };
        let name = match route {
            Some(route) => format!("{service} {route} {what}"),
            None => format!("{service} {what}"),
        };
        Promise {
            name: name.into(),
            service: service.clone(),
            route: route.map(str::to_owned),
            within,
            objective: Objective { share: share.fraction(), window_min },
            window: slo.window,
        }
    };
    let availability = slo.availability.map(|share| promise(share, None));
    let latency = slo.latency.map(|latency| promise(latency.share, Some(latency.within)));
    availability.into_iter().chain(latency).collect()
}

/// What a hop is to a promise: nothing, or one event that was good or bad.
fn counted(promise: &Promise, hop: &Hop<'_>) -> Option<Counts> {
    let failed = match hop.error {
        Some(kind) if kind.is_of_client() => return None, // nobody broke a promise
        Some(_) => true,
        None => hop.status >= 500,
    };
    let bad = match promise.within {
        None => failed,
        Some(_) if failed => return None, // that is what availability counts
        Some(within) => hop.took > within,
    };
    Some(Counts { total: 1, bad: u64::from(bad) })
}

/// Reads the node's spans and counts.
pub(crate) struct Counting {
    objectives: Objectives,
    batch: HashMap<(Arc<str>, u64), Counts>,
}

impl SpanReader for Counting {
    fn read(&mut self, span: Span<'_>) {
        let Span::Hop(hop) = span else { return };
        let table = self.objectives.0.table.load();
        for promise in table.of(hop) {
            if let Some(counts) = counted(promise, hop) {
                let minute = minute_of(hop.began);
                self.batch.entry((Arc::clone(&promise.name), minute)).or_default().add(counts);
            }
        }
    }

    fn flush(&mut self) {
        if !self.batch.is_empty() {
            let mut book = self.objectives.book();
            for ((name, minute), counts) in self.batch.drain() {
                book.count(&name, minute, counts);
            }
        }
    }
}

impl Objectives {
    pub(crate) fn new(state: &StateDir, clock: SystemClock) -> Self {
        let book = Mutex::new(Book::open(state, minute_of(clock.now())));
        Self(Arc::new(Inner {
            clock,
            table: ArcSwap::default(),
            book,
            rules: Mutex::default(),
            alerts: ArcSwap::default(),
        }))
    }

    pub(crate) fn counting(&self) -> Counting {
        Counting { objectives: self.clone(), batch: HashMap::new() }
    }

    /// Says what is promised, and who is told. Gives what of it cannot be understood.
    pub(crate) fn put(&self, app: &App) -> Vec<Happening> {
        self.0.table.store(Arc::new(Table::new(app)));
        let alerts = app.telemetry.as_ref().map(|telemetry| telemetry.alerts.clone()).unwrap_or_default();
        let failed = self.rules().put(&alerts.rules);
        self.0.alerts.store(Arc::new(alerts));
        failed
    }

    /// How all stands, in the order of the file's services.
    pub(crate) fn shown(&self) -> Vec<Shown> {
        let (table, now) = (self.0.table.load(), self.0.clock.now());
        let book = self.book();
        let shown = |promise: &Promise| {
            let (history, minute) = (book.history(&promise.name), minute_of(now));
            let standing = promise.objective.standing(history, minute);
            let down = promise.objective.burn_down(history, minute, POINTS);
            let burn_down = down.into_iter().map(|(minute, left)| (moment_of(minute * 60), left)).collect();
            let firing = book.firing(&promise.name).map(|(urgency, since)| (urgency, moment_of(since)));
            Shown { promise: promise.clone(), standing, firing, burn_down }
        };
        table.promises.iter().map(shown).collect()
    }

    /// What fires.
    pub(crate) fn alerts(&self) -> Vec<Notice> {
        let table = self.0.table.load();
        let book = self.book();
        let of_promises = table.promises.iter().filter_map(|promise| {
            let (urgency, since) = book.firing(&promise.name)?;
            let standing =
                promise.objective.standing(book.history(&promise.name), minute_of(self.0.clock.now()));
            Some(notice(promise, &standing, urgency, since, None))
        });
        let mut all: Vec<Notice> = of_promises.collect();
        drop(book);
        all.extend(self.rules().firing());
        all
    }

    /// Looks how all stands. Gives what has to be told.
    fn look(&self, now: Timestamp) -> Vec<Notice> {
        let table = self.0.table.load();
        let mut book = self.book();
        let mut notices = Vec::new();
        for promise in &table.promises {
            let standing = promise.objective.standing(book.history(&promise.name), minute_of(now));
            let changes = book.look(&promise.name, standing.urgency(), now.as_micros() / 1_000_000);
            notices.extend(changes.into_iter().map(|(urgency, change)| match change {
                Change::Fired { since_s } => notice(promise, &standing, urgency, since_s, None),
                Change::Resolved { since_s } => notice(promise, &standing, urgency, since_s, Some(now)),
            }));
        }
        notices
    }

    /// Looks until told to stop, and keeps what was counted.
    pub(crate) async fn watch(
        self,
        observer: Observer,
        broker: Arc<Broker>,
        tell: Tell,
        tasks: Tasks,
        stop: CancellationToken,
    ) {
        let notifier = Notifier::start(broker, self.clone(), tell.clone(), &tasks);
        loop {
            let ends = tokio::select! {
                () = tokio::time::sleep(EVERY) => false,
                () = stop.cancelled() => true,
            };
            let now = self.0.clock.now();
            if !ends {
                let mut notices = self.look(now);
                notices.extend(self.ask(&observer, now).await);
                for notice in notices {
                    tell(happening(&notice));
                    notifier.send(notice);
                }
            }
            let unwritten = self.book().unwritten(minute_of(now));
            let written = tokio::task::spawn_blocking(move || unwritten?.write()).await;
            if let Ok(Err(error)) = written {
                tracing::warn!("what was counted of objectives cannot be kept: {error}");
                self.book().write_anew();
            }
            if ends {
                return;
            }
        }
    }

    /// Asks what the rules ask.
    async fn ask(&self, observer: &Observer, now: Timestamp) -> Vec<Notice> {
        let Some(telemetry) = observer.telemetry() else { return Vec::new() };
        let asking = self.rules().asking();
        if asking.is_empty() {
            return Vec::new();
        }
        let query = telemetry.query();
        let asked = tokio::task::spawn_blocking(move || rules::ask(asking, &query, now)).await;
        let answers = asked.unwrap_or_default();
        self.rules().answered(answers, now)
    }

    /// Who is told.
    fn addressees(&self) -> Arc<Alerts> {
        self.0.alerts.load_full()
    }

    // Whoever panicked with one of these locks left counts and lists, nothing half done.

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rules(&self) -> MutexGuard<'_, Rules> {
        self.0.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn notice(
    promise: &Promise,
    standing: &Standing,
    urgency: Urgency,
    since_s: u64,
    ended: Option<Timestamp>,
) -> Notice {
    let worst = |burns: &[Burn]| {
        let of_urgency = burns.iter().filter(|burn| burn.urgency == urgency);
        of_urgency.copied().max_by(|a, b| a.short.min(a.long).total_cmp(&b.short.min(b.long)))
    };
    let left = (standing.left * 100.0).floor();
    let summary = match worst(&standing.burns).filter(|_| ended.is_none()) {
        Some(burn) => format!(
            "{}: the budget burns {:.1} times too fast, {left} % of it are left",
            promise.name,
            burn.short.min(burn.long)
        ),
        None => format!("{}: the budget burns no faster than it may, {left} % of it are left", promise.name),
    };
    let (name, since) = (promise.name.to_string(), moment_of(since_s));
    Notice {
        name,
        service: Some(promise.service.clone()),
        route: promise.route.clone(),
        urgency,
        summary,
        since,
        ended,
    }
}

fn happening(notice: &Notice) -> Happening {
    let fires = notice.ended.is_none();
    Happening {
        level: if fires { Level::Warning } else { Level::Info },
        kind: if fires { "alert.firing" } else { "alert.resolved" },
        service: notice.service.clone(),
        instance: None,
        message: notice.summary.clone(),
        code: None,
        hint: fires.then(|| "see `atoll slo ls`, `atoll trace ls --failed`".to_owned()),
    }
}

fn minute_of(moment: Timestamp) -> u64 {
    moment.as_micros() / 60_000_000
}

fn moment_of(second: u64) -> Timestamp {
    Timestamp::from_micros(second.saturating_mul(1_000_000))
}
