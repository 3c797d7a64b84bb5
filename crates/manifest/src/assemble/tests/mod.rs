//! Files in, a tree and faults out.

mod discovery;
mod extending;
mod hostile;
mod including;
mod merging;
mod reading;

use std::path::{Path, PathBuf};

use super::{Assembled, Request, assemble};
use crate::fault::{Severity, Sources};
use crate::tree::{Node, Value};

/// A directory with files in it, and what was asked for.
pub(super) struct Case {
    dir: tempfile::TempDir,
    request: Request,
}

/// Files as one text: each starts with a line `== path`. Without such a line it is `compose.yaml`.
pub(super) fn case(files: &str) -> Case {
    let dir = tempfile::tempdir().expect("a directory");
    let files = if files.trim_start().starts_with("== ") {
        files.to_owned()
    } else {
        format!("== compose.yaml\n{files}")
    };
    for file in format!("\n{}", files.trim_start()).split("\n== ").skip(1) {
        let (path, text) = file.split_once('\n').unwrap_or((file, ""));
        write(&dir.path().join(path), format!("{text}\n").as_bytes());
    }
    let request = Request {
        working_dir: dir.path().to_owned(),
        project_name: Some("app".to_owned()),
        ..Request::default()
    };
    Case { dir, request }
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
    std::fs::write(path, bytes).expect("a file");
}

impl Case {
    pub(super) fn env(mut self, name: &str, value: &str) -> Self {
        self.request.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(super) fn with(mut self, change: impl FnOnce(&mut Request)) -> Self {
        change(&mut self.request);
        self
    }

    pub(super) fn within(mut self, dir: &str) -> Self {
        let dir = self.dir.path().join(dir);
        std::fs::create_dir_all(&dir).expect("a directory");
        self.request.working_dir = dir;
        self
    }

    pub(super) fn bytes(self, path: &str, bytes: &[u8]) -> Self {
        write(&self.dir.path().join(path), bytes);
        self
    }

    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    /// The tree (or `no tree`), then the faults.
    pub(super) fn run(&self) -> String {
        let (assembled, mut out) = self.assemble();
        let tree = match &assembled {
            Some(assembled) => {
                let mut tree = String::new();
                render(&assembled.root, 0, &mut tree);
                tree
            }
            None => "no tree\n".to_owned(),
        };
        out.insert_str(0, &tree);
        self.tidy(&out)
    }

    /// The faults alone.
    pub(super) fn faults(&self) -> String {
        let (_, out) = self.assemble();
        self.tidy(&out)
    }

    /// Name, directory, profiles and the services' names, then the faults.
    pub(super) fn facts(&self) -> String {
        let (assembled, out) = self.assemble();
        let Some(assembled) = assembled else { return self.tidy(&format!("no tree\n{out}")) };
        let services = assembled.root.get("services").and_then(Node::as_map).unwrap_or_default();
        let services: Vec<&str> = services.iter().map(|entry| entry.key.as_str()).collect();
        self.tidy(&format!(
            "{} in {}, profiles {:?}, services {services:?}\n{out}",
            assembled.name.as_str(),
            assembled.project_dir.display(),
            assembled.profiles,
        ))
    }

    pub(super) fn variables(&self) -> Vec<(String, String)> {
        let (assembled, _) = self.assemble();
        assembled.map(|assembled| assembled.variables.into_iter().collect()).unwrap_or_default()
    }

    fn assemble(&self) -> (Option<Assembled>, String) {
        let (mut sources, mut faults) = (Sources::default(), Vec::new());
        let assembled = assemble(&self.request, &mut sources, &mut faults);
        let place = |span| {
            let (line, column) = sources.line_and_column(span).unwrap_or_default();
            let path = sources.get(span.source).map(|source| source.path.display().to_string());
            format!("{}:{line}:{column}", path.unwrap_or_default())
        };
        let mut out = String::new();
        for fault in faults {
            let severity = if fault.severity == Severity::Error { "error" } else { "warning" };
            let at = fault.span.map(|span| {
                let text = &sources.get(span.source).expect("a source").text;
                let shown: String = text[span.start as usize..span.end as usize].chars().take(40).collect();
                format!(" at {} {shown:?}", place(span))
            });
            out.push_str(&format!(
                "{severity}[{}]{}: {}\n",
                fault.code,
                at.unwrap_or_default(),
                fault.message
            ));
            for (span, label) in fault.also {
                out.push_str(&format!("  also {}: {label}\n", place(span)));
            }
            if let Some(hint) = fault.hint {
                out.push_str(&format!("  hint: {hint}\n"));
            }
        }
        (assembled, out)
    }

    fn tidy(&self, out: &str) -> String {
        out.replace(&self.dir.path().display().to_string(), "/app").trim_end().to_owned()
    }
}

fn render(node: &Node, indent: usize, out: &mut String) {
    let pad = " ".repeat(indent);
    match &node.value {
        Value::Scalar(scalar) if scalar.plain => out.push_str(&format!("{pad}{}\n", scalar.text)),
        Value::Scalar(scalar) => out.push_str(&format!("{pad}{:?}\n", scalar.text)),
        Value::Seq(items) if items.is_empty() => out.push_str(&format!("{pad}[]\n")),
        Value::Map(entries) if entries.is_empty() => out.push_str(&format!("{pad}{{}}\n")),
        Value::Seq(items) => {
            for item in items {
                let mut text = String::new();
                render(item, indent + 2, &mut text);
                out.push_str(&format!("{pad}- {}", text.trim_start()));
            }
        }
        Value::Map(entries) => {
            for entry in entries {
                out.push_str(&format!("{pad}{}:", entry.key));
                let inline = match &entry.value.value {
                    Value::Scalar(_) => true,
                    Value::Seq(items) => items.is_empty(),
                    Value::Map(entries) => entries.is_empty(),
                };
                let mut text = String::new();
                render(&entry.value, indent + 2, &mut text);
                match (inline, text.trim().is_empty()) {
                    (true, true) => out.push('\n'),
                    (true, false) => out.push_str(&format!(" {}", text.trim_start())),
                    _ => out.push_str(&format!("\n{text}")),
                }
            }
        }
    }
}
