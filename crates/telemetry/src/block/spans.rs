//! Spans as columns.

use std::collections::{HashMap, HashSet};
use std::hash::BuildHasherDefault;

use crate::block::attributes::{AttributesReader, Wanted, put_pairs, read_pairs};
use crate::block::bloom::{AsItIs, of_attribute, of_name, of_trace};
use crate::block::column::{Distinct, Values, numbers, numbers_at, put_steps, runs, steps};
use crate::block::{Body, Header, Kept, Writer};
use crate::bytes::{Reader, put_text, put_varint, unzigzag, zigzag};
use crate::filter::TraceFilter;
use crate::model::{Link, Span, SpanEvent, SpanId, SpanKind, Status, TraceId};

const START: &str = "start";
const DURATION: &str = "duration";
const SERVICE: &str = "service";
const NAME: &str = "name";
/// Kind and status in a byte each.
const KIND: &str = "kind";
/// Which of [`TRACES`] it is; blocks that were written before there was that have the ids here as well.
const TRACE: &str = "trace";
/// Ids of traces, each once: to look for one, this alone has to be read.
const TRACES: &str = "traces";
const SPAN: &str = "span";
/// 0: none; 1: the next of [`PARENTS`]; else how many records further the parent stands, in this very block.
const PARENT: &str = "parent";
const PARENTS: &str = "parents";
const MESSAGE: &str = "message";
/// Events and links.
const PARTS: &str = "parts";

const KINDS: [SpanKind; 5] =
    [SpanKind::Internal, SpanKind::Server, SpanKind::Client, SpanKind::Producer, SpanKind::Consumer];

impl Kept for Span {
    const NAME: &'static str = "spans";

    fn write(rows: &mut dyn Iterator<Item = &Self>, writer: &mut Writer) {
        let (mut start, mut duration, mut kind, mut span_ids) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (mut service, mut name, mut trace, mut message, mut parts) = (
            Distinct::default(),
            Distinct::default(),
            Distinct::default(),
            Distinct::default(),
            Distinct::default(),
        );
        let mut parents = Vec::new();
        let (mut last_start, mut last_trace) = (0, TraceId::default());
        let mut last_service = crate::model::Text::default();
        let mut scratch = Vec::new();
        for (row, span) in rows.enumerate() {
            writer.header.saw(span.start_ns);
            writer.header.longest_ns = writer.header.longest_ns.max(span.duration_ns);
            writer.header.failed |= span.status.failed();
            if span.service != last_service {
                last_service = span.service.clone();
                writer.header.services |= Header::bit_of(&span.service);
            }
            put_steps(&mut start, &mut last_start, span.start_ns);
            put_varint(&mut duration, span.duration_ns);
            service.put(row, span.service.as_bytes());
            name.put(row, span.name.as_bytes());
            kind.push(span.kind as u8 | (status_bits(&span.status) << 4));
            trace.put(row, &span.trace.0);
            if span.trace != last_trace {
                writer.keys.add(of_trace(span.trace));
                last_trace = span.trace;
            }
            span_ids.extend_from_slice(&span.span.0);
            parents.push(span.parent);
            if let Status::Error { message: text } = &span.status
                && !text.is_empty()
            {
                message.put(row, text.as_bytes());
            }
            if !span.events.is_empty() || !span.links.is_empty() {
                scratch.clear();
                put_parts(&mut scratch, span);
                parts.put(row, &scratch);
            }
            let keys = &mut writer.keys;
            writer.attributes.put(row, &span.attributes, |key| keys.add(key));
        }
        let rows = kind.len();
        let (mut ids, mut which) = (Vec::new(), Vec::new());
        trace.write_apart(rows, &mut ids, &mut which);
        writer.column(TRACES, &ids);
        writer.column(TRACE, &which);
        writer.column(START, &start);
        writer.column(DURATION, &duration);
        writer.column(KIND, &kind);
        writer.column(SPAN, &span_ids);
        write_parents(&span_ids, &parents, writer);
        for (name, values) in
            [(SERVICE, &mut service), (NAME, &mut name), (MESSAGE, &mut message), (PARTS, &mut parts)]
        {
            if !values.is_empty() {
                scratch.clear();
                values.write(rows, &mut scratch);
                writer.column(name, &scratch);
            }
        }
    }

