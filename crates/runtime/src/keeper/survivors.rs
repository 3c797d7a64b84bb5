//! What a dead keeper left behind. Its wardens end everything by themselves; this finds what is left when
//! wardens were killed too.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, getpid, pidfd_open, pidfd_send_signal};

use super::launch::MARKER;
use crate::cgroup::Cgroups;
use crate::procfs;

/// How long survivors may take to die.
const LIMIT: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(5);

/// Ends every process of an earlier keeper of this state directory: those in its cgroups and those whose
/// environment carries its mark. They cannot be taken over, because nobody would see how they end. Returns
/// how many there were.
pub(super) fn end(digest: &str, cgroups: &Cgroups) -> usize {
    let mut ended = cgroups.sweep();
    let mark = format!("{MARKER}={digest}/").into_bytes();
    let spared = ancestors();
    let mut seen = HashSet::new();
    let began = Instant::now();
    while began.elapsed() < LIMIT {
        let mut living = 0;
        for pid in procfs::all() {
            if !spared.contains(&pid) && kill_if_marked(pid, &mark) {
                living += 1;
                seen.insert(pid);
            }
        }
        if living == 0 {
            break;
        }
        std::thread::sleep(PAUSE);
    }
    ended += seen.len();
    ended
}

/// Kills a process whose environment at its start has the mark. The descriptor is opened first: it makes sure
/// that what was read and what is killed are the same.
fn kill_if_marked(pid: Pid, mark: &[u8]) -> bool {
    let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { return false };
    let Ok(environment) = std::fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())) else {
        return false;
    };
    let marked = environment.split(|&b| b == 0).any(|entry| entry.starts_with(mark));
    marked && pidfd_send_signal(process, Signal::KILL).is_ok()
}

/// This process and those above it: the node may itself run in an instance.
fn ancestors() -> HashSet<Pid> {
    let mut found = HashSet::new();
    let mut next = Some(getpid());
    while let Some(pid) = next
        && found.insert(pid)
    {
        next = procfs::stat(pid).and_then(|stat| Pid::from_raw(stat.parent));
    }
    found
}
