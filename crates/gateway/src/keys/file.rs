//! A key file that may change: what it was when it was last looked at.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use manifest::spec::JwtKeys;
use ring::digest;

use super::{Key, KeyError, Keys};

/// Bytes of a key file at most.
pub(crate) const MAX_BYTES: usize = 256 * 1024;

/// A file that was written less than this ago may be written again without its times showing it.
const SETTLED: Duration = Duration::from_secs(2);

/// Where the keys are.
pub(crate) fn path(source: &JwtKeys) -> &Path {
    match source {
        JwtKeys::Jwks(path) | JwtKeys::PublicKey(path) | JwtKeys::Secret(path) => path,
    }
}

/// A key file and what is known of it.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    /// What it was like when it was last read and had settled.
    stamp: Option<Stamp>,
    /// Of what it held when its keys were last taken.
    digest: Option<[u8; 32]>,
    /// What was last said to be wrong with it.
    fault: Option<String>,
}

/// What a look at a key file shows.
#[derive(Debug)]
pub(crate) enum Seen {
    /// What it held before.
    Same,
    /// Other keys.
    Changed(Vec<Key>),
    /// What was wrong before is still wrong.
    StillBroken,
}

/// What tells one state of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: (i64, i64),
    /// Also moves when a file is put in its place by renaming, or its modification time is set by hand.
    changed: (i64, i64),
    size: u64,
    inode: u64,
    device: u64,
}

impl Watched {
    /// Looks at the file, and reads it if it may have changed. An error is told once per kind of error.
    pub(crate) fn look(&mut self, source: &JwtKeys) -> Result<Seen, KeyError> {
        let path = path(source);
        let stamp = std::fs::metadata(path).ok().map(|metadata| Stamp::of(&metadata));
        if stamp.is_some() && stamp == self.stamp {
            return Ok(if self.fault.is_some() { Seen::StillBroken } else { Seen::Same });
        }
        self.stamp = None;
        let outcome = read(path)
            .map_err(|source| KeyError::Read { path: path.to_owned(), source })
            .and_then(|(bytes, stamp)| self.take(source, &bytes, stamp));
        match outcome {
            Ok(seen) => {
                self.fault = None;
                Ok(seen)
            }
            Err(error) => {
                let text = kit::report::chain(&error);
                if self.fault.as_ref() == Some(&text) {
                    return Ok(Seen::StillBroken);
                }
                self.fault = Some(text);
                Err(error)
            }
        }
    }

    /// As [`Self::look`], but what is wrong is always told.
    pub(crate) fn look_anew(&mut self, source: &JwtKeys) -> Result<Seen, KeyError> {
        if self.fault.take().is_some() {
            self.stamp = None;
        }
        self.look(source)
    }

    fn take(&mut self, source: &JwtKeys, bytes: &[u8], stamp: Option<Stamp>) -> Result<Seen, KeyError> {
        self.stamp = stamp;
        let found = digest::digest(&digest::SHA256, bytes);
        let found = <[u8; 32]>::try_from(found.as_ref()).ok();
        if found == self.digest {
            return Ok(Seen::Same);
        }
        let keys = Keys::parse(source, bytes)?;
        self.digest = found;
        Ok(Seen::Changed(keys))
    }
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            size: metadata.len(),
            inode: metadata.ino(),
            device: metadata.dev(),
        }
    }
}

/// What the file holds, and its stamp if that can be relied on: it was not written while it was read, nor just
/// before.
fn read(path: &Path) -> io::Result<(Vec<u8>, Option<Stamp>)> {
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a regular file")); // opening a pipe would wait
    }
    let mut bytes = Vec::new();
    let mut file = File::open(path)?;
    file.by_ref().take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > MAX_BYTES {
        return Err(io::Error::other(format!("it is larger than {} KiB", MAX_BYTES / 1024)));
    }
    let after = file.metadata()?;
    let stamp = Stamp::of(&after);
    // A time in the future is no reason to read the file each second for ever.
    let age = after.modified().ok().map(|modified| SystemTime::now().duration_since(modified));
    let settled = !matches!(age, Some(Ok(age)) if age < SETTLED);
    let unchanged = stamp == Stamp::of(&metadata);
    Ok((bytes, Some(stamp).filter(|_| settled && unchanged)))
}
