//! `dead_letter`: where messages go that are received too often, and the queues that are made for them.

use std::collections::{BTreeMap, BTreeSet};

use super::super::guard::number;
use super::Reference;
use crate::fault::{Fault, Span};
use crate::spec::{DeadLetter, PipeName, Pipes, Queue, Verb};
use crate::text::At;
use crate::text::decode::{Faults, nearest, shown};
use crate::text::pipes::QueueText;
use crate::text::shape::{Form, Switch};

/// Receives of a message at most before it is a dead letter: SQS's bound.
const MAX_AFTER: u32 = 1_000;
/// Queues of a circle that are shown.
const MAX_SHOWN: usize = 12;

type Written<'a> = BTreeMap<&'a PipeName, &'a At<QueueText>>;

/// Fills in the dead letters of every queue, and makes the queues they need.
pub(super) fn resolve(pipes: &mut Pipes, queues: &[(PipeName, &At<QueueText>)], faults: &mut Faults) {
    let written: Written<'_> = queues.iter().map(|(name, queue)| (name, *queue)).collect();
    let mut named: BTreeSet<PipeName> = BTreeSet::new();
    let mut letters: Vec<(PipeName, DeadLetter)> = Vec::new();
    let mut open: Vec<(&PipeName, u32)> = Vec::new();
    for (name, queue) in queues {
        let default = DeadLetter::AFTER;
        let (after, to) = match queue.dead_letter.as_ref().map(|at| (at, &at.value)) {
            Some((_, Switch::Plain(false))) => continue,
            None | Some((_, Switch::Plain(true))) => (default, None),
            Some((at, Switch::Detail(Form::Short(after)))) => {
                (number(&Some(at.with(*after)), default, 1..=MAX_AFTER, faults), None)
            }
            Some((_, Switch::Detail(Form::Long(long)))) => {
                (number(&long.after, default, 1..=MAX_AFTER, faults), long.to.as_ref())
            }
        };
        let Some(to) = to else {
            open.push((name, after));
            continue;
        };
        let Some(to) = find(pipes, name, to, faults) else { continue };
        named.insert(to.clone());
        letters.push((name.clone(), DeadLetter { to, after }));
    }
    for (name, after) in open {
        if written.get(name).is_some_and(|queue| queue.dead_letter.is_none())
            && is_taker(name, pipes, &written, &named)
        {
            continue; // dead letters end here
        }
        if let Some(to) = beside(pipes, name, &written, faults) {
            letters.push((name.clone(), DeadLetter { to, after }));
        }
    }
    for (name, letter) in letters {
        let unsaid = written.get(&letter.to).is_none_or(|queue| queue.retention.is_none());
        if let Some(taker) = pipes.queues.get_mut(&letter.to).filter(|_| unsaid) {
            taker.retention = Queue::DEAD_RETENTION;
        }
        if let Some(queue) = pipes.queues.get_mut(&name) {
            queue.dead_letter = Some(letter);
        }
    }
    circles(pipes, &written, faults);
}

/// Whether another queue's dead letters come here: it is named, or it has the name of one that would be made.
fn is_taker(name: &PipeName, pipes: &Pipes, written: &Written<'_>, named: &BTreeSet<PipeName>) -> bool {
    if named.contains(name) {
        return true;
    }
    let source = name.as_str().strip_suffix(DeadLetter::SUFFIX).and_then(|source| source.parse().ok());
    let Some(source) = source.as_ref().and_then(|source: &PipeName| pipes.queues.get(source)) else {
        return false;
    };
    let same_owner = pipes.queues.get(name).is_some_and(|queue| queue.owner == source.owner);
    let says = written.get(&source.name).and_then(|queue| queue.dead_letter.as_ref());
    same_owner
        && match says.map(|at| &at.value) {
            // As long as names: each is shorter than the one before.
            None => !is_taker(&source.name, pipes, written, named),
            Some(Switch::Plain(on)) => *on,
            Some(Switch::Detail(Form::Short(_))) => true,
            Some(Switch::Detail(Form::Long(long))) => long.to.is_none(),
        }
}

/// The queue that the file names.
fn find(pipes: &Pipes, name: &PipeName, to: &At<String>, faults: &mut Faults) -> Option<PipeName> {
    let queue = pipes.queues.get(name)?;
    let reference = Reference::new(to, &queue.owner);
    let Some(found) = reference.find(&pipes.queues, |queue| &queue.owner) else {
        let message = format!(
            "dead letters of `{name}` go to `{}`, and `{}` has no such queue",
            shown(to),
            shown(reference.service)
        );
        let fault = Fault::error("A0326", to.span, message);
        faults.add(if faults.full() { fault } else { fault.hint(whereto_hint(pipes, name, &reference)) });
        return None;
    };
    if found.name == *name {
        let fault = Fault::error("A0326", to.span, format!("dead letters of `{name}` go to `{name}` itself"));
        faults.add(fault.hint(format!("leave `to` out: `{name}{}` is made", DeadLetter::SUFFIX)));
        return None;
    }
    if !found.may(&queue.owner, Verb::Send) {
        let message = format!("`{}` does not let `{}` send to `{}`", found.owner, queue.owner, found.name);
        let hint = format!("write `allow: {{ {}: [send] }}` under the queue `{}`", queue.owner, found.name);
        faults.add(Fault::error("A0326", to.span, message).hint(hint));
        return None;
    }
    same_kind(queue, found, to.span, faults);
    Some(found.name.clone())
}

