//! The admin API, described apart from its server: wire types and a client. The CLI and the console use
//! it and nothing else; there is no private path.
//!
//! HTTP/1.1 with JSON over the Unix socket `admin.sock` in the state directory of an app.
//!
//! | method and path | body | answer |
//! |---|---|---|
//! | `GET /v1/node` | | [`Node`] |
//! | `GET /v1/status` | | [`Status`]; with `?watch=true` one per line at each change |
//! | `POST /v1/plan` | [`Apply`] | [`Plan`]: what `PUT /v1/app` would do |
//! | `PUT /v1/app` | [`Apply`] | [`Plan`]: what is being done |
//! | `GET /v1/app` | | [`AppFile`]: the resolved application file |
//! | `POST /v1/restart` | [`Restart`] | [`Done`], once the instances are ready again |
//! | `POST /v1/scale` | [`Scale`] | [`Plan`] |
//! | `POST /v1/stop` | [`Stop`] | [`Done`], once everything is stopped; the node then ends |
//! | `GET /v1/events` | | [`Event`] a line; `?follow=true`, `?since=<seq>` |
//! | `GET /v1/logs` | | [`LogLine`] a line; `?follow=true&tail=100&since=<µs>&service=a,b` |
//! | `GET /v1/usage` | | [`Usage`] |
//! | `GET /v1/routes` | | list of [`Route`] |
//! | `GET /v1/breakers` | | list of [`Guard`] |
//! | `POST /v1/breakers` | [`BreakerOrder`] | list of [`Guard`]: those of the route |
//! | `GET /v1/queues` | | list of [`Queue`] |
//! | `GET /v1/queues/NAME` | | [`QueueDetail`] |
//! | `GET /v1/queues/NAME/messages` | | list of [`Message`], which stay as they are; `?limit=10` |
//! | `POST /v1/queues/NAME/messages` | [`SendMessage`] | [`SentMessage`] |
//! | `POST /v1/queues/NAME/receive` | [`ReceiveMessages`] | list of [`Message`] |
//! | `POST /v1/queues/NAME/purge` | | [`QueueDetail`] |
//! | `POST /v1/queues/NAME/move` | [`MoveMessages`] | [`QueueDetail`] |
//! | `GET /v1/topics` | | list of [`Topic`] |
//! | `GET /v1/topics/NAME` | | [`TopicDetail`] |
//! | `POST /v1/topics/NAME/messages` | [`PublishMessage`] | [`PublishedMessage`] |
//! | `GET /v1/keys` | | list of [`Key`] |
//! | `POST /v1/keys` | [`CreateKey`] | [`CreatedKey`]: the secret is told this once |
//! | `POST /v1/keys/revoke` | [`RevokeKey`] | [`Key`], which lets nobody in any more |
//! | `POST /v1/store/backup` | [`BackupStore`] | [`StoreBackup`] |
//! | `POST /v1/console` | [`OpenConsole`] | [`ConsoleLogin`] |
//! | `POST /v1/traces` | [`TraceQuery`] | list of [`TraceSummary`], the newest first |
//! | `GET /v1/traces/ID` | | [`Trace`] |
//! | `POST /v1/records` | [`LogQuery`] | [`LogRecord`] a line: the newest first; with `follow` the oldest first and on |
//! | `GET /v1/metrics` | | list of [`Metric`] |
//! | `POST /v1/metrics` | [`MetricQuery`] | list of [`Series`] |
//! | `POST /v1/latency` | [`LatencyQuery`] | list of [`Latency`] |
//! | `POST /v1/graph` | [`Range`] | [`Graph`] |
//! | `POST /v1/errors` | [`ErrorQuery`] | list of [`ErrorGroup`] |
//! | `GET /v1/errors/ID` | | [`ErrorDetail`] |
//! | `POST /v1/errors/ID` | [`DecideError`] | [`ErrorDetail`] |
//! | `GET /v1/slos` | | list of [`Slo`] |
//! | `GET /v1/alerts` | | list of [`Alert`] |
//! | `GET /v1/telemetry` | | [`TelemetryStats`] |
//! | `GET /livez`, `/readyz`, `/metrics` | | text |
//!
//! An error is a [`Problem`] (RFC 9457) with its status.

mod client;
mod console;
mod guard;
mod key;
mod queue;
mod slo;
mod telemetry;
mod topic;
mod types;

pub use client::{Client, ClientError, Lines, SOCKET};
pub use console::*;
pub use guard::*;
pub use key::*;
pub use queue::*;
pub use slo::*;
pub use telemetry::*;
pub use topic::*;
pub use types::*;
