//! Events: the answer of Generate Answer, and the content of every conversation ("List conversations", Event).

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt::Write as _,
};

use serde_json::{Number, Value, value::RawValue};
use sha2::{Digest, Sha256};

use crate::domain::{
    Timestamp,
    ids::FiniEventId,
    vendor::{Article, Feedback, FiniEvent, FiniKind, FiniRole},
};

use super::{
    array, boolean,
    bounds::{self, Border},
    clean, id_text, object, storable, string, timestamp, values,
};
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
        return Ok(event(storable(text)?, None, &mut Border::default()).into_iter().collect());
    }
    Err(Malformed::because("an object without events"))
}

fn present(entries: &[&RawValue]) -> Result<Vec<FiniEvent>, Malformed> {
    let (events, cut) = collect(entries, None);
    if cut > 0 {
        tracing::warn!(cut, "an answer to a send is larger than it may be: cut");
    }
    if events.is_empty() && !entries.is_empty() {
        return Err(Malformed::because("an array without events"));
    }
    Ok(events)
}

/// Returns the events among the entries, each once and oldest first, and counts the cuts; events of one moment keep the
/// order in which they happened, also when the list came newest first.
pub(super) fn collect(entries: &[&RawValue], snapshot: Option<Timestamp>) -> (Vec<FiniEvent>, usize) {
    let mut border = Border::default();
    let mut near = snapshot;
    let mut events: Vec<FiniEvent> = Vec::with_capacity(entries.len().min(bounds::EVENTS));
    let mut places: HashMap<FiniEventId, usize> = HashMap::new();
    for raw in entries {
        let Some(event) = storable(raw.get()).ok().and_then(|value| event(value, near, &mut border)) else {
            border.cut += 1;
            continue;
        };
        near = Some(event.created_at);
        match places.entry(event.id.clone()) {
            Entry::Vacant(place) => {
                place.insert(events.len());
                events.push(event);
            }
            // Of an event that occurs twice, the fuller one is kept.
            Entry::Occupied(place) => {
                let known = &mut events[*place.get()];
                if known.text.is_none() && event.text.is_some() {
                    *known = event;
                }
            }
        }
    }
    if let [first, .., last] = events.as_slice()
        && first.created_at > last.created_at
    {
        events.reverse();
    }
    events.sort_by_key(|event| event.created_at);
    let oldest = events.len().saturating_sub(bounds::EVENTS);
    events.drain(..oldest);
    (events, border.cut + oldest)
}

/// Parses one event; `near` replaces a missing time, so that it stays beside its neighbours.
fn event(raw: Value, near: Option<Timestamp>, border: &mut Border) -> Option<FiniEvent> {
    let fields = raw.as_object()?;
    if fields.is_empty() {
        return None;
    }
    let text = border.text(string(fields.get("message")), bounds::TEXT);
    let role = fields.get("role").and_then(Value::as_str).unwrap_or_default();
    let kind = fields.get("type").and_then(Value::as_str).unwrap_or_default();
    let known_at = timestamp(fields.get("createdAt")).or_else(|| timestamp(fields.get("externalCreatedAt")));
    let id = id_text(fields.get("id"))
        .unwrap_or_else(|| synthetic_id(fields.get("externalId"), known_at, role, kind, text.as_deref()));
    let role = border.text(Some(role.to_owned()), bounds::WORDS).unwrap_or_default();
    let kind = border.text(Some(kind.to_owned()), bounds::WORDS).unwrap_or_default();
    Some(FiniEvent {
        id: FiniEventId::trusted(id),
        created_at: known_at.or(near).unwrap_or(Timestamp::ZERO),
        role: parse_role(&role),
        kind: parse_kind(&kind),
        text,
        rating: Feedback {
            csat_rating: rating(fields.get("csatRating")),
            feedback: border.text(string(fields.get("feedback")), bounds::TEXT),
            approved: boolean(fields.get("approved")),
        },
        articles: articles(fields.get("usedArticles"), border),
        attachments: border.values(values(fields.get("attachments")).into_iter().map(bounds::safe_links).collect()),
        tags: border.values(values(fields.get("tags"))),
        raw: border.raw(raw),
    })
}

/// Makes an id for an event without one, from its unchanging parts: ratings, tags and signed attachment addresses change.
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

/// Compares without case and separators: unknown roles are shown to the frontend, and an `internal_note` must not leave the
/// bridge because of its spelling.
fn plain(word: &str) -> String {
    word.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Takes the rating as stored: 0 is a rating, only `null` is none ("List conversations", csatRating).
fn rating(value: Option<&Value>) -> Option<Number> {
    match value? {
        Value::Number(number) => Some(number.clone()),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn articles(value: Option<&Value>, border: &mut Border) -> Vec<Article> {
    let listed = value.and_then(Value::as_array).into_iter().flatten().collect();
    let articles = border.list(listed).into_iter().filter_map(|article: &Value| {
        let fields = article.as_object()?;
        let id = id_text(fields.get("id"));
        let title = border.text(string(fields.get("title")), bounds::WORDS);
        let url = fields.get("documentUrl").and_then(Value::as_str);
        if id.is_none() && title.is_none() && url.is_none() {
            return None;
        }
        let url = url.and_then(bounds::address);
        Some(Article { id: id.unwrap_or_default(), title: title.unwrap_or_default(), url })
    });
    articles.collect()
}
