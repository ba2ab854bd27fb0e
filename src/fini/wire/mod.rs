//! Turns the vendor's answers into domain values.
//!
//! Pure functions over bytes, except for a log line when something was cut. They take everything that can be understood and
//! never panic: an unknown role, type, status or field is a value; a field of the wrong type counts as missing; an entry
//! that is no object is left out and counted. Only an answer without what its route promises is [`Malformed`], because
//! taking it for an empty answer would mean "nothing happened". Reasons never quote content.

mod bounds;
mod conversation;
mod event;
mod history;

use std::{borrow::Cow, collections::BTreeMap};

use serde_json::{Map, Value, value::RawValue};

use crate::domain::Timestamp;

use super::{Agent, Malformed, Tag};

pub(super) use conversation::{latest_event_at, parse_conversation, parse_page, parse_single};
pub(super) use event::parse_events;
pub(super) use history::parse_history;

/// Parses the answer of "List agents": a bare array.
pub(super) fn parse_agents(body: &[u8]) -> Result<Vec<Agent>, Malformed> {
    let text = clean(body);
    let agents = array(&text)?.into_iter().filter_map(|raw| {
        let Ok(Value::Object(agent)) = storable(raw.get()) else { return None };
        Some(Agent {
            id: id_text(agent.get("id"))?,
            name: string(agent.get("name")).unwrap_or_default(),
            created_at: timestamp(agent.get("createdAt")),
        })
    });
    Ok(agents.collect())
}

/// Parses tags or groups of tags: a bare array, or the first one in an object, since no page shows the shape.
pub(super) fn parse_tags(body: &[u8]) -> Result<Vec<Tag>, Malformed> {
    let text = clean(body);
    let found = match value(text.trim())? {
        Value::Object(mut members) => members.values_mut().find(|member| member.is_array()).map(Value::take),
        found => Some(found),
    };
    let Some(Value::Array(items)) = found else { return Err(Malformed::because("no list of tags")) };
    let tags = items.iter().filter_map(|tag| {
        Some(Tag {
            id: id_text(tag.get("id"))?,
            name: string(tag.get("name"))?,
            group: ["groupId", "tagGroupId"].iter().find_map(|name| id_text(tag.get(name))),
        })
    });
    Ok(tags.collect())
}

impl Malformed {
    fn because(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }

    /// Says where and why parsing stopped. Not in the parser's own words: they quote the input.
    fn json(error: &serde_json::Error) -> Self {
        use serde_json::error::Category;
        let what = match error.classify() {
            Category::Eof => "the JSON ends early",
            Category::Data => "JSON of another shape",
            Category::Syntax | Category::Io => "not JSON",
        };
        Self::because(format!("{what} (line {} column {})", error.line(), error.column()))
    }
}

/// Returns the body as text, without a byte order mark. A broken byte costs a character, not the whole page.
fn clean(body: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body))
}

/// Returns the members of an object, unparsed. The last of repeated names counts. Nesting costs no stack.
fn object(text: &str) -> Result<BTreeMap<String, &RawValue>, Malformed> {
    serde_json::from_str(text).map_err(|error| Malformed::json(&error))
}

/// Returns the entries of an array, unparsed.
fn array(text: &str) -> Result<Vec<&RawValue>, Malformed> {
    serde_json::from_str(text).map_err(|error| Malformed::json(&error))
}

/// Parses a whole value so that every database can hold it: U+0000, legal in JSON but not in PostgreSQL's text, becomes
/// U+FFFD.
fn storable(text: &str) -> Result<Value, Malformed> {
    if text.contains("\\u0000") { value(&replace_escapes(text, |unit| unit == 0)) } else { value(text) }
}

/// Parses a whole value; nested deeper than 127 levels it is malformed.
fn value(text: &str) -> Result<Value, Malformed> {
    serde_json::from_str(text)
        .or_else(|error| {
            // Cutting text by UTF-16 units (a preview of 50 "characters") halves an emoji, and JavaScript writes the half
            // as a lone surrogate, which no Rust string can hold.
            let repaired = replace_escapes(text, |_| false);
            if repaired == text { Err(error) } else { serde_json::from_str(&repaired) }
        })
        .map_err(|error| Malformed::json(&error))
}

/// Replaces the escapes of lone surrogates, and of other `unwanted` units, by that of U+FFFD.
fn replace_escapes(text: &str, unwanted: impl Fn(u16) -> bool) -> String {
    let unit = |at: usize| -> Option<u16> {
        let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(digits, 16).ok()
    };
    let mut repaired = String::with_capacity(text.len());
    let (mut done, mut at) = (0, 0);
    while let Some(offset) = text[at..].find('\\') {
        let escape = at + offset;
        at = match (unit(escape), unit(escape + 6)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => escape + 12,
            (Some(first), _) if matches!(first, 0xd800..=0xdfff) || unwanted(first) => {
                repaired.push_str(&text[done..escape]);
                repaired.push_str("\\ufffd");
                done = escape + 6;
                done
            }
            // The escaped character may be a backslash itself.
            _ => text[escape + 1..].chars().next().map_or(text.len(), |next| escape + 1 + next.len_utf8()),
        };
    }
    repaired.push_str(&text[done..]);
    repaired
}

fn string(value: Option<&Value>) -> Option<String> {
    value.and_then(Value::as_str).map(str::to_owned)
}

/// Reads an id or a cursor: text, or a whole number as text; never empty, nor longer than any database's index takes.
fn id_text(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(id) if !id.is_empty() && (id.len() <= bounds::ID || id.chars().count() <= bounds::ID) => {
            Some(id.clone())
        }
        Value::Number(id) if id.is_i64() || id.is_u64() => Some(id.to_string()),
        _ => None,
    }
}

fn boolean(value: Option<&Value>) -> Option<bool> {
    value.and_then(Value::as_bool)
}

fn values(value: Option<&Value>) -> Vec<Value> {
    value.and_then(Value::as_array).cloned().unwrap_or_default()
}

/// Reads a list of strings; a single string (the history's older description) is a list of one.
fn strings(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(many)) => many.iter().filter_map(|one| string(Some(one))).collect(),
        _ => Vec::new(),
    }
}

fn member(members: &BTreeMap<String, &RawValue>, name: &str) -> Option<Value> {
    members.get(name).and_then(|raw| storable(raw.get()).ok())
}

fn members(value: Option<Value>) -> Map<String, Value> {
    match value {
        Some(Value::Object(members)) => members,
        _ => Map::new(),
    }
}

/// Reads epoch milliseconds (or seconds) as a number or as text, or an ISO 8601 date and time (UTC where it names no
/// offset, as "List agents" writes them).
fn timestamp(value: Option<&Value>) -> Option<Timestamp> {
    match value? {
        Value::Number(number) => number.as_i64().or_else(|| whole(number.as_f64()?)).and_then(bounds::time),
        Value::String(text) => {
            let text = text.trim();
            let numeric = || text.parse::<i64>().ok().or_else(|| whole(text.parse().ok()?));
            let instant = || text.parse::<jiff::Timestamp>().ok();
            let civil = || {
                let zoned = text.parse::<jiff::civil::DateTime>().ok()?.to_zoned(jiff::tz::TimeZone::UTC);
                zoned.ok().map(|zoned| zoned.timestamp())
            };
            numeric().or_else(|| instant().or_else(civil).map(jiff::Timestamp::as_millisecond)).and_then(bounds::time)
        }
        _ => None,
    }
}

/// Keeps a number within the range in which every whole number is exact.
#[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
fn whole(number: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_991.0;
    (number.abs() <= EXACT).then_some(number as i64)
}

#[cfg(test)]
mod tests;
