//! `atoll events`: what happened.

use api::Event;

use super::Context;
use super::up::now;
use crate::failure::{CliError, Failure, print};
use crate::flags::{AppFlags, AppFlagsLong, FormatFlag};
use crate::place::Place;
use crate::show::{Paint, line, time};
use crate::signals::Signals;

/// Show what happened
///
/// Starts, failures, changes, as far back as the node keeps them. JSON: an `Event` of the admin API per line.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct EventsArgs {
    /// Where the app is, then services or instances [default: all]
    #[arg(value_name = "APP|SERVICE")]
    targets: Vec<String>,
    /// Go on with new events
    #[arg(short, long)]
    follow: bool,
    /// Only events after this: so long ago (10m), or a time (2026-01-31T12:00:00Z)
    #[arg(long, value_name = "TIME", value_parser = |text: &str| time::since(text, now()))]
    since: Option<kit::Timestamp>,
    /// How.
    #[command(flatten)]
    format: FormatFlag,
    /// Which app.
    #[command(flatten)]
    app: AppFlagsLong,
}

/// Runs the command.
pub(crate) fn run(args: EventsArgs, context: &Context) -> Result<u8, Failure> {
    let flags = AppFlags::from(args.app).after(&context.app);
    let (place, targets) = Place::of_targets(flags, &args.targets);
    let client = place.client()?;
    let paint = Paint::stdout();
    context.block_on(async {
        let mut signals =
            Signals::catch().map_err(|source| CliError::Machine { what: "catch signals", source })?;
        let mut events = client.events(0, args.follow).await?;
        loop {
            let event = tokio::select! {
                _ = signals.next() => return Ok(0),
                event = events.next() => event,
            };
            let Some(event) = event else { return Ok(0) };
            let event = event?;
            if args.since.is_some_and(|since| event.at < since) || !is_about(&event, &targets) {
                continue;
            }
            if args.format.is_json() {
                let text = serde_json::to_string(&event)
                    .map_err(|error| CliError::Machine { what: "write JSON", source: error.into() })?;
                print(&(text + "\n"))?;
            } else {
                print(&line::event(&event, paint))?;
            }
        }
    })
}

/// Whether the event is about one of these services or instances; with none given all are wanted.
fn is_about(event: &Event, targets: &[String]) -> bool {
    let names = [event.service.as_ref(), event.instance.as_ref()];
    targets.is_empty() || names.iter().flatten().any(|name| targets.contains(name))
}
