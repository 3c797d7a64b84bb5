//! Relative paths of a file that lives elsewhere (included, extended) are made absolute, so that the merged
//! tree has one meaning. Only what Compose resolves on the host is touched, and our own paths.

use std::path::Path;

use super::session::{Env, join};
use super::unique::short_volume;
use crate::tree::{Node, Value};

/// Where relative paths start.
pub(super) struct Rebase<'a> {
    /// The directory; `None` leaves relative paths alone and only fills in `~`.
    pub(super) base: Option<&'a Path>,
    /// What `~` stands for.
    pub(super) home: Option<&'a str>,
}

impl<'a> Rebase<'a> {
    /// Paths start at `base`.
    pub(super) fn to(base: &'a Path, env: &'a Env) -> Self {
        Self { base: Some(base), home: env.get("HOME").map(String::as_str) }
    }

    /// Paths stay relative.
    pub(super) fn home_only(env: &'a Env) -> Self {
        Self { base: None, home: env.get("HOME").map(String::as_str) }
    }

    /// Rewrites the paths of a whole document.
    pub(super) fn apply(&self, root: &mut Node) {
        let Value::Map(sections) = &mut root.value else { return };
        for section in sections {
            match section.key.as_str() {
                "gateway" => self.gateway(&mut section.value),
                name @ ("services" | "functions" | "configs" | "secrets" | "volumes" | "sagas") => {
                    let name = name.to_owned();
                    each(&mut section.value, |_, node| match name.as_str() {
                        "services" | "functions" => self.service(node),
                        "volumes" => self.volume(node),
                        _ => with(node, "file", |file| self.path(file)),
                    });
                }
                _ => {}
            }
        }
    }

    /// Rewrites the paths of one service.
    pub(super) fn service(&self, service: &mut Node) {
        // With an image or a build this is a directory of the container.
        let host_process = service.get("image").is_none() && service.get("build").is_none();
        each(service, |key, node| match key {
            "build" => self.build(node),
            "env_file" => one_or_many(node, |item| match item.value {
                Value::Map(_) => with(item, "path", |path| self.path(path)),
                _ => self.path(item),
            }),
            "label_file" => one_or_many(node, |item| self.path(item)),
            "working_dir" if host_process => self.path(node),
            "extends" => with(node, "file", |file| self.path(file)),
            "develop" => with(node, "watch", |watch| {
                one_or_many(watch, |rule| with(rule, "path", |path| self.path(path)));
            }),
            "volumes" => one_or_many(node, |mount| self.mount(mount)),
            _ => {}
        });
    }

    fn build(&self, build: &mut Node) {
        if let Value::Scalar(_) = build.value {
            return self.context(build);
        }
        each(build, |key, node| match key {
            "context" => self.context(node),
            "additional_contexts" => match &mut node.value {
                Value::Map(entries) => entries.iter_mut().for_each(|entry| self.context(&mut entry.value)),
                Value::Seq(items) => items.iter_mut().for_each(|item| self.pair(item)),
                Value::Scalar(_) => {}
            },
            "ssh" => match &mut node.value {
                Value::Map(entries) => entries.iter_mut().for_each(|entry| self.path(&mut entry.value)),
                Value::Seq(items) => items.iter_mut().for_each(|item| self.pair(item)),
                Value::Scalar(_) => {}
            },
            _ => {}
        });
    }

    fn mount(&self, mount: &mut Node) {
        if let Value::Map(_) = mount.value {
            let bind = mount.get("type").and_then(Node::as_scalar).is_some_and(|kind| kind.text == "bind");
            if bind {
                with(mount, "source", |source| self.path(source));
            }
            return;
        }
        let Value::Scalar(scalar) = &mut mount.value else { return };
        let (source, _) = short_volume(&scalar.text);
        if source.starts_with(['.', '/', '~'])
            && let Some(path) = self.resolve(source)
        {
            scalar.text = format!("{path}{}", &scalar.text[source.len()..]);
        }
    }

    /// A named volume that is a bind mount in disguise.
    fn volume(&self, volume: &mut Node) {
        let is = |node: &Node, key: &str, text: &str| {
            node.get(key).and_then(Node::as_scalar).is_some_and(|scalar| scalar.text == text)
        };
        if is(volume, "driver", "local")
            && volume.get("driver_opts").is_some_and(|opts| is(opts, "o", "bind"))
        {
            with(volume, "driver_opts", |opts| with(opts, "device", |device| self.path(device)));
        }
    }

    fn gateway(&self, gateway: &mut Node) {
        each(gateway, |key, node| match key {
            "auth" => each(node, |_, scheme| {
                with(scheme, "jwt", |jwt| {
                    each(jwt, |key, node| {
                        if matches!(key, "jwks" | "key" | "secret") {
                            self.context(node);
                        }
                    });
                });
            }),
            "tls" => one_or_many(node, |certificate| {
                each(certificate, |key, node| {
                    if matches!(key, "cert" | "key") {
                        self.path(node);
                    }
                });
            }),
            _ => {}
        });
    }

    /// A path, or something else that is no path at all: a URL, a Git reference, `service:name`.
    fn context(&self, node: &mut Node) {
        const REMOTE: [&str; 3] = ["github.com/", "git@", "service:"];
        let Value::Scalar(scalar) = &node.value else { return };
        let text = &scalar.text;
        if !text.contains("://") && !REMOTE.iter().any(|prefix| text.starts_with(prefix)) {
            self.path(node);
        }
    }

    /// `name=path`.
    fn pair(&self, node: &mut Node) {
        let Value::Scalar(scalar) = &node.value else { return };
        let Some((key, path)) = scalar.text.split_once('=') else { return };
        let (key, mut value) = (key.to_owned(), node.clone());
        if let Value::Scalar(scalar) = &mut value.value {
            scalar.text = path.to_owned();
        }
        self.context(&mut value);
        if let (Value::Scalar(scalar), Value::Scalar(path)) = (&mut node.value, value.value) {
            scalar.text = format!("{key}={}", path.text);
        }
    }

    fn path(&self, node: &mut Node) {
        if node.is_null() {
            return;
        }
        let Value::Scalar(scalar) = &mut node.value else { return };
        if let Some(path) = self.resolve(&scalar.text) {
            scalar.text = path;
            scalar.plain = false;
        }
    }

    /// The path in full; `None` when it stays as it is.
    pub(super) fn resolve(&self, text: &str) -> Option<String> {
        if text.is_empty() {
            return None;
        }
        if let (Some(rest), Some(home)) = (text.strip_prefix('~'), self.home) {
            return Some(in_words(&join(Path::new(home), Path::new(rest.trim_start_matches('/')))));
        }
        let path = Path::new(text);
        let windows = text.as_bytes().get(1) == Some(&b':') || text.starts_with(r"\\");
        if path.is_absolute() || windows {
            return None;
        }
        Some(in_words(&join(self.base?, path)))
    }
}

fn in_words(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn each(node: &mut Node, mut visit: impl FnMut(&str, &mut Node)) {
    if let Value::Map(entries) = &mut node.value {
        for entry in entries {
            visit(&entry.key, &mut entry.value);
        }
    }
}

fn with(node: &mut Node, key: &str, mut visit: impl FnMut(&mut Node)) {
    each(node, |found, value| {
        if found == key {
            visit(value);
        }
    });
}

fn one_or_many(node: &mut Node, mut visit: impl FnMut(&mut Node)) {
    match &mut node.value {
        Value::Seq(items) => items.iter_mut().for_each(visit),
        _ => visit(node),
    }
}
