//! `atoll doctor`: what this machine offers.

use std::path::{Path, PathBuf};

use super::Context;
use crate::doctor::{Check, Outcome, examine};
use crate::failure::{Failure, print, print_json};
use crate::flags::{AppFlags, FormatFlag};
use crate::place::Place;
use crate::show::{Paint, clean};

/// Check what this machine offers
///
/// Kernel, process control, cgroups, limits, ports, disk. Exit status 1 when Atoll cannot work here. JSON: a
/// list of `{name, outcome, found, hint}`; the outcome is `good`, `worse` or `broken`.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct DoctorArgs {
    /// The directory whose disk is checked [default: where the app's state would be]
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
    /// How.
    #[command(flatten)]
    format: FormatFlag,
    /// Which app.
    #[command(flatten)]
    app: AppFlags,
}

/// Runs the command.
pub(crate) fn run(args: DoctorArgs, context: &Context) -> Result<u8, Failure> {
    let project = args.app.more.project_directory.clone();
    let place = Place::new(args.app.after(&context.app), None);
    let wanted = args.directory.or_else(|| place.given_state_dir()).or(project);
    let checks = examine(&existing(wanted.as_deref().unwrap_or(Path::new("."))));
    if args.format.is_json() {
        print_json(&checks)?;
    } else {
        print(&text(&checks, Paint::stdout()))?;
    }
    Ok(u8::from(checks.iter().any(|check| check.outcome == Outcome::Broken)))
}

/// The directory, or the nearest above it that exists: it is on the same disk, most likely.
fn existing(directory: &Path) -> PathBuf {
    let full = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
    full.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/")).to_owned()
}

fn text(checks: &[Check], paint: Paint) -> String {
    let widest = checks.iter().map(|check| clean::width(&check.name)).max().unwrap_or(0);
    let mut text = String::new();
    for check in checks {
        let sign = match check.outcome {
            Outcome::Good => paint.good("✓"),
            Outcome::Worse => paint.warn("!"),
            Outcome::Broken => paint.bad("✗"),
        };
        text.push_str(&format!("{sign} {:widest$}  {}\n", check.name, clean::text(&check.found)));
        if let Some(hint) = &check.hint {
            text.push_str(&format!("  {:widest$}  {}\n", "", paint.dim(format!("hint: {hint}"))));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_check_is_a_line_with_a_sign_and_what_to_do() {
        let check = |name: &str, outcome, hint: Option<&str>| Check {
            name: name.into(),
            outcome,
            found: "found".into(),
            hint: hint.map(str::to_owned),
        };
        let checks = [
            check("kernel", Outcome::Good, None),
            check("port 8080", Outcome::Worse, Some("stop what holds it")),
            check("pidfd", Outcome::Broken, Some("newer kernel")),
        ];
        insta::assert_snapshot!(text(&checks, Paint::new(false)), @r"
        ✓ kernel     found
        ! port 8080  found
                     hint: stop what holds it
        ✗ pidfd      found
                     hint: newer kernel
        ");
    }
}
