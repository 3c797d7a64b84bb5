//! Short-lived credentials, found by boto3 in a service that was told nothing but its environment.

use std::fs;
use std::time::{Duration, Instant};

use crate::app;
use crate::world::{LIMIT, World};

const APP: &str = r#"
pipes: { listen: "127.0.0.1:0", access: enforce, credentials: short }
services:
  borrower:
    command: [PYTHON, FILES/borrower.py]
    restart: "no"
    queues: [jobs]
  other:
    command: [ECHO]
    queues: [theirs]
"#;

#[test]
fn boto3_finds_short_lived_credentials_of_its_service_and_no_others() {
    if !app::has(&["boto3"]) {
        return;
    }
    let python = app::python_with("boto3").unwrap();
    let world = World::new("");
    let file = APP.replace("PYTHON", &python.display().to_string());
    world.write(&file.replace("FILES", app::files().to_str().unwrap()));
    // What whoever runs it has for themselves is not to be found first.
    let mut up = world.command(&["up", "-d"]);
    up.env("AWS_ACCESS_KEY_ID", "AKIAOFTHETERMINAL000").env("AWS_SECRET_ACCESS_KEY", "other");
    up.env("AWS_PROFILE", "of-the-terminal").env("AWS_ROLE_ARN", "arn:aws:iam::111111111111:role/other");
    assert!(up.status().unwrap().success());
    let deadline = Instant::now() + LIMIT;
    let outcome = loop {
        if let Ok(outcome) = fs::read_to_string(world.path().join("outcome")) {
            break outcome;
        }
        assert!(Instant::now() < deadline, "{}", world.ok(&["logs", "borrower"]));
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(outcome, "well");
    world.ok(&["down"]);
}
