//! What `atoll` does when nothing runs.

#![allow(clippy::unwrap_used)] // a test may

mod support;

use support::{Project, finish};

const SHOP: &str = "name: shop
services:
  catalog:
    command: [bin/catalog]
    healthcheck: { tcp: true }
    routes:
      - GET /books: { timeout: 1s }
  orders:
    command: [bin/orders]
    scale: 2
    calls:
      catalog: { timeout: 300ms }
";

#[test]
fn a_right_file_passes_its_check() {
    let done = Project::new(SHOP).run(&["check"]).ends_with(0);
    assert_eq!(
        (done.out.as_str(), done.err.as_str()),
        ("shop: 2 services, 1 route, 1 call: nothing wrong\n", "")
    );
    assert_eq!(Project::new(SHOP).run(&["check", "-q"]).ends_with(0).out, "");
}

#[test]
fn a_faulty_file_ends_with_status_2_and_shows_every_fault_with_its_place() {
    let project = Project::new(
        "name: shop\nservices:\n  a:\n    comand: [x]\n  b:\n    command: [y]\n    scale: many\n",
    );
    for command in ["check", "config", "up", "plan"] {
        let done = project.run(&[command]).ends_with(2);
        assert!(done.err.contains("atoll.yaml:4:5") && done.err.contains("`command`"), "{}", done.err);
        assert!(done.err.contains("atoll.yaml:7:"), "{}", done.err);
        assert!(!done.err.contains('\u{1b}') && done.out.is_empty());
    }
    let done = project.run(&["check", "--format", "json"]).ends_with(2);
    let findings = done.json();
    let lines: Vec<_> = findings.as_array().unwrap().iter().map(|finding| finding["line"].as_u64()).collect();
    assert!(lines.contains(&Some(4)) && lines.contains(&Some(7)), "{findings}");
}

#[test]
fn the_linter_fails_a_check_on_an_error_and_on_warnings_only_when_strict() {
    let circle = "name: s\nservices:\n  a: { command: [x], healthcheck: { tcp: true }, calls: { b: { timeout: 1s } } }\n  \
                  b: { command: [y], healthcheck: { tcp: true }, calls: { a: { timeout: 1s } } }\n";
    assert!(Project::new(circle).run(&["check"]).ends_with(1).out.contains("error[A04"));
    let unchecked = SHOP.replace("    healthcheck: { tcp: true }\n", "");
    let project = Project::new(&unchecked);
    assert!(project.run(&["check"]).ends_with(0).out.contains("warning[A04"));
    project.run(&["check", "--strict"]).ends_with(1);
}

#[test]
fn config_prints_what_it_understood_and_that_reads_back_the_same() {
    let project = Project::new(SHOP);
    assert_eq!(project.run(&["config", "--services"]).ends_with(0).out, "catalog\norders\n");
    assert_eq!(project.run(&["config", "-q"]).ends_with(0).out, "");
    let once = project.run(&["config"]).ends_with(0).out;
    let again = project.write("again.yaml", &once);
    assert_eq!(project.run(&["-f", again.to_str().unwrap(), "config"]).ends_with(0).out, once);
    let json = project.run(&["config", "--format", "json"]).ends_with(0).json();
    assert_eq!(json["services"]["orders"]["command"][0], "bin/orders");
}

#[test]
fn the_app_is_found_by_flag_by_argument_and_upwards() {
    let project = Project::empty();
    project.write("shop/atoll.yaml", SHOP);
    project.write("shop/deep/er/file", "");
    let path = project.path().join("shop/atoll.yaml");
    let full = path.to_str().unwrap();
    for arguments in [
        &["config", "./shop", "--services"] as &[&str],
        &["-f", "shop", "config", "--services"],
        &["config", "-f", "shop/atoll.yaml", "--services"],
        &["config", full, "--services"],
        &["config", "shop/deep/er", "--services"],
    ] {
        assert_eq!(project.run(arguments).ends_with(0).out, "catalog\norders\n", "{arguments:?}");
    }
    let done = project.run(&["check", "./nowhere"]).ends_with(2);
    assert!(done.err.starts_with("error[A0804]: cannot find `./nowhere`"), "{}", done.err);
}

