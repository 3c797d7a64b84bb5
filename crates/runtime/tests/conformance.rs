//! What every driver promises, asked of each of them.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests, though not every function is marked as one

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use common::{LIMIT, Rig};
use kit::{SystemClock, Tasks};
use manifest::spec::InstanceId;
use runtime::mock::{MockDriver, Refusal, Script};
use runtime::{Driver, Event, Exit, Launch, StartError, Stop};
use tokio::sync::mpsc;

/// What an instance is to do.
#[derive(Clone, Copy, Debug)]
enum Behaviour {
    Run,
    RunDeaf,
    Exit(i32),
    NotThere,
}

/// A driver under test.
trait Subject {
    fn driver(&self) -> &dyn Driver;
    /// A launch of an instance that behaves so.
    fn launch(&self, id: &str, behaviour: Behaviour) -> Launch;
    /// Whether the instance has got as far as its behaviour.
    fn settled(&self, id: &InstanceId) -> bool;
    async fn end(self);
}

struct Mock {
    driver: MockDriver,
}

impl Mock {
    fn new() -> Self {
        Self { driver: MockDriver::new(Arc::new(SystemClock::new()), Tasks::new()) }
    }
}

impl Subject for Mock {
    fn driver(&self) -> &dyn Driver {
        &self.driver
    }

    fn launch(&self, id: &str, behaviour: Behaviour) -> Launch {
        let script = match behaviour {
            Behaviour::Run => Script::default(),
            Behaviour::RunDeaf => Script { ignores_signals: true, ..Script::default() },
            Behaviour::Exit(code) => Script {
                exit_after: Some((Duration::from_millis(10), Exit::Code(code))),
                last_lines: vec!["bye".into()],
                ..Script::default()
            },
            Behaviour::NotThere => Script { refuse: Some(Refusal::NoProgram), ..Script::default() },
        };
        let launch = common::launch(id, &["mock"]);
        self.driver.script(&launch.id.name(), script);
        launch
    }

    fn settled(&self, _: &InstanceId) -> bool {
        true
    }

    async fn end(self) {}
}

impl Subject for Rig {
    fn driver(&self) -> &dyn Driver {
        &self.driver
    }

    fn launch(&self, id: &str, behaviour: Behaviour) -> Launch {
        match behaviour {
            Behaviour::Run => self.shell(id, "echo settled; exec sleep 1000"),
            Behaviour::RunDeaf => self.shell(id, "trap '' TERM; echo settled; sleep 1000"),
            Behaviour::Exit(code) => self.shell(id, &format!("echo bye; exit {code}")),
            Behaviour::NotThere => common::launch(id, &["/no/such/program"]),
        }
    }

    fn settled(&self, id: &InstanceId) -> bool {
        common::lines_of(&self.dir, &id.name()).contains(&"settled".to_owned())
    }

    async fn end(self) {
        Rig::end(self).await;
    }
}

/// A subject and what it has told.
struct Case<S> {
    subject: S,
    events: mpsc::Receiver<Event>,
    told: BTreeMap<String, (Exit, Vec<String>)>,
}

impl<S: Subject> Case<S> {
    async fn started(&self, id: &str, behaviour: Behaviour) -> Result<runtime::Started, StartError> {
        let launch = self.subject.launch(id, behaviour);
        let id = launch.id.clone();
        let started = self.subject.driver().start(launch).await?;
        if matches!(behaviour, Behaviour::Run | Behaviour::RunDeaf) {
            common::machine::wait_until("it settles", || self.subject.settled(&id)).await;
        }
        Ok(started)
    }

    async fn stop(&self, id: &str, grace: Duration) {
        let stop = Stop { signal: "SIGTERM".into(), grace };
        let stopped = self.subject.driver().stop(&id.parse().unwrap(), stop);
        tokio::time::timeout(LIMIT, stopped).await.expect("a stop in time").unwrap();
    }

    async fn exit(&mut self, id: &str) -> (Exit, Vec<String>) {
        loop {
            if let Some(told) = self.told.remove(id) {
                return told;
            }
            let event =
                tokio::time::timeout(LIMIT, self.events.recv()).await.expect("an event in time").unwrap();
            if let Event::Exited { id, exit, last_lines, .. } = event {
                assert!(self.told.insert(id.to_string(), (exit, last_lines)).is_none(), "told twice");
            }
        }
    }
}

