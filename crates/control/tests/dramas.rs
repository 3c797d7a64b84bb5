//! Small dramas for the planner: a world that does at once what the plan says, and a script of what goes
//! wrong in it. Pure, without a clock of its own or a driver.

#![allow(clippy::unwrap_used)] // helpers outside test functions

mod apps;

use std::time::Duration;

use apps::{app, service};
use control::desired::{Desired, Goal};
use control::fleet::{End, Fleet, Phase, Place, Prepare, Replica};
use control::plan::{Step, plan, restarts_after};
use control::status::{self, ServiceState};
use kit::Timestamp;
use kit::units::Share;
use manifest::spec::{
    BalanceBy, Call, Condition, Dependency, Mirror, RestartWhen, Service, ServiceName, Wire, Work,
};
use proptest::prelude::*;
use registry::Health;
use runtime::Exit;

fn after(mut service: Service, other: &str, condition: Condition) -> Service {
    service
        .depends_on
        .insert(other.parse().unwrap(), Dependency { condition, restart: false, required: true });
    service
}

fn calling(mut service: Service, other: &str) -> Service {
    let call = Call::default();
    service.calls.insert(other.parse().unwrap(), call);
    service
}

/// A world in which steps take one tick: what is started runs, what is stopped ends.
struct World {
    desired: Desired,
    fleet: Fleet,
    now: Timestamp,
    story: Vec<String>,
    /// Services whose instances get ready a tick after they run.
    well: bool,
}

impl World {
    fn new(desired: Desired) -> Self {
        let now = Timestamp::from_micros(0);
        Self { desired, fleet: Fleet::default(), now, story: Vec::new(), well: true }
    }

    /// Plans and does it. Returns whether there was anything to do.
    fn tick(&mut self) -> bool {
        self.now = self.now + Duration::from_secs(1);
        let plan = plan(&self.desired, &self.fleet, self.now);
        let mut busy = !plan.steps.is_empty();
        let mut line = Vec::new();
        // What was begun in the last tick comes to its end before anything new begins.
        for (place, replica) in &mut self.fleet.replicas {
            match &replica.phase {
                Phase::Starting { .. } => {
                    busy = true;
                    replica.phase = Phase::Running {
                        pid: 1,
                        since: self.now,
                        health: Health::Starting,
                        detail: String::new(),
                    };
                }
                Phase::Running { pid, since, health: Health::Starting, .. } if self.well => {
                    busy = true;
                    replica.was_ready = true;
                    let (pid, since) = (*pid, *since);
                    replica.phase =
                        Phase::Running { pid, since, health: Health::Ready, detail: String::new() };
                }
                Phase::Stopping { .. } => {
                    busy = true;
                    replica.phase = Phase::Ended { asked: true, at: self.now, retry_at: None };
                    line.push(format!("{place} gone"));
                }
                _ => {}
            }
        }
        for prepare in self.fleet.prepares.values_mut() {
            if matches!(prepare, Prepare::Running { .. }) {
                busy = true;
                *prepare = Prepare::Done;
            }
        }
        for step in plan.steps {
            line.push(self.act(step));
        }
        if !line.is_empty() {
            self.story.push(line.join(", "));
        }
        busy
    }

    fn act(&mut self, step: Step) -> String {
        match step {
            Step::Prepare { service, key } => {
                let running = Prepare::Running { service: service.clone(), since: self.now };
                assert!(self.fleet.prepares.insert(key, running).is_none(), "prepared twice at once");
                format!("prepare {service}")
            }
            Step::Start { place, run } => {
                let before = self.fleet.replicas.get(&place);
                // The promise above all: never two copies of one replica.
                assert!(before.is_none_or(|replica| !replica.is_alive()), "{place} started twice");
                assert!(before.is_none_or(|replica| replica.run < run), "{place} has run {run} already");
                let revision = self.desired.services[&place.service].revision.clone();
                let replica = Replica {
                    run,
                    revision,
                    port: None,
                    stop_signal: "SIGTERM".into(),
                    stop_grace: Duration::ZERO,
                    phase: Phase::Starting { ended_early: None },
                    failures: before.map_or(0, |replica| replica.failures),
                    short_lives: 0,
                    restarts: 0,
                    last_end: None,
                    ready_after: None,
                    was_ready: false,
                };
                let text = format!("start {place}");
                self.fleet.replicas.insert(place, replica);
                text
            }
            Step::Stop { place, why } => {
                let replica = self.fleet.replicas.get_mut(&place).unwrap();
                replica.phase = Phase::Stopping { pid: 1, since: self.now, ended: None };
                format!("stop {place} ({why:?})")
            }
            Step::Forget { place } => {
                self.fleet.forget(&place);
                format!("forget {place}")
            }
        }
    }

