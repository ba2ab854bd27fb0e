//! Reads request bodies within their limits, as one JSON object, whose every member is known.
//!
//! One parser for every route that takes a body. An unknown member is refused by name, so that nothing is lost in silence:
//! a misspelt limit must not become no limit.

use std::{borrow::Cow, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, header},
};
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde_json::{Map, Value};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    Public,
    asked::Asked,
    auth::Caller,
    problem::{Code, FieldError, Problem},
    server::BodyTimedOut,
};
use crate::domain::{
    exact, nearest,
    surrogate::{self, Half},
};

/// Characters of an unknown member's name that are repeated to its sender.
const SHOWN: usize = 60;

/// Refuses a body that is not plain JSON: another media type, or a compressed one, which nothing here would unpack.
pub(super) fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = text(header::CONTENT_TYPE).split(';').next().unwrap_or_default().trim();
    let encoding = text(header::CONTENT_ENCODING).trim();
    if !(encoding.is_empty() || encoding.eq_ignore_ascii_case("identity")) {
        return Err(Problem::new(Code::UnsupportedMediaType).detail("a compressed body is not taken: send it as it is"));
    }
    if essence.eq_ignore_ascii_case("application/json") {
        Ok(())
    } else {
        Err(Problem::new(Code::UnsupportedMediaType))
    }
}

/// Reads a body of at most `limit` bytes.
pub(super) async fn read(body: Body, headers: &HeaderMap, limit: usize) -> Result<Bytes, Problem> {
    is_announced_within(headers, limit)?;
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large(limit)),
        Err(error) => Err(broken(error.as_ref())),
    }
}

fn is_announced_within(headers: &HeaderMap, limit: usize) -> Result<(), Problem> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|announced| announced > limit as u64) { Err(too_large(limit)) } else { Ok(()) }
}

fn too_large(limit: usize) -> Problem {
    Problem::new(Code::TooLarge).detail(format!("a body may have at most {limit} bytes"))
}

/// Makes the problem for a body that did not come to its end.
fn broken(error: &(dyn std::error::Error + 'static)) -> Problem {
    if is_timeout(error) {
        Problem::new(Code::RequestTimeout)
    } else {
        Problem::new(Code::InvalidJson).detail("the body broke off")
    }
}

/// Bytes of bodies that the whole process holds at one time for callers that have proved nothing yet.
const UNPROVED: usize = 8 << 20;

/// Room for the bodies of callers that have proved nothing yet: a signature covers the body, which has to be read first.
#[derive(Clone, Debug)]
pub struct Unproved(Arc<Semaphore>);

impl Default for Unproved {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(UNPROVED)))
    }
}

impl Unproved {
    /// Reads a body of at most `limit` bytes, as far as there is room; the room is taken until the permit is dropped.
    pub(super) async fn read(
        &self,
        body: Body,
        headers: &HeaderMap,
        limit: usize,
    ) -> Result<(Bytes, OwnedSemaphorePermit), Problem> {
        let full = || {
            let detail = "too many signed requests are being received at once";
            Problem::new(Code::RateLimited).detail(detail).retry_after(Duration::from_secs(1))
        };
        is_announced_within(headers, limit)?;
        let mut room = Arc::clone(&self.0).try_acquire_many_owned(0).map_err(|_| full())?;
        let (mut body, mut bytes) = (body, BytesMut::new());
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|error| broken(&error))?.into_data() else { continue };
            if bytes.len() + data.len() > limit {
                return Err(too_large(limit));
            }
            let wanted = u32::try_from(data.len()).map_err(|_| full())?;
            room.merge(Arc::clone(&self.0).try_acquire_many_owned(wanted).map_err(|_| full())?);
            bytes.extend_from_slice(&data);
        }
        Ok((bytes.freeze(), room))
    }
}

/// Finds the caller first, then reads the body that came with it.
pub(super) async fn of_caller(public: &Public, request: Request) -> Result<(Caller, Bytes), Problem> {
    let (parts, body) = request.into_parts();
    let caller = public.frontends.current().by_headers(&Asked::of(&parts, public), public.wall.now())?;
    let body = read(body, &parts.headers, public.settings.max_body).await?;
    Ok((caller, body))
}

fn is_timeout(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<BodyTimedOut>() {
            return true;
        }
        next = error.source();
    }
    false
}

/// Returns the members of a body that may be left out: white space alone, or `null`, is an object without any.
pub(super) fn object(body: &[u8]) -> Result<Map<String, Value>, Problem> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Map::new());
    }
    match value(body, Code::InvalidRequest)? {
        Value::Null => Ok(Map::new()),
        value => members(value).ok_or_else(|| Problem::new(Code::InvalidJson).detail("the body must be a JSON object")),
    }
}

