//! How soon pages of the console are painted: in a real browser, over the bookshop, with nothing cached. The browser is driven by the same
//! script that tests the console.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

use super::table::{Table, ms, spread};
use crate::{atoll, schema};

/// What is promised of every page: the first paint, the server's part, everything it loads.
const PAINT: Duration = Duration::from_millis(300);
const SERVER: Duration = Duration::from_millis(50);
const BYTES: u64 = 150 * 1024;
/// Pause between two looks at the app's status.
const LOOK: Duration = Duration::from_millis(50);

pub(super) fn run(runs: usize, table: &mut Table) -> anyhow::Result<()> {
    let Some(python) = python().filter(|_| starts("chromium")) else {
        bail!("this needs Chromium and a Python with `websockets`: `.ci/run tools` installs both");
    };
    let folder = tempfile::tempdir()?;
    let app = atoll::Detached::up(&atoll::bookshop(), &folder.path().join("state"), &[])?;
    app.wait_ready(LOOK)?;
    let login =
        atoll::command("console", app.state()).args(["--format", "json"]).stdout(Stdio::piped()).output()?;
    let login: Value = serde_json::from_slice(&login.stdout).context("`atoll console` prints no login")?;
    let wish = json!({
        "operator": login["url"],
        "gateway": format!("http://{}", app.gateway()?),
        "screens": folder.path(),
        "measure": runs,
    });
    let mut visit = Command::new(python);
    visit.arg(schema::root().join("crates/cli/tests/console/visit.py")).arg(wish.to_string());
    let visited =
        visit.env("HOME", folder.path()).stdin(Stdio::null()).output().context("visit the console")?;
    let said = String::from_utf8_lossy(&visited.stdout);
    ensure!(visited.status.success(), "{said}\n{}", String::from_utf8_lossy(&visited.stderr));
    let figures = said.lines().find_map(|line| serde_json::from_str::<Value>(line).ok());
    let pages =
        figures.as_ref().and_then(|figures| figures.as_array()).context("the visit says no figures")?;
    let mut slowest = Duration::ZERO;
    for page in pages {
        let times = |what: &str| -> Vec<Duration> {
            let all = page[what].as_array().into_iter().flatten().filter_map(Value::as_f64);
            all.map(|ms| Duration::from_secs_f64(ms.max(0.0) / 1000.0)).collect()
        };
        let name = page["page"].as_str().unwrap_or_default();
        let (paint, told) = spread(times("paint"));
        table.goal(&format!("{name}: first paint"), told, "≤ 300 ms", paint <= PAINT);
        let (server, told) = spread(times("server"));
        table.goal(&format!("{name}: the server's part"), told, "≤ 50 ms", server <= SERVER);
        let bytes = page["bytes"].as_u64().unwrap_or(u64::MAX);
        table.goal(
            &format!("{name}: all that it loads"),
            format!("{:.1} KB", bytes as f64 / 1024.0),
            "≤ 150 KB",
            bytes <= BYTES,
        );
        slowest = slowest.max(paint);
    }
    table.goal("the slowest page: first paint", ms(slowest), "≤ 300 ms", slowest <= PAINT);
    Ok(())
}

/// The one beside the build, else the usual one.
fn python() -> Option<PathBuf> {
    let complete = |python: &PathBuf| {
        let told = Command::new(python).args(["-c", "import websockets"]).stderr(Stdio::null()).status();
        told.is_ok_and(|status| status.success())
    };
    [schema::root().join("target/clients-python/bin/python"), "python3".into()].into_iter().find(complete)
}

fn starts(program: &str) -> bool {
    Command::new(program).arg("--version").stdin(Stdio::null()).output().is_ok()
}
