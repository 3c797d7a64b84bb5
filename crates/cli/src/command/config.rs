//! `atoll config`: the resolved file.

use std::path::PathBuf;

use clap::ValueEnum;

use super::Context;
use crate::failure::{Failure, print, print_json};
use crate::flags::AppFlags;
use crate::load::load;
use crate::place::Place;

/// Print the application file as it is understood
///
/// Merged, interpolated, profiles applied: what `atoll up` works with.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct ConfigArgs {
    /// Where the app is
    #[arg(value_name = "APP")]
    location: Option<PathBuf>,
    /// How to print
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Language::Yaml)]
    format: Language,
    /// Names of services only
    #[arg(long)]
    services: bool,
    /// Only check that the file can be used
    #[arg(short, long)]
    quiet: bool,
    /// Which app.
    #[command(flatten)]
    app: AppFlags,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Language {
    /// YAML
    Yaml,
    /// JSON
    Json,
}

/// Runs the command.
pub(crate) fn run(args: ConfigArgs, context: &Context) -> Result<u8, Failure> {
    let loaded = load(&Place::new(args.app.after(&context.app), args.location), &[])?;
    loaded.warn();
    if args.quiet {
        return Ok(0);
    }
    if args.services {
        let names: Vec<String> = loaded.app.services.keys().map(|name| format!("{name}\n")).collect();
        print(&names.concat())?;
        return Ok(0);
    }
    match args.format {
        Language::Yaml => print(&loaded.yaml())?,
        Language::Json => print_json(&loaded.json())?,
    }
    Ok(0)
}
