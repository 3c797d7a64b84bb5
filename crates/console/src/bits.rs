//! Small things that many pages are made of.

use api::{BreakerState, InstanceState, Level, Phase, ServiceState, Severity};
use kit::Timestamp;
use maud::{Markup, html};

use crate::desk::Note;
use crate::place::{Place, Query};
use crate::view::At;
use crate::words;

/// Rows of a list on one page at most.
pub(crate) const ROWS: usize = 100;

/// How something is. Colour never says it alone: there is always a word beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tone {
    Good,
    Quiet,
    Busy,
    Warn,
    Bad,
}

impl Tone {
    pub(crate) const fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Quiet => "quiet",
            Self::Busy => "busy",
            Self::Warn => "warn",
            Self::Bad => "bad",
        }
    }
}

pub(crate) const fn of_service(state: ServiceState) -> Tone {
    match state {
        ServiceState::Ready => Tone::Good,
        ServiceState::Completed | ServiceState::Stopped | ServiceState::Unsupported => Tone::Quiet,
        ServiceState::Waiting | ServiceState::Preparing | ServiceState::Starting | ServiceState::Stopping => {
            Tone::Busy
        }
        ServiceState::Degraded => Tone::Warn,
        ServiceState::Failed => Tone::Bad,
    }
}

pub(crate) const fn of_instance(state: InstanceState) -> Tone {
    match state {
        InstanceState::Ready => Tone::Good,
        InstanceState::Exited => Tone::Quiet,
        InstanceState::Waiting
        | InstanceState::Starting
        | InstanceState::Draining
        | InstanceState::Stopping => Tone::Busy,
        InstanceState::Unready => Tone::Warn,
        InstanceState::Backoff => Tone::Bad,
    }
}

pub(crate) const fn of_breaker(state: BreakerState) -> Tone {
    match state {
        BreakerState::Closed => Tone::Good,
        BreakerState::Open => Tone::Bad,
        BreakerState::HalfOpen => Tone::Busy,
        BreakerState::HeldOpen | BreakerState::HeldClosed => Tone::Warn,
    }
}

pub(crate) const fn of_level(level: Level) -> (Tone, &'static str) {
    match level {
        Level::Info => (Tone::Quiet, "info"),
        Level::Warning => (Tone::Warn, "warning"),
        Level::Error => (Tone::Bad, "error"),
    }
}

pub(crate) const fn of_severity(severity: Severity) -> (Tone, &'static str) {
    match severity {
        Severity::Trace => (Tone::Quiet, "trace"),
        Severity::Debug => (Tone::Quiet, "debug"),
        Severity::Info => (Tone::Good, "info"),
        Severity::Warn => (Tone::Warn, "warn"),
        Severity::Error => (Tone::Bad, "error"),
        Severity::Fatal => (Tone::Bad, "fatal"),
    }
}

/// How an HTTP status looks.
pub(crate) const fn of_status(status: u16) -> Tone {
    match status {
        500.. => Tone::Bad,
        400..=499 => Tone::Warn,
        _ => Tone::Good,
    }
}

pub(crate) fn badge(tone: Tone, word: &str) -> Markup {
    html! { span.badge.(tone.class()) { i.dot {} (word) } }
}

pub(crate) fn phase(phase: Phase) -> Markup {
    let (tone, word) = match phase {
        Phase::Starting => (Tone::Busy, "starting"),
        Phase::Ready => (Tone::Good, "ready"),
        Phase::Degraded => (Tone::Warn, "degraded"),
        Phase::Stopping => (Tone::Busy, "stopping"),
    };
    badge(tone, word)
}

/// A moment; the page's script shows it in local time.
pub(crate) fn time(at: Timestamp) -> Markup {
    html! { time datetime=(words::iso(at)) title=(words::iso(at)) { (words::of_day(at)) } }
}

/// A moment with its date.
pub(crate) fn date(at: Timestamp) -> Markup {
    html! { time.date datetime=(words::iso(at)) title=(words::iso(at)) { (words::of_date(at)) } }
}

/// What cannot be shown, and what to do.
pub(crate) fn note(note: &Note) -> Markup {
    html! {
        div.note.warn {
            p { strong { (words::clip(&note.title, 400)) } @if let Some(code) = &note.code { " " code { (code) } } }
            @if let Some(hint) = &note.hint { p { (hint) } }
        }
    }
}

