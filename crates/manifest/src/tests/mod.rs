//! Promises of the crate as a whole: text in, text out.

mod compose_schema;
mod console;
mod defaults;
mod faults;
mod guards;
mod keys;
mod pipes;
mod robust;
mod round_trip;
mod schema;
mod slo;
mod telemetry;

use std::path::{Path, PathBuf};

use crate::spec::{App, Service};
use crate::{Loaded, Request, load, report};

/// Loads a text as `-f -` in a directory that has nothing else.
pub(crate) fn loaded(text: &str) -> Loaded {
    load(&request(text, Path::new("/nowhere/shop")))
}

/// A request for a text in a directory.
pub(crate) fn request(text: &str, dir: &Path) -> Request {
    Request {
        working_dir: dir.to_owned(),
        files: vec![PathBuf::from("-")],
        project_dir: Some(dir.to_owned()),
        stdin: Some(text.to_owned()),
        ..Request::default()
    }
}

/// The report on a text.
pub(crate) fn check(text: &str) -> String {
    let loaded = loaded(text);
    report(&loaded.faults, &loaded.sources, false).trim_end().to_owned()
}

/// The first line of each fault of a text.
pub(crate) fn titles(text: &str) -> String {
    let loaded = loaded(text);
    let lines = loaded.faults.iter().map(|fault| {
        let place = fault.span.and_then(|span| loaded.sources.line_and_column(span));
        let place = place.map(|(line, column)| format!("{line}:{column} ")).unwrap_or_default();
        format!("{place}{} {}", fault.code, fault.message)
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The app of a text that has no errors.
pub(crate) fn app(text: &str) -> App {
    let loaded = loaded(text);
    match loaded.app {
        Some(app) => app,
        None => panic!("{}", report(&loaded.faults, &loaded.sources, false)),
    }
}

/// One service, given the lines below its name (without `command`).
pub(crate) fn service(keys: &str) -> Service {
    app(&one_service(keys)).services.into_values().next().unwrap()
}

/// A file with one service that has `command` and the given lines.
pub(crate) fn one_service(keys: &str) -> String {
    let keys: String = keys.trim().lines().map(|line| format!("    {line}\n")).collect();
    format!("services:\n  web:\n    command: [./web]\n{keys}")
}
