//! Lists conversations that wait for a human, or have one; and requests of Fini's action that fit no conversation.

use axum::{
    Json,
    extract::{RawQuery, State},
};
use serde_json::{Value, json};

use super::Admin;
use crate::{
    domain::ids::{FrontendName, InteractionId},
    http::{handoff::View, problem::Problem},
    store::{KeptPush, OpenHandoff},
};

/// The most of either list.
const MOST: usize = 500;

/// `GET /admin/v1/handoffs?frontend=&content=true`: the longest waiting first. Texts are included only on request.
pub(super) async fn handoffs(State(admin): State<Admin>, RawQuery(query): RawQuery) -> Result<Json<Value>, Problem> {
    let (mut frontend, mut with_content) = (None, false);
    for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        match name.as_ref() {
            "frontend" => frontend = Some(admin.frontend(&value)?.clone()),
            "content" => with_content = value == "true",
            _ => {}
        }
    }
    let (open, kept) = admin.store.open_handoffs(frontend.as_ref(), MOST).await?;
    let handoffs: Vec<Value> = open.iter().map(shown).collect();
    let unmatched: Vec<Value> = kept.iter().map(|push| unmatched(push, with_content)).collect();
    Ok(Json(json!({"handoffs": handoffs, "unmatched": unmatched})))
}

fn shown(open: &OpenHandoff) -> Value {
    json!({
        "frontend": FrontendName::as_str(&open.frontend),
        "conversation_id": open.id.as_str(),
        "handoff": View::of(&open.handoff),
    })
}

fn unmatched(push: &KeptPush, with_content: bool) -> Value {
    json!({
        "id": push.id,
        "received_at": push.received_at.to_string(),
        "interaction_id": push.meant.interaction.as_ref().map(InteractionId::as_str),
        "bridge_conversation": push.meant.attribute,
        "note": push.note.as_ref().filter(|_| with_content),
    })
}