/// A list that is empty.
pub(crate) fn empty(text: &str) -> Markup {
    html! { p.empty { (text) } }
}

/// What proves that a form is of this session.
pub(crate) fn csrf(at: &At) -> Markup {
    html! { input type="hidden" name="csrf" value=(at.who.csrf); }
}

/// A button that does something, with what it says before it does.
pub(crate) struct Act<'a> {
    pub(crate) at: &'a At,
    pub(crate) action: &'static str,
    pub(crate) fields: &'a [(&'static str, &'a str)],
    pub(crate) label: &'a str,
    /// Asked first; empty: nothing is asked.
    pub(crate) sure: &'a str,
    pub(crate) danger: bool,
}

pub(crate) fn act(act: &Act<'_>) -> Markup {
    if !act.at.operates() {
        return html! {};
    }
    let sure = (!act.sure.is_empty()).then_some(act.sure);
    html! {
        form.inline method="post" action={ "/do/" (act.action) } data-act data-sure=[sure] {
            (csrf(act.at))
            input type="hidden" name="back" value=(act.at.address());
            @for (name, value) in act.fields { input type="hidden" name=(name) value=(value); }
            button.danger[act.danger] type="submit" { (act.label) }
        }
    }
}

/// Bytes of a text that can be copied at most.
const MOST_COPIED: usize = 8 << 10;

/// Copies text; nothing where it is more than anybody would paste.
pub(crate) fn copy(label: &str, text: &str) -> Markup {
    if text.len() > MOST_COPIED {
        return html! {};
    }
    let text = &words::pasted(text);
    html! { button.copy type="button" data-copy=(text) title=(words::clip(text, 300)) { (icon("Copy")) span.hidden { "Copy " } span { (label) } } }
}

/// Whose work stands beside that of services without being one: the gateway's, and the node's own.
const NO_SERVICES: [&str; 2] = ["gateway", "atoll"];

/// The link to a service; a name alone where there is no page to lead to.
pub(crate) fn service(name: &str) -> Markup {
    html! {
        @if NO_SERVICES.contains(&name) { span { (words::clip(name, 63)) } }
        @else { a href=(Place::Service(name.to_owned()).path()) { (words::clip(name, 63)) } }
    }
}

/// The link to a trace.
pub(crate) fn trace(id: &str) -> Markup {
    html! { a.mono href=(Place::Trace(id.to_owned()).path()) { (words::clip(id, 9)) } }
}

/// A number with a name above it.
pub(crate) fn card(name: &str, value: &str, more: &Markup) -> Markup {
    card_in(None, name, value, more)
}

/// The same where the number is good or bad news.
pub(crate) fn card_in(tone: Option<Tone>, name: &str, value: &str, more: &Markup) -> Markup {
    let class = tone.map_or("value", |tone| if tone >= Tone::Bad { "value is-bad" } else { "value is-warn" });
    html! { div.card { h2 { (name) } p class=(class) { (value) } div.more { (more) } } }
}

/// A field of a form of filters.
pub(crate) fn field(query: &Query, name: &'static str, label: &str, hint: &str) -> Markup {
    html! {
        label.field { span { (label) }
            input type="search" name=(name) value=(query.text(name)) placeholder=(hint) data-search[name == "q"];
        }
    }
}

/// A field of a form of filters that asks for a service, and knows which there are.
pub(crate) fn service_field(query: &Query, names: &[String], hint: &str) -> Markup {
    html! {
        label.field { span { "Service" }
            input type="search" name="service" value=(query.text("service")) placeholder=(hint) list="services";
        }
        datalist #services { @for name in names.iter().take(1_000) { option value=(name) {} } }
    }
}

/// A choice in a form of filters.
pub(crate) fn choice(query: &Query, name: &'static str, label: &str, options: &[(&str, &str)]) -> Markup {
    let now = query.text(name);
    html! {
        label.field { span { (label) }
            select name=(name) {
                @for (value, text) in options { option value=(value) selected[now == *value] { (text) } }
            }
        }
    }
}

/// A form that changes what a page is asked.
pub(crate) fn filters(path: &str, fields: &Markup) -> Markup {
    form(path, "Narrow this page", "filters", fields)
}

