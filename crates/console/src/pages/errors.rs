//! Errors that services throw, those that are the same one together.

use api::{ErrorGroup, ErrorQuery, ErrorState, Frame, Occurrence};
use maud::{Markup, html};

use super::{Missing, SPANS, has, lines, range, service_names, trace};
use crate::bits::{self, Act, Tone};
use crate::desk::Desk;
use crate::place::Place;
use crate::view::{At, View};
use crate::words::{self, clip};

/// Frames of a stack that are shown.
const MOST_FRAMES: usize = 60;
/// Occurrences that are shown.
const MOST: usize = 10;

const STATES: [(&str, &str); 5] = [
    ("", "open and back again"),
    ("open", "open"),
    ("regressed", "back again"),
    ("resolved", "resolved"),
    ("ignored", "ignored"),
];

const fn shown(state: ErrorState) -> (Tone, &'static str) {
    match state {
        ErrorState::Open => (Tone::Bad, "open"),
        ErrorState::Resolved => (Tone::Good, "resolved"),
        ErrorState::Regressed => (Tone::Warn, "back again"),
        ErrorState::Ignored => (Tone::Quiet, "ignored"),
    }
}

pub(crate) async fn list(desk: &Desk, at: &At) -> Result<View, Missing> {
    let (asked, _) = range(&at.query, desk.now());
    let question = ErrorQuery {
        service: at.query.get("service").map(str::to_owned),
        state: match at.query.text("state") {
            "open" => Some(ErrorState::Open),
            "regressed" => Some(ErrorState::Regressed),
            "resolved" => Some(ErrorState::Resolved),
            "ignored" => Some(ErrorState::Ignored),
            _ => None,
        },
        range: if at.query.get("last").is_some() { asked } else { api::Range::default() },
        limit: Some(1_000),
    };
    let filters = html! {
        (bits::field(&at.query, "q", "Search", "title, place"))
        (bits::service_field(&at.query, &service_names(desk).await, "any"))
        (bits::choice(&at.query, "state", "State", &STATES))
        (bits::choice(&at.query, "last", "Seen in the", &[&[("", "whole time")][..], &SPANS[1..]].concat()))
    };
    let view = View::new("Errors").still("filters", bits::filters("/errors", &filters));
    let groups = match desk.client.errors(&question).await {
        Ok(groups) => groups,
        Err(error) => return Ok(view.live("groups", bits::note(&error.into()))),
    };
    let search = at.query.text("q");
    let culprit = |group: &ErrorGroup| group.culprit.clone().unwrap_or_default();
    let fits: Vec<&ErrorGroup> =
        groups.iter().filter(|group| has(search, &[&group.title, &culprit(group)])).collect();
    let (page, pager) = bits::page(&fits, &at.query, "/errors");
    let now = desk.now();
    let table = html! {
        @if fits.is_empty() { (bits::empty("No error fits. A stack trace that a service prints becomes one, and so does what it sends to `SENTRY_DSN`.")) } @else {
            div.scroll { table.rows {
                caption.hidden { "Groups of errors" }
                thead { tr { th scope="col" { "Error" } th scope="col" { "State" } th scope="col" { "Service" } th.num scope="col" { "Times" } th.num scope="col" { "Last" } th.num scope="col" { "First" } th scope="col" { "Release" } } }
                tbody { @for group in page {
                    @let (tone, word) = shown(group.state);
                    tr {
                        th.said scope="row" { a href=(Place::Error(group.id.clone()).path()) { (clip(&group.title, 160)) } @if let Some(culprit) = &group.culprit { br; span.muted.mono { (clip(culprit, 120)) } } }
                        td { (bits::badge(tone, word)) }
                        td { (bits::service(&group.service)) }
                        td.num { (words::count(group.count)) }
                        td.num { (words::ago(group.last_seen, now)) " ago" }
                        td.num { (words::ago(group.first_seen, now)) " ago" }
                        td.mono { (clip(group.last_release.as_deref().unwrap_or("–"), 30)) }
                    }
                } }
            } }
            (pager)
        }
    };
    Ok(view.live("groups", table).say(words::several(fits.len() as u64, "group of error")))
}

