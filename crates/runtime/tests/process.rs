//! The process driver on this machine: starting, stopping, and what an instance finds when it runs.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests, though not every function is marked as one

mod common;

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use common::{LIMIT, Rig, machine, skip};
use manifest::spec::Ulimit;
use runtime::{Driver, Event, Exit, StartError, Stop};

#[tokio::test]
async fn an_instance_starts_runs_and_its_end_is_told_with_its_last_lines() {
    let mut rig = Rig::start().await;
    let (exit, lines) = rig.run(rig.shell("a-1#1", "echo hello; printf unfinished; exit 3")).await;
    assert_eq!((exit, lines), (Exit::Code(3), vec!["hello".to_owned(), "unfinished".to_owned()]));
    let (exit, _) = rig.run(rig.shell("a-1#2", "kill -SEGV $$")).await;
    assert_eq!(exit, Exit::Signal("SIGSEGV".into()));
    rig.end().await;
}

#[tokio::test]
async fn an_instance_sees_the_environment_it_was_given_and_nothing_else() {
    let mut rig = Rig::start().await;
    let mut launch = common::launch("a-1#1", &["/usr/bin/env"]);
    launch.environment = [("GREETING", "hello\tworld"), ("EMPTY", "")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let (_, lines) = rig.run(launch).await;
    let names: BTreeSet<&str> = lines.iter().map(|line| line.split('=').next().unwrap()).collect();
    assert_eq!(names, BTreeSet::from(["ATOLL_INSTANCE", "EMPTY", "GREETING"]), "{lines:?}");
    assert!(lines.contains(&"GREETING=hello\tworld".to_owned()));
    rig.end().await;
}

#[tokio::test]
async fn an_instance_begins_like_a_program_started_by_a_shell() {
    let mut rig = Rig::start().await;
    let script = "pwd; ls /proc/self/fd | tr '\\n' ' '; readlink /proc/$$/fd/0; \
                  grep -E '^(SigBlk|SigIgn):' /proc/self/status; ps -o sid= -p $$ | tr -d ' '; echo $$";
    let mut launch = rig.shell("a-1#1", script);
    launch.working_dir = "/usr".into();
    let (exit, lines) = rig.run(launch).await;
    assert_eq!(exit, Exit::Code(0));
    assert_eq!(lines[0], "/usr");
    assert_eq!(lines[1], "0 1 2 3 /dev/null", "none of the keeper is open (3 is the directory)");
    for mask in &lines[2..4] {
        assert!(mask.ends_with("0000000000000000"), "{mask}");
    }
    assert_eq!(lines[4], lines[5], "it leads a session of its own");
    rig.end().await;
}

#[tokio::test]
async fn what_cannot_run_says_why() {
    let rig = Rig::start().await;
    let home = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str, mode: u32| {
        let path = home.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let plain = file("plain", "echo hello\n", 0o755);
    let closed = file("closed", "#!/bin/sh\n", 0o644);
    let lost = file("lost", "#!/no/such/shell -e\n", 0o755);
    let here = home.path().to_str().unwrap();
    let start = |change: &dyn Fn(&mut runtime::Launch)| {
        let mut launch = common::launch("a-1#1", &["true"]);
        change(&mut launch);
        let started = rig.driver.start(launch);
        async move { started.await.unwrap_err() }
    };
    let error = start(&|l| l.command = vec!["no-such-program".into()]).await;
    let StartError::NoProgram { searched, .. } = &error else { panic!("{error}") };
    assert!(searched.starts_with("in PATH (/"), "{searched}");
    let error = start(&|l| l.command = vec!["./absent".into()]).await;
    assert_eq!(error.to_string(), "`a-1#1`: program `./absent` not found at /./absent");
    let said = [
        (
            start(&|l| l.command = vec![plain.clone()]).await,
            "neither a program for this machine nor a script",
        ),
        (start(&|l| l.command = vec![closed.clone()]).await, "not marked as executable"),
        (start(&|l| l.command = vec![lost.clone()]).await, "its interpreter `/no/such/shell` does not exist"),
        (start(&|l| l.command = vec![here.into()]).await, "it is a directory"),
        (
            start(&|l| l.working_dir = "/no/such".into()).await,
            "cannot enter /no/such: no such file or directory",
        ),
        (start(&|l| l.user = Some("no-such-user".into())).await, "no user `no-such-user` in /etc/passwd"),
        (
            start(&|l| {
                l.ulimits
                    .insert("nofile".into(), Ulimit { soft: Some(u64::MAX - 1), hard: Some(u64::MAX - 1) });
            })
            .await,
            "cannot set ulimit `nofile`: operation not permitted",
        ),
        (
            start(&|l| {
                l.ulimits.insert("bogus".into(), Ulimit { soft: None, hard: None });
            })
            .await,
            "cannot set ulimit `bogus`: there is no such limit",
        ),
    ];
    for (error, part) in said {
        assert!(matches!(error, StartError::Setup { .. }), "{error:?}");
        assert!(error.to_string().contains(part), "{error}");
    }
    assert!(rig.driver.usage().await.is_empty(), "nothing is left of a start that failed");
    rig.end().await;
}

#[tokio::test]
async fn the_program_is_looked_up_in_the_environment_that_was_given() {
    let mut rig = Rig::start().await;
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join("bin")).unwrap();
    let program = home.path().join("bin/greet");
    std::fs::write(&program, "#!/bin/sh\necho greetings from $0\n").unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut launch = common::launch("a-1#1", &["greet"]);
    launch.environment.insert("PATH".into(), "/nowhere:bin".into()); // relative to the working directory
    launch.working_dir = home.path().into();
    let (exit, lines) = rig.run(launch).await;
    assert_eq!((exit, lines.len()), (Exit::Code(0), 1));
    let mut launch = common::launch("a-1#2", &["bin/greet"]);
    launch.working_dir = home.path().into();
    assert_eq!(rig.run(launch).await.0, Exit::Code(0));
    rig.end().await;
}

#[tokio::test]
async fn ulimits_hold_and_the_keepers_own_are_not_passed_on() {
    let mut rig = Rig::start().await;
    let own = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap();
    let (_, lines) = rig.run(rig.shell("a-1#1", "ulimit -n")).await;
    assert_eq!(lines, [own.to_string()]);
    let mut launch = rig.shell("a-1#2", "ulimit -Sn; ulimit -Hn; ulimit -c");
    launch.ulimits.insert("nofile".into(), Ulimit { soft: Some(100), hard: Some(200) });
    launch.ulimits.insert("core".into(), Ulimit { soft: Some(0), hard: Some(0) });
    assert_eq!(rig.run(launch).await.1, ["100", "200", "0"]);
    rig.end().await;
}

#[tokio::test]
async fn an_instance_runs_as_the_user_asked_for() {
    if !rustix::process::geteuid().is_root() {
        return skip("needs root");
    }
    let mut rig = Rig::start().await;
    let mut launch = rig.shell("a-1#1", "id -u; id -g; id -G; id -ru");
    launch.user = Some("4242:77".into());
    assert_eq!(rig.run(launch).await.1, ["4242", "77", "77", "4242"]);
    let mut launch = rig.shell("a-1#2", "sleep 1000");
    launch.user = Some("4242".into());
    rig.driver.start(launch).await.unwrap();
    machine::kill(rig.driver.keeper_pid()); // the signal of a parent's death must survive the change of user
    machine::wait_until_gone(&rig.token).await;
}

#[tokio::test]
async fn no_slot_is_filled_twice() {
    let mut rig = Rig::start().await;
    let first = rig.driver.start(rig.shell("a-1#1", "sleep 1000")).await.unwrap();
    let again = rig.driver.start(rig.shell("a-1#1", "sleep 1000")).await.unwrap();
    assert_eq!(first, again, "starting is idempotent");
    let taken = rig.driver.start(rig.shell("a-1#2", "sleep 1000")).await.unwrap_err();
    assert_eq!(taken.to_string(), "`a-1#2` cannot start: `a-1#1` still lives");
    rig.driver.start(rig.shell("a-2#1", "sleep 1000")).await.unwrap();
    rig.driver.start(rig.shell("a-1.check#1", "sleep 1000")).await.unwrap();
    rig.stop("a-1#1", Duration::from_secs(5)).await;
    assert_eq!(rig.exit_of("a-1#1").await.0, Exit::Signal("SIGTERM".into()));
    rig.driver.start(rig.shell("a-1#2", "sleep 1000")).await.unwrap();
    rig.end().await;
}

#[tokio::test]
async fn a_stop_asks_the_main_process_and_ends_the_rest_after_it() {
    let mut rig = Rig::start().await;
    let script = "trap 'echo asked; exit 7' USR1; (trap 'echo child asked' USR1; sleep 1000) & echo up; wait";
    rig.driver.start(rig.shell("a-1#1", script)).await.unwrap();
    wait_for_log(&rig, "up").await;
    let stop = Stop { signal: "SIGUSR1".into(), grace: LIMIT };
    rig.driver.stop(&"a-1#1".parse().unwrap(), stop).await.unwrap();
    assert!(machine::living_with(&rig.token).is_empty(), "nothing lives when a stop returns");
    let (exit, lines) = rig.exit_of("a-1#1").await;
    assert_eq!((exit, lines), (Exit::Code(7), vec!["up".to_owned(), "asked".to_owned()]));
    rig.stop("never-1#1", LIMIT).await; // unknown: stopped already
    let bad = Stop { signal: "SIGNOPE".into(), grace: LIMIT };
    let error = rig.driver.stop(&"a-1#1".parse().unwrap(), bad).await.unwrap_err();
    assert!(error.to_string().contains("`SIGNOPE` is not a signal"), "{error}");
    rig.end().await;
}

#[tokio::test]
async fn who_ignores_the_signal_is_killed_after_the_grace_and_a_shorter_grace_hastens() {
    let mut rig = Rig::start().await;
    let deaf = "trap '' TERM; echo deaf; sleep 1000 & wait; wait";
    rig.driver.start(rig.shell("a-1#1", deaf)).await.unwrap();
    wait_for_log(&rig, "deaf").await;
    let began = Instant::now();
    rig.stop("a-1#1", Duration::from_millis(300)).await;
    assert!(began.elapsed() >= Duration::from_millis(300), "{:?}", began.elapsed());
    assert_eq!(rig.exit_of("a-1#1").await.0, Exit::Signal("SIGKILL".into()));

    rig.driver.start(rig.shell("a-2#1", deaf)).await.unwrap();
    common::wait_for_log(&rig.dir, "a-2", "deaf").await;
    let slow = rig.stop("a-2#1", Duration::from_secs(600));
    let fast = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        rig.stop("a-2#1", Duration::ZERO).await;
    };
    tokio::time::timeout(LIMIT, async { tokio::join!(slow, fast) })
        .await
        .expect("the second stop hastens the first");
    assert_eq!(rig.exit_of("a-2#1").await.0, Exit::Signal("SIGKILL".into()));
    rig.end().await;
}

