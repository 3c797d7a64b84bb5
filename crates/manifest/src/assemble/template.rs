//! `${…}` in one text: the grammar of Compose's interpolation, without a tree and without faults.

use std::ops::Range;

use super::limits::{MAX_TEMPLATE_DEPTH, MAX_VALUE_BYTES};

/// Where the values of variables come from.
pub(crate) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A text with its variables filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filled {
    /// The text.
    pub(crate) text: String,
    /// Variables without a value and without a default: each stands for the empty string. With the place
    /// of the reference in the template.
    pub(crate) unset: Vec<(String, Range<usize>)>,
}

/// Why a template cannot be filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadTemplate {
    /// Which bytes of the template are to blame.
    pub(crate) at: Range<usize>,
    /// What is wrong with them.
    pub(crate) why: Why,
}

/// What is wrong with a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// `${` without its `}`.
    Unclosed,
    /// `${}`, `${1}`: no variable name.
    NoName,
    /// `${A/x/y}`: an operator Compose does not have.
    Operator,
    /// `${A:?reason}` of a variable that is not set (or empty).
    Missing {
        /// The variable.
        variable: String,
        /// The text behind `?`, its own variables filled in.
        reason: String,
    },
    /// More than [`MAX_TEMPLATE_DEPTH`] references inside each other.
    TooDeep,
    /// The result is longer than [`MAX_VALUE_BYTES`].
    TooLong,
}

/// Fills in `$A`, `${A}`, `${A:-b}`, `${A-b}`, `${A:?e}`, `${A?e}`, `${A:+b}`, `${A+b}`; `$$` is a dollar
/// sign, and a `$` that starts none of these stands for itself. Takes time linear in the template and its
/// result for each level of nesting.
pub(crate) fn fill(template: &str, lookup: Lookup<'_>) -> Result<Filled, BadTemplate> {
    let mut filler = Filler { template, lookup, unset: Vec::new() };
    let text = filler.fill(0..template.len(), 0)?;
    Ok(Filled { text, unset: filler.unset })
}

struct Filler<'a> {
    template: &'a str,
    lookup: Lookup<'a>,
    unset: Vec<(String, Range<usize>)>,
}

/// What stands between the name and the `}`.
enum Operator {
    None,
    Default,
    Required,
    Alternative,
}

