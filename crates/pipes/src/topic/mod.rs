//! Topics.

pub mod filter;
