//! What a service printed when something was thrown: the stack traces of Python, JavaScript, Java, Go and Rust, line by line.
//! No service needs to know that anybody reads it. What is not understood is no error: it stays what was printed.

mod go;

use crate::loglines;
use crate::model::{ErrorEvent, Frame, LogRecord, Severity, SpanId, Text, TraceId, Value, is_of_cargo};

/// Lines of a stack at most: what follows is left out.
const MOST_LINES: usize = 200;
/// Bytes of a line that are looked at.
const MOST_BYTES: usize = 2_048;
/// Fields of a JSON line in which loggers put a stack.
const STACKS: [&str; 9] = [
    "exception.stacktrace",
    "exception",
    "exc_info",
    "stack_trace",
    "stacktrace",
    "stack",
    "error.stack",
    "error.stack_trace",
    "traceback",
];

/// Something that was thrown.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Thrown {
    /// When its first line was printed, in nanoseconds since the Unix epoch.
    pub time_ns: u64,
    /// Its type: `ValueError`; `panic` where a language has none.
    pub kind: String,
    /// What it says.
    pub value: String,
    /// Where, the innermost frame last.
    pub frames: Vec<Frame>,
    /// The trace that it names.
    pub trace: Option<TraceId>,
    /// The span that it names.
    pub span: Option<SpanId>,
}

impl Thrown {
    /// As telemetry takes it.
    pub fn into_event(self, service: Text, instance: Text) -> ErrorEvent {
        let Self { time_ns, kind, value, frames, trace, span } = self;
        ErrorEvent {
            time_ns,
            service,
            instance,
            kind: kind.into(),
            value: value.into(),
            frames,
            trace,
            span,
            attributes: vec![(Text::from_static("from"), Value::Text(Text::from_static("output")))],
            ..ErrorEvent::default()
        }
    }
}

/// Reads one output of one instance.
#[derive(Debug, Default)]
pub struct Stacks {
    open: Option<Open>,
    /// The line before: of some languages it turns out afterwards that a stack has begun.
    before: Option<(u64, String)>,
}

#[derive(Debug)]
struct Open {
    time_ns: u64,
    language: Language,
    lines: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Language {
    Python,
    Rust,
    Go,
    /// What the framework `gin` has caught.
    Gin,
    /// Java and JavaScript: `at` and a place.
    At,
}

/// What a line is to the stack that is open.
enum Belongs {
    Yes,
    /// It is its last one.
    Ends,
    No,
}

impl Stacks {
    /// Takes the next line; what it shows to be complete.
    pub fn line(&mut self, time_ns: u64, line: &str) -> Option<Thrown> {
        let line = kit::ansi::stripped(cut(line.trim_end_matches(['\r', '\n'])));
        let line = line.as_ref();
        let mut done = None;
        if let Some(open) = &mut self.open {
            match open.belongs(line) {
                Belongs::No => done = self.close(),
                belongs => {
                    if open.lines.len() < MOST_LINES {
                        open.lines.push(line.to_owned());
                    }
                    return if matches!(belongs, Belongs::Ends) { self.close() } else { None };
                }
            }
        }
        if let Some((language, began)) = self.begins(line) {
            let mut lines = Vec::new();
            let time_ns = match began {
                Some((before, header)) => {
                    lines.push(header);
                    before
                }
                None => time_ns,
            };
            lines.push(line.to_owned());
            self.open = Some(Open { time_ns, language, lines });
        } else {
            self.before = Some((time_ns, line.to_owned()));
        }
        done
    }

    /// Whether a stack is open, so that it is worth waiting for more of it.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Nothing comes any more: what is there is all.
    pub fn close(&mut self) -> Option<Thrown> {
        self.before = None;
        self.open.take()?.read()
    }

    /// Whether a stack begins here, and whether it began with the line before.
    fn begins(&mut self, line: &str) -> Option<(Language, Option<(u64, String)>)> {
        if line.trim_end() == "Traceback (most recent call last):" {
            return Some((Language::Python, None));
        }
        if line.starts_with("thread '") && line.contains(" panicked at ") {
            return Some((Language::Rust, None));
        }
        if let Some(language) = go::begins(line) {
            return Some((language, None));
        }
        let header = self.before.take()?;
        (is_at(line) && at_header(&header.1).is_some()).then_some((Language::At, Some(header)))
    }
}

impl Open {
    fn belongs(&self, line: &str) -> Belongs {
        let indented = line.starts_with([' ', '\t']);
        let yes = |belongs| if belongs { Belongs::Yes } else { Belongs::No };
        match self.language {
            // The line that is not indented says what it was.
            Language::Python if indented || line.is_empty() => Belongs::Yes,
            Language::Python => Belongs::Ends,
            Language::At => {
                yes(is_at(line) || line.starts_with("Caused by:") || line.trim_start().starts_with("... "))
            }
            Language::Rust => {
                let note = line.starts_with("note: ") || line == "stack backtrace:";
                // What it says stands on the line behind the place.
                yes(indented || note || self.lines.len() == 1)
            }
            Language::Go => yes(go::belongs(line)),
            Language::Gin => yes(go::belongs_to_gin(&self.lines, line)),
        }
    }

