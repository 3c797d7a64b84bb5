//! What the controller does with each piece of news: a wish, a word from the driver, the end of a step, a
//! look of the registry. News change the fleet and the desired state; what follows is planned afterwards.

use std::collections::BTreeMap;
use std::time::Duration;

use kit::{Backoff, Timestamp};
use manifest::spec::{InstanceId, Slot};
use registry::{Health, Observed};
use runtime::{Event, Exit, Stop};

use crate::controller::{Happening, Level, Outcome, Wish};
use crate::desired::{Desired, Goal, changes};
use crate::fleet::{End, Phase, Place, Prepare};
use crate::plan::restarts_after;
use crate::reconciler::{Reconciler, STOP_RETRY};
use crate::status;

/// No restart waits longer than this.
const MAX_RESTART_DELAY: Duration = Duration::from_secs(60);

impl Reconciler {
    /// Somebody wishes something.
    pub(crate) fn wished(&mut self, wish: Wish) {
        match wish {
            // Whoever sent everything down waits for it; a wish that comes meanwhile is refused by silence.
            Wish::Apply(..) | Wish::Scale(..) if self.is_going_down() => {}
            Wish::Apply(mut desired, answer) => {
                let difference = changes(&self.desired, &desired);
                desired.restarts = std::mem::take(&mut self.desired.restarts);
                let before = std::mem::replace(&mut self.desired, desired);
                self.try_failed_again();
                self.prepare_again(&before);
                self.change_answers.push((answer, difference));
            }
            Wish::Scale(replicas, answer) => {
                let mut desired = self.desired.clone();
                for (name, count) in replicas {
                    if let Some(want) = desired.services.get_mut(&name) {
                        want.replicas = count;
                    }
                }
                let difference = changes(&self.desired, &desired);
                self.desired = desired;
                self.change_answers.push((answer, difference));
            }
            Wish::Restart(targets, answer) => self.restart(&targets, answer),
            Wish::Hold(answer) => {
                self.held = true;
                self.hold_answers.push(answer);
            }
            Wish::Recall(answer) => self.recall_answers.push(answer),
            Wish::Release => {
                self.held = false;
                self.hold_answers.clear(); // whoever still waits is told by silence
            }
            Wish::Down(grace, answer) => {
                self.down_answers.push(answer);
                let before = match self.desired.goal {
                    Goal::Down { grace } => grace,
                    Goal::Run => None,
                };
                // A second wish may hasten the first, not slow it down.
                let grace = [before, grace].into_iter().flatten().min();
                self.desired.goal = Goal::Down { grace };
                match grace {
                    Some(Duration::ZERO) => self.kill_all(),
                    Some(grace) => self.hasten(grace),
                    None => {}
                }
            }
        }
    }

    pub(crate) fn is_going_down(&self) -> bool {
        matches!(self.desired.goal, Goal::Down { .. })
    }

    /// What is on its way to its end gets no longer than this.
    fn hasten(&self, grace: Duration) {
        for (place, replica) in &self.fleet.replicas {
            if matches!(replica.phase, Phase::Stopping { .. }) && grace < replica.stop_grace {
                let stop = Stop { signal: replica.stop_signal.clone(), grace };
                self.end(place.instance(replica.run), stop);
            }
        }
    }

    /// A change prepares anew what it replaces; what nobody wants any more is not prepared to its end.
    fn prepare_again(&mut self, before: &Desired) {
        let services = &self.desired.services;
        let mut keys: BTreeMap<&String, bool> = BTreeMap::new();
        for (name, want) in services {
            let Some(key) = &want.prepare_key else { continue };
            let changed = before.services.get(name).is_some_and(|old| old.revision != want.revision);
            *keys.entry(key).or_default() |= changed;
        }
        let worthless: Vec<InstanceId> = self
            .fleet
            .prepare_runs
            .iter()
            .filter(|(key, _)| keys.get(key).is_none_or(|changed| *changed))
            .filter_map(|(key, run)| match self.fleet.prepares.get(key)? {
                Prepare::Running { service, .. } => {
                    Some(InstanceId { service: service.clone(), slot: Slot::Prepare, run: *run })
                }
                Prepare::Done | Prepare::Failed { .. } => None,
            })
            .collect();
        self.fleet.prepares.retain(|key, prepare| match (keys.get(key), prepare) {
            (_, Prepare::Running { .. }) => true,
            (Some(changed), _) => !changed,
            (None, _) => false,
        });
        for id in worthless {
            self.superseded.insert(id.run);
            self.end_leftover(id);
        }
    }