    /// Ticks until nothing happens any more; returns the story since the last call, a line per tick.
    fn settle(&mut self) -> String {
        for _ in 0..200 {
            if !self.tick() {
                return std::mem::take(&mut self.story).join("\n");
            }
        }
        panic!("no fixed point is reached:\n{}", self.story.join("\n"));
    }

    fn dies(&mut self, name: &str, index: u32, code: i32) {
        let place = Place { service: name.parse().unwrap(), index };
        let want = self.desired.services[&place.service].clone();
        let replica = self.fleet.replicas.get_mut(&place).unwrap();
        let end = End {
            exit: Some(Exit::Code(code)),
            why: format!("exit status {code}"),
            last_lines: vec![],
            at: self.now,
        };
        replica.failures += u32::from(code != 0);
        let retry_at =
            restarts_after(&want, replica.failures, &end).then(|| self.now + Duration::from_secs(1));
        replica.last_end = Some(end);
        replica.phase = Phase::Ended { asked: false, at: self.now, retry_at };
    }

    fn state(&self, name: &str) -> (ServiceState, String) {
        let name: ServiceName = name.parse().unwrap();
        let view = status::view(&self.desired, &self.fleet);
        let service = view.services.into_iter().find(|s| s.name == name).unwrap();
        (service.state, service.detail)
    }
}

