//! A route under a prefix that its service does not know of.

use http::uri::PathAndQuery;

use super::{Filter, Verdict};
use crate::exchange::Exchange;

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
