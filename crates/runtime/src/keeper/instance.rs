//! One instance as its keeper knows it.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use kit::Timestamp;
use manifest::spec::{InstanceId, Slot};
use rustix::net::{SendFlags, send};
use rustix::process::Pid;

use super::output::{LastLines, Output};
use crate::cgroup::Group;
use crate::driver::{Exit, Launch, Started};
use crate::sandbox::report::Order;
use crate::signals;

/// An instance that lives, or has ended and is not forgotten yet.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) launch: Launch,
    /// The name of its log.
    pub(super) name: String,
    pub(super) phase: Phase,
    /// Its warden, until that is reaped.
    pub(super) warden: Option<Pid>,
    /// The socket shared with the warden.
    pub(super) control: Option<OwnedFd>,
    pub(super) group: Group,
    pub(super) outputs: [Option<Output>; 2],
    pub(super) last_lines: LastLines,
    pub(super) started: Option<Started>,
    /// Requests that wait for its start.
    pub(super) starters: Vec<u64>,
    /// Requests that wait for its end.
    pub(super) stoppers: Vec<u64>,
    pub(super) stopping: Option<Stopping>,
    /// Whether its end has been told to the node that is connected.
    pub(super) told: bool,
}

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Between fork and exec.
    Starting,
    /// Its program runs.
    Running,
    /// Its warden died; what is left of its tree is being ended.
    Lost,
    /// Nothing of it lives.
    Ended { exit: Exit, at: Timestamp },
}

/// It has been asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stopping {
    /// The signal that was sent last.
    signal: i32,
    /// When everything is killed; `None`: it has been.
    pub(super) deadline: Option<Instant>,
}

impl Instance {
    pub(super) fn id(&self) -> &InstanceId {
        &self.launch.id
    }

    pub(super) fn is_living(&self) -> bool {
        !matches!(self.phase, Phase::Ended { .. })
    }

    /// The output of a check is not kept: it comes every few seconds for ever.
    pub(super) fn is_logged(&self) -> bool {
        !matches!(self.launch.id.slot, Slot::Check(_))
    }

    /// Asks it to end, or hastens that.
    pub(super) fn stop(&mut self, signal: i32, grace: Duration, now: Instant) {
        if grace.is_zero() || signal == libc::SIGKILL {
            return self.kill();
        }
        let mut deadline = now + grace;
        match self.stopping {
            Some(Stopping { deadline: None, .. }) => return,
            Some(Stopping { deadline: Some(earlier), signal: sent }) => {
                deadline = deadline.min(earlier);
                if sent != signal {
                    self.order(Order::Signal(signal));
                }
            }
            None => self.order(Order::Signal(signal)),
        }
        self.stopping = Some(Stopping { signal, deadline: Some(deadline) });
    }

    /// Asks it to end as its launch says, within `cap` at most.
    pub(super) fn stop_as_declared(&mut self, cap: Duration, now: Instant) {
        let signal = signals::number(&self.launch.stop_signal).unwrap_or(libc::SIGTERM);
        self.stop(signal, self.launch.stop_grace.min(cap), now);
    }

    /// Ends all of it now.
    pub(super) fn kill(&mut self) {
        self.stopping = Some(Stopping { signal: libc::SIGKILL, deadline: None });
        self.order(Order::Kill);
    }

    /// Tells the warden. One that is gone has nothing left to do.
    fn order(&self, order: Order) {
        if let Some(control) = &self.control {
            let _ = send(control, &order.encode(), SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        }
    }
}

/// What the status that `wait` gives means.
pub(super) fn exit_of(status: i32, out_of_memory: bool) -> Exit {
    let signal = status & 0x7f;
    if signal == 0 {
        return Exit::Code((status >> 8) & 0xff);
    }
    if signal == libc::SIGKILL && out_of_memory {
        return Exit::OutOfMemory;
    }
    Exit::Signal(signals::name(signal))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_status_becomes_an_exit() {
        assert_eq!(exit_of(3 << 8, true), Exit::Code(3));
        assert_eq!(exit_of(9, true), Exit::OutOfMemory);
        assert_eq!(exit_of(9, false), Exit::Signal("SIGKILL".into()));
        assert_eq!(exit_of(11 | 0x80, false), Exit::Signal("SIGSEGV".into()));
    }
}
