//! `queues`, `topics` and `pipes` → who owns what, who may touch it, and what flows where.

mod dead_letter;
mod queue;
mod settle;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::gateway::parse_listen;
use crate::fault::{Fault, Span};
use crate::spec::{Access, Allow, CredentialKind, Engine, Fifo, PipeName, Pipes, ServiceName, Topic, Verb};
use crate::text::decode::{Faults, shown};
use crate::text::pipes::{
    AccessWord, CredentialsWord, DedupWord, EngineWord, PipesText, QueueFifo, QueueScope, QueueText,
    QueueVerb, TopicFifo, TopicScope, TopicVerb, Verbs,
};
use crate::text::shape::{Names, Switch};
use crate::text::{self, At, File};

/// The queues and topics of an app. `awaited` are services that run to their end.
pub(crate) fn resolve(file: &File, awaited: &BTreeSet<&str>, faults: &mut Faults) -> Pipes {
    let mut pipes = Pipes::default();
    let owners: Vec<(ServiceName, &text::Service)> = file
        .services
        .iter()
        .flat_map(|services| &services.0)
        .filter_map(|(name, service)| Some((name.parse().ok()?, &service.value))) // else noted where it stands
        .collect();
    // Topics first: queues name them.
    let mut places = Places::new();
    for (owner, service) in &owners {
        for (name, written) in service.topics.iter().flat_map(|topics| &topics.0) {
            let fifo = topic_fifo(written.fifo.as_ref());
            let declared = Declared { what: "topic", most: PipeName::MAX_TOPIC, owner, fifo: fifo.is_some() };
            let Some(name) = declared.name(name, written.key, &mut places, faults) else { continue };
            let allow = allow(written.allow.as_ref(), owner, TopicVerb::Publish, topic_verb);
            let topic = Topic { name: name.clone(), owner: owner.clone(), fifo, allow };
            pipes.topics.insert(name, topic);
        }
    }
    let mut written_queues: Vec<(PipeName, &At<QueueText>)> = Vec::new();
    let mut places = Places::new();
    for (owner, service) in &owners {
        for (name, written) in service.queues.iter().flat_map(|queues| &queues.0) {
            let fifo = queue_fifo(written.fifo.as_ref());
            let declared = Declared { what: "queue", most: PipeName::MAX_QUEUE, owner, fifo: fifo.is_some() };
            let Some(name) = declared.name(name, written.key, &mut places, faults) else { continue };
            let around =
                queue::Around { owner, ends: awaited.contains(owner.as_str()), topics: &pipes.topics };
            let mut queue = queue::resolve(name.clone(), fifo, written, &around, faults);
            queue.allow = allow(written.allow.as_ref(), owner, QueueVerb::Send, queue_verb);
            pipes.queues.insert(name.clone(), queue);
            written_queues.push((name, written));
        }
    }
    dead_letter::resolve(&mut pipes, &written_queues, faults);
    let written = file.pipes.as_ref().map(|at| &at.value);
    let used = written.is_some() || !pipes.queues.is_empty() || !pipes.topics.is_empty();
    pipes.listen = used.then(|| listen(written, faults));
    pipes.access = match written.and_then(|written| written.access.as_ref()).map(|at| at.value) {
        None => Access::default(),
        Some(AccessWord::Audit) => Access::Audit,
        Some(AccessWord::Enforce) => Access::Enforce,
    };
    pipes.engine = match written.and_then(|written| written.engine.as_ref()).map(|at| at.value) {
        None => Engine::default(),
        Some(EngineWord::Fjall) => Engine::Fjall,
        Some(EngineWord::Redb) => Engine::Redb,
    };
    pipes.credentials = credentials(written, pipes.listen, faults);
    pipes
}

/// SDKs ask for short-lived credentials at an address of this machine alone.
fn credentials(
    written: Option<&PipesText>,
    listen: Option<SocketAddr>,
    faults: &mut Faults,
) -> CredentialKind {
    let Some(at) = written.and_then(|written| written.credentials.as_ref()) else {
        return CredentialKind::default();
    };
    match at.value {
        CredentialsWord::Static => CredentialKind::Static,
        CredentialsWord::Short => {
            let out_of_reach = |at: &SocketAddr| !at.ip().is_loopback() && !at.ip().is_unspecified();
            if let Some(listen) = listen.filter(out_of_reach) {
                let message = format!("SDKs do not ask for credentials at {}", listen.ip());
                let hint =
                    "listen on this machine (`4566`) or everywhere (`:4566`), or use `credentials: static`";
                faults.bad_value(at.span, message, hint);
            }
            CredentialKind::Short
        }
    }
}

fn listen(written: Option<&PipesText>, faults: &mut Faults) -> SocketAddr {
    let Some(at) = written.and_then(|written| written.listen.as_ref()) else { return Pipes::LISTEN };
    parse_listen(&at.value.0).unwrap_or_else(|| {
        let message = format!("`{}` is not an address to listen on", shown(&at.value.0));
        let hint = "write a port (`4566`: this machine only), `0.0.0.0:4566` or `:4566` (everywhere)";
        faults.bad_value(at.span, message, hint);
        Pipes::LISTEN
    })
}

