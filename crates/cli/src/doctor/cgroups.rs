//! Whether limits of CPU, memory and processes can be enforced.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use super::Check;

/// The controllers behind `cpus`, `mem_limit` and `pids_limit`.
const WANTED: [&str; 3] = ["cpu", "memory", "pids"];

/// What is there, in words of its own so that it can be judged without the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Found {
    /// The group this process is in under version 2, if the hierarchy is mounted and may be written.
    v2: Option<bool>,
    /// Controllers that version 2 hands to this process's group.
    v2_controllers: Vec<String>,
    /// Controllers of version 1 whose group of this process may be written.
    v1_writable: Vec<String>,
    /// Controllers of version 1 that are mounted.
    v1_mounted: Vec<String>,
}

/// The check.
pub(super) fn check() -> Vec<Check> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    vec![judge(&look(&own, &mounts))]
}

fn look(own: &str, mounts: &str) -> Found {
    let mut found = Found::default();
    for line in own.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        if controllers.is_empty() {
            let Some(mount) = mount_of(mounts, "cgroup2", None) else { continue };
            let group = below(&mount, path);
            found.v2 = Some(writable(&group));
            let list = fs::read_to_string(group.join("cgroup.controllers")).unwrap_or_default();
            found.v2_controllers = list.split_whitespace().map(str::to_owned).collect();
            continue;
        }
        for controller in controllers.split(',').filter(|name| WANTED.contains(name)) {
            if let Some(mount) = mount_of(mounts, "cgroup", Some(controller)) {
                found.v1_mounted.push(controller.to_owned());
                if writable(&below(&mount, path)) {
                    found.v1_writable.push(controller.to_owned());
                }
            }
        }
    }
    found
}

/// Where a hierarchy is mounted: proc(5), `mountinfo`. The options of the super block name the controller.
fn mount_of(mounts: &str, kind: &str, controller: Option<&str>) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (front, back) = line.split_once(" - ")?;
        let mut back = back.split(' ');
        let (this_kind, options) = (back.next()?, back.nth(1).unwrap_or_default());
        let right = this_kind == kind
            && controller.is_none_or(|wanted| options.split(',').any(|option| option == wanted));
        right.then(|| front.split(' ').nth(4).map(PathBuf::from))?
    })
}

/// The group's directory. In a container the path may lie outside of what is mounted: then the mount itself
/// is the group.
fn below(mount: &Path, path: &str) -> PathBuf {
    let group = mount.join(path.trim_start_matches('/'));
    if group.is_dir() { group } else { mount.to_owned() }
}

fn writable(group: &Path) -> bool {
    access(group, Access::WRITE_OK).is_ok()
}

fn judge(found: &Found) -> Check {
    let hint = "limits in the file are warned about and not enforced; \
                run under systemd with Delegate=yes, or as root";
    let has = |list: &[String]| -> (Vec<&str>, Vec<&str>) {
        WANTED.iter().partition(|wanted| list.iter().any(|name| name == **wanted))
    };
    if found.v2 == Some(true) {
        let (there, missing) = has(&found.v2_controllers);
        if missing.is_empty() {
            return Check::good("cgroups", "v2, writable: cpu, memory, pids");
        }
        if found.v1_writable.is_empty() {
            let found =
                format!("v2, writable, without {} (has: {})", missing.join(", "), list_or_none(&there));
            return Check::worse("cgroups", found, hint);
        }
    }
    let (there, missing) = has(&found.v1_writable);
    if missing.is_empty() {
        return Check::good("cgroups", "v1, writable: cpu, memory, pids");
    }
    if !there.is_empty() {
        let found = format!("v1, writable: {}; not: {}", there.join(", "), missing.join(", "));
        return Check::worse("cgroups", found, hint);
    }
    let found = match (found.v2, found.v1_mounted.is_empty()) {
        (Some(_), _) => "v2, not writable",
        (None, false) => "v1, not writable",
        (None, true) => "not mounted",
    };
    Check::worse("cgroups", found, hint)
}

fn list_or_none(names: &[&str]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_hierarchy_is_found_by_its_kind_and_controller() {
        let mounts = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n\
                      31 23 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      32 23 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n";
        assert_eq!(mount_of(mounts, "cgroup2", None), Some("/sys/fs/cgroup".into()));
        assert_eq!(mount_of(mounts, "cgroup", Some("cpu")), Some("/sys/fs/cgroup/cpu".into()));
        assert_eq!(mount_of(mounts, "cgroup", Some("pids")), None);
    }

    #[test]
    fn what_can_be_enforced_is_told_by_controller() {
        let all = names(&WANTED);
        let v2 = Found { v2: Some(true), v2_controllers: all.clone(), ..Found::default() };
        assert_eq!(judge(&v2).outcome, Outcome::Good);
        let some = Found { v2: Some(true), v2_controllers: names(&["pids"]), ..Found::default() };
        assert_eq!(judge(&some).found, "v2, writable, without cpu, memory (has: pids)");
        let hybrid = Found { v2: Some(true), v1_writable: all, ..Found::default() };
        assert_eq!(judge(&hybrid).found, "v1, writable: cpu, memory, pids");
        assert_eq!(judge(&Found { v2: Some(false), ..Found::default() }).found, "v2, not writable");
        assert_eq!(judge(&Found::default()).found, "not mounted");
    }
}
