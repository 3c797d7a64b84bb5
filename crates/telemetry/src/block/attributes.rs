//! Attributes as columns: one for each key. Keys beyond the first hundreds of a block share one.

use crate::block::bloom::{of_attribute, of_name};
use crate::block::column::{Distinct, Values};
use crate::block::{Body, Writer};
use crate::bytes::{Reader, put_bytes, put_text, put_varint, unzigzag, zigzag};
use crate::model::{Attributes, Text, Value};

/// Keys with a column of their own, at most.
const MOST_KEYS: usize = 256;
/// What stands before the name of such a column.
const PREFIX: &str = "@";
/// The column of all other keys.
const MORE: &str = "more";

/// Columns in the making.
#[derive(Default)]
pub(crate) struct AttributesWriter {
    keys: Vec<Key>,
    more: Distinct,
    scratch: Vec<u8>,
}

struct Key {
    name: Text,
    hash: u64,
    values: Distinct,
}

impl AttributesWriter {
    /// Adds the attributes of a record. Returns what has no column of its own, so that it can be looked for all the same.
    pub(crate) fn put(&mut self, row: usize, attributes: &Attributes, mut found: impl FnMut(u64)) {
        let mut more = Vec::new();
        let mut next = 0;
        for (name, value) in attributes {
            // Records of one kind of work have the same keys in the same order.
            let at = match self.keys.get(next) {
                Some(key) if key.name == *name => Some(next),
                _ => self.keys.iter().position(|key| key.name == *name).or_else(|| self.add(name)),
            };
            self.scratch.clear();
            put_value(&mut self.scratch, value);
            match at.filter(|at| !self.keys[*at].values.has(row)) {
                Some(at) => {
                    self.keys[at].values.put(row, &self.scratch);
                    next = at + 1;
                }
                None => {
                    put_text(&mut more, name);
                    put_bytes(&mut more, &self.scratch);
                    found(of_attribute(of_name(name), &value.as_text()));
                }
            }
        }
        if !more.is_empty() {
            self.more.put(row, &more);
        }
    }

    fn add(&mut self, name: &Text) -> Option<usize> {
        if self.keys.len() >= MOST_KEYS {
            return None;
        }
        self.keys.push(Key { name: name.clone(), hash: of_name(name), values: Distinct::default() });
        Some(self.keys.len() - 1)
    }

    /// Writes all columns and begins anew.
    pub(crate) fn finish(&mut self, writer: &mut Writer) {
        let rows = writer.header.rows as usize;
        let mut column = std::mem::take(&mut self.scratch);
        for key in &mut self.keys {
            if key.values.is_empty() {
                continue;
            }
            if writer.keys.wanted() {
                for value in key.values.values() {
                    match value.split_first() {
                        Some((b't', text)) => {
                            writer
                                .keys
                                .add(of_attribute(key.hash, std::str::from_utf8(text).unwrap_or_default()));
                        }
                        _ => {
                            if let Some(value) = read_value(&mut Reader::new(value), 0) {
                                writer.keys.add(of_attribute(key.hash, &value.as_text()));
                            }
                        }
                    }
                }
            }
            column.clear();
            key.values.write(rows, &mut column);
            writer.column(&format!("{PREFIX}{}", key.name), &column);
        }
        if !self.more.is_empty() {
            column.clear();
            self.more.write(rows, &mut column);
            writer.column(MORE, &column);
        }
        self.scratch = column;
        // Keys of long ago make room: a block is full of those that are in use.
        if self.keys.len() >= MOST_KEYS / 2 {
            self.keys.clear();
        }
    }
}

/// The attributes of a block.
pub(crate) struct AttributesReader {
    keys: Vec<(Text, Values, Vec<Option<Value>>)>,
    more: Values,
}

impl AttributesReader {
    pub(crate) fn read(body: &Body<'_>) -> Option<Self> {
        let mut keys = Vec::new();
        for name in body.names() {
            if let Some(key) = name.strip_prefix(PREFIX) {
                let values = Values::read(body.column(name)?, body.rows)?;
                let decoded = vec![None; values.count()];
                keys.push((key.into(), values, decoded));
            }
        }
        Some(Self { keys, more: Values::read(body.column(MORE)?, body.rows)? })
    }

    /// The attributes of a record.
    pub(crate) fn get(&mut self, row: usize) -> Option<Attributes> {
        let mut attributes = Vec::new();
        for (key, values, decoded) in &mut self.keys {
            let which = usize::from(*values.which().get(row)?);
            let Some(at) = which.checked_sub(1) else { continue };
            // Each value is decoded once: texts are shared by the records that have them.
            if decoded[at].is_none() {
                decoded[at] = Some(read_value(&mut Reader::new(values.value(which)?), 0)?);
            }
            attributes.push((key.clone(), decoded[at].clone()?));
        }
        attributes.extend(more_of(&self.more, row)?);
        Some(attributes)
    }
}

