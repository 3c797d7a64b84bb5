//! The spans of a trace as the tree that they are.

use std::collections::HashMap;

/// A piece of work, without what it was.
#[derive(Clone, Debug)]
pub(crate) struct Piece<'a> {
    pub(crate) id: &'a str,
    pub(crate) parent: Option<&'a str>,
    /// Microseconds from any fixed moment.
    pub(crate) begin: u64,
    pub(crate) took: u64,
    /// Who did what: those of one name can be taken together.
    pub(crate) name: String,
}

/// A piece in the order of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// Which piece.
    pub(crate) piece: usize,
    pub(crate) depth: usize,
    /// The row that caused it.
    pub(crate) parent: Option<usize>,
}

/// Parents before their children, children by the time they began. A piece whose parent is not there, or is caused by it in
/// turn, is a root.
pub(crate) fn rows(pieces: &[Piece<'_>]) -> Vec<Row> {
    let by_id: HashMap<&str, usize> =
        pieces.iter().enumerate().rev().map(|(at, piece)| (piece.id, at)).collect();
    let mut children: Vec<Vec<usize>> = vec![Vec::new(); pieces.len()];
    let mut roots = Vec::new();
    for (at, piece) in pieces.iter().enumerate() {
        match piece.parent.and_then(|parent| by_id.get(parent)).filter(|parent| **parent != at) {
            Some(parent) => children[*parent].push(at),
            None => roots.push(at),
        }
    }
    let by_time = |list: &mut Vec<usize>| list.sort_by_key(|at| (pieces[*at].begin, *at));
    children.iter_mut().for_each(by_time);
    by_time(&mut roots);
    let mut rows = Vec::with_capacity(pieces.len());
    let mut seen = vec![false; pieces.len()];
    // What hangs in a circle is reached from none of the roots.
    for root in roots.into_iter().chain(0..pieces.len()) {
        let mut open = vec![(root, 0, None)];
        while let Some((piece, depth, parent)) = open.pop() {
            if std::mem::replace(&mut seen[piece], true) {
                continue;
            }
            let row = rows.len();
            rows.push(Row { piece, depth, parent });
            open.extend(children[piece].iter().rev().map(|child| (*child, depth + 1, Some(row))));
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn piece<'a>(id: &'a str, parent: Option<&'a str>, begin: u64) -> Piece<'a> {
        Piece { id, parent, begin, took: 10, name: id.to_owned() }
    }

    #[test]
    fn children_follow_their_parent_in_time() {
        let pieces = [
            piece("c", Some("a"), 5),
            piece("a", None, 0),
            piece("b", Some("a"), 2),
            piece("d", Some("b"), 3),
        ];
        let rows = rows(&pieces);
        let told: Vec<_> = rows.iter().map(|row| (pieces[row.piece].id, row.depth)).collect();
        assert_eq!(told, [("a", 0), ("b", 1), ("d", 2), ("c", 1)]);
        assert_eq!(rows[2].parent, Some(1));
    }

    #[test]
    fn an_orphan_and_a_circle_are_shown_too() {
        let pieces = [
            piece("a", Some("b"), 0),
            piece("b", Some("a"), 1),
            piece("x", Some("gone"), 2),
            piece("y", Some("y"), 3),
        ];
        assert_eq!(rows(&pieces).len(), 4);
    }

    proptest! {
        #[test]
        fn every_piece_has_one_row(parents in prop::collection::vec(prop::option::of(0_usize..30), 0..30)) {
            let names: Vec<String> = (0..30).map(|n| format!("s{n}")).collect();
            let pieces: Vec<_> = parents.iter().enumerate()
                .map(|(at, parent)| piece(&names[at], parent.map(|p| names[p].as_str()), at as u64)).collect();
            let mut found: Vec<_> = rows(&pieces).iter().map(|row| row.piece).collect();
            found.sort_unstable();
            prop_assert_eq!(found, (0..pieces.len()).collect::<Vec<_>>());
        }
    }
}
