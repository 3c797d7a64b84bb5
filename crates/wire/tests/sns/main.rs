//! SNS over a real socket, with topics and queues in memory: by the clients of AWS.

mod actions;
mod world;
