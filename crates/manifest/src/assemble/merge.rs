//! One tree over another: Compose's merge rules, and the same idea for our own keys.
//!
//! Mappings merge key by key, sequences append, scalars are replaced; [`rule`] lists what differs. What is
//! unique within a sequence (a port, a mount) is left to [`super::unique`]. `null` never overrides, except
//! for what is replaced as a whole.

use std::collections::{HashMap, HashSet};

use super::forms::{
    Alone, build_into_map, into_list, names_into_map, null, pairs_into_list, pairs_into_map, routes_into_list,
};
use super::session::Session;
use super::unique;
use crate::fault::Fault;
use crate::tree::{Entry, Node, Value};

/// How two values at one path become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// Mappings merge, sequences append, scalars are replaced; two kinds do not go together.
    Generic,
    /// The upper one, whatever it is.
    Replace,
    /// Two mappings merge; otherwise the upper one.
    ReplaceUnlessMaps,
    /// `{K: V}` or `[K=V]`: merged by `K`.
    KeyValue,
    /// A scalar stands for a list of one; lists append.
    List,
    /// `{host: ip}` or `[host=ip]`: a host may have several addresses.
    ExtraHosts,
    /// `{name: …}` or `[name]`; a name alone stands for what the variant says.
    Named(Alone),
    /// A scalar is the `context`.
    Build,
    /// Options of different drivers do not mix.
    Logging,
    /// Pools with the same `subnet` merge.
    Pools,
    /// A probe of one kind replaces one of another kind.
    HealthCheck,
    /// Appended; one with the same method, path, host and headers is replaced.
    Routes,
}

fn rule(path: &[&str]) -> Rule {
    match path {
        ["services" | "functions", _, rest @ ..] => service_rule(rest),
        ["networks", _, "ipam", "config"] => Rule::Pools,
        ["networks" | "volumes", _, "labels"] => Rule::KeyValue,
        ["gateway", "listen" | "tls"] | ["gateway", "auth", _, "jwt", "audience"] => Rule::Replace,
        ["gateway", guard @ ..] => guard_rule(guard),
        _ => Rule::Generic,
    }
}

fn service_rule(path: &[&str]) -> Rule {
    match path {
        ["command" | "entrypoint" | "prepare"]
        | ["ulimits", _]
        | ["healthcheck", "test"]
        | ["deploy", "steps"] => Rule::Replace,
        ["healthcheck", "http" | "tcp" | "grpc"] | ["scale"] => Rule::ReplaceUnlessMaps,
        ["environment" | "labels" | "annotations" | "sysctls"] | ["deploy", "labels"] => Rule::KeyValue,
        ["build", "args" | "labels" | "additional_contexts" | "ssh"] => Rule::KeyValue,
        ["dns" | "dns_opt" | "dns_search" | "env_file" | "label_file" | "tmpfs"] => Rule::List,
        ["extra_hosts"] | ["build", "extra_hosts"] => Rule::ExtraHosts,
        ["depends_on"] => Rule::Named(Alone::Started),
        ["networks" | "models" | "calls" | "queues" | "topics" | "streams" | "tables"] => {
            Rule::Named(Alone::Null)
        }
        ["build"] => Rule::Build,
        ["logging"] => Rule::Logging,
        ["healthcheck"] => Rule::HealthCheck,
        ["routes"] => Rule::Routes,
        ["balance", "hash"] => Rule::Replace,
        ["balance"] | ["balance", "outlier"] => Rule::ReplaceUnlessMaps,
        ["calls", _, guard @ ..] | ["routes", _, guard @ ..] => guard_rule(guard),
        ["queues" | "topics", _, pipe @ ..] => pipe_rule(pipe),
        _ => Rule::Generic,
    }
}

/// A queue or a topic.
fn pipe_rule(path: &[&str]) -> Rule {
    match path {
        ["from"] | ["allow", _] => Rule::Replace,
        ["fifo" | "dead_letter" | "deliver"] => Rule::ReplaceUnlessMaps,
        ["allow"] => Rule::Named(Alone::Null),
        _ => Rule::Generic,
    }
}

