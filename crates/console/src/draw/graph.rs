//! Who calls whom, as boxes and lines: what flows is seen to move, the more the faster.

use maud::{Markup, html};

use super::layout::{Layout, Measures, layout};
use super::route::{Point, Routed, route};
use super::scale::px;
use crate::words::clip;

/// Boxes up to which they have room for a second line, and lines lead around them.
const ROOMY: usize = 40;
const LARGE: Measures = Measures { width: 168.0, height: 58.0, across: 78.0, down: 18.0 };
const SMALL: Measures = Measures { width: 128.0, height: 26.0, across: 64.0, down: 10.0 };
/// Around everything.
const MARGIN: f64 = 10.0;
/// Room of a label: width of a character, and height.
const LETTER: f64 = 6.2;
const LABEL: f64 = 13.0;

/// A box.
#[derive(Clone, Debug, Default)]
pub(crate) struct Node {
    pub(crate) name: String,
    /// `gateway`, `service`, `queue`, `topic`, `outside`.
    pub(crate) kind: &'static str,
    /// How it is: a class and a word.
    pub(crate) tone: &'static str,
    pub(crate) word: String,
    pub(crate) more: String,
    /// What comes in: how much, and which share of it fails.
    pub(crate) load: String,
    pub(crate) failing: Option<f64>,
    pub(crate) href: Option<String>,
}

/// A line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Edge {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) label: String,
    /// `quiet`, `good`, `busy`, `warn`, `bad`.
    pub(crate) tone: &'static str,
    pub(crate) title: String,
    /// How much flows, a second.
    pub(crate) rate: f64,
}

/// The picture.
pub(crate) fn draw(nodes: &[Node], edges: &[Edge]) -> Markup {
    let roomy = nodes.len() <= ROOMY;
    let measures = if roomy { LARGE } else { SMALL };
    let first = nodes.iter().position(|node| node.kind == "gateway");
    let pairs: Vec<_> = edges.iter().map(|edge| (edge.from, edge.to)).collect();
    let Routed { places, lines, width, height } = if roomy {
        route(nodes.len(), &pairs, first, measures)
    } else {
        straight(layout(nodes.len(), &pairs, first, measures), &pairs, measures)
    };
    let (width, height) = (width + 2.0 * MARGIN, height + 2.0 * MARGIN);
    let within = |(x, y): Point| (x + MARGIN, y + MARGIN);
    let lines: Vec<Vec<Point>> =
        lines.into_iter().map(|line| line.into_iter().map(within).collect()).collect();
    let labels = if roomy { labels(edges, &lines) } else { Vec::new() };
    html! {
        div.scroll {
            svg.graph role="group" aria-label="Services and who calls whom" viewBox={ "0 0 " (px(width)) " " (px(height)) } width=(px(width)) height=(px(height)) {
                g.edges {
                    @for (edge, line) in edges.iter().zip(&lines).filter(|(_, line)| line.len() > 1) {
                        @let path = path(line);
                        g.(edge.tone) {
                            title { (clip(&edge.title, 200)) }
                            path d=(path) {}
                            @if roomy && edge.rate > 0.0 { path.flow.(pace(edge.rate)) d=(path) {} }
                            path.head d=(head(line)) {}
                        }
                    }
                    @for (x, y, label) in &labels { text x=(px(*x)) y=(px(*y)) text-anchor="middle" { (label) } }
                }
                @for (node, place) in nodes.iter().zip(&places) {
                    @let (x, y) = within(*place);
                    @match &node.href {
                        Some(href) => a href=(href) { (boxed(node, x, y, measures, roomy)) },
                        None => (boxed(node, x, y, measures, roomy)),
                    }
                }
            }
        }
    }
}

/// What is seen in a box, and how it is.
fn told(node: &Node) -> String {
    let parts = [&clip(&node.name, 100), second(node), &node.load];
    let parts = parts.into_iter().filter(|part| !part.is_empty()).map(String::as_str);
    let mut told = parts.collect::<Vec<_>>().join(" ");
    if second(node) != &node.word {
        told.push_str(&format!(", {}", node.word));
    }
    told
}