    /// A new wish is a new chance for what had given up.
    fn try_failed_again(&mut self) {
        self.fleet.prepares.retain(|_, prepare| !matches!(prepare, Prepare::Failed { .. }));
        for replica in self.fleet.replicas.values_mut() {
            if replica.has_given_up()
                && let Phase::Ended { asked, .. } = &mut replica.phase
            {
                *asked = true;
                replica.failures = 0;
            }
        }
    }

    fn kill_all(&self) {
        for (place, replica) in &self.fleet.replicas {
            if replica.is_alive() {
                self.end_leftover(place.instance(replica.run));
            }
        }
        for (key, prepare) in &self.fleet.prepares {
            if let Prepare::Running { service, .. } = prepare {
                tracing::debug!(%key, "killing prepare");
                let id = InstanceId {
                    service: service.clone(),
                    slot: Slot::Prepare,
                    run: self.prepare_run_of(key),
                };
                self.end_leftover(id);
            }
        }
    }

    fn prepare_run_of(&self, key: &str) -> u32 {
        self.fleet.prepare_runs.get(key).copied().unwrap_or_default()
    }

    /// The driver tells something.
    pub(crate) async fn happened(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Exited { id, exit, at, last_lines } => self.exited(id, exit, at, last_lines).await,
            Event::Notice { code, message, hint } => (self.with.tell)(Happening {
                level: Level::Warning,
                kind: "notice",
                service: None,
                instance: None,
                message,
                code: Some(code),
                hint,
            }),
            Event::Failed(why) => return Err(why),
        }
        Ok(())
    }

    async fn exited(&mut self, id: InstanceId, exit: Exit, at: Timestamp, last_lines: Vec<String>) {
        match id.slot {
            Slot::Check(_) => self.with.checks.exited(&id, exit, last_lines),
            Slot::Prepare => self.prepared(&id, &exit, last_lines),
            Slot::Replica(_) => {
                let end = End { why: exit.to_string(), exit: Some(exit), last_lines, at };
                let Some(replica) = self.fleet.current(&id) else {
                    return; // a run that is long replaced
                };
                match &mut replica.phase {
                    Phase::Starting { ended_early } => *ended_early = Some(end),
                    Phase::Stopping { ended, .. } => *ended = Some(end),
                    Phase::Running { .. } => {
                        if let Some(place) = Place::of(&id) {
                            self.with.registry.deregister(&id).await;
                            self.ended_by_itself(&place, end);
                        }
                    }
                    Phase::Ended { .. } => {}
                }
            }
        }
    }

    fn prepared(&mut self, id: &InstanceId, exit: &Exit, last_lines: Vec<String>) {
        let key = self.fleet.prepare_runs.iter().find(|(_, run)| **run == id.run).map(|(key, _)| key.clone());
        let Some(key) = key else { return };
        self.fleet.prepare_runs.remove(&key);
        if self.superseded.remove(&id.run) || self.is_going_down() {
            self.say(
                Level::Info,
                "service.prepare_stopped",
                id,
                format!("`prepare` of {} stopped", id.service),
            );
            self.fleet.prepares.remove(&key);
        } else if exit.is_success() {
            self.say(Level::Info, "service.prepared", id, format!("{} is prepared", id.service));
            self.fleet.prepares.insert(key, Prepare::Done);
        } else {
            self.prepare_failed(id, key, exit.to_string(), last_lines, "A0520", None);
        }
    }

    fn prepare_failed(
        &mut self,
        id: &InstanceId,
        key: String,
        why: String,
        last_lines: Vec<String>,
        code: &'static str,
        hint: Option<String>,
    ) {
        (self.with.tell)(Happening {
            level: Level::Error,
            kind: "service.prepare_failed",
            service: Some(id.service.clone()),
            instance: Some(id.name()),
            message: format!("`prepare` of {} failed: {why}", id.service),
            code: Some(code),
            hint: hint.or_else(|| Some(format!("see `atoll logs {}`, then `atoll up` again", id.service))),
        });
        self.fleet.prepares.insert(key, Prepare::Failed { why, last_lines });
    }

    /// A step has come to its end.
    pub(crate) async fn resulted(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Started { id, pid, at } => self.started(id, pid, at).await,
            Outcome::NotStarted { id, why, code, hint } => self.not_started(id, why, code, hint).await,
            Outcome::Stopped { id } => self.stopped(&id),
            Outcome::NotStopped { id, why } => {
                self.say(
                    Level::Error,
                    "instance.not_stopped",
                    &id,
                    format!("cannot stop {}: {why}", id.name()),
                );
                let retry_at = self.with.clock.now() + STOP_RETRY;
                self.stop_retry_at = Some(retry_at);
                let Some(replica) = self.fleet.current(&id) else { return };
                match replica.phase {
                    // It ended all the same.
                    Phase::Stopping { ended: Some(_), .. } => {
                        self.with.registry.deregister(&id).await;
                        self.stopped(&id);
                    }
                    Phase::Stopping { pid, since, ended: None } => {
                        let detail = format!("cannot be stopped: {why}");
                        replica.phase = Phase::Running { pid, since, health: Health::Draining, detail };
                    }
                    _ => {}
                }
            }
        }
    }

    async fn started(&mut self, id: InstanceId, pid: u32, at: Timestamp) {
        let Some(place) = Place::of(&id) else { return };
        let Some(replica) = self.fleet.current(&id) else { return };
        let Phase::Starting { ended_early } = &mut replica.phase else { return };
        let ended = ended_early.take();
        replica.phase = Phase::Running { pid, since: at, health: Health::Starting, detail: String::new() };
        self.say(Level::Info, "instance.started", &id, format!("{place} started, pid {pid}"));
        if let Some(end) = ended {
            self.with.registry.deregister(&id).await;
            self.ended_by_itself(&place, end);
        }
    }

    async fn not_started(&mut self, id: InstanceId, why: String, code: &'static str, hint: Option<String>) {
        let at = self.with.clock.now();
        match Place::of(&id) {
            Some(place) => {
                let name = place.to_string();
                if let Some(replica) = self.fleet.current(&id) {
                    (self.with.tell)(Happening {
                        level: Level::Error,
                        kind: "instance.not_started",
                        service: Some(place.service.clone()),
                        instance: Some(name),
                        message: why.clone(),
                        code: Some(code),
                        hint,
                    });
                    // What cannot be started will hardly start a moment later: it counts as failed at once.
                    replica.failures = replica.failures.max(status::FAILED_AFTER - 1);
                    self.ended_by_itself(&place, End { exit: None, why, last_lines: Vec::new(), at });
                }
            }
            None => {
                let key = self
                    .fleet
                    .prepare_runs
                    .iter()
                    .find(|(_, run)| **run == id.run)
                    .map(|(key, _)| key.clone());
                if let Some(key) = key {
                    self.fleet.prepare_runs.remove(&key);
                    self.superseded.remove(&id.run);
                    self.prepare_failed(&id, key, why, Vec::new(), code, hint);
                }
            }
        }
    }

    fn stopped(&mut self, id: &InstanceId) {
        let at = self.with.clock.now();
        let Some(replica) = self.fleet.current(id) else { return };
        let ended = match &mut replica.phase {
            Phase::Stopping { ended, .. } => ended.take(),
            _ => return,
        };
        if ended.is_some() {
            replica.last_end = ended;
        }
        replica.phase = Phase::Ended { asked: true, at, retry_at: None };
        replica.failures = 0;
        replica.short_lives = 0;
        if let Some(port) = replica.port.take() {
            self.with.ports.release(port);
        }
        self.with.checks.forget(id);
        self.say(Level::Info, "instance.stopped", id, format!("{} stopped", id.name()));
    }

    /// An instance ended and nobody had asked it to.
    pub(crate) fn ended_by_itself(&mut self, place: &Place, end: End) {
        let now = self.with.clock.now();
        let going_down = self.is_going_down(); // then nobody is surprised, and nothing starts again
        let want = self.desired.services.get(&place.service).filter(|_| !going_down);
        let Some(replica) = self.fleet.replicas.get_mut(place) else { return };
        let id = place.instance(replica.run);
        let ran = match replica.phase {
            Phase::Running { since, .. } => end.at.since(since),
            _ => Duration::ZERO,
        };
        let mut retry_at = None;
        if let Some(want) = want {
            let policy = want.service.restart;
            replica.short_lives =
                if ran >= policy.window { 1 } else { replica.short_lives.saturating_add(1) };
            if end.is_success() {
                replica.failures = 0;
            } else if ran >= policy.window {
                replica.failures = 1;
            } else {
                replica.failures = replica.failures.saturating_add(1);
            }
            if restarts_after(want, replica.failures, &end) {
                let backoff = Backoff { first: policy.delay, max: MAX_RESTART_DELAY.max(policy.delay) };
                retry_at = Some(now + backoff.draw(replica.failures.max(replica.short_lives)));
                replica.restarts = replica.restarts.saturating_add(1);
            }
        }
        if let Some(port) = replica.port.take() {
            self.with.ports.release(port);
        }
        let success = end.is_success();
        let message = match retry_at {
            Some(at) => format!(
                "{place} ended ({}); starts again in {}",
                end.why,
                kit::units::format_duration(Duration::from_millis(at.since(now).as_millis() as u64))
            ),
            None => format!("{place} ended ({})", end.why),
        };
        replica.last_end = Some(end);
        replica.phase = Phase::Ended { asked: false, at: now, retry_at };
        self.with.checks.forget(&id);
        let level = if success || going_down { Level::Info } else { Level::Error };
        let (code, hint) = if success || going_down {
            (None, None)
        } else {
            (Some("A0521"), Some(format!("see `atoll logs {}`", place.service)))
        };
        (self.with.tell)(Happening {
            level,
            kind: "instance.exited",
            service: Some(place.service.clone()),
            instance: Some(place.to_string()),
            message,
            code,
            hint,
        });
    }

    /// The registry has looked.
    pub(crate) fn observed(&mut self, seen: &BTreeMap<InstanceId, Observed>) {
        let mut said = Vec::new();
        for (place, replica) in &mut self.fleet.replicas {
            let run = replica.run;
            let Phase::Running { since, health, detail, .. } = &mut replica.phase else { continue };
            let id = place.instance(run);
            let Some(observed) = seen.get(&id) else { continue };
            detail.clone_from(&observed.detail);
            if *health == observed.health {
                continue;
            }
            let before = std::mem::replace(health, observed.health);
            match observed.health {
                Health::Ready => {
                    let after = observed.since.since(*since);
                    replica.was_ready = true;
                    if replica.ready_after.is_none() {
                        replica.ready_after = Some(after);
                        said.push((
                            Level::Info,
                            "instance.ready",
                            id,
                            format!("{place} ready in {after:.0?}"),
                        ));
                    } else {
                        said.push((Level::Info, "instance.ready", id, format!("{place} is ready again")));
                    }
                }
                Health::Unready if before == Health::Ready => {
                    let why = format!("{place} is not ready any more: {}", observed.detail);
                    said.push((Level::Warning, "instance.unready", id, why));
                }
                Health::Unready | Health::Starting | Health::Draining => {}
            }
        }
        for (level, kind, id, message) in said {
            self.say(level, kind, &id, message);
        }
    }
}
