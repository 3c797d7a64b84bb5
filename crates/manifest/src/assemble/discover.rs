//! Which files make up the app, where it lives, and what `${…}` sees.

use std::path::{Path, PathBuf};

use super::dotenv::parse_env_file_after;
use super::session::{Env, Session, dir_of, join};
use crate::fault::{Fault, Severity, Span};

/// Our own names, the preferred one first.
const OWN: [&str; 2] = ["atoll.yaml", "atoll.yml"];
const OWN_OVERRIDES: [&str; 2] = ["atoll.override.yaml", "atoll.override.yml"];
/// Compose's names, in Compose's order.
const COMPOSE: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];
const COMPOSE_OVERRIDES: [&str; 4] = [
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
];

/// One file of the app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// An absolute path.
    File(PathBuf),
    /// `-f -`.
    Stdin,
}

/// What was found out before any file was read.
pub(super) struct Found {
    pub(super) inputs: Vec<Input>,
    pub(super) project_dir: PathBuf,
    pub(super) env: Env,
    pub(super) profiles: Vec<String>,
}

/// Finds the files, the directory and the variables of the app. `None` when there is no file; that has
/// been reported.
pub(super) fn discover(session: &mut Session<'_>) -> Option<Found> {
    let request = session.request;
    let here = &request.working_dir;
    let mut env = request.environment.clone();
    env.entry("PWD".to_owned()).or_insert_with(|| here.to_string_lossy().into_owned());

    let given = request.project_dir.as_ref().map(|dir| join(here, dir));
    let mut inputs = Vec::new();
    for file in &request.files {
        expand(session, file, &mut inputs)?;
    }
    // `.env` may say which files there are, and beside those may lie another `.env`.
    let before = given.clone().or_else(|| home_of(&inputs)).unwrap_or_else(|| here.clone());
    add_env_files(session, &mut env, &before, None);
    if inputs.is_empty()
        && let Some(listed) = env.get("COMPOSE_FILE").filter(|listed| !listed.is_empty()).cloned()
    {
        let separator = env.get("COMPOSE_PATH_SEPARATOR").filter(|s| !s.is_empty());
        let separator = separator.map_or(":", String::as_str).to_owned();
        for file in listed.split(&separator).filter(|file| !file.is_empty()) {
            expand(session, Path::new(file), &mut inputs)?;
        }
    }
    if inputs.is_empty() {
        inputs = upwards(session, &before)?;
    }
    let project_dir = given.or_else(|| home_of(&inputs)).unwrap_or_else(|| here.clone());
    if project_dir != before {
        add_env_files(session, &mut env, &project_dir, Some(&before));
    }
    let profiles = if request.profiles.is_empty() {
        let listed = env.get("COMPOSE_PROFILES").map_or("", String::as_str);
        listed.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
    } else {
        request.profiles.clone()
    };
    Some(Found { inputs, project_dir, env, profiles })
}

/// Where the first file is.
fn home_of(inputs: &[Input]) -> Option<PathBuf> {
    inputs.iter().find_map(|input| match input {
        Input::File(path) => Some(dir_of(path)),
        Input::Stdin => None,
    })
}

/// A file that was named; a directory stands for the files in it.
fn expand(session: &mut Session<'_>, file: &Path, inputs: &mut Vec<Input>) -> Option<()> {
    if file.as_os_str() == "-" {
        inputs.push(Input::Stdin);
        return Some(());
    }
    if let Some(text) = file.to_str().filter(|text| is_remote(text)) {
        let message = format!("`{text}` is not on this machine: Atoll reads local files only");
        let hint = "fetch the file and name its path";
        session.fatal(Fault::new(Severity::Error, "A0125", None, message).hint(hint));
        return None;
    }
    let path = join(&session.request.working_dir, file);
    if !path.is_dir() {
        inputs.push(Input::File(path));
        return Some(());
    }
    let found = in_directory(session, &path);
    if found.is_empty() {
        not_found(session, &[path]);
        return None;
    }
    inputs.extend(found);
    Some(())
}

/// The files of the nearest directory that has any, from `start` up to the root.
fn upwards(session: &mut Session<'_>, start: &Path) -> Option<Vec<Input>> {
    let mut looked = Vec::new();
    for dir in start.ancestors() {
        let found = in_directory(session, dir);
        if !found.is_empty() {
            return Some(found);
        }
        looked.push(dir.to_owned());
    }
    not_found(session, &looked);
    None
}

/// The application file of a directory and its override, if it has one.
fn in_directory(session: &mut Session<'_>, dir: &Path) -> Vec<Input> {
    for (names, overrides) in [(&OWN[..], &OWN_OVERRIDES[..]), (&COMPOSE[..], &COMPOSE_OVERRIDES[..])] {
        let Some(main) = first_of(session, dir, names, "application file") else { continue };
        let mut inputs = vec![Input::File(main)];
        inputs.extend(first_of(session, dir, overrides, "override file").map(Input::File));
        return inputs;
    }
    Vec::new()
}

