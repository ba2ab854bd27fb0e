//! `DELETE /v1/conversations/{id}`: erases here and, on request, at Fini.

use std::time::Duration;

use axum::{
    extract::{RawQuery, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use tokio::time::Instant;

use super::{
    Public,
    asked::Asked,
    conversations::{Query, authenticate, no_conversation, own},
    openapi::{Errors, schema},
    path::Path,
    problem::Problem,
};
use crate::{
    domain::ids::{ConversationId, FrontendName, InteractionId},
    service::eraser::WAIT,
    store::ErasureState,
};

/// Longest time for which a caller waits for the database's own files; they are cleaned in any case.
pub(super) const SCRUB: Duration = Duration::from_secs(3);

#[derive(Serialize)]
struct Erased<'a> {
    conversation_id: &'a ConversationId,
    local: &'static str,
    upstream: &'static str,
    interaction_id: Option<&'a str>,
}

/// Erases a conversation.
#[utoipa::path(
    delete,
    path = "/v1/conversations/{conversation_id}",
    operation_id = "eraseConversation",
    tag = "Conversations",
    summary = "Erase a conversation here and, on request, at Fini",
    description = "Texts and mapping go from every table and file of the bridge. Repeat it to see how far it is. A message under the same id begins a new conversation.",
    params(
        ("conversation_id" = String, Path, description = "The frontend's own id"),
        ("upstream" = Option<bool>, Query, description = "Ask Fini to delete it too, and read back to prove it"),
    ),
    responses((status = 202, description = "What was erased", body = schema::Erased), Errors),
    security(("frontend_token" = []))
)]
pub async fn delete(
    State(public): State<Public>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    asked: Asked,
) -> Result<Response, Problem> {
    let caller = authenticate(&public, &asked)?;
    let frontend = caller.clone().server_only()?;
    let id = own(&public, &caller, &id).await?;
    let query = Query::parse(query.as_deref())?;
    let erased = public.store.erase(&frontend, &id, query.upstream, public.clock.now()).await?;
    let wanted = if query.upstream { public.store.erasure(&frontend, &id).await? } else { None };
    let is_gone = scrubbed(&public).await?;
    let (interaction, state) = match (erased, wanted) {
        (Some(Some(interaction)), _) => (Some(interaction), None),
        // Sent, but not found yet; or erased here before, and the caller asks again about Fini.
        (Some(None), Some((None, state))) => (None, Some(state)),
        (None, Some((interaction, state))) => (interaction, Some(state)),
        (Some(None), _) => (None, None),
        // Erased, and reported as pending before.
        (None, None) if !is_gone && public.store.erased_at(&frontend, &id).await?.is_some() => (None, None),
        (None, None) => return Err(no_conversation()),
    };
    tracing::info!(frontend = %frontend, conversation_id = %id, upstream = query.upstream, "conversation erased");
    let upstream = match (&interaction, state) {
        _ if !query.upstream => "not_requested",
        (Some(interaction), _) => upstream(&public, &frontend, &id, interaction).await?,
        (None, Some(state)) => state.as_str(),
        (None, None) => "not_bound",
    };
    let erased = Erased {
        conversation_id: &id,
        local: if is_gone { "erased" } else { "pending" },
        upstream,
        interaction_id: interaction.as_ref().map(InteractionId::as_str),
    };
    Ok((StatusCode::ACCEPTED, axum::Json(erased)).into_response())
}

/// Waits until the database's own files have lost the erased content; returns false if somebody goes on reading in them.
pub(super) async fn scrubbed(public: &Public) -> Result<bool, Problem> {
    let deadline = Instant::now() + SCRUB;
    loop {
        if public.store.scrub().await? {
            return Ok(true);
        }
        if Instant::now() >= deadline || public.stop.soft().is_cancelled() {
            return Ok(false);
        }
        tokio::time::sleep(WAIT.1).await;
    }
}

/// Returns the state of the deletion at Fini, once it has ended or the caller has waited long enough. It goes on in any
/// case.
async fn upstream(
    public: &Public,
    frontend: &FrontendName,
    id: &ConversationId,
    interaction: &InteractionId,
) -> Result<&'static str, Problem> {
    public.eraser.notify();
    let deadline = Instant::now() + WAIT.0;
    loop {
        match public.store.erasure(frontend, id).await? {
            Some((of, ErasureState::Erased)) if of.as_ref() == Some(interaction) => return Ok("erased"),
            Some((of, ErasureState::Failed)) if of.as_ref() == Some(interaction) => return Ok("failed"),
            _ if Instant::now() >= deadline || public.stop.soft().is_cancelled() => return Ok("unconfirmed"),
            _ => tokio::time::sleep(WAIT.1).await,
        }
    }
}
