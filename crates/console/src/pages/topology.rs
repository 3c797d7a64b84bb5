//! Who calls whom: from what the file says, what the queues are, and what was seen. Pure.

use std::collections::{BTreeMap, BTreeSet};

use api::{Breaker, BreakerState, Graph, Guard, Queue, Status};

use crate::bits::{Tone, of_service};
use crate::draw::graph::{Edge, Node};
use crate::place::Place;
use crate::words::{self, micros, number, percent};

/// The name of the edge of the app, as telemetry has it too.
const GATEWAY: &str = "gateway";
/// From this share of errors on a line is bad.
const MANY_ERRORS: f64 = 0.05;

/// Boxes and lines.
pub(crate) fn of(status: &Status, queues: &[Queue], seen: Option<&Graph>) -> (Vec<Node>, Vec<Edge>) {
    let mut map = Map::default();
    if status.services.iter().any(|service| !service.routes.is_empty()) {
        let where_it_is = status.gateway.first().cloned().unwrap_or_default();
        let more = where_it_is.split("//").last().unwrap_or_default().to_owned();
        map.node(Node { href: Some(Place::Routes.path()), more, ..node(GATEWAY, "gateway", "good", "open") });
    }
    for service in &status.services {
        let more = format!("{}/{}", service.ready, service.desired);
        let href = Some(Place::Service(service.name.clone()).path());
        let tone = of_service(service.state).class();
        map.node(Node { more, href, ..node(&service.name, "service", tone, service.state.as_str()) });
    }
    for service in &status.services {
        if !service.routes.is_empty() {
            map.edge(GATEWAY, &service.name);
        }
        for callee in &service.calls {
            map.edge(&service.name, callee);
        }
    }
    for queue in queues {
        let more = format!("{} waiting", words::count(queue.visible));
        let word = if queue.fifo { "fifo" } else { "queue" };
        let href = Some(Place::Queue(queue.name.clone()).path());
        map.node(Node { more, href, ..node(&queue.name, "queue", "quiet", word) });
    }
    let dead: BTreeSet<&str> =
        queues.iter().filter_map(|queue| Some(queue.dead_letter.as_ref()?.0.as_str())).collect();
    for queue in queues {
        // Nobody takes dead letters by itself.
        if let Some(owner) = queue.owner.as_ref().filter(|_| !dead.contains(queue.name.as_str())) {
            map.edge(&queue.name, owner);
        }
        if let Some((target, _)) = &queue.dead_letter {
            map.edge(&queue.name, target);
        }
    }
    for guard in &status.guards {
        map.guard(guard);
    }
    if let Some(seen) = seen {
        map.seen(seen);
    }
    let Map { nodes, edges, .. } = map;
    (nodes, edges.into_iter().map(|((from, to), line)| line.into_edge(from, to)).collect())
}

fn node(name: &str, kind: &'static str, tone: &'static str, word: &str) -> Node {
    Node { name: name.to_owned(), kind, tone, word: word.to_owned(), more: String::new(), href: None }
}

#[derive(Default)]
struct Map {
    nodes: Vec<Node>,
    places: BTreeMap<String, usize>,
    edges: BTreeMap<(usize, usize), Line>,
}

#[derive(Default)]
struct Line {
    label: String,
    tone: Option<Tone>,
    told: Vec<String>,
}

impl Line {
    fn into_edge(self, from: usize, to: usize) -> Edge {
        let Self { label, tone, told } = self;
        Edge { from, to, label, tone: tone.map_or("quiet", Tone::class), title: told.join(", ") }
    }

    fn worse(&mut self, tone: Tone) {
        self.tone = Some(self.tone.map_or(tone, |now| now.max(tone)));
    }
}

impl Map {
    fn node(&mut self, node: Node) {
        if !self.places.contains_key(&node.name) {
            self.places.insert(node.name.clone(), self.nodes.len());
            self.nodes.push(node);
        }
    }

    fn edge(&mut self, from: &str, to: &str) -> Option<&mut Line> {
        let (from_at, to_at) = (*self.places.get(from)?, *self.places.get(to)?);
        let line = self.edges.entry((from_at, to_at)).or_default();
        if line.told.is_empty() {
            line.told.push(format!("{from} → {to}"));
        }
        Some(line)
    }

