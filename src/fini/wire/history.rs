//! The legacy chat history in both documented shapes: `{"conversations": [{… "botRequests": […]}]}` and a bare array of
//! questions.

use serde_json::{Map, Value, value::RawValue};

use super::{array, boolean, clean, id_text, member, object, string, strings, timestamp, value, values};
use crate::fini::{HistoryConversation, HistoryPage, HistoryRequest, Malformed};

/// Parses a page of history.
pub(in crate::fini) fn parse_history(body: &[u8]) -> Result<HistoryPage, Malformed> {
    let text = clean(body);
    let text = text.trim();
    if text.is_empty() {
        return Err(Malformed::because("an empty body"));
    }
    if text.starts_with('[') {
        return Ok(page_of(&array(text)?));
    }
    let fields = object(text)?;
    let Some(list) = fields.get("conversations") else {
        return Err(Malformed::because("a page without a list"));
    };
    let next_cursor = id_text(member(&fields, "nextCursor").as_ref());
    Ok(HistoryPage {
        has_more: boolean(member(&fields, "hasMore").as_ref()).unwrap_or(next_cursor.is_some()),
        next_cursor,
        ..page_of(&array(list.get())?)
    })
}

fn page_of(entries: &[&RawValue]) -> HistoryPage {
    let conversations: Vec<HistoryConversation> =
        entries.iter().filter_map(|raw| value(raw.get()).ok().and_then(conversation)).collect();
    HistoryPage { malformed: entries.len() - conversations.len(), conversations, ..HistoryPage::default() }
}

fn conversation(raw: Value) -> Option<HistoryConversation> {
    let fields = raw.as_object()?;
    let requests = match fields.get("botRequests").and_then(Value::as_array) {
        Some(requests) => requests.iter().filter_map(Value::as_object).map(request).collect(),
        None if fields.contains_key("question") || fields.contains_key("answer") => vec![request(fields)],
        None => Vec::new(),
    };
    Some(HistoryConversation {
        id: id_text(fields.get("id")),
        external_id: id_text(fields.get("externalId")),
        source: string(fields.get("source")),
        channel: string(fields.get("channel")),
        escalation: boolean(fields.get("escalation")),
        feedback_type: string(fields.get("feedbackType")),
        categories: strings(fields.get("categories")),
        created_at: timestamp(fields.get("createdAt")),
        updated_at: timestamp(fields.get("updatedAt")),
        requests,
        raw,
    })
}

fn request(fields: &Map<String, Value>) -> HistoryRequest {
    HistoryRequest {
        bot_name: string(fields.get("botName")),
        question: string(fields.get("question")),
        answer: string(fields.get("answer")),
        categories: strings(fields.get("categories")),
        escalation: boolean(fields.get("escalation")),
        feedback_type: string(fields.get("feedbackType")),
        created_at: timestamp(fields.get("createdAt")),
        based_on: values(fields.get("basedOn")),
    }
}
