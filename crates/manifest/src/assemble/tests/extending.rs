//! `extends`.

use super::case;

#[test]
fn a_service_starts_from_another_of_the_same_file() {
    let files = "
services:
  base: { image: x, command: [a], environment: { A: 1, B: 2 }, cap_add: [C] }
  mid: { extends: base, environment: [B=3], cap_add: [D] }
  top: { extends: { service: mid }, command: [b] }
";
    insta::assert_snapshot!(case(files).run(), @r#"
    services:
      base:
        image: x
        command:
          - a
        environment:
          A: 1
          B: 2
        cap_add:
          - C
      mid:
        image: x
        command:
          - a
        environment:
          A: 1
          B: "3"
        cap_add:
          - C
          - D
      top:
        image: x
        command:
          - b
        environment:
          A: 1
          B: "3"
        cap_add:
          - C
          - D
    "#);
}

#[test]
fn paths_of_another_file_start_where_that_file_is() {
    let files = "
== compose.yaml
services:
  web:
    extends: { file: common/base.yaml, service: web }
    env_file: own.env
== common/base.yaml
services:
  web:
    extends: { file: ../deeper/base.yaml, service: web }
    build: .
    env_file: [a.env, { path: b.env }]
    volumes: [./data:/data, named:/n, ~/x:/x, { type: bind, source: ../up, target: /up }]
    command: ${WHO}
  other: { image: y }
== deeper/base.yaml
services:
  web: { label_file: l, x-atoll: { routes: [GET /] }, develop: { watch: [{ path: src, action: sync }] } }
";
    insta::assert_snapshot!(case(files).env("HOME", "/home/ada").env("WHO", "me").run(), @r#"
    services:
      web:
        label_file: "/app/deeper/l"
        routes:
          - GET /
        develop:
          watch:
            - path: "/app/deeper/src"
              action: sync
        build: "/app/common"
        env_file:
          - "/app/common/a.env"
          - path: "/app/common/b.env"
          - own.env
        volumes:
          - /app/common/data:/data
          - named:/n
          - /home/ada/x:/x
          - type: bind
            source: "/app/up"
            target: /up
        command: me
    "#);
}

#[test]
fn the_own_directory_of_a_base_process_moves_with_it() {
    let files = "
== compose.yaml
services:
  a: { extends: { file: lib/x.yaml, service: p } }
  b: { extends: { file: lib/x.yaml, service: c } }
== lib/x.yaml
services:
  p: { command: [run], working_dir: bin }
  c: { image: x, working_dir: bin }
";
    insta::assert_snapshot!(case(files).run(), @r#"
    services:
      a:
        command:
          - run
        working_dir: "/app/lib/bin"
      b:
        image: x
        working_dir: bin
    "#);
}

#[test]
fn reset_and_override_work_on_the_base() {
    let files = "
services:
  base: { image: x, ports: ['80:80'], environment: { A: 1 }, tty: true }
  top: { extends: base, ports: !override ['81:81'], environment: { A: !reset null }, tty: !reset null }
";
    insta::assert_snapshot!(case(files).run(), @r#"
    services:
      base:
        image: x
        ports:
          - "80:80"
        environment:
          A: 1
        tty: true
      top:
        image: x
        environment: {}
        ports:
          - "81:81"
    "#);
}

#[test]
fn an_override_file_goes_over_the_extended_service() {
    let files = "
== compose.yaml
services: { base: { image: x }, top: { extends: base, command: a } }
== compose.override.yaml
services: { top: { command: b, extends: third }, third: { tty: true } }
";
    insta::assert_snapshot!(case(files).run(), @r"
    services:
      base:
        image: x
      top:
        image: x
        command: b
        tty: true
      third:
        tty: true
    ");
}

#[test]
fn a_circle_is_one_fault_that_shows_it() {
    let files = "
services:
  a: { extends: b }
  b: { extends: c }
  c: { extends: a }
  d: { extends: a }
  e: { extends: e }
";
    insta::assert_snapshot!(case(files).run(), @r#"
    no tree
    error[A0116] at compose.yaml:3:17 "b": services extend each other in a circle: a → b → c → a
      also compose.yaml:4:17: `b` goes on here
      also compose.yaml:5:17: `c` goes on here
      hint: break the circle: put what they share into a service that extends nothing
    error[A0116] at compose.yaml:7:17 "e": services extend each other in a circle: e → e
      hint: break the circle: put what they share into a service that extends nothing
    "#);
    let files = "
== compose.yaml
services: { a: { extends: { file: other.yaml, service: b } } }
== other.yaml
services:
  b: { extends: { file: compose.yaml, service: a } }
";
    insta::assert_snapshot!(case(files).run(), @r#"
    no tree
    error[A0116] at other.yaml:2:17 "{ file: compose.yaml, service: a }": services extend each other in a circle: b (other.yaml) → a (compose.yaml) → b (other.yaml)
      also compose.yaml:1:27: `a` goes on here
      hint: break the circle: put what they share into a service that extends nothing
    "#);
}

#[test]
fn a_missing_base_is_told_with_the_nearest_name() {
    let files = "
services:
  base: { image: x }
  a: { extends: bsae }
  b: { extends: { file: gone.yaml, service: x } }
  c: { extends: { file: compose.yaml } }
  d: { extends: [base] }
  e: { extends: { file: 'https://example.com/x.yaml', service: x } }
  f: { extends: nothing-like-it }
";
    insta::assert_snapshot!(case(files).run(), @r#"
    no tree
    error[A0115] at compose.yaml:4:17 "bsae": there is no service `bsae` in this file to extend
      hint: did you mean `base`?
    error[A0102] at compose.yaml:5:25 "gone.yaml": cannot read the file to extend from `gone.yaml`: no such file or directory
      hint: check the path, and the directory it starts from
    error[A0115] at compose.yaml:6:17 "{ file: compose.yaml }": `extends` of `c` does not say which service
      hint: write `extends: other`, or `extends: {file: common.yaml, service: other}`
    error[A0115] at compose.yaml:7:17 "[base]": `extends` of `d` is a sequence
      hint: write `extends: other`, or `extends: {file: common.yaml, service: other}`
    error[A0125] at compose.yaml:8:25 "'https://example.com/x.yaml'": `https://example.com/x.yaml` is not on this machine: Atoll reads local files only
      hint: fetch the file and name its path
    error[A0115] at compose.yaml:9:17 "nothing-like-it": there is no service `nothing-like-it` in this file to extend
      hint: a service of another file is named with `file:` and `service:`
    "#);
}
