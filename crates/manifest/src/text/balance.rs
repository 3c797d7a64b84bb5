//! `protocol` and `balance` of a service.

use super::decode::{record, words};
use super::scalar::{Part, Time};
use super::shape::{Form, Switch};

words! {
    /// What a service speaks on its port.
    pub enum Protocol: "a protocol" {
        /// HTTP/1.1.
        Http = "http",
        /// HTTP/2 by prior knowledge.
        H2 = "h2",
        /// gRPC, which is HTTP/2.
        Grpc = "grpc",
    }
}

words! {
    /// Which instance is next.
    pub enum BalanceWord: "a way to balance" {
        /// Of two drawn at random the one with the lower latency and load.
        PeakEwma = "peak-ewma",
        /// Of two drawn at random the one with fewer requests under way.
        LeastRequest = "least-request",
        /// In turn.
        RoundRobin = "round-robin",
    }
}

record! {
    /// How requests are spread over the instances.
    pub struct BalanceLong: "a balance section" {
        /// Which instance is next.
        by: BalanceWord,
        /// The same key goes to the same instance.
        hash: Form<HashWord, HashLong>,
        /// A new instance takes its share over this time.
        slow_start: Time,
        /// When fewer than this share of instances are ready, suspected ones are used as well.
        panic: Part,
        /// When an instance is passed over for what it answers; `off`: never.
        outlier: Switch<OutlierText>,
    }
}

words! {
    /// What a consistent hash is made of.
    pub enum HashWord: "a key to hash" {
        /// The client's address.
        Client = "client",
    }
}

record! {
    /// What a consistent hash is made of.
    pub struct HashLong: "a key to hash" {
        /// The value of this header.
        header: String,
        /// The value of this cookie.
        cookie: String,
    }
}

record! {
    /// When an instance is passed over for what it answers.
    pub struct OutlierText: "an outlier section" {
        /// Failures in a row.
        failures: u32,
        /// How long it is passed over the first time.
        eject: Time,
        /// The longest.
        max_eject: Time,
        /// Of all instances at most this share at once.
        share: Part,
    }
}
