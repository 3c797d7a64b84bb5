//! `atoll restart`: restarts instances one after the other.

use super::Context;
use crate::failure::{Failure, print, print_json, remark};
use crate::flags::{AppFlags, FormatFlag};
use crate::place::Place;
use crate::show::board::counted;
use crate::show::clean;

/// Restart services or instances
///
/// One instance after the other: each is drained, stopped, started and ready again before the next one. With
/// two instances or more no request fails.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct RestartArgs {
    /// Where the app is, then services (catalog) or instances (catalog-2) [default: all]
    #[arg(value_name = "APP|TARGET")]
    targets: Vec<String>,
    /// How.
    #[command(flatten)]
    format: FormatFlag,
    /// Which app.
    #[command(flatten)]
    app: AppFlags,
}

/// Runs the command.
pub(crate) fn run(args: RestartArgs, context: &Context) -> Result<u8, Failure> {
    let (place, targets) = Place::of_targets(args.app.after(&context.app), &args.targets);
    let client = place.client()?;
    let done = context.block_on(async { Ok(client.restart(&api::Restart { targets }).await?) })?;
    if args.format.is_json() {
        print_json(&done)?;
    } else if done.instances.is_empty() {
        remark("there was nothing to restart");
    } else {
        let names = clean::text(&done.instances.join(", "));
        print(&format!("restarted {}: {names}\n", counted(done.instances.len(), "instance")))?;
    }
    Ok(0)
}
