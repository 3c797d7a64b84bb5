//! Panics of Go: one that ended the process, one that `net/http` or the framework `echo` has caught, and one that `gin` has, which
//! writes stacks of its own.

use super::{Language, Read, Stacks, Thrown, frame};
use crate::model::LogRecord;

/// What `echo` writes before what was said.
const ECHO: &str = "[PANIC RECOVER] ";
/// Lines that `gin` writes before its stack, at most: the head of the request, and what was said.
const MOST_BEFORE: usize = 120;

pub(super) fn begins(line: &str) -> Option<Language> {
    if line.contains("[Recovery] ") && line.ends_with(" panic recovered:") {
        return Some(Language::Gin);
    }
    said(line).is_some_and(|said| !said.is_empty()).then_some(Language::Go)
}

/// What a panic says, on its first line: `panic: no card`; `http: panic serving 127.0.0.1:4711: no card` behind a time;
/// `[PANIC RECOVER] no card goroutine 7 [running]:`.
fn said(line: &str) -> Option<&str> {
    if let Some(said) = line.strip_prefix("panic: ") {
        return Some(said);
    }
    if let Some((_, said)) = line.split_once(ECHO) {
        return Some(goroutine(said)?.0.trim_end());
    }
    let caught =
        ["http: panic serving ", "http2: panic serving "].iter().find_map(|begins| line.split_once(begins));
    Some(caught?.1.split_once(": ")?.1)
}

/// What stands before `goroutine 7 [running]:` on a line that ends with it, and that.
fn goroutine(line: &str) -> Option<(&str, &str)> {
    let at = line.rfind("goroutine ").filter(|_| line.ends_with("]:"))?;
    Some(line.split_at(at))
}

pub(super) fn belongs(line: &str) -> bool {
    let indented = line.starts_with([' ', '\t']);
    let call = line.contains('(') && line.ends_with(')') && line.contains('.');
    let known = ["goroutine ", "[signal ", "created by ", "panic("].iter().any(|word| line.starts_with(word));
    indented || line.is_empty() || known || call
}

/// `main.pay(0x1)` and on the next line `\t/app/main.go:12 +0x1d`, the innermost first; other goroutines follow.
pub(super) fn read(lines: &[String]) -> Read {
    let first = lines.first()?;
    let value = said(first)?;
    let mut frames = Vec::new();
    let mut goroutines = usize::from(goroutine(first).is_some());
    let mut function = "";
    for line in &lines[1..] {
        if line.starts_with("goroutine ") {
            goroutines += 1;
        }
        if goroutines != 1 {
            continue;
        }
        if let Some(place) = line.strip_prefix('\t') {
            let place = place.split(' ').next().unwrap_or_default();
            let (file, number) = place.rsplit_once(':').unwrap_or((place, "0"));
            let own = function.starts_with("main.") || file.contains("/app/");
            let library = is_library(file) || function.starts_with("runtime.");
            if function == "panic" {
                frames.clear(); // what stands above was called to catch it
            } else if !function.starts_with("created by ") {
                frames.push(frame(function, file, number, own || !library));
            }
        } else {
            function = line.rsplit_once('(').map_or(line.as_str(), |(function, _)| function);
        }
    }
    if frames.is_empty() {
        return None; // a line that begins as one does
    }
    frames.reverse();
    Some(("panic".to_owned(), value.to_owned(), frames))
}

fn is_library(file: &str) -> bool {
    file.contains("/go/src/") || file.contains("/pkg/mod/") || file.contains("/src/runtime/")
}

/// `/app/main.go:12 (0x6a1b2c)`.
fn place(line: &str) -> Option<(&str, &str)> {
    let (place, address) = line.rsplit_once(" (0x")?;
    let hexadecimal = address.strip_suffix(')')?.bytes().all(|byte| byte.is_ascii_hexdigit());
    let (file, number) = place.rsplit_once(':').filter(|_| hexadecimal)?;
    number.bytes().all(|byte| byte.is_ascii_digit()).then_some((file, number))
}

/// Whatever stands before the first place belongs to it, behind that only places and the lines of source below them.
pub(super) fn belongs_to_gin(lines: &[String], line: &str) -> bool {
    let is_of_stack = |line: &str| place(line).is_some() || line.starts_with('\t');
    if is_of_stack(line) {
        return true;
    }
    lines.len() < MOST_BEFORE && !lines.iter().any(|line| place(line).is_some())
}

/// The head of the request, if gin debugs; what was said; places, each with the function and its source on the next line, the
/// innermost first.
pub(super) fn read_gin(lines: &[String]) -> Read {
    let stack = lines.iter().position(|line| place(line).is_some())?;
    let before = lines[1..stack].iter().rposition(String::is_empty).map_or(1, |blank| blank + 2);
    let value = lines[before..stack].join("\n");
    let mut frames = Vec::new();
    for (number, line) in lines.iter().enumerate().skip(stack) {
        let Some((file, at)) = place(line) else { continue };
        let below = lines.get(number + 1).and_then(|line| line.strip_prefix('\t'));
        let function = below.and_then(|below| below.split_once(": ")).map_or("", |(function, _)| function);
        frames.push(frame(function, file, at, !is_library(file)));
    }
    frames.reverse();
    Some(("panic".to_owned(), value, frames))
}

/// What `echo` says in a line of JSON, which has no level.
pub(super) fn in_record(record: &LogRecord) -> Option<Thrown> {
    let text = record.body.strip_prefix(ECHO).filter(|text| text.contains("goroutine "))?;
    let mut stacks = Stacks::default();
    for (number, line) in text.lines().enumerate() {
        let line = if number == 0 { format!("{ECHO}{line}") } else { line.to_owned() };
        stacks.line(record.time_ns, &line);
    }
    let mut thrown = stacks.close()?;
    thrown.trace = record.trace.or(thrown.trace);
    thrown.span = record.span.or(thrown.span);
    Some(thrown)
}
