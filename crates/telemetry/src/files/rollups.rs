//! Roll-ups and groups of errors as entries of logs.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::bytes::{Reader, put_text, put_varint};
use crate::files::named;
use crate::model::{ErrorGroup, ErrorState, GroupId, Text};
use crate::rollup::{Calls, Minute, Minutes};
use crate::sketch::Sketch;

/// Minutes as an entry.
pub(crate) fn entry_of<M: Borrow<Minute>>(minutes: &BTreeMap<u64, M>) -> Vec<u8> {
    let mut entry = Vec::new();
    put_varint(&mut entry, minutes.len() as u64);
    for (minute, counted) in minutes {
        let counted = counted.borrow();
        put_varint(&mut entry, *minute);
        put_varint(&mut entry, counted.services.len() as u64);
        for (service, calls) in &counted.services {
            put_text(&mut entry, service);
            put_calls(&mut entry, calls);
        }
        put_varint(&mut entry, counted.edges.len() as u64);
        for ((from, to), calls) in &counted.edges {
            put_text(&mut entry, from);
            put_text(&mut entry, to);
            put_calls(&mut entry, calls);
        }
    }
    entry
}

fn put_calls(to: &mut Vec<u8>, calls: &Calls) {
    put_varint(to, calls.errors);
    calls.sketch.write(to);
}

fn read_calls(reader: &mut Reader<'_>) -> Option<Calls> {
    Some(Calls { errors: reader.varint()?, sketch: Sketch::read(reader)? })
}

/// Adds the minutes of an entry to others; none if it is damaged.
pub(crate) fn add_entry(entry: &[u8], minutes: &mut Minutes) -> Option<()> {
    let mut reader = Reader::new(entry);
    for _ in 0..reader.count()? {
        let minute = reader.varint()?;
        let mut counted = Minute::default();
        for _ in 0..reader.count()? {
            let service: Text = reader.text()?.into();
            counted.services.insert(service, read_calls(&mut reader)?);
        }
        for _ in 0..reader.count()? {
            let edge = (reader.text()?.into(), reader.text()?.into());
            counted.edges.insert(edge, read_calls(&mut reader)?);
        }
        minutes.entry(minute).or_default().merge(&counted);
    }
    Some(())
}

/// The files of roll-ups with their hours.
pub(crate) fn rollup_files(directory: &Path) -> Vec<(u64, PathBuf)> {
    let found = named(directory, "rollup-", ".log").unwrap_or_default();
    found.into_iter().filter_map(|(hour, path)| Some((hour.parse().ok()?, path))).collect()
}

/// The file of the roll-ups of an hour.
pub(crate) fn rollup_file(directory: &Path, hour: u64) -> PathBuf {
    directory.join(format!("rollup-{hour:010}.log"))
}

const STATES: [ErrorState; 4] =
    [ErrorState::Open, ErrorState::Resolved, ErrorState::Regressed, ErrorState::Ignored];

/// A group of errors as an entry; without one: that it is gone.
pub(crate) fn entry_of_group(id: GroupId, group: Option<&ErrorGroup>) -> Vec<u8> {
    let mut entry = id.0.to_le_bytes().to_vec();
    let Some(group) = group else { return entry };
    entry.push(group.state as u8);
    for number in [group.count, group.first_seen_ns, group.last_seen_ns, group.resolved_ns] {
        put_varint(&mut entry, number);
    }
    for text in
        [&group.service, &group.kind, &group.value, &group.culprit, &group.first_release, &group.last_release]
    {
        put_text(&mut entry, text);
    }
    entry
}

/// What [`entry_of_group`] made; none if it is damaged.
pub(crate) fn read_group(entry: &[u8]) -> Option<(GroupId, Option<ErrorGroup>)> {
    let mut reader = Reader::new(entry);
    let id = GroupId(reader.u64()?);
    if reader.is_empty() {
        return Some((id, None));
    }
    let state = *STATES.iter().find(|state| Some(**state as u8) == reader.rest().first().copied())?;
    reader.byte()?;
    let (count, first_seen_ns, last_seen_ns, resolved_ns) =
        (reader.varint()?, reader.varint()?, reader.varint()?, reader.varint()?);
    let mut text = || reader.text().map(Text::from);
    let group = ErrorGroup {
        id,
        service: text()?,
        kind: text()?,
        value: text()?,
        culprit: text()?,
        state,
        count,
        first_seen_ns,
        last_seen_ns,
        resolved_ns,
        first_release: text()?,
        last_release: text()?,
    };
    Some((id, Some(group)))
}
