//! What instances write: kept line by line in rotating files, read back merged by time.
//!
//! One instance has one file, `<name>.log`, and older ones `<name>.log.1` (the newest of them), `.2`, ….
//! One line of a file is one record: `2026-01-02T03:04:05.678901Z o text`. The letter is the stream: `o`
//! for standard output, `e` for standard error, `a` for a remark of Atoll's own. A capital letter says that
//! the line was longer than [`MAX_LINE`] and goes on in the next record of that stream.
//!
//! Read in this order: [`record`](self) (one line), [`RotatingFile`] (writing), [`Reader`] (reading),
//! [`Follow`] (reading on).

mod file;
mod follow;
mod read;
mod record;
mod segments;
mod split;

pub use file::{RotatingFile, Trouble};
pub use follow::Follow;
pub use read::{Lines, Query, Reader, Which};
pub use record::{LogLine, MAX_LINE, Stream};

pub(crate) use record::write_record;
pub(crate) use split::LineSplitter;
