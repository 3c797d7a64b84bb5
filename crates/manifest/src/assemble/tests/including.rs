//! `include`.

use super::case;

#[test]
fn an_included_app_brings_its_directory_and_its_env_file() {
    let files = "
== compose.yaml
include: [sub/compose.yaml]
services: { web: { image: web, depends_on: [db] } }
== sub/compose.yaml
name: ignored
services:
  db: { image: 'db:${TAG}', env_file: db.env, volumes: ['./data:/data', 'v:/v'], environment: [TAG, OUT, X=1] }
  job: { command: [./job], environment: { TAG: , OUT: } }
volumes: { v: }
secrets: { s: { file: s.txt }, t: { environment: TAG } }
sagas: { pay: { file: pay.json } }
gateway: { listen: 80, auth: { a: { jwt: { jwks: keys.json } }, b: { jwt: { jwks: 'https://x/keys' } } } }
== sub/.env
TAG=7
OUT=inner
";
    insta::assert_snapshot!(case(files).env("OUT", "outer").run(), @r#"
    services:
      web:
        image: web
        depends_on:
          - db
      db:
        image: "db:7"
        env_file: "/app/sub/db.env"
        volumes:
          - "/app/sub/data:/data"
          - "v:/v"
        environment:
          - "TAG=7"
          - OUT
          - X=1
      job:
        command:
          - ./job
        environment:
          TAG: "7"
          OUT:
        working_dir: "/app/sub"
    volumes:
      v:
    secrets:
      s:
        file: "/app/sub/s.txt"
      t:
        content: "7"
    sagas:
      pay:
        file: "/app/sub/pay.json"
    gateway:
      listen: 80
      auth:
        a:
          jwt:
            jwks: "/app/sub/keys.json"
        b:
          jwt:
            jwks: "https://x/keys"
    "#);
}

#[test]
fn the_long_form_takes_overrides_a_directory_and_env_files() {
    let files = "
== compose.yaml
include:
  - path: [sub/a.yaml, sub/b.yaml]
    project_directory: .
    env_file: [one.env, two.env]
  - path: sub/c.yaml
    env_file: /dev/null
== sub/a.yaml
services: { a: { image: '${A}${B}', build: dir } }
== sub/b.yaml
services: { a: { extends: { file: base.yaml, service: base } } }
== sub/c.yaml
services: { c: { image: '${A:-none}' } }
== base.yaml
services: { base: { tty: true } }
== sub/.env
A=wrong
== one.env
A=1
B=1
== two.env
B=2
";
    insta::assert_snapshot!(case(files).run(), @r#"
    services:
      a:
        image: "12"
        build: "/app/dir"
        tty: true
      c:
        image: "none"
    "#);
}

#[test]
fn what_the_app_defines_itself_goes_over_what_it_includes() {
    let files = "
== compose.yaml
include: [sub/compose.yaml]
services:
  a: { image: own, environment: !override [B=2], ports: !reset [] }
  top: { extends: b }
== sub/compose.yaml
services: { a: { image: x, tty: true, environment: [A=1], ports: ['80:80'] }, b: { image: y } }
";
    insta::assert_snapshot!(case(files).run(), @r"
    services:
      a:
        image: own
        tty: true
        environment:
          - B=2
      top:
        image: y
      b:
        image: y
    ");
}

#[test]
fn the_same_file_may_come_twice_but_two_definitions_are_warned_about() {
    let files = "
== compose.yaml
include: [one.yaml, two.yaml, one.yaml]
== one.yaml
include: [shared.yaml]
services: { a: { image: one } }
== two.yaml
include: [shared.yaml]
services: { a: { image: two, tty: true } }
== shared.yaml
services: { s: { image: s } }
";
    insta::assert_snapshot!(case(files).run(), @r#"
    services:
      a:
        image: one
        tty: true
      s:
        image: s
    warning[A0126] at two.yaml:2:13 "a": two included files define `a` in `services`: they are merged
      also compose.yaml:1:11: the first comes from here and wins
      hint: give one of them another name
    "#);
}

#[test]
fn a_circle_is_one_fault_that_shows_it() {
    let files = "
== compose.yaml
include: [sub/a.yaml]
== sub/a.yaml
include: [b.yaml]
== sub/b.yaml
include: [../compose.yaml]
services: { b: { image: x } }
";
    insta::assert_snapshot!(case(files).run(), @r#"
    no tree
    error[A0118] at sub/b.yaml:1:11 "../compose.yaml": files include each other in a circle: compose.yaml → sub/a.yaml → sub/b.yaml → compose.yaml
      hint: break the circle: move what both need into a third file
    "#);
}

#[test]
fn bad_entries_are_told_each() {
    let files = "
include:
  - gone.yaml
  - { file: x.yaml }
  - { path: also-gone.yaml, env: x }
  - [a]
  - oci://example.com/x
  - git@example.com:x/y.git
services: { a: { image: x } }
";
    insta::assert_snapshot!(case(files).run(), @r#"
    no tree
    error[A0102] at compose.yaml:3:5 "gone.yaml": cannot read the included file `gone.yaml`: no such file or directory
      hint: check the path, and the directory it starts from
    error[A0117] at compose.yaml:4:5 "{ file: x.yaml }": this entry of `include` does not say which file
      hint: write a path, or `{path: …, project_directory: …, env_file: …}`
    error[A0117] at compose.yaml:5:29 "env": `env` is not a key of `include`
      hint: write a path, or `{path: …, project_directory: …, env_file: …}`
    error[A0102] at compose.yaml:5:13 "also-gone.yaml": cannot read the included file `also-gone.yaml`: no such file or directory
      hint: check the path, and the directory it starts from
    error[A0117] at compose.yaml:6:5 "[a]": this entry of `include` does not say which file
      hint: write a path, or `{path: …, project_directory: …, env_file: …}`
    error[A0125] at compose.yaml:7:5 "oci://example.com/x": `oci://example.com/x` is not on this machine: Atoll reads local files only
      hint: fetch the file and name its path
    error[A0125] at compose.yaml:8:5 "git@example.com:x/y.git": `git@example.com:x/y.git` is not on this machine: Atoll reads local files only
      hint: fetch the file and name its path
    "#);
    insta::assert_snapshot!(case("include: x.yaml").run(), @r#"
    no tree
    error[A0117] at compose.yaml:1:10 "x.yaml": `include` takes a list, this is a scalar
      hint: write `include: [path/compose.yaml]`
    "#);
}
