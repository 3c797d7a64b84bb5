//! The files of one model, each over the one before it.

use std::path::PathBuf;

use super::merge::merge;
use super::parse::Doc;
use super::session::{Env, Session};
use super::{extends, hoist, include, interpolate, unique};
use crate::tree::Node;

/// What the files of a model share.
pub(super) struct Model {
    /// Where their relative paths start.
    pub(super) dir: PathBuf,
    /// What `${…}` sees.
    pub(super) env: Env,
}

/// Makes one tree of `files`: per document interpolation, `x-atoll`, `include`, what it resets, `extends`;
/// then the merge. `None` when no document has anything in it.
pub(super) fn load(
    session: &mut Session<'_>,
    files: Vec<(PathBuf, Vec<Doc>)>,
    model: &Model,
    stack: &mut Vec<PathBuf>,
) -> Option<Node> {
    let mut merged: Option<Node> = None;
    for (path, docs) in files {
        let entered = stack.last() != Some(&path);
        if entered {
            stack.push(path);
        }
        for mut doc in docs {
            interpolate::interpolate(session, &mut doc.root, &model.env);
            hoist::hoist(session, &mut doc.root);
            include::apply(session, &mut doc, model, stack);
            extends::apply(session, &mut doc, &model.dir, &model.env);
            let mut root = match merged.take() {
                Some(mut base) => {
                    doc.marks.apply(&mut base);
                    merge(session, base, doc.root, &[])
                }
                None => doc.root,
            };
            unique::enforce(&mut root);
            merged = Some(root);
        }
        if entered {
            stack.pop();
        }
    }
    merged
}
