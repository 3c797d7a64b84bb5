//! PromQL: the language that dashboards of Prometheus ask in, over the metrics that are kept. What it means is what
//! Prometheus 2 means by it; `docs/telemetry.md` says which part of it there is.
//!
//! A text becomes a tree whose types are right ([`parse`]), and the tree becomes numbers ([`evaluate`]), all moments of an
//! answer at once. Where the samples come from is a [`Source`]: [`kept`] is the one that reads what is kept. Nothing here knows
//! HTTP or reads a clock.
//!
//! Inside: `lexer` → `parse` → `ast`; `eval` walks the tree, `windows` are functions of stretches of time, `functions` those of
//! single values, `aggregate` and `binary` the operators, `histogram` the quantiles of buckets.

mod aggregate;
mod ast;
mod binary;
mod eval;
mod functions;
mod histogram;
pub mod kept;
mod lexer;
mod matcher;
mod parse;
mod rows;
mod windows;

#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::model::Text;

pub use ast::Expr;
pub use eval::{Asked, evaluate};
pub use matcher::{Matcher, Op};
pub use parse::{duration_ms, moment_ms, parse, seconds_ms, selector};
pub use rows::{Row, Value};

/// The label that is the name of a metric.
pub const NAME: &str = "__name__";
/// A sample counts for so long, until the next one comes.
pub const LOOK_BACK_MS: i64 = 300_000;

/// Names of a series and what they are set to, by name; [`NAME`] is one of them.
pub type Labels = Vec<(Text, Text)>;

/// A series as it was sampled.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampled {
    /// Its labels.
    pub labels: Labels,
    /// When, in milliseconds since the Unix epoch, growing, and how much.
    pub samples: Vec<(i64, f64)>,
}

/// Where samples come from.
pub trait Source {
    /// The series that all matchers mean, with their samples from one moment to another, both included.
    fn select(
        &self,
        matchers: &[Matcher],
        from_ms: i64,
        until_ms: i64,
        limits: &Limits,
    ) -> Result<Vec<Sampled>, PromError>;
}

/// How much a question may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Moments of an answer. Prometheus has the same one: eleven thousand steps behind the first.
    pub steps: usize,
    /// Samples that are read for one selector.
    pub samples: usize,
    /// Series of one selector.
    pub series: usize,
    /// Series times moments of all that is in between.
    pub cells: usize,
    /// How long it may work. Whoever asks reads the clock.
    pub time: Duration,
    /// Bytes of a question.
    pub text: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            steps: 11_001,
            samples: 5_000_000,
            series: 20_000,
            cells: 4_000_000,
            time: Duration::from_secs(20),
            text: 16 << 10,
        }
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PromError {
    /// It is not PromQL, or not of the part that there is. The place is a byte, from 1.
    #[error("1:{at}: parse error: {why}")]
    Syntax {
        /// Where.
        at: usize,
        /// Why.
        why: String,
    },
    /// It is, but has no answer: labels that match more than once, say.
    #[error("{0}")]
    NoAnswer(String),
    /// It would take more than a limit allows.
    #[error("the question needs more than {limit} {what}: ask about less time, or with a larger step")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        limit: usize,
    },
    /// It took longer than it may.
    #[error("the question took longer than {0:?}")]
    TooLong(Duration),
}
