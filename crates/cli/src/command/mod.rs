//! The commands, one file each.

mod breaker;
mod check;
mod completion;
mod config;
mod console;
mod doctor;
mod down;
mod errors;
mod events;
mod explain;
mod graph;
mod init;
mod key;
mod logs;
mod metrics;
mod plan;
mod ps;
mod queue;
mod restart;
mod routes;
mod scale;
mod schema;
mod slo;
mod store;
mod top;
mod topic;
mod trace;
mod trust;
mod up;
mod upgrade;
mod verify;
mod version;
mod wait;

use std::ffi::OsString;

use clap::{Parser, Subcommand};

use crate::failure::{CliError, Failure};
use crate::flags::AppFlags;

pub(crate) use up::{NODE, NodeArgs, run_node};
pub(crate) use verify::{WORKER, run_worker};

/// A whole microservice architecture in one binary
///
/// Describe your services in one file (atoll.yaml, or the compose.yaml you have) and run them all with
/// `atoll up`: each in its own process, found by name, checked, balanced and watched.
#[derive(Parser, Debug)]
#[command(name = "atoll", version, subcommand_required = true, arg_required_else_help = true)]
#[command(after_help = "Exit status: 0 done, 1 it did not work, 2 the command line or the file is wrong.\n\
    `atoll explain A0501` describes an error by its code.")]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Which app.
    #[command(flatten)]
    pub(crate) app: AppFlags,
}

/// What can be done.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    Up(up::UpArgs),
    Down(down::DownArgs),
    Ps(ps::PsArgs),
    Logs(logs::LogsArgs),
    Restart(restart::RestartArgs),
    Scale(scale::ScaleArgs),
    Wait(wait::WaitArgs),
    Upgrade(upgrade::UpgradeArgs),
    Events(events::EventsArgs),
    Top(top::TopArgs),
    Routes(routes::RoutesArgs),
    Breaker(breaker::BreakerArgs),
    Queue(queue::QueueArgs),
    Topic(topic::TopicArgs),
    Key(key::KeyArgs),
    Trace(trace::TraceArgs),
    Metrics(metrics::MetricsArgs),
    Errors(errors::ErrorsArgs),
    Graph(graph::GraphArgs),
    Slo(slo::SloArgs),
    Console(console::ConsoleArgs),
    Store(store::StoreArgs),
    Verify(verify::VerifyArgs),
    Check(check::CheckArgs),
    Config(config::ConfigArgs),
    Plan(plan::PlanArgs),
    Schema(schema::SchemaArgs),
    Explain(explain::ExplainArgs),
    Doctor(doctor::DoctorArgs),
    Trust(trust::TrustArgs),
    Init(init::InitArgs),
    Completion(completion::CompletionArgs),
    Version(version::VersionArgs),
}

/// What commands need beside their arguments.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    /// The flags before the command.
    pub(crate) app: AppFlags,
}

impl Context {
    /// Runs a future to its end on this thread.
    pub(crate) fn block_on<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|source| CliError::Machine { what: "start the event loop", source })?;
        let done = runtime.block_on(work);
        runtime.shutdown_background(); // a stalled look-up or read must not hold the end up
        done
    }
}

/// Runs the command that was asked for; gives the exit status.
pub(crate) fn run(cli: Cli) -> Result<u8, Failure> {
    let Cli { command, app } = cli;
    let context = Context { app };
    match command {
        Command::Up(args) => up::run(args, &context),
        Command::Down(args) => down::run(args, &context),
        Command::Ps(args) => ps::run(args, &context),
        Command::Logs(args) => logs::run(args, &context),
        Command::Restart(args) => restart::run(args, &context),
        Command::Scale(args) => scale::run(args, &context),
        Command::Wait(args) => wait::run(args, &context),
        Command::Upgrade(args) => upgrade::run(args, &context),
        Command::Events(args) => events::run(args, &context),
        Command::Top(args) => top::run(args, &context),
        Command::Routes(args) => routes::run(args, &context),
        Command::Breaker(args) => breaker::run(args, &context),
        Command::Queue(args) => queue::run(args, &context),
        Command::Topic(args) => topic::run(args, &context),
        Command::Key(args) => key::run(args, &context),
        Command::Trace(args) => trace::run(args, &context),
        Command::Metrics(args) => metrics::run(args, &context),
        Command::Errors(args) => errors::run(args, &context),
        Command::Graph(args) => graph::run(args, &context),
        Command::Slo(args) => slo::run(args, &context),
        Command::Console(args) => console::run(args, &context),
        Command::Store(args) => store::run(args, &context),
        Command::Verify(args) => verify::run(args),
        Command::Check(args) => check::run(args, &context),
        Command::Config(args) => config::run(args, &context),
        Command::Plan(args) => plan::run(args, &context),
        Command::Schema(args) => schema::run(args),
        Command::Explain(args) => explain::run(args),
        Command::Doctor(args) => doctor::run(args, &context),
        Command::Trust(args) => trust::run(&args, &context),
        Command::Init(args) => init::run(args),
        Command::Completion(args) => completion::run(args),
        Command::Version(args) => version::run(args, &context),
    }
}

/// What starts a keeper: this very binary and its hidden command. When the file has been replaced since
/// (an upgrade), the image that runs is started again.
fn keeper_command() -> Result<Vec<OsString>, Failure> {
    let program = std::env::current_exe()
        .map_err(|source| CliError::Machine { what: "tell where this program is", source })?;
    let program = if program.exists() { program.into_os_string() } else { "/proc/self/exe".into() };
    Ok(vec![program, crate::KEEP.into()])
}
