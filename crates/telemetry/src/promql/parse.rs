//! Words become a tree whose types are right. Operators bind as Prometheus says: `or`; `and`, `unless`; comparisons; `+ -`;
//! `* / % atan2`; `^`, which alone binds to the right.

use super::ast::{
    Aggregate, At, Binary, Expr, Grouping, Kind, Many, Node, Selector, Shift, Sign, Subquery, Total,
};
use super::functions::{Function, is_label};
use super::lexer::{Token, duration, words};
use super::matcher::{Matcher, Op};
use super::{NAME, PromError};

/// Brackets within brackets.
const DEPTH: usize = 100;
/// Operators in a question. A chain of them is as deep a tree as it is long, and is walked by recursion.
const OPERATORS: usize = 200;
/// Patterns in a question: each may take a megabyte.
const PATTERNS: usize = 20;

/// Reads a question.
pub fn parse(text: &str) -> Result<Expr, PromError> {
    let mut parser = Parser::new(text)?;
    let node = parser.binary(0)?;
    parser.end()?;
    Ok(Expr(node))
}

/// Reads what names series and nothing more: `up{service="orders"}`.
pub fn selector(text: &str) -> Result<Vec<Matcher>, PromError> {
    let mut parser = Parser::new(text)?;
    let node = parser.binary(0)?;
    parser.end()?;
    match node {
        Node::Instant(selector) if selector.shift == Shift::default() => Ok(selector.matchers),
        _ => Err(PromError::Syntax { at: 1, why: "a series selector is expected".into() }),
    }
}

/// A stretch of time as the language writes it, `1h30m`, in milliseconds.
pub fn duration_ms(text: &str) -> Option<i64> {
    duration(text)
}

/// A moment as clients say it, seconds since the Unix epoch or RFC 3339, in milliseconds.
pub fn moment_ms(text: &str) -> Option<i64> {
    match text.parse::<f64>() {
        Ok(seconds) => seconds_ms(seconds),
        Err(_) => text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond),
    }
}

/// Seconds in milliseconds, within some ten thousand years.
pub fn seconds_ms(seconds: f64) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "it is bounded")]
    (seconds.abs() < 1e12).then(|| (seconds * 1000.0).round() as i64)
}

struct Parser {
    words: Vec<(Token, usize)>,
    next: usize,
    depth: usize,
    operators: usize,
    patterns: usize,
}

type Parsed<T> = Result<T, PromError>;

impl Parser {
    fn new(text: &str) -> Parsed<Self> {
        Ok(Self { words: words(text)?, next: 0, depth: 0, operators: 0, patterns: 0 })
    }

    fn peek(&self) -> &Token {
        &self.words[self.next].0
    }

    fn take(&mut self) -> Token {
        let token = self.words[self.next].0.clone();
        self.next = (self.next + 1).min(self.words.len() - 1);
        token
    }

    fn fault<T>(&self, why: impl Into<String>) -> Parsed<T> {
        Err(PromError::Syntax { at: self.words[self.next].1 + 1, why: why.into() })
    }

    fn unexpected<T>(&self, wanted: &str) -> Parsed<T> {
        let found = match self.peek() {
            Token::Word(word) => format!("{word:?}"),
            Token::Number(number) => format!("number {number}"),
            Token::Duration(ms) => format!("duration of {ms} ms"),
            Token::Text(text) => format!("string {text:?}"),
            Token::Sign(sign) => format!("{sign:?}"),
            Token::End => "end of input".into(),
        };
        self.fault(format!("unexpected {found}, expected {wanted}"))
    }

    fn is(&mut self, sign: &str) -> bool {
        let is = matches!(self.peek(), Token::Sign(other) if *other == sign);
        if is {
            self.take();
        }
        is
    }

    fn want(&mut self, sign: &str) -> Parsed<()> {
        if self.is(sign) { Ok(()) } else { self.unexpected(&format!("{sign:?}")) }
    }

    /// A word, in any case.
    fn is_word(&mut self, word: &str) -> bool {
        let is = matches!(self.peek(), Token::Word(other) if other.eq_ignore_ascii_case(word));
        if is {
            self.take();
        }
        is
    }

    fn end(&self) -> Parsed<()> {
        if *self.peek() == Token::End { Ok(()) } else { self.unexpected("the end") }
    }

    fn deeper<T>(&mut self, inner: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth == DEPTH {
            return self.fault("too many brackets within brackets");
        }
        self.depth += 1;
        let parsed = inner(self);
        self.depth -= 1;
        parsed
    }

