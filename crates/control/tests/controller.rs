//! The controller with a driver that plays a script: wishes that race each other, news that come late.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)] // helpers outside test functions

mod apps;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use apps::app;
use control::launch::Surroundings;
use control::ports::Ports;
use control::status::{ServiceState, View};
use control::{Checks, Controller, Desired, Gone, Happening, Options, Place, RestartError, Target};
use kit::{Clock, SystemClock, Tasks};
use manifest::spec::{InstanceId, Restart, RestartWhen, Service, Slot};
use registry::{Directory, Registry};
use runtime::mock::{MockDriver, Script};
use runtime::{Driver, Exit, Found, Started};

/// Nothing here takes longer than this.
const LIMIT: Duration = Duration::from_secs(20);

struct World {
    controller: Controller,
    driver: MockDriver,
    directory: Directory,
    ports: Arc<Ports>,
    told: Arc<Mutex<Vec<Happening>>>,
}

impl World {
    async fn start(desired: Desired) -> Self {
        Self::start_with(desired, |_, _| {}).await
    }

    async fn start_with(desired: Desired, before: impl FnOnce(&MockDriver, &SystemClock)) -> Self {
        Self::start_after(desired, None, before).await
    }

    async fn start_after(
        desired: Desired,
        after: Option<control::Memory>,
        before: impl FnOnce(&MockDriver, &SystemClock),
    ) -> Self {
        let (tasks, clock, directory) = (Tasks::new(), SystemClock::new(), Directory::default());
        let driver = MockDriver::new(Arc::new(clock.clone()), tasks.clone());
        before(&driver, &clock);
        let found = driver.recover().await.unwrap();
        let shared: Arc<dyn Driver> = Arc::new(driver.clone());
        let checks = Arc::new(Checks::new(Arc::clone(&shared), tasks.clone()));
        let registry = Registry::start(registry::Options {
            clock: Arc::new(clock.clone()),
            tasks: tasks.clone(),
            directory: directory.clone(),
            exec: checks.clone(),
        });
        let ports = Arc::new(Ports::new(std::process::id().into()));
        let told = Arc::<Mutex<Vec<Happening>>>::default();
        let tell = {
            let told = Arc::clone(&told);
            Arc::new(move |happening| told.lock().unwrap().push(happening))
        };
        let controller = Controller::start(Options {
            clock: Arc::new(clock),
            tasks,
            driver: shared,
            registry,
            checks,
            ports: Arc::clone(&ports),
            surroundings: Surroundings { app: "drama".into(), environment: BTreeMap::new() },
            desired,
            found,
            tell,
            after,
        });
        Self { controller, driver, directory, ports, told }
    }

    async fn until(&self, what: &str, wanted: impl Fn(&View) -> bool) -> Arc<View> {
        let mut view = self.controller.view();
        let seen = tokio::time::timeout(LIMIT, view.wait_for(|view| wanted(view))).await;
        match seen {
            Ok(view) => view.unwrap().clone(),
            Err(_) => panic!("{what}: {:#?}\n{:#?}", self.controller.view().borrow(), self.told.lock()),
        }
    }

    async fn until_state(&self, name: &str, state: ServiceState) {
        let is_so = |view: &View| view.services.iter().any(|s| s.name.as_str() == name && s.state == state);
        self.until(&format!("{name} is {state:?}"), is_so).await;
    }

    fn kinds(&self) -> Vec<&'static str> {
        self.told.lock().unwrap().iter().map(|happening| happening.kind).collect()
    }

    fn launched(&self, slot: &Slot) -> usize {
        self.driver.launches().iter().filter(|launch| launch.id.slot == *slot).count()
    }
}

async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, work).await.expect("an answer in time")
}

/// A service that starts again at once and may take long to end.
fn service(name: &str, replicas: u32) -> Service {
    let mut service = apps::service(name, replicas);
    service.restart.delay = Duration::from_millis(1);
    service.stop_grace = Duration::from_secs(60);
    service
}

