//! What somebody who means harm can try: values that are no text, sessions and tokens of others, pages of others.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // a test may

#[allow(dead_code)] // more than is needed here
mod support;

use console::Role;
use support::{World, app};

/// Everything that buttons do, with what a form of it says.
const ACTIONS: [(&str, &str); 9] = [
    ("restart", "target=service-0"),
    ("scale", "service=service-0&replicas=0"),
    ("breaker", "route=a&order=open"),
    ("send", "queue=jobs&body=x"),
    ("publish", "topic=news&body=x"),
    ("purge", "queue=jobs"),
    ("move", "queue=jobs"),
    ("error", "id=e1&state=resolved"),
    ("no-such-action", ""),
];
const PAGES: [&str; 18] = [
    "/",
    "/services",
    "/services/service-0",
    "/routes",
    "/requests",
    "/traces",
    "/traces/ab",
    "/traces/ab?as=flame",
    "/logs",
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

#[tokio::test(flavor = "multi_thread")]
async fn no_action_is_done_for_a_viewer_or_without_the_token_of_the_session() {
    let world = World::start(app(1, 1, ""), "").await;
    let (viewer, operator) = (world.log_in(Role::Viewer).await, world.log_in(Role::Operator).await);
    let csrf = world.csrf(&viewer).await;
    for (action, fields) in ACTIONS {
        let path = format!("/do/{action}");
        let sure = format!("{fields}&sure=yes");
        let send = async |cookie: &str, body: &str| {
            world.send("POST", &path, &[("cookie", cookie)], body).await.status
        };
        assert_eq!(send(&viewer, &format!("{sure}&csrf={csrf}")).await, 403, "{action} by a viewer");
        assert_eq!(send(&operator, &sure).await, 403, "{action} without a token");
        assert_eq!(
            send(&operator, &format!("{sure}&csrf={csrf}")).await,
            403,
            "{action} with another's token"
        );
        assert_eq!(send("", &sure).await, 401, "{action} by nobody");
        // A picture or a link of another page can only ask like this.
        assert_eq!(world.get(&format!("{path}?{sure}"), &operator).await.status, 405, "{action} by GET");
    }
    assert!(world.node.asked.lock().unwrap().is_empty());
    let settings = world.get("/settings", &viewer).await.body;
    assert!(!settings.contains("application file"), "the file may name what only operators should read");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_never_the_one_that_somebody_else_chose() {
    let world = World::start(app(1, 1, ""), "").await;
    let name = format!("atoll_console_{}", world.console.address().port());
    let log_in = async |cookie: &str| {
        let token = world.console.grant(Role::Operator).token;
        let answer = world.send("POST", "/login", &[("cookie", cookie)], &format!("token={token}")).await;
        answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned()
    };
    let chosen = format!("{name}={}", "0".repeat(64));
    let first = log_in(&chosen).await;
    assert_ne!(first, chosen);
    assert_eq!(world.get("/", &chosen).await.status, 303);
    // Who logs in again leaves no session behind.
    let second = log_in(&first).await;
    assert_eq!((world.get("/", &first).await.status, world.get("/", &second).await.status), (303, 200));
    // A token in the address of a page, where logs and histories would keep it, opens nothing.
    let token = world.console.grant(Role::Operator).token;
    let asked = world.get(&format!("/login?token={token}"), "").await;
    assert!(asked.header("set-cookie").is_none() && !asked.body.contains(&token));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_logs_out_is_sent_nothing_more() {
    let world = World::start(app(1, 1, ""), "said").await;
    let cookie = world.log_in(Role::Viewer).await;
    let csrf = world.csrf(&cookie).await;
    let mut page = world.stream("/live?at=/services", &cookie).await;
    page.until(&["data:"]).await;
    let mut lines = world.stream("/live/lines?of=output&since=1", &cookie).await;
    lines.until(&["said came later"]).await;
    world.send("POST", "/do/log-out", &[("cookie", &cookie)], &format!("csrf={csrf}")).await;
    page.end().await;
    lines.end().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_can_be_framed_or_kept_and_no_bent_name_gets_one() {
    let world = World::start(app(1, 1, ""), "").await;
    let cookie = world.log_in(Role::Operator).await;
    for path in
        PAGES.into_iter().chain(["/login", "/nothing", "/assets/none", "/do/restart", "/live?at=/nothing"])
    {
        let answer = world.get(path, &cookie).await;
        assert_eq!(answer.header("x-frame-options"), Some("DENY"), "{path}");
        let policy = answer.header("content-security-policy").unwrap();
        for part in ["default-src 'none'", "frame-ancestors 'none'", "form-action 'self'", "base-uri 'none'"]
        {
            assert!(policy.contains(part) && !policy.contains("unsafe"), "{path}: {policy}");
        }
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
        assert_eq!(answer.header("referrer-policy"), Some("same-origin"), "{path}");
        for host in [
            "rebound.example",
            "127.0.0.1.nip.example:4000",
            "localhost.evil.example",
            "[::1].evil.example",
            "10.0.0.1",
        ] {
            let answer = world.send("GET", path, &[("host", host), ("cookie", &cookie)], "").await;
            assert_eq!(answer.status, 421, "{path} of {host}");
        }
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn values_of_a_megabyte_and_what_terminals_act_upon_are_shown_in_part_and_as_text() {
    // Every page, and with a whole megabyte those that show most of what others wrote.
    shown_in_part(32 << 10, &PAGES).await;
    shown_in_part(1 << 20, &["/traces/ab", "/logs", "/queues/jobs", "/errors/e1"]).await;
}

async fn shown_in_part(bytes: usize, pages: &[&str]) {
    let hostile =
        format!("\x1b]0;title\x07\x1b[31m<script>alert(1)</script>\u{202e}\0\x03{}", "é".repeat(bytes / 2));
    let world = World::start(app(3, 2, &hostile), &hostile).await;
    let cookie = world.log_in(Role::Operator).await;
    for page in pages {
        let answer = world.get(page, &cookie).await;
        assert_eq!(answer.status, 200, "{page}");
        assert!(answer.body.len() < 300 << 10, "{page}: {} bytes", answer.body.len());
        for bad in ['\x1b', '\x07', '\0', '\x03', '\u{202e}'] {
            assert!(!answer.body.contains(bad), "{bad:?} on {page}");
        }
        assert!(!answer.body.contains("<script>"), "{page}");
    }
    let mut lines = world.stream("/live/lines?of=output&since=1", &cookie).await;
    let line = lines.until(&["data:"]).await;
    assert!(
        line.len() < 20_000 && !line.contains("\\u001b") && !line.contains('\x1b'),
        "{} bytes",
        line.len()
    );
    world.end().await;
}