/// The same for a list that is only a part of its page.
pub(crate) fn filters_of(path: &str, what: &str, fields: &Markup) -> Markup {
    form(path, what, "filters", fields)
}

/// The same where everything is chosen: with the script of the page a choice is enough.
pub(crate) fn chooser(path: &str, fields: &Markup) -> Markup {
    form(path, "Narrow this page", "filters auto", fields)
}

fn form(path: &str, label: &str, class: &str, fields: &Markup) -> Markup {
    html! {
        form class=(class) method="get" action=(path) role="search" aria-label=(label) data-filters {
            (fields)
            button type="submit" { "Show" }
        }
    }
}

/// One page of a list, and how to get to the others.
pub(crate) fn page<'a, T>(rows: &'a [T], query: &Query, path: &str) -> (&'a [T], Markup) {
    let pages = rows.len().div_ceil(ROWS).max(1);
    let page = query.number::<usize>("page").unwrap_or(1).clamp(1, pages);
    let from = (page - 1) * ROWS;
    let shown = &rows[from..rows.len().min(from + ROWS)];
    let link = |to: usize| query.link(path, "page", &if to == 1 { String::new() } else { to.to_string() });
    let pager = html! {
        @if pages > 1 {
            nav.pager aria-label="Pages" {
                @if page > 1 { a rel="prev" href=(link(page - 1)) { "← Previous" } }
                span { (from + 1) "–" (from + shown.len()) " of " (words::count(rows.len() as u64)) }
                @if page < pages { a rel="next" href=(link(page + 1)) { "Next →" } }
            }
        }
    };
    (shown, pager)
}

/// The ring.
pub(crate) fn mark() -> Markup {
    html! {
        svg.mark viewBox="0 0 32 32" aria-hidden="true" {
            circle cx="16" cy="16" r="11" fill="none" stroke="currentColor" stroke-width="4.5" stroke-dasharray="12 4.6 8 4.6 17 4.6 13.5 4.6" stroke-linecap="round" {}
        }
    }
}

/// A small picture beside a word.
pub(crate) fn icon(name: &str) -> Markup {
    let path = match name {
        "Overview" => {
            "M3 8a2 2 0 1 0 4 0a2 2 0 1 0-4 0M9 3.5a2 2 0 1 0 4 0a2 2 0 1 0-4 0M9 12.5a2 2 0 1 0 4 0a2 2 0 1 0-4 0M6.6 6.8L9.5 4.6M6.6 9.2l2.9 2.2"
        }
        "Services" => "M3 3h4v4H3zM9 3h4v4H9zM3 9h4v4H3zM9 9h4v4H9z",
        "Routes" => {
            "M3 4h3c4 0 3 8 7 8M3 12h3c1.5 0 2.200-1 2.800-2.300M13 4h-2c-1 0-1.700.5-2.200 1.300M11 2l2 2-2 2M11 10l2 2-2 2"
        }
        "Requests" => "M2 5h11M10 2l3 3-3 3M14 11H3M6 8l-3 3 3 3",
        "Traces" => "M2 4h8M5 8h7M8 12h6",
        "Logs" => "M3 3h10M3 6.300h7M3 9.600h10M3 13h5",
        "Metrics" => "M2 13h12M3 10l3-4 3 2 4-5",
        "Queues" => "M2 4h3v8H2zM6.500 4h3v8h-3zM11 4h3v8h-3z",
        "Errors" => "M8 2l6 11H2zM8 6.500v3M8 11v.5",
        "Objectives" => {
            "M8 2a6 6 0 1 0 0 12a6 6 0 1 0 0-12M8 5.500a2.500 2.500 0 1 0 0 5a2.500 2.500 0 1 0 0-5"
        }
        "Events" => "M8 2a6 6 0 1 0 0 12a6 6 0 1 0 0-12M8 5v3.200l2 1.500",
        "Copy" => "M6 6h7v7H6zM10 6V3H3v7h3",
        "Settings" => "M2 5h7M12 5h2M2 11h2M7 11h7M9 3.500v3M5.500 9.500v3",
        _ => "M8 2a6 6 0 1 0 0 12zM8 2a6 6 0 0 1 0 12",
    };
    html! { svg.icon viewBox="0 0 16 16" aria-hidden="true" { path d=(path) {} } }
}