fn whereto_hint(pipes: &Pipes, name: &PipeName, reference: &Reference<'_>) -> String {
    let Reference { service, name: wanted } = *reference;
    let source = wanted.strip_suffix(DeadLetter::SUFFIX).map(|source| Reference { service, name: source });
    if source.is_some_and(|source| source.find(&pipes.queues, |queue| &queue.owner).is_some()) {
        return format!("a queue that several share is written: `queues: {{ {wanted}: }}` under `{service}`");
    }
    let names: Vec<String> =
        pipes.queues.values().map(|queue| format!("{}/{}", queue.owner, queue.name)).collect();
    match nearest(&format!("{service}/{wanted}"), names.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("leave `to` out: `{name}{}` is made", DeadLetter::SUFFIX),
    }
}

/// Notes dead letters that would lose their order, or get one.
fn same_kind(queue: &Queue, taker: &Queue, span: Span, faults: &mut Faults) {
    let (orderly, other) = match (queue.fifo.is_some(), taker.fifo.is_some()) {
        (true, false) => (queue, taker),
        (false, true) => (taker, queue),
        _ => return,
    };
    let message = format!("`{}` keeps order, and `{}` does not", orderly.name, other.name);
    let fault = Fault::error("A0325", span, message).label(format!("dead letters of `{}`", queue.name));
    faults.add(fault.hint("give both `fifo`, or none"));
}

/// `NAME-dead`: the queue of that name if the same service has one, else one that is made.
fn beside(
    pipes: &mut Pipes,
    name: &PipeName,
    written: &Written<'_>,
    faults: &mut Faults,
) -> Option<PipeName> {
    let queue = pipes.queues.get(name)?;
    let at = written.get(name)?;
    let place = at.dead_letter.as_ref().map_or(at.key, |at| at.key);
    let text = format!("{name}{}", DeadLetter::SUFFIX);
    let made = text.parse::<PipeName>().ok();
    let fits = |made: &PipeName| made.on_the_wire(queue.fifo.is_some()).len() <= PipeName::MAX_QUEUE;
    let Some(made) = made.filter(fits) else {
        let message = format!(
            "`{}`, for the dead letters of `{}`, is too long a name",
            shown(&text),
            shown(name.as_str())
        );
        let hint = "write a shorter name, `dead_letter: { to: QUEUE }`, or `dead_letter: off`";
        faults.add(Fault::error("A0322", place, message).hint(hint));
        return None;
    };
    let Some(there) = pipes.queues.get(&made) else {
        let taker = Queue {
            fifo: queue.fifo,
            made_for: Some(name.clone()),
            ..Queue::new(made.clone(), queue.owner.clone())
        };
        pipes.queues.insert(made.clone(), taker);
        return Some(made);
    };
    if there.owner != queue.owner {
        let message = format!("dead letters of `{name}` would go to `{made}`, which is `{}`'s", there.owner);
        let mut fault = Fault::error("A0323", place, message);
        if let Some(other) = written.get(&made) {
            fault = fault.also(other.key, "the other queue");
        }
        faults.add(
            fault.hint(format!("name it: `dead_letter: {{ to: {}/{made} }}`, or rename one", there.owner)),
        );
        return None;
    }
    same_kind(queue, there, place, faults);
    Some(made)
}

/// Notes queues whose dead letters go round.
fn circles(pipes: &Pipes, written: &Written<'_>, faults: &mut Faults) {
    let mut done: BTreeSet<&PipeName> = BTreeSet::new();
    for start in pipes.queues.keys() {
        let mut path: Vec<&PipeName> = Vec::new();
        let mut on_path: BTreeMap<&PipeName, usize> = BTreeMap::new();
        let mut here = Some(start);
        while let Some(name) = here.filter(|name| !done.contains(name)) {
            if let Some(&from) = on_path.get(name) {
                note_circle(&path[from..], written, faults);
                break;
            }
            on_path.insert(name, path.len());
            path.push(name);
            here =
                pipes.queues.get(name).and_then(|queue| queue.dead_letter.as_ref()).map(|letter| &letter.to);
        }
        done.extend(path);
    }
}

fn note_circle(circle: &[&PipeName], written: &Written<'_>, faults: &mut Faults) {
    let place = |name: &PipeName| {
        let queue = written.get(name)?;
        Some(queue.dead_letter.as_ref().map_or(queue.key, |at| at.span))
    };
    let steps = circle.iter().zip(circle.iter().cycle().skip(1));
    let mut steps = steps.filter_map(|(from, to)| Some((place(from)?, format!("from `{from}` to `{to}`"))));
    let Some((span, label)) = steps.next() else { return };
    let shown: Vec<&str> =
        circle.iter().chain(circle.first()).take(MAX_SHOWN).map(|name| name.as_str()).collect();
    let message = format!("dead letters go round: {}", shown.join(" → "));
    let mut fault = Fault::error("A0326", span, message).label(label);
    for (span, label) in steps.take(MAX_SHOWN) {
        fault = fault.also(span, label);
    }
    faults.add(fault.hint("let the last of them keep its own: `dead_letter: off`"));
}
