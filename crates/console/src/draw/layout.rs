//! Where the boxes of a graph go: in layers from left to right, callers before those they call, with few
//! crossings. Pure, and the same for the same graph.

use std::collections::BTreeSet;

/// Boxes above one another at most; a layer with more has several columns.
const MOST_IN_COLUMN: usize = 12;
/// Times that the order within layers is mended, each way.
const SWEEPS: usize = 6;

/// Measures in pixels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measures {
    pub(crate) width: f64,
    pub(crate) height: f64,
    /// Between layers.
    pub(crate) across: f64,
    /// Between boxes of a column.
    pub(crate) down: f64,
}

/// Where everything is: the upper left corner of each box, and the size of the whole.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Layout {
    pub(crate) places: Vec<(f64, f64)>,
    pub(crate) width: f64,
    pub(crate) height: f64,
}

/// Lays `count` boxes out. `first` stands alone at the left; edges that close a circle are drawn, and have no say.
pub(crate) fn layout(
    count: usize,
    edges: &[(usize, usize)],
    first: Option<usize>,
    measures: Measures,
) -> Layout {
    let first = first.filter(|first| *first < count);
    let edges: Vec<_> = edges.iter().copied().filter(|(a, b)| a != b && *a < count && *b < count).collect();
    let edges = without_circles(count, &edges, first);
    let layers = ordered(layers(count, &edges, first), &edges);
    let tallest = layers.iter().map(|layer| rows(layer.len())).max().unwrap_or(0);
    let (step_x, step_y) = (measures.width + measures.across, measures.height + measures.down);
    let height = (tallest as f64 * step_y - measures.down).max(0.0);
    let mut places = vec![(0.0, 0.0); count];
    let mut x = 0.0;
    for layer in &layers {
        let rows = rows(layer.len());
        for column in layer.chunks(rows.max(1)) {
            let top = (height - (column.len() as f64 * step_y - measures.down)) / 2.0;
            for (row, node) in column.iter().enumerate() {
                places[*node] = (x, top + row as f64 * step_y);
            }
            // Columns of one layer stand closer together than layers do.
            x += step_x - measures.across * 0.6;
        }
        x += measures.across * 0.6;
    }
    let right = places.iter().map(|(x, _)| x + measures.width).fold(0.0, f64::max);
    Layout { places, width: right, height }
}

/// Boxes in the columns of a layer with so many.
fn rows(boxes: usize) -> usize {
    boxes.div_ceil(boxes.div_ceil(MOST_IN_COLUMN).max(1))
}

/// The edges but for those that lead back to where a walk has come from.
pub(super) fn without_circles(
    count: usize,
    edges: &[(usize, usize)],
    first: Option<usize>,
) -> Vec<(usize, usize)> {
    #[derive(Clone, Copy, PartialEq)]
    enum Seen {
        Not,
        Open,
        Done,
    }
    let mut next: Vec<Vec<usize>> = vec![Vec::new(); count];
    let mut called = vec![false; count];
    for (from, to) in edges.iter().copied().collect::<BTreeSet<_>>() {
        next[from].push(to);
        called[to] = true;
    }
    let mut seen = vec![Seen::Not; count];
    let mut kept = Vec::new();
    // From those whom nobody calls: what closes a circle is then more often what people would say does.
    let sources = (0..count).filter(|node| !called[*node]);
    for start in first.into_iter().chain(sources).chain(0..count) {
        if seen[start] != Seen::Not {
            continue;
        }
        seen[start] = Seen::Open;
        let mut path = vec![(start, 0)];
        while let Some((node, at)) = path.last_mut() {
            let node = *node;
            match next[node].get(*at).copied() {
                None => {
                    seen[node] = Seen::Done;
                    path.pop();
                }
                Some(to) => {
                    *at += 1;
                    if seen[to] != Seen::Open {
                        kept.push((node, to));
                    }
                    if seen[to] == Seen::Not {
                        seen[to] = Seen::Open;
                        path.push((to, 0));
                    }
                }
            }
        }
    }
    kept
}

/// Each box one layer behind the last of those who call it.
pub(super) fn layers(count: usize, edges: &[(usize, usize)], first: Option<usize>) -> Vec<Vec<usize>> {
    let base = |node: usize| usize::from(first.is_some_and(|first| first != node));
    let mut depth: Vec<usize> = (0..count).map(base).collect();
    let mut missing = vec![0; count];
    for (_, to) in edges {
        missing[*to] += 1;
    }
    let mut ready: Vec<usize> = (0..count).filter(|node| missing[*node] == 0).collect();
    while let Some(node) = ready.pop() {
        for (_, to) in edges.iter().filter(|(from, _)| *from == node) {
            depth[*to] = depth[*to].max(depth[node] + 1);
            missing[*to] -= 1;
            if missing[*to] == 0 {
                ready.push(*to);
            }
        }
    }
    let mut layers = vec![Vec::new(); depth.iter().max().map_or(0, |most| most + 1)];
    for (node, depth) in depth.into_iter().enumerate() {
        layers[depth].push(node);
    }
    layers.retain(|layer| !layer.is_empty());
    layers
}

