//! The text format of Prometheus and OpenMetrics, read: what services say under `/metrics`, and what the node says of itself.
//!
//! Each line is a point of its own: `_bucket`, `_sum` and `_count` of a histogram are counters, as queries of Prometheus
//! expect them. Lines that cannot be read are passed over and counted.

use std::collections::HashMap;

use telemetry::model::{MetricPoint, MetricValue, Text};

/// Points that are taken from one text at most.
pub(super) const MOST: usize = 20_000;

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) points: Vec<MetricPoint>,
    /// Lines that were not understood, or beyond [`MOST`].
    pub(super) skipped: usize,
}

/// Reads a text. `labels` are put to each point unless it has them itself.
pub(super) fn read(text: &str, time_ns: u64, labels: &[(Text, Text)]) -> Read {
    let mut read = Read::default();
    let mut kinds: HashMap<&str, &str> = HashMap::new();
    for line in text.lines() {
        let line = line.trim();
        if let Some(comment) = line.strip_prefix('#') {
            let mut words = comment.split_whitespace();
            if let (Some("TYPE"), Some(name), Some(kind)) = (words.next(), words.next(), words.next()) {
                kinds.insert(name, kind);
            }
            continue;
        }
        if line.is_empty() {
            continue;
        }
        match sample(line) {
            Some(sample) if read.points.len() < MOST => {
                read.points.push(point(sample, &kinds, time_ns, labels));
            }
            _ => read.skipped += 1,
        }
    }
    read
}

struct Sample<'a> {
    name: &'a str,
    labels: Vec<(&'a str, String)>,
    value: f64,
}

fn point(
    sample: Sample<'_>,
    kinds: &HashMap<&str, &str>,
    time_ns: u64,
    given: &[(Text, Text)],
) -> MetricPoint {
    let family = ["_bucket", "_sum", "_count", "_total", "_created"]
        .iter()
        .find_map(|end| Some((sample.name.strip_suffix(end)?, *end)));
    let kind = kinds.get(sample.name).copied().or_else(|| kinds.get(family?.0).copied());
    let counts = matches!(
        (kind, family.map(|(_, end)| end)),
        (Some("counter"), _)
            | (None, Some("_total"))
            | (Some("histogram" | "summary"), Some("_bucket" | "_sum" | "_count"))
    );
    let mut labels: Vec<(Text, Text)> =
        sample.labels.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
    for (name, value) in given {
        if !labels.iter().any(|(other, _)| other == name) {
            labels.push((name.clone(), value.clone()));
        }
    }
    MetricPoint {
        name: sample.name.into(),
        unit: Text::default(),
        labels,
        time_ns,
        value: if counts { MetricValue::Counter(sample.value) } else { MetricValue::Gauge(sample.value) },
    }
}

/// `name{label="value",…} value [time] [# example]`.
fn sample(line: &str) -> Option<Sample<'_>> {
    let end = line.find(|c: char| c == '{' || c.is_whitespace())?;
    let (name, rest) = line.split_at(end);
    let begins = |c: char| c.is_ascii_alphabetic() || c == '_' || c == ':';
    if !name.starts_with(begins) || !name.chars().all(|c| begins(c) || c.is_ascii_digit()) {
        return None;
    }
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => self::labels(rest)?,
        None => (Vec::new(), rest),
    };
    let value = match rest.split_whitespace().next()? {
        "+Inf" | "Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        number => number.parse().ok()?,
    };
    Some(Sample { name, labels, value })
}

/// Labels up to the closing brace, and what is behind it.
fn labels(mut rest: &str) -> Option<(Vec<(&str, String)>, &str)> {
    let mut labels = Vec::new();
    loop {
        rest = rest.trim_start_matches(|c: char| c == ',' || c.is_whitespace());
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, after) = rest.split_once('=')?;
        let mut value = String::new();
        let mut chars = after.trim_start().strip_prefix('"')?.char_indices();
        let text = after.trim_start().strip_prefix('"')?;
        loop {
            let (at, c) = chars.next()?;
            match c {
                '"' => {
                    rest = &text[at + 1..];
                    break;
                }
                '\\' => match chars.next()?.1 {
                    'n' => value.push('\n'),
                    other => value.push(other),
                },
                other => value.push(other),
            }
        }
        labels.push((name.trim(), value));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> Vec<String> {
        let service = [(Text::from("service"), Text::from("shop"))];
        let show = |point: &MetricPoint| {
            let labels: Vec<_> = point.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("{} [{}] {:?}", point.name, labels.join(" "), point.value)
        };
        read(text, 1, &service).points.iter().map(show).collect()
    }

    #[test]
    fn a_line_is_a_point_and_its_type_says_of_which_kind() {
        let text = "# HELP jobs Jobs.\n# TYPE jobs counter\njobs_total{queue=\"a\\\"b\\\\c\\nd\", kind=\"x\"} 12 1395066363000\n\
                    # TYPE lag gauge\nlag 1.5e-3\n# TYPE took histogram\ntook_bucket{le=\"+Inf\"} 3\ntook_sum 0.5\n\
                    plain_total 4 # {trace_id=\"1\"} 1\nother{service=\"own\"} -Inf\n";
        assert_eq!(
            shown(text),
            [
                "jobs_total [queue=a\"b\\c\nd kind=x service=shop] Counter(12.0)",
                "lag [service=shop] Gauge(0.0015)",
                "took_bucket [le=+Inf service=shop] Counter(3.0)",
                "took_sum [service=shop] Counter(0.5)",
                "plain_total [service=shop] Counter(4.0)",
                "other [service=own] Gauge(-inf)",
            ]
        );
    }

    #[test]
    fn what_cannot_be_read_is_passed_over() {
        let bad = read("ok 1\n1x 2\nx{a=\"b} 1\nx{a} 1\ny\nz one\n", 1, &[]);
        assert_eq!((bad.points.len(), bad.skipped), (1, 5));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_harm(text in "\\PC{0,200}") {
            let read = read(&text, 1, &[]);
            prop_assert!(read.points.len() <= text.lines().count());
        }
    }
}
