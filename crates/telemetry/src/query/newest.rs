//! The newest first, out of parts that overlap in time, without looking at more parts than needed.

use std::ops::ControlFlow;

/// The place of a record: its time, then its number.
pub(super) type Place = (u64, u64);

/// A part of what is kept, and the time of its newest record.
pub(super) struct Part<P> {
    pub(super) max_ns: u64,
    pub(super) part: P,
}

/// Gives `found` what `scan` finds in parts, the newest first, until it has enough or `limit` were given. `scan` is asked for
/// at most so many of the newest of a part.
pub(super) fn newest_first<P, H>(
    mut parts: Vec<Part<P>>,
    limit: usize,
    mut scan: impl FnMut(&P, usize) -> Vec<(Place, H)>,
    mut found: impl FnMut(Place, H) -> ControlFlow<()>,
) {
    parts.sort_unstable_by_key(|part| part.max_ns);
    // The oldest first.
    let mut waiting: Vec<(Place, H)> = Vec::new();
    let mut left = limit;
    loop {
        // What is newer than anything in the parts still to come is certain.
        let bound = parts.last().map(|part| part.max_ns);
        while left > 0
            && let Some((place, hit)) = waiting.pop_if(|(place, _)| bound.is_none_or(|bound| place.0 > bound))
        {
            left -= 1;
            if found(place, hit).is_break() {
                return;
            }
        }
        let Some(part) = parts.pop() else { return };
        if left == 0 {
            return;
        }
        waiting.extend(scan(&part.part, left));
        waiting.sort_by_key(|(place, _)| *place); // runs that are in order already
        waiting.drain(..waiting.len().saturating_sub(left));
    }
}

/// The newest of these places, at most so many.
pub(super) fn keep_newest<H>(hits: &mut Vec<(Place, H)>, limit: usize) {
    if hits.len() > limit {
        hits.select_nth_unstable_by_key(limit, |(place, _)| std::cmp::Reverse(*place));
        hits.truncate(limit);
    }
}
