//! What `up` and `down` show: a live board that gives way to logs on a terminal, plain lines elsewhere.
//!
//! A [`View`] is told what happens and asked for text to write; it reads no clock and writes nothing.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use api::{Event, Level, LogLine, Phase, ServiceState, Status};

use super::board::{self, Beside, counted, is_settled};
use super::line::{self, LogPrinter, LogStyle, service_of};
use super::live::Live;
use super::term::Size;
use super::{Paint, clean, time};

/// Lines of output kept while the board stands, to be shown after it.
const HELD_LINES: usize = 2_000;

/// Lines of a `prepare` command kept, to be shown when it fails.
const PREPARE_LINES: usize = 200;

/// The board gives way to the logs after this long even if something is not ready yet, unless a `prepare`
/// runs: then there is something to see on the board.
const BOARD_PATIENCE: Duration = Duration::from_secs(45);

/// Which part of the story is on the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Starting,
    Running,
    Stopping,
}

/// How to show.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    /// Colours.
    pub(crate) paint: Paint,
    /// Lines may be drawn in place.
    pub(crate) live: bool,
    /// Show what services say.
    pub(crate) logs: bool,
}

/// What is known of a service beside its status.
#[derive(Clone, Debug, Default)]
struct Voice {
    /// Since when its `prepare` runs.
    preparing: Option<Instant>,
    /// Its last line of output.
    last: String,
    /// What its `prepare` said.
    prepare: VecDeque<LogLine>,
}

/// The state of the screen.
#[derive(Debug)]
pub(crate) struct View {
    look: Look,
    began: Instant,
    stage: Stage,
    stage_since: Instant,
    /// Since when services could have become ready: preparing does not count.
    start_since: Instant,
    live: Live,
    printer: LogPrinter,
    status: Option<Status>,
    voices: BTreeMap<String, Voice>,
    held: VecDeque<LogLine>,
    lost: usize,
    /// The hint of an event that was shown last: a service that ends again and again needs it once.
    last_hint: Option<String>,
    /// Text that is there to stay and not written yet.
    above: String,
    dirty: bool,
}

impl View {
    /// A view on an app that starts.
    pub(crate) fn new(look: Look, now: Instant) -> Self {
        Self {
            look,
            began: now,
            stage: Stage::Starting,
            stage_since: now,
            start_since: now,
            live: Live::default(),
            printer: LogPrinter::new(LogStyle { paint: look.paint, prefix: true, timestamps: false }),
            status: None,
            voices: BTreeMap::new(),
            held: VecDeque::new(),
            lost: 0,
            last_hint: None,
            above: String::new(),
            dirty: true,
        }
    }

    /// Bytes that wait to be written. When there are many, no more logs should be read.
    pub(crate) fn backlog(&self) -> usize {
        self.above.len()
    }

    /// Whether there is anything to write.
    pub(crate) fn wants_drawing(&self) -> bool {
        !self.above.is_empty() || (self.dirty && self.shows_board())
    }

    /// Whether the screen changes with time alone.
    pub(crate) fn shows_board(&self) -> bool {
        self.look.live && self.stage != Stage::Running && self.status.is_some()
    }

    /// A line of our own, there to stay.
    pub(crate) fn say(&mut self, text: &str) {
        self.above.push_str(text);
        self.above.push('\n');
    }

    /// The status is this now.
    pub(crate) fn status(&mut self, status: Status, now: Instant) {
        for service in &status.services {
            let voice = self.voices.entry(service.name.clone()).or_default();
            let prepares = service.state == ServiceState::Preparing;
            if prepares || voice.preparing.is_some() {
                self.start_since = now; // building takes as long as it takes
            }
            voice.preparing = prepares.then(|| voice.preparing.unwrap_or(now));
            for instance in &service.instances {
                self.printer.expect(&clean::text(&instance.name));
            }
        }
        let settled = !status.services.is_empty() && status.services.iter().all(|s| is_settled(s.state));
        self.status = Some(status);
        self.dirty = true;
        if self.stage == Stage::Starting && settled {
            self.give_way(now);
        }
    }

