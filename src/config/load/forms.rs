//! The forms a single value may have: texts, durations, sizes, numbers, moments.
//!
//! Each form takes a value as it was written and gives the typed one, or what is wrong and how it is written right.
//! Values of these forms are no secrets and are quoted in messages, through [`quote`] all the same.

use std::{ops::RangeInclusive, path::PathBuf, time::Duration};

use jiff::Timestamp;

use super::{
    finding::{Wrong, quote},
    tree::Value,
};
use crate::domain::nearest;

pub(super) type Form<T> = Result<T, Wrong>;

const SECOND: Duration = Duration::from_secs(1);
/// The longest time that means anything here; it also keeps sums of durations far from overflow.
pub(super) const TEN_YEARS: Duration = Duration::from_hours(10 * 365 * 24);
/// For durations that may be anything but nothing.
pub(super) const POSITIVE: RangeInclusive<Duration> = Duration::from_millis(1)..=TEN_YEARS;

const DURATION_HELP: &str = "write a number with a unit, such as \"250ms\", \"15s\", \"5m\", \"12h\" or \"7d\"";
const SIZE_HELP: &str = "write a number with a unit, such as \"512B\", \"64KiB\" or \"1MiB\"";

/// The text of a value that must be one.
pub(super) fn text(value: &Value) -> Form<&str> {
    match value {
        Value::Text(text) | Value::Raw(text) => Ok(text),
        other => Err(Wrong::new(format!("must be a string, found {}", other.kind()), "put it in quotes")),
    }
}

/// A text that says something.
pub(super) fn words(value: &Value) -> Form<String> {
    match text(value)?.trim() {
        "" => Err(Wrong::new("is empty", "write a text, or leave the entry out")),
        words => Ok(words.to_owned()),
    }
}

/// A file that can be read; an empty text is none.
pub(super) fn file(value: &Value) -> Form<Option<PathBuf>> {
    let path = text(value)?.trim();
    if path.is_empty() {
        return Ok(None);
    }
    let unreadable = |error| Wrong::new(format!("cannot be read: {error}"), "name a file that this process may read");
    std::fs::File::open(path).map_err(unreadable)?;
    Ok(Some(PathBuf::from(path)))
}

pub(super) fn duration(range: RangeInclusive<Duration>) -> impl Fn(&Value) -> Form<Duration> {
    move |value| {
        let text = match value {
            Value::Integer(Some(number)) if *number >= 0 => {
                let help = format!("durations have a unit: \"{number}s\" for {number} seconds");
                return Err(Wrong::new("must be a string, found an integer", help));
            }
            Value::Text(text) | Value::Raw(text) => text,
            other => {
                return Err(Wrong::new(format!("must be a string, found {}", other.kind()), DURATION_HELP));
            }
        };
        let parsed = humantime::parse_duration(text)
            .map_err(|_| Wrong::new(format!("is not a duration: {}", quote(text)), DURATION_HELP))?;
        if parsed < *range.start() || parsed > *range.end() {
            return Err(out_of_range(text, &span(*range.start()), &span(*range.end())));
        }
        Ok(parsed)
    }
}

/// A duration as an operator would write it.
pub(in crate::config) fn span(duration: Duration) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3600, "h"), (60, "m"), (1, "s")];
    if duration.subsec_millis() != 0 || duration < SECOND {
        return match duration.as_millis() {
            0 => "0s".to_owned(),
            millis => format!("{millis}ms"),
        };
    }
    let seconds = duration.as_secs();
    UNITS
        .iter()
        .find(|(size, _)| seconds.is_multiple_of(*size))
        .map_or_else(|| format!("{seconds}s"), |(size, unit)| format!("{}{unit}", seconds / size))
}

/// A size in bytes.
pub(super) fn size(range: RangeInclusive<usize>) -> impl Fn(&Value) -> Form<usize> {
    move |value| {
        let (written, bytes) = match value {
            Value::Integer(number) => (
                number.map_or_else(String::new, |number| number.to_string()),
                number.and_then(|number| usize::try_from(number).ok()),
            ),
            other => {
                let text = text(other).map_err(|wrong| Wrong::new(wrong.what, SIZE_HELP))?;
                (text.to_owned(), parse_size(text))
            }
        };
        let bytes = bytes.ok_or_else(|| Wrong::new(format!("is not a size: {}", quote(&written)), SIZE_HELP))?;
        if range.contains(&bytes) {
            Ok(bytes)
        } else {
            let (least, most) = (size_text(*range.start()), size_text(*range.end()));
            Err(out_of_range(&written, &least, &most))
        }
    }
}

fn parse_size(text: &str) -> Option<usize> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit: usize = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1000,
        "kib" => 1 << 10,
        "mb" => 1_000_000,
        "mib" => 1 << 20,
        "gb" => 1_000_000_000,
        "gib" => 1 << 30,
        _ => return None,
    };
    number.parse::<usize>().ok()?.checked_mul(unit)
}

/// A size as an operator would write it.
pub(in crate::config) fn size_text(bytes: usize) -> String {
    for (unit, name) in [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] {
        if bytes >= unit && bytes.is_multiple_of(unit) {
            return format!("{}{name}", bytes / unit);
        }
    }
    format!("{bytes}B")
}

