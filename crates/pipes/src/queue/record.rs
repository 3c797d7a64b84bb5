//! Records as they are on disk: written by hand, each with its version first. A version that is not known is refused,
//! never guessed at.

use std::collections::BTreeMap;

use bytes::Bytes;
use kit::Timestamp;
use kit::trace::{Context, SpanId, TraceId};

pub use super::codec::BadRecord;

use super::codec::{Reader, VERSION, Writer};
use super::message::{Attribute, AttributeValue, Outgoing};
use super::settings::{DeadLetter, DeadLettersFrom, Fifo, Settings};
use crate::name::QueueName;

/// What is kept of a message as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The UUID that it is known by.
    pub id: [u8; 16],
    /// When it was sent.
    pub sent_at: Timestamp,
    /// What was sent. Its delay is not kept.
    pub message: Outgoing,
}

impl Stored {
    /// As bytes. The body comes last, so that reading one copies nothing.
    pub fn encode(id: &[u8; 16], sent_at: Timestamp, message: &Outgoing) -> Bytes {
        let mut to = Writer::new(96 + message.size() + 8 * message.attributes.len());
        to.byte(VERSION);
        to.raw(id);
        to.word(sent_at.as_micros());
        to.text(&message.sender);
        for part in [&message.group, &message.dedup] {
            to.option(part.as_deref(), Writer::text);
        }
        write_trace(&mut to, message.trace.as_deref());
        to.option(message.dead_letter_source.as_deref(), Writer::text);
        to.number(message.attributes.len() as u64);
        for attribute in &message.attributes {
            to.text(&attribute.name);
            to.text(&attribute.kind);
            match &attribute.value {
                AttributeValue::Text(text) => {
                    to.byte(0);
                    to.text(text);
                }
                AttributeValue::Binary(bytes) => {
                    to.byte(1);
                    to.bytes(bytes);
                }
            }
        }
        to.raw(&message.body);
        to.done()
    }

    /// From bytes.
    pub fn decode(record: &Bytes) -> Result<Self, BadRecord> {
        let mut from = Reader::new(record)?;
        let id = from.array()?;
        let sent_at = from.time()?;
        let mut message = Outgoing { sender: from.text()?, ..Outgoing::default() };
        message.group = from.option(Reader::text)?;
        message.dedup = from.option(Reader::text)?;
        message.trace = read_trace(&mut from)?;
        message.dead_letter_source = from.option(Reader::text)?;
        for _ in 0..from.number()? {
            let (name, kind) = (from.text()?, from.text()?);
            let value = match from.byte()? {
                0 => AttributeValue::Text(from.text()?),
                1 => AttributeValue::Binary(record.slice_ref(from.bytes()?)),
                _ => return Err(BadRecord),
            };
            message.attributes.push(Attribute { name, kind, value });
        }
        message.body = record.slice_ref(from.rest);
        Ok(Self { id, sent_at, message })
    }
}

/// Instead of the flag of what is there or not: a `traceparent` in its 25 bytes. Nearly every message has one.
const PACKED_TRACE: u8 = 2;

fn write_trace(to: &mut Writer, trace: Option<&str>) {
    // Only what comes out the same again.
    let packed = trace.and_then(|text| {
        let context = Context::w3c(text.as_bytes())?;
        Some((context, context.span?)).filter(|(context, _)| context.to_w3c().as_deref() == Some(text))
    });
    let Some((Context { id, flags, .. }, span)) = packed else {
        return to.option(trace, Writer::text);
    };
    to.byte(PACKED_TRACE);
    to.raw(&id.0);
    to.raw(&span.0);
    to.byte(flags);
}

fn read_trace(from: &mut Reader<'_>) -> Result<Option<String>, BadRecord> {
    if from.rest.first() != Some(&PACKED_TRACE) {
        return from.option(Reader::text);
    }
    from.byte()?;
    let (id, span, flags) = (TraceId(from.array()?), SpanId(from.array()?), from.byte()?);
    Ok(Context { id, span: Some(span), flags }.to_w3c())
}

/// What became of a message since it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// When it was sent, to the second, or up to a 4096th of the retention later.
    pub sent_second: u32,
    /// The digest of its group; 0: it has none.
    pub group: u64,
    /// Before when nobody gets it; 0: anybody may.
    pub visible_at: Timestamp,
    /// What receivers did.
    pub received: Option<ReceivedMeta>,
}

