//! What `tests/prometheus.rs` cannot see: limits, refusals, what is kept in another form than Prometheus has.

use std::sync::Arc;
use std::time::Duration;

use kit::{SteppedClock, Timestamp};
use proptest::prelude::*;

use super::kept::Kept;
use super::*;
use crate::model::{Buckets, ExponentialBuckets, Histogram, MetricPoint, MetricValue};
use crate::{Options, Telemetry};

const NOW_S: u64 = 1_700_000_000;

fn telemetry(points: Vec<MetricPoint>) -> (tempfile::TempDir, Telemetry) {
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(SteppedClock::new(Timestamp::from_micros(NOW_S * 1_000_000)));
    let telemetry = Telemetry::open(directory.path(), Options::default(), clock).unwrap();
    telemetry.intake().offer_points(points);
    telemetry.flush();
    (directory, telemetry)
}

fn point(name: &str, unit: &str, labels: &[(&str, &str)], ago_s: u64, value: MetricValue) -> MetricPoint {
    let labels = labels.iter().map(|(label, value)| ((*label).into(), (*value).into())).collect();
    let time_ns = (NOW_S - ago_s) * 1_000_000_000;
    MetricPoint { name: name.into(), unit: unit.into(), labels, time_ns, value }
}

fn ask(telemetry: &Telemetry, text: &str) -> Result<Vec<String>, PromError> {
    let (query, now) = (telemetry.query(), Asked::once(NOW_S as i64 * 1000));
    let answer = evaluate(&parse(text)?, now, &Kept(&query), &Limits::default(), &|| true)?;
    Ok(match answer {
        Value::Vector(rows) => {
            rows.iter().map(|row| format!("{} {}", rows::shown(&row.labels), row.cells[0].unwrap())).collect()
        }
        other => vec![format!("{other:?}")],
    })
}

