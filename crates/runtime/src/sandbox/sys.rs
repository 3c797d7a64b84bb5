//! System calls that have no safe wrapper in `rustix`. The only place in Atoll with `unsafe`.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::process::Pid;
use tokio::io::unix::AsyncFd;

/// Who returns from a fork.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forked {
    /// The process that forked.
    Parent {
        /// Its new child.
        child: Pid,
    },
    /// The new process.
    Child,
}

/// Forks. The caller has one thread only (the keeper sees to that when it starts), so the child may go on as
/// an ordinary process; it must leave through [`exec`] or [`exit_now`].
pub(crate) fn fork() -> io::Result<Forked> {
    // SAFETY: fork has no memory-safety condition in a process with one thread: no lock can be held by a
    // thread that the child lacks.
    forked(unsafe { libc::fork() }.into())
}

/// `CLONE_INTO_CGROUP` of linux/sched.h; the one in `libc` does not fit its type.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Forks into a cgroup (v2), given its directory: the child never runs outside of it, and nothing has to
/// be moved. Fails where the kernel is older than 5.7 or the cgroup refuses. The conditions of [`fork`] hold.
pub(crate) fn fork_into_cgroup(cgroup: BorrowedFd<'_>) -> io::Result<Forked> {
    // SAFETY: `clone_args` is plain data for which zeroes are valid (no stack, no thread-local storage).
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = CLONE_INTO_CGROUP;
    args.exit_signal = libc::SIGCHLD as u64;
    args.cgroup = u64::try_from(cgroup.as_raw_fd()).unwrap_or_default();
    // SAFETY: without CLONE_VM and without a stack this is a fork: the child has a copy of all memory. The
    // arguments live across the call and their size is given. One thread only, as for `fork`; what the C
    // library would do around a fork (locks, the cached thread id) matters to threads alone.
    let outcome = unsafe {
        libc::syscall(libc::SYS_clone3, std::ptr::from_mut(&mut args), size_of::<libc::clone_args>())
    };
    forked(outcome)
}

