//! The data path beside nginx, HAProxy and a forwarder that parses nothing: the same load and the same
//! upstream for each, the proxy on one core, load and upstream on another, in turns. Nothing is asserted.
//!
//! Read in this order: this file (what is measured), `groups` (each comparison), `figures` (what figures
//! amount to), `load`, then the systems: `app` (Atoll), `peers`, `floor`, `upstream`.

mod app;
mod certificate;
pub(crate) mod child;
mod counts;
pub(crate) mod figures;
pub(crate) mod floor;
mod groups;
mod load;
pub(crate) mod machine;
mod peers;
mod profile;
mod system;
mod token;
pub(crate) mod upstream;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::json;
use tempfile::TempDir;

use crate::{atoll, schema};
use certificate::Certificate;
use child::Process;
use figures::Block;
use load::Times;
use machine::Cores;

/// Bearer tokens in use: one for each connection.
const TOKENS: usize = 64;

/// Rounds unless told otherwise.
const ROUNDS: usize = 5;

/// Rounds of a quick run.
const QUICK_ROUNDS: usize = 1;

/// What to compare, and how thoroughly.
#[derive(Debug, PartialEq)]
pub(crate) struct Options {
    only: Vec<Group>,
    rounds: Option<usize>,
    quick: bool,
    profile: bool,
    /// Measure the binary that is there.
    no_build: bool,
    /// Where figures go as JSON.
    json: Option<PathBuf>,
}

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    Http1,
    Tls,
    Http2,
    Grpc,
    Latency,
    Memory,
    Isolation,
    Counts,
}

/// All of them, in the order they run.
const ALL: [(&str, Group); 8] = [
    ("h1", Group::Http1),
    ("tls", Group::Tls),
    ("h2", Group::Http2),
    ("grpc", Group::Grpc),
    ("latency", Group::Latency),
    ("memory", Group::Memory),
    ("isolation", Group::Isolation),
    ("counts", Group::Counts),
];

impl Options {
    /// From the words after `gateway`.
    pub(crate) fn parse(words: &[String]) -> anyhow::Result<Self> {
        let mut options = Self {
            only: Vec::new(),
            rounds: None,
            quick: false,
            profile: false,
            no_build: false,
            json: None,
        };
        let mut words = words.iter().map(String::as_str);
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("{word} wants a value"));
            match word {
                "--quick" => options.quick = true,
                "--profile" => options.profile = true,
                "--no-build" => options.no_build = true,
                "--rounds" => {
                    let rounds = value()?.parse().context("--rounds wants a number")?;
                    if rounds == 0 {
                        bail!("--rounds must be at least 1");
                    }
                    options.rounds = Some(rounds);
                }
                "--only" => {
                    for name in value()?.split(',') {
                        let group = ALL.iter().find(|(known, _)| *known == name);
                        let names = ALL.map(|(known, _)| known).join(", ");
                        let (_, group) = group.with_context(|| format!("no group `{name}`: {names}"))?;
                        options.only.push(*group);
                    }
                }
                "--format" => match value()? {
                    "json" => options.json = Some(options.json.unwrap_or_else(default_json)),
                    "table" => options.json = None,
                    other => bail!("--format is json or table, not {other}"),
                },
                "--output" => options.json = Some(value()?.into()),
                other => bail!("`bench gateway` knows no `{other}`: see `cargo xtask help`"),
            }
        }
        if options.only.is_empty() {
            options.only.extend(ALL.map(|(_, group)| group));
        }
        Ok(options)
    }
}

/// Where JSON goes unless told otherwise.
fn default_json() -> PathBuf {
    schema::root().join("target/bench-gateway.json")
}

/// What all comparisons share.
pub(crate) struct Setting {
    /// Who runs where.
    pub(crate) cores: Cores,
    /// Where the instances of the upstream listen that the peers share.
    pub(crate) upstreams: Vec<SocketAddr>,
    /// The key set that checks the tokens.
    pub(crate) jwks: PathBuf,
    /// Bearer tokens.
    pub(crate) tokens: Vec<String>,
    /// For TLS.
    pub(crate) certificate: Certificate,
    /// How long each system is loaded in a round.
    pub(crate) times: Times,
    /// How often each system has its turn.
    pub(crate) rounds: usize,
    /// Connections that idle.
    pub(crate) idle: usize,
    /// Connections that idle behind TLS.
    pub(crate) idle_tls: usize,
    /// Whether to look where the time goes.
    pub(crate) profile: bool,
    /// Ended when dropped.
    _instances: Vec<Process>,
    /// Removed when dropped.
    _folder: TempDir,
}

