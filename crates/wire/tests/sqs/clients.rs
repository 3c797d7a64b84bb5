//! Other people's clients: scripts in `tests/clients`, run where their packages are installed.

use crate::python;
use crate::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn boto3_is_served() {
    let Some(python) = python::find("boto3") else { return };
    let world = World::start().await;
    python::run(world.url(), python, "sqs_boto3.py").await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_of_aws_is_served() {
    let Some(python) = python::find("awscli") else { return };
    let world = World::start().await;
    python::run(world.url(), python, "sqs_awscli.py").await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn celery_is_served() {
    let Some(python) = python::find("celery, boto3, kombu.transport.SQS") else { return };
    let world = World::start().await;
    python::run(world.url(), python, "sqs_celery.py").await;
    world.end().await;
}