/// What receivers did with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceivedMeta {
    /// How often it was received.
    pub receives: u32,
    /// When it was received first.
    pub first_at: Timestamp,
    /// When it was received last.
    pub last_at: Timestamp,
}

const HAS_GROUP: u8 = 1;
const HAS_VISIBLE_AT: u8 = 2;
const HAS_RECEIVED: u8 = 4;

impl Meta {
    /// As bytes: as many as there is to say, 6 to 42.
    pub fn encode(&self) -> Bytes {
        let mut to = Writer::new(42);
        to.byte(VERSION);
        let hidden = self.visible_at.as_micros() > 0;
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        to.byte(
            flag(self.group != 0, HAS_GROUP)
                | flag(hidden, HAS_VISIBLE_AT)
                | flag(self.received.is_some(), HAS_RECEIVED),
        );
        to.raw(&self.sent_second.to_be_bytes());
        if self.group != 0 {
            to.word(self.group);
        }
        if hidden {
            to.word(self.visible_at.as_micros());
        }
        if let Some(received) = &self.received {
            to.raw(&received.receives.to_be_bytes());
            to.word(received.first_at.as_micros());
            to.word(received.last_at.as_micros());
        }
        to.done()
    }

    /// From bytes.
    pub fn decode(record: &[u8]) -> Result<Self, BadRecord> {
        let mut from = Reader::new(record)?;
        let flags = from.byte()?;
        if flags > 7 {
            return Err(BadRecord);
        }
        let sent_second = u32::from_be_bytes(from.array()?);
        let group = if flags & HAS_GROUP != 0 { from.word()? } else { 0 };
        let visible_at = if flags & HAS_VISIBLE_AT != 0 { from.time()? } else { Timestamp::from_micros(0) };
        let received = match flags & HAS_RECEIVED {
            0 => None,
            _ => Some(ReceivedMeta {
                receives: u32::from_be_bytes(from.array()?),
                first_at: from.time()?,
                last_at: from.time()?,
            }),
        };
        from.end()?;
        Ok(Self { sent_second, group, visible_at, received })
    }
}

/// What is kept of a queue as a whole, and written now and then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// No message below is there.
    pub low: u64,
    /// No sequence from here on was ever given out.
    pub reserved: u64,
    /// Messages below were purged, whether they are removed or not.
    pub purged_below: u64,
    /// When the last purge was, in microseconds; 0: never.
    pub purged_at: u64,
    /// Sent, received and deleted, ever.
    pub counters: [u64; 3],
    /// No message is there at all. Taken back by the commit that sends the next one.
    pub empty: bool,
}

impl Head {
    /// As bytes.
    pub fn encode(&self) -> Bytes {
        let mut to = Writer::new(64);
        to.byte(VERSION);
        for word in [self.low, self.reserved, self.purged_below, self.purged_at] {
            to.word(word);
        }
        for counter in self.counters {
            to.word(counter);
        }
        to.byte(u8::from(self.empty));
        to.done()
    }

    /// From bytes.
    pub fn decode(record: &[u8]) -> Result<Self, BadRecord> {
        let mut from = Reader::new(record)?;
        let head = Self {
            low: from.word()?,
            reserved: from.word()?,
            purged_below: from.word()?,
            purged_at: from.word()?,
            counters: [from.word()?, from.word()?, from.word()?],
            empty: from.flag()?,
        };
        from.end()?;
        Ok(head)
    }
}

/// The message that was sent with an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its sequence.
    pub sequence: u64,
    /// The UUID that it is known by.
    pub id: [u8; 16],
    /// When it was sent.
    pub sent_at: Timestamp,
}

impl Identity {
    /// As bytes.
    pub fn encode(&self) -> Bytes {
        let mut to = Writer::new(33);
        to.byte(VERSION);
        to.word(self.sequence);
        to.raw(&self.id);
        to.word(self.sent_at.as_micros());
        to.done()
    }

    /// From bytes.
    pub fn decode(record: &[u8]) -> Result<Self, BadRecord> {
        let mut from = Reader::new(record)?;
        let identity = Self { sequence: from.word()?, id: from.array()?, sent_at: from.time()? };
        from.end()?;
        Ok(identity)
    }
}

/// A queue in the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number: given out once, never again.
    pub number: u32,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its settings were changed last.
    pub changed_at: Timestamp,
    /// Whether it is from the application's file.
    pub in_file: bool,
    /// Its settings.
    pub settings: Settings,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

