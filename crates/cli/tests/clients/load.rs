//! Clients that are made for many requests: none may fail.

use std::process::Command;

use crate::app::{App, WEB, has, output};
use crate::world::text;

/// The number in front of or behind a word of what a tool says, such as `100 succeeded`.
fn said(output: &str, word: &str) -> u64 {
    let before = output.split(word).next().filter(|before| before.len() < output.len());
    let number = before.and_then(|before| before.trim_end().rsplit([' ', '\n']).next());
    number.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no `{word}` in {output}"))
}

#[test]
fn a_thousand_streams_at_once_of_h2load_succeed() {
    if !has(&["h2load"]) {
        return;
    }
    let app = App::start(&[WEB]);
    for url in [&app.plain, &app.secure] {
        let mut command = Command::new("h2load");
        command.args(["-n", "1000", "-c", "10", "-m", "10", &format!("{url}/web/bytes/2000")]);
        let told = text(&output(command).stdout);
        assert_eq!((said(&told, " succeeded,"), said(&told, " 2xx,")), (1000, 1000), "{told}");
        assert!(told.contains("Application protocol: h2"), "{told}");
    }
    app.down();
}

#[test]
fn wrk_sees_no_error() {
    if !has(&["wrk"]) {
        return;
    }
    let app = App::start(&[WEB]);
    for url in [&app.plain, &app.secure] {
        let mut command = Command::new("wrk");
        command.args(["-t1", "-c8", "-d1s", &format!("{url}/web/bytes/2000")]);
        let told = text(&output(command).stdout);
        assert!(said(&told, " requests in") > 20, "{told}");
        assert!(!told.contains("Socket errors") && !told.contains("Non-2xx"), "{told}");
    }
    app.down();
}
