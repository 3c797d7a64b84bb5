//! Texts of a policy that stand for others: with `*` and `?`, and with variables such as `${aws:username}`.

use std::borrow::Cow;

use super::Context;

/// A text with wildcards and variables.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pattern {
    parts: Vec<Part>,
    has_variables: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Part {
    /// This character.
    Char(char),
    /// `?`: any one character.
    One,
    /// `*`: any characters, none too.
    Any,
    /// What the context has under this key.
    Variable { key: String, default: Option<String> },
}

/// What is read as more than itself.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Syntax {
    /// `*` and `?`.
    pub wildcards: bool,
    /// `${…}`.
    pub variables: bool,
}

impl Pattern {
    /// Reads a text; `Err` has what is wrong with it.
    pub(super) fn parse(text: &str, syntax: Syntax) -> Result<Self, String> {
        let mut parts = Vec::with_capacity(text.len());
        let mut rest = text;
        while let Some(next) = rest.chars().next() {
            if syntax.variables && rest.starts_with("${") {
                let end = rest.find('}').ok_or("`${` without `}`")?;
                parts.push(variable(&rest[2..end])?);
                rest = &rest[end + 1..];
                continue;
            }
            parts.push(match next {
                '*' if syntax.wildcards => Part::Any,
                '?' if syntax.wildcards => Part::One,
                _ => Part::Char(next),
            });
            rest = &rest[next.len_utf8()..];
        }
        let has_variables = parts.iter().any(|part| matches!(part, Part::Variable { .. }));
        Ok(Self { parts, has_variables })
    }

    /// Whether a text is one that this stands for.
    pub(super) fn matches(&self, text: &str, ignore_case: bool, context: &Context) -> bool {
        self.resolved(context).is_some_and(|parts| glob(&parts, text, ignore_case))
    }

    /// Whether an ARN is one that this stands for: wildcards stay within its parts between colons, of which the
    /// last may have more.
    pub(super) fn matches_arn(&self, arn: &str, context: &Context) -> bool {
        const PARTS: usize = 6;
        let Some(parts) = self.resolved(context) else { return false };
        let colons = parts.iter().filter(|part| **part == Part::Char(':')).count();
        let count = (colons + 1).min(PARTS);
        let mut pieces = parts.splitn(count, |part| *part == Part::Char(':'));
        let mut texts = arn.splitn(count, ':');
        loop {
            match (pieces.next(), texts.next()) {
                (None, None) => return true,
                (Some(piece), Some(text)) if glob(piece, text, false) => {}
                _ => return false,
            }
        }
    }

    /// Whether each of its variables has one value.
    pub(super) fn is_clear(&self, context: &Context) -> bool {
        self.resolved(context).is_some()
    }

    /// With the values of its variables; `None` if one has none, or several.
    fn resolved(&self, context: &Context) -> Option<Cow<'_, [Part]>> {
        if !self.has_variables {
            return Some(Cow::Borrowed(&self.parts));
        }
        let mut parts = Vec::with_capacity(self.parts.len());
        for part in &self.parts {
            let Part::Variable { key, default } = part else {
                parts.push(part.clone());
                continue;
            };
            let value = match context.values(key) {
                [] => default.as_deref()?,
                [value] => value,
                _ => return None,
            };
            // What came with the request is no wildcard.
            parts.extend(value.chars().map(Part::Char));
        }
        Some(Cow::Owned(parts))
    }
}

/// `aws:username`, `aws:username, 'nobody'` or one of the characters that mean something: `*`, `?`, `$`.
fn variable(text: &str) -> Result<Part, String> {
    let (key, default) = match text.split_once(',') {
        Some((key, default)) => (key.trim(), Some(default.trim())),
        None => (text.trim(), None),
    };
    if default.is_none()
        && let "*" | "?" | "$" = key
    {
        return Ok(Part::Char(key.chars().next().unwrap_or_default()));
    }
    let is_key = |byte: u8| byte.is_ascii_alphanumeric() || b":/-_.+=@".contains(&byte);
    if key.is_empty() || !key.bytes().all(is_key) {
        return Err(format!("`${{{text}}}` is no variable"));
    }
    let default = match default {
        None => None,
        Some(text) => Some(
            text.strip_prefix('\'')
                .and_then(|text| text.strip_suffix('\''))
                .ok_or_else(|| format!("the default in `${{{key}, …}}` must stand in single quotes"))?
                .to_owned(),
        ),
    };
    Ok(Part::Variable { key: key.to_ascii_lowercase(), default })
}

