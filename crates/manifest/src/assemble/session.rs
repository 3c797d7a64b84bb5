//! What the steps of assembling share: the files read so far, the faults found so far, what is left of
//! the budgets.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileTypeExt;
use std::path::{Component, Path, PathBuf};

use super::Request;
use super::limits::{Budget, Exhausted, MAX_FAULTS, MAX_FILE_BYTES, MAX_FILES, MAX_TOTAL_BYTES, Size};
use crate::fault::{Fault, Severity, SourceId, Sources, Span};

/// The variables that `${…}` sees.
pub(super) type Env = BTreeMap<String, String>;

/// The state of one call of [`super::assemble`].
pub(super) struct Session<'a> {
    pub(super) request: &'a Request,
    pub(super) sources: &'a mut Sources,
    faults: &'a mut Vec<Fault>,
    kept: usize,
    budget: Budget,
    files: usize,
    bytes: u64,
    read: HashMap<PathBuf, Option<SourceId>>,
    /// Variables already warned about.
    pub(super) unset: BTreeSet<String>,
    /// The budget is used up: expanding anything more is in vain.
    pub(super) spent: bool,
    /// Something is missing from the tree (a file, a base of `extends`): no use in decoding it, what it
    /// would complain about is not what is wrong.
    pub(super) incomplete: bool,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        request: &'a Request,
        sources: &'a mut Sources,
        faults: &'a mut Vec<Fault>,
    ) -> Session<'a> {
        Session {
            request,
            sources,
            faults,
            kept: 0,
            budget: Budget::new(),
            files: 0,
            bytes: 0,
            read: HashMap::new(),
            unset: BTreeSet::new(),
            spent: false,
            incomplete: false,
        }
    }

    /// Adds a fault; from [`MAX_FAULTS`] on they are dropped, after one that says so.
    pub(super) fn fault(&mut self, fault: Fault) {
        self.kept += 1;
        if self.kept <= MAX_FAULTS {
            self.faults.push(fault);
        } else if self.kept == MAX_FAULTS + 1 {
            let message = format!("more than {MAX_FAULTS} faults: the rest is not shown");
            self.faults.push(Fault::new(Severity::Warning, "A0108", None, message));
            self.incomplete = true;
        }
    }

    /// No further fault would be kept: not worth looking for hints.
    pub(super) fn full(&self) -> bool {
        self.kept >= MAX_FAULTS
    }

    /// Adds a fault that leaves a hole in the tree.
    pub(super) fn fatal(&mut self, fault: Fault) {
        self.incomplete = true;
        self.fault(fault);
    }

    /// Takes `size` out of the budget of the whole app; says so, once, when nothing is left.
    pub(super) fn charge(&mut self, size: Size, place: Span) -> Result<(), Exhausted> {
        let result = self.budget.charge(size);
        if result.is_err() && !self.spent {
            let message = format!(
                "the app grows past {} nodes or {} MiB of text once aliases, `extends` and variables are expanded",
                super::limits::MAX_NODES,
                super::limits::MAX_TEXT_BYTES >> 20
            );
            let hint = "look for aliases of aliases, or split the app";
            self.fatal(Fault::error("A0108", place, message).label("here nothing was left").hint(hint));
        }
        self.spent |= result.is_err();
        self.incomplete |= result.is_err();
        result
    }

    /// Reads a file once; the same file again is free. `role` says what it is for (`application file`),
    /// `place` who asked for it.
    pub(super) fn read(&mut self, path: &Path, role: &str, place: Option<Span>) -> Option<SourceId> {
        self.files += 1;
        if self.files > MAX_FILES {
            if self.files == MAX_FILES + 1 {
                let message = format!("the app is made of more than {MAX_FILES} files");
                self.fatal(Fault::new(Severity::Error, "A0103", place, message).hint(
                    "look for files that include each other many times over; a limit this high is never met by hand",
                ));
            }
            return None;
        }
        if let Some(known) = self.read.get(path) {
            return *known;
        }
        let id = self.read_new(path, role, place);
        self.read.insert(path.to_owned(), id);
        id
    }

    fn read_new(&mut self, path: &Path, role: &str, place: Option<Span>) -> Option<SourceId> {
        let shown = self.shown(path);
        let bytes = match read_bounded(path) {
            Ok(bytes) => bytes,
            Err(problem) => {
                let code = if problem.too_large { "A0103" } else { "A0102" };
                let message = format!("cannot read the {role} `{}`: {}", shown.display(), problem.text);
                let mut fault = Fault::new(Severity::Error, code, place, message);
                fault.hint = problem.hint.map(str::to_owned);
                self.fatal(fault);
                return None;
            }
        };
        self.bytes += bytes.len() as u64;
        if self.bytes > MAX_TOTAL_BYTES {
            let message = format!("the files of the app are larger than {} MiB", MAX_TOTAL_BYTES >> 20);
            self.fatal(Fault::new(Severity::Error, "A0103", place, message));
            return None;
        }
        self.add_text(shown, bytes)
    }

    /// Takes the text of a file that did not come from disk.
    pub(super) fn add_text(&mut self, shown: PathBuf, bytes: Vec<u8>) -> Option<SourceId> {
        let problem = match String::from_utf8(bytes) {
            Ok(text) => return Some(self.sources.add(shown, text)),
            Err(problem) => problem,
        };
        let at = problem.utf8_error().valid_up_to();
        let mut bytes = problem.into_bytes();
        let hint = match &bytes[..2.min(bytes.len())] {
            [0xff, 0xfe] | [0xfe, 0xff] => "the file is UTF-16: save it as UTF-8",
            _ => "save the file as UTF-8",
        };
        let byte = bytes[at];
        bytes.truncate(at);
        let text = String::from_utf8(bytes).unwrap_or_default();
        let line = text.matches('\n').count() + 1;
        let message = format!("`{}` is not UTF-8: byte {at} (line {line}) is 0x{byte:02x}", shown.display());
        let id = self.sources.add(shown, text);
        let at = u32::try_from(at).unwrap_or(u32::MAX);
        let span = Span { source: id, start: at, end: at };
        self.fatal(Fault::error("A0104", span, message).label("not UTF-8 from here on").hint(hint));
        None
    }

    /// A path as people should see it: relative to where they are, where that is shorter.
    pub(super) fn shown(&self, path: &Path) -> PathBuf {
        let from = &self.request.working_dir;
        let common = path.components().zip(from.components()).take_while(|(a, b)| a == b).count();
        let mut relative: PathBuf = from.components().skip(common).map(|_| Component::ParentDir).collect();
        relative.extend(path.components().skip(common));
        let usable = common > 0 && !relative.as_os_str().is_empty();
        if usable && relative.as_os_str().len() < path.as_os_str().len() { relative } else { path.to_owned() }
    }

    /// The text that stands at `span`.
    pub(super) fn text_at(&self, span: Span) -> Option<&str> {
        self.sources.get(span.source)?.text.get(span.start as usize..span.end as usize)
    }
}

