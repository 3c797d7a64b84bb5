//! Queues over a store in memory, under a clock that stands still until it is told to move.

#![allow(clippy::unwrap_used)] // a test that cannot go on fails

mod dead_letters;
mod durable;
mod fifo;
mod moves;
mod registry;
mod standard;
mod waiting;
mod world;
