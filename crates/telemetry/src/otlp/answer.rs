//! What is answered to a request.

use super::Encoding;
use crate::bytes::{put_text, put_varint};

/// What was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Spans.
    Traces,
    /// Log records.
    Logs,
    /// Points of metrics.
    Metrics,
}

/// The body of an answer (`Export…ServiceResponse`). Where some records were not taken it says how many, and why.
pub fn answer(encoding: Encoding, signal: Signal, rejected: u64, why: &str) -> Vec<u8> {
    if rejected == 0 && why.is_empty() {
        return match encoding {
            Encoding::Protobuf => Vec::new(),
            Encoding::Json => b"{}".to_vec(),
        };
    }
    match encoding {
        Encoding::Protobuf => {
            // partial_success = 1 { rejected_… = 1, error_message = 2 }, the same for all three.
            let mut partial = Vec::new();
            partial.push(1 << 3);
            put_varint(&mut partial, rejected);
            partial.push(2 << 3 | 2);
            put_text(&mut partial, why);
            let mut answer = vec![1 << 3 | 2];
            put_varint(&mut answer, partial.len() as u64);
            answer.extend(partial);
            answer
        }
        Encoding::Json => {
            let count = match signal {
                Signal::Traces => "rejectedSpans",
                Signal::Logs => "rejectedLogRecords",
                Signal::Metrics => "rejectedDataPoints",
            };
            serde_json::json!({"partialSuccess": {count: rejected.to_string(), "errorMessage": why}})
                .to_string()
                .into_bytes()
        }
    }
}
