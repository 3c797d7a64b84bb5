//! Environment files: `.env`, `--env-file` and a service's `env_file`, in Compose's dialect.
//!
//! A statement is `NAME=value` (or `NAME: value`, or `export NAME=value`). A value without quotes ends with
//! its line or at ` #`; between double quotes escapes and variables work and lines may be many; between
//! single quotes everything is literal but `\'`. A name alone takes its value from the surroundings.

use std::collections::{BTreeMap, HashMap};

use super::limits::MAX_ENV_BYTES;
use super::template::{self, Lookup, Why};

/// What is wrong with an environment file, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EnvFileError {
    /// The line, from 1.
    pub(crate) line: usize,
    /// First byte of the place, in the text given to [`parse_env_file`].
    pub(crate) start: usize,
    /// One past its last byte.
    pub(crate) end: usize,
    /// What is wrong: a lowercase fragment.
    pub(crate) message: String,
    /// What to do next.
    pub(crate) hint: Option<&'static str>,
}

/// Reads an environment file into its assignments, in file order (a name may come twice: the last one
/// counts). A name alone (`NAME`) has the value `lookup` has for it, or `None`. Values see `lookup` first
/// and then the lines above. All values together stay within 4 MiB.
pub(crate) fn parse_env_file(
    text: &str,
    lookup: Lookup<'_>,
) -> Result<Vec<(String, Option<String>)>, EnvFileError> {
    parse_env_file_after(text, lookup, &BTreeMap::new())
}

/// The same for one of several files: values see `lookup`, then the lines above, then `earlier`, what the
/// files before this one said.
pub(crate) fn parse_env_file_after(
    text: &str,
    lookup: Lookup<'_>,
    earlier: &BTreeMap<String, String>,
) -> Result<Vec<(String, Option<String>)>, EnvFileError> {
    let at = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let mut parser = Parser { text, at, lookup, earlier, seen: HashMap::new(), out: Vec::new(), bytes: 0 };
    while parser.skip_to_statement() {
        parser.statement()?;
    }
    Ok(parser.out)
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    lookup: Lookup<'a>,
    earlier: &'a BTreeMap<String, String>,
    seen: HashMap<String, String>,
    out: Vec<(String, Option<String>)>,
    bytes: usize,
}

