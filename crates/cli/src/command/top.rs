//! `atoll top`: what is used now.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::Context;
use crate::failure::{CliError, Failure, print, print_json};
use crate::flags::{AppFlags, FormatFlag};
use crate::place::Place;
use crate::show::live::Live;
use crate::show::{Paint, clean, listing, term};
use crate::signals::Signals;

/// Time between two samples of the live table.
const EVERY: Duration = Duration::from_secs(1);

/// Time between the two samples of `--once`.
const ONCE: Duration = Duration::from_millis(500);

/// Show what instances use
///
/// CPU (100 % is one core), memory, processes and requests, drawn again every second until Ctrl-C. JSON: one
/// `Usage` of the admin API, with counters since the start.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct TopArgs {
    /// Where the app is
    #[arg(value_name = "APP")]
    location: Option<PathBuf>,
    /// Print the table once
    #[arg(long)]
    once: bool,
    /// How.
    #[command(flatten)]
    format: FormatFlag,
    /// Which app.
    #[command(flatten)]
    app: AppFlags,
}

/// Runs the command.
pub(crate) fn run(args: TopArgs, context: &Context) -> Result<u8, Failure> {
    let client = Place::new(args.app.after(&context.app), args.location).client()?;
    let live = !args.once && term::can_redraw();
    let paint = Paint::stdout();
    context.block_on(async {
        let mut signals =
            Signals::catch().map_err(|source| CliError::Machine { what: "catch signals", source })?;
        let mut before = client.usage().await?;
        if args.format.is_json() {
            print_json(&before)?;
            return Ok(0);
        }
        let mut sampled = Instant::now();
        let mut screen = Live::default();
        let mut pause = ONCE; // the first table comes soon, the next ones every second
        loop {
            tokio::select! {
                _ = signals.next() => return Ok(0),
                () = tokio::time::sleep(pause) => {}
            }
            let usage = client.usage().await?;
            let apart = sampled.elapsed();
            sampled = Instant::now();
            let mut lines = listing::top(&before, &usage, apart, term::columns(), paint);
            before = usage;
            if !live {
                print(&lines.iter().map(|line| format!("{line}\n")).collect::<String>())?;
                return Ok(0);
            }
            if let Some(size) = term::size() {
                lines.truncate(size.rows.saturating_sub(1));
                lines = lines.iter().map(|line| clean::cut(line, size.columns)).collect();
            }
            print(&screen.frame("", &lines))?;
            pause = EVERY;
        }
    })
}
