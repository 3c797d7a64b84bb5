//! `atoll logs`: what services said and say.

use api::{Client, LogQuery, Range, Severity};

use super::Context;
use super::up::now;
use crate::failure::{CliError, Failure, print};
use crate::flags::{AppFlagsLong, FormatFlag, pairs};
use crate::place::Place;
use crate::show::line::{LogPrinter, LogStyle, service_of};
use crate::show::{Paint, clean, time, traces};
use crate::signals::Signals;

/// Lines shown in one piece at most while nobody waits for them.
const BATCH: usize = 16 << 10;

/// Under this name the requests from outside are in the log.
const GATEWAY: &str = "gateway";
/// Logs that are no service's.
const NO_SERVICES: [&str; 3] = [GATEWAY, "mesh", "pipes"];

/// Show what services say
///
/// Lines of all instances in the order they were said. JSON: a `LogLine` of the admin API per line. With one of
/// --grep, --level, --trace and --where it searches what services said and sent, for as long as telemetry is kept: the
/// newest records, JSON: a `LogRecord` per line.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct LogsArgs {
    /// Where the app is, then services or instances [default: all]
    #[arg(value_name = "APP|SERVICE")]
    targets: Vec<String>,
    /// Go on with new lines
    #[arg(short, long)]
    follow: bool,
    /// Start with the last so many lines, or `all`
    #[arg(short = 'n', long, value_name = "LINES", value_parser = tail, default_value = "all")]
    tail: Tail,
    /// Only lines after this: so long ago (10m), or a time (2026-01-31T12:00:00Z)
    #[arg(long, value_name = "TIME", value_parser = |text: &str| time::since(text, now()))]
    since: Option<kit::Timestamp>,
    /// Put the time before each line
    #[arg(short, long)]
    timestamps: bool,
    /// Leave the instance's name out
    #[arg(long)]
    no_log_prefix: bool,
    /// What to search for.
    #[command(flatten)]
    search: Search,
    /// How.
    #[command(flatten)]
    format: FormatFlag,
    /// Which app.
    #[command(flatten)]
    app: AppFlagsLong,
}

/// What to search for.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Search")]
struct Search {
    /// With these words, in any case
    #[arg(long, value_name = "WORDS")]
    grep: Option<String>,
    /// At least so severe
    #[arg(long, value_enum)]
    level: Option<Level>,
    /// Of this trace
    #[arg(long, value_name = "TRACE")]
    trace: Option<String>,
    /// With this field; repeatable
    #[arg(long = "where", value_name = "NAME=VALUE")]
    fields: Vec<String>,
}

/// How much a record matters.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    Fatal,
}

impl From<Level> for Severity {
    fn from(level: Level) -> Self {
        match level {
            Level::Trace => Self::Trace,
            Level::Debug => Self::Debug,
            Level::Info => Self::Info,
            Level::Warn => Self::Warn,
            Level::Error => Self::Error,
            Level::Fatal => Self::Fatal,
        }
    }
}

impl Search {
    fn is_wanted(&self) -> bool {
        let Self { grep, level, trace, fields } = self;
        grep.is_some() || level.is_some() || trace.is_some() || !fields.is_empty()
    }
}

/// How many lines from the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tail(Option<usize>);

fn tail(text: &str) -> Result<Tail, String> {
    if text == "all" {
        return Ok(Tail(None));
    }
    text.parse().map(|lines| Tail(Some(lines))).map_err(|_| "write a number of lines, or `all`".to_owned())
}

