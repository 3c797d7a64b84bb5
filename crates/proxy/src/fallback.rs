//! What is answered when the service fails, is cut off, or refuses for load. An answer from here says so in
//! `X-Atoll-Fallback`, and in its record.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, StatusCode};
use manifest::spec;
use tokio::time::Instant;

use crate::body::Body;
use crate::deadline::Deadline;
use crate::exchange::{Answer, Exchange};
use crate::failure::{Failure, Side};
use crate::retry::Call;
use crate::table::Target;
use crate::thread::Thread;
use crate::upload::Upload;
use crate::{grpc, stale};

/// Says in an answer where it comes from.
const FALLBACK: HeaderName = HeaderName::from_static("x-atoll-fallback");

/// A fallback, compiled.
pub(crate) enum Fallback {
    /// Always the same answer.
    Static { status: StatusCode, headers: Vec<(HeaderName, HeaderValue)>, body: bytes::Bytes },
    /// The last good answer to the same request, if it is young enough. `scope` parts the routes.
    Stale { store: Arc<stale::Store>, scope: Arc<str>, max_age: Duration },
    /// Somebody else's answer.
    From { target: Box<Target>, path: Option<String>, shown: HeaderValue },
}

impl Fallback {
    /// The outcome itself if it is good, else what is answered in its stead. A fallback that fails as well leaves
    /// the first failure as it was: that is the one to look into.
    pub(crate) async fn mend(
        &self,
        thread: &Rc<Thread>,
        exchange: &mut Exchange,
        rule: &spec::Guard,
        upload: &Rc<Upload>,
        deadline: &Deadline,
        outcome: Result<Answer, Failure>,
    ) -> Result<Answer, Failure> {
        if !is_bad(&outcome) {
            return outcome.map(|answer| match self {
                Self::Stale { store, scope, .. } => store.keep(scope, &exchange.asked, answer),
                Self::Static { .. } | Self::From { .. } => answer,
            });
        }
        let (mended, shown) = match self {
            Self::Static { status, headers, body } => {
                let mut answer = Answer::new(*status).with_body(Body::full(body.clone()));
                headers.iter().for_each(|(name, value)| answer.fields.append(name, value));
                (Some(answer), HeaderValue::from_static("static"))
            }
            Self::Stale { store, scope, max_age } => {
                (store.find(scope, &exchange.asked, *max_age), HeaderValue::from_static("stale"))
            }
            Self::From { target, path, shown } => {
                let deadline = deadline.renewed(Instant::now());
                let path = path.as_deref();
                (elsewhere(thread, exchange, target, path, rule, upload, &deadline).await, shown.clone())
            }
        };
        let Some(mut answer) = mended else { return outcome };
        if let Err(failure) = &outcome {
            exchange.record.failed(failure);
        }
        exchange.record.fell_back();
        answer.set_header(FALLBACK, shown);
        Ok(answer)
    }
}

/// Whether there is nothing for the client to use: a failure that is not the client's own, or an answer of 5xx.
fn is_bad(outcome: &Result<Answer, Failure>) -> bool {
    match outcome {
        Ok(answer) => grpc::amounts_to(answer.status, &answer.fields).is_server_error(),
        Err(failure) => failure.side() != Side::Client,
    }
}

/// Another service's answer, or the same one's at another path. A body that has been sent cannot be sent again.
async fn elsewhere(
    thread: &Rc<Thread>,
    exchange: &mut Exchange,
    target: &Target,
    path: Option<&str>,
    rule: &spec::Guard,
    upload: &Rc<Upload>,
    deadline: &Deadline,
) -> Option<Answer> {
    let now = Instant::now();
    if !upload.is_whole() || deadline.left(now).is_zero() {
        return None;
    }
    if let Some(path) = path {
        exchange.asked.head.set_target(path);
        // What is asked for now is to be read, whatever was asked at first.
        if upload.is_empty() && exchange.asked.head.method != Method::HEAD {
            exchange.asked.head.method = Method::GET;
        }
    }
    let answer = Call { thread, exchange, upload, target, rule, deadline, now }.run().await.ok()?;
    (!grpc::amounts_to(answer.status, &answer.fields).is_server_error()).then_some(answer)
}
