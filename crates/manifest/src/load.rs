//! The whole way: files → tree → text form → settled → resolved.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::assemble::{Assembled, Request, assemble};
use crate::fault::{Fault, Severity, Sources};
use crate::spec::App;
use crate::text::decode::{At, Decode, Faults};
use crate::text::{self, File};
use crate::{resolve, tree};

/// What came out of loading a file.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The typed text form, standing on its own: profiles applied, environment files folded in; defaults
    /// are not filled in.
    pub file: text::File,
    /// What it asks for; `None` if any fault is an error.
    pub app: Option<App>,
    /// Everything that is wrong, in the order of the places; faults without a place first.
    pub faults: Vec<Fault>,
    /// Every file that took part.
    pub sources: Sources,
    /// The project directory. Absolute.
    pub project_dir: PathBuf,
}

/// Loads what `request` asks for. Never panics, reports every fault at once.
pub fn load(request: &Request) -> Loaded {
    load_naming(request, &[])
}

/// As [`load`]; the services `named` on the command line are enabled whatever their profiles.
pub fn load_naming(request: &Request, named: &[String]) -> Loaded {
    let mut sources = Sources::default();
    let mut found = Vec::new();
    let assembled = assemble(request, &mut sources, &mut found);
    let mut faults = Faults::default();
    for fault in found {
        faults.add(fault);
    }
    let project_dir = request.project_dir.clone().unwrap_or_else(|| request.working_dir.clone());
    match assembled {
        Some(assembled) => finish(&assembled, named, sources, faults),
        None => {
            if !faults.any_error() {
                faults.add(Fault::new(Severity::Error, "A0101", None, "there is no application file"));
            }
            let file = text::File::default();
            Loaded { file, app: None, faults: faults.into_list(), sources, project_dir }
        }
    }
}

/// Reads a file as [`render_yaml`](crate::render_yaml) writes it. It stands on its own: no environment, no
/// `.env` and no other file takes part. `origin` is where it is kept.
pub fn parse_resolved(text: &str, origin: &Path) -> Loaded {
    let dir = origin.parent().filter(|dir| dir.is_absolute()).unwrap_or(Path::new("/")).to_owned();
    let request = Request {
        working_dir: dir.clone(),
        files: vec![PathBuf::from("-")],
        project_dir: Some(dir),
        env_files: vec![PathBuf::from("/dev/null")],
        environment: BTreeMap::new(),
        stdin: Some(text.to_owned()),
        ..Request::default()
    };
    let mut loaded = load(&request);
    loaded.sources.rename(Path::new("<stdin>"), origin);
    loaded
}

pub(crate) fn finish(
    assembled: &Assembled,
    named: &[String],
    mut sources: Sources,
    mut faults: Faults,
) -> Loaded {
    let root: &tree::Node = &assembled.root;
    refuse_nul(root, &mut faults);
    let mut file = File::decode(root, &mut faults).unwrap_or_default();
    let written_dir = file.project_directory.as_ref().map(|at| PathBuf::from(&at.value));
    let project_dir = match written_dir {
        Some(dir) if dir.is_absolute() => dir,
        Some(dir) => assembled.project_dir.join(dir),
        None => assembled.project_dir.clone(),
    };
    resolve::check_not_empty(&file, root.span, &mut faults);
    let around = resolve::Surroundings {
        root: &project_dir,
        profiles: &assembled.profiles,
        named,
        variables: &assembled.variables,
    };
    resolve::settle(&mut file, &around, &mut sources, &mut faults);
    let at = |value: String| Some(At { value, span: root.span, key: root.span });
    file.name = at(assembled.name.to_string());
    file.project_directory = at(project_dir.to_string_lossy().into_owned());
    let app = resolve::resolve(&file, assembled.name.clone(), &project_dir, &mut faults);
    let app = (!faults.any_error()).then_some(app);
    Loaded { file, app, faults: faults.into_list(), sources, project_dir }
}

/// Notes every text with a NUL character: programs get their words and variables as C strings. The depth of
/// a tree is bounded where it is read.
fn refuse_nul(node: &tree::Node, faults: &mut Faults) {
    let mut look = |text: &str, span| {
        if text.contains('\0') {
            let message = "a text with a NUL character cannot be handed to a program";
            faults.bad_value(span, message, "take the `\\0` out");
        }
    };
    match &node.value {
        tree::Value::Scalar(scalar) => look(&scalar.text, node.span),
        tree::Value::Seq(items) => items.iter().for_each(|item| refuse_nul(item, faults)),
        tree::Value::Map(entries) => {
            for entry in entries {
                look(&entry.key, entry.key_span);
            }
            entries.iter().for_each(|entry| refuse_nul(&entry.value, faults));
        }
    }
}