#[test]
fn a_name_of_opentelemetry_becomes_one_of_prometheus() {
    let labels = [("service", "shop"), ("http.route", "/a"), ("1st", "x")];
    let (_directory, telemetry) = telemetry(vec![
        point("jobs.done", "{job}", &labels, 5, MetricValue::Counter(3.0)),
        point("process.memory.usage", "By", &labels, 5, MetricValue::Gauge(7.0)),
        point("queue.used", "1", &labels, 5, MetricValue::Gauge(0.5)),
        point("read.rate", "By/s", &labels, 5, MetricValue::Gauge(1.5)),
        point("plain_counter", "s", &labels, 5, MetricValue::Counter(2.0)),
    ]);
    let mut found = ask(&telemetry, r#"{service="shop"}"#).unwrap();
    found.sort();
    let labels = r#"{_1st="x", http_route="/a", service="shop"}"#;
    let expected = [
        ("jobs_done_total", "3"),
        ("plain_counter", "2"),
        ("process_memory_usage_bytes", "7"),
        ("queue_used_ratio", "0.5"),
        ("read_rate_bytes_per_second", "1.5"),
    ];
    assert_eq!(found, expected.map(|(name, value)| format!("{name}{labels} {value}")));
    assert_eq!(ask(&telemetry, "jobs_done_total").unwrap().len(), 1);
    assert_eq!(ask(&telemetry, "jobs_done").unwrap(), [""; 0]);
}

#[test]
fn exponential_buckets_are_there_from_the_first_sample_on() {
    let histogram = |counts: Vec<u64>, scale: i32, offset: i32| {
        let positive = ExponentialBuckets { offset, counts: counts.clone() };
        let negative = ExponentialBuckets::default();
        let count = counts.iter().sum::<u64>() + 1;
        let buckets = Buckets::Exponential { scale, zero: 1, positive, negative };
        MetricValue::Histogram(Box::new(Histogram { cumulative: true, count, sum: 1.0, buckets }))
    };
    let (_directory, telemetry) = telemetry(vec![
        // Up to 2, then up to 4, then up to 8; the second one twice as fine.
        point("took", "s", &[], 120, histogram(vec![4], 0, 0)),
        point("took", "s", &[], 60, histogram(vec![2, 2, 5, 3, 0, 1], 1, 0)),
    ]);
    let found = ask(&telemetry, "increase(took_bucket[150s])").unwrap();
    // 60 s apart, and drawn out to both ends of the stretch: 150 s for 60.
    let grown = [("+Inf", 9.0), ("0", 0.0), ("2", 0.0), ("4", 8.0), ("8", 9.0)];
    assert_eq!(found, grown.map(|(bound, by)| format!("{{le={bound:?}}} {}", by * 2.5)));
}

#[test]
fn what_a_sum_has_grown_by_becomes_the_sum() {
    let by = |ago, by| point("sent", "", &[], ago, MetricValue::Increase(by));
    let (_directory, telemetry) = telemetry(vec![by(40, 1.0), by(30, 2.0), by(20, 4.0)]);
    assert_eq!(ask(&telemetry, "sent").unwrap(), ["sent{} 7"]);
    assert_eq!(ask(&telemetry, "irate(sent[1m])").unwrap(), ["{} 0.4"]);
}

#[test]
fn every_limit_is_kept_and_named() {
    let points = (0..100u64).flat_map(|ago| {
        ["a", "b", "c"].map(|service| point("x", "", &[("service", service)], ago, MetricValue::Gauge(1.0)))
    });
    let (_directory, telemetry) = telemetry(points.collect());
    let query = telemetry.query();
    let now = NOW_S as i64 * 1000;
    let ask = |text: &str, asked: Asked, limits: Limits, may_go_on: bool| {
        evaluate(&parse(text).unwrap(), asked, &Kept(&query), &limits, &|| may_go_on)
    };
    let many = Asked { start_ms: now - 99_000, end_ms: now, step_ms: 1000 };
    let too_much = |what, limit| Err(PromError::TooMuch { what, limit });
    let limits = Limits::default;
    assert!(ask("x", many, limits(), true).is_ok());
    assert_eq!(ask("x", many, Limits { steps: 99, ..limits() }, true), too_much("moments", 99));
    assert_eq!(ask("x", many, Limits { samples: 299, ..limits() }, true), too_much("samples", 299));
    assert_eq!(ask("x", many, Limits { series: 2, ..limits() }, true), too_much("series", 2));
    assert_eq!(ask("x", many, Limits { cells: 299, ..limits() }, true), too_much("numbers", 299));
    assert_eq!(ask("x", many, limits(), false), Err(PromError::TooLong(limits().time)));
    // However deep in brackets: all of it is there at once.
    assert_eq!(ask("x+(x+(x+x))", many, Limits { cells: 1100, ..limits() }, true), too_much("numbers", 1100));
    let long = "(".repeat(200) + "x" + &")".repeat(200);
    assert!(matches!(parse(&long), Err(PromError::Syntax { .. })));
    let huge = "max_over_time(x[10y:1ms])";
    assert_eq!(ask(huge, Asked::once(now), limits(), true), too_much("moments", limits().cells));
    assert_eq!(limits().time, Duration::from_secs(20));
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let told = |text: &str| parse(text).unwrap_err().to_string();
    assert_eq!(told("sum(up"), "1:7: parse error: unexpected end of input, expected \")\"");
    assert_eq!(told("up{a=1}"), "1:6: parse error: unexpected number 1, expected a string");
    assert_eq!(told("nothing(up)"), "1:8: parse error: unknown function with name \"nothing\"");
    assert_eq!(told("up ; 1"), "1:4: parse error: unexpected \";\", expected the end");
    assert_eq!(told("1 > 2"), "1:3: parse error: comparisons between scalars must use BOOL modifier");
    assert!(told("{a=~\"\"}").contains("at least one non-empty matcher"));
    assert!(selector("up{service=\"x\"}").is_ok());
    assert!(selector("sum(up)").is_err());
}

#[test]
fn durations_are_written_from_the_largest_unit_down() {
    assert_eq!(duration_ms("1h30m"), Some(5_400_000));
    assert_eq!(duration_ms("1m0s"), Some(60_000));
    assert_eq!(duration_ms("5ms"), Some(5));
    for bad in ["", "5", "30m1h", "1h1h", "h", "1x", "99999999999y"] {
        assert_eq!(duration_ms(bad), None, "{bad}");
    }
}

fn words() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "x",
        "rate",
        "sum",
        "by",
        "(",
        ")",
        "{",
        "}",
        "[",
        "]",
        "5m",
        ":",
        "offset",
        "@",
        "end()",
        "\"a\"",
        "'",
        "service",
        "=~",
        "=",
        "+",
        "-",
        "^",
        "1",
        "0.5",
        "or",
        "and",
        "on",
        "bool",
        ">",
        "topk",
        "histogram_quantile",
        ",",
        "label_replace",
        "NaN",
        "group_left",
        "#",
        "\\",
        "é",
    ]);
    prop::collection::vec(word, 0..14).prop_map(|words| words.join(" "))
}

