//! `!reset` and `!override`: what a file takes away from the files below it.

use std::collections::BTreeMap;

use crate::tree::{Node, Value};

/// The places of a document that carry `!reset` or `!override`, as a tree of keys. Places inside of
/// sequences are not in here: an item has no counterpart in the file below.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Marks {
    here: bool,
    below: BTreeMap<String, Marks>,
}

impl Marks {
    /// Marks the place `path`.
    pub(super) fn add(&mut self, path: &[String]) {
        let mut at = self;
        for key in path {
            at = at.below.entry(key.clone()).or_default();
        }
        at.here = true;
    }

    /// The marks below `path`.
    pub(super) fn under(&self, path: &[&str]) -> Option<&Self> {
        let mut at = self;
        for key in path {
            at = at.below.get(*key)?;
        }
        Some(at)
    }

    /// The place itself is marked.
    pub(super) fn here(&self) -> bool {
        self.here
    }

    /// Takes every marked place out of `base`, the tree about to be overridden.
    pub(super) fn apply(&self, base: &mut Node) {
        let Value::Map(entries) = &mut base.value else { return };
        if self.below.is_empty() {
            return;
        }
        entries.retain_mut(|entry| match self.below.get(&entry.key) {
            Some(marks) if marks.here => false,
            Some(marks) => {
                marks.apply(&mut entry.value);
                true
            }
            None => true,
        });
    }
}
