//! Colours, decided once per stream.

use std::fmt::Display;

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Color, Style};

/// Adds colours, or leaves text as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Paint {
    on: bool,
}

/// Colours for names, chosen to be readable on light and dark ground; red and the greys mean something
/// else.
const NAME_COLORS: [AnsiColor; 10] = [
    AnsiColor::Cyan,
    AnsiColor::Yellow,
    AnsiColor::Green,
    AnsiColor::Magenta,
    AnsiColor::Blue,
    AnsiColor::BrightCyan,
    AnsiColor::BrightYellow,
    AnsiColor::BrightGreen,
    AnsiColor::BrightMagenta,
    AnsiColor::BrightBlue,
];

impl Paint {
    /// Colours on or off.
    pub(crate) const fn new(on: bool) -> Self {
        Self { on }
    }

    /// What standard output takes: `NO_COLOR`, `CLICOLOR`, `CLICOLOR_FORCE`, `TERM` and whether it is a
    /// terminal.
    pub(crate) fn stdout() -> Self {
        Self::new(AutoStream::choice(&std::io::stdout()) != ColorChoice::Never)
    }

    /// The same for standard error.
    pub(crate) fn stderr() -> Self {
        Self::new(AutoStream::choice(&std::io::stderr()) != ColorChoice::Never)
    }

    /// Whether colours are added.
    pub(crate) const fn is_on(self) -> bool {
        self.on
    }

    /// `text` in this style.
    pub(crate) fn style(self, style: Style, text: impl Display) -> String {
        if self.on && style != Style::new() { format!("{style}{text}{style:#}") } else { text.to_string() }
    }

    /// Bold.
    pub(crate) fn bold(self, text: impl Display) -> String {
        self.style(Style::new().bold(), text)
    }

    /// Less important.
    pub(crate) fn dim(self, text: impl Display) -> String {
        self.style(dim(), text)
    }

    /// Good.
    pub(crate) fn good(self, text: impl Display) -> String {
        self.style(good(), text)
    }

    /// Worth a look.
    pub(crate) fn warn(self, text: impl Display) -> String {
        self.style(warn(), text)
    }

    /// Broken.
    pub(crate) fn bad(self, text: impl Display) -> String {
        self.style(bad(), text)
    }

    /// `text` in the colour that belongs to `name`: the same one in every run.
    pub(crate) fn named(self, name: &str, text: impl Display) -> String {
        self.style(name_style(name), text)
    }
}

/// The style of what is less important.
pub(crate) const fn dim() -> Style {
    Style::new().dimmed()
}

/// The style of what is as it should be.
pub(crate) const fn good() -> Style {
    Style::new().fg_color(Some(Color::Ansi(AnsiColor::Green)))
}

/// The style of what is worth a look.
pub(crate) const fn warn() -> Style {
    Style::new().fg_color(Some(Color::Ansi(AnsiColor::Yellow)))
}

/// The style of what is broken.
pub(crate) const fn bad() -> Style {
    Style::new().bold().fg_color(Some(Color::Ansi(AnsiColor::Red)))
}

/// The style of a name: FNV-1a over its bytes picks one of [`NAME_COLORS`], so that a service keeps its
/// colour when others come and go.
pub(crate) fn name_style(name: &str) -> Style {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let index = ((hash ^ (hash >> 32)) % NAME_COLORS.len() as u64) as usize;
    Style::new().fg_color(NAME_COLORS.get(index).copied().map(Color::Ansi))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_escape_is_written_when_colours_are_off() {
        assert_eq!(Paint::new(false).bad("x"), "x");
        assert_eq!(Paint::new(true).dim("x"), "\u{1b}[2mx\u{1b}[0m");
    }

    #[test]
    fn a_name_keeps_its_colour() {
        assert_eq!(name_style("catalog"), name_style("catalog"));
        let colours: std::collections::HashSet<_> = ["catalog", "orders", "payments", "storefront"]
            .map(|name| format!("{:?}", name_style(name)))
            .into();
        assert!(colours.len() > 1);
    }
}
