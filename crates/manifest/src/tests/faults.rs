//! What people see when a file is wrong.

use super::{check, one_service, titles};

#[test]
fn an_unknown_key_is_shown_with_the_one_that_was_meant() {
    insta::assert_snapshot!(check("services:\n  web:\n    comand: [./web]\n    command: [./web]\n"), @r#"
    error[A0201]: a service has no key `comand`
     --> <stdin>:3:5
      |
    3 |     comand: [./web]
      |     ^^^^^^ unknown key
      |
      = hint: did you mean `command`?
    "#);
}

#[test]
fn an_unknown_key_like_no_other_gets_the_list_when_it_is_short() {
    insta::assert_snapshot!(check(&one_service("calls:\n  web: { zzz: 1 }")), @r#"
    error[A0201]: a call has no key `zzz`
     --> <stdin>:5:14
      |
    5 |       web: { zzz: 1 }
      |              ^^^ unknown key
      |
      = hint: the keys are `timeout`, `retry`, `hedge`, `breaker`, `bulkhead`, `adaptive`, `priority`, `fallback`, `limit`, `fault`, `split`, `mirror`, `cache`
    "#);
}

#[test]
fn a_wrong_type_says_what_was_expected_and_what_was_found() {
    insta::assert_snapshot!(check(&one_service("environment: 5\nroutes: { GET /: {} }\nscale: many")), @r#"
    error[A0202]: expected a mapping or a list of `KEY=value`, found `5`
     --> <stdin>:4:18
      |
    4 |     environment: 5
      |                  ^
      |
      = hint: write it like `KEY: value`

    error[A0202]: expected a list of routes, found a mapping
     --> <stdin>:5:13
      |
    5 |     routes: { GET /: {} }
      |             ^^^^^^^^^^^^^ this is a mapping
      |
      = hint: write it like `- GET /books/{id}: { timeout: 2s }`

    error[A0202]: expected a whole number, found `many`
     --> <stdin>:6:12
      |
    6 |     scale: many
      |            ^^^^
      |
      = hint: write it like `3`
    "#);
}

#[test]
fn all_faults_are_reported_in_one_go() {
    let text = "
services:
  web:
    command: web 'x
    port: 0
    cpus: lots
    mem_limit: 5q
    stop_signal: SIGTREM
    stop_grace_period: 10
    restart: on-fail
    user: 'a:'
    ulimits: { nofiles: 5, core: -2, nproc: { soft: 5, hard: 4 } }
    depends_on: [wbe]
    calls: { dbb: {} }
    healthcheck: { http: healthz, tcp: true }
    routes: [GTE /x, 'GET /a/:id']
    ports: ['80:x']
    prepare: ['']
    volumes: ['a:b:c:d']
    logging: { options: { max-size: 1, max-file: 0 } }
  db_: {}
  _db: { command: [x] }
gateway: { listen: [nowhere] }
";
    insta::assert_snapshot!(titles(text), @r#"
    4:14 A0207 a single quote is not closed
    5:11 A0202 expected a port number from 1 to 65535, found `0`
    6:11 A0202 expected a number, found `lots`
    7:16 A0203 `5q` is not a size such as `64m`, `1.5g` or `4096`
    8:18 A0311 there is no signal `SIGTREM`
    9:24 A0203 `10` is not a duration such as `1m30s` or `250ms`
    10:14 A0203 `on-fail` is not a restart policy
    11:11 A0203 `a:` is not a user
    12:16 A0311 there is no ulimit `nofiles`
    12:34 A0203 a ulimit is a whole number, or -1 for unlimited
    12:45 A0203 the soft limit is above the hard limit
    13:18 A0303 `web` depends on `wbe`, which is no service of this app
    14:14 A0305 `web` calls `dbb`, which is no service of this app
    15:26 A0203 `healthz` is not a path
    15:35 A0203 a health check asks one thing: `http` and `tcp` are both written
    16:14 A0306 `GTE /x` is not a route
    16:22 A0306 `GET /a/:id` is not a route
    17:5 A0205 service `web`: `ports` has no effect: the gateway routes HTTP (`routes`); raw ports are not published yet
    17:13 A0203 `80:x` is not a published port
    18:14 A0203 there is no command here
    19:5 A0205 service `web`: `volumes` has no effect: host processes see the machine's own files until sandboxes come
    19:15 A0203 `a:b:c:d` is not a mount
    20:37 A0203 `1` is not a size from 4k
    20:50 A0203 `0` is not a number from 1
    21:3 A0302 service `db_` has nothing to run
    22:3 A0301 `_db` is not a name for a service
    23:21 A0203 `nowhere` is not an address to listen on
    "#);
}

#[test]
fn services_that_wait_for_each_other_are_shown_as_a_circle() {
    let text = "
services:
  a: { command: [a], depends_on: [b] }
  b: { command: [b], depends_on: [c] }
  c:
    command: [c]
    depends_on: { a: { condition: service_started } }
";
    insta::assert_snapshot!(check(text), @r#"
    error[A0304]: services wait for each other: a → b → c → a
     --> <stdin>:3:35
      |
    3 |   a: { command: [a], depends_on: [b] }
      |                                   ^ `a` waits for `b`
    4 |   b: { command: [b], depends_on: [c] }
      |                                   - `b` waits for `c`
      |
     ::: <stdin>:7:19
      |
    7 |     depends_on: { a: { condition: service_started } }
      |                   - `c` waits for `a`
      |
      = hint: take one of these dependencies out; whom a service calls belongs under `calls`
    "#);
}

#[test]
fn two_services_cannot_have_the_same_route() {
    let text = "
services:
  a:
    command: [a]
    routes: ['GET|POST /books/{id}', '/x', 'GET /y']
  b:
    command: [b]
    routes:
      - GET /books/{isbn}
      - GET /x
      - GET /y: { headers: { x-beta: 'on' } }
      - GET /y: { host: api.example.com }
";
    insta::assert_snapshot!(check(text), @r#"
    error[A0307]: `a` and `b` both want `GET /books/{isbn}`
     --> <stdin>:9:9
      |
    9 |       - GET /books/{isbn}
      |         ^^^^^^^^^^^^^^^^^ the same requests match here
      |
     ::: <stdin>:5:14
      |
    5 |     routes: ['GET|POST /books/{id}', '/x', 'GET /y']
      |              ---------------------- and here, written first
      |
      = hint: change one of them: another path, method, `host` or `headers`
    "#);
}

#[test]
fn options_of_a_route_one_level_too_high_are_explained() {
    insta::assert_snapshot!(check(&one_service("routes:\n  - GET /books:\n    timeout: 5s\n    host: x")), @r#"
    error[A0209]: one route has 3 keys
     --> <stdin>:6:9
      |
    5 |       - GET /books:
      |         ---------- the route
    6 |         timeout: 5s
      |         ^^^^^^^ this is a second key
      |
      = hint: options go one level deeper: `- GET /books: { timeout: … }`
    "#);
}

#[test]
fn a_key_that_is_not_acted_on_is_a_warning_that_says_why() {
    let text = "
services:
  web:
    command: [./web]
    ports: ['80:80', '81:81']
    tty: true
    streams: { jobs: {} }
    routes:
      - GET /a: { cache: 5s }
      - GET /b: { cache: 5s }
  db: { image: postgres }
networks: { net: }
";
    insta::assert_snapshot!(titles(text), @r#"
    5:5 A0205 service `web`: `ports` has no effect: the gateway routes HTTP (`routes`); raw ports are not published yet
    6:5 A0205 service `web`: `tty` has no effect: output is kept line by line, without a terminal
    7:5 A0206 service `web`: `streams` is accepted and has no effect yet: streams come later
    9:19 A0206 service `web`: `cache` is accepted and has no effect yet: response caching comes later
    11:9 A0205 service `db`: `image` has no effect: containers come later: the service is shown but not started
    12:1 A0205 `networks` has no effect: every service is reached through `calls` and `routes`; there are no networks yet
    "#);
}

#[test]
fn a_fault_on_a_line_with_wide_characters_has_its_carets_in_place() {
    insta::assert_snapshot!(check(&one_service("labels: { größe: ok } \nuesr: 'ü'")), @r#"
    error[A0201]: a service has no key `uesr`
     --> <stdin>:5:5
      |
    5 |     uesr: 'ü'
      |     ^^^^ unknown key
      |
      = hint: did you mean `user`?
    "#);
}

#[test]
fn a_name_that_is_nowhere_says_which_one_was_meant() {
    let text = "
services:
  catalog: { command: [c], profiles: [extra] }
  web: { command: [w], calls: [catalog, ordres], depends_on: { catalog: { required: false } } }
  orders: { command: [o], depends_on: [catalog] }
";
    insta::assert_snapshot!(check(text), @r#"
    warning[A0314]: `web` calls `catalog`, which is in a profile that is not active
     --> <stdin>:4:32
      |
    4 |   web: { command: [w], calls: [catalog, ordres], depends_on: { catalog: { required: false } } }
      |                                ^^^^^^^ it gets no address for it
      |
      = hint: enable it with `--profile extra`

    error[A0305]: `web` calls `ordres`, which is no service of this app
     --> <stdin>:4:41
      |
    4 |   web: { command: [w], calls: [catalog, ordres], depends_on: { catalog: { required: false } } }
      |                                         ^^^^^^
      |
      = hint: did you mean `orders`?

    warning[A0303]: `web` depends on `catalog`, which is in a profile that is not active
     --> <stdin>:4:64
      |
    4 |   web: { command: [w], calls: [catalog, ordres], depends_on: { catalog: { required: false } } }
      |                                                                ^^^^^^^ gone on without, as it is not required
      |
      = hint: enable it with `--profile extra`

    error[A0303]: `orders` depends on `catalog`, which is in a profile that is not active
     --> <stdin>:5:40
      |
    5 |   orders: { command: [o], depends_on: [catalog] }
      |                                        ^^^^^^^
      |
      = hint: enable it with `--profile extra`
    "#);
}

#[test]
fn a_file_of_nothing_but_mistakes_is_cut_short() {
    let mut text = String::from("services:\n  web:\n    command: [./web]\n");
    for i in 0..5000 {
        text.push_str(&format!("    key{i}: 1\n"));
    }
    let report = check(&text);
    assert!(report.matches("error[A0201]").count() <= 100, "{}", report.len());
    assert!(report.ends_with("hint: mend those above and check again"), "{}", &report[report.len() - 200..]);
}

#[test]
fn ports_that_two_want_are_told_with_both_places() {
    let text = "
services:
  a: { command: [a], port: 9000, routes: [/] }
  b: { command: [b], port: 9000, scale: 2 }
  c: { command: [c], environment: { PORT: 8080 } }
";
    insta::assert_snapshot!(check(text), @r#"
    error[A0310]: 2 instances of `b` cannot all listen on port 9000
     --> <stdin>:4:28
      |
    4 |   b: { command: [b], port: 9000, scale: 2 }
      |                            ^^^^
      |
      = hint: leave `port` out: Atoll picks one for each instance and passes it as `PORT`

    error[A0310]: `b` wants port 9000, which `a` has
     --> <stdin>:4:28
      |
    3 |   a: { command: [a], port: 9000, routes: [/] }
      |                            ---- `a` has it here
    4 |   b: { command: [b], port: 9000, scale: 2 }
      |                            ^^^^
      |
      = hint: leave `port` out: Atoll picks one

    error[A0310]: `c` wants port 8080, which the gateway has
     --> <stdin>:5:43
      |
    5 |   c: { command: [c], environment: { PORT: 8080 } }
      |                                           ^^^^
      |
      = hint: leave `port` out: Atoll picks one, and the gateway finds it
    "#);
}

#[test]
fn two_spellings_of_one_limit_must_agree() {
    insta::assert_snapshot!(
        check(&one_service("mem_limit: 64m\ndeploy: { resources: { limits: { memory: 65m } } }")),
        @r#"
    error[A0309]: `mem_limit` and `deploy.resources.limits.memory` say different things
     --> <stdin>:4:16
      |
    4 |     mem_limit: 64m
      |                ^^^
    5 |     deploy: { resources: { limits: { memory: 65m } } }
      |                                              --- and here
      |
      = hint: keep one of them
    "#
    );
}

#[test]
fn a_command_that_needs_a_shell_is_noticed() {
    insta::assert_snapshot!(titles("services:\n  a: { command: make && ./a }\n  b: { command: sh -c 'x && y' }"), @r#"
    2:17 A0208 no shell runs this command: `&&` is passed on as an argument
    "#);
}

#[test]
fn one_reason_is_said_once_for_all_services_with_every_place() {
    let services: String = (0..6).map(|i| format!("  s{i}: {{ command: [x], tty: true }}\n")).collect();
    insta::assert_snapshot!(check(&format!("services:\n{services}")), @r"
    warning[A0205]: services `s0`, `s1`, `s2`, `s3` and 2 more: `tty` has no effect: output is kept line by line, without a terminal
     --> <stdin>:2:23
      |
    2 |   s0: { command: [x], tty: true }
      |                       ^^^
      |
      = note: also at 3:23, 4:23, 5:23, 6:23, 7:23
    ");
}

#[test]
fn what_could_not_be_read_is_not_also_called_missing() {
    let text = "
services:
  web: *nowhere
  1: { command: [x] }
";
    insta::assert_snapshot!(titles(text), @r"
    3:8 A0109 no anchor `&nowhere` stands before this alias
    4:3 A0107 the key `1` is a number, not a string
    ");
    insta::assert_snapshot!(titles("services:\n  1: { command: [x] }\n"), @"2:3 A0107 the key `1` is a number, not a string");
}

#[test]
fn a_text_no_program_can_be_given_is_refused() {
    let text = r#"
services:
  web:
    command: [run, "a\0b"]
    environment: { B: "\0" }
"#;
    insta::assert_snapshot!(titles(text), @r"
    4:20 A0203 a text with a NUL character cannot be handed to a program
    5:23 A0203 a text with a NUL character cannot be handed to a program
    ");
}

#[test]
fn services_that_share_a_part_share_its_faults() {
    let text = "
x-base: &base
  command: [./web]
  tty: true
  cpus: lots
  zzz: 1
services:
  a: { <<: *base }
  b: { <<: *base }
";
    insta::assert_snapshot!(titles(text), @r#"
    4:3 A0205 services `a`, `b`: `tty` has no effect: output is kept line by line, without a terminal
    5:9 A0202 expected a number, found `lots`
    6:3 A0201 a service has no key `zzz`
    "#);
}

#[test]
fn every_key_that_comes_later_is_accepted_with_one_warning_each() {
    let text = r#"
services:
  catalog:
    command: [target/release/catalog]
    healthcheck: { http: /healthz, interval: 1s }
    routes:
      - GET /books: { cache: 5s }
      - POST /orders: { auth: customer, idempotent: required, limit: 20/s per user }
    calls:
      settlement: { timeout: 150ms, fallback: { from: catalog, path: /popular }, breaker: { errors: 50%, of: 20, open: 5s } }
    scale: { min: 1, max: 6, target: { concurrency: 32 }, predict: true }
    slo: { availability: 99.9%, latency: "99% < 100ms" }
    tables:
      orders: { key: order_id, indexes: { by_customer: { key: customer, sort: placed_at } } }
    streams: { clicks: {} }
  settlement:
    command: [python3, settlement.py]
    deploy: { strategy: canary, steps: [5%, 50%], hold: 30s }
functions:
  receipt: { command: [./bootstrap], triggers: [{ queue: receipts, batch: 10 }], timeout: 10s }
sagas:
  checkout: { file: checkout.asl.json }
gateway:
  listen: 8080
  auth: { customer: { jwt: { issuer: https://id.example, jwks: jwks.json, audience: bookshop } } }
"#;
    insta::assert_snapshot!(titles(text), @r#"
    7:23 A0206 service `catalog`: `cache` is accepted and has no effect yet: response caching comes later
    8:41 A0206 service `catalog`: `idempotent` is accepted and has no effect yet: idempotency keys come later
    11:22 A0206 service `catalog`: `max`, `target`, `predict` are accepted and have no effect yet: autoscaling comes later, until then `min` instances run
    13:5 A0206 service `catalog`: `tables` is accepted and has no effect yet: tables come later
    15:5 A0206 service `catalog`: `streams` is accepted and has no effect yet: streams come later
    18:15 A0206 service `settlement`: `strategy`, `steps`, `hold` are accepted and have no effect yet: roll-outs come later
    19:1 A0206 `functions` is accepted and has no effect yet: functions come later
    21:1 A0206 `sagas` is accepted and has no effect yet: sagas come later
    "#);
}

#[test]
fn a_compose_file_of_containers_is_read_without_an_error() {
    let text = r#"
version: "3.9"
services:
  web:
    build: { context: ., args: [A=1] }
    ports: ["8000:5000", { target: 80, published: "8080" }]
    volumes: [.:/code, { type: bind, source: ./a, target: /a }]
    environment: { FLASK_DEBUG: "true" }
    depends_on: { redis: { condition: service_healthy } }
    restart: unless-stopped
    networks: { front: { aliases: [w] } }
    deploy: { replicas: 2, update_config: { order: start-first }, resources: { limits: { cpus: "0.50", memory: 50M } } }
    develop: { watch: [{ action: sync, path: ., target: /code }] }
  redis:
    image: redis:alpine
    command: redis-server --save 60 1 --loglevel warning
    healthcheck: { test: ["CMD", "redis-cli", "ping"], interval: 10s, start_period: 40s }
    expose: [6379]
    sysctls: [net.core.somaxconn=1024]
networks: { front: , back: { driver: bridge, ipam: { config: [{ subnet: 172.28.0.0/16 }] } } }
volumes: { data: {} }
secrets: { key: { file: ./key } }
"#;
    insta::assert_snapshot!(titles(text), @r#"
    2:1 A0205 `version` has no effect: the format has no versions any more
    5:5 A0205 services `web`, `redis`: `build`, `image` have no effect: containers come later: the service is shown but not started
    6:5 A0205 service `web`: `ports` has no effect: the gateway routes HTTP (`routes`); raw ports are not published yet
    7:5 A0205 service `web`: `volumes` has no effect: host processes see the machine's own files until sandboxes come
    11:5 A0205 services `web`, `redis`: `networks`, `expose` have no effect: every service is reached through `calls` and `routes`; there are no networks yet
    12:28 A0205 service `web`: `update_config` has no effect: roll-outs come later: instances are replaced one after another
    13:5 A0205 service `web`: `develop` has no effect: files are not watched yet
    19:5 A0205 service `redis`: `sysctls` has no effect: host processes share the machine's namespaces until sandboxes come
    20:1 A0205 `networks` has no effect: every service is reached through `calls` and `routes`; there are no networks yet
    21:1 A0205 `volumes` has no effect: host processes see the machine's own files until sandboxes come
    22:1 A0205 `secrets` has no effect: secrets and configs are not handed to services yet
    "#);
}
