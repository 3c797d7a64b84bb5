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
    insta::assert_snapshot!(case(files).run(), @r#"
    services:
      a:
        cpus: 0.50
        command:
          - "x"
          - "y"
          - z
        init: yes
        labels:
          v: 3.10
          q: "true"
          n:
          t: "5"
        user: "two\nlines\n"
    "#);
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
    insta::assert_snapshot!(case(files).run(), @r"
    x-a:
      image: a
      init: true
      labels:
        one: 1
    x-b:
      image: b
      tty: true
    services:
      one:
        image: own
        init: true
        labels:
          one: 1
      two:
        image: b
        tty: true
        init: true
        labels:
          one: 1
      three:
        image: a
        init: true
        labels:
          one: 1
      four:
        labels:
          two: 2
        image: a
        init: true
        user: me
    ");
}

#[test]
fn documents_of_one_file_are_merged_in_order() {
    insta::assert_snapshot!(case("services: { a: { image: x } }\n---\nservices: { a: { image: y } }\n").run(), @r"
    services:
      a:
        image: y
    ");
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
        "a: \u{1b}[31m",
        "a: &y 1\nb: *x",
    ];
    let all: Vec<String> = texts.iter().map(|text| case(text).faults()).collect();
    insta::assert_snapshot!(all.join("\n"), @r#"
    error[A0105] at compose.yaml:3:1 "\t": a tab stands where YAML takes spaces only
      hint: indent with spaces
    error[A0105] at compose.yaml:2:6 "\"": the quoted text that starts here is not closed
      hint: close the quote; `'` inside single quotes is written `''`, `"` inside double quotes `\"`
    error[A0105] at compose.yaml:2:10 "y": text follows a closed quote
      hint: put the whole value in quotes; `'` inside single quotes is written `''`
    error[A0105] at compose.yaml:1:11 "[": this `[` or `{` is never closed
      hint: close it, or put the text in quotes if it is meant literally
    error[A0105] at compose.yaml:1:18 ":": expected `,` or `}`
      hint: entries between braces are separated by commas
    error[A0105] at compose.yaml:2:7 ":": a second `: ` in one line, or a key under a value
      hint: put a text with `: ` in quotes; put a nested mapping on lines of its own
    error[A0105] at compose.yaml:3:2 "b": expected `key: value`
      hint: is a colon missing, or is this line indented differently from its neighbours?
    error[A0105] at compose.yaml:3:4 ":": a second `: ` in one line, or a key under a value
      hint: put a text with `: ` in quotes; put a nested mapping on lines of its own
    error[A0105] at compose.yaml:1:4 "@": unexpected character: `@'
      hint: put texts that start with `@`, `` ` `` or `%` in quotes
    error[A0105] at compose.yaml:1:11 "]": misplaced bracket
      hint: each bracket needs its counterpart; put a literal one in quotes
    error[A0105] at compose.yaml:1:4 "\"": this backslash sequence is not known
      hint: write `\\` for a backslash, or use single quotes
    error[A0109] at compose.yaml:1:4 "*none": no anchor `&none` stands before this alias
      hint: write `&none` at the value this should repeat, further up in the file
    error[A0109] at compose.yaml:1:8 "*x": this alias repeats the value it is part of
      hint: an alias can only repeat what is complete
    error[A0109] at compose.yaml:2:4 "*wbe": no anchor `&wbe` stands before this alias
      hint: did you mean `*web`?
    error[A0105] at compose.yaml:1:4 "\u{1b}": the control character U+001B stands here
      hint: take it out; between double quotes `\x1b` stands for one
    error[A0109] at compose.yaml:2:4 "*x": no anchor `&x` stands before this alias
      hint: write `&x` at the value this should repeat, further up in the file
    "#);
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
    insta::assert_snapshot!(case(files).faults(), @r#"
    error[A0106] at compose.yaml:4:18 "image": the key `image` stands here twice
      also compose.yaml:4:8: first here
      hint: keep one of them
    error[A0106] at compose.yaml:5:3 "a": the key `a` stands here twice
      also compose.yaml:3:3: first here
      hint: keep one of them
    error[A0107] at compose.yaml:6:3 "5": the key `5` is a number, not a string
      hint: write it in quotes: `"5"`
    error[A0107] at compose.yaml:7:3 "true": the key `true` is a boolean, not a string
      hint: write it in quotes: `"true"`
    error[A0107] at compose.yaml:8:5 "[x]": a list cannot be a key
      hint: a key is a string; is a value missing its quotes, or `${…}` unquoted at its start?
    error[A0107] at compose.yaml:10:3 "": a key is missing before the colon
      hint: write it in quotes: `""`
    error[A0109] at compose.yaml:11:7 "7": `<<` merges mappings, this is a scalar
      hint: give it an alias of a mapping, or a list of them
    "#);
}

#[test]
fn a_file_that_is_not_a_mapping_or_empty_is_refused() {
    let all: Vec<String> =
        ["- a\n", "just text\n", "", "# nothing\n", "{}"].iter().map(|text| case(text).run()).collect();
    insta::assert_snapshot!(all.join("\n"), @r#"
    no tree
    error[A0121] at compose.yaml:1:1 "- a": an application file is a mapping, this is a sequence
      hint: start it with `services:`
    no tree
    error[A0121] at compose.yaml:1:1 "just text": an application file is a mapping, this is a scalar
      hint: start it with `services:`
    no tree
    error[A0121]: the application file is empty
      hint: write at least one service below `services:`, or start from `atoll init`
    no tree
    error[A0121]: the application file is empty
      hint: write at least one service below `services:`, or start from `atoll init`
    no tree
    error[A0121]: the application file is empty
      hint: write at least one service below `services:`, or start from `atoll init`
    "#);
}

#[test]
fn bad_utf_8_is_told_with_byte_and_line() {
    let case_one = case("== x").bytes("compose.yaml", b"services:\n  a: \xff\xfe\n");
    let case_two = case("== x").bytes("compose.yaml", b"\xff\xfea\x00");
    insta::assert_snapshot!(format!("{}\n{}", case_one.run(), case_two.run()), @r#"
    no tree
    error[A0104] at compose.yaml:2:6 "": `compose.yaml` is not UTF-8: byte 15 (line 2) is 0xff
      hint: save the file as UTF-8
    no tree
    error[A0104] at compose.yaml:1:1 "": `compose.yaml` is not UTF-8: byte 0 (line 1) is 0xff
      hint: the file is UTF-16: save it as UTF-8
    "#);
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
    insta::assert_snapshot!(case.run(), @r#"
    services:
      $A:
        image: web:latest
        command:
          - "web"
          - "$A"
          - $(x)
        environment:
          EMPTY: ""
          $A: b
        cpus: 0.5
    error[A0107] at compose.yaml:8:7 "NULL": the key `NULL` is null, not a string
      hint: write it in quotes: `"NULL"`
    "#);
}

#[test]
fn bad_and_missing_variables_point_into_the_scalar() {
    let files = "
services:
  a:
    image: repo/${IMAGE:?say which}:x
    command:
      - \"a\\tb ${}\"
      - 'it''s ${A'
      - plain ${A/b}
    user: |
      first
      second ${PORT}
    init: $PORT ${HOMEE}
";
    insta::assert_snapshot!(case(files).env("HOME", "/home/ada").faults(), @r#"
    error[A0111] at compose.yaml:4:17 "${IMAGE:?say which}": the variable `IMAGE` is required and has no value: say which
      hint: set it in the environment or in `.env`
    error[A0110] at compose.yaml:6:15 "${}": `${}` names no variable
      hint: a name starts with a letter or `_`; for a literal dollar sign write `$$`
    error[A0110] at compose.yaml:7:16 "${A": `${A` has no closing brace
      hint: close it with `}`; for a literal dollar sign write `$$`
    error[A0110] at compose.yaml:8:15 "${A/b}": `${A/b}` is not a form of substitution that is known
      hint: known are `${A}`, `${A:-default}`, `${A:?message}` and `${A:+other}`, also without the colon; for a literal dollar sign write `$$`
    warning[A0112] at compose.yaml:11:14 "${PORT}": the variable `PORT` is not set: it is read as empty
      hint: set it in `.env`, or give a default: `${PORT:-…}`
    warning[A0112] at compose.yaml:12:17 "${HOMEE}": the variable `HOMEE` is not set: it is read as empty
      hint: set it, or did you mean `HOME`?
    "#);
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
    insta::assert_snapshot!(case(files).run(), @r"
    gateway:
      listen: 80
    services:
      a:
        image: x
        routes:
          - GET /a
        calls:
          b: {}
        healthcheck:
          http: /healthz
          interval: 1s
        labels:
          x-atoll: kept
      x-atoll:
        image: y
    ");
}

#[test]
fn a_key_both_below_and_beside_x_atoll_is_refused() {
    let files = "
services:
  a: { image: x, routes: [GET /a], x-atoll: { routes: [GET /b], calls: [c] } }
  b: { image: x, x-atoll: [1] }
";
    insta::assert_snapshot!(case(files).run(), @r#"
    services:
      a:
        image: x
        routes:
          - GET /a
        calls:
          - c
      b:
        image: x
    error[A0119] at compose.yaml:3:47 "routes": `routes` stands both here and below `x-atoll`
      also compose.yaml:3:18: and here
      also compose.yaml:3:36: this puts its keys at the level it stands on
      hint: keep one of them
    error[A0119] at compose.yaml:4:27 "[1]": `x-atoll` takes a mapping, this is a sequence
      hint: write the keys below it: `x-atoll: {routes: […]}`
    "#);
}

#[test]
fn an_unknown_tag_is_a_warning() {
    insta::assert_snapshot!(case("services: { a: { image: !secret x } }").run(), @r#"
    services:
      a:
        image: x
    warning[A0123] at compose.yaml:1:25 "!secret": the tag `!secret` has no meaning here and is ignored
      hint: known are `!reset` and `!override`
    "#);
}

#[test]
fn faults_of_all_files_are_told_in_one_go() {
    let files = "
== compose.yaml
services: { a: { image: '${' } }
== compose.override.yaml
services: { a: [ }
== .env
A B=1
";
    insta::assert_snapshot!(case(files).faults(), @r#"
    error[A0113] at .env:1:1 "A B": the variable name `A B` contains a space
      hint: write `NAME=value`, one to a line; comments start with `#`
    error[A0105] at compose.override.yaml:1:16 "[": mismatched bracket '[' closed by '}'
      hint: each bracket needs its counterpart; put a literal one in quotes
    error[A0110] at compose.yaml:1:26 "${": `${` has no closing brace
      hint: close it with `}`; for a literal dollar sign write `$$`
    "#);
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
