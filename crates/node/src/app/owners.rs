//! Whose queues and topics are, and where clients find them.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use manifest::spec;

use crate::broker;

/// Owners of queues and topics by the names that clients use.
#[derive(Clone, Debug, Default)]
pub(crate) struct PipeOwners {
    address: Option<SocketAddr>,
    queues: BTreeMap<String, String>,
    topics: BTreeMap<String, String>,
}

impl PipeOwners {
    /// Of the queues and topics of a file that are served at this address.
    pub(super) fn new(pipes: &spec::Pipes, address: Option<SocketAddr>) -> Self {
        let queues = pipes.queues.values().map(|queue| (queue.wire_name(), queue.owner.to_string()));
        let topics = pipes.topics.values().map(|topic| (topic.wire_name(), topic.owner.to_string()));
        Self { address, queues: queues.collect(), topics: topics.collect() }
    }

    /// The service that the file writes a queue under.
    pub(crate) fn of_queue(&self, queue: &str) -> Option<String> {
        self.queues.get(queue).cloned()
    }

    /// The service that the file writes a topic under.
    pub(crate) fn of_topic(&self, topic: &str) -> Option<String> {
        self.topics.get(topic).cloned()
    }

    /// Where clients find a queue.
    pub(crate) fn url(&self, queue: &str) -> String {
        self.address.map_or_else(String::new, |at| broker::queue_url(at, queue))
    }
}
