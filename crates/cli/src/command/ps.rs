//! `atoll ps`: what runs.

use super::Context;
use super::up::now;
use crate::failure::{Failure, print, print_json};
use crate::flags::{AppFlags, FormatFlag};
use crate::place::Place;
use crate::ready::no_such_service;
use crate::show::{Paint, clean, guards, listing, slos, term};

/// Show what runs
///
/// One line per instance, and one per service that has none, with the reason. Below it, a line for each breaker
/// that is not closed, each queue, and each instance that is passed over for its failures. JSON: `Status` of the
/// admin API.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct PsArgs {
    /// Where the app is, then services [default: all]
    #[arg(value_name = "APP|SERVICE")]
    targets: Vec<String>,
    /// Names of services only
    #[arg(long)]
    services: bool,
    /// Names of instances only
    #[arg(short, long)]
    quiet: bool,
    /// How.
    #[command(flatten)]
    format: FormatFlag,
    /// Which app.
    #[command(flatten)]
    app: AppFlags,
}

/// Runs the command.
pub(crate) fn run(args: PsArgs, context: &Context) -> Result<u8, Failure> {
    let (place, services) = Place::of_targets(args.app.after(&context.app), &args.targets);
    let client = place.client()?;
    let mut status = context.block_on(async { Ok(client.status().await?) })?;
    let reads = !(args.services || args.quiet || args.format.is_json());
    // Whoever cannot say what fires still says what runs.
    let alerts = context
        .block_on(async { Ok(if reads { client.alerts().await.unwrap_or_default() } else { Vec::new() }) })?;
    for name in &services {
        if !status.services.iter().any(|service| service.name == *name) {
            return Err(no_such_service(name, status.services.iter().map(|s| s.name.as_str())).into());
        }
    }
    if !services.is_empty() {
        status.services.retain(|service| services.contains(&service.name));
        status.guards.retain(|guard| services.contains(&guard.service));
    }
    let names: Option<Vec<&String>> = match (args.services, args.quiet) {
        (true, _) => Some(status.services.iter().map(|service| &service.name).collect()),
        (false, true) => Some(status.services.iter().flat_map(|s| &s.instances).map(|i| &i.name).collect()),
        (false, false) => None,
    };
    match (names, args.format.is_json()) {
        (Some(names), true) => print_json(&names)?,
        (Some(names), false) => {
            let lines: Vec<String> = names.iter().map(|name| clean::text(name) + "\n").collect();
            print(&lines.concat())?;
        }
        (None, true) => print_json(&status)?,
        (None, false) => {
            let (now, columns, paint) = (now(), term::columns(), Paint::stdout());
            print(&listing::ps(&status, now, columns, paint))?;
            let troubles = guards::troubles(&status, now, columns, paint);
            let is_of_these = |alert: &api::Alert| {
                services.is_empty() || alert.service.as_ref().is_none_or(|service| services.contains(service))
            };
            let alerts: Vec<_> = alerts.into_iter().filter(is_of_these).collect();
            let troubles = troubles + &slos::firing(&alerts, now, paint);
            if !troubles.is_empty() {
                print(&format!("\n{troubles}"))?;
            }
        }
    }
    Ok(0)
}