#[test]
fn a_plan_of_what_does_not_run_starts_everything() {
    let project = Project::new(SHOP);
    let done = project.run(&["plan"]).ends_with(0);
    assert!(
        done.out.ends_with(
            "+ start catalog (catalog-1)\n+ start orders (orders-1, orders-2)\n2 services to start\n"
        ),
        "{}",
        done.out
    );
    project.run(&["plan", "--detailed-exitcode"]).ends_with(2);
    let json = project.run(&["plan", "catalog", "--format", "json"]).ends_with(0).json();
    assert_eq!(
        (json["running"].as_bool(), json["plan"]["changes"].as_array().unwrap().len()),
        (Some(false), 1)
    );
    assert!(!project.path().join(".atoll").exists(), "a plan writes nothing");
}

#[test]
fn a_service_that_is_not_there_is_told_with_the_nearest_name() {
    for arguments in [&["up", "catalgo"] as &[&str], &["plan", "catalgo"], &["up", "--scale", "catalgo=2"]] {
        let done = Project::new(SHOP).run(arguments).ends_with(2);
        assert!(done.err.contains("did you mean `catalog`?"), "{}", done.err);
    }
}

#[test]
fn commands_about_what_runs_say_that_nothing_does() {
    let project = Project::new(SHOP);
    for command in ["ps", "logs", "restart", "wait", "events", "top", "routes"] {
        let done = project.run(&[command]).ends_with(1);
        assert!(done.err.starts_with("error[A0801]: nothing runs for"), "{command}: {}", done.err);
        assert!(done.err.contains("  hint: start it with `atoll up -d`\n"), "{command}: {}", done.err);
        assert_eq!(done.out, "", "{command}");
    }
    project.run(&["scale", "catalog=2"]).ends_with(1);
    assert_eq!(project.run(&["down"]).ends_with(0).out, "nothing runs here\n");
}

#[test]
fn the_schema_is_a_json_schema() {
    let schema = Project::empty().run(&["schema"]).ends_with(0).json();
    assert!(schema["$schema"].as_str().unwrap().contains("json-schema.org"));
    assert!(schema["properties"]["services"].is_object());
}

#[test]
fn every_error_can_be_explained() {
    let project = Project::empty();
    let list = project.run(&["explain"]).ends_with(0).out;
    assert!(list.lines().any(|line| line == "A0801  nothing runs here"), "{list}");
    assert!(
        project.run(&["explain", "error[A0801]"]).ends_with(0).out.starts_with("A0801: nothing runs here\n")
    );
    let done = project.run(&["explain", "A9999"]).ends_with(2);
    assert!(done.err.starts_with("error[A0810]: there is no error `A9999`"), "{}", done.err);
}

#[test]
fn init_writes_a_file_that_checks_and_never_overwrites() {
    let project = Project::empty();
    project.write("Procfile", "web: bin/web $PORT\nworker: bin/work\n");
    project.run(&["init"]).ends_with(0);
    project.run(&["check"]).ends_with(0);
    assert_eq!(project.run(&["config", "--services"]).ends_with(0).out, "web\nworker\n");
    assert!(project.run(&["init"]).ends_with(1).err.starts_with("error[A0809]"));
    let compose = Project::empty();
    compose.write("compose.yaml", "services: {}\n");
    assert!(compose.run(&["init"]).ends_with(0).out.contains("works as it is"));
    assert!(!compose.path().join("atoll.yaml").exists());
}

#[test]
fn completions_are_made_for_the_usual_shells() {
    for shell in ["bash", "zsh", "fish"] {
        let script = Project::empty().run(&["completion", shell]).ends_with(0).out;
        assert!(script.contains("atoll") && script.contains("restart"), "{shell}");
        assert!(!script.contains("__node"), "{shell}");
    }
}

