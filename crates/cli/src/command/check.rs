//! `atoll check`: is the file right, and is the architecture sound.

use std::path::PathBuf;

use manifest::{Fault, Severity};

use super::Context;
use crate::failure::{Failure, print, print_json};
use crate::flags::{AppFlags, FormatFlag};
use crate::load;
use crate::place::Place;
use crate::show::Paint;
use crate::show::board::counted;

/// Check the application file and the architecture it describes
///
/// Exit status 0: fine. 1: the linter found an error (with --strict: or anything at all). 2: the file has
/// faults and cannot be used. Every finding has a code; `atoll explain` describes it. JSON: a list of
/// `{severity, code, message, file, line, column, services, hint, also}`; `also` has further places.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct CheckArgs {
    /// Where the app is
    #[arg(value_name = "APP")]
    location: Option<PathBuf>,
    /// Say nothing when nothing is wrong
    #[arg(short, long)]
    quiet: bool,
    /// Treat warnings as errors
    #[arg(long)]
    strict: bool,
    /// How.
    #[command(flatten)]
    format: FormatFlag,
    /// Which app.
    #[command(flatten)]
    app: AppFlags,
}

/// Runs the command.
pub(crate) fn run(args: CheckArgs, context: &Context) -> Result<u8, Failure> {
    let place = Place::new(args.app.after(&context.app), args.location);
    if args.format.is_json() {
        return json(&place, args.strict);
    }
    let loaded = load::load(&place, &[])?;
    let found = loaded.lint();
    let paint = Paint::stdout();
    print(&loaded.report(loaded.warnings(), paint))?;
    print(&load::findings_text(&found, paint))?;
    let severities: Vec<Severity> = severities(loaded.warnings(), &found);
    if !args.quiet {
        let app = &loaded.app;
        let services = counted(app.services.len(), "service");
        let routes = counted(app.services.values().map(|service| service.routes.len()).sum(), "route");
        let calls = counted(app.services.values().map(|service| service.calls.len()).sum(), "call");
        print(&format!("{}: {services}, {routes}, {calls}: {}\n", app.name, verdict(&severities)))?;
    }
    Ok(status(&severities, args.strict))
}

fn json(place: &Place, strict: bool) -> Result<u8, Failure> {
    let loaded = manifest::load(&place.request()?);
    let lint = loaded.app.as_ref().map(manifest::lint).unwrap_or_default();
    let of_file = loaded.faults.iter().map(|fault| load::Finding::of_file(fault, &loaded.sources));
    let findings: Vec<_> = of_file.chain(lint.iter().map(load::Finding::of_linter)).collect();
    print_json(&findings)?;
    match loaded.app {
        Some(_) => Ok(status(&severities(&loaded.faults, &lint), strict)),
        None => Ok(2),
    }
}

fn severities(faults: &[Fault], findings: &[manifest::Finding]) -> Vec<Severity> {
    faults.iter().map(|fault| fault.severity).chain(findings.iter().map(|f| f.severity)).collect()
}

fn status(found: &[Severity], strict: bool) -> u8 {
    u8::from(found.iter().any(|severity| strict || *severity == Severity::Error))
}

fn verdict(found: &[Severity]) -> String {
    let errors = found.iter().filter(|severity| **severity == Severity::Error).count();
    let warnings = found.len() - errors;
    match (errors, warnings) {
        (0, 0) => "nothing wrong".to_owned(),
        (0, warnings) => counted(warnings, "warning"),
        (errors, 0) => counted(errors, "error"),
        (errors, warnings) => format!("{}, {}", counted(errors, "error"), counted(warnings, "warning")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_fail_a_check_only_when_it_is_strict() {
        let warning = [Severity::Warning];
        assert_eq!((status(&warning, false), status(&warning, true)), (0, 1));
        let both = [Severity::Warning, Severity::Error];
        assert_eq!((status(&both, false), verdict(&both)), (1, "1 error, 1 warning".to_owned()));
        assert_eq!((status(&[], true), verdict(&[])), (0, "nothing wrong".to_owned()));
    }
}
