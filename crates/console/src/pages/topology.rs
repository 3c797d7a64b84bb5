//! Who calls whom: from what the file says, what the queues are, and what was seen. Pure.

use std::collections::{BTreeMap, BTreeSet};

use api::{Breaker, BreakerState, Graph, GraphNode, Guard, Queue, ServiceState, Status, TopicDetail};

use crate::bits::{Tone, of_service};
use crate::draw::graph::{Edge, Node};
use crate::place::Place;
use crate::words::{self, micros, number};

/// The name of the edge of the app, as telemetry has it too.
pub(crate) const GATEWAY: &str = "gateway";
/// What the node does by itself, as telemetry has it: no part of the app.
const ATOLL: &str = "atoll";
/// From this share of errors on a line is bad.
const MANY_ERRORS: f64 = 0.05;
/// Calls a second from which a rate says more than how many there were in a minute.
const STEADY: f64 = 0.1;

/// What a name is of: a queue may be called as its service is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    /// A service, the gateway, somebody else.
    Service,
    Queue,
    Topic,
}

impl Side {
    fn of(kind: &str) -> Self {
        match kind {
            "queue" => Self::Queue,
            "topic" => Self::Topic,
            _ => Self::Service,
        }
    }
}

/// What there is beside services.
#[derive(Default)]
pub(crate) struct Pipes {
    pub(crate) queues: Vec<Queue>,
    pub(crate) topics: Vec<TopicDetail>,
}

/// Boxes and lines.
pub(crate) fn of(status: &Status, pipes: &Pipes, seen: Option<&Graph>) -> (Vec<Node>, Vec<Edge>) {
    let mut map = Map::default();
    if status.services.iter().any(|service| !service.routes.is_empty()) {
        let where_it_is = status.gateway.first().cloned().unwrap_or_default();
        let more = where_it_is.split("//").last().unwrap_or_default().to_owned();
        map.node(Node { href: Some(Place::Routes.path()), more, ..node(GATEWAY, "gateway", "good", "open") });
    }
    for service in &status.services {
        let more = match service.state {
            ServiceState::Ready => format!("{}/{} ready", service.ready, service.desired),
            state => format!("{} {}/{}", state.as_str(), service.ready, service.desired),
        };
        let href = Some(Place::Service(service.name.clone()).path());
        let tone = of_service(service.state).class();
        map.node(Node { more, href, ..node(&service.name, "service", tone, service.state.as_str()) });
    }
    for service in &status.services {
        if !service.routes.is_empty() {
            map.edge((Side::Service, GATEWAY), (Side::Service, &service.name));
        }
        for callee in &service.calls {
            map.edge((Side::Service, &service.name), (Side::Service, callee));
        }
    }
    map.pipes(pipes);
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
    Node { name: name.to_owned(), kind, tone, word: word.to_owned(), ..Node::default() }
}

/// How often, as a person says it.
pub(crate) fn pace(rate: f64) -> String {
    if rate >= STEADY { format!("{}/s", number(rate)) } else { format!("{}/min", number(rate * 60.0)) }
}

#[derive(Default)]
struct Map {
    nodes: Vec<Node>,
    places: BTreeMap<(Side, String), usize>,
    edges: BTreeMap<(usize, usize), Line>,
    /// Queues of dead letters: told of where their letters come from.
    dead: BTreeSet<String>,
    /// Whom each queue belongs to: what the node hands over by itself goes there.
    owners: BTreeMap<String, String>,
}

#[derive(Default)]
struct Line {
    label: String,
    tone: Option<Tone>,
    told: Vec<String>,
    rate: f64,
}

impl Line {
    fn into_edge(self, from: usize, to: usize) -> Edge {
        let Self { label, tone, told, rate } = self;
        Edge { from, to, label, tone: tone.map_or("quiet", Tone::class), title: told.join(", "), rate }
    }

    fn worse(&mut self, tone: Tone) {
        self.tone = Some(self.tone.map_or(tone, |now| now.max(tone)));
    }
}

impl Map {
    fn node(&mut self, node: Node) {
        let place = (Side::of(node.kind), node.name.clone());
        if !self.places.contains_key(&place) {
            self.places.insert(place, self.nodes.len());
            self.nodes.push(node);
        }
    }

    fn at(&self, (side, name): (Side, &str)) -> Option<usize> {
        self.places.get(&(side, name.to_owned())).copied()
    }

    fn edge(&mut self, from: (Side, &str), to: (Side, &str)) -> Option<&mut Line> {
        let line = self.edges.entry((self.at(from)?, self.at(to)?)).or_default();
        if line.told.is_empty() {
            line.told.push(format!("{} → {}", from.1, to.1));
        }
        Some(line)
    }

