//! What a request costs a proxy in user space, counted by `callgrind` instead of timed: instructions, and how
//! often a cache does not have what is wanted. Counts are the same on a busy machine; they say why CPU time is
//! what it is, where time itself only says how much.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};

use super::figures::{Figures, Metric, Round, progress, progress_done};
use super::load::{self, Job, Times};
use super::system::System;
use super::{Setting, machine};
use crate::{go_on, schema};

/// The caches that are counted for, as `size,ways,line` in bytes: the first level of what is common, and a second
/// level of one core.
const CACHES: [&str; 3] = ["--I1=32768,8,64", "--D1=32768,8,64", "--LL=1048576,8,64"];

/// Two lengths of load: what starting and ending costs is in both, and not in their difference.
const SPANS: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(6)];

/// The same two lengths in requests, where they can be told.
const REQUESTS: [u64; 2] = [3200, 9600];

/// The program that is Atoll's data path with every policy and a thousand routes, in one process.
const EXAMPLE: &str = "request";

/// A function of its own thread alone.
const MARK: &str = "proxy::engine::h1::server::";

/// Counts of one run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Counts {
    instructions: u64,
    code_misses: u64,
    data_misses: u64,
    far_misses: u64,
}

/// `valgrind`, if it is installed.
pub(crate) fn tool() -> Option<PathBuf> {
    machine::find("valgrind")
}

/// A command that runs another under `callgrind`, which leaves its counts in `folder`.
pub(crate) fn wrapped(tool: &Path, command: &Command, folder: &Path, options: &[&str]) -> Command {
    let mut counted = Command::new(tool);
    counted.args(["--tool=callgrind", "--cache-sim=yes"]).args(CACHES);
    counted.arg(format!("--callgrind-out-file={}/callgrind.%p", folder.display()));
    counted.args(options).arg(command.get_program()).args(command.get_args());
    counted
}

/// Counts for a peer: `start` starts it under `callgrind`, its counts go to the folder that it is given.
pub(crate) fn of_peer(
    setting: &Setting,
    start: impl Fn(&Path) -> anyhow::Result<Option<System>>,
    jobs: impl Fn(&System) -> Vec<Job>,
) -> anyhow::Result<Option<(String, Round)>> {
    let mut name = String::new();
    let mut runs = Vec::new();
    for span in SPANS {
        let folder = tempfile::tempdir()?;
        let Some(system) = start(folder.path())? else { return Ok(None) };
        progress(runs.len(), SPANS.len(), &system.name);
        let times = Times { warm: Duration::ZERO, span };
        let outcome = load::run(&jobs(&system), &system.tree, times, setting.cores)?;
        name.clone_from(&system.name);
        drop(system); // writes its counts
        let answers = outcome.samples.iter().map(|sample| sample.latencies.len() as u64).sum();
        runs.push((answers, read(folder.path(), |_| true)?));
    }
    progress_done();
    Ok(Some((name, difference(&runs)?)))
}

/// Counts for the thread of Atoll that carries requests.
pub(crate) fn of_atoll(tool: &Path) -> anyhow::Result<Round> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--package", "gateway", "--example", EXAMPLE, "--profile", "profiling"]);
    let status = cargo.current_dir(schema::root()).status().context("run cargo")?;
    ensure!(status.success(), "cargo build: {status}");
    let program = schema::root().join("target/profiling/examples").join(EXAMPLE);
    let mut runs = Vec::new();
    for requests in REQUESTS {
        go_on()?;
        progress(runs.len(), REQUESTS.len(), "Atoll");
        let folder = tempfile::tempdir()?;
        let mut command = Command::new(&program);
        command.arg(requests.to_string());
        let mut counted = wrapped(tool, &command, folder.path(), &["--separate-threads=yes"]);
        let output = counted.stdin(Stdio::null()).output().context("run valgrind")?;
        ensure!(
            output.status.success(),
            "{EXAMPLE}: {}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
        runs.push((requests, read(folder.path(), |text| text.contains(MARK))?));
    }
    progress_done();
    difference(&runs)
}

/// The counts in a folder, those of all threads and processes that are `wanted` together.
fn read(folder: &Path, wanted: impl Fn(&str) -> bool) -> anyhow::Result<Counts> {
    let mut all = Counts::default();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let is_counts = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("callgrind."));
        if !is_counts {
            continue;
        }
        let text = String::from_utf8_lossy(&fs::read(&path)?).into_owned();
        if !wanted(&text) {
            continue;
        }
        let Some(counts) = parse(&text) else { continue }; // an overview of the threads' files
        all.instructions += counts.instructions;
        all.code_misses += counts.code_misses;
        all.data_misses += counts.data_misses;
        all.far_misses += counts.far_misses;
    }
    ensure!(all.instructions > 0, "callgrind has left no counts");
    Ok(all)
}

/// What a file of counts amounts to; `None`: it has none.
fn parse(text: &str) -> Option<Counts> {
    let line = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    let values: Vec<u64> = line("summary: ")?.split(' ').map(str::parse).collect::<Result<_, _>>().ok()?;
    let of = |event: &str| {
        let at = line("events: ")?.split(' ').position(|known| known == event)?;
        Some(values.get(at).copied().unwrap_or(0)) // zeros at the end are left out
    };
    Some(Counts {
        instructions: of("Ir")?,
        code_misses: of("I1mr")?,
        data_misses: of("D1mr")? + of("D1mw")?,
        far_misses: of("DLmr")? + of("DLmw")?,
    })
}

/// What one more request costs.
fn difference(runs: &[(u64, Counts)]) -> anyhow::Result<Round> {
    let [(few, less), (many, more)] = runs else { anyhow::bail!("two runs are needed") };
    ensure!(many > few, "the longer run has answered no more requests than the shorter one");
    let each = |less: u64, more: u64| (more as f64 - less as f64) / (many - few) as f64;
    let figures = Figures::from([
        (Metric::Instructions, each(less.instructions, more.instructions)),
        (Metric::CodeMisses, each(less.code_misses, more.code_misses)),
        (Metric::DataMisses, each(less.data_misses, more.data_misses)),
        (Metric::FarMisses, each(less.far_misses, more.far_misses)),
    ]);
    Ok(Round { figures, ..Round::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "version: 1\nevents: Ir Dr Dw I1mr D1mr D1mw ILmr DLmr DLmw\nfn=(1) main\n1 5\n\
                        summary: 1000 200 100 50 20 10 1 3\n";

    #[test]
    fn counts_are_found_by_the_names_of_events() {
        let counts = parse(FILE).unwrap();
        let wanted = Counts { instructions: 1000, code_misses: 50, data_misses: 30, far_misses: 3 };
        assert_eq!(counts, wanted);
        assert_eq!(parse("version: 1\n"), None);
    }

    #[test]
    fn what_two_lengths_share_is_not_counted() {
        let run = |instructions| Counts { instructions, ..Counts::default() };
        let round = difference(&[(100, run(5000)), (300, run(9000))]).unwrap();
        assert_eq!(round.figures[&Metric::Instructions], 20.0);
        assert!(difference(&[(100, run(1)), (100, run(2))]).is_err());
    }
}
