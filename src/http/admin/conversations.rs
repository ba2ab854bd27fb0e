//! One conversation from end to end, as an operator follows it; and its erasure.

use std::collections::HashMap;

use axum::{
    Json,
    extract::{RawQuery, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::{Admin, deliveries::view, part, wants_texts};
use crate::{
    domain::{
        Timestamp,
        ids::{ConversationId, DeliveryId, InteractionId},
    },
    http::{
        conversations::no_conversation,
        handoff::View,
        path::Path,
        problem::{Code, FieldError, Problem},
    },
    store::{Conversation, DeliveryFilter, DeliveryState, FeedEntry, Most, Try, Turn},
};

/// The most of each list: messages and callbacks are the latest ones, events begin behind `after`.
const MOST: usize = 500;

/// `GET /admin/v1/conversations/{frontend}/{id}?after=N&content=true`: all that the store holds about it. `turns` are its
/// latest messages with each request to Fini, `events` its feed behind number `after` (0), `deliveries` the latest
/// callbacks to all its destinations with each attempt; texts only on request.
pub(super) async fn conversation(
    State(admin): State<Admin>,
    Path((frontend, id)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Result<Json<Value>, Problem> {
    let frontend = admin.frontend(&frontend)?.clone();
    let with_texts = wants_texts(query.as_deref());
    let (_, members) = part::query(query.as_deref(), &["after"])?;
    let after = members.get("after").map_or(Some(0), |text| text.parse::<i64>().ok().filter(|after| *after >= 0));
    let after = after.ok_or_else(|| {
        Problem::new(Code::InvalidRequest)
            .errors(vec![FieldError::new("after", "must be the number of an event, or 0")])
    })?;
    let id = ConversationId::trusted(id);
    let found = admin.store.conversation(&frontend, &id).await?.ok_or_else(no_conversation)?;
    let key = found.reference.key;
    let filter = DeliveryFilter {
        frontend: Some(frontend.clone()),
        conversation: Some(id.clone()),
        ..DeliveryFilter::default()
    };
    let page = admin.store.deliveries(&filter, None, MOST).await?;
    let mut tries: HashMap<DeliveryId, Vec<Try>> = HashMap::new();
    for (of, one) in admin.store.delivery_tries(key).await? {
        tries.entry(of).or_default().push(one);
    }
    let deliveries: Vec<_> = page
        .deliveries
        .iter()
        .map(|delivery| {
            let mut shown = view(delivery, false);
            let mut tries = tries.remove(&delivery.id).unwrap_or_default();
            if delivery.state == DeliveryState::Delivered {
                tries.push(Try {
                    number: delivery.attempts,
                    began_at: None,
                    ended_at: delivery.delivered_at,
                    outcome: Some("delivered".to_owned()),
                    status: delivery.last_status,
                    error: None,
                });
            }
            shown["tries"] = tries.iter().map(shown_try).collect();
            shown
        })
        .collect();
    let turns = admin.store.turns_of(key, MOST).await?;
    let most = Most { entries: MOST, bytes: 1 << 20 };
    let feed = admin.store.feed(&frontend, &id, after, most).await?.map(|(_, feed)| feed).unwrap_or_default();
    let mut view = standing(&found);
    view["turns"] = turns.iter().map(|turn| shown_turn(turn, with_texts)).collect();
    view["events"] = feed.entries.iter().map(|entry| shown_event(entry, with_texts)).collect();
    view["has_more_events"] = feed.has_more.into();
    view["deliveries"] = deliveries.into();
    view["has_more_deliveries"] = page.next_cursor.is_some().into();
    Ok(Json(view))
}

fn standing(found: &Conversation) -> Value {
    let time = |at: Option<Timestamp>| at.map(|at| at.to_string());
    json!({
        "frontend": found.reference.frontend,
        "conversation_id": found.reference.id,
        "user_id": found.person,
        "state": found.state,
        "note": found.note,
        "status_text": found.status_text,
        "awaiting_customer": found.awaiting_customer,
        "handoff": View::of(&found.handoff),
        "interaction_id": found.interaction.as_ref().map(InteractionId::as_str),
        "binding_version": found.binding_version,
        "last_sequence": found.last_sequence,
        "read_sequence": found.read_sequence,
        "queued_turns": found.queued,
        "pending_deliveries": found.pending_deliveries,
        "dead_deliveries": found.dead_deliveries,
        "created_at": found.created_at.to_string(),
        "updated_at": found.updated_at.to_string(),
        "next_read_at": time(found.next_read_at),
        "watch_until": time(found.watch_until),
    })
}

fn shown_turn(turn: &Turn, with_texts: bool) -> Value {
    let time = |at: Option<Timestamp>| at.map(|at| at.to_string());
    json!({
        "message_id": turn.message,
        "role": turn.role.as_str(),
        "state": turn.state.as_str(),
        "joined_to": turn.joined_to,
        "accepted_at": turn.accepted_at.to_string(),
        "sent_at": time(turn.sent_at),
        "state_since": turn.state_since.to_string(),
        "held_until": time(turn.held_until),
        "next_look_at": time(turn.look_at),
        "fini_event_id": turn.fini_event,
        "replies": turn.replies,
        "detail": turn.detail,
        "request_id": turn.request_id,
        "text": with_texts.then_some(&turn.text),
        "tries": turn.tries.iter().map(shown_try).collect::<Vec<_>>(),
    })
}

fn shown_try(one: &Try) -> Value {
    let time = |at: Option<Timestamp>| at.map(|at| at.to_string());
    json!({
        "number": one.number,
        "began_at": time(one.began_at),
        "ended_at": time(one.ended_at),
        "duration_ms": one.began_at.zip(one.ended_at).map(|(began, ended)| super::whole_millis(ended.since(began))),
        "outcome": one.outcome,
        "status": one.status,
        "error": one.error,
    })
}

/// Shows an event as it is called back; without texts only its envelope, and the message whose turn it ended.
fn shown_event(entry: &FeedEntry, with_texts: bool) -> Value {
    let whole: Value = serde_json::from_str(&entry.body).unwrap_or_default();
    if with_texts {
        return whole;
    }
    json!({
        "id": whole["id"],
        "sequence": entry.sequence,
        "type": entry.kind,
        "timestamp": whole["timestamp"],
        "message_id": whole["data"].get("message_id").or_else(|| whole["data"]["message"].get("id")),
        "author": whole["data"]["message"]["author"],
    })
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