/// Returns the members of an object. PHP writes an empty list for one without any.
pub(super) fn members(value: Value) -> Option<Map<String, Value>> {
    match value {
        Value::Object(fields) => Some(fields),
        Value::Array(list) if list.is_empty() => Some(Map::new()),
        _ => None,
    }
}

/// Returns a body's value. A member that stands twice is refused by name, with the code of faults of fields: one of the two
/// would be lost in silence.
pub(super) fn value(body: &[u8], of_fields: Code) -> Result<Value, Problem> {
    let value = exact::value(body).map_err(|error| unreadable(body, &error, of_fields))?;
    let Some(name) = exact::repeated(body) else { return Ok(value) };
    Err(Problem::new(of_fields).errors(vec![FieldError::new(shown(&name), "stands more than once".to_owned())]))
}

/// Makes the problem for a body that is no JSON, without quoting it. Half a character is a fault of a field, answered with
/// the code of those.
pub(super) fn unreadable(body: &[u8], error: &serde_json::Error, of_fields: Code) -> Problem {
    if let Some(Half { field, escape }) = surrogate::first_half(body) {
        let message =
            format!("holds {escape}, half of a character (a lone surrogate): was the text cut inside an emoji?");
        return Problem::new(of_fields).errors(vec![FieldError::new(shown(&field), message)]);
    }
    let what = match error.classify() {
        serde_json::error::Category::Eof => "the JSON ends too early",
        _ => "not valid JSON",
    };
    Problem::new(Code::InvalidJson).detail(format!("line {}, column {}: {what}", error.line(), error.column()))
}

/// Returns a name as its sender wrote it, in part and without controls.
fn shown(name: &str) -> String {
    name.chars().take(SHOWN).flat_map(char::escape_debug).collect()
}

/// Returns one error for each member of an object at `path` (empty for the body itself) that is none of `known`.
pub(super) fn unknown(fields: &Map<String, Value>, path: &str, known: &[&str]) -> Vec<FieldError> {
    let names = fields.keys().filter(|name| !known.contains(&name.as_str()));
    names
        .map(|name| {
            let shown = shown(name);
            let field: Cow<'static, str> =
                if path.is_empty() { shown.into() } else { format!("{path}.{shown}").into() };
            FieldError::new(field, nobody_knows(name, known))
        })
        .collect()
}

pub(super) fn nobody_knows(name: &str, known: &[&str]) -> String {
    match nearest::closest(name, known.iter().copied()) {
        Some(near) => format!("is not known; did you mean `{near}`?"),
        None if name == "attachments" => "is not known: Fini takes no files".to_owned(),
        None => format!("is not known; there are {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn errors(value: Value, path: &str, known: &[&str]) -> Vec<(String, String)> {
        let Value::Object(fields) = value else { panic!("an object") };
        unknown(&fields, path, known).into_iter().map(|error| (error.field.into_owned(), error.message)).collect()
    }

    #[test]
    fn a_member_that_nobody_knows_is_named_with_what_was_probably_meant() {
        let known = ["user_id", "origins", "ttl_seconds"];
        let found = errors(json!({"ttl_second": 60, "user_id": "u", "colour": 1}), "", &known);
        let named: Vec<&str> = found.iter().map(|(field, _)| field.as_str()).collect();
        assert_eq!(named, ["colour", "ttl_second"]);
        assert!(found[1].1.contains("`ttl_seconds`"), "{found:?}");
        assert_eq!(errors(json!({"Id": 1}), "user", &["id"])[0].0, "user.Id");
    }

    #[test]
    fn an_empty_list_is_an_object_without_members() {
        assert_eq!(object(b"[]").expect("an object"), Map::new());
        assert_eq!(object(b"[1]").expect_err("a list").code(), Code::InvalidJson);
        assert_eq!(members(json!([])), Some(Map::new()));
        assert_eq!(members(json!("a")), None);
    }

    #[test]
    fn a_name_is_repeated_in_part_and_without_controls() {
        let found = errors(json!({"\n".repeat(500): 1}), "", &["a"]);
        assert!(found[0].0.len() <= 2 * SHOWN && !found[0].0.contains('\n'));
    }

    #[test]
    fn half_a_character_is_a_fault_of_its_field() {
        let problem = object(br#"{"user_id":"a\ud83d"}"#).expect_err("no text");
        assert_eq!(problem.code(), Code::InvalidRequest);
        assert_eq!(object(br#"{"user_id":"a"#).expect_err("no JSON").code(), Code::InvalidJson);
    }

    #[test]
    fn a_compressed_body_is_another_media_type() {
        let with = |encoding: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, "application/json; charset=utf-8".parse().expect("valid"));
            headers.insert(header::CONTENT_ENCODING, encoding.parse().expect("valid"));
            require_json(&headers).is_ok()
        };
        assert!(with("identity") && with("") && !with("gzip") && !with("br"));
    }
}
