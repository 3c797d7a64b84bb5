//! The process driver on this machine: starting, stopping, what an instance sees.

mod common;

use common::Rig;
use runtime::{Driver, Exit};

#[tokio::test]
async fn an_instance_starts_runs_and_its_end_is_told() {
    let mut rig = Rig::start().await;
    let (exit, lines) = rig.run(rig.shell("a-1#1", "echo hello; echo oops >&2; exit 3")).await;
    assert_eq!(exit, Exit::Code(3));
    assert_eq!(lines.len(), 2);
    rig.end().await;
}