impl Setting {
    fn prepare(options: &Options) -> anyhow::Result<Self> {
        machine::allow_many_files()?;
        let cores = Cores::of_this_machine()?;
        let folder = tempfile::tempdir()?;
        let issuer = token::Issuer::new()?;
        let jwks = folder.path().join("jwks.json");
        std::fs::write(&jwks, issuer.jwks())?;
        let tokens = (0..TOKENS).map(|n| issuer.token(&format!("user-{n}"))).collect::<Result<_, _>>()?;
        let (mut instances, mut upstreams) = (Vec::new(), Vec::new());
        for _ in 0..app::INSTANCES {
            let port = atoll::free_port()?;
            let mut command = Command::new(std::env::current_exe()?);
            command.args([upstream::VERB, &cores.load.to_string()]).env("PORT", port.to_string());
            command.env_remove("HOST").stdout(Stdio::null());
            let mut process = Process::start("the upstream", command, cores.load)?;
            let address = SocketAddr::from(([127, 0, 0, 1], port));
            process.wait_listening(address)?;
            instances.push(process);
            upstreams.push(address);
        }
        let (warm, span) = if options.quick { (200, 1000) } else { (500, 3000) };
        let times = Times { warm: Duration::from_millis(warm), span: Duration::from_millis(span) };
        Ok(Self {
            cores,
            upstreams,
            jwks,
            tokens,
            certificate: Certificate::make(folder.path())?,
            times,
            rounds: options.rounds.unwrap_or(if options.quick { QUICK_ROUNDS } else { ROUNDS }),
            idle: if options.quick { 1000 } else { 10_000 },
            idle_tls: if options.quick { 500 } else { 2000 },
            profile: options.profile,
            _instances: instances,
            _folder: folder,
        })
    }
}

/// Compares; each block is printed when it is done.
pub(crate) fn run(options: &Options, machine: &str) -> anyhow::Result<()> {
    // As published, for nginx and HAProxy come optimised by their distribution as well.
    let profile = if options.profile { "profiling" } else { "dist" };
    atoll::use_profile(profile);
    if !options.no_build {
        build(profile)?;
    }
    let setting = Setting::prepare(options)?;
    let Cores { proxy, load } = setting.cores;
    println!("Atoll as published, of the Cargo profile `{profile}`: fat LTO, one codegen unit");
    println!("proxy on core {proxy}; load and upstream on core {load}");
    if proxy == load {
        println!(
            "there is a single core: proxy, load and upstream share it, so only CPU per request means something"
        );
    }
    for program in ["nginx", "haproxy"] {
        if machine::find(program).is_none() {
            println!("{program} is not installed: its rows are left out");
        }
    }
    println!();
    let mut blocks: Vec<Block> = Vec::new();
    for group in &options.only {
        let found = groups::run(*group, &setting)?;
        for block in &found {
            println!("{block}");
        }
        blocks.extend(found);
    }
    if let Some(file) = &options.json {
        let all: Vec<_> = blocks.iter().map(Block::json).collect();
        let report = json!({
            "machine": machine,
            "profile": profile,
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

/// Builds the binary under comparison, showing what cargo does.
pub(crate) fn build(profile: &str) -> anyhow::Result<()> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--package", "cli", "--profile", profile]).current_dir(schema::root());
    let status = cargo.status().context("run cargo")?;
    if !status.success() {
        bail!("cargo build: {status}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> anyhow::Result<Options> {
        Options::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn groups_are_named_and_all_run_otherwise() {
        assert_eq!(parse("").unwrap().only.len(), ALL.len());
        let some = parse("--only tls,h1 --rounds 2 --quick --format json").unwrap();
        assert_eq!((some.only, some.rounds, some.quick), (vec![Group::Tls, Group::Http1], Some(2), true));
        assert!(some.json.is_some());
        for bad in ["--only h3", "--rounds 0", "--format xml", "fast", "--only"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
