//! Events: what Generate Answer answers with and what every conversation carries ("List conversations", Event).

use std::fmt::Write as _;

use serde_json::{Number, Value, value::RawValue};
use sha2::{Digest, Sha256};

use crate::domain::{
    Timestamp,
    ids::FiniEventId,
    vendor::{Article, Feedback, FiniEvent, FiniKind, FiniRole},
};

use super::{array, boolean, clean, id_text, object, string, timestamp, value, values};
use crate::fini::Malformed;

/// Parses the answer of Generate Answer, oldest event first.
///
/// A top-level array is documented. An object is taken where it can mean nothing else: with an array `events`, or being
/// one event itself. An array without a single event in it, though not empty, says nothing about what happened.
pub(in crate::fini) fn parse_events(body: &[u8]) -> Result<Vec<FiniEvent>, Malformed> {
    let text = clean(body);
    let text = text.trim();
    if text.is_empty() {
        return Err(Malformed::because("an empty body"));
    }
    if text.starts_with('[') {
        return present(&array(text)?);
    }
    let members = object(text)?;
    if let Some(events) = members.get("events") {
        return present(&array(events.get())?);
    }
    if ["id", "role", "type"].iter().all(|name| members.contains_key(*name)) {
        return Ok(event(value(text)?, None).into_iter().collect());
    }
    Err(Malformed::because("an object without events"))
}

fn present(entries: &[&RawValue]) -> Result<Vec<FiniEvent>, Malformed> {
    let events = collect(entries, None);
    if events.is_empty() && !entries.is_empty() {
        return Err(Malformed::because("an array without events"));
    }
    Ok(events)
}

/// The events among the entries, oldest first; events of one moment keep the order in which they happened, also when the
/// list came newest first.
pub(super) fn collect(entries: &[&RawValue], wrapper: Option<Timestamp>) -> Vec<FiniEvent> {
    let mut near = wrapper;
    let mut events: Vec<FiniEvent> = Vec::with_capacity(entries.len());
    for raw in entries {
        if let Some(event) = value(raw.get()).ok().and_then(|value| event(value, near)) {
            near = Some(event.created_at);
            events.push(event);
        }
    }
    if let [first, .., last] = events.as_slice()
        && first.created_at > last.created_at
    {
        events.reverse();
    }
    events.sort_by_key(|event| event.created_at);
    events
}

/// One event; `near` stands in for a missing time, so that it stays beside its neighbours.
fn event(raw: Value, near: Option<Timestamp>) -> Option<FiniEvent> {
    let fields = raw.as_object()?;
    if fields.is_empty() {
        return None;
    }
    let text = string(fields.get("message"));
    let role = fields.get("role").and_then(Value::as_str).unwrap_or_default();
    let kind = fields.get("type").and_then(Value::as_str).unwrap_or_default();
    let known_at = timestamp(fields.get("createdAt")).or_else(|| timestamp(fields.get("externalCreatedAt")));
    let id = id_text(fields.get("id"))
        .unwrap_or_else(|| synthetic_id(fields.get("externalId"), known_at, role, kind, text.as_deref()));
    Some(FiniEvent {
        id: FiniEventId::trusted(id),
        created_at: known_at.or(near).unwrap_or(Timestamp::ZERO),
        role: parse_role(role),
        kind: parse_kind(kind),
        text,
        rating: Feedback {
            csat_rating: rating(fields.get("csatRating")),
            feedback: string(fields.get("feedback")),
            approved: boolean(fields.get("approved")),
        },
        articles: articles(fields.get("usedArticles")),
        attachments: values(fields.get("attachments")),
        tags: values(fields.get("tags")),
        raw,
    })
}

/// An id for an event without one, from what does not change about it: ratings, tags and signed attachment addresses do.
fn synthetic_id(external: Option<&Value>, at: Option<Timestamp>, role: &str, kind: &str, text: Option<&str>) -> String {
    let content = serde_json::json!([external, at, role, kind, text]).to_string();
    let digest = Sha256::digest(content.as_bytes());
    digest.iter().take(16).fold(String::from("sha256:"), |mut id, byte| {
        let _ = write!(id, "{byte:02x}");
        id
    })
}

fn parse_role(role: &str) -> FiniRole {
    match plain(role).as_str() {
        "user" => FiniRole::User,
        "agent" => FiniRole::Agent,
        "finibot" => FiniRole::Bot,
        "otherbot" => FiniRole::OtherBot,
        _ => FiniRole::Unknown(role.to_owned()),
    }
}

fn parse_kind(kind: &str) -> FiniKind {
    match plain(kind).as_str() {
        "message" => FiniKind::Message,
        "internalnote" if !mutated!("internal notes are told") => FiniKind::InternalNote,
        "noreply" => FiniKind::NoReply,
        "silentescalation" => FiniKind::SilentEscalation,
        "debounce" => FiniKind::Debounce,
        "widgetform" => FiniKind::WidgetForm,
        _ => FiniKind::Unknown(kind.to_owned()),
    }
}

/// Compared without case and separators: what is unknown is shown to the frontend, and an `internal_note` must not leave
/// the bridge for its spelling.
fn plain(word: &str) -> String {
    word.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// As stored: 0 is a rating, only `null` is none ("List conversations", csatRating).
fn rating(value: Option<&Value>) -> Option<Number> {
    match value? {
        Value::Number(number) => Some(number.clone()),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn articles(value: Option<&Value>) -> Vec<Article> {
    let articles = value.and_then(Value::as_array).into_iter().flatten().filter_map(|article| {
        let fields = article.as_object()?;
        let id = id_text(fields.get("id"));
        let title = string(fields.get("title"));
        let url = string(fields.get("documentUrl"));
        if id.is_none() && title.is_none() && url.is_none() {
            return None;
        }
        Some(Article { id: id.unwrap_or_default(), title: title.unwrap_or_default(), url })
    });
    articles.collect()
}