    fn read(body: &Body<'_>, places: Option<&[usize]>) -> Option<Vec<Self>> {
        read_spans(body, places, How::Whole)
    }
}

/// How much of a span is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// All of it.
    Whole,
    /// What lists need: no attributes, which are most of it, no events, no links, not why it failed.
    Outline,
}

/// Reads spans at these places, which grow, or all; none if they are damaged.
pub(crate) fn read_spans(body: &Body<'_>, places: Option<&[usize]>, how: How) -> Option<Vec<Span>> {
    let rows = body.rows;
    let all: Vec<usize>;
    let places = match places {
        Some(places) => places,
        None => {
            all = (0..rows).collect();
            &all
        }
    };
    let start = steps(&body.column(START)?, places.last().map_or(0, |last| last + 1).min(rows))?;
    let mut duration = numbers_at(&body.column(DURATION)?, places)?.into_iter();
    let kind = body.column(KIND)?;
    let ids = body.column(SPAN)?;
    let mut parents = parents_at(body, places, &ids)?.into_iter();
    let [service, name] = [SERVICE, NAME].map(|name| values(body, name));
    let (mut service, mut name, traces) = (texts(service?), texts(name?), TracesOf::read(body)?);
    let mut more = match how {
        How::Whole => Some((AttributesReader::read(body)?, values(body, MESSAGE)?, values(body, PARTS)?)),
        How::Outline => None,
    };
    let mut read = |row: usize| {
        let code = *kind.get(row)?;
        let mut span = Span {
            trace: traces.get(row)?,
            span: id_at(&ids, row)?,
            parent: parents.next()?,
            service: service.get(row)?,
            name: name.get(row)?,
            kind: *KINDS.get(usize::from(code & 15))?,
            start_ns: *start.get(row)?,
            duration_ns: duration.next()?,
            status: match code >> 4 {
                0 => Status::Unset,
                1 => Status::Ok,
                _ => Status::Error { message: crate::model::Text::default() },
            },
            attributes: Vec::new(),
            events: Vec::new(),
            links: Vec::new(),
        };
        if let Some((attributes, message, parts)) = &mut more {
            span.attributes = attributes.get(row)?;
            if let Status::Error { message: why } = &mut span.status {
                *why = std::str::from_utf8(message.get(row).unwrap_or_default()).ok()?.into();
            }
            if let Some(parts) = parts.get(row) {
                read_parts(&mut Reader::new(parts), &mut span)?;
            }
        }
        Some(span)
    };
    places.iter().map(|row| read(*row)).collect()
}

fn status_bits(status: &Status) -> u8 {
    match status {
        Status::Unset => 0,
        Status::Ok => 1,
        Status::Error { .. } => 2,
    }
}

pub(crate) fn values(body: &Body<'_>, name: &str) -> Option<Values> {
    Values::read(body.column(name)?, body.rows)
}

/// Texts of which many are the same ones: each made once, when it is first asked for.
pub(crate) struct SharedTexts {
    values: Values,
    texts: Vec<Option<crate::model::Text>>,
}

impl SharedTexts {
    /// The text of a record, empty where it has none.
    pub(crate) fn get(&mut self, row: usize) -> Option<crate::model::Text> {
        let which = usize::from(*self.values.which().get(row)?);
        let Some(at) = which.checked_sub(1) else { return Some(crate::model::Text::default()) };
        let made = self.texts.get_mut(at)?;
        if made.is_none() {
            *made = Some(std::str::from_utf8(self.values.value(which)?).ok()?.into());
        }
        made.clone()
    }
}

pub(crate) fn texts(values: Values) -> SharedTexts {
    SharedTexts { texts: vec![None; values.count()], values }
}

fn id_at(ids: &[u8], row: usize) -> Option<SpanId> {
    Some(SpanId(ids.get(row * 8..row * 8 + 8)?.try_into().ok()?))
}

