//! `Server-Timing` (W3C): the platform's own share of an answer's time, where a browser shows it.

use std::time::Duration;

/// The longest text: a name, and milliseconds of 64 bits with three decimals.
const LONGEST: usize = 36;
const START: &[u8] = b"atoll;dur=";

/// A value of the field: `atoll;dur=0.214`, in milliseconds.
pub(crate) struct Timing {
    text: [u8; LONGEST],
    from: usize,
}

impl Timing {
    /// Written from its end: no formatting machinery is asked on every request.
    pub(crate) fn new(own: Duration) -> Self {
        let mut text = [0; LONGEST];
        let mut from = LONGEST;
        let mut left = u64::try_from(own.as_micros()).unwrap_or(u64::MAX);
        let mut put = |byte| {
            from -= 1;
            text[from] = byte;
        };
        for place in 0.. {
            if place == 3 {
                put(b'.');
            } else if place > 4 && left == 0 {
                break;
            }
            if place != 3 {
                put(b'0' + (left % 10) as u8);
                left /= 10;
            }
        }
        for byte in START.iter().rev() {
            put(*byte);
        }
        Self { text, from }
    }

    pub(crate) fn value(&self) -> &[u8] {
        &self.text[self.from..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(micros: u64) -> String {
        String::from_utf8(Timing::new(Duration::from_micros(micros)).value().to_vec()).unwrap()
    }

    #[test]
    fn microseconds_are_shown_as_milliseconds() {
        for (micros, shown) in
            [(0, "0.000"), (7, "0.007"), (214, "0.214"), (1_000, "1.000"), (12_345_678, "12345.678")]
        {
            assert_eq!(text(micros), format!("atoll;dur={shown}"));
        }
        assert_eq!(Timing::new(Duration::MAX).value().len(), 31);
    }

    proptest! {
        #[test]
        fn any_time_is_shown_as_the_standard_library_would(micros: u64) {
            prop_assert_eq!(text(micros), format!("atoll;dur={}.{:03}", micros / 1000, micros % 1000));
        }
    }
}
