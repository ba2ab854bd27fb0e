//! `GET /v1/conversations/{id}` and `…/events`.

use axum::{
    extract::{Path, RawQuery, Request, State},
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    Public,
    auth::Caller,
    messages,
    openapi::{Errors, schema},
    problem::{Code, FieldError, Problem},
};
use crate::domain::{Timestamp, conversation::State as Standing, event::as_rfc3339, ids::ConversationId};

/// The most entries of one page.
const MAX_PAGE: usize = 500;
const DEFAULT_PAGE: usize = 100;

#[derive(Serialize)]
struct View<'a> {
    conversation_id: &'a ConversationId,
    state: Standing,
    status_text: Option<&'a str>,
    awaiting_customer: bool,
    interaction_id: Option<&'a str>,
    last_sequence: i64,
    #[serde(serialize_with = "as_rfc3339")]
    created_at: Timestamp,
    #[serde(serialize_with = "as_rfc3339")]
    updated_at: Timestamp,
}

#[derive(Serialize)]
struct Page {
    events: Vec<Box<RawValue>>,
    last_sequence: i64,
    has_more: bool,
}

/// One conversation.
#[utoipa::path(
    get,
    path = "/v1/conversations/{conversation_id}",
    operation_id = "getConversation",
    summary = "Where a conversation stands",
    params(("conversation_id" = String, Path, description = "The frontend's own id"),),
    responses((status = 200, description = "The conversation", body = schema::Conversation), Errors),
    security(("bearer" = []), ("signature" = []))
)]
pub async fn get(State(public): State<Public>, Path(id): Path<String>, request: Request) -> Result<Response, Problem> {
    let caller = authenticate(&public, request).await?;
    let id = own(&caller, &id)?;
    let found = public.store.conversation(caller.frontend(), &id).await?.ok_or_else(no_conversation)?;
    let view = View {
        conversation_id: &id,
        state: found.state,
        status_text: found.status_text.as_deref(),
        awaiting_customer: found.awaiting_customer,
        interaction_id: found.interaction.as_ref().map(crate::domain::ids::InteractionId::as_str),
        last_sequence: found.last_sequence,
        created_at: found.created_at,
        updated_at: found.updated_at,
    };
    Ok(axum::Json(view).into_response())
}

/// A page of its feed.
#[utoipa::path(
    get,
    path = "/v1/conversations/{conversation_id}/events",
    operation_id = "getEvents",
    summary = "Read the feed",
    params(
        ("conversation_id" = String, Path, description = "The frontend's own id"),
        ("after" = Option<i64>, Query, minimum = 0, description = "Only events with a higher sequence"),
        ("limit" = Option<i64>, Query, minimum = 1, description = "At most so many; 100 by default, never more than 500"),
    ),
    responses((status = 200, description = "A part of the feed, oldest first", body = schema::FeedPage), Errors),
    security(("bearer" = []), ("signature" = []))
)]
pub async fn events(
    State(public): State<Public>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<Response, Problem> {
    let caller = authenticate(&public, request).await?;
    let id = own(&caller, &id)?;
    let query = Query::parse(query.as_deref())?;
    let limit = query.limit.unwrap_or(DEFAULT_PAGE).min(MAX_PAGE);
    let (_, page) = public
        .store
        .feed(caller.frontend(), &id, query.after.unwrap_or(0), limit)
        .await?
        .ok_or_else(no_conversation)?;
    let events = page.entries.into_iter().filter_map(|entry| RawValue::from_string(entry.body).ok()).collect();
    let page = Page { events, last_sequence: page.last_sequence, has_more: page.has_more };
    Ok(axum::Json(page).into_response())
}

/// Who calls a route that has no body to speak of.
pub(super) async fn authenticate(public: &Public, request: Request) -> Result<Caller, Problem> {
    let (parts, body) = request.into_parts();
    by_request(public, &parts.headers, body).await
}

/// Who calls, reading the body only where it is signed.
pub(super) async fn by_request(
    public: &Public,
    headers: &HeaderMap,
    body: axum::body::Body,
) -> Result<Caller, Problem> {
    let now = public.wall.now();
    if let Some(caller) = public.frontends.by_headers(headers, now)? {
        return Ok(caller);
    }
    let body = messages::read(body, headers, public.settings.max_body).await?;
    public.frontends.by_signature(headers, &body, now)
}

/// The conversation's id, if the caller may touch it; one that nobody can have is simply not found.
pub(super) fn own(caller: &Caller, id: &str) -> Result<ConversationId, Problem> {
    let id = ConversationId::parse(id).map_err(|_| no_conversation())?;
    caller.may_touch(&id)?;
    let span = tracing::Span::current();
    span.record("frontend", caller.frontend().as_str());
    span.record("conversation_id", id.as_str());
    Ok(id)
}

pub(super) fn no_conversation() -> Problem {
    Problem::new(Code::NotFound).detail("there is no such conversation")
}

/// The query of reads and streams.
#[derive(Debug, Default)]
pub(super) struct Query {
    pub(super) after: Option<i64>,
    pub(super) limit: Option<usize>,
    pub(super) access_token: Option<String>,
    pub(super) upstream: bool,
}

impl Query {
    pub(super) fn parse(query: Option<&str>) -> Result<Self, Problem> {
        let mut parsed = Self::default();
        let mut errors = Vec::new();
        for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            match name.as_ref() {
                "after" => match value.parse() {
                    Ok(after) if after >= 0 => parsed.after = Some(after),
                    _ => errors.push(FieldError { field: "after", message: "must be a sequence number".to_owned() }),
                },
                "limit" => match value.parse::<i64>() {
                    Ok(limit) if limit > 0 => parsed.limit = Some(usize::try_from(limit).unwrap_or(MAX_PAGE)),
                    _ => errors.push(FieldError { field: "limit", message: format!("must be 1 to {MAX_PAGE}") }),
                },
                "access_token" => parsed.access_token = Some(value.into_owned()),
                "upstream" => parsed.upstream = flag("upstream", &value, &mut errors),
                _ => {}
            }
        }
        if errors.is_empty() { Ok(parsed) } else { Err(Problem::new(Code::InvalidRequest).errors(errors)) }
    }
}

fn flag(field: &'static str, value: &str, errors: &mut Vec<FieldError>) -> bool {
    match value {
        "true" | "1" => true,
        "false" | "0" => false,
        _ => {
            errors.push(FieldError { field, message: "must be true or false".to_owned() });
            false
        }
    }
}
