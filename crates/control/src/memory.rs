//! What a controller knows and nobody could find out again: how runs ended, what failed how often, what has
//! been prepared. The controller of a new node that takes over goes on from it, so that a job that is done
//! is not done again and what has given up stays so.

use std::time::Duration;

use kit::Timestamp;
use manifest::spec::ServiceName;
use runtime::Exit;
use serde::{Deserialize, Serialize};

use crate::fleet::{End, Fleet, Phase, Place, Prepare, Replica};

/// What a controller remembers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// See [`Fleet::forgotten`].
    forgotten: u32,
    /// Keys of `prepare` commands that have ended well.
    prepared: Vec<String>,
    /// Those that have failed: key, why, last lines.
    unprepared: Vec<(String, String, Vec<String>)>,
    replicas: Vec<Remembered>,
}

/// One replica.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Remembered {
    service: String,
    index: u32,
    run: u32,
    revision: String,
    stop_signal: String,
    stop_grace: Duration,
    failures: u32,
    short_lives: u32,
    restarts: u32,
    last_end: Option<RememberedEnd>,
    ready_after: Option<Duration>,
    was_ready: bool,
    /// It takes requests.
    ready: bool,
    /// Nothing of it lives.
    ended: Option<Ended>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct RememberedEnd {
    exit: Option<Exit>,
    why: String,
    last_lines: Vec<String>,
    at: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Ended {
    asked: bool,
    at: Timestamp,
    retry_at: Option<Timestamp>,
}

impl Memory {
    /// What is worth remembering of `fleet`. Nothing in it should be under way.
    pub(crate) fn of(fleet: &Fleet) -> Self {
        let mut memory = Self { forgotten: fleet.forgotten, ..Self::default() };
        for (key, prepare) in &fleet.prepares {
            match prepare {
                Prepare::Done => memory.prepared.push(key.clone()),
                Prepare::Failed { why, last_lines } => {
                    memory.unprepared.push((key.clone(), why.clone(), last_lines.clone()));
                }
                Prepare::Running { .. } => {} // begins anew
            }
        }
        memory.replicas =
            fleet.replicas.iter().map(|(place, replica)| Remembered::of(place, replica)).collect();
        memory
    }

    /// Every replica that took requests.
    pub fn ready(&self) -> impl Iterator<Item = Place> {
        self.replicas.iter().filter(|replica| replica.ready).filter_map(Remembered::place)
    }

    /// How many replicas live.
    pub fn living(&self) -> usize {
        self.replicas.iter().filter(|replica| replica.ended.is_none()).count()
    }

    /// Adds to a replica that has been found what is remembered of the same run.
    pub(crate) fn complete(&self, place: &Place, replica: &mut Replica) {
        let same = |seen: &&Remembered| seen.place().as_ref() == Some(place) && seen.run == replica.run;
        let Some(seen) = self.replicas.iter().find(same) else { return };
        replica.failures = seen.failures;
        replica.short_lives = seen.short_lives;
        replica.restarts = seen.restarts;
        replica.last_end = seen.last_end.clone().map(RememberedEnd::into_end);
        replica.ready_after = seen.ready_after;
        replica.was_ready = seen.was_ready;
    }

    /// Adds what nobody can find any more.
    pub(crate) fn restore(self, fleet: &mut Fleet) {
        fleet.forgotten = fleet.forgotten.max(self.forgotten);
        for key in self.prepared {
            fleet.prepares.entry(key).or_insert(Prepare::Done);
        }
        for (key, why, last_lines) in self.unprepared {
            fleet.prepares.entry(key).or_insert(Prepare::Failed { why, last_lines });
        }
        for seen in self.replicas {
            let (Some(place), Some(Ended { asked, at, retry_at })) = (seen.place(), seen.ended) else {
                continue;
            };
            fleet.replicas.entry(place).or_insert_with(|| Replica {
                run: seen.run,
                revision: seen.revision,
                port: None,
                stop_signal: seen.stop_signal,
                stop_grace: seen.stop_grace,
                phase: Phase::Ended { asked, at, retry_at },
                failures: seen.failures,
                short_lives: seen.short_lives,
                restarts: seen.restarts,
                last_end: seen.last_end.map(RememberedEnd::into_end),
                ready_after: seen.ready_after,
                was_ready: seen.was_ready,
            });
        }
    }
}

impl Remembered {
    fn of(place: &Place, replica: &Replica) -> Self {
        let ready = replica.is_ready();
        let ended = match replica.phase {
            Phase::Ended { asked, at, retry_at } => Some(Ended { asked, at, retry_at }),
            _ => None,
        };
        let Replica { run, revision, port: _, stop_signal, stop_grace, phase: _, .. } = replica.clone();
        let Replica { failures, short_lives, restarts, last_end, ready_after, was_ready, .. } =
            replica.clone();
        Self {
            service: place.service.to_string(),
            index: place.index,
            run,
            revision,
            stop_signal,
            stop_grace,
            failures,
            short_lives,
            restarts,
            last_end: last_end.map(|End { exit, why, last_lines, at }| RememberedEnd {
                exit,
                why,
                last_lines,
                at,
            }),
            ready_after,
            was_ready,
            ready,
            ended,
        }
    }

    fn place(&self) -> Option<Place> {
        let service: ServiceName = self.service.parse().ok()?;
        Some(Place { service, index: self.index })
    }
}

impl RememberedEnd {
    fn into_end(self) -> End {
        let Self { exit, why, last_lines, at } = self;
        End { exit, why, last_lines, at }
    }
}
