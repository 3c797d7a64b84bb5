//! `atoll graph`: who calls whom.

use api::Range;

use super::Context;
use super::up::now;
use crate::failure::{Failure, print, print_json};
use crate::flags::{AppFlags, FormatFlag};
use crate::place::Place;
use crate::show::{Paint, numbers, term, time};

/// Show who calls whom: how often, how many calls failed, how long they took
///
/// JSON: `Graph` of the admin API.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct GraphArgs {
    /// What happened after this: so long ago (10m), or a time (2026-01-31T12:00:00Z)
    #[arg(long, value_name = "TIME", value_parser = |text: &str| time::since(text, now()), default_value = "15m")]
    since: kit::Timestamp,
    /// How.
    #[command(flatten)]
    format: FormatFlag,
    /// Which app.
    #[command(flatten)]
    app: AppFlags,
}

/// Runs the command.
pub(crate) fn run(args: GraphArgs, context: &Context) -> Result<u8, Failure> {
    let GraphArgs { since, format, app } = args;
    let client = Place::new(app.after(&context.app), None).client()?;
    let range = Range { since: Some(since), until: None };
    let graph = context.block_on(async { Ok(client.graph(&range).await?) })?;
    if format.is_json() {
        print_json(&graph)?;
    } else {
        print(&numbers::graph(&graph, term::columns(), Paint::stdout()))?;
    }
    Ok(0)
}
