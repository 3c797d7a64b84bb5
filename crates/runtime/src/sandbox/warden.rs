//! The warden of one instance.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, SystemTime};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{self, Pid, WaitId, WaitIdOptions, WaitOptions};

use super::plan::Plan;
use super::report::{Failure, MESSAGE, Order, Report, Step};
use super::sys::{self, Forked, SignalFd};
use super::{child, tree};
use crate::procfs;

/// How long an end waits to be told for its cgroups to be removed, and how long a warden tries after that.
const REMOVE_AT_ONCE: Duration = Duration::from_millis(5);
const REMOVE_LIMIT: Duration = Duration::from_secs(5);

/// Forks a warden for `plan`. It talks on `control` and keeps `lock` open for as long as it lives. `null` is
/// `/dev/null`. Returns the warden's process id.
pub(crate) fn spawn(
    plan: &Plan,
    control: &OwnedFd,
    lock: BorrowedFd<'_>,
    null: BorrowedFd<'_>,
) -> std::io::Result<Pid> {
    match sys::fork()? {
        Forked::Parent { child } => Ok(child),
        Forked::Child => {
            // A panic must not unwind into the copy of the keeper that is still on the stack.
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                Warden::run(plan, control, lock, null);
            }));
            sys::exit_now(i32::from(outcome.is_err()));
        }
    }
}

struct Warden<'a> {
    plan: &'a Plan,
    control: &'a OwnedFd,
    signals: SignalFd,
    main: Pid,
}

impl<'a> Warden<'a> {
    /// The warden's whole life.
    fn run(plan: &'a Plan, control: &'a OwnedFd, lock: BorrowedFd<'a>, null: BorrowedFd<'a>) {
        let outcome = Self::start(plan, control, lock, null);
        let (warden, hears) = match outcome {
            Ok(started) => started,
            Err(errno) => {
                plan.group.remove(REMOVE_AT_ONCE);
                let errno = errno.raw_os_error().unwrap_or_default();
                return report(control, Report::Failed(Failure { step: Step::Fork, which: 0, errno }));
            }
        };
        if let Err(failure) = warden.await_exec(&hears) {
            tree::end(Some(warden.main), &plan.group, &warden.signals);
            return warden.leave(Report::Failed(failure));
        }
        drop(hears);
        report(control, Report::Started { pid: warden.main.as_raw_nonzero().get(), at: now_micros() });
        warden.watch();
        let status = tree::end(Some(warden.main), &plan.group, &warden.signals);
        let out_of_memory = plan.group.out_of_memory();
        warden.leave(Report::Ended { status: status.unwrap_or_default(), out_of_memory });
    }

    /// The last word, and the cgroups. Usually they can be removed at once; if not, nobody waits for that.
    fn leave(&self, last: Report) {
        let removed = self.plan.group.remove(REMOVE_AT_ONCE);
        report(self.control, last);
        if !removed {
            self.plan.group.remove(REMOVE_LIMIT);
        }
        if !keeper_lives(self.control) {
            self.plan.group.remove_bases();
        }
    }

    /// Makes ready and forks; returns with the pipe on which the child tells what fails.
    fn start(
        plan: &'a Plan,
        control: &'a OwnedFd,
        lock: BorrowedFd<'a>,
        null: BorrowedFd<'a>,
    ) -> std::io::Result<(Self, OwnedFd)> {
        let mut needed = vec![control.as_raw_fd(), lock.as_raw_fd(), null.as_raw_fd()];
        needed.extend([plan.stdout.as_raw_fd(), plan.stderr.as_raw_fd()]);
        needed.extend(plan.group.unified_directory().map(|fd| fd.as_raw_fd()));
        // Before anything else: as long as we hold the keeper's ends of other wardens' sockets, those would
        // not see the keeper die.
        sys::close_all_but(&needed);
        process::set_child_subreaper(Some(process::getpid()))?;
        let _ = rustix::thread::set_name(&plan.warden_name);
        let signals = SignalFd::new(&[
            libc::SIGCHLD,
            libc::SIGTERM, // these three are meant for the keeper; we end when it is time
            libc::SIGINT,
            libc::SIGHUP,
        ])?;
        let (hears, tells) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let warden = process::getpid();
        let into = plan.group.unified_directory().and_then(|directory| sys::fork_into_cgroup(directory).ok());
        let in_cgroup = into.is_some();
        let forked = match into {
            Some(forked) => forked,
            None => sys::fork()?,
        };
        let main = match forked {
            Forked::Parent { child } => child,
            Forked::Child => {
                let failure = child::become_program(plan, null, warden, in_cgroup);
                let _ = rustix::io::write(&tells, &failure.encode());
                sys::exit_now(127);
            }
        };
        drop(tells);
        // The keeper sees the end of the output when the instance closes it, not when we do.
        let signalled = signals.as_fd().as_raw_fd();
        sys::close_all_but(&[control.as_raw_fd(), lock.as_raw_fd(), signalled, hears.as_raw_fd()]);
        Ok((Self { plan, control, signals, main }, hears))
    }