/// Guards of a route or a call: what has a short form is replaced by it, and what is one of several kinds
/// is replaced as a whole.
fn guard_rule(path: &[&str]) -> Rule {
    match path {
        ["limit" | "fallback" | "fault" | "split"] | ["retry", "statuses"] => Rule::Replace,
        ["retry" | "hedge" | "breaker" | "bulkhead" | "adaptive" | "mirror"] | ["breaker", "slow"] => {
            Rule::ReplaceUnlessMaps
        }
        _ => Rule::Generic,
    }
}

/// Puts `over` over `base`; both stand at `path` (empty: two whole documents).
pub(super) fn merge(session: &mut Session<'_>, base: Node, over: Node, path: &[&str]) -> Node {
    let mut path: Vec<String> = path.iter().map(|&key| key.to_owned()).collect();
    Merge { session }.nodes(base, over, &mut path)
}

struct Merge<'s, 'a> {
    session: &'s mut Session<'a>,
}

impl Merge<'_, '_> {
    fn nodes(&mut self, base: Node, over: Node, path: &mut Vec<String>) -> Node {
        let keys: Vec<&str> = path.iter().map(String::as_str).collect();
        let rule = rule(&keys);
        if rule == Rule::Replace {
            return over;
        }
        if over.is_null() {
            return base;
        }
        if base.is_null() {
            return over;
        }
        match rule {
            Rule::Replace => over,
            Rule::Generic => self.generic(base, over, path),
            Rule::ReplaceUnlessMaps if base.as_map().is_some() && over.as_map().is_some() => {
                self.generic(base, over, path)
            }
            Rule::ReplaceUnlessMaps => over,
            Rule::KeyValue => self.key_values(base, over, path),
            Rule::List => self.generic(into_list(base), into_list(over), path),
            Rule::ExtraHosts => self.generic(pairs_into_list(base), pairs_into_list(over), path),
            Rule::Named(alone) => self.named(base, over, alone, path),
            Rule::Build => self.generic(build_into_map(base), build_into_map(over), path),
            Rule::Logging => {
                let driver =
                    |node: &Node| node.get("driver").and_then(Node::as_scalar).map(|s| s.text.clone());
                match (driver(&base), driver(&over)) {
                    (Some(a), Some(b)) if a != b => over,
                    _ => self.generic(base, over, path),
                }
            }
            Rule::Pools => self.pools(base, over, path),
            Rule::HealthCheck => self.health_check(base, over, path),
            Rule::Routes => self.routes(base, over, path),
        }
    }

    fn generic(&mut self, base: Node, over: Node, path: &mut Vec<String>) -> Node {
        let span = base.span;
        match (base.value, over.value) {
            (Value::Map(base), Value::Map(over)) => {
                Node { value: Value::Map(self.maps(base, over, path)), span }
            }
            (Value::Seq(mut base), Value::Seq(over)) => {
                base.extend(over);
                Node { value: Value::Seq(base), span }
            }
            (Value::Scalar(_), value) => Node { value, span: over.span },
            (base @ (Value::Map(_) | Value::Seq(_)), value) => {
                let base = Node { value: base, span };
                self.clash(&base, &Node { value, span: over.span }, path);
                base
            }
        }
    }

    fn clash(&mut self, base: &Node, over: &Node, path: &[String]) {
        let message = format!("`{}` cannot be merged: {} over {}", path.join("."), over.kind(), base.kind());
        let fault = Fault::error("A0114", over.span, message)
            .label(format!("{} here", over.kind()))
            .also(base.span, format!("{} here", base.kind()))
            .hint("write both in the same form, or replace the whole value with `!override`");
        self.session.fault(fault);
    }

    fn maps(&mut self, mut base: Vec<Entry>, over: Vec<Entry>, path: &mut Vec<String>) -> Vec<Entry> {
        let index: HashMap<String, usize> =
            base.iter().enumerate().map(|(i, entry)| (entry.key.clone(), i)).collect();
        for entry in over {
            let Some(&at) = index.get(&entry.key) else {
                base.push(entry);
                continue;
            };
            let below = std::mem::replace(&mut base[at].value, null(entry.key_span));
            path.push(entry.key);
            base[at].value = self.nodes(below, entry.value, path);
            path.pop();
        }
        base
    }

