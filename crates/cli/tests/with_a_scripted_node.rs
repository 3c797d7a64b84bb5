//! What `atoll` makes of the admin API, against a node that plays a script.

#![allow(clippy::unwrap_used)] // a test may

mod support;

use std::io::{BufRead, BufReader};

use api::{Action, BreakerState, Change, Level, Phase, Plan, ServiceState};
use support::scripted::{PLAYED, Script, ScriptedNode, guard, happened, said, status};
use support::terminal::Terminal;
use support::{Project, Running, eventually, finish};

const SHOP: &str =
    "name: shop\nservices:\n  catalog: { command: [bin/catalog] }\n  orders: { command: [bin/orders] }\n";

fn ready() -> api::Status {
    status(Phase::Ready, &[("catalog", ServiceState::Ready, ""), ("orders", ServiceState::Ready, "")])
}

fn starting() -> api::Status {
    let services =
        [("catalog", ServiceState::Ready, ""), ("orders", ServiceState::Waiting, "waits for catalog")];
    status(Phase::Starting, &services)
}

fn project(script: Script) -> (Project, ScriptedNode) {
    let project = Project::new(SHOP);
    let node = ScriptedNode::start(&project.path().join(".atoll/shop"), script);
    (project, node)
}

fn started() -> Plan {
    let why = vec!["command".to_owned()];
    let change = Change {
        action: Action::Replace,
        service: "catalog".into(),
        instances: vec!["catalog-1".into()],
        why,
    };
    Plan { changes: vec![change], unchanged: 1 }
}

/// Until all streams that `up` follows are open; the one with output is the last.
fn until_followed(node: &ScriptedNode) {
    eventually("the last stream", || node.asked().iter().any(|a| a.contains("/v1/logs")).then_some(()));
}

#[test]
fn ps_shows_instances_and_why_services_have_none() {
    let (project, _node) = project(Script::new(vec![starting()]));
    let table = project.run(&["ps"]).ends_with(0).out;
    assert!(table.starts_with("NAME       SERVICE  STATE    PID  ADDRESS"), "{table}");
    assert!(table.contains("catalog-1  catalog  ready     77  127.0.0.1:30001"), "{table}");
    assert!(table.contains("waits for catalog") && !table.contains('\u{1b}'), "{table}");
    assert_eq!(project.run(&["ps", "-q"]).ends_with(0).out, "catalog-1\n");
    assert_eq!(project.run(&["ps", "--services", "orders"]).ends_with(0).out, "orders\n");
    let json: api::Status = serde_json::from_str(&project.run(&["ps", "--format", "json"]).out).unwrap();
    assert_eq!(json, starting());
    assert!(project.run(&["ps", "ordres"]).ends_with(2).err.contains("did you mean `orders`?"));
}

#[test]
fn a_breaker_is_seen_found_by_a_part_of_its_name_and_held() {
    let mut script = Script::new(vec![ready()]);
    script.guards = vec![
        guard("GET /books", "catalog", BreakerState::Closed),
        guard("orders -> payments", "payments", BreakerState::Open),
    ];
    script.statuses[0].guards.clone_from(&script.guards);
    let (project, node) = project(script);
    let table = project.run(&["breaker"]).ends_with(0).out;
    assert!(table.starts_with("ROUTE               SERVICE   STATE "), "{table}");
    assert_eq!(table.lines().count(), 3);
    let done = project.run(&["breaker", "open", "orders", "payments"]).ends_with(0);
    assert!(done.out.contains("`orders -> payments` is held open"), "{}", done.out);
    let asked = r#"POST /v1/breakers {"route":"orders -> payments","order":"open"}"#.to_owned();
    assert!(node.asked().contains(&asked), "{:?}", node.asked());
    let json = project.run(&["breaker", "--format", "json", "catalog"]).ends_with(0).out;
    let guards: Vec<api::Guard> = serde_json::from_str(&json).unwrap();
    assert_eq!(guards, [guard("GET /books", "catalog", BreakerState::Closed)]);
    let unknown = project.run(&["breaker", "close", "GET", "/boks"]).ends_with(2).err;
    assert!(unknown.contains("error[A0817]") && unknown.contains("did you mean `GET /books`?"), "{unknown}");
    let ps = project.run(&["ps"]).ends_with(0).out;
    assert!(ps.contains("\n\n! breaker orders -> payments is open for "), "{ps}");
}