    /// What guards a call, until something better is known.
    fn guard(&mut self, guard: &Guard) {
        let from = guard.route.split_once(" -> ").map_or(GATEWAY, |(caller, _)| caller);
        let Some(line) = self.edge(from, &guard.service) else { return };
        if let Some(Breaker { state, .. }) = &guard.breaker
            && *state != BreakerState::Closed
        {
            let tone = crate::bits::of_breaker(*state);
            line.worse(tone);
            line.label = format!("breaker {}", state.as_str());
            line.told.push(format!("{}: breaker {}", guard.route, state.as_str()));
        }
        if guard.waiting > 0 {
            line.worse(Tone::Warn);
            line.told.push(format!("{}: {} wait", guard.route, guard.waiting));
        }
    }

    /// What was seen: rates, errors, and who else takes part.
    fn seen(&mut self, graph: &Graph) {
        for seen in &graph.nodes {
            let kind = match seen.kind.as_str() {
                "gateway" => "gateway",
                "service" => "service",
                "queue" => "queue",
                "topic" => "topic",
                _ => "outside",
            };
            self.node(node(&seen.name, kind, "quiet", kind));
        }
        for seen in &graph.edges {
            let Some(line) = self.edge(&seen.from, &seen.to) else { continue };
            let share = seen.errors as f64 / seen.count.max(1) as f64;
            line.worse(match share {
                _ if share >= MANY_ERRORS => Tone::Bad,
                _ if seen.errors > 0 => Tone::Warn,
                _ => Tone::Good,
            });
            if line.label.is_empty() {
                line.label = format!("{}/s", number(seen.rate));
                if seen.errors > 0 {
                    line.label.push_str(&format!(" · {}", percent(seen.errors, seen.count)));
                }
            }
            line.told.push(format!(
                "{} calls, {} failed",
                words::count(seen.count),
                words::count(seen.errors)
            ));
            line.told.push(format!(
                "half within {}, 99 % within {}",
                micros(seen.p50_us),
                micros(seen.p99_us)
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::{GraphEdge, GraphNode, Phase, Service, ServiceState};

    fn status() -> Status {
        let service = |name: &str, routes: &[&str], calls: &[&str]| Service {
            name: name.into(),
            state: ServiceState::Ready,
            detail: String::new(),
            desired: 2,
            ready: 2,
            routes: routes.iter().map(ToString::to_string).collect(),
            calls: calls.iter().map(ToString::to_string).collect(),
            ready_after_ms: None,
            instances: Vec::new(),
        };
        Status {
            generation: 1,
            app: "shop".into(),
            root: "/shop".into(),
            phase: Phase::Ready,
            gateway: vec!["http://127.0.0.1:8080".into()],
            pipes: None,
            console: None,
            services: vec![service("web", &["GET /"], &["orders"]), service("orders", &[], &["gone"])],
            guards: Vec::new(),
        }
    }

    #[test]
    fn the_file_says_who_calls_whom() {
        let (nodes, edges) = of(&status(), &[], None);
        let names: Vec<_> = nodes.iter().map(|node| node.name.as_str()).collect();
        assert_eq!(names, ["gateway", "web", "orders"]);
        let pairs: Vec<_> = edges.iter().map(|edge| (edge.from, edge.to, edge.tone)).collect();
        assert_eq!(pairs, [(0, 1, "quiet"), (1, 2, "quiet")]);
    }

    #[test]
    fn what_was_seen_gives_lines_their_colour_and_adds_who_else_is_there() {
        let outside = GraphNode { name: "bank.example".into(), kind: "outside".into() };
        let edge = |from: &str, to: &str, errors| GraphEdge {
            from: from.into(),
            to: to.into(),
            count: 100,
            errors,
            rate: 12.5,
            p50_us: 1_000,
            p99_us: 9_000,
        };
        let graph = Graph {
            nodes: vec![outside],
            edges: vec![
                edge("web", "orders", 0),
                edge("orders", "bank.example", 40),
                edge("nobody", "web", 1),
            ],
        };
        let (nodes, edges) = of(&status(), &[], Some(&graph));
        assert_eq!(nodes[3].kind, "outside");
        let of = |from, to| edges.iter().find(|edge| (edge.from, edge.to) == (from, to)).unwrap();
        assert_eq!((of(1, 2).tone, of(1, 2).label.as_str()), ("good", "12.5/s"));
        assert_eq!((of(2, 3).tone, of(2, 3).label.as_str()), ("bad", "12.5/s · 40 %"));
        assert_eq!(edges.len(), 3);
    }
}
