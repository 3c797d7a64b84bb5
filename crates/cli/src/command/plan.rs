//! `atoll plan`: what `atoll up` would change.

use api::{Action, Apply, Change, Client, ClientError, Plan};
use manifest::Severity;
use manifest::spec::{App, Work};
use serde::Serialize;

use super::Context;
use crate::failure::{Failure, print, print_json};
use crate::flags::{AppFlags, FormatFlag};
use crate::load::{Finding, findings_text, load};
use crate::place::Place;
use crate::show::{self, Paint};

/// Show what `atoll up` would change, and what the linter says
///
/// Compares the file with what runs. Exit status 0: fine, 1: the linter found an error or the node could not
/// be asked, 2: the file has faults; with --detailed-exitcode also 2: there are changes. JSON:
/// `{running, plan, findings}`: `Plan` of the admin API and findings as in `atoll check`.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct PlanArgs {
    /// Where the app is, then services [default: all]
    #[arg(value_name = "APP|SERVICE")]
    targets: Vec<String>,
    /// Exit with status 2 when there is something to change
    #[arg(long)]
    detailed_exitcode: bool,
    /// How.
    #[command(flatten)]
    format: FormatFlag,
    /// Which app.
    #[command(flatten)]
    app: AppFlags,
}

/// `--format json`.
#[derive(Serialize)]
struct Printed<'a> {
    /// Whether the app runs now.
    running: bool,
    plan: &'a Plan,
    findings: Vec<Finding>,
}

/// Runs the command.
pub(crate) fn run(args: PlanArgs, context: &Context) -> Result<u8, Failure> {
    let (place, services) = Place::of_targets(args.app.after(&context.app), &args.targets);
    let loaded = load(&place, &services)?;
    let app = &loaded.app;
    let wanted = loaded.part(&services, true)?;
    let client = Client::new(place.state_dir(&loaded.project_dir, app.name.as_str()));
    let apply = Apply { file: loaded.file_for_node(place.isolated()), services, ..Apply::default() };
    let running = context.block_on(async {
        match client.plan(&apply).await {
            Ok(plan) => Ok(Some(plan)),
            Err(ClientError::NotRunning { .. }) => Ok(None),
            Err(other) => Err(other.into()),
        }
    })?;
    let is_running = running.is_some();
    let plan = running.unwrap_or_else(|| from_nothing(&wanted));
    let findings = loaded.lint();
    if args.format.is_json() {
        let findings = findings.iter().map(Finding::of_linter).collect();
        print_json(&Printed { running: is_running, plan: &plan, findings })?;
    } else {
        loaded.warn();
        let paint = Paint::stdout();
        print(&findings_text(&findings, paint))?;
        if !is_running {
            print(&paint.dim("nothing runs now\n"))?;
        }
        print(&show::plan::text(&plan, paint))?;
    }
    if findings.iter().any(|finding| finding.severity == Severity::Error) {
        return Ok(1);
    }
    Ok(if args.detailed_exitcode && !plan.changes.is_empty() { 2 } else { 0 })
}

/// When nothing runs everything starts.
fn from_nothing(app: &App) -> Plan {
    let mut plan = Plan::default();
    for service in app.services.values() {
        let name = service.name.as_str();
        let instances: Vec<String> = (1..=service.scale.replicas).map(|n| format!("{name}-{n}")).collect();
        if !instances.is_empty() && matches!(service.work, Work::Process(_)) {
            let service = name.to_owned();
            plan.changes.push(Change { action: Action::Start, service, instances, why: Vec::new() });
        }
    }
    plan
}
