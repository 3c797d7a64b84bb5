//! Who calls whom, as boxes and lines.

use maud::{Markup, html};

use super::layout::{Layout, Measures, layout};
use super::scale::px;
use crate::words::clip;

/// Boxes up to which they have room for a second line.
const ROOMY: usize = 40;
const LARGE: Measures = Measures { width: 164.0, height: 52.0, across: 72.0, down: 16.0 };
const SMALL: Measures = Measures { width: 128.0, height: 26.0, across: 64.0, down: 10.0 };
/// Around everything.
const MARGIN: f64 = 10.0;

/// A box.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) name: String,
    /// `gateway`, `service`, `queue`, `topic`, `outside`.
    pub(crate) kind: &'static str,
    /// How it is: a class and a word.
    pub(crate) tone: &'static str,
    pub(crate) word: String,
    pub(crate) more: String,
    pub(crate) href: Option<String>,
}

/// A line.
#[derive(Clone, Debug)]
pub(crate) struct Edge {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) label: String,
    /// `quiet`, `busy`, `warn`, `bad`.
    pub(crate) tone: &'static str,
    pub(crate) title: String,
}

/// The picture.
pub(crate) fn draw(nodes: &[Node], edges: &[Edge]) -> Markup {
    let roomy = nodes.len() <= ROOMY;
    let measures = if roomy { LARGE } else { SMALL };
    let first = nodes.iter().position(|node| node.kind == "gateway");
    let pairs: Vec<_> = edges.iter().map(|edge| (edge.from, edge.to)).collect();
    let Layout { places, width, height } = layout(nodes.len(), &pairs, first, measures);
    let (width, height) = (width + 2.0 * MARGIN, height + 2.0 * MARGIN);
    let place = |node: usize| (places[node].0 + MARGIN, places[node].1 + MARGIN);
    html! {
        div.scroll {
            svg.graph role="group" aria-label="Services and who calls whom" viewBox={ "0 0 " (px(width)) " " (px(height)) } width=(px(width)) height=(px(height)) {
                g.edges {
                    @for edge in edges.iter().filter(|edge| edge.from < nodes.len() && edge.to < nodes.len()) {
                        @let line = Line::between(place(edge.from), place(edge.to), measures);
                        g.(edge.tone) {
                            title { (clip(&edge.title, 200)) }
                            path d=(line.path) {}
                            path.head d=(line.head) {}
                            @if roomy && !edge.label.is_empty() {
                                text x=(px(line.middle.0)) y=(px(line.middle.1 - 4.0)) text-anchor="middle" { (clip(&edge.label, 24)) }
                            }
                        }
                    }
                }
                @for (at, node) in nodes.iter().enumerate() {
                    @let (x, y) = place(at);
                    @match &node.href {
                        Some(href) => a href=(href) aria-label={ (node.name) ", " (node.word) " " (node.more) } { (boxed(node, x, y, measures, roomy)) },
                        None => (boxed(node, x, y, measures, roomy)),
                    }
                }
            }
        }
    }
}

fn boxed(node: &Node, x: f64, y: f64, measures: Measures, roomy: bool) -> Markup {
    let most = if roomy { 20 } else { 15 };
    html! {
        g.node.(node.tone).(node.kind) {
            title { (clip(&node.name, 100)) ": " (node.word) @if !node.more.is_empty() { ", " (node.more) } }
            rect.box x=(px(x)) y=(px(y)) width=(px(measures.width)) height=(px(measures.height)) rx=(if node.kind == "service" { "8" } else { "18" }) {}
            circle.state cx=(px(x + 14.0)) cy=(px(y + if roomy { 18.0 } else { 13.0 })) r="4" {}
            text.name x=(px(x + 25.0)) y=(px(y + if roomy { 22.5 } else { 17.5 })) { (clip(&node.name, most)) }
            @if roomy {
                text.sub x=(px(x + 14.0)) y=(px(y + 41.0)) { (node.word) @if !node.more.is_empty() { " · " (clip(&node.more, 22)) } }
            }
        }
    }
}

/// A line between two boxes, its head, and its middle.
struct Line {
    path: String,
    head: String,
    middle: (f64, f64),
}

impl Line {
    fn between(from: (f64, f64), to: (f64, f64), measures: Measures) -> Self {
        let (w, h) = (measures.width, measures.height);
        let start = (from.0 + w, from.1 + h / 2.0);
        let end = (to.0, to.1 + h / 2.0);
        if end.0 > start.0 {
            let bend = ((end.0 - start.0) / 2.0).min(90.0);
            let end = (end.0 - 2.0, end.1);
            let path = curve(start, (start.0 + bend, start.1), (end.0 - bend, end.1), end);
            return Self { path, head: head(end, 1.0), middle: middle(start, end) };
        }
        // Back, or within a layer: around below.
        let low = start.1.max(end.1) + h / 2.0 + 14.0;
        let start = (from.0 + w / 2.0, from.1 + h);
        let end = (to.0 + w / 2.0, to.1 + h + 2.0);
        let path = curve(start, (start.0, low), (end.0, low), end);
        let tip = format!("M{} {}l-4 7h8z", px(end.0), px(end.1));
        Self { path, head: tip, middle: middle(start, end) }
    }
}

fn curve(a: (f64, f64), b: (f64, f64), c: (f64, f64), d: (f64, f64)) -> String {
    let [a, b, c, d] = [a, b, c, d].map(|(x, y)| format!("{} {}", px(x), px(y)));
    format!("M{a}C{b} {c} {d}")
}

fn head((x, y): (f64, f64), way: f64) -> String {
    format!("M{} {}l{} -4v8z", px(x), px(y), px(-7.0 * way))
}

fn middle(a: (f64, f64), b: (f64, f64)) -> (f64, f64) {
    ((a.0 + b.0) / 2.0, (a.1 + b.1) / 2.0)
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
            more: String::new(),
            href: Some("/services/a".into()),
        }
    }

    #[test]
    fn a_name_stays_text_whatever_is_in_it() {
        let hostile = format!("<script>alert(1)</script>{}", "x".repeat(10_000));
        let edge = Edge { from: 0, to: 1, label: hostile.clone(), tone: "quiet", title: hostile.clone() };
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
            })
            .collect();
        let size = draw(&nodes, &edges).into_string().len();
        assert!(size < 130 << 10, "{size}");
    }
}
