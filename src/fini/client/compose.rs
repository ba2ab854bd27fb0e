//! Bodies and query strings as the vendor's pages describe them; pure.

use bytes::Bytes;
use serde_json::{Map, Value, json};
use url::Url;

use crate::fini::{Direction, GenerateAnswer, HistoryQuery, ListQuery, Target};

pub(super) fn json_bytes(value: &Value) -> Bytes {
    value.to_string().into()
}

/// Returns the body of Generate Answer; `metadata` is left out when it would be empty.
pub(super) fn answer_body(request: &GenerateAnswer) -> Value {
    let mut metadata = request.metadata.clone();
    if !request.attributes.is_empty() {
        let mut attributes = match metadata.remove("user_attributes") {
            Some(Value::Object(attributes)) => attributes,
            _ => Map::new(),
        };
        attributes.extend(request.attributes.clone());
        metadata.insert("user_attributes".to_owned(), Value::Object(attributes));
    }
    if let Some(channel) = &request.channel {
        metadata.insert("channel".to_owned(), Value::from(channel.as_str()));
    }
    let mut body = json!({ "content": request.text, "role": request.role.as_str() });
    match &request.target {
        Target::Conversation(id) => body["interactionId"] = Value::from(id.as_str()),
        Target::Bot(id) => body["botId"] = Value::from(id.as_str()),
    }
    if !metadata.is_empty() {
        body["metadata"] = Value::Object(metadata);
    }
    body
}

pub(super) type Pairs = Vec<(&'static str, String)>;

pub(super) fn list_pairs(query: &ListQuery) -> Pairs {
    let joined = |list: &[String]| (!list.is_empty()).then(|| list.join(","));
    present([
        ("since", query.since.map(|at| at.as_millis().to_string())),
        ("until", query.until.map(|at| at.as_millis().to_string())),
        ("limit", query.limit.map(|limit| limit.to_string())),
        ("cursor", query.cursor.clone()),
        ("direction", direction(query.cursor.as_ref(), query.direction)),
        ("botId", query.bot_id.clone()),
        ("source", joined(&query.sources)),
        ("channel", joined(&query.channels)),
    ])
}

pub(super) fn history_pairs(query: &HistoryQuery) -> Pairs {
    let mut pairs = present([
        ("startEpoch", query.start.map(|at| at.as_millis().to_string())),
        ("endEpoch", query.end.map(|at| at.as_millis().to_string())),
        ("limit", query.limit.map(|limit| limit.to_string())),
        ("direction", direction(query.cursor.as_ref(), query.direction)),
        ("cursor", query.cursor.clone()),
        ("category", query.category.clone()),
        ("feedbackType", query.feedback_type.clone()),
        ("escalation", query.escalation.map(|escalation| escalation.to_string())),
        ("hasLinks", query.has_links.map(|has_links| has_links.to_string())),
        ("userId", query.user_id.clone()),
        ("ticketId", query.ticket_id.clone()),
        ("question", query.question.clone()),
    ]);
    pairs.extend(query.sources.iter().map(|source| ("source", source.clone())));
    pairs
}

fn direction(cursor: Option<&String>, direction: Direction) -> Option<String> {
    cursor.map(|_| direction.as_str().to_owned())
}

fn present<const N: usize>(pairs: [(&'static str, Option<String>); N]) -> Pairs {
    pairs.into_iter().filter_map(|(name, value)| value.map(|value| (name, value))).collect()
}

pub(super) fn set_query(url: &mut Url, pairs: Pairs) {
    if !pairs.is_empty() {
        url.query_pairs_mut().extend_pairs(pairs);
    }
}
