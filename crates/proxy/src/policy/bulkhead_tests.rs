use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::AtomicI64;

use super::*;
use futures_util::FutureExt;
use futures_util::future::poll_immediate;
use proptest::prelude::*;

fn at(ms: u64) -> Moment {
    Moment::from_nanos(1 << 40) + Duration::from_millis(ms)
}

fn bulkhead(concurrency: u32, queue: u32) -> Arc<Bulkhead> {
    Bulkhead::new(&Rule { concurrency, queue })
}

type Acquire<'a> = Pin<Box<dyn Future<Output = Result<Permit, Full>> + 'a>>;

fn acquire(bulkhead: &Arc<Bulkhead>, priority: Priority) -> Acquire<'_> {
    Box::pin(bulkhead.acquire(at(60_000), priority, at(0)))
}

#[tokio::test]
async fn who_finds_no_place_waits_and_gets_the_next_one() {
    let bulkhead = bulkhead(1, 10);
    let first = acquire(&bulkhead, Priority::Normal).await.unwrap();
    let mut second = acquire(&bulkhead, Priority::Normal);
    let mut third = acquire(&bulkhead, Priority::Normal);
    assert!(poll_immediate(&mut second).await.is_none() && poll_immediate(&mut third).await.is_none());
    assert_eq!((bulkhead.load().in_use, bulkhead.load().waiting), (1, 2));
    drop(first);
    assert!(bulkhead.try_acquire().is_none(), "nobody overtakes");
    assert!(poll_immediate(&mut third).await.is_none());
    drop(second.await.unwrap());
    drop(third.await.unwrap());
    assert_eq!((bulkhead.load().in_use, bulkhead.load().waiting), (0, 0));
}

#[tokio::test]
async fn the_more_important_goes_first_and_pushes_others_out_of_a_full_queue() {
    let bulkhead = bulkhead(1, 2);
    let held = bulkhead.try_acquire().unwrap();
    let mut waiting: Vec<_> = [Priority::Low, Priority::Normal].map(|p| acquire(&bulkhead, p)).into();
    for one in &mut waiting {
        assert!(poll_immediate(one).await.is_none());
    }
    assert_eq!(acquire(&bulkhead, Priority::Low).await.unwrap_err().why, Why::QueueFull);
    let mut critical = acquire(&bulkhead, Priority::Critical);
    assert!(poll_immediate(&mut critical).await.is_none());
    assert_eq!(waiting.remove(0).await.unwrap_err().why, Why::PushedOut);
    drop(held);
    assert!(poll_immediate(&mut waiting[0]).await.is_none());
    drop(critical.await.unwrap());
    assert!(waiting.remove(0).await.is_ok());
}

#[tokio::test]
async fn who_would_wait_beyond_its_deadline_is_told_at_once() {
    let bulkhead = bulkhead(2, 100);
    let _held = (bulkhead.try_acquire().unwrap(), bulkhead.try_acquire().unwrap());
    for _ in 0..1000 {
        bulkhead.observe(Duration::from_millis(100));
    }
    let mut waiting: Vec<_> = (0..10).map(|_| acquire(&bulkhead, Priority::Normal)).collect();
    for one in &mut waiting {
        assert!(poll_immediate(one).await.is_none());
    }
    // The eleventh of a queue that moves twenty times a second.
    let by = |ms| bulkhead.acquire(at(ms), Priority::Normal, at(0));
    assert_eq!(by(450).await.unwrap_err().why, Why::TooLate);
    assert!(poll_immediate(Box::pin(by(650))).await.is_none());
    let urgent = bulkhead.acquire(at(100), Priority::High, at(0));
    assert!(poll_immediate(Box::pin(urgent)).await.is_none());
    assert_eq!(bulkhead.load().waiting, 10);
}

#[test]
fn one_connection_that_is_held_for_hours_does_not_change_the_estimate_much() {
    let bulkhead = bulkhead(2, 100);
    let _held = bulkhead.try_acquire();
    for _ in 0..100 {
        bulkhead.observe(Duration::from_millis(10));
    }
    bulkhead.observe(Duration::from_secs(7200));
    assert!(bulkhead.wait(0) < Duration::from_millis(6));
}

#[tokio::test]
async fn who_leaves_the_queue_leaves_no_hole_and_takes_no_place_along() {
    let bulkhead = bulkhead(1, 10);
    let held = bulkhead.try_acquire().unwrap();
    let mut leaves = acquire(&bulkhead, Priority::Normal);
    let mut called = acquire(&bulkhead, Priority::Normal);
    let mut last = acquire(&bulkhead, Priority::Normal);
    for one in [&mut leaves, &mut called, &mut last] {
        assert!(poll_immediate(one).await.is_none());
    }
    drop(leaves);
    drop(held); // calls the second
    assert!(poll_immediate(&mut last).await.is_none());
    drop(called); // without having looked
    assert!(last.await.is_ok());
    assert_eq!((bulkhead.load().in_use, bulkhead.load().waiting), (0, 0));
}

#[tokio::test]
async fn more_places_go_to_those_who_wait_and_fewer_take_none_away() {
    let bulkhead = bulkhead(1, 10);
    let first = bulkhead.try_acquire().unwrap();
    let mut waiting: Vec<_> = (0..3).map(|_| acquire(&bulkhead, Priority::Normal)).collect();
    for one in &mut waiting {
        assert!(poll_immediate(one).await.is_none());
    }
    bulkhead.reconfigure(&Rule { concurrency: 3, queue: 0 });
    let (second, third) = (waiting.remove(0).await.unwrap(), waiting.remove(0).await.unwrap());
    assert!(poll_immediate(&mut waiting[0]).await.is_none());
    assert_eq!(acquire(&bulkhead, Priority::Normal).await.unwrap_err().why, Why::QueueFull);
    bulkhead.reconfigure(&Rule { concurrency: 1, queue: 0 });
    drop((first, second));
    assert!(poll_immediate(&mut waiting[0]).await.is_none());
    drop(third);
    assert!(waiting.remove(0).await.is_ok());
    assert!(bulkhead.try_acquire().is_some());
}

