//! What is promised of services and routes (`slo`), counted from the node's spans, and who is told when a promise is at risk.
//!
//! [`Counting`] reads the spans, [`book`] holds what was counted and keeps it on disk, [`watch`](Objectives::watch) looks every ten seconds
//! how all stands, a task of its own asks what the rules of the file ask ([`rules`]), and [`notify`] tells. What a budget and a burn rate are is
//! `telemetry::slo`'s.

mod book;
mod firing;
mod mail;
mod notify;
mod rules;

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use control::{Happening, Level};
use kit::{Clock, OnError, SystemClock, Tasks, Timestamp};
use manifest::spec::{Alerts, App, ServiceName, Slo};
use proxy::signals::Hop;
use telemetry::promql::{Labels, PromError};
use telemetry::slo::{Burn, Change, Counts, Objective, Standing, Urgency};
use tokio_util::sync::CancellationToken;

use crate::edge::Tell;
use crate::observe::Observer;
use crate::spans::{Span, SpanReader};
use crate::state_dir::StateDir;
use book::Book;
use firing::{Fires, Firing};
use notify::Notifier;
pub(crate) use notify::Ways;
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
    /// Alerts that ended because what they were about is gone: told at the next look.
    ended: Mutex<Vec<Notice>>,
    firing: Mutex<Firing>,
    /// What fired for a node before this one, until it is known what is promised and asked now.
    fired: Mutex<Vec<Fires>>,
    addressees: ArcSwap<Addressees>,
}

