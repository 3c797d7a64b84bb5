//! What is promised: how much of each budget is left, how fast it burns, and how that came.

use api::{Slo, Urgency};
use kit::Timestamp;
use maud::{Markup, html};

use super::{Missing, has};
use crate::bits::{self, Tone};
use crate::desk::Desk;
use crate::draw::series;
use crate::view::{At, View};
use crate::words::{self, clip};

/// Objectives whose budgets are drawn.
const DRAWN: usize = 12;

pub(crate) async fn page(desk: &Desk, at: &At) -> Result<View, Missing> {
    let filters = bits::field(&at.query, "q", "Search", "name, service, route");
    let view = View::new("Objectives")
        .aside(bits::copy("atoll", "atoll slo"))
        .still("filters", bits::filters("/objectives", &filters));
    let all = match desk.client.slos().await {
        Ok(all) => all,
        Err(error) => return Ok(view.live("objectives", bits::note(&error.into()))),
    };
    let search = at.query.text("q");
    let route = |slo: &Slo| slo.route.clone().unwrap_or_default();
    let fits: Vec<&Slo> =
        all.iter().filter(|slo| has(search, &[&slo.name, &slo.service, &route(slo)])).collect();
    let (shown, pager) = bits::page(&fits, &at.query, "/objectives");
    let list = html! {
        @if all.is_empty() { (bits::empty("Nothing is promised yet. `slo: { availability: 99.9% }` under a service or a route promises that, and keeps count.")) }
        @else if fits.is_empty() { (bits::empty("No objective fits.")) }
        @else { (table(shown)) (pager) }
    };
    let firing = all.iter().filter(|slo| slo.firing.is_some()).count() as u64;
    Ok(view
        .live("objectives", list)
        .live("budgets", html! { div.charts { @for slo in shown.iter().take(DRAWN) { (budget(slo)) } } })
        .say(format!("{} at risk", words::several(firing, "objective"))))
}

/// What is promised of a service, for its own page; nothing where nothing is.
pub(crate) async fn of_service(desk: &Desk, name: &str) -> Option<Markup> {
    let all = desk.client.slos().await.ok()?;
    let own: Vec<&Slo> = all.iter().filter(|slo| slo.service == name).collect();
    (!own.is_empty()).then(|| {
        html! {
            section.panel aria-label="Objectives" { h2 { "What is promised" } (table(&own)) }
            div.charts { @for slo in own.iter().take(DRAWN) { (budget(slo)) } }
        }
    })
}

/// How a promise stands, in a word.
fn standing(slo: &Slo) -> (Tone, &'static str) {
    match (slo.firing.map(|firing| firing.urgency), slo.budget_left) {
        (_, left) if left <= 0.0 => (Tone::Bad, "broken"),
        (Some(Urgency::Page), _) => (Tone::Bad, "burns fast"),
        (Some(Urgency::Ticket), _) => (Tone::Warn, "burns"),
        _ => (Tone::Good, "kept"),
    }
}

fn table(slos: &[&Slo]) -> Markup {
    html! {
        div.scroll { table.rows {
            caption.hidden { "Objectives" }
            thead { tr {
                th scope="col" { "Of" } th scope="col" { "Promised" } th scope="col" { "Stands" } th.num scope="col" { "Good" }
                th scope="col" { "Budget left" } th.num scope="col" { "Bad" } th scope="col" { "Burns" }
            } }
            tbody { @for slo in slos {
                @let (tone, word) = standing(slo);
                tr {
                    th scope="row" { (bits::service(&slo.service)) @if let Some(route) = &slo.route { " " span.mono.muted { (clip(route, 60)) } } }
                    td { (promise(slo)) }
                    td { (bits::badge(tone, word)) }
                    td.num { (share(slo.good)) }
                    td { div.row { (gauge(slo.budget_left)) span { (left(slo.budget_left)) } } }
                    td.num { (words::count(slo.bad)) " of " (words::count(slo.total)) }
                    td { @for burn in &slo.burns { span.tag.bad[burn.holds] title={ "in the last " (seconds(burn.long_s)) " and " (seconds(burn.short_s)) ": " (words::number(burn.long)) " and " (words::number(burn.short)) " times as fast as it may; told from " (words::number(burn.limit)) " on" } { (seconds(burn.long_s)) " " (words::number(burn.long)) "×" } " " } }
                }
            } }
        } }
    }
}

