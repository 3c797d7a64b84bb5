//! One file over another.

use super::{assemble, case};
use crate::fault::Sources;

/// Two files, the second over the first, both below `services.a`.
fn over(base: &str, upper: &str) -> String {
    let indent = |text: &str| text.trim().replace('\n', "\n    ");
    let files = format!(
        "== compose.yaml\nservices:\n  a:\n    {}\n== compose.override.yaml\nservices:\n  a:\n    {}\n",
        indent(base),
        indent(upper)
    );
    case(&files).run().replace("\n    ", "\n").replacen("services:\n  a:\n", "", 1)
}

#[test]
fn mappings_merge_sequences_append_scalars_and_commands_are_replaced() {
    let base = "
image: x
command: [a, b]
entrypoint: one two
cap_add: [A, B]
security_opt: [s]
healthcheck: { test: [CMD, a], interval: 1s }
deploy: { resources: { limits: { cpus: 1 } }, labels: [a=1] }
user: me";
    let upper = "
image: y
command: c
entrypoint: [e]
cap_add: [B, C]
security_opt: [s]
healthcheck: { test: b }
deploy: { resources: { limits: { memory: 1g } }, labels: { a: 2, b: }, replicas: 2 }
user:
tty: true";
    insta::assert_snapshot!(over(base, upper), @r"
    image: y
    command: c
    entrypoint:
      - e
    cap_add:
      - A
      - B
      - C
    security_opt:
      - s
      - s
    healthcheck:
      test: b
      interval: 1s
    deploy:
      resources:
        limits:
          cpus: 1
          memory: 1g
      labels:
        a: 2
        b:
      replicas: 2
    user: me
    tty: true
    ");
}

#[test]
fn lists_and_mappings_of_variables_merge_by_name_in_any_form() {
    insta::assert_snapshot!(over("environment: [A=1, B, C=3]", "environment: [A=2, D]"), @r"
    environment:
      - A=2
      - B
      - C=3
      - D
    ");
    insta::assert_snapshot!(over("environment: [A=1, B, C=3]", "environment: { A: 2, D: }"), @r#"
    environment:
      A: 2
      B:
      C: "3"
      D:
    "#);
    insta::assert_snapshot!(over("environment: { A: 1, C: 3 }", "environment: [A=2, B]"), @r#"
    environment:
      A: "2"
      C: 3
      B:
    "#);
    insta::assert_snapshot!(over("labels: { A: 1 }", "labels: { A: 2, B: 3 }"), @r"
    labels:
      A: 2
      B: 3
    ");
    insta::assert_snapshot!(over("environment: { A: 1 }", "environment:"), @r"
    environment:
      A: 1
    ");
    insta::assert_snapshot!(over("environment: [[A]]", "environment: {A: 1}"), @r#"
    environment:
      - - A
    error[A0114] at compose.yaml:3:18 "[[A]]": `services.a.environment` cannot be merged: a mapping over a sequence
      also compose.yaml:3:18: a sequence here
      hint: write both in the same form, or replace the whole value with `!override`
    "#);
}

#[test]
fn a_scalar_is_a_list_of_one_where_compose_says_so() {
    insta::assert_snapshot!(over("dns: 1.1.1.1\nenv_file: a.env", "dns: [8.8.8.8, 1.1.1.1]\nenv_file: [{path: b.env}, a.env]"), @r"
    dns:
      - 1.1.1.1
      - 8.8.8.8
    env_file:
      - a.env
      - path: b.env
    ");
}

#[test]
fn unique_things_replace_each_other() {
    let base = "
ports: ['80:8080', '127.0.0.1:81:81/udp', 9000]
volumes: ['./a:/data/', 'b:/b']
secrets: [s, {source: t, target: /t}]
configs: [c]
devices: ['/dev/x:/dev/y']
expose: [1, 2]
extra_hosts: [h=1]";
    let upper = "
ports: [{target: 8080, published: '80'}, '127.0.0.1:81:81/udp', '9001']
volumes: [{type: volume, source: v, target: /data}]
secrets: [{source: u, target: /t}, {source: s}]
configs: [{source: d, target: /c}]
devices: ['/dev/z:/dev/y']
expose: [2, 3]
extra_hosts: {h: [1, 2]}";
    insta::assert_snapshot!(over(base, upper), @r#"
    ports:
      - target: 8080
        published: "80"
      - "127.0.0.1:81:81/udp"
      - 9000
      - "9001"
    volumes:
      - type: volume
        source: v
        target: /data
      - "b:/b"
    secrets:
      - source: s
      - source: u
        target: /t
    configs:
      - source: d
        target: /c
    devices:
      - "/dev/z:/dev/y"
    expose:
      - 1
      - 2
      - 3
    extra_hosts:
      - "h=1"
      - "h=2"
    "#);
}

#[test]
fn short_and_long_forms_meet() {
    insta::assert_snapshot!(over("depends_on: [a, b]", "depends_on: {b: {condition: service_healthy}}"), @r"
    depends_on:
      a:
        condition: service_started
        required: true
      b:
        condition: service_healthy
        required: true
    ");
    insta::assert_snapshot!(over("depends_on: {b: {condition: service_healthy, restart: true}}", "depends_on: [b, c]"), @r"
    depends_on:
      b:
        condition: service_started
        restart: true
        required: true
      c:
        condition: service_started
        required: true
    ");
    insta::assert_snapshot!(over("build: .", "build: {args: [A=1]}"), @r"
    build:
      context: .
      args:
        - A=1
    ");
    insta::assert_snapshot!(over("build: {context: x, args: {A: 1}}", "build: y"), @r"
    build:
      context: y
      args:
        A: 1
    ");
    insta::assert_snapshot!(over("networks: [a]", "networks: {b: {aliases: [x]}}"), @r"
    networks:
      a:
      b:
        aliases:
          - x
    ");
    insta::assert_snapshot!(over("ulimits: {nofile: 10, nproc: {soft: 1}}", "ulimits: {nofile: {soft: 1}, nproc: {hard: 2}}"), @r"
    ulimits:
      nofile:
        soft: 1
      nproc:
        hard: 2
    ");
}

#[test]
fn logging_options_of_different_drivers_do_not_mix() {
    insta::assert_snapshot!(over("logging: {driver: a, options: {x: 1}}", "logging: {driver: b, options: {y: 1}}"), @r"
    logging:
      driver: b
      options:
        y: 1
    ");
    insta::assert_snapshot!(over("logging: {driver: a, options: {x: 1}}", "logging: {options: {y: 1}}"), @r"
    logging:
      driver: a
      options:
        x: 1
        y: 1
    ");
}

#[test]
fn our_own_keys_merge_in_the_same_spirit() {
    let base = "
routes: [GET /a: {timeout: 1s}, 'GET   /b', {GET /a: {host: x.example}}]
calls: [b, {c: {timeout: 1s}}]
scale: 2
prepare: make
healthcheck: {http: /a, interval: 1s}
topics: [t]";
    let upper = "
routes: [POST /a, GET /b: {timeout: 2s}, {GET /a: {timeout: 3s}}]
calls: {c: {retry: 2}, d: }
scale: {min: 1}
prepare: [make, all]
healthcheck: {tcp: 80}
topics: [t, u]";
    insta::assert_snapshot!(over(base, upper), @r"
    routes:
      - GET /a:
          timeout: 3s
      - GET /b:
          timeout: 2s
      - GET /a:
          host: x.example
      - POST /a
    calls:
      b:
      c:
        timeout: 1s
        retry: 2
      d:
    scale:
      min: 1
    prepare:
      - make
      - all
    healthcheck:
      interval: 1s
      tcp: 80
    topics:
      - t
      - u
    ");
}

#[test]
fn address_pools_of_one_subnet_merge() {
    let files = "
== compose.yaml
networks: { n: { ipam: { config: [{subnet: 10.0.0.0/8}, {subnet: 11.0.0.0/8}] } } }
== compose.override.yaml
networks: { n: { ipam: { config: [{subnet: 11.0.0.0/8, gateway: 11.0.0.1}, {subnet: 12.0.0.0/8}] } } }
";
    insta::assert_snapshot!(case(files).run(), @r"
    networks:
      n:
        ipam:
          config:
            - subnet: 10.0.0.0/8
            - subnet: 11.0.0.0/8
              gateway: 11.0.0.1
            - subnet: 12.0.0.0/8
    ");
}

#[test]
fn what_cannot_be_merged_is_told_with_both_places() {
    insta::assert_snapshot!(over("deploy: {replicas: 1}\ncap_add: [A]", "deploy: [x]\ncap_add: {A: 1}"), @r#"
    deploy:
      replicas: 1
    cap_add:
      - A
    error[A0114] at compose.override.yaml:3:13 "[x]": `services.a.deploy` cannot be merged: a sequence over a mapping
      also compose.yaml:3:13: a mapping here
      hint: write both in the same form, or replace the whole value with `!override`
    error[A0114] at compose.override.yaml:4:14 "{A: 1}": `services.a.cap_add` cannot be merged: a mapping over a sequence
      also compose.yaml:4:14: a sequence here
      hint: write both in the same form, or replace the whole value with `!override`
    "#);
}

#[test]
fn reset_takes_away_and_override_replaces() {
    let base = "
image: x
ports: ['80:80']
environment: {FOO: 1, BAR: 2}
volumes: [a:/a]
routes: [GET /a]
calls: [b]";
    let upper = "
image: !reset
ports: !reset []
environment: {FOO: !reset null}
volumes: !override [b:/b, !reset c:/c]
x-atoll: {routes: !override [GET /b], calls: !reset []}";
    insta::assert_snapshot!(over(base, upper), @r"
    environment:
      BAR: 2
    volumes:
      - b:/b
    routes:
      - GET /b
    ");
    let files = "
== compose.yaml
services: {a: {image: x}, b: {image: y}}
networks: {n: {external: true}}
== compose.override.yaml
services: {b: !reset null}
networks: {n: !override {}}
";
    insta::assert_snapshot!(case(files).run(), @r"
    services:
      a:
        image: x
    networks:
      n: {}
    ");
}

#[test]
fn tags_that_come_through_an_anchor_or_a_merge_key_count_too() {
    let files = "
== compose.yaml
services: {a: {image: x, ports: ['80:80'], tty: true}, b: {image: x, tty: true}}
== compose.override.yaml
x-none: &none {tty: !reset null}
services: {a: {<<: *none, ports: !override ['81:81']}, b: *none}
";
    insta::assert_snapshot!(case(files).run(), @r#"
    services:
      a:
        image: x
        ports:
          - "81:81"
      b:
        image: x
    x-none: {}
    "#);
}

#[test]
fn within_one_file_the_last_of_a_unique_thing_counts() {
    insta::assert_snapshot!(case("services: {a: {environment: [A=1, B=2, A=3], ports: ['80:80', '80:80/tcp']}}").run(), @r#"
    services:
      a:
        environment:
          - A=3
          - B=2
        ports:
          - "80:80/tcp"
    "#);
}

#[test]
fn every_value_of_a_merged_tree_points_to_the_file_it_stands_in() {
    let files = "
== compose.yaml
include: [sub/compose.yaml]
services:
  a: { image: one, user: me, x-atoll: { calls: [b] } }
== compose.override.yaml
x-c: &c { tty: true }
services:
  a: { <<: *c, image: two, extends: { file: base.yaml, service: base }, calls: { c: } }
== base.yaml
services: { base: { init: true, image: three } }
== sub/compose.yaml
services: { d: { image: four, build: dir } }
";
    let case = case(files);
    let (mut sources, mut faults) = (Sources::default(), Vec::new());
    let assembled = assemble(&case.request, &mut sources, &mut faults).expect("a tree");
    let stands = |path: &[&str]| {
        let mut node = &assembled.root;
        for key in path {
            node = node.get(key).expect("a value");
        }
        let source = sources.get(node.span.source).expect("a source");
        let text = &source.text[node.span.start as usize..node.span.end as usize];
        format!("{} in {}", text, source.path.display())
    };
    assert_eq!(stands(&["services", "a", "image"]), "two in compose.override.yaml");
    assert_eq!(stands(&["services", "a", "user"]), "me in compose.yaml");
    assert_eq!(stands(&["services", "a", "tty"]), "true in compose.override.yaml");
    assert_eq!(stands(&["services", "a", "init"]), "true in base.yaml");
    assert_eq!(stands(&["services", "d", "image"]), "four in sub/compose.yaml");
    assert_eq!(stands(&["services", "d", "build"]), "dir in sub/compose.yaml");
    assert_eq!(stands(&["services", "a", "calls", "b"]), "b in compose.yaml");
}
