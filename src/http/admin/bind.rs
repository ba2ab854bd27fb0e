//! Ends a quarantine: shows whose history a Fini conversation is, and binds to it.

use axum::{
    Json,
    extract::{RawQuery, State},
};
use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{Admin, wants_texts};
use crate::{
    domain::{
        Timestamp,
        ids::{ConversationId, InteractionId},
        vendor::{FiniConversation, FiniKind, FiniRole},
    },
    http::{
        body,
        conversations::no_conversation,
        path::Path,
        problem::{Code, FieldError, Problem},
    },
    service::inspector::Inspected,
    store::{Bound, Conversation, ConversationRef, Meant},
};

/// Number of a history's latest messages that are shown.
const WORDS: usize = 20;

/// An operator's request to settle a quarantine.
struct Wish {
    /// The Fini conversation; `None` for a new one.
    interaction: Option<InteractionId>,
    is_dry: bool,
}

impl Wish {
    fn read(body: &[u8]) -> Result<Self, Problem> {
        let fields = body::object(body)?;
        let mut errors = body::unknown(&fields, "", &["interaction_id", "new", "dry_run", "reason"]);
        let is_dry = flag(&fields, "dry_run", &mut errors);
        let interaction = match (fields.get("interaction_id"), fields.get("new")) {
            (Some(Value::String(id)), None) if (1..=200).contains(&id.len()) => {
                Some(InteractionId::trusted(id.as_str()))
            }
            (None, Some(Value::Bool(true))) => None,
            _ => {
                let message = r#"must be {"interaction_id": "…"} or {"new": true}"#.to_owned();
                errors.push(FieldError::new("", message));
                None
            }
        };
        if errors.is_empty() {
            Ok(Self { interaction, is_dry })
        } else {
            Err(Problem::new(Code::InvalidRequest).errors(errors))
        }
    }
}

fn flag(fields: &Map<String, Value>, name: &'static str, errors: &mut Vec<FieldError>) -> bool {
    match fields.get(name) {
        None => false,
        Some(Value::Bool(flag)) => *flag,
        Some(_) => {
            errors.push(FieldError::new(name, "must be true or false"));
            false
        }
    }
}

/// Settles a quarantine: to a Fini conversation that Fini knows and nobody else has, or to a new one. A dry run shows whose
/// history it would bring, and changes nothing.
pub(super) async fn bind(
    State(admin): State<Admin>,
    Path((frontend, id)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    body: Bytes,
) -> Result<Json<Value>, Problem> {
    let frontend = admin.frontend(&frontend)?.clone();
    let wish = Wish::read(&body)?;
    let id = ConversationId::trusted(id);
    let found = admin.store.conversation(&frontend, &id).await?.ok_or_else(no_conversation)?;
    if found.state != crate::domain::conversation::State::Quarantined {
        return Err(Problem::new(Code::NotQuarantined));
    }
    let key = found.reference.key;
    let history = match &wish.interaction {
        None => None,
        Some(interaction) => {
            if let Some((_, owner)) = admin.store.owners(std::slice::from_ref(interaction)).await?.into_iter().next() {
                return Err(already_bound(Some(&owner)));
            }
            Some(known(&admin, interaction).await?)
        }
    };
    if wish.is_dry {
        let history = match history {
            None => None,
            Some(of) => Some(shown(&admin, &found, &of, wants_texts(query.as_deref())).await?),
        };
        return Ok(Json(json!({
            "frontend": frontend,
            "conversation_id": id,
            "state": found.state,
            "dry_run": true,
            "interaction_id": wish.interaction.as_ref().map(InteractionId::as_str),
            "waiting_messages": found.queued,
            "history": history,
        })));
    }
    match admin.store.settle_quarantine(key, wish.interaction.as_ref(), admin.clock.now()).await? {
        Bound::Now | Bound::Already => {}
        Bound::Quarantined { owner } => return Err(already_bound(owner.as_ref())),
        Bound::Stale => return Err(Problem::new(Code::NotQuarantined)),
    }
    admin.bindings.forget(key).await;
    tracing::info!(
        %frontend,
        conversation_id = %id,
        interaction_id = wish.interaction.as_ref().map(InteractionId::as_str),
        to = if wish.interaction.is_some() { "existing" } else { "new" },
        "quarantine settled by an operator"
    );
    let after = admin.store.conversation(&frontend, &id).await?.ok_or_else(no_conversation)?;
    Ok(Json(json!({
        "frontend": frontend,
        "conversation_id": id,
        "state": after.state,
        "interaction_id": after.interaction.as_ref().map(InteractionId::as_str),
    })))
}

fn already_bound(owner: Option<&ConversationRef>) -> Problem {
    let detail = owner.map(|owner| format!("it belongs to {}/{}", owner.frontend, owner.id)).unwrap_or_default();
    Problem::new(Code::AlreadyBound).detail(detail)
}

/// Returns the Fini conversation, if Fini has it.
async fn known(admin: &Admin, id: &InteractionId) -> Result<FiniConversation, Problem> {
    match admin.inspector.read(id).await? {
        Inspected::Known(conversation) => Ok(*conversation),
        Inspected::Unknown => Err(Problem::new(Code::UnknownInteraction)),
        Inspected::Unanswered(why) => Err(Problem::new(Code::FiniUnavailable).detail(why)),
    }
}

/// Shows whose history it is, as far as that is known.
async fn shown(
    admin: &Admin,
    conversation: &Conversation,
    of: &FiniConversation,
    with_texts: bool,
) -> Result<Value, Problem> {
    let meant = Meant { interaction: None, attribute: of.conversation_attribute().map(str::to_owned) };
    let named = admin.store.meant(&meant).await?;
    let words: Vec<_> = of.events.iter().filter(|event| event.kind == FiniKind::Message).collect();
    let count = |role: &FiniRole| words.iter().filter(|event| event.role == *role).count();
    let at = |at: Option<Timestamp>| at.map(|at| at.to_string());
    let latest = &words[words.len().saturating_sub(WORDS)..];
    Ok(json!({
        "created_at": of.created_at.to_string(),
        "status_text": of.status,
        "resolved": of.resolved,
        // By our key, which Fini merges from message to message: a hint, no proof.
        "names": named.map(|named| json!({"frontend": named.frontend, "conversation_id": named.id})),
        "user_id": of.attributes.get("user_id").and_then(Value::as_str),
        "messages": {
            "user": count(&FiniRole::User),
            "bot": count(&FiniRole::Bot),
            "agent": count(&FiniRole::Agent),
        },
        "first_message_at": at(words.first().map(|event| event.created_at)),
        "last_message_at": at(words.last().map(|event| event.created_at)),
        "messages_before_ours": words.iter().filter(|event| event.created_at < conversation.created_at).count(),
        "latest": latest
            .iter()
            .map(|event| {
                json!({
                    "author": format!("{:?}", event.role).to_lowercase(),
                    "created_at": event.created_at.to_string(),
                    "text": event.text.as_ref().filter(|_| with_texts),
                })
            })
            .collect::<Vec<_>>(),
    }))
}
