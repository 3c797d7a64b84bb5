//! `extends`: a service starts from another one, of the same file or of another.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::limits::{MAX_EXTENDS, Size};
use super::merge::merge;
use super::parse::{Doc, nearest, parse};
use super::rebase::Rebase;
use super::reset::Marks;
use super::session::{Env, Session, dir_of, join};
use super::{hoist, interpolate, unique};
use crate::fault::{Fault, Span};
use crate::tree::{Node, Value};

/// Replaces every service of `doc` that extends another by the two merged. Paths of other files start at
/// `dir`; their variables come from `env`.
pub(super) fn apply(session: &mut Session<'_>, doc: &mut Doc, dir: &Path, env: &Env) {
    let Value::Map(sections) = &mut doc.root.value else { return };
    let Some(section) = sections.iter_mut().find(|section| section.key == "services") else { return };
    let Value::Map(entries) = &mut section.value.value else { return };
    if !entries.iter().any(|entry| entry.value.get("extends").is_some()) {
        return;
    }
    let services = entries.iter().map(|entry| (entry.key.clone(), State::Raw(entry.value.clone()))).collect();
    let scope = Scope { file: None, dir: dir.to_owned(), services, marks: doc.marks.clone() };
    let mut resolver = Resolver { session, env, scopes: vec![scope], chain: Vec::new() };
    for entry in entries.iter_mut() {
        if let Some(merged) = resolver.resolve(0, &entry.key, entry.key_span) {
            entry.value = merged;
        }
    }
}

/// The services of one file.
struct Scope {
    /// The file, if it is not the one that is being assembled.
    file: Option<PathBuf>,
    /// Where the paths of its `extends` start.
    dir: PathBuf,
    services: HashMap<String, State>,
    marks: Marks,
}

#[derive(Clone)]
enum State {
    /// As written.
    Raw(Node),
    /// With its base merged in.
    Done(Node),
    /// Cannot be; why has been said.
    Failed,
}

struct Link {
    scope: usize,
    service: String,
    span: Span,
}

struct Resolver<'r, 'a> {
    session: &'r mut Session<'a>,
    env: &'r Env,
    scopes: Vec<Scope>,
    /// The services that are being resolved, each extending the next.
    chain: Vec<Link>,
}

/// What `extends` asks for.
struct Wanted {
    service: String,
    file: Option<(String, Span)>,
    span: Span,
}

impl Resolver<'_, '_> {
    /// A service with its base merged in. `None` when there is none to be had; it has been reported.
    fn resolve(&mut self, scope: usize, name: &str, place: Span) -> Option<Node> {
        if self.session.spent {
            return None;
        }
        let service = match self.scopes[scope].services.get(name)? {
            State::Done(node) => return Some(node.clone()),
            State::Failed => return None,
            State::Raw(node) => node.clone(),
        };
        let Some(extends) = service.get("extends").filter(|extends| !extends.is_null()) else {
            return Some(service);
        };
        if let Some(first) = self.chain.iter().position(|link| link.scope == scope && link.service == name) {
            self.cycle(first);
            return None;
        }
        let extends = extends.clone();
        self.chain.push(Link { scope, service: name.to_owned(), span: extends.span });
        let merged = if self.chain.len() > MAX_EXTENDS {
            let message = format!("more than {MAX_EXTENDS} services extend each other in a row");
            self.session.fatal(Fault::error("A0116", extends.span, message).hint("make the chain shorter"));
            None
        } else {
            self.extend(scope, name, service, &extends, place)
        };
        self.chain.pop();
        let state = merged.clone().map_or(State::Failed, State::Done);
        self.scopes[scope].services.insert(name.to_owned(), state);
        merged
    }

    fn extend(
        &mut self,
        scope: usize,
        name: &str,
        mut service: Node,
        extends: &Node,
        place: Span,
    ) -> Option<Node> {
        let wanted = self.wanted(name, extends)?;
        let base_scope = match &wanted.file {
            Some((file, place)) => self.open(scope, file, *place)?,
            None => scope,
        };
        if !self.scopes[base_scope].services.contains_key(&wanted.service) {
            self.not_found(base_scope, &wanted);
            return None;
        }
        let mut base = self.resolve(base_scope, &wanted.service, wanted.span)?;
        self.session.charge(size(&base), place).ok()?;
        if let Some(marks) = self.scopes[scope].marks.under(&["services", name]) {
            marks.apply(&mut base);
        }
        for node in [&mut base, &mut service] {
            if let Value::Map(entries) = &mut node.value {
                entries.retain(|entry| entry.key != "extends");
            }
        }
        let span = service.span;
        let mut merged = merge(self.session, base, service, &["services", name]);
        merged.span = span;
        Some(merged)
    }

