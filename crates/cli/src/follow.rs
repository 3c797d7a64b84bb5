//! Follows an app on the screen until it ends or somebody asks it to: the loop behind `up` and `down`.
//! It sees the app through the admin API alone.

use std::pin::Pin;
use std::time::{Duration, Instant};

use api::{Client, ClientError, Done, Event, Lines, LogLine, Phase, ServiceState, Status, Stop};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use kit::Timestamp;
use tokio::time::MissedTickBehavior;

use crate::failure::{CliError, Failure};
use crate::show::board::{counted, running};
use crate::show::outbox::{Closed, Outbox};
use crate::show::term::{self, Size};
use crate::show::time;
use crate::show::view::View;
use crate::signals::{Asked, Signals};

/// Text that waits to be written; beyond this no more logs are read until some of it is gone, in bytes.
const MOST_BACKLOG: usize = 256 << 10;

/// Time between two drawings of the board when nothing else changes it.
const FRAME: Duration = Duration::from_millis(80);

/// How long the last lines of a stopped app may take to arrive.
const LAST_LINES: Duration = Duration::from_secs(1);

/// What a signal means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnSignal {
    /// The app stops.
    Stop,
    /// The app goes on, nobody looks any more.
    Leave,
}

/// What to follow, and how.
pub(crate) struct Follow<'a> {
    /// The app.
    pub(crate) client: &'a Client,
    /// The screen.
    pub(crate) view: View,
    /// What a signal means.
    pub(crate) on_signal: OnSignal,
    /// Stop the app from the start: `down`.
    pub(crate) stop_now: bool,
    /// Seconds instances may take to stop, instead of their own.
    pub(crate) stop_timeout: Option<u64>,
    /// Show output of these services only; empty: all.
    pub(crate) services: Vec<String>,
    /// Show output from here on; `None`: no output at all.
    pub(crate) logs_since: Option<Timestamp>,
    /// Show events after this one.
    pub(crate) events_after: u64,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Stopped, because somebody asked.
    Stopped,
    /// It goes on.
    Left,
    /// Every service ran to its end; these failed.
    Finished {
        /// The services, each with why.
        failed: Vec<String>,
    },
    /// The node ended by itself.
    Gone,
    /// Somebody does not want to wait for the stop any longer.
    Abandoned,
}

type Stopping<'a> = FuturesUnordered<Pin<Box<dyn Future<Output = Result<Done, ClientError>> + 'a>>>;

/// What the loop has learnt so far.
#[derive(Default)]
struct Progress {
    /// Signals (and `stop_now`) so far.
    asked: u32,
    stop_began: Option<Instant>,
    /// Instances that ran when the stop began.
    ran: usize,
    finished: Option<Vec<String>>,
    /// When to stop waiting for last lines.
    give_up: Option<Instant>,
    left: bool,
    gone: bool,
    abandoned: bool,
}

