//! Ending every descendant of a subreaper.

use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{self, Pid, WaitOptions};

use super::sys::{self, SignalFd};
use crate::cgroup::Group;
use crate::procfs;

/// How soon to look again when no child was seen to end: one whose parent died may have come to us without
/// a signal.
const LOOK_AGAIN_MS: i64 = 10;

/// Kills the main process, all it has forked and all those have forked, until none is left. Returns how the
/// main process ended, as `wait` gives it, if it was still to be reaped.
///
/// This process is a subreaper: a descendant whose parent dies becomes our child, so killing children,
/// reaping and looking again reaches all. Nothing is reaped between finding a child and killing its group,
/// so neither number can belong to a stranger. A group is killed in one stroke, forks under way included.
pub(super) fn end(main: Option<Pid>, group: &Group, signals: &SignalFd) -> Option<i32> {
    let mut status = None;
    loop {
        group.kill();
        if let Some(main) = main.filter(|_| status.is_none()) {
            // Not reaped yet: the number is its own, and so is that of the group it leads (once it does).
            let _ = process::kill_process_group(main, process::Signal::KILL);
            let _ = sys::kill(main, libc::SIGKILL);
        }
        kill_children(&[]);
        let mut reaped = false;
        loop {
            match process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, how))) => {
                    reaped = true;
                    if Some(pid) == main {
                        status = Some(how.as_raw());
                    }
                }
                Ok(None) => break,
                Err(_) => return status, // no child is left
            }
        }
        if !reaped {
            let timeout = Timespec { tv_sec: 0, tv_nsec: LOOK_AGAIN_MS * 1_000_000 };
            let _ = poll(&mut [PollFd::new(&signals.as_fd(), PollFlags::IN)], Some(&timeout));
            signals.drain();
        }
    }
}

/// Kills every child of this process but `spared`, each with its process group. Returns how many there were.
pub(crate) fn kill_children(spared: &[Pid]) -> usize {
    let own_group = process::getpgrp();
    let children = procfs::children(process::getpid());
    let mut found = 0;
    for child in children {
        if spared.contains(&child) {
            continue;
        }
        found += 1;
        // A group that is not ours holds descendants only: it was made in a session that one of them made.
        if let Ok(group) = process::getpgid(Some(child))
            && group != own_group
        {
            let _ = process::kill_process_group(group, process::Signal::KILL);
        }
        let _ = sys::kill(child, libc::SIGKILL);
    }
    found
}
