//! JSON as a filter needs it: every value knows where it stands, so that an error can say it, and numbers stay text
//! until somebody asks. Small and bounded: whoever publishes writes what is read here.

use std::borrow::Cow;

/// How deep arrays and objects may be nested.
pub(crate) const DEEPEST: usize = 64;

/// A value and where it begins, in bytes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node<'a> {
    pub(crate) at: usize,
    pub(crate) value: Value<'a>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    Null,
    Bool(bool),
    Number(f64),
    Text(Cow<'a, str>),
    Array(Vec<Node<'a>>),
    Object(Vec<Member<'a>>),
}

/// One name of an object with its value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Member<'a> {
    pub(crate) at: usize,
    pub(crate) name: Cow<'a, str>,
    pub(crate) node: Node<'a>,
}

/// What is no JSON, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NoJson {
    pub(crate) at: usize,
    pub(crate) what: &'static str,
}

/// Reads a text that is one JSON value and nothing else.
pub(crate) fn parse(text: &str) -> Result<Node<'_>, NoJson> {
    let mut reader = Reader { text, at: 0 };
    reader.space();
    let node = reader.node(0)?;
    reader.space();
    if reader.at < text.len() {
        return Err(reader.wrong("there is something behind the end"));
    }
    Ok(node)
}

/// Line and column of a byte, both from 1; the column counts characters.
pub(crate) fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn wrong(&self, what: &'static str) -> NoJson {
        NoJson { at: self.at, what }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn node(&mut self, depth: usize) -> Result<Node<'a>, NoJson> {
        if depth >= DEEPEST {
            return Err(self.wrong("it is nested too deep"));
        }
        let at = self.at;
        let value = match self.peek() {
            Some(b'{') => self.object(depth)?,
            Some(b'[') => self.array(depth)?,
            Some(b'"') => Value::Text(self.text()?),
            Some(b'-' | b'0'..=b'9') => Value::Number(self.number()?),
            Some(b't') => self.word("true", Value::Bool(true))?,
            Some(b'f') => self.word("false", Value::Bool(false))?,
            Some(b'n') => self.word("null", Value::Null)?,
            Some(_) => return Err(self.wrong("a value is expected")),
            None => return Err(self.wrong("it ends where a value is expected")),
        };
        Ok(Node { at, value })
    }

    fn word(&mut self, word: &str, value: Value<'a>) -> Result<Value<'a>, NoJson> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err(self.wrong("a value is expected"));
        }
        self.at += word.len();
        Ok(value)
    }

    fn array(&mut self, depth: usize) -> Result<Value<'a>, NoJson> {
        let mut items = Vec::new();
        self.at += 1;
        self.space();
        if self.take(b']') {
            return Ok(Value::Array(items));
        }
        loop {
            self.space();
            items.push(self.node(depth + 1)?);
            self.space();
            if self.take(b']') {
                return Ok(Value::Array(items));
            }
            if !self.take(b',') {
                return Err(self.wrong("`,` or `]` is expected"));
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value<'a>, NoJson> {
        let mut members = Vec::new();
        self.at += 1;
        self.space();
        if self.take(b'}') {
            return Ok(Value::Object(members));
        }
        loop {
            self.space();
            let at = self.at;
            if self.peek() != Some(b'"') {
                return Err(self.wrong("a name in double quotes is expected"));
            }
            let name = self.text()?;
            self.space();
            if !self.take(b':') {
                return Err(self.wrong("`:` is expected"));
            }
            self.space();
            let node = self.node(depth + 1)?;
            members.push(Member { at, name, node });
            self.space();
            if self.take(b'}') {
                return Ok(Value::Object(members));
            }
            if !self.take(b',') {
                return Err(self.wrong("`,` or `}` is expected"));
            }
        }
    }

    fn digits(&mut self) -> bool {
        let from = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        self.at > from
    }

    fn number(&mut self) -> Result<f64, NoJson> {
        let from = self.at;
        self.take(b'-');
        if !self.take(b'0') && !self.digits() {
            return Err(self.wrong("a digit is expected"));
        }
        if self.take(b'.') && !self.digits() {
            return Err(self.wrong("a digit is expected"));
        }
        if self.take(b'e') || self.take(b'E') {
            if !self.take(b'+') {
                self.take(b'-');
            }
            if !self.digits() {
                return Err(self.wrong("a digit is expected"));
            }
        }
        self.text[from..self.at].parse().map_err(|_| NoJson { at: from, what: "this is no number" })
    }

    fn text(&mut self) -> Result<Cow<'a, str>, NoJson> {
        self.at += 1;
        let from = self.at;
        let mut unescaped: Option<String> = None;
        let mut copied = from;
        loop {
            match self.peek() {
                None => return Err(self.wrong("a text does not end")),
                Some(b'"') => {
                    let rest = &self.text[copied..self.at];
                    self.at += 1;
                    return Ok(match unescaped {
                        None => Cow::Borrowed(rest),
                        Some(mut text) => {
                            text.push_str(rest);
                            Cow::Owned(text)
                        }
                    });
                }
                Some(b'\\') => {
                    let text = unescaped.get_or_insert_with(String::new);
                    text.push_str(&self.text[copied..self.at]);
                    self.at += 1;
                    let character = self.escape()?;
                    text.push(character);
                    copied = self.at;
                }
                Some(0..=0x1f) => return Err(self.wrong("a control character is not escaped")),
                Some(_) => self.at += 1,
            }
        }
    }

    fn escape(&mut self) -> Result<char, NoJson> {
        let character = match self.peek() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(),
            _ => return Err(self.wrong("there is no such escape")),
        };
        self.at += 1;
        Ok(character)
    }

    fn unicode(&mut self) -> Result<char, NoJson> {
        let first = self.hex()?;
        let code = match first {
            0xD800..=0xDBFF => {
                if !self.take(b'\\') {
                    return Err(self.wrong("half of a surrogate pair is missing"));
                }
                match self.hex()? {
                    second @ 0xDC00..=0xDFFF => 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00),
                    _ => return Err(self.wrong("half of a surrogate pair is missing")),
                }
            }
            _ => first,
        };
        char::from_u32(code).ok_or_else(|| self.wrong("half of a surrogate pair is missing"))
    }

    /// `uXXXX`
    fn hex(&mut self) -> Result<u32, NoJson> {
        let digits = self.text.as_bytes().get(self.at..self.at + 5);
        let digits =
            digits.filter(|digits| digits[0] == b'u' && digits[1..].iter().all(u8::is_ascii_hexdigit));
        let Some(digits) = digits else {
            return Err(self.wrong("`u` and four hexadecimal digits are expected"));
        };
        let code = digits[1..]
            .iter()
            .fold(0, |code, digit| code * 16 + char::from(*digit).to_digit(16).unwrap_or_default());
        self.at += 5;
        Ok(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_know_where_they_stand() {
        let node = parse(" {\"a\": [1, -2.5e1, \"x\\u00e9\\ud83d\\ude00\\n\", true, null]}").unwrap();
        let Value::Object(members) = node.value else { panic!() };
        assert_eq!((members[0].at, members[0].name.as_ref(), members[0].node.at), (2, "a", 7));
        let Value::Array(items) = &members[0].node.value else { panic!() };
        assert_eq!(items[1].value, Value::Number(-25.0));
        assert_eq!(items[2].value, Value::Text("xé😀\n".into()));
        assert_eq!(place("a\nbé c", 5), (2, 3));
    }

    #[test]
    fn what_is_no_json() {
        for (text, at) in [
            ("", 0),
            ("{", 1),
            ("[1,]", 3),
            ("{\"a\" 1}", 5),
            ("{a: 1}", 1),
            ("01", 1),
            ("1.", 2),
            ("1e", 2),
            ("\"a", 2),
            ("\"\\x\"", 2),
            ("\"\\ud800\"", 7),
            ("\"\n\"", 1),
            ("nul", 0),
            ("1 2", 2),
            ("[1 2]", 3),
        ] {
            assert_eq!(parse(text).unwrap_err().at, at, "{text}");
        }
        let deep = "[".repeat(DEEPEST + 1);
        assert_eq!(parse(&deep).unwrap_err().what, "it is nested too deep");
    }
}