    /// The operator that comes, and how strongly it binds.
    fn sign(&self) -> Option<(Sign, u8)> {
        Some(match self.peek() {
            Token::Word(word) => match word.to_ascii_lowercase().as_str() {
                "or" => (Sign::Or, 1),
                "and" => (Sign::And, 2),
                "unless" => (Sign::Unless, 2),
                "atan2" => (Sign::Atan2, 5),
                _ => return None,
            },
            Token::Sign(sign) => match *sign {
                "==" => (Sign::Equal, 3),
                "!=" => (Sign::NotEqual, 3),
                ">" => (Sign::Greater, 3),
                "<" => (Sign::Less, 3),
                ">=" => (Sign::AtLeast, 3),
                "<=" => (Sign::AtMost, 3),
                "+" => (Sign::Add, 4),
                "-" => (Sign::Sub, 4),
                "*" => (Sign::Mul, 5),
                "/" => (Sign::Div, 5),
                "%" => (Sign::Mod, 5),
                "^" => (Sign::Pow, 6),
                _ => return None,
            },
            _ => return None,
        })
    }

    /// Operators that bind at least so strongly.
    fn binary(&mut self, least: u8) -> Parsed<Node> {
        self.deeper(|parser| {
            let mut left = parser.unary()?;
            while let Some((sign, strength)) = parser.sign().filter(|(_, strength)| *strength >= least) {
                let at = parser.next;
                parser.operators += 1;
                if parser.operators > OPERATORS {
                    return parser.fault(format!("more than {OPERATORS} operators"));
                }
                parser.take();
                let mut binary = parser.modifiers(sign)?;
                binary.right = parser.binary(if sign == Sign::Pow { strength } else { strength + 1 })?;
                binary.left = left;
                if let Err(why) = checked(&binary) {
                    parser.next = at;
                    return parser.fault(why);
                }
                left = Node::Binary(Box::new(binary));
            }
            Ok(left)
        })
    }

    /// `bool`, `on (…)`, `group_left (…)`.
    fn modifiers(&mut self, sign: Sign) -> Parsed<Binary> {
        let on = Grouping { without: true, labels: Vec::new() };
        let (left, right) = (Node::Number(0.0), Node::Number(0.0)); // put in by the caller
        let (many, include) = (Many::None, Vec::new());
        let mut binary = Binary { sign, left, right, as_bool: false, on, many, include };
        if self.is_word("bool") {
            if !sign.compares() {
                return self.fault("bool modifier can only be used on comparison operators");
            }
            binary.as_bool = true;
        }
        let without = if self.is_word("on") {
            false
        } else if self.is_word("ignoring") {
            true
        } else {
            return Ok(binary);
        };
        binary.on = Grouping { without, labels: self.names()? };
        binary.many = if self.is_word("group_left") {
            Many::Left
        } else if self.is_word("group_right") {
            Many::Right
        } else {
            return Ok(binary);
        };
        if sign.is_of_sets() {
            return self.fault("no grouping allowed for set operations");
        }
        if matches!(self.peek(), Token::Sign("(")) {
            binary.include = self.names()?;
        }
        Ok(binary)
    }

    fn unary(&mut self) -> Parsed<Node> {
        let minus = if self.is("-") {
            true
        } else if self.is("+") {
            false
        } else {
            return self.postfix();
        };
        // A sign binds like `*`: `-2 ^ 2` is -4.
        let inner = self.binary(6)?;
        if !matches!(inner.kind(), Kind::Scalar | Kind::Vector) {
            return self
                .fault("unary expression only allowed on expressions of type scalar or instant vector");
        }
        Ok(match inner {
            inner if !minus => inner,
            Node::Number(number) => Node::Number(-number),
            inner => Node::Negate(Box::new(inner)),
        })
    }

    /// `x[5m]`, `x[1h:1m]`, `x offset 5m`, `x @ end()`.
    fn postfix(&mut self) -> Parsed<Node> {
        let mut node = self.primary()?;
        loop {
            if self.is("[") {
                let range_ms = self.duration()?;
                if range_ms <= 0 {
                    return self.fault("duration must be greater than 0");
                }
                if self.is(":") {
                    let step_ms = if self.is("]") { None } else { Some(self.duration()?) };
                    if step_ms.is_some() {
                        self.want("]")?;
                    }
                    if node.kind() != Kind::Vector && node.kind() != Kind::Scalar {
                        return self.fault("subquery is only allowed on instant vector");
                    }
                    if step_ms.is_some_and(|step| step <= 0) {
                        return self.fault("duration must be greater than 0");
                    }
                    let shift = Shift::default();
                    node = Node::Subquery(Box::new(Subquery { inner: node, range_ms, step_ms, shift }));
                } else {
                    self.want("]")?;
                    node = match node {
                        Node::Instant(selector) if selector.shift == Shift::default() => {
                            Node::Range(selector, range_ms)
                        }
                        Node::Instant(_) => {
                            return self.fault("no offset or @ modifiers allowed before range");
                        }
                        _ => return self.fault("ranges only allowed for vector selectors"),
                    };
                }
            } else if self.is_word("offset") {
                let minus = self.is("-");
                let offset = self.duration()?;
                let offset_ms = if minus { -offset } else { offset };
                match shift_of(&mut node) {
                    Some(shift) if shift.offset_ms == 0 => shift.offset_ms = offset_ms,
                    Some(_) => return self.fault("offset may not be set multiple times"),
                    None => {
                        return self.fault("offset modifier must be preceded by a selector or a subquery");
                    }
                }
            } else if self.is("@") {
                let at = self.moment()?;
                match shift_of(&mut node) {
                    Some(shift) if shift.at.is_none() => shift.at = Some(at),
                    Some(_) => return self.fault("@ <timestamp> may not be set multiple times"),
                    None => return self.fault("@ modifier must be preceded by a selector or a subquery"),
                }
            } else {
                return Ok(node);
            }
        }
    }

