//! Timers that are used again. A timer of the runtime is entered into its wheel and taken out of it under a lock;
//! most waits of a request end long before their time. So an alarm whose wait is over stays set, and whoever waits
//! next takes it: it may go off too early for him, and is then set anew. Each is set once in the time of a wait,
//! not once per wait.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use tokio::task::coop::unconstrained;
use tokio::time::{Instant, Sleep};

/// Alarms that are kept, per thread.
const KEPT: usize = 256;

/// Those of one thread that nobody waits for.
#[derive(Default)]
pub(crate) struct Alarms(RefCell<Vec<Pin<Box<Sleep>>>>);

/// One that somebody waits for.
struct Alarm<'a> {
    kept: &'a Alarms,
    /// Until it is dropped.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Alarms {
    /// Waits for `work`, but not beyond `until`. `None`: its time is over.
    pub(crate) async fn within<T>(
        &self,
        until: Instant,
        mut work: Pin<&mut impl Future<Output = T>>,
    ) -> Option<T> {
        let mut alarm: Option<Alarm<'_>> = None; // none for work that need not wait
        poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending => alarm.get_or_insert_with(|| self.take(until)).poll(until, cx).map(|()| None),
        })
        .await
    }

    /// One that goes off at `until` or before.
    fn take(&self, until: Instant) -> Alarm<'_> {
        let sleep = match self.0.borrow_mut().pop() {
            Some(mut sleep) => {
                if sleep.deadline() > until {
                    sleep.as_mut().reset(until);
                }
                sleep
            }
            None => Box::pin(tokio::time::sleep_until(until)),
        };
        Alarm { kept: self, sleep: Some(sleep) }
    }
}

impl Alarm<'_> {
    fn poll(&mut self, until: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let Some(sleep) = &mut self.sleep else { return Poll::Ready(()) };
        loop {
            // Also when the work has used up the task's budget: or it could go on for ever.
            ready!(pin!(unconstrained(sleep.as_mut())).poll(cx));
            if sleep.deadline() >= until {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(until);
        }
    }
}

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        let mut kept = self.kept.0.borrow_mut();
        if kept.len() < KEPT
            && let Some(sleep) = self.sleep.take()
        {
            kept.push(sleep);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const SECOND: Duration = Duration::from_secs(1);

    async fn nothing(alarms: &Alarms, time: Duration) -> Duration {
        let began = Instant::now();
        assert_eq!(alarms.within(began + time, pin!(std::future::pending::<()>())).await, None);
        began.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_when_it_should_whatever_the_alarm_was_set_to_before() {
        let alarms = Alarms::default();
        for seconds in [3, 1, 2, 5, 4] {
            let work = pin!(tokio::time::sleep(SECOND / 2));
            assert_eq!(alarms.within(Instant::now() + 2 * SECOND, work).await, Some(()));
            let took = nothing(&alarms, seconds * SECOND).await;
            assert!((seconds * SECOND..seconds * SECOND + SECOND / 100).contains(&took), "{took:?}");
        }
        assert_eq!(alarms.0.borrow().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn two_who_wait_have_an_alarm_each() {
        let alarms = Alarms::default();
        let (one, other) = tokio::join!(nothing(&alarms, SECOND), nothing(&alarms, 2 * SECOND));
        assert!(one < other && other < 3 * SECOND);
        assert_eq!(alarms.0.borrow().len(), 2);
    }

    #[tokio::test]
    async fn work_that_need_not_wait_has_none() {
        let alarms = Alarms::default();
        assert_eq!(alarms.within(Instant::now(), pin!(async { 7 })).await, Some(7));
        assert!(alarms.0.borrow().is_empty());
    }
}
