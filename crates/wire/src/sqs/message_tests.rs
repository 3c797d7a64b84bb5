use proptest::prelude::*;

use super::*;

fn text(text: &str) -> Option<Text<'_>> {
    Some(Text(text.into()))
}

fn value<'a>(kind: &'a str, value: &'a str) -> Value<'a> {
    let binary = kind.starts_with("Binary");
    Value {
        data_type: text(kind),
        string_value: text(value).filter(|_| !binary),
        binary_value: text(value).filter(|_| binary),
        ..Value::default()
    }
}

fn check(parts: Parts<'_>, settings: &Settings) -> Result<Outgoing, SqsError> {
    parts.into_domain(settings, "me").map(|checked| checked.outgoing)
}

fn with_attribute(name: &str, kind: &str, content: &str) -> Result<Outgoing, SqsError> {
    let attributes = Some(Pairs(vec![(Text(name.into()), value(kind, content))]));
    check(Parts { body: text("x"), attributes, ..Parts::default() }, &Settings::default())
}

#[test]
fn characters_that_no_message_may_have() {
    for good in ["a\t\n\rz", "\u{7f}", "\u{fffd}", "\u{d7ff}\u{e000}", "😀"] {
        assert!(
            check(Parts { body: text(good), ..Parts::default() }, &Settings::default()).is_ok(),
            "{good:?}"
        );
    }
    for bad in ["\0", "a\u{8}", "\u{13}", "\u{fffe}", "x\u{ffff}"] {
        let error = check(Parts { body: text(bad), ..Parts::default() }, &Settings::default()).unwrap_err();
        assert_eq!(error.code, Code::InvalidMessageContents, "{bad:?}");
    }
    for missing in [None, text("")] {
        let error = check(Parts { body: missing, ..Parts::default() }, &Settings::default()).unwrap_err();
        assert_eq!(error.code, Code::MissingParameter);
    }
}

#[test]
fn names_types_and_values_of_attributes() {
    for (name, kind, content) in [
        ("attr.1øßä", "String", "v"),
        ("a-b_c", "String.custom.name", "v"),
        ("n", "Number.int", "-12.5e3"),
        ("b", "Binary.png", "AAEC"),
        (&"L".repeat(256), "String", "v"),
    ] {
        assert!(with_attribute(name, kind, content).is_ok(), "{name} {kind} {content}");
    }
    let long = "L".repeat(257);
    for (name, kind, content) in [
        ("aWs.x", "String", "v"),
        ("AMAZON.x", "String", "v"),
        (".x", "String", "v"),
        ("x.", "String", "v"),
        ("a..b", "String", "v"),
        ("a!", "String", "v"),
        ("a b", "String", "v"),
        ("", "String", "v"),
        (&long, "String", "v"),
        ("x", "Invalid", "v"),
        ("x", &long, "v"),
        ("x", "", "v"),
        ("x", "String", ""),
        ("x", "String", "a\u{8}"),
        ("x", "Number", "twelve"),
    ] {
        let error = with_attribute(name, kind, content).unwrap_err();
        assert_eq!(error.code, Code::InvalidParameterValue, "{name} {kind} {content}");
    }
    assert_eq!(with_attribute("b", "Binary", "?").unwrap_err().code, Code::Malformed);

    let many = (0..11).map(|n| (Text(n.to_string().into()), value("String", "v"))).collect();
    let parts = Parts { body: text("x"), attributes: Some(Pairs(many)), ..Parts::default() };
    assert_eq!(check(parts, &Settings::default()).unwrap_err().code, Code::InvalidParameterValue);
}

#[test]
fn attributes_are_sorted_and_sized() {
    let pairs = vec![(Text("b".into()), value("String", "22")), (Text("a".into()), value("Binary", "AAEC"))];
    let parts = Parts { body: text("body"), attributes: Some(Pairs(pairs)), ..Parts::default() };
    assert_eq!(parts.size(), 4 + 1 + 6 + 2 + 1 + 6 + 3);
    let outgoing = check(parts, &Settings::default()).unwrap();
    let names: Vec<_> = outgoing.attributes.iter().map(|attribute| &*attribute.name).collect();
    assert_eq!((names, outgoing.size()), (vec!["a", "b"], 23));

    let small = Settings { message_bytes: 1024, ..Settings::default() };
    let (fits, long) = ("x".repeat(1024), "x".repeat(1025));
    assert!(check(Parts { body: text(&fits), ..Parts::default() }, &small).is_ok());
    let error = check(Parts { body: text(&long), ..Parts::default() }, &small).unwrap_err();
    assert_eq!(
        error.message,
        "One or more parameters are invalid. Reason: Message must be shorter than 1024 bytes."
    );
}

#[test]
fn what_keeps_order_needs_a_group_and_an_identity() {
    let fifo = Settings { fifo: Some(pipes::Fifo::default()), ..Settings::default() };
    let parts = |group: Option<&'static str>, dedup: Option<&'static str>, delay| Parts {
        body: text("x"),
        group: group.and_then(text),
        dedup: dedup.and_then(text),
        delay,
        ..Parts::default()
    };
    let code = |parts, settings: &Settings| check(parts, settings).map_err(|error| error.code).map(drop);
    assert_eq!(code(parts(Some("g"), Some("d"), Some(0)), &fifo), Ok(()));
    assert_eq!(code(parts(None, Some("d"), None), &fifo), Err(Code::MissingParameter));
    assert_eq!(code(parts(Some("g"), None, None), &fifo), Err(Code::InvalidParameterValue));
    assert_eq!(code(parts(Some("g"), Some("d"), Some(2)), &fifo), Err(Code::InvalidParameterValue));
    assert_eq!(code(parts(Some("a b"), Some("d"), None), &fifo), Err(Code::InvalidParameterValue));
    assert_eq!(code(parts(Some("g"), None, Some(900)), &Settings::default()), Ok(()));
    assert_eq!(code(parts(None, Some("d"), None), &Settings::default()), Err(Code::InvalidParameterValue));
    assert_eq!(code(parts(None, None, Some(901)), &Settings::default()), Err(Code::InvalidParameterValue));
    assert_eq!(code(parts(None, None, Some(-1)), &Settings::default()), Err(Code::InvalidParameterValue));
}

#[test]
fn what_is_a_number() {
    let digits = "1".repeat(38);
    for good in [
        "0",
        "-0.0",
        "12",
        "+3.25",
        ".5",
        "1e126",
        "1E-128",
        &digits,
        "0e999",
        "100000000000000000000000000000000000000000",
    ] {
        assert!(is_number(good), "{good}");
    }
    let too_many = "1".repeat(39);
    for bad in ["", "-", ".", "1e", "e5", "1e127", "1e-129", "1.2.3", "0x1", "NaN", "1,5", &too_many] {
        assert!(!is_number(bad), "{bad}");
    }
}

proptest! {
    #[test]
    fn no_value_panics(name: String, kind: String, content: String) {
        let _ = with_attribute(&name, &kind, &content);
        let _ = is_number(&content);
    }
}