fn write_parents(ids: &[u8], parents: &[Option<SpanId>], writer: &mut Writer) {
    if parents.iter().all(Option::is_none) {
        return;
    }
    let mut places: HashMap<u64, usize, BuildHasherDefault<AsItIs>> = HashMap::default();
    for (row, id) in ids.chunks_exact(8).enumerate() {
        if let Ok(id) = id.try_into() {
            places.entry(u64::from_le_bytes(id)).or_insert(row);
        }
    }
    let (mut column, mut others) = (Vec::new(), Vec::new());
    for (row, parent) in parents.iter().enumerate() {
        match parent {
            None => put_varint(&mut column, 0),
            Some(parent) => match places.get(&u64::from_le_bytes(parent.0)) {
                Some(place) => {
                    let further = i64::try_from(*place).unwrap_or(0) - i64::try_from(row).unwrap_or(0);
                    put_varint(&mut column, zigzag(further) + 2);
                }
                None => {
                    put_varint(&mut column, 1);
                    others.extend_from_slice(&parent.0);
                }
            },
        }
    }
    writer.column(PARENT, &column);
    writer.column(PARENTS, &others);
}

/// The parents of the records at these places, which grow: what [`write_parents`] wrote.
fn parents_at(body: &Body<'_>, places: &[usize], ids: &[u8]) -> Option<Vec<Option<SpanId>>> {
    let column = body.column(PARENT)?;
    if column.is_empty() {
        return Some(vec![None; places.len()]);
    }
    let codes = numbers_at(&column, places)?;
    // Where one is among the others depends on all that are before it.
    let (all, others) = if codes.contains(&1) {
        (numbers(&column, places.last()? + 1)?, body.column(PARENTS)?)
    } else {
        (Vec::new(), Vec::new())
    };
    let (mut passed, mut before) = (0, 0);
    let parent = |(row, code): (&usize, u64)| {
        Some(match code {
            0 => None,
            1 => {
                before += all.get(passed..*row)?.iter().filter(|code| **code == 1).count();
                passed = *row;
                Some(id_at(&others, before)?)
            }
            further => {
                let place = i64::try_from(*row).ok()?.checked_add(unzigzag(further - 2))?;
                Some(id_at(ids, usize::try_from(place).ok()?)?)
            }
        })
    };
    places.iter().zip(codes).map(parent).collect()
}

fn put_parts(to: &mut Vec<u8>, span: &Span) {
    put_varint(to, span.events.len() as u64);
    for event in &span.events {
        put_varint(to, zigzag(event.time_ns.wrapping_sub(span.start_ns).cast_signed()));
        put_text(to, &event.name);
        put_pairs(to, &event.attributes);
    }
    put_varint(to, span.links.len() as u64);
    for link in &span.links {
        to.extend_from_slice(&link.trace.0);
        to.extend_from_slice(&link.span.0);
        put_pairs(to, &link.attributes);
    }
}

fn read_parts(reader: &mut Reader<'_>, span: &mut Span) -> Option<()> {
    for _ in 0..reader.count()? {
        let time_ns = span.start_ns.wrapping_add(unzigzag(reader.varint()?).cast_unsigned());
        let name = reader.text()?.into();
        span.events.push(SpanEvent { time_ns, name, attributes: read_pairs(reader, 0)? });
    }
    for _ in 0..reader.count()? {
        let (trace, id) = (TraceId(reader.array()?), SpanId(reader.array()?));
        span.links.push(Link { trace, span: id, attributes: read_pairs(reader, 0)? });
    }
    Some(())
}

/// A filter, made ready for blocks.
pub(crate) struct Search<'f> {
    filter: &'f TraceFilter,
    service: Option<u64>,
    keys: Vec<u64>,
}

impl<'f> Search<'f> {
    pub(crate) fn new(filter: &'f TraceFilter) -> Self {
        let keys = filter.attributes.iter().map(|(key, text)| of_attribute(of_name(key), text)).collect();
        Self { filter, service: filter.service.as_deref().map(Header::bit_of), keys }
    }

    /// What has to be in the filter of a block.
    pub(crate) fn keys(&self) -> &[u64] {
        &self.keys
    }

    /// Whether a block can have something.
    pub(crate) fn may_be_in(&self, header: &Header) -> bool {
        self.filter.range.meets(header.min_ns, header.max_ns)
            && self.service.is_none_or(|bit| header.services & bit != 0)
            && self.filter.min_ns.is_none_or(|min| header.longest_ns >= min)
            && (self.filter.failed != Some(true) || header.failed)
    }

