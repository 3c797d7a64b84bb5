//! Values over time: lines with axes, marks for what happened, and values under the pointer.

use kit::Timestamp;
use maud::{Markup, html};

use super::scale::{Scale, px, ticks, time_step};
use crate::words::{self, clip};

/// Width of a chart beside another, and of one that has the page for itself.
const WIDTH: f64 = 560.0;
const ACROSS: f64 = 1_140.0;
const HEIGHT: f64 = 190.0;
/// Around the field: left, right, top, bottom.
const ROOM: (f64, f64, f64, f64) = (58.0, 12.0, 12.0, 24.0);
/// Columns that say their values when pointed at.
const COLUMNS: usize = 60;
/// Lines at most; each has a colour and a dash of its own.
pub(crate) const LINES: usize = 8;
/// Marks at most.
const MARKS: usize = 24;

/// A line.
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(Timestamp, f64)>,
}

/// A chart.
pub(crate) struct Chart<'a> {
    pub(crate) title: &'a str,
    pub(crate) lines: &'a [Line],
    /// What happened meanwhile.
    pub(crate) marks: &'a [(Timestamp, String)],
    /// How a value is written.
    pub(crate) write: fn(f64) -> String,
    /// It has the whole width of the page.
    pub(crate) across: bool,
    /// The time that is shown.
    pub(crate) range: (Timestamp, Timestamp),
}

/// The picture.
pub(crate) fn draw(chart: &Chart<'_>) -> Markup {
    let width = if chart.across { ACROSS } else { WIDTH };
    let lines: Vec<&Line> = chart.lines.iter().filter(|line| !line.points.is_empty()).take(LINES).collect();
    let values = lines.iter().flat_map(|line| &line.points).map(|(_, value)| *value);
    let most = values.filter(|value| value.is_finite()).fold(0.0, f64::max);
    let ticks = ticks(most, 4);
    let top = ticks.last().copied().unwrap_or(1.0);
    let (from, until) = chart.range;
    let place = |at: Timestamp| at.as_micros() as f64;
    let x = Scale::new((place(from), place(until)), (ROOM.0, width - ROOM.1));
    let y = Scale::new((0.0, top), (HEIGHT - ROOM.3, ROOM.2));
    let step = time_step(until.since(from).as_micros() as u64, 6);
    let first = from.as_micros().div_ceil(step) * step;
    let moments = (0..=12_u64).map(|n| first + n * step).take_while(|at| *at <= until.as_micros());
    let bottom = HEIGHT - ROOM.3;
    html! {
        figure.chart.across[chart.across] {
            figcaption { (chart.title) }
            @if lines.is_empty() {
                p.empty { "Nothing was measured in this time." }
            } @else {
                div.scroll { svg role="img" aria-label={ (chart.title) ": " (summary(&lines, chart.write)) } viewBox={ "0 0 " (width) " " (HEIGHT) } {
                    g.grid {
                        @for tick in &ticks {
                            line x1=(px(ROOM.0)) x2=(px(width - ROOM.1)) y1=(px(y.at(*tick))) y2=(px(y.at(*tick))) {}
                            text x=(px(ROOM.0 - 6.0)) y=(px(y.at(*tick) + 3.5)) text-anchor="end" { (short(&(chart.write)(*tick))) }
                        }
                        @for moment in moments {
                            @let at = Timestamp::from_micros(moment);
                            (moment_at(at, step, (x.at(place(at)), HEIGHT - 7.0)))
                        }
                    }
                    g.marks {
                        @for (at, what) in chart.marks.iter().filter(|(at, _)| *at >= from && *at <= until).take(MARKS) {
                            g { title { (words::of_day(*at)) " " (clip(what, 160)) }
                                line x1=(px(x.at(place(*at)))) x2=(px(x.at(place(*at)))) y1=(px(ROOM.2)) y2=(px(bottom)) {}
                                circle cx=(px(x.at(place(*at)))) cy=(px(ROOM.2)) r="3.5" {}
                            }
                        }
                    }
                    @for (number, line) in lines.iter().enumerate() {
                        @let class = format!("line c{number}");
                        @if lines.len() == 1 { path.area.c0 d={ (path(line, &x, &y)) "V" (px(bottom)) "H" (px(x.at(place(line.points[0].0)))) "Z" } {} }
                        path class=(class) d=(path(line, &x, &y)) {}
                    }
                    g.hover {
                        @for (left, share, told) in columns(&lines, (from, until), chart.write) {
                            rect x=(px(x.at(left))) y=(px(ROOM.2)) width=(px(share * (width - ROOM.0 - ROOM.1))) height=(px(bottom - ROOM.2)) { title { (told) } }
                        }
                    }
                } }
                @if lines.len() > 1 || !lines[0].name.is_empty() {
                    ul.legend {
                        @for (number, line) in lines.iter().enumerate() {
                            li { (swatch(number)) (clip(&line.name, 80)) " " b { (line.points.last().map_or_else(String::new, |(_, value)| (chart.write)(*value))) } }
                        }
                        @if chart.lines.len() > LINES { li { "and " (chart.lines.len() - LINES) " more" } }
                    }
                }
            }
        }
    }
}

/// A moment on an axis of time: the script of the page shows hours in local time, days are those of UTC.
pub(super) fn moment_at(at: Timestamp, step: u64, (x, y): (f64, f64)) -> Markup {
    const DAY: u64 = 86_400_000_000;
    html! {
        @if step >= DAY { text x=(px(x)) y=(px(y)) text-anchor="middle" { (words::of_month(at)) } }
        @else { text x=(px(x)) y=(px(y)) text-anchor="middle" data-clock=(words::iso(at)) { (words::of_minute(at)) } }
    }
}