    fn wanted(&mut self, name: &str, extends: &Node) -> Option<Wanted> {
        let text =
            |node: &Node| node.as_scalar().filter(|_| !node.is_null()).map(|scalar| scalar.text.clone());
        if let Some(service) = text(extends) {
            return Some(Wanted { service, file: None, span: extends.span });
        }
        let service = extends.get("service");
        let Some(found) = service.and_then(text) else {
            let message = match extends.as_map() {
                Some(_) => format!("`extends` of `{name}` does not say which service"),
                None => format!("`extends` of `{name}` is {}", extends.kind()),
            };
            let hint = "write `extends: other`, or `extends: {file: common.yaml, service: other}`";
            self.session.fatal(Fault::error("A0115", extends.span, message).hint(hint));
            return None;
        };
        let file = extends.get("file").and_then(|node| Some((text(node)?, node.span)));
        Some(Wanted { service: found, file, span: service.map_or(extends.span, |node| node.span) })
    }

    /// The scope of another file, read at its first mention.
    fn open(&mut self, from: usize, file: &str, place: Span) -> Option<usize> {
        if super::discover::is_remote(file) {
            let message = format!("`{file}` is not on this machine: Atoll reads local files only");
            self.session
                .fatal(Fault::error("A0125", place, message).hint("fetch the file and name its path"));
            return None;
        }
        let home_of =
            Rebase { base: Some(&self.scopes[from].dir), home: self.env.get("HOME").map(String::as_str) };
        let path = match home_of.resolve(file) {
            Some(path) => PathBuf::from(path),
            None => join(&self.scopes[from].dir, Path::new(file)),
        };
        if let Some(known) = self.scopes.iter().position(|scope| scope.file.as_ref() == Some(&path)) {
            return Some(known);
        }
        let source = self.session.read(&path, "file to extend from", Some(place))?;
        let docs = parse(self.session, source)?;
        let dir = dir_of(&path);
        let (mut services, mut marks) = (HashMap::new(), Marks::default());
        for mut doc in docs {
            interpolate::interpolate(self.session, &mut doc.root, self.env);
            hoist::hoist(self.session, &mut doc.root);
            unique::enforce(&mut doc.root);
            Rebase { base: Some(&dir), home: self.env.get("HOME").map(String::as_str) }.apply(&mut doc.root);
            if let Value::Map(sections) = doc.root.value
                && let Some(section) = sections.into_iter().find(|section| section.key == "services")
                && let Value::Map(entries) = section.value.value
            {
                services.extend(entries.into_iter().map(|entry| (entry.key, State::Raw(entry.value))));
            }
            marks = doc.marks;
        }
        self.scopes.push(Scope { file: Some(path), dir, services, marks });
        Some(self.scopes.len() - 1)
    }

    fn not_found(&mut self, scope: usize, wanted: &Wanted) {
        let file = match &self.scopes[scope].file {
            Some(file) => format!("`{}`", self.session.shown(file).display()),
            None => "this file".to_owned(),
        };
        let message = format!("there is no service `{}` in {file} to extend", wanted.service);
        let hint = match nearest(&wanted.service, self.scopes[scope].services.keys()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "a service of another file is named with `file:` and `service:`".to_owned(),
        };
        self.session.fatal(Fault::error("A0115", wanted.span, message).hint(hint));
    }

    /// One fault for a cycle, whichever of its services is looked at first.
    fn cycle(&mut self, first: usize) {
        let links = &self.chain[first..];
        let named: Vec<String> = links.iter().chain(links.first()).map(|link| self.label(link)).collect();
        let message = format!("services extend each other in a circle: {}", named.join(" → "));
        let Some(link) = links.first() else { return };
        let mut fault = Fault::error("A0116", link.span, message)
            .hint("break the circle: put what they share into a service that extends nothing");
        for link in &links[1..] {
            fault = fault.also(link.span, format!("`{}` goes on here", link.service));
        }
        let members: Vec<(usize, String)> =
            links.iter().map(|link| (link.scope, link.service.clone())).collect();
        for (scope, service) in members {
            self.scopes[scope].services.insert(service, State::Failed);
        }
        self.session.fatal(fault);
    }

    fn label(&self, link: &Link) -> String {
        match &self.scopes[link.scope].file {
            Some(file) => format!("{} ({})", link.service, self.session.shown(file).display()),
            None => link.service.clone(),
        }
    }
}

/// What a copy of a tree costs.
fn size(node: &Node) -> Size {
    let mut sum = Size { nodes: 1, text: 0 };
    match &node.value {
        Value::Scalar(scalar) => sum.text = scalar.text.len(),
        Value::Seq(items) => items.iter().for_each(|item| sum = sum + size(item)),
        Value::Map(entries) => entries.iter().for_each(|entry| {
            sum = sum + size(&entry.value);
            sum.text += entry.key.len();
        }),
    }
    sum
}
