//! `DELETE /v1/conversations/{id}`: erases here and, on request, at Fini.

use std::time::Duration;

use axum::{
    extract::{Path, RawQuery, Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;

use super::{
    Public,
    conversations::{Query, authenticate, no_conversation, own},
    openapi::{Errors, schema},
    problem::Problem,
};
use crate::{
    domain::ids::{ConversationId, InteractionId},
    fini::Failure,
    fini::budget::{Permit, Taken},
    service::gate::Side,
    store::RequestClass,
};

/// How long the caller waits for Fini; what takes longer is reported as unconfirmed.
const PATIENCE: Duration = Duration::from_secs(20);

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
    summary = "Erase a conversation here and, on request, at Fini",
    params(
        ("conversation_id" = String, Path, description = "The frontend's own id"),
        ("upstream" = Option<bool>, Query, description = "Ask Fini to delete it too, and read back to prove it"),
    ),
    responses((status = 202, description = "What was erased", body = schema::Erased), Errors),
    security(("bearer" = []), ("signature" = []))
)]
pub async fn delete(
    State(public): State<Public>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<Response, Problem> {
    let caller = authenticate(&public, request).await?;
    let id = own(&caller, &id)?;
    let frontend = caller.server_only()?;
    let query = Query::parse(query.as_deref())?;
    let interaction = public.store.erase(&frontend, &id, public.clock.now()).await?.ok_or_else(no_conversation)?;
    tracing::info!(frontend = %frontend, conversation_id = %id, "conversation erased");
    let upstream = match &interaction {
        _ if !query.upstream => "not_requested",
        None => "not_bound",
        Some(interaction) => {
            let proof = tokio::time::timeout(PATIENCE, erase_upstream(&public, interaction)).await;
            proof.unwrap_or("unconfirmed")
        }
    };
    let erased = Erased {
        conversation_id: &id,
        local: "erased",
        upstream,
        interaction_id: interaction.as_ref().map(InteractionId::as_str),
    };
    Ok((StatusCode::ACCEPTED, axum::Json(erased)).into_response())
}

/// Fini answers success even for ids it does not know; only a read that finds nothing proves a deletion.
async fn erase_upstream(public: &Public, interaction: &InteractionId) -> &'static str {
    loop {
        let Some(permit) = permit(public).await else { return "unconfirmed" };
        let passed_at = public.clock.now();
        let result = public.fini.delete_conversation(interaction, &public.budget.departure(permit)).await;
        public.gate.learn(Side::Write, passed_at, &result);
        match result {
            Ok(()) | Err(Failure::Missing { .. } | Failure::Unclear { .. }) => break,
            Err(Failure::Rejected { .. } | Failure::Unauthorised { .. }) => return "failed",
            Err(Failure::NeverLeft { .. } | Failure::Throttled { .. }) => {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
    let mut gone = 0;
    loop {
        let Some(permit) = permit(public).await else { return "unconfirmed" };
        match public.fini.get_conversation(interaction, &public.budget.departure(permit)).await {
            Err(Failure::Missing { .. } | Failure::Unclear { status: Some(500), .. }) => gone += 1,
            Ok(_) => gone = 0,
            Err(_) => {}
        }
        if gone >= 2 {
            return "erased";
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

async fn permit(public: &Public) -> Option<Permit> {
    loop {
        match public.budget.take(RequestClass::Bind).await.ok()? {
            Taken::Permit(permit) => return Some(permit),
            Taken::NotBefore(at) => tokio::time::sleep(at.since(public.clock.now())).await,
        }
    }
}
