//! A driver without processes: instances live in memory and do what a script says. For the tests of those
//! who decide, and for simulations (`driver: mock`).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kit::{BoxFuture, Clock, OnError, Tasks, Timestamp};
use manifest::spec::InstanceId;
use tokio::sync::{Notify, mpsc};

use crate::driver::{
    Driver, Event, Exit, Found, Launch, RecoverError, StartError, Started, Stop, StopError, Usage,
};
use crate::signals;

/// Events that wait for their taker; more are lost (a test that makes so many without looking is wrong).
const EVENTS: usize = 4096;

/// What instances of a service (or one instance) do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Script {
    /// Their start is refused.
    pub refuse: Option<Refusal>,
    /// How long their start takes.
    pub start_after: Duration,
    /// They end by themselves: how long after their start, and how.
    pub exit_after: Option<(Duration, Exit)>,
    /// A stop takes its whole grace, and then they are killed.
    pub ignores_signals: bool,
    /// What they wrote last.
    pub last_lines: Vec<String>,
}

/// Why a start is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// As if the program were not there.
    NoProgram,
    /// As if something between fork and exec had failed, and why.
    Setup(String),
}

/// The mock driver. Cheap to clone; all clones are the same driver.
#[derive(Clone)]
pub struct MockDriver {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Arc<dyn Clock>,
    tasks: Tasks,
    state: Mutex<State>,
    /// Something in `state` has changed.
    changed: Notify,
    events: mpsc::Sender<Event>,
}

#[derive(Default)]
struct State {
    scripts: BTreeMap<String, Script>,
    instances: BTreeMap<InstanceId, Instance>,
    found: Vec<Found>,
    taken: Option<mpsc::Receiver<Event>>,
    started: Vec<Launch>,
    next_pid: u32,
}

struct Instance {
    script: Script,
    /// `None` while it starts.
    started: Option<Started>,
    stop_at: Option<Timestamp>,
}

impl MockDriver {
    /// A driver with no instances. `tasks` owns what happens later: ends by script and kills after a grace.
    pub fn new(clock: Arc<dyn Clock>, tasks: Tasks) -> Self {
        let (events, taken) = mpsc::channel(EVENTS);
        let state = Mutex::new(State { taken: Some(taken), next_pid: 1000, ..State::default() });
        Self { shared: Arc::new(Shared { clock, tasks, state, changed: Notify::new(), events }) }
    }

    /// Sets what instances do from their next start on: `name` is an instance's name (`catalog-2`), a
    /// service's, or `*`; the first of these that has a script counts.
    pub fn script(&self, name: &str, script: Script) {
        self.state().scripts.insert(name.to_owned(), script);
    }

    /// An instance from before, for [`Driver::recover`]. It lives unless it has an exit.
    pub fn add_found(&self, found: Found) {
        let mut state = self.state();
        if found.exit.is_none() {
            let script = state.script_of(&found.launch.id);
            let instance = Instance { script, started: Some(found.started), stop_at: None };
            state.instances.insert(found.launch.id.clone(), instance);
        }
        state.found.push(found);
    }

    /// Makes a living instance end now. `false` when it does not live.
    pub fn exit(&self, id: &InstanceId, exit: Exit) -> bool {
        let mut state = self.state();
        let Some(instance) = state.instances.remove(id) else { return false };
        drop(state);
        let event = Event::Exited {
            id: id.clone(),
            exit,
            at: self.shared.clock.now(),
            last_lines: instance.script.last_lines,
        };
        let _ = self.shared.events.try_send(event);
        self.shared.changed.notify_waiters();
        true
    }

    /// Tells any event.
    pub fn tell(&self, event: Event) {
        let _ = self.shared.events.try_send(event);
    }

    /// Who lives, those that are starting included.
    pub fn living(&self) -> Vec<InstanceId> {
        self.state().instances.keys().cloned().collect()
    }

