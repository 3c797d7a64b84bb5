//! From what the controller sees to what the API says.

use std::net::Ipv4Addr;
use std::time::Duration;

use api::{InstanceState, Phase, ServiceState};
use control::launch::HOST;
use control::status::{InstanceView, ServiceView};

use manifest::spec::Listen;
use registry::Moment;

use super::Admin;

/// Everything there is to see now.
pub(crate) async fn status(admin: &Admin) -> api::Status {
    let view = admin.controller.view().borrow().clone();
    let outline = admin.applier.outline().await;
    let observed = admin.registry.observe().borrow().clone();
    let (passed_over, now) = (admin.applier.passed_over(), Moment::now());
    let services: Vec<api::Service> = view
        .services
        .iter()
        .map(|service| {
            let (routes, calls) = outline.services.get(&service.name).cloned().unwrap_or_default();
            let seen = |instance: &InstanceView| {
                let id = instance.place.instance(instance.run);
                Seen {
                    in_flight: observed.get(&id).map_or(0, registry::Observed::in_flight),
                    ejected: passed_over.get(&id).map(|until| until.since(now)),
                }
            };
            to_service(service, routes, calls, seen)
        })
        .collect();
    api::Status {
        generation: view.generation,
        app: admin.node.app.clone(),
        root: outline.root,
        phase: if view.stopping { Phase::Stopping } else { phase(&services) },
        gateway: outline.gateway.iter().map(url).collect(),
        pipes: outline.pipes.map(crate::broker::endpoint),
        console: admin.applier.console.url(),
        services,
        guards: crate::guards::shown(&admin.applier.guards),
    }
}

/// Where somebody on this machine reaches an address: what listens everywhere is `localhost` to them.
fn url(listen: &Listen) -> String {
    let Listen { address, tls } = listen;
    let scheme = if *tls { "https" } else { "http" };
    // Certificates are for names first of all: `localhost` is in that of the development authority.
    if address.ip().is_unspecified() || (*tls && address.ip() == Ipv4Addr::LOCALHOST) {
        return format!("{scheme}://localhost:{}", address.port());
    }
    format!("{scheme}://{address}")
}

/// Where a service stays unless something changes, and nothing is wrong.
pub(crate) fn is_settled(state: ServiceState) -> bool {
    matches!(
        state,
        ServiceState::Ready | ServiceState::Completed | ServiceState::Stopped | ServiceState::Unsupported
    )
}

fn phase(services: &[api::Service]) -> Phase {
    if services.iter().any(|s| matches!(s.state, ServiceState::Failed | ServiceState::Degraded)) {
        return Phase::Degraded;
    }
    // Without an app there is nothing that could be ready.
    let ready = !services.is_empty() && services.iter().all(|s| is_settled(s.state));
    if ready { Phase::Ready } else { Phase::Starting }
}

/// An instance as the data path sees it.
struct Seen {
    in_flight: u32,
    /// How much longer it is passed over.
    ejected: Option<Duration>,
}

fn to_service(
    view: &ServiceView,
    routes: Vec<String>,
    calls: Vec<String>,
    seen: impl Fn(&InstanceView) -> Seen,
) -> api::Service {
    use control::status::ServiceState as From;
    api::Service {
        name: view.name.to_string(),
        state: match view.state {
            From::Waiting => ServiceState::Waiting,
            From::Preparing => ServiceState::Preparing,
            From::Starting => ServiceState::Starting,
            From::Ready => ServiceState::Ready,
            From::Degraded => ServiceState::Degraded,
            From::Failed => ServiceState::Failed,
            From::Completed => ServiceState::Completed,
            From::Stopped => ServiceState::Stopped,
            From::Stopping => ServiceState::Stopping,
            From::Unsupported => ServiceState::Unsupported,
        },
        detail: view.detail.clone(),
        desired: view.desired,
        ready: view.ready,
        routes,
        calls,
        ready_after_ms: view.ready_after.map(|after| after.as_millis() as u64),
        instances: view.instances.iter().map(|i| to_instance(i, &seen(i))).collect(),
    }
}

fn to_instance(view: &InstanceView, seen: &Seen) -> api::Instance {
    use control::status::InstanceState as From;
    api::Instance {
        name: view.place.to_string(),
        service: view.place.service.to_string(),
        replica: view.place.index,
        run: view.run,
        state: match view.state {
            From::Waiting => InstanceState::Waiting,
            From::Starting => InstanceState::Starting,
            From::Ready => InstanceState::Ready,
            From::Unready => InstanceState::Unready,
            From::Draining => InstanceState::Draining,
            From::Stopping => InstanceState::Stopping,
            From::Backoff => InstanceState::Backoff,
            From::Exited => InstanceState::Exited,
        },
        detail: view.detail.clone(),
        pid: view.pid,
        address: view.port.map(|port| format!("{HOST}:{port}")),
        revision: view.revision.clone(),
        started_at: view.since,
        ready_after_ms: view.ready_after.map(|after| after.as_millis() as u64),
        restarts: view.restarts,
        last_exit: view.last_end.clone(),
        in_flight: seen.in_flight,
        ejected_ms: seen.ejected.map(|left| left.as_millis() as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::{Listen, url};

    #[test]
    fn an_address_is_shown_as_somebody_here_can_use_it() {
        for (address, shown) in [
            (("127.0.0.1:8080", false), "http://127.0.0.1:8080"),
            (("0.0.0.0:8080", false), "http://localhost:8080"),
            (("[::]:80", false), "http://localhost:80"),
            (("127.0.0.1:8443", true), "https://localhost:8443"),
            (("10.0.0.5:443", true), "https://10.0.0.5:443"),
        ] {
            let (address, tls) = address;
            assert_eq!(url(&Listen { address: address.parse().unwrap(), tls }), shown);
        }
    }
}