impl Entry {
    /// As bytes.
    pub fn encode(&self) -> Bytes {
        let Settings {
            visibility_seconds,
            delay_seconds,
            retention_seconds,
            message_bytes,
            wait_seconds,
            fifo,
            dead_letter,
            dead_letters_from,
            policy,
            kept,
        } = &self.settings;
        let mut to = Writer::new(256);
        to.byte(VERSION);
        to.raw(&self.number.to_be_bytes());
        to.word(self.created_at.as_micros());
        to.word(self.changed_at.as_micros());
        to.byte(u8::from(self.in_file));
        for number in [visibility_seconds, delay_seconds, retention_seconds, message_bytes, wait_seconds] {
            to.number(u64::from(*number));
        }
        to.option(fifo.as_ref(), |to, fifo| {
            let flags = [fifo.content_dedup, fifo.dedup_by_group, fifo.throughput_by_group];
            flags.iter().for_each(|flag| to.byte(u8::from(*flag)));
        });
        to.option(dead_letter.as_ref(), |to, dead_letter| {
            to.text(dead_letter.target.as_str());
            to.number(u64::from(dead_letter.after));
        });
        match dead_letters_from {
            DeadLettersFrom::All => to.byte(0),
            DeadLettersFrom::Nobody => to.byte(1),
            DeadLettersFrom::These(names) => {
                to.byte(2);
                to.number(names.len() as u64);
                names.iter().for_each(|name| to.text(name.as_str()));
            }
        }
        to.option(policy.as_deref(), Writer::text);
        to.map(kept);
        to.map(&self.tags);
        to.done()
    }

    /// From bytes.
    pub fn decode(record: &[u8]) -> Result<Self, BadRecord> {
        let mut from = Reader::new(record)?;
        let number = u32::from_be_bytes(from.array()?);
        let (created_at, changed_at, in_file) = (from.time()?, from.time()?, from.flag()?);
        let settings = Settings {
            visibility_seconds: from.small()?,
            delay_seconds: from.small()?,
            retention_seconds: from.small()?,
            message_bytes: from.small()?,
            wait_seconds: from.small()?,
            fifo: from.option(|from| {
                Ok(Fifo {
                    content_dedup: from.flag()?,
                    dedup_by_group: from.flag()?,
                    throughput_by_group: from.flag()?,
                })
            })?,
            dead_letter: from.option(|from| Ok(DeadLetter { target: from.name()?, after: from.small()? }))?,
            dead_letters_from: match from.byte()? {
                0 => DeadLettersFrom::All,
                1 => DeadLettersFrom::Nobody,
                2 => {
                    let names = from.number()?;
                    DeadLettersFrom::These((0..names).map(|_| from.name()).collect::<Result<_, _>>()?)
                }
                _ => return Err(BadRecord),
            },
            policy: from.option(Reader::text)?,
            kept: from.map()?,
        };
        let tags = from.map()?;
        from.end()?;
        Ok(Self { number, created_at, changed_at, in_file, settings, tags })
    }
}

/// A move task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MoveRecord {
    /// From which queue.
    pub from: QueueName,
    /// Where to; `None`: to where each came from.
    pub to: Option<QueueName>,
    /// At most so many a second.
    pub per_second: Option<u32>,
    /// 0 running, 1 completed, 2 cancelled, 3 failed.
    pub state: u8,
    /// Why it failed, if it did.
    pub failure: Option<String>,
    /// Moved so far.
    pub moved: u64,
    /// There to be moved when it began.
    pub to_move: u64,
    /// When it began.
    pub started_at: Timestamp,
}

impl MoveRecord {
    /// As bytes.
    pub fn encode(&self) -> Bytes {
        let mut to = Writer::new(128);
        to.byte(VERSION);
        to.text(self.from.as_str());
        to.option(self.to.as_ref(), |to, name| to.text(name.as_str()));
        to.option(self.per_second, |to, rate| to.number(u64::from(rate)));
        to.byte(self.state);
        to.option(self.failure.as_deref(), Writer::text);
        to.number(self.moved);
        to.number(self.to_move);
        to.word(self.started_at.as_micros());
        to.done()
    }

    /// From bytes.
    pub fn decode(record: &[u8]) -> Result<Self, BadRecord> {
        let mut from = Reader::new(record)?;
        let task = Self {
            from: from.name()?,
            to: from.option(Reader::name)?,
            per_second: from.option(Reader::small)?,
            state: from.byte()?,
            failure: from.option(Reader::text)?,
            moved: from.number()?,
            to_move: from.number()?,
            started_at: from.time()?,
        };
        from.end()?;
        Ok(task)
    }
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
