//! SQS over a real socket, with queues in memory: by the client of AWS, by hand, and by other people's clients.

#![allow(clippy::unwrap_used)] // a test ends where something does not hold

mod actions;
mod by_hand;
mod clients;
mod limits;
#[path = "../clients/python.rs"]
mod python;
mod queues;
mod world;