impl Follow<'_> {
    /// Follows to the end.
    pub(crate) async fn run(mut self, signals: &mut Signals) -> Result<End, Failure> {
        let outbox = Outbox::stdout()
            .map_err(|source| CliError::Machine { what: "start a thread for standard output", source })?;
        let client = self.client.clone();
        let mut statuses = Some(client.watch_status().await?);
        let mut events = Some(client.events(self.events_after, true).await?);
        let mut logs = match self.logs_since {
            Some(since) => Some(client.logs(&self.services, None, Some(since), true).await?),
            None => None,
        };
        let mut stops: Stopping<'_> = FuturesUnordered::new();
        let mut progress = Progress::default();
        let mut last: Option<Status> = None;
        let mut pending = String::new();
        let mut frames = tokio::time::interval(FRAME);
        frames.set_missed_tick_behavior(MissedTickBehavior::Delay);
        if self.stop_now {
            self.ask_to_stop(&client, &mut stops, &mut progress, last.as_ref());
        }
        let outcome = loop {
            if pending.is_empty() && self.view.wants_drawing() {
                pending = self.view.render(Instant::now(), size());
            }
            if progress.left || progress.abandoned || progress.ended(&logs, &events) {
                break Ok(());
            }
            tokio::select! {
                asked = signals.next() => {
                    if asked == Asked::HangUp && self.on_signal == OnSignal::Leave {
                        progress.left = true;
                    } else {
                        self.asked(&client, &mut stops, &mut progress, last.as_ref());
                    }
                }
                sent = outbox.send(&mut pending), if !pending.is_empty() => {
                    if sent == Err(Closed) {
                        // Nobody reads: as when the terminal goes away.
                        pending.clear();
                        match self.on_signal {
                            OnSignal::Leave => progress.left = true,
                            OnSignal::Stop if progress.asked == 0 => {
                                self.asked(&client, &mut stops, &mut progress, last.as_ref());
                            }
                            OnSignal::Stop => {}
                        }
                    }
                }
                Some(answer) = stops.next(), if !stops.is_empty() => match answer {
                    Ok(_) | Err(ClientError::NotRunning { .. } | ClientError::Broken(_)) => {
                        progress.give_up.get_or_insert_with(|| Instant::now() + LAST_LINES);
                    }
                    Err(refused) => break Err(Failure::from(refused)),
                },
                status = next(&mut statuses) => match status {
                    Some(Ok(status)) => {
                        if status.phase == Phase::Stopping && progress.stop_began.is_none() {
                            // Somebody else has asked.
                            progress.stop_began = Some(Instant::now());
                            self.view.stopping(Instant::now());
                        }
                        if progress.stop_began.is_some() {
                            progress.ran = progress.ran.max(running(&status));
                        }
                        if progress.stop_began.is_none() && let Some(failed) = finished(&status) {
                            progress.finished = Some(failed);
                            self.view.status(status.clone(), Instant::now());
                            match self.on_signal {
                                OnSignal::Stop => {
                                    self.ask_to_stop(&client, &mut stops, &mut progress, Some(&status));
                                }
                                OnSignal::Leave => progress.left = true,
                            }
                        } else {
                            self.view.status(status.clone(), Instant::now());
                        }
                        last = Some(status);
                    }
                    Some(Err(_)) | None => {
                        statuses = None;
                        progress.gone |= progress.stop_began.is_none();
                        progress.give_up.get_or_insert_with(|| Instant::now() + LAST_LINES);
                    }
                },
                event = next(&mut events) => match event {
                    Some(Ok(event)) => self.view.event(&event),
                    Some(Err(_)) | None => events = None,
                },
                line = next(&mut logs), if self.view.backlog() < MOST_BACKLOG => match line {
                    Some(Ok(line)) => self.view.log(line),
                    Some(Err(_)) | None => logs = None,
                },
                _ = frames.tick(), if self.view.shows_board() || progress.give_up.is_some() => {
                    self.view.tick(Instant::now());
                }
            }
        };
        if let (Some(began), Some(status), false) = (progress.stop_began, &last, progress.abandoned) {
            let took = time::span(began.elapsed());
            self.view.say(&format!(
                "{} stopped ({}) in {took}",
                status.app,
                counted(progress.ran, "instance")
            ));
        }
        pending.push_str(&self.view.finish());
        outbox.finish(pending);
        outcome.map(|()| progress.end())
    }

    fn asked<'a>(
        &mut self,
        client: &'a Client,
        stops: &mut Stopping<'a>,
        progress: &mut Progress,
        status: Option<&Status>,
    ) {
        match self.on_signal {
            OnSignal::Leave => progress.left = true,
            OnSignal::Stop => self.ask_to_stop(client, stops, progress, status),
        }
    }

    /// The first time asks nicely, the second kills, the third leaves the rest to the keepers.
    fn ask_to_stop<'a>(
        &mut self,
        client: &'a Client,
        stops: &mut Stopping<'a>,
        progress: &mut Progress,
        status: Option<&Status>,
    ) {
        progress.asked += 1;
        let timeout_s = match progress.asked {
            1 => {
                progress.stop_began = Some(Instant::now());
                progress.ran = status.map_or(0, running);
                self.view.stopping(Instant::now());
                self.stop_timeout
            }
            2 => {
                self.view.say("killing what is left");
                Some(0)
            }
            _ => {
                progress.abandoned = true;
                return;
            }
        };
        stops.push(Box::pin(async move { client.stop(&Stop { timeout_s }).await }));
    }
}

