//! Never two copies of one replica, and no orphan, ever.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests, though not every function is marked as one

mod common;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{LIMIT, Rig, machine, token_of};
use runtime::{Driver, Event, Exit, Lifetime};

/// A service with a child, and a grandchild that hides: a session of its own, no environment, and a parent
/// that has gone.
const FAMILY: &str = "sleep 1000 & (setsid env -i sh -c 'sleep 1000 & exec sleep 1000' $0 &); echo up; wait";

const NONE: [u32; 0] = [];

/// On this machine as it is, and without cgroups, where only parenthood helps.
async fn rigs() -> Vec<Rig> {
    [Some(Rig::start().await), Rig::start_without_cgroups().await].into_iter().flatten().collect()
}

/// Starts a family and waits until all of it lives.
async fn start_family(rig: &Rig, id: &str) -> u32 {
    let started = rig.driver.start(rig.shell(id, FAMILY)).await.unwrap();
    machine::wait_until("the family is there", || {
        let family = machine::descendants(machine::parent(started.pid).unwrap());
        family.iter().filter(|&&pid| machine::name(pid) == "sleep").count() == 3
    })
    .await;
    started.pid
}

/// All processes of the instance whose main process is `main`, hidden ones included.
fn family_of(main: u32) -> Vec<u32> {
    machine::descendants(machine::parent(main).unwrap())
}

async fn wait_until_none_of(pids: &[u32]) {
    machine::wait_until("the family is gone", || pids.iter().all(|&pid| !machine::is_living(pid))).await;
}

/// A node in a process of its own.
struct Node {
    process: Child,
    keeper: u32,
    /// What `recover` found, and what was started: instance and process.
    found: Vec<(String, u32)>,
    started: Vec<(String, u32)>,
}

impl Node {
    fn start(home: &Path, lifetime: &str, instances: &[&str]) -> Self {
        let mut process = Command::new(common::node_program())
            .arg(home.join("state"))
            .args([lifetime, &token_of(home)])
            .args(instances)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut node = Self { process, keeper: 0, found: Vec::new(), started: Vec::new() };
        for line in lines {
            let line = line.unwrap();
            let words: Vec<&str> = line.split(' ').collect();
            match words.as_slice() {
                ["ready"] => return node,
                ["keeper", pid] => node.keeper = pid.parse().unwrap(),
                ["found", id, pid] => node.found.push(((*id).to_owned(), pid.parse().unwrap())),
                [id, pid] => node.started.push(((*id).to_owned(), pid.parse().unwrap())),
                _ => panic!("{line}"),
            }
        }
        panic!("the node ended");
    }

    fn kill(self) {
        drop(self);
    }
}

