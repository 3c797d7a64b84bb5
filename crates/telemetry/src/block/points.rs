//! Points of metrics as columns.

use crate::block::bloom::{of_attribute, of_name};
use crate::block::column::{Distinct, put_steps, steps};
use crate::block::spans::values;
use crate::block::{Body, Kept, Writer};
use crate::bytes::{Reader, put_text, put_varint, unzigzag, zigzag};
use crate::filter::TimeRange;
use crate::model::{Buckets, ExponentialBuckets, Histogram, MetricPoint, MetricValue, Text};

const TIME: &str = "time";
/// Name, unit and labels.
const SERIES: &str = "series";
const VALUE: &str = "value";

/// The key of a metric.
pub(crate) fn of_metric(name: &str) -> u64 {
    of_attribute(of_name("metric name"), name)
}

impl Kept for MetricPoint {
    const NAME: &'static str = "points";

    fn write(rows: &mut dyn Iterator<Item = &Self>, writer: &mut Writer) {
        let (mut time, mut series, mut value) = (Vec::new(), Distinct::default(), Distinct::default());
        let (mut last, mut scratch, mut rows_seen) = (0, Vec::new(), 0);
        for (row, point) in rows.enumerate() {
            writer.header.saw(point.time_ns);
            writer.keys.add(of_metric(&point.name));
            put_steps(&mut time, &mut last, point.time_ns);
            scratch.clear();
            put_series(&mut scratch, point);
            series.put(row, &scratch);
            scratch.clear();
            put_value(&mut scratch, &point.value);
            value.put(row, &scratch);
            rows_seen = row + 1;
        }
        writer.column(TIME, &time);
        for (name, values) in [(SERIES, &mut series), (VALUE, &mut value)] {
            scratch.clear();
            values.write(rows_seen, &mut scratch);
            writer.column(name, &scratch);
        }
    }

    fn read(body: &Body<'_>, places: Option<&[usize]>) -> Option<Vec<Self>> {
        let time = steps(&body.column(TIME)?, body.rows)?;
        let (series, value) = (values(body, SERIES)?, values(body, VALUE)?);
        let known: Vec<_> =
            (1..=series.count()).map(|which| read_series(series.value(which)?)).collect::<Option<_>>()?;
        let read = |row: usize| {
            let (name, unit, labels) =
                known.get(usize::from(*series.which().get(row)?).checked_sub(1)?)?.clone();
            Some(Self {
                name,
                unit,
                labels,
                time_ns: *time.get(row)?,
                value: read_value(&mut Reader::new(value.get(row)?))?,
            })
        };
        match places {
            Some(places) => places.iter().map(|row| read(*row)).collect(),
            None => (0..body.rows).map(read).collect(),
        }
    }
}

/// The places of the points of a metric.
pub(crate) fn places_of(body: &Body<'_>, name: &str) -> Option<Vec<usize>> {
    let series = values(body, SERIES)?;
    let meant: Vec<bool> = (1..=series.count())
        .map(|which| Some(Reader::new(series.value(which)?).text()? == name))
        .collect::<Option<_>>()?;
    let is_meant = |row: &usize| usize::from(series.which()[*row]).checked_sub(1).is_some_and(|at| meant[at]);
    Some((0..body.rows).filter(is_meant).collect())
}

/// Gives the points of the series that `place` puts somewhere, row by row: where, when and how much. With `once`, only one of each series
/// in this block.
pub(crate) fn each_of(
    body: &Body<'_>,
    range: TimeRange,
    once: bool,
    mut place: impl FnMut(&[u8]) -> Option<usize>,
    mut each: impl FnMut(usize, u64, MetricValue),
) -> Option<()> {
    let series = values(body, SERIES)?;
    let mut places: Vec<Option<usize>> =
        (1..=series.count()).map(|which| Some(place(series.value(which)?))).collect::<Option<_>>()?;
    if places.iter().all(Option::is_none) {
        return Some(());
    }
    let (time, value) = (steps(&body.column(TIME)?, body.rows)?, values(body, VALUE)?);
    for row in 0..body.rows {
        let which = usize::from(*series.which().get(row)?).checked_sub(1)?;
        let (Some(place), at) = (*places.get(which)?, *time.get(row)?) else { continue };
        if range.has(at) {
            each(place, at, read_value(&mut Reader::new(value.get(row)?))?);
            if once {
                places[which] = None;
            }
        }
    }
    Some(())
}