impl Progress {
    /// Nothing more is to come.
    fn ended(&self, logs: &Option<Lines<LogLine>>, events: &Option<Lines<Event>>) -> bool {
        match self.give_up {
            Some(at) => (logs.is_none() && events.is_none()) || Instant::now() >= at,
            None => false,
        }
    }

    fn end(self) -> End {
        if self.abandoned {
            return End::Abandoned;
        }
        if let Some(failed) = self.finished {
            return End::Finished { failed };
        }
        match (self.left, self.gone) {
            (true, _) => End::Left,
            (false, true) => End::Gone,
            (false, false) => End::Stopped,
        }
    }
}

/// The next value of a stream that may have ended; never returns once it has.
async fn next<T: serde::de::DeserializeOwned>(
    lines: &mut Option<Lines<T>>,
) -> Option<Result<T, ClientError>> {
    match lines {
        Some(lines) => lines.next().await,
        None => std::future::pending().await,
    }
}

fn size() -> Size {
    term::size().unwrap_or(Size { columns: usize::MAX, rows: usize::MAX })
}

/// When no service runs or will run again: those that failed, each with why. A service that was scaled to
/// zero is no end: somebody may scale it up.
pub(crate) fn finished(status: &Status) -> Option<Vec<String>> {
    let over = |state| {
        matches!(
            state,
            ServiceState::Completed
                | ServiceState::Failed
                | ServiceState::Unsupported
                | ServiceState::Stopped
        )
    };
    let all_over = status.services.iter().all(|service| over(service.state));
    let some_ran_or_cannot = status.services.iter().any(|service| service.state != ServiceState::Stopped);
    if !all_over || !some_ran_or_cannot || running(status) > 0 {
        return None;
    }
    let completed = status.services.iter().any(|service| service.state == ServiceState::Completed);
    let failed = status.services.iter().filter(|service| match service.state {
        ServiceState::Failed => true,
        ServiceState::Unsupported => !completed, // nothing at all could be done
        _ => false,
    });
    Some(failed.map(crate::ready::told).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::show::board::tests::{instance, service, status};
    use api::{InstanceState, Phase};

    fn of(states: &[(&str, ServiceState)]) -> Status {
        let services = states.iter().map(|(name, state)| service(name, *state, "why", Vec::new())).collect();
        status(Phase::Ready, services)
    }

    #[test]
    fn an_app_is_finished_when_nothing_runs_and_nothing_will() {
        let done = of(&[("job", ServiceState::Completed), ("image", ServiceState::Unsupported)]);
        assert_eq!(finished(&done), Some(Vec::new()));
        let failed = of(&[("job", ServiceState::Completed), ("other", ServiceState::Failed)]);
        assert_eq!(finished(&failed), Some(vec!["other (why)".to_owned()]));
        let only_images = of(&[("image", ServiceState::Unsupported)]);
        assert_eq!(finished(&only_images), Some(vec!["image (why)".to_owned()]));
    }

    #[test]
    fn an_app_that_runs_waits_or_is_scaled_to_zero_is_not_finished() {
        for state in [ServiceState::Ready, ServiceState::Waiting, ServiceState::Stopped] {
            assert_eq!(finished(&of(&[("a", state)])), None, "{state:?}");
        }
        let lives = vec![instance("a", 1, InstanceState::Unready)];
        assert_eq!(
            finished(&status(Phase::Degraded, vec![service("a", ServiceState::Failed, "", lives)])),
            None
        );
    }
}
