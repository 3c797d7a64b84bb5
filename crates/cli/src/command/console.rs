//! `atoll console`: a way into the web console.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use api::{ConsoleRole, OpenConsole};
use clap::ValueEnum;

use super::Context;
use super::up::now;
use crate::failure::{CliError, Failure, print, print_json, remark};
use crate::flags::{AppFlags, FormatFlag};
use crate::place::Place;
use crate::show::{clean, time};

/// What somebody may do in the console.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum RoleFlag {
    /// Look
    Viewer,
    /// Look, restart, scale, hold breakers, send, purge
    Operator,
}

/// Get into the web console
///
/// Prints an address that is good for one login within ten minutes, and lasts for as long as a browser session of twelve
/// hours. JSON: `ConsoleLogin` of the admin API.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct ConsoleArgs {
    /// Where the app is [default: here]
    #[arg(value_name = "APP")]
    place: Option<std::path::PathBuf>,
    /// What whoever logs in may do
    #[arg(long, value_enum, default_value_t = RoleFlag::Operator)]
    role: RoleFlag,
    /// Open it in the browser, with `xdg-open`
    #[arg(long)]
    open: bool,
    /// How.
    #[command(flatten)]
    format: FormatFlag,
    /// Which app.
    #[command(flatten)]
    app: AppFlags,
}

/// Runs the command.
pub(crate) fn run(args: ConsoleArgs, context: &Context) -> Result<u8, Failure> {
    let place = Place::new(args.app.after(&context.app), args.place);
    let client = place.client()?;
    let role = match args.role {
        RoleFlag::Viewer => ConsoleRole::Viewer,
        RoleFlag::Operator => ConsoleRole::Operator,
    };
    let login = context.block_on(async { Ok(client.open_console(&OpenConsole { role }).await?) })?;
    if args.format.is_json() {
        print_json(&login)?;
    } else {
        print(&format!("{}\n", clean::text(&login.url)))?;
        remark(&format!("good for one login within {}", time::span(login.expires_at.since(now()))));
    }
    if args.open {
        // It goes on without this command, in a group of its own: Ctrl-C here does not close a browser.
        let mut browser = Command::new("xdg-open");
        browser.arg(&login.url).process_group(0);
        browser.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        browser.spawn().map_err(CliError::NoBrowser)?;
    }
    Ok(0)
}