    /// Every launch that was accepted, in order.
    pub fn launches(&self) -> Vec<Launch> {
        self.state().started.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `then` at a moment, if the instance still lives.
    fn later(&self, at: Timestamp, id: InstanceId, exit: Exit) {
        let driver = self.clone();
        self.shared.tasks.spawn("runtime.mock.later", OnError::Log, |stop| async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = driver.shared.clock.sleep_until(at) => { driver.exit(&id, exit); }
                () = driver.gone(&id) => {}
            }
            Ok::<_, String>(())
        });
    }

    /// Returns when the instance does not live any more.
    async fn gone(&self, id: &InstanceId) {
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable(); // registered before the look, so that no change is missed
            if !self.state().instances.contains_key(id) {
                return;
            }
            changed.await;
        }
    }

    /// Takes the slot of `launch`. `Ok(Some)`: it has started before.
    fn reserve(&self, launch: &Launch) -> Result<Option<Started>, StartError> {
        let mut state = self.state();
        let id = launch.id.clone();
        if let Some(started) = state.instances.get(&id).and_then(|instance| instance.started) {
            return Ok(Some(started));
        }
        let same_slot = |other: &&InstanceId| other.slot == id.slot && other.service == id.service;
        if let Some(holder) = state.instances.keys().find(same_slot).cloned() {
            return Err(StartError::SlotTaken { id, holder });
        }
        let script = state.script_of(&id);
        match &script.refuse {
            Some(Refusal::NoProgram) => {
                let program = launch.command.first().cloned().unwrap_or_default();
                return Err(StartError::NoProgram { id, program, searched: "by script".to_owned() });
            }
            Some(Refusal::Setup(why)) => {
                return Err(StartError::Setup { id, step: "start".to_owned(), why: why.clone() });
            }
            None => {}
        }
        state.started.push(launch.clone());
        state.instances.insert(id, Instance { script, started: None, stop_at: None });
        Ok(None)
    }
}

impl State {
    fn script_of(&self, id: &InstanceId) -> Script {
        let names = [id.name(), id.service.to_string(), "*".to_owned()];
        names.iter().find_map(|name| self.scripts.get(name)).cloned().unwrap_or_default()
    }
}

impl Driver for MockDriver {
    fn start(&self, launch: Launch) -> BoxFuture<'_, Result<Started, StartError>> {
        Box::pin(async move {
            if let Some(started) = self.reserve(&launch)? {
                return Ok(started);
            }
            let id = launch.id;
            let script = self.state().script_of(&id);
            if !script.start_after.is_zero() {
                self.shared.clock.sleep_until(self.shared.clock.now() + script.start_after).await;
            }
            let at = self.shared.clock.now();
            let mut state = self.state();
            let pid = state.next_pid;
            let Some(instance) = state.instances.get_mut(&id) else {
                return Err(StartError::Setup {
                    id,
                    step: "start".to_owned(),
                    why: "it was stopped".to_owned(),
                });
            };
            let started = Started { pid, at };
            instance.started = Some(started);
            state.next_pid += 1;
            drop(state);
            if let Some((after, exit)) = script.exit_after {
                self.later(at + after, id, exit);
            }
            Ok(started)
        })
    }

    fn recover(&self) -> BoxFuture<'_, Result<Vec<Found>, RecoverError>> {
        Box::pin(async move { Ok(std::mem::take(&mut self.state().found)) })
    }

    fn stop(&self, id: &InstanceId, stop: Stop) -> BoxFuture<'_, Result<(), StopError>> {
        let id = id.clone();
        Box::pin(async move {
            if signals::number(&stop.signal).is_none() {
                return Err(StopError { id, why: format!("`{}` is not a signal of Linux", stop.signal) });
            }
            let at = self.shared.clock.now() + stop.grace;
            let obeys = {
                let mut state = self.state();
                let Some(instance) = state.instances.get_mut(&id) else { return Ok(()) };
                instance.stop_at = Some(instance.stop_at.map_or(at, |earlier| earlier.min(at)));
                !instance.script.ignores_signals
            };
            if stop.grace.is_zero() {
                self.exit(&id, Exit::Signal("SIGKILL".to_owned()));
            } else if obeys {
                self.exit(&id, Exit::Signal(stop.signal));
            } else {
                self.later(at, id.clone(), Exit::Signal("SIGKILL".to_owned()));
                self.gone(&id).await;
            }
            Ok(())
        })
    }

    fn events(&self) -> mpsc::Receiver<Event> {
        self.state().taken.take().unwrap_or_else(|| mpsc::channel(1).1)
    }

    fn usage(&self) -> BoxFuture<'_, Vec<Usage>> {
        Box::pin(async move {
            let now = self.shared.clock.now();
            let state = self.state();
            let started = state.instances.iter().filter_map(|(id, i)| Some((id, i.started?)));
            started
                .map(|(id, started)| Usage {
                    id: id.clone(),
                    cpu: now.since(started.at) / 100, // one per cent of a core
                    memory: 10 << 20,
                    processes: 1,
                })
                .collect()
        })
    }
}
