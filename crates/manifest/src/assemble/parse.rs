//! One YAML file → one tree per document: aliases and merge keys expanded, `!reset` and `!override` set
//! aside, every fault of the text reported, every bound kept.

use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle, Tag};

use super::limits::{MAX_DEPTH, MAX_DOCUMENTS, Size};
use super::raw::{Mark, Raw, RawEntry, RawValue, null, other_than_string};
use super::reset::Marks;
use super::session::Session;
use super::yaml_error;
use crate::fault::{Fault, SourceId, Span};
use crate::tree::{Node, Scalar, Value};

/// One document of a file.
#[derive(Clone, Debug)]
pub(super) struct Doc {
    /// Its top-level mapping.
    pub(super) root: Node,
    /// What it resets or overrides in the files before it.
    pub(super) marks: Marks,
}

/// Reads the documents of a source. `None` when its text is not YAML to the end; what is wrong has then
/// been reported. Empty documents are left out.
pub(super) fn parse(session: &mut Session<'_>, source: SourceId) -> Option<Vec<Doc>> {
    let text = session.sources.get(source)?.text.clone();
    let options = granit_parser::options! {
        emit_comments: false,
        emit_unresolved_aliases: true,
        emit_anchor_events: true,
        block_nesting_limit: MAX_DEPTH,
        flow_nesting_limit: MAX_DEPTH,
    };
    let mut builder =
        Builder { session, source, stack: Vec::new(), anchors: HashMap::new(), names: Vec::new() };
    let mut docs = Vec::new();
    let mut parser = Parser::new_from_str_with_options(&text, options);
    let mut read = 0;
    while let Some(next) = parser.next_event() {
        let (event, at, tag_at) = match next {
            Ok((event, at)) => {
                let tag_at = at.tag_span().and_then(|tag| tag.byte_range());
                (event, builder.span(at.byte_range()), tag_at)
            }
            Err(error) => {
                let fault = yaml_error::fault(&error, source, &text, read);
                builder.session.fatal(fault);
                return None;
            }
        };
        read = at.end as usize;
        let tag_at = tag_at.map_or(at, |range| builder.span(Some(range)));
        let Ok(done) = builder.event(event, at, tag_at) else { return None };
        let Some(root) = done else { continue };
        if docs.len() == MAX_DOCUMENTS {
            let message = format!("more than {MAX_DOCUMENTS} documents in one file");
            builder.session.fatal(Fault::error("A0108", root.span, message));
            return None;
        }
        let mut marks = Marks::default();
        let root = root.into_node(&mut Vec::new(), true, &mut marks);
        match &root.value {
            Value::Map(_) => docs.push(Doc { root, marks }),
            _ if root.is_null() => {}
            _ => {
                let message = format!("an application file is a mapping, this is {}", root.kind());
                let hint = "start it with `services:`";
                builder.session.fatal(Fault::error("A0121", root.span, message).hint(hint));
            }
        }
        builder.anchors.clear();
        builder.names.clear();
    }
    Some(docs)
}

/// A collection that is not finished.
struct Frame {
    span: Span,
    anchor: usize,
    mark: Option<Mark>,
    is_key: bool,
    kind: FrameKind,
}

enum FrameKind {
    Seq(Vec<Raw>),
    Map { entries: Vec<RawEntry>, index: HashMap<String, usize>, key: Option<Key>, merges: Vec<Raw> },
}

/// The key whose value comes next.
enum Key {
    Plain(String, Span),
    /// `<<`.
    Merge,
    /// A key that was refused; its value is read and dropped.
    Refused,
}

struct Anchor {
    node: Raw,
    size: Size,
    depth: usize,
}

struct Builder<'s, 'a> {
    session: &'s mut Session<'a>,
    source: SourceId,
    stack: Vec<Frame>,
    anchors: HashMap<usize, Anchor>,
    names: Vec<String>,
}

/// Reading stops; the reason is reported.
struct Stop;

impl Builder<'_, '_> {
    fn span(&self, range: Option<std::ops::Range<usize>>) -> Span {
        let range = range.unwrap_or_default();
        let byte = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Span { source: self.source, start: byte(range.start), end: byte(range.end) }
    }

