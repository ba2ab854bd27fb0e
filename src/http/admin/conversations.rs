//! One conversation as an operator sees it, and the end of a quarantine.

use axum::{
    Json,
    extract::{RawQuery, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use serde_json::{Value, json};

use super::{Admin, deliveries::view, wants_texts};
use crate::{
    domain::ids::{ConversationId, InteractionId},
    http::{
        body,
        conversations::no_conversation,
        path::Path,
        problem::{Code, FieldError, Problem},
    },
    store::{Bound, DeliveryFilter, Most},
};

pub(super) async fn conversation(
    State(admin): State<Admin>,
    Path((frontend, id)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let frontend = admin.frontend(&frontend)?.clone();
    let content = wants_texts(query.as_deref());
    let id = ConversationId::trusted(id);
    let found = admin.store.conversation(&frontend, &id).await?.ok_or_else(no_conversation)?;
    let filter = DeliveryFilter {
        frontend: Some(frontend.clone()),
        conversation: Some(id.clone()),
        ..DeliveryFilter::default()
    };
    let page = admin.store.deliveries(&filter, None, 50).await?;
    let deliveries: Vec<_> = page.deliveries.iter().map(|delivery| view(delivery, false)).collect();
    let mut view = json!({
        "frontend": frontend,
        "conversation_id": id,
        "state": found.state,
        "note": found.note,
        "status_text": found.status_text,
        "interaction_id": found.interaction.as_ref().map(InteractionId::as_str),
        "binding_version": found.binding_version,
        "last_sequence": found.last_sequence,
        "queued_turns": found.queued,
        "pending_deliveries": found.pending_deliveries,
        "dead_deliveries": found.dead_deliveries,
        "created_at": found.created_at.to_string(),
        "updated_at": found.updated_at.to_string(),
        "next_read_at": found.next_read_at.map(|at| at.to_string()),
        "watch_until": found.watch_until.map(|at| at.to_string()),
        "deliveries": deliveries,
    });
    let most = Most { entries: 500, bytes: 1 << 20 };
    if let Some((_, feed)) = admin.store.feed(&frontend, &id, 0, most).await? {
        let events: Vec<Value> = feed
            .entries
            .iter()
            .map(|entry| {
                if content {
                    serde_json::from_str(&entry.body).unwrap_or_default()
                } else {
                    json!({"sequence": entry.sequence, "type": entry.kind})
                }
            })
            .collect();
        view["events"] = Value::from(events);
    }
    Ok(Json(view))
}

/// Settles a quarantine: to a Fini conversation, or to a new one.
pub(super) async fn bind(
    State(admin): State<Admin>,
    Path((frontend, id)): Path<(String, String)>,
    body: Bytes,
) -> Result<Json<Value>, Problem> {
    let frontend = admin.frontend(&frontend)?.clone();
    let fields = body::object(&body)?;
    let errors = body::unknown(&fields, "", &["interaction_id", "new", "reason"]);
    if !errors.is_empty() {
        return Err(Problem::new(Code::InvalidRequest).errors(errors));
    }
    let interaction = match (fields.get("interaction_id"), fields.get("new")) {
        (Some(Value::String(id)), None) if (1..=200).contains(&id.len()) => Some(InteractionId::trusted(id.as_str())),
        (None, Some(Value::Bool(true))) => None,
        _ => {
            let message = r#"must be {"interaction_id": "…"} or {"new": true}"#.to_owned();
            return Err(Problem::new(Code::InvalidRequest).errors(vec![FieldError::new("", message)]));
        }
    };
    let id = ConversationId::trusted(id);
    let found = admin.store.conversation(&frontend, &id).await?.ok_or_else(no_conversation)?;
    let key = found.reference.key;
    match admin.store.settle_quarantine(key, interaction.as_ref(), admin.clock.now()).await? {
        Bound::Now | Bound::Already => {}
        Bound::Quarantined { owner } => {
            let detail =
                owner.map(|owner| format!("it belongs to {}/{}", owner.frontend, owner.id)).unwrap_or_default();
            return Err(Problem::new(Code::AlreadyBound).detail(detail));
        }
        Bound::Stale => return Err(Problem::new(Code::NotQuarantined)),
    }
    admin.bindings.forget(key).await;
    tracing::info!(%frontend, conversation_id = %id, "quarantine settled by an operator");
    let after = admin.store.conversation(&frontend, &id).await?.ok_or_else(no_conversation)?;
    Ok(Json(json!({
        "frontend": frontend,
        "conversation_id": id,
        "state": after.state,
        "interaction_id": after.interaction.as_ref().map(InteractionId::as_str),
    })))
}

/// Erases a conversation here and, with `?upstream=true`, at Fini.
pub(super) async fn erase(
    State(admin): State<Admin>,
    Path((frontend, id)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let frontend = admin.frontend(&frontend)?.clone();
    let id = ConversationId::trusted(id);
    let mut members = url::form_urlencoded::parse(query.as_deref().unwrap_or_default().as_bytes());
    let upstream = members.any(|(name, value)| name == "upstream" && value == "true");
    let erased = admin.store.erase(&frontend, &id, upstream, admin.clock.now()).await?;
    let interaction = erased.ok_or_else(no_conversation)?;
    let is_gone = admin.store.scrub().await?;
    admin.eraser.notify();
    let hash = id.erased();
    tracing::info!(%frontend, conversation = %hash, upstream, "conversation erased by an operator");
    let view = json!({
        "frontend": frontend,
        "conversation_id": hash,
        "local": if is_gone { "erased" } else { "pending" },
        "upstream": if upstream { "pending" } else { "not_requested" },
        "interaction_id": interaction.as_ref().map(InteractionId::as_str),
    });
    Ok((StatusCode::ACCEPTED, Json(view)).into_response())
}
