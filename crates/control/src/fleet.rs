//! What is: every replica and `prepare` run that the controller has ever started, and how far each got.
//! Transitions only; nothing is decided here.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use kit::Timestamp;
use manifest::spec::{InstanceId, ServiceName, Slot};
use registry::Health;
use runtime::Exit;

/// A place that one instance fills at a time: replica `index` of a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The service.
    pub service: ServiceName,
    /// From 1.
    pub index: u32,
}

impl Place {
    /// The id of run number `run` in this place.
    pub fn instance(&self, run: u32) -> InstanceId {
        InstanceId { service: self.service.clone(), slot: Slot::Replica(self.index), run }
    }

    /// The place of an instance, if it is a replica.
    pub fn of(id: &InstanceId) -> Option<Self> {
        match id.slot {
            Slot::Replica(index) => Some(Self { service: id.service.clone(), index }),
            Slot::Prepare | Slot::Check(_) => None,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.service, self.index)
    }
}

/// What is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fleet {
    /// Replicas that have been started at least once and are not forgotten.
    pub replicas: BTreeMap<Place, Replica>,
    /// `prepare` commands by key.
    pub prepares: BTreeMap<String, Prepare>,
    /// The run of each `prepare` command that is under way, by key.
    pub prepare_runs: BTreeMap<String, u32>,
    /// The highest run of any replica that was forgotten: the next replica that is new starts behind it, so
    /// that late news of a forgotten run are never taken for news of its successor.
    pub forgotten: u32,
}

/// One replica.
#[derive(Clone, Debug, PartialEq)]
pub struct Replica {
    /// The current or last run.
    pub run: u32,
    /// What that run was started with.
    pub revision: String,
    /// Its port.
    pub port: Option<u16>,
    /// How to ask it to end.
    pub stop_signal: String,
    /// How long it may then take.
    pub stop_grace: Duration,
    /// How far it got.
    pub phase: Phase,
    /// Failures in a row, without a time of health between them.
    pub failures: u32,
    /// Ends by itself in a row, well or badly, each after a short life: the next start waits accordingly.
    pub short_lives: u32,
    /// Restarts after failures, ever.
    pub restarts: u32,
    /// How the last run that ended did, with its last lines.
    pub last_end: Option<End>,
    /// Time from the start of the current run to its first passed check.
    pub ready_after: Option<Duration>,
    /// Whether a run of this revision has been ready.
    pub was_ready: bool,
}

/// How far a replica got.
#[derive(Clone, Debug, PartialEq)]
pub enum Phase {
    /// The driver is starting it.
    Starting {
        /// It ended before its start was told.
        ended_early: Option<End>,
    },
    /// It runs.
    Running {
        /// Its main process.
        pid: u32,
        /// Since when.
        since: Timestamp,
        /// What the registry says.
        health: Health,
        /// The last failed check.
        detail: String,
    },
    /// It drains, then ends.
    Stopping {
        /// Its main process.
        pid: u32,
        /// Since when it runs.
        since: Timestamp,
        /// Whether the driver has told its end.
        ended: Option<End>,
    },
    /// Nothing of it lives.
    Ended {
        /// Atoll ended it; otherwise it ended by itself.
        asked: bool,
        /// When.
        at: Timestamp,
        /// If it is to start again after a failure: when.
        retry_at: Option<Timestamp>,
    },
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct End {
    /// Its exit, or `None` when it never ran.
    pub exit: Option<Exit>,
    /// One line for people: `exit status 1`, `program x not found`.
    pub why: String,
    /// The last lines it wrote.
    pub last_lines: Vec<String>,
    /// When.
    pub at: Timestamp,
}

impl End {
    /// It ended as a job should.
    pub fn is_success(&self) -> bool {
        self.exit.as_ref().is_some_and(Exit::is_success)
    }
}

/// A `prepare` command.
#[derive(Clone, Debug, PartialEq)]
pub enum Prepare {
    /// It runs, on behalf of this service, since then.
    Running {
        /// The service whose log has its output.
        service: ServiceName,
        /// Since when.
        since: Timestamp,
    },
    /// It ended with status 0.
    Done,
    /// It failed.
    Failed {
        /// One line for people.
        why: String,
        /// The last lines it wrote.
        last_lines: Vec<String>,
    },
}

impl Replica {
    /// Something of it may live.
    pub fn is_alive(&self) -> bool {
        !matches!(self.phase, Phase::Ended { .. })
    }

    /// It takes requests.
    pub fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Running { health: Health::Ready, .. })
    }

    /// It ran to its end by itself with status 0 and stays so.
    pub fn is_completed(&self) -> bool {
        matches!(self.phase, Phase::Ended { asked: false, retry_at: None, .. })
            && self.last_end.as_ref().is_some_and(End::is_success)
    }

    /// It has ended by itself, badly, and stays so.
    pub fn has_given_up(&self) -> bool {
        matches!(self.phase, Phase::Ended { asked: false, retry_at: None, .. }) && !self.is_completed()
    }
}

impl Fleet {
    /// The replicas of a service, by index.
    pub fn of<'a>(&'a self, service: &ServiceName) -> impl Iterator<Item = (u32, &'a Replica)> {
        let from = Place { service: service.clone(), index: 0 };
        let service = service.clone();
        self.replicas
            .range(from..)
            .take_while(move |(place, _)| place.service == service)
            .map(|(place, replica)| (place.index, replica))
    }

    /// Whether anything of a service may live.
    pub fn any_alive(&self, service: &ServiceName) -> bool {
        self.of(service).any(|(_, replica)| replica.is_alive())
    }

    /// Forgets a replica that is not wanted.
    pub fn forget(&mut self, place: &Place) {
        if let Some(replica) = self.replicas.remove(place) {
            self.forgotten = self.forgotten.max(replica.run);
        }
    }

    /// The replica that this instance is a current run of.
    pub fn current(&mut self, id: &InstanceId) -> Option<&mut Replica> {
        let replica = self.replicas.get_mut(&Place::of(id)?)?;
        (replica.run == id.run).then_some(replica)
    }
}
