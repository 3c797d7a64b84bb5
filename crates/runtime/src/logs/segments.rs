//! The files of one log: the current one is number 0, higher numbers are older.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Files of one log that are looked at, at most.
const MAX_FILES: u32 = 10_000;

/// Where file number `index` is.
pub(super) fn path(dir: &Path, name: &str, index: u32) -> PathBuf {
    match index {
        0 => dir.join(format!("{name}.log")),
        _ => dir.join(format!("{name}.log.{index}")),
    }
}

/// The numbers of the files that exist, newest first. The current one may be missing.
pub(super) fn indexes(dir: &Path, name: &str) -> Vec<u32> {
    let mut found = Vec::new();
    for index in 0..MAX_FILES {
        if path(dir, name, index).symlink_metadata().is_ok() {
            found.push(index);
        } else if index > 0 {
            break;
        }
    }
    found
}

/// The names of all logs in a directory, sorted. A directory that does not exist has none.
pub(super) fn names(dir: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        let file_name = entry?.file_name();
        let Some(file_name) = file_name.to_str() else { continue };
        let name = file_name.strip_suffix(".log").or_else(|| {
            let (name, number) = file_name.rsplit_once(".log.")?;
            number.bytes().all(|b| b.is_ascii_digit()).then_some(name)
        });
        names.extend(name.map(str::to_owned));
    }
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

/// Makes room for a new current file, keeping `max_files` with it.
pub(super) fn rotate(dir: &Path, name: &str, max_files: u32) -> io::Result<()> {
    for index in indexes(dir, name).into_iter().rev() {
        let from = path(dir, name, index);
        if index + 1 >= max_files {
            fs::remove_file(from)?;
        } else {
            fs::rename(from, path(dir, name, index + 1))?;
        }
    }
    Ok(())
}

/// What stays the same when a file is renamed.
pub(super) fn inode(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|meta| meta.ino())
}

/// Opens the file with this inode wherever rotation has moved it by now, with its number.
pub(super) fn open_inode(dir: &Path, name: &str, wanted: u64) -> Option<(u32, File)> {
    for index in indexes(dir, name) {
        let Ok(file) = File::open(path(dir, name, index)) else { continue };
        if file.metadata().is_ok_and(|meta| meta.ino() == wanted) {
            return Some((index, file));
        }
    }
    None
}
