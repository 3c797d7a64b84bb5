//! Receipt handles: what a receiver deletes a message with.

/// One delivery of one message. As text it carries a code that only this store can make, so that nobody can make one up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Receipt {
    /// The number of the queue.
    pub shard: u32,
    /// Which message.
    pub sequence: u64,
    /// Which of its deliveries, the first is 1.
    pub receives: u32,
}
