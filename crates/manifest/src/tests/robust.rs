//! Nothing that can stand in a file makes the crate panic, or take for ever.

use std::fmt::Write;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{check, loaded, titles};
use crate::fault::Span;
use crate::text::decode::{Decode, Faults, Record};
use crate::text::gateway::GatewayText;
use crate::text::guard::{BreakerText, FallbackText, RetryLong};
use crate::text::pipes::{DeliverLong, FromLong, PipesText, QueueText, TopicText};
use crate::text::routing::RouteOptions;
use crate::text::{File, Service};
use crate::tree::{Entry, Node, Scalar, Value};
use crate::{Sources, lint, parse_resolved, render_yaml};

fn any_tree() -> impl Strategy<Value = Value> {
    let keys: Vec<&'static str> = Service::KEYS
        .iter()
        .chain(File::KEYS)
        .chain(RouteOptions::KEYS)
        .chain(GatewayText::KEYS)
        .chain(RetryLong::KEYS)
        .chain(BreakerText::KEYS)
        .chain(FallbackText::KEYS)
        .chain(PipesText::KEYS)
        .chain(QueueText::KEYS)
        .chain(TopicText::KEYS)
        .chain(FromLong::KEYS)
        .chain(DeliverLong::KEYS)
        .copied()
        .chain([
            "a",
            "b",
            "",
            "x-y",
            "http",
            "listen",
            "GET /",
            "timeout",
            "retry",
            "soft",
            "hard",
            "condition",
            "min",
            "to",
            "share",
            "rate",
            "jwt",
            "jwks",
            "cert",
            "development",
            "hash",
            "s",
            "$or",
            "numeric",
            "anything-but",
        ])
        .collect();
    let word = prop_oneof![
        "[a-z0-9:./{}| -]{0,12}",
        prop::sample::select(vec![
            "true",
            "null",
            "-1",
            "1s",
            "64m",
            "GET /{a}",
            "/x",
            "a",
            "b",
            "8080",
            "no",
            "1e999",
            "NaN",
            "50%",
            "20/s",
            "0/0s per header",
            "off",
            "s",
            "s/a",
            "POST /a",
            "send",
            "body"
        ])
        .prop_map(str::to_owned),
    ];
    let leaf = (word, any::<bool>()).prop_map(|(text, plain)| Value::Scalar(Scalar { text, plain }));
    leaf.prop_recursive(6, 120, 8, move |inner| {
        let key = prop::sample::select(keys.clone()).prop_map(str::to_owned);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5)
                .prop_map(|items| Value::Seq(items.into_iter().map(placed).collect())),
            prop::collection::btree_map(key, inner, 0..8).prop_map(|map| {
                let span = placed(Value::Seq(Vec::new())).span;
                Value::Map(
                    map.into_iter()
                        .map(|(key, value)| Entry { key, key_span: span, value: placed(value) })
                        .collect(),
                )
            }),
        ]
    })
}

fn placed(value: Value) -> Node {
    let source = Sources::default().add("tree".into(), String::new());
    Node { value, span: Span { source, start: 3, end: 7 } }
}

proptest! {
    #[test]
    fn any_tree_is_decoded_or_refused_without_a_panic(value in any_tree()) {
        let mut faults = Faults::default();
        let _ = File::decode(&placed(value.clone()), &mut faults);
        let services = Value::Map(vec![Entry { key: "s".into(), key_span: placed(value.clone()).span, value: placed(value) }]);
        let mut sources = Sources::default();
        sources.add("tree".into(), "some text\nof two lines".into());
        let root = placed(Value::Map(vec![Entry { key: "services".into(), key_span: placed(services.clone()).span, value: placed(services) }]));
        let assembled = crate::assemble::Assembled {
            root,
            project_dir: "/nowhere".into(),
            name: "x".parse().unwrap(),
            profiles: Vec::new(),
            variables: Default::default(),
        };
        let loaded = crate::load::finish(&assembled, &[], sources, faults);
        let _ = crate::report(&loaded.faults, &loaded.sources, true);
        if let Some(app) = &loaded.app {
            let _ = lint(app);
            let again = parse_resolved(&render_yaml(&loaded.file), std::path::Path::new("/x/y"));
            prop_assert_eq!(again.app.as_ref(), Some(app), "{}", render_yaml(&loaded.file));
        }
    }

    #[test]
    fn any_text_is_loaded_or_refused_without_a_panic(text in "(services|command|web|routes|- |: |\n|  |\\[|\\]|\\{|\\}|'|\"|&a|\\*a|é|\\$\\{|\t){0,60}") {
        let _ = check(&text);
    }
}

