//! Shows faults to people: the line, carets under the place, what else matters, what to do.

use std::ops::Range;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Element, Group, Level, Origin, Renderer, Snippet};

use crate::fault::{Fault, Severity, Source, Sources, Span};

/// Lines shown around a place; also what is cut out of a file before it is rendered, so that a large one
/// costs no more than a small one.
const CONTEXT_LINES: usize = 1;
/// Bytes of one line that are shown at most.
const MAX_LINE: usize = 400;
/// Further places of one fault that are shown at most.
const MAX_ALSO: usize = 8;
/// Further places without a word of their own that are listed at most.
const MAX_LISTED: usize = 12;

/// Renders faults the way rustc does, an empty line after each. `color` adds ANSI styles.
pub fn report(faults: &[Fault], sources: &Sources, color: bool) -> String {
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let renderer = renderer.decor_style(DecorStyle::Ascii);
    let mut text = String::new();
    for fault in faults {
        text.push_str(&renderer.render(&[group(fault, sources)]));
        if let (None, Some(hint)) = (fault.span, &fault.hint) {
            text.push_str(&format!("\n  hint: {hint}"));
        }
        text.push_str("\n\n");
    }
    text
}

fn group<'a>(fault: &'a Fault, sources: &'a Sources) -> Group<'a> {
    let level = match fault.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut group = level
        .primary_title(fault.message.as_str())
        .id(fault.code.as_str())
        .elements(Vec::<Element<'_>>::new());
    let mut places: Vec<(Span, &str, AnnotationKind)> = Vec::new();
    if let Some(span) = fault.span {
        places.push((span, &fault.label, AnnotationKind::Primary));
    }
    places.extend(
        fault
            .also
            .iter()
            .filter(|(_, label)| !label.is_empty())
            .take(MAX_ALSO)
            .map(|(span, label)| (*span, label.as_str(), AnnotationKind::Context)),
    );
    let mut windows: Vec<Window<'_>> = Vec::new();
    for (span, label, kind) in places {
        let Some(source) = sources.get(span.source) else { continue };
        let Some((lines, place)) = lines_around(source, span) else {
            group = group.element(Origin::path(source.path.to_string_lossy().into_owned()));
            continue;
        };
        let near = windows.iter_mut().find(|window| {
            window.span.source == span.source
                && lines.start <= window.lines.end
                && window.lines.start <= lines.end
        });
        match near {
            Some(window) => {
                window.lines = window.lines.start.min(lines.start)..window.lines.end.max(lines.end);
                window.places.push((place, label, kind));
            }
            None => windows.push(Window { source, span, lines, places: vec![(place, label, kind)] }),
        }
    }
    for window in windows {
        let text = &window.source.text[window.lines.clone()];
        let first_line = window.source.text[..window.lines.start].matches('\n').count() + 1;
        let mut snippet = Snippet::source(text)
            .path(window.source.path.to_string_lossy().into_owned())
            .line_start(first_line);
        for (place, label, kind) in window.places {
            let span = place.start - window.lines.start..place.end - window.lines.start;
            let label = (!label.is_empty()).then_some(label);
            snippet = snippet.annotation(kind.span(span).label(label));
        }
        group = group.element(snippet);
    }
    if let Some(places) = listed(fault, sources) {
        group = group.element(Level::NOTE.message(format!("also at {places}")));
    }
    match &fault.hint {
        Some(_) if fault.span.is_none() => group, // below no excerpt it would hang in the air
        Some(hint) => group.element(Level::HELP.with_name("hint").message(hint.as_str())),
        None => group,
    }
}

/// The further places that have no word of their own: `6:5, 16:5, other.yaml:3:5`.
fn listed(fault: &Fault, sources: &Sources) -> Option<String> {
    let here = fault.span.map(|span| span.source);
    let mut spans: Vec<Span> =
        fault.also.iter().filter(|(_, label)| label.is_empty()).map(|(span, _)| *span).collect();
    spans.sort_unstable();
    let mut places: Vec<String> = Vec::new();
    for span in spans.iter().take(MAX_LISTED) {
        let (line, column) = sources.line_and_column(*span)?;
        places.push(match sources.get(span.source).filter(|_| here != Some(span.source)) {
            Some(other) => format!("{}:{line}:{column}", other.path.display()),
            None => format!("{line}:{column}"),
        });
    }
    if spans.len() > MAX_LISTED {
        places.push("…".to_owned());
    }
    (!places.is_empty()).then(|| places.join(", "))
}

/// A stretch of whole lines of one file with places in it, in bytes of that file.
struct Window<'a> {
    source: &'a Source,
    span: Span,
    lines: Range<usize>,
    places: Vec<(Range<usize>, &'a str, AnnotationKind)>,
}

/// The lines around a place, and the place cut to its first line. `None`: the file has no text to show, or
/// its line is too long to.
fn lines_around(source: &Source, span: Span) -> Option<(Range<usize>, Range<usize>)> {
    let text = source.text.as_str();
    let start = floor(text, span.start as usize);
    let end = floor(text, span.end as usize).max(start);
    if text.is_empty() {
        return None;
    }
    let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
    let end = end.min(line_end);
    let mut from = text[..start].rfind('\n').map_or(0, |at| at + 1);
    if line_end - from > MAX_LINE {
        // A monster of a line: only what stands at the place.
        let to = floor(text, (start + MAX_LINE).min(line_end));
        return Some((start..to, start..end.min(to)));
    }
    let mut to = line_end;
    for _ in 0..CONTEXT_LINES {
        if from > 0 {
            let before = text[..from - 1].rfind('\n').map_or(0, |at| at + 1);
            if from - before <= MAX_LINE {
                from = before;
            }
        }
        if to < text.len() {
            let after = text[to + 1..].find('\n').map_or(text.len(), |at| to + 1 + at);
            if after - to <= MAX_LINE {
                to = after;
            }
        }
    }
    Some((from..to, start..end))
}

/// The nearest character boundary at or before `at`.
fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}