    /// Waits until the program runs (exec closes the pipe) or the child tells why it does not.
    fn await_exec(&self, hears: &OwnedFd) -> Result<(), Failure> {
        loop {
            let [said, ordered, _] = self.wait(Some(hears));
            if ordered && self.obey() == Go::End {
                tree::end(Some(self.main), &self.plan.group, &self.signals);
                return Err(Failure { step: Step::Fork, which: 1, errno: libc::EINTR });
            }
            if !said {
                continue;
            }
            let mut message = [0; MESSAGE];
            return match rustix::io::read(hears, &mut message) {
                Ok(0) => Ok(()),
                Ok(read) => Err(Failure::decode(&message[..read]).unwrap_or(Failure {
                    step: Step::Fork,
                    which: 2,
                    errno: libc::EPROTO,
                })),
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => continue,
                Err(errno) => Err(Failure { step: Step::Fork, which: 3, errno: errno.raw_os_error() }),
            };
        }
    }

    /// Returns when it is time to end everything: the main process has ended, the keeper said so, or the
    /// keeper is gone.
    fn watch(&self) {
        loop {
            if self.main_ended() {
                return;
            }
            let [_, ordered, signalled] = self.wait(None);
            if ordered && self.obey() == Go::End {
                return;
            }
            if signalled {
                self.signals.drain();
                self.reap_orphans();
            }
        }
    }

    /// Waits for one of: the pipe before exec, an order, a signal.
    fn wait(&self, hears: Option<&OwnedFd>) -> [bool; 3] {
        let signals = self.signals.as_fd();
        let hears = hears.map_or(signals, AsFd::as_fd);
        let mut fds = [
            PollFd::new(&hears, PollFlags::IN),
            PollFd::new(self.control, PollFlags::IN),
            PollFd::new(&signals, PollFlags::IN),
        ];
        if poll(&mut fds, None).is_err() {
            return [false; 3]; // interrupted
        }
        fds.map(|fd| !fd.revents().is_empty())
    }

    /// Does what the keeper says.
    fn obey(&self) -> Go {
        let mut message = [0; MESSAGE];
        match recv(self.control, &mut message, RecvFlags::DONTWAIT) {
            Ok((0, _)) => Go::End, // the keeper is gone
            Ok((read, _)) => match Order::decode(&message[..read]) {
                Some(Order::Signal(signal)) => {
                    let _ = sys::kill(self.main, signal); // not reaped before `tree::end`
                    Go::On
                }
                Some(Order::Kill) => Go::End,
                None => Go::On,
            },
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Go::On,
            Err(_) => Go::End,
        }
    }

    /// Whether the main process has ended. It stays unreaped, so that its number stays its own.
    fn main_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        !matches!(process::waitid(WaitId::Pid(self.main), options), Ok(None) | Err(rustix::io::Errno::INTR))
    }

    /// Reaps what the instance abandoned and has ended.
    fn reap_orphans(&self) {
        for child in procfs::children(process::getpid()) {
            if child != self.main {
                let _ = process::waitpid(Some(child), WaitOptions::NOHANG);
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Go {
    On,
    End,
}

/// The other end of the socket is closed when the keeper dies.
fn keeper_lives(control: &OwnedFd) -> bool {
    match recv(control, &mut [0; MESSAGE], RecvFlags::DONTWAIT | RecvFlags::PEEK) {
        Ok((bytes, _)) => bytes > 0,
        Err(errno) => errno == rustix::io::Errno::AGAIN,
    }
}

/// Tells the keeper. When it is gone nobody needs to know.
fn report(control: &OwnedFd, report: Report) {
    let _ = send(control, &report.encode(), SendFlags::NOSIGNAL);
}

fn now_micros() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