/// Runtimes on several threads, with waits that are given up at random moments.
#[test]
fn runtimes_on_several_threads_share_places_and_lose_no_wake_up() {
    const PLACES: i64 = 3;
    let bulkhead = bulkhead(PLACES as u32, 1000);
    let (inside, served) = (AtomicI64::new(0), AtomicI64::new(0));
    std::thread::scope(|threads| {
        for seed in 0..4 {
            let (bulkhead, inside, served) = (&bulkhead, &inside, &served);
            threads.spawn(move || {
                let dice = crate::policy::draw::Dice::new(seed);
                let requests = (0..40).map(async |_| {
                    for _ in 0..50 {
                        let priority = [Priority::Low, Priority::High][(dice.roll() % 2) as usize];
                        let patience = Duration::from_micros(dice.roll() % 300);
                        let place = bulkhead.acquire(at(60_000), priority, at(0));
                        let place = if dice.roll().is_multiple_of(4) {
                            tokio::time::timeout(patience, place).await.ok()
                        } else {
                            Some(place.await)
                        };
                        let Some(Ok(permit)) = place else { continue };
                        assert!(inside.fetch_add(1, Relaxed) < PLACES);
                        for _ in 0..dice.roll() % 3 {
                            tokio::task::yield_now().await;
                        }
                        inside.fetch_sub(1, Relaxed);
                        served.fetch_add(1, Relaxed);
                        drop(permit);
                    }
                });
                let all = futures_util::future::join_all(requests);
                let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
                let limit = Duration::from_secs(60);
                runtime
                    .block_on(async { tokio::time::timeout(limit, all).await })
                    .expect("a wake-up was lost");
            });
        }
    });
    assert_eq!((bulkhead.load().in_use, bulkhead.load().waiting), (0, 0));
    assert!(served.load(Relaxed) >= 4 * 40 * 50 / 2);
}

#[derive(Clone, Debug)]
enum Step {
    Come(u8),
    Look(prop::sample::Index),
    GiveUp(prop::sample::Index),
    Finish(prop::sample::Index),
    Resize(u32),
}

fn step() -> impl Strategy<Value = Step> {
    let any = any::<prop::sample::Index>;
    prop_oneof![
        4 => (0u8..4).prop_map(Step::Come),
        4 => any().prop_map(Step::Look),
        2 => any().prop_map(Step::GiveUp),
        3 => any().prop_map(Step::Finish),
        1 => (1u32..5).prop_map(Step::Resize),
    ]
}

const PRIORITIES: [Priority; 4] = [Priority::Low, Priority::Normal, Priority::High, Priority::Critical];

proptest! {
    #[test]
    fn whatever_happens_no_place_is_lost_or_given_twice(steps in prop::collection::vec(step(), 1..200)) {
        let bulkhead = bulkhead(2, 5);
        let mut most = 2;
        let mut coming: HashMap<usize, Acquire<'_>> = HashMap::new();
        let mut inside: Vec<Permit> = Vec::new();
        for (number, step) in steps.into_iter().enumerate() {
            let nth = |index: prop::sample::Index, coming: &HashMap<usize, Acquire<'_>>| {
                let mut keys: Vec<usize> = coming.keys().copied().collect();
                keys.sort_unstable();
                (!keys.is_empty()).then(|| keys[index.index(keys.len())])
            };
            let look = match step {
                Step::Come(priority) => {
                    coming.insert(number, acquire(&bulkhead, PRIORITIES[usize::from(priority)]));
                    Some(number)
                }
                Step::Look(index) => nth(index, &coming),
                Step::GiveUp(index) => {
                    nth(index, &coming).map(|key| coming.remove(&key));
                    None
                }
                Step::Finish(index) => {
                    if !inside.is_empty() {
                        drop(inside.swap_remove(index.index(inside.len())));
                    }
                    None
                }
                Step::Resize(places) => {
                    bulkhead.reconfigure(&Rule { concurrency: places, queue: 5 });
                    most = most.max(places);
                    None
                }
            };
            if let Some(key) = look
                && let Some(result) = coming.get_mut(&key).unwrap().now_or_never_again()
            {
                coming.remove(&key);
                inside.extend(result);
            }
            let load = bulkhead.load();
            prop_assert!(inside.len() as u32 <= load.in_use);
            prop_assert!(load.in_use <= most && load.waiting <= 5);
            prop_assert!(load.waiting == 0 || load.in_use >= load.concurrency, "waits beside a free place");
        }
        drop(coming);
        prop_assert_eq!(bulkhead.load().in_use as usize, inside.len());
        drop(inside);
        prop_assert_eq!((bulkhead.load().in_use, bulkhead.load().waiting), (0, 0));
        prop_assert_eq!(bulkhead.lock().by_priority, [0; 4]);
    }
}

trait PollOnce {
    fn now_or_never_again(&mut self) -> Option<Result<Permit, Full>>;
}

impl PollOnce for Acquire<'_> {
    fn now_or_never_again(&mut self) -> Option<Result<Permit, Full>> {
        self.as_mut().now_or_never()
    }
}