proptest! {
    #[test]
    fn any_text_is_answered_or_refused(text in words()) {
        let _ = parse(&text).map(|expr| {
            let asked = Asked { start_ms: 0, end_ms: 120_000, step_ms: 30_000 };
            let _ = evaluate(&expr, asked, &Two, &Limits::default(), &|| true);
        });
    }

    #[test]
    fn any_letters_are_read_without_harm(text in "\\PC{0,60}") {
        let _ = parse(&text);
    }
}

/// Two series, whatever is asked for.
struct Two;

impl Source for Two {
    fn select(&self, _: &[Matcher], from: i64, until: i64, _: &Limits) -> Result<Vec<Sampled>, PromError> {
        let series = |service: &str| Sampled {
            labels: vec![(NAME.into(), "x".into()), ("service".into(), service.into())],
            samples: (0..10)
                .map(|step| (step * 15_000, step as f64))
                .filter(|(at, _)| *at >= from && *at <= until)
                .collect(),
        };
        Ok(vec![series("a"), series("b")])
    }
}

/// Asks about so many moments, a second apart, without anything kept.
fn over(steps: i64, text: &str, may_go_on: &dyn Fn() -> bool) -> Result<Value, PromError> {
    let (_directory, telemetry) = telemetry(Vec::new());
    let now = NOW_S as i64 * 1000;
    let asked = Asked { start_ms: now, end_ms: now + (steps - 1) * 1000, step_ms: 1000 };
    evaluate(&parse(text)?, asked, &Kept(&telemetry.query()), &Limits::default(), may_go_on)
}

#[test]
fn a_chain_of_operators_is_as_deep_as_it_is_long_and_has_an_end() {
    // With the stack that the threads have on which questions are worked.
    let work = || {
        let chain = |operators: usize| format!("1{}", "+1".repeat(operators));
        assert!(over(1, &chain(200), &|| true).is_ok());
        for too_long in [chain(201), chain(8_000), "1^".repeat(8_000) + "1", "(1+".repeat(90) + &chain(150)] {
            assert!(matches!(parse(&too_long), Err(PromError::Syntax { .. })));
        }
        let brackets = format!("{}1{}", "(1+".repeat(45), ")".repeat(45));
        assert!(over(1, &format!("{brackets}{}", "+1".repeat(150)), &|| true).is_ok());
    };
    std::thread::Builder::new().stack_size(2 << 20).spawn(work).unwrap().join().unwrap();
}