async fn conforms<S: Subject>(subject: S) {
    let events = subject.driver().events();
    let mut case = Case { subject, events, told: BTreeMap::new() };
    assert!(
        case.subject.driver().recover().await.unwrap().is_empty(),
        "a new driver has nothing from before"
    );
    assert!(case.subject.driver().events().recv().await.is_none(), "events are taken once");

    // Starting is idempotent, and a slot is filled once.
    let first = case.started("a-1#1", Behaviour::Run).await.unwrap();
    assert_eq!(case.started("a-1#1", Behaviour::Run).await.unwrap(), first);
    let taken = case.started("a-1#2", Behaviour::Run).await.unwrap_err();
    assert!(matches!(&taken, StartError::SlotTaken { holder, .. } if holder.run == 1), "{taken}");
    let other = case.started("a-2#1", Behaviour::Run).await.unwrap();
    assert_ne!(first.pid, other.pid);
    let mut using: Vec<String> =
        case.subject.driver().usage().await.iter().map(|u| u.id.to_string()).collect();
    using.sort();
    assert_eq!(using, ["a-1#1", "a-2#1"]);

    // A stop ends it, is told, frees the slot, and may be repeated.
    case.stop("a-1#1", LIMIT).await;
    assert_eq!(case.exit("a-1#1").await.0, Exit::Signal("SIGTERM".into()));
    case.stop("a-1#1", LIMIT).await;
    case.stop("never-1#1", LIMIT).await;
    case.started("a-1#2", Behaviour::Exit(0)).await.unwrap();
    assert_eq!(case.exit("a-1#2").await, (Exit::Code(0), vec!["bye".to_owned()]));

    // An end by itself is told with how and with the last lines.
    case.started("b-1#1", Behaviour::Exit(3)).await.unwrap();
    assert_eq!(case.exit("b-1#1").await, (Exit::Code(3), vec!["bye".to_owned()]));

    // Who does not listen is killed after the grace; a second, shorter grace hastens; zero kills at once.
    case.started("c-1#1", Behaviour::RunDeaf).await.unwrap();
    case.stop("c-1#1", Duration::from_millis(50)).await;
    assert_eq!(case.exit("c-1#1").await.0, Exit::Signal("SIGKILL".into()));
    case.started("c-2#1", Behaviour::RunDeaf).await.unwrap();
    tokio::join!(
        case.stop("c-2#1", Duration::from_secs(3600)),
        case.stop("c-2#1", Duration::from_millis(50))
    );
    assert_eq!(case.exit("c-2#1").await.0, Exit::Signal("SIGKILL".into()));
    case.started("c-3#1", Behaviour::Run).await.unwrap();
    case.stop("c-3#1", Duration::ZERO).await;
    assert_eq!(case.exit("c-3#1").await.0, Exit::Signal("SIGKILL".into()));

    // What is not there does not start, and takes no slot.
    let missing = case.started("d-1#1", Behaviour::NotThere).await.unwrap_err();
    assert!(matches!(missing, StartError::NoProgram { .. }), "{missing}");
    case.started("d-1#2", Behaviour::Run).await.unwrap();

    // A signal that does not exist is an error, and nothing ends by it.
    let stop = Stop { signal: "SIGNOPE".into(), grace: LIMIT };
    assert!(case.subject.driver().stop(&"d-1#2".parse().unwrap(), stop).await.is_err());
    assert_eq!(case.subject.driver().usage().await.len(), 2);
    case.stop("d-1#2", LIMIT).await;
    case.stop("a-2#1", LIMIT).await;
    assert!(case.subject.driver().usage().await.is_empty());
    case.subject.end().await;
}

#[tokio::test]
async fn the_mock_driver_conforms() {
    conforms(Mock::new()).await;
}

#[tokio::test]
async fn the_process_driver_conforms() {
    let home = tempfile::tempdir().unwrap();
    let tasks = Tasks::new();
    let options = common::options(&home.path().join("state"), runtime::Lifetime::WithNode, &tasks);
    let driver = runtime::process::ProcessDriver::open(options).await.unwrap();
    conforms(Rig::without_events(home, driver)).await;
}

#[tokio::test(start_paused = true)]
async fn the_mock_driver_keeps_to_its_clock() {
    let clock = Arc::new(kit::SteppedClock::new(kit::Timestamp::from_micros(1_000_000)));
    let driver = MockDriver::new(clock.clone(), Tasks::new());
    let mut events = driver.events();
    driver.script("slow", Script { start_after: Duration::from_secs(5), ..Script::default() });
    driver.script(
        "brief",
        Script { exit_after: Some((Duration::from_secs(60), Exit::Code(0))), ..Script::default() },
    );
    driver.start(common::launch("brief-1#1", &["x"])).await.unwrap();
    let start = driver.start(common::launch("slow-1#1", &["x"]));
    let step = async {
        tokio::task::yield_now().await;
        clock.advance(Duration::from_secs(5));
    };
    let (started, ()) = tokio::join!(start, step);
    assert_eq!(started.unwrap().at, kit::Timestamp::from_micros(6_000_000));
    tokio::task::yield_now().await;
    assert!(events.try_recv().is_err());
    clock.advance(Duration::from_secs(55));
    let Some(Event::Exited { id, at, .. }) = events.recv().await else { panic!("no end") };
    assert_eq!((id.to_string().as_str(), at.as_micros()), ("brief-1#1", 61_000_000));
    assert_eq!(driver.living().len(), 1);
}
