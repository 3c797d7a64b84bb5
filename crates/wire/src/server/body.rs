//! Reading a body: whole, within its limits.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

use super::limits::Limits;
use crate::face::Refusal;

/// Reads a body to its end. What came in one piece is not copied.
pub(super) async fn read(body: &mut Incoming, limits: &Limits) -> Result<Bytes, Refusal> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    // The timer is only set once the body keeps somebody waiting.
    match tokio::time::timeout(limits.body_wait, pieces(body, limits.body_bytes)).await {
        Ok(read) => read,
        Err(_) => Err(Refusal::TooSlow),
    }
}

async fn pieces(body: &mut Incoming, limit: usize) -> Result<Bytes, Refusal> {
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(piece) = frame.map_err(|_| Refusal::Broken)?.into_data() else { continue };
        if first.len() + all.len() + piece.len() > limit {
            return Err(Refusal::TooLarge(limit));
        }
        if first.is_empty() && all.is_empty() {
            first = piece;
        } else {
            if all.is_empty() {
                all.reserve(first.len() + body.size_hint().upper().map_or(piece.len(), |rest| rest as usize));
                all.extend_from_slice(&std::mem::take(&mut first));
            }
            all.extend_from_slice(&piece);
        }
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

/// Reads what is left of a body that is refused, and forgets it: an answer that meets bytes underway is lost together with
/// its connection. Whether it came to its end, within limits.
pub(super) async fn discard(body: &mut Incoming, limits: &Limits) -> bool {
    let left = async {
        let mut read = 0;
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return false };
            read += frame.data_ref().map_or(0, Bytes::len);
            if read > limits.discard_bytes {
                return false;
            }
        }
        true
    };
    tokio::time::timeout(limits.discard_wait, left).await.unwrap_or(false)
}
