//! `atoll upgrade`: another process takes the app over, and nobody who sends requests notices.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStderr, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::world::{LIMIT, World, is_alive, kill, text, try_get};

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
  job:
    command: [sh, -c, "echo once >> job.log"]
    restart: "no"
"#;

#[test]
fn three_upgrades_under_load_lose_no_request_and_restart_nothing() {
    let world = World::new(APP);
    world.ok(&["up", "-d", "--wait"]);
    let before = world.pids();
    let load = Load::start(&gateway(&world));
    let mut nodes = vec![world.node_pid()];
    for _ in 0..3 {
        load.more(150);
        let said = world.ok(&["upgrade"]);
        assert!(said.contains("upgraded from"), "{said}");
        nodes.push(world.node_pid());
    }
    load.more(150);
    assert_eq!(load.failures(), Vec::<String>::new());
    nodes.dedup();
    assert_eq!(nodes.len(), 4, "each is a process of its own: {nodes:?}");
    assert_eq!(world.pids(), before);
    // What was done once is known: the job does not run again.
    world.until_ready();
    assert_eq!(std::fs::read_to_string(world.path().join("job.log")).unwrap(), "once\n");
    let events = world.ok(&["events"]);
    assert_eq!(events.matches("upgraded from").count(), 3, "{events}");
    until("the old nodes have ended", || nodes[..3].iter().all(|pid| !is_alive(*pid)));
    world.ok(&["down"]);
    world.until_nothing_lives();
}

