//! Where the boxes of a small graph go, and the lines between them: lines that pass a layer have a place of their own in
//! it, so that they lead around boxes and not through them. Pure, and the same for the same graph.

use super::layout::{Measures, layers, ordered, without_circles};

/// Room of a line that passes a layer.
const LANE: f64 = 14.0;
/// Times that everything is moved nearer to its neighbours.
const SWEEPS: usize = 8;
/// Between two lines at the side of a box at most.
const PORTS: f64 = 11.0;

/// A point.
pub(crate) type Point = (f64, f64);

/// Where everything is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Routed {
    /// The upper left corner of each box.
    pub(crate) places: Vec<Point>,
    /// Of each edge the points that it leads through, from one box to the other; of one that leads nowhere, nothing.
    pub(crate) lines: Vec<Vec<Point>>,
    pub(crate) width: f64,
    pub(crate) height: f64,
}

/// Lays `count` boxes out. `first` stands alone at the left.
pub(crate) fn route(
    count: usize,
    edges: &[(usize, usize)],
    first: Option<usize>,
    measures: Measures,
) -> Routed {
    let first = first.filter(|first| *first < count);
    let real: Vec<_> = edges.iter().copied().filter(|(a, b)| a != b && *a < count && *b < count).collect();
    let forward = without_circles(count, &real, first);
    let mut depth = vec![0; count];
    for (layer, nodes) in layers(count, &forward, first).iter().enumerate() {
        nodes.iter().for_each(|node| depth[*node] = layer);
    }
    pull(&mut depth, &forward, first);
    let deepest = depth.iter().copied().max().unwrap_or(0);
    let mut layers = vec![Vec::new(); if count == 0 { 0 } else { deepest + 1 }];
    for (node, depth) in depth.iter().enumerate() {
        layers[*depth].push(node);
    }
    // Lines that pass a layer, and those between the boxes of one.
    let mut chains: Vec<Vec<usize>> = Vec::new();
    let mut links = Vec::new();
    let mut total = count;
    for (from, to) in &real {
        let (left, right) = if depth[*from] <= depth[*to] { (*from, *to) } else { (*to, *from) };
        let mut chain = vec![left];
        for layer in layers.iter_mut().take(depth[right]).skip(depth[left] + 1) {
            layer.push(total);
            chain.push(total);
            total += 1;
        }
        chain.push(right);
        links.extend(chain.windows(2).map(|pair| (pair[0], pair[1])));
        chains.push(chain);
    }
    let layers = ordered(layers, &links);
    let size = |node: usize| if node < count { measures.height } else { LANE };
    let middles = heights(&layers, &links, total, &size, measures.down);
    let top = (0..total).map(|node| middles[node] - size(node) / 2.0).fold(f64::INFINITY, f64::min);
    let top = if top.is_finite() { top } else { 0.0 };
    let height = (0..total).map(|node| middles[node] + size(node) / 2.0 - top).fold(0.0, f64::max);
    let mut x_of = vec![0.0; total];
    for (layer, nodes) in layers.iter().enumerate() {
        nodes.iter().for_each(|node| x_of[*node] = layer as f64 * (measures.width + measures.across));
    }
    let width = (0..count).map(|node| x_of[node] + measures.width).fold(0.0, f64::max);
    let middle = |node: usize| middles[node] - top;
    let places: Vec<Point> =
        (0..count).map(|node| (x_of[node], middle(node) - measures.height / 2.0)).collect();
    let mut chains = chains.into_iter();
    let chains: Vec<Option<Vec<usize>>> = edges
        .iter()
        .map(|(a, b)| if a != b && *a < count && *b < count { chains.next() } else { None })
        .collect();
    let ports = Ports::of(&chains, &middle, count, measures);
    let lines = edges.iter().zip(&chains).enumerate().map(|(number, ((from, _), chain))| {
        let Some(chain) = chain else { return Vec::new() };
        let (left, right) = (chain[0], chain[chain.len() - 1]);
        let flat = depth[left] == depth[right];
        let mut points = vec![(x_of[left] + measures.width, middle(left) + ports.right[number])];
        for lane in &chain[1..chain.len() - 1] {
            points.push((x_of[*lane], middle(*lane)));
            points.push((x_of[*lane] + measures.width, middle(*lane)));
        }
        let end = x_of[right] + if flat { measures.width } else { 0.0 };
        points.push((end, middle(right) + ports.left[number]));
        if left != *from {
            points.reverse();
        }
        points
    });
    Routed { lines: lines.collect(), places, width, height }
}

