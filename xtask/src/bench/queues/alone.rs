//! The store and the queues alone, in process and without a protocol: what the examples of their crates
//! measure, run as programs.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use serde_json::Value;

use super::Setting;
use super::figures::{Block, Figures, Goal, Metric, Round, Row};
use crate::atoll;
use crate::bench::gateway::figures::{order, progress, progress_done};
use crate::{go_on, schema};

/// A program that measures: its package, its name, what it calls things, and what it is in tables.
struct Program {
    package: &'static str,
    example: &'static str,
    /// How it names sends, and receives with deletes.
    words: [&'static str; 2],
    name: &'static str,
}

const PROGRAMS: [Program; 2] = [
    Program { package: "store", example: "store_bench", words: ["send", "pair"], name: "store" },
    Program {
        package: "pipes",
        example: "queue_bench",
        words: ["send", "receive + delete"],
        name: "queue over the store",
    },
];

/// Builds both, as published.
pub(crate) fn build(profile: &str) -> anyhow::Result<()> {
    for program in &PROGRAMS {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["build", "--profile", profile, "-p", program.package, "--example", program.example]);
        let status = cargo.current_dir(schema::root()).status().context("run cargo")?;
        ensure!(status.success(), "cargo build: {status}");
    }
    Ok(())
}

/// One object of what a program printed.
#[derive(Clone, Debug, PartialEq)]
struct Figure {
    what: String,
    in_flight: u64,
    figures: Figures,
}

/// Measures both in turns.
pub(crate) fn run(setting: &Setting) -> anyhow::Result<Vec<Block>> {
    let mut found: Vec<Vec<Vec<Figure>>> = PROGRAMS.iter().map(|_| Vec::new()).collect();
    let mut queues = (Vec::new(), Vec::new());
    for round in 0..setting.rounds {
        for index in order(PROGRAMS.len(), round) {
            go_on()?;
            progress(round, setting.rounds, PROGRAMS[index].name);
            let lines = measure(setting, &PROGRAMS[index])?;
            if let Some(opened) = lines.iter().find(|line| line["what"] == "open queues") {
                queues.0.extend(opened["open_ms"].as_f64());
                queues.1.extend(opened["bytes_each"].as_f64());
            }
            found[index].push(lines.iter().filter_map(figure).collect());
        }
    }
    progress_done();
    let mut blocks = Vec::new();
    for (word, what) in ["send", "receive + delete"].into_iter().enumerate() {
        for in_flight in [1, 16, 256] {
            let row = |(program, rounds): (&Program, &Vec<Vec<Figure>>)| Row {
                name: program.name.to_owned(),
                rounds: rounds.iter().map(|figures| of(figures, program.words[word], in_flight)).collect(),
            };
            let rows = PROGRAMS.iter().zip(&found).map(row).collect();
            let title =
                format!("in process, {what}, {in_flight} at once, messages of 1 KB; CPU with the clients");
            let mut block = Block { title, rows, ..Block::default() };
            for program in &PROGRAMS {
                judge(&mut block, program.name, word, in_flight);
            }
            println!("{block}");
            blocks.push(block);
        }
    }
    let mut block = Block { title: "in process, 100,000 queues opened".into(), ..Block::default() };
    let middle = crate::bench::gateway::figures::median;
    block.judge("time", Goal::AtMost(5000.0), middle(queues.0), "ms");
    block.judge("memory of each", Goal::AtMost(2000.0), middle(queues.1), "bytes");
    println!("{block}");
    blocks.push(block);
    Ok(blocks)
}

fn judge(block: &mut Block, name: &str, word: usize, in_flight: u64) {
    let mut goal = |metric, what: &str, goal, unit| {
        block.goal(name, metric, &format!("{name}: {what}"), goal, unit);
    };
    match (word, in_flight) {
        (0, 1) => goal(Metric::P50, "one client, p50", Goal::AtMost(0.15), "ms"),
        (0, 256) => {
            goal(Metric::Rate, "sends", Goal::AtLeast(120_000.0), "msg/s");
            goal(Metric::P99, "p99", Goal::AtMost(10.0), "ms");
            goal(Metric::Max, "max", Goal::AtMost(60.0), "ms");
        }
        (1, 256) => goal(Metric::Rate, "pairs", Goal::AtLeast(90_000.0), "msg/s"),
        _ => {}
    }
}

fn of(figures: &[Figure], what: &str, in_flight: u64) -> Round {
    let found = figures.iter().find(|figure| figure.what == what && figure.in_flight == in_flight);
    Round { figures: found.map(|figure| figure.figures.clone()).unwrap_or_default(), ..Round::default() }
}

/// Runs one program; the objects that it printed.
fn measure(setting: &Setting, program: &Program) -> anyhow::Result<Vec<Value>> {
    let binary = atoll::binary().with_file_name("examples").join(program.example);
    let folder = tempfile::tempdir_in(setting.folder())?;
    let data: PathBuf = folder.path().join("store");
    let seconds = setting.times.span.as_secs().max(1).to_string();
    let mut command = Command::new(&binary);
    command.arg("--json").arg(&data);
    if program.package == "store" {
        command.arg("fjall");
    }
    let output = command.arg(&seconds).stdin(Stdio::null()).stderr(Stdio::piped()).output();
    let output = output.with_context(|| format!("run {}", binary.display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {}: {said}", program.example, output.status);
    let text = String::from_utf8_lossy(&output.stdout);
    // Lines for people are among them.
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

fn figure(line: &Value) -> Option<Figure> {
    let number = |name: &str| line[name].as_f64();
    let figures = Figures::from([
        (Metric::Rate, number("per_s")?),
        (Metric::P50, number("p50_ms")?),
        (Metric::P99, number("p99_ms")?),
        (Metric::Max, number("max_ms")?),
        (Metric::CpuUs, number("cpu_us")?),
    ]);
    Some(Figure { what: line["what"].as_str()?.to_owned(), in_flight: line["in_flight"].as_u64()?, figures })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_by_name() {
        let line =
            r#"{"what":"send","in_flight":256,"per_s":10.5,"p50_ms":1,"p99_ms":2,"max_ms":3,"cpu_us":4}"#;
        let read = figure(&serde_json::from_str(line).unwrap()).unwrap();
        assert_eq!((read.what.as_str(), read.in_flight, read.figures[&Metric::Rate]), ("send", 256, 10.5));
        assert_eq!(of(&[read], "pair", 256).figures.len(), 0);
        assert!(figure(&serde_json::json!({ "what": "open queues", "queues": 1 })).is_none());
    }
}
