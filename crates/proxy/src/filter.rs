//! What stands between a route and its service, and what answers in a service's place. Both are boxed
//! when the table is compiled and shared by every thread.

use std::future::Future;
use std::pin::Pin;

use http::uri::PathAndQuery;

use crate::exchange::{Answer, Exchange};
use crate::failure::Failure;

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

/// Takes a prefix off the path: the service behind `/shop` sees `/`. What was taken goes along in
/// `X-Forwarded-Prefix`.
#[derive(Debug)]
pub(crate) struct StripPrefix {
    prefix: String,
}

impl StripPrefix {
    /// A filter that takes `prefix` off. `None` when there is nothing to take.
    pub(crate) fn new(prefix: &str) -> Option<Self> {
        let prefix = format!("/{}", prefix.trim_matches('/'));
        (prefix.len() > 1).then_some(Self { prefix })
    }

    /// The path without the prefix; `None` where it does not begin with it, as whole segments.
    fn strip<'a>(&self, target: &'a str) -> Option<std::borrow::Cow<'a, str>> {
        let rest = target.strip_prefix(&self.prefix)?;
        match rest.bytes().next() {
            None => Some("/".into()),
            Some(b'/') => Some(rest.into()),
            Some(b'?') => Some(format!("/{rest}").into()),
            Some(_) => None,
        }
    }
}

impl Filter for StripPrefix {
    fn request(&self, exchange: &mut Exchange) -> Verdict {
        let target = exchange.asked.head.target();
        let stripped: Option<PathAndQuery> = self.strip(target).and_then(|target| target.parse().ok());
        if let (Some(target), Ok(prefix)) = (stripped, self.prefix.parse()) {
            exchange.set_target(target);
            exchange.set_header(crate::head::FORWARDED_PREFIX, prefix);
        }
        Verdict::Continue
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_taken_off_as_whole_segments_only() {
        let shop = StripPrefix::new("/shop/").unwrap();
        for (target, seen) in [
            ("/shop", Some("/")),
            ("/shop/", Some("/")),
            ("/shop/a?b", Some("/a?b")),
            ("/shop?b=/", Some("/?b=/")),
            ("/shopping", None),
            ("/a/shop", None),
        ] {
            assert_eq!(shop.strip(target).as_deref(), seen, "{target}");
        }
        assert!(StripPrefix::new("/").is_none());
    }
}
