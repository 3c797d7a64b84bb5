//! `atoll up` in the foreground: its instances end with it, whatever ends it.

use crate::world::{World, is_alive, kill};

const APP: &str = r#"
services:
  web:
    command: [ECHO]
    scale: 2
    healthcheck: { http: /healthz, interval: 1s }
    routes: ["/{*path}"]
  stubborn:
    command: [sh, -c, "trap '' TERM; echo deaf; while :; do sleep 1; done"]
    stop_grace_period: 500ms
"#;

#[test]
fn the_first_ctrl_c_drains_and_stops_everything() {
    let world = World::new(APP);
    let mut up = world.foreground(&["up"]);
    world.until_ready();
    // A request under way is answered whole although the stop comes in its middle.
    let status = world.status().unwrap();
    let address = status.gateway[0].trim_start_matches("http://").to_owned();
    let request = std::thread::spawn(move || crate::world::get(&address, "/slow/600"));
    world.until("the request to be under way", |status| {
        status.services.iter().flat_map(|s| &s.instances).any(|i| i.in_flight > 0)
    });
    up.signal("INT");
    assert!(up.wait().success(), "{}", up.output());
    let answer = request.join().unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (200, "firstlast\n"));
    world.until_nothing_lives();
}

#[test]
fn the_second_ctrl_c_kills() {
    let world = World::new(
        r#"
services:
  stubborn:
    command: [sh, -c, "trap '' TERM; echo deaf; while :; do sleep 1; done"]
    stop_grace_period: 1h
"#,
    );
    let mut up = world.foreground(&["up"]);
    world.until("the service to be deaf", |_| world.ok(&["logs"]).contains("deaf"));
    up.signal("INT");
    world.until("stopping", |status| status.phase == api::Phase::Stopping);
    up.signal("INT");
    up.wait();
    world.until_nothing_lives();
}

#[test]
fn nothing_is_left_after_kill_9_not_even_what_a_service_has_forked_away() {
    let world = World::new(APP);
    let mut up = world.foreground(&["up"]);
    world.until_ready();
    for _ in 0..3 {
        assert_eq!(world.get("/fork").body, "true\n");
    }
    let pids = world.pids();
    assert_eq!(pids.len(), 3);
    up.signal("KILL");
    up.wait();
    world.until_nothing_lives();
    assert!(pids.iter().all(|(_, pid)| !is_alive(*pid)));
    // And it starts again on the same state directory.
    let mut again = world.foreground(&["up"]);
    world.until_ready();
    again.signal("INT");
    again.wait();
    world.until_nothing_lives();
}

#[test]
fn what_a_service_forks_ends_with_its_instance() {
    let world = World::new(APP);
    let mut up = world.foreground(&["up"]);
    world.until_ready();
    let before = world.processes().len();
    world.get("/fork");
    world.until("the fork", |_| world.processes().len() > before);
    world.ok(&["restart", "web"]);
    world.until("the fork's end", |_| world.processes().len() == before);
    up.signal("TERM");
    up.wait();
    world.until_nothing_lives();
}

#[test]
fn an_instance_that_is_killed_starts_again() {
    let world = World::new(APP);
    let mut up = world.foreground(&["up"]);
    world.until_ready();
    let (name, pid) = world.pids().into_iter().find(|(name, _)| name == "web-1").unwrap();
    kill(pid, "KILL");
    let status = world.until("a new process", |status| {
        let instance = status.services.iter().flat_map(|s| &s.instances).find(|i| i.name == name);
        instance.is_some_and(|i| i.state == api::InstanceState::Ready && i.pid != Some(pid))
    });
    let instance = status.services.iter().flat_map(|s| &s.instances).find(|i| i.name == name).unwrap();
    assert_eq!((instance.restarts, instance.last_exit.as_deref()), (1, Some("killed by SIGKILL")));
    up.signal("INT");
    up.wait();
}
