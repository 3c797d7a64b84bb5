use manifest::spec::Probe;
use proptest::prelude::*;

use super::*;

const START: Timestamp = Timestamp::from_micros(1_000_000_000_000);
const MIDDLE: f64 = 0.5;

fn check(
    interval_ms: u64,
    retries: u32,
    start_period_ms: u64,
    start_interval_ms: Option<u64>,
) -> HealthCheck {
    HealthCheck {
        probe: Probe::Tcp { port: None },
        interval: Duration::from_millis(interval_ms),
        timeout: Duration::from_secs(1),
        retries,
        start_period: Duration::from_millis(start_period_ms),
        start_interval: start_interval_ms.map(Duration::from_millis),
    }
}

fn watch(check: &HealthCheck) -> Watch {
    Watch::new(Rhythm::of(check), START)
}

/// Lets the next check end as told at the moment it is due.
fn step(watch: &mut Watch, passed: bool, spread: f64) -> Option<Transition> {
    let now = watch.next_check().unwrap();
    watch.after(passed, now, spread)
}

fn ready(check: &HealthCheck) -> Watch {
    let mut watch = watch(check);
    step(&mut watch, true, MIDDLE).unwrap();
    watch
}

/// The pauses between checks that all fail, in milliseconds.
fn pauses(watch: &mut Watch, count: usize) -> Vec<u128> {
    let mut pauses = Vec::new();
    for _ in 0..count {
        let now = watch.next_check().unwrap();
        watch.after(false, now, MIDDLE);
        pauses.push(watch.next_check().unwrap().since(now).as_millis());
    }
    pauses
}

#[test]
fn the_first_check_is_due_at_once_and_one_pass_makes_ready() {
    let mut watch = watch(&check(30_000, 3, 0, None));
    assert_eq!((watch.health(), watch.next_check()), (Health::Starting, Some(START)));
    let turned = watch.after(true, START, MIDDLE);
    assert_eq!(turned, Some(Transition { from: Health::Starting, to: Health::Ready }));
}

#[test]
fn a_starting_instance_is_looked_at_often_and_then_less_and_less() {
    let mut watch = watch(&check(200, 99, 0, None));
    assert_eq!(pauses(&mut watch, 8), [25, 37, 56, 84, 126, 189, 200, 200]);
}

#[test]
fn a_written_start_interval_holds_until_the_first_pass() {
    let mut watch = watch(&check(30_000, 99, 60_000, Some(500)));
    assert_eq!(pauses(&mut watch, 3), [500, 500, 500]);
    step(&mut watch, true, 1.0);
    let now = watch.next_check().unwrap();
    watch.after(true, now, MIDDLE);
    assert_eq!(watch.next_check().unwrap().since(now), Duration::from_secs(30));
}