/// Who is told, and by whom.
#[derive(Default)]
struct Addressees {
    /// The app's name.
    app: String,
    alerts: Alerts,
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
    /// What tells it from others of this name.
    pub(crate) labels: Labels,
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
        let (firing, fired) = Firing::open(state);
        Self(Arc::new(Inner {
            clock,
            table: ArcSwap::default(),
            book,
            rules: Mutex::default(),
            ended: Mutex::default(),
            firing: Mutex::new(firing),
            fired: Mutex::new(fired),
            addressees: ArcSwap::default(),
        }))
    }

    pub(crate) fn counting(&self) -> Counting {
        Counting { objectives: self.clone(), batch: HashMap::new() }
    }

    /// Says what is promised, and who is told. Gives what of it cannot be understood. What fires for something that is not promised
    /// or asked any more is over.
    pub(crate) fn put(&self, app: &App) -> Vec<Happening> {
        let now = self.0.clock.now();
        let alerts = app.telemetry.as_ref().map(|telemetry| telemetry.alerts.clone()).unwrap_or_default();
        let (failed, mut ended) = self.rules().put(&alerts.rules, now);
        self.0.addressees.store(Arc::new(Addressees { app: app.name.to_string(), alerts }));
        let table = Table::new(app);
        let stay: HashSet<&str> = table.promises.iter().map(|promise| &*promise.name).collect();
        // Whoever looks has the book, and looks at what is promised now.
        let mut book = self.book();
        let before = self.0.table.load_full();
        for promise in before.promises.iter().filter(|promise| !stay.contains(&*promise.name)) {
            for (urgency, since_s) in book.end(&promise.name) {
                let summary = format!("{}: this is not promised any more", promise.name);
                ended.push(notice(promise, summary, urgency, since_s, Some(now)));
            }
        }
        for fired in std::mem::take(&mut *self.fired()) {
            if fired.rule().is_none() && stay.contains(&*fired.name) {
                book.restore(&fired.name, fired.urgency(), fired.alarm(now.as_micros() / 1_000_000));
            } else if !self.rules().restore(&fired, now) {
                ended.push(fired.ended(now));
            }
        }
        drop(stay);
        self.0.table.store(Arc::new(table));
        drop(book);
        self.ended().extend(ended);
        failed
    }

    /// How all stands, in the order of the file's services.
    pub(crate) fn shown(&self) -> Vec<Shown> {
        let (table, minute) = (self.0.table.load(), minute_of(self.0.clock.now()));
        let shown = |promise: &Promise| {
            // A copy of one at a time: whoever counts does not wait while dozens of sums are made of it.
            let (history, firing) = {
                let book = self.book();
                (book.history(&promise.name).clone(), book.firing(&promise.name))
            };
            let standing = promise.objective.standing(&history, minute);
            let down = promise.objective.burn_down(&history, minute, POINTS);
            let burn_down = down.into_iter().map(|(minute, left)| (moment_of(minute * 60), left)).collect();
            let firing = firing.map(|(urgency, since)| (urgency, moment_of(since)));
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
            Some(notice(promise, summary(promise, &standing, urgency, true), urgency, since, None))
        });
        let mut all: Vec<Notice> = of_promises.collect();
        drop(book);
        all.extend(self.rules().firing());
        all
    }

    /// Looks how all stands. Gives what has to be told.
    fn look(&self, now: Timestamp) -> Vec<Notice> {
        let mut notices = std::mem::take(&mut *self.ended());
        let mut book = self.book();
        let table = self.0.table.load();
        for promise in &table.promises {
            let standing = promise.objective.standing(book.history(&promise.name), minute_of(now));
            let changes = book.look(&promise.name, standing.urgency(), now.as_micros() / 1_000_000);
            notices.extend(changes.into_iter().map(|(urgency, change)| {
                let (since_s, ended) = match change {
                    Change::Fired { since_s } => (since_s, None),
                    Change::Resolved { since_s } => (since_s, Some(now)),
                };
                let summary = summary(promise, &standing, urgency, ended.is_none());
                notice(promise, summary, urgency, since_s, ended)
            }));
        }
        notices
    }

    /// Looks until told to stop, and keeps what was counted.
    pub(crate) async fn watch(
        self,
        observer: Observer,
        ways: Ways,
        tell: Tell,
        tasks: Tasks,
        stop: CancellationToken,
    ) {
        let notifier = Arc::new(Notifier::start(ways, self.clone(), tell, &tasks));
        let (asking, told) = (self.clone(), Arc::clone(&notifier));
        tasks.spawn("node.rules", OnError::Log, |stop| async move {
            asking.ask(observer, &told, stop).await;
            Ok::<_, Infallible>(())
        });
        loop {
            let ends = tokio::select! {
                () = tokio::time::sleep(EVERY) => false,
                () = stop.cancelled() => true,
            };
            let now = self.0.clock.now();
            if !ends {
                self.look(now).into_iter().for_each(|notice| notifier.send(notice));
            }
            self.keep(now).await;
            if ends {
                return;
            }
        }
    }

    /// Keeps what was counted, and what fires.
    async fn keep(&self, now: Timestamp) {
        let unwritten = self.book().unwritten(minute_of(now));
        let written = tokio::task::spawn_blocking(move || unwritten?.write()).await;
        if let Ok(Err(error)) = written {
            tracing::warn!("what was counted of objectives cannot be kept: {error}");
            self.book().write_anew();
        }
        let fires = self.fires();
        let Some(write) = self.firing().unwritten(fires) else { return };
        if let Ok(Err(error)) = tokio::task::spawn_blocking(write).await {
            tracing::warn!("which alerts fire cannot be kept: {error}");
            self.firing().write_anew();
        }
    }

    fn fires(&self) -> Vec<Fires> {
        let mut all = self.fired().clone();
        let book = self.book();
        for promise in &self.0.table.load().promises {
            let fires = book.fires(&promise.name).into_iter();
            let notices = fires.map(|(of, since_s)| notice(promise, String::new(), of, since_s, None));
            all.extend(notices.map(|notice| Fires::new(&notice, None)));
        }
        drop(book);
        all.extend(self.rules().fires());
        all
    }

    /// Asks what the rules ask, one after the other, until told to stop: nothing else waits for a slow one.
    async fn ask(self, observer: Observer, notifier: &Notifier, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = stop.cancelled() => return,
            }
            let asking = self.rules().asking();
            for (name, wanted, question) in asking {
                // Not held on to from one question to the next: it may be about to be closed.
                let Some(telemetry) = observer.telemetry() else { break };
                let (now, until) = (self.0.clock.now(), stop.clone());
                let asked = tokio::task::spawn_blocking(move || {
                    rules::ask(&question, &telemetry.query(), now, &until)
                });
                let answer = asked.await.unwrap_or_else(|error| Err(PromError::NoAnswer(error.to_string())));
                if stop.is_cancelled() {
                    return;
                }
                let (notices, failed) = self.rules().answered(&name, &wanted, answer, now);
                notices.into_iter().for_each(|notice| notifier.send(notice));
                failed.into_iter().for_each(|failed| notifier.tell(failed));
            }
        }
    }

    /// Who is told.
    fn addressees(&self) -> Arc<Addressees> {
        self.0.addressees.load_full()
    }

    // Whoever panicked with one of these locks left counts and lists, nothing half done.

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ended(&self) -> MutexGuard<'_, Vec<Notice>> {
        self.0.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn firing(&self) -> MutexGuard<'_, Firing> {
        self.0.firing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fired(&self) -> MutexGuard<'_, Vec<Fires>> {
        self.0.fired.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rules(&self) -> MutexGuard<'_, Rules> {
        self.0.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn notice(
    promise: &Promise,
    summary: String,
    urgency: Urgency,
    since_s: u64,
    ended: Option<Timestamp>,
) -> Notice {
    Notice {
        name: promise.name.to_string(),
        service: Some(promise.service.clone()),
        route: promise.route.clone(),
        labels: Labels::new(),
        urgency,
        summary,
        since: moment_of(since_s),
        ended,
    }
}

