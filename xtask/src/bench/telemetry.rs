//! What telemetry costs: storing and asking (`telemetry_bench`, an example of the crate), and what it adds to the processor time of a
//! request through the gateway.
//!
//! The latter is measured twice in turns, with `telemetry: on` and `off`, under the same even load: processor time of the node's threads by
//! name, divided by requests. Figures of one run are to be compared with each other only.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};

use super::startup::service_program;
use super::table::Table;
use crate::load::{self, Load, Shot};
use crate::{atoll, go_on, schema, serve};

/// How long each turn is under load, and before it counts.
const TURN: Duration = Duration::from_secs(5);
const WARM: Duration = Duration::from_secs(1);
/// Pause between two looks at the app's status.
const LOOK: Duration = Duration::from_millis(20);
/// Requests a second.
const RATE: f64 = 4_000.0;
/// Threads that carry requests; nothing else may stand between them and an answer.
const DATA_PATH: &str = "atoll-proxy";

/// Runs the example, then `turns` turns with telemetry on and off.
pub(crate) fn run(turns: usize, table: &mut Table) -> anyhow::Result<()> {
    let mut example = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    example.args(["run", "--release", "--quiet", "--package", "telemetry", "--example", "telemetry_bench"]);
    let status = example.current_dir(schema::root()).status().context("run cargo")?;
    ensure!(status.success(), "telemetry_bench: {status}");
    println!();

    let (mut on, mut off) = (Vec::new(), Vec::new());
    for _ in 0..turns {
        on.push(turn("on")?);
        off.push(turn("off")?);
    }
    let [with, without] = [&on, &off].map(|turns| median(turns, |turn| turn.data_path));
    let more = (with / without - 1.0) * 100.0;
    table.note("data path without telemetry", format!("{without:.2} CPU-µs a request"));
    table.note("data path with telemetry", format!("{with:.2} CPU-µs a request"));
    table.goal("telemetry costs the data path", format!("{more:+.1} %"), "≤ 5 %", more <= 5.0);
    let [with, without] = [&on, &off].map(|turns| median(turns, |turn| turn.whole));
    table.note("whole node without telemetry", format!("{without:.2} CPU-µs a request"));
    table.note("whole node with telemetry", format!("{with:.2} CPU-µs a request"));
    Ok(())
}

/// Processor time in microseconds a request.
struct Turn {
    data_path: f64,
    whole: f64,
}

fn median(turns: &[Turn], of: impl Fn(&Turn) -> f64) -> f64 {
    let mut figures: Vec<f64> = turns.iter().map(of).collect();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}

fn turn(telemetry: &str) -> anyhow::Result<Turn> {
    go_on()?;
    let folder = tempfile::tempdir()?;
    let (file, state) = (folder.path().join("atoll.yaml"), folder.path().join("state"));
    let program = service_program()?;
    let text = format!(
        "name: cost\ntelemetry: {telemetry}\nconsole: off\ngateway: {{ listen: 127.0.0.1:0 }}\nservices:\n  one:\n    \
         command: [{program:?}, {:?}]\n    healthcheck: {{ http: / }}\n    routes: [GET /: {{ timeout: 5s }}]\n",
        serve::VERB
    );
    std::fs::write(&file, text)?;
    let app = atoll::Detached::up(&file, &state, &[])?;
    app.wait_ready(LOOK)?;
    let pid = app.pid()?;
    loaded(&app, WARM)?; // caches and pools are as they stay
    let before = used(pid)?;
    let requests = loaded(&app, TURN)?;
    let after = used(pid)?;
    let each = |wanted: fn(&str) -> bool| {
        let of = |used: &BTreeMap<String, Duration>| -> Duration {
            used.iter().filter(|(name, _)| wanted(name)).map(|(_, time)| *time).sum()
        };
        of(&after).saturating_sub(of(&before)).as_secs_f64() * 1e6 / requests as f64
    };
    Ok(Turn { data_path: each(|name| name.starts_with(DATA_PATH)), whole: each(|_| true) })
}

/// Puts the app under load for so long. Gives how many requests there were.
fn loaded(app: &atoll::Detached, length: Duration) -> anyhow::Result<u64> {
    let stop = Arc::new(AtomicBool::new(false));
    let load = Load { address: app.gateway()?, rate: RATE, next, stop: Arc::clone(&stop) };
    let outcome = std::thread::scope(|threads| {
        let load = threads.spawn(|| load::run(&load));
        std::thread::sleep(length);
        stop.store(true, Ordering::Relaxed);
        load.join().ok().context("the load generator panicked")?
    })?;
    ensure!(outcome.failed() == 0, "{} requests failed", outcome.failed());
    ensure!(outcome.requests > 0, "no request was sent");
    Ok(outcome.requests)
}

fn next(_: f64, _: u64) -> Shot {
    Shot { method: "GET", path: "/".into(), body: None }
}

/// Processor time of the threads of a process, by name.
fn used(pid: u32) -> anyhow::Result<BTreeMap<String, Duration>> {
    let mut used: BTreeMap<String, Duration> = BTreeMap::new();
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let task = task?.path();
        // Nanoseconds on a core, which `stat` has in hundredths of a second only.
        let Ok(schedule) = std::fs::read_to_string(task.join("schedstat")) else { continue };
        let Ok(name) = std::fs::read_to_string(task.join("comm")) else { continue };
        let ns = schedule.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0);
        *used.entry(name.trim().to_owned()).or_default() += Duration::from_nanos(ns);
    }
    Ok(used)
}