/// The second line of a box.
fn second(node: &Node) -> &String {
    if node.more.is_empty() { &node.word } else { &node.more }
}

fn boxed(node: &Node, x: f64, y: f64, measures: Measures, roomy: bool) -> Markup {
    let most = if roomy { 20 } else { 15 };
    let inner = measures.width - 28.0;
    html! {
        g.node.(node.tone).(node.kind) {
            title { (told(node)) }
            rect.box x=(px(x)) y=(px(y)) width=(px(measures.width)) height=(px(measures.height)) rx=(if node.kind == "service" { "9" } else { "20" }) {}
            circle.state cx=(px(x + 16.0)) cy=(px(y + if roomy { 19.0 } else { 13.0 })) r="4" {}
            text.name x=(px(x + 27.0)) y=(px(y + if roomy { 23.5 } else { 17.5 })) { (clip(&node.name, most)) }
            @if roomy {
                text.sub x=(px(x + 14.0)) y=(px(y + 42.5)) { (clip(second(node), 21_usize.saturating_sub(node.load.chars().count()))) }
                @if !node.load.is_empty() { text.load x=(px(x + measures.width - 14.0)) y=(px(y + 42.5)) text-anchor="end" { (clip(&node.load, 12)) } }
                @if let Some(failing) = node.failing {
                    rect.well x=(px(x + 14.0)) y=(px(y + measures.height - 8.0)) width=(px(inner)) height="2.5" rx="1.2" {}
                    @if failing > 0.0 { rect.ill x=(px(x + 14.0)) y=(px(y + measures.height - 8.0)) width=(px((inner * failing).max(3.0))) height="2.5" rx="1.2" {} }
                }
            }
        }
    }
}

/// How fast a line is seen to move.
fn pace(rate: f64) -> &'static str {
    match rate {
        rate if rate >= 100.0 => "f4",
        rate if rate >= 10.0 => "f3",
        rate if rate >= 1.0 => "f2",
        _ => "f1",
    }
}

/// Lines that are drawn from box to box, whatever lies between.
fn straight(layout: Layout, edges: &[(usize, usize)], measures: Measures) -> Routed {
    let Layout { places, width, height } = layout;
    let line = |(from, to): &(usize, usize)| {
        let (Some(from), Some(to)) = (places.get(*from), places.get(*to)) else { return Vec::new() };
        let middle = measures.height / 2.0;
        let ahead = to.0 > from.0;
        let (start, end) = if ahead { (measures.width, 0.0) } else { (0.0, measures.width) };
        vec![(from.0 + start, from.1 + middle), (to.0 + end, to.1 + middle)]
    };
    let lines = edges.iter().map(line).collect();
    Routed { places, lines, width, height }
}

/// A smooth line through points: level in each of them.
fn path(line: &[Point]) -> String {
    let mut path = String::new();
    for (at, (x, y)) in line.iter().enumerate() {
        match at.checked_sub(1).map(|before| line[before]) {
            None => path = format!("M{} {}", px(*x), px(*y)),
            Some((_, before)) if (before - y).abs() < 0.05 => path.push_str(&format!("H{}", px(*x))),
            Some((before, above)) => {
                let middle = px(f64::midpoint(before, *x));
                path.push_str(&format!("C{middle} {} {middle} {} {} {}", px(above), px(*y), px(*x), px(*y)));
            }
        }
    }
    path
}

/// Where a line ends, as an arrow.
fn head(line: &[Point]) -> String {
    let (Some((x, y)), Some((before, _))) = (line.last(), line.iter().rev().nth(1)) else {
        return String::new();
    };
    let way = if before <= x { -7.0 } else { 7.0 };
    format!("M{} {}l{} -4v8z", px(*x), px(*y), px(way))
}

