//! The child of a warden, from fork to exec.

use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use rustix::process::{Pid, Signal};
use rustix::{process, stdio, thread};

use super::plan::Plan;
use super::report::{Failure, Step};
use super::sys;

/// Becomes the program of `plan`. Returns only when a step fails.
pub(super) fn become_program(plan: &Plan, null: BorrowedFd<'_>, warden: Pid, in_cgroup: bool) -> Failure {
    let Err(failure) = prepare(plan, null, warden, in_cgroup) else {
        let error = sys::exec(&plan.program, &plan.arguments, &plan.environment);
        return Failure { step: Step::Exec, which: 0, errno: error.raw_os_error().unwrap_or_default() };
    };
    failure
}

fn prepare(plan: &Plan, null: BorrowedFd<'_>, warden: Pid, in_cgroup: bool) -> Result<(), Failure> {
    step(Step::Session, 0, process::setsid())?;
    for (which, joined) in plan.group.join(in_cgroup).enumerate() {
        step(Step::Cgroup, which, joined)?;
    }
    step(Step::Streams, 0, stdio::dup2_stdin(null))?;
    step(Step::Streams, 1, stdio::dup2_stdout(&plan.stdout))?;
    step(Step::Streams, 2, stdio::dup2_stderr(&plan.stderr))?;
    for (which, (resource, limit)) in plan.ulimits.iter().enumerate() {
        step(Step::Ulimit, which, process::setrlimit(*resource, *limit))?;
    }
    if let Some(identity) = &plan.identity {
        // One thread: what is set for the thread is set for the process. The user comes last, for it takes
        // away the right to set the others.
        step(Step::User, 0, thread::set_thread_groups(&identity.groups))?;
        let (user, group) = (identity.user, identity.group);
        step(Step::User, 1, thread::set_thread_res_gid(group, group, group))?;
        step(Step::User, 2, thread::set_thread_res_uid(user, user, user))?;
    }
    step(Step::Enter, 0, process::chdir(plan.directory.as_c_str()))?;
    // After the change of user, which clears it.
    step(Step::Bind, 0, process::set_parent_process_death_signal(Some(Signal::KILL)))?;
    if process::getppid() != Some(warden) {
        return Err(Failure { step: Step::Bind, which: 1, errno: Errno::SRCH.raw_os_error() });
    }
    sys::reset_signals();
    sys::close_on_exec_from(3);
    Ok(())
}

fn step<T: Copy>(step: Step, which: usize, outcome: Result<T, Errno>) -> Result<(), Failure> {
    match outcome {
        Ok(_) => Ok(()),
        Err(errno) => {
            Err(Failure { step, which: u8::try_from(which).unwrap_or(u8::MAX), errno: errno.raw_os_error() })
        }
    }
}