    fn moment(&mut self) -> Parsed<At> {
        let minus = self.is("-");
        let at = match self.take() {
            Token::Number(seconds) if seconds.is_finite() && seconds.abs() < 1e12 => {
                let seconds = if minus { -seconds } else { seconds };
                #[expect(clippy::cast_possible_truncation, reason = "bounded one line before")]
                return Ok(At::Ms((seconds * 1000.0).round() as i64));
            }
            Token::Word(word) if word == "start" => At::Start,
            Token::Word(word) if word == "end" => At::End,
            _ => return self.fault("a timestamp, start() or end() is expected behind @"),
        };
        self.want("(")?;
        self.want(")")?;
        Ok(at)
    }

    fn duration(&mut self) -> Parsed<i64> {
        match *self.peek() {
            Token::Duration(ms) => {
                self.take();
                Ok(ms)
            }
            _ => self.unexpected("a duration"),
        }
    }

    fn primary(&mut self) -> Parsed<Node> {
        match self.peek().clone() {
            Token::Number(number) => {
                self.take();
                Ok(Node::Number(number))
            }
            Token::Text(text) => {
                self.take();
                Ok(Node::Text(text))
            }
            Token::Sign("(") => {
                self.take();
                let node = self.binary(0)?;
                self.want(")")?;
                Ok(node)
            }
            Token::Sign("{") => {
                let matchers = self.matchers()?;
                self.named(matchers)
            }
            Token::Word(word) => {
                self.take();
                self.word(&word)
            }
            _ => self.unexpected("an expression"),
        }
    }

    fn word(&mut self, word: &str) -> Parsed<Node> {
        if word.eq_ignore_ascii_case("inf") {
            return Ok(Node::Number(f64::INFINITY));
        }
        if word.eq_ignore_ascii_case("nan") {
            return Ok(Node::Number(f64::NAN));
        }
        let opens = matches!(self.peek(), Token::Sign("("));
        let groups = matches!(self.peek(), Token::Word(next)
            if next.eq_ignore_ascii_case("by") || next.eq_ignore_ascii_case("without"));
        if let Some(total) = Total::named(word).filter(|_| opens || groups) {
            return self.aggregate(total);
        }
        if opens {
            return match Function::named(word) {
                Some(function) => self.call(function),
                None => self.fault(format!("unknown function with name {word:?}")),
            };
        }
        let mut matchers =
            if matches!(self.peek(), Token::Sign("{")) { self.matchers()? } else { Vec::new() };
        if matchers.iter().any(|matcher| matcher.label == NAME) {
            return self.fault(format!("metric name must not be set twice: {word:?}"));
        }
        match Matcher::new(NAME, Op::Equal, word) {
            Ok(matcher) => matchers.push(matcher),
            Err(why) => return self.fault(why),
        }
        self.named(matchers)
    }

    /// A selector must say something that not everything meets.
    fn named(&self, matchers: Vec<Matcher>) -> Parsed<Node> {
        if matchers.iter().all(|matcher| matcher.is_met_by("")) {
            return self.fault("vector selector must contain at least one non-empty matcher");
        }
        Ok(Node::Instant(Selector { matchers, shift: Shift::default() }))
    }

    fn matchers(&mut self) -> Parsed<Vec<Matcher>> {
        self.want("{")?;
        let mut matchers = Vec::new();
        while !self.is("}") {
            let label = match self.peek().clone() {
                Token::Word(label) if is_label(&label) => label,
                _ => return self.unexpected("a label"),
            };
            self.take();
            let op = if self.is("=") {
                Op::Equal
            } else if self.is("!=") {
                Op::NotEqual
            } else if self.is("=~") {
                Op::Like
            } else if self.is("!~") {
                Op::NotLike
            } else {
                return self.unexpected("one of = != =~ !~");
            };
            let Token::Text(text) = self.peek().clone() else { return self.unexpected("a string") };
            self.patterns += usize::from(matches!(op, Op::Like | Op::NotLike));
            if self.patterns > PATTERNS {
                return self.fault(format!("more than {PATTERNS} patterns"));
            }
            match Matcher::new(&label, op, &text) {
                Ok(matcher) => matchers.push(matcher),
                Err(why) => return self.fault(why),
            }
            self.take();
            if !self.is(",") {
                self.want("}")?;
                break;
            }
        }
        Ok(matchers)
    }

