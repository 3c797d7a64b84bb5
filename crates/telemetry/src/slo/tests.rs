//! Budgets, burn rates and alarms: examples of the book, and what must hold of all.

use proptest::prelude::*;

use super::*;

const DAY: u64 = 24 * 60;
const NOW: u64 = 28_000_000;
const THREE_NINES: Objective = Objective { share: 0.999, window_min: 30 * DAY };

/// So many a minute for so long up to now, a share of them bad.
fn steady(history: &mut History, from_ago: u64, until_ago: u64, each: u64, bad: u64) {
    for ago in until_ago..from_ago {
        history.add(NOW - ago, Counts { total: each, bad });
    }
}

#[test]
fn of_a_thousand_requests_one_may_fail() {
    let mut history = History::default();
    history.add(NOW - 100, Counts { total: 10_000, bad: 5 });
    let standing = THREE_NINES.standing(&history, NOW);
    assert!((standing.left - 0.5).abs() < 1e-9, "{standing:?}");
    history.add(NOW - 50, Counts { total: 0, bad: 15 });
    let broken = THREE_NINES.standing(&history, NOW);
    assert!((broken.left + 1.0).abs() < 1e-9, "{broken:?}");
    let nothing = THREE_NINES.standing(&History::default(), NOW);
    assert_eq!((nothing.left, nothing.good, nothing.urgency()), (1.0, 1.0, None));
}

#[test]
fn the_windows_are_those_of_the_book_and_the_same_parts_of_others() {
    let windows = |objective: Objective| {
        objective.standing(&History::default(), NOW).burns.map(|burn| (burn.long_min, burn.short_min))
    };
    assert_eq!(windows(THREE_NINES), [(60, 5), (360, 30), (DAY, 120), (3 * DAY, 360)]);
    assert_eq!(windows(Objective { window_min: DAY, ..THREE_NINES }), [(2, 2), (12, 2), (48, 4), (144, 12)]);
}

#[test]
fn a_fast_fire_pages_a_slow_one_makes_a_ticket_and_neither_outlives_its_short_window() {
    let mut fast = History::default();
    steady(&mut fast, 3 * DAY, 60, 100, 0);
    steady(&mut fast, 60, 0, 100, 2); // 20 times as fast as it may, for an hour
    assert_eq!(THREE_NINES.standing(&fast, NOW).urgency(), Some(Urgency::Page));
    // Put out: the short window is clean within minutes, though the long one is not.
    let later = NOW + 6;
    for minute in NOW + 1..=later {
        fast.add(minute, Counts { total: 100, bad: 0 });
    }
    let standing = THREE_NINES.standing(&fast, later);
    assert!(standing.burns[0].long > 14.4 && !standing.burns[0].holds, "{standing:?}");
    let mut slow = History::default();
    steady(&mut slow, 3 * DAY, 0, 1000, 2); // twice as fast as it may, for three days
    assert_eq!(THREE_NINES.standing(&slow, NOW).urgency(), Some(Urgency::Ticket));
    let mut few = History::default();
    few.add(NOW, Counts { total: FEWEST - 1, bad: FEWEST - 1 });
    assert_eq!(THREE_NINES.standing(&few, NOW).urgency(), None);
}

#[test]
fn the_budget_burns_down_to_what_is_left() {
    let mut history = History::default();
    steady(&mut history, 10 * DAY, 0, 10, 0);
    history.add(NOW - 5 * DAY, Counts { total: 0, bad: 36 });
    history.add(NOW - DAY, Counts { total: 0, bad: 36 });
    let line = THREE_NINES.burn_down(&history, NOW, 30);
    assert_eq!((line.len(), line[0].1), (30, 1.0));
    assert_eq!(line[29].0, NOW + 1);
    assert!((line[29].1 - THREE_NINES.standing(&history, NOW).left).abs() < 1e-9);
    assert!((line[26].1 - 0.75).abs() < 1e-9, "{line:?}");
}

#[test]
fn an_alarm_waits_until_it_has_held_and_until_it_is_calm() {
    let mut alarm = Alarm::default();
    assert_eq!(alarm.look(true, 100, 60), None);
    assert_eq!(alarm.look(false, 110, 60), None);
    assert_eq!(alarm.look(true, 120, 60), None);
    assert_eq!(alarm.look(true, 180, 60), Some(Change::Fired { since_s: 120 }));
    assert_eq!(alarm.look(false, 400, 60), None);
    assert_eq!(alarm.look(true, 410, 60), None);
    assert_eq!(alarm.look(false, 709, 60), None);
    assert_eq!(alarm.look(false, 710, 60), Some(Change::Resolved { since_s: 120 }));
    assert_eq!(alarm.look(true, 711, 0), Some(Change::Fired { since_s: 711 }));
}

fn entries() -> impl Strategy<Value = Vec<(u64, u64, u64)>> {
    prop::collection::vec((0u64..40 * DAY, 0u64..1000, 0u64..1000), 0..200)
}

proptest! {
    #[test]
    fn compacting_keeps_every_count_of_the_window_and_little_else(added in entries(), window_days in 1u64..31) {
        let mut history = History::default();
        for (ago, total, bad) in &added {
            history.add(NOW - ago, Counts { total: total + bad, bad: *bad });
        }
        let window = window_days * DAY;
        let before = history.sum(NOW, window + 1);
        let recent = history.sum(NOW, 180);
        history.compact(NOW, window);
        prop_assert_eq!(history.sum(NOW, window + 1), before);
        prop_assert_eq!(history.sum(NOW, 180), recent);
        let compacted = history.clone();
        history.compact(NOW, window);
        prop_assert_eq!(&history, &compacted);
        prop_assert!(history.entries().count() <= 181 + 4 * 288 + 31 * 24);
    }

    #[test]
    fn what_is_bad_never_gives_budget_back(added in entries(), at in 0u64..40 * DAY, share in 0.5f64..0.9999) {
        let objective = Objective { share, window_min: 30 * DAY };
        let mut history = History::default();
        for (ago, total, bad) in &added {
            history.add(NOW - ago, Counts { total: total + bad, bad: *bad });
        }
        let before = objective.standing(&history, NOW);
        prop_assert!((0.0..=1.0).contains(&before.good) && before.left <= 1.0);
        history.add(NOW - at, Counts { total: 1, bad: 1 });
        let after = objective.standing(&history, NOW);
        prop_assert!(after.left <= before.left + 1e-9);
        let line = objective.burn_down(&history, NOW, 20);
        prop_assert!(line.windows(2).all(|pair| pair[1].1 <= pair[0].1 && pair[0].0 < pair[1].0));
    }

    #[test]
    fn an_alarm_is_told_in_turns(looks in prop::collection::vec((any::<bool>(), 0u64..400), 0..60), hold in 0u64..120) {
        let (mut alarm, mut now, mut fires) = (Alarm::default(), 0, false);
        for (holds, after) in looks {
            now += after;
            match alarm.look(holds, now, hold) {
                Some(Change::Fired { since_s }) => {
                    prop_assert!(!fires && holds && now - since_s >= hold);
                    fires = true;
                }
                Some(Change::Resolved { since_s }) => {
                    prop_assert!(fires && !holds && since_s <= now);
                    fires = false;
                }
                None => {}
            }
            prop_assert_eq!(alarm.firing_since_s().is_some(), fires);
        }
    }
}
