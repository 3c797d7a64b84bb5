//! Looking at the machine: which processes live.

use std::fs;
use std::time::{Duration, Instant};

use super::LIMIT;

/// Living processes (no zombies) whose arguments or environment hold `token`, without this one, its node
/// programs and keepers (whose arguments name the state directory).
pub(crate) fn living_with(token: &str) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let read = |file: &str| fs::read(entry.path().join(file)).unwrap_or_default();
        let arguments = read("cmdline");
        if pid == std::process::id() || contains(&arguments, b"runtime_node") {
            continue;
        }
        let marked = contains(&arguments, token.as_bytes()) || contains(&read("environ"), token.as_bytes());
        if marked && is_living(pid) {
            found.push(pid);
        }
    }
    found
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window == word)
}

/// Whether a process exists and is not just waiting to be reaped.
pub(crate) fn is_living(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().unwrap_or("").split_ascii_whitespace().next();
    state.is_some_and(|state| state != "Z" && state != "X")
}

/// Direct children.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_ascii_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

pub(crate) fn parent(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse().ok())
}

pub(crate) fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(pid.try_into().unwrap()).unwrap();
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
}

/// Waits for a state, with a limit.
pub(crate) async fn wait_until(what: &str, mut there: impl FnMut() -> bool) {
    let began = Instant::now();
    while !there() {
        assert!(began.elapsed() < LIMIT, "not within {LIMIT:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) async fn wait_until_gone(token: &str) {
    wait_until(&format!("nothing with {token} lives: {:?}", living_with(token)), || {
        living_with(token).is_empty()
    })
    .await;
}

pub(crate) async fn wait_until_ended(pid: u32) {
    wait_until(&format!("process {pid} ends"), || !is_living(pid)).await;
}

/// Memory that a process shares with nobody.
pub(crate) fn private_kib(pid: u32) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let private = rollup.lines().filter(|line| line.starts_with("Private_"));
    private.filter_map(|line| line.split_ascii_whitespace().nth(1)?.parse::<u64>().ok()).sum()
}

/// CPU time of a process, without its children.
pub(crate) fn cpu_ms(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_ascii_whitespace().collect();
    [11, 12].iter().filter_map(|&place| fields.get(place)?.parse::<u64>().ok()).sum::<u64>() * 10
}

/// Children, their children, and so on.
pub(crate) fn descendants(pid: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let mut waiting = children(pid);
    while let Some(pid) = waiting.pop() {
        waiting.extend(children(pid));
        found.push(pid);
    }
    found
}

/// The short name of a process.
pub(crate) fn name(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned()
}

pub(crate) fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid.try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// The cgroups of a process.
pub(crate) fn groups_of(pid: u32) -> Vec<String> {
    fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap().lines().map(str::to_owned).collect()
}

/// Cgroups of this name, anywhere.
pub(crate) fn directories_named(name: &str) -> Vec<String> {
    let found = std::process::Command::new("find")
        .args(["/sys/fs/cgroup", "-type", "d", "-name", name])
        .output()
        .unwrap();
    String::from_utf8(found.stdout).unwrap().lines().map(str::to_owned).collect()
}
