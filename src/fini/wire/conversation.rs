//! Conversations and pages of them ("List conversations", "Get conversation").

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::domain::{Timestamp, ids::InteractionId, vendor::FiniConversation};

use super::{array, boolean, bounds, clean, event, id_text, member, members, object, string, timestamp};
use crate::fini::{ConversationPage, Malformed, RawConversation};

/// Parses a page, under either name of its list: the pages of the documentation differ. A bare array is a page without
/// cursors.
pub(in crate::fini) fn parse_page(body: &[u8]) -> Result<ConversationPage, Malformed> {
    let text = clean(body);
    let text = text.trim();
    if text.is_empty() {
        return Err(Malformed::because("an empty body"));
    }
    if text.starts_with('[') {
        return Ok(page_of(&array(text)?));
    }
    let fields = object(text)?;
    let lists: Vec<Vec<&RawValue>> = ["interactions", "conversations"]
        .iter()
        .filter_map(|name| fields.get(*name))
        .filter_map(|raw| if raw.get() == "null" { Some(Vec::new()) } else { array(raw.get()).ok() })
        .collect();
    let Some(list) = lists.iter().find(|list| !list.is_empty()).or(lists.first()) else {
        return Err(Malformed::because("a page without a list"));
    };
    let next_cursor = id_text(member(&fields, "nextCursor").as_ref());
    Ok(ConversationPage {
        has_more: boolean(member(&fields, "hasMore").as_ref()).unwrap_or(next_cursor.is_some()),
        next_cursor,
        prev_cursor: id_text(member(&fields, "prevCursor").as_ref()),
        ..page_of(list)
    })
}

fn page_of(entries: &[&RawValue]) -> ConversationPage {
    let conversations: Vec<RawConversation> = entries.iter().filter_map(|raw| read(raw)).collect();
    ConversationPage { malformed: entries.len() - conversations.len(), conversations, ..ConversationPage::default() }
}

fn read(raw: &RawValue) -> Option<RawConversation> {
    let fields = object(raw.get()).ok()?;
    let id = id_text(member(&fields, "id").as_ref())?;
    Some(RawConversation { id: InteractionId::trusted(id), digest: digest(raw.get()), raw: raw.to_owned() })
}

fn digest(text: &str) -> u64 {
    Sha256::digest(text.as_bytes()).iter().take(8).fold(0, |digest, byte| digest << 8 | u64::from(*byte))
}

/// Parses one conversation of a page.
pub(in crate::fini) fn parse_conversation(body: &[u8]) -> Result<FiniConversation, Malformed> {
    let text = clean(body);
    let fields = object(&text)?;
    let id = id_text(member(&fields, "id").as_ref()).ok_or_else(|| Malformed::because("no id"))?;
    conversation(InteractionId::trusted(id), &fields)
}

/// Parses the answer of Get: the conversation itself, or wrapped once. It must be the one that was asked for: showing one
/// customer another customer's messages is worse than any error. Without an id it must at least have events.
pub(in crate::fini) fn parse_single(body: &[u8], asked: &InteractionId) -> Result<FiniConversation, Malformed> {
    let text = clean(body);
    if text.trim().is_empty() {
        return Err(Malformed::because("an empty body"));
    }
    let outer = object(&text)?;
    let mut fields = outer;
    if !fields.contains_key("id") && !fields.contains_key("events") {
        for name in ["interaction", "conversation", "data"] {
            if let Some(inner) = fields.get(name).and_then(|raw| object(raw.get()).ok()) {
                fields = inner;
                break;
            }
        }
    }
    match id_text(member(&fields, "id").as_ref()) {
        Some(id) if id.eq_ignore_ascii_case(asked.as_str()) => {}
        Some(_) => return Err(Malformed::because("another conversation than the one asked for")),
        None if fields.contains_key("events") => {}
        None => return Err(Malformed::because("no conversation in it")),
    }
    conversation(asked.clone(), &fields)
}

fn conversation(id: InteractionId, fields: &BTreeMap<String, &RawValue>) -> Result<FiniConversation, Malformed> {
    let created_at = timestamp(member(fields, "createdAt").as_ref());
    let (events, cut) = event::collect(&events(fields)?, created_at);
    let mut border = bounds::Border { cut };
    let status = border.text(string(member(fields, "status").as_ref()), bounds::WORDS);
    if border.cut > 0 {
        tracing::warn!(interaction_id = %id, cut = border.cut, "a conversation is larger than it may be: cut");
    }
    Ok(FiniConversation {
        id,
        created_at: created_at.or_else(|| events.first().map(|event| event.created_at)).unwrap_or(Timestamp::ZERO),
        status,
        resolved: boolean(member(fields, "resolved").as_ref()),
        attributes: members(member(fields, "userAttributes")),
        events,
    })
}

/// Returns the events, unparsed. A missing list means none; something else in its place does not.
fn events<'a>(fields: &BTreeMap<String, &'a RawValue>) -> Result<Vec<&'a RawValue>, Malformed> {
    match fields.get("events") {
        Some(raw) if raw.get() != "null" => {
            array(raw.get()).map_err(|_| Malformed::because("events that are no array"))
        }
        _ => Ok(Vec::new()),
    }
}

/// Returns when the newest event was created, reading nothing else.
pub(in crate::fini) fn latest_event_at(text: &str) -> Option<Timestamp> {
    let fields = object(text).ok()?;
    let times = events(&fields).ok()?.into_iter().filter_map(|raw| {
        let event = object(raw.get()).ok()?;
        timestamp(member(&event, "createdAt").as_ref())
    });
    times.max()
}