    /// Names of labels in brackets. What is a keyword elsewhere is none here.
    fn names(&mut self) -> Parsed<Vec<String>> {
        self.want("(")?;
        let mut names = Vec::new();
        while !self.is(")") {
            match self.peek().clone() {
                Token::Word(name) if is_label(&name) => names.push(name),
                _ => return self.unexpected("a label"),
            }
            self.take();
            if !self.is(",") {
                self.want(")")?;
                break;
            }
        }
        Ok(names)
    }

    fn arguments(&mut self) -> Parsed<Vec<Node>> {
        self.want("(")?;
        let mut arguments = Vec::new();
        while !self.is(")") {
            arguments.push(self.binary(0)?);
            if !self.is(",") {
                self.want(")")?;
                break;
            }
        }
        Ok(arguments)
    }

    fn call(&mut self, function: Function) -> Parsed<Node> {
        let arguments = self.arguments()?;
        let (takes, name) = (function.takes(), function.name());
        let most = if function.takes_more() { usize::MAX } else { takes.len() };
        if !(function.least()..=most).contains(&arguments.len()) {
            return self.fault(format!(
                "expected {} argument(s) in call to {name:?}, got {}",
                takes.len(),
                arguments.len()
            ));
        }
        for (at, argument) in arguments.iter().enumerate() {
            let Some(wanted) = takes.get(at).or(takes.last()) else { continue };
            if argument.kind() != *wanted {
                return self.fault(format!(
                    "expected type {} in call to function {name:?}, got {}",
                    wanted.as_str(),
                    argument.kind().as_str()
                ));
            }
        }
        Ok(Node::Call(function, arguments))
    }

    fn grouping(&mut self) -> Parsed<Option<Grouping>> {
        let without = if self.is_word("by") {
            false
        } else if self.is_word("without") {
            true
        } else {
            return Ok(None);
        };
        Ok(Some(Grouping { without, labels: self.names()? }))
    }

    fn aggregate(&mut self, total: Total) -> Parsed<Node> {
        let before = self.grouping()?;
        let mut arguments = self.arguments()?;
        let by = match before {
            Some(by) => by,
            None => self.grouping()?.unwrap_or_default(),
        };
        let wants = total.wants();
        if arguments.len() != 1 + usize::from(wants.is_some()) {
            return self.fault("wrong number of arguments for aggregate expression provided");
        }
        let inner = arguments.pop().unwrap_or(Node::Number(0.0)); // there is one, as just checked
        let wanted = arguments.pop();
        for (node, kind) in [(Some(&inner), Some(Kind::Vector)), (wanted.as_ref(), wants)] {
            if let (Some(node), Some(kind)) = (node, kind)
                && node.kind() != kind
            {
                let (kind, found) = (kind.as_str(), node.kind().as_str());
                return self.fault(format!("expected type {kind} in aggregation expression, got {found}"));
            }
        }
        Ok(Node::Aggregate(Box::new(Aggregate { total, by, wanted, inner })))
    }
}

fn shift_of(node: &mut Node) -> Option<&mut Shift> {
    match node {
        Node::Instant(selector) | Node::Range(selector, _) => Some(&mut selector.shift),
        Node::Subquery(subquery) => Some(&mut subquery.shift),
        _ => None,
    }
}

fn checked(binary: &Binary) -> Result<(), &'static str> {
    let kinds = [binary.left.kind(), binary.right.kind()];
    if kinds.iter().any(|kind| !matches!(kind, Kind::Scalar | Kind::Vector)) {
        return Err("binary expression must contain only scalar and instant vector types");
    }
    let vectors = kinds == [Kind::Vector, Kind::Vector];
    if !vectors && (!binary.on.without || !binary.on.labels.is_empty() || binary.many != Many::None) {
        return Err("vector matching only allowed between instant vectors");
    }
    if !vectors && binary.sign.is_of_sets() {
        return Err("set operator not allowed in binary scalar expression");
    }
    if kinds == [Kind::Scalar, Kind::Scalar] && binary.sign.compares() && !binary.as_bool {
        return Err("comparisons between scalars must use BOOL modifier");
    }
    if !binary.on.without && binary.include.iter().any(|label| binary.on.labels.contains(label)) {
        return Err("a label must not occur in ON and GROUP clause at once");
    }
    Ok(())
}