    /// Queues and topics, who writes to them, who reads, and what goes from one to the other.
    fn pipes(&mut self, pipes: &Pipes) {
        let Pipes { queues, topics } = pipes;
        let dead_letters: BTreeSet<String> =
            queues.iter().filter_map(|queue| Some(queue.dead_letter.as_ref()?.0.clone())).collect();
        for TopicDetail { topic, .. } in topics {
            let href = Some(Place::Topic(topic.name.clone()).path());
            let more = format!("{} subscribed", words::count(topic.confirmed)); // beside it there is how often
            self.node(Node { href, more, ..node(&topic.name, "topic", "quiet", "topic") });
            if let Some(owner) = &topic.owner {
                self.edge((Side::Service, owner), (Side::Topic, &topic.name));
            }
        }
        for queue in queues.iter().filter(|queue| !dead_letters.contains(&queue.name)) {
            let dead =
                queue.dead_letter.as_ref().and_then(|(name, _)| queues.iter().find(|q| q.name == *name));
            let dead = dead.map_or(0, |dead| dead.visible + dead.in_flight);
            let mut more = format!("{} waiting", words::count(queue.visible));
            if dead > 0 {
                more.push_str(&format!(" · {} dead", words::count(dead)));
            }
            let word = if queue.fifo { "fifo" } else { "queue" };
            let tone = if dead > 0 { "warn" } else { "quiet" };
            let href = Some(Place::Queue(queue.name.clone()).path());
            self.node(Node { more, href, ..node(&queue.name, "queue", tone, word) });
        }
        for queue in queues {
            if let Some(owner) = &queue.owner {
                self.edge((Side::Queue, &queue.name), (Side::Service, owner));
                self.owners.insert(queue.name.clone(), owner.clone());
            }
        }
        for TopicDetail { topic, subscriptions, .. } in topics {
            for queue in subscriptions.iter().filter(|to| to.protocol == "sqs") {
                self.edge((Side::Topic, &topic.name), (Side::Queue, &queue.endpoint));
            }
        }
        self.dead = dead_letters;
    }

