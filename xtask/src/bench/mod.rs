//! Every figure that Atoll promises, measured on this machine and printed beside its goal. Nothing is
//! asserted: machines differ, and a figure that is missed is for people to look at.

mod console;
mod fleet;
mod gateway;
mod memory;
mod queues;
mod restarts;
mod size;
mod startup;
mod table;
mod telemetry;

use anyhow::{Context, bail};

use crate::atoll;
pub(crate) use gateway::floor::{VERB as FORWARD, run as forward};
pub(crate) use gateway::upstream::{VERB as UPSTREAM, run as upstream};
use table::Table;

/// What to measure, and how often.
#[derive(Debug, PartialEq)]
pub(crate) struct Options {
    what: Vec<What>,
    runs: Option<usize>,
    rate: f64,
    gateway: Option<gateway::Options>,
    queues: Option<queues::Options>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Startup,
    Memory,
    Restarts,
    Fleet,
    Size,
    Telemetry,
    Console,
    Build,
}

/// Everything that is measured without being named: quick ones first.
const ALL: [What; 5] = [What::Size, What::Startup, What::Memory, What::Fleet, What::Restarts];

/// Requests a second while instances are restarted, unless told otherwise.
const RATE: f64 = 500.0;

impl Options {
    /// From the words after `bench`.
    pub(crate) fn parse(words: &[String]) -> anyhow::Result<Self> {
        let mut options = Self { what: Vec::new(), runs: None, rate: RATE, gateway: None, queues: None };
        if let Some(place) = words.iter().position(|word| word == "gateway") {
            // It takes minutes and has flags of its own: it runs alone.
            if place > 0 {
                bail!("`bench gateway` is measured by itself");
            }
            options.gateway = Some(gateway::Options::parse(&words[1..])?);
            return Ok(options);
        }
        if let Some(place) = words.iter().position(|word| word == "queues") {
            if place > 0 {
                bail!("`bench queues` is measured by itself");
            }
            options.queues = Some(queues::Options::parse(&words[1..])?);
            return Ok(options);
        }
        let mut words = words.iter().map(String::as_str);
        while let Some(word) = words.next() {
            let mut number = || -> anyhow::Result<usize> {
                let value = words.next().with_context(|| format!("{word} wants a number"))?;
                let number = value.parse().with_context(|| format!("{word} {value}"))?;
                if number == 0 {
                    bail!("{word} must be at least 1");
                }
                Ok(number)
            };
            match word {
                "startup" => options.what.push(What::Startup),
                "memory" => options.what.push(What::Memory),
                "restarts" => options.what.push(What::Restarts),
                "fleet" => options.what.push(What::Fleet),
                "size" => options.what.push(What::Size),
                "telemetry" => options.what.push(What::Telemetry),
                "console" => options.what.push(What::Console),
                "build" => options.what.push(What::Build),
                "all" => options.what.extend(ALL),
                "--runs" => options.runs = Some(number()?),
                "--rate" => options.rate = number()? as f64,
                other => bail!("`bench` knows no `{other}`: see `cargo xtask help`"),
            }
        }
        if options.what.is_empty() {
            options.what.extend(ALL);
        }
        Ok(options)
    }
}

/// Measures in the order asked for; each block is printed when it is done.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    println!("{}\n", machine());
    if let Some(gateway) = &options.gateway {
        return gateway::run(gateway, &machine());
    }
    if let Some(queues) = &options.queues {
        return queues::run(queues, &machine());
    }
    if options.what.iter().any(|what| *what != What::Build) {
        // As the bookshop's `prepare` does, which would build it anew for other features.
        atoll::build(&["cli", "bookshop"])?;
    }
    for what in &options.what {
        let mut table = Table::default();
        match what {
            What::Startup => startup::run(options.runs.unwrap_or(20), &mut table)?,
            What::Memory => memory::run(&mut table)?,
            What::Restarts => restarts::run(options.runs.unwrap_or(200), options.rate, &mut table)?,
            What::Fleet => fleet::run(options.runs.unwrap_or(20), &mut table)?,
            What::Size => size::binary(&mut table)?,
            What::Telemetry => telemetry::run(options.runs.unwrap_or(5), &mut table)?,
            What::Console => console::run(options.runs.unwrap_or(10), &mut table)?,
            What::Build => size::build(&mut table)?,
        }
        println!("{table}");
    }
    Ok(())
}

/// The machine, because figures mean nothing without it.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let processors = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{cores} cores, {}, Linux {}", model.map_or("processor unknown", |(_, name)| name), kernel.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> anyhow::Result<Options> {
        Options::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn without_a_name_everything_but_the_build_is_measured() {
        let options = parse("--runs 3").unwrap();
        assert_eq!((options.what.len(), options.runs), (5, Some(3)));
        assert!(!options.what.contains(&What::Build));
        assert_eq!(parse("build fleet").unwrap().what, [What::Build, What::Fleet]);
        for bad in ["everything", "--runs", "--runs 0", "--rate x"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
