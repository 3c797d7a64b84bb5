//! The graph of `depends_on`: no cycles, and nobody waits for what cannot come.

use std::collections::{BTreeMap, BTreeSet};

use crate::fault::{Fault, Span};
use crate::spec::{App, Condition, ServiceName, Work};
use crate::text::decode::Faults;
use crate::text::scalar::note;

/// Cycles that are reported at most; a hostile file has more than anyone wants to read.
const MAX_CYCLES: usize = 10;

/// Where each edge of a graph stands in the file.
pub(crate) type EdgePlaces = BTreeMap<(ServiceName, ServiceName), Span>;

/// Notes cycles in `depends_on`, and waits that cannot end.
pub(crate) fn check_dependencies(app: &App, places: &EdgePlaces, faults: &mut Faults) {
    let edges: BTreeMap<&ServiceName, Vec<&ServiceName>> =
        app.services.values().map(|service| (&service.name, service.depends_on.keys().collect())).collect();
    for cycle in &cycles(&edges).shown {
        note_cycle(cycle, places, faults);
    }
    for service in app.services.values() {
        for (other, dependency) in &service.depends_on {
            let place = places.get(&(service.name.clone(), other.clone()));
            let (Some(target), Some(&span)) = (app.services.get(other), place) else { continue };
            let name = &service.name;
            if matches!(target.work, Work::Unsupported(_)) && matches!(service.work, Work::Process(_)) {
                let message = format!("`{name}` waits for `{other}`, which cannot be started yet");
                let hint = if dependency.required {
                    "mark the dependency `required: false`, or run it as a host process"
                } else {
                    "it is gone on without, as it is not required"
                };
                note(faults, "A0313", span, message, hint);
            } else if dependency.condition == Condition::Healthy && target.healthcheck.is_none() {
                let message =
                    format!("`{name}` waits until `{other}` is healthy, but `{other}` has no health check");
                note(
                    faults,
                    "A0312",
                    span,
                    message,
                    "give it a `healthcheck`; without one it counts as healthy once it runs",
                );
            }
        }
    }
}

fn note_cycle(cycle: &[&ServiceName], places: &EdgePlaces, faults: &mut Faults) {
    let edges: Vec<(&ServiceName, &ServiceName)> =
        cycle.iter().copied().zip(cycle.iter().copied().cycle().skip(1)).collect();
    let mut spans = edges.iter().filter_map(|(from, to)| {
        let span = places.get(&((*from).clone(), (*to).clone()))?;
        Some((*span, format!("`{from}` waits for `{to}`")))
    });
    let Some((span, label)) = spans.next() else { return };
    let mut path: Vec<&str> = cycle.iter().map(|name| name.as_str()).collect();
    path.extend(path.first().copied());
    const MOST: usize = 12;
    let shown = if path.len() > MOST {
        format!("{} → … ({} services)", path[..MOST].join(" → "), cycle.len())
    } else {
        path.join(" → ")
    };
    let mut fault =
        Fault::error("A0304", span, format!("services wait for each other: {shown}")).label(label);
    for (span, label) in spans.take(MOST) {
        fault = fault.also(span, label);
    }
    faults.add(fault.hint("take one of these dependencies out; whom a service calls belongs under `calls`"));
}

/// The cycles of a graph.
pub(crate) struct Cycles<'a> {
    /// The first [`MAX_CYCLES`] of them.
    pub(crate) shown: Vec<Vec<&'a ServiceName>>,
    /// A set without which the graph has no cycle: both ends of every back edge.
    pub(crate) knots: BTreeSet<&'a ServiceName>,
}

/// One cycle for each back edge of a depth-first walk, in the order of names. Iterative: a chain may be as
/// long as the file has services.
pub(crate) fn cycles<'a>(edges: &BTreeMap<&'a ServiceName, Vec<&'a ServiceName>>) -> Cycles<'a> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        OnPath(usize),
        Done,
    }
    let mut marks: BTreeMap<&'a ServiceName, Mark> = BTreeMap::new();
    let mut found = Cycles { shown: Vec::new(), knots: BTreeSet::new() };
    for &start in edges.keys() {
        if marks.contains_key(start) {
            continue;
        }
        let mut path: Vec<(&'a ServiceName, usize)> = vec![(start, 0)];
        marks.insert(start, Mark::OnPath(0));
        while let Some((node, next)) = path.last_mut() {
            let targets = edges.get(node).map_or(&[][..], Vec::as_slice);
            let Some(&target) = targets.get(*next) else {
                marks.insert(node, Mark::Done);
                path.pop();
                continue;
            };
            *next += 1;
            match marks.get(target) {
                Some(Mark::Done) => {}
                Some(Mark::OnPath(from)) => {
                    found.knots.extend([*node, target]);
                    if found.shown.len() < MAX_CYCLES {
                        found.shown.push(path[*from..].iter().map(|(node, _)| *node).collect());
                    }
                }
                None => {
                    marks.insert(target, Mark::OnPath(path.len()));
                    path.push((target, 0));
                }
            }
        }
    }
    found
}
