//! Log records as columns.

use crate::block::attributes::{AttributesReader, Wanted};
use crate::block::bloom::{of_attribute, of_name, of_trace};
use crate::block::column::{Distinct, Spread, Texts, put_steps, steps};
use crate::block::spans::{texts, values};
use crate::block::{Body, Header, Kept, Writer};
use crate::filter::LogFilter;
use crate::model::{LogRecord, Severity, SpanId, TraceId};
use crate::words::{Phrase, each_hash};

const TIME: &str = "time";
const SERVICE: &str = "service";
const INSTANCE: &str = "instance";
const SEVERITY: &str = "severity";
const BODY: &str = "body";
const TRACE: &str = "trace";
const SPAN: &str = "span";
/// If less than this part of the texts of a block is left to look into, they are looked into one by one.
const FEW: usize = 16;

impl Kept for LogRecord {
    const NAME: &'static str = "logs";

    fn write(rows: &mut dyn Iterator<Item = &Self>, writer: &mut Writer) {
        let (mut time, mut severity, mut body) = (Vec::new(), Vec::new(), Texts::default());
        let (mut service, mut instance, mut trace, mut span) =
            (Distinct::default(), Distinct::default(), Distinct::default(), Distinct::default());
        let mut last = 0;
        for (row, record) in rows.enumerate() {
            writer.header.saw(record.time_ns);
            writer.header.services |= Header::bit_of(&record.service);
            writer.header.severest = writer.header.severest.max(record.severity as u8);
            put_steps(&mut time, &mut last, record.time_ns);
            severity.push(record.severity as u8);
            service.put(row, record.service.as_bytes());
            if !record.instance.is_empty() {
                instance.put(row, record.instance.as_bytes());
            }
            body.put(record.body.as_bytes());
            if writer.keys.wanted() {
                each_hash(record.body.as_bytes(), |word| writer.keys.add(word));
            }
            if let Some(id) = record.trace {
                trace.put(row, &id.0);
                writer.keys.add(of_trace(id));
            }
            if let Some(id) = record.span {
                span.put(row, &id.0);
            }
            let keys = &mut writer.keys;
            writer.attributes.put(row, &record.attributes, |key| keys.add(key));
        }
        let rows = severity.len();
        writer.column(TIME, &time);
        writer.column(SEVERITY, &severity);
        let mut scratch = Vec::new();
        if !body.is_empty() {
            body.write(&mut scratch);
            writer.column(BODY, &scratch);
        }
        for (name, values) in
            [(SERVICE, &mut service), (INSTANCE, &mut instance), (TRACE, &mut trace), (SPAN, &mut span)]
        {
            if !values.is_empty() {
                scratch.clear();
                values.write(rows, &mut scratch);
                writer.column(name, &scratch);
            }
        }
    }

    fn read(body: &Body<'_>, places: Option<&[usize]>) -> Option<Vec<Self>> {
        let known = Known { time: steps(&body.column(TIME)?, body.rows)?, text: None };
        read_logs(body, places, known)
    }
}

/// Columns that a search has read already: the longest ones.
#[derive(Default)]
pub(crate) struct Known {
    time: Vec<u64>,
    text: Option<Spread>,
}

/// Reads log records at these places, or all; none if they are damaged.
pub(crate) fn read_logs(body: &Body<'_>, places: Option<&[usize]>, known: Known) -> Option<Vec<LogRecord>> {
    let (rows, time) = (body.rows, known.time);
    let severity = body.column(SEVERITY)?;
    let text = match known.text {
        Some(text) => text,
        None => Spread::read(body.column(BODY)?, rows)?,
    };
    let [service, instance, trace, span] = [SERVICE, INSTANCE, TRACE, SPAN].map(|name| values(body, name));
    let (mut service, mut instance, trace, span) = (texts(service?), texts(instance?), trace?, span?);
    let mut attributes = AttributesReader::read(body)?;
    let mut read = |row: usize| {
        Some(LogRecord {
            time_ns: *time.get(row)?,
            service: service.get(row)?,
            instance: instance.get(row)?,
            severity: *Severity::ALL.get(usize::from(*severity.get(row)?))?,
            body: std::str::from_utf8(text.get(row)?).ok()?.into(),
            attributes: attributes.get(row)?,
            trace: trace.get(row).and_then(TraceId::from_bytes),
            span: span.get(row).and_then(SpanId::from_bytes),
        })
    };
    match places {
        Some(places) => places.iter().map(|row| read(*row)).collect(),
        None => (0..rows).map(read).collect(),
    }
}

