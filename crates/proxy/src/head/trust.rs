//! What is not believed: what a client may not say.

use http::header::{AUTHORIZATION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, TRAILER, VIA};
use http::{HeaderMap, HeaderName};

use crate::exchange::Entrance;
use crate::fields::{Fields, Known, KnownSet};

/// Drops what a client may not say: Atoll's own fields everywhere, and at the gateway claims about whom
/// the client speaks for.
pub(crate) fn distrust(fields: &mut Fields, entrance: &Entrance) {
    let untrusted = if *entrance == Entrance::Gateway { AT_THE_EDGE } else { EVERYWHERE };
    if fields.may_have(untrusted) {
        fields.retain(|field| !untrusted.has(field.known));
    }
}

const EVERYWHERE: KnownSet = KnownSet::of(&[Known::Ours, Known::Disguised]);
const AT_THE_EDGE: KnownSet = KnownSet::of(&[
    Known::Ours,
    Known::Disguised,
    Known::Claim,
    Known::Forwarded,
    Known::ForwardedFor,
    Known::ForwardedHost,
    Known::ForwardedProto,
]);

/// Drops from trailers what does not belong there: many servers merge them into the head (RFC 9110 §6.5.1).
pub(crate) fn clean_trailers(trailers: &mut HeaderMap) {
    let misplaced = |name: &&HeaderName| {
        let known = Known::of(name.as_str().as_bytes());
        AT_THE_EDGE.has(known)
            || super::forward::is_hop_by_hop(known)
            || [HOST, CONTENT_LENGTH, TRAILER, COOKIE, VIA, EXPECT, AUTHORIZATION].contains(name)
            || matches!(
                known,
                Known::RequestId | Known::RequestTimeout | Known::Traceparent | Known::Tracestate
            )
    };
    drop_if(trailers, misplaced);
}

/// Drops from an answer's trailers what frames or routes a message, and what belongs to a connection.
pub(crate) fn clean_answer_trailers(trailers: &mut HeaderMap) {
    drop_if(trailers, |name| {
        let known = Known::of(name.as_str().as_bytes());
        super::forward::is_hop_by_hop(known) || [HOST, CONTENT_LENGTH, TRAILER].contains(name)
    });
}

fn drop_if(trailers: &mut HeaderMap, misplaced: impl FnMut(&&HeaderName) -> bool) {
    let dropped: Vec<HeaderName> = trailers.keys().filter(misplaced).cloned().collect();
    for name in dropped {
        trailers.remove(name);
    }
}
