//! What the comparison asks of the machine: one core for the proxy under test and another for load and
//! upstream, many files, and what processes have used so far.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Files a process may have open: 10,000 client connections in the load and as many in each proxy.
const FILES: u64 = 40_000;

/// Who runs where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cores {
    /// The proxy under test, alone.
    pub(crate) proxy: usize,
    /// Load and upstream.
    pub(crate) load: usize,
}

impl Cores {
    /// The first two cores this process may use. With a single one both share it, and ratios suffer.
    pub(crate) fn of_this_machine() -> anyhow::Result<Self> {
        let set = sched_getaffinity(None).context("ask for the allowed cores")?;
        let mut allowed = (0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core));
        let proxy = allowed.next().context("no core is allowed")?;
        Ok(Self { proxy, load: allowed.next().unwrap_or(proxy) })
    }
}

/// Keeps this thread, and what it starts from now on, on one core.
pub(crate) fn pin(core: usize) -> anyhow::Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).with_context(|| format!("stay on core {core}"))
}

/// Does something on a thread that is pinned to a core; processes it starts stay on that core.
pub(crate) fn on_core<T: Send>(
    core: usize,
    work: impl FnOnce() -> anyhow::Result<T> + Send,
) -> anyhow::Result<T> {
    std::thread::scope(|threads| {
        let worker = threads.spawn(move || {
            pin(core)?;
            work()
        });
        worker.join().ok().context("the pinned thread panicked")?
    })
}

/// Raises the limit of open files for this process and what it starts.
pub(crate) fn allow_many_files() -> anyhow::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= FILES) {
        return Ok(());
    }
    let maximum = limit.maximum.map(|maximum| maximum.max(FILES));
    if setrlimit(Resource::Nofile, Rlimit { current: Some(FILES), maximum }).is_ok() {
        return Ok(());
    }
    // Not privileged: whatever is allowed.
    let most = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, most).context("raise the limit of open files")
}

/// A program on `PATH` or in the folders for administrators; `None`: not installed.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders =
        std::env::split_paths(&path).chain(["/usr/sbin", "/sbin", "/usr/local/sbin"].map(Into::into));
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// The processes that make up a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tree {
    /// None: load and upstream alone.
    Nothing,
    /// A process and all that it started.
    Of(u32),
    /// Those that run Atoll's binary for the app with this state directory: the node, its keeper, what
    /// writes logs, the wardens. Not the instances: they are the upstream.
    Atoll(PathBuf),
}

impl Tree {
    /// The process ids now.
    pub(crate) fn pids(&self) -> anyhow::Result<Vec<u32>> {
        match self {
            Self::Nothing => Ok(Vec::new()),
            Self::Of(root) => descendants(*root),
            Self::Atoll(state) => crate::bench::memory::family(state),
        }
    }
}

/// The time on a core that processes have used since they started, all their threads together. Threads
/// that have ended are not counted: proxies keep theirs.
pub(crate) fn cpu(pids: &[u32]) -> anyhow::Result<Duration> {
    let mut nanos = 0_u64;
    for pid in pids {
        let folder = format!("/proc/{pid}/task");
        let threads =
            std::fs::read_dir(&folder).with_context(|| format!("{folder}: has the proxy ended?"))?;
        for thread in threads {
            // The first number is the time on a core in nanoseconds; a thread may end meanwhile.
            let Ok(text) = std::fs::read_to_string(thread?.path().join("schedstat")) else { continue };
            let used = text.split(' ').next().and_then(|word| word.parse::<u64>().ok());
            nanos += used.with_context(|| format!("{folder}: this kernel has no schedstat"))?;
        }
    }
    Ok(Duration::from_nanos(nanos))
}

/// What has been used up to a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Used {
    /// By the proxy.
    cpu: Duration,
    /// By everybody on the proxy's core; `None`: the load is there, too.
    core: Option<Duration>,
}

impl Used {
    /// Reads both.
    pub(crate) fn until_now(pids: &[u32], cores: Cores) -> anyhow::Result<Self> {
        let apart = cores.proxy != cores.load;
        let core = if apart { Some(busy(cores.proxy)?) } else { None };
        Ok(Self { cpu: cpu(pids)?, core })
    }

    /// What was used since an earlier moment: by the proxy, and on its core.
    pub(crate) fn since(self, earlier: Self) -> (Duration, Option<Duration>) {
        let core = self.core.zip(earlier.core).map(|(now, then)| now.saturating_sub(then));
        (self.cpu.saturating_sub(earlier.cpu), core)
    }
}

