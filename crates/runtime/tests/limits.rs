//! Limits of an instance as a whole, by cgroup.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests, though not every function is marked as one

mod common;

use std::time::Duration;

use common::{Rig, machine, skip};
use kit::units::Bytes;
use runtime::{Driver, Event, Exit};

/// Whether this machine lets us limit; prints why not.
fn can_limit() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skip("needs root for cgroups");
    }
    root
}

#[tokio::test]
async fn who_takes_too_much_memory_is_killed_and_that_is_what_is_told() {
    if !can_limit() {
        return;
    }
    let mut rig = Rig::start().await;
    let mut launch = rig.shell("mem-1#1", "x=x; while :; do x=$x$x; done");
    launch.limits.memory = Some(Bytes(16 << 20));
    assert_eq!(rig.run(launch).await.0, Exit::OutOfMemory);
    let mut launch = rig.shell("mem-1#2", "exit 0");
    launch.limits.memory = Some(Bytes(16 << 20));
    assert_eq!(rig.run(launch).await.0, Exit::Code(0));
    rig.end().await;
}

#[tokio::test]
async fn who_starts_too_many_processes_is_refused_more() {
    if !can_limit() {
        return;
    }
    let mut rig = Rig::start().await;
    let script = "i=0; while [ $i -lt 30 ]; do sleep 1000 & i=$((i+1)); done; echo all started";
    let mut launch = rig.shell("pids-1#1", script);
    launch.limits.pids = Some(10);
    let (exit, lines) = rig.run(launch).await;
    assert!(!exit.is_success() && !lines.contains(&"all started".to_owned()), "{exit:?} {lines:?}");
    rig.end().await;
}

#[tokio::test]
async fn cpu_time_is_shared_out() {
    if !can_limit() {
        return;
    }
    let rig = Rig::start().await;
    let mut launch = rig.shell("cpu-1#1", "while :; do :; done");
    launch.limits.cpus = Some(0.1);
    rig.driver.start(launch).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let usage = rig.driver.usage().await;
    assert!(usage[0].cpu < Duration::from_millis(400), "{usage:?}");
    rig.end().await;
}

#[tokio::test]
async fn a_machine_without_cgroups_is_told_of_once_and_only_where_limits_are_asked_for() {
    let Some(mut rig) = Rig::start_without_cgroups().await else { return };
    rig.driver.start(rig.shell("a-1#1", "sleep 1000")).await.unwrap();
    for n in 2..=4 {
        let mut launch = rig.shell(&format!("a-{n}#1"), "sleep 1000");
        launch.limits.memory = Some(Bytes(1 << 30));
        rig.driver.start(launch).await.unwrap();
    }
    rig.stop("a-1#1", common::LIMIT).await;
    let Event::Notice { code, message, .. } = rig.event().await else { panic!("another event") };
    assert_eq!(code, "A0505");
    assert!(message.starts_with("limits of memory are not enforced"), "{message}");
    assert!(matches!(rig.event().await, Event::Exited { .. }), "once");
    rig.end().await;
}

#[tokio::test]
async fn no_cgroup_is_left_behind() {
    if !can_limit() {
        return;
    }
    let mut rig = Rig::start().await;
    let mut launch = rig.shell("a-1#1", "echo up; sleep 1000");
    launch.limits.memory = Some(Bytes(64 << 20));
    launch.limits.pids = Some(50);
    let main = rig.driver.start(launch).await.unwrap().pid;
    common::wait_for_log(&rig.dir, "a-1", "up").await;
    let own = machine::groups_of(main);
    assert!(own.iter().any(|path| path.contains("/atoll-")), "{own:?}");
    let base = own.iter().find_map(|path| path.split("/atoll-").nth(1)).unwrap();
    let base = format!("atoll-{}", base.split('/').next().unwrap());
    machine::kill(main);
    rig.exit_of("a-1#1").await;
    rig.driver.start(rig.shell("a-1#2", "sleep 1000")).await.unwrap();
    rig.end().await;
    machine::wait_until("no directory is left", || machine::directories_named(&base).is_empty()).await;
}

#[tokio::test]
async fn no_cgroup_is_left_behind_by_a_killed_keeper() {
    if !can_limit() {
        return;
    }
    let mut rig = Rig::start().await;
    let mut launch = rig.shell("a-1#1", "sleep 1000");
    launch.limits.memory = Some(Bytes(64 << 20));
    let main = rig.driver.start(launch).await.unwrap().pid;
    let own = machine::groups_of(main);
    let base = own.iter().find_map(|path| path.split("/atoll-").nth(1)).unwrap();
    let base = format!("atoll-{}", base.split('/').next().unwrap());
    machine::kill(rig.driver.keeper_pid());
    assert!(matches!(rig.event().await, Event::Failed(_)));
    machine::wait_until("no directory is left", || machine::directories_named(&base).is_empty()).await;
}
