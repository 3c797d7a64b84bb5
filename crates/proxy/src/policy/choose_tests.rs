use super::*;
use manifest::spec::{HashKey, Outlier};
use proptest::prelude::*;

use crate::policy::draw::Dice;

fn at(ms: u64) -> Moment {
    Moment::from_nanos(1 << 40) + Duration::from_millis(ms)
}

const MS: Duration = Duration::from_millis(1);

fn endpoints(count: u16) -> Vec<Arc<Endpoint>> {
    let endpoint = |n| Endpoint::new(format!("web-{n}#1").parse().unwrap(), ([127, 0, 0, 1], n).into());
    (1..=count).map(|n| Arc::new(endpoint(n))).collect()
}

fn chooser(by: BalanceBy) -> Chooser {
    Chooser::new(&Balance { by, ..Balance::default() })
}

fn by_hash() -> BalanceBy {
    BalanceBy::Hash(HashKey::Client)
}

fn all_ways() -> [BalanceBy; 4] {
    [BalanceBy::PeakEwma, BalanceBy::LeastRequest, BalanceBy::RoundRobin, by_hash()]
}

fn wish(random: u64, now: Moment) -> Wish<'static> {
    Wish { key: None, avoid: &[], random, now }
}

fn eject(endpoint: &Endpoint, now: Moment) {
    let rule = Outlier::default();
    while !endpoint.failed(MS, Some(&rule), now) {}
}

/// How often each is chosen in 10,000 requests that are over at once.
fn shares(chooser: &Chooser, ready: &[Arc<Endpoint>], now: Moment) -> Vec<u32> {
    let dice = Dice::new(7);
    let mut counts = vec![0; ready.len()];
    for _ in 0..10_000 {
        let random = dice.roll();
        let wish = Wish { key: Some(dice.roll()), ..wish(random, now) };
        counts[chooser.choose(ready, ready.len(), &wish).unwrap()] += 1;
    }
    counts
}

#[test]
fn the_faster_of_two_is_chosen_until_it_is_busy() {
    let ready = endpoints(2);
    ready[0].succeeded(MS * 30, at(0));
    ready[1].succeeded(MS * 10, at(0));
    let chooser = chooser(BalanceBy::PeakEwma);
    let mut held = Vec::new();
    for random in 0..8 {
        held.push(chooser.lease(&ready, 2, &wish(random << 61, at(0))).unwrap());
    }
    assert_eq!((ready[0].in_flight(), ready[1].in_flight()), (2, 6));
}

#[test]
fn requests_go_where_fewest_are_under_way_or_in_turn() {
    let ready = endpoints(3);
    let _busy = (ready[0].acquire(), ready[1].acquire());
    let counts = shares(&chooser(BalanceBy::LeastRequest), &ready, at(0));
    assert!(counts[2] > 6_400, "{counts:?}"); // two of three pairs hold it
    assert_eq!(shares(&chooser(BalanceBy::RoundRobin), &ready, at(0)), [3_334, 3_333, 3_333]);
}

#[test]
fn a_key_stays_with_its_instance_and_without_one_chance_decides() {
    let ready = endpoints(5);
    let chooser = chooser(by_hash());
    let of = |key, random| chooser.choose(&ready, 5, &Wish { key, ..wish(random, at(0)) }).unwrap();
    let home = of(Some(99), 0);
    assert!((0..100).all(|n| of(Some(99), n << 57) == home));
    assert!((0..100).any(|n| of(None, n << 57) != home));
}

#[test]
fn an_ejected_instance_gets_nothing_until_its_time_is_over() {
    for by in all_ways() {
        let ready = endpoints(4);
        ready.iter().for_each(|endpoint| endpoint.succeeded(MS, at(0)));
        eject(&ready[2], at(0));
        let chooser = chooser(by);
        assert_eq!(shares(&chooser, &ready, at(4_999))[2], 0);
        // Peak EWMA remembers what it did for a while longer; the others have forgotten.
        assert!(shares(&chooser, &ready, at(5_000))[2] > 100 || chooser.by == By::PeakEwma);
    }
}

#[test]
fn beyond_the_ceiling_and_with_too_few_left_ejected_ones_are_used() {
    for by in all_ways() {
        let ready = endpoints(4);
        ready[..3].iter().for_each(|endpoint| eject(endpoint, at(0)));
        let chooser = chooser(by);
        let counts = shares(&chooser, &ready, at(1));
        let unused = counts.iter().filter(|count| **count == 0).count();
        // Peak EWMA may use the ejected one that is left, but likes the one that did nothing better.
        assert!(unused == 2 || chooser.by == By::PeakEwma && unused == 3, "half of them: {counts:?}");
        let dice = Dice::new(1);
        let mut used = [false; 4];
        for _ in 0..1_000 {
            // Nine are known, four ready, two of them would be left.
            let wish = Wish { key: Some(dice.roll()), ..wish(dice.roll(), at(1)) };
            used[chooser.choose(&ready, 9, &wish).unwrap()] = true;
        }
        assert!(used.iter().filter(|used| **used).count() >= 3, "{used:?}");
    }
}

#[test]
fn an_instance_that_warms_up_gets_its_part_and_grows_into_it() {
    for by in [BalanceBy::LeastRequest, BalanceBy::RoundRobin] {
        let slow_start = Duration::from_secs(10);
        let chooser = Chooser::new(&Balance { by, slow_start, ..Balance::default() });
        let ready = endpoints(2);
        ready[0].warmth(slow_start, at(0));
        ready[1].warmth(slow_start, at(60_000));
        let part = |ms| shares(&chooser, &ready, at(ms))[1];
        assert!((400..600).contains(&part(60_000)), "{}", part(60_000));
        assert!((2_300..2_700).contains(&part(65_000)));
        assert!((4_700..5_300).contains(&part(80_000)));
    }
}

#[test]
fn who_is_leaving_is_passed_over_and_if_all_are_there_is_none() {
    for by in all_ways() {
        let (ready, chooser) = (endpoints(3), chooser(by));
        ready[0].close();
        ready[2].close();
        for n in 0..50u64 {
            let wish = Wish { key: Some(n), ..wish(n << 58, at(0)) };
            assert_eq!(chooser.lease(&ready, 3, &wish).unwrap().endpoint().id(), ready[1].id());
        }
        ready[1].close();
        assert!(chooser.lease(&ready, 3, &wish(0, at(0))).is_none());
        assert!(chooser.lease(&[], 3, &wish(0, at(0))).is_none());
    }
}

proptest! {
    #[test]
    fn who_failed_is_avoided_while_there_is_another(
        count in 1u16..8, ejected: u8, avoided: u8, random: u64, key: u64, way in 0usize..4,
    ) {
        let ready = endpoints(count);
        let chooser = chooser(all_ways()[way].clone());
        let is = |bits: u8, index: usize| bits >> index & 1 == 1;
        let numbers = || 0..usize::from(count);
        numbers().filter(|index| is(ejected, *index)).for_each(|index| eject(&ready[index], at(0)));
        let avoid: Vec<_> = numbers().filter(|i| is(avoided, *i)).map(|i| ready[i].id().clone()).collect();
        let wish = Wish { key: Some(key), avoid: &avoid, random, now: at(1) };
        let index = chooser.choose(&ready, ready.len(), &wish).unwrap();
        prop_assert!(index < ready.len());
        let fine = numbers().any(|index| !is(ejected, index) && !is(avoided, index));
        prop_assert!(!fine || !is(avoided, index));
        let too_many = numbers().filter(|index| is(ejected, *index)).count() * 2 > ready.len();
        prop_assert!(too_many || !fine || !is(ejected, index));
    }
}
