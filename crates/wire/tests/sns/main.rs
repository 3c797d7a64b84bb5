//! SNS over a real socket, with topics and queues in memory: by the clients of AWS.

#![allow(clippy::unwrap_used)] // a test ends where something does not hold

mod actions;
mod clients;
#[path = "../clients/python.rs"]
mod python;
mod world;
