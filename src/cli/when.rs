//! Points in time as people write them on a command line; pure.

use std::time::Duration;

use jiff::{civil, tz::TimeZone};

use crate::domain::Timestamp;

/// The forms that are understood, for help texts.
pub(super) const FORMS: &str =
    "RFC 3339 (2026-11-21T05:00:00Z), a date (2026-11-21, from 00:00 UTC), a time span ago (7d), or now";

/// Reads a point in time; spans count back from `now`.
pub(super) fn parse_when(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let text = text.trim();
    if text.eq_ignore_ascii_case("now") {
        return Ok(now);
    }
    if let Ok(instant) = text.parse::<jiff::Timestamp>() {
        return Ok(Timestamp::from_millis(instant.as_millisecond()));
    }
    if let Ok(date) = text.parse::<civil::Date>()
        && text.len() == "2026-11-21".len()
        && let Ok(start) = date.to_zoned(TimeZone::UTC)
    {
        return Ok(Timestamp::from_millis(start.timestamp().as_millisecond()));
    }
    if let Ok(civil) = text.parse::<civil::DateTime>() {
        return Err(format!("\"{text}\" has no offset; write {civil}Z for UTC"));
    }
    match humantime::parse_duration(text) {
        Ok(span) => Ok(now.minus(span)),
        Err(_) => Err(format!("\"{text}\" is not a time; write {FORMS}")),
    }
}

/// A span such as `15m`, for clap.
pub(super) fn parse_span(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| "write a duration such as 250ms, 15s, 5m, 1h or 7d".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_understood() {
        let now = Timestamp::from_millis(1_800_000_000_000);
        let read = |text: &str| parse_when(text, now).map(Timestamp::as_millis);
        assert_eq!(read("now"), Ok(1_800_000_000_000));
        assert_eq!(read("2026-01-01T00:00:00Z"), Ok(1_767_225_600_000));
        assert_eq!(read("2026-01-01T01:00:00.5+01:00"), Ok(1_767_225_600_500));
        assert_eq!(read("2026-01-01"), Ok(1_767_225_600_000));
        assert_eq!(read("7d"), Ok(1_800_000_000_000 - 7 * 86_400_000));
        assert_eq!(read("1h 30m"), Ok(1_800_000_000_000 - 5_400_000));
    }

    #[test]
    fn what_is_no_time_is_explained() {
        let now = Timestamp::ZERO;
        assert!(parse_when("yesterday", now).expect_err("no").contains("RFC 3339"));
        assert!(parse_when("2026-01-01T00:00:00", now).expect_err("no").contains("offset"));
        assert!(parse_when("2026-13-01", now).is_err());
    }
}