impl Filler<'_> {
    fn fill(&mut self, range: Range<usize>, depth: usize) -> Result<String, BadTemplate> {
        let mut out = String::new();
        let mut at = range.start;
        while at < range.end {
            let literal_end = self.template[at..range.end].find('$').map_or(range.end, |i| at + i);
            out.push_str(&self.template[at..literal_end]);
            at = literal_end;
            if at == range.end {
                break;
            }
            let next = self.template.as_bytes()[..range.end].get(at + 1).copied();
            match next {
                Some(b'$') => {
                    out.push('$');
                    at += 2;
                }
                Some(b'{') => {
                    let (value, end) = self.braced(at, range.end, depth)?;
                    out.push_str(&value);
                    at = end;
                }
                Some(byte) if byte == b'_' || byte.is_ascii_alphabetic() => {
                    let end = self.name_end(at + 1, range.end);
                    out.push_str(&self.value(at + 1..end, at..end));
                    at = end;
                }
                _ => {
                    out.push('$');
                    at += 1;
                }
            }
            if out.len() > MAX_VALUE_BYTES {
                return Err(BadTemplate { at: range, why: Why::TooLong });
            }
        }
        if out.len() > MAX_VALUE_BYTES {
            return Err(BadTemplate { at: range, why: Why::TooLong });
        }
        Ok(out)
    }

    /// The value of the `${…}` that starts at `start`, and where it ends.
    fn braced(&mut self, start: usize, limit: usize, depth: usize) -> Result<(String, usize), BadTemplate> {
        let Some(close) = self.closing_brace(start + 1, limit) else {
            return Err(BadTemplate { at: start..limit, why: Why::Unclosed });
        };
        let whole = start..close + 1;
        let bad = |why| Err(BadTemplate { at: whole.clone(), why });
        if depth >= MAX_TEMPLATE_DEPTH {
            return bad(Why::TooDeep);
        }
        let name = start + 2..self.name_end(start + 2, close);
        if name.is_empty() || self.template.as_bytes()[name.start].is_ascii_digit() {
            return bad(Why::NoName);
        }
        let rest = &self.template[name.end..close];
        let (colon, rest) = match rest.strip_prefix(':') {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let operator = match rest.as_bytes().first() {
            None if !colon => Operator::None,
            Some(b'-') => Operator::Default,
            Some(b'?') => Operator::Required,
            Some(b'+') => Operator::Alternative,
            _ => return bad(Why::Operator),
        };
        let word = close - rest.len().saturating_sub(1)..close;
        let found = (self.lookup)(&self.template[name.clone()]);
        let present = found.as_ref().is_some_and(|value| !colon || !value.is_empty());
        let value = match operator {
            Operator::None => self.value(name, whole.clone()),
            Operator::Default if present => found.unwrap_or_default(),
            Operator::Default => self.fill(word, depth + 1)?,
            Operator::Required if present => found.unwrap_or_default(),
            Operator::Required => {
                let variable = self.template[name].to_owned();
                let reason = self.fill(word, depth + 1)?;
                return bad(Why::Missing { variable, reason });
            }
            Operator::Alternative if present => self.fill(word, depth + 1)?,
            Operator::Alternative => found.unwrap_or_default(),
        };
        Ok((value, whole.end))
    }

    /// The `}` that belongs to the `{` at `open`. Braces in a default count (`${A:-{"b": 1}}`); where they
    /// do not balance, the last `}` closes.
    fn closing_brace(&self, open: usize, limit: usize) -> Option<usize> {
        let mut level = 0usize;
        let mut last = None;
        for (i, byte) in self.template.as_bytes()[open..limit].iter().enumerate() {
            match byte {
                b'{' => level += 1,
                b'}' => {
                    level -= 1;
                    last = Some(open + i);
                    if level == 0 {
                        break;
                    }
                }
                _ => {}
            }
        }
        last
    }

    fn name_end(&self, start: usize, limit: usize) -> usize {
        let name = &self.template.as_bytes()[start..limit];
        let len = name.iter().take_while(|b| **b == b'_' || b.is_ascii_alphanumeric()).count();
        start + len
    }

    fn value(&mut self, name: Range<usize>, reference: Range<usize>) -> String {
        let name = &self.template[name];
        (self.lookup)(name).unwrap_or_else(|| {
            self.unset.push((name.to_owned(), reference));
            String::new()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lookup(name: &str) -> Option<String> {
        match name {
            "SET" => Some("value".to_owned()),
            "OTHER" => Some("other".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    fn text(template: &str) -> String {
        fill(template, &lookup).expect("a good template").text
    }

    fn why(template: &str) -> Why {
        fill(template, &lookup).expect_err("a bad template").why
    }

    #[test]
    fn plain_and_braced_references_are_filled_in() {
        assert_eq!(text("a $SET-b ${SET}c"), "a value-b valuec");
        assert_eq!(text("$SET$OTHER"), "valueother");
    }

    #[test]
    fn a_dollar_that_starts_no_reference_stands_for_itself() {
        assert_eq!(text("cost: $5, $ and $$SET, $(date), end$"), "cost: $5, $ and $SET, $(date), end$");
        assert_eq!(text("$$$SET"), "$value");
    }

    #[test]
    fn each_operator_tells_unset_from_empty_as_a_shell_does() {
        let table = [
            ("${NONE:-d}", "d"),
            ("${EMPTY:-d}", "d"),
            ("${SET:-d}", "value"),
            ("${NONE-d}", "d"),
            ("${EMPTY-d}", ""),
            ("${SET-d}", "value"),
            ("${NONE:+a}", ""),
            ("${EMPTY:+a}", ""),
            ("${SET:+a}", "a"),
            ("${NONE+a}", ""),
            ("${EMPTY+a}", "a"),
            ("${SET:?e}", "value"),
            ("${EMPTY?e}", ""),
        ];
        for (template, expected) in table {
            assert_eq!(text(template), expected, "{template}");
        }
    }

    #[test]
    fn a_required_variable_says_its_reason() {
        let missing = |variable: &str, reason: &str| Why::Missing {
            variable: variable.to_owned(),
            reason: reason.to_owned(),
        };
        assert_eq!(why("${NONE?say $SET}"), missing("NONE", "say value"));
        assert_eq!(why("${EMPTY:?}"), missing("EMPTY", ""));
    }

    #[test]
    fn references_nest() {
        assert_eq!(text("${NONE:-${ALSO:-${SET}}}!"), "value!");
        assert_eq!(text("${NONE:-a${SET}b$$}c}"), "avalueb$c}");
        assert_eq!(text("${SET:+${EMPTY:-x}}"), "x");
    }

    #[test]
    fn braces_in_a_default_are_part_of_it() {
        assert_eq!(text(r#"${NONE:-{"a": {}}}"#), r#"{"a": {}}"#);
        assert_eq!(text("${NONE:-{}"), "{");
        assert_eq!(text("${NONE:-a:-b?c}"), "a:-b?c");
    }

    #[test]
    fn the_default_of_a_set_variable_is_not_looked_at() {
        assert_eq!(text("${SET:-${NONE?}}"), "value");
    }

    #[test]
    fn what_compose_cannot_read_is_refused() {
        assert_eq!(why("${"), Why::Unclosed);
        assert_eq!(why("a ${SET b"), Why::Unclosed);
        assert_eq!(why("${}"), Why::NoName);
        assert_eq!(why("${1}"), Why::NoName);
        assert_eq!(why("${SET/a/b}"), Why::Operator);
        assert_eq!(why("${SET:}"), Why::Operator);
        assert_eq!(fill("x ${a b} y", &lookup).expect_err("bad").at, 2..8);
    }

    #[test]
    fn an_unset_variable_is_empty_and_remembered() {
        let filled = fill("a${NONE}b$GONE", &lookup).expect("good");
        assert_eq!(filled.text, "ab");
        assert_eq!(filled.unset, [("NONE".to_owned(), 1..8), ("GONE".to_owned(), 9..14)]);
    }

    #[test]
    fn nesting_and_length_are_bounded() {
        let deep = format!("{}x{}", "${N:-".repeat(100_000), "}".repeat(100_000));
        assert_eq!(why(&deep), Why::TooDeep);
        let long = |name: &str| (name == "A").then(|| "x".repeat(1000));
        let template = "$A".repeat(100_000);
        assert_eq!(fill(&template, &long).expect_err("too long").why, Why::TooLong);
    }

    proptest! {
        #[test]
        fn any_text_is_filled_or_refused_without_a_panic(template in r"([a-zA-Z_0-9 :?+{}$é-]|\$\{){0,60}") {
            match fill(&template, &lookup) {
                Ok(filled) => prop_assert!(template.contains('$') || filled.text == template),
                Err(bad) => prop_assert!(template.get(bad.at).is_some()),
            }
        }
    }
}
