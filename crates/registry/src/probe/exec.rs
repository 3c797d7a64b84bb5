//! A command, run beside the instance by whoever knows how to run things.

use std::time::Duration;

use kit::BoxFuture;
use manifest::spec::InstanceId;

/// After the timeout of a check whoever runs it has this long to say that it ran out.
const ANSWER_GRACE: Duration = Duration::from_secs(1);

/// Runs check commands. Declared here, where it is needed; whoever owns the processes provides it.
pub trait ExecProbe: Send + Sync + 'static {
    /// Runs `command` with the environment of the instance and ends it after `timeout`. Passes on exit
    /// status 0; otherwise the error says why in one line: the exit status and the last line written.
    ///
    /// When the future is dropped (the instance left while it was checked) the command must end too.
    fn run<'a>(
        &'a self,
        id: &'a InstanceId,
        command: &'a [String],
        timeout: Duration,
    ) -> BoxFuture<'a, Result<(), String>>;
}

/// Passes when the command does.
pub(crate) async fn check(
    exec: &dyn ExecProbe,
    id: &InstanceId,
    command: &[String],
    timeout: Duration,
) -> Result<(), String> {
    match tokio::time::timeout(timeout + ANSWER_GRACE, exec.run(id, command, timeout)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(format!("the command did not end within {}", kit::units::format_duration(timeout))),
    }
}
