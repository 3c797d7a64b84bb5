//! Tasks with a name, an owner and a way to stop.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What a failed or panicked task means for the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// Report it and go on: the work is redone by somebody else.
    Log,
    /// The node cannot do its work without this task: stop it.
    StopNode,
}

/// Owns a set of tasks. Cheap to clone; all clones own the same set.
#[derive(Clone)]
pub struct Tasks {
    inner: Arc<Inner>,
}

struct Inner {
    tracker: TaskTracker,
    stop: CancellationToken,
    /// Names of running tasks with how many run under each; read when shutdown overstays.
    running: Mutex<BTreeMap<String, usize>>,
    failed: Mutex<Option<String>>,
}

impl Tasks {
    /// A set without tasks.
    pub fn new() -> Self {
        Self {
            inner: Arc::new(Inner {
                tracker: TaskTracker::new(),
                stop: CancellationToken::new(),
                running: Mutex::default(),
                failed: Mutex::default(),
            }),
        }
    }

    /// Starts a task on the current runtime. `work` gets a token that is cancelled when the set shuts
    /// down, and must then return soon. A panic counts as an error.
    pub fn spawn<F, E>(&self, name: &str, on_error: OnError, work: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: fmt::Display + Send + 'static,
    {
        let name = name.to_owned();
        let task = work(self.inner.stop.child_token());
        let inner = Arc::clone(&self.inner);
        *locked(&inner.running).entry(name.clone()).or_default() += 1;
        #[allow(clippy::disallowed_methods)] // the one place that may: this is what the ban points to
        self.inner.tracker.spawn(async move {
            let outcome = tokio::spawn(task).await;
            let failure = match outcome {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(join) => Some(format!("panicked: {join}")),
            };
            if let Some(failure) = failure {
                tracing::error!(task = %name, "task failed: {failure}");
                if on_error == OnError::StopNode {
                    locked(&inner.failed).get_or_insert_with(|| format!("{name}: {failure}"));
                    inner.stop.cancel();
                }
            }
            let mut running = locked(&inner.running);
            if let Some(count) = running.get_mut(&name) {
                *count -= 1;
                if *count == 0 {
                    running.remove(&name);
                }
            }
        });
    }

    /// A token that is cancelled when the set shuts down or a [`OnError::StopNode`] task fails.
    pub fn stopping(&self) -> CancellationToken {
        self.inner.stop.clone()
    }

    /// Why the set stopped by itself, if a [`OnError::StopNode`] task failed.
    pub fn failure(&self) -> Option<String> {
        locked(&self.inner.failed).clone()
    }

    /// Asks every task to stop and waits up to `grace`; names those that overstayed.
    pub async fn shutdown(&self, grace: Duration) -> Result<(), Overstayed> {
        self.inner.stop.cancel();
        self.inner.tracker.close();
        if tokio::time::timeout(grace, self.inner.tracker.wait()).await.is_ok() {
            return Ok(());
        }
        Err(Overstayed { tasks: locked(&self.inner.running).keys().cloned().collect() })
    }
}

impl Default for Tasks {
    fn default() -> Self {
        Self::new()
    }
}

/// Tasks that did not stop within the grace period.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("tasks still running: {}", .tasks.join(", "))]
pub struct Overstayed {
    /// The names of the tasks.
    pub tasks: Vec<String>,
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn shutdown_waits_for_tasks_and_names_those_that_overstay() {
        let tasks = Tasks::new();
        tasks.spawn("good", OnError::Log, |stop| async move {
            stop.cancelled().await;
            Ok::<_, String>(())
        });
        tasks.spawn("stubborn", OnError::Log, |_| std::future::pending::<Result<(), String>>());
        let late = tasks.shutdown(Duration::from_millis(50)).await.unwrap_err();
        assert_eq!(late.tasks, ["stubborn"]);
    }

    #[tokio::test]
    async fn a_panic_in_a_vital_task_stops_the_set() {
        let tasks = Tasks::new();
        tasks.spawn("vital", OnError::StopNode, |_| async {
            if true {
                panic!("boom");
            }
            Ok::<_, String>(())
        });
        tasks.stopping().cancelled().await;
        assert!(tasks.failure().unwrap().starts_with("vital: panicked"));
    }
}
