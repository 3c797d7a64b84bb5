//! Input made to hurt ends soon, in bounded memory, with a clear fault.

use std::time::{Duration, Instant};

use super::{Case, case};

/// Runs a case within a second: the promise holds for a release build; debug builds get more.
fn soon(case: &Case) -> String {
    let limit = if cfg!(debug_assertions) { Duration::from_secs(8) } else { Duration::from_secs(1) };
    let start = Instant::now();
    let faults = case.faults();
    let took = start.elapsed();
    assert!(took < limit, "took {took:?}: {}", faults.chars().take(300).collect::<String>());
    eprintln!("{took:?}");
    faults
}

fn starts(faults: &str) -> String {
    faults.lines().next().unwrap_or_default().chars().take(200).collect()
}

#[test]
fn aliases_of_aliases_end_at_the_bound() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 1..12 {
        text.push_str(&format!("a{i}: &a{i} [{}]\n", format!("*a{},", i - 1).repeat(10)));
    }
    insta::assert_snapshot!(soon(&case(&text)), @r#"
    error[A0108] at compose.yaml:5:9 "[*a3,*a3,*a3,*a3,*a3,*a3,*a3,*a3,*a3,*a3": the app grows past 200000 nodes or 16 MiB of text once aliases, `extends` and variables are expanded
      hint: look for aliases of aliases, or split the app
    "#);
}

#[test]
fn an_alias_of_a_long_text_ends_at_the_bound() {
    let text = format!("a: &a {}\nb: [{}]\n", "x".repeat(1 << 20), "*a,".repeat(10_000));
    insta::assert_snapshot!(starts(&soon(&case(&text))), @r#"error[A0108] at compose.yaml:2:44 "*a": the app grows past 200000 nodes or 16 MiB of text once aliases, `extends` and variables are expanded"#);
}

#[test]
fn a_file_of_ten_megabytes_is_refused_unread() {
    let text = format!("a: {}\n", "x".repeat(10 << 20));
    insta::assert_snapshot!(soon(&case(&text)), @r"
    error[A0103]: cannot read the application file `compose.yaml`: it has 10485765 bytes or more; at most 4 MiB are read
      hint: is this the right file? large data belongs into files that services read
    ");
}

#[test]
fn a_device_without_end_is_refused() {
    insta::assert_snapshot!(soon(&case("== x").with(|r| r.files = vec!["/dev/zero".into()])), @r"
    error[A0103]: cannot read the application file `/dev/zero`: it has 4194305 bytes or more; at most 4 MiB are read
      hint: is this the right file? large data belongs into files that services read
    ");
}

#[test]
fn a_directory_or_a_pipe_is_refused() {
    let case = case("== compose.yaml\ninclude: [dir]\n== dir/x\n");
    insta::assert_snapshot!(soon(&case), @r#"error[A0102] at compose.yaml:1:11 "dir": cannot read the included file `dir`: it is a directory"#);
}

#[test]
fn nesting_without_end_is_refused() {
    insta::assert_snapshot!(starts(&soon(&case(&"[".repeat(1 << 20)))), @r#"error[A0108] at compose.yaml:1:65 "[": too many mappings and lists inside each other"#);
    insta::assert_snapshot!(starts(&soon(&case(&"- ".repeat(1 << 20)))), @r#"error[A0108] at compose.yaml:1:129 "-": too many mappings and lists inside each other"#);
    insta::assert_snapshot!(starts(&soon(&case(&"{a: ".repeat(1 << 19)))), @r#"error[A0108] at compose.yaml:1:257 "{": too many mappings and lists inside each other"#);
    insta::assert_snapshot!(starts(&soon(&case(&"? ".repeat(1 << 20)))), @r#"error[A0108] at compose.yaml:1:129 "?": too many mappings and lists inside each other"#);
}

#[test]
fn a_hundred_thousand_keys_or_faults_do_not_take_long() {
    let same = format!("services:\n{}", "  a: {}\n".repeat(90_000));
    let faults = soon(&case(&same));
    assert_eq!(faults.matches("error[A0106]").count(), super::super::limits::MAX_FAULTS);
    assert!(faults.contains("more than 100 faults"));

    let mut many = "services:\n".to_owned();
    for i in 0..60_000 {
        many.push_str(&format!("  s{i}: !reset {{}}\n"));
    }
    let files = format!("== compose.yaml\n{many}\n== compose.override.yaml\n{many}");
    soon(&case(&files));
    let own = many.replace("!reset {}", "$A$B");
    soon(&case(&format!("x-atoll:\n{}services:\n  s: {{}}\n{own}", own.replace("services:\n", ""))));
    let unset = (0..60_000).map(|i| format!("  - ${{A{i}}}\n")).collect::<String>();
    soon(&case(&format!("x:\n{unset}")));
}

#[test]
fn a_long_chain_and_a_wide_use_of_extends_end_at_a_bound() {
    let mut chain = "services:\n  s0: { image: x }\n".to_owned();
    for i in (1..20_000).rev() {
        chain.push_str(&format!("  s{i}: {{ extends: s{} }}\n", i - 1));
    }
    insta::assert_snapshot!(starts(&soon(&case(&chain))), @r#"error[A0116] at compose.yaml:67:22 "s19934": more than 64 services extend each other in a row"#);

    let mut wide = "services:\n  base:\n    cap_add:\n".to_owned();
    for i in 0..10_000 {
        wide.push_str(&format!("      - c{i}\n"));
    }
    for i in 0..10_000 {
        wide.push_str(&format!("  s{i}: {{ extends: base }}\n"));
    }
    insta::assert_snapshot!(starts(&soon(&case(&wide))), @r#"error[A0108] at compose.yaml:10018:3 "s14": the app grows past 200000 nodes or 16 MiB of text once aliases, `extends` and variables are expanded"#);
}

#[test]
fn includes_that_fan_out_end_at_a_bound() {
    let mut files = "== compose.yaml\ninclude: [f0.yaml, f0.yaml]\n".to_owned();
    for i in 0..20 {
        files.push_str(&format!("== f{i}.yaml\ninclude: [f{0}.yaml, f{0}.yaml]\n", i + 1));
    }
    files.push_str("== f20.yaml\nservices: { a: { image: x } }\n");
    insta::assert_snapshot!(starts(&soon(&case(&files))), @r#"error[A0103] at f18.yaml:1:11 "f19.yaml": the app is made of more than 256 files"#);
}

#[test]
fn variables_of_variables_end_at_a_bound() {
    let mut text =
        "== compose.yaml\nservices: { a: { image: $A30 } }\n== .env\nA0=xxxxxxxxxxxxxxxx\n".to_owned();
    for i in 1..=30 {
        text.push_str(&format!("A{i}=$A{0}$A{0}$A{0}$A{0}\n", i - 1));
    }
    insta::assert_snapshot!(starts(&soon(&case(&text))), @r#"error[A0113] at .env:10:4 "$A8$A8$A8$A8": the value grows past 1 MiB"#);

    let text = format!("x: [{}]\n", "$A$A$A$A,".repeat(20_000));
    insta::assert_snapshot!(starts(&soon(&case(&text).env("A", &"y".repeat(100_000)))), @r#"error[A0108] at compose.yaml:1:374 "$A$A$A$A": the app grows past 200000 nodes or 16 MiB of text once aliases, `extends` and variables are expanded"#);
}
