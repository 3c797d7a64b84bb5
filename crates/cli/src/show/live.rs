//! A few lines at the bottom of the terminal that are drawn again in place.

/// Begin and end of a synchronized update: the terminal shows a frame whole. Those that do not know it
/// ignore it.
const BEGIN: &str = "\u{1b}[?2026h";
const END: &str = "\u{1b}[?2026l";

/// What is on the screen now.
#[derive(Clone, Debug, Default)]
pub(crate) struct Live {
    drawn: usize,
}

impl Live {
    /// Whether anything is drawn.
    pub(crate) const fn is_drawn(&self) -> bool {
        self.drawn > 0
    }

    /// The bytes that put `above` over the lines in place for good and draw `lines` instead of them.
    /// `above` is whole lines, each with its end. Lines must fit the width of the terminal. Each is written
    /// over the old one and only its rest is erased, so that nothing flickers.
    pub(crate) fn frame(&mut self, above: &str, lines: &[String]) -> String {
        let mut bytes = String::from(BEGIN);
        if self.drawn > 0 {
            bytes.push_str(&format!("\u{1b}[{}A\r", self.drawn));
        }
        for line in above.lines().chain(lines.iter().map(String::as_str)) {
            bytes.push_str(line);
            bytes.push_str("\u{1b}[K\n");
        }
        bytes.push_str("\u{1b}[J");
        bytes.push_str(END);
        self.drawn = lines.len();
        bytes
    }

    /// The bytes that take the lines away, or nothing when none are drawn.
    pub(crate) fn clear(&mut self) -> String {
        if self.drawn == 0 { String::new() } else { self.frame("", &[]) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(bytes: &str) -> String {
        bytes.replace(BEGIN, "").replace(END, "").replace('\u{1b}', "^").replace('\r', "")
    }

    #[test]
    fn a_frame_is_drawn_over_the_last_one() {
        let mut live = Live::default();
        assert_eq!(seen(&live.frame("", &["one".into(), "two".into()])), "one^[K\ntwo^[K\n^[J");
        assert_eq!(seen(&live.frame("said\n", &["one".into()])), "^[2Asaid^[K\none^[K\n^[J");
        assert_eq!(seen(&live.clear()), "^[1A^[J");
        assert_eq!(live.clear(), "");
    }
}
