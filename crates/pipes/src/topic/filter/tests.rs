//! What each rule means, what is refused and where, and that the compiled form says the same as reading the policy
//! word by word.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::Value as Json;

use super::*;

fn attribute(name: &str, kind: &str, value: &str) -> Attribute {
    Attribute { name: name.into(), kind: kind.into(), value: AttributeValue::Text(value.into()) }
}

/// Whether a policy accepts one attribute `a`.
fn takes(rules: &str, kind: &str, value: &str) -> bool {
    let filter = Filter::parse(&format!("{{\"a\": [{rules}]}}"), Scope::Attributes).unwrap();
    filter.accepts(&Looked::new(&Bytes::new(), &[attribute("a", kind, value)], false))
}

fn takes_body(policy: &str, body: &str) -> bool {
    let filter = Filter::parse(policy, Scope::Body).unwrap();
    filter.accepts(&Looked::new(&Bytes::from(body.to_owned()), &[], true))
}

#[test]
fn rules_for_attributes() {
    for (rules, kind, good, bad) in [
        (r#""red", "blue""#, "String", "blue", "Blue"),
        (r#"300, 1.5"#, "Number", "3.0e2", "301"),
        (r#"{"prefix": "re"}"#, "String", "red", "are"),
        (r#"{"suffix": ".png"}"#, "String", "a.png", "a.png2"),
        (r#"{"equals-ignore-case": "Straße É"}"#, "String", "sTRAßE é", "strasse é"),
        (r#"{"wildcard": "*/2026-*.log"}"#, "String", "a/2026-1.log", "a/2025-1.log"),
        (r#"{"anything-but": "red"}"#, "String", "blue", "red"),
        (r#"{"anything-but": ["red", 5]}"#, "String", "5", "red"),
        (r#"{"anything-but": ["red", 5]}"#, "Number", "6", "5"),
        (r#"{"anything-but": {"prefix": ["a", "b"]}}"#, "String", "c", "bc"),
        (r#"{"anything-but": {"suffix": "x"}}"#, "String", "xy", "yx"),
        (r#"{"anything-but": {"wildcard": ["a*b"]}}"#, "String", "ba", "ab"),
        (r#"{"anything-but": {"equals-ignore-case": ["A", "B"]}}"#, "String", "c", "b"),
        (r#"{"numeric": ["=", 2.5]}"#, "Number", "2.50", "2.51"),
        (r#"{"numeric": ["<", 2]}"#, "Number", "1.9", "2"),
        (r#"{"numeric": ["<=", 2]}"#, "Number.int", "2", "2.1"),
        (r#"{"numeric": [">", -2]}"#, "Number", "-1", "-2"),
        (r#"{"numeric": [">=", 0, "<", 150]}"#, "Number", "0", "150"),
        (r#"{"numeric": [">=", 0, "<", 150]}"#, "Number", "149.99", "-0.1"),
        (r#"{"cidr": "10.0.0.0/8"}"#, "String", "10.1.2.3", "11.1.2.3"),
        (r#""x", {"prefix": "y"}"#, "String", "yes", "no"),
        (r#""b", true"#, "String.Array", r#"["a", true]"#, r#"["a", "true"]"#),
        (r#"null, 2"#, "String.Array", r#"["a", null]"#, r#"["a", "2"]"#),
        // One that is something else is enough.
        (r#"{"anything-but": ["a"]}"#, "String.Array", r#"["a", "b"]"#, r#"["a"]"#),
        (r#"{"exists": true}"#, "String", "", "-"),
        (r#"{"exists": true}"#, "String.Array", "[0]", "[]"),
        (r#""a""#, "String.Array", r#"["a"]"#, "no list"),
    ] {
        assert!(takes(rules, kind, good), "{rules} takes {good}");
        assert!(bad == "-" || !takes(rules, kind, bad), "{rules} refuses {bad}");
    }
    assert!(!takes("300", "String", "300"), "a text is no number");
    assert!(!takes(r#"{"exists": false}"#, "String", "x"));
}

#[test]
fn an_attribute_that_is_not_there() {
    let accepts = |policy: &str, attributes: &[Attribute]| {
        let filter = Filter::parse(policy, Scope::Attributes).unwrap();
        filter.accepts(&Looked::new(&Bytes::new(), attributes, false))
    };
    assert!(accepts("{}", &[]));
    assert!(!accepts(r#"{"a": [{"anything-but": "x"}]}"#, &[]));
    assert!(!accepts(r#"{"a": ["x"]}"#, &[]));
    assert!(accepts(r#"{"a": [{"exists": false}]}"#, &[attribute("b", "String", "x")]));
    let bytes =
        Attribute { name: "a".into(), kind: "Binary".into(), value: AttributeValue::Binary("x".into()) };
    assert!(accepts(r#"{"a": [{"exists": false}]}"#, &[bytes]), "bytes are not looked at");
}

#[test]
fn every_name_has_to_hold_and_one_of_each_or() {
    let policy = r#"{"s": ["shop"], "$or": [{"a": [1], "b": ["x"]}, {"c": [{"exists": true}]}]}"#;
    let filter = Filter::parse(policy, Scope::Attributes).unwrap();
    let number = |name, value| attribute(name, "Number", value);
    let text = |name, value| attribute(name, "String", value);
    let accepts = |attributes: &[Attribute]| filter.accepts(&Looked::new(&Bytes::new(), attributes, false));
    assert!(accepts(&[text("s", "shop"), number("a", "1"), text("b", "x")]));
    assert!(accepts(&[text("s", "shop"), text("c", "anything")]));
    assert!(!accepts(&[text("s", "shop"), number("a", "1")]));
    assert!(!accepts(&[text("c", "anything")]));
    // One alternative, or names that only rules have: a name like each other.
    let plain = Filter::parse(r#"{"$or": ["x"]}"#, Scope::Attributes).unwrap();
    assert!(plain.accepts(&Looked::new(&Bytes::new(), &[text("$or", "x")], false)));
    assert!(Filter::parse(r#"{"$or": [{"numeric": 123}, {"prefix": "abc"}]}"#, Scope::Attributes).is_err());
}

#[test]
fn bodies() {
    let nested = r#"{"order": {"total": [{"numeric": [">", 10]}], "by": {"name": ["Ada"]}}}"#;
    assert!(takes_body(nested, r#"{"order": {"total": 11, "by": {"name": "Ada"}}}"#));
    assert!(!takes_body(nested, r#"{"order": {"total": 11}}"#));
    assert!(takes_body(nested, r#"{"order.total": 11, "order": {"by.name": "Ada"}}"#), "a dot is a step");
    // Lists: any element, each name for itself.
    let items = r#"{"items": {"a": [1], "b": [4]}}"#;
    assert!(takes_body(items, r#"{"items": [{"a": 1, "b": 2}, {"a": 3, "b": [[4]]}]}"#));
    assert!(!takes_body(items, r#"{"items": [{"a": 1, "b": 2}]}"#));
    assert!(takes_body(r#"{"a": [true, null]}"#, r#"{"a": null}"#));
    assert!(!takes_body(r#"{"a": [{"anything-but": "x"}]}"#, r#"{"a": null}"#));
    // Only values exist: an object is a step on the way to them.
    assert!(takes_body(r#"{"a": [{"exists": false}]}"#, r#"{"a": {"b": 1}}"#));
    assert!(takes_body(r#"{"a": {"b": [{"exists": false}]}}"#, r#"{}"#));
    assert!(takes_body(r#"{"a": [{"exists": true}]}"#, r#"{"a": null}"#));
    for no_object in ["", "[1]", "no json", "{\"a\": 1", "\"a\""] {
        assert!(!takes_body(r#"{"a": [{"exists": false}]}"#, no_object), "{no_object}");
    }
    assert!(!Filter::parse("{}", Scope::Body).unwrap().accepts(&Looked::new(
        &Bytes::from_static(b"\xff"),
        &[],
        true
    )));
}

#[test]
fn what_is_wrong_with_a_policy_and_where() {
    for (policy, error) in [
        ("", "failed to parse JSON: it ends where a value is expected (line 1, column 1)"),
        ("[1]", "Filter is not an object (line 1, column 1)"),
        (r#"{"a": []}"#, "Empty arrays are not allowed (line 1, column 7, under `a`)"),
        (r#"{"a": 1}"#, "\"a\" must be an object or an array (line 1, column 7, under `a`)"),
        ("{\n \"a\": [{\"like\": 1}]}", "Unrecognized match type like (line 2, column 9, under `a`)"),
        (
            r#"{"a": [{"prefix": "x", "suffix": "y"}]}"#,
            "Only one key allowed in match expression (line 1, column 8, under `a`)",
        ),
        (r#"{"a": [{"prefix": 1}]}"#, "prefix match pattern must be a string (line 1, column 19, under `a`)"),
        (
            r#"{"a": [{"exists": "yes"}]}"#,
            "exists match pattern must be either true or false. (line 1, column 19, under `a`)",
        ),
        (
            r#"{"a": [["x"]]}"#,
            "Match value must be String, number, true, false, or null (line 1, column 8, under `a`)",
        ),
        (r#"{"a": [{"numeric": []}]}"#, "Invalid member in numeric match: ] (line 1, column 20, under `a`)"),
        (
            r#"{"a": [{"numeric": ["~", 1]}]}"#,
            "Unrecognized numeric range operator: ~ (line 1, column 21, under `a`)",
        ),
        (
            r#"{"a": [{"numeric": ["=", "1"]}]}"#,
            "Value of equals must be numeric (line 1, column 26, under `a`)",
        ),
        (
            r#"{"a": [{"numeric": ["<", 1, ">", 0]}]}"#,
            "Too many elements in numeric expression (line 1, column 29, under `a`)",
        ),
        (
            r#"{"a": [{"numeric": [">", 1, "<", 1]}]}"#,
            "Bottom must be less than top (line 1, column 29, under `a`)",
        ),
        (
            r#"{"a": [{"numeric": ["<", 1e10]}]}"#,
            "Value must be between -1.0E9 and 1.0E9, inclusive (line 1, column 26, under `a`)",
        ),
        (
            r#"{"a": [{"cidr": "10.0.0.0"}]}"#,
            "Malformed CIDR, one '/' required (line 1, column 17, under `a`)",
        ),
        (
            r#"{"a": [{"anything-but": {"numeric": ["=", 1]}}]}"#,
            "Unsupported anything-but pattern: numeric (line 1, column 26, under `a`)",
        ),
        (r#"{"a": ["x"], "a": ["y"]}"#, "\"a\" is there twice (line 1, column 14)"),
        (
            r#"{"a": {"b": ["x"]}}"#,
            "Filter policy scope MessageAttributes does not support nested filter policy (line 1, column 7, under `a`)",
        ),
        (
            r#"{"a":[1],"b":[1],"c":[1],"d":[1],"e":[1],"f":[1]}"#,
            "Filter policy can not have more than 5 keys (line 1, column 1)",
        ),
    ] {
        assert_eq!(Filter::parse(policy, Scope::Attributes).unwrap_err().to_string(), error, "{policy}");
    }
    let inner = Filter::parse(r#"{"a": {"b": [{"like": 1}]}}"#, Scope::Body).unwrap_err();
    assert_eq!((inner.path.as_str(), inner.line, inner.column), ("a.b", 1, 15));
    let long = format!("{{\"a\": [\"{}\"]}}", "x".repeat(MOST_BYTES));
    assert!(Filter::parse(&long, Scope::Attributes).is_err());
}

#[test]
fn combinations_are_counted_with_their_depth() {
    let values = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    let flat = |a: usize, b: usize| format!(r#"{{"a": [{}], "b": [{}]}}"#, values(a), values(b));
    assert!(Filter::parse(&flat(15, 10), Scope::Attributes).is_ok());
    assert!(Filter::parse(&flat(14, 11), Scope::Attributes).is_err());
    let nested = |a: usize| format!(r#"{{"k": {{"l": {{"m": [{}]}}}}, "b": {{"c": [1, 2, 3]}}}}"#, values(a));
    assert!(Filter::parse(&nested(8), Scope::Body).is_ok(), "8 × 3 × 3 × 2");
    assert!(Filter::parse(&nested(9), Scope::Body).is_err());
    let either = |a: usize| format!(r#"{{"s": [1, 2], "$or": [{{"a": [{}]}}, {{"b": [1]}}]}}"#, values(a));
    assert!(Filter::parse(&either(74), Scope::Attributes).is_ok(), "2 × 74 + 2 × 1");
    assert!(Filter::parse(&either(75), Scope::Attributes).is_err());
}

/// The same by reading the policy as it stands, value by value: slow, and short enough to be seen to be right.
mod naive {
    use super::*;

    pub(super) fn accepts(policy: &Json, leaves: &BTreeMap<String, Vec<Json>>) -> bool {
        object(policy, "", leaves)
    }

    fn object(policy: &Json, above: &str, leaves: &BTreeMap<String, Vec<Json>>) -> bool {
        policy.as_object().unwrap().iter().all(|(name, asked)| {
            if let (true, Some(alternatives)) = (name == "$or", or(asked)) {
                return alternatives.iter().any(|alternative| object(alternative, above, leaves));
            }
            let path = if above.is_empty() { name.clone() } else { format!("{above}.{name}") };
            match asked {
                Json::Array(rules) => rules.iter().any(|rule| match leaves.get(&path) {
                    None => rule.get("exists") == Some(&Json::Bool(false)),
                    Some(values) => values.iter().any(|value| holds(rule, value)),
                }),
                _ => object(asked, &path, leaves),
            }
        })
    }

    fn or(asked: &Json) -> Option<&Vec<Json>> {
        let items = asked.as_array()?;
        (items.len() >= 2 && items.iter().all(Json::is_object)).then_some(items)
    }

    fn same(rule: &Json, value: &Json) -> bool {
        match (rule.as_f64(), value.as_f64()) {
            (Some(a), Some(b)) => a == b,
            _ => rule == value,
        }
    }

    fn holds(rule: &Json, value: &Json) -> bool {
        let Json::Object(expression) = rule else { return same(rule, value) };
        let (name, asked) = expression.iter().next().unwrap();
        match name.as_str() {
            "exists" => asked == &Json::Bool(true),
            "numeric" => value.as_f64().is_some_and(|value| {
                asked.as_array().unwrap().chunks(2).all(|pair| {
                    let bound = pair[1].as_f64().unwrap();
                    match pair[0].as_str().unwrap() {
                        "=" => value == bound,
                        "<" => value < bound,
                        "<=" => value <= bound,
                        ">" => value > bound,
                        _ => value >= bound,
                    }
                })
            }),
            "anything-but" if value.is_null() => false,
            "anything-but" => match asked {
                Json::Array(items) => !items.iter().any(|item| same(item, value)),
                Json::Object(form) => {
                    let (name, texts) = form.iter().next().unwrap();
                    let texts = texts.as_array().cloned().unwrap_or_else(|| vec![texts.clone()]);
                    !texts.iter().any(|text| fits(name, text.as_str().unwrap(), value))
                }
                one => !same(one, value),
            },
            form => fits(form, asked.as_str().unwrap(), value),
        }
    }

    fn fits(form: &str, asked: &str, value: &Json) -> bool {
        let Some(text) = value.as_str() else { return false };
        match form {
            "prefix" => text.starts_with(asked),
            "suffix" => text.ends_with(asked),
            "equals-ignore-case" => text.to_lowercase() == asked.to_lowercase(),
            "wildcard" => stars(&asked.chars().collect::<Vec<_>>(), &text.chars().collect::<Vec<_>>()),
            other => panic!("{other}"),
        }
    }

    fn stars(pattern: &[char], text: &[char]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some(('*', rest)) => (0..=text.len()).any(|skip| stars(rest, &text[skip..])),
            Some((one, rest)) => text.first() == Some(one) && stars(rest, &text[1..]),
        }
    }

    /// The values of a body by the names that lead to them.
    pub(super) fn flatten(body: &Json, above: &str, leaves: &mut BTreeMap<String, Vec<Json>>) {
        match body {
            Json::Object(members) => {
                for (name, value) in members {
                    let path = if above.is_empty() { name.clone() } else { format!("{above}.{name}") };
                    flatten(value, &path, leaves);
                }
            }
            Json::Array(items) => items.iter().for_each(|item| flatten(item, above, leaves)),
            leaf => leaves.entry(above.to_owned()).or_default().push(leaf.clone()),
        }
    }
}

fn texts() -> impl Strategy<Value = String> {
    "[abAé]{0,3}"
}

fn scalars() -> impl Strategy<Value = Json> {
    prop_oneof![
        4 => texts().prop_map(Json::from),
        2 => (-3i64..4).prop_map(Json::from),
        1 => Just(Json::from(1.5)),
        1 => any::<bool>().prop_map(Json::from),
        1 => Just(Json::Null),
    ]
}

fn rules() -> impl Strategy<Value = Json> {
    let one = |name: &'static str| {
        move |value: Json| Json::Object([(name.to_owned(), value)].into_iter().collect())
    };
    let wildcards = "[ab]{0,2}(\\*[ab]{1,2}){0,2}\\*?".prop_map(Json::from);
    let forms = prop_oneof![
        texts().prop_map(Json::from).prop_map(one("prefix")),
        texts().prop_map(Json::from).prop_map(one("suffix")),
        texts().prop_map(Json::from).prop_map(one("equals-ignore-case")),
        wildcards.clone().prop_map(one("wildcard")),
        prop::collection::vec(texts().prop_map(Json::from), 1..3)
            .prop_map(Json::from)
            .prop_map(one("prefix")),
    ];
    let single = forms.clone().prop_filter("a list stands only inside anything-but", |form| {
        form.as_object().unwrap().values().all(Json::is_string)
    });
    prop_oneof![
        4 => scalars(),
        3 => single,
        1 => any::<bool>().prop_map(Json::from).prop_map(one("exists")),
        1 => scalars().prop_map(one("anything-but")),
        1 => prop::collection::vec(scalars(), 1..3).prop_map(Json::from).prop_map(one("anything-but")),
        1 => forms.prop_map(one("anything-but")),
        1 => ("=|<|<=|>|>=", -2i64..3).prop_map(|(op, at)| serde_json::json!([op, at])).prop_map(one("numeric")),
        1 => (">|>=", -2i64..1, "<|<=", 1i64..3)
            .prop_map(|(low, from, high, to)| serde_json::json!([low, from, high, to]))
            .prop_map(one("numeric")),
    ]
}

fn policies() -> impl Strategy<Value = Json> {
    let list = prop::collection::vec(rules(), 1..3).prop_map(Json::from).boxed();
    let object = |value: BoxedStrategy<Json>| {
        prop::collection::btree_map("[abc]", value, 1..3)
            .prop_map(|map| Json::Object(map.into_iter().collect()))
    };
    let flat = object(list.clone().boxed());
    let nested = object(prop_oneof![3 => list, 1 => flat.clone()].boxed());
    (nested.clone(), prop::option::of(prop::collection::vec(nested, 2..3))).prop_map(|(mut policy, or)| {
        if let Some(alternatives) = or {
            policy.as_object_mut().unwrap().insert("$or".to_owned(), alternatives.into());
        }
        policy
    })
}

fn bodies_of_three() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![3 => scalars(), 1 => prop::collection::vec(scalars(), 0..3).prop_map(Json::from)];
    let object = |value: BoxedStrategy<Json>| {
        prop::collection::btree_map("[abc]|a\\.b", value, 0..4)
            .prop_map(|map| Json::Object(map.into_iter().collect()))
    };
    let flat = object(leaf.clone().boxed());
    let lists = prop::collection::vec(flat.clone(), 0..3).prop_map(Json::from);
    object(prop_oneof![3 => leaf, 1 => flat, 1 => lists].boxed())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn compiled_says_what_the_policy_says(policy in policies(), body in bodies_of_three()) {
        // Some have too many combinations.
        if let Ok(filter) = Filter::parse(&policy.to_string(), Scope::Body) {
            let mut leaves = BTreeMap::new();
            naive::flatten(&body, "", &mut leaves);
            let bytes = Bytes::from(body.to_string());
            let accepted = filter.accepts(&Looked::new(&bytes, &[], true));
            prop_assert_eq!(accepted, naive::accepts(&policy, &leaves), "{} {}", policy, body);
        }
    }

    #[test]
    fn no_text_is_too_wild(policy in "\\PC{0,40}", body in "\\PC{0,40}") {
        let bytes = Bytes::from(body.clone());
        let looked = Looked::new(&bytes, &[], true);
        for scope in [Scope::Attributes, Scope::Body] {
            if let Ok(filter) = Filter::parse(&policy, scope) {
                filter.accepts(&looked);
            }
        }
    }

    #[test]
    fn nothing_close_to_a_policy_is_too_wild(policy in policies(), at in 0usize..200, with in any::<char>()) {
        let mut text: Vec<char> = policy.to_string().chars().collect();
        if let Some(place) = text.get_mut(at) {
            *place = with;
        }
        let text: String = text.into_iter().collect();
        let _ = Filter::parse(&text, Scope::Body);
        prop_assert_eq!(json::parse(&text).is_ok(), serde_json::from_str::<Json>(&text).is_ok(), "{}", text);
    }
}
