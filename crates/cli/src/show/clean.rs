//! Makes text from services safe for a terminal. Their output and their error texts are not trusted:
//! an escape sequence could move the cursor over what Atoll printed, set the title, or answer a query
//! into the shell's input.

/// What a sanitizer finds at one place of a text.
enum Piece<'a> {
    /// Harmless text.
    Text(&'a str),
    /// A complete `ESC [ … m`: colours and weight.
    Colour(&'a str),
}

/// One line without anything that moves, rings or queries. Of text that overwrites itself with carriage
/// returns (progress bars) the last state stays. Colours stay when `colours` is set, and are reset at the
/// end of the line.
pub(crate) fn line(text: &str, colours: bool) -> String {
    let text = last_overwrite(text);
    if !text.chars().any(is_control) {
        return text.to_owned();
    }
    let mut clean = String::with_capacity(text.len());
    let mut coloured = false;
    for piece in pieces(text) {
        match piece {
            Piece::Text(text) => clean.push_str(text),
            Piece::Colour(sequence) if colours => {
                clean.push_str(sequence);
                coloured = true;
            }
            Piece::Colour(_) => {}
        }
    }
    if coloured {
        clean.push_str("\u{1b}[0m");
    }
    clean
}

/// Text for a cell or a message: as [`line`] without colours, line ends become spaces.
pub(crate) fn text(text: &str) -> String {
    line(&text.replace(['\n', '\r', '\t'], " "), false)
}

fn last_overwrite(text: &str) -> &str {
    let text = text.trim_end_matches(['\r', '\n']);
    text.rsplit_once('\r').map_or(text, |(_, last)| last)
}

/// Controls (C0 except tab, DEL, C1) and the marks that turn the direction of text around.
fn is_control(c: char) -> bool {
    match c {
        '\t' => false,
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{61c}' | '\u{200e}' | '\u{200f}' => true,
        '\u{2028}' | '\u{2029}' => true,
        c => c.is_control(),
    }
}

fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(is_control) {
        if at > 0 {
            pieces.push(Piece::Text(&rest[..at]));
        }
        rest = &rest[at..];
        let (length, colour) = escape(rest);
        if colour {
            pieces.push(Piece::Colour(&rest[..length]));
        }
        rest = &rest[length..];
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest));
    }
    pieces
}

/// The length in bytes of the control or escape sequence (ECMA-48) at the start of `text`, and whether it
/// is one for colours.
fn escape(text: &str) -> (usize, bool) {
    let first = text.chars().next().map_or(0, char::len_utf8);
    let after_introducer = match text.as_bytes() {
        [0x1b, b'[', ..] => 2,
        [0x1b, b']' | b'P' | b'X' | b'^' | b'_', ..] => return (string_length(text, 2), false),
        // Two-byte escapes and character sets: ESC, intermediates, one final.
        [0x1b, ..] => {
            let intermediates = text[1..].bytes().take_while(|b| (0x20..0x30).contains(b)).count();
            let end = 1 + intermediates;
            let last = text[end..].bytes().next().is_some_and(|b| (0x30..0x7f).contains(&b));
            return (end + usize::from(last), false);
        }
        [0xc2, 0x9b, ..] => 2,
        [0xc2, 0x90 | 0x98 | 0x9d | 0x9e | 0x9f, ..] => return (string_length(text, 2), false),
        _ => return (first, false),
    };
    let body = &text.as_bytes()[after_introducer..];
    let parameters = body.iter().take_while(|b| (0x20..0x40).contains(*b)).count();
    let plain = body[..parameters].iter().all(|b| b.is_ascii_digit() || matches!(b, b';' | b':'));
    match body.get(parameters) {
        Some(last @ 0x40..=0x7e) => {
            let colour = *last == b'm' && plain && text.starts_with('\u{1b}');
            (after_introducer + parameters + 1, colour)
        }
        _ => (after_introducer + parameters, false),
    }
}

/// The length of an OSC, DCS, … string up to and including BEL or ST; to the end of the line when it is
/// never closed.
fn string_length(text: &str, from: usize) -> usize {
    for (at, c) in text[from..].char_indices() {
        let at = from + at;
        match c {
            '\u{07}' | '\u{9c}' => return at + c.len_utf8(),
            '\u{1b}' if text[at..].starts_with("\u{1b}\\") => return at + 2,
            _ => {}
        }
    }
    text.len()
}

