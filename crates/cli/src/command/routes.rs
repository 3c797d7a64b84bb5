//! `atoll routes`: every way in.

use std::path::PathBuf;

use super::Context;
use crate::failure::{Failure, print, print_json};
use crate::flags::{AppFlags, FormatFlag};
use crate::place::Place;
use crate::show::{Paint, listing, term};

/// Show every way in, as the proxy has it
///
/// What the gateway takes, and the addresses at which services reach one another. JSON: a list of `Route` of
/// the admin API.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct RoutesArgs {
    /// Where the app is
    #[arg(value_name = "APP")]
    location: Option<PathBuf>,
    /// How.
    #[command(flatten)]
    format: FormatFlag,
    /// Which app.
    #[command(flatten)]
    app: AppFlags,
}

/// Runs the command.
pub(crate) fn run(args: RoutesArgs, context: &Context) -> Result<u8, Failure> {
    let client = Place::new(args.app.after(&context.app), args.location).client()?;
    let routes = context.block_on(async { Ok(client.routes().await?) })?;
    if args.format.is_json() {
        print_json(&routes)?;
    } else {
        print(&listing::routes(&routes, term::columns(), Paint::stdout()))?;
    }
    Ok(0)
}
