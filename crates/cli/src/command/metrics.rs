//! `atoll metrics`: numbers over time.

use api::{MetricQuery, Range};

use super::Context;
use super::up::now;
use crate::failure::{Failure, print, print_json};
use crate::flags::{AppFlags, FormatFlag, pairs};
use crate::place::Place;
use crate::show::{Paint, numbers, term, time};

/// See which metrics there are, and one of them over time
///
/// JSON: `Metric` and `Series` of the admin API.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct MetricsArgs {
    /// The metric [default: list them all]
    metric: Option<String>,
    /// With this label; repeatable
    #[arg(long = "where", value_name = "NAME=VALUE", requires = "metric")]
    labels: Vec<String>,
    /// After this: so long ago (10m), or a time (2026-01-31T12:00:00Z)
    #[arg(long, value_name = "TIME", value_parser = |text: &str| time::since(text, now()), requires = "metric")]
    since: Option<kit::Timestamp>,
    /// Seconds between two points [default: what gives about 200 points]
    #[arg(long, value_name = "SECONDS", requires = "metric", value_parser = clap::value_parser!(u32).range(1..))]
    step: Option<u32>,
    /// How.
    #[command(flatten)]
    format: FormatFlag,
    /// Which app.
    #[command(flatten)]
    app: AppFlags,
}

/// Runs the command.
pub(crate) fn run(args: MetricsArgs, context: &Context) -> Result<u8, Failure> {
    let MetricsArgs { metric, labels, since, step, format, app } = args;
    let client = Place::new(app.after(&context.app), None).client()?;
    match metric {
        None => {
            let metrics = context.block_on(async { Ok(client.metrics().await?) })?;
            if format.is_json() {
                print_json(&metrics)?;
            } else {
                print(&numbers::metrics(&metrics, term::columns(), Paint::stdout()))?;
            }
        }
        Some(name) => {
            let range = Range { since, until: None };
            let query = MetricQuery { name, labels: pairs(&labels)?, range, step_s: step };
            let series = context.block_on(async { Ok(client.series(&query).await?) })?;
            if format.is_json() {
                print_json(&series)?;
            } else {
                print(&numbers::series(&series, term::columns(), Paint::stdout()))?;
            }
        }
    }
    Ok(0)
}
