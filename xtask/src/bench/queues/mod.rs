//! Queues beside Redis, NATS, RabbitMQ, PostgreSQL and moto: the same messages and the same load for each, on
//! the same disk, in turns; and what only Atoll is asked: alone, with many waiting, with many queues, on a
//! slow disk, after millions of messages. Nothing is asserted.
//!
//! Read in this order: this file (what is measured), `cases` (the comparison), `figures`, `load`, then the
//! systems: `atoll`, `peers`, and how they are spoken with: `client`.

mod alone;
mod atoll;
mod cases;
mod client;
mod figures;
mod load;
mod long;
mod many;
mod peers;
mod polls;
mod slow;
mod system;
mod used;

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::json;
use tempfile::TempDir;

use crate::bench::gateway::{self, machine};
use crate::{go_on, schema};
use figures::Block;
use load::Times;
use peers::Peer;

/// Rounds unless told otherwise, and of a quick run.
const ROUNDS: usize = 3;
const QUICK_ROUNDS: usize = 1;

/// Messages of a long run unless told otherwise.
const MESSAGES: u64 = 5_000_000;

/// What to compare, and how thoroughly.
#[derive(Debug, PartialEq)]
pub(crate) struct Options {
    only: Vec<Group>,
    peers: Vec<Peer>,
    rounds: Option<usize>,
    quick: bool,
    install: bool,
    messages: u64,
    /// Measure the binary that is there.
    no_build: bool,
    /// Where data goes.
    directory: Option<PathBuf>,
    /// Where figures go as JSON.
    json: Option<PathBuf>,
}

/// What is measured together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Group {
    Alone,
    Wire,
    Polls,
    Many,
    Slow,
    Long,
}

/// All of them, in the order they run.
const ALL: [(&str, Group); 6] = [
    ("alone", Group::Alone),
    ("wire", Group::Wire),
    ("polls", Group::Polls),
    ("many", Group::Many),
    ("slow", Group::Slow),
    ("long", Group::Long),
];

impl Options {
    /// From the words after `queues`.
    pub(crate) fn parse(words: &[String]) -> anyhow::Result<Self> {
        let mut options = Self {
            only: Vec::new(),
            peers: Peer::ALL.map(|(_, peer)| peer).to_vec(),
            rounds: None,
            quick: false,
            install: false,
            messages: MESSAGES,
            no_build: false,
            directory: None,
            json: None,
        };
        let mut long = false;
        let mut words = words.iter().map(String::as_str);
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("{word} wants a value"));
            match word {
                "--quick" => options.quick = true,
                "--install" => options.install = true,
                "--long" => long = true,
                "--no-build" => options.no_build = true,
                "--rounds" => options.rounds = Some(number(word, value()?)?.try_into()?),
                "--messages" => options.messages = number(word, value()?)?,
                "--only" => options.only.extend(chosen(value()?, &ALL)?),
                "--peers" => {
                    options.peers = match value()? {
                        "none" => Vec::new(),
                        names => chosen(names, &Peer::ALL)?,
                    }
                }
                "--directory" => options.directory = Some(value()?.into()),
                "--format" => match value()? {
                    "json" => options.json = Some(options.json.unwrap_or_else(default_json)),
                    "table" => options.json = None,
                    other => bail!("--format is json or table, not {other}"),
                },
                "--output" => options.json = Some(value()?.into()),
                other => bail!("`bench queues` knows no `{other}`: see `cargo xtask help`"),
            }
        }
        if options.only.is_empty() {
            options.only.extend(ALL.map(|(_, group)| group).iter().filter(|group| **group != Group::Long));
        }
        if long && !options.only.contains(&Group::Long) {
            options.only.push(Group::Long);
        }
        Ok(options)
    }
}

fn number(word: &str, value: &str) -> anyhow::Result<u64> {
    let number = value.parse().with_context(|| format!("{word} {value}"))?;
    if number == 0 {
        bail!("{word} must be at least 1");
    }
    Ok(number)
}

/// Those of a list of names.
fn chosen<T: Copy>(names: &str, all: &[(&str, T)]) -> anyhow::Result<Vec<T>> {
    let one = |name: &str| {
        let found = all.iter().find(|(known, _)| *known == name);
        let known: Vec<_> = all.iter().map(|(known, _)| *known).collect();
        found.map(|(_, one)| *one).with_context(|| format!("no `{name}`: {}", known.join(", ")))
    };
    names.split(',').map(one).collect()
}

/// Where JSON goes unless told otherwise.
fn default_json() -> PathBuf {
    schema::root().join("target/bench-queues.json")
}

/// What all groups share.
pub(crate) struct Setting {
    /// The systems to compare with.
    pub(crate) peers: Vec<Peer>,
    /// How often each system has its turn.
    pub(crate) rounds: usize,
    /// How long it is loaded then.
    pub(crate) times: Times,
    /// How long cycles are measured in a long run.
    pub(crate) long_times: Times,
    /// Messages of a long run.
    pub(crate) messages: u64,
    /// Receives that wait.
    pub(crate) polls: usize,
    /// Queues that are made.
    pub(crate) queues: usize,
    /// Removed when dropped.
    folder: TempDir,
}