    /// What guards a call, until something better is known.
    fn guard(&mut self, guard: &Guard) {
        let from = guard.route.split_once(" -> ").map_or(GATEWAY, |(caller, _)| caller);
        let Some(line) = self.edge((Side::Service, from), (Side::Service, &guard.service)) else { return };
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
        let theirs = |seen: &GraphNode| match Side::of(&seen.kind) {
            Side::Service => seen.name == ATOLL,
            Side::Queue => self.dead.contains(&seen.name),
            Side::Topic => false,
        };
        let nodes: Vec<_> = graph.nodes.iter().filter(|seen| !theirs(seen)).collect();
        for seen in nodes {
            let kind = match seen.kind.as_str() {
                "gateway" => "gateway",
                "service" => "service",
                "queue" => "queue",
                "topic" => "topic",
                _ => "outside",
            };
            self.node(node(&seen.name, kind, "quiet", kind));
        }
        let mut loads: BTreeMap<usize, (f64, u64, u64)> = BTreeMap::new();
        for seen in &graph.edges {
            let from = (Side::of(&seen.from_kind), seen.from.as_str());
            let owner = self.owners.get(&seen.from).filter(|_| from.0 == Side::Queue && seen.to == ATOLL);
            let to = match owner {
                Some(owner) => (Side::Service, owner.clone()),
                None => (Side::of(&seen.to_kind), seen.to.clone()),
            };
            let to = (to.0, to.1.as_str());
            // What the gateway answers by itself is no call.
            let (Some(from_at), Some(to_at)) = (self.at(from), self.at(to)) else { continue };
            if from_at == to_at {
                continue;
            }
            let Some(line) = self.edge(from, to) else { continue };
            let share = seen.errors as f64 / seen.count.max(1) as f64;
            line.worse(match share {
                _ if share >= MANY_ERRORS => Tone::Bad,
                _ if seen.errors > 0 => Tone::Warn,
                _ => Tone::Good,
            });
            line.rate += seen.rate;
            if line.label.is_empty() {
                // Where many fail, that is more than how many there are.
                line.label = if share >= MANY_ERRORS {
                    format!("{:.0} % fail", share * 100.0)
                } else {
                    pace(seen.rate)
                };
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
            // Of the gateway what goes out, of everybody else what comes in.
            let of_gateway = (from == (Side::Service, GATEWAY)).then_some(from_at);
            let of_others = (to != (Side::Service, GATEWAY)).then_some(to_at);
            for at in of_gateway.into_iter().chain(of_others) {
                let (rate, count, errors) = loads.entry(at).or_default();
                *rate += seen.rate;
                *count += seen.count;
                *errors += seen.errors;
            }
        }
        for (at, (rate, count, errors)) in loads {
            let node = &mut self.nodes[at];
            node.load = pace(rate);
            // Of a queue more is told by what waits in it.
            if matches!(node.kind, "service" | "gateway") {
                node.failing = Some(errors as f64 / count.max(1) as f64);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::{GraphEdge, Phase, Service, ServiceState};

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

    fn queue(name: &str, dead: Option<&str>) -> Queue {
        Queue {
            name: name.into(),
            url: String::new(),
            owner: Some("orders".into()),
            fifo: false,
            visible: 2,
            in_flight: 0,
            delayed: 0,
            oldest_sent_at: None,
            sent: 0,
            received: 0,
            deleted: 0,
            dead_letter: dead.map(|name| (name.to_owned(), 3)),
        }
    }

    fn edge(from: (&str, &str), to: (&str, &str), count: u64, errors: u64) -> GraphEdge {
        GraphEdge {
            from: from.1.into(),
            from_kind: from.0.into(),
            to: to.1.into(),
            to_kind: to.0.into(),
            count,
            errors,
            rate: 12.5,
            p50_us: 1_000,
            p99_us: 9_000,
        }
    }

    #[test]
    fn a_queue_that_is_called_as_its_service_is_a_box_of_its_own() {
        let pipes = Pipes { queues: vec![queue("orders", None)], topics: Vec::new() };
        let node = |kind: &str| GraphNode { name: "orders".into(), kind: kind.into() };
        let (service, pipe) = (("service", "orders"), ("queue", "orders"));
        let graph = Graph {
            nodes: vec![node("service"), node("queue")],
            edges: vec![
                edge(("service", "web"), service, 100, 50),
                edge(("service", "web"), pipe, 10, 0),
                edge(pipe, ("outside", "atoll"), 10, 0),
            ],
        };
        let (nodes, edges) = of(&status(), &pipes, Some(&graph));
        let kinds: Vec<_> = nodes.iter().filter(|node| node.name == "orders").map(|node| node.kind).collect();
        assert_eq!(kinds, ["service", "queue"]);
        let at = |name: &str, kind: &str| {
            nodes.iter().position(|node| node.name == name && node.kind == kind).unwrap()
        };
        let (web, service, pipe) = (at("web", "service"), at("orders", "service"), at("orders", "queue"));
        let of = |from, to| edges.iter().find(|edge| (edge.from, edge.to) == (from, to)).unwrap();
        assert_eq!(
            (of(web, service).tone, of(web, pipe).tone, of(pipe, service).tone),
            ("bad", "good", "good")
        );
        assert_eq!((nodes[pipe].more.as_str(), nodes[pipe].failing), ("2 waiting", None));
        assert!(nodes[service].failing.unwrap() > 0.4, "what waits is not what fails");
    }

    #[test]
    fn the_file_says_who_calls_whom() {
        let (nodes, edges) = of(&status(), &Pipes::default(), None);
        let names: Vec<_> = nodes.iter().map(|node| node.name.as_str()).collect();
        assert_eq!(names, ["gateway", "web", "orders"]);
        let pairs: Vec<_> = edges.iter().map(|edge| (edge.from, edge.to, edge.tone)).collect();
        assert_eq!(pairs, [(0, 1, "quiet"), (1, 2, "quiet")]);
    }

    #[test]
    fn what_a_queue_hands_over_goes_to_whom_it_belongs() {
        let pipes = Pipes {
            queues: vec![queue("jobs", Some("jobs-dead")), queue("jobs-dead", None)],
            topics: Vec::new(),
        };
        let edge = GraphEdge { rate: 1.0, ..edge(("queue", "jobs"), ("outside", "atoll"), 60, 0) };
        let graph = Graph { nodes: Vec::new(), edges: vec![edge] };
        let (nodes, edges) = of(&status(), &pipes, Some(&graph));
        let jobs = nodes.iter().position(|node| node.name == "jobs").unwrap();
        assert_eq!((nodes[jobs].more.as_str(), nodes[jobs].tone), ("2 waiting · 2 dead", "warn"));
        assert!(!nodes.iter().any(|node| ["jobs-dead", "atoll"].contains(&node.name.as_str())));
        let line = edges.iter().find(|edge| edge.from == jobs).unwrap();
        assert_eq!((nodes[line.to].name.as_str(), line.rate), ("orders", 1.0));
    }

    #[test]
    fn what_was_seen_gives_lines_their_colour_and_adds_who_else_is_there() {
        let outside = GraphNode { name: "bank.example".into(), kind: "outside".into() };
        let edge = |from, to, errors| edge(("service", from), ("service", to), 100, errors);
        let graph = Graph {
            nodes: vec![outside],
            edges: vec![
                edge("web", "orders", 0),
                edge("orders", "bank.example", 40),
                edge("nobody", "web", 1),
            ],
        };
        let (nodes, edges) = of(&status(), &Pipes::default(), Some(&graph));
        assert_eq!(nodes[3].kind, "outside");
        let of = |from, to| edges.iter().find(|edge| (edge.from, edge.to) == (from, to)).unwrap();
        assert_eq!((of(1, 2).tone, of(1, 2).label.as_str()), ("good", "12.5/s"));
        assert_eq!((of(2, 3).tone, of(2, 3).label.as_str()), ("bad", "40 % fail"));
        assert_eq!(edges.len(), 3);
    }
}
