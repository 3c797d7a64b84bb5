use super::*;
use kit::units::Share;
use manifest::spec::Slow;
use proptest::prelude::*;

fn at(ms: u64) -> Moment {
    Moment::from_nanos(1 << 40) + Duration::from_millis(ms)
}

fn rule() -> Rule {
    Rule {
        errors: Share::percent(50),
        of: 10,
        window: Duration::from_secs(10),
        slow: None,
        open: Duration::from_secs(5),
        probes: 3,
    }
}

const FAST: Duration = Duration::from_millis(1);

fn call(breaker: &Arc<Breaker>, failed: bool, ms: u64) -> Result<(), Refused> {
    let pass = breaker.admit(at(ms))?;
    breaker.record(pass, failed, FAST, at(ms));
    Ok(())
}

fn opened(rule: &Rule) -> Arc<Breaker> {
    let breaker = Breaker::new(rule, at(0));
    for _ in 0..rule.of {
        call(&breaker, true, 0).unwrap();
    }
    assert_eq!(breaker.seen(at(0)).state, State::Open);
    breaker
}

#[test]
fn it_opens_at_the_share_but_not_before_there_are_enough_calls() {
    let breaker = Breaker::new(&rule(), at(0));
    for _ in 0..9 {
        call(&breaker, true, 0).unwrap();
    }
    assert_eq!(breaker.seen(at(0)).state, State::Closed);
    call(&breaker, true, 0).unwrap();
    let refused = call(&breaker, false, 1_000).unwrap_err();
    assert_eq!(refused.retry_after, Duration::from_secs(4));
}

#[test]
fn a_few_failures_among_many_calls_leave_it_closed() {
    let breaker = Breaker::new(&rule(), at(0));
    for n in 0..10_000 {
        call(&breaker, n % 5 == 0, n).unwrap();
    }
    assert_eq!(breaker.seen(at(10_000)).opened, 0);
}

#[test]
fn slow_calls_open_it_too_where_the_rule_says_so() {
    let slow = Some(Slow { over: Duration::from_millis(100), share: Share::percent(30) });
    let breaker = Breaker::new(&Rule { slow, ..rule() }, at(0));
    let took = |ms| Duration::from_millis(ms);
    for n in 0..100 {
        let pass = breaker.admit(at(0)).unwrap();
        breaker.record(pass, false, took(if n % 4 == 3 { 101 } else { 100 }), at(0));
    }
    assert_eq!(breaker.seen(at(0)).state, State::Closed);
    for _ in 0..10 {
        let Ok(pass) = breaker.admit(at(0)) else { break };
        breaker.record(pass, false, took(101), at(0));
    }
    assert_eq!(breaker.seen(at(0)).state, State::Open);
    let probe = breaker.admit(at(5_000)).unwrap();
    breaker.record(probe, false, took(101), at(5_200));
    assert_eq!(breaker.seen(at(5_200)).state, State::Open);
}

#[test]
fn after_its_time_three_probes_that_go_well_close_it_and_the_past_is_forgotten() {
    let breaker = opened(&rule());
    assert!(breaker.admit(at(4_999)).is_err());
    let probes: Vec<_> = (0..3).map(|_| breaker.admit(at(5_000)).unwrap()).collect();
    assert!(probes.iter().all(Pass::is_probe));
    assert!(breaker.admit(at(5_000)).is_err());
    for probe in probes {
        assert_eq!(breaker.seen(at(5_001)).state, State::HalfOpen);
        breaker.record(probe, false, FAST, at(5_001));
    }
    let seen = breaker.seen(at(5_001));
    assert_eq!((seen.state, seen.window.total), (State::Closed, 0));
    assert_eq!((seen.opened, seen.half_opened, seen.closed), (1, 1, 1));
    call(&breaker, true, 5_002).unwrap();
    assert_eq!(breaker.seen(at(5_002)).state, State::Closed);
}

#[test]
fn one_probe_that_fails_opens_it_for_its_whole_time_again() {
    let breaker = opened(&rule());
    let good = breaker.admit(at(5_000)).unwrap();
    let bad = breaker.admit(at(5_000)).unwrap();
    breaker.record(bad, true, FAST, at(6_000));
    assert_eq!(breaker.admit(at(6_000)).unwrap_err().retry_after, Duration::from_secs(5));
    breaker.record(good, false, FAST, at(6_001)); // too late to have a say
    assert_eq!(breaker.seen(at(6_001)).state, State::Open);
}

#[test]
fn a_probe_that_is_given_up_gives_its_place_to_another() {
    let breaker = opened(&Rule { probes: 1, ..rule() });
    for _ in 0..10 {
        let probe = breaker.admit(at(5_000)).unwrap();
        assert!(breaker.admit(at(5_000)).is_err());
        drop(probe);
    }
    call(&breaker, false, 5_000).unwrap();
    assert_eq!(breaker.seen(at(5_000)).state, State::Closed);
}

#[test]
fn a_probe_from_an_earlier_try_takes_no_place_from_a_later_one() {
    let breaker = opened(&rule());
    let old = breaker.admit(at(5_000)).unwrap();
    call(&breaker, true, 5_000).unwrap(); // opens again
    let new: Vec<_> = (0..3).map(|_| breaker.admit(at(10_000)).unwrap()).collect();
    drop(old);
    assert!(breaker.admit(at(10_000)).is_err());
    drop(new);
}

#[test]
fn calls_from_before_it_opened_say_nothing() {
    let breaker = Breaker::new(&rule(), at(0));
    let old = breaker.admit(at(0)).unwrap();
    for _ in 0..10 {
        call(&breaker, true, 0).unwrap();
    }
    let probe = breaker.admit(at(5_000)).unwrap();
    breaker.record(old, true, FAST, at(5_000));
    assert_eq!(breaker.seen(at(5_000)).state, State::HalfOpen);
    drop(probe);
}