    /// Takes one event; a finished document comes back as its root.
    fn event(&mut self, event: Event<'_>, at: Span, tag_at: Span) -> Result<Option<Raw>, Stop> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let (mark, as_string) = self.tag(tag.as_deref(), tag_at);
                let plain = style == ScalarStyle::Plain && !as_string;
                // The parser says `~` for a value that is not there.
                let absent = style == ScalarStyle::Plain && at.start == at.end;
                let text = if absent { String::new() } else { text.into_owned() };
                let raw = Raw { value: RawValue::Scalar(Scalar { text, plain }), span: at, mark };
                self.finish(raw, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                let (mark, _) = self.tag(tag.as_deref(), tag_at);
                self.open(at, anchor, mark, FrameKind::Seq(Vec::new()))
            }
            Event::MappingStart(_, anchor, tag) => {
                let (mark, _) = self.tag(tag.as_deref(), tag_at);
                let (entries, index, merges) = (Vec::new(), HashMap::new(), Vec::new());
                self.open(at, anchor, mark, FrameKind::Map { entries, index, key: None, merges })
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(at),
            Event::Alias(id) => self.alias(id, at),
            Event::UnresolvedAlias(name) => {
                let message = format!("no anchor `&{name}` stands before this alias");
                let near = if self.session.full() { None } else { nearest(&name, &self.names) };
                let mut fault = Fault::error("A0109", at, message);
                fault.hint = Some(match near {
                    Some(near) => format!("did you mean `*{near}`?"),
                    None => {
                        format!("write `&{name}` at the value this should repeat, further up in the file")
                    }
                });
                self.session.fault(fault);
                self.finish(null(at), 0)
            }
            Event::Anchor(_, name) => {
                self.names.push(name.into_owned());
                Ok(None)
            }
            Event::StreamStart | Event::StreamEnd | Event::DocumentStart(..) | Event::DocumentEnd => Ok(None),
            // Comments are off.
            _ => Ok(None),
        }
    }

    fn tag(&mut self, tag: Option<&Tag>, at: Span) -> (Option<Mark>, bool) {
        let Some(tag) = tag else { return (None, false) };
        let original = tag.original();
        match (original.as_str(), tag.core_suffix()) {
            ("!reset", _) => (Some(Mark::Reset), false),
            ("!override", _) => (Some(Mark::Override), false),
            ("!", _) | (_, Some("str")) => (None, true),
            (_, Some("null" | "bool" | "int" | "float" | "seq" | "map")) => (None, false),
            _ => {
                let message = format!("the tag `{original}` has no meaning here and is ignored");
                let hint = "known are `!reset` and `!override`";
                self.session.fault(Fault::warning("A0123", at, message).hint(hint));
                (None, false)
            }
        }
    }

    fn open(
        &mut self,
        span: Span,
        anchor: usize,
        mark: Option<Mark>,
        kind: FrameKind,
    ) -> Result<Option<Raw>, Stop> {
        if self.stack.len() >= MAX_DEPTH {
            return self.too_deep(span);
        }
        let is_key = self.expects_key();
        self.stack.push(Frame { span, anchor, mark, is_key, kind });
        Ok(None)
    }

    fn too_deep<T>(&mut self, span: Span) -> Result<T, Stop> {
        let message = format!("more than {MAX_DEPTH} mappings and lists inside each other");
        self.session.fatal(Fault::error("A0108", span, message));
        Err(Stop)
    }

    fn expects_key(&self) -> bool {
        matches!(self.stack.last(), Some(Frame { kind: FrameKind::Map { key: None, .. }, .. }))
    }

    fn close(&mut self, at: Span) -> Result<Option<Raw>, Stop> {
        let Some(frame) = self.stack.pop() else { return Ok(None) };
        // The end of a block is only noticed at whatever follows it: its last child is where it ends. The
        // end of a flow collection is its bracket.
        let bracket = at.end > at.start;
        let mut span = frame.span;
        let value = match frame.kind {
            FrameKind::Seq(items) => {
                span.end = items.last().map_or(span.end, |item| item.span.end.max(span.end));
                RawValue::Seq(items)
            }
            FrameKind::Map { entries, index, merges, .. } => {
                let last = entries.last().map(|entry| entry.value.span.end.max(entry.key_span.end));
                span.end = last.map_or(span.end, |end| end.max(span.end));
                RawValue::Map(self.merge_keys(entries, index, merges))
            }
        };
        if bracket {
            span.end = at.end;
        }
        // A child repeated by an alias stands elsewhere; a span never runs backwards.
        span.end = span.end.max(span.start);
        let raw = Raw { value, span, mark: frame.mark };
        if frame.is_key {
            let hint = "a key is a string; is a value missing its quotes, or `${…}` unquoted at its start?";
            self.session
                .fault(Fault::error("A0107", span, format!("{} cannot be a key", raw.kind())).hint(hint));
            self.set_key(Key::Refused);
            return Ok(None);
        }
        self.finish(raw, frame.anchor)
    }

    fn alias(&mut self, id: usize, at: Span) -> Result<Option<Raw>, Stop> {
        let Some(anchor) = self.anchors.get(&id) else {
            let message = "this alias repeats the value it is part of";
            self.session
                .fault(Fault::error("A0109", at, message).hint("an alias can only repeat what is complete"));
            return self.finish(null(at), 0);
        };
        let (size, depth) = (anchor.size, anchor.depth);
        if self.stack.len() + depth > MAX_DEPTH {
            return self.too_deep(at);
        }
        self.session.charge(size, at).map_err(|_| Stop)?;
        let Some(anchor) = self.anchors.get(&id) else { return Ok(None) };
        let raw = anchor.node.clone();
        self.place(raw, at)
    }

