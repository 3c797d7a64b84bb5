//! `healthcheck`: Compose's command checks, and probes of our own.

use super::command::Test;
use super::decode::record;
use super::scalar::Time;
use super::shape::{Form, Switch};

record! {
    /// How to tell that an instance is ready.
    pub struct HealthCheck: "a health check" {
        /// `GET` this path: 2xx or 3xx is ready.
        http: Form<String, HttpProbe>,
        /// Ready when a connection opens.
        tcp: Switch<Form<u16, TcpProbe>>,
        /// Ask `grpc.health.v1`.
        grpc: Switch<Form<String, GrpcProbe>>,
        /// A command that ends with status 0 when the instance is ready.
        test: Test,
        /// No check, whatever the image says.
        disable: bool,
        /// Time between two checks.
        interval: Time,
        /// How long one check may take.
        timeout: Time,
        /// Failures in a row that make it unready.
        retries: u32,
        /// Failures this soon after the start do not count.
        start_period: Time,
        /// Time between two checks until the first passes.
        start_interval: Time,
    }
}

record! {
    /// An HTTP probe.
    pub struct HttpProbe: "an http probe" requires ["path"] {
        /// Path and query.
        path: String,
        /// Another port than the instance's own.
        port: u16,
    }
}

record! {
    /// A TCP probe.
    pub struct TcpProbe: "a tcp probe" {
        /// Another port than the instance's own.
        port: u16,
    }
}

record! {
    /// A gRPC probe.
    pub struct GrpcProbe: "a grpc probe" {
        /// The service to ask about; left out: the server as a whole.
        service: String,
        /// Another port than the instance's own.
        port: u16,
    }
}
