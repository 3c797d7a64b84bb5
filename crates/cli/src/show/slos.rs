//! Objectives: the table of `slo ls`, the page of `slo show`, and the lines of `ps` about what fires.

use anstyle::Style;
use api::{Alert, Slo, Urgency};
use kit::Timestamp;

use super::table::{Cell, Side, Table};
use super::{Paint, clean, paint, time};

/// How wide the line of a burn-down is, and of what it is drawn.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// `slo ls`.
pub(crate) fn list(slos: &[Slo], now: Timestamp, columns: Option<usize>, paint: Paint) -> String {
    if slos.is_empty() {
        return "nothing is promised: write `slo: { availability: 99.9% }` under a service or a route\n"
            .into();
    }
    let mut table = Table::new(&[
        ("PROMISE", Side::Left),
        ("OBJECTIVE", Side::Left),
        ("GOOD", Side::Right),
        ("BAD/ALL", Side::Right),
        ("BUDGET LEFT", Side::Right),
        ("BURNS", Side::Right),
        ("ALERT", Side::Left),
    ]);
    for slo in slos {
        let firing = slo.firing.map(|firing| {
            let since = time::span(now.since(firing.since));
            Cell::styled(style_of(firing.urgency), format!("{} for {since}", firing.urgency.as_str()))
        });
        let fastest = slo.burns.first().map_or(0.0, |burn| burn.long);
        table.row(vec![
            Cell::styled(paint::name_style(&slo.service), &slo.name),
            Cell::new(objective(slo)),
            Cell::new(percent(slo.good, 3)),
            Cell::new(format!("{}/{}", slo.bad, slo.total)),
            Cell::styled(style_of_budget(slo.budget_left), percent(slo.budget_left, 1)),
            Cell::new(format!("{fastest:.1}×")),
            firing.unwrap_or_else(Cell::none),
        ]);
    }
    table.text(columns, paint)
}

/// `slo show`: one promise.
pub(crate) fn one(slo: &Slo, now: Timestamp, columns: Option<usize>, paint: Paint) -> String {
    let budget = paint.style(style_of_budget(slo.budget_left), percent(slo.budget_left, 1));
    let mut text = format!(
        "{}\n  {}: {} of {} requests were good ({}), {budget} of the budget is left\n",
        clean::text(&slo.name),
        objective(slo),
        slo.total - slo.bad.min(slo.total),
        slo.total,
        percent(slo.good, 3),
    );
    if let Some(firing) = slo.firing {
        let what = paint.style(style_of(firing.urgency), firing.urgency.as_str());
        text.push_str(&format!("  alert: {what} for {}\n", time::span(now.since(firing.since))));
    }
    let bar = |left: &f64| {
        let step = (left.clamp(0.0, 1.0) * (BARS.len() - 1) as f64).round();
        BARS[step as usize]
    };
    let line: String = slo.burn_down.iter().map(|(_, left)| bar(left)).collect();
    text.push_str(&format!("  budget: {line}\n\n"));
    let mut table = Table::new(&[
        ("WINDOWS", Side::Left),
        ("BURNS", Side::Right),
        ("AND NOW", Side::Right),
        ("TOO FAST FROM", Side::Right),
        ("THEN", Side::Left),
    ]);
    for burn in &slo.burns {
        let span = |seconds| time::span(std::time::Duration::from_secs(seconds));
        let style = if burn.holds { style_of(burn.urgency) } else { Style::new() };
        table.row(vec![
            Cell::new(format!("{} and {}", span(burn.long_s), span(burn.short_s))),
            Cell::styled(style, format!("{:.1}×", burn.long)),
            Cell::styled(style, format!("{:.1}×", burn.short)),
            Cell::new(format!("{:.1}×", burn.limit)),
            Cell::new(burn.urgency.as_str()),
        ]);
    }
    text.push_str(&table.text(columns, paint));
    text
}

/// What fires, a line each.
pub(crate) fn firing(alerts: &[Alert], now: Timestamp, paint: Paint) -> String {
    let line = |alert: &Alert| {
        let what = paint.style(style_of(alert.urgency), alert.urgency.as_str());
        format!("{what} for {}: {}\n", time::span(now.since(alert.since)), clean::text(&alert.summary))
    };
    alerts.iter().map(line).collect()
}

fn objective(slo: &Slo) -> String {
    let days = time::span(std::time::Duration::from_secs(slo.window_s));
    match slo.within_us {
        Some(us) => {
            let within = kit::units::format_duration(std::time::Duration::from_micros(us));
            format!("{} within {within} over {days}", percent(slo.promised, 3))
        }
        None => format!("{} over {days}", percent(slo.promised, 3)),
    }
}

/// Rounded down, so that 99.9996 % never reads as all.
fn percent(share: f64, digits: u32) -> String {
    let scale = 10f64.powi(digits.try_into().unwrap_or(0));
    // A little more, so that what is just written in the file is not a digit less.
    let number = (share * 100.0 * scale + 1e-6).floor() / scale;
    format!("{number} %")
}

fn style_of(urgency: Urgency) -> Style {
    match urgency {
        Urgency::Page => paint::bad(),
        Urgency::Ticket => paint::warn(),
    }
}

fn style_of_budget(left: f64) -> Style {
    if left <= 0.0 {
        paint::bad()
    } else if left < 0.25 {
        paint::warn()
    } else {
        Style::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_promised_is_never_rounded_up() {
        assert_eq!(percent(0.999, 3), "99.9 %");
        assert_eq!(percent(0.999_999_6, 3), "99.999 %");
        assert_eq!(percent(1.0, 3), "100 %");
        assert_eq!(percent(-0.5, 1), "-50 %");
    }
}
