//! What an app asks for: the text form of its file and the resolved [`spec`].
//!
//! Only the text form knows YAML. Every fault of a file is reported in one go, each with its place.

mod assemble;
pub mod fault;
pub mod spec;
mod text;
mod tree;

pub use assemble::Request;
pub use fault::{Fault, Severity, Source, SourceId, Sources, Span};
