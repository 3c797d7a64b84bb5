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
    insta::assert_snapshot!(case(files).run(), @"");
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
    insta::assert_snapshot!(case(files).env("HOME", "/root").env("WHO", "me").run(), @"");
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
    insta::assert_snapshot!(case(files).run(), @"");
}

#[test]
fn reset_and_override_work_on_the_base() {
    let files = "
services:
  base: { image: x, ports: ['80:80'], environment: { A: 1 }, tty: true }
  top: { extends: base, ports: !override ['81:81'], environment: { A: !reset null }, tty: !reset null }
";
    insta::assert_snapshot!(case(files).run(), @"");
}

#[test]
fn an_override_file_goes_over_the_extended_service() {
    let files = "
== compose.yaml
services: { base: { image: x }, top: { extends: base, command: a } }
== compose.override.yaml
services: { top: { command: b, extends: third }, third: { tty: true } }
";
    insta::assert_snapshot!(case(files).run(), @"");
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
    insta::assert_snapshot!(case(files).run(), @"");
    let files = "
== compose.yaml
services: { a: { extends: { file: other.yaml, service: b } } }
== other.yaml
services:
  b: { extends: { file: compose.yaml, service: a } }
";
    insta::assert_snapshot!(case(files).run(), @"");
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
    insta::assert_snapshot!(case(files).run(), @"");
}
