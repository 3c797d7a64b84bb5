//! Where exchanges stand in their traces: each hop is a span of its own. The forms of the header are [`kit::trace`]'s.

pub use kit::trace::{SpanId, Trace, TraceId};
pub(crate) use kit::trace::{draw, hex_into};
