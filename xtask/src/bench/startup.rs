//! How long from `atoll up` to the first answer, when there is nothing to build and the service is ready at
//! once; and how much of that the platform itself takes.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::table::{Table, spread};
use crate::{atoll, go_on, serve};

/// How long a start may take before it is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Pause between two tries; what it adds to a figure is half of it on average.
const LOOK: Duration = Duration::from_micros(500);

/// Measures `runs` starts of each kind, in turns, so that what else the machine does hits both.
pub(crate) fn run(runs: usize, table: &mut Table) -> anyhow::Result<()> {
    let (mut bare, mut platform, mut answer) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..runs {
        go_on()?;
        bare.push(start_bare()?);
        let times = start_with_atoll()?;
        platform.push(times.platform);
        answer.push(times.answer);
    }
    let (bare, bare_text) = spread(bare);
    let (platform, platform_text) = spread(platform);
    let (answer, answer_text) = spread(answer);
    table.goal("startup: gateway answers", answer_text, "≤ 150 ms", answer.as_millis() <= 150);
    table.goal("startup: platform ready", platform_text, "≤ 50 ms", platform.as_millis() <= 50);
    table.note("startup: the service alone, without Atoll", bare_text);
    let ratio = answer.as_secs_f64() / bare.as_secs_f64();
    table.note("startup: gateway answers / service alone", format!("{ratio:.1} ×"));
    Ok(())
}

struct Times {
    platform: Duration,
    answer: Duration,
}

fn start_with_atoll() -> anyhow::Result<Times> {
    let folder = tempfile::tempdir()?;
    let (file, state) = (folder.path().join("atoll.yaml"), folder.path().join("state"));
    let port = atoll::free_port()?;
    std::fs::write(&file, app(port)?)?;
    let gateway = SocketAddr::from(([127, 0, 0, 1], port));
    let start = Instant::now();
    let mut app = atoll::Foreground::up(&file, &state)?;
    std::thread::scope(|threads| {
        let platform = threads.spawn(|| until(start, || atoll::get(&state, "/v1/node").is_ok()));
        let answer = until(start, || atoll::status_of(gateway, "/").is_ok_and(|status| status == 200));
        if let Some(status) = app.ended()? {
            anyhow::bail!("`atoll up` has ended: {status}");
        }
        let platform = platform.join().ok().context("the watch of the platform panicked")?;
        Ok(Times { platform: platform?, answer: answer? })
    })
}

fn start_bare() -> anyhow::Result<Duration> {
    let port = atoll::free_port()?;
    let start = Instant::now();
    let mut child = Command::new(std::env::current_exe()?)
        .arg(serve::VERB)
        .env("PORT", port.to_string())
        .stdin(Stdio::null())
        .spawn()?;
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let answer = until(start, || atoll::status_of(address, "/").is_ok_and(|status| status == 200));
    child.kill()?;
    child.wait()?;
    answer
}

/// The time from `start` to the first success.
fn until(start: Instant, mut success: impl FnMut() -> bool) -> anyhow::Result<Duration> {
    loop {
        if success() {
            return Ok(start.elapsed());
        }
        ensure!(start.elapsed() < PATIENCE, "nothing answers within {PATIENCE:?}");
        go_on()?;
        std::thread::sleep(LOOK);
    }
}

/// An app of one service that is ready at once.
fn app(port: u16) -> anyhow::Result<String> {
    let program = service_program()?;
    Ok(format!(
        "name: startup\n\
         services:\n  \
           web:\n    \
             command: [{program:?}, {:?}]\n    \
             routes: [GET /: {{ timeout: 5s }}]\n\
         gateway: {{ listen: 127.0.0.1:{port} }}\n",
        serve::VERB
    ))
}

/// This very program, which can be the service too.
pub(crate) fn service_program() -> anyhow::Result<String> {
    let program = std::env::current_exe()?;
    let text = Path::to_str(&program).context("the path of xtask is not UTF-8")?;
    Ok(text.replace('$', "$$")) // a `$` would be interpolated
}