/// White space that does not end a line.
fn is_blank(c: char) -> bool {
    c != '\n' && c.is_whitespace()
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn skip(&mut self, skipped: fn(char) -> bool) {
        self.at = self.text.len() - self.rest().trim_start_matches(skipped).len();
    }

    fn error(&self, start: usize, end: usize, message: String, hint: Option<&'static str>) -> EnvFileError {
        let line = self.text[..start].matches('\n').count() + 1;
        EnvFileError { line, start, end, message, hint }
    }

    fn line_end(&self, from: usize) -> usize {
        self.text[from..].find('\n').map_or(self.text.len(), |i| from + i)
    }

    /// Skips blank lines and comments; `false` at the end of the file.
    fn skip_to_statement(&mut self) -> bool {
        loop {
            self.skip(char::is_whitespace);
            if !self.rest().starts_with('#') {
                return !self.rest().is_empty();
            }
            self.at = self.line_end(self.at);
        }
    }

    fn statement(&mut self) -> Result<(), EnvFileError> {
        if let Some(after) = self.rest().strip_prefix("export")
            && after.starts_with(is_blank)
        {
            self.at += "export".len();
            self.skip(is_blank);
        }
        let start = self.at;
        let mut assigned = false;
        let mut end = self.text.len();
        for (i, c) in self.rest().char_indices() {
            match c {
                '=' | ':' => assigned = true,
                '\n' => {}
                '_' | '.' | '-' | '[' | ']' => continue,
                c if is_blank(c) || c.is_alphanumeric() => continue,
                _ => {
                    let at = start + i;
                    let message = format!("`{}` cannot be part of a variable name", c.escape_debug());
                    let hint = "write `NAME=value`, one to a line; comments start with `#`";
                    return Err(self.error(at, at + c.len_utf8(), message, Some(hint)));
                }
            }
            end = start + i;
            break;
        }
        let name = self.text[start..end].trim_end();
        let name_end = start + name.len();
        if name.is_empty() {
            let message = "a variable name is missing".to_owned();
            return Err(self.error(start, end, message, Some("write `NAME=value`")));
        }
        if name.contains(char::is_whitespace) {
            let message = format!("the variable name `{name}` contains a space");
            let hint = "write `NAME=value`, one to a line; comments start with `#`";
            return Err(self.error(start, name_end, message, Some(hint)));
        }
        if !assigned {
            self.at = end;
            let value = self.known(name);
            self.keep(name, value, start)?;
            return Ok(());
        }
        self.at = end + 1;
        self.skip(is_blank);
        let value = match self.rest().chars().next() {
            Some(quote @ ('"' | '\'')) => self.quoted(quote)?,
            _ => self.unquoted()?,
        };
        self.keep(name, Some(value), start)
    }

    fn keep(&mut self, name: &str, value: Option<String>, at: usize) -> Result<(), EnvFileError> {
        self.bytes += name.len() + value.as_ref().map_or(0, String::len);
        if self.bytes > MAX_ENV_BYTES {
            let message = format!("the values of this file grow past {} MiB", MAX_ENV_BYTES >> 20);
            return Err(self.error(at, at + name.len(), message, None));
        }
        if let Some(value) = &value {
            self.seen.insert(name.to_owned(), value.clone());
        }
        self.out.push((name.to_owned(), value));
        Ok(())
    }

    fn known(&self, name: &str) -> Option<String> {
        (self.lookup)(name).or_else(|| self.seen.get(name).or_else(|| self.earlier.get(name)).cloned())
    }

    fn unquoted(&mut self) -> Result<String, EnvFileError> {
        let start = self.at;
        let end = self.line_end(start);
        let line = &self.text[start..end];
        let value = line.find(" #").map_or(line, |i| &line[..i]).trim_end();
        self.at = end;
        self.expand(value, |i| start + i, start + value.len())
    }

    fn quoted(&mut self, quote: char) -> Result<String, EnvFileError> {
        let start = self.at;
        let mut value = String::new();
        let mut escaped = false;
        for (i, c) in self.text[start + 1..].char_indices() {
            if c == quote && !escaped {
                let end = start + 1 + i;
                self.at = end + 1;
                if quote == '\'' {
                    return Ok(value);
                }
                // Escapes moved the text: point at the whole value.
                return self.expand(&resolve_escapes(&value), |_| start, end + 1);
            }
            if c == '\\' && !escaped {
                escaped = true;
                continue;
            }
            if escaped && c != quote {
                value.push('\\');
            }
            escaped = false;
            value.push(c);
        }
        let message = format!("the value that starts with {quote} has no closing {quote}");
        let hint = "close the quote; a quote inside the value is written with a backslash before it";
        Err(self.error(start, self.line_end(start), message, Some(hint)))
    }

    fn expand(
        &self,
        value: &str,
        place: impl Fn(usize) -> usize,
        end: usize,
    ) -> Result<String, EnvFileError> {
        if !value.contains('$') {
            return Ok(value.to_owned());
        }
        match template::fill(value, &|name| self.known(name)) {
            Ok(filled) => Ok(filled.text),
            Err(bad) => {
                let start = place(bad.at.start);
                let end = if place(bad.at.end) > start { place(bad.at.end) } else { end };
                let (message, hint) = bad.why.say(&value[bad.at]);
                Err(self.error(start, end, message, Some(hint)))
            }
        }
    }
}

impl Why {
    /// The message and the hint for a bad reference, written `reference`.
    pub(crate) fn say(&self, reference: &str) -> (String, &'static str) {
        let mut shown: String = reference.chars().take(60).collect();
        if shown.len() < reference.len() {
            shown.push('…');
        }
        match self {
            Self::Unclosed => (
                format!("`{shown}` has no closing brace"),
                "close it with `}`; for a literal dollar sign write `$$`",
            ),
            Self::NoName => (
                format!("`{shown}` names no variable"),
                "a name starts with a letter or `_`; for a literal dollar sign write `$$`",
            ),
            Self::Operator => (
                format!("`{shown}` is not a form of substitution that is known"),
                "known are `${A}`, `${A:-default}`, `${A:?message}` and `${A:+other}`, also without the colon; \
                 for a literal dollar sign write `$$`",
            ),
            Self::Missing { variable, reason } if reason.is_empty() => (
                format!("the variable `{variable}` is required and has no value"),
                "set it in the environment or in `.env`",
            ),
            Self::Missing { variable, reason } => (
                format!("the variable `{variable}` is required and has no value: {reason}"),
                "set it in the environment or in `.env`",
            ),
            Self::TooDeep => (
                format!("more than {} references inside each other", super::limits::MAX_TEMPLATE_DEPTH),
                "give the inner ones names in `.env`",
            ),
            Self::TooLong => (
                format!("the value grows past {} MiB", super::limits::MAX_VALUE_BYTES >> 20),
                "put large texts in a file of their own",
            ),
        }
    }
}

