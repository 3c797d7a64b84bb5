//! One attempt on one instance: connect, send, and wait for the head of the answer.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use http::StatusCode;
use manifest::spec::{InstanceId, Wire};
use registry::{Endpoint, Lease, Moment};
use tokio::time::Instant;

use crate::deadline::Deadline;
use crate::engine::{Broken, Reply, UpstreamConnection, h2};
use crate::exchange::Asked;
use crate::failure::{Failure, Kind};
use crate::guard::Ended;
use crate::head::forward::Attempt;
use crate::head::{self, Framing};
use crate::policy::breaker::Pass;
use crate::rare::{apart, rarely};
use crate::table::Target;
use crate::thread::Thread;
use crate::upload::{Gate, Upload};

/// What a try is waiting for: names the failure when its time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Instance,
    Connection,
    Answer,
}

/// Waits for a try up to its time, `limit`, which moves as long as the client sends its body, and fast enough. How
/// long a body may pause is bounded elsewhere. `None`: its time is over.
pub(crate) async fn in_time<T>(
    thread: &Thread,
    mut attempt: Pin<&mut impl Future<Output = T>>,
    limit: Option<Duration>,
    deadline: &Deadline,
    upload: &Upload,
) -> Option<T> {
    let mut until = limit.map_or(deadline.at(), |limit| deadline.at().min(Instant::now() + limit));
    loop {
        if let Some(outcome) = thread.alarms.within(until, attempt.as_mut()).await {
            return Some(outcome);
        }
        let now = Instant::now();
        let last = upload.client_was_last_at(now)?;
        deadline.client_sent_at(last, upload.bytes(), &thread.limits);
        until = limit.map_or(deadline.at(), |limit| deadline.at().min(last + limit));
        if until <= now {
            return None;
        }
    }
}

/// Makes the attempt.
pub(crate) async fn attempt(
    thread: &Rc<Thread>,
    asked: &Asked,
    lease: Lease,
    wire: Wire,
    upload: &Rc<Upload>,
    phase: &Cell<Phase>,
    left: Duration,
) -> Result<(Reply, Lease), Failure> {
    let limits = &thread.limits;
    let endpoint = lease.endpoint();
    let framing = match upload.size() {
        _ if upload.is_empty() => Framing::None,
        Some(size) => Framing::Known(size),
        None => Framing::Unknown,
    };
    let attempt = Attempt { endpoint: endpoint.address(), framing, left };
    if wire == Wire::Http2 {
        return apart(attempt_http2(thread, asked, lease, upload, phase, &attempt)).await;
    }
    let request = UpstreamConnection::request(asked, &attempt, limits)?;
    let idle = thread.pool.take(endpoint);
    let reused = idle.is_some();
    let connection = match idle {
        Some(connection) => connection,
        None => {
            phase.set(Phase::Connection);
            rarely(connect(thread, endpoint)).await?
        }
    };
    phase.set(Phase::Answer);
    let waits = framing != Framing::None && head::expects_continue(&asked.head);
    let gate = waits.then(|| Gate::new(limits.expect));
    let go = gate.as_ref().map(Gate::key);
    let sending = upload.attempt(limits.body_idle, gate);
    match connection.send(request, sending, go).await {
        Ok(reply) if head::check::is_plain(&reply.fields) => Ok((reply, lease)),
        Ok(_) => {
            let detail =
                format!("`{}` answered in a transfer coding nobody asked for", lease.endpoint().id());
            Err(Failure::new(Kind::BadAnswer, detail))
        }
        Err(broken) => Err(no_answer(lease.endpoint().id(), broken, upload, reused)),
    }
}

/// Opens a connection to an instance.
async fn connect(thread: &Thread, endpoint: &Endpoint) -> Result<UpstreamConnection, Failure> {
    thread.counters.upstream_opened();
    let opening = UpstreamConnection::open(endpoint.address());
    match tokio::time::timeout(thread.limits.connect, opening).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(not_connected(endpoint.id(), &error)),
        Err(_) => {
            let detail = format!("`{}` did not take the connection in time", endpoint.id());
            Err(Failure::new(Kind::ConnectionTimeout, detail))
        }
    }
}

