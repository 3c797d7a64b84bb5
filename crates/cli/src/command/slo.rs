//! `atoll slo`: what is promised, and how it stands.

use api::Slo;

use super::Context;
use super::up::now;
use crate::failure::{CliError, Failure, print, print_json};
use crate::flags::{AppFlags, FormatFlag};
use crate::place::Place;
use crate::show::{Paint, clean, slos, term};

/// See what is promised of services and routes, and how it stands
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct SloArgs {
    /// What to do.
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand, Clone, Debug)]
enum What {
    /// List what is promised: how much of each budget is left, how fast it burns, what fires
    ///
    /// JSON: a list of `Slo` of the admin API.
    Ls(SloListArgs),
    /// Show a promise: every window, and how its budget burned down
    ///
    /// JSON: a list of `Slo` of the admin API.
    Show(SloShowArgs),
}

#[derive(clap::Args, Clone, Debug)]
struct SloListArgs {
    /// Of this service [default: of all]
    service: Option<String>,
    /// How.
    #[command(flatten)]
    format: FormatFlag,
    /// Which app.
    #[command(flatten)]
    app: AppFlags,
}

#[derive(clap::Args, Clone, Debug)]
struct SloShowArgs {
    /// Its name as `atoll slo ls` shows it, or as much of it: a service, a route
    #[arg(required = true)]
    name: Vec<String>,
    /// How.
    #[command(flatten)]
    format: FormatFlag,
    /// Which app.
    #[command(flatten)]
    app: AppFlags,
}

/// Runs the command.
pub(crate) fn run(args: SloArgs, context: &Context) -> Result<u8, Failure> {
    match args.what {
        What::Ls(SloListArgs { service, format, app }) => {
            let mut found = slos(context, &app)?;
            found.retain(|slo| service.as_ref().is_none_or(|service| slo.service == *service));
            if format.is_json() {
                print_json(&found)?;
            } else {
                print(&slos::list(&found, now(), term::columns(), Paint::stdout()))?;
            }
        }
        What::Show(SloShowArgs { name, format, app }) => {
            let (name, mut found) = (name.join(" "), slos(context, &app)?);
            let has =
                |slo: &Slo| name.split_whitespace().all(|word| slo.name.split(' ').any(|of| of == word));
            found.retain(has);
            if found.is_empty() {
                return Err(CliError::NoSuchSlo { name: clean::text(&name) }.into());
            }
            if format.is_json() {
                print_json(&found)?;
            } else {
                let shown: Vec<String> =
                    found.iter().map(|slo| slos::one(slo, now(), term::columns(), Paint::stdout())).collect();
                print(&shown.join("\n"))?;
            }
        }
    }
    Ok(0)
}

fn slos(context: &Context, app: &AppFlags) -> Result<Vec<Slo>, Failure> {
    let client = Place::new(app.clone().after(&context.app), None).client()?;
    context.block_on(async { Ok(client.slos().await?) })
}