fn first_of(session: &mut Session<'_>, dir: &Path, names: &[&str], role: &str) -> Option<PathBuf> {
    let mut there = names.iter().map(|name| dir.join(name)).filter(|path| path.exists());
    let first = there.next()?;
    let others: Vec<String> = there.map(|path| format!("`{}`", session.shown(&path).display())).collect();
    if !others.is_empty() {
        let message = format!(
            "`{}` is the {role}; {} beside it is not read",
            session.shown(&first).display(),
            others.join(", ")
        );
        let hint = "remove what is not needed, or choose with `-f`";
        session.fault(Fault::new(Severity::Warning, "A0122", None, message).hint(hint));
    }
    Some(first)
}

fn not_found(session: &mut Session<'_>, looked: &[PathBuf]) {
    let names: Vec<&str> = OWN.iter().chain(&COMPOSE).copied().collect();
    let place = match looked {
        [only] => format!("`{}`", only.display()),
        [first, ..] => format!("`{}` and the directories above it", first.display()),
        [] => "any directory".to_owned(),
    };
    let message = format!("no application file: looked for {} in {place}", names.join(", "));
    let hint = "write one with `atoll init`, or say where it is with `-f`";
    session.fatal(Fault::new(Severity::Error, "A0101", None, message).hint(hint));
}

/// Something Compose would fetch: a URL, a Git or an OCI reference.
pub(super) fn is_remote(text: &str) -> bool {
    const SCHEMES: [&str; 6] = ["http://", "https://", "git://", "ssh://", "oci://", "git@"];
    SCHEMES.iter().any(|scheme| text.starts_with(scheme)) || text.starts_with("github.com/")
}

/// Adds what the environment files say to `env`, which wins. `done`: the directory whose `.env` was taken
/// before; files that were named are the same ones then.
fn add_env_files(session: &mut Session<'_>, env: &mut Env, dir: &Path, done: Option<&Path>) {
    let request = session.request;
    let here = &request.working_dir;
    let listed = request.environment.get("COMPOSE_ENV_FILES").map_or("", String::as_str);
    let named: Vec<PathBuf> = if request.env_files.is_empty() {
        listed.split(',').filter(|file| !file.is_empty()).map(|file| join(here, Path::new(file))).collect()
    } else {
        request.env_files.iter().map(|file| join(here, file)).collect()
    };
    let files: Vec<(PathBuf, Option<Span>)> = if named.is_empty() {
        let default = dir.join(".env");
        if disabled(session, done.is_none()) || !default.exists() || default.is_dir() {
            return;
        }
        vec![(default, None)]
    } else if done.is_some() {
        return;
    } else {
        named.into_iter().map(|path| (path, None)).collect()
    };
    let known = env.clone();
    for (name, value) in read_env_files(session, &files, &known) {
        env.entry(name).or_insert(value);
    }
}

/// `COMPOSE_DISABLE_ENV_FILE`, in the spellings Compose takes.
fn disabled(session: &mut Session<'_>, complain: bool) -> bool {
    let Some(value) = session.request.environment.get("COMPOSE_DISABLE_ENV_FILE") else { return false };
    match value.as_str() {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => true,
        "0" | "f" | "F" | "false" | "FALSE" | "False" => false,
        _ => {
            if complain {
                let message = format!("`COMPOSE_DISABLE_ENV_FILE` is `{value}`, neither true nor false");
                let hint = "set it to 1 or 0, or unset it";
                session.fault(Fault::new(Severity::Error, "A0124", None, message).hint(hint));
            }
            false
        }
    }
}

/// Reads environment files, the later over the earlier; their own `${…}` see `outer` first.
pub(super) fn read_env_files(
    session: &mut Session<'_>,
    files: &[(PathBuf, Option<Span>)],
    outer: &Env,
) -> Env {
    let mut found = Env::new();
    for (path, place) in files {
        let Some(source) = session.read(path, "environment file", *place) else { continue };
        let text = session.sources.get(source).map(|source| source.text.clone()).unwrap_or_default();
        match parse_env_file_after(&text, &|name| outer.get(name).cloned(), &found) {
            Ok(list) => found.extend(list.into_iter().filter_map(|(name, value)| Some((name, value?)))),
            Err(error) => {
                let byte = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
                let span = Span { source, start: byte(error.start), end: byte(error.end) };
                let mut fault = Fault::error("A0113", span, error.message);
                fault.hint = error.hint.map(str::to_owned);
                session.fatal(fault);
            }
        }
    }
    found
}