/// Runs the command.
pub(crate) fn run(args: LogsArgs, context: &Context) -> Result<u8, Failure> {
    let flags = crate::flags::AppFlags::from(args.app.clone()).after(&context.app);
    let (place, targets) = Place::of_targets(flags, &args.targets);
    let client = place.client()?;
    let style = LogStyle { paint: Paint::stdout(), prefix: !args.no_log_prefix, timestamps: args.timestamps };
    if args.search.is_wanted() {
        return search(args, &client, &targets, context);
    }
    context.block_on(async {
        let mut signals =
            Signals::catch().map_err(|source| CliError::Machine { what: "catch signals", source })?;
        let status = client.status().await.ok();
        if let Some(status) = &status {
            check_targets(status, &targets)?;
        }
        let mut lines = client.logs(&targets, args.tail.0, args.since, args.follow).await?;
        let mut printer = LogPrinter::new(style);
        if let Some(status) = &status {
            expect_names(&mut printer, status, &targets);
        }
        let mut pending = String::new();
        loop {
            // `biased`, so that what is there already is printed in batches.
            let line = tokio::select! {
                biased;
                _ = signals.next() => break,
                line = lines.next() => line,
                () = std::future::ready(()), if !pending.is_empty() => {
                    print(&std::mem::take(&mut pending))?;
                    continue;
                }
            };
            let Some(line) = line else { break };
            let line = line?;
            if args.format.is_json() {
                let text = serde_json::to_string(&line)
                    .map_err(|error| CliError::Machine { what: "write JSON", source: error.into() })?;
                pending.push_str(&text);
                pending.push('\n');
            } else {
                pending.push_str(&printer.line(&line));
            }
            if pending.len() > BATCH {
                print(&std::mem::take(&mut pending))?;
            }
        }
        print(&pending)?;
        Ok(0)
    })
}

/// Searches in what telemetry has of it.
fn search(args: LogsArgs, client: &Client, targets: &[String], context: &Context) -> Result<u8, Failure> {
    let Search { grep, level, trace, fields } = args.search;
    let (service, instance) = match targets {
        [] => (None, None),
        [one] if service_of(one) == one => (Some(one.clone()), None),
        [one] => (None, Some(one.clone())),
        _ => return Err(CliError::OneTarget.into()),
    };
    let query = LogQuery {
        words: grep.iter().flat_map(|words| words.split_whitespace()).map(str::to_owned).collect(),
        service,
        instance,
        severity: level.map(Severity::from),
        attributes: pairs(&fields)?,
        trace,
        range: Range { since: args.since, until: None },
        limit: args.tail.0.map(|lines| u32::try_from(lines).unwrap_or(u32::MAX)),
        before: None,
        follow: args.follow,
    };
    context.block_on(async {
        let mut signals =
            Signals::catch().map_err(|source| CliError::Machine { what: "catch signals", source })?;
        let mut found = client.records(&query).await?;
        loop {
            let record = tokio::select! {
                biased;
                _ = signals.next() => break,
                record = found.next() => record,
            };
            let Some(record) = record else { break };
            let record = record?;
            if args.format.is_json() {
                let text = serde_json::to_string(&record)
                    .map_err(|error| CliError::Machine { what: "write JSON", source: error.into() })?;
                print(&(text + "\n"))?;
            } else {
                print(&traces::record(&record, Paint::stdout()))?;
            }
        }
        Ok(0)
    })
}

/// Refuses what has nothing to do with any service: it would be waited for in vain. An instance that is gone
/// still has its log.
fn check_targets(status: &api::Status, targets: &[String]) -> Result<(), Failure> {
    let known = |name: &str| status.services.iter().any(|service| service.name == name);
    match targets
        .iter()
        .find(|name| !NO_SERVICES.contains(&name.as_str()) && !known(name) && !known(service_of(name)))
    {
        Some(name) => Err(CliError::NoSuchService { name: clean::text(name), nearest: None }.into()),
        None => Ok(()),
    }
}

/// Makes room for the names that may come by, so that the first lines are aligned with the later ones.
fn expect_names(printer: &mut LogPrinter, status: &api::Status, targets: &[String]) {
    let asked = |name: &str| targets.is_empty() || targets.iter().any(|target| target == name);
    for name in NO_SERVICES.into_iter().filter(|name| asked(name)) {
        printer.expect(name);
    }
    for service in &status.services {
        for instance in service.instances.iter().filter(|one| asked(&service.name) || asked(&one.name)) {
            printer.expect(&instance.name);
        }
    }
}
