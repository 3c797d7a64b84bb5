//! One file: YAML, aliases, merge keys, variables, `x-atoll`.

use proptest::prelude::*;

use super::case;

#[test]
fn scalars_keep_their_text_and_whether_they_were_quoted() {
    let files = "
services:
  a:
    cpus: 0.50
    command: [\"x\", 'y', z]
    init: yes
    labels: { v: 3.10, q: \"true\", n: , t: !!str 5 }
    user: |
      two
      lines
";
    insta::assert_snapshot!(case(files).run(), @"");
}

#[test]
fn aliases_and_merge_keys_are_expanded_the_own_key_winning() {
    let files = "
x-a: &a { image: a, init: true, labels: { one: 1 } }
x-b: &b { image: b, tty: true }
services:
  one: { <<: *a, image: own }
  two: { <<: [*b, *a] }
  three: *a
  four:
    <<:
      - *a
      - { user: me }
    labels: { two: 2 }
";
    insta::assert_snapshot!(case(files).run(), @"");
}

#[test]
fn documents_of_one_file_are_merged_in_order() {
    insta::assert_snapshot!(case("services: { a: { image: x } }\n---\nservices: { a: { image: y } }\n").run(), @"");
}

#[test]
fn syntax_errors_have_a_place_and_a_hint() {
    let texts = [
        "services:\n  a:\n\timage: x",
        "services:\n  a: \"never closed\n",
        "services:\n  a: 'x' y\n",
        "services: [a, b\n",
        "services: {a: 1 b: 2}\n",
        "services:\n  a: b: c\n",
        "services:\n  a: 1\n b: 2\n",
        "services:\n  image @x\n  b: 1\n",
        "a: @x",
        "services: ]",
        "a: \"\\q\"",
        "a: *none",
        "a: &x [*x]",
        "a: &web 1\nb: *wbe",
    ];
    let all: Vec<String> = texts.iter().map(|text| case(text).faults()).collect();
    insta::assert_snapshot!(all.join("\n"), @"");
}

#[test]
fn keys_are_unique_strings_and_every_breach_is_told() {
    let files = "
services:
  a: { image: x }
  b: { image: y, image: z }
  a: { image: w }
  5: {}
  true: {}
  ? [x]
  : {}
  : {}
  <<: 7
";
    insta::assert_snapshot!(case(files).faults(), @"");
}

#[test]
fn a_file_that_is_not_a_mapping_or_empty_is_refused() {
    let all: Vec<String> =
        ["- a\n", "just text\n", "", "# nothing\n", "{}"].iter().map(|text| case(text).run()).collect();
    insta::assert_snapshot!(all.join("\n"), @"");
}

#[test]
fn bad_utf_8_is_told_with_byte_and_line() {
    let case_one = case("== x").bytes("compose.yaml", b"services:\n  a: \xff\xfe\n");
    let case_two = case("== x").bytes("compose.yaml", b"\xff\xfea\x00");
    insta::assert_snapshot!(format!("{}\n{}", case_one.run(), case_two.run()), @"");
}

#[test]
fn variables_are_filled_into_values_and_not_into_keys() {
    let files = "
services:
  $A:
    image: ${A}:${TAG:-latest}
    command: [\"$A\", '$$A', $(x)]
    environment:
      EMPTY: ${NOTHING-}
      NULL: $N
      $A: b
    cpus: ${CPUS}
";
    let case = case(files).env("A", "web").env("CPUS", "0.5").env("N", "null");
    insta::assert_snapshot!(case.run(), @"");
}

#[test]
fn bad_and_missing_variables_point_into_the_scalar() {
    let files = "
services:
  a:
    image: repo/${IMAGE:?say which}:x
    command: [\"a\\tb ${}\", 'it''s ${A', plain ${A/b}]
    user: |
      first
      second ${PORT}
    init: $PORT ${HOMEE}
";
    insta::assert_snapshot!(case(files).env("HOME", "/root").faults(), @"");
}

#[test]
fn keys_below_x_atoll_stand_one_level_up() {
    let files = "
x-atoll:
  gateway: { listen: 80 }
services:
  a:
    image: x
    x-atoll:
      routes: [GET /a]
      calls: { b: {} }
    healthcheck:
      x-atoll: { http: /healthz }
      interval: 1s
    labels:
      x-atoll: kept
  x-atoll: { image: y }
";
    insta::assert_snapshot!(case(files).run(), @"");
}

#[test]
fn a_key_both_below_and_beside_x_atoll_is_refused() {
    let files = "
services:
  a: { image: x, routes: [GET /a], x-atoll: { routes: [GET /b], calls: [c] } }
  b: { image: x, x-atoll: [1] }
";
    insta::assert_snapshot!(case(files).run(), @"");
}

#[test]
fn an_unknown_tag_is_a_warning() {
    insta::assert_snapshot!(case("services: { a: { image: !secret x } }").run(), @"");
}

#[test]
fn faults_of_all_files_are_told_in_one_go() {
    let files = "
== compose.yaml
services: { a: { image: ${ } }
== compose.override.yaml
services: { a: [ }
== .env
A B=1
";
    insta::assert_snapshot!(case(files).faults(), @"");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_text_is_read_or_refused_without_a_panic(
        text in r#"([a-c]: |- |  |\n|\n  |\n    |[a-c"'&*|>!#%@{}\[\],?$]|<<: |&a |\*a |services:\n|extends: |include: |!reset |x-atoll: ){0,60}"#
    ) {
        let _ = case("== x").bytes("compose.yaml", text.as_bytes()).run();
    }

    #[test]
    fn any_bytes_are_read_or_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = case("== x").bytes("compose.yaml", &bytes).bytes(".env", &bytes).run();
    }
}
