//! Columns: the values of one thing for all records of a block.

use xxhash_rust::xxh3::xxh3_64;

use crate::block::header::MOST_ROWS;
use crate::bytes::{Reader, put_varint, unzigzag, zigzag};

/// Numbers near each other, such as times: the steps between them.
pub(crate) fn put_steps(to: &mut Vec<u8>, last: &mut u64, number: u64) {
    put_varint(to, zigzag(number.wrapping_sub(*last).cast_signed()));
    *last = number;
}

/// What [`put_steps`] was given.
pub(crate) fn steps(bytes: &[u8], rows: usize) -> Option<Vec<u64>> {
    let mut numbers = numbers(bytes, rows)?;
    let mut last = 0u64;
    for number in &mut numbers {
        last = last.wrapping_add(unzigzag(*number).cast_unsigned());
        *number = last;
    }
    Some(numbers)
}

/// Numbers, one after the other.
pub(crate) fn numbers(bytes: &[u8], rows: usize) -> Option<Vec<u64>> {
    let mut reader = Reader::new(bytes);
    let mut numbers = Vec::with_capacity(rows.min(bytes.len()));
    for _ in 0..rows {
        numbers.push(reader.varint()?);
    }
    Some(numbers)
}

/// The numbers at these places, which grow: what stands between them is passed over, eight bytes at a time.
pub(crate) fn numbers_at(bytes: &[u8], places: &[usize]) -> Option<Vec<u64>> {
    const ENDS: u64 = 0x8080_8080_8080_8080;
    let mut reader = Reader::new(bytes);
    let (mut at, mut numbers) = (0, Vec::with_capacity(places.len()));
    for place in places {
        let mut left = place.checked_sub(at)?;
        while left >= 8
            && let Some(word) = reader.rest().first_chunk::<8>()
        {
            left -= (!u64::from_le_bytes(*word) & ENDS).count_ones() as usize;
            reader.take(8)?;
        }
        // Some of the eight bytes may be the beginning of the next number: its end is passed over with it.
        for _ in 0..left {
            reader.varint()?;
        }
        numbers.push(reader.varint()?);
        at = place + 1;
    }
    Some(numbers)
}

/// Values of which many are the same ones: each once, and for each record which one it is, if any.
#[derive(Default)]
pub(crate) struct Distinct {
    bytes: Vec<u8>,
    ends: Vec<u32>,
    /// For each record: 0 for none, else the place of its value, counted from 1.
    which: Vec<u16>,
    /// Open addressing: places of values, counted from 1.
    table: Vec<u16>,
    last: u16,
}

impl Distinct {
    fn value(&self, which: u16) -> &[u8] {
        let at = usize::from(which);
        let start = if at < 2 { 0 } else { self.ends[at - 2] as usize };
        &self.bytes[start..self.ends[at - 1] as usize]
    }

    /// Gives the record `row` a value. Records before it that have none have none.
    pub(crate) fn put(&mut self, row: usize, value: &[u8]) {
        self.which.resize(row, 0);
        if self.last == 0 || self.value(self.last) != value {
            self.last = self.find(value);
        }
        self.which.push(self.last);
    }

    fn find(&mut self, value: &[u8]) -> u16 {
        if self.table.len() < 2 * (self.ends.len() + 1) {
            self.grow();
        }
        let mask = self.table.len() - 1;
        #[expect(clippy::cast_possible_truncation, reason = "the lowest bits")]
        let mut slot = xxh3_64(value) as usize & mask;
        loop {
            match self.table[slot] {
                0 => {
                    self.bytes.extend_from_slice(value);
                    self.ends.push(u32::try_from(self.bytes.len()).unwrap_or(u32::MAX));
                    let which = u16::try_from(self.ends.len()).unwrap_or(u16::MAX); // no more than records, see MOST_ROWS
                    self.table[slot] = which;
                    return which;
                }
                which if self.value(which) == value => return which,
                _ => slot = (slot + 1) & mask,
            }
        }
    }

    fn grow(&mut self) {
        let size = (4 * (self.ends.len() + 1)).next_power_of_two().max(16);
        let mut table = vec![0; size];
        for which in 1..=u16::try_from(self.ends.len()).unwrap_or(u16::MAX) {
            #[expect(clippy::cast_possible_truncation, reason = "the lowest bits")]
            let mut slot = xxh3_64(self.value(which)) as usize & (size - 1);
            while table[slot] != 0 {
                slot = (slot + 1) & (size - 1);
            }
            table[slot] = which;
        }
        self.table = table;
    }

