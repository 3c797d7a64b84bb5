//! What guards calls, as people see it: breakers by hand and by themselves, limits that change.

use crate::world::World;

const GUARDED: &str = r#"
services:
  back:
    command: [ECHO]
    healthcheck: { http: /healthz, interval: 1s }
    routes:
      - GET /back: {}
      - GET /late/{ms}: { timeout: 100ms, retry: off, breaker: { of: 5, open: 300ms, probes: 1 } }
"#;

#[test]
fn a_breaker_held_open_refuses_is_told_and_stays_so_over_a_change_of_the_file() {
    let world = World::new(GUARDED);
    world.ok(&["up", "-d", "--wait"]);
    assert!(!world.ok(&["ps"]).contains("\n\n"), "silent while all is well");
    let told = world.ok(&["breaker", "open", "get", "/back"]);
    assert!(told.starts_with("`GET /back` is held open"), "{told}");

    let refused = world.get("/back");
    assert_eq!(refused.status, 503);
    assert!(refused.body.contains("A0725"), "{}", refused.body);
    assert!(refused.head.to_lowercase().contains("\r\nretry-after: "), "{}", refused.head);
    assert!(world.ok(&["ps"]).contains("\n\n! breaker GET /back (back) is held open for "));
    world.until("the event", |_| {
        world.ok(&["events"]).contains("! the breaker of `GET /back` towards back is held open")
    });

    world.write(&GUARDED.replace("GET /back: {}", "GET /back: { timeout: 3s }"));
    world.ok(&["up", "-d", "--wait"]);
    assert_eq!(world.get("/back").status, 503, "another table, the same breaker");
    world.ok(&["breaker", "auto", "GET /back"]);
    assert_eq!(world.get("/back").status, 200);
    let unknown = world.fails(2, &["breaker", "open", "GET", "/bakc"]);
    assert!(unknown.contains("did you mean `GET /back`?"), "{unknown}");
}

#[test]
fn a_breaker_opens_when_calls_fail_and_closes_when_they_do_not() {
    let world = World::new(GUARDED);
    world.ok(&["up", "-d", "--wait"]);
    let late: Vec<u16> = (0..5).map(|_| world.get("/late/3000").status).collect();
    assert_eq!(late, [504; 5]);
    assert!(world.get("/late/0").body.contains("A0725"), "refused at once");
    world.until("closed again", |_| world.get("/late/0").status == 200);
    world.until("the events", |_| {
        let events = world.ok(&["events"]);
        let place =
            |text: &str| events.find(&format!("the breaker of `GET /late/{{ms}}` towards back {text}"));
        let story =
            [place("opened: 5 of 5 calls failed [A0725]"), place("lets probes through"), place("closed")];
        story.iter().all(Option::is_some) && story.is_sorted()
    });
    let json = world.ok(&["breaker", "--format", "json", "/late"]);
    let guards: Vec<api::Guard> = serde_json::from_str(&json).unwrap();
    let breaker = guards[0].breaker.clone().unwrap();
    assert_eq!((breaker.state, breaker.opened), (api::BreakerState::Closed, 1));
}

#[test]
fn limits_of_the_gateway_change_while_it_runs() {
    let world = World::new(GUARDED);
    world.ok(&["up", "-d", "--wait"]);
    let long = format!("/back?{}", "x".repeat(3000));
    assert_eq!(world.get(&long).status, 200);
    let limits = "gateway: { limits: { header_bytes: 1k } }\n";
    std::fs::write(world.path().join("atoll.override.yaml"), limits).unwrap();
    world.ok(&["up", "-d", "--wait"]);
    assert_eq!(world.get(&long).status, 414); // the target alone is too long
    assert_eq!(world.get("/back").status, 200);
    std::fs::remove_file(world.path().join("atoll.override.yaml")).unwrap();
    world.ok(&["up", "-d", "--wait"]);
    assert_eq!(world.get(&long).status, 200);
}
