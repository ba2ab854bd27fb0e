//! Lanes that stand still, with the cause of each.

use axum::{
    Json,
    extract::{RawQuery, State},
};
use serde_json::{Value, json};

use super::{Admin, part};
use crate::{domain::ids::DeliveryId, http::problem::Problem, store::BlockedLane};

/// `GET /admin/v1/lanes?cursor=&limit=`: a conversation's callbacks to one destination (`kind: "callbacks"`), or its messages to
/// Fini (`"messages"`, without a destination). `blocked_by` is `pause`, `dead_letter`, `breaker`, `deferred` or `retry` for
/// callbacks, `quarantine`, `turn`, `binding`, `breaker`, `retry` or `budget` for messages; breakers and budget as this replica
/// knows them. A part may hold fewer than `limit` although there are more.
pub(super) async fn lanes(State(admin): State<Admin>, RawQuery(query): RawQuery) -> Result<Json<Value>, Problem> {
    let (part, _) = part::query(query.as_deref(), &[])?;
    let found = admin.store.blocked_lanes((admin.left_alone)(), part, admin.clock.now()).await?;
    let lanes: Vec<_> = found.entries.iter().map(shown).collect();
    Ok(Json(json!({"lanes": lanes, "next_cursor": found.next_cursor})))
}

fn shown(lane: &BlockedLane) -> Value {
    json!({
        "kind": if lane.destination.is_some() { "callbacks" } else { "messages" },
        "frontend": lane.conversation.frontend,
        "conversation_id": lane.conversation.id,
        "destination": lane.destination.as_ref().map(|destination| &destination.name),
        "blocked_by": lane.standstill.by.as_str(),
        "until": lane.standstill.until.map(|until| until.to_string()),
        "waiting": lane.waiting,
        "since": lane.since.map(|since| since.to_string()),
        "head": lane.head.as_ref().map(|head| json!({
            "delivery_id": head.id,
            "event_id": head.event_id.as_str(),
            "sequence": head.sequence,
            "type": head.kind,
            "attempts": head.attempts,
            "last_status": head.last_status,
            "last_error": head.last_error,
        })),
        "dead_letter": lane.dead_letter.as_ref().map(DeliveryId::as_str),
        "open_turn": lane.open.as_ref().map(|(message, state, since)| json!({
            "message_id": message,
            "state": state.as_str(),
            "since": since.to_string(),
        })),
    })
}