    /// The records of a block that are meant: place, time, trace. None if it is damaged.
    pub(crate) fn scan(&self, body: &Body<'_>) -> Option<Vec<(usize, u64, TraceId)>> {
        let filter = self.filter;
        let mut meant: Vec<usize> = (0..body.rows).collect();
        // The cheapest and most telling first; a column is read only while something is left.
        for (column, text) in [(SERVICE, &filter.service), (NAME, &filter.operation)] {
            if let Some(text) = text {
                let values = values(body, column)?;
                let which = values.find(text.as_bytes());
                meant.retain(|row| which.is_some() && values.which().get(*row).copied() == which);
            }
        }
        if let Some(failed) = filter.failed
            && !meant.is_empty()
        {
            let kind = body.column(KIND)?;
            meant.retain(|row| kind.get(*row).is_some_and(|code| (code >> 4 == 2) == failed));
        }
        for (key, text) in &filter.attributes {
            if meant.is_empty() {
                break;
            }
            let wanted = Wanted::new(body, key, text)?;
            meant.retain(|row| wanted.has(*row));
        }
        if (filter.min_ns.is_some() || filter.max_ns.is_some()) && !meant.is_empty() {
            let mut durations = numbers_at(&body.column(DURATION)?, &meant)?.into_iter();
            let (min, max) = (filter.min_ns.unwrap_or(0), filter.max_ns.unwrap_or(u64::MAX));
            meant.retain(|_| durations.next().is_some_and(|duration| (min..=max).contains(&duration)));
        }
        if meant.is_empty() {
            return Some(Vec::new());
        }
        let start = steps(&body.column(START)?, meant.last().map_or(0, |last| last + 1))?;
        meant.retain(|row| filter.range.has(start[*row]));
        let traces = TracesOf::read(body)?;
        let found = |row: usize| Some((row, start[row], traces.get(row)?));
        meant.into_iter().map(found).collect()
    }
}

/// The traces of the records of a block.
struct TracesOf {
    ids: Vec<TraceId>,
    /// Counted from 1.
    which: Vec<usize>,
}

impl TracesOf {
    fn read(body: &Body<'_>) -> Option<Self> {
        let ids = ids_of(body)?;
        let mut which = Vec::with_capacity(body.rows);
        for (of, length) in runs_of(body, ids.len())? {
            which.resize(which.len() + length, of);
        }
        Some(Self { ids, which })
    }

    fn get(&self, row: usize) -> Option<TraceId> {
        self.ids.get(self.which.get(row)?.checked_sub(1)?).copied()
    }
}

/// The traces that a block has something of, in the order in which they are counted.
fn ids_of(body: &Body<'_>) -> Option<Vec<TraceId>> {
    if !body.has(TRACES) {
        let values = values(body, TRACE)?;
        return (1..=values.count())
            .map(|which| Some(TraceId(values.value(which)?.try_into().ok()?)))
            .collect();
    }
    let ids = body.column(TRACES)?;
    let (ids, rest) = ids.as_chunks::<16>();
    rest.is_empty().then(|| ids.iter().map(|id| TraceId(*id)).collect())
}

/// Which of these traces records are of, counted from 1, and how many of them that follow each other.
fn runs_of(body: &Body<'_>, count: usize) -> Option<Vec<(usize, usize)>> {
    let column = body.column(TRACE)?;
    if body.has(TRACES) {
        return runs(&column, body.rows, count);
    }
    let values = Values::read(column, body.rows)?;
    Some(values.which().iter().map(|which| (usize::from(*which), 1)).collect())
}

/// Traces that are looked for.
pub(crate) type TraceSet = HashSet<TraceId, BuildHasherDefault<AsItIs>>;

/// The places of the records of these traces.
pub(crate) fn places_of(body: &Body<'_>, traces: &TraceSet) -> Option<Vec<usize>> {
    let ids = ids_of(body)?;
    let wanted: Vec<bool> = std::iter::once(false).chain(ids.iter().map(|id| traces.contains(id))).collect();
    let mut places = Vec::new();
    if wanted.contains(&true) {
        let mut row = 0;
        for (which, length) in runs_of(body, ids.len())? {
            if wanted[which] {
                places.extend(row..row + length);
            }
            row += length;
        }
    }
    Some(places)
}
