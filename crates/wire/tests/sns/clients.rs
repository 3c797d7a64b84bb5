//! Other people's clients: scripts in `tests/clients`, run where their packages are installed.

use crate::python;
use crate::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn boto3_is_served() {
    let Some(python) = python::find("boto3") else { return };
    let world = World::start().await;
    python::run(format!("http://{}", world.address), python, "sns_boto3.py").await;
    world.end().await;
}
