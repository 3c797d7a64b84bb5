//! What guards routes and calls: every form, every default, and every fault.

use std::time::Duration;

use kit::units::{Bytes, Share};
use proptest::prelude::*;

use super::{app, check, loaded, one_service, titles};
use crate::spec::{
    Adaptive, App, Balance, BalanceBy, Breaker, Bulkhead, Certificate, Fallback, Guard, HashKey, Hedge,
    JwtKeys, LimitKey, Listen, Outlier, Priority, RateLimit, Retry, ServiceName, Slow, Wire,
};

/// The guard of a route with these options.
fn route(options: &str) -> Guard {
    let app = with(&format!("routes: [{{ GET /x: {{ {options} }} }}]"), "");
    app.services[&name("web")].routes[0].guard.clone()
}

/// The guard of a call with these options.
fn call(options: &str) -> Guard {
    let app = with(&format!("calls: {{ other: {{ {options} }} }}"), "");
    app.services[&name("web")].calls[&name("other")].guard.clone()
}

/// An app with a service `web` of these keys, one named `other`, and what stands below.
fn with(keys: &str, rest: &str) -> App {
    app(&format!("{}  other: {{ command: [o] }}\n{rest}", one_service(keys)))
}

fn name(text: &str) -> ServiceName {
    text.parse().unwrap()
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn a_route_and_a_call_that_say_nothing_are_guarded_all_the_same() {
    let guard = route("");
    assert_eq!(guard, call(""));
    assert_eq!(guard, Guard::default());
    assert_eq!((guard.timeout, guard.timeout_written), (millis(15_000), false));
    assert_eq!(
        (guard.retry.attempts, guard.retry.budget, guard.retry.written),
        (1, Share::percent(20), false)
    );
    assert!(guard.breaker.is_some() && guard.limits.is_empty() && guard.fallback.is_none());
}

#[test]
fn retries_are_a_number_a_word_or_more() {
    let written = Retry { written: true, ..Retry::default() };
    assert_eq!(route("retry: 3").retry, Retry { attempts: 3, ..written.clone() });
    for none in ["0", "off", "false"] {
        assert_eq!(
            route(&format!("retry: {none}")).retry,
            Retry { attempts: 0, ..written.clone() },
            "{none}"
        );
    }
    assert_eq!(route("retry: on").retry, written);
    let long = "retry: { attempts: 2, per_try: 1s, backoff: 10ms, budget: 10%, statuses: [503, '429'], any_method: true }";
    let expected = Retry {
        attempts: 2,
        per_try: Some(millis(1000)),
        backoff: millis(10),
        max_backoff: millis(100),
        budget: Share::percent(10),
        statuses: vec![503, 429],
        any_method: true,
        written: true,
    };
    assert_eq!(call(long).retry, expected);
    let capped = call("retry: { max_backoff: 5ms }").retry;
    assert_eq!((capped.backoff, capped.max_backoff), (millis(5), millis(5)));
}

#[test]
fn hedge_bulkhead_adaptive_and_priority_have_a_short_form() {
    assert_eq!(route("hedge: 50ms").hedge, Some(Hedge { after: millis(50) }));
    assert_eq!(route("hedge: { after: 1s }").hedge, Some(Hedge { after: millis(1000) }));
    assert_eq!(call("bulkhead: 64").bulkhead, Bulkhead { concurrency: 64, queue: 1024 });
    assert_eq!(
        call("bulkhead: { concurrency: 8, queue: 0 }").bulkhead,
        Bulkhead { concurrency: 8, queue: 0 }
    );
    assert_eq!(call("adaptive: true").adaptive, Some(Adaptive { min: 4, max: 1000 }));
    assert_eq!(call("adaptive: off").adaptive, None);
    assert_eq!(call("adaptive: { max: 2 }").adaptive, Some(Adaptive { min: 2, max: 2 }));
    assert_eq!(call("adaptive: { min: 5000 }").adaptive, Some(Adaptive { min: 5000, max: 5000 }));
    assert_eq!(call("priority: critical").priority, Priority::Critical);
}

#[test]
fn a_breaker_is_off_or_says_what_differs() {
    let default = Breaker::default();
    assert_eq!(call("breaker: off").breaker, None);
    assert_eq!(call("breaker: {}").breaker, Some(default));
    let long = "breaker: { errors: 0.3, of: 50, window: 30s, slow: 1s, open: 2s, probes: 1 }";
    let expected = Breaker {
        errors: Share::percent(30),
        of: 50,
        window: millis(30_000),
        slow: Some(Slow { over: millis(1000), share: Share::percent(50) }),
        open: millis(2000),
        probes: 1,
    };
    assert_eq!(call(long).breaker, Some(expected));
    let slow = call("breaker: { slow: { over: 200ms, share: 10% } }").breaker.unwrap().slow;
    assert_eq!(slow, Some(Slow { over: millis(200), share: Share::percent(10) }));
}

#[test]
fn limits_count_clients_at_the_gateway_and_everybody_in_the_mesh() {
    let limit =
        |rate, seconds, burst, per| RateLimit { rate, period: Duration::from_secs(seconds), burst, per };
    assert_eq!(route("limit: 20/s").limits, [limit(20, 1, 20, LimitKey::Client)]);
    assert_eq!(call("limit: 20/s").limits, [limit(20, 1, 20, LimitKey::Route)]);
    assert_eq!(route("limit: 100/m per route").limits, [limit(100, 60, 2, LimitKey::Route)]);
    assert_eq!(route("limit: 5/h per user").limits, [limit(5, 3600, 1, LimitKey::User)]);
    let header = || LimitKey::Header("x-key".parse().unwrap());
    assert_eq!(
        route("limit: [3/s, { rate: 9/10s, burst: 40, per: header X-Key }]").limits,
        [limit(3, 1, 3, LimitKey::Client), limit(9, 10, 40, header())]
    );
    assert_eq!(route("limit: []").limits, []);
}

#[test]
fn the_gateway_says_what_holds_for_routes_that_do_not() {
    let gateway = "gateway: { timeout: 3s, limit: 9/s, retry: off, breaker: { of: 7 }, bulkhead: 5 }";
    let app = with(
        "routes: [/a, { /b: { limit: off, retry: 2, breaker: off, bulkhead: 6 } }]\ncalls: [other]",
        gateway,
    );
    let web = &app.services[&name("web")];
    let (a, b) = (&web.routes[0].guard, &web.routes[1].guard);
    assert_eq!(
        (a.limits.len(), a.retry.attempts, a.breaker.unwrap().of, a.bulkhead.concurrency),
        (1, 0, 7, 5)
    );
    assert_eq!((b.limits.len(), b.retry.attempts, b.breaker, b.bulkhead.concurrency), (0, 2, None, 6));
    assert_eq!(web.calls[&name("other")].guard, Guard::default());
}

#[test]
fn a_fallback_is_fixed_kept_or_somebody_elses() {
    let fixed = route("fallback: { headers: { Content-Type: text/plain, x-b: '1' }, body: sorry }").fallback;
    let headers = vec![
        (http::header::CONTENT_TYPE, "text/plain".to_owned()),
        (http::HeaderName::from_static("x-b"), "1".to_owned()),
    ];
    assert_eq!(fixed, Some(Fallback::Static { status: 200, headers, body: "sorry".to_owned() }));
    assert_eq!(
        route("fallback: { stale: 10m }").fallback,
        Some(Fallback::Stale { max_age: millis(600_000) })
    );
    let from = |service: Option<&str>, path: Option<&str>| {
        Some(Fallback::From { service: service.map(name), path: path.map(str::to_owned) })
    };
    assert_eq!(
        route("fallback: { from: other, path: /popular }").fallback,
        from(Some("other"), Some("/popular"))
    );
    assert_eq!(route("fallback: { path: '/x?y=1' }").fallback, from(None, Some("/x?y=1")));
    // Whoever calls may answer in the callee's place.
    assert_eq!(call("fallback: { from: web }").fallback, from(Some("web"), None));
}

#[test]
fn splits_mirrors_and_faults_are_one_or_a_list() {
    let guard = route(
        "split: { to: other, cookies: { beta: , v: b } }, mirror: other, fault: { share: 1%, delay: 1s, truncate: 1k }",
    );
    assert_eq!(guard.split.len(), 1);
    assert_eq!(guard.split[0].share, Share::ALL);
    assert_eq!(guard.split[0].cookies, [("beta".to_owned(), None), ("v".to_owned(), Some("b".to_owned()))]);
    assert_eq!(guard.mirror.unwrap().share, Share::ALL);
    assert_eq!((guard.faults[0].delay, guard.faults[0].truncate), (Some(millis(1000)), Some(Bytes(1024))));
    let guard = route(
        "split: [{ to: other, share: 40% }, { to: other, share: 60%, headers: [x-a] }], fault: [{ abort: 503 }]",
    );
    assert_eq!((guard.split.len(), guard.split[1].headers[0].value.clone()), (2, None));
    assert_eq!((guard.faults[0].abort, guard.faults[0].share), (Some(503), Share::ALL));
    assert_eq!(route("mirror: { to: other, share: 5% }").mirror.unwrap().share, Share::percent(5));
}

#[test]
fn a_service_says_what_it_speaks_and_how_it_is_balanced() {
    let service = |keys: &str| with(keys, "").services[&name("web")].clone();
    assert_eq!((service("").wire, service("").balance), (Wire::Http1, Balance::default()));
    assert_eq!(service("protocol: http").wire, Wire::Http1);
    assert_eq!((service("protocol: h2").wire, service("protocol: grpc").wire), (Wire::Http2, Wire::Http2));
    assert_eq!(service("balance: round-robin").balance.by, BalanceBy::RoundRobin);
    let hash = |text: &str| service(&format!("balance: {{ hash: {text} }}")).balance.by;
    assert_eq!(hash("client"), BalanceBy::Hash(HashKey::Client));
    assert_eq!(hash("{ cookie: s }"), BalanceBy::Hash(HashKey::Cookie("s".to_owned())));
    assert_eq!(hash("{ header: X-User }"), BalanceBy::Hash(HashKey::Header("x-user".parse().unwrap())));
    let balance = service(
        "balance: { by: least-request, slow_start: 10s, panic: 0%, outlier: { failures: 2, eject: 10m } }",
    );
    let outlier = Outlier {
        failures: 2,
        eject: millis(600_000),
        max_eject: millis(600_000),
        share: Share::percent(50),
    };
    let expected = Balance {
        by: BalanceBy::LeastRequest,
        slow_start: millis(10_000),
        panic: Share::NONE,
        outlier: Some(outlier),
    };
    assert_eq!(balance.balance, expected);
    assert_eq!(service("balance: { outlier: off }").balance.outlier, None);
}

#[test]
fn tls_needs_one_line() {
    let gateway = |keys: &str| with("routes: [/]", &format!("gateway: {{ {keys} }}")).gateway;
    let listen = |keys: &str| {
        let listen = |listen: &Listen| format!("{}{}", listen.address, if listen.tls { " tls" } else { "" });
        gateway(keys).listen.iter().map(listen).collect::<Vec<_>>().join(", ")
    };
    assert_eq!(listen("tls: development"), "127.0.0.1:8080, 127.0.0.1:8443 tls");
    assert_eq!(listen("tls: off"), "127.0.0.1:8080");
    assert_eq!(
        listen("tls: true, listen: [{ address: ':443', tls: true }, 80]"),
        "[::]:443 tls, 127.0.0.1:80"
    );
    assert_eq!(listen("listen: { address: 81 }"), "127.0.0.1:81");
    let development =
        |names: &[&str]| Certificate::Development { names: names.iter().map(ToString::to_string).collect() };
    let local = development(&["localhost", "127.0.0.1", "::1"]);
    for text in ["true", "development", "{ development: true }"] {
        assert_eq!(gateway(&format!("tls: {text}")).certificates, std::slice::from_ref(&local), "{text}");
    }
    let files = Certificate::Files { cert: "/nowhere/shop/a/b.pem".into(), key: "/keys/b.key".into() };
    assert_eq!(
        gateway("tls: [{ cert: ./a/b.pem, key: /keys/b.key }, { development: shop.test }]").certificates,
        [files, development(&["shop.test"])]
    );
}

#[test]
fn who_may_come_in_is_named_at_the_gateway_and_asked_for_by_routes() {
    let gateway = "
gateway:
  auth:
    customer: { jwt: { jwks: keys/../keys.json, issuer: me, audience: shop } }
    partner: { jwt: { key: /etc/partner.pem, audience: [a, b], leeway: 0s } }
    tool: { jwt: { secret: tool.key } }
";
    let app = with("routes: [{ /a: { auth: partner } }, /b]", gateway);
    let auth: Vec<_> = app.services[&name("web")].routes.iter().map(|route| route.auth.as_deref()).collect();
    assert_eq!(auth, [Some("partner"), None]);
    let jwt = |name: &str| app.gateway.auth[name].clone();
    assert_eq!(jwt("customer").keys, JwtKeys::Jwks("/nowhere/shop/keys.json".into()));
    assert_eq!((jwt("customer").issuer.as_deref(), jwt("customer").leeway), (Some("me"), millis(30_000)));
    assert_eq!(jwt("partner").keys, JwtKeys::PublicKey("/etc/partner.pem".into()));
    assert_eq!(
        (jwt("partner").audience, jwt("partner").leeway),
        (vec!["a".to_owned(), "b".to_owned()], millis(0))
    );
    assert_eq!(jwt("tool").keys, JwtKeys::Secret("/nowhere/shop/tool.key".into()));
}

#[test]
fn the_gateway_is_seen_and_timed_unless_it_says_otherwise() {
    let flags = |rest: &str| {
        let gateway = with("routes: [/]", rest).gateway;
        (gateway.access_log, gateway.server_timing)
    };
    assert_eq!(flags(""), (true, true));
    assert_eq!(flags("gateway: { listen: 81 }"), (true, true));
    assert_eq!(flags("gateway: { access_log: false, server_timing: off }"), (false, false));
    let limits =
        with("", "gateway: { limits: { connections: 5, body_bytes: 8m, header_bytes: 8k, idle: 1s } }")
            .gateway
            .limits;
    assert_eq!(
        (limits.connections, limits.body_bytes, limits.streams),
        (Some(5), Some(Bytes(8 << 20)), None)
    );
    assert_eq!((limits.header_bytes, limits.idle), (Some(Bytes(8192)), Some(millis(1000))));
}

#[test]
fn no_key_of_the_data_path_is_without_effect() {
    let loaded = loaded(super::round_trip::WHOLE);
    let later: Vec<_> = loaded.faults.iter().filter(|fault| fault.code == kit::Code::new("A0206")).collect();
    let said = later.iter().map(|fault| fault.message.as_str()).collect::<Vec<_>>().join("\n");
    for key in ["auth", "tls", "limit", "retry", "breaker", "fallback", "mirror", "balance"] {
        assert!(!said.contains(&format!("`{key}`")), "{said}");
    }
}

#[test]
fn faults_of_guards_are_told_with_their_places() {
    let text = "
services:
  web:
    command: [w]
    routes:
      - /a: { timeout: 0s, retry: { attempts: 9, per_try: 20s, backoff: 1s, max_backoff: 1ms, statuses: [200, 99] } }
      - /b: { hedge: 0s, breaker: { errors: 0%, of: 0, window: 1ms, slow: 0s, open: 0s, probes: 0 } }
      - /c: { bulkhead: 0, adaptive: { min: 9, max: 8 }, priority: urgent, retry: { budget: 0 } }
      - /d: { limit: [20, 0/s, 5/0s, 1/s per planet, 2/s per header a b, { burst: 1 }, { rate: 1/d, burst: 99 }] }
      - /e: { limit: on, fallback: {}, fault: {}, split: [{ to: other }] }
      - /f: { fallback: { status: 100, headers: { 'a b': x, content-length: '5' } } }
      - /g: { fallback: { stale: 1m, path: /x } }
      - /h: { fallback: { path: x } , fault: { share: 150%, abort: 503, truncate: -1 }, split: { share: 5% } }
      - /i: { split: [{ to: other, share: 60% }, { to: other, share: 50% }], mirror: { share: 50 } }
      - /j: { split: { to: web, share: 5% }, mirror: web, fallback: { from: web } }
      - /k: { split: { to: othr, share: 5% }, mirror: nobody, fallback: { from: sleepy }, auth: custmer }
      - /l: { split: { to: other, cookies: { 'a b': }, headers: { 'c d': } } }
    calls:
      other: { retry: 6, timeout: 1s, fallback: { from: other }, mirror: sleepy, split: { to: sleepy, share: 1% } }
    balance: { by: round-robin, hash: { header: a, cookie: b }, slow_start: 2h, outlier: { failures: 0, eject: 0s, share: 0% } }
    protocol: http3
  other: { command: [o], balance: { hash: {}, outlier: { eject: 5s, max_eject: 1s } } }
  sleepy: { command: [s], profiles: [night] }
gateway:
  listen: [{ port: 80 }, { address: 8443, tls: true }, 8080]
  auth: { customer: { jwt: { } }, '': { jwt: { jwks: a, key: b } }, x: { jwt: { jwks: 'https://id/keys', audience: [], issuer: '' } }, y: {} }
  limits: { connections: 0, header_bytes: 1, body_bytes: 0, idle: 0s }
  limit: many
";
    insta::assert_snapshot!(titles(text), @r#"
    6:24 A0203 a timeout of zero lets nothing through
    6:47 A0203 more than 5 retries
    6:73 A0203 the mean pause is above the longest, 1ms
    6:106 A0203 200 is no failure
    6:111 A0202 expected a status from 200 to 599, found `99`
    7:22 A0203 every request would be sent twice
    7:45 A0203 a breaker that opens without an error lets nothing through
    7:53 A0203 `0` is not a number from 1 to 1000000
    7:64 A0203 a window goes from 100ms to 1h
    7:75 A0203 every call takes some time
    7:85 A0203 a breaker that is never open stops nothing
    7:97 A0203 `0` is not a number from 1 to 1000
    8:25 A0203 `0` is not a number from 1 to 1000000
    8:45 A0203 `min` 9 is above `max` 8
    8:68 A0203 `urgent` is not a priority
    8:93 A0203 a budget of nothing allows no retry
    9:23 A0203 `20` is not a limit
    9:27 A0203 a rate of zero lets nothing through
    9:32 A0203 a period goes from a moment to a day
    9:38 A0203 `1/s per planet` is not a limit
    9:54 A0203 `2/s per header a b` is not a limit
    9:74 A0204 a limit needs the key `rate`
    9:108 A0203 a burst that takes more than 30 days to be earned again
    10:22 A0203 a limit says how many
    10:36 A0204 the fallback does not say what to answer
    10:47 A0204 the fault does not say what happens
    10:59 A0204 the split does not say which requests go there
    11:35 A0202 expected a status from 200 to 599, found `100`
    11:51 A0203 `a b` is not a header name
    11:61 A0203 `content-length` is written by Atoll
    12:38 A0203 a fallback is one answer, and this is a second one
    13:33 A0203 `x` is not a path that can be asked
    13:55 A0203 `150%` is not a share such as `25%` or `0.25`
    13:73 A0203 an answer that Atoll makes itself is not broken off
    13:83 A0203 an answer is broken off after a number of bytes
    13:96 A0204 a split needs the key `to`
    14:15 A0203 the shares add up to 110%
    14:86 A0204 a mirror needs the key `to`
    14:95 A0203 `50` is not a share such as `25%` or `0.25`
    15:28 A0319 `web` splits to itself
    15:54 A0319 `web` is mirrored to itself
    15:77 A0319 `web` falls back on itself
    16:28 A0319 `web` splits to `othr`, which is no service of this app
    16:55 A0319 `web` is mirrored to `nobody`, which is no service of this app
    16:81 A0319 `web` falls back on `sleepy`, which is in a profile that is not active
    16:97 A0318 `gateway.auth` has no entry `custmer`
    17:46 A0203 `a b` is not a cookie's name
    17:67 A0203 `c d` is not a header name
    19:23 A0203 more than 5 retries
    19:57 A0319 `other` falls back on itself
    19:74 A0319 `web` is mirrored to `sleepy`, which is in a profile that is not active
    19:95 A0319 `web` splits to `sleepy`, which is in a profile that is not active
    20:20 A0203 a hash says already which instance is next
    20:52 A0203 a hash is made of one thing
    20:77 A0203 a slow start of more than 1h
    20:102 A0203 `0` is not a number from 1 to 1000
    20:112 A0203 an instance that is passed over for no time is not
    20:123 A0203 no instance would ever be passed over
    21:15 A0203 `http3` is not a protocol
    22:43 A0204 the hash does not say what it is made of
    22:80 A0203 the longest time is below the first, 5s
    25:12 A0204 an address to listen on needs the key `address`
    25:14 A0201 an address to listen on has no key `port`
    25:48 A0321 `127.0.0.1:8443` speaks TLS without a certificate
    26:28 A0204 nothing says with what tokens are checked
    26:35 A0203 an entry of `auth` has a name
    26:57 A0203 tokens are checked against one file
    26:87 A0203 `https://id/keys` is not a file
    26:139 A0204 an entry of auth needs the key `jwt`
    27:26 A0203 `0` is not a number from 1 to 10000000
    27:43 A0203 a size goes from 512 B to 1.0 MiB
    27:58 A0203 there is no room for anything
    27:67 A0203 a time of zero closes every connection
    28:10 A0203 `many` is not a limit
    "#);
}

#[test]
fn services_that_fall_back_on_each_other_are_shown_as_a_circle() {
    let text = "
services:
  a: { command: [a], routes: [{ /a: { fallback: { from: b } } }] }
  b: { command: [b], routes: [{ /b: { fallback: { from: c } } }], calls: { c: { fallback: { from: a } } } }
  c: { command: [c] }
";
    insta::assert_snapshot!(check(text), @r#"
    error[A0320]: services fall back on each other: a → b → c → a
     --> <stdin>:3:57
      |
    3 |   a: { command: [a], routes: [{ /a: { fallback: { from: b } } }] }
      |                                                         ^
    4 |   b: { command: [b], routes: [{ /b: { fallback: { from: c } } }], calls: { c: { fallback: { from: a } } } }
      |                                                         - `b` falls back on `c`                   - `c` falls back on `a`
      |
      = hint: let the last of them answer by itself: `fallback: { status: 503 }` or `{ stale: 10m }`
    "#);
}

#[test]
fn certificates_and_addresses_belong_together() {
    let text = one_service("routes: [/]");
    insta::assert_snapshot!(check(&format!("{text}gateway: {{ listen: 80, tls: development }}")), @r#"
    error[A0321]: there are certificates, and no address speaks TLS
     --> <stdin>:5:24
      |
    5 | gateway: { listen: 80, tls: development }
      |                    --  ^^^
      |                    |
      |                    all of these are in the clear
      |
      = hint: say which one does: `listen: [8080, { address: 8443, tls: true }]`
    "#);
    insta::assert_snapshot!(titles(&format!("{text}gateway: {{ tls: [{{ cert: a }}, {{ key: a }}, {{ cert: a, development: x }}, {{ development: ['a b'] }}, devel] }}")), @r#"
    5:18 A0204 a certificate needs the key `key`
    5:31 A0204 a certificate needs the key `cert`
    5:45 A0203 a certificate comes from files or from Atoll, not both
    5:88 A0203 `a b` is neither a host nor an address
    5:98 A0203 `devel` is not a certificate
    "#);
    insta::assert_snapshot!(titles(&format!("{text}gateway: {{ tls: [] }}")), @"5:17 A0204 there is no certificate");
}

#[test]
fn a_selection_takes_in_whom_guards_name_or_does_without() {
    let app = app("
services:
  web: { command: [w], routes: [{ /: { mirror: copy, fallback: { from: spare }, split: { to: next, share: 1% } } }] }
  copy: { command: [c] }
  next: { command: [c] }
  spare: { command: [c] }
  other: { command: [c] }
");
    let whole = crate::select(&app, &[name("web")], true).unwrap();
    let names: Vec<&str> = whole.services.keys().map(ServiceName::as_str).collect();
    assert_eq!(names, ["copy", "next", "spare", "web"]);
    let alone = crate::select(&app, &[name("web")], false).unwrap();
    assert_eq!(alone.services[&name("web")].routes[0].guard.services().count(), 0);
}

#[test]
fn an_override_replaces_a_short_form_by_a_long_one_and_back() {
    let dir = tempfile::tempdir().unwrap();
    let base = "services: { a: { command: [a], balance: round-robin, calls: { b: { retry: 2, limit: 5/s, fallback: { stale: 1m } } } }, b: { command: [b] } }
gateway: { tls: { cert: a.pem, key: a.key }, retry: { attempts: 1 } }";
    let over = "services: { a: { balance: { slow_start: 5s }, calls: { b: { retry: { attempts: 3 }, limit: [1/s, 2/m], fallback: { path: /x } } } } }
gateway: { tls: development, retry: off }";
    std::fs::write(dir.path().join("atoll.yaml"), base).unwrap();
    std::fs::write(dir.path().join("over.yaml"), over).unwrap();
    let request = crate::Request {
        working_dir: dir.path().to_owned(),
        files: vec!["atoll.yaml".into(), "over.yaml".into()],
        ..crate::Request::default()
    };
    let loaded = crate::load(&request);
    let app =
        loaded.app.unwrap_or_else(|| panic!("{}", crate::report(&loaded.faults, &loaded.sources, false)));
    let a = &app.services[&name("a")];
    let guard = &a.calls[&name("b")].guard;
    assert_eq!((guard.retry.attempts, guard.limits.len(), a.balance.slow_start), (3, 2, millis(5000)));
    assert!(matches!(guard.fallback, Some(Fallback::From { .. })));
    assert!(matches!(app.gateway.certificates[..], [Certificate::Development { .. }]));
}

#[test]
fn files_that_an_included_file_names_start_at_its_directory() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("edge")).unwrap();
    let edge = "services: { b: { command: [b] } }
gateway: { tls: [{ cert: a.pem, key: a.key }], auth: { c: { jwt: { secret: s.key } } } }";
    std::fs::write(dir.path().join("edge/atoll.yaml"), edge).unwrap();
    std::fs::write(
        dir.path().join("atoll.yaml"),
        "include: [edge/atoll.yaml]\nservices: { a: { command: [a] } }",
    )
    .unwrap();
    let loaded =
        crate::load(&crate::Request { working_dir: dir.path().to_owned(), ..crate::Request::default() });
    let gateway = loaded.app.unwrap().gateway;
    let at = |file: &str| dir.path().join("edge").join(file);
    assert_eq!(gateway.certificates, [Certificate::Files { cert: at("a.pem"), key: at("a.key") }]);
    assert_eq!(gateway.auth["c"].keys, JwtKeys::Secret(at("s.key")));
}

/// Options of a route, each of which may stand with any of the others.
const OPTIONS: [&[&str]; 11] = [
    &["timeout: 20s", "timeout: 1m30s"],
    &[
        "retry: off",
        "retry: 5",
        "retry: on",
        "retry: { per_try: 1ms, statuses: [] }",
        "retry: { budget: 0.01% }",
    ],
    &["hedge: 1us", "hedge: { after: 10h }"],
    &["breaker: off", "breaker: on", "breaker: { errors: 33.3333%, slow: { over: 1s, share: 1% } }"],
    &["bulkhead: 1", "bulkhead: { queue: 0 }"],
    &["adaptive: on", "adaptive: off", "adaptive: { min: 1, max: 1 }"],
    &["priority: low", "priority: critical"],
    &[
        "fallback: { body: \"a: $$ # ü\\n\" }",
        "fallback: { headers: { x-a: '' } }",
        "fallback: { from: other }",
        "fallback: { stale: 1d }",
    ],
    &["limit: off", "limit: 1/d", "limit: [7/1m30s per header x, { rate: 2/h, per: user, burst: 9 }]"],
    &[
        "split: []",
        "split: { to: other, cookies: { a: , b: 'yes' } }",
        "split: [{ to: other, share: 0.0001% }]",
    ],
    &[
        "mirror: other",
        "mirror: { to: other, share: 0 }",
        "fault: { truncate: 0 }",
        "fault: [{ share: 1%, delay: 1ns }]",
    ],
];

proptest! {
    #[test]
    fn any_legal_guards_survive_the_way_out_and_back(
        picks in proptest::collection::vec(proptest::option::of(any::<prop::sample::Index>()), OPTIONS.len()),
        of_call: bool,
    ) {
        let chosen = OPTIONS.iter().zip(picks).filter_map(|(forms, pick)| Some(*pick?.get(forms)));
        let options = chosen.collect::<Vec<_>>().join(", ");
        let keys = if of_call {
            format!("calls: {{ other: {{ {} }} }}", options.replace("from: other", "from: web").replace("to: other", "to: web").replace("mirror: other", "mirror: web"))
        } else {
            format!("routes: [{{ /x: {{ {options} }} }}]")
        };
        let first = loaded(&format!("{}  other: {{ command: [o] }}\n", one_service(&keys)));
        let said = crate::report(&first.faults, &first.sources, false);
        prop_assert!(first.app.is_some(), "{}", said);
        let second = crate::parse_resolved(&crate::render_yaml(&first.file), std::path::Path::new("/x/app.yaml"));
        prop_assert_eq!(&first.app, &second.app);
        prop_assert_eq!(crate::render_json(&first.file), crate::render_json(&second.file));
    }
}