#[test]
fn services_start_in_the_order_of_their_dependencies_and_stop_in_reverse() {
    let web = after(service("web", 2), "db", Condition::Healthy);
    let db = after(service("db", 1), "migrate", Condition::Started);
    let mut world = World::new(app(&[web, db, service("migrate", 1)]));
    insta::assert_snapshot!(world.settle(), @r"
    start migrate-1
    start db-1
    start web-1, start web-2
    ");
    world.desired.goal = Goal::Down { grace: None };
    insta::assert_snapshot!(world.settle(), @r"
    stop web-1 (Down), stop web-2 (Down)
    web-1 gone, web-2 gone
    stop db-1 (Down)
    db-1 gone
    stop migrate-1 (Down)
    migrate-1 gone
    ");
}

#[test]
fn callers_stop_before_those_they_call_even_without_depends_on() {
    let mut world = World::new(app(&[calling(service("front", 1), "back"), service("back", 1)]));
    world.settle();
    world.desired.goal = Goal::Down { grace: None };
    insta::assert_snapshot!(world.settle(), @r"
    stop front-1 (Down)
    front-1 gone
    stop back-1 (Down)
    back-1 gone
    ");
}

#[test]
fn services_that_call_each_other_in_a_circle_can_still_stop() {
    let a = calling(service("a", 1), "b");
    let b = calling(service("b", 1), "a");
    let mut world = World::new(app(&[a, b]));
    world.settle();
    world.desired.goal = Goal::Down { grace: None };
    world.settle();
    assert!(world.fleet.replicas.values().all(|replica| !replica.is_alive()));
}

#[test]
fn equal_prepare_commands_run_once_and_before_the_first_start() {
    let mut a = service("a", 1);
    a.prepare = Some(vec!["make".into()]);
    let mut b = service("b", 1);
    b.prepare = Some(vec!["make".into()]);
    let mut c = service("c", 1);
    c.prepare = Some(vec!["make".into(), "c".into()]);
    let mut world = World::new(app(&[a, b, c]));
    insta::assert_snapshot!(world.settle(), @r"
    prepare a, prepare c
    start a-1, start b-1, start c-1
    ");
}

#[test]
fn a_changed_service_is_replaced_one_replica_after_the_other_and_others_are_left_alone() {
    let mut world = World::new(app(&[service("web", 3), service("db", 1)]));
    world.settle();
    let mut web = service("web", 3);
    web.environment.insert("LOG".into(), "debug".into());
    world.desired = app(&[web, service("db", 1)]);
    insta::assert_snapshot!(world.settle(), @r"
    stop web-1 (Changed)
    web-1 gone
    start web-1
    stop web-2 (Changed)
    web-2 gone
    start web-2
    stop web-3 (Changed)
    web-3 gone
    start web-3
    ");
}

#[test]
fn a_revision_that_does_not_get_ready_stops_its_own_roll_out() {
    let mut world = World::new(app(&[service("web", 3)]));
    world.settle();
    let mut web = service("web", 3);
    web.environment.insert("BROKEN".into(), "yes".into());
    world.desired = app(&[web]);
    world.well = false;
    insta::assert_snapshot!(world.settle(), @r"
    stop web-1 (Changed)
    web-1 gone
    start web-1
    ");
    assert_eq!(world.fleet.replicas.values().filter(|replica| replica.is_ready()).count(), 2);
}

#[test]
fn what_is_replaced_goes_on_until_its_successor_is_prepared() {
    let mut world = World::new(app(&[service("web", 1)]));
    world.settle();
    let mut web = service("web", 1);
    web.prepare = Some(vec!["make".into()]);
    world.desired = app(&[web]);
    insta::assert_snapshot!(world.settle(), @r"
    prepare web
    stop web-1 (Changed)
    web-1 gone
    start web-1
    ");
}

#[test]
fn scaling_down_stops_the_highest_numbers_and_removing_stops_all() {
    let mut world = World::new(app(&[service("web", 3), service("old", 1)]));
    world.settle();
    world.desired = app(&[service("web", 1)]);
    insta::assert_snapshot!(world.settle(), @r"
    stop old-1 (Surplus), stop web-2 (Surplus), stop web-3 (Surplus)
    old-1 gone, web-2 gone, web-3 gone
    forget old-1, forget web-2, forget web-3
    ");
}

#[test]
fn an_instance_that_fails_starts_again_after_its_delay_and_a_finished_job_does_not() {
    let mut world = World::new(app(&[service("web", 1), service("job", 1)]));
    world.settle();
    world.dies("web", 1, 1);
    world.dies("job", 1, 0);
    assert_eq!(world.state("web").0, ServiceState::Degraded);
    assert_eq!(world.state("job"), (ServiceState::Completed, String::new()));
    let early = plan(&world.desired, &world.fleet, world.now);
    assert!(early.steps.is_empty());
    assert_eq!(early.look_again, Some(world.now + Duration::from_secs(1)));
    insta::assert_snapshot!(world.settle(), @"start web-1");
}

#[test]
fn a_service_that_keeps_failing_is_shown_as_failed_with_the_reason() {
    let mut world = World::new(app(&[service("web", 1)]));
    world.well = false;
    for _ in 0..3 {
        world.settle();
        world.dies("web", 1, 3);
    }
    assert_eq!(world.state("web"), (ServiceState::Failed, "exit status 3".into()));
}

#[test]
fn a_dependant_of_a_failed_job_says_why_it_does_not_start() {
    let mut job = service("migrate", 1);
    job.restart.when = RestartWhen::Never;
    let web = after(service("web", 1), "migrate", Condition::Completed);
    let mut world = World::new(app(&[job, web]));
    world.settle();
    assert_eq!(world.state("web"), (ServiceState::Waiting, "waits for `migrate` to complete".into()));
    world.dies("migrate", 1, 1);
    world.settle();
    assert_eq!(
        world.state("web"),
        (ServiceState::Failed, "depends on `migrate`, which has failed: exit status 1".into())
    );
}

#[test]
fn a_restart_takes_one_replica_at_a_time() {
    let mut world = World::new(app(&[service("web", 2)]));
    world.settle();
    for index in 1..=2 {
        world.desired.restarts.insert(Place { service: "web".parse().unwrap(), index }, 1);
    }
    insta::assert_snapshot!(world.settle(), @r"
    stop web-1 (Restart)
    web-1 gone
    start web-1
    stop web-2 (Restart)
    web-2 gone
    start web-2
    ");
}

#[test]
fn no_more_than_a_bounded_number_of_instances_start_at_once() {
    let mut world = World::new(app(&[service("web", 100)]));
    world.tick();
    let starting =
        world.fleet.replicas.values().filter(|r| matches!(r.phase, Phase::Starting { .. })).count();
    assert_eq!(starting, control::plan::MAX_STARTING);
    world.settle();
    assert_eq!(world.fleet.replicas.values().filter(|replica| replica.is_ready()).count(), 100);
}

#[test]
fn differences_are_named_as_in_the_file() {
    let old = app(&[service("web", 2), service("gone", 1), service("same", 1)]);
    let mut web = service("web", 3);
    web.environment.insert("LOG".into(), "debug".into());
    web.user = Some("app".into());
    let new = app(&[web, service("new", 1), service("same", 1)]);
    let (changes, unchanged) = control::desired::changes(&old, &new);
    let text: Vec<String> =
        changes.iter().map(|c| format!("{:?} {} {:?} {:?}", c.kind, c.service, c.replicas, c.why)).collect();
    insta::assert_snapshot!(text.join("\n"), @r#"
    Stop gone [1] ["removed"]
    Start new [1] ["new"]
    Start web [3] ["scale 2 → 3"]
    Replace web [1, 2] ["environment.LOG", "user"]
    "#);
    assert_eq!(unchanged, 1);
}

#[test]
fn guards_protocol_and_balance_change_in_place_and_whom_guards_name_must_listen() {
    let before = app(&[calling(service("web", 2), "db"), service("db", 1), service("next", 1)]);
    let mut web = calling(service("web", 2), "db");
    web.wire = Wire::Http2;
    web.balance.by = BalanceBy::RoundRobin;
    let guard = &mut web.calls.get_mut(&"db".parse().unwrap()).unwrap().guard;
    guard.timeout = Duration::from_secs(1);
    guard.retry.attempts = 3;
    guard.breaker = None;
    guard.mirror = Some(Mirror { to: "next".parse().unwrap(), share: Share::ALL });
    let after = app(&[web, service("db", 1), service("next", 1)]);
    let (changes, unchanged) = control::desired::changes(&before, &after);
    let text: Vec<String> =
        changes.iter().map(|c| format!("{:?} {} {:?} {:?}", c.kind, c.service, c.replicas, c.why)).collect();
    assert_eq!(text, [r#"Update web [1, 2] ["calls", "protocol", "balance"]"#]);
    assert_eq!(unchanged, 4);
    let listens = |desired: &Desired| desired.services[&"next".parse().unwrap()].listens;
    assert_eq!((listens(&before), listens(&after)), (false, true));
}

#[test]
fn what_runs_is_not_stopped_for_a_successor_that_may_not_start() {
    let web = || after(service("web", 1), "db", Condition::Healthy);
    let mut world = World::new(app(&[web(), service("db", 1)]));
    world.settle();
    let (mut changed_web, mut changed_db) = (web(), service("db", 1));
    changed_web.environment.insert("LOG".into(), "debug".into());
    changed_db.environment.insert("LOG".into(), "debug".into());
    world.desired = app(&[changed_web, changed_db]);
    insta::assert_snapshot!(world.settle(), @r"
    stop db-1 (Changed)
    db-1 gone
    start db-1
    stop web-1 (Changed)
    web-1 gone
    start web-1
    ");
}

#[test]
fn a_flapping_dependency_takes_nobody_with_it() {
    let mut world = World::new(app(&[after(service("web", 1), "db", Condition::Healthy), service("db", 1)]));
    world.settle();
    for code in [1, 0, 1] {
        world.dies("db", 1, code);
        world.desired.restarts.insert(Place { service: "web".parse().unwrap(), index: 1 }, 1);
        world.tick();
        assert_eq!(world.state("web").0, ServiceState::Ready, "a restart waits until db is back");
        let replica = world.fleet.replicas.get_mut(&Place { service: "db".parse().unwrap(), index: 1 });
        if let Some(Replica { phase: Phase::Ended { asked, .. }, .. }) = replica {
            *asked = true; // somebody starts it again
        }
        world.settle();
    }
    assert_eq!(world.state("web").0, ServiceState::Ready);
}

#[test]
fn a_job_that_always_restarts_never_completes_and_its_dependants_say_so() {
    let mut job = service("migrate", 1);
    job.restart.when = RestartWhen::Always;
    let mut world = World::new(app(&[after(service("web", 1), "migrate", Condition::Completed), job]));
    world.settle();
    assert_eq!(
        world.state("web"),
        (ServiceState::Failed, "waits for `migrate` to complete, but `restart: always` never lets it".into())
    );
}

#[test]
fn what_this_version_can_no_longer_run_is_stopped() {
    let mut world = World::new(app(&[service("web", 2)]));
    world.settle();
    let mut web = service("web", 2);
    web.work = Work::Unsupported("it has an `image`".into());
    world.desired = app(&[web]);
    insta::assert_snapshot!(world.settle(), @r"
    stop web-1 (Surplus), stop web-2 (Surplus)
    web-1 gone, web-2 gone
    forget web-1, forget web-2
    ");
}

#[test]
fn a_run_number_is_never_used_twice() {
    let mut world = World::new(app(&[service("web", 2)]));
    world.settle();
    let place = Place { service: "web".parse().unwrap(), index: 2 };
    let before = world.fleet.replicas[&place].run;
    world.desired = app(&[service("web", 1)]);
    world.settle();
    world.desired = app(&[service("web", 2)]);
    world.settle();
    assert!(world.fleet.replicas[&place].run > before);
}

#[test]
fn three_hundred_services_in_a_chain_go_down_from_its_head() {
    let name = |n: usize| format!("s{n:03}");
    let services: Vec<Service> = (0..300)
        .map(|n| {
            let one = calling(service(&name(n), 1), &name((n + 1) % 300)); // a circle of calls …
            if n < 299 { after(one, &name(n + 1), Condition::Started) } else { one } // … and a chain
        })
        .collect();
    let mut world = World::new(app(&services));
    while world.fleet.replicas.values().filter(|replica| replica.is_ready()).count() < 300 {
        world.tick();
    }
    world.desired.goal = Goal::Down { grace: None };
    let began = std::time::Instant::now();
    let mut last = 300;
    while last > 0 {
        world.tick();
        let alive: Vec<_> = world.fleet.replicas.iter().filter(|(_, replica)| replica.is_alive()).collect();
        assert!(alive.len() <= last && last - alive.len() <= 1, "one after the other");
        last = alive.len();
    }
    assert!(began.elapsed() < Duration::from_secs(20), "{:?} for 600 looks", began.elapsed());
}

#[derive(Clone, Debug)]
enum Blow {
    Tick,
    Die(u32, i32),
    Scale(u32),
    Change(u8),
    Restart(u32),
}

fn blow() -> impl Strategy<Value = Blow> {
    prop_oneof![
        4 => Just(Blow::Tick),
        2 => (1u32..4, 0i32..2).prop_map(|(index, code)| Blow::Die(index, code)),
        1 => (0u32..4).prop_map(Blow::Scale),
        1 => (0u8..4).prop_map(Blow::Change),
        1 => (1u32..4).prop_map(Blow::Restart),
    ]
}

fn revision(replicas: u32, version: u8) -> Desired {
    let mut web = after(service("web", replicas), "db", Condition::Healthy);
    web.environment.insert("VERSION".into(), version.to_string());
    web.prepare = Some(vec!["make".into(), version.to_string()]);
    app(&[web, service("db", 1)])
}

proptest! {
    /// Whatever happens on the way, the world comes to rest as it was wished: so many replicas of the last
    /// revision, all alive unless they ended well. `World::act` holds the promise of one copy per replica.
    #[test]
    fn the_fleet_comes_to_rest_as_wished(blows in proptest::collection::vec(blow(), 0..40)) {
        let (mut replicas, mut version) = (2, 0);
        let mut world = World::new(revision(replicas, version));
        for blow in blows {
            match blow {
                Blow::Tick => { world.tick(); }
                Blow::Die(index, code) => {
                    let place = Place { service: "web".parse().unwrap(), index };
                    let running = world.fleet.replicas.get(&place).is_some_and(|r| matches!(r.phase, Phase::Running { .. }));
                    if running && index <= replicas { world.dies("web", index, code); }
                }
                Blow::Scale(count) => replicas = count,
                Blow::Change(to) => version = to,
                Blow::Restart(index) => {
                    let place = Place { service: "web".parse().unwrap(), index };
                    if let Some(replica) = world.fleet.replicas.get(&place) {
                        world.desired.restarts.insert(place, replica.run);
                    }
                }
            }
            let restarts = std::mem::take(&mut world.desired.restarts);
            world.desired = Desired { restarts, ..revision(replicas, version) };
        }
        world.settle();
        let web: ServiceName = "web".parse().unwrap();
        let want = &world.desired.services[&web];
        prop_assert_eq!(world.fleet.of(&web).count(), replicas as usize);
        for (_, replica) in world.fleet.of(&web) {
            prop_assert!(replica.is_ready() || replica.is_completed());
            prop_assert_eq!(&replica.revision, &want.revision);
        }
    }
}
