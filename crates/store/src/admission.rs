//! Room for commits under way: bounded by bytes and by their number, never waited for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::Refused;

/// Bytes of commits that may be under way at once. Whoever comes then is refused and may ask again.
pub const UNDER_WAY_BYTES: usize = 64 * 1024 * 1024;

/// Commits that may be under way at once, however small.
pub const UNDER_WAY_COMMITS: usize = 64 * 1024;

/// The room of one store.
#[derive(Debug)]
pub(crate) struct Room {
    used: AtomicUsize,
    most: usize,
    commits: AtomicUsize,
}

impl Room {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { used: AtomicUsize::new(0), most, commits: AtomicUsize::new(0) })
    }

    pub(crate) fn admit(self: &Arc<Self>, bytes: usize) -> Result<Admission, Refused> {
        // A commit that is larger than the whole room has it to itself.
        let bytes = bytes.min(self.most);
        let taken = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            used.checked_add(bytes).filter(|sum| *sum <= self.most)
        });
        if taken.is_err() {
            return Err(Refused::Busy);
        }
        let admission = Admission { room: Arc::clone(self), bytes };
        // From here on it is the drop of the admission that gives back.
        if self.commits.fetch_add(1, Ordering::Relaxed) >= UNDER_WAY_COMMITS {
            return Err(Refused::Busy);
        }
        Ok(admission)
    }

    pub(crate) fn used(&self) -> (usize, usize) {
        (self.used.load(Ordering::Relaxed), self.most)
    }
}

/// Room for one commit; given back when it is on disk, or when this is dropped.
#[derive(Debug)]
pub struct Admission {
    room: Arc<Room>,
    bytes: usize,
}

impl Admission {
    /// Counts a commit that has turned out larger than was asked for. It is taken all the same: whoever commits has
    /// changed what it holds in memory by now.
    pub(crate) fn grow(&mut self, bytes: usize) {
        let more = bytes.min(self.room.most).saturating_sub(self.bytes);
        self.room.used.fetch_add(more, Ordering::Relaxed);
        self.bytes += more;
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.room.used.fetch_sub(self.bytes, Ordering::Relaxed);
        self.room.commits.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_bounded_and_given_back() {
        let room = Room::new(100);
        let first = room.admit(60).unwrap();
        assert_eq!(room.admit(41).unwrap_err(), Refused::Busy);
        let mut second = room.admit(40).unwrap();
        second.grow(50);
        assert_eq!(room.used(), (110, 100), "what has grown is counted");
        drop((first, second));
        assert_eq!(room.used(), (0, 100));
        drop(room.admit(1000).unwrap());
    }

    #[test]
    fn the_number_of_commits_is_bounded_too() {
        let room = Room::new(100);
        let all: Vec<_> = (0..UNDER_WAY_COMMITS).map(|_| room.admit(0).unwrap()).collect();
        assert_eq!(room.admit(0).unwrap_err(), Refused::Busy);
        drop(all);
        room.admit(0).unwrap();
    }
}