    /// Something happened.
    pub(crate) fn event(&mut self, event: &Event) {
        let shown = match self.stage {
            _ if !self.look.live => true,
            Stage::Starting | Stage::Stopping => event.level > Level::Info,
            Stage::Running => true,
        };
        if !shown {
            return;
        }
        let mut event = event.clone();
        if event.hint == self.last_hint {
            event.hint = None;
        } else if event.hint.is_some() {
            self.last_hint.clone_from(&event.hint);
        }
        self.above.push_str(&line::event(&event, self.look.paint));
    }

    /// A service said something.
    pub(crate) fn log(&mut self, said: LogLine) {
        if !self.look.logs {
            return;
        }
        if !self.look.live || self.stage != Stage::Starting {
            self.above.push_str(&self.printer.line(&said));
            return;
        }
        let voice = self.voices.entry(service_of(&said.instance).to_owned()).or_default();
        let last = clean::text(&said.text);
        if !last.trim().is_empty() {
            voice.last = last.trim().to_owned();
        }
        self.dirty = true;
        if said.instance.ends_with(".prepare") {
            push_bounded(&mut voice.prepare, said, PREPARE_LINES);
        } else if push_bounded(&mut self.held, said, HELD_LINES) {
            self.lost += 1;
        }
    }

    /// Time has passed.
    pub(crate) fn tick(&mut self, now: Instant) {
        self.dirty = true;
        let late = now.duration_since(self.start_since) > BOARD_PATIENCE;
        let prepares = self.voices.values().any(|voice| voice.preparing.is_some());
        if self.stage == Stage::Starting && late && !prepares && self.look.live {
            self.give_way(now);
        }
    }

    /// The app is being stopped from here.
    pub(crate) fn stopping(&mut self, now: Instant) {
        if self.stage == Stage::Stopping {
            return;
        }
        self.tell_held();
        self.stage = Stage::Stopping;
        self.stage_since = now;
        self.dirty = true;
    }

    /// Whether the board has given way: everything was ready or had failed.
    #[cfg(test)]
    fn is_running(&self) -> bool {
        self.stage == Stage::Running
    }

    /// The text to write now.
    pub(crate) fn render(&mut self, now: Instant, size: Size) -> String {
        let above = std::mem::take(&mut self.above);
        self.dirty = false;
        match &self.status {
            Some(status) if self.shows_board() => {
                let lines = board::lines(status, &self.beside(now), size, self.look.paint);
                self.live.frame(&above, &lines)
            }
            _ if self.live.is_drawn() => self.live.frame(&above, &[]),
            _ => above,
        }
    }

    /// The last text: what is left, and the board taken away.
    pub(crate) fn finish(&mut self) -> String {
        let above = std::mem::take(&mut self.above);
        if self.live.is_drawn() { self.live.frame(&above, &[]) } else { above }
    }

    fn beside(&self, now: Instant) -> Beside {
        let mut beside = Beside {
            elapsed: now.duration_since(self.stage_since),
            stopping: self.stage == Stage::Stopping,
            ..Beside::default()
        };
        for (service, voice) in &self.voices {
            if let Some(since) = voice.preparing {
                beside.preparing.insert(service.clone(), (now.duration_since(since), voice.last.clone()));
            }
        }
        beside
    }

    /// The board stays on the screen as it is, the greeting follows, then what was held back.
    fn give_way(&mut self, now: Instant) {
        if let Some(status) = self.status.take() {
            if self.look.live {
                let size = Size { columns: usize::MAX, rows: usize::MAX };
                for line in board::lines(&status, &self.beside(now), size, self.look.paint).iter().skip(1) {
                    self.above.push_str(line);
                    self.above.push('\n');
                }
            }
            let took = now.duration_since(self.began);
            self.above.push_str(&greeting(&status, took, self.look.paint));
            self.status = Some(status);
        }
        self.stage = Stage::Running;
        self.stage_since = now;
        self.tell_held();
    }

