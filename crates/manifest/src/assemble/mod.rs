//! From files on disk to one merged, interpolated tree: discovery, `.env`, YAML, interpolation, merge
//! keys, `extends`, `include`, override files, `!reset` and `!override`, as Compose does them.

mod discover;
pub(crate) mod dotenv;
mod extends;
mod forms;
mod hoist;
mod include;
mod interpolate;
mod limits;
mod load;
mod merge;
mod name;
mod parse;
mod raw;
mod rebase;
mod reset;
mod session;
pub(crate) mod template;
mod unique;
mod yaml_error;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;

use discover::{Found, Input, discover};
use load::Model;
use rebase::Rebase;
use session::Session;

use crate::fault::{Fault, Severity, SourceId, Sources};
use crate::spec::AppName;
use crate::tree::Node;

/// What to load: the flags of the command line and the process environment, as Compose reads them.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Where the command was typed; discovery starts here. Absolute.
    pub working_dir: PathBuf,
    /// `-f`, in order; empty: `COMPOSE_FILE`, then discovery. `-` is standard input, see `stdin`.
    pub files: Vec<PathBuf>,
    /// `--project-directory`.
    pub project_dir: Option<PathBuf>,
    /// `-p`.
    pub project_name: Option<String>,
    /// `--profile`; empty: `COMPOSE_PROFILES`.
    pub profiles: Vec<String>,
    /// `--env-file`; empty: `COMPOSE_ENV_FILES`, then `.env` of the project directory.
    pub env_files: Vec<PathBuf>,
    /// The environment of the command; wins over `.env`.
    pub environment: BTreeMap<String, String>,
    /// The text for `-f -`.
    pub stdin: Option<String>,
}

/// One tree out of all files, and what was found out on the way.
#[derive(Clone, Debug)]
pub(crate) struct Assembled {
    /// The merged top-level mapping. `x-atoll: {K: …}` has become `K` at the same level.
    pub(crate) root: Node,
    /// The project directory. Absolute.
    pub(crate) project_dir: PathBuf,
    /// The app's name by Compose's precedence (`-p`, `COMPOSE_PROJECT_NAME`, `name:`, directory).
    pub(crate) name: AppName,
    /// The active profiles.
    pub(crate) profiles: Vec<String>,
    /// `.env` and the environment: what `env_file`s and `${…}` see.
    pub(crate) variables: BTreeMap<String, String>,
}

/// Reads, interpolates and merges everything `request` asks for. `None` when there is no tree to go on
/// with; whatever is wrong is added to `faults` either way.
///
/// Relative paths of included files and of files that are extended are absolute in the tree, those of the
/// app's own files stay relative to [`Assembled::project_dir`]; `~` is filled in everywhere.
pub(crate) fn assemble(
    request: &Request,
    sources: &mut Sources,
    faults: &mut Vec<Fault>,
) -> Option<Assembled> {
    let mut session = Session::new(request, sources, faults);
    let Found { inputs, project_dir, mut env, profiles } = discover(&mut session)?;
    let mut paths = Vec::with_capacity(inputs.len());
    let mut files = Vec::with_capacity(inputs.len());
    for input in inputs {
        let (path, source) = match input {
            Input::File(path) => {
                let source = session.read(&path, "application file", None);
                (path, source)
            }
            Input::Stdin => (PathBuf::from("-"), stdin(&mut session)),
        };
        if let Some(docs) = source.and_then(|source| parse::parse(&mut session, source)) {
            paths.push(path);
            files.push(docs);
        }
    }
    let name = name::app_name(&mut session, &files, &env, &project_dir);
    if let Some(name) = &name {
        env.insert("COMPOSE_PROJECT_NAME".to_owned(), name.as_str().to_owned());
    }
    let readable = !session.incomplete;
    let model = Model { dir: project_dir, env };
    let files = paths.into_iter().zip(files).collect();
    let root = load::load(&mut session, files, &model, &mut Vec::new());
    let Model { dir: project_dir, env: variables } = model;
    let Some(mut root) = root.filter(|root| root.as_map().is_some_and(|entries| !entries.is_empty())) else {
        if readable && !session.incomplete {
            let message = "the application file is empty";
            let hint = "write at least one service below `services:`, or start from `atoll init`";
            session.fault(Fault::new(Severity::Error, "A0121", None, message).hint(hint));
        }
        return None;
    };
    Rebase::home_only(&variables).apply(&mut root);
    if session.incomplete {
        return None;
    }
    Some(Assembled { root, project_dir, name: name?, profiles, variables })
}

/// The text of `-f -`.
fn stdin(session: &mut Session<'_>) -> Option<SourceId> {
    let Some(text) = &session.request.stdin else {
        let message = "`-f -` reads the file from standard input, and there is none";
        let hint = "pipe the file in, or name its path";
        session.fatal(Fault::new(Severity::Error, "A0102", None, message).hint(hint));
        return None;
    };
    if text.len() as u64 > limits::MAX_FILE_BYTES {
        let message = format!(
            "standard input has {} bytes; at most {} MiB are read",
            text.len(),
            limits::MAX_FILE_BYTES >> 20
        );
        session.fatal(Fault::new(Severity::Error, "A0103", None, message));
        return None;
    }
    let bytes = text.clone().into_bytes();
    session.add_text(PathBuf::from("<stdin>"), bytes)
}
