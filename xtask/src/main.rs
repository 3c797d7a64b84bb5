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
use tokio::signal::unix::{SignalKind, signal};

/// What `cargo xtask` understands.
const USAGE: &str = "\
usage: cargo xtask bench [WHAT…] [--runs N] [--rate N]
       cargo xtask bench gateway [--quick] [--only GROUP,…] [--rounds N] [--profile]
                                 [--no-build] [--format json] [--output FILE]
       cargo xtask bench queues [--quick] [--only GROUP,…] [--rounds N] [--peers NAME,…] [--install]
                                [--long] [--messages N] [--directory DIR]
                                [--no-build] [--format json] [--output FILE]
       cargo xtask schema [--check]

bench prints measured figures beside their goals and asserts nothing. WHAT is any of
  startup    from `atoll up` to the first answer; the platform itself        (--runs, default 20)
  memory     the node and its keeper with the bookshop up and idle
  restarts   the bookshop's instances restarted in turn under load           (--runs, default 200;
             --rate requests a second, default 500)
  fleet      100 services with 2 instances each: up, and `atoll check`       (--runs, default 20)
  size       the release binary
  telemetry  storing and asking, and what it adds to a request; only when
             named                                                           (--runs, default 5)
  console    first paint of each page in Chromium; only when named           (--runs, default 10)
  build      a cold release build into a folder of its own; only when named
  all        everything but `telemetry`, `console` and `build`; this is the default

bench gateway compares the data path with nginx, HAProxy and a forwarder that parses nothing, as far as
they are installed; see docs/benchmarks.md. GROUP is h1, tls, h2, grpc, latency, memory,
isolation or counts.
  --quick    one round of a second for each system, fewer idle connections: to see that it works
  --rounds   how often each system has its turn (default 5, of 3 seconds)
  --profile  where Atoll spends its time, by `perf`; builds a binary with symbols
  --no-build the binary that is there is measured
  --format json, --output FILE   figures as JSON, too (default target/bench-gateway.json)

bench queues compares queues with Redis, NATS, RabbitMQ, PostgreSQL and moto, as far as they are
installed; see docs/benchmarks.md. GROUP is alone, wire, polls, many, slow or long; the flags above, and
  --peers    some of redis, nats, rabbitmq, postgresql, moto; or none
  --install  installs the peers that are missing (Debian packages as root; moto under target/)
  --long     millions of messages too: cycles, a backlog, a restart after SIGKILL
  --messages how many these are (default 5000000)
  --directory where data goes while it runs: the disk that is measured (default target/)

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
        bench::UPSTREAM => bench::upstream(rest),
        bench::FORWARD => bench::forward(rest),
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
        let mut terminated = signal(SignalKind::terminate())?;
        let mut work = tokio::task::spawn_blocking(move || bench::run(&options));
        loop {
            tokio::select! {
                done = &mut work => return done?,
                pressed = tokio::signal::ctrl_c() => {
                    pressed?;
                    eprintln!("stopping what was started …");
                    STOP.store(true, Ordering::Relaxed);
                }
                _ = terminated.recv() => {
                    eprintln!("stopping what was started …");
                    STOP.store(true, Ordering::Relaxed);
                }
            }
        }
    })
}
