//! `atoll up -d`: the node goes on without a terminal; instances outlive a node that is killed.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::world::{LIMIT, World, is_alive, kill};

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

#[test]
fn down_also_ends_what_a_killed_node_has_left_running() {
    let world = World::new(APP);
    world.ok(&["up", "-d", "--wait"]);
    kill(world.node_pid(), "KILL");
    assert!(!world.processes().is_empty());
    let output = world.run(&["down"]);
    assert!(output.status.success(), "{}", crate::world::text(&output.stderr));
    world.until_nothing_lives();
    assert_eq!(world.ok(&["down"]), "nothing runs here\n");
}

#[test]
fn sigterm_to_a_detached_node_stops_the_app_in_order() {
    let world = World::new(APP);
    world.ok(&["up", "-d", "--wait"]);
    kill(world.node_pid(), "TERM");
    world.until_nothing_lives();
    let logs = std::fs::read_to_string(world.state_dir().join("node.log")).unwrap();
    assert!(!logs.contains("error"), "{logs}");
}

#[test]
fn a_node_comes_up_again_although_somebody_has_taken_the_port_of_its_gateway() {
    let world = World::new(APP);
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let file = std::fs::read_to_string(world.path().join("atoll.yaml")).unwrap();
    std::fs::write(world.path().join("atoll.yaml"), file.replace("127.0.0.1:0", &address)).unwrap();
    world.ok(&["up", "-d", "--wait"]);
    let before = world.pids();
    kill(world.node_pid(), "KILL");
    let deadline = std::time::Instant::now() + crate::world::LIMIT;
    let holder = loop {
        match std::net::TcpListener::bind(&address) {
            Ok(holder) => break holder,
            Err(error) => assert!(std::time::Instant::now() < deadline, "{error}"),
        }
    };
    // The wish cannot be met as a whole, and says so; what runs is adopted all the same.
    assert!(world.fails(1, &["up", "-d"]).contains("A0613"));
    assert_eq!(world.pids(), before);
    drop(holder);
    world.ok(&["up", "-d", "--wait"]);
    assert_eq!(world.pids(), before);
    assert_eq!(world.get("/").status, 200);
    world.ok(&["down"]);
    world.until_nothing_lives();
}

#[test]
fn what_was_being_restarted_when_its_node_was_killed_comes_back() {
    // It takes its time to end, and ends well: no failure that a policy would start it again for.
    let slow = r#"services:
  web:
    command: [sh, -c, "trap 'sleep 1; exit 0' TERM; while :; do sleep 0.05; done"]
"#;
    let world = World::new(slow);
    world.ok(&["up", "-d", "--wait"]);
    let mut restart = world.command(&["restart", "web"]).stderr(std::process::Stdio::null()).spawn().unwrap();
    world.until("stopping", |status| {
        status.services.iter().flat_map(|s| &s.instances).any(|i| i.state == api::InstanceState::Stopping)
    });
    kill(world.node_pid(), "KILL");
    restart.wait().unwrap();
    world.ok(&["up", "-d", "--wait"]);
    world.until("web is back", |status| {
        status.services[0].ready == 1 && status.services[0].instances[0].run == 2
    });
    world.ok(&["down"]);
    world.until_nothing_lives();
}

#[test]
fn whoever_is_killed_the_next_up_mends_it_and_there_are_never_two_copies() {
    let app = "services: { front: { command: [ECHO], calls: { back: {} }, routes: [/] }, \
               back: { command: [ECHO], scale: 3 } }";
    let world = World::new(app);
    world.ok(&["up", "-d", "--wait"]);
    for round in 0..9 {
        let node = world.node_pid();
        let service = world.pids()[round % 4].1;
        let warden = parent(service);
        match round % 3 {
            0 => kill(node, "KILL"),
            1 => kill(warden, "KILL"),
            _ => kill(parent(warden), "KILL"), // the keeper, and with it all
        }
        if round % 3 != 1 {
            until("the node ends", || !is_alive(node));
        }
        world.ok(&["up", "-d", "--wait"]);
        until("every instance lives once", || {
            let names = instance_names(&world);
            let once: BTreeSet<&String> = names.iter().collect();
            assert_eq!(once.len(), names.len(), "round {round}: two copies: {names:?}");
            names == ["back-1", "back-2", "back-3", "front-1"]
        });
        world.until_ready();
        assert_eq!(world.get("/").status, 200);
    }
    world.ok(&["down"]);
    world.until_nothing_lives();
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: not within {LIMIT:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The parent of a process.
fn parent(pid: u32) -> u32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let after_name = stat.rsplit(") ").next().unwrap();
    after_name.split(' ').nth(1).unwrap().parse().unwrap()
}

/// The instances that live, by what stands in the environment of their processes.
fn instance_names(world: &World) -> Vec<String> {
    let mut names = Vec::new();
    for pid in world.processes() {
        let read = |name: &str| std::fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
        if !read("cmdline").starts_with(crate::world::echo().display().to_string().as_bytes()) {
            continue;
        }
        let environment = crate::world::text(&read("environ"));
        let name = environment.split("service.instance.id=").nth(1).unwrap_or_default();
        names.push(name.split(['\0', ',']).next().unwrap_or_default().to_owned());
    }
    names.sort();
    names
}