    fn tell_held(&mut self) {
        let failed: Vec<String> = self.status.iter().flat_map(failed).collect();
        for (service, voice) in &mut self.voices {
            let prepare = std::mem::take(&mut voice.prepare);
            if failed.contains(service) {
                for said in prepare {
                    self.above.push_str(&self.printer.line(&said));
                }
            }
        }
        if self.lost > 0 {
            let lost = format!("… {} before these: `atoll logs` has them", counted(self.lost, "line"));
            self.above.push_str(&self.look.paint.dim(lost));
            self.above.push('\n');
            self.lost = 0;
        }
        for said in std::mem::take(&mut self.held) {
            self.above.push_str(&self.printer.line(&said));
        }
    }
}

/// Adds at the end; drops the first when there are too many, and says so.
fn push_bounded(queue: &mut VecDeque<LogLine>, line: LogLine, most: usize) -> bool {
    let full = queue.len() >= most;
    if full {
        queue.pop_front();
    }
    queue.push_back(line);
    full
}

fn failed(status: &Status) -> Vec<String> {
    let failed = status.services.iter().filter(|service| service.state == ServiceState::Failed);
    failed.map(|service| service.name.clone()).collect()
}

/// Where the app is now and how long it took.
pub(crate) fn greeting(status: &Status, took: Duration, paint: Paint) -> String {
    let app = paint.bold(clean::text(&status.app));
    let failed = failed(status);
    let took = time::span(took);
    let mut text = String::new();
    if !failed.is_empty() {
        let names: Vec<String> = failed.iter().map(|name| clean::text(name)).collect();
        text.push_str(&format!("{} {app}: {} failed after {took}\n", paint.bad("✗"), names.join(", ")));
    } else if matches!(status.phase, Phase::Starting | Phase::Degraded) {
        text.push_str(&format!("{} {app}: not everything is ready after {took}\n", paint.warn("!")));
    } else {
        text.push_str(&format!("{} {app} is ready in {took}\n", paint.good("✓")));
    }
    for url in &status.gateway {
        text.push_str(&format!("  gateway  {}\n", paint.bold(clean::text(url))));
    }
    if let Some(url) = &status.pipes {
        text.push_str(&format!("  queues   {}\n", paint.bold(clean::text(url))));
    }
    if let Some(url) = &status.console {
        text.push_str(&format!("  console  {}\n", paint.bold(clean::text(url))));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::board::tests::{instance, service, starting, status};
    use super::*;
    use api::InstanceState;
    use kit::Timestamp;

    const SIZE: Size = Size { columns: 80, rows: 24 };

    fn said(instance: &str, text: &str) -> LogLine {
        let at = Timestamp::from_micros(0);
        LogLine { at, instance: instance.into(), stream: "stdout".into(), text: text.into() }
    }

    fn ready() -> Status {
        let one = vec![instance("catalog", 1, InstanceState::Ready)];
        status(Phase::Ready, vec![service("catalog", ServiceState::Ready, "", one)])
    }

    fn happened(level: Level, message: &str) -> Event {
        Event {
            seq: 1,
            at: Timestamp::from_micros(0),
            level,
            kind: "notice".into(),
            service: None,
            instance: None,
            message: message.into(),
            code: None,
            hint: None,
        }
    }

    fn view(live: bool) -> (View, Instant) {
        let now = Instant::now();
        (View::new(Look { paint: Paint::new(false), live, logs: true }, now), now)
    }

    #[test]
    fn the_board_gives_way_to_the_logs_once_everything_is_ready() {
        let (mut view, now) = view(true);
        view.status(starting(), now);
        view.log(said("catalog-1", "listening"));
        let board = view.render(now, SIZE);
        assert!(board.contains("bookshop starts") && !board.contains("listening"), "{board}");
        view.status(ready(), now + Duration::from_millis(240));
        let text = view.render(now + Duration::from_millis(240), SIZE);
        let told = text.split("\u{1b}[K").collect::<String>();
        assert!(view.is_running());
        assert!(
            told.contains(
                "bookshop is ready in 240 ms\n  gateway  http://127.0.0.1:8080\ncatalog-1 | listening\n"
            ),
            "{told}"
        );
    }

    #[test]
    fn what_a_failed_prepare_said_is_shown() {
        let (mut view, now) = view(true);
        view.status(starting(), now);
        view.log(said("payments.prepare", "error: no such crate"));
        view.log(said("catalog.prepare", "Finished"));
        let mut end = starting();
        end.services.retain(|s| s.name != "orders" && s.name != "storefront");
        view.status(end, now);
        let text = view.render(now, SIZE);
        assert!(
            text.contains("payments failed after")
                && text.contains("payments.prepare | error: no such crate")
        );
        assert!(!text.contains("Finished"));
    }

    #[test]
    fn without_a_terminal_there_are_lines_and_no_escapes() {
        let (mut view, now) = view(false);
        view.event(&happened(Level::Info, "catalog-1 started"));
        view.log(said("catalog-1", "\u{1b}[31mlistening"));
        view.status(ready(), now);
        let text = view.render(now, SIZE);
        assert!(!text.contains('\u{1b}'));
        let lines: Vec<&str> =
            text.lines().map(|line| line.split_once(" · ").map_or(line, |(_, l)| l)).collect();
        assert_eq!(
            lines,
            [
                "catalog-1 started",
                "catalog-1 | listening",
                "✓ bookshop is ready in 0 ms",
                "  gateway  http://127.0.0.1:8080"
            ]
        );
    }

    #[test]
    fn a_long_prepare_does_not_wear_out_the_patience() {
        let (mut view, now) = view(true);
        let at = |seconds| now + Duration::from_secs(seconds);
        view.status(status(Phase::Starting, vec![service("a", ServiceState::Preparing, "", vec![])]), now);
        view.tick(at(300));
        view.status(status(Phase::Starting, vec![service("a", ServiceState::Starting, "", vec![])]), at(301));
        view.tick(at(302));
        assert!(!view.is_running());
        view.tick(at(347));
        assert!(view.is_running());
    }

    #[test]
    fn a_hint_is_not_repeated_line_after_line() {
        let (mut view, now) = view(false);
        for _ in 0..2 {
            let hint = Some("see `atoll logs catalog`".to_owned());
            view.event(&Event { hint, ..happened(Level::Error, "catalog-1 ended") });
        }
        let text = view.render(now, SIZE);
        assert_eq!((text.matches("ended").count(), text.matches("hint:").count()), (2, 1), "{text}");
    }

    #[test]
    fn a_board_that_stands_too_long_gives_way() {
        let (mut view, now) = view(true);
        let one = vec![instance("slow", 1, InstanceState::Starting)];
        view.status(status(Phase::Starting, vec![service("slow", ServiceState::Starting, "", one)]), now);
        view.tick(now + Duration::from_secs(44));
        assert!(!view.is_running());
        view.tick(now + Duration::from_secs(46));
        assert!(view.is_running());
        assert!(view.render(now, SIZE).contains("not everything is ready"));
    }

    #[test]
    fn held_lines_are_bounded_and_the_loss_is_told() {
        let (mut view, now) = view(true);
        view.status(starting(), now);
        for n in 0..HELD_LINES + 7 {
            view.log(said("catalog-1", &n.to_string()));
        }
        view.status(ready(), now);
        assert!(view.render(now, SIZE).contains("… 7 lines before these"));
    }

    #[test]
    fn while_it_stops_logs_go_above_the_board() {
        let (mut view, now) = view(true);
        view.status(ready(), now);
        view.render(now, SIZE);
        view.stopping(now);
        view.render(now, SIZE);
        view.log(said("catalog-1", "bye"));
        let text = view.render(now, SIZE);
        let (log, board) = (text.find("catalog-1 | bye").unwrap(), text.find("bookshop stops").unwrap());
        assert!(log < board);
        assert!(view.finish().ends_with("\u{1b}[J\u{1b}[?2026l"));
    }
}