/// Moves what nobody calls next to those that it calls.
fn pull(depth: &mut [usize], forward: &[(usize, usize)], first: Option<usize>) {
    let called: Vec<bool> = (0..depth.len()).map(|node| forward.iter().any(|(_, to)| *to == node)).collect();
    for node in 0..depth.len() {
        let next = forward.iter().filter(|(from, _)| *from == node).map(|(_, to)| depth[*to]).min();
        if let Some(next) = next
            && !called[node]
            && Some(node) != first
        {
            depth[node] = depth[node].max(next.saturating_sub(1));
        }
    }
}

/// The middle of each box and lane from the top: near those it has to do with, and over no other.
fn heights(
    layers: &[Vec<usize>],
    links: &[(usize, usize)],
    total: usize,
    size: &dyn Fn(usize) -> f64,
    down: f64,
) -> Vec<f64> {
    let mut next: Vec<Vec<usize>> = vec![Vec::new(); total];
    for (a, b) in links {
        next[*a].push(*b);
        next[*b].push(*a);
    }
    let mut middles = vec![0.0; total];
    let apart = |a: usize, b: usize| (size(a) + size(b)) / 2.0 + down;
    for layer in layers {
        let wanted = vec![0.0; layer.len()];
        place(layer, &wanted, &apart, &mut middles);
    }
    for sweep in 0..SWEEPS {
        let order: Vec<usize> = (0..layers.len()).collect();
        let order: Vec<usize> = if sweep % 2 == 0 { order } else { order.into_iter().rev().collect() };
        for at in order {
            let mean = |node: &usize| {
                let of = &next[*node];
                if of.is_empty() {
                    middles[*node]
                } else {
                    of.iter().map(|n| middles[*n]).sum::<f64>() / of.len() as f64
                }
            };
            let wanted: Vec<f64> = layers[at].iter().map(mean).collect();
            place(&layers[at], &wanted, &apart, &mut middles);
        }
    }
    middles
}

/// Puts a layer as near as it goes to where each of it is wanted, in its order and without overlap: neighbours that would lie
/// over one another move as one.
fn place(layer: &[usize], wanted: &[f64], apart: &dyn Fn(usize, usize) -> f64, middles: &mut [f64]) {
    let mut below = vec![0.0; layer.len()];
    for at in 1..layer.len() {
        below[at] = below[at - 1] + apart(layer[at - 1], layer[at]);
    }
    // (sum of where they want to be less what is below the first, how many)
    let mut blocks: Vec<(f64, usize)> = Vec::new();
    for at in 0..layer.len() {
        blocks.push((wanted[at] - below[at], 1));
        while let [.., (above, above_count), (here, count)] = blocks[..]
            && above / above_count as f64 > here / count as f64
        {
            blocks.truncate(blocks.len() - 2);
            blocks.push((above + here, above_count + count));
        }
    }
    let mut at = 0;
    for (sum, count) in blocks {
        for _ in 0..count {
            middles[layer[at]] = sum / count as f64 + below[at];
            at += 1;
        }
    }
}

/// How far from the middle of its box each line begins and ends: lines at one side of a box stand apart, in the order of
/// where they lead.
struct Ports {
    right: Vec<f64>,
    left: Vec<f64>,
}

