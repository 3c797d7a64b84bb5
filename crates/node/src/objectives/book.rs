//! What was counted of each promise, in memory and on disk: a line for each minute of each, appended as it is counted. A kill loses
//! at most the last ten seconds. The file is written anew each hour, without what is too old.

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use manifest::spec::Slo;
use serde::{Deserialize, Serialize};
use telemetry::slo::{Alarm, Change, Counts, History, Urgency};

use crate::state_dir::StateDir;

/// The file in the state directory.
const FILE: &str = "slo.log";
/// Promises that are remembered, those of earlier files included.
const MOST: usize = 1000;
/// Bytes of a file that are read.
const MOST_BYTES: u64 = 256 << 20;
/// Minutes between two times that the file is written anew.
const ANEW: u64 = 60;

pub(super) struct Book {
    path: PathBuf,
    kept: HashMap<String, Kept>,
    /// When the file was written anew.
    anew_min: u64,
}

#[derive(Default)]
struct Kept {
    history: History,
    alarms: [Alarm; 2],
    /// Not on disk yet.
    unkept: BTreeMap<u64, Counts>,
}

#[derive(Serialize, Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    of: std::borrow::Cow<'a, str>,
    minute: u64,
    total: u64,
    bad: u64,
}

static EMPTY: History = History::NONE;

impl Book {
    pub(super) fn open(state: &StateDir, now_min: u64) -> Self {
        Self::at(&state.path().join(FILE), now_min)
    }

    fn at(path: &Path, now_min: u64) -> Self {
        let mut book = Self { path: path.to_owned(), kept: HashMap::new(), anew_min: 0 };
        let Ok(file) = File::open(path) else { return book };
        for line in BufReader::new(io::Read::take(file, MOST_BYTES)).lines().map_while(Result::ok) {
            // A torn end is what was counted last.
            if let Ok(Line { of, minute, total, bad }) = serde_json::from_str(&line)
                && let Some(kept) = book.of(&of)
            {
                kept.history.add(minute, Counts { total, bad });
            }
        }
        book.compact(now_min);
        book
    }

    fn of(&mut self, name: &str) -> Option<&mut Kept> {
        if !self.kept.contains_key(name) {
            if self.kept.len() >= MOST {
                return None;
            }
            self.kept.insert(name.to_owned(), Kept::default());
        }
        self.kept.get_mut(name)
    }

    fn compact(&mut self, now_min: u64) {
        for kept in self.kept.values_mut() {
            kept.history.compact(now_min, Slo::MAX_WINDOW.as_secs() / 60);
        }
        self.kept.retain(|_, kept| kept.history.entries().next().is_some());
    }

    pub(super) fn count(&mut self, name: &str, minute: u64, counts: Counts) {
        if let Some(kept) = self.of(name) {
            kept.history.add(minute, counts);
            kept.unkept.entry(minute).or_default().add(counts);
        }
    }

    pub(super) fn history(&self, name: &str) -> &History {
        self.kept.get(name).map_or(&EMPTY, |kept| &kept.history)
    }

    /// Looks at the alarms of a promise.
    pub(super) fn look(
        &mut self,
        name: &str,
        urgency: Option<Urgency>,
        now_s: u64,
    ) -> Vec<(Urgency, Change)> {
        let Some(kept) = self.kept.get_mut(name) else { return Vec::new() };
        let of = |(alarm, of): (&mut Alarm, Urgency)| {
            // What pages is no ticket as well.
            Some((of, alarm.look(urgency == Some(of), now_s, 0)?))
        };
        kept.alarms.iter_mut().zip([Urgency::Ticket, Urgency::Page]).filter_map(of).collect()
    }

    /// Ends what fires of a promise that is gone. Gives since when it did.
    pub(super) fn end(&mut self, name: &str) -> Vec<(Urgency, u64)> {
        let Some(kept) = self.kept.get_mut(name) else { return Vec::new() };
        let alarms = std::mem::take(&mut kept.alarms).into_iter().zip([Urgency::Ticket, Urgency::Page]);
        alarms.filter_map(|(alarm, of)| Some((of, alarm.firing_since_s()?))).collect()
    }

    /// All that fires of a promise, and since when.
    pub(super) fn fires(&self, name: &str) -> Vec<(Urgency, u64)> {
        let Some(kept) = self.kept.get(name) else { return Vec::new() };
        let alarms = kept.alarms.iter().zip([Urgency::Ticket, Urgency::Page]);
        alarms.filter_map(|(alarm, of)| Some((of, alarm.firing_since_s()?))).collect()
    }

