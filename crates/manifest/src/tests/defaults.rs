//! What holds where the file says nothing, and what it says in each of its forms.

use std::time::Duration;

use kit::units::Bytes;

use super::{app, one_service, service};
use crate::spec::{Condition, Probe, RestartWhen, Work};

#[test]
fn a_service_of_one_line_has_every_default() {
    let service = service("");
    assert_eq!(service.work, Work::Process(vec!["./web".to_owned()]));
    assert_eq!(service.working_dir.to_str(), Some("/nowhere/shop"));
    assert_eq!(service.stop_signal, "SIGTERM");
    assert_eq!(service.stop_grace, Duration::from_secs(10));
    assert_eq!(service.restart.when, RestartWhen::OnFailure);
    assert_eq!(service.restart.delay, Duration::from_millis(100));
    assert_eq!(service.restart.window, Duration::from_secs(10));
    assert_eq!((service.scale.replicas, service.scale.min, service.scale.max), (1, 1, 1));
    assert_eq!(service.logging.max_size, Bytes(10 << 20));
    assert_eq!(service.logging.max_files, 3);
    assert_eq!((service.port, service.healthcheck, service.prepare), (None, None, None));
}

#[test]
fn the_gateway_listens_only_when_there_are_routes() {
    let listen = |keys: &str, rest: &str| {
        let app = app(&(one_service(keys) + rest));
        app.gateway.listen.iter().map(|listen| listen.address.to_string()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(listen("", ""), "");
    assert_eq!(listen("", "gateway: { listen: 80 }"), "");
    assert_eq!(listen("routes: [/]", ""), "127.0.0.1:8080");
    assert_eq!(listen("routes: [/]", "gateway: { listen: ['0.0.0.0:80', 81] }"), "0.0.0.0:80 127.0.0.1:81");
}

#[test]
fn a_route_takes_its_timeout_from_itself_then_the_gateway_then_the_default() {
    let timeouts = |rest: &str| {
        let app = app(&(one_service("routes: [/a, { /b: { timeout: 1s } }]") + rest));
        let service = app.services.into_values().next().unwrap();
        service
            .routes
            .iter()
            .map(|route| (route.guard.timeout.as_secs(), route.guard.timeout_written))
            .collect::<Vec<_>>()
    };
    assert_eq!(timeouts(""), [(15, false), (1, true)]);
    assert_eq!(timeouts("gateway: { timeout: 3s }"), [(3, true), (1, true)]);
}

#[test]
fn probes_of_our_own_come_more_often_than_commands() {
    let probe = |keys: &str| {
        let check = service(keys).healthcheck.unwrap();
        (check.probe, check.interval.as_secs(), check.timeout.as_secs(), check.retries)
    };
    let http = |path: &str, port| Probe::Http { path: path.to_owned(), port };
    assert_eq!(probe("healthcheck: { http: /up }"), (http("/up", None), 5, 2, 3));
    assert_eq!(probe("healthcheck: { http: { path: /up, port: 81 } }"), (http("/up", Some(81)), 5, 2, 3));
    assert_eq!(probe("healthcheck: { tcp: true }"), (Probe::Tcp { port: None }, 5, 2, 3));
    assert_eq!(probe("healthcheck: { tcp: 5432 }"), (Probe::Tcp { port: Some(5432) }, 5, 2, 3));
    assert_eq!(probe("healthcheck: { tcp: { port: 5432 } }"), (Probe::Tcp { port: Some(5432) }, 5, 2, 3));
    let grpc = |service: &str, port| Probe::Grpc { service: service.to_owned(), port };
    assert_eq!(probe("healthcheck: { grpc: true }"), (grpc("", None), 5, 2, 3));
    assert_eq!(probe("healthcheck: { grpc: shop.Catalog }"), (grpc("shop.Catalog", None), 5, 2, 3));
    assert_eq!(probe("healthcheck: { grpc: { port: 1 } }"), (grpc("", Some(1)), 5, 2, 3));
    let exec = |words: &[&str]| Probe::Exec(words.iter().map(ToString::to_string).collect());
    assert_eq!(probe("healthcheck: { test: [CMD, a, b] }"), (exec(&["a", "b"]), 30, 30, 3));
    assert_eq!(
        probe("healthcheck: { test: a | b, interval: 1s, retries: 9 }"),
        (exec(&["/bin/sh", "-c", "a | b"]), 1, 30, 9)
    );
    assert_eq!(service("healthcheck: { test: [NONE] }").healthcheck, None);
    assert_eq!(service("healthcheck: { disable: true, http: /x }").healthcheck, None);
}

#[test]
fn every_word_for_restarts_is_understood() {
    let when = |keys: &str| {
        let restart = service(keys).restart;
        (restart.when, restart.max_attempts)
    };
    assert_eq!(when("restart: no"), (RestartWhen::Never, None));
    assert_eq!(when("restart: always"), (RestartWhen::Always, None));
    assert_eq!(when("restart: unless-stopped"), (RestartWhen::Always, None));
    assert_eq!(when("restart: on-failure"), (RestartWhen::OnFailure, None));
    assert_eq!(when("restart: on-failure:3"), (RestartWhen::OnFailure, Some(3)));
    assert_eq!(
        when("restart: no\ndeploy: { restart_policy: { condition: any, max_attempts: 2 } }"),
        (RestartWhen::Always, Some(2))
    );
}

#[test]
fn what_others_wait_for_to_end_is_not_started_again() {
    let app = app("
services:
  migrate: { command: [m] }
  web: { command: [w], depends_on: { migrate: { condition: service_completed_successfully } } }
");
    let migrate = &app.services[&"migrate".parse().unwrap()];
    assert_eq!(migrate.restart.when, RestartWhen::Never);
    let web = &app.services[&"web".parse().unwrap()];
    assert_eq!(web.depends_on.values().next().unwrap().condition, Condition::Completed);
}

#[test]
fn scale_has_a_fixed_and_an_elastic_form() {
    let scale = |keys: &str| {
        let scale = service(keys).scale;
        (scale.replicas, scale.min, scale.max)
    };
    assert_eq!(scale("scale: 3"), (3, 3, 3));
    assert_eq!(scale("scale: '0'"), (0, 0, 0));
    assert_eq!(scale("deploy: { replicas: 2 }"), (2, 2, 2));
    assert_eq!(scale("scale: { min: 2, max: 6, target: { concurrency: 32 }, predict: true }"), (2, 2, 6));
    assert_eq!(scale("scale: { max: 6 }"), (1, 1, 6));
    let target = service("scale: { max: 6, target: { concurrency: 32 }, predict: true }").scale;
    assert_eq!((target.target["concurrency"], target.predict), (32.0, true));
}

#[test]
fn environment_port_and_commands_are_read_in_each_form() {
    let one = service("environment: [PORT=81, 'A=b=c', UNSET]\nentrypoint: /bin/x --flag");
    assert_eq!(one.port, Some(81));
    assert_eq!(
        one.environment.into_iter().collect::<Vec<_>>(),
        [("A".to_owned(), "b=c".to_owned()), ("PORT".to_owned(), "81".to_owned())]
    );
    assert_eq!(one.work, Work::Process(vec!["/bin/x".into(), "--flag".into(), "./web".into()]));
    assert_eq!(service("prepare: make all").prepare.unwrap(), ["/bin/sh", "-c", "make all"]);
    assert_eq!(service("prepare: [make, all]").prepare.unwrap(), ["make", "all"]);
    assert_eq!(service("working_dir: ./x/").working_dir.to_str(), Some("/nowhere/shop/x"));
    assert_eq!(service("stop_signal: int").stop_signal, "SIGINT");
    assert_eq!(service("stop_signal: 10").stop_signal, "SIGUSR1");
}

#[test]
fn limits_are_read_from_both_spellings() {
    let limits = service("cpus: 1.5\nmem_limit: 64m\npids_limit: -1").limits;
    assert_eq!((limits.cpus, limits.memory, limits.pids), (Some(1.5), Some(Bytes(64 << 20)), None));
    let limits = service("deploy: { resources: { limits: { cpus: '0.5', memory: 1g, pids: 9 } } }").limits;
    assert_eq!((limits.cpus, limits.memory, limits.pids), (Some(0.5), Some(Bytes(1 << 30)), Some(9)));
    let ulimits = service("ulimits: { nofile: { soft: 5, hard: -1 }, core: 0 }").ulimits;
    assert_eq!(
        (ulimits["nofile"].soft, ulimits["nofile"].hard, ulimits["core"].soft),
        (Some(5), None, Some(0))
    );
}

#[test]
fn a_service_with_an_image_is_known_and_not_run() {
    let app = app("services: { db: { image: postgres, command: [x] } }");
    assert!(
        matches!(&app.services.values().next().unwrap().work, Work::Unsupported(why) if why.contains("image"))
    );
}

#[test]
fn files_with_environment_are_folded_in_below_what_is_written() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.env"), "A=1\nB=\"two $HOME_TOWN\"\nC=3\n").unwrap();
    std::fs::write(dir.path().join("b.env"), "C='$raw'\nD\n").unwrap();
    let mut request = super::request(
        &one_service(
            "
env_file:
  - a.env
  - { path: b.env, format: raw }
  - { path: none.env, required: false }
environment: { A: '9', D: }
",
        ),
        dir.path(),
    );
    request.environment.insert("HOME_TOWN".into(), "Ulm".into());
    request.environment.insert("D".into(), "4".into());
    let loaded = crate::load(&request);
    let service = loaded.app.unwrap().services.into_values().next().unwrap();
    let list: Vec<String> = service.environment.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(list, ["A=9", "B=two Ulm", "C='$raw'", "D=4"]);
}

#[test]
fn a_profile_enables_its_services_and_so_does_naming_them() {
    let text = "services: { a: { command: [a] }, b: { command: [b], profiles: [p, q] },
        c: { command: [c], profiles: [q], depends_on: [b] } }";
    let names = |profiles: &[&str], named: &[&str]| {
        let mut request = super::request(text, std::path::Path::new("/nowhere/shop"));
        request.profiles = profiles.iter().map(ToString::to_string).collect();
        let named: Vec<String> = named.iter().map(ToString::to_string).collect();
        let app = crate::load_naming(&request, &named).app.unwrap();
        app.services.keys().map(|name| name.as_str().to_owned()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names(&[], &[]), "a");
    assert_eq!(names(&["p"], &[]), "a b");
    assert_eq!(names(&["*"], &[]), "a b c");
    assert_eq!(names(&[], &["b"]), "a b");
    assert_eq!(names(&[], &["c"]), "a b c");
}

#[test]
fn a_selection_takes_in_what_it_needs() {
    let app = app("
services:
  web: { command: [w], calls: [orders], routes: [/] }
  orders: { command: [o], depends_on: [db] }
  db: { command: [d] }
  other: { command: [x] }
");
    let pick = |name: &str, with_deps| {
        let part = crate::select(&app, &[name.parse().unwrap()], with_deps).unwrap();
        let names: Vec<&str> = part.services.keys().map(crate::spec::ServiceName::as_str).collect();
        format!("{} {}", names.join(" "), part.gateway.listen.len())
    };
    assert_eq!(pick("web", true), "db orders web 1");
    assert_eq!(pick("orders", true), "db orders 0");
    assert_eq!(pick("orders", false), "orders 0");
    let error = crate::select(&app, &["orderz".parse().unwrap()], true).unwrap_err();
    assert_eq!(
        kit::report::render(&error),
        "error[A0316]: there is no service `orderz`\n  hint: did you mean `orders`?\n"
    );
}
