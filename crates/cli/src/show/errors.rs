//! What `atoll errors` shows.

use std::fmt::Write as _;

use api::{ErrorDetail, ErrorGroup, ErrorState, Frame};
use kit::Timestamp;

use super::table::{Cell, Side, Table};
use super::traces::ago;
use super::{Paint, clean, paint};

/// `errors ls`: a line per group.
pub(crate) fn list(groups: &[ErrorGroup], now: Timestamp, columns: Option<usize>, paint: Paint) -> String {
    if groups.is_empty() {
        return "there are no such errors\n".into();
    }
    let mut table = Table::new(&[
        ("GROUP", Side::Left),
        ("STATE", Side::Left),
        ("TIMES", Side::Right),
        ("LAST SEEN", Side::Right),
        ("SERVICE", Side::Left),
        ("WHAT", Side::Left),
    ]);
    for group in groups {
        table.row(vec![
            Cell::new(&group.id),
            Cell::styled(style(group.state), word(group.state)),
            Cell::new(group.count.to_string()),
            Cell::new(ago(group.last_seen, now)),
            Cell::styled(paint::name_style(&group.service), &group.service),
            Cell::new(&group.title),
        ]);
    }
    table.text(columns, paint)
}

/// `errors show`: a group, where it was thrown, and the last times it was.
pub(crate) fn detail(detail: &ErrorDetail, now: Timestamp, paint: Paint) -> String {
    let ErrorDetail { group, last } = detail;
    let mut text = format!("{}\n", paint.bold(clean::text(&group.title)));
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "  {name:<11} {}", clean::text(&value));
    };
    line("group", group.id.clone());
    line("state", word(group.state).into());
    line("service", group.service.clone());
    line("seen", format!("{} times", group.count));
    line("first", release(ago(group.first_seen, now), group.first_release.as_ref()));
    line("last", release(ago(group.last_seen, now), group.last_release.as_ref()));
    if let Some(newest) = last.first() {
        text.push_str("\n  the last one, innermost frame last\n");
        for frame in &newest.frames {
            let shown = format!("    {}", place(frame));
            let _ = writeln!(text, "{}", if frame.in_app { shown } else { paint.dim(shown) });
        }
    }
    if !last.is_empty() {
        text.push('\n');
    }
    for thrown in last {
        let trace = thrown.trace.as_deref().unwrap_or("no trace");
        let who = thrown.instance.as_deref().unwrap_or(&thrown.service);
        let shown = format!("  {}  {who}  {trace}  {}", ago(thrown.at, now), thrown.message);
        let _ = writeln!(text, "{}", clean::text(&shown));
    }
    text
}

fn release(when: String, release: Option<&String>) -> String {
    match release {
        Some(release) => format!("{when}, in {release}"),
        None => when,
    }
}

fn place(frame: &Frame) -> String {
    let function = frame.function.as_deref().unwrap_or("?");
    let file = frame.file.as_deref().unwrap_or("?");
    let line = frame.line.map(|line| format!(":{line}")).unwrap_or_default();
    clean::text(&format!("{function} ({file}{line})"))
}

const fn word(state: ErrorState) -> &'static str {
    match state {
        ErrorState::Open => "open",
        ErrorState::Resolved => "resolved",
        ErrorState::Regressed => "regressed",
        ErrorState::Ignored => "ignored",
    }
}

const fn style(state: ErrorState) -> anstyle::Style {
    match state {
        ErrorState::Open => paint::warn(),
        ErrorState::Regressed => paint::bad(),
        ErrorState::Resolved => paint::good(),
        ErrorState::Ignored => paint::dim(),
    }
}