#[test]
fn what_runs_can_be_seen_and_stopped_while_its_file_is_being_edited() {
    let (project, node) = project(Script::new(vec![ready()]));
    project.write("atoll.yaml", "services: [");
    let done = project.run(&["ps", "-q"]).ends_with(0);
    assert_eq!(done.out, "catalog-1\norders-1\n");
    assert!(done.err.starts_with("note: the application file cannot be used now"), "{}", done.err);
    project.run(&["down"]).ends_with(0);
    assert!(node.is_stopped());
}

#[test]
fn log_lines_are_cleaned_aligned_and_asked_for_as_the_flags_say() {
    let mut script = Script::new(vec![ready()]);
    script.logs = vec![said("catalog-1", "\u{1b}[2Jone"), said("orders-1", "\u{1b}[31mtwo\u{7}")];
    let (project, node) = project(script);
    let text = project.run(&["logs", "-n", "5", "catalog", "orders"]).ends_with(0).out;
    assert_eq!(text, "catalog-1 | one\norders-1  | two\n");
    assert!(node.asked().contains(&"GET /v1/logs?follow=false&tail=5&service=catalog,orders".to_owned()));
    let text = project.run(&["logs", "--no-log-prefix", "-t"]).ends_with(0).out;
    assert_eq!(text, "2001-09-09T01:46:40.000000Z one\n2001-09-09T01:46:40.000000Z two\n");
    let json = project.run(&["logs", "--format", "json"]).ends_with(0).out;
    let first: api::LogLine = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert_eq!(first, said("catalog-1", "\u{1b}[2Jone"));
}

#[test]
fn following_logs_ends_with_the_app_or_with_ctrl_c() {
    let mut script = Script::new(vec![ready()]);
    script.logs = vec![said("catalog-1", "one")];
    let (project, node) = project(script);
    let mut logs = project.start(&["logs", "-f"]);
    // What was read before the signal came is printed; what was not, need not be.
    let mut out = BufReader::new(logs.take_stdout());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "catalog-1 | one\n");
    logs.signal("INT");
    logs.finish().ends_with(0);
    let logs = project.start(&["logs", "-f"]);
    let followed = || node.asked().iter().filter(|asked| asked.contains("/v1/logs")).count();
    eventually("the request", || (followed() == 2).then_some(()));
    drop(node);
    logs.finish().ends_with(0);
}

#[test]
fn logs_of_what_the_app_does_not_have_are_refused() {
    let mut script = Script::new(vec![ready()]);
    script.logs = vec![said("catalog-1", "one"), said("gateway", "200 GET /")];
    let (project, _node) = project(script);
    let refused = project.run(&["logs", "catalgo"]).ends_with(2).err;
    assert!(refused.starts_with("error[A0805]: the app has no service `catalgo`"), "{refused}");
    // An instance that is gone still has its log; the gateway has one too.
    project.run(&["logs", "catalog-7", "gateway"]).ends_with(0);
}

#[test]
fn events_are_filtered_by_what_they_are_about() {
    let mut script = Script::new(vec![ready()]);
    script.events = vec![
        happened(1, Level::Info, "catalog-1", "catalog-1 started"),
        happened(2, Level::Error, "orders-1", "exited with status 3"),
    ];
    let (project, _node) = project(script);
    let text = project.run(&["events", "orders"]).ends_with(0).out;
    assert!(text.ends_with("✗ orders-1: exited with status 3\n") && text.lines().count() == 1, "{text}");
    assert_eq!(project.run(&["events", "--format", "json"]).ends_with(0).out.lines().count(), 2);
    assert_eq!(project.run(&["events", "--since", "1m"]).ends_with(0).out, "");
}