impl Ports {
    fn of(
        chains: &[Option<Vec<usize>>],
        middle: &dyn Fn(usize) -> f64,
        count: usize,
        measures: Measures,
    ) -> Self {
        let mut ports = Self { right: vec![0.0; chains.len()], left: vec![0.0; chains.len()] };
        for node in 0..count {
            for right in [true, false] {
                let mut here: Vec<(f64, usize)> = Vec::new();
                for (number, chain) in chains.iter().enumerate() {
                    let Some(chain) = chain else { continue };
                    let last = chain.len() - 1;
                    let (end, beside) =
                        if right { (chain[0], chain[1]) } else { (chain[last], chain[last - 1]) };
                    if end == node {
                        here.push((middle(beside), number));
                    }
                }
                here.sort_by(|a, b| a.0.total_cmp(&b.0));
                let step = PORTS.min((measures.height - 12.0) / here.len().max(1) as f64);
                let half = (here.len() as f64 - 1.0) / 2.0;
                for (at, (_, number)) in here.iter().enumerate() {
                    let side = if right { &mut ports.right } else { &mut ports.left };
                    side[*number] = (at as f64 - half) * step;
                }
            }
        }
        ports
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MEASURES: Measures = Measures { width: 100.0, height: 40.0, across: 60.0, down: 20.0 };

    fn of(count: usize, edges: &[(usize, usize)]) -> Routed {
        route(count, edges, Some(0), MEASURES)
    }

    #[test]
    fn a_line_that_passes_a_layer_leads_around_the_boxes_in_it() {
        // 0 → 1 → 2, and 0 → 2 past 1.
        let routed = of(3, &[(0, 1), (1, 2), (0, 2)]);
        let long = &routed.lines[2];
        assert_eq!(long.len(), 4, "{routed:?}");
        let (_, top) = routed.places[1];
        for (_, y) in &long[1..3] {
            assert!(*y < top || *y > top + MEASURES.height, "{routed:?}");
        }
    }

    #[test]
    fn a_line_back_ends_where_it_should() {
        let routed = of(3, &[(0, 1), (1, 2), (2, 1)]);
        let back = &routed.lines[2];
        assert_eq!(back[0].0, routed.places[2].0);
        assert_eq!(back[1].0, routed.places[1].0 + MEASURES.width);
        assert!(routed.lines[1][0] != back[1], "two lines between the same boxes are two");
    }

    #[test]
    fn what_nobody_calls_stands_beside_what_it_calls() {
        // 4 calls 3 only, and 3 is three layers from 0.
        let routed = of(5, &[(0, 1), (1, 2), (2, 3), (4, 3)]);
        assert_eq!(routed.places[4].0, routed.places[2].0);
    }

    #[test]
    fn an_edge_to_itself_or_to_nothing_is_no_line() {
        let routed = of(2, &[(0, 0), (0, 9), (0, 1)]);
        assert_eq!(routed.lines.iter().map(Vec::len).collect::<Vec<_>>(), [0, 0, 2]);
        let none = Routed { places: vec![], lines: vec![], width: 0.0, height: 0.0 };
        assert_eq!(route(0, &[], None, MEASURES), none);
    }

    proptest! {
        #[test]
        fn no_two_boxes_lie_over_one_another_and_lines_stay_inside(
            count in 1_usize..30,
            edges in prop::collection::vec((0_usize..30, 0_usize..30), 0..60),
        ) {
            let routed = of(count, &edges);
            for (at, (x, y)) in routed.places.iter().enumerate() {
                prop_assert!(*x >= 0.0 && x + MEASURES.width <= routed.width + 0.01);
                prop_assert!(*y >= -0.01 && y + MEASURES.height <= routed.height + 0.01);
                for (other_x, other_y) in &routed.places[at + 1..] {
                    let apart = (x - other_x).abs() >= MEASURES.width - 0.01 || (y - other_y).abs() >= MEASURES.height - 0.01;
                    prop_assert!(apart, "{routed:?}");
                }
            }
            for (x, y) in routed.lines.iter().flatten() {
                prop_assert!(*x >= -0.01 && *x <= routed.width + 0.01 && *y >= -0.01 && *y <= routed.height + 0.01);
            }
            prop_assert_eq!(routed, of(count, &edges));
        }
    }
}