fn prepared(mut service: Service, argument: &str) -> Service {
    service.prepare = Some(vec!["make".into(), argument.into()]);
    service
}

fn changed(mut service: Service) -> Service {
    service.environment.insert("LOG".into(), "debug".into());
    service
}

fn ends(after: Duration, code: i32) -> Script {
    Script { exit_after: Some((after, Exit::Code(code))), ..Script::default() }
}

fn prepare_run(run: u32) -> InstanceId {
    InstanceId { service: "web".parse().unwrap(), slot: Slot::Prepare, run }
}

#[tokio::test]
async fn a_wish_that_comes_while_all_goes_down_is_refused_and_the_end_comes_all_the_same() {
    let world = World::start(app(&[service("web", 1)])).await;
    world.until_state("web", ServiceState::Ready).await;
    world.driver.script("*", Script { ignores_signals: true, ..Script::default() });
    soon(world.controller.restart(vec![])).await.unwrap().unwrap(); // from now on it is deaf
    let down = {
        let controller = world.controller.clone();
        tokio::task::spawn(async move { controller.down(None).await })
    };
    world.until_state("web", ServiceState::Stopping).await;
    assert_eq!(soon(world.controller.apply(app(&[service("web", 3)]))).await.unwrap_err(), Gone);
    assert_eq!(soon(world.controller.scale(BTreeMap::new())).await.unwrap_err(), Gone);
    let restarted = soon(world.controller.restart(vec![])).await.unwrap();
    assert_eq!(restarted.unwrap_err(), RestartError::GoingDown);
    assert!(!down.is_finished());
    // Its grace is a minute; who asks again may shorten it.
    soon(world.controller.down(Some(Duration::from_millis(50)))).await.unwrap();
    soon(down).await.unwrap().unwrap();
    assert!(world.driver.living().is_empty());
    assert_eq!(world.ports.taken(), 0);
}

#[tokio::test]
async fn a_kill_of_everything_is_no_failure_of_anybody() {
    let world = World::start(app(&[service("web", 2)])).await;
    world.driver.script("*", Script { ignores_signals: true, ..Script::default() });
    world.until_state("web", ServiceState::Ready).await;
    soon(world.controller.down(Some(Duration::ZERO))).await.unwrap();
    let told = world.told.lock().unwrap().clone();
    assert!(told.iter().all(|happening| happening.level == control::Level::Info), "{told:#?}");
    assert_eq!(world.ports.taken(), 0);
}

