//! What fires, on disk: a node that starts anew goes on from there, so that whoever was told that something began is told, too, that it
//! is over. Written whole whenever it is another than before.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use manifest::spec::{AlertRule, ServiceName};
use serde::{Deserialize, Serialize};
use telemetry::promql::Labels;
use telemetry::slo::{Alarm, State, Urgency};

use super::{Notice, moment_of};
use crate::state_dir::{StateDir, write_whole};

/// The file in the state directory.
const FILE: &str = "alerts.json";
/// Bytes of it that are read.
const MOST_BYTES: u64 = 64 << 20;

/// An alert that fires.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Fires {
    pub(super) name: String,
    service: Option<String>,
    route: Option<String>,
    labels: Vec<(String, String)>,
    pages: bool,
    pub(super) since_s: u64,
    /// What the rule asked whose alert it is, and for how many seconds that had to hold; `None`: it is a promise's.
    asked: Option<(String, u64)>,
}

impl Fires {
    pub(super) fn new(notice: &Notice, rule: Option<&AlertRule>) -> Self {
        Self {
            name: notice.name.clone(),
            service: notice.service.as_ref().map(ToString::to_string),
            route: notice.route.clone(),
            labels: notice
                .labels
                .iter()
                .map(|(label, value)| (label.to_string(), value.to_string()))
                .collect(),
            pages: notice.urgency == Urgency::Page,
            since_s: notice.since.as_micros() / 1_000_000,
            asked: rule.map(|rule| (rule.ask.clone(), rule.hold.as_secs())),
        }
    }

    /// What the rule was whose alert it is.
    pub(super) fn rule(&self) -> Option<AlertRule> {
        let (ask, hold_s) = self.asked.as_ref()?;
        Some(AlertRule { ask: ask.clone(), hold: Duration::from_secs(*hold_s) })
    }

    pub(super) fn labels(&self) -> Labels {
        self.labels.iter().map(|(label, value)| (label.as_str().into(), value.as_str().into())).collect()
    }

    pub(super) fn urgency(&self) -> Urgency {
        if self.pages { Urgency::Page } else { Urgency::Ticket }
    }

    /// As it is when it held last at this second.
    pub(super) fn alarm(&self, now_s: u64) -> Alarm {
        Alarm { state: State::Firing { since_s: self.since_s.min(now_s), held_s: now_s } }
    }

    /// The end of what is neither promised nor asked any more.
    pub(super) fn ended(&self, now: kit::Timestamp) -> Notice {
        Notice {
            name: self.name.clone(),
            service: self.service.as_ref().and_then(|service| service.parse::<ServiceName>().ok()),
            route: self.route.clone(),
            labels: self.labels(),
            urgency: self.urgency(),
            summary: format!("{}: this is not asked for any more", self.name),
            since: moment_of(self.since_s),
            ended: Some(now),
        }
    }
}

/// What is on disk.
#[derive(Debug)]
pub(super) struct Firing {
    path: PathBuf,
    /// `None`: nobody knows.
    written: Option<Vec<Fires>>,
}

impl Firing {
    /// What fired when the node before this one wrote it last. What cannot be read is nothing: whatever holds fires anew.
    pub(super) fn open(state: &StateDir) -> (Self, Vec<Fires>) {
        let path = state.path().join(FILE);
        let mut fired = read(&path).unwrap_or_default();
        fired.sort();
        (Self { path, written: Some(fired.clone()) }, fired)
    }

    /// What has to be written for this to be on disk, if it is not.
    pub(super) fn unwritten(
        &mut self,
        mut fires: Vec<Fires>,
    ) -> Option<impl FnOnce() -> io::Result<()> + use<>> {
        fires.sort();
        if self.written.as_ref() == Some(&fires) {
            return None;
        }
        let (path, text) = (self.path.clone(), serde_json::to_vec(&fires));
        self.written = Some(fires);
        Some(move || match path.parent() {
            Some(directory) => write_whole(directory, FILE, &text?),
            None => Ok(()),
        })
    }

    /// What was to be written is not on disk: it is written next time.
    pub(super) fn write_anew(&mut self) {
        self.written = None;
    }
}

fn read(path: &Path) -> io::Result<Vec<Fires>> {
    let mut text = Vec::new();
    File::open(path)?.take(MOST_BYTES).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}