fn more_of(more: &Values, row: usize) -> Option<Attributes> {
    let mut attributes = Vec::new();
    let mut reader = Reader::new(more.get(row).unwrap_or_default());
    while !reader.is_empty() {
        let key = reader.text()?.into();
        attributes.push((key, read_value(&mut Reader::new(reader.bytes()?), 0)?));
    }
    Some(attributes)
}

/// Which records have an attribute with this text.
pub(crate) struct Wanted {
    own: Option<(Values, Vec<bool>)>,
    more: Option<Values>,
    key: String,
    text: String,
}

impl Wanted {
    pub(crate) fn new(body: &Body<'_>, key: &str, text: &str) -> Option<Self> {
        let column = body.column(&format!("{PREFIX}{key}"))?;
        let own = if column.is_empty() {
            None
        } else {
            let values = Values::read(column, body.rows)?;
            let mut meant = vec![false; values.count() + 1];
            for (at, meant) in meant.iter_mut().enumerate().skip(1) {
                *meant = match values.value(at)?.split_first() {
                    Some((b't', value)) => value == text.as_bytes(),
                    _ => read_value(&mut Reader::new(values.value(at)?), 0)?.as_text() == text,
                };
            }
            Some((values, meant))
        };
        let more = body.column(MORE)?;
        let more = if more.is_empty() { None } else { Some(Values::read(more, body.rows)?) };
        Some(Self { own, more, key: key.to_owned(), text: text.to_owned() })
    }

    pub(crate) fn has(&self, row: usize) -> bool {
        let own = self.own.as_ref().is_some_and(|(values, meant)| {
            values.which().get(row).is_some_and(|which| meant.get(usize::from(*which)) == Some(&true))
        });
        let in_more = || {
            let more = self.more.as_ref().and_then(|more| more_of(more, row)).unwrap_or_default();
            more.iter().any(|(key, value)| *key == self.key.as_str() && value.as_text() == self.text)
        };
        own || in_more()
    }
}

/// Lists within lists that are read, at most: what comes in is cut before.
const MOST_DEPTH: usize = 32;

pub(crate) fn put_value(to: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Text(text) => {
            to.push(b't');
            to.extend_from_slice(text.as_bytes());
        }
        Value::Bool(yes) => to.extend_from_slice(&[b'b', u8::from(*yes)]),
        Value::Int(number) => {
            to.push(b'i');
            put_varint(to, zigzag(*number));
        }
        Value::Float(number) => {
            to.push(b'f');
            to.extend_from_slice(&number.to_le_bytes());
        }
        Value::Bytes(bytes) => {
            to.push(b'x');
            to.extend_from_slice(bytes);
        }
        Value::List(values) => {
            to.push(b'l');
            put_varint(to, values.len() as u64);
            for value in values {
                put_nested(to, value);
            }
        }
        Value::Map(values) => {
            to.push(b'm');
            put_pairs(to, values);
        }
    }
}

fn put_nested(to: &mut Vec<u8>, value: &Value) {
    let mut nested = Vec::new();
    put_value(&mut nested, value);
    put_bytes(to, &nested);
}

/// Attributes in a row, where they are no columns.
pub(crate) fn put_pairs(to: &mut Vec<u8>, pairs: &[(Text, Value)]) {
    put_varint(to, pairs.len() as u64);
    for (key, value) in pairs {
        put_text(to, key);
        put_nested(to, value);
    }
}

/// What [`put_pairs`] wrote.
pub(crate) fn read_pairs(reader: &mut Reader<'_>, depth: usize) -> Option<Attributes> {
    (0..reader.count()?)
        .map(|_| Some((reader.text()?.into(), read_value(&mut Reader::new(reader.bytes()?), depth + 1)?)))
        .collect()
}

pub(crate) fn read_value(reader: &mut Reader<'_>, depth: usize) -> Option<Value> {
    if depth > MOST_DEPTH {
        return None;
    }
    Some(match reader.byte()? {
        b't' => Value::Text(std::str::from_utf8(reader.rest()).ok()?.into()),
        b'b' => Value::Bool(reader.byte()? != 0),
        b'i' => Value::Int(unzigzag(reader.varint()?)),
        b'f' => Value::Float(reader.f64()?),
        b'x' => Value::Bytes(reader.rest().to_vec()),
        b'l' => Value::List(
            (0..reader.count()?)
                .map(|_| read_value(&mut Reader::new(reader.bytes()?), depth + 1))
                .collect::<Option<_>>()?,
        ),
        b'm' => Value::Map(read_pairs(reader, depth)?),
        _ => return None,
    })
}