/// A service for each number, given the keys of number `i`.
fn many(count: usize, keys: impl Fn(usize) -> String) -> String {
    let mut text = String::from("services:\n");
    for i in 0..count {
        let _ = writeln!(text, "  s{i}: {{ command: [x], {} }}", keys(i));
    }
    text
}

#[test]
fn long_chains_and_large_circles_are_answered_in_time() {
    let start = Instant::now();
    const COUNT: usize = 5000;
    let chain = many(COUNT, |i| {
        if i + 1 < COUNT { format!("depends_on: [s{0}], calls: [s{0}]", i + 1) } else { String::new() }
    });
    assert!(loaded(&chain).app.is_some());
    let circle = many(COUNT, |i| format!("depends_on: [s{}]", (i + 1) % COUNT));
    assert!(titles(&circle).contains("A0304"));
    let calls = many(COUNT, |i| format!("calls: {{ s{}: {{ retry: 2 }} }}", (i + 1) % COUNT));
    assert!(lint(&loaded(&calls).app.unwrap()).iter().any(|finding| finding.code.as_str() == "A0401"));
    let dense = many(200, |i| {
        format!(
            "depends_on: [{}]",
            (0..200).filter(|j| *j != i).map(|j| format!("s{j}")).collect::<Vec<_>>().join(", ")
        )
    });
    assert!(titles(&dense).contains("A0304"));
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[test]
fn many_queues_are_answered_in_time() {
    let start = Instant::now();
    const COUNT: usize = 1000;
    let next = |i: usize| (i + 1) % COUNT;
    let before = |i: usize| (i + COUNT - 1) % COUNT;
    let round = many(COUNT, |i| {
        let next = next(i);
        format!("queues: {{ q{i}: {{ dead_letter: {{ to: s{next}/q{next} }}, allow: [s{}] }} }}", before(i))
    });
    assert!(titles(&round).contains("A0326"));
    let chain = round.replace("to: s0/q0", "after: 5");
    assert_eq!(loaded(&chain).app.unwrap().queues().count(), COUNT + 1);
    let lost = many(COUNT, |i| format!("queues: {{ q{i}: {{ from: s1/t{i} }} }}, topics: [u{i}]"));
    assert!(titles(&lost).contains("A0324"));
    let lost = many(COUNT, |i| format!("queues: {{ q{i}: {{ dead_letter: {{ to: s1/r{i} }} }} }}"));
    assert!(titles(&lost).contains("A0326"));
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[test]
fn a_line_of_a_megabyte_is_not_printed_whole() {
    let text = format!("services: {{ web: {{ command: [x], {}: 1 }} }}", "k".repeat(1 << 20));
    assert!(check(&text).len() < 4000, "{}", check(&text).len());
}

#[test]
fn a_hundred_thousand_mistakes_are_refused_in_time() {
    let start = Instant::now();
    let unknown: String = (0..60_000).map(|i| format!("    comman{i}: 1\n")).collect();
    assert!(titles(&format!("services:\n  web:\n    command: [x]\n{unknown}")).contains("A0201"));
    let nowhere = many(10_000, |i| format!("calls: [t{i}], depends_on: [t{i}]"));
    assert!(titles(&nowhere).contains("A0305"));
    let ignored = many(10_000, |_| "tty: true".to_owned());
    assert!(titles(&ignored).contains("A0205"));
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[test]
fn a_dense_graph_is_linted_in_time() {
    let start = Instant::now();
    // Each calls all that come after it: as many paths as there are subsets.
    let dense = many(200, |i| {
        let calls: Vec<String> =
            (i + 1..200).map(|j| format!("s{j}: {{ timeout: {}ms, retry: 1 }}", 100 + j)).collect();
        format!("calls: {{ {} }}", calls.join(", "))
    });
    let findings = lint(&loaded(&dense).app.unwrap());
    assert!(findings.iter().any(|finding| finding.code.as_str() == "A0403"));
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}