pub(crate) async fn one(desk: &Desk, at: &At, id: &str) -> Result<View, Missing> {
    let detail = desk.client.error(id).await?;
    let group = &detail.group;
    let (tone, word) = shown(group.state);
    let decide = |state: &str, label: &str| {
        bits::act(&Act {
            at,
            action: "error",
            fields: &[("id", &group.id), ("state", state)],
            label,
            sure: "",
            danger: false,
        })
    };
    let now = desk.now();
    let head = html! {
        section.panel aria-label="State" {
            div.row.between {
                div.row { (bits::badge(tone, word)) (bits::service(&group.service)) span.muted { (words::several(group.count, "time")) ", last " (words::ago(group.last_seen, now)) " ago" } }
                div.row {
                    @if !matches!(group.state, ErrorState::Resolved) { (decide("resolved", "Resolve")) }
                    @if !matches!(group.state, ErrorState::Ignored) { (decide("ignored", "Ignore")) }
                    @if matches!(group.state, ErrorState::Resolved | ErrorState::Ignored) { (decide("open", "Open again")) }
                }
            }
            dl.facts {
                div { dt { "First" } dd { (bits::date(group.first_seen)) @if let Some(release) = &group.first_release { " in " code { (clip(release, 60)) } } } }
                div { dt { "Last" } dd { (bits::date(group.last_seen)) @if let Some(release) = &group.last_release { " in " code { (clip(release, 60)) } } } }
                @if let Some(culprit) = &group.culprit { div { dt { "Thrown by" } dd.mono { (clip(culprit, 200)) } } }
            }
        }
    };
    let times = html! {
        h2 { "The last times" }
        @for (number, one) in detail.last.iter().take(MOST).enumerate() { (occurrence(one, number == 0, None)) }
    };
    let command = format!("atoll errors show {}", words::shell(&group.id));
    let mut view =
        View::new(clip(&group.title, 160)).aside(bits::copy("atoll", &command)).live("state", head);
    if let Some(id) = detail.last.iter().find_map(|one| one.trace.as_deref())
        && let Ok(trace) = desk.client.trace(id).await
        && !trace.spans.is_empty()
    {
        view = view.live("led", html! {
            div.row.between { h2 { "The trace that led to it" } a href=(Place::Trace(trace.trace.clone()).path()) { "Open" } }
            (trace::Picture::of(&trace).over_time())
        });
    }
    Ok(view.live("times", times))
}

/// One time that it happened; in a trace: how often it did there, and the way to the others.
pub(crate) fn occurrence(one: &Occurrence, open: bool, times: Option<usize>) -> Markup {
    html! {
        details.panel open[open] {
            summary { (bits::date(one.at)) " " b { (clip(&one.kind, 80)) } @if !one.message.is_empty() { ": " (clip(&one.message, 300)) } @if let Some(times) = times.filter(|times| *times > 1) { " " span.tag { (times) "×" } } }
            div.row.muted {
                @if let Some(instance) = &one.instance { span { (clip(instance, 70)) } } @else { span { (clip(&one.service, 63)) } }
                @if let Some(release) = &one.release { span { "release " code { (clip(release, 60)) } } }
                @if let Some(trace) = one.trace.as_ref().filter(|_| times.is_none()) { span { "trace " (bits::trace(trace)) } }
                @if times.is_some() { a href=(Place::Error(one.group.clone()).path()) { "All of this kind" } }
            }
            @if !one.frames.is_empty() { (stack(&one.frames)) }
            @if !one.attributes.is_empty() {
                dl.facts { @for (key, value) in one.attributes.iter().take(60) { div { dt { (clip(key, 80)) } dd { (clip(&lines::plain(value), 300)) } } } }
            }
        }
    }
}

/// The innermost first; what lies between frames of the service's own is folded away.
fn stack(frames: &[Frame]) -> Markup {
    let own = frames.iter().any(|frame| frame.in_app);
    let shown: Vec<&Frame> = frames.iter().rev().take(MOST_FRAMES).collect();
    html! {
        ol.frames {
            @for run in shown.chunk_by(|a, b| a.in_app == b.in_app) {
                @if own && run.len() > 1 && !run[0].in_app {
                    li { details { summary.muted { (words::several(run.len() as u64, "frame")) " of libraries" } ul.frames { @for one in run { (frame(one)) } } } }
                } @else { @for one in run { (frame(one)) } }
            }
        }
    }
}

fn frame(frame: &Frame) -> Markup {
    html! {
        li.own[frame.in_app] {
            code { (clip(frame.function.as_deref().unwrap_or("?"), 160)) }
            @if let Some(file) = &frame.file { span.muted { " " (clip(short(file), 160)) @if let Some(line) = frame.line { ":" (line) } } }
            @if !frame.in_app { " " span.tag { "library" } }
        }
    }
}

/// A file without where a toolchain or a package manager keeps it.
fn short(file: &str) -> &str {
    for mark in ["/registry/src/", "/rustc/", "/site-packages/", "/node_modules/", "/pkg/mod/"] {
        if let Some((_, rest)) = file.split_once(mark) {
            let indexed = mark == "/registry/src/" || mark == "/rustc/";
            return if indexed { rest.split_once('/').map_or(rest, |(_, rest)| rest) } else { rest };
        }
    }
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(function: &str, in_app: bool) -> Frame {
        Frame { function: Some(function.into()), file: None, line: None, in_app }
    }

    #[test]
    fn libraries_between_frames_of_the_service_are_folded() {
        let frames = [frame("main", true), frame("a", false), frame("b", false), frame("pay", true)];
        let drawn = stack(&frames).into_string();
        assert!(drawn.contains("2 frames of libraries"), "{drawn}");
        assert!(drawn.find("pay").unwrap() < drawn.find("main").unwrap(), "the innermost first");
        let foreign = stack(&[frame("a", false), frame("b", false)]).into_string();
        assert!(!foreign.contains("<details"), "where all is foreign, all is shown");
    }

    #[test]
    fn files_are_named_without_where_they_are_kept() {
        for (file, said) in [
            ("/cargo/registry/src/index-1/axum-0.8/src/lib.rs", "axum-0.8/src/lib.rs"),
            ("/rustc/abc/library/std/src/panic.rs", "library/std/src/panic.rs"),
            ("/usr/lib/python3/site-packages/starlette/routing.py", "starlette/routing.py"),
            ("./src/main.rs", "./src/main.rs"),
        ] {
            assert_eq!(short(file), said);
        }
    }
}
