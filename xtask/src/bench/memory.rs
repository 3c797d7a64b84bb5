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

    // The others run the same binary: the keeper, what writes its logs, and a warden for each instance.
    let mut others: BTreeMap<String, (u32, Memory)> = BTreeMap::new();
    for pid in family(app.state())?.into_iter().filter(|pid| *pid != node) {
        let (Ok(name), Ok(memory)) = (name(pid), memory(pid)) else { continue }; // ended meanwhile
        let kind = if name.starts_with("atoll:") { "wardens".to_owned() } else { name };
        let (count, sum) = others.entry(kind).or_default();
        *count += 1;
        sum.rss += memory.rss;
        sum.pss += memory.pss;
    }
    for (kind, (count, sum)) in others {
        let what = if count == 1 { kind } else { format!("{count} {kind}, together") };
        table.note(&format!("memory: {what}"), sum.text());
    }
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

/// The processes that run the binary for the app in `state`: their command line names its state directory.
pub(super) fn family(state: &Path) -> anyhow::Result<Vec<u32>> {
    let binary = atoll::binary().canonicalize()?;
    let state = state.to_str().context("the state directory is not UTF-8")?;
    let mut family = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        if std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == binary)
            && String::from_utf8_lossy(&line).contains(state)
        {
            family.push(pid);
        }
    }
    if family.is_empty() {
        bail!("no process of the platform was found");
    }
    Ok(family)
}

/// What a process calls itself.
fn name(pid: u32) -> anyhow::Result<String> {
    Ok(std::fs::read_to_string(format!("/proc/{pid}/comm"))?.trim().to_owned())
}
