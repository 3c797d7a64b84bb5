//! Queues.

pub mod message;
pub mod receipt;
pub mod settings;
