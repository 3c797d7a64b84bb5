//! Queues: what is sent and received ([`message`], [`receipt`]), how a queue behaves ([`settings`]), how it is kept
//! ([`record`], [`keys`]), and the machine that decides ([`core`]).

mod codec;
pub mod core;
pub mod keys;
pub mod message;
pub mod receipt;
pub mod record;
mod seqset;
pub mod settings;