#[tokio::test]
async fn a_stop_during_the_start_is_no_less_of_a_stop() {
    let mut rig = Rig::start().await;
    for run in 1..30 {
        let id = format!("a-1#{run}");
        let launch = rig.shell(&id, "sleep 1000");
        let (started, ()) = tokio::join!(rig.driver.start(launch), rig.stop(&id, LIMIT));
        match started {
            Ok(_) => {
                // Asked to stop before it was there, or after: in the end it must be gone.
                rig.stop(&id, LIMIT).await;
                assert_eq!(rig.exit_of(&id).await.0, Exit::Signal("SIGTERM".into()));
            }
            Err(error) => panic!("{error}"),
        }
        assert!(machine::living_with(&rig.token).is_empty());
    }
    rig.end().await;
}

#[tokio::test]
async fn what_each_uses_is_known() {
    for rig in [Some(Rig::start().await), Rig::start_without_cgroups().await].into_iter().flatten() {
        let burn = "sleep 1000 & i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; echo burnt; wait";
        rig.driver.start(rig.shell("a-1#1", burn)).await.unwrap();
        wait_for_log(&rig, "burnt").await;
        let usage = rig.driver.usage().await;
        assert_eq!(usage.len(), 1);
        assert_eq!((usage[0].id.to_string().as_str(), usage[0].processes), ("a-1#1", 2));
        assert!(usage[0].cpu > Duration::from_millis(20), "{usage:?}");
        assert!((100_000..100_000_000).contains(&usage[0].memory), "{usage:?}");
        rig.end().await;
    }
}