/// `99.9 % within 100 ms in 30d 0h`.
fn promise(slo: &Slo) -> String {
    let what =
        slo.within_us.map_or_else(|| "do not fail".to_owned(), |us| format!("within {}", words::micros(us)));
    format!("{} {what}, over {}", share(slo.promised), seconds(slo.window_s))
}

fn seconds(seconds: u64) -> String {
    match seconds {
        s if s >= 86_400 && s.is_multiple_of(86_400) => format!("{}d", s / 86_400),
        s if s >= 3_600 && s.is_multiple_of(3_600) => format!("{}h", s / 3_600),
        s if s >= 60 && s.is_multiple_of(60) => format!("{}m", s / 60),
        s => format!("{s}s"),
    }
}

/// A share with as many digits as a promise has.
fn share(share: f64) -> String {
    let text = format!("{:.3}", share * 100.0);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

/// What is left of a budget, in words.
fn left(left: f64) -> String {
    if left > 0.0 {
        return format!("{} %", words::number(left * 100.0));
    }
    match 1.0 - left {
        used if used < 1.05 => "used up".to_owned(),
        used => format!("used {} times", words::number(used)),
    }
}

/// What is left, as a bar.
fn gauge(left: f64) -> Markup {
    let wide = (left.clamp(0.0, 1.0) * 100.0).round();
    let tone = if left <= 0.0 {
        "ill"
    } else if left < 0.25 {
        "low"
    } else {
        "well"
    };
    html! {
        svg.gauge viewBox="0 0 100 8" aria-hidden="true" {
            rect.all width="100" height="8" rx="4" {}
            rect class=(tone) width=(wide) height="8" rx="4" {}
        }
    }
}

/// What was left, over time.
fn budget(slo: &Slo) -> Markup {
    let (Some((from, _)), Some((until, _))) = (slo.burn_down.first(), slo.burn_down.last()) else {
        return html! {};
    };
    let points: Vec<(Timestamp, f64)> = slo.burn_down.iter().map(|(at, left)| (*at, left * 100.0)).collect();
    let title = format!("{}: budget left, %", clip(&slo.name, 80));
    let lines = [series::Line { name: String::new(), points }];
    series::draw(&series::Chart {
        title: &title,
        lines: &lines,
        marks: &[],
        write: words::number,
        across: false,
        range: (*from, *until),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slo(budget_left: f64) -> Slo {
        Slo {
            name: "orders <b>".into(),
            service: "orders".into(),
            route: Some("POST /orders".into()),
            within_us: Some(100_000),
            promised: 0.999,
            window_s: 30 * 86_400,
            total: 1_000,
            bad: 3,
            good: 0.997,
            budget_left,
            burns: Vec::new(),
            firing: None,
            burn_down: vec![
                (Timestamp::from_micros(1), 1.0),
                (Timestamp::from_micros(90_000_000), budget_left),
            ],
        }
    }

    #[test]
    fn a_promise_reads_as_it_was_made() {
        assert_eq!(promise(&slo(0.5)), "99.9 % within 100 ms, over 30d");
        assert_eq!([standing(&slo(0.5)).1, standing(&slo(-2.0)).1], ["kept", "broken"]);
        assert_eq!([left(0.375), left(0.0), left(-1.5)], ["37.5 %", "used up", "used 2.5 times"]);
        assert_eq!([seconds(3_600), seconds(300), seconds(90)], ["1h", "5m", "90s"]);
    }

    #[test]
    fn a_budget_that_is_more_than_used_up_is_drawn_within_its_picture() {
        let drawn = budget(&slo(-2.0)).into_string() + &table(&[&slo(-2.0)]).into_string();
        assert!(drawn.contains("orders &lt;b&gt;") && !drawn.contains("width=\"-"), "{drawn}");
    }
}
