//! What the kernel offers.

use std::fs;

use rustix::process::{PidfdFlags, Resource};

use super::Check;

/// The oldest kernel Atoll is meant for: pidfds that can be polled (5.3) and `waitid` on them (5.4).
const OLDEST: (u32, u32) = (5, 4);

/// From here on `cgroup.kill` ends a whole group at once.
const CGROUP_KILL: (u32, u32) = (5, 14);

/// Fewer open files than this are too few for a gateway with some load.
const OPEN_FILES: u64 = 4_096;

/// Fewer watches than this run out with a source tree of usual size.
const INOTIFY_WATCHES: u64 = 65_536;

/// The kernel's version.
pub(super) fn version() -> Check {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy().into_owned();
    judge_version(&release)
}

fn judge_version(release: &str) -> Check {
    match parse_version(release) {
        Some(version) if version >= CGROUP_KILL => Check::good("kernel", format!("Linux {release}")),
        Some(version) if version >= OLDEST => Check::worse(
            "kernel",
            format!("Linux {release}"),
            "from 5.14 on the kernel can end all processes of an instance at once",
        ),
        Some(_) => Check::broken("kernel", format!("Linux {release}"), "Atoll needs Linux 5.4 or newer"),
        None => Check::worse(
            "kernel",
            format!("cannot read the version `{release}`"),
            "Atoll needs Linux 5.4 or newer",
        ),
    }
}

fn parse_version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Whether processes can be held by file descriptor.
pub(super) fn pidfd() -> Check {
    match rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty()) {
        Ok(_) => Check::good("pidfd", "processes can be held by descriptor"),
        Err(error) => Check::broken(
            "pidfd",
            format!("pidfd_open: {error}"),
            "Atoll needs Linux 5.4, and a sandbox around it must let `pidfd_open` through",
        ),
    }
}

/// Whether orphans can be adopted. Set for this process, which ends soon and has no children.
pub(super) fn subreaper() -> Check {
    let own = rustix::process::getpid();
    match rustix::process::set_child_subreaper(Some(own)) {
        Ok(()) => Check::good("subreaper", "orphans of services can be adopted"),
        Err(error) => Check::broken(
            "subreaper",
            format!("PR_SET_CHILD_SUBREAPER: {error}"),
            "a sandbox around Atoll must let `prctl` through",
        ),
    }
}

/// How many files a process may open.
pub(super) fn open_files() -> Check {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    judge_open_files(limit.current, limit.maximum)
}

fn judge_open_files(soft: Option<u64>, hard: Option<u64>) -> Check {
    let told = |limit: Option<u64>| limit.map_or_else(|| "unlimited".to_owned(), |n| n.to_string());
    let found = format!("{} open files (at most {})", told(soft), told(hard));
    if hard.is_some_and(|hard| hard < OPEN_FILES) {
        return Check::worse(
            "ulimit -n",
            found,
            "raise `nofile` in /etc/security/limits.conf or LimitNOFILE=",
        );
    }
    if soft.is_some_and(|soft| soft < OPEN_FILES) {
        return Check::worse("ulimit -n", found, "`ulimit -n 65536` before `atoll up` raises it");
    }
    Check::good("ulimit -n", found)
}

/// Whether namespaces can be made without being root.
pub(super) fn user_namespaces() -> Check {
    let most = fs::read_to_string("/proc/sys/user/max_user_namespaces");
    // Debian's and Ubuntu's own switches.
    let clone = fs::read_to_string("/proc/sys/kernel/unprivileged_userns_clone").unwrap_or_default();
    let apparmor =
        fs::read_to_string("/proc/sys/kernel/apparmor_restrict_unprivileged_userns").unwrap_or_default();
    let root = rustix::process::geteuid().is_root();
    judge_namespaces(most.ok().as_deref(), clone.trim(), apparmor.trim(), root)
}

fn judge_namespaces(most: Option<&str>, clone: &str, apparmor: &str, root: bool) -> Check {
    let hint = "services run as plain processes without them; only sandboxes need them";
    let most: Option<u64> = most.and_then(|text| text.trim().parse().ok());
    match most {
        None => Check::worse("user namespaces", "not in this kernel", hint),
        Some(0) => Check::worse("user namespaces", "switched off (user.max_user_namespaces = 0)", hint),
        Some(_) if root => Check::good("user namespaces", "available"),
        Some(_) if clone == "0" => {
            Check::worse("user namespaces", "only for root (kernel.unprivileged_userns_clone = 0)", hint)
        }
        Some(_) if apparmor == "1" => {
            Check::worse("user namespaces", "restricted by AppArmor for programs without a profile", hint)
        }
        Some(_) => Check::good("user namespaces", "available"),
    }
}

/// How many files can be watched for changes.
pub(super) fn inotify() -> Check {
    let read = |name: &str| -> Option<u64> {
        fs::read_to_string(format!("/proc/sys/fs/inotify/{name}")).ok()?.trim().parse().ok()
    };
    match (read("max_user_watches"), read("max_user_instances")) {
        (Some(watches), Some(instances)) => {
            let found = format!("{watches} watches, {instances} instances");
            if watches < INOTIFY_WATCHES {
                let hint = format!(
                    "`sysctl fs.inotify.max_user_watches={INOTIFY_WATCHES}` lets large trees be watched"
                );
                Check::worse("inotify", found, hint)
            } else {
                Check::good("inotify", found)
            }
        }
        _ => Check::worse("inotify", "its limits cannot be read", "changes of files may go unseen"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::*;

    #[test]
    fn versions_are_judged_by_what_they_offer() {
        for (release, outcome) in [
            ("6.12.3-amd64", Outcome::Good),
            ("5.14", Outcome::Good),
            ("5.10.0-28-generic", Outcome::Worse),
            ("4.19.0", Outcome::Broken),
            ("strange", Outcome::Worse),
        ] {
            assert_eq!(judge_version(release).outcome, outcome, "{release}");
        }
    }

    #[test]
    fn a_low_limit_of_open_files_is_told() {
        assert_eq!(judge_open_files(Some(1024), Some(1_048_576)).outcome, Outcome::Worse);
        assert_eq!(judge_open_files(Some(65_536), None).outcome, Outcome::Good);
        assert_eq!(judge_open_files(None, None).found, "unlimited open files (at most unlimited)");
    }

    #[test]
    fn switches_of_distributions_are_known() {
        assert_eq!(judge_namespaces(Some("1000\n"), "", "0", false).outcome, Outcome::Good);
        assert_eq!(judge_namespaces(Some("1000"), "", "1", false).outcome, Outcome::Worse);
        assert_eq!(judge_namespaces(Some("1000"), "0", "", true).outcome, Outcome::Good);
        assert_eq!(judge_namespaces(None, "", "", true).outcome, Outcome::Worse);
    }
}
