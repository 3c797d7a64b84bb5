//! Health checks by command: run beside the instance, as the instance itself was started.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kit::{BoxFuture, OnError, Tasks};
use manifest::spec::{InstanceId, Slot};
use registry::ExecProbe;
use runtime::{Driver, Exit, Launch, Stop};
use tokio::sync::oneshot;

use crate::launch;

/// Runs health checks by command through a driver.
pub struct Checks {
    driver: Arc<dyn Driver>,
    tasks: Tasks,
    runs: AtomicU32,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// How each instance that is checked by command was started.
    launches: BTreeMap<InstanceId, Launch>,
    /// Who waits for the end of which check.
    waiting: BTreeMap<InstanceId, oneshot::Sender<(Exit, Vec<String>)>>,
}

impl Checks {
    /// Checks that run through `driver`; `tasks` own the ends of those that are given up.
    pub fn new(driver: Arc<dyn Driver>, tasks: Tasks) -> Self {
        Self { driver, tasks, runs: AtomicU32::new(0), state: Mutex::default() }
    }

    /// Runs up to this one belong to an earlier node.
    pub(crate) fn count_from(&self, run: u32) {
        self.runs.fetch_max(run, Ordering::Relaxed);
    }

    /// An instance lives that may be checked.
    pub(crate) fn remember(&self, launch: Launch) {
        self.locked().launches.insert(launch.id.clone(), launch);
    }

    /// It no longer does.
    pub(crate) fn forget(&self, id: &InstanceId) {
        self.locked().launches.remove(id);
    }

    /// The driver has told the end of a check.
    pub(crate) fn exited(&self, id: &InstanceId, exit: Exit, last_lines: Vec<String>) {
        if let Some(waiter) = self.locked().waiting.remove(id) {
            let _ = waiter.send((exit, last_lines)); // whoever waited may have given up
        }
    }

    async fn check(&self, of: &InstanceId, command: &[String], timeout: Duration) -> Result<(), String> {
        let Slot::Replica(index) = of.slot else {
            return Err("only replicas are checked".into());
        };
        let run = self.runs.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        let id = InstanceId { service: of.service.clone(), slot: Slot::Check(index), run };
        let (sender, ended) = oneshot::channel();
        let launch = {
            let mut state = self.locked();
            let Some(instance) = state.launches.get(of) else {
                return Err("the instance has ended".into());
            };
            let launch = launch::check(instance, id.clone(), command);
            state.waiting.insert(id.clone(), sender);
            launch
        };
        let _end = EndWithWaiter { checks: self, id: &id };
        self.driver.start(launch).await.map_err(|error| error.to_string())?;
        match tokio::time::timeout(timeout, ended).await {
            Ok(Ok((exit, _))) if exit.is_success() => Ok(()),
            Ok(Ok((exit, lines))) => {
                let last = lines.iter().rev().find(|line| !line.trim().is_empty());
                Err(last.map_or_else(|| exit.to_string(), |line| format!("{exit}: {}", line.trim())))
            }
            Ok(Err(_)) => Err("the driver has stopped".into()),
            Err(_) => Err(format!("no end within {}", kit::units::format_duration(timeout))),
        }
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A check ends with whoever waits for it, also when the wait times out or is cancelled.
struct EndWithWaiter<'a> {
    checks: &'a Checks,
    id: &'a InstanceId,
}

impl Drop for EndWithWaiter<'_> {
    fn drop(&mut self) {
        if self.checks.locked().waiting.remove(self.id).is_none() {
            return; // it has ended
        }
        let driver = Arc::clone(&self.checks.driver);
        let id = self.id.clone();
        self.checks.tasks.spawn("control.end_check", OnError::Log, |_| async move {
            driver.stop(&id, Stop { signal: "SIGKILL".into(), grace: Duration::ZERO }).await
        });
    }
}

impl ExecProbe for Checks {
    fn run<'a>(
        &'a self,
        id: &'a InstanceId,
        command: &'a [String],
        timeout: Duration,
    ) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(self.check(id, command, timeout))
    }
}