/// A round number without what says that it is none.
fn short(text: &str) -> String {
    text.replace(".00 ", " ").replace(".0 ", " ")
}

fn swatch(number: usize) -> Markup {
    let class = format!("line c{number}");
    html! { svg.swatch viewBox="0 0 22 8" aria-hidden="true" { path class=(class) d="M1 4h20" {} } }
}

/// A line without axes, for cards.
pub(crate) fn spark(title: &str, points: &[(Timestamp, f64)], write: fn(f64) -> String) -> Markup {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return html! {} };
    let most = points.iter().map(|(_, value)| *value).fold(0.0, f64::max);
    let place = |at: Timestamp| at.as_micros() as f64;
    let x = Scale::new((place(first.0), place(last.0)), (1.0, 159.0));
    let y = Scale::new((0.0, if most > 0.0 { most * 1.1 } else { 1.0 }), (33.0, 3.0));
    let line = Line { name: String::new(), points: points.to_vec() };
    let drawn = path(&line, &x, &y);
    html! {
        svg.spark role="img" aria-label={ (title) ": now " (write(last.1)) ", at most " (write(most)) } viewBox="0 0 160 36" preserveAspectRatio="none" {
            path.area.c0 d={ (drawn) "V35H1Z" } {}
            path.line.c0 d=(drawn) {}
        }
    }
}

fn summary(lines: &[&Line], write: fn(f64) -> String) -> String {
    let told = lines.iter().map(|line| {
        let last = line.points.last().map_or(0.0, |(_, value)| *value);
        let most = line.points.iter().map(|(_, value)| *value).fold(0.0, f64::max);
        format!("{} now {}, at most {}", clip(&line.name, 40), write(last), write(most)).trim().to_owned()
    });
    told.collect::<Vec<_>>().join("; ")
}

fn path(line: &Line, x: &Scale, y: &Scale) -> String {
    let mut drawn = String::new();
    let mut pen = 'M';
    for (number, (at, value)) in line.points.iter().enumerate() {
        if !value.is_finite() {
            pen = 'M';
            continue;
        }
        drawn.push(pen);
        drawn.push_str(&px(x.at(at.as_micros() as f64)));
        drawn.push(' ');
        drawn.push_str(&px(y.at(*value)));
        let goes_on = line.points.get(number + 1).is_some_and(|(_, next)| next.is_finite());
        if pen == 'M' && !goes_on {
            drawn.push_str("m-1.5 0a1.5 1.5 0 1 0 3 0a1.5 1.5 0 1 0 -3 0"); // a point without neighbours is a dot
        }
        pen = 'L';
    }
    drawn
}

/// What is said when a column is pointed at: where it begins, its share of the width, and the values in it.
fn columns(
    lines: &[&Line],
    (from, until): (Timestamp, Timestamp),
    write: fn(f64) -> String,
) -> Vec<(f64, f64, String)> {
    let span = until.since(from).as_micros() as u64;
    let most = lines.iter().map(|line| line.points.len()).max().unwrap_or(0).clamp(1, COLUMNS);
    let step = (span / most as u64).max(1);
    let mut columns = Vec::new();
    for number in 0..most as u64 {
        let begin = from.as_micros() + number * step;
        let mut told = words::of_day(Timestamp::from_micros(begin));
        let mut any = false;
        for line in lines {
            let mut near =
                line.points.iter().filter(|(at, _)| (begin..begin + step).contains(&at.as_micros()));
            if let Some((_, value)) = near.next_back() {
                told.push_str(&format!("\n{} {}", clip(&line.name, 60), write(*value)));
                any = true;
            }
        }
        if any {
            columns.push((begin as f64, step as f64 / span.max(1) as f64, told));
        }
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> Timestamp {
        Timestamp::from_micros(1_700_000_000_000_000 + second * 1_000_000)
    }

    #[test]
    fn a_point_without_neighbours_can_be_seen() {
        let (x, y) = (Scale::new((0.0, 1.0), (0.0, 1.0)), Scale::new((0.0, 1.0), (1.0, 0.0)));
        let dots = |values: &[f64]| {
            let points = values.iter().zip(0..).map(|(value, second)| (at(second), *value)).collect();
            path(&Line { name: String::new(), points }, &x, &y).matches("a1.5").count() / 2
        };
        assert_eq!((dots(&[1.0]), dots(&[1.0, 2.0])), (1, 0));
        assert_eq!(dots(&[1.0, f64::NAN, 2.0, 3.0, f64::NAN, 4.0]), 2);
    }

    fn chart(lines: &[Line]) -> String {
        let marks = [(at(30), "orders-1 restarted <b>".to_owned())];
        let chart = Chart {
            title: "Requests",
            lines,
            marks: &marks,
            write: words::number,
            across: false,
            range: (at(0), at(60)),
        };
        draw(&chart).into_string()
    }

    #[test]
    fn a_chart_has_axes_values_and_what_happened() {
        let points = (0..60).map(|second| (at(second), second as f64)).collect();
        let drawn = chart(&[Line { name: "orders <i>".into(), points }]);
        for part in
            ["orders &lt;i&gt; now 59, at most 59", "orders-1 restarted &lt;b&gt;", ">20<", ">60<", "<title>"]
        {
            assert!(drawn.contains(part), "{part}\n{drawn}");
        }
        assert!(!drawn.contains("style="));
    }

    #[test]
    fn what_is_no_number_leaves_a_gap() {
        let points = vec![(at(0), 1.0), (at(1), f64::NAN), (at(2), f64::INFINITY), (at(3), 2.0)];
        let drawn = chart(&[Line { name: String::new(), points }]);
        assert!(!drawn.contains("NaN") && !drawn.contains("inf"), "{drawn}");
        assert!(chart(&[]).contains("Nothing was measured"));
    }
}