#[tokio::test]
async fn a_service_that_is_reached_from_now_on_gets_requests_without_a_restart() {
    let world = World::start(app(&[service("back", 1)])).await;
    let before = world.until("back is ready", |view| view.services.iter().any(|s| s.ready == 1)).await;
    let port = before.services[0].instances[0].port.unwrap();
    let upstream = world.directory.upstream(&"back".parse().unwrap());
    assert!(upstream.load().ready.is_empty(), "nobody may call it yet");
    let mut front = service("front", 1);
    let call = manifest::spec::Call::default();
    front.calls.insert("back".parse().unwrap(), call);
    let _listener = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap(); // as `back` would
    let (_, unchanged) = soon(world.controller.apply(app(&[front, service("back", 1)]))).await.unwrap();
    assert_eq!(unchanged, 1);
    soon(async {
        while upstream.load().ready.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(upstream.load().ready[0].id().run, 1);
}

#[tokio::test]
async fn a_changed_check_watches_what_already_runs() {
    let world = World::start(app(&[service("web", 1)])).await;
    world.until_state("web", ServiceState::Ready).await;
    let mut web = service("web", 1);
    web.healthcheck = Some(manifest::spec::HealthCheck {
        probe: manifest::spec::Probe::Tcp { port: Some(1) }, // nobody listens there
        interval: Duration::from_millis(10),
        timeout: Duration::from_secs(1),
        retries: 1,
        start_period: Duration::ZERO,
        start_interval: None,
    });
    soon(world.controller.apply(app(&[web]))).await.unwrap();
    world.until("web is not ready", |view| view.services[0].ready == 0).await;
    soon(world.controller.apply(app(&[service("web", 1)]))).await.unwrap();
    world.until_state("web", ServiceState::Ready).await;
    assert_eq!(world.launched(&Slot::Replica(1)), 1, "nothing was restarted for it");
}

#[tokio::test]
async fn a_restart_behind_a_sister_that_cannot_live_is_answered() {
    let world = World::start_with(app(&[service("web", 2)]), |driver, _| {
        driver.script("web-1", ends(Duration::ZERO, 3));
    })
    .await;
    world.until_state("web", ServiceState::Failed).await;
    world.until("web-2 is ready", |view| view.services[0].ready == 1).await;
    let second = Place { service: "web".parse().unwrap(), index: 2 };
    let error = soon(world.controller.restart(vec![Target::Place(second)])).await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "`web-1` does not come back: exit status 3");
    assert_eq!(world.launched(&Slot::Replica(2)), 1);
}

#[tokio::test]
async fn a_restart_whose_prepare_fails_is_answered() {
    let world = World::start_with(app(&[prepared(service("web", 1), "all")]), |driver, _| {
        driver.script("web.prepare", ends(Duration::ZERO, 2));
    })
    .await;
    world.until_state("web", ServiceState::Failed).await;
    // Nothing has run yet, so there is nothing to restart; the failed `prepare` is tried again.
    assert!(soon(world.controller.restart(vec![])).await.unwrap().unwrap().is_empty());
    soon(async {
        while world.kinds().iter().filter(|kind| **kind == "service.prepare_failed").count() < 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    world.driver.script("web.prepare", ends(Duration::ZERO, 0));
    soon(world.controller.apply(app(&[prepared(service("web", 1), "all")]))).await.unwrap();
    world.until_state("web", ServiceState::Ready).await;
}

#[tokio::test]
async fn a_change_while_it_is_prepared_prepares_from_the_beginning() {
    let web = || prepared(service("web", 1), "all");
    let world = World::start(app(&[web()])).await;
    soon(async {
        while world.driver.living().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    world.driver.script("web.prepare", ends(Duration::ZERO, 0));
    soon(world.controller.apply(app(&[changed(web())]))).await.unwrap();
    world.until_state("web", ServiceState::Ready).await;
    assert_eq!(world.launched(&Slot::Prepare), 2);
    assert!(!world.kinds().contains(&"service.prepare_failed"));
}

#[tokio::test]
async fn a_change_prepares_anew_and_a_restart_does_not() {
    let web = || prepared(service("web", 1), "all");
    let world = World::start_with(app(&[web()]), |driver, _| {
        driver.script("web.prepare", ends(Duration::from_millis(1), 0));
    })
    .await;
    world.until_state("web", ServiceState::Ready).await;
    soon(world.controller.restart(vec![])).await.unwrap().unwrap();
    assert_eq!(world.launched(&Slot::Prepare), 1);
    soon(world.controller.apply(app(&[changed(web())]))).await.unwrap();
    world
        .until("the third run is ready", |view| {
            view.services[0].ready == 1 && view.services[0].instances[0].run == 3
        })
        .await;
    assert_eq!(world.launched(&Slot::Prepare), 2);
}

#[tokio::test]
async fn a_prepare_that_nobody_wants_any_more_is_ended() {
    let world = World::start(app(&[prepared(service("web", 1), "hangs")])).await;
    world.until_state("web", ServiceState::Preparing).await;
    soon(async {
        while world.driver.living().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    soon(world.controller.apply(app(&[]))).await.unwrap();
    soon(async {
        while !world.driver.living().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    // It may be wanted again later.
    world.driver.script("web.prepare", ends(Duration::ZERO, 0));
    soon(world.controller.apply(app(&[prepared(service("web", 1), "hangs")]))).await.unwrap();
    world.until_state("web", ServiceState::Ready).await;
    assert!(!world.kinds().contains(&"service.prepare_failed"), "{:#?}", world.told.lock());
}

#[tokio::test]
async fn a_prepare_that_hangs_does_not_hold_up_the_end() {
    let world = World::start(app(&[prepared(service("web", 1), "hangs")])).await;
    world.until_state("web", ServiceState::Preparing).await;
    soon(world.controller.down(None)).await.unwrap();
    assert!(world.driver.living().is_empty());
    assert!(!world.kinds().contains(&"service.prepare_failed"));
}

/// What a node that was killed has left: an instance, and a `prepare` that nobody waits for any more.
fn leave(driver: &MockDriver, clock: &SystemClock, desired: &Desired, prepare: bool) {
    let name = "web".parse().unwrap();
    let want = &desired.services[&name];
    let around = Surroundings { app: "drama".into(), environment: BTreeMap::new() };
    let started = Started { pid: 7, at: clock.now() };
    let launch = if prepare {
        around.prepare(want, prepare_run(1))
    } else {
        let id = InstanceId { service: name, slot: Slot::Replica(1), run: 4 };
        around.replica(want, id, 20_001)
    };
    driver.add_found(Found { launch, started, exit: None, asked: false });
}

#[tokio::test]
async fn a_prepare_of_an_earlier_node_makes_room_for_a_new_one() {
    let desired = app(&[prepared(service("web", 1), "all")]);
    let world = World::start_with(desired.clone(), |driver, clock| {
        leave(driver, clock, &desired, true);
        driver.script("web.prepare", ends(Duration::from_millis(20), 0));
    })
    .await;
    world.until_state("web", ServiceState::Ready).await;
    let prepares: Vec<u32> = world
        .driver
        .launches()
        .iter()
        .filter(|launch| launch.id.slot == Slot::Prepare)
        .map(|launch| launch.id.run)
        .collect();
    assert_eq!(prepares, [2], "a run of its own, not the one that was killed");
    assert!(!world.kinds().contains(&"service.prepare_failed"));
}

#[tokio::test]
async fn an_adopted_instance_that_crashes_is_not_prepared_again() {
    let desired = app(&[prepared(service("web", 1), "all")]);
    let world =
        World::start_with(desired.clone(), |driver, clock| leave(driver, clock, &desired, false)).await;
    world.until_state("web", ServiceState::Ready).await;
    let id = InstanceId { service: "web".parse().unwrap(), slot: Slot::Replica(1), run: 4 };
    assert!(world.driver.exit(&id, Exit::Code(1)));
    world
        .until("its next run is ready", |view| {
            view.services[0].ready == 1 && view.services[0].instances[0].run == 5
        })
        .await;
    assert_eq!(world.launched(&Slot::Prepare), 0);
}

#[tokio::test]
async fn a_held_controller_goes_on_watching_and_begins_nothing_until_it_is_released() {
    let world = World::start(app(&[service("web", 2)])).await;
    world.until_state("web", ServiceState::Ready).await;
    // What somebody waits for comes to its end first.
    let both = async { tokio::join!(world.controller.restart(vec![]), world.controller.hold()) };
    let (restarted, held) = soon(both).await;
    held.unwrap();
    assert_eq!(restarted.unwrap().unwrap().len(), 2);
    world.until_state("web", ServiceState::Ready).await;
    let launched = world.driver.launches().len();
    let id = InstanceId { service: "web".parse().unwrap(), slot: Slot::Replica(1), run: 2 };
    assert!(world.driver.exit(&id, Exit::Code(1)));
    world.until("its end is seen", |view| view.services[0].ready == 1).await;
    soon(world.controller.scale(BTreeMap::from([("web".parse().unwrap(), 3)]))).await.unwrap();
    assert_eq!(world.driver.launches().len(), launched);
    soon(world.controller.release()).await.unwrap();
    world.until("three run", |view| view.services[0].ready == 3).await;
}

#[tokio::test]
async fn who_takes_over_knows_what_is_done_and_what_has_failed() {
    let mut job = service("job", 1);
    job.restart.when = RestartWhen::Never;
    let desired = app(&[prepared(job, "job"), service("web", 1)]);
    let first = World::start_with(desired.clone(), |driver, _| {
        driver.script("job.prepare", ends(Duration::ZERO, 0));
        driver.script("job-1", ends(Duration::ZERO, 0));
    })
    .await;
    first.until_state("job", ServiceState::Completed).await;
    first.until_state("web", ServiceState::Ready).await;
    soon(first.controller.hold()).await.unwrap();
    let memory = soon(first.controller.recall()).await.unwrap();
    assert_eq!((memory.living(), memory.ready().count()), (1, 1));
    let second = World::start_after(desired.clone(), Some(memory), |driver, clock| {
        leave(driver, clock, &desired, false);
    })
    .await;
    second.until_state("web", ServiceState::Ready).await;
    soon(second.controller.release()).await.unwrap();
    soon(second.controller.restart(vec![Target::Service("web".parse().unwrap())])).await.unwrap().unwrap();
    second.until_state("job", ServiceState::Completed).await;
    assert_eq!(second.launched(&Slot::Prepare), 0);
    assert_eq!(second.driver.launches().len(), 1, "only web was started");
}

#[tokio::test]
async fn ports_come_back_whatever_happens_to_instances() {
    let world = World::start_with(app(&[service("web", 3)]), |driver, _| {
        driver.script("web-1", ends(Duration::ZERO, 1));
        driver
            .script("web-2", Script { refuse: Some(runtime::mock::Refusal::NoProgram), ..Script::default() });
    })
    .await;
    world
        .until("web-1 has failed a few times", |view| {
            view.services.iter().flat_map(|s| &s.instances).any(|instance| instance.restarts > 3)
        })
        .await;
    soon(world.controller.restart(vec![])).await.unwrap().unwrap_err();
    soon(world.controller.apply(app(&[service("other", 2)]))).await.unwrap();
    world.until_state("other", ServiceState::Ready).await;
    world.until("web is gone", |view| view.services.len() == 1).await;
    assert_eq!(world.ports.taken(), 2);
    soon(world.controller.down(None)).await.unwrap();
    assert_eq!(world.ports.taken(), 0);
}

#[tokio::test]
async fn what_an_earlier_node_has_asked_to_end_starts_again_however_it_ended() {
    // `web-1` ended well while nobody was there, `web-2` is still at it.
    let desired = app(&[service("web", 2)]);
    let world = World::start_with(desired.clone(), |driver, clock| {
        let want = &desired.services[&"web".parse().unwrap()];
        let around = Surroundings { app: "drama".into(), environment: BTreeMap::new() };
        let started = Started { pid: 7, at: clock.now() };
        for (index, exit) in [(1, Some(Exit::Code(0))), (2, None)] {
            let id = InstanceId { service: "web".parse().unwrap(), slot: Slot::Replica(index), run: 3 };
            let launch = around.replica(want, id, 20_001 + index as u16);
            driver.add_found(Found { launch, started, exit, asked: true });
        }
    })
    .await;
    world
        .until("the next runs are ready", |view| {
            view.services.iter().any(|s| s.ready == 2 && s.instances.iter().all(|i| i.run == 4))
        })
        .await;
    assert!(!world.kinds().contains(&"instance.exited"));
    assert_eq!(world.ports.taken(), 2);
}

#[tokio::test]
async fn a_job_that_always_restarts_does_not_spin() {
    let mut job = service("job", 1);
    job.restart = Restart { when: RestartWhen::Always, delay: Duration::from_millis(20), ..job.restart };
    let began = std::time::Instant::now();
    let world =
        World::start_with(app(&[job]), |driver, _| driver.script("job", ends(Duration::ZERO, 0))).await;
    let is_fifth = |view: &View| view.services.iter().flat_map(|s| &s.instances).any(|i| i.run >= 5);
    world.until("a fifth run", is_fifth).await;
    // Delays of 20, 40, 80 and 160 ms, of which jitter leaves at least half. Without doubling: 40 ms.
    assert!(began.elapsed() >= Duration::from_millis(150), "{:?}", began.elapsed());
}
