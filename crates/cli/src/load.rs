//! The application file, by way of `manifest`: the one place in the command line tool that calls it.

use std::path::PathBuf;

use manifest::spec::{App, Console, Listen};
use manifest::{Fault, Severity, Sources};
use serde::Serialize;
use serde_json::Value as Json;

use crate::failure::{CliError, Failure, remark};
use crate::place::Place;
use crate::show::{Paint, clean, paint};

/// Warnings beyond this many are counted instead of shown when a command has other work to do.
const WARNINGS_SHOWN: usize = 8;

/// A file that can be used.
pub(crate) struct Loaded {
    /// The app.
    pub(crate) app: App,
    /// Where relative paths of the file start.
    pub(crate) project_dir: PathBuf,
    loaded: manifest::Loaded,
}

/// Reads the file; faults end the command with status 2. Services `named` on the command line are enabled
/// whatever their profiles. Warnings are not told yet: see [`Loaded::warn`].
pub(crate) fn load(place: &Place, named: &[String]) -> Result<Loaded, Failure> {
    let loaded = manifest::load_naming(&place.request()?, named);
    match &loaded.app {
        Some(app) => Ok(Loaded { app: app.clone(), project_dir: loaded.project_dir.clone(), loaded }),
        None => Err(faulty(&loaded)),
    }
}

/// The failure that shows every fault.
pub(crate) fn faulty(loaded: &manifest::Loaded) -> Failure {
    let color = Paint::stderr().is_on();
    Failure::rendered(manifest::report(&loaded.faults, &loaded.sources, color), 2)
}

impl Loaded {
    /// The resolved file, as `atoll config` prints it.
    pub(crate) fn yaml(&self) -> String {
        manifest::render_yaml(&self.loaded.file)
    }

    /// The resolved file as JSON.
    pub(crate) fn json(&self) -> Json {
        manifest::render_json(&self.loaded.file)
    }

    /// The file as it is sent to a node. With `isolated` the gateway listens on a port that is free, and on
    /// another one with TLS if it would speak that; so do the console, and what takes messages and telemetry.
    pub(crate) fn file_for_node(&self, isolated: bool) -> String {
        if !isolated {
            return self.yaml();
        }
        let mut file = self.json();
        double_dollars(&mut file);
        if !self.app.gateway.listen.is_empty() {
            file["gateway"]["listen"] = free_ports(&self.app.gateway.listen);
        }
        if self.app.console != Console::Off {
            file["console"] = 0.into();
        }
        if self.app.pipes.listen.is_some() {
            file["pipes"]["listen"] = FREE.into();
        }
        if let Some(telemetry) = &self.app.telemetry {
            // One that the file does not set gives way by itself.
            for (face, set) in [("grpc", telemetry.grpc), ("http", telemetry.http)] {
                if set.is_some() {
                    file["telemetry"][face] = FREE.into();
                }
            }
        }
        // Tools of others ask at a port that they know: it belongs to the copy that is not isolated.
        if let Some(telemetry) = file.get_mut("telemetry").and_then(|telemetry| telemetry.as_object_mut()) {
            telemetry.remove("query");
        }
        file.to_string() // JSON is YAML
    }

    /// What the linter has to say.
    pub(crate) fn lint(&self) -> Vec<manifest::Finding> {
        manifest::lint(&self.app)
    }

    /// Refuses names that are no services of the app.
    pub(crate) fn check_names<'a>(&self, names: impl IntoIterator<Item = &'a String>) -> Result<(), Failure> {
        self.part(names, false).map(|_| ())
    }

    /// The part of the app that `names` ask for; all of it when there are none.
    pub(crate) fn part<'a>(
        &self,
        names: impl IntoIterator<Item = &'a String>,
        with_dependencies: bool,
    ) -> Result<App, Failure> {
        let mut known = Vec::new();
        for name in names {
            match name.parse() {
                Ok(name) => known.push(name),
                Err(_) => {
                    return Err(CliError::NoSuchService { name: clean::text(name), nearest: None }.into());
                }
            }
        }
        Ok(manifest::select(&self.app, &known, with_dependencies)?)
    }

    /// Faults that do not keep the file from being used.
    pub(crate) fn warnings(&self) -> &[Fault] {
        &self.loaded.faults
    }

    /// Faults for people, with excerpts.
    pub(crate) fn report(&self, faults: &[Fault], paint: Paint) -> String {
        manifest::report(faults, &self.loaded.sources, paint.is_on())
    }

    /// Tells the warnings on standard error, a line each.
    pub(crate) fn warn(&self) {
        for line in compact(self.warnings(), &self.loaded.sources, Paint::stderr()) {
            remark(&line);
        }
    }
}

/// Doubles every `$` in a value, so that it is read back as it is meant.
fn double_dollars(value: &mut Json) {
    match value {
        Json::String(text) => *text = text.replace('$', "$$"),
        Json::Array(items) => items.iter_mut().for_each(double_dollars),
        Json::Object(map) => map.values_mut().for_each(double_dollars),
        Json::Null | Json::Bool(_) | Json::Number(_) => {}
    }
}

/// Any port of this machine that is free.
const FREE: &str = "127.0.0.1:0";

/// `gateway.listen` of a copy beside others: this machine only, on ports that are free, with and without TLS
/// as the file has it.
fn free_ports(listen: &[Listen]) -> Json {
    let free = |tls| serde_json::json!({ "address": FREE, "tls": tls });
    let has = |tls| listen.iter().any(|listen| listen.tls == tls);
    [false, true].into_iter().filter(|tls| has(*tls)).map(free).collect()
}

