//! `include`: another app's file becomes part of this one, with its own directory and its own `.env`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::discover::{is_remote, read_env_files};
use super::limits::MAX_INCLUDES;
use super::load::{Model, load};
use super::merge::merge;
use super::parse::{Doc, parse};
use super::rebase::Rebase;
use super::session::{Env, Session, dir_of, join};
use crate::fault::{Fault, Span};
use crate::tree::{Entry, Node, Scalar, Value};

/// What an included file may bring along. Its `name` and its extensions stay behind.
const SECTIONS: [&str; 8] =
    ["services", "volumes", "networks", "secrets", "configs", "models", "functions", "sagas"];
/// What an included file may bring along that is one thing.
const WHOLE: [&str; 4] = ["gateway", "pipes", "telemetry", "console"];

/// One entry of `include`.
struct Entered {
    files: Vec<(PathBuf, Span)>,
    dir: PathBuf,
    env_files: Option<Vec<(PathBuf, Span)>>,
    span: Span,
}

/// Takes `include` out of `doc` and puts what it names in. What `doc` defines itself goes over what it
/// includes. `stack` is the chain of files that include each other, this one last.
pub(super) fn apply(session: &mut Session<'_>, doc: &mut Doc, model: &Model, stack: &mut Vec<PathBuf>) {
    let Value::Map(sections) = &mut doc.root.value else { return };
    let Some(at) = sections.iter().position(|section| section.key == "include") else { return };
    let include = sections.remove(at).value;
    if include.is_null() {
        return;
    }
    let kind = include.kind();
    let Value::Seq(items) = include.value else {
        let message = format!("`include` takes a list, this is {kind}");
        let hint = "write `include: [path/compose.yaml]`";
        session.fatal(Fault::error("A0117", include.span, message).hint(hint));
        return;
    };
    let mut imports: HashMap<(&'static str, String), Vec<(Span, Span)>> = HashMap::new();
    for item in items {
        let Some(entered) = enter(session, &item, model) else { continue };
        let Some(mut imported) = load_entered(session, &entered, model, stack) else { continue };
        for section in SECTIONS {
            import(session, doc, &mut imported, section, entered.span, &mut imports);
        }
        for section in WHOLE {
            if let Value::Map(theirs) = &mut imported.value
                && let Some(at) = theirs.iter().position(|entry| entry.key == section)
            {
                import_whole(session, doc, theirs.swap_remove(at));
            }
        }
    }
}

/// Understands one entry: a path, or `{path, project_directory, env_file}`.
fn enter(session: &mut Session<'_>, item: &Node, model: &Model) -> Option<Entered> {
    let hint = "write a path, or `{path: …, project_directory: …, env_file: …}`";
    let path = match &item.value {
        Value::Scalar(_) => Some(item),
        _ => item.get("path"),
    };
    let Some(paths) = path.and_then(texts).filter(|paths| !paths.is_empty()) else {
        let message = "this entry of `include` does not say which file";
        session.fatal(Fault::error("A0117", item.span, message).hint(hint));
        return None;
    };
    for entry in item.as_map().unwrap_or_default() {
        if !matches!(entry.key.as_str(), "path" | "project_directory" | "env_file") {
            let message = format!("`{}` is not a key of `include`", entry.key);
            session.fault(Fault::error("A0117", entry.key_span, message).hint(hint));
        }
    }
    let locate = |text: &str| {
        let rebase = Rebase::to(&model.dir, &model.env);
        rebase.resolve(text).map_or_else(|| join(&model.dir, Path::new(text)), PathBuf::from)
    };
    let mut files = Vec::new();
    for (text, span) in paths {
        if is_remote(&text) {
            let message = format!("`{text}` is not on this machine: Atoll reads local files only");
            session.fatal(Fault::error("A0125", span, message).hint("fetch the file and name its path"));
            return None;
        }
        files.push((locate(&text), span));
    }
    let dir = match item.get("project_directory").and_then(texts).and_then(|list| list.into_iter().next()) {
        Some((text, _)) => locate(&text),
        None => files.first().map(|(path, _)| dir_of(path))?,
    };
    let env_files = item.get("env_file").filter(|node| !node.is_null()).and_then(texts).map(|list| {
        let listed = list.into_iter().filter(|(text, _)| text != "/dev/null");
        listed.map(|(text, span)| (locate(&text), span)).collect()
    });
    Some(Entered { files, dir, env_files, span: path.map_or(item.span, |node| node.span) })
}

/// A scalar or a list of scalars. `None` for anything else.
fn texts(node: &Node) -> Option<Vec<(String, Span)>> {
    let text = |node: &Node| Some((node.as_scalar().filter(|_| !node.is_null())?.text.clone(), node.span));
    match &node.value {
        Value::Seq(items) => items.iter().map(text).collect(),
        _ => Some(vec![text(node)?]),
    }
}

fn load_entered(
    session: &mut Session<'_>,
    entered: &Entered,
    model: &Model,
    stack: &mut Vec<PathBuf>,
) -> Option<Node> {
    let main = &entered.files.first()?.0;
    if let Some(first) = stack.iter().position(|path| path == main) {
        let circle: Vec<String> = stack[first..]
            .iter()
            .chain([main])
            .map(|path| session.shown(path).display().to_string())
            .collect();
        let message = format!("files include each other in a circle: {}", circle.join(" → "));
        session.fatal(
            Fault::error("A0118", entered.span, message)
                .hint("break the circle: move what both need into a third file"),
        );
        return None;
    }
    if stack.len() >= MAX_INCLUDES {
        let message = format!("more than {MAX_INCLUDES} files include each other in a row");
        session.fatal(Fault::error("A0118", entered.span, message).hint("make the chain shorter"));
        return None;
    }
    let env_files = match &entered.env_files {
        Some(listed) => listed.iter().map(|(path, span)| (path.clone(), Some(*span))).collect(),
        None => {
            let default = entered.dir.join(".env");
            if default.is_file() { vec![(default, None)] } else { Vec::new() }
        }
    };
    // What this app's surroundings say wins over the included app's own files.
    let mut env = model.env.clone();
    for (name, value) in read_env_files(session, &env_files, &model.env) {
        env.entry(name).or_insert(value);
    }
    let mut files = Vec::new();
    for (path, span) in &entered.files {
        let Some(source) = session.read(path, "included file", Some(*span)) else { continue };
        let Some(docs) = parse(session, source) else { continue };
        files.push((path.clone(), docs));
    }
    let included = Model { dir: entered.dir.clone(), env };
    stack.push(main.clone());
    let loaded = load(session, files, &included, stack);
    stack.pop();
    let mut root = loaded?;
    Rebase::to(&included.dir, &included.env).apply(&mut root);
    settle(&mut root, &included.env, &model.env, &included.dir);
    Some(root)
}

/// Writes down what only the included app's surroundings know, before it becomes part of another app:
/// variables taken over by name, and the directory its processes run in.
fn settle(root: &mut Node, env: &Env, outer: &Env, dir: &Path) {
    let own = |name: &str| env.get(name).filter(|_| !outer.contains_key(name));
    let Value::Map(sections) = &mut root.value else { return };
    for section in sections {
        let Value::Map(named) = &mut section.value.value else { continue };
        for Entry { value: node, .. } in named {
            match section.key.as_str() {
                "services" | "functions" => {
                    settle_environment(node, &own);
                    settle_directory(node, dir);
                }
                "configs" | "secrets" => {
                    // The value takes the place of the name of a variable nobody outside knows.
                    let Value::Map(entries) = &mut node.value else { continue };
                    for entry in entries {
                        if entry.key == "environment"
                            && let Value::Scalar(scalar) = &mut entry.value.value
                            && let Some(value) = own(&scalar.text)
                        {
                            entry.key = "content".to_owned();
                            *scalar = Scalar { text: value.clone(), plain: false };
                        }
                    }
                }
                _ => {}
            }
        }
    }
}

fn settle_environment<'e>(service: &mut Node, own: &impl Fn(&str) -> Option<&'e String>) {
    let Value::Map(entries) = &mut service.value else { return };
    let Some(environment) = entries.iter_mut().find(|entry| entry.key == "environment") else { return };
    match &mut environment.value.value {
        Value::Map(variables) => {
            for variable in variables {
                if variable.value.is_null()
                    && let Some(value) = own(&variable.key)
                {
                    variable.value.value = Value::Scalar(Scalar { text: value.clone(), plain: false });
                }
            }
        }
        Value::Seq(items) => {
            for item in items {
                if let Value::Scalar(scalar) = &mut item.value
                    && let Some(value) = own(&scalar.text)
                {
                    *scalar = Scalar { text: format!("{}={value}", scalar.text), plain: false };
                }
            }
        }
        Value::Scalar(_) => {}
    }
}

