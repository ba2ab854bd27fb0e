//! Shared by the operators' lists: the query of a part, and a conversation as a list shows it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    domain::ids::InteractionId,
    http::{
        body,
        problem::{Code, FieldError, Problem},
    },
    store::{Outline, Part},
};

/// The largest part.
const MOST: usize = 500;
/// Size of a part if the query names none.
const USUAL: usize = 100;

/// Reads `cursor` and `limit`, and the `known` members; others are refused by name. The reason for a look (`reason`) and
/// the wish for texts (`content`) are read elsewhere.
pub(super) fn query(query: Option<&str>, known: &[&str]) -> Result<(Part, BTreeMap<String, String>), Problem> {
    let mut part = Part { cursor: None, limit: USUAL };
    let (mut others, mut errors) = (BTreeMap::new(), Vec::new());
    for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        match name.as_ref() {
            "cursor" => part.cursor = Some(value.into_owned()),
            "limit" => match value.parse::<usize>() {
                Ok(wanted) if wanted > 0 => part.limit = wanted.min(MOST),
                _ => errors.push(FieldError::new("limit", format!("must be 1 to {MOST}"))),
            },
            "reason" | "content" => {}
            name if known.contains(&name) => drop(others.insert(name.to_owned(), value.into_owned())),
            name => {
                let all: Vec<_> =
                    ["cursor", "limit", "reason", "content"].into_iter().chain(known.iter().copied()).collect();
                errors.push(FieldError::new(name.to_owned(), body::nobody_knows(name, &all)));
            }
        }
    }
    if errors.is_empty() { Ok((part, others)) } else { Err(Problem::new(Code::InvalidRequest).errors(errors)) }
}

/// Shows a conversation in a list.
pub(super) fn outline(outline: &Outline) -> Value {
    json!({
        "frontend": outline.conversation.frontend,
        "conversation_id": outline.conversation.id,
        "state": outline.state,
        "user": outline.user.as_ref().map(|(id, vouched)| json!({"id": id, "vouched": vouched})),
        "interaction_id": outline.interaction.as_ref().map(InteractionId::as_str),
        "queued_turns": outline.queued,
        "last_sequence": outline.last_sequence,
        "created_at": outline.created_at.to_string(),
        "updated_at": outline.updated_at.to_string(),
    })
}