/// A filter, made ready for blocks.
pub(crate) struct Search<'f> {
    filter: &'f LogFilter,
    service: Option<u64>,
    keys: Vec<u64>,
    phrases: Vec<Phrase>,
}

impl<'f> Search<'f> {
    pub(crate) fn new(filter: &'f LogFilter) -> Self {
        let mut keys: Vec<u64> =
            filter.attributes.iter().map(|(key, text)| of_attribute(of_name(key), text)).collect();
        keys.extend(filter.trace.map(of_trace));
        let mut phrases: Vec<_> = filter.words.iter().map(|word| Phrase::new(word)).collect();
        // What is long is likely to be rare, and leaves little for the others to look into.
        phrases.sort_by_key(|phrase| std::cmp::Reverse(phrase.length()));
        keys.extend(phrases.iter().flat_map(Phrase::whole_words));
        Self { filter, service: filter.service.as_deref().map(Header::bit_of), keys, phrases }
    }

    /// What has to be in the filter of a block.
    pub(crate) fn keys(&self) -> &[u64] {
        &self.keys
    }

    /// Whether a block can have something.
    pub(crate) fn may_be_in(&self, header: &Header) -> bool {
        let filter = self.filter;
        filter.range.meets(header.min_ns, header.max_ns)
            && filter.before.is_none_or(|before| header.min_ns <= before.time_ns)
            && self.service.is_none_or(|bit| header.services & bit != 0)
            && filter.severity.is_none_or(|least| header.severest >= least as u8)
    }

    /// The places and times of the records of a block that are meant, with what was read to find them. None if it is
    /// damaged.
    pub(crate) fn scan(&self, body: &Body<'_>, first: u64) -> Option<(Vec<(usize, u64)>, Known)> {
        let filter = self.filter;
        let mut meant: Vec<usize> = (0..body.rows).collect();
        for (column, text) in [(SERVICE, &filter.service), (INSTANCE, &filter.instance)] {
            if let Some(text) = text {
                let values = values(body, column)?;
                // Nobody's instance is kept as none.
                let which = if text.is_empty() { Some(0) } else { values.find(text.as_bytes()) };
                meant.retain(|row| which.is_some() && values.which().get(*row).copied() == which);
            }
        }
        if let Some(least) = filter.severity
            && !meant.is_empty()
        {
            let severity = body.column(SEVERITY)?;
            meant.retain(|row| severity.get(*row).is_some_and(|code| *code >= least as u8));
        }
        if let Some(trace) = filter.trace
            && !meant.is_empty()
        {
            let values = values(body, TRACE)?;
            let which = values.find(&trace.0);
            meant.retain(|row| which.is_some() && values.which().get(*row).copied() == which);
        }
        for (key, text) in &filter.attributes {
            if !meant.is_empty() {
                let wanted = Wanted::new(body, key, text)?;
                meant.retain(|row| wanted.has(*row));
            }
        }
        let mut text = None;
        if !self.phrases.is_empty() && !meant.is_empty() {
            let read = Spread::read(body.column(BODY)?, body.rows)?;
            meant = having(&self.phrases, &read, meant);
            text = Some(read);
        }
        if meant.is_empty() {
            return Some((Vec::new(), Known::default()));
        }
        let time = steps(&body.column(TIME)?, body.rows)?;
        let older = |row: usize| {
            filter
                .before
                .is_none_or(|before| (time[row], first + row as u64) < (before.time_ns, before.number))
        };
        meant.retain(|row| filter.range.has(time[*row]) && older(*row));
        let found = meant.into_iter().map(|row| (row, time[row])).collect();
        Some((found, Known { time, text }))
    }
}

/// Of the texts at these places, which grow, those in which all phrases occur.
fn having(phrases: &[Phrase], text: &Spread, mut meant: Vec<usize>) -> Vec<usize> {
    if meant.len() < text.starts.len() / FEW {
        let mut small = Vec::new();
        meant.retain(|row| {
            small.clear();
            small.extend_from_slice(text.get(*row).unwrap_or_default());
            small.make_ascii_lowercase();
            phrases.iter().all(|phrase| phrase.find(&small, 0).is_some())
        });
        return meant;
    }
    let small = text.bytes.to_ascii_lowercase();
    for phrase in phrases {
        meant = phrase.rows(&small, &text.starts, &meant);
    }
    meant
}
