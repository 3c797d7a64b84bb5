//! A trace over time: where each piece of work begins, and how long it is.

use maud::{Markup, html};

use super::scale::px;
use super::tree::Piece;

/// Width of a bar's field, in its own units.
const WIDTH: f64 = 1000.0;

/// The time from the first beginning to the last end, in microseconds.
pub(crate) fn bounds(pieces: &[Piece<'_>]) -> (u64, u64) {
    let from = pieces.iter().map(|piece| piece.begin).min().unwrap_or(0);
    let until = pieces.iter().map(|piece| piece.begin.saturating_add(piece.took)).max().unwrap_or(0);
    (from, until.max(from + 1))
}

/// Where a piece is within the bounds: its beginning and its width, of 1,000.
pub(crate) fn bar(piece: &Piece<'_>, (from, until): (u64, u64)) -> (f64, f64) {
    let span = (until - from) as f64;
    let begin = (piece.begin.saturating_sub(from) as f64 / span * WIDTH).min(WIDTH - 2.0);
    let width = (piece.took as f64 / span * WIDTH).clamp(2.0, WIDTH - begin);
    (begin, width)
}

/// The bar of one row.
pub(crate) fn draw(piece: &Piece<'_>, bounds: (u64, u64), class: &str) -> Markup {
    let (begin, width) = bar(piece, bounds);
    html! {
        svg.bar viewBox="0 0 1000 16" preserveAspectRatio="none" aria-hidden="true" {
            @for quarter in [0, 250, 500, 750] { path.rule d={ "M" (quarter) " 0v16" } {} }
            rect class=(class) x=(px(begin)) y="2" width=(px(width)) height="12" rx="2" {}
        }
    }
}

/// A moment in a row of its own.
pub(crate) fn moment(at: u64, bounds: (u64, u64), class: &str) -> Markup {
    let span = (bounds.1 - bounds.0) as f64;
    let x = (at.saturating_sub(bounds.0) as f64 / span * WIDTH).clamp(8.0, WIDTH - 8.0);
    html! {
        svg.bar viewBox="0 0 1000 16" preserveAspectRatio="none" aria-hidden="true" {
            @for quarter in [0, 250, 500, 750] { path.rule d={ "M" (quarter) " 0v16" } {} }
            path.moment.(class) d={ "M" (px(x)) " 8h0" } {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn piece(begin: u64, took: u64) -> Piece<'static> {
        Piece { id: "a", parent: None, begin, took, name: String::new() }
    }

    proptest! {
        #[test]
        fn every_bar_is_seen_and_within_its_field(pieces in prop::collection::vec((0_u64..1 << 50, 0_u64..1 << 40), 1..20)) {
            let pieces: Vec<_> = pieces.into_iter().map(|(begin, took)| piece(begin, took)).collect();
            let bounds = bounds(&pieces);
            for piece in &pieces {
                let (begin, width) = bar(piece, bounds);
                prop_assert!(begin >= 0.0 && width >= 2.0 - 1e-9 && begin + width <= WIDTH + 1e-6, "{begin} {width}");
            }
        }
    }
}