/// How a promise stands in a line.
fn summary(promise: &Promise, standing: &Standing, urgency: Urgency, fires: bool) -> String {
    let worst = |burns: &[Burn]| {
        let of_urgency = burns.iter().filter(|burn| burn.urgency == urgency);
        of_urgency.copied().max_by(|a, b| a.short.min(a.long).total_cmp(&b.short.min(b.long)))
    };
    let left = (standing.left * 100.0).floor();
    match worst(&standing.burns).filter(|_| fires) {
        Some(burn) => format!(
            "{}: the budget burns {:.1} times too fast, {left} % of it are left",
            promise.name,
            burn.short.min(burn.long)
        ),
        None => format!("{}: the budget burns no faster than it may, {left} % of it are left", promise.name),
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

#[cfg(test)]
mod tests {
    use manifest::spec::AlertRule;

    use super::*;

    fn app(slo: &str) -> App {
        let text = format!("name: x\nservices:\n  front: {{ command: [front], {slo} }}\n");
        manifest::parse_resolved(&text, std::path::Path::new("x")).app.unwrap()
    }

    #[test]
    fn what_fired_of_a_promise_that_is_gone_is_over() {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDir::open(directory.path()).unwrap();
        let objectives = Objectives::new(&state, SystemClock::new());
        let promised = app("slo: { availability: 99% }");
        objectives.put(&promised);
        let now = objectives.0.clock.now();
        objectives.book().count("front availability", minute_of(now), Counts { total: 20, bad: 20 });
        let fired = objectives.look(now);
        assert_eq!((fired.len(), fired[0].ended, fired[0].urgency), (1, None, Urgency::Page));
        objectives.put(&promised);
        assert_eq!(objectives.look(now), [], "it stays");
        objectives.put(&app("slo: { latency: 99% < 1s }"));
        let over = objectives.look(now);
        assert_eq!((over.len(), &over[0].name, over[0].since), (1, &fired[0].name, fired[0].since));
        assert!(over[0].ended.is_some());
        assert_eq!((objectives.look(now), objectives.alerts()), (Vec::new(), Vec::new()));
    }

    #[tokio::test]
    async fn a_node_that_starts_anew_goes_on_from_what_fires() {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDir::open(directory.path()).unwrap();
        let promised = "slo: { availability: 99% }";
        let asked = |rules: &str| {
            let mut app = app(promised);
            let telemetry = manifest::spec::Telemetry::default();
            let wanted = rules
                .split(' ')
                .map(|name| (name.to_owned(), AlertRule { ask: "up".into(), hold: Duration::ZERO }));
            let alerts = Alerts { rules: wanted.collect(), ..Alerts::default() };
            app.telemetry = Some(manifest::spec::Telemetry { alerts, ..telemetry });
            app
        };
        let first = Objectives::new(&state, SystemClock::new());
        first.put(&asked("down gone"));
        let now = first.0.clock.now();
        first.book().count("front availability", minute_of(now), Counts { total: 20, bad: 20 });
        first.look(now);
        let labels: Labels = vec![("__name__".into(), "up".into()), ("instance".into(), "a".into())];
        for name in ["down", "gone"] {
            let rule = AlertRule { ask: "up".into(), hold: Duration::ZERO };
            let (fired, _) = first.rules().answered(name, &rule, Ok(vec![(labels.clone(), 1.0)]), now);
            assert_eq!(fired.len(), 1);
        }
        first.keep(now).await;
        let before: Vec<_> = first.alerts().iter().map(|alert| (alert.name.clone(), alert.since)).collect();
        drop(first);

        let second = Objectives::new(&state, SystemClock::new());
        assert_eq!(second.fires().len(), 3, "kept until it is known what is asked");
        second.put(&asked("down"));
        let told = second.look(now);
        assert_eq!((told.len(), &*told[0].name, told[0].ended.is_some()), (1, "gone", true));
        assert_eq!(told[0].labels, labels);
        let after: Vec<_> = second.alerts().iter().map(|alert| (alert.name.clone(), alert.since)).collect();
        assert_eq!(after, before[..2]);
        // What does not hold any more is over after a while, and nothing is told twice.
        let later = Timestamp::from_micros(now.as_micros() + 3_600_000_000);
        let rule = AlertRule { ask: "up".into(), hold: Duration::ZERO };
        assert_eq!(second.rules().answered("down", &rule, Ok(vec![(labels, 1.0)]), now).0, []);
        let (over, _) = second.rules().answered("down", &rule, Ok(Vec::new()), later);
        assert_eq!((over.len(), over[0].ended), (1, Some(later)));
    }
}