    fn key_values(&mut self, base: Node, over: Node, path: &mut Vec<String>) -> Node {
        if base.as_seq().is_some() && over.as_seq().is_some() {
            return self.generic(base, over, path); // `unique` drops what the upper list repeats
        }
        let span = base.span;
        match (pairs_into_map(base), pairs_into_map(over)) {
            (Ok(mut base), Ok(over)) => {
                let mut index: HashMap<String, usize> =
                    base.iter().enumerate().map(|(i, entry)| (entry.key.clone(), i)).collect();
                for entry in over {
                    match index.get(&entry.key) {
                        Some(&at) => base[at] = entry,
                        None => {
                            index.insert(entry.key.clone(), base.len());
                            base.push(entry);
                        }
                    }
                }
                Node { value: Value::Map(base), span }
            }
            (Err(base), Ok(over)) => {
                self.clash(&base, &Node { span: base.span, value: Value::Map(over) }, path);
                base
            }
            (Ok(base), Err(over)) => {
                let base = Node { value: Value::Map(base), span };
                self.clash(&base, &over, path);
                base
            }
            (Err(base), Err(over)) => {
                self.clash(&base, &over, path);
                base
            }
        }
    }

    fn named(&mut self, base: Node, over: Node, alone: Alone, path: &mut Vec<String>) -> Node {
        if let (Some(_), Some(upper)) = (base.as_seq(), over.as_seq()) {
            let known: HashSet<String> = upper.iter().filter_map(unique::name_of).collect();
            let span = base.span;
            let Value::Seq(mut items) = base.value else { return over };
            items.retain(|item| unique::name_of(item).is_none_or(|name| !known.contains(&name)));
            if let Value::Seq(upper) = over.value {
                items.extend(upper);
            }
            return Node { value: Value::Seq(items), span };
        }
        self.generic(names_into_map(base, alone), names_into_map(over, alone), path)
    }

    /// Two lists of address pools: those with the same `subnet` merge, the others stand side by side.
    fn pools(&mut self, base: Node, over: Node, path: &mut Vec<String>) -> Node {
        let span = base.span;
        let (Value::Seq(mut pools), Value::Seq(upper)) = (base.value.clone(), over.value.clone()) else {
            return self.generic(base, over, path);
        };
        let subnet = |node: &Node| node.get("subnet").and_then(Node::as_scalar).map(|s| s.text.clone());
        let index: HashMap<String, usize> =
            pools.iter().enumerate().filter_map(|(i, pool)| Some((subnet(pool)?, i))).collect();
        for pool in upper {
            match subnet(&pool).and_then(|net| index.get(&net)) {
                Some(&at) => {
                    let below = std::mem::replace(&mut pools[at], null(pool.span));
                    path.push("*".to_owned());
                    pools[at] = self.generic(below, pool, path);
                    path.pop();
                }
                None => pools.push(pool),
            }
        }
        Node { value: Value::Seq(pools), span }
    }

    fn health_check(&mut self, mut base: Node, over: Node, path: &mut Vec<String>) -> Node {
        const PROBES: [&str; 4] = ["test", "http", "tcp", "grpc"];
        let probe = over.as_map().and_then(|entries| {
            entries.iter().find(|entry| PROBES.contains(&entry.key.as_str())).map(|entry| entry.key.clone())
        });
        if let (Some(probe), Value::Map(entries)) = (probe, &mut base.value) {
            entries.retain(|entry| entry.key == probe || !PROBES.contains(&entry.key.as_str()));
        }
        self.generic(base, over, path)
    }

    fn routes(&mut self, base: Node, over: Node, path: &mut Vec<String>) -> Node {
        if base.as_map().is_some() && over.as_map().is_some() {
            return self.generic(base, over, path);
        }
        let span = base.span;
        let (base, over) = (routes_into_list(base), routes_into_list(over));
        let (Value::Seq(mut routes), Value::Seq(upper)) = (base.value.clone(), over.value.clone()) else {
            return self.generic(base, over, path);
        };
        let mut index: HashMap<String, usize> = HashMap::new();
        for (i, route) in routes.iter().enumerate() {
            if let Some(key) = unique::route_key(route) {
                index.insert(key, i);
            }
        }
        for route in upper {
            match unique::route_key(&route).and_then(|key| index.get(&key)) {
                Some(&at) => routes[at] = route,
                None => routes.push(route),
            }
        }
        Node { value: Value::Seq(routes), span }
    }
}
