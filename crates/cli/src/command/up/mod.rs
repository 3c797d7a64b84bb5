//! `atoll up`: runs an app, or brings what runs to what the file says.

pub(super) mod detached;
mod foreground;
mod node_process;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use api::{Apply, Client, Plan, Status};

pub(crate) use node_process::{NODE, NodeArgs, run as run_node};

use crate::command::Context;
use crate::failure::{CliError, Failure, print, remark};
use crate::flags::{AppFlags, Count, seconds};
use crate::follow::{End, Follow, OnSignal};
use crate::load::{Loaded, load};
use crate::place::Place;
use crate::ready::until_ready;
use crate::show::view::{Look, View, greeting};
use crate::show::{Paint, plan, term};
use crate::signals::Signals;

/// Run an app
///
/// Reads the application file, starts what it asks for and shows it. Ctrl-C drains and stops
/// everything, a second Ctrl-C kills. When the app runs already (`up -d`, or in another terminal) only the
/// difference is applied.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct UpArgs {
    /// Where the app is (a directory or file: has a `/`, or ends in .yaml), then services [default: all]
    #[arg(value_name = "APP|SERVICE")]
    pub(crate) targets: Vec<String>,
    /// Go on without this terminal
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Return once everything is ready; implies --detach
    #[arg(long)]
    pub(crate) wait: bool,
    /// With --wait: give up after this long
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) wait_timeout: Option<u64>,
    /// Run so many instances of a service, whatever the file says; repeatable
    #[arg(long, value_name = "SERVICE=COUNT")]
    pub(crate) scale: Vec<Count>,
    /// Start the given services without those they depend on
    #[arg(long)]
    pub(crate) no_deps: bool,
    /// How long instances may take to stop, instead of their own `stop_grace_period`
    #[arg(short, long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) timeout: Option<u64>,
    /// Which app.
    #[command(flatten)]
    pub(crate) app: AppFlags,
}

/// The exit status of what is interrupted, as shells have it: 128 and the number of SIGINT.
const INTERRUPTED: u8 = 130;

/// Everything that the ways to run an app need to know.
struct Up {
    loaded: Loaded,
    client: Client,
    apply: Apply,
    detach: bool,
    wait: Option<Option<Duration>>,
    stop_timeout: Option<u64>,
    began: Instant,
}

/// Runs the command.
pub(crate) fn run(args: UpArgs, context: &Context) -> Result<u8, Failure> {
    let began = Instant::now();
    let (place, services) = Place::of_targets(args.app.after(&context.app), &args.targets);
    let loaded = load(&place, &services)?;
    loaded.check_names(services.iter().chain(args.scale.iter().map(|count| &count.service)))?;
    loaded.warn();
    let name = loaded.app.name.as_str();
    let state_dir = place.make_state_dir(&loaded.project_dir, name)?;
    let scale: BTreeMap<_, _> = args.scale.into_iter().map(|c| (c.service, c.replicas)).collect();
    let file = loaded.file_for_node(place.isolated());
    let up = Up {
        client: Client::new(state_dir),
        apply: Apply { file, scale, services, no_deps: args.no_deps },
        detach: args.detach || args.wait,
        wait: args.wait.then(|| args.wait_timeout.map(Duration::from_secs)),
        stop_timeout: args.timeout,
        began,
        loaded,
    };
    context.block_on(up.run())
}

impl Up {
    async fn run(self) -> Result<u8, Failure> {
        let runs = self.client.is_running().await?;
        if self.detach {
            // Signals keep their meaning: Ctrl-C ends the wait and leaves the node alone.
            return if runs { self.change_and_leave().await } else { detached::run(self).await };
        }
        let signals =
            Signals::catch().map_err(|source| CliError::Machine { what: "catch signals", source })?;
        if runs { self.change_and_follow(signals).await } else { foreground::run(self, signals).await }
    }

    /// A node is there: only the difference is applied.
    async fn change_and_leave(self) -> Result<u8, Failure> {
        let done = self.client.apply(&self.apply).await?;
        print(&plan::text(&done, Paint::stdout()))?;
        self.wait_or_leave(&done).await
    }

    /// The same, and then shows it.
    async fn change_and_follow(self, mut signals: Signals) -> Result<u8, Failure> {
        let events_after = last_event(&self.client).await?;
        let since = now();
        let done = self.client.apply(&self.apply).await?;
        print(&plan::text(&done, Paint::stdout()))?;
        let end = Follow {
            client: &self.client,
            view: self.view(),
            on_signal: OnSignal::Leave,
            stop_now: false,
            stop_timeout: self.stop_timeout,
            services: self.apply.services.clone(),
            logs_since: Some(since),
            events_after,
        }
        .run(&mut signals)
        .await?;
        match end {
            End::Left => {
                remark(&format!("{} goes on; `atoll down` stops it", self.loaded.app.name));
                Ok(0)
            }
            other => ended(other, self.loaded.app.name.as_str()),
        }
    }

    /// The end of `up -d`: waits if asked to, and says where the app is.
    async fn wait_or_leave(&self, done: &Plan) -> Result<u8, Failure> {
        let paint = Paint::stdout();
        let Some(limit) = self.wait else {
            let status = self.client.status().await?;
            let node = self.client.node().await?;
            let all_new = !done.changes.is_empty() && done.unchanged == 0;
            let starts = if all_new { "starts" } else { "runs" };
            let mut text = format!("{} {starts} (pid {})\n", paint.bold(&status.app), node.pid);
            text.push_str(&addresses(&status, paint));
            text.push_str("  follow it with `atoll logs -f`, stop it with `atoll down`\n");
            print(&text)?;
            return Ok(0);
        };
        let status = until_ready(&self.client, &self.apply.services, limit).await?;
        print(&greeting(&status, self.began.elapsed(), paint))?;
        Ok(0)
    }

    fn view(&self) -> View {
        let look = Look { paint: Paint::stdout(), live: term::can_redraw(), logs: true };
        View::new(look, self.began)
    }
}

fn addresses(status: &Status, paint: Paint) -> String {
    let gateway = status.gateway.iter().map(|url| format!("  gateway  {}\n", paint.bold(url)));
    let pipes = status.pipes.iter().map(|url| format!("  queues   {}\n", paint.bold(url)));
    let console = status.console.iter().map(|url| format!("  console  {}\n", paint.bold(url)));
    gateway.chain(pipes).chain(console).collect()
}

/// The exit status of an app that was followed to its end.
fn ended(end: End, app: &str) -> Result<u8, Failure> {
    match end {
        End::Stopped | End::Left => Ok(0),
        End::Finished { failed } if failed.is_empty() => Ok(0),
        End::Finished { failed } => Err(CliError::ServiceFailed { who: failed.join("; ") }.into()),
        End::Abandoned => Err(Failure::told(INTERRUPTED)),
        End::Gone => Err(CliError::NodeGone { app: app.to_owned() }.into()),
    }
}

/// The number of the last event that a node knows; 0 when there is none.
pub(crate) async fn last_event(client: &Client) -> Result<u64, Failure> {
    let mut events = client.events(0, false).await?;
    let mut last = 0;
    while let Some(event) = events.next().await {
        last = event?.seq;
    }
    Ok(last)
}

/// The time now.
pub(crate) fn now() -> kit::Timestamp {
    kit::Clock::now(&kit::SystemClock::new())
}