/// What names the series of a point, as it is kept.
pub(crate) fn put_series(to: &mut Vec<u8>, point: &MetricPoint) {
    put_text(to, &point.name);
    put_text(to, &point.unit);
    for (key, value) in &point.labels {
        put_text(to, key);
        put_text(to, value);
    }
}

/// Name, unit and labels.
pub(crate) type Named = (Text, Text, Vec<(Text, Text)>);

pub(crate) fn read_series(bytes: &[u8]) -> Option<Named> {
    let mut reader = Reader::new(bytes);
    let (name, unit, mut labels) = (reader.text()?.into(), reader.text()?.into(), Vec::new());
    while !reader.is_empty() {
        labels.push((reader.text()?.into(), reader.text()?.into()));
    }
    Some((name, unit, labels))
}

fn put_value(to: &mut Vec<u8>, value: &MetricValue) {
    match value {
        MetricValue::Counter(number) => put_number(to, b'c', *number),
        MetricValue::Increase(number) => put_number(to, b'i', *number),
        MetricValue::Gauge(number) => put_number(to, b'g', *number),
        MetricValue::Histogram(histogram) => {
            put_number(to, if histogram.cumulative { b'H' } else { b'h' }, histogram.sum);
            put_varint(to, histogram.count);
            match &histogram.buckets {
                Buckets::Explicit { bounds, counts } => {
                    to.push(b'e');
                    put_varint(to, bounds.len() as u64);
                    bounds.iter().for_each(|bound| to.extend_from_slice(&bound.to_le_bytes()));
                    put_counts(to, counts);
                }
                Buckets::Exponential { scale, zero, positive, negative } => {
                    to.push(b'x');
                    put_varint(to, zigzag(i64::from(*scale)));
                    put_varint(to, *zero);
                    for buckets in [positive, negative] {
                        put_varint(to, zigzag(i64::from(buckets.offset)));
                        put_counts(to, &buckets.counts);
                    }
                }
            }
        }
    }
}

fn put_number(to: &mut Vec<u8>, kind: u8, number: f64) {
    to.push(kind);
    to.extend_from_slice(&number.to_le_bytes());
}

fn put_counts(to: &mut Vec<u8>, counts: &[u64]) {
    put_varint(to, counts.len() as u64);
    counts.iter().for_each(|count| put_varint(to, *count));
}

fn read_counts(reader: &mut Reader<'_>) -> Option<Vec<u64>> {
    (0..reader.count()?).map(|_| reader.varint()).collect()
}

fn read_value(reader: &mut Reader<'_>) -> Option<MetricValue> {
    let (kind, number) = (reader.byte()?, reader.f64()?);
    Some(match kind {
        b'c' => MetricValue::Counter(number),
        b'i' => MetricValue::Increase(number),
        b'g' => MetricValue::Gauge(number),
        b'h' | b'H' => {
            let count = reader.varint()?;
            let signed = |reader: &mut Reader<'_>| i32::try_from(unzigzag(reader.varint()?)).ok();
            let buckets = match reader.byte()? {
                b'e' => {
                    let bounds = (0..reader.count()?).map(|_| reader.f64()).collect::<Option<_>>()?;
                    Buckets::Explicit { bounds, counts: read_counts(reader)? }
                }
                b'x' => {
                    let (scale, zero) = (signed(reader)?, reader.varint()?);
                    let positive =
                        ExponentialBuckets { offset: signed(reader)?, counts: read_counts(reader)? };
                    let negative =
                        ExponentialBuckets { offset: signed(reader)?, counts: read_counts(reader)? };
                    Buckets::Exponential { scale, zero, positive, negative }
                }
                _ => return None,
            };
            MetricValue::Histogram(Box::new(Histogram {
                cumulative: kind == b'H',
                count,
                sum: number,
                buckets,
            }))
        }
        _ => return None,
    })
}
