//! Turns the head and body of an unsuccessful answer into a [`Failure`]; pure.

use std::time::{Duration, SystemTime};

use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, RETRY_AFTER};
use serde_json::Value;

use super::Route;
use crate::{
    domain::Timestamp,
    fini::{Failure, redact},
};

/// Decides the meaning of an unsuccessful answer.
///
/// Only a refusal in Fini's own words comes from Fini: a page of something in front of it (a firewall, a gateway during a
/// roll-out) says nothing about key, bot or id, and of a message only that its outcome is unclear. A 429 counts whoever
/// sent it: one who limits the rate has not passed the request on.
pub(super) fn judge(
    route: Route,
    status: u16,
    headers: &HeaderMap,
    body: &[u8],
    keys: &[&str],
    said: &[&str],
) -> Failure {
    let detail = match status {
        300..=399 => "a redirect, which is never followed".to_owned(),
        _ => redact::presentable(&explanation(body), keys, said),
    };
    let retry_after = retry_after(headers);
    let by_fini = is_by_fini(headers, body);
    let unclear = |detail| Failure::Unclear { status: Some(status), retry_after, by_fini, detail };
    match status {
        429 => Failure::Throttled { retry_after, detail },
        // 425: refused as a possible replay (RFC 8470); 499: a proxy that took us for disconnected.
        408 | 425 | 499 => unclear(detail),
        400..=499 if !by_fini => unclear(format!("not in Fini's own words: {detail}")),
        401 | 403 => Failure::Unauthorised { status, detail },
        404 if matches!(route, Route::GetConversation | Route::DeleteConversation) => Failure::Missing { detail },
        400..=499 => Failure::Rejected { status, detail },
        _ => unclear(detail),
    }
}

/// Returns true for Fini's own error shape, `{statusCode, message, error}` as JSON with any two of the three missing.
fn is_by_fini(headers: &HeaderMap, body: &[u8]) -> bool {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if media_type != "application/json" && !media_type.ends_with("+json") {
        return false;
    }
    let text = String::from_utf8_lossy(body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body));
    let Ok(Value::Object(fields)) = serde_json::from_str(&text) else { return false };
    ["statusCode", "message", "error"].iter().any(|name| fields.get(*name).is_some_and(|value| !value.is_null()))
}

/// Extracts the explanation of an error body: Fini's `{statusCode, message, error}` with any of it missing and `message` a
/// text or several, a page of HTML from a proxy (its title), or plain text.
fn explanation(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body));
    let text = text.trim();
    if text.starts_with('<') {
        return match title(text) {
            Some(title) => format!("an HTML page: {title}"),
            None => "an HTML page".to_owned(),
        };
    }
    match serde_json::from_str(text) {
        Ok(Value::Object(fields)) => {
            let mut parts: Vec<String> = Vec::new();
            for name in ["message", "error"] {
                for part in texts(fields.get(name)) {
                    if !parts.contains(&part) {
                        parts.push(part);
                    }
                }
            }
            parts.join("; ")
        }
        Ok(Value::String(text)) => text,
        Ok(_) => String::new(),
        Err(_) => match text.find(['{', '[', '"']) {
            None => text.to_owned(),
            Some(0) => "garbled JSON".to_owned(),
            // The words of a proxy; what looks like data after them may come from a conversation.
            Some(at) => format!("{} …", text[..at].trim_end()),
        },
    }
}

fn texts(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(values)) => values.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        // A framework that nests its own error object.
        Some(Value::Object(inner)) => {
            inner.get("message").and_then(Value::as_str).map(str::to_owned).into_iter().collect()
        }
        _ => Vec::new(),
    }
}

fn title(page: &str) -> Option<&str> {
    let lower = page.to_ascii_lowercase();
    let from = lower.find("<title>")? + "<title>".len();
    let to = from + lower[from..].find("</title>")?;
    Some(page[from..to].trim()).filter(|title| !title.is_empty())
}

/// Returns the time at which the answer was made, by its `Date` (RFC 9110 §6.6.1).
pub(super) fn date(headers: &HeaderMap) -> Option<Timestamp> {
    let date = httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()?;
    let since = date.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some(Timestamp::from_millis(i64::try_from(since.as_millis()).ok()?))
}

