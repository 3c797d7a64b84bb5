//! Chores of the repository: `cargo xtask bench` prints what Atoll measures against its goals,
//! `cargo xtask schema` writes the JSON Schema of the application file.
//!
//! Read in this order: [`bench`] (which figures there are), `load` (the load generator), `atoll` (a running
//! app under measurement), `serve` (the smallest service there can be).

mod atoll;
mod bench;
mod load;
mod schema;
mod serve;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::bail;

/// What `cargo xtask` understands.
const USAGE: &str = "\
usage: cargo xtask bench [WHAT…] [--runs N] [--rate N]
       cargo xtask schema [--check]

bench prints measured figures beside their goals and asserts nothing. WHAT is any of
  startup    from `atoll up` to the first answer; the platform itself        (--runs, default 20)
  memory     the node and its keeper with the bookshop up and idle
  restarts   the bookshop's instances restarted in turn under load           (--runs, default 200;
             --rate requests a second, default 500)
  fleet      100 services with 2 instances each: up, and `atoll check`       (--runs, default 20)
  size       the release binary
  build      a cold release build into a folder of its own; only when named
  all        everything but `build`; this is the default

schema writes docs/atoll.schema.json from the types; with --check it only compares.";

/// Set by Ctrl-C: every measurement looks at it between steps and winds up.
static STOP: AtomicBool = AtomicBool::new(false);

/// Ends a measurement that somebody has interrupted, so that what it started is stopped on the way out.
fn go_on() -> anyhow::Result<()> {
    if STOP.load(Ordering::Relaxed) {
        bail!("interrupted");
    }
    Ok(())
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> anyhow::Result<()> {
    let Some((verb, rest)) = arguments.split_first() else {
        println!("{USAGE}");
        return Ok(());
    };
    match verb.as_str() {
        "bench" => interruptible(bench::Options::parse(rest)?),
        "schema" => schema::run(rest),
        serve::VERB => serve::run(),
        "help" | "--help" | "-h" => {
            println!("{USAGE}");
            Ok(())
        }
        other => bail!("there is no `{other}`\n{USAGE}"),
    }
}

/// Runs the measurements on a thread of their own, so that this one can hear Ctrl-C.
fn interruptible(options: bench::Options) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut work = tokio::task::spawn_blocking(move || bench::run(&options));
        loop {
            tokio::select! {
                done = &mut work => return done?,
                pressed = tokio::signal::ctrl_c() => {
                    pressed?;
                    eprintln!("stopping what was started …");
                    STOP.store(true, Ordering::Relaxed);
                }
            }
        }
    })
}
