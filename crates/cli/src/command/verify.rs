//! `atoll verify`: what is promised, tried on the user's own machine.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use node::durability::{self, Disk, EngineKind, Outcome, Report, Wanted, Work};

use crate::failure::{CliError, Failure, print, print_json, remark};
use crate::flags::FormatFlag;
use crate::show::{clean, term};

/// The hidden command of the process that is killed.
pub(crate) const WORKER: &str = "__durability";

/// Try on this machine what is promised
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct VerifyArgs {
    /// What is promised.
    #[command(subcommand)]
    what: What,
}

/// What can be tried.
#[derive(Subcommand, Clone, Debug)]
enum What {
    /// Kill a process that works on queues, again and again, and see whether all that it was told is true
    Durability {
        /// The directory whose disk is tried; what is written there is removed again
        #[arg(long, value_name = "DIR", default_value = ".")]
        dir: PathBuf,
        /// For how long
        #[arg(long = "for", value_name = "TIME", default_value = "20s", value_parser = kit::units::parse_duration)]
        time: Duration,
        /// What keeps the queues
        #[arg(long, value_enum, default_value_t = Engine::Fjall)]
        engine: Engine,
        /// Leave what was written in place
        #[arg(long)]
        keep: bool,
        /// Acknowledge what was not done, to see that it is found
        #[arg(long, hide = true)]
        lie: bool,
        /// How.
        #[command(flatten)]
        format: FormatFlag,
    },
}

/// What keeps queues.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Engine {
    /// A log-structured merge tree.
    Fjall,
    /// A B-tree in one file.
    Redb,
}

/// Runs the command.
pub(crate) fn run(args: VerifyArgs) -> Result<u8, Failure> {
    let What::Durability { dir, time, engine, keep, lie, format } = args.what;
    let directory = durability::place(&dir)?;
    let program = std::env::current_exe()
        .map_err(|source| CliError::Machine { what: "tell where this program is", source })?;
    let stop = stops()?;
    let wanted = Wanted {
        stop: Arc::clone(&stop),
        directory: directory.clone(),
        engine: match engine {
            Engine::Fjall => EngineKind::Fjall,
            Engine::Redb => EngineKind::Redb,
        },
        time,
        worker: vec![program.into(), WORKER.into()],
        lie,
    };
    let live = term::can_redraw() && !format.is_json();
    let found = durability::verify(&wanted, |kills, outcome| {
        if live {
            // A line of progress that the next one overwrites.
            eprint!("\r{kills} kills, {} messages sent and {} deleted ", outcome.sent, outcome.deleted);
        }
    });
    if live {
        eprintln!();
    }
    let kept = keep || found.is_err() || found.as_ref().is_ok_and(|report| !report.outcome.is_whole());
    if kept {
        remark(&format!("what was written is left in `{}`", clean::text(&directory.display().to_string())));
    } else {
        // Nothing of it is of use; what cannot be removed is for the user to see.
        let _ = std::fs::remove_dir_all(&directory);
    }
    let report = found?;
    if format.is_json() {
        print_json(&json(&report))?;
    } else {
        print(&table(&report))?;
    }
    if report.outcome.is_whole() {
        return Ok(if stop.load(Ordering::Relaxed) { INTERRUPTED } else { 0 });
    }
    let Outcome { lost, came_back, doubled, out_of_order, made_up, .. } = &report.outcome;
    Err(CliError::NotDurable { faults: lost + came_back + doubled + out_of_order + made_up }.into())
}

/// The status of a command that somebody ended with Ctrl-C.
const INTERRUPTED: u8 = 130;

