//! The time on a core that processes have used, told by the kernel in two ways: of each thread to the
//! nanosecond, where those that have ended are not in it; and of a whole process with those, in steps of a
//! hundredth of a second. Some servers make a thread for each request, some a process for each connection.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::bench::gateway::machine;

/// What each process has used since it started.
pub(crate) struct Used(BTreeMap<u32, Both>);

#[derive(Clone, Copy)]
struct Both {
    /// All threads that live.
    threads: Duration,
    /// The process.
    process: Duration,
}

impl Used {
    /// Of these processes; those that are gone are left out.
    pub(crate) fn until_now(pids: &[u32]) -> Self {
        let both = |pid: &u32| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let ticks = ticks(&stat)? as f64 / rustix::param::clock_ticks_per_second() as f64;
            let threads = machine::cpu(&[*pid]).ok()?;
            Some((*pid, Both { threads, process: Duration::from_secs_f64(ticks) }))
        };
        Self(pids.iter().filter_map(both).collect())
    }

    /// What was used since an earlier moment by those that were there at both.
    pub(crate) fn since(&self, earlier: &Self) -> Duration {
        let spent = |(pid, now): (&u32, &Both)| {
            let then = earlier.0.get(pid)?;
            // Each tells too little in its own case, neither too much by more than a step.
            let threads = now.threads.saturating_sub(then.threads);
            Some(threads.max(now.process.saturating_sub(then.process)))
        };
        self.0.iter().filter_map(spent).sum()
    }
}

/// User and system time in `/proc/PID/stat`. The name before them is in parentheses and may hold anything.
fn ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_is_that_of_processes_that_were_there_at_both_moments() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 10 20 30 40 250 50 1 2 20 0 1 0 100";
        assert_eq!(ticks(stat), Some(300));
        let ms = Duration::from_millis;
        let both = |threads, process| Both { threads: ms(threads), process: ms(process) };
        // One whose threads end, one that uses less than a step, one that is new.
        let then = Used([(1, both(5, 100)), (2, both(50, 50)), (4, both(1, 0))].into());
        let now = Used([(1, both(5, 300)), (2, both(53, 50)), (3, both(9, 9))].into());
        assert_eq!(now.since(&then), ms(203));
        assert_eq!(Used::until_now(&[std::process::id(), u32::MAX]).0.len(), 1);
    }
}