#[test]
fn an_order_holds_until_it_is_lifted() {
    let breaker = Breaker::new(&rule(), at(0));
    breaker.order(Order::Closed, at(0));
    for _ in 0..100 {
        call(&breaker, true, 0).unwrap();
    }
    assert_eq!(breaker.seen(at(0)).window.first, 100);
    breaker.order(Order::Open, at(0));
    assert!(breaker.admit(at(1_000_000)).is_err());
    breaker.order(Order::Auto, at(1_000_000));
    call(&breaker, false, 1_000_000).unwrap();
    let seen = breaker.seen(at(1_000_000));
    assert_eq!((seen.state, seen.window.total, seen.opened, seen.closed), (State::Closed, 1, 1, 1));
    breaker.order(Order::Auto, at(1_000_000));
    assert_eq!(breaker.seen(at(1_000_000)).closed, 1);
}

#[test]
fn another_rule_keeps_the_state() {
    let breaker = opened(&rule());
    breaker.reconfigure(&Rule { open: Duration::from_secs(2), probes: 1, ..rule() });
    assert_eq!(breaker.admit(at(1_000)).unwrap_err().retry_after, Duration::from_secs(1));
    call(&breaker, false, 2_000).unwrap();
    assert_eq!(breaker.seen(at(2_000)).state, State::Closed);
}

#[test]
fn threads_at_once_never_send_more_probes_than_the_rule_allows() {
    use std::sync::atomic::AtomicI64;
    let breaker = opened(&rule());
    let under_way = AtomicI64::new(0);
    std::thread::scope(|threads| {
        for thread in 0..4u64 {
            let (breaker, under_way) = (&breaker, &under_way);
            threads.spawn(move || {
                for n in 0..20_000u64 {
                    let now = 5_000 + n / 10;
                    let Ok(pass) = breaker.admit(at(now)) else { continue };
                    if !pass.is_probe() {
                        breaker.record(pass, true, FAST, at(now));
                        continue;
                    }
                    assert!(under_way.fetch_add(1, Relaxed) < 3);
                    under_way.fetch_sub(1, Relaxed); // before the place is free, so never too low
                    match (n + thread) % 3 {
                        0 => drop(pass),
                        left => breaker.record(pass, left == 1, FAST, at(now)),
                    }
                }
            });
        }
    });
}

#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    Admit,
    Report { which: prop::sample::Index, failed: bool },
    GiveUp(prop::sample::Index),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => (0u64..3_000).prop_map(Step::Wait),
        6 => Just(Step::Admit),
        6 => (any::<prop::sample::Index>(), any::<bool>())
            .prop_map(|(which, failed)| Step::Report { which, failed }),
        1 => any::<prop::sample::Index>().prop_map(Step::GiveUp),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_it_keeps_its_promises(steps in prop::collection::vec(step(), 1..400)) {
        let rule = rule();
        let breaker = Breaker::new(&rule, at(0));
        let mut now = 0;
        let mut passes: Vec<Pass> = Vec::new();
        let mut reported: Vec<(u64, bool)> = Vec::new(); // while it was closed, since it last closed
        let mut before = breaker.seen(at(0));
        let mut opened_at = at(0);
        for step in steps {
            match step {
                Step::Wait(ms) => now += ms,
                Step::Admit => match breaker.admit(at(now)) {
                    Ok(pass) => {
                        prop_assert!(before.state != State::Open || at(now).since(opened_at) >= rule.open);
                        passes.push(pass);
                    }
                    Err(refused) => {
                        prop_assert!(before.state != State::Closed);
                        prop_assert!(refused.retry_after > Duration::ZERO && refused.retry_after <= rule.open);
                    }
                },
                Step::Report { which, failed } if !passes.is_empty() => {
                    let pass = passes.swap_remove(which.index(passes.len()));
                    if !pass.is_probe() && before.state == State::Closed {
                        reported.push((now, failed));
                    }
                    breaker.record(pass, failed, FAST, at(now));
                }
                Step::GiveUp(which) if !passes.is_empty() => {
                    drop(passes.swap_remove(which.index(passes.len())));
                }
                Step::Report { .. } | Step::GiveUp(_) => {}
            }
            let seen = breaker.seen(at(now));
            if seen.state == State::Open && before.state == State::Closed {
                let lately = reported.iter().filter(|(when, _)| when + 10_000 >= now);
                prop_assert!(lately.clone().count() >= rule.of as usize, "opened too early");
                prop_assert!(lately.filter(|(_, failed)| *failed).count() > 0);
            }
            if seen.state == State::Closed && before.state != State::Closed {
                prop_assert_eq!(before.state, State::HalfOpen);
                reported.clear();
            }
            if seen.state == State::HalfOpen {
                prop_assert!(matches!(before.state, State::Open | State::HalfOpen));
                let word = Word::unpack(breaker.control.word.load(Relaxed));
                let current = passes.iter().filter_map(|pass| pass.0.as_ref());
                let current = current.filter(|probe| probe.since == word.since).count();
                prop_assert_eq!(current, word.under_way as usize);
                prop_assert!(word.under_way + word.went_well <= rule.probes);
            }
            if seen.opened > before.opened {
                opened_at = at(now);
            }
            before = seen;
        }
    }

    #[test]
    fn a_word_is_what_was_packed(under_way in 0u32..1024, went_well in 0u32..1024, since in 0u64..1 << 41, state in 0u64..5) {
        let word = Word { under_way, went_well, since, ..Word::unpack(state) };
        prop_assert_eq!(Word::unpack(word.pack()), word);
    }
}