/// Set by the first Ctrl-C or SIGTERM, after which what was found so far is told and nothing is left; the second one ends
/// everything at once.
fn stops() -> Result<Arc<AtomicBool>, Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let cannot = |source| CliError::Machine { what: "hear signals", source };
    let stop = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&stop);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(cannot)?;
    let (mut interrupt, mut term) = {
        let _on = runtime.enter();
        (signal(SignalKind::interrupt()).map_err(cannot)?, signal(SignalKind::terminate()).map_err(cannot)?)
    };
    let hear = move || {
        runtime.block_on(async {
            for seen in 0_u8.. {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = term.recv() => {}
                }
                if seen > 0 {
                    std::process::exit(INTERRUPTED.into());
                }
                set.store(true, Ordering::Relaxed);
            }
        });
    };
    std::thread::Builder::new().name("atoll-signals".into()).spawn(hear).map_err(cannot)?;
    Ok(stop)
}

fn table(report: &Report) -> String {
    let Outcome { sent, lost, deleted, came_back, doubled, out_of_order, made_up, problems } =
        &report.outcome;
    let mut text = format!("{:<10} {:>14} {:>12} {:>8}\n", "", "ACKNOWLEDGED", "KEPT", "LOST");
    for (what, acknowledged, broken) in [("sends", sent, lost), ("deletes", deleted, came_back)] {
        let kept = acknowledged.saturating_sub(*broken);
        let _ = writeln!(text, "{what:<10} {acknowledged:>14} {kept:>12} {broken:>8}");
    }
    let others = [(*doubled, "there twice"), (*out_of_order, "out of order"), (*made_up, "never sent")];
    for (count, what) in others.into_iter().filter(|(count, _)| *count > 0) {
        let _ = writeln!(text, "{count} messages {what}");
    }
    for problem in problems {
        let _ = writeln!(text, "! {problem}");
    }
    let _ = writeln!(
        text,
        "{} processes were killed; order and identities hold: {}",
        report.kills,
        yes(doubled + out_of_order == 0)
    );
    let fsync = &report.fsync;
    let millis = |time: Duration| format!("{:.3} ms", time.as_secs_f64() * 1000.0);
    let (p50, p99) = (millis(fsync.p50), millis(fsync.p99));
    let _ = writeln!(text, "fsync      p50 {p50}, p99 {p99} ({} writes of 4 KiB)", fsync.writes);
    match fsync.disk {
        Disk::Plausible => {}
        Disk::Memory => text.push_str("! this directory is in memory: nothing of it survives a loss of power\n"),
        Disk::TooFast => text.push_str(
            "! no disk is sure so soon: it, or what is before it, does not write what it calls written. A loss of power \
             loses what was acknowledged\n",
        ),
    }
    text
}

fn yes(so: bool) -> &'static str {
    if so { "yes" } else { "no" }
}

fn json(report: &Report) -> serde_json::Value {
    let Outcome { sent, lost, deleted, came_back, doubled, out_of_order, made_up, problems } =
        &report.outcome;
    let fsync = &report.fsync;
    serde_json::json!({
        "kills": report.kills,
        "sends": { "acknowledged": sent, "lost": lost },
        "deletes": { "acknowledged": deleted, "came_back": came_back },
        "doubled": doubled,
        "out_of_order": out_of_order,
        "made_up": made_up,
        "problems": problems,
        "fsync": {
            "p50_us": fsync.p50.as_micros() as u64,
            "p99_us": fsync.p99.as_micros() as u64,
            "writes": fsync.writes,
            "disk": match fsync.disk {
                Disk::Plausible => "plausible",
                Disk::Memory => "memory",
                Disk::TooFast => "too_fast",
            },
        },
    })
}

/// Runs the process that is killed: its arguments are those that [`durability::verify`] gives.
pub(crate) fn run_worker(arguments: &[OsString]) -> Result<u8, Failure> {
    let number = |text: &OsString| text.to_str().and_then(|text| text.parse().ok());
    let [store, engine, first, rest @ ..] = arguments else { return Ok(2) };
    let work = Work {
        store: store.into(),
        engine: if engine.as_os_str() == OsStr::new("redb") { EngineKind::Redb } else { EngineKind::Fjall },
        first: number(first).unwrap_or(0),
        lie: rest.first().is_some_and(|word| word == "lie"),
    };
    match durability::work(&work) {
        Err(why) => Err(Failure::rendered(format!("{why}\n"), 1)),
    }
}