/// A fault of the file or a finding of the linter, for programs: `atoll check --format json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// `error` or `warning`.
    severity: &'static str,
    /// Its kind: `atoll explain` has the page.
    code: &'static str,
    /// What is wrong.
    message: String,
    /// The file, if it has a place.
    file: Option<PathBuf>,
    /// The line, from 1.
    line: Option<usize>,
    /// The column in characters, from 1.
    column: Option<usize>,
    /// The services it is about, where the linter knows.
    services: Vec<String>,
    /// What to do next.
    hint: Option<String>,
    /// Other places that matter.
    also: Vec<AlsoAt>,
}

/// Another place of a fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct AlsoAt {
    /// The file.
    file: PathBuf,
    /// The line, from 1.
    line: usize,
    /// The column in characters, from 1.
    column: usize,
    /// What it has to do with the fault; empty for one more of the same.
    label: String,
}

impl AlsoAt {
    fn of((span, label): &(manifest::Span, String), sources: &Sources) -> Option<Self> {
        let (line, column) = sources.line_and_column(*span)?;
        Some(Self { file: sources.get(span.source)?.path.clone(), line, column, label: label.clone() })
    }
}

impl Finding {
    /// What is wrong with a file.
    pub(crate) fn of_file(fault: &Fault, sources: &Sources) -> Self {
        let place = fault.span.and_then(|span| sources.line_and_column(span));
        let source = fault.span.and_then(|span| sources.get(span.source));
        Self {
            severity: word(fault.severity),
            code: fault.code.as_str(),
            message: fault.message.clone(),
            file: source.map(|source| source.path.clone()),
            line: place.map(|(line, _)| line),
            column: place.map(|(_, column)| column),
            services: Vec::new(),
            hint: fault.hint.clone(),
            also: fault.also.iter().filter_map(|other| AlsoAt::of(other, sources)).collect(),
        }
    }

    /// What the linter found.
    pub(crate) fn of_linter(finding: &manifest::Finding) -> Self {
        let manifest::Finding { code, severity, message, services, hint } = finding.clone();
        Self {
            severity: word(severity),
            code: code.as_str(),
            message,
            file: None,
            line: None,
            column: None,
            services: services.iter().map(ToString::to_string).collect(),
            hint,
            also: Vec::new(),
        }
    }
}

const fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

/// Findings of the linter for people.
pub(crate) fn findings_text(findings: &[manifest::Finding], paint: Paint) -> String {
    let mut text = String::new();
    for finding in findings {
        let style = match finding.severity {
            Severity::Error => paint::bad(),
            Severity::Warning => paint::warn(),
        };
        let head = format!("{}[{}]", word(finding.severity), finding.code);
        text.push_str(&format!("{}: {}\n", paint.style(style, head), finding.message));
        if let Some(hint) = &finding.hint {
            text.push_str(&format!("  hint: {hint}\n"));
        }
        text.push('\n');
    }
    text
}

fn compact(faults: &[Fault], sources: &Sources, paint: Paint) -> Vec<String> {
    let mut lines: Vec<String> = faults
        .iter()
        .take(WARNINGS_SHOWN)
        .map(|fault| {
            let Finding { severity, code, message, file, line, column, .. } =
                Finding::of_file(fault, sources);
            let place = match (file, line, column) {
                (Some(file), Some(line), Some(column)) => format!("{}:{line}:{column}: ", file.display()),
                _ => String::new(),
            };
            let head = paint.warn(format!("{severity}[{code}]"));
            format!("{head} {}{}", paint.dim(clean::text(&place)), clean::text(&message))
        })
        .collect();
    if faults.len() > WARNINGS_SHOWN {
        lines.push(format!("… and {} more warnings: `atoll check` shows all", faults.len() - WARNINGS_SHOWN));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use manifest::Span;

    #[test]
    fn dollars_are_doubled_in_values_only() {
        let mut value = serde_json::json!({ "a$": ["$x", 1], "b": { "c": "$$" } });
        double_dollars(&mut value);
        assert_eq!(value, serde_json::json!({ "a$": ["$$x", 1], "b": { "c": "$$$$" } }));
    }

    #[test]
    fn a_copy_beside_others_speaks_tls_where_the_file_does() {
        let listen = |port, tls| Listen { address: ([0, 0, 0, 0], port).into(), tls };
        let free = |tls| serde_json::json!({ "address": FREE, "tls": tls });
        assert_eq!(free_ports(&[listen(80, false), listen(81, false)]), serde_json::json!([free(false)]));
        let both = [listen(443, true), listen(80, false)];
        assert_eq!(free_ports(&both), serde_json::json!([free(false), free(true)]));
    }

    #[test]
    fn warnings_are_told_on_a_line_each_and_not_without_end() {
        let mut sources = Sources::default();
        let source = sources.add("shop.yaml".into(), "a: 1\nb: 2\n".into());
        let fault = Fault::warning("A0000", Span { source, start: 5, end: 6 }, "`b` has no effect");
        let lines = compact(&vec![fault; 10], &sources, Paint::new(false));
        assert_eq!(lines.first().unwrap(), "warning[A0000] shop.yaml:2:1: `b` has no effect");
        assert_eq!(lines.len(), 9);
        assert_eq!(lines.last().unwrap(), "… and 2 more warnings: `atoll check` shows all");
    }
}
