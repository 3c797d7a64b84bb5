//! A trace by what took the time: pieces of the same name below the same parent are one, as wide as they took together.

use maud::{Markup, html};

use super::scale::px;
use super::tree::{Piece, Row};
use crate::words::{self, clip};

const WIDTH: f64 = 1000.0;
const ROW: f64 = 24.0;
/// Cells at most; the narrowest are left out.
const MOST: usize = 400;

/// Work of one name below one parent.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Cell {
    pub(crate) name: String,
    pub(crate) depth: usize,
    /// From the left, of 1.
    pub(crate) from: f64,
    /// Of 1.
    pub(crate) width: f64,
    pub(crate) took: u64,
    pub(crate) count: u64,
}

struct Merged {
    name: String,
    depth: usize,
    took: u64,
    count: u64,
    children: Vec<usize>,
}

/// The cells, those that cause others before them.
pub(crate) fn cells(pieces: &[Piece<'_>], rows: &[Row]) -> Vec<Cell> {
    let mut all: Vec<Merged> = Vec::new();
    let mut roots: Vec<usize> = Vec::new();
    let mut of_row = Vec::with_capacity(rows.len());
    for row in rows {
        let piece = &pieces[row.piece];
        let parent: Option<usize> = row.parent.map(|parent| of_row[parent]);
        let siblings = parent.map_or(&roots, |parent| &all[parent].children);
        let same = siblings.iter().copied().find(|at| all[*at].name == piece.name);
        let at = same.unwrap_or_else(|| {
            let at = all.len();
            all.push(Merged {
                name: piece.name.clone(),
                depth: row.depth,
                took: 0,
                count: 0,
                children: Vec::new(),
            });
            match parent {
                Some(parent) => all[parent].children.push(at),
                None => roots.push(at),
            }
            at
        });
        all[at].took = all[at].took.saturating_add(piece.took);
        all[at].count += 1;
        of_row.push(at);
    }
    // A parent is at least as wide as its children together: what runs side by side takes more than it waits.
    let mut weight: Vec<f64> = all.iter().map(|one| one.took.max(1) as f64).collect();
    for at in (0..all.len()).rev() {
        let children: f64 = all[at].children.iter().map(|child| weight[*child]).sum();
        weight[at] = weight[at].max(children);
    }
    let whole: f64 = roots.iter().map(|root| weight[*root]).sum();
    let mut cells = Vec::new();
    let mut open: Vec<(usize, f64)> = Vec::new();
    let mut from = 0.0;
    for root in roots {
        open.push((root, from / whole));
        from += weight[root];
    }
    while let Some((at, from)) = open.pop() {
        let one = &all[at];
        let Merged { name, depth, took, count, .. } = one;
        let width = weight[at] / whole;
        cells.push(Cell { name: name.clone(), depth: *depth, from, width, took: *took, count: *count });
        let mut left = from;
        for child in &one.children {
            open.push((*child, left));
            left += weight[*child] / whole;
        }
    }
    cells
}

/// The picture. `class` tells how the cell of a name looks.
pub(crate) fn draw(cells: &[Cell], class: impl Fn(&str) -> String) -> Markup {
    let mut shown: Vec<&Cell> = cells.iter().collect();
    shown.sort_by(|a, b| b.width.total_cmp(&a.width));
    shown.truncate(MOST);
    let depth = shown.iter().map(|cell| cell.depth).max().unwrap_or(0);
    let height = (depth + 1) as f64 * ROW;
    html! {
        div.scroll {
            svg.flame role="img" aria-label={ "Flame graph: " (words::several(cells.len() as u64, "kind")) " of work" } viewBox={ "0 0 " (WIDTH) " " (height) } {
                @for cell in shown {
                    @let (x, width) = (cell.from * WIDTH, (cell.width * WIDTH - 1.0).max(0.5));
                    @let y = cell.depth as f64 * ROW;
                    g {
                        title { (clip(&cell.name, 200)) "\n" (words::micros(cell.took)) @if cell.count > 1 { ", " (cell.count) " times" } }
                        rect class=(class(&cell.name)) x=(px(x)) y=(px(y)) width=(px(width)) height=(px(ROW - 2.0)) rx="2" {}
                        @if width > 40.0 { text x=(px(x + 5.0)) y=(px(y + 15.0)) { (clip(&cell.name, (width / 6.6) as usize)) } }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree::rows;
    use super::*;
    use proptest::prelude::*;

    fn piece<'a>(id: &'a str, parent: Option<&'a str>, name: &str, took: u64) -> Piece<'a> {
        Piece { id, parent, begin: 0, took, name: name.to_owned() }
    }

    #[test]
    fn calls_of_one_name_are_one_cell() {
        let pieces = [
            piece("1", None, "checkout", 100),
            piece("2", Some("1"), "price", 20),
            piece("3", Some("1"), "price", 30),
            piece("4", Some("1"), "pay", 40),
        ];
        let cells = cells(&pieces, &rows(&pieces));
        let of = |name: &str| cells.iter().find(|cell| cell.name == name).unwrap();
        assert_eq!(cells.len(), 3);
        assert_eq!((of("price").count, of("price").took, of("price").width), (2, 50, 0.5));
        assert_eq!(of("pay").from, 0.5);
    }

    #[test]
    fn children_side_by_side_do_not_leave_their_parent() {
        let pieces =
            [piece("1", None, "a", 10), piece("2", Some("1"), "b", 10), piece("3", Some("1"), "c", 10)];
        let cells = cells(&pieces, &rows(&pieces));
        assert!(cells.iter().all(|cell| cell.from + cell.width <= 1.0 + 1e-9));
        assert_eq!(draw(&[], |_| String::new()).into_string().matches("<rect").count(), 0);
    }

    proptest! {
        #[test]
        fn cells_stay_within_the_picture(took in prop::collection::vec((0_u64..1 << 40, prop::option::of(0_usize..20)), 1..20)) {
            let ids: Vec<String> = (0..20).map(|n| n.to_string()).collect();
            let pieces: Vec<_> = took.iter().enumerate()
                .map(|(at, (took, parent))| piece(&ids[at], parent.map(|p| ids[p].as_str()), &ids[at % 5], *took)).collect();
            for cell in cells(&pieces, &rows(&pieces)) {
                prop_assert!(cell.from >= 0.0 && cell.from + cell.width <= 1.0 + 1e-9);
            }
        }
    }
}