/// Where labels stand: on their lines, and not over one another as far as that goes.
fn labels(edges: &[Edge], lines: &[Vec<Point>]) -> Vec<(f64, f64, String)> {
    const TRIES: [f64; 5] = [0.5, 0.36, 0.64, 0.26, 0.74];
    let mut taken: Vec<(f64, f64, f64)> = Vec::new();
    let mut labels = Vec::new();
    for (edge, line) in edges.iter().zip(lines) {
        if edge.label.is_empty() || line.len() < 2 {
            continue;
        }
        let label = clip(&edge.label, 24);
        let half = label.chars().count() as f64 * LETTER / 2.0;
        let free = |(x, y): Point| {
            taken
                .iter()
                .all(|(other, above, wide)| (x - other).abs() > half + wide || (y - above).abs() > LABEL)
        };
        // Between the first two boxes or the last two.
        let ends = [(line[0], line[1]), (line[line.len() - 2], line[line.len() - 1])];
        let places = ends.iter().flat_map(|(a, b)| TRIES.map(|share| along(*a, *b, share)));
        let places: Vec<Point> = places.collect();
        let place = places.iter().copied().find(|place| free(*place)).unwrap_or(places[0]);
        taken.push((place.0, place.1, half));
        labels.push((place.0, place.1 + 4.0, label));
    }
    labels
}

/// A place on the smooth line between two points.
fn along((x0, y0): Point, (x1, y1): Point, share: f64) -> Point {
    let rest = 1.0 - share;
    let bend = 3.0 * rest * share;
    let x = rest.powi(3) * x0 + bend * f64::midpoint(x0, x1) + share.powi(3) * x1;
    let y = rest.powi(2) * (rest + 3.0 * share) * y0 + share.powi(2) * (share + 3.0 * rest) * y1;
    (x, y)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> Node {
        let name = name.to_owned();
        Node {
            name,
            kind: "service",
            tone: "good",
            word: "ready".into(),
            href: Some("/services/a".into()),
            ..Node::default()
        }
    }

    #[test]
    fn a_name_stays_text_whatever_is_in_it() {
        let hostile = format!("<script>alert(1)</script>{}", "x".repeat(10_000));
        let edge =
            Edge { from: 0, to: 1, label: hostile.clone(), tone: "quiet", title: hostile.clone(), rate: 1.0 };
        let drawn = draw(&[node(&hostile), node("b")], &[edge]).into_string();
        assert!(!drawn.contains("<script>") && drawn.contains("&lt;script&gt;"));
        assert!(!drawn.contains("style="));
    }

    #[test]
    fn two_hundred_boxes_fit_a_page() {
        let nodes: Vec<_> = (0..200).map(|n| node(&format!("service-{n}"))).collect();
        let edges: Vec<_> = (1..200)
            .map(|to| Edge {
                from: to / 3,
                to,
                label: "1/s".into(),
                tone: "quiet",
                title: "1 call a second".into(),
                rate: 1.0,
            })
            .collect();
        let size = draw(&nodes, &edges).into_string().len();
        assert!(size < 130 << 10, "{size}");
    }

    #[test]
    fn what_flows_moves_and_labels_keep_apart() {
        let edge =
            |from, to, rate| Edge { from, to, label: "12/s".into(), tone: "good", rate, ..Edge::default() };
        let nodes = [node("a"), node("b"), node("c")];
        let drawn = draw(&nodes, &[edge(0, 1, 12.0), edge(0, 2, 0.0), edge(1, 2, 0.5)]).into_string();
        assert_eq!(drawn.matches("class=\"flow f3\"").count(), 1, "{drawn}");
        assert_eq!(drawn.matches("class=\"flow f1\"").count(), 1);
        let places: Vec<_> = labels(
            &[edge(0, 1, 1.0), edge(0, 1, 1.0)],
            &[vec![(0.0, 0.0), (200.0, 0.0)], vec![(0.0, 0.0), (200.0, 0.0)]],
        );
        assert!((places[0].0 - places[1].0).abs() > 5.0, "{places:?}");
    }
}
