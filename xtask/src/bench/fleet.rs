//! A hundred services of two instances each: how long until all are ready, and how long their file takes
//! to check.

use std::fmt::Write;
use std::process::Command;
use std::time::{Duration, Instant};

use super::startup::service_program;
use super::table::{Table, ms, spread};
use crate::{atoll, go_on, serve};

/// Services in the file.
const SERVICES: usize = 100;

/// Instances of each.
const REPLICAS: usize = 2;

/// Pause between two looks at the status of 200 instances; asking oftener would be work of its own.
const LOOK: Duration = Duration::from_millis(20);

/// Measures `checks` runs of `atoll check`, then the start of the whole fleet once.
pub(crate) fn run(checks: usize, table: &mut Table) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (file, state) = (folder.path().join("atoll.yaml"), folder.path().join("state"));
    std::fs::write(&file, app()?)?;

    let mut times = Vec::new();
    for _ in 0..checks {
        go_on()?;
        let mut check = Command::new(atoll::binary());
        check.arg("check").arg(&file);
        let start = Instant::now();
        atoll::succeed(check)?;
        times.push(start.elapsed());
    }
    let (median, text) = spread(times);
    table.goal("fleet: `atoll check`", text, "≤ 50 ms", median.as_millis() <= 50);

    let start = Instant::now();
    let app = atoll::Detached::up(&file, &state, &[])?;
    app.wait_ready(LOOK)?;
    let ready = start.elapsed();
    let instances = app.instances()?.len();
    let start = Instant::now();
    drop(app);
    let down = start.elapsed();
    let goal = ready.as_secs_f64() <= 5.0 && instances == SERVICES * REPLICAS;
    table.goal(&format!("fleet: {instances} instances ready"), ms(ready), "≤ 5 s", goal);
    table.note("fleet: all stopped again", ms(down));
    Ok(())
}

/// The services call their neighbours, so that there is a mesh of a hundred addresses too.
fn app() -> anyhow::Result<String> {
    let program = service_program()?;
    let mut text = String::from("name: fleet\nservices:\n");
    for index in 0..SERVICES {
        let next = (index + 1) % SERVICES;
        write!(
            text,
            "  s{index:02}:\n    \
               command: [{program:?}, {:?}]\n    \
               scale: {REPLICAS}\n    \
               healthcheck: {{ http: / }}\n    \
               routes: [GET /s{index:02}: {{ timeout: 5s }}]\n",
            serve::VERB
        )?;
        if next != 0 {
            writeln!(text, "    calls: {{ s{next:02}: {{ timeout: 1s }} }}")?;
        }
    }
    text.push_str("gateway: { listen: 127.0.0.1:0 }\n");
    Ok(text)
}