#[test]
fn what_is_in_between_counts_whatever_makes_it() {
    let too_much = |steps, text: &str| matches!(over(steps, text, &|| true), Err(PromError::TooMuch { .. }));
    assert!(too_much(6_000, r#"count_values("t", vector(time()))"#), "a row for each value");
    assert!(!too_much(100, r#"count_values("t", vector(time()))"#));
    let scalars = format!("count_over_time(({}1)[1000000s:1s])", "1^".repeat(50));
    assert!(too_much(1, &scalars), "numbers of a subquery");
    assert!(too_much(1, "vector(1)[5000000s:1s]"), "an answer");
}

#[test]
fn work_ends_when_its_time_is_over_also_within_one_series() {
    let looks = std::cell::Cell::new(0);
    let some = || {
        looks.set(looks.get() + 1);
        looks.get() < 20
    };
    let text = "sum_over_time(sum_over_time(vector(1)[20000s:1s])[20000s:1s])";
    assert!(matches!(over(1, text, &some), Err(PromError::TooLong(_))));
}

#[test]
fn labels_and_patterns_do_not_grow_without_end() {
    let joined = |inner: &str| format!(r#"label_join({inner}, "a", "x"{})"#, r#", "a""#.repeat(40));
    let mut nested = r#"label_replace(vector(1), "a", "0123456789", "", "")"#.to_owned();
    for _ in 0..4 {
        nested = joined(&nested);
    }
    assert!(
        matches!(over(1, &nested, &|| true), Err(PromError::NoAnswer(why)) if why.contains("label_join"))
    );
    let replaced =
        r#"label_replace(label_replace(vector(1), "a", "AAAA", "", ""), "a", "BBBB", "a", "(.*)")"#
            .replace("AAAA", &"x".repeat(5_000))
            .replace("BBBB", &"$1".repeat(50));
    assert!(
        matches!(over(1, &replaced, &|| true), Err(PromError::NoAnswer(why)) if why.contains("label_replace"))
    );
    let patterns = |count: usize| format!("{{{}}}", vec![r#"a=~"x.*""#; count].join(","));
    assert!(parse(&patterns(20)).is_ok());
    assert!(matches!(parse(&patterns(21)), Err(PromError::Syntax { .. })));
}

#[test]
fn series_that_do_not_overlap_become_one_where_their_labels_do() {
    let at =
        |instance: &str, ago| point("x", "", &[("instance", instance)], ago, MetricValue::Gauge(ago as f64));
    let (_directory, telemetry) = telemetry(vec![at("a", 3_000), at("b", 30), at("c", 2_000), at("c", 20)]);
    let query = telemetry.query();
    let now = NOW_S as i64 * 1000;
    let asked = Asked { start_ms: now - 3_000_000, end_ms: now, step_ms: 10_000 };
    let rows = |text: &str| match evaluate(
        &parse(text).unwrap(),
        asked,
        &Kept(&query),
        &Limits::default(),
        &|| true,
    ) {
        Ok(Value::Vector(rows)) => Ok(rows.len()),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error.to_string()),
    };
    let one = r#"label_replace(x{instance=~"a|b"}, "instance", "", "", "")"#;
    assert_eq!(rows(one), Ok(1), "an instance that ended, and one after it");
    assert_eq!(rows(r#"label_join(x{instance=~"a|b"}, "instance", "")"#), Ok(1));
    for joined in [format!("abs({one})"), format!("{one} * 2"), format!("timestamp({one})")] {
        assert_eq!(rows(&joined), Ok(1), "{joined}");
    }
    let both = r#"label_replace(x{instance=~"b|c"}, "instance", "", "", "")"#;
    assert!(rows(both).unwrap_err().contains("same labelset"), "where both are there it is nobody's");
}

#[test]
fn buckets_are_counted_before_they_are_made_and_only_those_that_are_wanted() {
    let histogram = |ago: u64| {
        let positive = ExponentialBuckets { offset: 0, counts: vec![1; 150] };
        let negative = ExponentialBuckets { offset: 0, counts: vec![u64::MAX, u64::MAX] };
        let buckets = Buckets::Exponential { scale: 0, zero: u64::MAX, positive, negative };
        MetricValue::Histogram(Box::new(Histogram { cumulative: true, count: ago, sum: 1.0, buckets }))
    };
    let points = (1..=100).map(|ago| point("took", "", &[], ago, histogram(ago)));
    let (_directory, telemetry) = telemetry(points.collect());
    let query = telemetry.query();
    let ask = |text: &str, samples| {
        let asked =
            Asked { start_ms: (NOW_S as i64 - 60) * 1000, end_ms: NOW_S as i64 * 1000, step_ms: 1000 };
        let limits = Limits { samples, ..Limits::default() };
        evaluate(&parse(text).unwrap(), asked, &Kept(&query), &limits, &|| true)
    };
    // 155 numbers each are read; with its buckets each is 152 samples.
    let enough = 100 * 155;
    assert!(ask("took_count", enough).is_ok());
    let too_many = Err(PromError::TooMuch { what: "samples", limit: enough - 400 });
    assert_eq!(ask("took_bucket", enough - 400), too_many);
    assert!(ask("took_bucket", 2 * enough).is_ok(), "whatever counts somebody has sent");
}
