//! `Prefer: wait=N` (RFC 7240): the time for which a caller wants to wait for the end of its turn.

use std::time::Duration;

use axum::http::HeaderMap;

use super::problem::{Code, FieldError, Problem};

/// Longest time for which a caller may wait for the end of a turn.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// Returns the time to wait, at most a minute; `None` for not at all. The first `wait` counts.
///
/// An unknown preference is ignored, as the RFC says. A `wait` without a number of seconds is refused: its sender counts on
/// waiting.
pub(super) fn wait(headers: &HeaderMap) -> Result<Option<Duration>, Problem> {
    let values = headers.get_all("prefer").iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
    let written = values.flat_map(|value| preferences(&value)).find(|(name, _)| name.eq_ignore_ascii_case("wait"));
    let Some((_, value)) = written else { return Ok(None) };
    let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number {
        let error = FieldError::new("Prefer", "wait needs a number of seconds, such as wait=20");
        return Err(Problem::new(Code::InvalidMessage).errors(vec![error]));
    }
    // More digits than fit are more than a minute.
    let seconds = value.parse().unwrap_or(u64::MAX);
    Ok((seconds > 0).then(|| Duration::from_secs(seconds).min(LONGEST_WAIT)))
}

/// Returns the preferences of a header with their values, parameters left out. Commas and semicolons inside quotes are
/// text.
fn preferences(value: &str) -> Vec<(String, String)> {
    let (mut parts, mut quoted, mut escaped) = (vec![String::new()], false, false);
    for c in value.chars() {
        match c {
            ',' if !quoted => parts.push(String::new()),
            _ => {
                if c == '"' && !escaped {
                    quoted = !quoted;
                }
                escaped = quoted && c == '\\' && !escaped;
                if let Some(part) = parts.last_mut() {
                    part.push(c);
                }
            }
        }
    }
    let named = parts.iter().map(|part| {
        // Names hold no semicolon, and neither does the one value that is read.
        let preference = part.split(';').next().unwrap_or_default();
        let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
        (name.trim().to_owned(), value.trim().trim_matches('"').to_owned())
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn seconds(value: &'static str) -> Result<Option<u64>, Code> {
        let mut headers = HeaderMap::new();
        headers.insert("prefer", HeaderValue::from_static(value));
        wait(&headers).map(|wait| wait.map(|wait| wait.as_secs())).map_err(|problem| problem.code())
    }

    #[test]
    fn waits_as_preferred_but_never_longer_than_a_minute() {
        for (value, expected) in [
            ("wait=10", Some(10)),
            ("Wait = \"10\"", Some(10)),
            ("respond-async, wait=10", Some(10)),
            ("wait=10; foo=bar", Some(10)),
            ("foo=\"a, wait=3 \\\", wait=4\", wait=10", Some(10)),
            ("wait=600", Some(60)),
            ("wait=99999999999999999999999", Some(60)),
            ("wait=0", None),
            ("return=minimal", None),
            ("waiting=3", None),
            ("foo=\"wait=3\"", None),
            ("", None),
        ] {
            assert_eq!(seconds(value), Ok(expected), "{value}");
        }
    }

    #[test]
    fn a_wait_without_a_number_of_seconds_is_told() {
        for value in ["wait", "wait=", "wait=x", "wait=-1", "wait=1.5", "wait=10s", "respond-async, wait"] {
            assert_eq!(seconds(value), Err(Code::InvalidMessage), "{value}");
        }
    }
}
