//! What `/proc` tells about processes.

use std::fs;
use std::time::Duration;

use rustix::process::Pid;

/// Processes of one tree that are looked at, at most.
const MAX_TREE: usize = 10_000;

/// The living or unreaped direct children of a single-threaded process.
pub(crate) fn children(of: Pid) -> Vec<Pid> {
    let of = of.as_raw_nonzero().get();
    match fs::read_to_string(format!("/proc/{of}/task/{of}/children")) {
        Ok(list) => {
            list.split_ascii_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect()
        }
        Err(_) => all().into_iter().filter(|&pid| stat(pid).is_some_and(|s| s.parent == of)).collect(),
    }
}

/// Every process there is.
pub(crate) fn all() -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.filter_map(|entry| Pid::from_raw(entry.ok()?.file_name().to_str()?.parse().ok()?)).collect()
}

/// The part of `/proc/<pid>/stat` that matters here (see proc_pid_stat(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    /// One letter: `Z` for a process that ended and was not reaped.
    pub(crate) state: u8,
    /// Its parent.
    pub(crate) parent: i32,
    /// CPU time of its own, in clock ticks.
    own_ticks: u64,
    /// CPU time of its reaped children, in clock ticks.
    reaped_ticks: u64,
    /// Resident memory in pages.
    pages: u64,
}

/// Reads the state of a process; `None` when it is gone.
pub(crate) fn stat(pid: Pid) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?)
}

fn parse_stat(text: &str) -> Option<Stat> {
    // The name may hold blanks and parentheses: what follows the last `)` is regular.
    let fields: Vec<&str> = text.get(text.rfind(')')? + 1..)?.split_ascii_whitespace().collect();
    let number = |place: usize| fields.get(place - 3)?.parse::<u64>().ok();
    Some(Stat {
        state: *fields.first()?.as_bytes().first()?,
        parent: fields.get(1)?.parse().ok()?,
        own_ticks: number(14)? + number(15)?,
        reaped_ticks: number(16)? + number(17)?,
        pages: number(24)?,
    })
}

/// What a tree of processes uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TreeUsage {
    pub(crate) cpu: Duration,
    pub(crate) memory: u64,
    pub(crate) processes: u32,
}

/// What all descendants of `root` use, those it has reaped included; `root` itself is not counted.
pub(crate) fn usage_below(root: Pid) -> TreeUsage {
    let mut usage = TreeUsage::default();
    let mut ticks = stat(root).map_or(0, |root| root.reaped_ticks);
    let mut waiting = children_of_any(root);
    let mut seen = 0;
    while let Some(pid) = waiting.pop() {
        seen += 1;
        if seen > MAX_TREE {
            break;
        }
        let Some(stat) = stat(pid) else { continue };
        ticks += stat.own_ticks + stat.reaped_ticks;
        if stat.state != b'Z' {
            usage.processes += 1;
            usage.memory += stat.pages * rustix::param::page_size() as u64;
        }
        waiting.extend(children_of_any(pid));
    }
    usage.cpu = Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64);
    usage
}

/// Resident memory of these processes.
pub(crate) fn memory_of(pids: &[Pid]) -> u64 {
    let pages: u64 = pids.iter().filter_map(|&pid| stat(pid)).map(|stat| stat.pages).sum();
    pages * rustix::param::page_size() as u64
}

/// Children of every thread of a process.
fn children_of_any(of: Pid) -> Vec<Pid> {
    let of = of.as_raw_nonzero().get();
    let Ok(threads) = fs::read_dir(format!("/proc/{of}/task")) else { return Vec::new() };
    let mut pids = Vec::new();
    for thread in threads.flatten() {
        let Ok(list) = fs::read_to_string(thread.path().join("children")) else { continue };
        pids.extend(list.split_ascii_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)));
    }
    pids
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_full_of_parentheses_does_not_confuse() {
        let text = "12 (a) b) (c) S 7 12 12 0 -1 4194560 1 0 0 0 3 4 5 6 20 0 1 0 9 100 33 1844 1 1";
        let stat = parse_stat(text).unwrap();
        let expected = Stat { state: b'S', parent: 7, own_ticks: 7, reaped_ticks: 11, pages: 33 };
        assert_eq!(stat, expected);
    }

    #[test]
    fn this_process_is_there_with_its_memory() {
        let this = rustix::process::getpid();
        assert!(all().contains(&this));
        assert!(memory_of(&[this]) > 100_000);
    }
}
