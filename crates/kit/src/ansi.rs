//! Text that was written for a terminal.

use std::borrow::Cow;

/// Text without the sequences that colour it (ECMA-48, control sequences); of others the escape alone is taken out.
pub fn stripped(text: &str) -> Cow<'_, str> {
    if !text.contains('\x1b') {
        return text.into();
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\x1b') {
        plain.push_str(before);
        rest = match after.strip_prefix('[') {
            Some(sequence) => {
                let end = sequence.find(|c: char| ('@'..='~').contains(&c));
                end.map_or("", |end| &sequence[end + 1..])
            }
            None => after,
        };
    }
    plain.push_str(rest);
    plain.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_go_and_text_stays() {
        assert!(matches!(stripped("plain"), Cow::Borrowed("plain")));
        assert_eq!(stripped("\x1b[1;31mred\x1b[0m, \x1bMthen"), "red, Mthen");
        assert_eq!(stripped("cut \x1b[31"), "cut ");
    }
}
