//! What is answered to a request.

use super::Encoding;
use super::proto::fields;
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

/// How many records an answer in protobuf says were not taken, and why; none where it says nothing.
pub fn refused(answer: &[u8]) -> Option<(u64, String)> {
    let (mut refused, mut why) = (0, String::new());
    let read = fields(answer, |field, partial| match field {
        1 => fields(partial.bytes()?, |field, value| {
            match field {
                1 => refused = value.number()?,
                2 => why = value.text()?.to_string(),
                _ => {}
            }
            Ok(())
        }),
        _ => Ok(()),
    });
    (read.is_ok() && (refused > 0 || !why.is_empty())).then_some((refused, why))
}

/// What a refusal in protobuf says (`google.rpc.Status`); none where it says nothing.
pub fn said(status: &[u8]) -> Option<String> {
    let mut message = String::new();
    let read = fields(status, |field, value| {
        if field == 2 {
            message = value.text()?.to_string();
        }
        Ok(())
    });
    (read.is_ok() && !message.is_empty()).then_some(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_taken_is_read_as_it_was_told() {
        let told = |count, why| refused(&answer(Encoding::Protobuf, Signal::Logs, count, why));
        assert_eq!(told(0, ""), None);
        assert_eq!(told(3, "no"), Some((3, "no".into())));
        assert_eq!(told(0, "be quick"), Some((0, "be quick".into())));
        assert_eq!(refused(b"\xff\xff\xff"), None);
    }
}
