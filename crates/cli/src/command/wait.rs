//! `atoll wait`: returns once services are ready.

use std::time::Duration;

use super::Context;
use crate::failure::{Failure, print, print_json};
use crate::flags::{AppFlags, FormatFlag, seconds};
use crate::place::Place;
use crate::ready::until_ready;
use crate::show::clean;

/// Wait until services are ready
///
/// Exit status 1 when one of them fails or is not ready in time.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct WaitArgs {
    /// Where the app is, then services [default: all]
    #[arg(value_name = "APP|SERVICE")]
    targets: Vec<String>,
    /// Give up after this long
    #[arg(short, long, value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<u64>,
    /// How.
    #[command(flatten)]
    format: FormatFlag,
    /// Which app.
    #[command(flatten)]
    app: AppFlags,
}

/// Runs the command.
pub(crate) fn run(args: WaitArgs, context: &Context) -> Result<u8, Failure> {
    let (place, services) = Place::of_targets(args.app.after(&context.app), &args.targets);
    let client = place.client()?;
    let limit = args.timeout.map(Duration::from_secs);
    let status = context.block_on(until_ready(&client, &services, limit))?;
    if args.format.is_json() {
        print_json(&status)?;
    } else if services.is_empty() {
        print(&format!("{} is ready\n", clean::text(&status.app)))?;
    } else {
        print(&format!("ready: {}\n", services.join(", ")))?;
    }
    Ok(0)
}