/// Reads `Retry-After` in seconds or as a date (RFC 9110 §10.2.3). A date is taken relative to the answer's own `Date`,
/// which makes it independent of the difference between our clocks; without that it says nothing.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok().map(str::trim);
    let value = text(RETRY_AFTER)?;
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = |text: &str| -> Option<SystemTime> { httpdate::parse_http_date(text).ok() };
    let (then, now) = (date(value)?, date(text(DATE)?)?);
    Some(then.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use reqwest::header::HeaderValue;

    use super::*;

    const MOVED: &str = "a redirect, which is never followed";

    const OWN: &str = r#"{"statusCode":400,"message":"no"}"#;

    fn verdict(route: Route, status: u16, body: &str) -> Failure {
        typed(route, status, "application/json; charset=utf-8", body)
    }

    fn typed(route: Route, status: u16, media_type: &str, body: &str) -> Failure {
        let headers = [(CONTENT_TYPE, HeaderValue::from_str(media_type).expect("test header"))].into_iter().collect();
        judge(route, status, &headers, body.as_bytes(), &[], &[])
    }

    #[test]
    fn only_a_refusal_in_the_vendors_own_shape_is_believed() {
        let pages = [
            ("text/html", "<html><title>403 Forbidden</title></html>"),
            ("text/html", OWN),
            ("text/plain", "no"),
            ("application/json", ""),
            ("application/json", "{}"),
            ("application/json", "[]"),
            ("application/json", r#"{"code":"blocked"}"#),
            ("application/json", r#"{"message":null}"#),
            ("application/json", r#"{"message":"cut o"#),
        ];
        for (media_type, body) in pages {
            for route in [Route::GenerateAnswer, Route::GetConversation, Route::ListConversations] {
                for status in (400..=451).filter(|status| *status != 429) {
                    let failure = typed(route, status, media_type, body);
                    let unclear = matches!(failure, Failure::Unclear { by_fini: false, .. });
                    assert!(unclear && failure.status() == Some(status), "{status} {media_type} {body}: {failure}");
                    assert!(!failure.may_mean_gone());
                }
                let failure = typed(route, 500, media_type, body);
                assert!(!failure.may_mean_gone(), "{media_type} {body}");
                assert_eq!(typed(route, 429, media_type, body).class(), "throttled");
            }
        }
        for own in [OWN, r#"{"statusCode":404}"#, r#"{"message":["a","b"]}"#, r#"{"error":"Not Found"}"#] {
            assert!(verdict(Route::GetConversation, 404, own).may_mean_gone());
            assert!(verdict(Route::GetConversation, 500, own).may_mean_gone());
            assert_eq!(typed(Route::ListAgents, 401, "application/problem+json", own).class(), "unauthorised");
        }
    }

    #[test]
    fn classes_follow_from_the_status() {
        let classes = |route| {
            move |status: u16| {
                let failure = verdict(route, status, OWN);
                assert_eq!(failure.status(), Some(status));
                failure.class()
            }
        };
        let send = classes(Route::GenerateAnswer);
        for status in [400, 402, 404, 405, 406, 409, 410, 413, 415, 422, 451] {
            assert_eq!(send(status), "rejected", "{status}");
        }
        for status in [408, 425, 499, 500, 501, 502, 503, 504, 520, 301, 302, 307, 304] {
            assert_eq!(send(status), "unclear", "{status}");
        }
        assert_eq!(send(401), "unauthorised");
        assert_eq!(send(403), "unauthorised");
        assert_eq!(send(429), "throttled");
        assert_eq!(classes(Route::GetConversation)(404), "missing");
        assert_eq!(classes(Route::DeleteConversation)(404), "missing");
        assert_eq!(classes(Route::ListConversations)(404), "rejected");
        assert_eq!(classes(Route::GetConversation)(500), "unclear");
    }

    #[test]
    fn explains_in_the_words_of_the_answer() {
        let cases = [
            (
                r#"{"statusCode":400,"message":"content should not be empty","error":"Bad Request"}"#,
                "content should not be empty; Bad Request",
            ),
            (
                r#"{"statusCode":400,"message":["a is wrong","b is wrong"],"error":"Bad Request"}"#,
                "a is wrong; b is wrong; Bad Request",
            ),
            (
                r#"{"statusCode":500,"message":"Internal Server Error","error":"Internal Server Error"}"#,
                "Internal Server Error",
            ),
            (r#"{"message":{"message":"nested"}}"#, "nested"),
            ("{}", "no explanation"),
            ("[1]", "no explanation"),
            ("", "no explanation"),
            (r#"{"message":"cut o"#, "garbled JSON"),
            ("\"cut o", "garbled JSON"),
            ("upstream connect error", "upstream connect error"),
            ("upstream sent: {\"text\": \"Where is my order?\"}", "upstream sent: …"),
            ("\u{feff}{\"message\":\"marked\"}", "marked"),
            (
                "<!doctype html><html><head><TITLE> 502 Bad Gateway </TITLE></head></html>",
                "an HTML page: 502 Bad Gateway",
            ),
            ("<html><body>down</body></html>", "an HTML page"),
        ];
        for (body, expected) in cases {
            assert_eq!(verdict(Route::GetConversation, 500, body).detail(), expected, "{body}");
        }
        assert_eq!(verdict(Route::GenerateAnswer, 302, "<a>elsewhere</a>").detail(), MOVED);
    }

    #[test]
    fn reads_retry_after_in_both_forms() {
        let ask = |retry_after: &str, date: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_str(retry_after).expect("test header"));
            if let Some(date) = date {
                headers.insert(DATE, HeaderValue::from_str(date).expect("test header"));
            }
            judge(Route::ListAgents, 429, &headers, b"", &[], &[]).retry_after()
        };
        let noon = "Sat, 21 Nov 2026 12:00:00 GMT";
        assert_eq!(ask("7", None), Some(Duration::from_secs(7)));
        assert_eq!(ask("Sat, 21 Nov 2026 12:00:30 GMT", Some(noon)), Some(Duration::from_secs(30)));
        assert_eq!(ask("Sat, 21 Nov 2026 11:00:00 GMT", Some(noon)), Some(Duration::ZERO));
        assert_eq!(ask("Sat, 21 Nov 2026 12:00:30 GMT", None), None);
        for nonsense in ["", "-1", "soon", "1.5"] {
            assert_eq!(ask(nonsense, Some(noon)), None, "{nonsense}");
        }
        assert_eq!(verdict(Route::ListAgents, 429, "").retry_after(), None);
    }

    proptest! {
        #[test]
        fn any_body_has_an_explanation(status in 300_u16..600, body in prop::collection::vec(any::<u8>(), 0..200)) {
            let failure = judge(Route::GenerateAnswer, status, &HeaderMap::new(), &body, &[], &[]);
            prop_assert!(!failure.detail().is_empty());
        }
    }
}