/// A whole number.
pub(super) fn integer<T: TryFrom<i64>>(range: RangeInclusive<i64>) -> impl Fn(&Value) -> Form<T> {
    move |value| {
        let (least, most) = (range.start().to_string(), range.end().to_string());
        let help = || format!("write a whole number from {least} to {most}, without quotes");
        let (written, number) = match value {
            Value::Integer(number) => {
                (number.map_or_else(|| "more than 64 bits hold".to_owned(), |number| number.to_string()), *number)
            }
            Value::Raw(text) => {
                let number = text.trim().replace('_', "").parse();
                let number =
                    number.map_err(|_| Wrong::new(format!("is not a whole number: {}", quote(text)), help()))?;
                (text.clone(), Some(number))
            }
            other => {
                return Err(Wrong::new(format!("must be a whole number, found {}", other.kind()), help()));
            }
        };
        number
            .filter(|number| range.contains(number))
            .and_then(|number| T::try_from(number).ok())
            .ok_or_else(|| out_of_range(&written, &least, &most))
    }
}

/// A share from 0 to 1.
pub(super) fn share(value: &Value) -> Form<f64> {
    const HELP: &str =
        "write a share from 0.0 (reading may use the whole budget) to 1.0 (reading keeps only its floor)";
    let number = match value {
        Value::Float(number) => Some(*number),
        Value::Integer(Some(0)) => Some(0.0),
        Value::Integer(Some(1)) => Some(1.0),
        Value::Integer(_) => None,
        Value::Raw(text) => text.trim().parse().ok(),
        other => {
            return Err(Wrong::new(format!("must be a number, found {}", other.kind()), HELP));
        }
    };
    number.filter(|number| (0.0..=1.0).contains(number)).ok_or_else(|| Wrong::new("is not a share from 0 to 1", HELP))
}

pub(super) fn boolean(value: &Value) -> Form<bool> {
    const HELP: &str = "write true or false, without quotes";
    match value {
        Value::Boolean(yes) => Ok(*yes),
        Value::Raw(text) => match text.trim().to_ascii_lowercase().as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(Wrong::new(format!("is not a boolean: {}", quote(text)), HELP)),
        },
        other => Err(Wrong::new(format!("must be true or false, found {}", other.kind()), HELP)),
    }
}

/// One of a few words.
pub(super) fn one_of<T: Copy>(words: &[(&'static str, T)]) -> impl Fn(&Value) -> Form<T> {
    move |value| {
        let written = text(value)?;
        if let Some((_, meaning)) = words.iter().find(|(word, _)| *word == written) {
            return Ok(*meaning);
        }
        let near = nearest::closest(written, words.iter().map(|(word, _)| *word));
        let all = || words.iter().map(|(word, _)| format!("\"{word}\"")).collect::<Vec<_>>();
        let help =
            near.map_or_else(|| format!("write {}", all().join(" or ")), |near| format!("did you mean \"{near}\"?"));
        Err(Wrong::new(format!("cannot be {}", quote(written)), help))
    }
}

/// A moment, as RFC 3339 writes it, or TOML's own date.
pub(super) fn moment(value: &Value) -> Form<Timestamp> {
    let written = match value {
        Value::Date(written) => written,
        other => text(other)?,
    };
    parse_moment(written)
}

/// Never quotes what it reads: the text may come from a line of a secret file.
pub(super) fn parse_moment(written: &str) -> Form<Timestamp> {
    written.trim().parse().map_err(|_| {
        Wrong::new("is not a moment in time", "write date, time and zone, such as \"2026-12-01T00:00:00Z\"")
    })
}

fn out_of_range(written: &str, least: &str, most: &str) -> Wrong {
    Wrong::new(format!("is out of range: {}", quote(written)), format!("it may be from {least} to {most}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn raw(text: &str) -> Value {
        Value::Raw(text.to_owned())
    }

    #[test]
    fn sizes_take_decimal_and_binary_units() {
        for (text, bytes) in [
            ("0", 0),
            ("12", 12),
            ("12B", 12),
            ("1KB", 1000),
            ("64KiB", 65_536),
            ("64 kib", 65_536),
            ("2MB", 2_000_000),
            ("1MiB", 1_048_576),
            ("1GiB", 1_073_741_824),
        ] {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
        for text in ["", "KiB", "-1", "1.5MiB", "1TiB", "99999999999999999999B", "18446744073709551615KiB"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }

    #[test]
    fn moments_come_from_texts_and_from_dates() {
        let expected: Timestamp = "2026-12-01T00:00:00Z".parse().unwrap();
        assert_eq!(moment(&raw("2026-12-01T00:00:00Z")).unwrap(), expected);
        assert_eq!(moment(&raw("2026-12-01T01:00:00+01:00")).unwrap(), expected);
        assert_eq!(moment(&Value::Date("2026-12-01T00:00:00Z".into())).unwrap(), expected);
        assert!(moment(&Value::Date("2026-12-01".into())).is_err());
    }

    proptest! {
        #[test]
        fn durations_are_written_as_they_are_read(millis in 0_u64..10_000_000_000) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(humantime::parse_duration(&span(duration)).unwrap(), duration);
        }

        #[test]
        fn sizes_are_written_as_they_are_read(bytes in 0_usize..10_000_000_000) {
            prop_assert_eq!(parse_size(&size_text(bytes)), Some(bytes));
        }
    }
}
