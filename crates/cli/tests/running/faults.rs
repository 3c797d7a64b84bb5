//! What goes wrong gives one clear message, and what already runs goes on.

use std::net::TcpListener;

use crate::world::World;

const GOOD: &str = r#"
services:
  web:
    command: [ECHO]
    healthcheck: { http: /healthz, interval: 1s }
    routes: ["/{*path}"]
"#;

fn with(more: &str) -> String {
    format!("{GOOD}{more}")
}

#[test]
fn a_port_in_use_names_its_holder_and_changes_nothing() {
    let world = World::new(GOOD);
    world.ok(&["up", "-d", "--wait"]);
    let before = world.pids();
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = holder.local_addr().unwrap().port();
    let file = std::fs::read_to_string(world.path().join("atoll.yaml")).unwrap();
    std::fs::write(
        world.path().join("atoll.yaml"),
        file.replace("127.0.0.1:0", &format!("127.0.0.1:{port}")),
    )
    .unwrap();
    let message = world.fails(1, &["up", "-d"]);
    assert!(message.contains("A0613"), "{message}");
    assert!(message.contains(&format!("(process {})", std::process::id())), "{message}");
    assert_eq!(world.pids(), before);
    assert_eq!(world.get("/").status, 200);
    world.ok(&["down"]);
}

#[test]
fn a_missing_program_is_named_with_where_it_was_looked_for() {
    let world = World::new(&with("  lost:\n    command: [no-such-program]\n"));
    let message = world.fails(1, &["up", "-d", "--wait"]);
    assert!(message.contains("no-such-program"), "{message}");
    let status = world.until("the failure", |status| {
        status.services.iter().any(|s| s.name == "lost" && s.state == api::ServiceState::Failed)
    });
    let lost = status.services.iter().find(|s| s.name == "lost").unwrap();
    assert!(lost.detail.contains("not found"), "{}", lost.detail);
    assert!(world.ok(&["events"]).contains("A0502"));
    assert_eq!(world.get("/").status, 200, "the others run");
    world.ok(&["down"]);
}

#[test]
fn a_service_that_dies_at_once_is_shown_with_its_last_words() {
    let world = World::new(&with("  broken:\n    command: [ECHO]\n    environment: { EXIT: 7 }\n"));
    let message = world.fails(1, &["up", "-d", "--wait"]);
    assert!(message.contains("broken"), "{message}");
    let status = world.until("the failure", |status| {
        status.services.iter().any(|s| s.name == "broken" && s.state == api::ServiceState::Failed)
    });
    let broken = status.services.iter().find(|s| s.name == "broken").unwrap();
    assert_eq!(broken.detail, "exit status 7: ending at once, as told");
    assert!(broken.instances[0].restarts > 0);
    assert_eq!(world.get("/").status, 200, "the others run");
    world.ok(&["down"]);
}

#[test]
fn a_service_that_never_gets_ready_is_said_to_be_so_when_the_wait_ends() {
    let world = World::new(&with(
        "  mute:\n    command: [sleep, '1000']\n    healthcheck: { http: /healthz, interval: 1s }\n",
    ));
    let message = world.fails(1, &["up", "-d", "--wait", "--wait-timeout", "2"]);
    assert!(message.contains("mute"), "{message}");
    let status = world.status().unwrap();
    let mute = status.services.iter().find(|s| s.name == "mute").unwrap();
    assert!(mute.detail.contains("refused"), "{}", mute.detail);
    world.ok(&["down"]);
}

#[test]
fn a_prepare_that_fails_keeps_its_service_from_starting_and_leaves_the_others() {
    let world = World::new(&with(
        "  built:\n    prepare: [sh, -c, 'echo no rule to make target >&2; exit 2']\n    command: [ECHO]\n",
    ));
    world.fails(1, &["up", "-d", "--wait"]);
    let status = world.until("the failure", |status| {
        status.services.iter().any(|s| s.name == "built" && s.state == api::ServiceState::Failed)
    });
    let built = status.services.iter().find(|s| s.name == "built").unwrap();
    assert_eq!(built.detail, "prepare failed: exit status 2: no rule to make target");
    assert_eq!(world.get("/").status, 200, "the others run");
    // Mended, it starts.
    world.write(&with("  built:\n    prepare: [sh, -c, 'true']\n    command: [ECHO]\n"));
    world.ok(&["up", "-d", "--wait"]);
    world.ok(&["down"]);
}

#[test]
fn two_atolls_on_one_directory_are_told_about_each_other() {
    let world = World::new(GOOD);
    let mut first = world.foreground(&["up"]);
    world.until_ready();
    let before = world.pids();
    // The second one joins the first instead of starting everything twice.
    world.ok(&["up", "-d", "--wait"]);
    assert_eq!(world.pids(), before);
    first.signal("INT");
    first.wait();
    world.until_nothing_lives();
}

#[test]
fn a_bad_file_is_refused_and_what_runs_goes_on() {
    let world = World::new(GOOD);
    world.ok(&["up", "-d", "--wait"]);
    let before = world.pids();
    world.write(&with("  bad:\n    comand: [x]\n"));
    let message = world.fails(2, &["up", "-d"]);
    assert!(message.contains("comand") && message.contains("command"), "{message}");
    assert_eq!(world.pids(), before);
    world.ok(&["down"]);
}

#[test]
fn a_sick_instance_leaves_the_balancer_and_is_shown() {
    let world = World::new(
        r#"
services:
  web:
    command: [ECHO]
    scale: 2
    healthcheck: { http: /healthz, interval: 100ms, retries: 2 }
    routes: ["/{*path}"]
"#,
    );
    world.ok(&["up", "-d", "--wait"]);
    world.get("/sick");
    let status = world.until("a sick instance", |status| status.services[0].ready == 1);
    assert_eq!(status.phase, api::Phase::Degraded);
    assert!(status.services[0].detail.contains("500"), "{}", status.services[0].detail);
    let pids: std::collections::BTreeSet<String> =
        (0..20).map(|_| world.get("/").body.lines().next().unwrap().to_owned()).collect();
    assert_eq!(pids.len(), 1);
    world.ok(&["down"]);
}