    /// Goes on from what fired for a node before this one.
    pub(super) fn restore(&mut self, name: &str, urgency: Urgency, alarm: Alarm) {
        if let Some(kept) = self.of(name) {
            let [ticket, page] = &mut kept.alarms;
            *(if urgency == Urgency::Page { page } else { ticket }) = alarm;
        }
    }

    /// The most urgent that fires, and since when.
    pub(super) fn firing(&self, name: &str) -> Option<(Urgency, u64)> {
        let [ticket, page] = &self.kept.get(name)?.alarms;
        let page = page.firing_since_s().map(|since| (Urgency::Page, since));
        page.or_else(|| ticket.firing_since_s().map(|since| (Urgency::Ticket, since)))
    }

    /// What has to be written: what is not on disk yet, or all of it anew. Nobody who counts waits for a disk: whoever writes it has let
    /// go of the book.
    pub(super) fn unwritten(&mut self, now_min: u64) -> io::Result<Writing> {
        let anew = now_min >= self.anew_min + ANEW;
        let mut text = Vec::new();
        if anew {
            self.compact(now_min);
            self.anew_min = now_min;
        }
        for (name, kept) in &mut self.kept {
            let unkept = std::mem::take(&mut kept.unkept);
            if anew {
                lines(name, kept.history.entries(), &mut text)?;
            } else {
                lines(name, unkept.into_iter(), &mut text)?;
            }
        }
        Ok(Writing { path: self.path.clone(), text, anew })
    }

    /// What was to be written is not on disk: all of it is written next time.
    pub(super) fn write_anew(&mut self) {
        self.anew_min = 0;
    }
}

/// Something to be written.
pub(super) struct Writing {
    path: PathBuf,
    text: Vec<u8>,
    anew: bool,
}

impl Writing {
    pub(super) fn write(self) -> io::Result<()> {
        if self.text.is_empty() && (!self.anew || !self.path.exists()) {
            return Ok(());
        }
        if !self.anew {
            return OpenOptions::new().create(true).append(true).open(&self.path)?.write_all(&self.text);
        }
        match (self.path.parent(), self.path.file_name().and_then(|name| name.to_str())) {
            (Some(directory), Some(name)) => crate::state_dir::write_whole(directory, name, &self.text),
            _ => Ok(()),
        }
    }
}

fn lines(name: &str, entries: impl Iterator<Item = (u64, Counts)>, to: &mut Vec<u8>) -> io::Result<()> {
    for (minute, Counts { total, bad }) in entries {
        serde_json::to_writer(&mut *to, &Line { of: name.into(), minute, total, bad })?;
        to.push(b'\n');
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 28_000_000;

    #[test]
    fn what_was_counted_is_there_again_and_a_torn_end_costs_only_itself() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        let mut book = Book::at(&path, NOW);
        let counts = |total, bad| Counts { total, bad };
        book.count("a \"b\"", NOW, counts(10, 1));
        book.unwritten(NOW).unwrap().write().unwrap();
        book.count("a \"b\"", NOW, counts(5, 0));
        book.count("c", NOW - 200 * 24 * 60, counts(7, 7));
        book.unwritten(NOW).unwrap().write().unwrap();
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"of\":\"c\",\"minu").unwrap();
        let again = Book::at(&path, NOW);
        assert_eq!(again.history("a \"b\"").sum(NOW, 10), counts(15, 1));
        assert_eq!(again.history("c").entries().count(), 0);
        // Written anew it says the same.
        let mut later = Book::at(&path, NOW + ANEW);
        later.unwritten(NOW + ANEW).unwrap().write().unwrap();
        assert_eq!(Book::at(&path, NOW + ANEW).history("a \"b\"").sum(NOW, 10), counts(15, 1));
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 1);
    }

    #[test]
    fn what_pages_is_no_ticket_as_well() {
        let directory = tempfile::tempdir().unwrap();
        let mut book = Book::at(&directory.path().join(FILE), NOW);
        book.count("a", NOW, Counts { total: 1, bad: 1 });
        let fired = book.look("a", Some(Urgency::Page), 1000);
        assert_eq!(fired, [(Urgency::Page, Change::Fired { since_s: 1000 })]);
        assert_eq!(book.firing("a"), Some((Urgency::Page, 1000)));
        // It calms down to a ticket: one begins, the other ends after a while.
        assert_eq!(book.look("a", Some(Urgency::Ticket), 1010).len(), 1);
        assert_eq!(
            book.look("a", Some(Urgency::Ticket), 1400),
            [(Urgency::Page, Change::Resolved { since_s: 1000 })]
        );
        assert_eq!(book.firing("a"), Some((Urgency::Ticket, 1010)));
    }
}
