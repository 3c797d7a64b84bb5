//! `atoll version`: of this binary and of the node that runs.

use std::path::PathBuf;

use serde::Serialize;

use super::Context;
use crate::failure::{Failure, print, print_json};
use crate::flags::{AppFlags, FormatFlag};
use crate::place::Place;
use crate::show::clean;

/// The version of this binary.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Print the version of this binary and of the node, if one runs
///
/// JSON: `{version, node}`; `node` is `Node` of the admin API, or null.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct VersionArgs {
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

/// `--format json`.
#[derive(Serialize)]
struct Printed {
    version: &'static str,
    node: Option<api::Node>,
}

/// Runs the command.
pub(crate) fn run(args: VersionArgs, context: &Context) -> Result<u8, Failure> {
    let place = Place::new(args.app.after(&context.app), args.location);
    // Nothing runs, or there is no app here at all: then there is no node to tell about.
    let node = match place.client() {
        Ok(client) => context.block_on(async { Ok(client.node().await.ok()) })?,
        Err(_) => None,
    };
    if args.format.is_json() {
        print_json(&Printed { version: VERSION, node })?;
        return Ok(0);
    }
    print(&format!("atoll {VERSION}\n"))?;
    if let Some(node) = node {
        let (app, version) = (clean::text(&node.app), clean::text(&node.version));
        print(&format!("node  {version} ({app}, pid {})\n", node.pid))?;
    }
    Ok(0)
}
