//! Finds conversations by any of their ids.

use axum::{
    Json,
    extract::{RawQuery, State},
};
use serde_json::{Value, json};

use super::{Admin, part};
use crate::http::problem::{Code, FieldError, Problem};

/// Longest id of anything.
const LONGEST: usize = 400;

/// `GET /admin/v1/conversations?q=&cursor=&limit=`: conversations with an id that is exactly `q`, the youngest first.
/// `matched` says which one: `conversation_id`, `user_id`, `message_id`, `request_id`, `event_id`, `delivery_id`,
/// `fini_event_id` or `interaction_id`.
pub(super) async fn search(State(admin): State<Admin>, RawQuery(query): RawQuery) -> Result<Json<Value>, Problem> {
    let (part, members) = part::query(query.as_deref(), &["q"])?;
    let id = members.get("q").map(|id| id.trim()).filter(|id| (1..=LONGEST).contains(&id.len()) && !id.contains('\0'));
    let id = id.ok_or_else(|| {
        let error = FieldError::new("q", "must be an id: of a conversation, user, message, request, event or delivery");
        Problem::new(Code::InvalidRequest).errors(vec![error])
    })?;
    let found = admin.store.find_conversations(id, part).await?;
    let conversations: Vec<_> = found
        .entries
        .iter()
        .map(|hit| {
            let mut shown = part::outline(&hit.conversation);
            shown["matched"] = hit.matched.as_str().into();
            shown
        })
        .collect();
    Ok(Json(json!({"conversations": conversations, "next_cursor": found.next_cursor})))
}