/// Goes on from the last `*` when it does not fit: at worst the product of both lengths.
fn glob(pattern: &[Part], text: &str, ignore_case: bool) -> bool {
    let same = |a: char, b: char| a == b || (ignore_case && a.to_lowercase().eq(b.to_lowercase()));
    let (mut at, mut rest) = (0, text.chars());
    let mut last: Option<(usize, std::str::Chars<'_>)> = None;
    loop {
        let mut ahead = rest.clone();
        match (pattern.get(at), ahead.next()) {
            (Some(Part::Any), _) => {
                at += 1;
                last = Some((at, rest.clone()));
                continue;
            }
            (Some(Part::One), Some(_)) => {
                at += 1;
                rest = ahead;
                continue;
            }
            (Some(Part::Char(wanted)), Some(is)) if same(*wanted, is) => {
                at += 1;
                rest = ahead;
                continue;
            }
            (None, None) => return true,
            _ => {}
        }
        let Some((from, mut again)) = last.take() else { return false };
        if again.next().is_none() {
            return false;
        }
        at = from;
        rest = again.clone();
        last = Some((from, again));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BOTH: Syntax = Syntax { wildcards: true, variables: true };

    fn matches(pattern: &str, text: &str) -> bool {
        let mut context = Context::default();
        context.add("aws:username", "ada*");
        context.add("Many", "1");
        context.add("many", "2");
        Pattern::parse(pattern, BOTH).unwrap().matches(text, false, &context)
    }

    #[test]
    fn wildcards_and_variables() {
        for (pattern, text) in [
            ("", ""),
            ("*", ""),
            ("**", "abc"),
            ("a*c", "abcabc"),
            ("a?c", "aäc"),
            ("*b*d*", "abcd"),
            ("${aws:UserName}", "ada*"),
            ("q-${aws:username}-?", "q-ada*-1"),
            ("${*}${?}${$}", "*?$"),
            ("${none, 'nobody'}", "nobody"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("", "a"),
            ("a", ""),
            ("a?c", "ac"),
            ("a*c", "abcb"),
            ("${aws:username}", "adam"),
            ("${none}", ""),
            ("${many}", "1"),
            ("${*}", "a"),
        ] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
        for bad in ["${", "${}", "${a b}", "${a, b}", "${*,'x'}"] {
            assert!(Pattern::parse(bad, BOTH).is_err(), "{bad}");
        }
    }

    #[test]
    fn wildcards_stay_within_the_parts_of_an_arn() {
        let matches = |pattern: &str, arn: &str| {
            Pattern::parse(pattern, BOTH).unwrap().matches_arn(arn, &Context::default())
        };
        let arn = "arn:aws:sqs:us-east-1:000000000000:jobs";
        for pattern in ["*", "arn:aws:sqs:*", "arn:aws:sqs:*:*:jobs", "arn:aws:sqs:us-east-?:000000000000:j*"]
        {
            assert!(matches(pattern, arn), "{pattern}");
        }
        for pattern in ["", "arn:aws:sqs:*:jobs", "arn:*:jobs", "arn:aws:sqs:*:*:job", "arn:aws:sns:*"] {
            assert!(!matches(pattern, arn), "{pattern}");
        }
        assert!(matches("arn:aws:sns:*:*:a*", "arn:aws:sns:us-east-1:000000000000:a:subscription"));
    }

    /// What a pattern stands for, said as plainly as can be.
    fn plain(pattern: &[char], text: &[char]) -> bool {
        match (pattern, text) {
            ([], []) => true,
            (['*', rest @ ..], _) => {
                plain(rest, text) || matches!(text, [_, more @ ..] if plain(pattern, more))
            }
            (['?', rest @ ..], [_, more @ ..]) => plain(rest, more),
            ([a, rest @ ..], [b, more @ ..]) => a == b && plain(rest, more),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn as_the_plain_way_says(pattern in "[ab?*]{0,8}", text in "[ab]{0,8}") {
            let letters = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(matches(&pattern, &text), plain(&letters(&pattern), &letters(&text)));
        }
    }
}
