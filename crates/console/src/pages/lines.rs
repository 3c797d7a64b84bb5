//! Lines as they come: what services print, requests, log records. Drawn the same whether they stand in a page or are
//! sent after it.

use api::{ClientError, LogLine, LogQuery, LogRecord};
use kit::Timestamp;
use maud::{Markup, html};

use super::has;
use super::requests::Request;
use crate::bits::{self, Tone};
use crate::desk::{Desk, Note, all};
use crate::place::Query;
use crate::words::clip;

/// Characters of a line that are shown.
const MOST_TEXT: usize = 2_000;
/// Lines on a page at most; the script lets the oldest go.
pub(crate) const MOST_LINES: usize = 500;

/// The last lines of services or instances.
pub(crate) async fn output(desk: &Desk, targets: &[String], most: usize) -> Result<Vec<LogLine>, Note> {
    all(desk.client.logs(targets, Some(most), None, false).await, most.max(1)).await
}

/// A list that goes on by itself: the newest line last.
pub(crate) fn tail(lines: &[LogLine], of: &str, now: Timestamp) -> Markup {
    let since = lines.last().map_or(now, |line| line.at).as_micros() + 1;
    html! {
        ol.lines data-tail={ "/live/lines?" (of) "&since=" (since) } data-most=(MOST_LINES) tabindex="0" aria-label="Lines, the newest last" {
            @for line in lines { (line_of(line)) }
        }
    }
}

/// A line of output.
pub(crate) fn line_of(line: &LogLine) -> Markup {
    let tone = if line.stream == "stderr" { "err" } else { "out" };
    html! {
        li.line.(tone) {
            (bits::time(line.at)) span.sev { @if line.stream == "stderr" { "stderr" } } b { (clip(&line.instance, 70)) }
            span.text { (clip(&plain_text(&line.text), MOST_TEXT)) }
        }
    }
}

/// A log record.
pub(crate) fn record(record: &LogRecord) -> Markup {
    let (tone, word) = bits::of_severity(record.severity);
    let name = record.instance.as_deref().unwrap_or(&record.service);
    html! {
        li.line.(tone.class()) {
            (bits::time(record.at)) span.sev.(tone.class()) { (word) } b { (clip(name, 70)) }
            span.text {
                (clip(&plain_text(&record.text), MOST_TEXT))
                @if !record.attributes.is_empty() {
                    span.fields { @for (key, value) in record.attributes.iter().take(12) { " " i { (clip(key, 60)) "=" } (clip(&plain(value), 120)) } }
                }
                @if let Some(trace) = &record.trace { " " (bits::trace(trace)) }
            }
        }
    }
}

/// Text without what colours it on a terminal, and with a sign in the place of what no reader can see.
pub(crate) fn plain_text(text: &str) -> std::borrow::Cow<'_, str> {
    if !text.contains(|c: char| c.is_control() && c != '\n' && c != '\t') {
        return text.into();
    }
    let plain = kit::ansi::stripped(text);
    let shown = |c: char| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c };
    plain.chars().map(shown).collect::<String>().into()
}

/// A value as it reads.
pub(crate) fn plain(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Lines that somebody waits for.
pub(crate) enum Follow {
    Output(api::Lines<LogLine>, String),
    /// With where the gateway is, for those who want to ask again.
    Requests(api::Lines<LogLine>, Query, Option<String>),
    Records(api::Lines<LogRecord>),
}

/// Begins to follow what a stream is asked for.
pub(crate) async fn follow(desk: &Desk, query: &Query) -> Result<Follow, Note> {
    // `after` is the last line that a browser has had before it lost us.
    let after = query.number::<u64>("after").map(|after| after.saturating_add(1));
    let since = after.or_else(|| query.number("since")).map(Timestamp::from_micros);
    let lines = |targets: Vec<String>| async move {
        desk.client.logs(&targets, since.is_none().then_some(0), since, true).await
    };
    let plain = |name: &&str| name.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
    Ok(match query.text("of") {
        "requests" => {
            let side = side(query);
            let gateway = desk.feed.status().await?.gateway.first().cloned().filter(|_| side == "gateway");
            Follow::Requests(lines(vec![side.to_owned()]).await?, query.clone(), gateway)
        }
        "records" => Follow::Records(records(desk, query, since).await?),
        _ => {
            let target = query.get("service").filter(plain).map(str::to_owned);
            Follow::Output(lines(target.into_iter().collect()).await?, query.text("q").to_owned())
        }
    })
}

async fn records(
    desk: &Desk,
    query: &Query,
    since: Option<Timestamp>,
) -> Result<api::Lines<LogRecord>, ClientError> {
    let mut question = super::logs::question(query);
    question.range.since = since;
    question.limit = None;
    desk.client.records(&LogQuery { follow: true, ..question }).await
}

/// The log that requests are read from.
pub(crate) fn side(query: &Query) -> &'static str {
    if query.text("side") == "mesh" { "mesh" } else { "gateway" }
}

impl Follow {
    /// The next line that fits, drawn, and when it was.
    pub(crate) async fn next(&mut self) -> Option<(Timestamp, Markup)> {
        loop {
            let drawn = match self {
                Self::Output(lines, search) => {
                    let line = lines.next().await?.ok()?;
                    has(search, &[&line.text, &line.instance]).then(|| (line.at, line_of(&line)))
                }
                Self::Requests(lines, query, gateway) => {
                    let line = lines.next().await?.ok()?;
                    let request = Request::parse(&line).filter(|request| request.fits(query));
                    request.map(|request| (line.at, super::requests::row(&request, gateway.as_deref())))
                }
                Self::Records(lines) => {
                    let next = lines.next().await?.ok()?;
                    Some((next.at, record(&next)))
                }
            };
            if drawn.is_some() {
                return drawn;
            }
        }
    }
}

/// How a status of HTTP looks.
pub(crate) fn status(status: u16) -> Markup {
    let tone = bits::of_status(status);
    html! { span.badge.(tone.class()) { @if tone >= Tone::Warn { i.dot {} } (status) } }
}

/// Shown beside a list that goes on by itself.
pub(crate) fn pause() -> Markup {
    html! { button type="button" data-pause aria-pressed="false" { "Pause" } }
}

/// What follows a page that is asked this.
pub(crate) fn address(of: &str, query: &Query, since: Timestamp) -> String {
    let asked = query.link("/live/lines", "of", of);
    format!("{asked}&since={}", since.as_micros() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_of_a_terminal_are_left_out_and_control_characters_are_seen() {
        assert_eq!(plain_text("\x1b[31mred\x1b[0m text"), "red text");
        assert_eq!(plain_text("bell\x07 and \x1b[2"), "bell\u{fffd} and ");
        assert_eq!(plain_text("a\tb\nc"), "a\tb\nc");
    }

    #[test]
    fn a_line_is_text_however_long_and_hostile() {
        let text = format!("<img src=x onerror=alert(1)>{}", "y".repeat(10_000));
        let line =
            LogLine { at: Timestamp::from_micros(0), instance: "<b>".into(), stream: "stderr".into(), text };
        let drawn = line_of(&line).into_string();
        assert!(!drawn.contains("<img") && !drawn.contains("<b><") && drawn.contains("&lt;img"));
        assert!(drawn.len() < 3_000, "{}", drawn.len());
    }
}
