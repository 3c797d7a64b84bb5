//! SQS over a real socket, with queues in memory: by the client of AWS, by hand, and by other people's clients.

mod actions;
mod by_hand;
mod clients;
mod limits;
mod world;
