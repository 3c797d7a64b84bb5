//! Restarts that somebody waits for: from the wish to its answer.

use std::collections::BTreeMap;

use manifest::spec::ServiceName;
use tokio::sync::oneshot;

use crate::controller::{RestartError, Target};
use crate::desired::Goal;
use crate::fleet::{Phase, Place, Prepare, Replica};
use crate::order::{self, Gate};
use crate::reconciler::Reconciler;
use crate::status;

/// A restart that somebody waits for.
pub(crate) struct PendingRestart {
    /// Each place with the run that has to go.
    pub(crate) runs: BTreeMap<Place, u32>,
    pub(crate) answer: oneshot::Sender<Result<Vec<Place>, RestartError>>,
}

impl Reconciler {
    /// Somebody wishes that these start anew; no targets: all.
    pub(crate) fn restart(
        &mut self,
        targets: &[Target],
        answer: oneshot::Sender<Result<Vec<Place>, RestartError>>,
    ) {
        let mut runs = BTreeMap::new();
        let all: Vec<Target> = self.desired.services.keys().cloned().map(Target::Service).collect();
        for target in if targets.is_empty() { &all } else { targets } {
            let (service, only) = match target {
                Target::Service(service) => (service, None),
                Target::Place(place) => (&place.service, Some(place.index)),
            };
            let Some(want) = self.desired.services.get(service) else {
                let _ = answer.send(Err(RestartError::Unknown(service.to_string())));
                return;
            };
            if only.is_some_and(|index| index == 0 || index > want.replicas) {
                let name = Place { service: service.clone(), index: only.unwrap_or_default() }.to_string();
                let _ = answer.send(Err(RestartError::Unknown(name)));
                return;
            }
            self.add_restarts(service, only, &mut runs);
            if only.is_none() {
                let dependants: Vec<_> = self
                    .desired
                    .services
                    .iter()
                    .filter(|(_, w)| w.service.depends_on.get(service).is_some_and(|d| d.restart))
                    .map(|(name, _)| name.clone())
                    .collect();
                for name in dependants {
                    self.add_restarts(&name, None, &mut runs);
                }
            }
        }
        self.fleet.prepares.retain(|_, prepare| !matches!(prepare, Prepare::Failed { .. }));
        for (place, run) in &runs {
            self.desired.restarts.insert(place.clone(), *run);
            if let Some(replica) = self.fleet.replicas.get_mut(place)
                && let Phase::Ended { asked, .. } = &mut replica.phase
            {
                *asked = true;
                replica.failures = 0;
            }
        }
        self.restarts.push(PendingRestart { runs, answer });
    }

    fn add_restarts(&self, service: &ServiceName, only: Option<u32>, runs: &mut BTreeMap<Place, u32>) {
        for (index, replica) in self.fleet.of(service) {
            let wanted = self.desired.services.get(service).is_some_and(|want| index <= want.replicas);
            if wanted && only.is_none_or(|only| only == index) {
                runs.insert(Place { service: service.clone(), index }, replica.run);
            }
        }
    }

    /// Answers restarts that have come to their end. One that fails goes no further.
    pub(crate) fn settle_restarts(&mut self) {
        let down = matches!(self.desired.goal, Goal::Down { .. });
        let mut open = Vec::new();
        for pending in std::mem::take(&mut self.restarts) {
            match self.restart_result(&pending.runs, down) {
                Some(result) => {
                    if result.is_err() {
                        for (place, run) in &pending.runs {
                            if self.desired.restarts.get(place) == Some(run) {
                                self.desired.restarts.remove(place);
                            }
                        }
                    }
                    let _ = pending.answer.send(result);
                }
                // Who asked may have gone; the wish stands.
                None if pending.answer.is_closed() => {}
                None => open.push(pending),
            }
        }
        self.restarts = open;
        let fleet = &self.fleet;
        self.desired
            .restarts
            .retain(|place, run| fleet.replicas.get(place).is_some_and(|replica| replica.run <= *run));
    }

    /// `None` as long as there is hope that something happens.
    fn restart_result(
        &self,
        runs: &BTreeMap<Place, u32>,
        down: bool,
    ) -> Option<Result<Vec<Place>, RestartError>> {
        if down {
            return Some(Err(RestartError::GoingDown));
        }
        for (place, run) in runs {
            let Some(replica) = self.fleet.replicas.get(place) else { continue };
            let renewed = replica.run > *run;
            if renewed && (replica.is_ready() || replica.is_completed()) {
                continue;
            }
            let hopeless = if renewed {
                is_hopeless(replica).then(|| (place.clone(), why_it_ended(replica)))
            } else {
                self.why_not_renewed(place, replica)
            };
            return hopeless.map(|(place, why)| Err(RestartError::Failed { place, why }));
        }
        Some(Ok(runs.keys().cloned().collect()))
    }

    /// Why the next run of a replica does not come, and where that lies.
    fn why_not_renewed(&self, place: &Place, replica: &Replica) -> Option<(Place, String)> {
        let want = self.desired.services.get(&place.service)?;
        let prepare = want.prepare_key.as_ref().and_then(|key| self.fleet.prepares.get(key));
        if let Some(Prepare::Failed { why, .. }) = prepare
            && matches!(replica.phase, Phase::Ended { .. })
        {
            return Some((place.clone(), format!("`prepare` failed: {why}")));
        }
        if let Gate::Blocked(why) = order::gate(&place.service, &self.desired, &self.fleet) {
            return Some((place.clone(), why));
        }
        // A replica that is ready goes only when all others of its service are well.
        let mut others = self.fleet.of(&place.service);
        let sick = others.find(|(index, other)| *index != place.index && is_hopeless(other));
        if let Some((index, other)) = sick
            && replica.is_ready()
        {
            return Some((Place { service: place.service.clone(), index }, why_it_ended(other)));
        }
        None
    }
}

fn is_hopeless(replica: &Replica) -> bool {
    replica.has_given_up() || replica.failures >= status::FAILED_AFTER
}

fn why_it_ended(replica: &Replica) -> String {
    replica.last_end.as_ref().map_or_else(String::new, |end| end.why.clone())
}
