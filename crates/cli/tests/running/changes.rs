//! A changed file, a changed count, a restart: only the difference is applied.

use crate::world::World;

fn app(back: &str) -> String {
    format!(
        r#"
services:
  web:
    command: [ECHO]
    healthcheck: {{ http: /healthz, interval: 1s }}
    routes: ["/{{*path}}"]
  back:
    command: [ECHO]
    healthcheck: {{ http: /healthz, interval: 1s }}
    {back}
"#
    )
}

fn pid(world: &World, name: &str) -> u32 {
    world.pids().into_iter().find(|(other, _)| other == name).unwrap().1
}

#[test]
fn a_second_up_replaces_what_changed_and_nothing_else() {
    let world = World::new(&app("environment: { GREETING: one }"));
    world.ok(&["up", "-d", "--wait"]);
    let (web, back) = (pid(&world, "web-1"), pid(&world, "back-1"));

    world.write(&app("environment: { GREETING: two }"));
    let plan = world.ok(&["plan", "--format", "json"]);
    assert!(plan.contains("environment.GREETING"), "{plan}");
    assert_eq!(world.run(&["plan", "--detailed-exitcode"]).status.code(), Some(2));
    assert_eq!(pid(&world, "back-1"), back, "a plan does nothing");

    world.ok(&["up", "-d", "--wait"]);
    assert_eq!(pid(&world, "web-1"), web);
    assert_ne!(pid(&world, "back-1"), back);
    assert_eq!(world.run(&["plan", "--detailed-exitcode"]).status.code(), Some(0));

    // A route is taken up in place.
    let back = pid(&world, "back-1");
    world.write(&app("environment: { GREETING: two }\n    routes: [GET /special]"));
    world.ok(&["up", "-d", "--wait"]);
    assert_eq!(pid(&world, "back-1"), back);
    assert!(world.get("/special").body.contains("GREETING=two"));
    world.ok(&["down"]);
    world.until_nothing_lives();
}

#[test]
fn counts_can_be_changed_while_it_runs() {
    let world = World::new(&app(""));
    world.ok(&["up", "-d", "--wait", "--scale", "back=3"]);
    assert_eq!(world.pids().len(), 4);
    let first = pid(&world, "back-1");
    world.ok(&["scale", "back=1"]);
    world.until("one instance", |_| world.pids().len() == 2);
    assert_eq!(pid(&world, "back-1"), first);
    assert!(world.fails(1, &["scale", "nobody=1"]).contains("nobody"));
    world.ok(&["down"]);
}

#[test]
fn a_restart_gives_new_processes_and_comes_back_when_they_are_ready() {
    let world = World::new(&app(""));
    world.ok(&["up", "-d", "--wait"]);
    let (web, back) = (pid(&world, "web-1"), pid(&world, "back-1"));
    world.ok(&["restart", "back"]);
    assert_eq!(pid(&world, "web-1"), web);
    assert_ne!(pid(&world, "back-1"), back);
    assert_eq!(world.status().unwrap().phase, api::Phase::Ready);
    assert!(world.fails(1, &["restart", "nobody"]).contains("A0622"));
    world.ok(&["down"]);
}

#[test]
fn a_route_added_while_it_runs_reaches_what_runs_already() {
    let world =
        World::new("services: { web: { command: [ECHO] }, other: { command: [ECHO], routes: [/o] } }");
    world.ok(&["up", "-d", "--wait"]);
    let before = pid(&world, "web-1");
    world.write(
        "services: { web: { command: [ECHO], routes: [/] }, other: { command: [ECHO], routes: [/o] } }",
    );
    world.ok(&["up", "-d", "--wait"]);
    assert_eq!(world.get("/").status, 200);
    assert_eq!(pid(&world, "web-1"), before);
    world.ok(&["down"]);
}

#[test]
fn a_wish_that_comes_while_all_goes_down_is_refused_and_the_end_comes_all_the_same() {
    let deaf = r#"services: { web: { command: [sh, -c, "trap '' TERM; while :; do sleep 0.1; done"] } }"#;
    let world = World::new(deaf);
    world.ok(&["up", "-d", "--wait"]);
    let mut down = world.command(&["down"]).stdout(std::process::Stdio::null()).spawn().unwrap();
    world.until("going down", |status| status.phase == api::Phase::Stopping);
    let said = world.fails(1, &["up", "-d"]);
    assert!(said.contains("A0616"), "{said}");
    let said = world.fails(1, &["scale", "web=2"]);
    assert!(said.contains("A0616"), "{said}");
    world.ok(&["down", "--timeout", "0"]); // hastens the first
    assert!(down.wait().unwrap().success());
    world.until_nothing_lives();
}
