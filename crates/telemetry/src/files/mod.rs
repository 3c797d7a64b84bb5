//! What is on disk. Each kind of record has segments (`spans-0000472222-000.seg`: blocks, one after the other, that came within
//! an hour) and a journal (`spans.journal`: open records as they were a second ago, as blocks too). Beside them are
//! roll-ups and groups as [`log`]s of their own.
//!
//! Nothing is synced: a process that is killed loses at most the last second, a machine that loses power what its kernel had
//! not written yet. Whatever is found damaged is cut off or set aside, and told in a note; nothing keeps telemetry from opening.

pub(crate) mod lane_files;
pub(crate) mod log;
pub(crate) mod rollups;
pub(crate) mod segment;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What a damaged file is called from then on.
const SET_ASIDE: &str = "damaged";

/// Moves a file out of the way, and tells so.
pub(crate) fn set_aside(path: &Path, why: &str, notes: &mut Vec<String>) {
    let aside = aside_of(path);
    let what = match fs::rename(path, &aside) {
        Ok(()) => format!("set aside as `{}`", aside.display()),
        Err(error) => format!("left where it is ({error})"),
    };
    note(format!("telemetry: `{}` {why}: {what}", path.display()), notes);
}

/// Cuts a file off where it is damaged, with a copy of it as it was if more than a torn end is lost.
pub(crate) fn cut_off(path: &Path, at: u64, torn: bool, notes: &mut Vec<String>) {
    let length = fs::metadata(path).map_or(at, |data| data.len());
    let copied = torn || fs::copy(path, aside_of(path)).is_ok();
    let cut = fs::OpenOptions::new().write(true).open(path).and_then(|file| file.set_len(at));
    let what = if torn { "ends within a record" } else { "is damaged" };
    let kept = match (torn, copied) {
        (true, _) => String::new(),
        (false, true) => format!(", as it was: `{}`", aside_of(path).display()),
        (false, false) => ", and there was no room for a copy".to_owned(),
    };
    let done = cut.map_or_else(|error| format!("could not be cut ({error})"), |()| format!("cut at {at}"));
    note(format!("telemetry: `{}` {what} at byte {at} of {length}: {done}{kept}", path.display()), notes);
}

fn aside_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(SET_ASIDE);
    path.with_file_name(name)
}

fn note(text: String, notes: &mut Vec<String>) {
    tracing::warn!("{text}");
    notes.push(text);
}

/// The files of a directory whose names begin and end like this, with what stands between.
pub(crate) fn named(directory: &Path, start: &str, end: &str) -> io::Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if let Some(middle) = name.strip_prefix(start).and_then(|rest| rest.strip_suffix(end)) {
            found.push((middle.to_owned(), path.clone()));
        }
    }
    found.sort();
    Ok(found)
}