#[tokio::test]
async fn two_hundred_instances_start_without_much_ado() {
    let rig = Rig::start().await;
    let began = Instant::now();
    let starts = (1..=200).map(|n| {
        let mut launch = common::launch(&format!("a-{n}#1"), &["sleep", "1000"]);
        launch.environment.insert("TOKEN".into(), rig.token.clone());
        launch.environment.insert("MUCH".into(), "x".repeat(5000)); // together more than any buffer takes
        rig.driver.start(launch)
    });
    for started in futures_util::future::join_all(starts).await {
        started.unwrap();
    }
    let took = began.elapsed();
    let keeper = rig.driver.keeper_pid();
    let wardens = machine::children(keeper);
    let private: u64 =
        wardens.iter().map(|&pid| machine::private_kib(pid)).sum::<u64>() / wardens.len() as u64;
    let cpu = machine::cpu_ms(keeper) + wardens.iter().map(|&pid| machine::cpu_ms(pid)).sum::<u64>();
    println!(
        "200 instances in {took:?}, {cpu} ms of CPU in keeper and wardens; keeper {} KiB, a warden {private} KiB private",
        machine::private_kib(keeper)
    );
    assert!(took < LIMIT, "{took:?}");
    assert!(private < 600, "a warden has {private} KiB of its own");
    assert_eq!(rig.driver.usage().await.len(), 200);
    let began = Instant::now();
    rig.end().await;
    println!("and all were gone after {:?}", began.elapsed());
}

