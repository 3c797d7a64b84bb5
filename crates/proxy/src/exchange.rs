//! One request and its answer, from the route to the access record. [`run`] is the one function to read.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Method, StatusCode, Version};
use manifest::spec::ServiceName;

use crate::body::Body;
use crate::engine::Upgrade;
use crate::failure::{Failure, Kind};
use crate::fields::{Fields, Known};
use crate::filter::Verdict;
use crate::head::{Head, RequestId};
use crate::record::Recorder;
use crate::router::{Miss, normal_path};
use crate::signals::timing::Timing;
use crate::table::{Action, Route, RouteTable};
use crate::thread::Thread;
use crate::trace::Trace;
use crate::{head, respond};

/// What a listener is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Entrance {
    /// The edge of the app: routes decide.
    Gateway,
    /// The address that one service was given for another.
    Mesh {
        /// Who calls.
        caller: ServiceName,
        /// Whom.
        callee: ServiceName,
    },
}

/// A request as filters and handlers see it, with what Atoll knows about it. The engine that carries it
/// does not show: heads are read and changed name by name, so that an engine may keep them as it likes.
pub struct Exchange {
    pub(crate) asked: Asked,
    pub(crate) body: Body,
    pub(crate) upgrade: Option<Upgrade>,
    pub(crate) record: Box<Recorder>,
    /// When it came, or a filter let go of it: the time for all that decides about it at once.
    pub(crate) now: Instant,
    /// Break the answer off after so many bytes, on purpose.
    pub(crate) cut: Option<u64>,
}

/// What is asked, by whom: all that an attempt on an instance is made from. A copy of it can be asked
/// elsewhere.
#[derive(Clone)]
pub(crate) struct Asked {
    pub(crate) head: Box<Head>,
    pub(crate) peer: SocketAddr,
    pub(crate) entrance: Arc<Entrance>,
    pub(crate) request_id: RequestId,
    pub(crate) trace: Trace,
    /// Whose token it carries, once that was checked.
    pub(crate) subject: Option<Arc<str>>,
}

impl Asked {
    /// The service that called, in the mesh.
    pub(crate) fn caller(&self) -> Option<&ServiceName> {
        match &*self.entrance {
            Entrance::Gateway => None,
            Entrance::Mesh { caller, .. } => Some(caller),
        }
    }
}

impl Exchange {
    /// The method.
    pub fn method(&self) -> &Method {
        &self.asked.head.method
    }

    /// The path as it came, or as a filter left it.
    pub fn path(&self) -> &str {
        self.asked.head.path()
    }

    /// The query, without its question mark.
    pub fn query(&self) -> Option<&str> {
        self.asked.head.query()
    }

    /// The host that was asked for, lower case, without a port.
    pub fn host(&self) -> Option<&str> {
        Some(self.asked.head.host.as_str()).filter(|host| !host.is_empty())
    }

    /// The version of HTTP that the client speaks.
    pub fn version(&self) -> Version {
        self.asked.head.version
    }

    /// The address of the client's end of the connection.
    pub fn peer(&self) -> SocketAddr {
        self.asked.peer
    }

    /// Which kind of listener it came in by.
    pub fn entrance(&self) -> &Entrance {
        &self.asked.entrance
    }

    /// The service that called, in the mesh.
    pub fn caller(&self) -> Option<&ServiceName> {
        self.asked.caller()
    }

    /// Its `X-Request-Id`.
    pub fn request_id(&self) -> &str {
        self.asked.request_id.as_str()
    }

    /// Where it stands in its trace.
    pub fn trace(&self) -> &Trace {
        &self.asked.trace
    }

    /// Whom the request's token speaks for, once a filter has checked it. Never what a client merely says.
    pub fn subject(&self) -> Option<&Arc<str>> {
        self.asked.subject.as_ref()
    }

    /// Says whom the request's token speaks for; for the filter that has checked it.
    pub fn set_subject(&mut self, subject: Arc<str>) {
        self.asked.subject = Some(subject);
    }

    /// The first value of a header.
    pub fn header(&self, name: &HeaderName) -> Option<&[u8]> {
        self.asked.head.fields.get(name)
    }

    /// Every value of a header.
    pub fn header_values<'a>(&'a self, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.asked.head.fields.get_all(name)
    }

    /// Every value of `Authorization`: asked for on every request of a route with a check.
    pub fn authorization(&self) -> impl Iterator<Item = &[u8]> {
        self.asked.head.fields.all_known(Known::Authorization)
    }

    /// Sets a header of the request, in place of all its values.
    #[allow(clippy::needless_pass_by_value)] // what callers have is a value
    pub fn set_header(&mut self, name: HeaderName, value: HeaderValue) {
        self.asked.head.fields.set(&name, &value);
    }

    /// Removes a header of the request.
    pub fn remove_header(&mut self, name: &HeaderName) {
        self.asked.head.fields.remove(name);
    }

    /// Changes the path and query that the service will see.
    #[allow(clippy::needless_pass_by_value)] // what callers have is a value
    pub fn set_target(&mut self, target: PathAndQuery) {
        self.asked.head.set_target(target.as_str());
    }

    /// Takes the body of the request; what is left is empty.
    pub fn take_body(&mut self) -> Body {
        std::mem::take(&mut self.body)
    }
}

/// An answer, from a service or from Atoll itself.
#[derive(Debug)]
pub struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) fields: Fields,
    pub(crate) body: Body,
    pub(crate) upgrade: Option<Upgrade>,
}

