//! How long whoever called waits.

use std::time::Duration;

use crate::fields::{Fields, Known};

/// What is left of the caller's deadline: the smaller of `grpc-timeout` and `X-Request-Timeout-Ms`. What is
/// malformed is no deadline.
pub(crate) fn asked(fields: &Fields) -> Option<Duration> {
    let grpc = fields.known(Known::GrpcTimeout).and_then(grpc_timeout);
    let ours =
        fields.known(Known::RequestTimeout).and_then(|text| digits(text, 10)).map(Duration::from_millis);
    match (grpc, ours) {
        (Some(grpc), Some(ours)) => Some(grpc.min(ours)),
        (one, other) => one.or(other),
    }
}

/// `TimeoutValue TimeoutUnit` of "gRPC over HTTP2": at most eight digits and one of `H M S m u n`.
fn grpc_timeout(text: &[u8]) -> Option<Duration> {
    let (unit, number) = text.split_last()?;
    let number = digits(number, 8)?;
    Some(match unit {
        b'H' => Duration::from_secs(number * 3600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

fn digits(text: &[u8], most: usize) -> Option<u64> {
    let plain = (1..=most).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| plain)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smaller_deadline_holds_and_a_malformed_one_does_not() {
        let of = |lines: &[(&str, &str)]| {
            let mut fields = Fields::new();
            lines.iter().for_each(|(name, value)| fields.push(name.as_bytes(), value.as_bytes()));
            asked(&fields).map(|time| time.as_micros())
        };
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[("X-Request-Timeout-Ms", "250")]), Some(250_000));
        assert_eq!(of(&[("grpc-timeout", "1S"), ("x-request-timeout-ms", "2000")]), Some(1_000_000));
        for (text, micros) in [("1H", 3_600_000_000), ("2M", 120_000_000), ("7u", 7), ("99999999n", 99_999)] {
            assert_eq!(of(&[("grpc-timeout", text)]), Some(micros), "{text}");
        }
        for bad in ["", "S", "1", "1s", "-1S", "123456789m", "1 S", "+1S"] {
            assert_eq!(of(&[("grpc-timeout", bad)]), None, "{bad}");
        }
        assert_eq!(of(&[("x-request-timeout-ms", "+5")]), None);
    }
}
