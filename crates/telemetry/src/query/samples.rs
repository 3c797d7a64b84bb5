//! Points of metrics as they came, by series.

use std::collections::HashMap;

use super::Query;
use crate::block::Unpacker;
use crate::block::points::{Named, each_of, put_series, read_series};
use crate::filter::TimeRange;
use crate::model::{Buckets, MetricValue};

/// A series and its points.
#[derive(Clone, Debug)]
pub(crate) struct Track {
    /// Name, unit and labels.
    pub(crate) named: Named,
    /// When, in nanoseconds, growing, and how much.
    pub(crate) points: Vec<(u64, MetricValue)>,
}

/// Which points of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Points {
    All,
    /// One of each block: enough to know that there is a series, and of which kind.
    Some,
}

/// There are more points than were wanted.
#[derive(Debug)]
pub(crate) struct TooMany;

impl Query {
    /// The series that `wanted` wants, with their points; no more than `most` numbers in all.
    pub(crate) fn tracks(
        &self,
        range: TimeRange,
        which: Points,
        most: usize,
        mut wanted: impl FnMut(&Named) -> bool,
    ) -> Result<Vec<Track>, TooMany> {
        let lane = self.shared.kept().points.clone();
        let mut places: HashMap<Box<[u8]>, Option<usize>> = HashMap::new();
        let mut tracks: Vec<Track> = Vec::new();
        let mut taken = 0;
        let (once, unpacker) = (which == Points::Some, Unpacker::default());
        let sealed = lane.sealed.iter().filter(|block| range.meets(block.header.min_ns, block.header.max_ns));
        for block in sealed {
            let found = self.in_block(block, &[], &unpacker, |body| {
                let mut found = Vec::new();
                let place = |bytes: &[u8]| place_of(bytes, &mut places, &mut tracks, &mut wanted);
                each_of(body, range, once, place, |place, at, value| found.push((place, at, value)))?;
                Some(found)
            });
            taken += found.iter().map(|(_, _, value)| weight(value)).sum::<usize>();
            if taken > most {
                return Err(TooMany);
            }
            for (place, at, value) in found {
                tracks[place].points.push((at, value));
            }
        }
        let mut bytes = Vec::new();
        for chunk in lane.open.iter().filter(|chunk| range.meets(chunk.min_ns, chunk.max_ns)) {
            for point in chunk.rows.iter().filter(|point| range.has(point.time_ns)) {
                bytes.clear();
                put_series(&mut bytes, point);
                let Some(place) = place_of(&bytes, &mut places, &mut tracks, &mut wanted) else { continue };
                if once && !tracks[place].points.is_empty() {
                    continue;
                }
                taken += weight(&point.value);
                if taken > most {
                    return Err(TooMany);
                }
                tracks[place].points.push((point.time_ns, point.value.clone()));
            }
        }
        tracks.retain(|track| !track.points.is_empty());
        for track in &mut tracks {
            track.points.sort_by_key(|(at, _)| *at);
        }
        Ok(tracks)
    }
}

/// How many numbers it is.
fn weight(value: &MetricValue) -> usize {
    match value {
        MetricValue::Histogram(histogram) => match &histogram.buckets {
            Buckets::Explicit { counts, .. } => 2 + counts.len(),
            Buckets::Exponential { positive, negative, .. } => {
                3 + positive.counts.len() + negative.counts.len()
            }
        },
        MetricValue::Counter(_) | MetricValue::Increase(_) | MetricValue::Gauge(_) => 1,
    }
}

fn place_of(
    bytes: &[u8],
    places: &mut HashMap<Box<[u8]>, Option<usize>>,
    tracks: &mut Vec<Track>,
    wanted: &mut impl FnMut(&Named) -> bool,
) -> Option<usize> {
    if let Some(place) = places.get(bytes) {
        return *place;
    }
    let named = read_series(bytes).filter(|named| wanted(named));
    let place = named.map(|named| {
        tracks.push(Track { named, points: Vec::new() });
        tracks.len() - 1
    });
    places.insert(bytes.into(), place);
    place
}