/// Why a file could not be read.
struct ReadProblem {
    text: String,
    hint: Option<&'static str>,
    too_large: bool,
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, ReadProblem> {
    let plain = |text: String, hint| ReadProblem { text, hint, too_large: false };
    let os = |error: &std::io::Error| {
        let hint = match error.kind() {
            std::io::ErrorKind::NotFound => Some("check the path, and the directory it starts from"),
            std::io::ErrorKind::PermissionDenied => Some("make the file readable for this user"),
            _ => None,
        };
        plain(says(error), hint)
    };
    let too_large = |bytes: u64| ReadProblem {
        text: format!("it has {bytes} bytes or more; at most {} MiB are read", MAX_FILE_BYTES >> 20),
        hint: Some("is this the right file? large data belongs into files that services read"),
        too_large: true,
    };
    let meta = std::fs::metadata(path).map_err(|e| os(&e))?;
    if meta.is_dir() {
        return Err(plain("it is a directory".to_owned(), None));
    }
    // A pipe made by the shell, `-f <(generate)`, is under /dev or /proc; any other may never end or begin.
    let from_shell = path.starts_with("/dev") || path.starts_with("/proc");
    if !from_shell && (meta.file_type().is_fifo() || meta.file_type().is_socket()) {
        return Err(plain("it is not a regular file".to_owned(), None));
    }
    if meta.len() > MAX_FILE_BYTES {
        return Err(too_large(meta.len()));
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|e| os(&e))?;
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(|e| os(&e))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(too_large(bytes.len() as u64));
    }
    Ok(bytes)
}

/// What the system says, without its number.
fn says(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

/// Joins and cleans a path without asking the disk: `a/./b/../c` is `a/c`.
pub(super) fn join(base: &Path, path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in base.join(path).components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if matches!(out.components().next_back(), Some(Component::Normal(_))) => {
                out.pop();
            }
            Component::ParentDir if out.has_root() => {}
            part => out.push(part),
        }
    }
    out
}

/// The directory a file is in.
pub(super) fn dir_of(path: &Path) -> PathBuf {
    path.parent().map_or_else(|| PathBuf::from("/"), Path::to_path_buf)
}
