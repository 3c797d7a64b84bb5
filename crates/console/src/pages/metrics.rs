//! Metrics: how much, how long, how often it failed; and any metric by its name.

use api::{Event, Latency, LatencyQuery, Metric, MetricQuery, Series};
use kit::Timestamp;
use maud::{Markup, html};

use super::{CHART_SPANS, Missing, chart_range, has, service_names};
use crate::bits;
use crate::desk::{Desk, all};
use crate::draw::{heat, series};
use crate::place::Query;
use crate::view::{At, View};
use crate::words;

/// Metrics that are listed.
const LISTED: usize = 300;
/// Minutes that are taken together, by the time that is shown.
const STEPS: [(u64, u32); 4] = [(2 * 3_600, 1), (12 * 3_600, 5), (2 * 86_400, 20), (u64::MAX, 120)];
/// Microseconds of a minute.
const MINUTE: u64 = 60_000_000;
/// Labels that a question can name.
const MOST_LABELS: usize = 8;

type Shown = (Timestamp, Timestamp);

pub(crate) async fn page(desk: &Desk, at: &At) -> Result<View, Missing> {
    let (asked, shown) = chart_range(&at.query, desk.now());
    let seconds = shown.1.since(shown.0).as_secs();
    let step_min = STEPS.iter().find(|(most, _)| seconds <= *most).map(|(_, step)| *step);
    let service = at.query.get("service").map(str::to_owned);
    let question = LatencyQuery { service, range: asked, step_min };
    let name = at.query.get("name").map(str::to_owned);
    let chosen = async {
        let name = name.clone()?;
        let question = MetricQuery { name, labels: labels(&at.query), range: asked, step_s: None };
        Some(desk.client.series(&question).await)
    };
    let (latency, metrics, chosen, events) = tokio::join!(
        desk.client.latency(&question),
        desk.client.metrics(),
        chosen,
        all(desk.client.events(0, false).await, 2_000),
    );
    let marks = marks(&events.unwrap_or_default());
    let filters = html! {
        (bits::service_field(&at.query, &service_names(desk).await, "all"))
        (bits::choice(&at.query, "last", "Time", &CHART_SPANS))
        @if let Some(name) = &name { input type="hidden" name="name" value=(name); }
    };
    let mut view = View::new("Metrics").still("filters", bits::filters("/metrics", &filters));
    if let Some(chosen) = chosen {
        let name = name.unwrap_or_default();
        let drawn = match chosen {
            Ok(found) => one(&name, &found, &marks, shown),
            Err(error) => bits::note(&error.into()),
        };
        view = view.live("chosen", html! { section.panel aria-label="A metric" { (drawn) } });
    }
    match &latency {
        Ok(latency) if at.query.get("service").is_some() => {
            view = view.live("latency", of_service(latency, &marks, shown));
        }
        Ok(latency) => view = view.live("latency", of_all(latency, &marks, shown)),
        Err(_) => {
            let usage = desk.client.usage().await?;
            view = view.live("node", of_node(&desk.feed.look(&usage), &marks));
        }
    }
    if let Ok(metrics) = metrics {
        view = view.still("list", list(at, &metrics));
    }
    Ok(view)
}

/// `labels=a=b,c=d`
fn labels(query: &Query) -> std::collections::BTreeMap<String, String> {
    let pairs = query.text("labels").split(',').filter_map(|pair| pair.split_once('=')).take(MOST_LABELS);
    pairs.map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned())).collect()
}

/// What happened, as marks on charts: what people did, and what went wrong.
pub(crate) fn marks(events: &[Event]) -> Vec<(Timestamp, String)> {
    let told = |event: &&Event| {
        event.level > api::Level::Info
            || event.kind.starts_with("app.")
            || event.kind.starts_with("node.")
            || event.kind.contains("scal")
    };
    events.iter().filter(told).map(|event| (event.at, event.message.clone())).collect()
}

fn rate(count: u64, step_us: u64) -> f64 {
    count as f64 * 1e6 / step_us.max(1) as f64
}

