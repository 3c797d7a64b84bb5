//! What the platform holds in memory with the bookshop up and idle. Services themselves do not count.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};

use super::table::{Table, mb};
use crate::{atoll, go_on};

/// How long the app is left alone before memory is read: start-up work is over, caches are warm.
const SETTLE: Duration = Duration::from_secs(5);

/// Pause between two looks at the app's status.
const LOOK: Duration = Duration::from_millis(50);

/// Reads the memory of every process of the platform.
pub(crate) fn run(table: &mut Table) -> anyhow::Result<()> {
    atoll::build(&["bookshop"])?;
    let folder = tempfile::tempdir()?;
    let app = atoll::Detached::up(&atoll::bookshop(), &folder.path().join("state"), &[])?;
    app.wait_ready(LOOK)?;
    let end = std::time::Instant::now() + SETTLE;
    while std::time::Instant::now() < end {
        go_on()?;
        std::thread::sleep(LOOK);
    }
    let node = app.pid()?;
    let of_node = memory(node)?;
    let goal = "≤ 25 MB RSS";
    table.goal("memory: node", of_node.text(), goal, of_node.rss <= 25_000_000);

    // The others run the same binary: a keeper, and below it one warden for each instance.
    let family = family(app.state())?;
    let below =
        |pid: &u32| family.get(pid).is_some_and(|parent| *parent != node && family.contains_key(parent));
    let mut wardens = Memory::default();
    let mut count = 0;
    for pid in family.keys().filter(|pid| **pid != node) {
        let Ok(memory) = memory(*pid) else { continue }; // ended meanwhile
        if below(pid) {
            count += 1;
            wardens.rss += memory.rss;
            wardens.pss += memory.pss;
        } else {
            table.note("memory: keeper", memory.text());
        }
    }
    table.note(&format!("memory: {count} wardens, together"), wardens.text());
    Ok(())
}

/// Memory of a process, in bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Memory {
    /// Resident.
    rss: u64,
    /// Resident, pages shared with others counted in part.
    pss: u64,
}

impl Memory {
    fn text(self) -> String {
        format!("{} RSS, {} PSS", mb(self.rss), mb(self.pss))
    }
}

fn memory(pid: u32) -> anyhow::Result<Memory> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = std::fs::read_to_string(&path).with_context(|| path.clone())?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
        kib.map(|kib| kib * 1024).with_context(|| format!("{path} has no {name}"))
    };
    Ok(Memory { rss: field("Rss")?, pss: field("Pss")? })
}

/// The processes that run the binary for the app in `state`, with the parent of each: those whose command
/// line names its state directory, and their children with the same binary.
fn family(state: &Path) -> anyhow::Result<BTreeMap<u32, u32>> {
    let binary = atoll::binary().canonicalize()?;
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        if std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == binary)
            && let Some(parent) = parent(pid)
        {
            all.insert(pid, parent);
        }
    }
    let state = state.to_str().context("the state directory is not UTF-8")?;
    let names_state = |pid: u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(state)
    };
    let mut family: BTreeMap<u32, u32> =
        all.iter().filter(|(pid, _)| names_state(**pid)).map(|(pid, parent)| (*pid, *parent)).collect();
    loop {
        let more: Vec<_> = all
            .iter()
            .filter(|(pid, parent)| family.contains_key(parent) && !family.contains_key(pid))
            .map(|(pid, parent)| (*pid, *parent))
            .collect();
        if more.is_empty() {
            break;
        }
        family.extend(more);
    }
    if family.is_empty() {
        bail!("no process of the platform was found");
    }
    Ok(family)
}

fn parent(pid: u32) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse().ok())
}
