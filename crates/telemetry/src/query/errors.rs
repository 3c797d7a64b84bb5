//! Groups of errors, and the errors in them.

use std::cmp::Reverse;
use std::ops::ControlFlow;

use super::newest::{keep_newest, newest_first};
use super::{Query, Unit, parts};
use crate::block::bloom::{of_group, of_trace};
use crate::block::{Kept, Unpacker};
use crate::filter::ErrorFilter;
use crate::model::{ErrorGroup, ErrorState, GroupId, TakenError, TraceId};
use crate::query::traces::MOST_OF_A_TRACE;

/// The last errors of a group that are told.
const LAST: usize = 20;

/// A group of errors, and the last of them.
#[derive(Clone, Debug, PartialEq)]
pub struct ErrorDetail {
    /// The group.
    pub group: ErrorGroup,
    /// The last ones that are still kept, the newest first.
    pub last: Vec<TakenError>,
}

impl Query {
    /// Groups of errors, the last seen first.
    pub fn error_groups(&self, filter: &ErrorFilter) -> Vec<ErrorGroup> {
        let mut groups: Vec<_> =
            self.shared.groups().iter().filter(|group| filter.matches(group)).cloned().collect();
        groups.sort_by_key(|group| Reverse((group.last_seen_ns, group.id)));
        groups.truncate(filter.limit);
        groups
    }

    /// One group of errors.
    pub fn error_group(&self, id: GroupId) -> Option<ErrorDetail> {
        let group = self.shared.groups().get(id).cloned()?;
        let last = self.errors(LAST, of_group(id.0), |error| error.group == id);
        Some(ErrorDetail { group, last })
    }

    /// Decides about a group: open, resolved or ignored. None if there is no such group.
    pub fn decide(&self, id: GroupId, state: ErrorState) -> Option<ErrorGroup> {
        let now_ns = self.shared.now_ns();
        self.shared.groups().decide(id, state, now_ns).cloned()
    }

    /// The errors of a trace, the oldest first.
    pub(super) fn errors_of(&self, trace: TraceId) -> Vec<TakenError> {
        let mut errors =
            self.errors(MOST_OF_A_TRACE, of_trace(trace), |error| error.event.trace == Some(trace));
        errors.reverse();
        errors
    }

    fn errors(&self, limit: usize, key: u64, wanted: impl Fn(&TakenError) -> bool) -> Vec<TakenError> {
        let lane = self.shared.kept().errors.clone();
        let (parts, unpacker) = (parts(&lane, |_| true, |_| true), Unpacker::default());
        let scan = |unit: &Unit<'_, TakenError>, limit: usize| {
            let mut hits: Vec<_> = match unit {
                Unit::Sealed(block) => {
                    let all = self.in_block(block, &[key], &unpacker, |body| TakenError::read(body, None));
                    let numbered = (block.header.first..).zip(all).filter(|(_, error)| wanted(error));
                    numbered.map(|(number, error)| ((error.event.time_ns, number), error)).collect()
                }
                Unit::Open(chunk) => {
                    let numbered = chunk.numbered().filter(|(_, error)| wanted(error));
                    numbered.map(|(number, error)| ((error.event.time_ns, number), error.clone())).collect()
                }
            };
            keep_newest(&mut hits, limit);
            hits
        };
        let mut errors = Vec::new();
        newest_first(parts, limit, scan, |_, error| {
            errors.push(error);
            ControlFlow::Continue(())
        });
        errors
    }
}
