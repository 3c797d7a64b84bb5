//! How much memory an engine may use: from what it was told, or from what the machine allows this process.

use std::fs;

use crate::space::SpaceKind;

/// The memory of one engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    /// Blocks read.
    pub(crate) cache_bytes: u64,
    /// All that was written and is not in tables yet.
    pub(crate) write_buffer_bytes: u64,
}

const MIB: u64 = 1024 * 1024;

impl Share {
    /// No memtable is larger, however much memory there is: three of them, which are a fifth larger than what is counted,
    /// stay below 400 MB with all that lies around them.
    pub(crate) const MOST_MEMTABLE_BYTES: u64 = 96 * MIB;

    /// Derives it from a limit for the whole process, of which the store may take a quarter beside its cache.
    pub(crate) fn new(cache_bytes: u64, limit: u64) -> Self {
        // Two busy spaces with one memtable in use and one being flushed each fit in.
        let write_buffer_bytes = (limit / 4).clamp(32 * MIB, 3 * Self::MOST_MEMTABLE_BYTES);
        Self { cache_bytes, write_buffer_bytes }
    }

    /// Bytes of the memtable of a space of this kind.
    pub(crate) fn memtable_bytes(self, kind: SpaceKind) -> u64 {
        match kind {
            SpaceKind::WriteOnce => (self.write_buffer_bytes / 3).min(Self::MOST_MEMTABLE_BYTES),
            // Small records: in memory they are twice what is counted, and for as long as they are not flushed the
            // journal of everything that was written meanwhile is kept.
            SpaceKind::Rewritten => self.write_buffer_bytes / 12,
            SpaceKind::Quiet => self.write_buffer_bytes / 16,
        }
    }
}

/// What this process may use: the least of the limits of its control groups and the memory of the machine.
pub(crate) fn limit() -> u64 {
    let mut least = machine().unwrap_or(2048 * MIB);
    for path in group_files() {
        let text = fs::read_to_string(path).unwrap_or_default();
        if let Ok(bytes) = text.trim().parse::<u64>() {
            least = least.min(bytes);
        }
    }
    least
}

fn machine() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib = line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?;
    Some(kib * 1024)
}

/// Where limits of this process's control group and of those above it may stand.
fn group_files() -> Vec<String> {
    let mut files = vec!["/sys/fs/cgroup/memory/memory.limit_in_bytes".to_owned()];
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    if let Some(path) = groups.lines().find_map(|line| line.strip_prefix("0::")) {
        let mut path = path.trim_end_matches('/');
        loop {
            files.push(format!("/sys/fs/cgroup{path}/memory.max"));
            match path.rfind('/') {
                Some(slash) => path = &path[..slash],
                None => break,
            }
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memtables_shrink_with_the_limit_and_stay_within_the_share() {
        for (limit, once) in [(256 * MIB, 21), (1024 * MIB, 85), (2048 * MIB, 96), (65536 * MIB, 96)] {
            let share = Share::new(0, limit);
            assert_eq!(share.memtable_bytes(SpaceKind::WriteOnce) / MIB, once, "limit {limit}");
            let busy =
                2 * (share.memtable_bytes(SpaceKind::WriteOnce) + share.memtable_bytes(SpaceKind::Rewritten));
            assert!(busy <= share.write_buffer_bytes, "limit {limit}");
            assert!(share.write_buffer_bytes <= limit / 4);
        }
    }

    #[test]
    fn a_limit_is_found() {
        assert!(limit() > 16 * MIB);
    }
}
