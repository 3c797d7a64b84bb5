//! Clients and services that Atoll did not write, through the real `atoll`: boto3, curl, gRPC's C core (by way of
//! Python), the library `websockets`, Chromium, h2load and wrk; senders of telemetry: OpenTelemetry's SDKs and Sentry's;
//! validators of what SNS tells; a mail server, `aiosmtpd`.
//!
//! What is not installed is left out, but not where `ATOLL_CI_ALL` is set; `.ci/run tools` installs everything.
//! The Python packages are in an environment beside the build:
//!
//! ```text
//! python3 -m venv target/clients-python
//! target/clients-python/bin/pip install -r crates/cli/tests/clients/requirements.txt
//! ```
#![allow(clippy::unwrap_used)]

mod app;
mod borrower;
mod browser;
mod curl;
mod grpc;
mod load;
mod mail;
#[allow(dead_code)] // more than is needed here
#[path = "../running/notified.rs"]
mod notified;
mod signatures;
mod telemetry;
mod websocket;
#[allow(dead_code)] // more than is needed here
#[path = "../running/world.rs"]
mod world;
