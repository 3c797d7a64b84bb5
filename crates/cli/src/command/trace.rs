//! `atoll trace`: where requests went and how long they took.

use api::{Range, TraceQuery};
use clap::Subcommand;

use super::Context;
use super::up::now;
use crate::failure::{Failure, print, print_json};
use crate::flags::{AppFlags, FormatFlag, pairs};
use crate::place::Place;
use crate::show::{Paint, term, time, traces};

/// Find traces and look at one: every hop of a request, with its logs and errors in place
///
/// JSON: `TraceSummary` and `Trace` of the admin API.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct TraceArgs {
    /// What to do.
    #[command(subcommand)]
    verb: Verb,
}

/// What can be done with traces.
#[derive(Subcommand, Clone, Debug)]
enum Verb {
    /// Find traces, the newest first
    Ls(Box<Ls>),
    /// Show a trace as a waterfall
    Show {
        /// Its id: 32 hexadecimal digits
        trace: String,
        /// How.
        #[command(flatten)]
        format: FormatFlag,
        /// Which app.
        #[command(flatten)]
        app: AppFlags,
    },
}

/// Which traces.
#[derive(clap::Args, Clone, Debug)]
struct Ls {
    /// With a span of this service
    service: Option<String>,
    /// That did this: the name of a span, as in `POST /orders`
    #[arg(long, value_name = "NAME")]
    operation: Option<String>,
    /// That failed
    #[arg(long)]
    failed: bool,
    /// That took at least so long (200ms)
    #[arg(long, value_name = "TIME", value_parser = kit::units::parse_duration)]
    slower: Option<std::time::Duration>,
    /// With this attribute; repeatable
    #[arg(long = "where", value_name = "NAME=VALUE")]
    attributes: Vec<String>,
    /// That began after this: so long ago (10m), or a time (2026-01-31T12:00:00Z)
    #[arg(long, value_name = "TIME", value_parser = |text: &str| time::since(text, now()))]
    since: Option<kit::Timestamp>,
    /// Traces at most
    #[arg(short = 'n', long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    number: u32,
    /// How.
    #[command(flatten)]
    format: FormatFlag,
    /// Which app.
    #[command(flatten)]
    app: AppFlags,
}

/// Runs the command.
pub(crate) fn run(args: TraceArgs, context: &Context) -> Result<u8, Failure> {
    match args.verb {
        Verb::Ls(ls) => {
            let Ls { service, operation, failed, slower, attributes, since, number, format, app } = *ls;
            let client = Place::new(app.after(&context.app), None).client()?;
            let query = TraceQuery {
                service,
                operation,
                failed: failed.then_some(true),
                min_us: slower.map(|slower| u64::try_from(slower.as_micros()).unwrap_or(u64::MAX)),
                max_us: None,
                attributes: pairs(&attributes)?,
                range: Range { since, until: None },
                limit: Some(number),
            };
            let found = context.block_on(async { Ok(client.traces(&query).await?) })?;
            if format.is_json() {
                print_json(&found)?;
            } else {
                print(&traces::list(&found, term::columns(), Paint::stdout()))?;
            }
        }
        Verb::Show { trace, format, app } => {
            let client = Place::new(app.after(&context.app), None).client()?;
            let found = context.block_on(async { Ok(client.trace(&trace).await?) })?;
            if format.is_json() {
                print_json(&found)?;
            } else {
                print(&traces::waterfall(&found, Paint::stdout()))?;
            }
        }
    }
    Ok(0)
}
