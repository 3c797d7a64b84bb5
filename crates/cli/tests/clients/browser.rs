//! Chromium without a window: page.html runs every check in it and posts what came of it to the service.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use serde_json::Value;

use crate::app::{App, SOCKETS, WEB, has, output};
use crate::world::{LIMIT, get, kill, text};

/// Nothing but the pages of the test, and no service of its maker.
const QUIET: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
];

/// A browser with its helpers; all end with it.
struct Browser(Child);

impl Browser {
    fn open(app: &App, url: &str) -> Self {
        let home = app.path().join("home");
        let log = File::create(app.path().join("browser.log")).unwrap();
        let mut command = Command::new("chromium");
        command.args(QUIET).arg(format!("--user-data-dir={}", home.join("data").display())).arg(url);
        command.env("HOME", home).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        Self(command.process_group(0).spawn().unwrap())
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let group = format!("-{}", self.0.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        kill(self.0.id(), "KILL");
        let _ = self.0.wait();
    }
}

/// Makes the browser that is going to run trust the development authority, as `atoll trust` tells people to.
fn trust(app: &App) {
    let database = app.path().join("home/.pki/nssdb");
    fs::create_dir_all(&database).unwrap();
    let place = format!("sql:{}", database.display());
    let ca = app.ca.display().to_string();
    let steps =
        [&["-N", "--empty-password"][..], &["-A", "-t", "C,,", "-n", "Atoll development CA", "-i", &ca]];
    for step in steps {
        let mut command = Command::new("certutil");
        command.args(["-d", &place]).args(step);
        let output = output(command);
        assert!(output.status.success(), "{step:?}: {}", text(&output.stderr));
    }
}

/// What the page reports at its end.
fn visit(app: &App, gateway: &str) {
    let browser = Browser::open(app, &format!("{gateway}/web/page"));
    let address = app.plain.trim_start_matches("http://");
    let until = Instant::now() + LIMIT * 2;
    let report = loop {
        let report = get(address, "/web/report").body;
        if !report.is_empty() {
            break report;
        }
        let log = || fs::read_to_string(app.path().join("browser.log")).unwrap_or_default();
        assert!(Instant::now() < until, "no report from {gateway}\n{}", log());
        std::thread::sleep(std::time::Duration::from_millis(50));
    };
    drop(browser);
    let report: Value = serde_json::from_str(&report).unwrap();
    let results = report.as_object().unwrap();
    assert!(results.len() >= 11, "{report:#}");
    let bad: Vec<_> =
        results.iter().filter(|(_, said)| said.as_str().unwrap().starts_with("FAILED")).collect();
    assert!(bad.is_empty(), "through {gateway}: {report:#}");
}

#[test]
fn a_browser_that_trusts_the_development_authority_speaks_http_2_and_websockets() {
    if !has(&["chromium", "certutil", "python packages"]) {
        return;
    }
    let app = App::start(&[WEB, SOCKETS]);
    trust(&app);
    visit(&app, &app.secure);
    app.down();
}

#[test]
fn a_browser_speaks_http_1_and_websockets_in_the_clear() {
    if !has(&["chromium", "python packages"]) {
        return;
    }
    let app = App::start(&[WEB, SOCKETS]);
    visit(&app, &app.plain);
    app.down();
}
