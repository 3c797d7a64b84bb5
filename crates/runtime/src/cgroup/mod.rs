//! Control groups: limits of an instance as a whole, what it uses, and a second way to end all of it.
//!
//! Works with version 2, version 1 and the mix of both, as cgroups(7) describes them. Every instance gets a
//! group of version 2 where one can be made, controllers or not, because that alone gives `cgroup.kill`;
//! groups of version 1 are made only for the limits that are asked for.

mod find;
mod group;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use manifest::spec::Limits;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

pub(crate) use find::{Cgroups, Controller};
pub(crate) use group::Group;

/// How long the processes of a left-over group may take to die.
const SWEEP_LIMIT: Duration = Duration::from_secs(5);

impl Cgroups {
    /// Makes the groups of an instance. Also returns the limits that cannot be enforced on this machine.
    pub(crate) fn make(&self, name: &str, limits: &Limits) -> (Group, Vec<Controller>) {
        let mut group = Group::default();
        let mut missing = Vec::new();
        if let Some(unified) = &self.unified {
            group.add_unified(&unified.base, name);
        }
        for (controller, settings) in settings(limits) {
            let limited = match self.version_1.get(&controller) {
                Some(base) => group.limit_version_1(base, name, controller, &settings),
                None if self.unified.as_ref().is_some_and(|u| u.controllers.contains(&controller)) => {
                    group.limit_unified(&settings)
                }
                None => false,
            };
            if !limited {
                missing.push(controller);
            }
        }
        (group, missing)
    }

    /// Ends what is left in groups of an earlier keeper of this state directory and removes them. Returns
    /// how many processes there were.
    pub(crate) fn sweep(&self) -> usize {
        let mut ended = 0;
        for base in self.bases() {
            let Ok(entries) = fs::read_dir(&base) else { continue };
            for directory in entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()) {
                ended += empty(&directory);
                group::remove_tree(&directory, SWEEP_LIMIT);
            }
            let _ = fs::remove_dir(&base);
        }
        ended
    }

    /// Removes the directories that hold the groups, as far as they are empty.
    pub(crate) fn remove_bases(&self) {
        for base in self.bases() {
            let _ = fs::remove_dir(base);
        }
    }

    fn bases(&self) -> Vec<PathBuf> {
        self.unified.iter().map(|u| u.base.clone()).chain(self.version_1.values().cloned()).collect()
    }
}

/// What to write for a limit: name and text for version 1, then for version 2. A name that ends with `?` may
/// be missing.
type Settings = Vec<[(&'static str, String); 2]>;

fn settings(limits: &Limits) -> Vec<(Controller, Settings)> {
    /// The kernel's default, in microseconds.
    const PERIOD: u64 = 100_000;
    let mut all = Vec::new();
    if let Some(cpus) = limits.cpus {
        let quota = ((cpus * PERIOD as f64) as u64).max(1000); // the kernel takes no less
        let both = [("cpu.cfs_quota_us", quota.to_string()), ("cpu.max", format!("{quota} {PERIOD}"))];
        all.push((Controller::Cpu, vec![both]));
    }
    if let Some(memory) = limits.memory {
        let bytes = memory.0.to_string();
        let memory = [("memory.limit_in_bytes", bytes.clone()), ("memory.max", bytes.clone())];
        // Without this a limit only moves memory out to swap. Version 1 counts both together.
        let swap = [("memory.memsw.limit_in_bytes?", bytes), ("memory.swap.max?", "0".to_owned())];
        all.push((Controller::Memory, vec![memory, swap]));
    }
    if let Some(pids) = limits.pids {
        all.push((Controller::Pids, vec![[("pids.max", pids.to_string()), ("pids.max", pids.to_string())]]));
    }
    all
}

/// Ends all processes of a left-over group.
fn empty(directory: &std::path::Path) -> usize {
    let mut seen = std::collections::HashSet::new();
    let began = Instant::now();
    while began.elapsed() < SWEEP_LIMIT {
        let pids = group::members(directory);
        if pids.is_empty() {
            break;
        }
        let _ = fs::write(directory.join("cgroup.kill"), "1");
        for pid in pids {
            seen.insert(pid);
            kill_member(directory, pid);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    seen.len()
}

/// Kills a process if it is (still) a member: the descriptor makes sure that the number was not reused.
fn kill_member(directory: &std::path::Path, pid: Pid) {
    let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { return };
    if group::members(directory).contains(&pid) {
        let _ = pidfd_send_signal(process, Signal::KILL);
    }
}
