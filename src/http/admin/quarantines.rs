//! Conversations in quarantine, with both sides.

use axum::{
    Json,
    extract::{RawQuery, State},
};
use serde_json::{Value, json};

use super::{Admin, part};
use crate::{domain::ids::InteractionId, http::problem::Problem, store::Quarantine};

/// `GET /admin/v1/quarantines?frontend=&cursor=&limit=`: those that came there first come first. `ours` waits for an
/// operator; its messages turned up in the Fini conversation `interaction_id`, and `theirs` is our conversation to which
/// this one belongs, null if it belongs to none that the bridge knows.
pub(super) async fn quarantines(State(admin): State<Admin>, RawQuery(query): RawQuery) -> Result<Json<Value>, Problem> {
    let (part, members) = part::query(query.as_deref(), &["frontend"])?;
    let frontend = members.get("frontend").map(|name| admin.frontend(name)).transpose()?;
    let found = admin.store.quarantines(frontend, part).await?;
    let quarantines: Vec<_> = found.entries.iter().map(shown).collect();
    Ok(Json(json!({"quarantines": quarantines, "next_cursor": found.next_cursor})))
}

fn shown(quarantine: &Quarantine) -> Value {
    json!({
        "frontend": quarantine.own.conversation.frontend,
        "conversation_id": quarantine.own.conversation.id,
        "since": quarantine.since.to_string(),
        "note": quarantine.note,
        "interaction_id": quarantine.shares.as_ref().map(InteractionId::as_str),
        "ours": part::outline(&quarantine.own),
        "theirs": quarantine.owner.as_ref().map(part::outline),
    })
}
