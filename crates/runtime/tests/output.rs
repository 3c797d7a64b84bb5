//! What instances write: kept, bounded, and never in their way.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests, though not every function is marked as one

mod common;

use std::time::{Duration, Instant};

use common::{Rig, lines_of, machine, skip, wait_for_log};
use kit::units::Bytes;
use manifest::spec::Logging;
use runtime::logs::{Query, Reader, Stream};
use runtime::{Driver, Event, Exit};

#[tokio::test]
async fn both_streams_are_kept_line_by_line_with_time_and_origin() {
    let mut rig = Rig::start().await;
    let script = "echo out; echo err >&2; printf 'a\\0b\\377c\\n\\nlast'";
    rig.run(rig.shell("a-1#1", script)).await;
    rig.run(rig.shell("a-1#2", "echo second run")).await;
    wait_for_log(&rig.dir, "a-1", "second run").await;
    let lines = Reader::new(rig.dir.join("logs")).read(&Query::of("a-1")).unwrap();
    let mut out: Vec<&str> = Vec::new();
    for line in &lines {
        assert_eq!((line.stream == Stream::Err, line.continues), (line.text == "err", false));
        if line.stream == Stream::Out {
            out.push(&line.text);
        }
    }
    assert_eq!(out, ["out", "a\0b\u{fffd}c", "", "last", "second run"]);
    rig.end().await;
}

#[tokio::test]
async fn a_very_long_line_is_kept_in_parts() {
    let mut rig = Rig::start().await;
    rig.run(rig.shell("a-1#1", "head -c 40000 /dev/zero | tr '\\0' x; echo; echo end")).await;
    wait_for_log(&rig.dir, "a-1", "end").await;
    let lines = Reader::new(rig.dir.join("logs")).read(&Query::of("a-1")).unwrap();
    let shape: Vec<(usize, bool)> = lines.iter().map(|line| (line.text.len(), line.continues)).collect();
    assert_eq!(shape, [(16384, true), (16384, true), (7232, false), (3, false)]);
    rig.end().await;
}

#[tokio::test]
async fn a_flood_is_kept_whole_and_in_order_within_its_bound() {
    let mut rig = Rig::start().await;
    let mut launch = rig.shell("a-1#1", "seq 1 300000");
    launch.logging = Logging { max_size: Bytes(1 << 20), max_files: 4 };
    let began = Instant::now();
    assert_eq!(rig.run(launch).await.0, Exit::Code(0));
    println!("300,000 lines in {:?}", began.elapsed());
    wait_for_log(&rig.dir, "a-1", "300000").await;
    let lines = lines_of(&rig.dir, "a-1");
    let first: usize = lines[0].parse().unwrap();
    assert!(
        lines.iter().map(|line| line.parse::<usize>().unwrap()).eq(first..=300_000),
        "no gap, no repetition"
    );
    let files: Vec<_> = std::fs::read_dir(rig.dir.join("logs")).unwrap().flatten().collect();
    assert_eq!(files.len(), 4);
    assert!(files.iter().all(|file| file.metadata().unwrap().len() <= 1 << 20));
    rig.end().await;
}

#[tokio::test]
async fn what_a_check_writes_is_told_and_not_kept() {
    let mut rig = Rig::start().await;
    let (exit, lines) = rig.run(rig.shell("a-1.check#1", "echo not ready; exit 1")).await;
    assert_eq!((exit, lines), (Exit::Code(1), vec!["not ready".to_owned()]));
    let (_, lines) = rig.run(rig.shell("a.prepare#1", "echo prepared")).await;
    assert_eq!(lines, ["prepared"]);
    wait_for_log(&rig.dir, "a.prepare", "prepared").await;
    assert_eq!(lines_of(&rig.dir, "a-1.check"), Vec::<String>::new());
    rig.end().await;
}