impl Setting {
    fn prepare(options: &Options) -> anyhow::Result<Self> {
        machine::allow_many_files()?;
        let parent = options.directory.clone().unwrap_or_else(|| schema::root().join("target"));
        std::fs::create_dir_all(&parent).with_context(|| format!("create {}", parent.display()))?;
        let mut named = tempfile::Builder::new();
        let folder = named.prefix("bench-queues-").tempdir_in(&parent);
        let folder = folder.with_context(|| format!("make a folder in {}", parent.display()))?;
        open_to_all(folder.path())?;
        let (warm, span) = if options.quick { (300, 1000) } else { (1000, 3000) };
        let times = Times { warm: Duration::from_millis(warm), span: Duration::from_millis(span) };
        let long = if options.quick { 2 } else { 10 };
        Ok(Self {
            peers: options.peers.clone(),
            rounds: options.rounds.unwrap_or(if options.quick { QUICK_ROUNDS } else { ROUNDS }),
            times,
            long_times: Times { warm: Duration::from_secs(1), span: Duration::from_secs(long) },
            messages: options.messages,
            polls: if options.quick { 1000 } else { 10_000 },
            queues: if options.quick { 5000 } else { 100_000 },
            folder,
        })
    }

    /// How long a queue is filled, beside what was sent, before messages are taken from it.
    pub(crate) fn filling(&self) -> Times {
        Times { warm: Duration::ZERO, span: self.times.span / 2 }
    }

    /// Where data goes.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// Lets other users pass: PostgreSQL runs as one.
fn open_to_all(folder: &Path) -> anyhow::Result<()> {
    let passable = std::fs::Permissions::from_mode(0o711);
    std::fs::set_permissions(folder, passable).with_context(|| format!("open {}", folder.display()))
}

/// Compares; each block is printed when it is done.
pub(crate) fn run(options: &Options, machine: &str) -> anyhow::Result<()> {
    crate::atoll::use_profile("dist");
    if options.install {
        peers::install(&options.peers)?;
    }
    if !options.no_build {
        gateway::build("dist")?;
        if options.only.contains(&Group::Alone) {
            alone::build("dist")?;
        }
    }
    let setting = Setting::prepare(options)?;
    let syncs = syncs(setting.folder())?;
    println!("Atoll as published, of the Cargo profile `dist`; every request signed, `access: enforce`");
    println!("server and load share all cores; the load is one thread");
    println!("{syncs}; {}\n", load_of_machine());
    let mut blocks: Vec<Block> = Vec::new();
    for group in &options.only {
        go_on()?;
        // One group that cannot be measured is no reason to lose the others.
        match measure(*group, &setting) {
            Ok(found) => blocks.extend(found),
            Err(error) => {
                go_on()?;
                let title = ALL.iter().find(|(_, one)| one == group).map_or("", |(name, _)| *name);
                let notes = vec![format!("not measured: {error:#}")];
                let block = Block { title: title.to_owned(), notes, ..Block::default() };
                println!("{block}");
                blocks.push(block);
            }
        }
    }
    if let Some(file) = &options.json {
        let all: Vec<_> = blocks.iter().map(Block::json).collect();
        let report = json!({
            "machine": machine,
            "profile": "dist",
            "disk": syncs,
            "load": load_of_machine(),
            "rounds": setting.rounds,
            "seconds": setting.times.span.as_secs_f64(),
            "blocks": all,
        });
        std::fs::write(file, serde_json::to_string_pretty(&report)?)
            .with_context(|| format!("write {}", file.display()))?;
        println!("figures as JSON: {}", file.display());
    }
    Ok(())
}

fn measure(group: Group, setting: &Setting) -> anyhow::Result<Vec<Block>> {
    match group {
        Group::Alone => alone::run(setting),
        Group::Wire => cases::compare(setting),
        Group::Polls => polls::run(setting),
        Group::Many => many::run(setting),
        Group::Slow => match slow::library(setting.folder())? {
            Some(library) => cases::compare_slow(setting, &library),
            None => bail!("there is no C compiler to make syncs slower with"),
        },
        Group::Long => long::run(setting),
    }
}

/// How long a sync takes here: what every durable answer waits for.
fn syncs(folder: &Path) -> anyhow::Result<String> {
    let mut file = std::fs::File::create(folder.join("sync"))?;
    let mut times = Vec::new();
    for _ in 0..200 {
        file.write_all(&[b'x'; client::BODY])?;
        let begin = Instant::now();
        file.sync_data()?;
        times.push(begin.elapsed());
    }
    times.sort_unstable();
    let ms = |share| crate::load::quantile(&times, share).as_secs_f64() * 1e3;
    Ok(format!("1 KB more and `fdatasync`: p50 {:.2} ms, p99 {:.2} ms", ms(0.5), ms(0.99)))
}

/// Who else is busy.
fn load_of_machine() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!("load of the machine: {}", text.split(' ').next().unwrap_or("unknown"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> anyhow::Result<Options> {
        Options::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn all_but_the_long_ones_run_unless_named() {
        let all = parse("").unwrap();
        assert_eq!((all.only.len(), all.peers.len(), all.messages), (5, 5, MESSAGES));
        assert!(parse("--long").unwrap().only.contains(&Group::Long));
        let some =
            parse("--only wire --peers redis,nats --rounds 2 --quick --format json --messages 7").unwrap();
        assert_eq!((some.only, some.peers), (vec![Group::Wire], vec![Peer::Redis, Peer::Nats]));
        assert_eq!((some.rounds, some.messages, some.json.is_some()), (Some(2), 7, true));
        assert!(parse("--peers none").unwrap().peers.is_empty());
        for bad in ["--only h1", "--peers kafka", "--rounds 0", "--messages x", "--format xml", "fast"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