#[test]
fn a_stream_that_the_old_node_carries_comes_to_its_end() {
    let world = World::new(APP);
    world.ok(&["up", "-d", "--wait"]);
    let mut stream = TcpStream::connect(gateway(&world)).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    write!(stream, "GET /slow/1500 HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap(); // the answer is under way
    let old = world.node_pid();
    world.ok(&["upgrade"]);
    assert!(is_alive(old), "it has something to finish");
    let mut rest = String::new();
    while !rest.ends_with("last\n") {
        assert_ne!(reader.read_line(&mut rest).unwrap(), 0, "{line}{rest}");
    }
    assert!(line.contains("200") && rest.ends_with("firstlast\n"), "{line}{rest}");
    drop(reader);
    until("the old node has ended", || !is_alive(old));
    let old = world.node_pid();
    world.ok(&["upgrade", "--wait"]);
    assert!(!is_alive(old), "--wait");
    assert_eq!(world.get("/").status, 200);
    world.ok(&["down"]);
    world.until_nothing_lives();
}

#[test]
fn whoever_kills_the_new_node_before_it_has_taken_over_leaves_the_old_one_serving() {
    // The new node checks every instance before it takes over: there is time to kill it.
    let slow = APP.replace("http: /healthz, interval: 1s", "test: [CMD, sleep, \"0.4\"], interval: 1s");
    let world = World::new(&slow);
    world.ok(&["up", "-d", "--wait"]);
    let before = (world.node_pid(), world.pids());
    let load = Load::start(&gateway(&world));
    for pause_ms in [0, 10, 30, 100, 250] {
        let mut upgrade = world.command(&["upgrade"]);
        let mut upgrade = upgrade.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let (new, _said) = taking_over(&mut upgrade);
        std::thread::sleep(Duration::from_millis(pause_ms)); // somewhere on the way
        kill(new, "KILL");
        assert_eq!(upgrade.wait().unwrap().code(), Some(1));
        until("wishes are met again", || world.run(&["scale", "back=1"]).status.success());
        load.more(30);
    }
    assert_eq!(load.failures(), Vec::<String>::new());
    assert_eq!((world.node_pid(), world.pids()), before);
    let events = world.ok(&["events"]);
    assert!(events.contains("the upgrade did not happen"), "{events}");
    // It is still in charge: what dies comes back.
    let (name, pid) = before.1[0].clone();
    kill(pid, "KILL");
    until("its next run", || world.pids().iter().any(|(other, now)| *other == name && *now != pid));
    world.until_ready();
    world.ok(&["upgrade"]);
    assert_ne!(world.node_pid(), before.0);
    world.ok(&["down"]);
    world.until_nothing_lives();
}

#[test]
fn a_program_that_is_no_node_changes_nothing() {
    let world = World::new(APP);
    world.ok(&["up", "-d", "--wait"]);
    let node = world.node_pid();
    assert!(world.fails(1, &["upgrade", "--binary", "/bin/false"]).contains("A0806"));
    assert!(world.fails(1, &["upgrade", "--binary", "no-such-program"]).contains("A0639"));
    assert_eq!(world.node_pid(), node);
    assert_eq!(world.get("/call/back/").status, 200);
    world.ok(&["down"]);
}

#[test]
fn a_node_in_the_foreground_is_not_upgraded() {
    let world = World::new(APP);
    let mut foreground = world.foreground(&["up"]);
    world.until_ready();
    let said = world.fails(1, &["upgrade"]);
    assert!(said.contains("A0630"), "{said}");
    assert_eq!(world.get("/").status, 200);
    foreground.signal("INT");
    assert!(foreground.wait().success());
    let nothing = world.fails(1, &["upgrade"]);
    assert!(nothing.contains("A0801"), "{nothing}");
}

/// The process that an upgrade has started, by what it says first: `process 4711 takes over …`. With where it says
/// more, which is to stay open.
fn taking_over(upgrade: &mut Child) -> (u32, BufReader<ChildStderr>) {
    let mut said = BufReader::new(upgrade.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    let new = line.split(' ').nth(1).and_then(|pid| pid.parse().ok()).unwrap_or_else(|| panic!("{line}"));
    (new, said)
}

/// An app whose only service takes its time to stop, and a restart of it that is under way: an upgrade waits.
fn stopping() -> (World, Child) {
    let slow = r#"services:
  web:
    command: [sh, -c, "trap 'sleep 2; exit 0' TERM; while :; do sleep 0.05; done"]
"#;
    let world = World::new(slow);
    world.ok(&["up", "-d", "--wait"]);
    let restart = world.command(&["restart", "web"]).stdout(Stdio::null()).spawn().unwrap();
    world.until("stopping", |status| {
        status.services.iter().flat_map(|s| &s.instances).any(|i| i.state == api::InstanceState::Stopping)
    });
    (world, restart)
}

#[test]
fn an_upgrade_that_ends_while_it_waits_for_what_is_under_way_leaves_the_old_node_in_charge() {
    let (world, mut restart) = stopping();
    let node = world.node_pid();
    let mut upgrade = world.command(&["upgrade"]);
    let mut upgrade = upgrade.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let (new, _said) = taking_over(&mut upgrade);
    until("it is under way", || world.ok(&["events"]).contains("takes over"));
    kill(new, "KILL");
    assert_eq!(upgrade.wait().unwrap().code(), Some(1));
    until("wishes are met again", || world.run(&["scale", "web=1"]).status.success());
    assert!(restart.wait().unwrap().success(), "a restart that somebody waits for comes to its end");
    assert_eq!(world.node_pid(), node);
    assert_eq!(world.until_ready().services[0].instances[0].run, 2);
    world.ok(&["down"]);
    world.until_nothing_lives();
}

#[test]
fn a_second_upgrade_at_the_same_time_is_refused_and_wishes_wait_their_turn() {
    let (world, mut restart) = stopping();
    let first = world.command(&["upgrade"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut first = first.unwrap();
    until("the first is under way", || world.ok(&["events"]).contains("takes over"));
    let said = world.fails(1, &["upgrade"]);
    assert!(said.contains("A0632"), "{said}");
    let said = world.fails(1, &["scale", "web=2"]);
    assert!(said.contains("A0636"), "{said}");
    assert!(first.wait().unwrap().success());
    assert!(restart.wait().unwrap().success(), "a restart that somebody waits for comes to its end");
    assert_eq!(world.until_ready().services[0].instances[0].run, 2);
    world.ok(&["down"]);
    world.until_nothing_lives();
}

#[test]
fn a_hundred_reloads_under_load_lose_no_request() {
    let file = |round: usize| {
        let routes = ["\"/extra\"", "\"GET /extra/{id}\", \"/other\""];
        let route = routes[round % 2];
        format!(
            "services: {{ web: {{ command: [ECHO], routes: [\"/{{*path}}\", {route}], calls: [back] }}, \
             back: {{ command: [ECHO] }} }}"
        )
    };
    let world = World::new(&file(0));
    world.ok(&["up", "-d", "--wait"]);
    let before = world.pids();
    let load = Load::start(&gateway(&world));
    let client = world.client();
    let text = world.ok(&["config"]);
    for round in 0..100 {
        // What `atoll up` sends, without a process for each.
        let file = text.replace("/extra", ["/extra", "/other"][round % 2]);
        let apply = api::Apply { file, ..api::Apply::default() };
        world.block_on(client.apply(&apply)).unwrap();
    }
    for round in 0..5 {
        world.write(&file(round));
        world.ok(&["up", "-d"]);
    }
    load.more(30);
    assert_eq!(load.failures(), Vec::<String>::new());
    assert_eq!(world.pids(), before);
    world.ok(&["down"]);
}

fn gateway(world: &World) -> String {
    world.status().unwrap().gateway[0].trim_start_matches("http://").to_owned()
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: not within {LIMIT:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Requests from several clients, a few hundred a second in all, until told to stop: half of them keep their
/// connections as long as they may, half open one for each request; every other request goes on to `back`
/// through the mesh.
struct Load {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    clients: Vec<JoinHandle<Vec<String>>>,
}

const CLIENTS: usize = 12;
const PACE: Duration = Duration::from_millis(20);

impl Load {
    fn start(address: &str) -> Self {
        let (stop, sent) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let clients = (0..CLIENTS).map(|number| {
            let (stop, sent, address) = (stop.clone(), sent.clone(), address.to_owned());
            std::thread::spawn(move || {
                let mut kept = Kept { address: address.clone(), connection: None };
                let mut failures = Vec::new();
                let mut round = number;
                while !stop.load(Ordering::Relaxed) {
                    round += 1;
                    let path = if round % 2 == 0 { "/call/back/" } else { "/" };
                    let answer = if number < CLIENTS / 2 {
                        kept.get(path)
                    } else {
                        try_get(&address, path).map(|answer| (answer.status, answer.body))
                    };
                    match answer {
                        // A hop through the mesh that fails shows in the body: `echo` passes it on.
                        Ok((200, body)) if body.contains("pid=") && !body.contains("HTTP/1.1 5") => {}
                        Ok((status, body)) => failures.push(format!("{path}: {status} {body}")),
                        Err(error) => failures.push(format!("{path}: {error}")),
                    }
                    sent.fetch_add(1, Ordering::Relaxed);
                    std::thread::sleep(PACE);
                }
                failures
            })
        });
        Self { stop: stop.clone(), sent: sent.clone(), clients: clients.collect() }
    }

    /// Waits for so many more requests.
    fn more(&self, requests: u64) {
        let goal = self.sent.load(Ordering::Relaxed) + requests;
        until("requests go through", || self.sent.load(Ordering::Relaxed) >= goal);
    }

    fn failures(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    }
}

/// A client that keeps its connection until it is told that it ends. It repeats nothing.
struct Kept {
    address: String,
    connection: Option<BufReader<TcpStream>>,
}

impl Kept {
    fn get(&mut self, path: &str) -> std::io::Result<(u16, String)> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let stream = TcpStream::connect(&self.address)?;
                stream.set_read_timeout(Some(LIMIT))?;
                stream.set_nodelay(true)?;
                BufReader::new(stream)
            }
        };
        write!(connection.get_mut(), "GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")?;
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if connection.read_line(&mut head)? == 0 {
                return Err(std::io::Error::other(format!("closed after {head:?}")));
            }
        }
        let head = head.to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        connection.read_exact(&mut body)?;
        if !head.contains("connection: close") {
            self.connection = Some(connection);
        }
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Ok((status, text(&body)))
    }
}