#[test]
fn the_doctor_looks_at_the_machine_and_leaves_no_trace() {
    let project = Project::empty();
    let done = project.run(&["doctor"]);
    assert!(matches!(done.status, Some(0 | 1)));
    for check in
        ["kernel", "pidfd", "cgroups", "user namespaces", "ulimit -n", "port 8080", "disk sync", "inotify"]
    {
        assert!(
            done.out.lines().any(|line| line.get(4..).is_some() && line.contains(check)),
            "{check}: {}",
            done.out
        );
    }
    let checks = project.run(&["doctor", "--format", "json"]).json();
    assert!(checks.as_array().unwrap().iter().all(|check| check["outcome"].is_string()));
    assert_eq!(std::fs::read_dir(project.path()).unwrap().count(), 0);
}

#[test]
fn what_was_acknowledged_on_this_disk_is_there_after_a_kill_and_a_lie_is_found() {
    let left = |project: &Project| {
        let names = std::fs::read_dir(project.path()).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().starts_with(".atoll-verify-")).count()
    };
    for engine in ["fjall", "redb"] {
        let project = Project::new(SHOP);
        let told = project
            .run(&["verify", "durability", "--for", "1s", "--engine", engine, "--format", "json"])
            .ends_with(0)
            .json();
        let count = |what: &str, which: &str| told[what][which].as_u64().unwrap();
        assert!(told["kills"].as_u64().unwrap() > 0 && count("sends", "acknowledged") > 0, "{told}");
        assert_eq!((count("sends", "lost"), count("deletes", "came_back")), (0, 0), "{told}");
        assert_eq!(left(&project), 0, "it leaves nothing");
    }
    let project = Project::new(SHOP);
    let told = project.run(&["verify", "durability", "--for", "1s", "--lie"]).ends_with(1);
    assert!(told.err.contains("A0933") && told.out.contains("is gone"), "{} {}", told.out, told.err);
    assert_eq!(left(&project), 1, "it leaves what is to be looked at");
}

#[test]
fn a_wrong_command_line_ends_with_status_2() {
    let project = Project::new(SHOP);
    for arguments in [
        &["fly"] as &[&str],
        &["up", "--fly"],
        &["scale", "catalog"],
        &["scale"],
        &["up", "--scale", "catalog=many"],
        &["logs", "--since", "yesterday"],
        &["logs", "--tail", "some"],
        &["wait", "--timeout", "soon"],
        &[],
    ] {
        let done = project.run(arguments).ends_with(2);
        assert!(!done.err.is_empty() && done.out.is_empty(), "{arguments:?}");
    }
}

#[test]
fn colours_are_for_terminals_and_for_those_who_ask() {
    let project = Project::new("name: shop\nservices: { a: { comand: [x] } }\n");
    assert!(!project.run(&["check"]).err.contains('\u{1b}'));
    let mut forced = project.command(&["check"]);
    forced.env("CLICOLOR_FORCE", "1");
    assert!(finish(forced).err.contains('\u{1b}'));
    let mut never = project.command(&["check"]);
    never.env("CLICOLOR_FORCE", "1").env("NO_COLOR", "1");
    assert!(!finish(never).err.contains('\u{1b}'));
}

#[test]
fn the_version_is_told_with_and_without_an_app() {
    let version = env!("CARGO_PKG_VERSION");
    let empty = Project::empty();
    assert_eq!(empty.run(&["version"]).ends_with(0).out, format!("atoll {version}\n"));
    assert_eq!(empty.run(&["--version"]).ends_with(0).out, format!("atoll {version}\n"));
    let json = Project::new(SHOP).run(&["version", "--format", "json"]).ends_with(0).json();
    assert_eq!((json["version"].as_str(), json["node"].is_null()), (Some(version), true));
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let project = Project::empty();
    let mut command = project.command(&["schema"]);
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn hostile_files_give_an_error_in_time() {
    let project = Project::empty();
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for n in 1..40 {
        let list = vec![format!("*a{}", n - 1); 9].join(", ");
        bomb.push_str(&format!("a{n}: &a{n} [{list}]\n"));
    }
    for text in [bomb.as_str(), &"[".repeat(100_000), "services: {a: {command: x}}\nservices: {}\n", "\u{0}"]
    {
        project.write("atoll.yaml", text);
        let began = std::time::Instant::now();
        let done = project.run(&["check"]).ends_with(2);
        assert!(done.err.starts_with("error[A0"), "{}", done.err);
        assert!(began.elapsed() < std::time::Duration::from_secs(5));
    }
}