/// A process of the included app runs in that app's directory, not in ours.
fn settle_directory(service: &mut Node, dir: &Path) {
    let span = service.span;
    let Value::Map(entries) = &mut service.value else { return };
    let elsewhere =
        |entry: &Entry| matches!(entry.key.as_str(), "image" | "build" | "working_dir" | "provider");
    if entries.iter().any(elsewhere) {
        return;
    }
    let text = dir.to_string_lossy().into_owned();
    let value = Node { value: Value::Scalar(Scalar { text, plain: false }), span };
    entries.push(Entry { key: "working_dir".to_owned(), key_span: span, value });
}

/// Puts the entries of one section of `imported` into `doc`.
fn import(
    session: &mut Session<'_>,
    doc: &mut Doc,
    imported: &mut Node,
    section: &'static str,
    place: Span,
    imports: &mut HashMap<(&'static str, String), Vec<(Span, Span)>>,
) {
    let Value::Map(theirs) = &mut imported.value else { return };
    let Some(at) = theirs.iter().position(|entry| entry.key == section) else { return };
    let theirs = theirs.swap_remove(at);
    let Value::Map(from) = theirs.value.value else { return };
    let Value::Map(ours) = &mut doc.root.value else { return };
    if !ours.iter().any(|entry| entry.key == section && !entry.value.is_null()) {
        ours.retain(|entry| entry.key != section);
        let value = Node { value: Value::Map(Vec::new()), span: theirs.value.span };
        ours.push(Entry { key: section.to_owned(), key_span: theirs.key_span, value });
    }
    let Some(target) = ours.iter_mut().find(|entry| entry.key == section) else { return };
    let Value::Map(to) = &mut target.value.value else { return };
    let index: HashMap<String, usize> =
        to.iter().enumerate().map(|(i, entry)| (entry.key.clone(), i)).collect();
    for mut entry in from {
        let origins = imports.entry((section, entry.key.clone())).or_default();
        // The same file may come in by two ways; that is one definition.
        let other = origins.iter().find(|(_, defined)| *defined != entry.key_span).map(|(place, _)| *place);
        let again = origins.iter().any(|(_, defined)| *defined == entry.key_span);
        origins.push((place, entry.key_span));
        let Some(&at) = index.get(&entry.key) else {
            to.push(entry);
            continue;
        };
        if to[at].value == entry.value {
            continue; // the same file, included twice
        }
        if let Some(first) = other.filter(|_| !again) {
            let message =
                format!("two included files define `{}` in `{section}`: they are merged", entry.key);
            let fault = Fault::warning("A0126", entry.key_span, message)
                .also(first, "the first comes from here and wins")
                .hint("give one of them another name");
            session.fault(fault);
        }
        if let Some(marks) = doc.marks.under(&[section, &entry.key]) {
            if marks.here() {
                continue;
            }
            marks.apply(&mut entry.value);
        }
        let existing = std::mem::replace(&mut to[at].value, entry.value.clone());
        to[at].value = merge(session, entry.value, existing, &[section, &entry.key]);
    }
}

/// What is one thing, not a list of named ones: ours goes over theirs.
fn import_whole(session: &mut Session<'_>, doc: &mut Doc, entry: Entry) {
    let Value::Map(ours) = &mut doc.root.value else { return };
    match ours.iter_mut().find(|own| own.key == entry.key) {
        None => ours.push(entry),
        Some(own) => {
            let existing = std::mem::replace(&mut own.value, entry.value.clone());
            own.value = merge(session, entry.value, existing, &[&entry.key]);
        }
    }
}
