//! What may stand in a list only once: a port, a mount target, a variable. Of two, the last one counts and
//! takes the place of the first.

use std::collections::HashMap;

use crate::tree::{Node, Value};

/// Drops from every list below `root` what a later item of the same key redefines.
pub(super) fn enforce(root: &mut Node) {
    walk(root, &mut Vec::new());
}

fn walk<'a>(node: &'a mut Node, path: &mut Vec<&'a str>) {
    match &mut node.value {
        Value::Scalar(_) => {}
        Value::Map(entries) => {
            for entry in entries {
                path.push(&entry.key);
                walk(&mut entry.value, path);
                path.pop();
            }
        }
        Value::Seq(items) => {
            if let Some(key) = key_for(path) {
                dedup(items, key);
            }
        }
    }
}

type KeyOf = fn(&Node) -> Option<String>;

fn key_for(path: &[&str]) -> Option<KeyOf> {
    match path {
        ["services" | "functions", _, rest @ ..] => service_key(rest),
        ["networks" | "volumes", _, "labels"] | ["networks", _, "ipam", "options"] => Some(before_equals),
        _ => None,
    }
}

fn service_key(path: &[&str]) -> Option<KeyOf> {
    Some(match path {
        ["annotations" | "environment" | "labels" | "sysctls"] => before_equals,
        ["cap_add" | "cap_drop" | "dns" | "dns_opt" | "dns_search" | "expose"] => before_equals,
        ["label_file" | "links" | "profiles" | "tmpfs"] | ["deploy", "labels"] => before_equals,
        ["build", "args" | "additional_contexts" | "platforms" | "tags" | "labels"] => before_equals,
        ["networks", _, "aliases" | "link_local_ips"] => before_equals,
        ["extra_hosts"] | ["build", "extra_hosts"] => whole,
        ["env_file"] => env_file,
        ["devices"] => device,
        ["ports"] => port,
        ["volumes"] => volume,
        ["configs"] => config,
        ["secrets"] => secret,
        _ => return None,
    })
}

/// Items without a key are left alone.
fn dedup(items: &mut Vec<Node>, key_of: KeyOf) {
    let mut index: HashMap<String, usize> = HashMap::new();
    let mut kept: Vec<Node> = Vec::with_capacity(items.len());
    for item in items.drain(..) {
        let Some(key) = key_of(&item) else {
            kept.push(item);
            continue;
        };
        match index.get(&key) {
            Some(&at) => kept[at] = item,
            None => {
                index.insert(key, kept.len());
                kept.push(item);
            }
        }
    }
    *items = kept;
}

fn text(node: &Node) -> Option<&str> {
    node.as_scalar().map(|scalar| scalar.text.as_str())
}

fn field<'n>(node: &'n Node, name: &str) -> Option<&'n str> {
    text(node.get(name)?)
}

fn whole(item: &Node) -> Option<String> {
    text(item).map(str::to_owned)
}

fn before_equals(item: &Node) -> Option<String> {
    let text = text(item)?;
    Some(text.split_once('=').map_or(text, |(key, _)| key).to_owned())
}

fn env_file(item: &Node) -> Option<String> {
    text(item).or_else(|| field(item, "path")).map(str::to_owned)
}

fn device(item: &Node) -> Option<String> {
    match text(item) {
        Some(text) => Some(text.split(':').nth(1).unwrap_or(text).to_owned()),
        None => field(item, "target").map(str::to_owned),
    }
}

fn config(item: &Node) -> Option<String> {
    mount(item, "")
}

fn secret(item: &Node) -> Option<String> {
    mount(item, "/run/secrets")
}

fn mount(item: &Node, default_dir: &str) -> Option<String> {
    match text(item) {
        Some(source) => Some(format!("{default_dir}/{source}")),
        None => match field(item, "target") {
            Some(target) => Some(target.to_owned()),
            None => field(item, "source").map(|source| format!("{default_dir}/{source}")),
        },
    }
}

fn volume(item: &Node) -> Option<String> {
    let target = match text(item) {
        Some(text) => short_volume(text).1,
        None => field(item, "target")?,
    };
    let trimmed = target.trim_end_matches('/');
    Some(if trimmed.is_empty() { target } else { trimmed }.to_owned())
}

/// Splits `[source:]target[:mode]` into source (may be empty) and target. `C:\x` keeps its colon.
pub(super) fn short_volume(text: &str) -> (&str, &str) {
    let mut parts = Vec::new();
    let mut start = 0;
    for (i, byte) in text.bytes().enumerate() {
        let drive = i == start + 1
            && text.as_bytes()[start].is_ascii_alphabetic()
            && matches!(text.as_bytes().get(i + 1), Some(b'\\' | b'/'));
        if byte == b':' && !drive {
            parts.push(&text[start..i]);
            start = i + 1;
        }
    }
    parts.push(&text[start..]);
    match parts.as_slice() {
        [target] => ("", target),
        [source, target, ..] => (source, target),
        [] => ("", text),
    }
}

fn port(item: &Node) -> Option<String> {
    let (host, published, target, protocol) = match text(item) {
        Some(text) => {
            let (text, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
            let (rest, target) = text.rsplit_once(':').unwrap_or(("", text));
            let (host, published) = rest.rsplit_once(':').unwrap_or(("", rest));
            (host.trim_matches(['[', ']']), published, target, protocol)
        }
        None => (
            field(item, "host_ip").unwrap_or(""),
            field(item, "published").unwrap_or(""),
            field(item, "target")?,
            field(item, "protocol").unwrap_or("tcp"),
        ),
    };
    let host = if host.is_empty() { "0.0.0.0" } else { host };
    Some(format!("{host}:{published}:{target}/{protocol}"))
}

/// The name of an item of `[name, {name: …}]`.
pub(super) fn name_of(item: &Node) -> Option<String> {
    match &item.value {
        Value::Scalar(scalar) if !item.is_null() => Some(scalar.text.clone()),
        Value::Map(entries) if entries.len() == 1 => Some(entries[0].key.clone()),
        _ => None,
    }
}

/// What makes two routes the same: methods, path, host and headers.
pub(super) fn route_key(item: &Node) -> Option<String> {
    let (head, options) = match &item.value {
        Value::Scalar(scalar) => (scalar.text.as_str(), None),
        Value::Map(entries) if entries.len() == 1 && entries[0].key.contains('/') => {
            (entries[0].key.as_str(), Some(&entries[0].value))
        }
        Value::Map(_) => (field(item, "path").or_else(|| field(item, "match"))?, Some(item)),
        Value::Seq(_) => return None,
    };
    let mut key = head.split_whitespace().collect::<Vec<_>>().join(" ");
    for name in ["method", "methods", "host", "headers"] {
        if let Some(value) = options.and_then(|options| options.get(name)) {
            key.push_str(&format!(" {name}={}", flat(value)));
        }
    }
    Some(key)
}

fn flat(node: &Node) -> String {
    match &node.value {
        Value::Scalar(scalar) => scalar.text.clone(),
        Value::Seq(items) => items.iter().map(flat).collect::<Vec<_>>().join(","),
        Value::Map(entries) => entries
            .iter()
            .map(|entry| format!("{}:{}", entry.key, flat(&entry.value)))
            .collect::<Vec<_>>()
            .join(","),
    }
}