    /// Whether the record `row` has a value already.
    pub(crate) fn has(&self, row: usize) -> bool {
        self.which.len() > row
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The values, each once.
    pub(crate) fn values(&self) -> impl Iterator<Item = &[u8]> {
        (1..=u16::try_from(self.ends.len()).unwrap_or(u16::MAX)).map(|which| self.value(which))
    }

    /// Writes it as a column of so many records and begins anew.
    pub(crate) fn write(&mut self, rows: usize, to: &mut Vec<u8>) {
        self.which.resize(rows, 0);
        put_varint(to, self.ends.len() as u64);
        let mut last = 0;
        for end in &self.ends {
            put_varint(to, u64::from(end - last));
            last = *end;
        }
        to.extend_from_slice(&self.bytes);
        self.write_which(to);
        self.clear();
    }

    /// Writes it as two columns, the values and which of them each of so many records has, in runs, and begins anew. All values
    /// have to be of one length: how long they are is not told.
    pub(crate) fn write_apart(&mut self, rows: usize, values: &mut Vec<u8>, which: &mut Vec<u8>) {
        self.which.resize(rows, 0);
        values.extend_from_slice(&self.bytes);
        let mut last = 0;
        for run in self.which.chunk_by(|a, b| a == b) {
            put_steps(which, &mut last, u64::from(run[0]));
            put_varint(which, run.len() as u64);
        }
        self.clear();
    }

    fn write_which(&self, to: &mut Vec<u8>) {
        if self.ends.len() < 256 {
            #[expect(clippy::cast_possible_truncation, reason = "fewer than 256 values")]
            to.extend(self.which.iter().map(|which| *which as u8));
        } else {
            // The low halves, then the high halves: those are alike and pack well.
            to.extend(self.which.iter().map(|which| which.to_le_bytes()[0]));
            to.extend(self.which.iter().map(|which| which.to_le_bytes()[1]));
        }
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.which.clear();
        self.table.fill(0);
        self.last = 0;
    }
}

/// Runs of records that have the same of `count` values: which it is, counted from 1, and how many records.
pub(crate) fn runs(bytes: &[u8], rows: usize, count: usize) -> Option<Vec<(usize, usize)>> {
    let (mut reader, mut runs) = (Reader::new(bytes), Vec::new());
    let (mut last, mut seen) = (0u64, 0usize);
    while !reader.is_empty() {
        last = last.wrapping_add(unzigzag(reader.varint()?).cast_unsigned());
        let which = usize::try_from(last).ok().filter(|which| *which <= count)?;
        let length = usize::try_from(reader.varint()?).ok().filter(|length| *length <= rows - seen)?;
        seen += length;
        runs.push((which, length));
    }
    (seen == rows).then_some(runs)
}

/// Which of `count` values each record has, counted from 1: 0 for none.
fn read_which(reader: &mut Reader<'_>, rows: usize, count: usize) -> Option<Vec<u16>> {
    let which: Vec<u16> = if count < 256 {
        reader.take(rows)?.iter().map(|which| u16::from(*which)).collect()
    } else {
        let low = reader.take(rows)?;
        let high = reader.take(rows)?;
        low.iter().zip(high).map(|(low, high)| u16::from_le_bytes([*low, *high])).collect()
    };
    which.iter().all(|which| usize::from(*which) <= count).then_some(which)
}

/// What [`Distinct`] wrote.
pub(crate) struct Values {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    which: Vec<u16>,
    start: usize,
}

impl Values {
    /// A column that is not there has no values.
    pub(crate) fn read(bytes: Vec<u8>, rows: usize) -> Option<Self> {
        if bytes.is_empty() {
            return Some(Self { bytes, ends: Vec::new(), which: vec![0; rows], start: 0 });
        }
        let mut reader = Reader::new(&bytes);
        let count = reader.count().filter(|count| *count <= MOST_ROWS)?;
        let (mut ends, mut end) = (Vec::with_capacity(count), 0usize);
        for _ in 0..count {
            end = end.checked_add(usize::try_from(reader.varint()?).ok()?)?;
            ends.push(end);
        }
        let start = bytes.len() - reader.rest().len();
        reader.take(end)?;
        let which = read_which(&mut reader, rows, count)?;
        ends.iter_mut().for_each(|end| *end += start);
        Some(Self { bytes, ends, which, start })
    }

    /// How many different values.
    pub(crate) fn count(&self) -> usize {
        self.ends.len()
    }

    /// The value at a place, counted from 1.
    pub(crate) fn value(&self, which: usize) -> Option<&[u8]> {
        let end = *self.ends.get(which.checked_sub(1)?)?;
        let start = which.checked_sub(2).map_or(self.start, |before| self.ends[before]);
        self.bytes.get(start..end)
    }

    /// Which value each record has: 0 for none.
    pub(crate) fn which(&self) -> &[u16] {
        &self.which
    }

    /// The value of a record.
    pub(crate) fn get(&self, row: usize) -> Option<&[u8]> {
        self.value(usize::from(*self.which.get(row)?))
    }

