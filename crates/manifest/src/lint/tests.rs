use super::lint;
use crate::tests::app;

/// The findings on a file, rendered.
fn check(text: &str) -> String {
    lint(&app(text)).iter().map(super::Finding::render).collect::<String>().trim_end().to_owned()
}

#[test]
fn an_app_that_says_what_it_means_has_no_findings() {
    let text = "
services:
  web: { command: [w], routes: [{ GET /: { timeout: 2s } }], calls: { orders: { timeout: 500ms, retry: 1 } } }
  orders: { command: [o], healthcheck: { http: /up } }
";
    assert_eq!(check(text), "");
}

#[test]
fn a_circle_of_calls_is_an_error() {
    let text = "
services:
  a: { command: [a], calls: [b], healthcheck: { tcp: true } }
  b: { command: [b], calls: [c], healthcheck: { tcp: true } }
  c: { command: [c], calls: [a], healthcheck: { tcp: true } }
";
    insta::assert_snapshot!(check(text), @r#"
    error[A0401]: services call each other in a circle: a → b → c → a
      hint: turn one of the calls round, or let it be an event: a request could go round until it times out
    "#);
}

#[test]
fn an_inner_timeout_longer_than_the_outer_one_is_found() {
    let text = "
gateway: { timeout: 1s }
services:
  web: { command: [w], routes: [/], calls: { orders: { timeout: 400ms, retry: 2 }, slow: { timeout: 2s } } }
  orders: { command: [o], healthcheck: { tcp: true }, calls: { payments: { timeout: 500ms }, slow: } }
  payments: { command: [p], healthcheck: { tcp: true } }
  slow: { command: [p], healthcheck: { tcp: true } }
";
    insta::assert_snapshot!(check(text), @r#"
    warning[A0402]: `web` → `slow` may take 2s, but the route `/` ends after 1s
      hint: give the outer one more time, or the inner one less: what is left of the outer one is all it gets
    warning[A0402]: `orders` → `payments` may take 500ms, but `web` → `orders` ends after 400ms
      hint: give the outer one more time, or the inner one less: what is left of the outer one is all it gets
    "#);
}

#[test]
fn retries_that_multiply_are_counted_along_the_worst_path() {
    let text = "
gateway: { timeout: 60s }
services:
  web: { command: [w], routes: [/], calls: { orders: { timeout: 9s, retry: 2 }, fast: { timeout: 1s } } }
  orders: { command: [o], healthcheck: { tcp: true }, calls: { payments: { timeout: 2s, retry: 3 }, fast: { timeout: 1s, retry: 1 } } }
  payments: { command: [p], healthcheck: { tcp: true }, calls: { bank: { timeout: 100ms, retry: 1 } } }
  fast: { command: [f], healthcheck: { tcp: true } }
  bank: { command: [b], healthcheck: { tcp: true } }
";
    insta::assert_snapshot!(check(text), @r#"
    warning[A0403]: one request may become 24 attempts: web → orders (3 tries) → payments (4 tries) → bank (2 tries)
      hint: retry at one level only, best the one next to what fails
    "#);
}

#[test]
fn the_gateway_is_a_level_that_tries_again_and_the_default_is_none() {
    let text = "
gateway: { timeout: 60s, retry: 1 }
services:
  web: { command: [w], routes: [/], calls: { orders: { retry: { attempts: 2 } } } }
  orders: { command: [o], healthcheck: { tcp: true }, calls: [payments] }
  payments: { command: [p], healthcheck: { tcp: true } }
";
    insta::assert_snapshot!(check(text), @r#"
    warning[A0403]: one request may become 6 attempts: gateway → web (2 tries) → orders (3 tries)
      hint: retry at one level only, best the one next to what fails
    "#);
}

#[test]
fn guards_that_do_harm_or_nothing_are_found() {
    let text = "
gateway:
  listen: [8080, ':80', { address: '0.0.0.0:443', tls: true }]
  tls: development
  timeout: 1s
  auth: { customer: { jwt: { jwks: keys.json } } }
services:
  web:
    command: [w]
    routes:
      - POST /orders: { retry: { any_method: true }, auth: customer }
      - POST /payments: { retry: { any_method: true }, idempotent: required }
      - GET /slow: { hedge: 1s, retry: { any_method: true } }
      - /all: { mirror: copy }
      - GET /read: { mirror: copy }
      - GET /mine: { limit: 5/s per user }
      - GET /ours: { limit: 5/s per user, auth: customer }
    calls: { copy: { hedge: 20s, limit: 1/s per user } }
  copy: { command: [c], healthcheck: { tcp: true } }
";
    insta::assert_snapshot!(check(text), @r#"
    warning[A0406]: `POST /orders` of `web` is repeated, and may do its work twice
      hint: see that the service knows a request it has had, and say so with `idempotent`; or take `any_method` out
    warning[A0407]: the route `GET /slow` has ended after 1s when its second try would begin, after 1s
      hint: let the second try begin where few requests are slower, such as `hedge: 50ms`
    warning[A0407]: the call `web` → `copy` has ended after 15s when its second try would begin, after 20s
      hint: let the second try begin where few requests are slower, such as `hedge: 50ms`
    warning[A0408]: `/all` of `web` is done a second time by `copy`
      hint: mirror only routes that read (`GET /x`), or see that the copy writes nowhere that counts, and say `idempotent`
    warning[A0409]: `POST /orders` takes tokens, and `[::]:80` can be reached from other machines without TLS
      hint: whoever reads along has the token: `{ address: …, tls: true }` with `gateway.tls`, or listen on this machine only behind something that has TLS
    warning[A0410]: the limit of `GET /mine` counts by user, and nobody checks who that is: it counts by address
      hint: add `auth`, or write `per client`
    warning[A0410]: the limit of `web` → `copy` counts by user, and calls carry none
      hint: write `per route`, or limit the route at the gateway
    "#);
}

#[test]
fn routes_without_timeout_and_calls_without_check_are_found_once_for_each_service() {
    let text = "
services:
  web: { command: [w], routes: [/a, /b, /c, /d], calls: [x] }
  shop: { command: [w], calls: [x] }
  x: { command: [x] }
";
    insta::assert_snapshot!(check(text), @r#"
    warning[A0404]: `web` has routes without a timeout: `/a`, `/b`, `/c` and 1 more
      hint: say how long a user waits, for one (`timeout: 2s`) or for all (`gateway: { timeout: 5s }`); until then it is 15s
    warning[A0405]: `shop`, `web` call `x`, which has no health check
      hint: give it one: `healthcheck: { http: /healthz }`; until then it is called as soon as it runs
    "#);
}

#[test]
fn more_circles_than_are_shown_do_no_harm() {
    let mut text = String::from("services:\n  web: { command: [w], calls: [a0, a1, b7, a40] }\n");
    for i in 0..50 {
        text.push_str(&format!("  a{i}: {{ command: [a], calls: {{ b{i}: {{ retry: 1 }} }} }}\n"));
        text.push_str(&format!("  b{i}: {{ command: [b], calls: {{ a{i}: {{ retry: 1 }} }} }}\n"));
    }
    assert_eq!(check(&text).matches("A0401").count(), 10);
}

#[test]
fn times_of_queues_that_do_not_fit_together_are_found() {
    let text = "
services:
  web:
    command: [w]
    queues:
      twice: { deliver: { to: /x, timeout: 1m }, visibility: 30s }
      short: { dead_letter: { to: brief }, retention: 5d }
      brief: { retention: 1h }
      orderly: { dead_letter: { to: orderly-brief }, fifo: true }
      orderly-brief: { retention: 1h, fifo: true }
";
    insta::assert_snapshot!(check(text), @r#"
    warning[A0411]: a delivery from `twice` may take 1m, and its messages are hidden for 30s: they would be delivered twice
      hint: leave `visibility` out: it follows the timeout of `deliver`
    warning[A0412]: `brief` keeps dead letters for 1h since they were first sent, and `short` may have kept them for 120h by then
      hint: keep dead letters longer: `retention: 14d` there, or less here
    "#);
}
