//! The console as browsers see it, before an admin API that plays a script.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // a test may

#[allow(dead_code)] // more than is needed here
mod support;

use std::time::{Duration, Instant};

use api::InstanceState;
use console::Role;
use serde_json::json;
use support::{World, app};

/// Every page, by its address.
const PAGES: [&str; 21] = [
    "/",
    "/services",
    "/services?q=service-1&page=2",
    "/services/service-0",
    "/routes",
    "/requests",
    "/requests?side=mesh&status=4",
    "/traces",
    "/traces/ab",
    "/traces/ab?as=flame",
    "/logs",
    "/logs?q=a+b%3Dc&severity=warn",
    "/metrics?name=x",
    "/queues",
    "/queues/jobs",
    "/topics/news",
    "/objectives",
    "/errors",
    "/errors/e1",
    "/events",
    "/settings",
];

/// A page weighs at most this, in bytes, with script and stylesheet.
const MOST_BYTES: usize = 150 << 10;

#[tokio::test(flavor = "multi_thread")]
async fn without_a_session_nothing_of_the_app_is_seen() {
    let world = World::start(app(2, 1, "secret"), "secret").await;
    for page in PAGES {
        let answer = world.get(page, "atoll_console_1=wrong").await;
        assert_eq!((answer.status, answer.body.contains("secret")), (303, false), "{page}");
        assert!(answer.header("location").unwrap().starts_with("/login"));
    }
    for path in ["/live?at=/", "/live/lines?of=output"] {
        assert_eq!(world.get(path, "").await.status, 401, "{path}");
    }
    assert_eq!(world.send("POST", "/do/restart", &[], "target=service-0").await.status, 401);
    assert_eq!(world.get("/login", "").await.status, 200);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_good_for_one_login_and_leads_nowhere_else() {
    let world = World::start(app(1, 1, ""), "").await;
    let token = world.console.grant(Role::Viewer).token;
    let form = format!("token={token}&next=%2F%2Fevil.example");
    let first = world.send("POST", "/login", &[], &form).await;
    assert_eq!((first.status, first.header("location")), (303, Some("/")));
    let cookie = first.header("set-cookie").unwrap();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert_eq!(world.send("POST", "/login", &[], &form).await.status, 401);
    let other = [("origin", "http://evil.example")];
    let fresh = world.console.grant(Role::Viewer).token;
    assert_eq!(world.send("POST", "/login", &other, &format!("token={fresh}")).await.status, 403);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_was_bent_to_this_machine_is_refused() {
    let world = World::start(app(1, 1, ""), "").await;
    let cookie = world.log_in(Role::Operator).await;
    let headers = [("host", "rebound.example:4000"), ("cookie", cookie.as_str())];
    assert_eq!(world.send("GET", "/", &headers, "").await.status, 421);
    assert_eq!(world.send("GET", "/login", &headers, "").await.status, 421);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_operator_with_a_form_of_the_session_changes_anything() {
    let world = World::start(app(1, 2, ""), "").await;
    let (viewer, operator) = (world.log_in(Role::Viewer).await, world.log_in(Role::Operator).await);
    let (viewers, operators) = (world.csrf(&viewer).await, world.csrf(&operator).await);
    let send = async |cookie: &str, csrf: &str, more: &[(&str, &str)], sure: &str| {
        let headers = [&[("cookie", cookie), ("accept", "application/json")], more].concat();
        let body = format!("csrf={csrf}&target=service-0-1{sure}");
        world.send("POST", "/do/restart", &headers, &body).await
    };
    let sure = "&sure=yes";
    assert_eq!(send(&operator, "", &[], sure).await.status, 403, "no token of a form");
    assert_eq!(send(&operator, &viewers, &[], sure).await.status, 403, "that of another session");
    assert_eq!(send(&operator, &operators, &[("origin", "http://evil.example")], sure).await.status, 403);
    assert_eq!(send(&operator, &operators, &[("sec-fetch-site", "same-site")], sure).await.status, 403);
    let refused = send(&viewer, &viewers, &[], sure).await;
    assert!(refused.status == 403 && refused.body.contains("viewer"), "{}", refused.body);
    assert!(!world.get("/services/service-0", &viewer).await.body.contains("/do/restart"));
    let asked = send(&operator, &operators, &[], "").await;
    assert!(
        asked.status == 200 && asked.body.contains("Are you sure?"),
        "without the script it asks on a page"
    );
    assert!(world.node.asked.lock().unwrap().is_empty());
    let done = send(&operator, &operators, &[], sure).await;
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&done.body).unwrap()["done"],
        json!(true),
        "{}",
        done.body
    );
    assert_eq!(*world.node.asked.lock().unwrap(), [("restart".to_owned(), json!(["service-0-1"]))]);
    let out = world.send("POST", "/do/log-out", &[("cookie", &operator)], &format!("csrf={operators}")).await;
    assert_eq!(out.status, 303);
    assert_eq!(world.get("/", &operator).await.status, 303);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_wrote_is_text_on_every_page() {
    let hostile = format!("<script>alert(1)</script>'\"><img src=x onerror=alert(2)>{}", "x".repeat(10_000));
    let world = World::start(app(3, 2, &hostile), &hostile).await;
    let cookie = world.log_in(Role::Operator).await;
    for page in PAGES {
        let answer = world.get(page, &cookie).await;
        assert_eq!(answer.status, 200, "{page}: {}", answer.body);
        for bad in ["<script>", "<img", " style=", "javascript:", "onclick="] {
            assert!(!answer.body.contains(bad), "{bad} on {page}");
        }
        assert!(
            answer.body.contains("&lt;script&gt;")
                || page.starts_with("/logs?")
                || page == "/services?q=service-1&page=2",
            "{page}"
        );
        assert!(answer.body.len() < 250 << 10, "{page}: {}", answer.body.len());
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self'"), "{policy}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    }
    assert_eq!(world.get("/services/nobody", &cookie).await.status, 404);
    assert_eq!(world.get("/errors/gone", &cookie).await.status, 404);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_two_hundred_services_are_light() {
    let world = World::start(app(200, 10, "all is well"), "plain").await;
    let cookie = world.log_in(Role::Operator).await;
    let page = world.get("/", &cookie).await.body;
    let mut assets = 0;
    for (start, end) in [("src=\"", "\""), ("stylesheet\" href=\"", "\"")] {
        let path = page.split(start).nth(1).unwrap().split(end).next().unwrap();
        let answer = world.get(path, "").await;
        assert!(answer.header("cache-control").unwrap().contains("immutable"), "{path}");
        assets += answer.body.len();
    }
    for path in PAGES {
        let mut best = Duration::MAX;
        let mut size = 0;
        for _ in 0..5 {
            let began = Instant::now();
            size = world.get(path, &cookie).await.body.len();
            best = best.min(began.elapsed());
        }
        println!("{path:<32} {:>7} bytes {:>7.1} ms", size + assets, best.as_secs_f64() * 1e3);
        assert!(size + assets <= MOST_BYTES, "{path}: {size} + {assets}");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_sent_to_whoever_watches() {
    let world = World::start(app(2, 2, ""), "said").await;
    let cookie = world.log_in(Role::Viewer).await;
    let mut events = world.stream("/live?at=%2Fservices%2Fservice-0", &cookie).await;
    events.until(&["\"id\":\"instances\"", "service-0-1"]).await;
    world.node.status.send_modify(|status| status.services[0].instances[1].state = InstanceState::Backoff);
    events.until(&["\"id\":\"instances\"", "backoff"]).await;
    world.node.status.send_modify(|status| status.services[0].instances.truncate(1));
    events.until(&["\"id\":\"instances\"", "service-0-1"]).await;
    let mut lines = world.stream("/live/lines?of=output&since=1", &cookie).await;
    lines.until(&["said came later"]).await;
    let mut requests = world.stream("/live/lines?of=requests", &cookie).await;
    requests.until(&["GET", "/books/said"]).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_too_many_is_refused_and_a_place_becomes_free_again() {
    const STREAMS: usize = 64;
    let world = World::start(app(1, 1, ""), "").await;
    let cookie = world.log_in(Role::Viewer).await;
    let mut open = Vec::new();
    for _ in 0..STREAMS {
        let mut stream = world.stream("/live?at=/settings", &cookie).await;
        stream.until(&["data:"]).await;
        open.push(stream);
    }
    assert_eq!(world.get("/live?at=/", &cookie).await.status, 503);
    assert_eq!(world.get("/services", &cookie).await.status, 200);
    drop(open);
    let began = Instant::now();
    loop {
        let mut stream = world.stream("/live?at=/settings", &cookie).await;
        if stream.first_line().await.contains("200") {
            break;
        }
        assert!(began.elapsed() < support::LIMIT, "no place becomes free");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_gone_is_said_and_not_a_broken_page() {
    let world = World::start(app(1, 1, ""), "").await;
    let cookie = world.log_in(Role::Viewer).await;
    world.node_goes();
    let answer = world.get("/services", &cookie).await;
    assert!(answer.status == 502 && answer.body.contains("<h1>"), "{}", answer.body);
    world.end().await;
}
