//! One line of output of a service, one event.

use api::{Event, Level, LogLine};

use super::{Paint, clean, time};

/// How log lines are laid out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogStyle {
    /// Colours.
    pub(crate) paint: Paint,
    /// Put the instance's name before each line.
    pub(crate) prefix: bool,
    /// Put the time before each line.
    pub(crate) timestamps: bool,
}

/// No name is padded to more columns than this.
const LONGEST_PREFIX: usize = 32;

/// Writes log lines with their names aligned. The column grows when a longer name comes by.
#[derive(Clone, Debug)]
pub(crate) struct LogPrinter {
    style: LogStyle,
    width: usize,
}

impl LogPrinter {
    /// A printer that has seen no name yet.
    pub(crate) const fn new(style: LogStyle) -> Self {
        Self { style, width: 0 }
    }

    /// Makes room for this name from the start.
    pub(crate) fn expect(&mut self, instance: &str) {
        self.width = self.width.max(clean::width(instance)).min(LONGEST_PREFIX);
    }

    /// One line, with its end.
    pub(crate) fn line(&mut self, line: &LogLine) -> String {
        let paint = self.style.paint;
        let mut text = String::new();
        if self.style.prefix {
            let name = clean::text(&line.instance);
            self.expect(&name);
            let padding = " ".repeat(self.width.saturating_sub(clean::width(&name)));
            text.push_str(&paint.named(service_of(&name), format!("{name}{padding} |")));
            text.push(' ');
        }
        if self.style.timestamps {
            text.push_str(&paint.dim(line.at));
            text.push(' ');
        }
        let said = clean::line(&line.text, paint.is_on());
        text.push_str(&if line.stream == "atoll" { paint.dim(said) } else { said });
        while text.ends_with(' ') {
            text.pop();
        }
        text.push('\n');
        text
    }
}

/// The service's part of an instance's name: `catalog` of `catalog-2` and of `catalog.prepare`.
pub(crate) fn service_of(instance: &str) -> &str {
    if let Some(service) = instance.strip_suffix(".prepare") {
        return service;
    }
    let replica = instance.strip_suffix(".check").unwrap_or(instance);
    match replica.rsplit_once('-') {
        Some((service, number)) if number.bytes().all(|b| b.is_ascii_digit()) => service,
        _ => replica,
    }
}

/// One event on one line (two with a hint), with its end: `12:00:01.250 ✗ catalog-1 exited with status 1`.
pub(crate) fn event(event: &Event, paint: Paint) -> String {
    let mark = match event.level {
        Level::Info => paint.good("·"),
        Level::Warning => paint.warn("!"),
        Level::Error => paint.bad("✗"),
    };
    let about = event.instance.as_deref().or(event.service.as_deref()).map(clean::text);
    let message = clean::text(&event.message);
    let mut text = format!("{} {mark} ", paint.dim(time::of_day(event.at)));
    // Messages name what they are about in their own words more often than not.
    if let Some(about) = about.filter(|about| !message.contains(about.as_str())) {
        text.push_str(&paint.named(service_of(&about), &about));
        text.push_str(": ");
    }
    text.push_str(&message);
    if let Some(code) = &event.code {
        text.push_str(&paint.dim(format!(" [{}]", clean::text(code))));
    }
    text.push('\n');
    if let Some(hint) = &event.hint {
        text.push_str(&format!("               hint: {}\n", clean::text(hint)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use kit::Timestamp;

    fn said(instance: &str, text: &str) -> LogLine {
        let at = Timestamp::from_micros(1_000_000_000_000_000);
        LogLine { at, instance: instance.into(), stream: "stdout".into(), text: text.into() }
    }

    fn printer(paint: bool, prefix: bool, timestamps: bool) -> LogPrinter {
        LogPrinter::new(LogStyle { paint: Paint::new(paint), prefix, timestamps })
    }

    #[test]
    fn names_are_aligned_and_dangerous_output_is_harmless() {
        let mut plain = printer(false, true, false);
        let lines = [
            said("api-1", "listening"),
            said("catalog-2", "\u{1b}[2J\u{1b}[31mready\u{7}"),
            said("api-1", ""),
        ]
        .map(|line| plain.line(&line));
        insta::assert_snapshot!(lines.concat(), @r"
        api-1 | listening
        catalog-2 | ready
        api-1     |
        ");
        assert!(printer(true, true, false).line(&said("a-1", "\u{1b}[31mred")).contains("\u{1b}[31mred"));
    }

    #[test]
    fn the_prefix_can_be_left_out_and_the_time_put_in() {
        let line = printer(false, false, true).line(&said("api-1", "up"));
        assert_eq!(line, "2001-09-09T01:46:40.000000Z up\n");
    }

    #[test]
    fn an_instance_has_the_colour_of_its_service() {
        for name in ["user-api-12", "user-api.prepare", "user-api-1.check", "user-api"] {
            assert_eq!(service_of(name), "user-api");
        }
        assert_eq!(service_of("gateway"), "gateway");
    }

    #[test]
    fn an_event_says_who_and_what_to_do_next() {
        let failed = Event {
            seq: 1,
            at: Timestamp::from_micros(0),
            level: Level::Error,
            kind: "service.failed".into(),
            service: Some("catalog".into()),
            instance: Some("catalog-1".into()),
            message: "exited with status 1".into(),
            code: Some("A0504".into()),
            hint: Some("see `atoll logs catalog`".into()),
        };
        let text = event(&failed, Paint::new(false));
        insta::assert_snapshot!(&text[12..], @r"
         ✗ catalog-1: exited with status 1 [A0504]
                       hint: see `atoll logs catalog`
        ");
    }
}
