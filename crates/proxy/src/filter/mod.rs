//! What stands between a route and its service, and what answers in a service's place. Both are boxed
//! when the table is compiled and shared by every thread.

mod fault;
mod limit;
mod strip_prefix;

use std::future::Future;
use std::pin::Pin;

use crate::exchange::{Answer, Exchange};
use crate::failure::Failure;

pub(crate) use fault::Faults;
pub(crate) use limit::Limit;
pub(crate) use strip_prefix::StripPrefix;

/// A future that stays on its thread.
pub type LocalBoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// What a filter makes of a request.
pub enum Verdict {
    /// The next filter, then the service.
    Continue,
    /// An answer in the service's place.
    Answer(Answer),
    /// A failure in the service's place; `respond` words it.
    Refuse(Failure),
    /// Known later (a delay, a shared look-up). The common path allocates nothing.
    Later(LocalBoxFuture<'static, Verdict>),
}

/// Sees each request of a route before its service does, and each answer after.
pub trait Filter: Send + Sync + 'static {
    /// Looks at the request, may change it, and says how to go on.
    fn request(&self, exchange: &mut Exchange) -> Verdict;

    /// Looks at the answer, problems of Atoll's own included, and may change it. Called in reverse order,
    /// and only when [`Self::request`] was.
    fn response(&self, exchange: &Exchange, answer: &mut Answer) {
        let _ = (exchange, answer);
    }
}

/// Answers the requests of a route itself: no service is behind it.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request.
    fn handle<'a>(&'a self, exchange: &'a mut Exchange) -> LocalBoxFuture<'a, Result<Answer, Failure>>;
}