impl Drop for Node {
    /// `kill -9`, also when a test fails: nothing may be left of it then either.
    fn drop(&mut self) {
        if std::thread::panicking() && self.keeper != 0 {
            machine::kill(self.keeper);
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn nothing_outlives_the_main_process() {
    for mut rig in rigs().await {
        let main = start_family(&rig, "a-1#1").await;
        let family = family_of(main);
        machine::kill(main);
        assert_eq!(rig.exit_of("a-1#1").await.0, Exit::Signal("SIGKILL".into()));
        assert!(family.iter().all(|&pid| !machine::is_living(pid)), "all are gone when the end is told");
        rig.end().await;
    }
}

#[tokio::test]
async fn a_program_that_puts_itself_into_the_background_is_not_left_there() {
    for mut rig in rigs().await {
        let script = "setsid env -i sh -c 'sleep 1000' $0 & exit 0";
        assert_eq!(rig.run(rig.shell("a-1#1", script)).await.0, Exit::Code(0));
        assert!(machine::living_with(&rig.token).is_empty());
        rig.end().await;
    }
}

#[tokio::test]
async fn who_forks_without_end_is_ended_all_the_same() {
    // Forty chains: each process forks its successor into a session of its own and ends.
    let chain = "sleep 0.05; setsid sh -c \"$CHAIN\" $0 & exit";
    let script = "trap '' TERM; i=0; while [ $i -lt 40 ]; do sh -c \"$CHAIN\" $0 & i=$((i+1)); done; echo up; wait; sleep 1000";
    for mut rig in rigs().await {
        let mut launch = rig.shell("a-1#1", script);
        launch.environment.insert("CHAIN".into(), chain.into());
        rig.driver.start(launch).await.unwrap();
        common::wait_for_log(&rig.dir, "a-1", "up").await;
        rig.stop("a-1#1", Duration::from_millis(200)).await;
        assert_eq!(machine::living_with(&rig.token), NONE, "nothing lives when a stop returns");
        assert_eq!(rig.exit_of("a-1#1").await.0, Exit::Signal("SIGKILL".into()));
        tokio::time::sleep(Duration::from_millis(200)).await; // time for a survivor to show
        assert_eq!(machine::living_with(&rig.token), NONE);
        rig.end().await;
    }
}

#[tokio::test]
async fn a_killed_warden_takes_its_instance_along_and_no_other() {
    for mut rig in rigs().await {
        let main = start_family(&rig, "a-1#1").await;
        let other = start_family(&rig, "b-1#1").await;
        let family = family_of(main);
        machine::kill(machine::parent(main).unwrap());
        assert_eq!(rig.exit_of("a-1#1").await.0, Exit::Unknown);
        assert!(family.iter().all(|&pid| !machine::is_living(pid)), "all are gone when the end is told");
        assert!(machine::is_living(other));
        rig.driver.start(rig.shell("a-1#2", "sleep 1000")).await.unwrap(); // the slot is free
        rig.end().await;
    }
}

#[tokio::test]
async fn nothing_outlives_a_killed_keeper_and_the_driver_says_so() {
    for mut rig in rigs().await {
        let family =
            [family_of(start_family(&rig, "a-1#1").await), family_of(start_family(&rig, "b-1#1").await)];
        machine::kill(rig.driver.keeper_pid());
        let Event::Failed(why) = rig.event().await else { panic!("another event") };
        assert!(why.contains("nothing that it ran lives any more"), "{why}");
        assert!(family.iter().flatten().all(|&pid| !machine::is_living(pid)), "all are gone when it is told");
        let error = rig.driver.start(rig.shell("a-1#2", "true")).await.unwrap_err();
        assert!(error.to_string().starts_with("`a-1#2`: the driver does not answer: it hung up"), "{error}");
    }
}

#[tokio::test]
async fn what_a_killed_keeper_and_its_killed_wardens_left_is_ended_before_anything_starts() {
    let home = tempfile::tempdir().unwrap();
    let mut rig = Rig::open(home.path(), Lifetime::Detached).await;
    let main = rig.driver.start(rig.shell("a-1#1", "setsid sleep 1000 & echo up; wait")).await.unwrap().pid;
    common::wait_for_log(&rig.dir, "a-1", "up").await;
    let keeper = rig.driver.keeper_pid();
    let warden = machine::parent(main).unwrap();
    let family = machine::descendants(warden);
    assert_eq!(family.len(), 2);
    // Stopped first, so that neither sees the other go.
    for pid in [keeper, warden] {
        machine::signal(pid, rustix::process::Signal::STOP);
    }
    machine::kill(warden);
    machine::kill(keeper);
    machine::wait_until_ended(keeper).await;
    assert!(matches!(rig.event().await, Event::Failed(_)));
    assert!(family.iter().any(|&pid| machine::is_living(pid)), "the test itself: something must be left");
    let mut second = Rig::open(home.path(), Lifetime::Detached).await;
    assert!(family.iter().all(|&pid| !machine::is_living(pid)), "gone before the driver is open");
    assert!(matches!(second.event().await, Event::Notice { code: "A0511", .. }));
    assert!(second.driver.recover().await.unwrap().is_empty());
    second.end().await;
}

#[tokio::test]
async fn nothing_outlives_a_killed_node() {
    let home = tempfile::tempdir().unwrap();
    let node = Node::start(home.path(), "with-node", &["a-1#1", "a-2#1", "b-1#1"]);
    let families = || node.started.iter().flat_map(|(_, main)| family_of(*main)).collect::<Vec<u32>>();
    machine::wait_until("each has two children", || families().len() == 9).await;
    let families = families();
    let (keeper, began) = (node.keeper, Instant::now());
    node.kill();
    wait_until_none_of(&families).await;
    machine::wait_until_ended(keeper).await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(machine::living_with(&token_of(home.path())), NONE);
}

#[tokio::test]
async fn who_ignores_the_signal_does_not_outlive_a_killed_node_for_long() {
    let home = tempfile::tempdir().unwrap();
    let rig = Rig::open(home.path(), Lifetime::WithNode).await;
    rig.driver.start(rig.shell("a-1#1", "trap '' TERM; echo deaf; sleep 1000 & wait; wait")).await.unwrap();
    common::wait_for_log(&rig.dir, "a-1", "deaf").await;
    let began = Instant::now();
    rig.end().await;
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

#[tokio::test]
async fn instances_of_a_detached_node_outlive_it_and_are_found_again() {
    let home = tempfile::tempdir().unwrap();
    let node = Node::start(home.path(), "detached", &["a-1#1", "a-2#1", "b-1#1"]);
    let (keeper, started) = (node.keeper, node.started.clone());
    node.kill();
    let ended = started[1].1;
    let warden = machine::parent(ended).unwrap();
    machine::kill(ended); // while nobody is there to hear of it
    machine::wait_until_ended(warden).await;
    let mut second = Rig::open(home.path(), Lifetime::Detached).await;
    assert_eq!(second.driver.keeper_pid(), keeper);
    let found = second.driver.recover().await.unwrap();
    let seen: Vec<(String, u32)> = found.iter().map(|f| (f.launch.id.to_string(), f.started.pid)).collect();
    assert_eq!(seen, started, "the same processes");
    let exits: Vec<_> = found.iter().map(|found| found.exit.clone()).collect();
    assert_eq!(exits, [None, Some(Exit::Signal("SIGKILL".into())), None]);
    assert_eq!(found[0].launch.environment["TOKEN"], second.token);

    machine::kill(started[2].1); // this time somebody hears
    assert_eq!(second.exit_of("b-1#1").await.0, Exit::Signal("SIGKILL".into()));
    second.stop("a-1#1", LIMIT).await;
    second.end().await; // nothing is left: the keeper goes too
}

#[tokio::test]
async fn an_end_that_was_told_is_not_found_again() {
    let home = tempfile::tempdir().unwrap();
    let mut first = Rig::open(home.path(), Lifetime::Detached).await;
    first.driver.start(first.shell("b-1#1", "sleep 1000")).await.unwrap();
    assert_eq!(first.run(first.shell("a-1#1", "exit 0")).await.0, Exit::Code(0));
    first.stop("never-1#1", LIMIT).await; // behind the acknowledgement
    first.driver.close();
    let second = Rig::open(home.path(), Lifetime::WithNode).await;
    let found = second.driver.recover().await.unwrap();
    assert_eq!(found.iter().map(|f| f.launch.id.to_string()).collect::<Vec<_>>(), ["b-1#1"]);
    second.end().await; // with a node that is not detached they end after all
}

#[tokio::test]
async fn output_is_kept_while_no_node_is_there() {
    let home = tempfile::tempdir().unwrap();
    let first = Rig::open(home.path(), Lifetime::Detached).await;
    let script = "echo before; while [ ! -e $0.go ]; do sleep 0.01; done; echo meanwhile; sleep 1000";
    let go = home.path().join("flag");
    let mut launch = common::launch("a-1#1", &["sh", "-c", script, go.to_str().unwrap()]);
    launch.environment.insert("TOKEN".into(), first.token.clone());
    first.driver.start(launch).await.unwrap();
    first.driver.close();
    std::fs::write(home.path().join("flag.go"), "").unwrap();
    common::wait_for_log(&first.dir, "a-1", "meanwhile").await;
    let second = Rig::open(home.path(), Lifetime::WithNode).await;
    second.end().await;
}

#[tokio::test]
async fn a_keeper_that_is_asked_to_end_ends_what_it_holds() {
    let mut rig = Rig::start().await;
    let family = family_of(start_family(&rig, "a-1#1").await);
    machine::signal(rig.driver.keeper_pid(), rustix::process::Signal::TERM);
    assert_eq!(rig.exit_of("a-1#1").await.0, Exit::Signal("SIGTERM".into()));
    assert!(matches!(rig.event().await, Event::Failed(_)));
    wait_until_none_of(&family).await;
}

#[tokio::test]
async fn starts_and_kills_without_order_leave_nothing() {
    // A small storm: instances start, end, are stopped and lose their wardens in turn.
    for rig in rigs().await {
        for round in 1..=15_u32 {
            let id = |n: u32| format!("a-{n}#{round}");
            let starts =
                (1..=6).map(|n| rig.driver.start(rig.shell(&id(n), "sleep 1000 & setsid sleep 1000 & wait")));
            let started = futures_util::future::join_all(starts).await;
            let pids: Vec<u32> = started.into_iter().map(|started| started.unwrap().pid).collect();
            machine::kill(pids[0]);
            if let Some(warden) = machine::parent(pids[1]) {
                machine::kill(warden);
            }
            let stops = (1..=6).map(|n| rig.stop_owned(id(n), Duration::from_millis(u64::from(n) * 10)));
            futures_util::future::join_all(stops).await;
            assert_eq!(machine::living_with(&rig.token), NONE, "round {round}");
        }
        rig.end().await;
    }
}
