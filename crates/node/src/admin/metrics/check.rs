//! A small strict reader of both formats, for tests: whatever it lets pass, a scraper takes.

use std::collections::{BTreeMap, BTreeSet};

use super::text::Format;

/// Every sample by its name with labels, as written. Panics at whatever is wrong.
pub(super) fn check(format: Format, text: &str) -> BTreeMap<String, f64> {
    let open = format == Format::OpenMetrics;
    let mut samples = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let mut family: Option<(String, String)> = None;
    let mut buckets: Option<(String, f64, f64)> = None;
    let body = if open { text.strip_suffix("# EOF\n").expect("an end") } else { text };
    assert!(body.is_empty() || body.ends_with('\n'), "the last line ends");
    for line in body.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("help");
            assert!(is_name(name) && !help.is_empty() && !help.contains(['\\', '"']), "{line}");
            assert!(seen.insert(name.to_owned()), "{name} twice");
            family = Some((name.to_owned(), String::new()));
            continue;
        }
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("type");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            let family = family.as_mut().expect("help first");
            assert_eq!(family.0, name);
            assert!(family.1.is_empty(), "{name} has two types");
            assert_eq!(kind == "counter" && !open, name.ends_with("_total"), "{line}");
            kind.clone_into(&mut family.1);
            continue;
        }
        if let Some(rest) = line.strip_prefix("# UNIT ") {
            let (name, unit) = rest.split_once(' ').expect("unit");
            let (family, _) = family.as_ref().expect("help first");
            assert!(open && family == name && name.ends_with(&format!("_{unit}")), "{line}");
            continue;
        }
        let (line, example) = match line.split_once(" # ") {
            Some((line, example)) => (line, Some(example)),
            None => (line, None),
        };
        let (key, value) = line.rsplit_once(' ').expect("a value");
        let value: f64 = value.parse().expect("a number");
        let (name, labels) = labels(key);
        let (family, kind) = family.as_ref().expect("a family first");
        let suffix = name.strip_prefix(family.as_str()).expect("of its family");
        match kind.as_str() {
            "counter" => assert!(suffix == if open { "_total" } else { "" } && value >= 0.0, "{line}"),
            "gauge" => assert_eq!(suffix, "", "{line}"),
            "histogram" => histogram(suffix, &labels, value, &mut buckets),
            _ => panic!("{family} has no type"),
        }
        if let Some(example) = example {
            assert!(open && suffix == "_bucket", "{line} # {example}");
            let parts: Vec<&str> = example.split(' ').collect();
            assert_eq!(parts.len(), 3, "{example}");
            assert_eq!(parts[0].len(), "{trace_id=\"\"}".len() + 32, "{example}");
            let bound = labels.last().expect("le").1.replace("+Inf", "inf");
            assert!(parts[1].parse::<f64>().unwrap() <= bound.parse().unwrap(), "{line} # {example}");
            assert!(parts[2].parse::<f64>().unwrap() > 0.0);
        }
        assert!(samples.insert(key.to_owned(), value).is_none(), "{key} twice");
    }
    assert!(buckets.is_none(), "a histogram without its sum and count");
    samples
}

/// Buckets in order, growing, up to infinity; then sum, then the same count.
fn histogram(
    suffix: &str,
    labels: &[(String, String)],
    value: f64,
    buckets: &mut Option<(String, f64, f64)>,
) {
    let own = |labels: &[(String, String)]| format!("{labels:?}");
    match suffix {
        "_bucket" => {
            let ((name, bound), others) = labels.split_last().expect("le");
            assert_eq!(name, "le");
            assert!(bound.contains('.') || bound == "+Inf", "{bound}: a canonical number");
            let bound: f64 = bound.replace("+Inf", "inf").parse().expect("a bound");
            if let Some((of, before, count)) = buckets {
                assert_eq!(*of, own(others));
                assert!(bound > *before && value >= *count, "{labels:?} grows");
            }
            *buckets = Some((own(others), bound, value));
        }
        "_sum" => assert!(buckets.as_ref().is_some_and(|(of, ..)| *of == own(labels))),
        "_count" => {
            let (of, bound, count) = buckets.take().expect("buckets first");
            assert_eq!((of, bound, count), (own(labels), f64::INFINITY, value));
        }
        _ => panic!("{suffix} of a histogram"),
    }
}

fn is_name(name: &str) -> bool {
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    name.chars().all(legal) && name.starts_with(|c: char| c.is_ascii_lowercase())
}

/// A name and its labels, unescaped.
fn labels(key: &str) -> (&str, Vec<(String, String)>) {
    let Some((name, rest)) = key.split_once('{') else {
        assert!(is_name(key), "{key}");
        return (key, Vec::new());
    };
    assert!(is_name(name), "{key}");
    let mut rest = rest.strip_suffix('}').expect("closed");
    let mut labels: Vec<(String, String)> = Vec::new();
    while !rest.is_empty() {
        let (label, quoted) = rest.split_once("=\"").expect("a label");
        assert!(is_name(label) && labels.iter().all(|(other, _)| other != label), "{key}");
        let mut value = String::new();
        let mut chars = quoted.char_indices();
        let end = loop {
            match chars.next().expect("a closing quote") {
                (at, '"') => break at,
                (_, '\\') => value.push(match chars.next().expect("something escaped").1 {
                    'n' => '\n',
                    c @ ('\\' | '"') => c,
                    c => panic!("\\{c}"),
                }),
                (_, c) => value.push(c),
            }
        };
        labels.push((label.to_owned(), value));
        rest = &quoted[end + 1..];
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
    (name, labels)
}
