//! All that a start needs, prepared before the fork: what comes after it only makes system calls.

use std::ffi::CString;
use std::os::fd::OwnedFd;

use rustix::fs::{Gid, Uid};
use rustix::process::{Resource, Rlimit};

use super::sys::CStrings;
use crate::cgroup::Group;

/// How to start one instance.
#[derive(Debug)]
pub(crate) struct Plan {
    /// What the warden is called in lists of processes.
    pub(crate) warden_name: CString,
    /// The file to execute: absolute, or relative to `directory`.
    pub(crate) program: CString,
    /// Its arguments, the name of the program first.
    pub(crate) arguments: CStrings,
    /// Its whole environment.
    pub(crate) environment: CStrings,
    /// Its working directory.
    pub(crate) directory: CString,
    /// Whom to become; `None`: nobody else.
    pub(crate) identity: Option<Identity>,
    /// Limits of the process, in the order of `Failure::which`.
    pub(crate) ulimits: Vec<(Resource, Rlimit)>,
    /// Its cgroups.
    pub(crate) group: Group,
    /// Where its output goes.
    pub(crate) stdout: OwnedFd,
    /// And its errors.
    pub(crate) stderr: OwnedFd,
}

/// A user to become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) user: Uid,
    pub(crate) group: Gid,
    /// Supplementary groups.
    pub(crate) groups: Vec<Gid>,
}