    /// A node that stands in the text is complete.
    fn finish(&mut self, raw: Raw, anchor: usize) -> Result<Option<Raw>, Stop> {
        let text = match &raw.value {
            RawValue::Scalar(scalar) => scalar.text.len(),
            _ => 0,
        };
        self.session.charge(Size { nodes: 1, text }, raw.span).map_err(|_| Stop)?;
        if anchor != 0 {
            let (size, depth) = raw.measure();
            self.session.charge(size, raw.span).map_err(|_| Stop)?;
            self.anchors.insert(anchor, Anchor { node: raw.clone(), size, depth });
        }
        let at = raw.span;
        self.place(raw, at)
    }

    /// Puts a node where it belongs: it is the root, an item, a key or a value. `at` is where it was
    /// mentioned (its own place, or that of the alias).
    fn place(&mut self, raw: Raw, at: Span) -> Result<Option<Raw>, Stop> {
        if self.expects_key() {
            let key = self.key_of(raw, at);
            self.set_key(key);
            return Ok(None);
        }
        let Some(frame) = self.stack.last_mut() else { return Ok(Some(raw)) };
        match &mut frame.kind {
            FrameKind::Seq(items) => items.push(raw),
            FrameKind::Map { entries, index, key, merges } => match key.take() {
                Some(Key::Plain(key, key_span)) => {
                    index.insert(key.clone(), entries.len());
                    entries.push(RawEntry { key, key_span, value: raw });
                }
                Some(Key::Merge) => merges.push(raw),
                Some(Key::Refused) | None => {}
            },
        }
        Ok(None)
    }

    fn set_key(&mut self, new: Key) {
        if let Some(Frame { kind: FrameKind::Map { key, .. }, .. }) = self.stack.last_mut() {
            *key = Some(new);
        }
    }

    fn key_of(&mut self, raw: Raw, at: Span) -> Key {
        let RawValue::Scalar(scalar) = raw.value else {
            self.session.fault(Fault::error("A0107", at, "a key is a string"));
            return Key::Refused;
        };
        let Some(Frame { kind: FrameKind::Map { index, entries, merges, .. }, .. }) = self.stack.last()
        else {
            return Key::Refused;
        };
        if scalar.plain && scalar.text == "<<" {
            if let Some(first) = merges.first() {
                let fault = Fault::error("A0106", at, "the key `<<` stands here twice")
                    .also(first.span, "merged first")
                    .hint("merge several mappings with one list: `<<: [*a, *b]`");
                self.session.fault(fault);
                return Key::Refused;
            }
            return Key::Merge;
        }
        if let Some(&first) = index.get(&scalar.text) {
            let first = entries[first].key_span;
            let fault = Fault::error("A0106", at, format!("the key `{}` stands here twice", scalar.text))
                .label("again here")
                .also(first, "first here")
                .hint("keep one of them");
            self.session.fault(fault);
            return Key::Refused;
        }
        if let Some(kind) = other_than_string(&scalar) {
            let message = match scalar.text.as_str() {
                "" => "a key is missing before the colon".to_owned(),
                text => format!("the key `{text}` is {kind}, not a string"),
            };
            let hint = format!("write it in quotes: `\"{}\"`", scalar.text);
            self.session.fault(Fault::error("A0107", at, message).hint(hint));
            return Key::Refused;
        }
        Key::Plain(scalar.text, at)
    }

    /// Fills a mapping up with what `<<` names: the mapping's own keys win, then the earlier source.
    fn merge_keys(
        &mut self,
        mut entries: Vec<RawEntry>,
        mut index: HashMap<String, usize>,
        merges: Vec<Raw>,
    ) -> Vec<RawEntry> {
        let mut sources = Vec::new();
        for merge in merges {
            match merge.value {
                RawValue::Seq(items) => sources.extend(items),
                _ => sources.push(merge),
            }
        }
        for source in sources {
            let kind = source.kind();
            match source.value {
                RawValue::Map(merged) => {
                    for entry in merged {
                        if !index.contains_key(&entry.key) {
                            index.insert(entry.key.clone(), entries.len());
                            entries.push(entry);
                        }
                    }
                }
                RawValue::Scalar(scalar) if scalar.plain && scalar.text.is_empty() => {}
                _ => {
                    let message = format!("`<<` merges mappings, this is {kind}");
                    let hint = "give it an alias of a mapping, or a list of them";
                    self.session.fault(Fault::error("A0109", source.span, message).hint(hint));
                }
            }
        }
        entries
    }
}

/// The known name that is most like `name`, if any is: one slip, or one for every three letters.
pub(super) fn nearest<'n>(name: &str, known: impl IntoIterator<Item = &'n String>) -> Option<&'n str> {
    let allowed = name.len() / 3; // of one or two letters everything short would be near
    let mut best: Option<(usize, &'n str)> = None;
    for candidate in known.into_iter().filter(|known| known.len() <= 64 && name.len() <= 64).take(1000) {
        let slips = strsim::osa_distance(name, candidate);
        if slips <= allowed && best.is_none_or(|(least, _)| slips < least) {
            best = Some((slips, candidate));
        }
    }
    best.map(|(_, name)| name)
}