/// The time between two steps of one service.
fn step(latency: &[Latency]) -> u64 {
    let mut times: Vec<u64> = latency.iter().map(|step| step.at.as_micros()).collect();
    times.sort_unstable();
    times.dedup();
    times.windows(2).map(|pair| pair[1] - pair[0]).min().unwrap_or(MINUTE).max(MINUTE)
}

/// Rate, errors, percentiles and heat map of one service.
pub(crate) fn of_service(latency: &[Latency], marks: &[(Timestamp, String)], range: Shown) -> Markup {
    let step = step(latency);
    let line = |name: &str, value: &dyn Fn(&Latency) -> f64| series::Line {
        name: name.to_owned(),
        points: gapped(latency.iter().map(|at| (at.at, value(at))).collect(), step, f64::NAN),
    };
    let flow = |name: &str, value: &dyn Fn(&Latency) -> u64| series::Line {
        name: name.to_owned(),
        points: flows(latency.iter().map(|at| (at.at, value(at))).collect(), step, range),
    };
    let rates = [flow("requests", &|at| at.count), flow("failed", &|at| at.errors)];
    let took = [
        line("50 %", &|at| at.p50_us as f64),
        line("90 %", &|at| at.p90_us as f64),
        line("99 %", &|at| at.p99_us as f64),
    ];
    charts(&rates, ("How long requests take", &took), latency, marks, range)
}

/// Counts of steps as rates a second; a step of which nothing is known had none, and the last one is not over yet.
fn flows(counts: Vec<(Timestamp, u64)>, step: u64, (_, until): Shown) -> Vec<(Timestamp, f64)> {
    let rates = counts.into_iter().map(|(at, count)| {
        let passed = (until.as_micros().saturating_sub(at.as_micros())).clamp(1_000_000, step);
        (at, rate(count, passed))
    });
    gapped(rates.collect(), step, 0.0)
}

/// Points with `missing` in the steps between them that have none.
fn gapped(points: Vec<(Timestamp, f64)>, step: u64, missing: f64) -> Vec<(Timestamp, f64)> {
    let mut filled: Vec<(Timestamp, f64)> = Vec::with_capacity(points.len());
    for (at, value) in points {
        if let Some((last, _)) = filled.last().copied()
            && at.as_micros() > last.as_micros() + step
        {
            // The first and the last missing one are enough to draw the rest.
            filled.push((Timestamp::from_micros(last.as_micros() + step), missing));
            filled.push((Timestamp::from_micros(at.as_micros() - step), missing));
        }
        filled.push((at, value));
    }
    filled
}

fn charts(
    rates: &[series::Line],
    (slowest, took): (&'static str, &[series::Line]),
    latency: &[Latency],
    marks: &[(Timestamp, String)],
    range: Shown,
) -> Markup {
    let chart = |title: &'static str, lines: &[series::Line], write: fn(f64) -> String| {
        series::draw(&series::Chart { title, lines, marks, write, across: false, range })
    };
    let steps: Vec<heat::Step> = latency.iter().map(|step| (step.at, step.buckets.clone())).collect();
    html! {
        div.charts {
            (chart("Requests a second", rates, words::number))
            (chart(slowest, took, time))
            (heat::draw("How often how long", &steps, range))
        }
    }
}

