//! The app's name, by Compose's precedence: `-p`, `COMPOSE_PROJECT_NAME`, `name:`, the directory.

use std::path::Path;

use super::interpolate::fill;
use super::parse::Doc;
use super::session::{Env, Session};
use crate::fault::{Fault, Severity, Span};
use crate::spec::AppName;
use crate::tree::Node;

/// Decides the name. `None` when what was written is not one; that has been reported.
pub(super) fn app_name(
    session: &mut Session<'_>,
    files: &[Vec<Doc>],
    env: &Env,
    dir: &Path,
) -> Option<AppName> {
    if let Some(name) = session.request.project_name.clone().filter(|name| !name.is_empty()) {
        return checked(session, &name, "given with `-p`", None);
    }
    if let Some(name) = env.get("COMPOSE_PROJECT_NAME").filter(|name| !name.is_empty()) {
        return checked(session, name, "in `COMPOSE_PROJECT_NAME`", None);
    }
    let written = files.iter().flatten().rev().filter_map(|doc| doc.root.get("name"));
    let last = written.filter(|node| !node.is_null()).find_map(|node| Some((text(node)?, node.span)));
    if let Some((name, span)) = last {
        let name = fill(session, &name, span, env)?;
        if !name.is_empty() {
            return checked(session, &name, "in `name`", Some(span));
        }
    }
    let base = dir.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let name = AppName::normalize(&base);
    if name.is_none() {
        let message = format!("no app name can be made of the directory name `{base}`");
        let hint = "write `name: …` at the top of the file, or give one with `-p`";
        session.fatal(Fault::new(Severity::Error, "A0120", None, message).hint(hint));
    }
    name
}

fn text(node: &Node) -> Option<String> {
    node.as_scalar().map(|scalar| scalar.text.clone())
}

fn checked(session: &mut Session<'_>, name: &str, place: &str, span: Option<Span>) -> Option<AppName> {
    match name.parse() {
        Ok(name) => Some(name),
        Err(bad) => {
            let mut fault = Fault::new(Severity::Error, "A0120", span, format!("the name {place}: {bad}"));
            fault.hint = AppName::normalize(name).map(|near| format!("write `{}`", near.as_str()));
            session.fatal(fault);
            None
        }
    }
}
