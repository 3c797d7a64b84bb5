//! Where requests and messages stand in traces. A sender need not know of any: whatever it hands on is continued, and
//! what has no trace gets that of the request that sent it, or a new one.

use http::HeaderMap;
use kit::trace::{Context, Trace};

/// A longer header is none.
const LONGEST: usize = 512;

/// What a request says in its own headers.
pub(crate) fn came(headers: &HeaderMap) -> Option<Context> {
    let read = |name: &str| {
        let mut values = headers.get_all(name).iter();
        let only = values.next().filter(|_| values.next().is_none())?;
        only.to_str().ok().filter(|text| text.len() <= LONGEST).and_then(Context::parse)
    };
    read("traceparent").or_else(|| read("x-amzn-trace-id"))
}

/// A span of a request, and what it belongs to beside its trace.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) trace: Trace,
    pub(crate) links: Vec<Context>,
}

impl Span {
    /// The span of a request that says `came` and has to do with messages that say `messages`. It continues what the
    /// request says, else what its only message says; of several messages none is the one that caused it.
    pub(crate) fn of(came: Option<&Context>, messages: &[Option<Context>]) -> Self {
        let parent = match (came, messages) {
            (Some(came), _) => Some(came),
            (None, [Some(only)]) => Some(only),
            (None, _) => None,
        };
        let mut links: Vec<Context> = Vec::new();
        for context in messages.iter().flatten() {
            if Some(context) != parent && context.span.is_some() && !links.contains(context) {
                links.push(*context);
            }
        }
        Self { trace: Trace::after(parent), links }
    }

    /// What a message says whose sender wrote nothing into it that could be kept: where it stands by `own`, else that
    /// this span sent it.
    pub(crate) fn for_message(&self, own: Option<Context>) -> Option<String> {
        own.and_then(|own| own.to_w3c()).or_else(|| self.trace.context().to_w3c())
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const W3C: &str = "00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01";
    const XRAY: &str = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=0000000000000001;Sampled=1";

    #[test]
    fn a_request_says_it_in_one_of_two_headers() {
        let mut headers = HeaderMap::new();
        assert_eq!(came(&headers), None);
        headers.insert("x-amzn-trace-id", HeaderValue::from_static(XRAY));
        assert_eq!(came(&headers), Context::parse(XRAY));
        headers.insert("traceparent", HeaderValue::from_static(W3C));
        assert_eq!(came(&headers), Context::parse(W3C));
        headers.append("traceparent", HeaderValue::from_static(W3C));
        assert_eq!(came(&headers), Context::parse(XRAY), "twice is none");
    }

    #[test]
    fn a_span_continues_one_message_and_is_linked_with_several() {
        let (one, other) = (Context::parse(W3C), Context::parse(XRAY));
        let span = Span::of(None, &[one]);
        assert_eq!((span.trace.parent, span.links.len()), (one.and_then(|one| one.span), 0));
        let span = Span::of(None, &[one, None, other, one]);
        assert_eq!(span.trace.parent, None);
        assert_eq!(span.links, [one.unwrap(), other.unwrap()]);
        let span = Span::of(other.as_ref(), &[one]);
        assert_eq!((span.trace.parent, span.links), (other.unwrap().span, vec![one.unwrap()]));
        assert_eq!(Span::of(None, &[]).trace.parent, None);
    }

    #[test]
    fn a_message_without_a_trace_gets_that_of_its_sending() {
        let span = Span::of(None, &[None]);
        let given = span.for_message(None).unwrap();
        assert_eq!(Context::parse(&given), Some(span.trace.context()));
        assert_eq!(span.for_message(Context::parse(W3C)).as_deref(), Some(W3C));
    }
}
