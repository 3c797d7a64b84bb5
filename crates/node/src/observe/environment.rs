//! What a service finds in its environment of where its telemetry goes: the standard variables of OpenTelemetry and Sentry, which
//! their SDKs read by themselves.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use manifest::spec::{App, ServiceName};

use super::taker::{key_of, project_of};

/// Where telemetry is taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Doors {
    pub(crate) grpc: SocketAddr,
    pub(crate) http: SocketAddr,
}

/// SDKs hand over what they have this often, in milliseconds: somebody may be looking. Their own defaults are 5 s, 1 s and
/// 60 s.
const SPANS_MS: &str = "500";
const LOGS_MS: &str = "500";
const METRICS_MS: &str = "10000";

/// What each service is given.
pub(crate) fn given(app: &App, doors: Doors) -> BTreeMap<ServiceName, BTreeMap<String, String>> {
    let host = crate::broker::reachable(doors.http);
    let of = |name: &ServiceName| {
        let dsn = format!("http://{}@{host}/{}", key_of(name.as_str()), project_of(name.as_str()));
        let given = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{host}")),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf".into()),
            ("OTEL_PROPAGATORS", "tracecontext,baggage".into()),
            ("OTEL_BSP_SCHEDULE_DELAY", SPANS_MS.into()),
            ("OTEL_BLRP_SCHEDULE_DELAY", LOGS_MS.into()),
            ("OTEL_METRIC_EXPORT_INTERVAL", METRICS_MS.into()),
            ("SENTRY_DSN", dsn),
            ("SENTRY_ENVIRONMENT", app.name.to_string()),
        ];
        (name.clone(), given.map(|(name, value)| (name.to_owned(), value)).into())
    };
    app.services.keys().map(of).collect()
}