impl Answer {
    /// An answer without a body.
    pub fn new(status: StatusCode) -> Self {
        Self { status, fields: Fields::new(), body: Body::empty(), upgrade: None }
    }

    /// Adds a header.
    #[must_use]
    #[allow(clippy::needless_pass_by_value)] // what callers have is a value
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.fields.append(&name, &value);
        self
    }

    /// Gives it a body.
    #[must_use]
    pub fn with_body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }

    /// Its status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Changes its status.
    pub fn set_status(&mut self, status: StatusCode) {
        self.status = status;
    }

    /// The first value of a header.
    pub fn header(&self, name: &HeaderName) -> Option<&[u8]> {
        self.fields.get(name)
    }

    /// Sets a header, in place of all its values.
    #[allow(clippy::needless_pass_by_value)] // what callers have is a value
    pub fn set_header(&mut self, name: HeaderName, value: HeaderValue) {
        self.fields.set(&name, &value);
    }

    /// Removes a header.
    pub fn remove_header(&mut self, name: &HeaderName) {
        self.fields.remove(name);
    }

    /// Takes its body, to wrap it and give it back.
    pub fn take_body(&mut self) -> Body {
        std::mem::take(&mut self.body)
    }

    /// Gives it another body. A `Content-Length` that no longer fits must be removed with
    /// [`Self::remove_header`].
    pub fn set_body(&mut self, body: Body) {
        self.body = body;
    }
}

/// Answers a request. Whatever fails becomes an answer too, in [`respond`]; whether it fails or not, the
/// filters that saw the request see the answer. The record leaves with the last byte of the body.
pub(crate) async fn run(thread: &Rc<Thread>, exchange: &mut Exchange) -> Answer {
    let table = thread.table();
    let mut seen = 0;
    let outcome = match find(&table, exchange, &thread.limits_now()) {
        Ok(route) => {
            exchange.record.route(&route.signals);
            act(thread, route, exchange, &mut seen).await.map_err(|failure| (Some(route), failure))
        }
        Err(failure) => Err((None, failure)),
    };
    let (route, mut answer) = match outcome {
        Ok((route, answer)) => (Some(route), answer),
        Err((route, failure)) => {
            exchange.record.failed(&failure);
            (route, respond::problem(&failure, exchange))
        }
    };
    if let Some(route) = route {
        for filter in route.filters[..seen].iter().rev() {
            filter.response(exchange, &mut answer);
        }
    }
    respond::name_request(&mut answer, &exchange.asked.request_id);
    exchange.record.answered(answer.status);
    if table.server_timing && *exchange.asked.entrance == Entrance::Gateway {
        answer.fields.push(b"Server-Timing", Timing::new(exchange.record.own()).value());
    }
    answer
}

/// The route that takes the request, once its head has been found fit.
fn find<'a>(
    table: &'a RouteTable,
    exchange: &mut Exchange,
    limits: &crate::Limits,
) -> Result<&'a Route, Failure> {
    head::check::check(&mut exchange.asked.head, limits)?;
    if !table.known {
        return Err(Failure::new(Kind::Starting, "the routes are not known yet"));
    }
    if let Some(size) = exchange.body.size().filter(|size| *size > limits.body_bytes) {
        let detail = format!("the request's body of {size} bytes is longer than {}", limits.body_bytes);
        return Err(Failure::new(Kind::BodyTooLarge, detail));
    }
    exchange.record.head(&exchange.asked.head);
    head::trust::distrust(&mut exchange.asked.head.fields, &exchange.asked.entrance);
    let (caller, callee) = match &*exchange.asked.entrance {
        Entrance::Mesh { caller, callee } => (caller, callee),
        Entrance::Gateway => {
            let bad = || Failure::new(Kind::BadRequest, "the path has a `.` or `..` segment");
            let path = normal_path(exchange.asked.head.path()).ok_or_else(bad)?;
            return table.gateway(&exchange.asked.head, &path).map_err(|miss| missed(miss, exchange));
        }
    };
    let gone =
        || Failure::new(Kind::UndeclaredCall, format!("`{caller}` does not declare a call to `{callee}`"));
    table.call(caller, callee).ok_or_else(gone)
}

fn missed(miss: Miss, exchange: &Exchange) -> Failure {
    match miss {
        Miss::NoRoute => Failure::new(Kind::NoRoute, "no route has this host and path"),
        Miss::Method(allow) => {
            let detail = format!("this path does not take {}", exchange.method());
            Failure { allow, ..Failure::new(Kind::MethodNotAllowed, detail) }
        }
    }
}

/// Runs the filters, then what the route is for. `seen` counts the filters that saw the request.
async fn act<'a>(
    thread: &Rc<Thread>,
    route: &'a Route,
    exchange: &mut Exchange,
    seen: &mut usize,
) -> Result<(&'a Route, Answer), Failure> {
    for filter in &route.filters {
        *seen += 1;
        let mut verdict = filter.request(exchange);
        while let Verdict::Later(later) = verdict {
            verdict = later.await;
            exchange.now = Instant::now();
        }
        match verdict {
            Verdict::Answer(answer) => return Ok((route, answer)),
            Verdict::Refuse(failure) => return Err(failure),
            Verdict::Continue | Verdict::Later(_) => {}
        }
    }
    let answer = match &route.action {
        Action::Forward(forward) => forward.run(thread, exchange).await?,
        Action::Handle(handler) => handler.handle(exchange).await?,
    };
    Ok((route, answer))
}
