//! What kind of terminal there is, if any.

use std::io::{IsTerminal, stdout};

/// Columns and rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    /// Columns.
    pub(crate) columns: usize,
    /// Rows.
    pub(crate) rows: usize,
}

/// What is assumed of a terminal that does not say.
const USUAL: Size = Size { columns: 80, rows: 24 };

/// The size of the terminal behind standard output; `None` when it is not a terminal.
pub(crate) fn size() -> Option<Size> {
    if !stdout().is_terminal() {
        return None;
    }
    let asked = rustix::termios::tcgetwinsize(stdout()).ok();
    let asked = asked.filter(|size| size.ws_col > 0 && size.ws_row > 0);
    Some(asked.map_or(USUAL, |size| Size { columns: size.ws_col.into(), rows: size.ws_row.into() }))
}

/// Columns of standard output; `None` when it is not a terminal: nothing is cut then.
pub(crate) fn columns() -> Option<usize> {
    size().map(|size| size.columns)
}

/// Whether the cursor may be moved: a terminal, and not a dumb one.
pub(crate) fn can_redraw() -> bool {
    stdout().is_terminal() && std::env::var_os("TERM").is_some_and(|term| term != "dumb")
}