    /// Where a value is, counted from 1.
    pub(crate) fn find(&self, value: &[u8]) -> Option<u16> {
        (1..=self.count())
            .find(|which| self.value(*which) == Some(value))
            .and_then(|which| u16::try_from(which).ok())
    }
}

/// Texts of which hardly any are the same: their lengths, then all of them.
#[derive(Default)]
pub(crate) struct Texts {
    lengths: Vec<u8>,
    bytes: Vec<u8>,
}

impl Texts {
    pub(crate) fn put(&mut self, text: &[u8]) {
        put_varint(&mut self.lengths, text.len() as u64);
        self.bytes.extend_from_slice(text);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn write(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.lengths);
        to.extend_from_slice(&self.bytes);
    }
}

/// What [`Texts`] wrote.
pub(crate) struct Spread {
    pub(crate) bytes: Vec<u8>,
    /// Where each begins in `bytes`, and behind the last.
    pub(crate) starts: Vec<usize>,
}

impl Spread {
    pub(crate) fn read(bytes: Vec<u8>, rows: usize) -> Option<Self> {
        if bytes.is_empty() {
            return Some(Self { bytes, starts: vec![0; rows + 1] });
        }
        let mut reader = Reader::new(&bytes);
        let mut lengths = Vec::with_capacity(rows);
        for _ in 0..rows {
            lengths.push(usize::try_from(reader.varint()?).ok()?);
        }
        let mut at = bytes.len() - reader.rest().len();
        let mut starts = Vec::with_capacity(rows + 1);
        starts.push(at);
        for length in lengths {
            at = at.checked_add(length)?;
            starts.push(at);
        }
        (at == bytes.len()).then_some(Self { bytes, starts })
    }

    pub(crate) fn get(&self, row: usize) -> Option<&[u8]> {
        self.bytes.get(*self.starts.get(row)?..*self.starts.get(row + 1)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn columns_are_read_as_they_were_written(values in prop::collection::vec(prop::option::of(prop::collection::vec(0u8..3, 0..5)), 0..600)) {
            let (mut distinct, mut texts, mut bytes) = (Distinct::default(), Texts::default(), Vec::new());
            for (row, value) in values.iter().enumerate() {
                if let Some(value) = value {
                    distinct.put(row, value);
                }
                texts.put(value.as_deref().unwrap_or_default());
            }
            let mut apart = Distinct::default();
            let ids = values.iter().map(|value| value.as_ref().map_or(0, Vec::len) as u8);
            ids.clone().enumerate().for_each(|(row, id)| apart.put(row, &[id]));
            let (mut each, mut which) = (Vec::new(), Vec::new());
            apart.write_apart(values.len(), &mut each, &mut which);
            let of = runs(&which, values.len(), each.len()).unwrap().into_iter();
            let read: Vec<u8> = of.flat_map(|(which, length)| vec![each[which - 1]; length]).collect();
            prop_assert_eq!(read, ids.collect::<Vec<_>>());
            distinct.write(values.len(), &mut bytes);
            let read = Values::read(bytes, values.len()).unwrap();
            let mut bytes = Vec::new();
            texts.write(&mut bytes);
            let spread = Spread::read(bytes, values.len()).unwrap();
            for (row, value) in values.iter().enumerate() {
                prop_assert_eq!(read.get(row), value.as_deref());
                prop_assert_eq!(spread.get(row), Some(value.as_deref().unwrap_or_default()));
            }
        }

        #[test]
        fn many_values_are_told_apart(rows in 1usize..5_000) {
            let (mut distinct, mut bytes) = (Distinct::default(), Vec::new());
            (0..rows).for_each(|row| distinct.put(row, &row.to_le_bytes()));
            distinct.write(rows, &mut bytes);
            let read = Values::read(bytes, rows).unwrap();
            prop_assert!((0..rows).all(|row| read.get(row) == Some(&row.to_le_bytes()[..])));
        }

        #[test]
        fn steps_are_read_as_they_were_written(all in prop::collection::vec(any::<u64>(), 0..50)) {
            let (mut bytes, mut last) = (Vec::new(), 0);
            all.iter().for_each(|number| put_steps(&mut bytes, &mut last, *number));
            prop_assert_eq!(steps(&bytes, all.len()), Some(all));
        }

        #[test]
        fn numbers_at_some_places_are_those_at_these_places(all in prop::collection::vec((any::<u64>(), 0u32..64), 1..200), meant in prop::collection::vec(any::<bool>(), 200)) {
            let (mut bytes, all): (Vec<u8>, Vec<u64>) = (Vec::new(), all.iter().map(|(number, shift)| number >> shift).collect());
            all.iter().for_each(|number| put_varint(&mut bytes, *number));
            let places: Vec<usize> = (0..all.len()).filter(|place| meant[*place]).collect();
            let expected: Vec<u64> = places.iter().map(|place| all[*place]).collect();
            prop_assert_eq!(numbers_at(&bytes, &places), Some(expected));
            prop_assert_eq!(numbers_at(&bytes, &[all.len()]), None);
        }

        #[test]
        fn damaged_columns_are_no_trouble(bytes in prop::collection::vec(any::<u8>(), 0..200), rows in 0usize..20) {
            let values = Values::read(bytes.clone(), rows);
            if let Some(values) = values {
                (0..rows).for_each(|row| drop(values.get(row).map(<[u8]>::to_vec)));
            }
            drop(runs(&bytes, rows, 10));
            drop(numbers_at(&bytes, &(0..rows).step_by(2).collect::<Vec<_>>()));
            drop(Spread::read(bytes, rows));
        }
    }
}
