//! The text form: typed records that mirror the file, whole Compose grammar and keys of our own. No
//! default is filled in, nothing is looked up; every key and value knows its place.

pub(crate) mod balance;
pub(crate) mod build;
pub(crate) mod command;
pub(crate) mod console;
pub(crate) mod decode;
pub(crate) mod deploy;
pub(crate) mod filter;
pub(crate) mod gateway;
pub(crate) mod guard;
pub(crate) mod health;
pub(crate) mod limit;
pub(crate) mod pipes;
pub(crate) mod ports;
pub(crate) mod routing;
pub(crate) mod scalar;
pub(crate) mod service;
pub(crate) mod shape;
pub(crate) mod slo;
pub(crate) mod storage;
pub(crate) mod support;
pub(crate) mod telemetry;

pub use decode::At;
pub use service::Service;

use console::ConsoleText;
use decode::record;
use gateway::GatewayText;
use pipes::PipesText;
use scalar::{Loose, Word};
use shape::{Dict, Switch};
use storage::{Config, Model, Network, Secret, Volume};
use telemetry::TelemetryText;

record! {
    /// An application: services, how they reach each other, and what they need.
    pub struct File: "the application file" {
        /// The app's name; left out: that of its directory.
        name: String,
        /// The format's version; has no meaning any more.
        version: Word,
        /// Where relative paths start. Written by `atoll config`.
        project_directory: String,
        /// Other files that are part of this one.
        include: Loose,
        /// The services.
        services: Dict<Service>,
        /// The edge of the app.
        gateway: GatewayText,
        /// What holds for all queues and topics.
        pipes: PipesText,
        /// What is kept of traces, logs and metrics; `off`: nothing.
        telemetry: Switch<TelemetryText>,
        /// The web console: on, `off`, or where it listens.
        console: ConsoleText,
        /// Functions, started by events.
        functions: Loose,
        /// Sagas, in Amazon States Language.
        sagas: Loose,
        /// Networks.
        networks: Dict<Network>,
        /// Volumes.
        volumes: Dict<Volume>,
        /// Secrets.
        secrets: Dict<Secret>,
        /// Configs.
        configs: Dict<Config>,
        /// AI models.
        models: Dict<Model>,
    }
}