/// Resolves `\a \b \f \n \r \t \v \\ \"`, `\0` with three octal digits, and makes `\$` a dollar sign that
/// starts no reference. Any other backslash stays.
fn resolve_escapes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let resolved = match rest.as_bytes().first() {
            Some(b'a') => "\u{7}",
            Some(b'b') => "\u{8}",
            Some(b'f') => "\u{c}",
            Some(b'n') => "\n",
            Some(b'r') => "\r",
            Some(b't') => "\t",
            Some(b'v') => "\u{b}",
            Some(b'\\') => "\\",
            Some(b'"') => "\"",
            Some(b'$') => "$$",
            Some(b'0') => {
                let code = rest.get(1..4).and_then(|digits| u8::from_str_radix(digits, 8).ok());
                match code {
                    Some(code) => {
                        out.push(char::from(code));
                        rest = &rest[4..];
                    }
                    None => out.push('\\'),
                }
                continue;
            }
            _ => {
                out.push('\\');
                continue;
            }
        };
        out.push_str(resolved);
        rest = &rest[1..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lookup(name: &str) -> Option<String> {
        (name == "HOST").then(|| "outer".to_owned())
    }

    fn parse(text: &str) -> String {
        match parse_env_file(text, &lookup) {
            Ok(list) => list
                .into_iter()
                .map(|(name, value)| match value {
                    Some(value) => format!("{name}={value:?}"),
                    None => format!("{name} is unset"),
                })
                .collect::<Vec<_>>()
                .join("\n"),
            Err(error) => format!("line {}: {}", error.line, error.message),
        }
    }

    #[test]
    fn the_forms_of_a_statement() {
        let text = "\u{feff}A=1\r\n  B = 2 \n\nexport C=3\n# a comment\nD: 4\nE=\nF = \ne.x-p[1]=6\nG=a=b:c";
        insta::assert_snapshot!(parse(text), @r#"
        A="1"
        B="2"
        C="3"
        D="4"
        E=""
        F=""
        e.x-p[1]="6"
        G="a=b:c"
        "#);
    }

    #[test]
    fn a_comment_in_a_line_needs_a_space_before_it() {
        let text = "A=1 # one\nB=1#2\nC=\"x # y\" # z\nD='p#q'#r\nE=1 #";
        insta::assert_snapshot!(parse(text), @r##"
        A="1"
        B="1#2"
        C="x # y"
        D="p#q"
        E="1"
        "##);
    }

    #[test]
    fn double_quotes_take_escapes_and_lines_and_single_quotes_take_neither() {
        let text = r#"A="a\tb\"c\\ \x \0123 \$HOST"
B='a\tb \'c\' $HOST'
C="one
two"
D=a\tb"#;
        insta::assert_snapshot!(parse(text), @r#"
        A="a\tb\"c\\ \\x S $HOST"
        B="a\\tb 'c' $HOST"
        C="one\ntwo"
        D="a\\tb"
        "#);
    }

    #[test]
    fn values_see_the_surroundings_first_and_then_the_lines_above() {
        let text = "A=1\nHOST=inner\nB=${A}${HOST}\nC=\"$B!\"\nD=${NONE:-d}\nHOST\nE";
        insta::assert_snapshot!(parse(text), @r#"
        A="1"
        HOST="inner"
        B="1outer"
        C="1outer!"
        D="d"
        HOST="outer"
        E is unset
        "#);
    }

    #[test]
    fn faults_have_a_line() {
        assert_eq!(parse("A=1\nINVALID LINE\n"), "line 2: the variable name `INVALID LINE` contains a space");
        assert_eq!(parse("A=1\n\nlol$wut"), "line 3: `$` cannot be part of a variable name");
        assert_eq!(parse("A=\"x\n\nB=2"), "line 1: the value that starts with \" has no closing \"");
        assert_eq!(parse("A=1\nB=${"), "line 2: `${` has no closing brace");
        assert_eq!(parse("=1"), "line 1: a variable name is missing");
        assert_eq!(parse("A=${B:?set B}"), "line 1: the variable `B` is required and has no value: set B");
    }

    #[test]
    fn values_that_double_with_each_line_are_stopped() {
        let mut text = "A0=xxxxxxxxxxxxxxxx\n".to_owned();
        for i in 1..64 {
            text.push_str(&format!("A{i}=$A{0}$A{0}$A{0}$A{0}\n", i - 1));
        }
        assert!(parse(&text).contains("grow"), "{}", &parse(&text)[..100]);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_without_a_panic(text in r#"([A-C=:"'\\$ {}#\n\t0é-]|export ){0,80}"#) {
            if let Err(error) = parse_env_file(&text, &lookup) {
                prop_assert!(text.get(error.start..error.end).is_some());
            }
        }
    }
}
