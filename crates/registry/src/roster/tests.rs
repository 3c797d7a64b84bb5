use manifest::spec::Probe;
use proptest::prelude::*;

use super::*;

const START: Timestamp = Timestamp::from_micros(1_000_000_000_000);
const MIDDLE: f64 = 0.5;

fn id(text: &str) -> InstanceId {
    text.parse().unwrap()
}

fn address(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

fn check(probe: Probe) -> HealthCheck {
    HealthCheck {
        probe,
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        retries: 2,
        start_period: Duration::ZERO,
        start_interval: None,
    }
}

fn tcp() -> HealthCheck {
    check(Probe::Tcp { port: None })
}

fn exec() -> HealthCheck {
    check(Probe::Exec(vec!["true".to_owned()]))
}

impl Roster {
    fn answer(&mut self, due: &Due, outcome: Result<(), &str>, now: Timestamp) {
        let outcome = Some(outcome.map_err(str::to_owned));
        let exec = due.target.is_exec();
        self.note(Report { serial: due.serial, attempt: due.attempt, exec, outcome }, now, MIDDLE);
    }

    /// Registers an instance and lets its first check pass.
    fn add_ready(&mut self, name: &str) -> Serial {
        self.register(id(name), Some(address(1)), Some(&tcp()), START);
        let due = self.take_due(START).unwrap();
        self.answer(&due, Ok(()), START);
        self.publish();
        due.serial
    }

    fn shown(&mut self, service: &str) -> Vec<String> {
        self.publish();
        let upstream = self.directory.upstream(&service.parse().unwrap());
        upstream.load().ready.iter().map(|endpoint| endpoint.id().to_string()).collect()
    }

    fn health(&mut self, name: &str) -> (Health, String) {
        self.publish();
        let observed = self.observed.borrow()[&id(name)].clone();
        (observed.health, observed.detail)
    }
}

fn roster() -> Roster {
    Roster::new(Directory::default())
}

#[test]
fn a_snapshot_has_the_ready_instances_of_its_service_in_order() {
    let mut roster = roster();
    for name in ["web-2#1", "web-10#1", "web-1#3", "web-a-1#1", "we-1#1"] {
        roster.add_ready(name);
    }
    roster.register(id("web-3#1"), Some(address(1)), Some(&tcp()), START);
    roster.register(id("web-4#1"), None, None, START); // nothing to send requests to
    assert_eq!(roster.shown("web"), ["web-1#3", "web-2#1", "web-10#1"]);
    assert_eq!(roster.shown("web-a"), ["web-a-1#1"]);
    assert_eq!(roster.health("web-4#1").0, Health::Starting);
}

#[test]
fn an_instance_that_is_drained_or_forgotten_leaves_the_balancer() {
    let mut roster = roster();
    roster.add_ready("web-1#1");
    roster.add_ready("web-2#1");
    assert!(roster.drain(&id("web-1#1"), START).is_some());
    assert_eq!(roster.shown("web"), ["web-2#1"]);
    assert_eq!(roster.health("web-1#1").0, Health::Draining);
    let held = roster.directory.upstream(&"web".parse().unwrap()).load().ready[0].clone();
    roster.deregister(&id("web-2#1"));
    assert_eq!(roster.shown("web"), [""; 0]);
    assert!(held.acquire().is_none(), "nor does it take what an older snapshot sends");
    assert_eq!(roster.drain(&id("web-9#1"), START).map(|endpoint| endpoint.in_flight()), None);
}

#[test]
fn whether_an_instance_is_expected_is_part_of_the_snapshot() {
    let mut roster = roster();
    let web: ServiceName = "web".parse().unwrap();
    let upstream = roster.directory.upstream(&web);
    let mut changes = upstream.subscribe();
    for expected in [true, false] {
        roster.expect(&web, expected);
        roster.publish();
        assert_eq!(upstream.load().expected, expected);
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        roster.expect(&web, expected);
        roster.publish();
        assert!(!changes.has_changed().unwrap(), "what is already so is not published again");
    }
}

#[test]
fn what_was_asked_for_an_earlier_registration_does_not_count() {
    let mut roster = roster();
    roster.register(id("web-1#1"), Some(address(1)), Some(&tcp()), START);
    let early = roster.take_due(START).unwrap();
    roster.deregister(&id("web-1#1"));
    assert!(early.cancel.is_cancelled());
    roster.register(id("web-1#1"), Some(address(2)), Some(&tcp()), START);
    roster.answer(&early, Ok(()), START);
    assert_eq!(roster.health("web-1#1").0, Health::Starting);
    let late = roster.take_due(START).unwrap();
    roster.answer(&late, Ok(()), START);
    assert_eq!(roster.health("web-1#1").0, Health::Ready);
}

#[test]
fn a_check_that_began_before_the_suspicion_does_not_bring_an_instance_back() {
    let mut roster = roster();
    let serial = roster.add_ready("web-1#1");
    let later = START + Duration::from_secs(60);
    let before = roster.take_due(later).unwrap();
    assert!(roster.suspect(serial, later));
    assert_eq!(roster.shown("web"), [""; 0]);
    assert!(before.cancel.is_cancelled());
    roster.answer(&before, Ok(()), later);
    let detail = "3 requests in a row could not be delivered".to_owned();
    assert_eq!(roster.health("web-1#1"), (Health::Unready, detail));
    let after = roster.take_due(later).unwrap();
    roster.answer(&after, Ok(()), later);
    assert_eq!(roster.health("web-1#1"), (Health::Ready, String::new()));
    assert_eq!(roster.shown("web"), ["web-1#1"]);
}

#[test]
fn an_instance_that_only_the_data_path_suspects_is_told_from_one_whose_check_fails() {
    let mut roster = roster();
    let first = roster.add_ready("web-1#1");
    let second = roster.add_ready("web-2#1");
    roster.register(id("web-3#1"), Some(address(1)), Some(&tcp()), START); // it has not been ready yet
    let later = START + Duration::from_secs(1);
    let upstream = roster.directory.upstream(&"web".parse().unwrap());
    let seen = |roster: &mut Roster| {
        roster.publish();
        let endpoints = upstream.load();
        let suspected: Vec<_> = endpoints.suspected.iter().map(|one| one.id().to_string()).collect();
        (endpoints.ready.len(), suspected.join(" "), endpoints.known)
    };
    assert_eq!(seen(&mut roster), (2, String::new(), 2));
    assert!(roster.suspect(first, later) && roster.suspect(second, later));
    assert_eq!(seen(&mut roster), (0, "web-1#1 web-2#1".to_owned(), 2));
    while let Some(due) = roster.take_due(later) {
        let outcome = if due.id == id("web-2#1") { Ok(()) } else { Err("refused") };
        roster.answer(&due, outcome, later);
    }
    assert_eq!(seen(&mut roster), (1, String::new(), 2));
    assert!(roster.drain(&id("web-2#1"), later).is_some());
    assert_eq!(seen(&mut roster), (0, String::new(), 1));
    roster.deregister(&id("web-1#1"));
    assert_eq!(seen(&mut roster), (0, String::new(), 0));
}

#[test]
fn failures_of_a_ready_instance_are_counted_where_people_see_them() {
    let mut roster = roster();
    roster.add_ready("web-1#1");
    let mut now = START;
    let mut fail = |roster: &mut Roster| {
        now = now + Duration::from_secs(2);
        let due = roster.take_due(now).unwrap();
        roster.answer(&due, Err("GET / answered 500"), now);
        roster.health("web-1#1")
    };
    assert_eq!(fail(&mut roster), (Health::Ready, "GET / answered 500 (1 of 2)".to_owned()));
    assert_eq!(fail(&mut roster), (Health::Unready, "GET / answered 500".to_owned()));
}

#[test]
fn a_check_that_breaks_off_is_a_failure_and_gives_its_place_back() {
    let mut roster = roster();
    roster.register(id("web-1#1"), None, Some(&exec()), START);
    let due = roster.take_due(START).unwrap();
    roster.note(
        Report { serial: due.serial, attempt: due.attempt, exec: true, outcome: None },
        START,
        MIDDLE,
    );
    assert_eq!(roster.health("web-1#1"), (Health::Starting, "the check itself broke off".to_owned()));
    assert!(roster.next_check().is_some());
}

#[test]
fn checks_by_command_are_bounded_and_do_not_hold_up_the_others() {
    let mut roster = roster();
    let count = MAX_EXEC_CHECKS + 5;
    for n in 1..=count {
        roster.register(id(&format!("job-{n}#1")), None, Some(&exec()), START);
    }
    let mut under_way: Vec<_> = std::iter::from_fn(|| roster.take_due(START)).collect();
    assert_eq!(under_way.len(), MAX_EXEC_CHECKS);
    assert_eq!(roster.next_check(), None, "nothing to wake for until one is over");
    roster.add_ready("web-1#1");
    let mut passed = 0;
    while let Some(due) = under_way.pop() {
        roster.answer(&due, Ok(()), START);
        passed += 1;
        under_way.extend(std::iter::from_fn(|| roster.take_due(START)));
    }
    assert_eq!(passed, count);
}

#[test]
fn what_is_known_is_published_only_when_it_changed() {
    let mut roster = roster();
    let mut observed = roster.observe();
    roster.add_ready("web-1#1");
    assert!(observed.has_changed().unwrap());
    observed.mark_unchanged();
    let later = START + Duration::from_secs(60);
    let due = roster.take_due(later).unwrap();
    roster.answer(&due, Ok(()), later);
    roster.publish();
    assert!(!observed.has_changed().unwrap());
    let held = Arc::clone(&observed.borrow());
    assert_eq!(held[&id("web-1#1")].checks(), 2);
    roster.deregister(&id("web-1#1"));
    roster.publish();
    assert_eq!((held.len(), observed.borrow().len()), (1, 0), "a map that somebody holds does not change");
}

#[derive(Clone, Debug)]
enum Event {
    Register { n: u32, kind: u8 },
    Deregister(u32),
    Drain(u32),
    Suspect(u32),
    Wait(u64),
    TakeDue,
    Report { which: usize, outcome: Option<bool> },
}

fn any_event() -> impl Strategy<Value = Event> {
    let n = || 1u32..5;
    prop_oneof![
        3 => (n(), 0u8..4).prop_map(|(n, kind)| Event::Register { n, kind }),
        1 => n().prop_map(Event::Deregister),
        1 => n().prop_map(Event::Drain),
        2 => n().prop_map(Event::Suspect),
        3 => (0u64..2_000_000).prop_map(Event::Wait),
        5 => Just(Event::TakeDue),
        5 => (any::<usize>(), prop::option::of(any::<bool>()))
            .prop_map(|(which, outcome)| Event::Report { which, outcome }),
    ]
}

proptest! {
    #[test]
    fn no_instance_is_ever_forgotten_and_every_place_comes_back(
        events in prop::collection::vec(any_event(), 1..120),
    ) {
        let mut roster = roster();
        let mut under_way: Vec<Due> = Vec::new();
        let mut now = START;
        let name = |n: u32| id(&format!("web-{n}#1"));
        for event in events {
            match event {
                Event::Register { n, kind } => {
                    let (address, check) = match kind {
                        0 => (None, None),
                        1 => (Some(address(1)), None),
                        2 => (Some(address(1)), Some(tcp())),
                        _ => (Some(address(1)), Some(exec())),
                    };
                    roster.register(name(n), address, check.as_ref(), now);
                }
                Event::Deregister(n) => roster.deregister(&name(n)),
                Event::Drain(n) => drop(roster.drain(&name(n), now)),
                Event::Suspect(n) => {
                    if let Some(serial) = roster.names.get(&name(n)).copied() {
                        roster.suspect(serial, now);
                    }
                }
                Event::Wait(micros) => now = now + Duration::from_micros(micros),
                Event::TakeDue => under_way.extend(roster.take_due(now)),
                Event::Report { .. } if under_way.is_empty() => {}
                Event::Report { which, outcome } => {
                    let due = under_way.swap_remove(which % under_way.len());
                    let outcome = outcome.map(|passed| if passed { Ok(()) } else { Err("no".to_owned()) });
                    let exec = due.target.is_exec();
                    let report = Report { serial: due.serial, attempt: due.attempt, exec, outcome };
                    roster.note(report, now, MIDDLE);
                }
            }
            roster.publish();
            let published = roster.directory.upstream(&"web".parse().unwrap());
            let ready: Vec<_> = published.load().ready.iter().map(|endpoint| endpoint.id().clone()).collect();
            let mut expected = Vec::new();
            prop_assert_eq!(roster.names.len(), roster.entries.len());
            for (id, serial) in &roster.names {
                let entry = &roster.entries[serial];
                let health = entry.watch.health();
                if health == Health::Ready && entry.endpoint.is_some() {
                    expected.push(id.clone());
                }
                if matches!(health, Health::Starting | Health::Unready) {
                    prop_assert!(entry.queued.is_some() != entry.under_way.is_some(), "{} is forgotten", id);
                }
            }
            prop_assert_eq!(ready, expected);
            let seen = roster.observed.borrow();
            prop_assert_eq!(seen.len(), roster.names.len());
            for (id, observed) in seen.iter() {
                let entry = &roster.entries[&roster.names[id]];
                prop_assert_eq!(observed.health, entry.watch.health());
                prop_assert_eq!(&observed.detail, &entry.detail);
            }
        }
        for due in under_way {
            roster.answer(&due, Ok(()), now);
        }
        for n in 1..5 {
            roster.deregister(&name(n));
        }
        prop_assert_eq!(roster.network.places(), (0, MAX_NETWORK_CHECKS));
        prop_assert_eq!(roster.exec.places(), (0, MAX_EXEC_CHECKS));
    }
}
