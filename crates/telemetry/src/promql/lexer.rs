//! A text as words of the language, each with its place.

use super::PromError;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// A name: of a metric, a label, a function, or a keyword.
    Word(String),
    Number(f64),
    /// In milliseconds.
    Duration(i64),
    Text(String),
    /// Brackets, operators, `,`, `:`, `@`.
    Sign(&'static str),
    End,
}

/// The longer ones first.
const SIGNS: [&str; 25] = [
    "==", "!=", "=~", "!~", ">=", "<=", "(", ")", "{", "}", "[", "]", ",", "+", "-", "*", "/", "%", "^", "=",
    ">", "<", "@", ":", ";",
];

/// Words and their places, from 0. The last one is [`Token::End`].
pub(super) fn words(text: &str) -> Result<Vec<(Token, usize)>, PromError> {
    let mut words = Vec::new();
    let (mut rest, mut in_range) = (text, false);
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\n', '\r']);
        let at = text.len() - rest.len();
        let Some(first) = rest.chars().next() else {
            words.push((Token::End, at));
            return Ok(words);
        };
        if first == '#' {
            rest = rest.find('\n').map_or("", |end| &rest[end..]);
            continue;
        }
        let (token, length) = match first {
            '"' | '\'' | '`' => quoted(rest, first).map_err(|why| PromError::Syntax { at: at + 1, why })?,
            '0'..='9' | '.' => {
                number(rest).map_err(|why| PromError::Syntax { at: at + 1, why: why.to_owned() })?
            }
            _ if begins_word(first) && !(in_range && first == ':') => {
                let end = rest.find(|c: char| !continues_word(c)).unwrap_or(rest.len());
                (Token::Word(rest[..end].to_owned()), end)
            }
            _ => match SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
                Some(sign) => (Token::Sign(sign), sign.len()),
                None => {
                    return Err(PromError::Syntax {
                        at: at + 1,
                        why: format!("unexpected character: {first:?}"),
                    });
                }
            },
        };
        match token {
            Token::Sign("[") => in_range = true,
            Token::Sign("]") => in_range = false,
            _ => {}
        }
        words.push((token, at));
        rest = &rest[length..];
    }
}

fn begins_word(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_' || c == ':'
}

fn continues_word(c: char) -> bool {
    begins_word(c) || c.is_ascii_digit()
}

/// A number or a duration, and how long it is.
fn number(text: &str) -> Result<(Token, usize), &'static str> {
    const BAD: &str = "bad number or duration syntax";
    let end = text.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(text.len());
    if let Some(ms) = duration(&text[..end]) {
        return Ok((Token::Duration(ms), end));
    }
    if let Some(digits) = text[..end].strip_prefix("0x").or_else(|| text[..end].strip_prefix("0X")) {
        let number = u64::from_str_radix(digits, 16).map_err(|_| BAD)?;
        #[expect(clippy::cast_precision_loss, reason = "numbers of the language are such")]
        return Ok((Token::Number(number as f64), end));
    }
    let bytes = text.as_bytes();
    let digits = |mut at: usize| {
        while bytes.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        at
    };
    let mut end = digits(0);
    if bytes.get(end) == Some(&b'.') {
        end = digits(end + 1);
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        end = digits(end + 1 + sign);
    }
    if text[end..].starts_with(|c: char| continues_word(c) && c != ':') {
        return Err(BAD);
    }
    Ok((Token::Number(text[..end].parse().map_err(|_| BAD)?), end))
}

/// `1h30m` in milliseconds: units from the largest down, each once.
pub(super) fn duration(text: &str) -> Option<i64> {
    const UNITS: [(&str, i64); 7] = [
        ("y", 365 * 24 * 3_600_000),
        ("w", 7 * 24 * 3_600_000),
        ("d", 24 * 3_600_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1000),
        ("ms", 1),
    ];
    let (mut rest, mut total, mut next) = (text, 0i64, 0);
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit())?;
        let count: i64 = rest[..end].parse().ok()?;
        let unit_end =
            rest[end..].find(|c: char| !c.is_ascii_alphabetic()).map_or(rest.len(), |length| end + length);
        let which = UNITS[next..].iter().position(|(name, _)| *name == &rest[end..unit_end])? + next;
        total = total.checked_add(count.checked_mul(UNITS[which].1)?)?;
        next = which + 1;
        rest = &rest[unit_end..];
    }
    (next > 0).then_some(total)
}

/// A text in quotes, and how long it is with them.
fn quoted(text: &str, quote: char) -> Result<(Token, usize), String> {
    let mut unquoted = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            _ if c == quote => return Ok((Token::Text(unquoted), at + 1)),
            '\n' if quote != '`' => break,
            '\\' if quote != '`' => unquoted.push(escape(&mut chars).ok_or("unknown escape sequence")?),
            _ => unquoted.push(c),
        }
    }
    Err("unterminated quoted string".into())
}

fn escape(chars: &mut impl Iterator<Item = (usize, char)>) -> Option<char> {
    let code = |digits: usize, chars: &mut dyn Iterator<Item = (usize, char)>| {
        let mut code = 0u32;
        for _ in 0..digits {
            code = code.checked_mul(16)?.checked_add(chars.next()?.1.to_digit(16)?)?;
        }
        char::from_u32(code)
    };
    Some(match chars.next()?.1 {
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        c @ ('\\' | '\'' | '"') => c,
        'x' => code(2, chars)?,
        'u' => code(4, chars)?,
        'U' => code(8, chars)?,
        _ => return None,
    })
}
