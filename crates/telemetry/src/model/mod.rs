//! What telemetry is about: [`Span`], [`LogRecord`], [`MetricPoint`], [`ErrorEvent`], made of [`Text`] and [`Value`].
//!
//! Times are nanoseconds since the Unix epoch, ids are bytes. Nothing here knows how a thing arrived or is kept.

mod error;
mod log;
mod metric;
mod span;
mod text;
mod value;

pub(crate) use error::is_of_cargo;
pub use error::{BadGroupId, ErrorEvent, ErrorGroup, ErrorState, Frame, GroupId, TakenError};
pub use log::{BadCursor, Cursor, LogHit, LogRecord, Severity};
pub use metric::{Buckets, ExponentialBuckets, Histogram, MetricKind, MetricPoint, MetricValue};
pub use span::{Link, Span, SpanEvent, SpanKind, Status};
pub use text::Text;
pub use value::{Attributes, Value};

pub use kit::trace::{BadId, SpanId, TraceId};
