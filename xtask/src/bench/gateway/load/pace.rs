//! When requests of an open loop are due. A timer of the kernel wakes the thread to the microsecond; the
//! runtime's own timers are a thousand times coarser.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::net::unix::pipe::Receiver;
use tokio::sync::Notify;

use super::recorder::Recorder;

/// Requests that are due and not yet sent; one more is a failure.
const MAX_DUE: usize = 50_000;

/// The seed of every run: the same schedule each time.
const SEED: u64 = 0x61_74_6f_6c_6c;

/// Requests that are due, taken by whichever worker is free.
#[derive(Default)]
pub(super) struct Due {
    waiting: RefCell<VecDeque<Instant>>,
    more: Notify,
}

impl Due {
    /// Waits for the next request; when it was due.
    pub(super) async fn next(&self) -> Instant {
        loop {
            let next = self.waiting.borrow_mut().pop_front();
            match next {
                Some(at) => return at,
                None => self.more.notified().await,
            }
        }
    }

    /// Whether there was place.
    fn push(&self, at: Instant) -> bool {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.len() >= MAX_DUE {
            return false;
        }
        waiting.push_back(at);
        self.more.notify_one();
        true
    }
}

/// Makes requests due for ever, `rate` a second on average, apart by exponential times.
pub(super) async fn pace(rate: f64, due: Rc<Due>, recorder: Rc<Recorder>) {
    let Ok(timer) = timer() else { return };
    let mut rng = StdRng::seed_from_u64(SEED ^ rate.to_bits());
    let mut at = Instant::now();
    loop {
        let share: f64 = rng.random(); // in [0, 1)
        at += Duration::from_secs_f64(-(1.0 - share).ln() / rate);
        sleep_until(&timer, at).await;
        recorder.due(at);
        if !due.push(at) {
            recorder.record(at, Err("not sent: too many are due".into()));
        }
    }
}

/// The runtime waits for any file like for a pipe; this one has eight bytes to read once it is time.
fn timer() -> std::io::Result<Receiver> {
    let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
    Receiver::from_owned_fd_unchecked(timerfd_create(TimerfdClockId::Monotonic, flags)?)
}

/// Returns at once if the moment has passed.
async fn sleep_until(timer: &Receiver, at: Instant) {
    let left = at.saturating_duration_since(Instant::now());
    let Ok(it_value) = Timespec::try_from(left) else { return };
    if left.is_zero() {
        return;
    }
    let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value };
    if timerfd_settime(timer, TimerfdTimerFlags::empty(), &once).is_err() {
        return;
    }
    // Woken without anything to read: by what was left of the time before.
    while timer.readable().await.is_ok() && timer.try_read(&mut [0; 16]).is_err() {}
}
