//! Which cgroups this process may make, and where.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

/// A kind of limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Controller {
    Cpu,
    Memory,
    Pids,
}

impl Controller {
    pub(crate) const ALL: [Self; 3] = [Self::Cpu, Self::Memory, Self::Pids];

    /// The kernel's name, which is also the one in application files.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Pids => "pids",
        }
    }
}

/// Where groups can be made. Nothing is made before an instance needs it.
#[derive(Debug, Default)]
pub(crate) struct Cgroups {
    pub(super) unified: Option<Unified>,
    /// The directory under which groups of a controller of version 1 are made.
    pub(super) version_1: BTreeMap<Controller, PathBuf>,
}

#[derive(Debug)]
pub(super) struct Unified {
    pub(super) base: PathBuf,
    /// Those that the groups under `base` get.
    pub(super) controllers: BTreeSet<Controller>,
}

impl Cgroups {
    /// Looks where this process is and what it may write. Groups are made in a directory called
    /// `atoll-<digest>`, one for each state directory, beneath this process's own group where that works
    /// (limits that hold for us then hold for the instances too).
    pub(crate) fn find(digest: &str) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let places = places(&read("/proc/self/cgroup"), &read("/proc/self/mountinfo"));
        let directory = format!("atoll-{digest}");
        let mut found = Self::default();
        for place in places {
            match place.controller {
                Some(controller) if writable(&place.own) => {
                    found.version_1.insert(controller, place.own.join(&directory));
                }
                Some(_) => {}
                None => found.unified = unified(&place, &directory),
            }
        }
        found
    }
}

/// Where this process is in one hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    /// `None`: version 2.
    controller: Option<Controller>,
    /// Where the hierarchy is mounted.
    mount: PathBuf,
    /// The directory of this process's group.
    own: PathBuf,
}

/// Joins `/proc/self/cgroup` (cgroups(7)) with `/proc/self/mountinfo` (proc_pid_mountinfo(5)).
fn places(cgroup: &str, mountinfo: &str) -> Vec<Place> {
    let mut found = Vec::new();
    for line in mountinfo.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let left: Vec<&str> = left.split(' ').collect();
        let right: Vec<&str> = right.split(' ').collect();
        let (Some(&root), Some(&mount), Some(&kind)) = (left.get(3), left.get(4), right.first()) else {
            continue;
        };
        let options: Vec<&str> = right.get(2).unwrap_or(&"").split(',').collect();
        let wanted: Vec<Option<Controller>> = match kind {
            "cgroup2" => vec![None],
            "cgroup" => {
                Controller::ALL.into_iter().filter(|c| options.contains(&c.name())).map(Some).collect()
            }
            _ => continue,
        };
        for controller in wanted {
            let own = cgroup.lines().find_map(|line| {
                let (_, rest) = line.split_once(':')?;
                let (names, path) = rest.split_once(':')?;
                let ours = match controller {
                    Some(controller) => names.split(',').any(|name| name == controller.name()),
                    None => names.is_empty(),
                };
                ours.then_some(path)
            });
            // Within a container only a part of the hierarchy is mounted: `root` is where that part begins.
            let Some(below) = own.and_then(|own| Path::new(own).strip_prefix(root).ok()) else { continue };
            let mount = PathBuf::from(mount);
            found.push(Place { controller, own: mount.join(below), mount });
        }
    }
    found
}

/// Version 2 gives a group controllers only where its parent passes them on, and a group with processes of
/// its own (other than the root) passes none on. So go up to the first group that does; without one, our
/// own is good enough for `cgroup.kill`.
fn unified(place: &Place, directory: &str) -> Option<Unified> {
    let available = controllers(&place.own.join("cgroup.controllers"));
    for candidate in place.own.ancestors().take_while(|path| path.starts_with(&place.mount)) {
        if available.is_empty() || !writable(candidate) {
            break;
        }
        let passes_on = pass_on(candidate, &available);
        if passes_on == available {
            return Some(Unified { base: candidate.join(directory), controllers: passes_on });
        }
    }
    let controllers = if writable(&place.own) { pass_on(&place.own, &available) } else { return None };
    Some(Unified { base: place.own.join(directory), controllers })
}

