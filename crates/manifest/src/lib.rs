//! What an app asks for: the text form of its file and the resolved [`spec`].
//!
//! Only the text form knows YAML. Every fault of a file is reported in one go, each with its place.
//!
//! Read in this order: [`load`](load()), `assemble` (files → tree), [`text`] (tree → records), `resolve` (records →
//! [`spec`]), [`lint`](lint()), [`report`](report()).

mod assemble;
pub mod fault;
mod lint;
mod load;
mod render;
mod report;
mod resolve;
mod schema;
pub mod spec;
pub mod text;
mod tree;

pub use assemble::Request;
pub use fault::{Fault, Severity, Source, SourceId, Sources, Span};
pub use lint::{Finding, lint};
pub use load::{Loaded, load, load_naming, parse_resolved};
pub use render::{render_json, render_yaml};
pub use report::report;
pub use resolve::{SelectError, select};
pub use schema::schema;

#[cfg(test)]
mod tests;
