//! Reads the environment files of services, each once.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::assemble::dotenv::parse_env_file;
use crate::fault::{Fault, Sources, Span};
use crate::text::decode::{At, Faults, shown};
use crate::text::service::{EnvFile, EnvFormat};
use crate::text::shape::Form;

/// Bytes of an environment file at most.
const MAX_BYTES: u64 = 1 << 20;

type Assignments = Rc<Vec<(String, String)>>;

/// The environment files that were read.
pub(crate) struct EnvFiles<'a> {
    root: &'a Path,
    variables: &'a BTreeMap<String, String>,
    read: HashMap<(PathBuf, bool), Option<Assignments>>,
}

impl<'a> EnvFiles<'a> {
    /// None read yet; paths start at `root`.
    pub(crate) fn new(root: &'a Path, variables: &'a BTreeMap<String, String>) -> Self {
        Self { root, variables, read: HashMap::new() }
    }

    /// The assignments of an `env_file` entry, in file order.
    pub(crate) fn read(
        &mut self,
        item: &At<Form<String, EnvFile>>,
        sources: &mut Sources,
        faults: &mut Faults,
    ) -> Assignments {
        let (path, raw, required) = match &item.value {
            Form::Short(path) => (path.as_str(), false, true),
            Form::Long(long) => (
                long.path.as_ref().map_or("", |path| path.as_str()),
                long.format.as_ref().is_some_and(|format| format.value == EnvFormat::Raw),
                long.required.as_ref().is_none_or(|required| required.value),
            ),
        };
        self.file(path, raw, required, "env_file", item.span, sources, faults)
    }

    /// The labels of a `label_file` entry.
    pub(crate) fn read_labels(
        &mut self,
        item: &At<String>,
        sources: &mut Sources,
        faults: &mut Faults,
    ) -> Assignments {
        self.file(&item.value, false, true, "label_file", item.span, sources, faults)
    }

    #[allow(clippy::too_many_arguments)] // one private function behind two doors
    fn file(
        &mut self,
        path: &str,
        raw: bool,
        required: bool,
        key: &str,
        span: Span,
        sources: &mut Sources,
        faults: &mut Faults,
    ) -> Assignments {
        let full = self.root.join(path);
        if let Some(known) = self.read.get(&(full.clone(), raw)) {
            // A file that could not be read was said once.
            return known.clone().unwrap_or_default();
        }
        let text = match read_text(&full) {
            Ok(text) => text,
            Err(ReadError::Missing) if !required => return Assignments::default(),
            Err(error) => {
                let (why, hint) = match error {
                    ReadError::Missing => {
                        ("it does not exist".to_owned(), "write it, or mark it `required: false`")
                    }
                    ReadError::Io(error) => (error.to_string(), "see that it is a file that can be read"),
                    ReadError::TooLarge => (
                        format!("it is larger than {} MiB", MAX_BYTES >> 20),
                        "hand large texts over in files",
                    ),
                    ReadError::NotUtf8 => ("it is not UTF-8".to_owned(), "save it as UTF-8"),
                    ReadError::Nul => (
                        "it has a NUL character".to_owned(),
                        "save it as UTF-8; no program can be given such a text",
                    ),
                };
                let message = format!("cannot read the {key} `{}`: {why}", shown(path));
                let fault =
                    Fault::error("A0308", span, message).label(format!("looked for at {}", full.display()));
                faults.add(fault.hint(hint));
                self.read.insert((full, raw), None);
                return Assignments::default();
            }
        };
        let parsed = if raw { Ok(parse_raw(&text, self.variables)) } else { self.parse(&text) };
        let assignments = match parsed {
            Ok(list) => Some(Rc::new(list)),
            Err(bad) => {
                let source = sources.add(PathBuf::from(path), text);
                let at = |place: usize| u32::try_from(place).unwrap_or(u32::MAX);
                let place = Span { source, start: at(bad.start), end: at(bad.end) };
                let mut fault = Fault::error("A0308", place, format!("in the {key}: {}", bad.message));
                fault.hint = bad.hint.map(str::to_owned);
                faults.add(fault.also(span, "named here"));
                None
            }
        };
        self.read.insert((full, raw), assignments.clone());
        assignments.unwrap_or_default()
    }

    fn parse(&self, text: &str) -> Result<Vec<(String, String)>, crate::assemble::dotenv::EnvFileError> {
        let lookup = |name: &str| self.variables.get(name).cloned();
        let list = parse_env_file(text, &lookup)?;
        Ok(list.into_iter().filter_map(|(name, value)| Some((name, value?))).collect())
    }
}

/// The raw format: each line as it is, nothing quoted, nothing filled in.
fn parse_raw(text: &str, variables: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let mut list = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#')) {
        match line.split_once('=') {
            Some((key, value)) => list.push((key.trim().to_owned(), value.to_owned())),
            None => {
                let key = line.trim();
                list.extend(variables.get(key).map(|value| (key.to_owned(), value.clone())));
            }
        }
    }
    list
}

enum ReadError {
    Missing,
    Io(std::io::Error),
    TooLarge,
    NotUtf8,
    Nul,
}

fn read_text(path: &Path) -> Result<String, ReadError> {
    let io = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => ReadError::Missing,
        _ => ReadError::Io(error),
    };
    // Only regular files: opening a pipe would wait for a writer.
    if !std::fs::metadata(path).map_err(io)?.is_file() {
        return Err(ReadError::Io(std::io::Error::other("it is not a regular file")));
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path).map_err(io)?.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(ReadError::TooLarge);
    }
    if bytes.contains(&0) {
        return Err(ReadError::Nul);
    }
    String::from_utf8(bytes).map_err(|_| ReadError::NotUtf8)
}