fn forked(outcome: libc::c_long) -> io::Result<Forked> {
    match i32::try_from(outcome).ok().map(|pid| (pid, Pid::from_raw(pid))) {
        Some((0, _)) => Ok(Forked::Child),
        Some((1.., Some(child))) => Ok(Forked::Parent { child }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A list of C strings as `execve` takes them.
#[derive(Debug)]
pub(crate) struct CStrings {
    /// Pointers into `owned`, with a null pointer at the end.
    pointers: Vec<*const c_char>,
    #[expect(dead_code, reason = "owns what the pointers point to")]
    owned: Vec<CString>,
}

impl CStrings {
    /// Takes the strings. Their bytes are on the heap, so the pointers stay good when this is moved.
    pub(crate) fn new(owned: Vec<CString>) -> Self {
        let mut pointers: Vec<_> = owned.iter().map(|text| text.as_ptr()).collect();
        pointers.push(std::ptr::null());
        Self { pointers, owned }
    }
}

/// Becomes another program. Returns only when that fails.
pub(crate) fn exec(program: &CStr, arguments: &CStrings, environment: &CStrings) -> io::Error {
    // SAFETY: all three are null-terminated, and both lists end with a null pointer; they outlive the call.
    unsafe { libc::execve(program.as_ptr(), arguments.pointers.as_ptr(), environment.pointers.as_ptr()) };
    io::Error::last_os_error()
}

/// Ends this process at once: no destructor, no exit handler of the program that was forked.
pub(crate) fn exit_now(status: i32) -> ! {
    // SAFETY: `_exit` has no conditions.
    unsafe { libc::_exit(status) }
}

/// Sends a signal (any number, real-time ones included) to one process. The caller knows that the process
/// cannot have been reaped, so that the number cannot belong to another.
pub(crate) fn kill(pid: Pid, signal: i32) -> io::Result<()> {
    // SAFETY: `kill` touches no memory of ours.
    checked(unsafe { libc::kill(pid.as_raw_nonzero().get(), signal) })
}

/// Makes these signals wait for [`SignalFd::drain`] instead of interrupting.
#[derive(Debug)]
pub(crate) struct SignalFd(OwnedFd);

impl SignalFd {
    /// Blocks the signals and opens a descriptor that turns readable when one comes.
    pub(crate) fn new(signals: &[c_int]) -> io::Result<Self> {
        // SAFETY: `sigset_t` is plain data, initialised by `sigemptyset`; all calls get valid pointers to it
        // and a null pointer where the old mask is not wanted. The descriptor is new and ours alone.
        unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            for &signal in signals {
                checked(libc::sigaddset(&raw mut set, signal))?;
            }
            checked(libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()))?;
            let fd = libc::signalfd(-1, &raw const set, libc::SFD_NONBLOCK | libc::SFD_CLOEXEC);
            checked(fd)?;
            Ok(Self(OwnedFd::from_raw_fd(fd)))
        }
    }

    /// The signals that came since the last call.
    pub(crate) fn drain(&self) -> Vec<c_int> {
        let mut signals = Vec::new();
        let mut info = [0u8; size_of::<libc::signalfd_siginfo>()];
        while rustix::io::read(&self.0, &mut info).is_ok_and(|read| read == info.len()) {
            // The first field, `ssi_signo`, is the number.
            signals.push(i32::from_ne_bytes([info[0], info[1], info[2], info[3]]));
        }
        signals
    }
}

impl std::os::fd::AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Gives every signal its default action and blocks none: what a program expects after exec.
pub(crate) fn reset_signals() {
    /// The kernel's `struct sigaction`, all zeroes: the default action (`SIG_DFL`), no flags, no mask.
    const DEFAULT: [u64; 4] = [0; 4];
    const SET_BYTES: usize = 8;
    for signal in 1..=64 {
        // SAFETY: the kernel reads at most as many bytes as `DEFAULT` has. Only default actions are set, so no
        // handler of ours can run. Not through the C library, which refuses the two signals that it keeps
        // (and what our starter ignored stays ignored). SIGKILL and SIGSTOP are refused, as is right.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                DEFAULT.as_ptr(),
                std::ptr::null_mut::<u64>(),
                SET_BYTES,
            )
        };
    }
    // SAFETY: the mask is initialised before it is used; the old one is not wanted.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
    }
}

/// Makes exec close every descriptor from `first` on.
pub(crate) fn close_on_exec_from(first: RawFd) {
    // SAFETY: closes nothing now. A kernel before 5.11 refuses; our own descriptors are close-on-exec anyway.
    unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
}

/// Closes every descriptor but 0, 1, 2 and these. Whatever owned one of the others in this process must not
/// be used or dropped any more: for a process that has just been forked and never returns, or has just begun.
pub(crate) fn close_all_but(keep: &[RawFd]) {
    let mut keep: Vec<RawFd> = keep.iter().copied().filter(|fd| *fd > 2).collect();
    keep.sort_unstable();
    let mut first = 3;
    for fd in keep.into_iter().chain([RawFd::MAX]) {
        if fd > first {
            close_range(first, fd - 1);
        }
        first = fd.saturating_add(1);
    }
}

fn close_range(first: RawFd, last: RawFd) {
    // SAFETY: by the contract of `close_all_but` nothing in this process uses these descriptors any more.
    let outcome = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if outcome == 0 {
        return;
    }
    // Before Linux 5.9: one by one, as far as /proc tells which are open.
    let Ok(open) = std::fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<RawFd> = open.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    for fd in open.into_iter().filter(|fd| (first..=last).contains(fd)) {
        // SAFETY: as above.
        unsafe { libc::close(fd) };
    }
}

/// Lets the async runtime tell when a descriptor is readable.
pub(crate) fn readiness_of(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` names the same open descriptor for as long as it lives, and the `AsyncFd` owns it.
    unsafe { AsyncFd::register(fd) }.map_err(Into::into)
}

fn checked(outcome: c_int) -> io::Result<()> {
    if outcome < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