#[tokio::test]
async fn a_full_disk_costs_counted_lines_and_nothing_else() {
    let prelude = "mount -t tmpfs -o size=64k tmpfs $D/logs && head -c 60000 /dev/zero > $D/logs/ballast";
    let Some(mut rig) = Rig::start_after(prelude).await else { return };
    let script =
        "seq 1 5000; echo written >&2; while [ ! -e $0.go ]; do sleep 0.01; done; echo after; sleep 1000";
    let flag = rig.dir.join("flag");
    let mut launch = common::launch("a-1#1", &["sh", "-c", script, flag.to_str().unwrap()]);
    launch.environment.insert("TOKEN".into(), rig.token.clone());
    rig.driver.start(launch).await.unwrap();
    let Event::Notice { code, message, .. } = rig.event().await else { panic!("another event") };
    assert_eq!(code, "A0507");
    assert!(message.contains("the log of a-1: no space left on device"), "{message}");
    // The file system is the keeper's own: look through its eyes.
    let logs = format!("/proc/{}/root{}/logs", rig.driver.keeper_pid(), rig.dir.display());
    std::fs::remove_file(format!("{logs}/ballast")).unwrap();
    std::fs::write(rig.dir.join("flag.go"), "").unwrap();
    let read = || {
        let lines = Reader::new(&logs).read(&Query::of("a-1")).unwrap();
        lines.into_iter().map(|line| (line.stream, line.text)).collect::<Vec<_>>()
    };
    machine::wait_until("it goes on", || read().iter().any(|(_, text)| text == "after")).await;
    let lines = read();
    let remark = lines.iter().find(|(stream, _)| *stream == Stream::Atoll).unwrap();
    let words: Vec<&str> = remark.1.split(' ').collect();
    assert_eq!(
        [&words[..1], &words[2..]].concat().join(" "),
        "[atoll] lines dropped: no space left on device"
    );
    let dropped: usize = words[1].parse().unwrap();
    let kept = lines.iter().filter(|(stream, _)| *stream != Stream::Atoll).count();
    assert_eq!(kept + dropped, 5002, "every line is kept or counted");
    rig.end().await;
}

#[tokio::test]
async fn a_disk_that_hangs_holds_up_nobody() {
    let mut rig = Rig::start().await;
    let scribe = machine::children(rig.driver.keeper_pid());
    let [scribe] = scribe[..] else { panic!("{scribe:?}") };
    machine::signal(scribe, rustix::process::Signal::STOP); // as if it waited for the disk
    let began = Instant::now();
    let (exit, lines) = rig.run(rig.shell("a-1#1", "seq 1 400000")).await;
    assert_eq!((exit, lines.last().map(String::as_str)), (Exit::Code(0), Some("400000")));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    machine::signal(scribe, rustix::process::Signal::CONT);
    let remark = "lines dropped: the disk did not keep up";
    machine::wait_until("it says so", || lines_of(&rig.dir, "a-1").iter().any(|line| line.ends_with(remark)))
        .await;
    rig.run(rig.shell("a-1#2", "echo again")).await;
    wait_for_log(&rig.dir, "a-1", "again").await;
    rig.end().await;
}

#[tokio::test]
async fn a_killed_scribe_is_replaced() {
    let mut rig = Rig::start().await;
    let script = "echo one; while [ ! -e $0.go ]; do sleep 0.01; done; echo two; sleep 1000";
    let flag = rig.dir.join("flag");
    let mut launch = common::launch("a-1#1", &["sh", "-c", script, flag.to_str().unwrap()]);
    launch.environment.insert("TOKEN".into(), rig.token.clone());
    let keeper = rig.driver.keeper_pid();
    let scribe = machine::children(keeper)[0];
    rig.driver.start(launch).await.unwrap();
    wait_for_log(&rig.dir, "a-1", "one").await;
    machine::kill(scribe);
    machine::wait_until("another scribe", || {
        let children = machine::children(keeper);
        children.iter().any(|&pid| pid != scribe && machine::name(pid) == "atoll-scribe")
    })
    .await;
    std::fs::write(rig.dir.join("flag.go"), "").unwrap();
    wait_for_log(&rig.dir, "a-1", "two").await;
    rig.run(rig.shell("b-1#1", "echo three")).await;
    wait_for_log(&rig.dir, "b-1", "three").await;
    rig.end().await;
}

#[tokio::test]
async fn a_follower_sees_lines_of_every_run_as_they_come() {
    let mut rig = Rig::start().await;
    let mut follow = Reader::new(rig.dir.join("logs")).follow(Query::all()).unwrap();
    rig.run(rig.shell("a-1#1", "echo one")).await;
    rig.run(rig.shell("b-1#1", "echo two")).await;
    rig.run(rig.shell("a-1#2", "echo three")).await;
    let mut seen = Vec::new();
    while seen.len() < 3 {
        let line = tokio::time::timeout(common::LIMIT, follow.next()).await.unwrap().unwrap();
        seen.push(format!("{} {}", line.instance, line.text));
    }
    assert_eq!(seen, ["a-1 one", "b-1 two", "a-1 three"]);
    rig.end().await;
}

#[tokio::test]
async fn output_that_somebody_else_holds_open_does_not_keep_an_instance_alive() {
    if !rustix::process::geteuid().is_root() {
        return skip("needs root to open another process's output");
    }
    let mut rig = Rig::start().await;
    let main = rig.driver.start(rig.shell("a-1#1", "echo up; sleep 1000")).await.unwrap().pid;
    wait_for_log(&rig.dir, "a-1", "up").await;
    let held = std::fs::File::options().write(true).open(format!("/proc/{main}/fd/1")).unwrap();
    rig.stop("a-1#1", common::LIMIT).await;
    assert_eq!(rig.exit_of("a-1#1").await.0, Exit::Signal("SIGTERM".into()));
    drop(held);
    rig.end().await;
}
