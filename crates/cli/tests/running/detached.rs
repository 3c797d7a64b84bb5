//! `atoll up -d`: the node goes on without a terminal; instances outlive a node that is killed.

use crate::world::{World, kill};

const APP: &str = r#"
services:
  web:
    command: [ECHO]
    scale: 2
    healthcheck: { http: /healthz, interval: 1s }
    routes: ["/{*path}"]
    calls: [back]
  back:
    command: [ECHO]
    healthcheck: { http: /healthz, interval: 1s }
"#;

#[test]
fn instances_of_a_killed_node_are_adopted_by_the_next() {
    let world = World::new(APP);
    world.ok(&["up", "-d", "--wait"]);
    let before = world.pids();
    let address = world.status().unwrap().gateway.clone();
    kill(world.node_pid(), "KILL");
    // One instance ends while nobody looks.
    let (gone, pid) = before.iter().find(|(name, _)| name == "back-1").cloned().unwrap();
    kill(pid, "KILL");
    world.ok(&["up", "-d", "--wait"]);
    let after = world.pids();
    for (name, pid) in &before {
        let now = after.iter().find(|(other, _)| other == name).map(|(_, pid)| *pid);
        assert_eq!(now == Some(*pid), *name != gone, "{name}: {pid} → {now:?}");
    }
    assert_eq!(world.status().unwrap().gateway, address);
    assert_eq!(world.get("/call/back/").status, 200);
    world.ok(&["down"]);
    world.until_nothing_lives();
}

#[test]
fn a_second_up_with_the_same_file_changes_nothing() {
    let world = World::new(APP);
    world.ok(&["up", "-d", "--wait"]);
    let before = world.pids();
    world.ok(&["up", "-d", "--wait"]);
    assert_eq!(world.pids(), before);
    world.ok(&["down"]);
}

#[test]
fn down_when_nothing_runs_says_so_and_is_no_failure() {
    let world = World::new(APP);
    world.ok(&["down"]);
    assert!(world.fails(1, &["ps"]).contains("A0801"));
}

#[test]
fn a_stale_socket_is_no_hindrance() {
    let world = World::new(APP);
    std::fs::create_dir_all(world.state_dir()).unwrap();
    drop(std::os::unix::net::UnixListener::bind(world.state_dir().join(api::SOCKET)).unwrap());
    assert!(world.fails(1, &["ps"]).contains("A0801"));
    world.ok(&["up", "-d", "--wait"]);
    world.ok(&["down"]);
}