/// Columns a text takes on a terminal. Escape sequences count as nothing, wide characters as two; where a
/// terminal may disagree (combining marks) this counts too many rather than too few.
pub(crate) fn width(text: &str) -> usize {
    let mut columns = 0;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if is_control(c) {
            rest = &rest[escape(rest).0..];
        } else {
            columns += char_width(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    columns
}

fn char_width(c: char) -> usize {
    match u32::from(c) {
        9 => 8,
        0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff => 2,
        0xfe30..=0xfe6f | 0xff00..=0xff60 | 0xffe0..=0xffe6 | 0x1f000..=0x1faff | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

/// Cuts a text to `columns`; what was cut shows as `…`. Colours are kept and closed.
pub(crate) fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let room = columns.saturating_sub(1);
    let mut kept = String::new();
    let mut used = 0;
    let mut coloured = false;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if is_control(c) {
            let (length, colour) = escape(rest);
            if colour {
                kept.push_str(&rest[..length]);
                coloured = true;
            }
            rest = &rest[length..];
            continue;
        }
        if used + char_width(c) > room {
            break;
        }
        used += char_width(c);
        kept.push(c);
        rest = &rest[c.len_utf8()..];
    }
    if columns > 0 {
        kept.push('…');
    }
    if coloured {
        kept.push_str("\u{1b}[0m");
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn colours_stay_and_everything_else_goes() {
        for (dirty, clean) in [
            ("plain", "plain"),
            ("\u{1b}[31mred", "\u{1b}[31mred\u{1b}[0m"),
            ("\u{1b}[2J\u{1b}[Hgone", "gone"),
            ("\u{1b}]0;title\u{07}text", "text"),
            ("\u{1b}]8;;http://x\u{1b}\\link\u{1b}]8;;\u{1b}\\", "link"),
            ("never closed \u{1b}]0;title", "never closed "),
            ("\u{1b}P+q\u{1b}\\after", "after"),
            ("\u{1b}(Bset", "set"),
            ("\u{1b}cfull reset", "full reset"),
            ("bell\u{07} back\u{08}", "bell back"),
            ("\u{9b}31mc1", "c1"),
            ("10 %\r50 %\r100 %\r", "100 %"),
            ("\u{1b}[?25l\u{1b}[6nquery", "query"),
            ("\u{202e}turned", "turned"),
            ("\u{61c}turned", "turned"),
            ("tab\tstays", "tab\tstays"),
            ("cut short \u{1b}[3", "cut short "),
            ("\u{1b}", ""),
        ] {
            assert_eq!(line(dirty, true), clean, "{dirty:?}");
        }
        assert_eq!(line("\u{1b}[31mred", false), "red");
    }

    #[test]
    fn a_long_text_is_cut_to_the_columns_it_may_take() {
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(cut("abcd", 4), "abcd");
        assert_eq!(cut("漢字漢字", 5), "漢字…");
        assert_eq!(cut("\u{1b}[31mabcdef\u{1b}[0m", 3), "\u{1b}[31mab…\u{1b}[0m");
        assert_eq!(cut("abc", 0), "");
    }

    proptest! {
        #[test]
        fn no_line_keeps_a_control(text in "(\\PC|\u{1b}|\\[|\\]|[0-9;m]|\u{07}|\u{9b}|\r|\u{202e}){0,40}") {
            prop_assert!(!line(&text, false).chars().any(is_control));
            let coloured = line(&text, true);
            for piece in coloured.split('\u{1b}').skip(1) {
                let end = piece.find('m').unwrap_or(0);
                prop_assert!(end > 0 && piece[1..end].chars().all(|c| c.is_ascii_digit() || ";:".contains(c)), "{:?}", coloured);
            }
        }

        #[test]
        fn a_cut_text_fits(text in "\\PC{0,40}", columns in 0usize..30) {
            prop_assert!(width(&cut(&text, columns)) <= columns);
        }
    }
}
