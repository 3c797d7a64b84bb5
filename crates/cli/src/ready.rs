//! Waiting until services are ready.

use std::io::Write;
use std::time::{Duration, Instant};

use api::{Client, Service, ServiceState, Status};

use crate::failure::{CliError, Failure};
use crate::show::board::{self, Beside};
use crate::show::live::Live;
use crate::show::{Paint, clean, term};

/// Time between two drawings of the board.
const FRAME: Duration = Duration::from_millis(80);

/// Where the services that are waited for stand together.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    /// All are where they should be.
    Ready,
    /// These will not get there.
    Failed(Vec<String>),
    /// These are not there yet.
    NotYet(Vec<String>),
}

/// Returns once the services (empty: all) are ready. Fails when one of them has failed or, with a `limit`,
/// is not ready in time. Shows the board meanwhile if the terminal can.
pub(crate) async fn until_ready(
    client: &Client,
    services: &[String],
    limit: Option<Duration>,
) -> Result<Status, Failure> {
    let began = Instant::now();
    let mut statuses = client.watch_status().await?;
    let mut screen = Screen::new();
    let mut frames = tokio::time::interval(FRAME);
    let mut last: Option<Status> = None;
    let late = async {
        match limit {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(late);
    loop {
        tokio::select! {
            status = statuses.next() => {
                let status = match status {
                    Some(status) => status?,
                    None => {
                        let app = last.map_or_else(String::new, |status| status.app);
                        return Err(CliError::NodeGone { app }.into());
                    }
                };
                match verdict(&status, services)? {
                    Verdict::Ready => {
                        screen.clear();
                        return Ok(status);
                    }
                    Verdict::Failed(who) => {
                        screen.clear();
                        return Err(CliError::ServiceFailed { who: who.join("; ") }.into());
                    }
                    Verdict::NotYet(_) => last = Some(status),
                }
            }
            () = &mut late => {
                screen.clear();
                let who = match &last {
                    Some(status) => match verdict(status, services)? {
                        Verdict::NotYet(who) | Verdict::Failed(who) => who.join("; "),
                        Verdict::Ready => String::new(),
                    },
                    None => "the node has not said anything".to_owned(),
                };
                let after = crate::show::time::span(limit.unwrap_or_default());
                return Err(CliError::NotReadyInTime { after, who }.into());
            }
            _ = frames.tick() => {}
        }
        if let Some(status) = &last {
            screen.draw(status, began.elapsed());
        }
    }
}

fn verdict(status: &Status, services: &[String]) -> Result<Verdict, CliError> {
    let mut chosen: Vec<&Service> = Vec::new();
    for name in services {
        let found = status.services.iter().find(|service| service.name == *name);
        chosen.push(
            found.ok_or_else(|| no_such_service(name, status.services.iter().map(|s| s.name.as_str())))?,
        );
    }
    let by_name = !services.is_empty();
    if !by_name {
        chosen = status.services.iter().collect();
    }
    let (mut failed, mut not_yet) = (Vec::new(), Vec::new());
    for service in chosen {
        match service.state {
            ServiceState::Ready | ServiceState::Completed | ServiceState::Stopped => {}
            // Known from the file and told when it was read: no news, unless somebody asks for it by name.
            ServiceState::Unsupported if !by_name => {}
            ServiceState::Failed | ServiceState::Unsupported => failed.push(told(service)),
            ServiceState::Waiting
            | ServiceState::Preparing
            | ServiceState::Starting
            | ServiceState::Degraded
            | ServiceState::Stopping => not_yet.push(told(service)),
        }
    }
    Ok(match (failed.is_empty(), not_yet.is_empty()) {
        (false, _) => Verdict::Failed(failed),
        (true, false) => Verdict::NotYet(not_yet),
        (true, true) => Verdict::Ready,
    })
}

/// A service with why it is not well, or at least its state.
pub(crate) fn told(service: &Service) -> String {
    let why = if service.detail.is_empty() { service.state.as_str() } else { &service.detail };
    format!("{} ({})", clean::text(&service.name), clean::text(why))
}

/// The error for a service that is not there, with the nearest that is.
pub(crate) fn no_such_service<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> CliError {
    let nearest = known
        .map(|known| (strsim::damerau_levenshtein(name, known), known))
        .filter(|(distance, known)| *distance <= known.len().max(name.len()) / 3 + 1)
        .min()
        .map(|(_, known)| known.to_owned());
    CliError::NoSuchService { name: clean::text(name), nearest }
}

/// The board, if it can be drawn.
struct Screen {
    live: Option<Live>,
    paint: Paint,
}

impl Screen {
    fn new() -> Self {
        Self { live: term::can_redraw().then(Live::default), paint: Paint::stdout() }
    }

    fn draw(&mut self, status: &Status, elapsed: Duration) {
        if let (Some(live), Some(size)) = (&mut self.live, term::size()) {
            let beside = Beside { elapsed, ..Beside::default() };
            let bytes = live.frame("", &board::lines(status, &beside, size, self.paint));
            put(&bytes);
        }
    }

    fn clear(&mut self) {
        if let Some(live) = &mut self.live {
            put(&live.clear());
        }
    }
}

/// Drawing is a courtesy: when it fails the command still does its work.
fn put(bytes: &str) {
    let mut out = std::io::stdout();
    let _ = out.write_all(bytes.as_bytes()).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::show::board::tests::{service, starting, status};
    use api::Phase;

    #[test]
    fn one_failed_service_decides() {
        assert_eq!(
            verdict(&starting(), &[]).unwrap(),
            Verdict::Failed(vec!["payments (exit status 1 three times in a row)".into()])
        );
        assert_eq!(verdict(&starting(), &["catalog".into()]).unwrap(), Verdict::Ready);
        assert_eq!(
            verdict(&starting(), &["storefront".into(), "orders".into()]).unwrap(),
            Verdict::NotYet(vec!["storefront (waits for orders)".into(), "orders (preparing)".into()])
        );
    }

    #[test]
    fn what_cannot_run_here_is_only_missed_when_named() {
        let services = vec![service("db", ServiceState::Unsupported, "image needs a container", Vec::new())];
        let status = status(Phase::Ready, services);
        assert_eq!(verdict(&status, &[]).unwrap(), Verdict::Ready);
        assert!(matches!(verdict(&status, &["db".into()]).unwrap(), Verdict::Failed(_)));
    }

    #[test]
    fn an_unknown_service_gets_the_nearest_name() {
        let error = verdict(&starting(), &["catalgo".into()]).unwrap_err();
        assert_eq!(
            kit::report::render(&error),
            "error[A0805]: the app has no service `catalgo`\n  hint: did you mean `catalog`?\n"
        );
    }
}
