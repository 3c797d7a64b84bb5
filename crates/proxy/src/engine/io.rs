//! Bytes that have moved over a client's connection, for the sweep that watches it.

use std::cell::Cell;

/// Counts of what has moved.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    read: Cell<u64>,
    written: Cell<u64>,
}

impl Flow {
    /// Bytes that were read.
    pub(crate) fn read(&self) -> u64 {
        self.read.get()
    }

    /// Bytes that were written.
    pub(crate) fn written(&self) -> u64 {
        self.written.get()
    }

    pub(super) fn add_read(&self, bytes: u64) {
        self.read.set(self.read.get() + bytes);
    }

    pub(super) fn add_written(&self, bytes: u64) {
        self.written.set(self.written.get() + bytes);
    }
}