/// Mends the order within layers: each box near the middle of its neighbours.
pub(super) fn ordered(mut layers: Vec<Vec<usize>>, edges: &[(usize, usize)]) -> Vec<Vec<usize>> {
    let count = layers.iter().map(Vec::len).sum();
    let mut neighbours: Vec<Vec<usize>> = vec![Vec::new(); count];
    for (a, b) in edges {
        neighbours[*a].push(*b);
        neighbours[*b].push(*a);
    }
    let mut place = vec![0.0; count];
    let write = |layer: &[usize], place: &mut Vec<f64>| {
        for (at, node) in layer.iter().enumerate() {
            place[*node] = (at as f64 + 0.5) / layer.len() as f64;
        }
    };
    for layer in &layers {
        write(layer, &mut place);
    }
    for sweep in 0..SWEEPS {
        let down: Vec<usize> = (0..layers.len()).collect();
        let order = if sweep % 2 == 0 { down } else { down.into_iter().rev().collect() };
        for at in order {
            let mean = |node: &usize| {
                let of = &neighbours[*node];
                if of.is_empty() {
                    place[*node]
                } else {
                    of.iter().map(|n| place[*n]).sum::<f64>() / of.len() as f64
                }
            };
            let mut keyed: Vec<(f64, usize)> = layers[at].iter().map(|node| (mean(node), *node)).collect();
            keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
            layers[at] = keyed.into_iter().map(|(_, node)| node).collect();
            write(&layers[at], &mut place);
        }
    }
    layers
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MEASURES: Measures = Measures { width: 100.0, height: 40.0, across: 60.0, down: 20.0 };

    fn of(count: usize, edges: &[(usize, usize)]) -> Layout {
        layout(count, edges, Some(0), MEASURES)
    }

    #[test]
    fn callers_stand_left_of_those_they_call() {
        // gateway → storefront → catalog, orders → payments; gateway → catalog too
        let edges = [(0, 1), (1, 2), (1, 3), (3, 4), (0, 2)];
        let layout = of(5, &edges);
        for (from, to) in edges {
            assert!(layout.places[from].0 < layout.places[to].0, "{from} → {to}: {layout:?}");
        }
    }

    #[test]
    fn a_circle_is_laid_out_and_does_not_hang() {
        let layout = of(4, &[(0, 1), (1, 2), (2, 3), (3, 1), (2, 2), (9, 1)]);
        assert_eq!(layout.places.len(), 4);
        assert!(layout.places[1].0 < layout.places[3].0);
    }

    #[test]
    fn lines_that_need_not_cross_do_not() {
        // 1 calls 4, 2 calls 3: written crossed.
        let layout = of(5, &[(0, 1), (0, 2), (1, 4), (2, 3)]);
        let y = |node: usize| layout.places[node].1;
        assert_eq!(y(1) < y(2), y(4) < y(3));
    }

    #[test]
    fn two_hundred_services_are_no_tower() {
        let edges: Vec<_> = (1..200).map(|node| (0, node)).collect();
        let layout = of(200, &edges);
        assert!(layout.height < 13.0 * 60.0, "{}", layout.height);
        assert_eq!(of(0, &[]), Layout { places: vec![], width: 0.0, height: 0.0 });
    }

    proptest! {
        #[test]
        fn no_two_boxes_lie_over_one_another(
            count in 1_usize..60,
            edges in prop::collection::vec((0_usize..60, 0_usize..60), 0..120),
        ) {
            let layout = of(count, &edges);
            for (at, (x, y)) in layout.places.iter().enumerate() {
                prop_assert!(*x >= 0.0 && x + MEASURES.width <= layout.width + 0.01);
                prop_assert!(*y >= -0.01 && y + MEASURES.height <= layout.height + 0.01);
                for (other_x, other_y) in &layout.places[at + 1..] {
                    let apart = (x - other_x).abs() >= MEASURES.width || (y - other_y).abs() >= MEASURES.height;
                    prop_assert!(apart, "{layout:?}");
                }
            }
            prop_assert_eq!(layout, of(count, &edges));
        }
    }
}