/// One attempt on one instance that speaks HTTP/2.
async fn attempt_http2(
    thread: &Rc<Thread>,
    asked: &Asked,
    lease: Lease,
    upload: &Rc<Upload>,
    phase: &Cell<Phase>,
    attempt: &Attempt,
) -> Result<(Reply, Lease), Failure> {
    let limits = &thread.limits;
    let instance = lease.endpoint().id();
    if head::wants_upgrade(&asked.head).is_some() {
        // RFC 9113 §8.6: there are no upgrades. Without it the service would be asked for something else.
        let detail = format!("`{instance}` speaks HTTP/2, on which no protocol can be switched");
        return Err(Failure::new(Kind::UpgradeFailed, detail));
    }
    let request = h2::client::request(asked, attempt, limits)?;
    phase.set(Phase::Connection);
    let opened = || thread.counters.upstream_opened();
    let place = match thread.links.place(lease.endpoint(), limits, &thread.tasks, opened).await {
        Ok(place) => place,
        Err(h2::NoPlace::Connect(error)) => return Err(not_connected(instance, &error)),
        Err(h2::NoPlace::Broken(broken)) => return Err(no_answer(instance, broken, upload, false)),
        Err(h2::NoPlace::Full) => {
            let detail = format!("{} requests wait for a stream to `{instance}` already", limits.waiting);
            return Err(Failure::new(Kind::WaitingFull, detail));
        }
    };
    phase.set(Phase::Answer);
    let waits = attempt.framing != Framing::None && head::expects_continue(&asked.head);
    let gate = waits.then(|| Gate::new(limits.expect));
    let go = gate.as_ref().map(Gate::key);
    let sending = upload.attempt(limits.body_idle, gate);
    let reused = place.reused;
    match h2::client::send(place, request, sending, go, &thread.tasks).await {
        Ok(reply) => Ok((reply, lease)),
        Err(broken) => Err(no_answer(instance, broken, upload, reused)),
    }
}

fn not_connected(instance: &InstanceId, error: &io::Error) -> Failure {
    use io::ErrorKind::{AddrNotAvailable, TimedOut};
    let out_of_files = matches!(error.raw_os_error(), Some(23 | 24)); // ENFILE, EMFILE
    if out_of_files || error.kind() == AddrNotAvailable {
        return Failure::new(Kind::Internal, "no connection could be opened").inside(error);
    }
    if error.kind() == TimedOut {
        let detail = format!("`{instance}` did not take the connection in time");
        return Failure::new(Kind::ConnectionTimeout, detail).inside(error);
    }
    Failure::new(Kind::ConnectionRefused, format!("`{instance}` refused the connection")).inside(error)
}

fn no_answer(instance: &InstanceId, broken: Broken, upload: &Upload, reused: bool) -> Failure {
    if let Some(kind) = upload.fault() {
        let detail = match kind {
            Kind::RequestStalled => "the request's body paused too long",
            Kind::BodyTooLarge => "the request's body is longer than allowed",
            Kind::BadRequest => "the request's chunks cannot be read",
            _ => "the request's body broke off",
        };
        return Failure::new(kind, detail);
    }
    let closed = format!("`{instance}` closed the connection before it answered");
    match broken {
        Broken::Refused(error) => {
            let refused = format!("`{instance}` refused the stream");
            Failure::new(Kind::ConnectionRefused, refused).inside(error)
        }
        Broken::Unsent(error) => Failure::new(Kind::ClosedUnsent, closed).inside(error),
        Broken::Closed(error) if reused => Failure::new(Kind::ClosedReused, closed).inside(error),
        Broken::Closed(error) => Failure::new(Kind::ConnectionTerminated, closed).inside(error),
        Broken::Reset(error) => {
            let reset = format!("`{instance}` reset the stream before it answered");
            Failure::new(Kind::ConnectionTerminated, reset).inside(error)
        }
        Broken::Malformed(error) => {
            Failure::new(Kind::BadAnswer, format!("`{instance}` did not answer in HTTP")).inside(error)
        }
        Broken::Body(error) => {
            Failure::new(Kind::RequestIncomplete, "the request's body broke off").inside(error)
        }
    }
}

/// What is learned from an attempt about the instance and the service behind it.
pub(crate) fn learn(
    target: &Target,
    endpoint: &Endpoint,
    outcome: &Result<(Reply, Lease), Failure>,
    pass: Option<Pass>,
    took: Duration,
    now: Moment,
) {
    let outlier = target.balance.outlier.as_ref();
    let ended = match outcome {
        Ok((reply, _)) => {
            endpoint.record_success();
            let status = reply.amounts_to();
            if is_gateway_failure(status) {
                endpoint.failed(took, outlier, now);
            } else {
                endpoint.succeeded(took, now);
            }
            Ended::answered(status)
        }
        Err(failure) => {
            let of_the_connection = failure.kind.is_of_the_connection();
            if !of_the_connection && !matches!(failure.kind, Kind::AnswerTimeout | Kind::BadAnswer) {
                return; // the client's fault, or ours: the pass is given back unused
            }
            if of_the_connection {
                endpoint.record_failure();
            }
            // It was most likely closed while it was idle, which every server does: the instance may be as well as ever.
            if matches!(failure.kind, Kind::ClosedReused | Kind::ClosedUnsent) {
                return;
            }
            endpoint.failed(took, outlier, now);
            Ended::unanswered(failure.kind)
        }
    };
    target.guarded.record(pass, ended, took, now);
}

/// A service, or a proxy before it, says that it cannot.
pub(crate) fn is_gateway_failure(status: StatusCode) -> bool {
    matches!(status.as_u16(), 502..=504)
}