#[tokio::test]
async fn a_launch_that_is_too_long_is_refused_and_nothing_else_suffers() {
    let mut rig = Rig::start().await;
    let mut launch = rig.shell("a-1#1", "exit 0");
    launch.environment.insert("TOO_MUCH".into(), "x".repeat(9 << 20));
    let error = rig.driver.start(launch).await.unwrap_err();
    assert_eq!(error.to_string(), "`a-1#1`: cannot ask for it: the message is too long");
    let mut launch = rig.shell("a-1#2", "exit 0");
    launch.environment.insert("MORE_THAN_THE_KERNEL_TAKES".into(), "x".repeat(3 << 20));
    let error = rig.driver.start(launch).await.unwrap_err();
    assert!(error.to_string().contains("argument list too long"), "{error}");
    assert_eq!(rig.run(rig.shell("a-1#3", "exit 0")).await.0, Exit::Code(0));
    rig.end().await;
}

#[tokio::test]
async fn a_state_directory_with_a_very_long_path_works() {
    let home = tempfile::tempdir().unwrap();
    let deep = home.path().join("d".repeat(100)).join("e".repeat(100));
    let mut rig = Rig::open(&deep, runtime::Lifetime::WithNode).await;
    assert_eq!(rig.run(rig.shell("a-1#1", "exit 0")).await.0, Exit::Code(0));
    rig.end().await;
}

#[tokio::test]
async fn a_second_node_is_refused_and_the_first_goes_on() {
    let mut rig = Rig::start().await;
    let tasks = kit::Tasks::new();
    let options = common::options(&rig.dir, runtime::Lifetime::WithNode, &tasks);
    let error = runtime::process::ProcessDriver::open(options).await.unwrap_err();
    assert!(kit::report::render(&error).starts_with("error[A0506]: another node (process "), "{error}");
    assert_eq!(rig.run(rig.shell("a-1#1", "exit 0")).await.0, Exit::Code(0));
    rig.end().await;
}

#[tokio::test]
async fn a_stale_socket_is_no_obstacle() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("state");
    std::fs::create_dir(&dir).unwrap();
    drop(std::os::unix::net::UnixListener::bind(dir.join("keeper.sock")).unwrap());
    let mut rig = Rig::open(home.path(), runtime::Lifetime::WithNode).await;
    assert_eq!(rig.run(rig.shell("a-1#1", "exit 0")).await.0, Exit::Code(0));
    rig.end().await;
    assert!(!dir.join("keeper.sock").exists(), "a keeper takes its socket with it");
}

#[tokio::test]
async fn a_keeper_that_cannot_be_started_says_why() {
    let home = tempfile::tempdir().unwrap();
    let tasks = kit::Tasks::new();
    let mut options = common::options(&home.path().join("s"), runtime::Lifetime::WithNode, &tasks);
    options.keeper_command = vec!["/no/such/atoll".into()];
    let error = runtime::process::ProcessDriver::open(options.clone()).await.unwrap_err();
    assert!(error.to_string().contains("cannot run `/no/such/atoll`"), "{error}");
    options.keeper_command = vec!["sh".into(), "-c".into(), "echo it is Monday >&2; exit 1".into()];
    let error = runtime::process::ProcessDriver::open(options.clone()).await.unwrap_err();
    assert!(error.to_string().ends_with("it is Monday"), "{error}");
    std::fs::write(home.path().join("file"), "").unwrap();
    options.state_dir = home.path().join("file/below");
    let error = runtime::process::ProcessDriver::open(options).await.unwrap_err();
    assert!(kit::report::render(&error).starts_with("error[A0508]"), "{error}");
}

#[tokio::test]
async fn ends_that_nobody_takes_do_not_hold_up_the_driver() {
    let mut rig = Rig::start().await;
    for n in 1..=700 {
        rig.driver.start(common::launch(&format!("a-{n}#1"), &["true"])).await.unwrap();
    }
    let mut told = BTreeSet::new();
    while told.len() < 700 {
        if let Event::Exited { id, .. } = rig.event().await {
            assert!(told.insert(id), "told once");
        }
    }
    rig.end().await;
}

async fn wait_for_log(rig: &Rig, text: &str) {
    common::wait_for_log(&rig.dir, "a-1", text).await;
}
