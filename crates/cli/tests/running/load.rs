//! Requests while things change: none is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::world::{World, try_get};

#[test]
fn no_request_fails_while_every_instance_is_restarted_in_turn() {
    let world = World::new(
        r#"
services:
  single:
    command: [ECHO]
    healthcheck: { http: /healthz, interval: 1s }
    routes: ["/single/{*path}"]
  double:
    command: [ECHO]
    scale: 2
    healthcheck: { http: /healthz, interval: 1s }
    routes: ["/double/{*path}"]
    calls: [single]
"#,
    );
    world.ok(&["up", "-d", "--wait"]);
    let address = world.status().unwrap().gateway[0].trim_start_matches("http://").to_owned();
    let stop = Arc::new(AtomicBool::new(false));
    let sent = Arc::new(AtomicU64::new(0));
    let clients: Vec<_> = ["/single/a", "/double/a"]
        .into_iter()
        .map(|path| {
            let (stop, sent, address) = (stop.clone(), sent.clone(), address.clone());
            std::thread::spawn(move || {
                let mut failures = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    match try_get(&address, path) {
                        Ok(answer) if answer.status == 200 => {}
                        Ok(answer) => failures.push(answer.head),
                        Err(error) => failures.push(error.to_string()),
                    }
                    sent.fetch_add(1, Ordering::Relaxed);
                }
                failures
            })
        })
        .collect();
    let mut rounds = 0;
    while rounds < 5 || sent.load(Ordering::Relaxed) < 500 {
        world.ok(&["restart"]);
        rounds += 1;
    }
    stop.store(true, Ordering::Relaxed);
    let failures: Vec<String> = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
    assert_eq!(failures, Vec::<String>::new());
    world.ok(&["down"]);
    world.until_nothing_lives();
}