#[test]
fn fast_checks_at_the_start_do_not_make_an_instance_fail_faster_than_its_interval_says() {
    let mut watch = watch(&check(1_000, 3, 0, None));
    let mut turned = None;
    while turned.is_none() {
        turned = step(&mut watch, false, MIDDLE);
    }
    assert_eq!(turned, Some(Transition { from: Health::Starting, to: Health::Unready }));
    let took = watch.since().since(START);
    assert!(took >= Duration::from_secs(3) && took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn failures_within_the_start_period_count_only_after_a_success() {
    let patient = check(100, 2, 60_000, None);
    let mut never_passed = watch(&patient);
    while never_passed.next_check().unwrap().since(START) < Duration::from_secs(60) {
        assert_eq!(step(&mut never_passed, false, MIDDLE), None);
    }
    let mut passed = ready(&patient);
    assert_eq!(step(&mut passed, false, MIDDLE), None);
    let turned = step(&mut passed, false, MIDDLE).unwrap();
    assert_eq!(turned.to, Health::Unready);
    assert!(passed.since().since(START) < Duration::from_secs(60));
}

#[test]
fn an_instance_without_a_check_is_waited_for_without_end_and_then_left_alone() {
    let mut watch = Watch::new(Rhythm::until_it_listens(), START);
    for _ in 0..10_000 {
        assert_eq!(step(&mut watch, false, MIDDLE), None);
    }
    assert!(step(&mut watch, true, MIDDLE).is_some());
    assert_eq!(watch.next_check(), None);
}

#[test]
fn an_instance_that_nobody_can_ask_is_ready_once_it_has_stayed_up_for_a_while() {
    let mut watch = Watch::new(Rhythm::once_it_has_settled(), START);
    assert_eq!((watch.health(), watch.next_check()), (Health::Starting, Some(START + SETTLING_TIME)));
    assert_eq!(step(&mut watch, true, MIDDLE).unwrap().to, Health::Ready);
    assert_eq!(watch.next_check(), None);
}

#[test]
fn a_suspected_instance_is_checked_at_once_and_a_pass_brings_it_back() {
    let mut watch = ready(&check(30_000, 3, 0, None));
    let now = START + Duration::from_secs(7);
    assert_eq!(watch.suspect(now).unwrap().to, Health::Unready);
    assert_eq!(watch.next_check(), Some(now));
    assert_eq!(watch.suspect(now), None);
    assert_eq!(watch.after(true, now, MIDDLE).unwrap().to, Health::Ready);
}

#[test]
fn an_instance_suspected_after_every_return_is_held_back_longer_each_time_up_to_a_bound() {
    let mut watch = ready(&check(30_000, 3, 0, None));
    let mut now = START;
    let mut holds = Vec::new();
    for _ in 0..8 {
        watch.suspect(now);
        let due = watch.next_check().unwrap();
        holds.push(due.since(now).as_millis());
        now = due;
        watch.after(true, now, MIDDLE);
    }
    assert_eq!(holds, [0, 50, 100, 200, 400, 800, 1000, 1000]);
    now = now + CLEAN_RECORD;
    watch.suspect(now);
    assert_eq!(watch.next_check(), Some(now));
}

#[test]
fn a_draining_instance_is_not_checked_and_does_not_come_back() {
    let mut watch = ready(&check(100, 1, 0, None));
    assert_eq!(watch.drain(START).unwrap().to, Health::Draining);
    assert_eq!(watch.next_check(), None);
    assert_eq!(watch.after(true, START, MIDDLE), None);
    assert_eq!(watch.suspect(START), None);
    assert_eq!(watch.next_check(), None);
}

#[test]
fn numbers_that_would_spin_are_put_right() {
    let mut watch = ready(&check(0, 0, 0, Some(0)));
    let now = watch.next_check().unwrap();
    watch.after(true, now, 0.0);
    assert!(watch.next_check().unwrap().since(now) >= MIN_GAP);
    assert_eq!(step(&mut watch, false, MIDDLE).unwrap().to, Health::Unready);
}

fn any_check() -> impl Strategy<Value = HealthCheck> {
    (1u64..60_000, 1u32..6, 0u64..20_000, prop::option::of(1u64..5_000))
        .prop_map(|(interval, retries, period, start)| check(interval, retries, period, start))
}

#[derive(Clone, Debug)]
enum Event {
    Check { passed: bool, spread: f64 },
    Suspect,
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => (any::<bool>(), 0.0f64..=1.0).prop_map(|(passed, spread)| Event::Check { passed, spread }),
        1 => Just(Event::Suspect),
    ]
}

proptest! {
    #[test]
    fn health_follows_from_passes_and_failures_alone(
        check in any_check(),
        events in prop::collection::vec(any_event(), 1..60),
    ) {
        let mut watch = watch(&check);
        let mut ever_passed = false;
        let mut fails_in_a_row = 0;
        let mut now = START;
        for event in events {
            let before = watch.health();
            let turned = match event {
                Event::Suspect => {
                    let turned = watch.suspect(now);
                    if turned.is_some() {
                        fails_in_a_row = 0;
                    }
                    turned
                }
                Event::Check { passed, spread } => {
                    now = now.max(watch.next_check().unwrap());
                    let turned = watch.after(passed, now, spread);
                    fails_in_a_row = if passed { 0 } else { fails_in_a_row + 1 };
                    ever_passed |= passed;
                    if passed {
                        prop_assert_eq!(watch.health(), Health::Ready, "one pass is enough");
                    } else if before == Health::Ready {
                        let unready = fails_in_a_row >= check.retries;
                        prop_assert_eq!(watch.health() == Health::Unready, unready, "exactly at `retries`");
                    } else {
                        prop_assert!(watch.health() != Health::Ready, "a failure never makes ready");
                    }
                    turned
                }
            };
            prop_assert!(ever_passed || watch.health() != Health::Ready, "never ready without a pass");
            if !ever_passed && now.since(START) < check.start_period {
                prop_assert_eq!(watch.health(), Health::Starting);
            }
            prop_assert_eq!(turned.is_some(), before != watch.health());
            if let Some(turned) = turned {
                prop_assert_eq!((turned.from, turned.to), (before, watch.health()));
                prop_assert_eq!(watch.since(), now);
            }
        }
    }

    #[test]
    fn a_pause_stays_within_the_jitter_of_what_was_asked(
        check in any_check(),
        outcomes in prop::collection::vec((any::<bool>(), 0.0f64..=1.0), 1..40),
    ) {
        let mut watch = watch(&check);
        let longest = check.interval.max(check.start_interval.unwrap_or_default()).max(MIN_GAP);
        for (passed, spread) in outcomes {
            let now = watch.next_check().unwrap();
            let turned = watch.after(passed, now, spread).is_some();
            let pause = watch.next_check().unwrap().since(now);
            prop_assert!(pause <= longest.mul_f64(1.0 + JITTER), "{:?}", pause);
            prop_assert!(pause >= MIN_GAP);
            if watch.health() == Health::Ready && !turned {
                let shortest = check.interval.mul_f64(1.0 - JITTER);
                prop_assert!(pause + Duration::from_micros(1) >= shortest, "{:?}", pause);
            }
        }
    }
}