    fn read(self) -> Option<Thrown> {
        let Self { time_ns, language, lines } = self;
        let read = match language {
            Language::Python => python(&lines),
            Language::Rust => rust(&lines),
            Language::Go => go::read(&lines),
            Language::Gin => go::read_gin(&lines),
            Language::At => at(&lines),
        };
        let (kind, value, frames) = read?;
        let (trace, span) =
            lines.iter().map(|line| loglines::ids_in(line)).find(|ids| ids.0.is_some()).unwrap_or_default();
        Some(Thrown { time_ns, kind, value, frames, trace, span })
    }
}

type Read = Option<(String, String, Vec<Frame>)>;

fn cut(line: &str) -> &str {
    let mut end = line.len().min(MOST_BYTES);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    &line[..end]
}

fn frame(function: &str, file: &str, line: &str, in_app: bool) -> Frame {
    Frame {
        function: function.into(),
        file: file.into(),
        line: line.parse().unwrap_or(0),
        in_app,
        ..Frame::default()
    }
}

/// `Type: what it says`; a type alone says nothing.
fn typed(line: &str) -> (&str, &str) {
    line.split_once(": ").unwrap_or((line.trim_end_matches(':'), ""))
}

/// `  File "app.py", line 3, in main`, the outermost first.
fn python(lines: &[String]) -> Read {
    let last = lines.last().filter(|line| !line.starts_with([' ', '\t']) && lines.len() > 1)?;
    let (kind, value) = typed(last);
    let frames = lines.iter().filter_map(|line| {
        let (file, rest) = line.trim_start().strip_prefix("File \"")?.split_once("\", line ")?;
        let (number, function) = rest.split_once(", in ").unwrap_or((rest, ""));
        let library = file.contains("site-packages") || file.contains("/lib/python") || file.starts_with('<');
        Some(frame(function, file, number, !library))
    });
    Some((kind.to_owned(), value.to_owned(), frames.collect()))
}

/// `thread 'main' (7) panicked at src/main.rs:3:5:`, then what it says, then perhaps a backtrace, the innermost first.
fn rust(lines: &[String]) -> Read {
    let (_, place) = lines.first()?.split_once(" panicked at ")?;
    let (value, place) = match place.strip_prefix('\'') {
        // As it was written before Rust 1.73: 'what it says', src/main.rs:3:5
        Some(old) => old.rsplit_once("', ")?,
        None => (lines.get(1).map_or("", String::as_str), place.trim_end_matches(':')),
    };
    let mut frames: Vec<Frame> = Vec::new();
    let backtrace = lines.iter().skip_while(|line| *line != "stack backtrace:").skip(1);
    for line in backtrace {
        let line = line.trim_start();
        if let Some(place) = line.strip_prefix("at ") {
            let mut parts = place.rsplitn(3, ':');
            let (_, number, file) = (parts.next(), parts.next(), parts.next());
            if let (Some(last), Some(number), Some(file)) = (frames.last_mut(), number, file) {
                let registry = file.contains("/rustc/") || is_of_cargo(file) || file.contains("/library/");
                last.in_app &= !registry;
                (last.file, last.line) = (file.into(), number.parse().unwrap_or(0));
            }
        } else if let Some((number, function)) = line.split_once(": ")
            && number.bytes().all(|byte| byte.is_ascii_digit())
        {
            let library =
                ["std::", "core::", "alloc::", "tokio::", "rust_", "__rust", "_start", "__libc", "main"]
                    .iter()
                    .any(|begin| function.trim_start_matches('<').starts_with(begin));
            frames.push(frame(function, "", "0", !library));
        }
    }
    frames.reverse();
    let mut parts = place.rsplitn(3, ':');
    let (_, number, file) = (parts.next(), parts.next(), parts.next());
    let file = file.unwrap_or(place);
    // The line that panicked is known without a backtrace too.
    if !frames.iter().any(|frame| frame.in_app) {
        frames.push(frame("", file, number.unwrap_or("0"), true));
    }
    Some(("panic".to_owned(), value.to_owned(), frames))
}

fn is_at(line: &str) -> bool {
    let rest = line.trim_start();
    rest.len() < line.len() && rest.strip_prefix("at ").is_some_and(|place| place.contains([':', '(']))
}

/// The type and what it says, of the line before the first place.
fn at_header(line: &str) -> Option<(&str, &str)> {
    let mut rest = line.strip_prefix("Uncaught ").unwrap_or(line);
    if let Some(java) = rest.strip_prefix("Exception in thread \"") {
        rest = java.split_once("\" ")?.1;
    }
    let (kind, value) = typed(rest);
    // Node's errors have a code: `TypeError [ERR_INVALID_ARG_TYPE]: …`.
    let kind = kind.strip_suffix(']').and_then(|kind| kind.split_once(" [")).map_or(kind, |(kind, _)| kind);
    let plain = |c: char| c.is_ascii_alphanumeric() || "._$".contains(c);
    let named = kind.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && kind.chars().all(plain);
    named.then_some((kind, value))
}

/// `    at pay (/app/pay.js:3:7)` or `\tat shop.Pay.pay(Pay.java:3)`, the innermost first.
fn at(lines: &[String]) -> Read {
    let (kind, value) = at_header(lines.first()?)?;
    let places = lines[1..].iter().take_while(|line| !line.starts_with("Caused by:"));
    let frames = places.filter_map(|line| {
        // Node goes on with the fields of the error, in braces.
        let place = line.trim().strip_prefix("at ")?.trim_end_matches(" {");
        let (function, inner) = match place.rsplit_once('(') {
            Some((function, inner)) => (function.trim_end(), inner.trim_end_matches(')')),
            None => ("", place),
        };
        // JavaScript says the column too.
        let mut parts: Vec<&str> = inner.rsplitn(3, ':').collect();
        parts.reverse();
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let (file, number) = match parts[..] {
            [file, line, column] if digits(line) && digits(column) => (file.to_owned(), line),
            [.., line] if digits(line) => (inner[..inner.len() - line.len() - 1].to_owned(), line),
            _ => (inner.to_owned(), "0"),
        };
        let begins = ["java.", "javax.", "jdk.", "sun.", "node:", "internal/"];
        let library = file.contains("node_modules")
            || begins.iter().any(|begin| function.starts_with(begin) || file.starts_with(begin));
        Some(frame(function.trim_start_matches("async "), &file, number, !library))
    });
    let mut frames: Vec<Frame> = frames.collect();
    frames.reverse();
    Some((kind.to_owned(), value.to_owned(), frames))
}

/// What a line of JSON says was thrown: only one that is an error by its own account.
pub fn in_record(record: &LogRecord) -> Option<Thrown> {
    if let Some(thrown) = go::in_record(record) {
        return Some(thrown);
    }
    if record.severity < Severity::Error {
        return None;
    }
    let text = |name: &str| match record.attributes.iter().find(|(key, _)| key == name) {
        Some((_, Value::Text(text))) => Some(&**text),
        _ => None,
    };
    let inner = |name: &str| {
        ["err", "error", "exception"].iter().find_map(|outer| {
            let (_, Value::Map(fields)) = record.attributes.iter().find(|(key, _)| key == outer)? else {
                return None;
            };
            match fields.iter().find(|(key, _)| key == name) {
                Some((_, Value::Text(text))) => Some(&**text),
                _ => None,
            }
        })
    };
    let stack =
        STACKS.iter().find_map(|name| text(name)).or_else(|| inner("stack")).or_else(|| inner("stacktrace"));
    let read = stack.and_then(|stack| {
        let mut stacks = Stacks::default();
        let mut last = None;
        for line in stack.lines() {
            last = stacks.line(record.time_ns, line).or(last);
        }
        stacks.close().or(last) // of several the last: the others are its causes
    });
    let kind = text("exception.type")
        .or_else(|| text("error.type"))
        .or_else(|| inner("type"))
        .or_else(|| inner("name"));
    let said = text("exception.message").or_else(|| text("error.message")).or_else(|| inner("message"));
    let mut thrown = match (read, kind) {
        (Some(read), _) => read,
        (None, Some(kind)) => Thrown {
            kind: kind.to_owned(),
            value: said.unwrap_or(&record.body).to_owned(),
            ..Thrown::default()
        },
        (None, None) => return None,
    };
    thrown.time_ns = record.time_ns;
    thrown.trace = record.trace.or(thrown.trace);
    thrown.span = record.span.or(thrown.span);
    Some(thrown)
}

#[cfg(test)]
mod tests;