fn of_all(latency: &[Latency], marks: &[(Timestamp, String)], range: Shown) -> Markup {
    let step = step(latency);
    let mut names: Vec<&str> = latency.iter().map(|at| at.service.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let weight = |name: &str| latency.iter().filter(|at| at.service == name).map(|at| at.count).sum::<u64>();
    names.sort_by_cached_key(|name| std::cmp::Reverse(weight(name)));
    let lines = |points: &dyn Fn(&str) -> Vec<(Timestamp, f64)>| -> Vec<series::Line> {
        let line = |name: &&str| series::Line { name: (*name).to_owned(), points: points(name) };
        names.iter().take(series::LINES).map(line).collect()
    };
    let of = |name: &str| latency.iter().filter(|at| at.service == name).collect::<Vec<_>>();
    let counts = |name: &str| flows(of(name).iter().map(|at| (at.at, at.count)).collect(), step, range);
    let slow =
        |name: &str| gapped(of(name).iter().map(|at| (at.at, at.p99_us as f64)).collect(), step, f64::NAN);
    charts(&lines(&counts), ("99 % of requests take at most", &lines(&slow)), latency, marks, range)
}

/// What is known without telemetry: the node's own few minutes.
fn of_node(rates: &crate::feed::Rates, marks: &[(Timestamp, String)]) -> Markup {
    let range = match (rates.memory.first(), rates.memory.last()) {
        (Some((from, _)), Some((until, _))) => (*from, *until),
        _ => return bits::empty("Nothing was measured yet: it begins while this page is open."),
    };
    let chart = |title: &'static str, points: &[(Timestamp, f64)], write: fn(f64) -> String| {
        let lines = [series::Line { name: String::new(), points: points.to_vec() }];
        series::draw(&series::Chart { title, lines: &lines, marks, write, across: false, range })
    };
    html! {
        div.charts {
            (chart("Requests a second through the node", &rates.requests, words::number))
            (chart("CPU of the node, in cores", &rates.cpu, words::number))
            (chart("Memory of the node", &rates.memory, |bytes| words::bytes(bytes as u64)))
        }
    }
}

fn time(us: f64) -> String {
    words::micros(us as u64)
}

fn one(name: &str, found: &[Series], marks: &[(Timestamp, String)], range: Shown) -> Markup {
    let named = |one: &Series| {
        let labels: Vec<String> = one.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        labels.join(" ")
    };
    let mut lines: Vec<series::Line> =
        found.iter().map(|one| series::Line { name: named(one), points: one.points.clone() }).collect();
    let last = |line: &series::Line| line.points.last().map_or(0.0, |(_, value)| *value);
    lines.sort_by(|a, b| last(b).total_cmp(&last(a)));
    series::draw(&series::Chart {
        title: name,
        lines: &lines,
        marks,
        write: words::number,
        across: true,
        range,
    })
}

fn list(at: &At, metrics: &[Metric]) -> Markup {
    let search = at.query.text("q");
    let fits: Vec<&Metric> =
        metrics.iter().filter(|metric| has(search, &[&metric.name, &metric.kind])).collect();
    html! {
        section.panel aria-label="All metrics" {
            h2 { "All metrics" }
            (bits::filters_of("/metrics", "Search among the metrics", &bits::field(&at.query, "q", "Search", "name")))
            div.scroll { table.rows {
                caption.hidden { "Metrics" }
                thead { tr { th scope="col" { "Name" } th scope="col" { "Kind" } th scope="col" { "Unit" } th.num scope="col" { "Series" } } }
                tbody { @for metric in fits.iter().take(LISTED) { tr {
                    th.mono scope="row" { a href=(at.query.link("/metrics", "name", &metric.name)) { (words::clip(&metric.name, 100)) } }
                    td { (words::clip(&metric.kind, 20)) } td { (words::clip(metric.unit.as_deref().unwrap_or("–"), 20)) } td.num { (words::count(metric.series)) }
                } } }
            } }
            @if fits.len() > LISTED { p.muted { "and " (fits.len() - LISTED) " more: search for them" } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_per_second_whatever_the_step() {
        let at = |minute: u64, count| Latency {
            service: "a".into(),
            at: Timestamp::from_micros(minute * MINUTE),
            count,
            errors: 0,
            p50_us: 1,
            p90_us: 1,
            p99_us: 1,
            buckets: Vec::new(),
        };
        assert_eq!(step(&[at(10, 1), at(5, 1), at(0, 1)]), 5 * MINUTE);
        assert_eq!(step(&[at(10, 1)]), MINUTE);
        assert_eq!(rate(600, MINUTE), 10.0);
    }

    #[test]
    fn labels_are_read_from_an_address() {
        let query = Query::parse(&"/metrics?name=x&labels=route%3DGET%20%2F,code%3D200,bad".parse().unwrap());
        let read = labels(&query);
        assert_eq!(read.len(), 2);
        assert_eq!(read["route"], "GET /");
    }
}