/// The time a core has not been idle since the machine started.
fn busy(core: usize) -> anyhow::Result<Duration> {
    let text = std::fs::read_to_string("/proc/stat")?;
    let ticks =
        busy_ticks(&text, core).with_context(|| format!("/proc/stat does not tell of core {core}"))?;
    Ok(Duration::from_secs(ticks) / rustix::param::clock_ticks_per_second() as u32)
}

/// Of user, nice, system, idle, iowait, irq, softirq and steal all but idle and iowait.
fn busy_ticks(stat: &str, core: usize) -> Option<u64> {
    let line = stat.lines().find_map(|line| line.strip_prefix(&format!("cpu{core} ")))?;
    let ticks: Vec<u64> = line.split_whitespace().take(8).filter_map(|word| word.parse().ok()).collect();
    let idle = ticks.get(3..5)?.iter().sum::<u64>();
    Some(ticks.iter().sum::<u64>() - idle)
}

/// Resident memory of processes together, in bytes. What they share counts for each: differences are meant.
pub(crate) fn rss(pids: &[u32]) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for pid in pids {
        let path = format!("/proc/{pid}/smaps_rollup");
        let text = std::fs::read_to_string(&path).with_context(|| path.clone())?;
        let line = text.lines().find_map(|line| line.strip_prefix("Rss:"));
        let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
        bytes += kib.with_context(|| format!("{path} has no Rss"))? * 1024;
    }
    Ok(bytes)
}

/// A process and all that descend from it.
pub(crate) fn descendants(root: u32) -> anyhow::Result<Vec<u32>> {
    let mut parents = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let path = entry?.path();
        let Some(pid) = pid_of(&path) else { continue };
        let stat = std::fs::read_to_string(path.join("stat")).unwrap_or_default(); // ended meanwhile
        if let Some(parent) = parent_in(&stat) {
            parents.push((pid, parent));
        }
    }
    if !parents.iter().any(|(pid, _)| *pid == root) {
        bail!("process {root} has ended");
    }
    Ok(below(root, &parents))
}

/// `root` and what descends from it, of pairs of a process and its parent.
fn below(root: u32, parents: &[(u32, u32)]) -> Vec<u32> {
    let mut found = BTreeSet::from([root]);
    loop {
        let before = found.len();
        for (pid, parent) in parents {
            if found.contains(parent) {
                found.insert(*pid);
            }
        }
        if found.len() == before {
            return found.into_iter().collect();
        }
    }
}

fn pid_of(path: &Path) -> Option<u32> {
    path.file_name()?.to_str()?.parse().ok()
}

/// The parent's id in `/proc/PID/stat`. The name before it is in parentheses and may hold anything.
fn parent_in(stat: &str) -> Option<u32> {
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_tree_is_the_root_and_everything_below_it() {
        let parents = [(1, 0), (10, 1), (11, 10), (12, 11), (20, 1), (5, 12)];
        assert_eq!(below(10, &parents), [5, 10, 11, 12]);
        assert_eq!(parent_in("7 (a) b) S 42 7 7 0"), Some(42));
    }

    #[test]
    fn the_time_of_a_process_grows_as_it_works() {
        let mut command = std::process::Command::new("sh");
        command.args(["-c", "while :; do :; done"]);
        let core = Cores::of_this_machine().unwrap().load;
        let process = super::super::child::Process::start("sh", command, core).unwrap();
        let pids = descendants(process.pid()).unwrap();
        let give_up = std::time::Instant::now() + Duration::from_secs(20);
        while cpu(&pids).unwrap() < Duration::from_millis(5) {
            assert!(std::time::Instant::now() < give_up);
            std::thread::yield_now();
        }
        assert!(pids.contains(&process.pid()) && rss(&pids).unwrap() > 0);
    }

    #[test]
    fn a_core_is_busy_with_everything_but_waiting() {
        let stat = "cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 1 2 3 100 200 4 5 6 0 0\n";
        assert_eq!((busy_ticks(stat, 0), busy_ticks(stat, 1)), (Some(21), None));
    }

    #[test]
    fn work_on_a_core_stays_there() {
        let cores = Cores::of_this_machine().unwrap();
        let set = on_core(cores.load, || Ok(sched_getaffinity(None)?)).unwrap();
        assert_eq!((set.count(), set.is_set(cores.load)), (1, true));
    }
}
