//! Times and durations as people read them.

use std::time::Duration;

use kit::Timestamp;

/// A duration in two parts at most: `240 ms`, `1.24 s`, `3m 12s`, `2d 4h`.
pub(crate) fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{} ms", duration.as_millis()),
        1..=9 => format!("{:.2} s", duration.as_secs_f64()),
        10..=59 => format!("{:.1} s", duration.as_secs_f64()),
        60..=3_599 => format!("{}m {}s", seconds / 60, seconds % 60),
        3_600..=86_399 => format!("{}h {}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// Milliseconds as [`span`].
pub(crate) fn millis(millis: u64) -> String {
    span(Duration::from_millis(millis))
}

/// Whole seconds that went by, for a counter that runs: `7s`, `1m 07s`.
pub(crate) fn counter(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds < 60 { format!("{seconds}s") } else { format!("{}m {:02}s", seconds / 60, seconds % 60) }
}

/// The time of day here, with milliseconds.
pub(crate) fn of_day(at: Timestamp) -> String {
    let micros = i64::try_from(at.as_micros()).unwrap_or(i64::MAX);
    match jiff::Timestamp::from_microsecond(micros) {
        Ok(moment) => moment.to_zoned(jiff::tz::TimeZone::system()).strftime("%H:%M:%S%.3f").to_string(),
        Err(_) => at.to_string(),
    }
}

/// Reads `10m` (so long before `now`) or a time (RFC 3339; a date and time without an offset is local).
pub(crate) fn since(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    if let Ok(ago) = kit::units::parse_duration(text) {
        return Ok(now - ago);
    }
    let moment = text
        .parse::<jiff::Timestamp>()
        .ok()
        .or_else(|| {
            let local = text.parse::<jiff::civil::DateTime>().ok()?;
            Some(local.to_zoned(jiff::tz::TimeZone::system()).ok()?.timestamp())
        })
        .ok_or_else(|| {
            format!("`{text}` is neither a duration such as `10m` nor a time such as `2026-01-31T12:00:00Z`")
        })?;
    Ok(Timestamp::from_micros(u64::try_from(moment.as_microsecond()).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_told_in_two_parts_at_most() {
        for (millis_in, told) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (1_240, "1.24 s"),
            (59_900, "59.9 s"),
            (192_000, "3m 12s"),
            (7_380_000, "2h 3m"),
            (187_200_000, "2d 4h"),
        ] {
            assert_eq!(millis(millis_in), told);
        }
        assert_eq!(counter(Duration::from_secs(67)), "1m 07s");
    }

    #[test]
    fn since_takes_a_duration_or_a_time() {
        let now = Timestamp::from_micros(1_000_000_000_000_000);
        assert_eq!(since("10m", now).unwrap(), now - Duration::from_secs(600));
        assert_eq!(since("2001-09-09T01:46:40Z", now).unwrap(), now);
        assert!(since("2001-09-09T01:46:40", now).is_ok());
        assert!(since("yesterday", now).is_err());
    }
}