/// Who declared a name first, and where.
type Places<'a> = BTreeMap<PipeName, (&'a ServiceName, Span)>;

/// A queue or topic that is declared.
struct Declared<'a> {
    what: &'static str,
    /// Characters of its name at most, `.fifo` included.
    most: usize,
    owner: &'a ServiceName,
    fifo: bool,
}

impl<'a> Declared<'a> {
    /// Its name, if it can have it and nobody else has.
    fn name(&self, text: &str, span: Span, places: &mut Places<'a>, faults: &mut Faults) -> Option<PipeName> {
        let what = self.what;
        let name = text.parse::<PipeName>();
        let Some(name) = name.ok().filter(|name| name.on_the_wire(self.fifo).len() <= self.most) else {
            let fault = Fault::error("A0322", span, format!("`{}` is not a name for a {what}", shown(text)));
            let hint = match text.strip_suffix(PipeName::FIFO) {
                Some(rest) if rest.parse::<PipeName>().is_ok() => {
                    format!("write `{}: {{ fifo: true }}`: clients see it with `.fifo`", shown(rest))
                }
                _ => {
                    let most = if self.fifo { self.most - PipeName::FIFO.len() } else { self.most };
                    format!("use letters, digits, `-` and `_`, at most {most}")
                }
            };
            faults.add(fault.hint(hint));
            return None;
        };
        if let Some((first, place)) = places.get(&name) {
            let owner = self.owner;
            let message = if *first == owner {
                format!("`{owner}` has the {what} `{name}` twice")
            } else {
                format!("`{first}` and `{owner}` both have a {what} `{name}`")
            };
            let fault = Fault::error("A0323", span, message).label("the second").also(*place, "the first");
            let hint =
                format!("rename one of them: a {what} has one owner, which names the others under `allow`");
            faults.add(fault.hint(hint));
            return None;
        }
        places.insert(name.clone(), (self.owner, span));
        Some(name)
    }
}

fn queue_fifo(written: Option<&At<Switch<QueueFifo>>>) -> Option<Fifo> {
    let long = on(written)?;
    Some(Fifo {
        content_dedup: long.is_some_and(|long| is(&long.dedup, DedupWord::Content)),
        by_group: long.is_some_and(|long| is(&long.scope, QueueScope::Group)),
    })
}

fn topic_fifo(written: Option<&At<Switch<TopicFifo>>>) -> Option<Fifo> {
    let long = on(written)?;
    Some(Fifo {
        content_dedup: long.is_some_and(|long| is(&long.dedup, DedupWord::Content)),
        by_group: long.is_some_and(|long| is(&long.scope, TopicScope::Group)),
    })
}

/// What is said of something that is on.
fn on<T>(written: Option<&At<Switch<T>>>) -> Option<Option<&T>> {
    match &written?.value {
        Switch::Plain(on) => on.then_some(None),
        Switch::Detail(long) => Some(Some(long)),
    }
}

fn is<T: Copy + PartialEq>(written: &Option<At<T>>, word: T) -> bool {
    written.as_ref().is_some_and(|at| at.value == word)
}

/// What others may do; `usual` where the file names them alone. That they exist was seen to before.
fn allow<V: Copy>(
    written: Option<&At<Names<Verbs<V>>>>,
    owner: &ServiceName,
    usual: V,
    verb: fn(V) -> Verb,
) -> Allow {
    let mut allow = Allow::new();
    for (name, verbs) in written.iter().flat_map(|names| &names.0) {
        let Ok(name) = name.parse::<ServiceName>() else { continue };
        if name == *owner {
            continue; // it may do everything
        }
        let verbs = match &verbs.value.0 {
            None => BTreeSet::from([verb(usual)]),
            Some(list) => list.iter().map(|at| verb(at.value)).collect(),
        };
        allow.insert(name, verbs);
    }
    allow
}

fn queue_verb(word: QueueVerb) -> Verb {
    match word {
        QueueVerb::Send => Verb::Send,
        QueueVerb::Receive => Verb::Receive,
        QueueVerb::Manage => Verb::Manage,
    }
}

fn topic_verb(word: TopicVerb) -> Verb {
    match word {
        TopicVerb::Publish => Verb::Publish,
        TopicVerb::Subscribe => Verb::Subscribe,
        TopicVerb::Manage => Verb::Manage,
    }
}

/// A queue or topic that is named elsewhere: `SERVICE/NAME`, or `NAME` of the service itself.
struct Reference<'a> {
    service: &'a str,
    name: &'a str,
}

impl<'a> Reference<'a> {
    fn new(text: &'a str, own: &'a ServiceName) -> Self {
        let (service, name) = text.split_once('/').unwrap_or((own.as_str(), text));
        Self { service, name }
    }

    /// What is at that name, if it is the service's.
    fn find<'p, T>(&self, among: &'p BTreeMap<PipeName, T>, owner: fn(&T) -> &ServiceName) -> Option<&'p T> {
        let found = among.get(&self.name.parse().ok()?)?;
        (owner(found).as_str() == self.service).then_some(found)
    }
}