#[test]
fn wait_returns_when_all_is_ready_and_fails_when_something_has() {
    let (ready_project, _ready) = project(Script::new(vec![starting(), ready()]));
    assert_eq!(ready_project.run(&["wait"]).ends_with(0).out, "shop is ready\n");
    let (slow_project, _slow) = project(Script::new(vec![starting()]));
    assert_eq!(slow_project.run(&["wait", "catalog"]).ends_with(0).out, "ready: catalog\n");
    let late = slow_project.run(&["wait", "--timeout", "1"]).ends_with(1).err;
    assert!(late.starts_with("error[A0807]: not ready within 1.00 s: orders (waits for catalog)"), "{late}");
    let failed = status(Phase::Degraded, &[("orders", ServiceState::Failed, "exit status 3, 5 times")]);
    let (failed_project, _failed) = project(Script::new(vec![failed]));
    let failed = failed_project.run(&["wait"]).ends_with(1).err;
    assert!(failed.starts_with("error[A0808]: failed: orders (exit status 3, 5 times)"), "{failed}");
}

#[test]
fn restart_and_scale_ask_for_what_was_written() {
    let mut script = Script::new(vec![ready()]);
    script.plan = started();
    let (project, node) = project(script);
    let done = project.run(&["restart", "catalog"]).ends_with(0);
    assert_eq!(done.out, "restarted 2 instances: catalog-1, catalog-2\n");
    let done = project.run(&["scale", "catalog=3", "orders=0"]).ends_with(0);
    assert!(done.out.starts_with("~ replace catalog (catalog-1): command\n"), "{}", done.out);
    let asked = node.asked();
    assert!(asked.contains(&r#"POST /v1/restart {"targets":["catalog"]}"#.to_owned()), "{asked:?}");
    assert!(
        asked.contains(&r#"POST /v1/scale {"replicas":{"catalog":3,"orders":0}}"#.to_owned()),
        "{asked:?}"
    );
}

#[test]
fn top_and_routes_are_tables_and_json() {
    let (project, _node) = project(Script::new(vec![ready()]));
    let top = project.run(&["top", "--once"]).ends_with(0).out;
    assert!(top.starts_with("NAME       CPU %    MEMORY") && top.contains("(atoll)"), "{top}");
    let usage: api::Usage = serde_json::from_str(&project.run(&["top", "--format", "json"]).out).unwrap();
    assert_eq!(usage.node.requests, 7);
    let routes = project.run(&["routes"]).ends_with(0).out;
    assert!(routes.contains("gateway   127.0.0.1:8080  GET /books  catalog       1s"), "{routes}");
    let routes: Vec<api::Route> =
        serde_json::from_str(&project.run(&["routes", "--format", "json"]).out).unwrap();
    assert_eq!(routes.len(), 1);
}

#[test]
fn down_stops_and_says_how_long_it_took() {
    let (project, node) = project(Script::new(vec![ready()]));
    let done = project.run(&["down", "--timeout", "7"]).ends_with(0);
    assert!(done.out.contains("shop stopped (2 instances) in "), "{}", done.out);
    assert!(node.asked().contains(&r#"POST /v1/stop {"timeout_s":7}"#.to_owned()));
}

#[test]
fn up_on_what_runs_applies_the_difference_and_leaves_it_running() {
    let mut script = Script::new(vec![starting(), ready()]);
    script.plan = started();
    script.events = vec![
        happened(1, Level::Info, "catalog-1", "long ago"),
        happened(2, Level::Info, "orders-1", "orders-1 is ready"),
    ];
    script.logs = vec![said("catalog-1", "listening")];
    let (project, node) = project(script);
    let up = project.start(&["up", "--scale", "catalog=2"]);
    until_followed(&node);
    up.signal("INT");
    let done = up.finish().ends_with(0);
    assert!(
        done.out
            .starts_with("~ replace catalog (catalog-1): command\n1 service to replace, 1 instance stays\n")
    );
    assert!(!done.out.contains("long ago"), "only what is new: {}", done.out);
    assert_eq!(done.err, "shop goes on; `atoll down` stops it\n");
    assert!(!node.is_stopped());
    let asked = node.asked();
    let apply = asked.iter().find_map(|asked| asked.strip_prefix("PUT /v1/app ")).unwrap();
    let apply: api::Apply = serde_json::from_str(apply).unwrap();
    assert!(apply.file.contains("bin/catalog") && apply.scale["catalog"] == 2);
}

#[test]
fn up_detached_on_what_runs_returns_at_once_or_when_ready() {
    let (project, _node) = project(Script::new(vec![starting(), ready()]));
    let done = project.run(&["up", "-d"]).ends_with(0);
    assert!(done.out.contains("nothing to change") && done.out.contains("gateway  http://127.0.0.1:8080"));
    let done = project.run(&["up", "--wait"]).ends_with(0);
    assert!(done.out.contains("✓ shop is ready in "), "{}", done.out);
}

#[test]
fn a_refusal_is_shown_with_its_code_and_hint() {
    let mut script = Script::new(vec![ready()]);
    script.refusal = Some(serde_json::json!({ "status": 409, "title": "port 8080 is taken", "code": "A0610",
                                              "detail": "node.yaml:1:1: \u{1b}[2Jfault", "hint": "use `--isolated`" }));
    let (project, _node) = project(script);
    let done = project.run(&["up", "-d"]).ends_with(1);
    let told = "error[A0610]: port 8080 is taken\n  hint: use `--isolated`\nnode.yaml:1:1: fault\n";
    assert_eq!(done.err, told);
}

#[test]
fn on_a_terminal_the_board_gives_way_to_logs() {
    let mut script = Script::new(vec![starting(), ready()]);
    script.pace = std::time::Duration::from_millis(300);
    script.logs = vec![said("catalog-1", "listening \u{1b}]0;title\u{7}now")];
    let (project, _node) = project(script);
    let terminal = Terminal::new();
    let mut command = project.command(&["up"]);
    terminal.attach(&mut command);
    let up = Running::of(command.spawn().unwrap());
    terminal.wait_for("starts · 1/2");
    terminal.wait_for("is ready in");
    terminal.wait_for("listening now");
    up.signal("INT");
    up.finish().ends_with(0);
    terminal.wait_for("goes on; `atoll down` stops it");
    let seen = terminal.seen();
    assert!(!seen.contains("\u{1b}]0;"), "no title is set: {seen:?}");
    let (board, log) = (seen.find("waits for catalog").unwrap(), seen.find("listening now").unwrap());
    assert!(board < log);
}

#[test]
fn an_app_that_is_stopped_from_elsewhere_ends_up_without_an_error() {
    let mut stopping = ready();
    stopping.phase = Phase::Stopping;
    let (project, node) = project(Script::new(vec![ready(), stopping]));
    let up = project.start(&["up"]);
    eventually("the last status", || node.asked().iter().any(|a| a == PLAYED).then_some(()));
    until_followed(&node);
    drop(node);
    let done = up.finish().ends_with(0);
    assert!(done.out.contains("shop stopped"), "{}", done.out);
}

#[test]
fn a_node_that_is_gone_at_once_is_told() {
    let (project, node) = project(Script::new(vec![ready()]));
    let up = project.start(&["up"]);
    until_followed(&node);
    drop(node);
    assert!(up.finish().ends_with(1).err.contains("error[A0813]: the node of `shop` ended"));
}

#[test]
fn the_state_directory_of_a_flag_wins_over_the_environment() {
    let (project, _node) = project(Script::new(vec![ready()]));
    for arguments in [["--state-dir", ".atoll/shop", "ps", "-q"], ["ps", "-q", "--state-dir", ".atoll/shop"]]
    {
        let mut command = project.command(&arguments);
        command.env("ATOLL_STATE_DIR", "/nowhere");
        assert_eq!(finish(command).ends_with(0).out, "catalog-1\norders-1\n");
    }
    let mut command = project.command(&["ps"]);
    command.env("ATOLL_STATE_DIR", "/nowhere");
    assert!(finish(command).ends_with(1).err.contains("nothing runs for `/nowhere`"));
}

#[test]
fn when_nobody_reads_any_more_up_leaves() {
    let mut script = Script::new(vec![ready()]);
    script.logs = vec![said("catalog-1", &"x".repeat(100)); 20_000];
    let (project, _node) = project(script);
    let mut up = project.start(&["up"]);
    let mut out = up.take_stdout();
    std::io::Read::read_exact(&mut out, &mut [0; 100]).unwrap();
    drop(out);
    up.finish().ends_with(0);
}

#[test]
fn a_reader_that_stalls_does_not_keep_signals_away() {
    let mut script = Script::new(vec![ready()]);
    script.logs = vec![said("catalog-1", &"x".repeat(100)); 20_000];
    let (project, node) = project(script);
    let mut up = project.start(&["up"]);
    let _unread = up.take_stdout();
    until_followed(&node);
    up.signal("TERM");
    up.finish().ends_with(0);
}
