//! `atoll scale`: sets how many instances run.

use super::Context;
use crate::failure::{Failure, print, print_json};
use crate::flags::{AppFlags, Count, FormatFlag};
use crate::place::{Place, is_location};
use crate::show::{Paint, plan};

/// Set how many instances of a service run
///
/// Holds until the next `atoll up`. JSON: `Plan` of the admin API.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct ScaleArgs {
    /// Where the app is, then SERVICE=COUNT, such as catalog=3
    #[arg(value_name = "APP|SERVICE=COUNT", required = true, value_parser = wish)]
    wishes: Vec<Wish>,
    /// How.
    #[command(flatten)]
    format: FormatFlag,
    /// Which app.
    #[command(flatten)]
    app: AppFlags,
}

#[derive(Clone, Debug)]
enum Wish {
    At(String),
    Count(Count),
}

fn wish(text: &str) -> Result<Wish, String> {
    if is_location(text) && !text.contains('=') {
        return Ok(Wish::At(text.to_owned()));
    }
    text.parse().map(Wish::Count)
}

/// Runs the command.
pub(crate) fn run(args: ScaleArgs, context: &Context) -> Result<u8, Failure> {
    let mut location = None;
    let mut scale = api::Scale::default();
    for wish in args.wishes {
        match wish {
            Wish::At(place) => location = Some(place.into()),
            Wish::Count(count) => {
                scale.replicas.insert(count.service, count.replicas);
            }
        }
    }
    let client = Place::new(args.app.after(&context.app), location).client()?;
    let done = context.block_on(async { Ok(client.scale(&scale).await?) })?;
    if args.format.is_json() {
        print_json(&done)?;
    } else {
        print(&plan::text(&done, Paint::stdout()))?;
    }
    Ok(0)
}
