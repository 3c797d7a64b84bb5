//! Errors as columns: few and large, so that all but what is looked for stands in one.

use crate::block::attributes::{put_pairs, read_pairs};
use crate::block::bloom::{of_group, of_trace};
use crate::block::column::{Distinct, put_steps, steps};
use crate::block::spans::values;
use crate::block::{Body, Kept, Writer};
use crate::bytes::{Reader, put_text, put_varint};
use crate::model::{ErrorEvent, Frame, GroupId, SpanId, TakenError, Text, TraceId};

const TIME: &str = "time";
const EVENT: &str = "event";

impl Kept for TakenError {
    const NAME: &'static str = "errors";

    fn write(rows: &mut dyn Iterator<Item = &Self>, writer: &mut Writer) {
        let (mut time, mut events) = (Vec::new(), Distinct::default());
        let (mut last, mut scratch, mut rows_seen) = (0, Vec::new(), 0);
        for (row, error) in rows.enumerate() {
            writer.header.saw(error.event.time_ns);
            writer.keys.add(of_group(error.group.0));
            if let Some(trace) = error.event.trace {
                writer.keys.add(of_trace(trace));
            }
            put_steps(&mut time, &mut last, error.event.time_ns);
            scratch.clear();
            put_event(&mut scratch, error);
            events.put(row, &scratch);
            rows_seen = row + 1;
        }
        writer.column(TIME, &time);
        scratch.clear();
        events.write(rows_seen, &mut scratch);
        writer.column(EVENT, &scratch);
    }

    fn read(body: &Body<'_>, places: Option<&[usize]>) -> Option<Vec<Self>> {
        let time = steps(&body.column(TIME)?, body.rows)?;
        let events = values(body, EVENT)?;
        let read = |row: usize| read_event(&mut Reader::new(events.get(row)?), *time.get(row)?);
        match places {
            Some(places) => places.iter().map(|row| read(*row)).collect(),
            None => (0..body.rows).map(read).collect(),
        }
    }
}

fn put_event(to: &mut Vec<u8>, error: &TakenError) {
    let TakenError { group, event } = error;
    to.extend_from_slice(&group.0.to_le_bytes());
    to.extend_from_slice(&event.trace.unwrap_or_default().0);
    to.extend_from_slice(&event.span.unwrap_or_default().0);
    for text in [
        &event.id,
        &event.service,
        &event.instance,
        &event.kind,
        &event.value,
        &event.release,
        &event.environment,
    ] {
        put_text(to, text);
    }
    put_varint(to, event.frames.len() as u64);
    for frame in &event.frames {
        put_text(to, &frame.function);
        put_text(to, &frame.module);
        put_text(to, &frame.file);
        put_varint(to, u64::from(frame.line));
        to.push(u8::from(frame.in_app));
    }
    put_varint(to, event.fingerprint.len() as u64);
    event.fingerprint.iter().for_each(|part| put_text(to, part));
    put_pairs(to, &event.attributes);
}

fn read_event(reader: &mut Reader<'_>, time_ns: u64) -> Option<TakenError> {
    let group = GroupId(reader.u64()?);
    let (trace, span) =
        (TraceId::from_bytes(&reader.array::<16>()?), SpanId::from_bytes(&reader.array::<8>()?));
    let mut text = || reader.text().map(Text::from);
    let (id, service, instance, kind) = (text()?, text()?, text()?, text()?);
    let (value, release, environment) = (text()?, text()?, text()?);
    let frame = |reader: &mut Reader<'_>| {
        Some(Frame {
            function: reader.text()?.into(),
            module: reader.text()?.into(),
            file: reader.text()?.into(),
            line: u32::try_from(reader.varint()?).ok()?,
            in_app: reader.byte()? != 0,
        })
    };
    let frames = (0..reader.count()?).map(|_| frame(reader)).collect::<Option<_>>()?;
    let fingerprint = (0..reader.count()?).map(|_| reader.text().map(Text::from)).collect::<Option<_>>()?;
    let attributes = read_pairs(reader, 0)?;
    let event = ErrorEvent {
        id,
        time_ns,
        service,
        instance,
        kind,
        value,
        frames,
        release,
        environment,
        fingerprint,
        trace,
        span,
        attributes,
    };
    Some(TakenError { group, event })
}