/// Asks a group to pass these on to its children; returns those it does.
pub(super) fn pass_on(group: &Path, wanted: &BTreeSet<Controller>) -> BTreeSet<Controller> {
    let file = group.join("cgroup.subtree_control");
    let already = controllers(&file);
    for controller in wanted.difference(&already) {
        let _ = fs::write(&file, format!("+{}", controller.name()));
    }
    controllers(&file).intersection(wanted).copied().collect()
}

fn controllers(file: &Path) -> BTreeSet<Controller> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let names: Vec<&str> = text.split_ascii_whitespace().collect();
    Controller::ALL.into_iter().filter(|controller| names.contains(&controller.name())).collect()
}

fn writable(directory: &Path) -> bool {
    let may = Access::WRITE_OK | Access::EXEC_OK;
    access(directory, may).is_ok() && access(directory.join("cgroup.procs"), Access::WRITE_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(cgroup: &str, mountinfo: &str) -> Vec<(Option<Controller>, String)> {
        let places = places(cgroup, mountinfo);
        places.into_iter().map(|p| (p.controller, p.own.display().to_string())).collect()
    }

    #[test]
    fn version_2_alone() {
        let found = check(
            "0::/user.slice/session-1.scope\n",
            "31 23 0:28 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n",
        );
        assert_eq!(found, [(None, "/sys/fs/cgroup/user.slice/session-1.scope".to_owned())]);
    }

    #[test]
    fn both_versions_side_by_side() {
        let found = check(
            "8:pids:/\n4:memory:/a/b\n2:cpu,cpuacct:/x\n0::/\n",
            "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
             35 31 0:32 / /sys/fs/cgroup/memory rw shared:7 - cgroup cgroup rw,memory\n\
             41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
        );
        assert_eq!(
            found,
            [
                (Some(Controller::Cpu), "/sys/fs/cgroup/cpu,cpuacct/x".to_owned()),
                (Some(Controller::Memory), "/sys/fs/cgroup/memory/a/b".to_owned()),
                (None, "/sys/fs/cgroup/unified/".to_owned()),
            ]
        );
    }

    #[test]
    fn within_a_container_that_sees_its_own_part_only() {
        let found = check(
            "4:memory:/docker/abc/in\n",
            "35 31 0:32 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
        );
        assert_eq!(found, [(Some(Controller::Memory), "/sys/fs/cgroup/memory/in".to_owned())]);
    }

    #[test]
    fn limits_go_where_the_controllers_are_passed_on() {
        // As systemd has it: our own group holds processes and passes nothing on, its parent does.
        let root = tempfile::tempdir().unwrap();
        let own = root.path().join("user.slice/session.scope");
        fs::create_dir_all(&own).unwrap();
        let all = "cpu memory pids\n";
        for (group, passed_on) in [(root.path().to_owned(), all), (root.path().join("user.slice"), all)] {
            fs::write(group.join("cgroup.subtree_control"), passed_on).unwrap();
            fs::write(group.join("cgroup.procs"), "").unwrap();
        }
        fs::write(own.join("cgroup.controllers"), all).unwrap();
        fs::write(own.join("cgroup.procs"), "1\n").unwrap();
        fs::create_dir(own.join("cgroup.subtree_control")).unwrap(); // cannot be written
        let place = Place { controller: None, mount: root.path().to_owned(), own: own.clone() };
        let found = unified(&place, "atoll-x").unwrap();
        assert_eq!(found.base, root.path().join("user.slice/atoll-x"));
        assert_eq!(found.controllers, Controller::ALL.into());
        // Without any controllers, our own group is good enough for `cgroup.kill`.
        fs::write(own.join("cgroup.controllers"), "").unwrap();
        let found = unified(&place, "atoll-x").unwrap();
        assert_eq!((found.base, found.controllers.len()), (own.join("atoll-x"), 0));
    }
}
