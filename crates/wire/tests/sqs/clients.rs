//! Other people's clients: scripts in `tests/clients`, run where their packages are installed.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::world::World;

/// A Python that can import this: the one beside the build, else the usual one. Where nothing may be left out, there must
/// be one (`.ci/run tools` makes it).
fn python(imports: &str) -> Option<PathBuf> {
    let beside =
        std::env::current_exe().unwrap().ancestors().nth(3).unwrap().join("clients-python/bin/python");
    let found = [beside, "python3".into()].into_iter().find(|python| {
        let output =
            Command::new(python).args(["-c", &format!("import {imports}")]).stderr(Stdio::null()).output();
        output.is_ok_and(|output| output.status.success())
    });
    if found.is_none() {
        assert!(
            std::env::var_os("ATOLL_CI_ALL").is_none(),
            "may not be skipped here: no Python with {imports}"
        );
        eprintln!("skipped: no Python with {imports} (`.ci/run tools` installs it)");
    }
    found
}

/// Runs a script to its end against the world.
async fn run(world: &World, python: PathBuf, script: &'static str) {
    let url = world.url();
    let run = move || -> Output {
        let bin = python.parent().unwrap_or(Path::new("")).to_owned();
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new(&python);
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(script)).arg(&url);
        command.env("PATH", format!("{}:{path}", bin.display())).env("AWS_ENDPOINT_URL", &url);
        for (name, value) in [
            ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_DEFAULT_REGION", "us-east-1"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
            ("AWS_CONFIG_FILE", "/dev/null"),
            ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
            ("AWS_PAGER", ""),
        ] {
            command.env(name, value);
        }
        command.stdin(Stdio::null()).output().unwrap()
    };
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{script}\n{said}\n{complained}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn boto3_is_served() {
    let Some(python) = python("boto3") else { return };
    let world = World::start().await;
    run(&world, python, "sqs_boto3.py").await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_of_aws_is_served() {
    let Some(python) = python("awscli") else { return };
    let world = World::start().await;
    run(&world, python, "sqs_awscli.py").await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn celery_is_served() {
    let Some(python) = python("celery, boto3, kombu.transport.SQS") else { return };
    let world = World::start().await;
    run(&world, python, "sqs_celery.py").await;
    world.end().await;
}
