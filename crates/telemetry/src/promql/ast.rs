//! What a question is, once it is read: a tree whose types are right.

use super::functions::Function;
use super::matcher::Matcher;

/// A question. Made by [`super::parse`].
#[derive(Clone, Debug, PartialEq)]
pub struct Expr(pub(super) Node);

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Number(f64),
    Text(String),
    /// What the series said last.
    Instant(Selector),
    /// What the series said in a stretch.
    Range(Selector, i64),
    Subquery(Box<Subquery>),
    Call(Function, Vec<Node>),
    Aggregate(Box<Aggregate>),
    Binary(Box<Binary>),
    Negate(Box<Node>),
}

/// What a node gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Scalar,
    Vector,
    Matrix,
    Text,
}

impl Kind {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Vector => "instant vector",
            Self::Matrix => "range vector",
            Self::Text => "string",
        }
    }
}

impl Node {
    pub(super) fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Number(_) => Kind::Scalar,
            Self::Text(_) => Kind::Text,
            Self::Range(..) | Self::Subquery(_) => Kind::Matrix,
            Self::Instant(_) | Self::Aggregate(_) => Kind::Vector,
            Self::Call(function, _) => function.gives(),
            Self::Negate(inner) => inner.kind(),
            Self::Binary(binary) => match (binary.left.kind(), binary.right.kind()) {
                (Kind::Scalar, Kind::Scalar) => Kind::Scalar,
                _ => Kind::Vector,
            },
        }
    }
}

/// When, other than now.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Shift {
    /// So long before.
    pub(super) offset_ms: i64,
    /// Always at the same moment.
    pub(super) at: Option<At>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum At {
    Start,
    End,
    Ms(i64),
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Selector {
    pub(super) matchers: Vec<Matcher>,
    pub(super) shift: Shift,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Subquery {
    pub(super) inner: Node,
    pub(super) range_ms: i64,
    pub(super) step_ms: Option<i64>,
    pub(super) shift: Shift,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Total {
    Sum,
    Avg,
    Min,
    Max,
    Count,
    Group,
    Stddev,
    Stdvar,
    TopK,
    BottomK,
    Quantile,
    CountValues,
}

impl Total {
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "sum" => Self::Sum,
            "avg" => Self::Avg,
            "min" => Self::Min,
            "max" => Self::Max,
            "count" => Self::Count,
            "group" => Self::Group,
            "stddev" => Self::Stddev,
            "stdvar" => Self::Stdvar,
            "topk" => Self::TopK,
            "bottomk" => Self::BottomK,
            "quantile" => Self::Quantile,
            "count_values" => Self::CountValues,
            _ => return None,
        })
    }

    /// What it wants beside a vector.
    pub(super) const fn wants(self) -> Option<Kind> {
        match self {
            Self::TopK | Self::BottomK | Self::Quantile => Some(Kind::Scalar),
            Self::CountValues => Some(Kind::Text),
            _ => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Aggregate {
    pub(super) total: Total,
    pub(super) by: Grouping,
    pub(super) wanted: Option<Node>,
    pub(super) inner: Node,
}

/// Which labels count.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Grouping {
    /// All but these, and but the name.
    pub(super) without: bool,
    pub(super) labels: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Atan2,
    Equal,
    NotEqual,
    Greater,
    Less,
    AtLeast,
    AtMost,
    And,
    Or,
    Unless,
}

impl Sign {
    pub(super) const fn compares(self) -> bool {
        matches!(
            self,
            Self::Equal | Self::NotEqual | Self::Greater | Self::Less | Self::AtLeast | Self::AtMost
        )
    }

    pub(super) const fn is_of_sets(self) -> bool {
        matches!(self, Self::And | Self::Or | Self::Unless)
    }
}

/// How many of one side go with how many of the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Many {
    #[default]
    None,
    Left,
    Right,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Binary {
    pub(super) sign: Sign,
    pub(super) left: Node,
    pub(super) right: Node,
    /// 1 or 0 instead of leaving out.
    pub(super) as_bool: bool,
    /// `without` is `ignoring`.
    pub(super) on: Grouping,
    pub(super) many: Many,
    /// Labels that the many take from the one.
    pub(super) include: Vec<String>,
}
