//! Tables: columns aligned, two blanks between them, no lines.

use anstyle::Style;

use super::{Paint, clean};

/// Blanks between two columns.
const GAP: usize = 2;

/// A column is never cut to fewer columns than this.
const LEAST: usize = 8;

/// A text with a style.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// A cell in the terminal's own style. The text may come from anywhere.
    pub(crate) fn new(text: impl AsRef<str>) -> Self {
        Self::styled(Style::new(), text)
    }

    /// A cell in a style.
    pub(crate) fn styled(style: Style, text: impl AsRef<str>) -> Self {
        Self { text: clean::text(text.as_ref()), style }
    }

    /// A dash, for what there is nothing to say about.
    pub(crate) fn none() -> Self {
        Self::styled(super::paint::dim(), "–")
    }

    /// `text`, or a dash.
    pub(crate) fn maybe(text: Option<impl AsRef<str>>) -> Self {
        text.map_or_else(Self::none, Self::new)
    }
}

/// Which side of a column its texts stand on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A table.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    head: Vec<(&'static str, Side)>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table with these columns.
    pub(crate) fn new(head: &[(&'static str, Side)]) -> Self {
        Self { head: head.to_vec(), rows: Vec::new() }
    }

    /// Adds a row; it has as many cells as the table has columns.
    pub(crate) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// The lines, head first. With `columns` no line is longer: the longest columns are cut first.
    pub(crate) fn lines(&self, columns: Option<usize>, paint: Paint) -> Vec<String> {
        let widths = self.widths(columns);
        let head: Vec<Cell> =
            self.head.iter().map(|(title, _)| Cell::styled(Style::new().bold(), title)).collect();
        let mut lines = vec![self.line(&head, &widths, paint)];
        lines.extend(self.rows.iter().map(|row| self.line(row, &widths, paint)));
        match columns {
            Some(columns) => lines.iter().map(|line| clean::cut(line, columns)).collect(),
            None => lines,
        }
    }

    /// The lines as one text.
    pub(crate) fn text(&self, columns: Option<usize>, paint: Paint) -> String {
        self.lines(columns, paint).iter().map(|line| format!("{line}\n")).collect()
    }

    fn widths(&self, columns: Option<usize>) -> Vec<usize> {
        let mut widths: Vec<usize> = self.head.iter().map(|(title, _)| clean::width(title)).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(clean::width(&cell.text));
            }
        }
        let Some(columns) = columns else { return widths };
        let room = columns.saturating_sub(GAP * widths.len().saturating_sub(1));
        loop {
            let excess = widths.iter().sum::<usize>().saturating_sub(room);
            let Some(longest) = widths.iter().copied().max().filter(|longest| *longest > LEAST) else {
                return widths;
            };
            if excess == 0 {
                return widths;
            }
            // Down to the second longest at most, so that no column pays alone.
            let next = widths.iter().copied().filter(|w| *w < longest).max().unwrap_or(0).max(LEAST);
            if let Some(width) = widths.iter_mut().rev().find(|width| **width == longest) {
                *width -= excess.min((longest - next).max(1));
            }
        }
    }

    fn line(&self, cells: &[Cell], widths: &[usize], paint: Paint) -> String {
        let mut line = String::new();
        for (index, (cell, width)) in cells.iter().zip(widths).enumerate() {
            if index > 0 {
                line.push_str(&" ".repeat(GAP));
            }
            let text = clean::cut(&cell.text, *width);
            let padding = " ".repeat(width - clean::width(&text));
            let text = paint.style(cell.style, text);
            match self.head.get(index) {
                Some((_, Side::Right)) => line.push_str(&format!("{padding}{text}")),
                _ if index + 1 == widths.len() => line.push_str(&text),
                _ => line.push_str(&format!("{text}{padding}")),
            }
        }
        line.trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Table {
        let mut table = Table::new(&[("NAME", Side::Left), ("PID", Side::Right), ("DETAIL", Side::Left)]);
        table.row(vec![Cell::new("catalog-1"), Cell::new("7"), Cell::new("a long story of what went wrong")]);
        table.row(vec![Cell::new("x"), Cell::new("12345"), Cell::none()]);
        table
    }

    #[test]
    fn columns_stand_under_their_titles() {
        insta::assert_snapshot!(sample().text(None, Paint::new(false)), @r"
        NAME         PID  DETAIL
        catalog-1      7  a long story of what went wrong
        x          12345  –
        ");
    }

    #[test]
    fn the_longest_column_is_cut_first_when_room_is_short() {
        insta::assert_snapshot!(sample().text(Some(34), Paint::new(false)), @r"
        NAME         PID  DETAIL
        catalog-1      7  a long story of…
        x          12345  –
        ");
        for columns in 0..60 {
            for line in sample().lines(Some(columns), Paint::new(true)) {
                assert!(clean::width(&line) <= columns);
            }
        }
    }
}
