//! Serves Fini's own requests, if it is set up for them: `POST /v1/fini/actions/escalate` and `POST /v1/fini/attributes`.
//!
//! Fini's actions are the only push that it has: HTTPS, flat JSON both ways, one key in a header. Without a configured key
//! the routes do not exist. Polling remains the safety net: a request that is pushed and also found is reported once.

use axum::{
    extract::{Request, State},
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use subtle::ConstantTimeEq as _;

use super::{
    Public,
    auth::digest,
    body,
    form::Form,
    handoff::joined,
    openapi::{Errors, schema},
    problem::{Code, Problem},
};
use crate::{
    domain::{
        handoff::Speaker,
        ids::InteractionId,
        vendor::{ATTRIBUTE_CONVERSATION, ATTRIBUTE_SPEAKER, ATTRIBUTE_TURN},
    },
    store::Meant,
};

/// Characters of an id at most.
const ID: usize = 200;
/// Characters of a reason or a summary at most.
const TEXT: usize = 4000;

#[derive(Serialize)]
struct Escalated {
    accepted: bool,
    open: Option<bool>,
    position: Option<u32>,
    wait_minutes: Option<u32>,
    next_open: Option<String>,
}

/// Takes Fini's request for a human.
#[utoipa::path(
    post,
    path = "/v1/fini/actions/escalate",
    operation_id = "finiEscalates",
    tag = "Fini",
    summary = "Fini's action that asks for a human",
    description = "For an action at Fini, with `x-api-key`. Answers what the rulebook can say: whether the desk is there, and \
        where the customer stands. A request that fits no conversation is kept for an operator, or until it fits one.",
    request_body = schema::FiniEscalation,
    responses((status = 200, description = "Taken", body = schema::FiniEscalated), Errors),
    security(("action_key" = []))
)]
pub async fn escalate(State(public): State<Public>, request: Request) -> Result<Response, Problem> {
    let mut form = read(&public, request, &["reason", "summary", "priority"]).await?;
    let meant = meant(&mut form);
    let priority = form.word("priority", ID);
    let (reason, summary) = (form.text("reason", TEXT), form.text("summary", TEXT));
    form.finish()?;
    let priority = priority.map(|priority| format!("priority {priority}"));
    let found = public.handoffs.push(meant, joined([priority, reason, summary])).await?;
    let place = found.as_ref().and_then(|found| found.handoff.place());
    let desk = found.as_ref().and_then(|found| found.desk.as_ref());
    let answer = Escalated {
        accepted: true,
        open: desk.map(|desk| desk.open),
        position: found.as_ref().and_then(|found| found.position),
        wait_minutes: place.and_then(|place| place.expected_wait_seconds).map(|seconds| seconds.div_ceil(60)),
        next_open: desk.and_then(|desk| desk.next_open.clone()),
    };
    Ok(axum::Json(answer).into_response())
}

#[derive(Serialize)]
struct Attributes {
    owner: Speaker,
    human_since: Option<String>,
    desk_open: Option<bool>,
    next_open: Option<String>,
}

/// Tells Fini who has the conversation.
#[utoipa::path(
    post,
    path = "/v1/fini/attributes",
    operation_id = "finiAttributes",
    tag = "Fini",
    summary = "The attributes that Fini can fetch before it answers",
    description = "For attributes that Fini fetches, with `x-api-key`: whose the conversation is, and since when a human has it.",
    request_body = schema::FiniMeans,
    responses((status = 200, description = "Whose it is; the bot's where nobody knows it", body = schema::FiniAttributes), Errors),
    security(("action_key" = []))
)]
pub async fn attributes(State(public): State<Public>, request: Request) -> Result<Response, Problem> {
    let mut form = read(&public, request, &[]).await?;
    let meant = meant(&mut form);
    form.finish()?;
    let found = public.handoffs.meant(&meant).await?;
    let desk = found.as_ref().and_then(|found| found.desk.as_ref());
    let answer = Attributes {
        owner: found.as_ref().map_or(Speaker::Bot, |found| found.handoff.speaker()),
        human_since: found.as_ref().and_then(|found| found.handoff.claimed_at()).map(|at| at.to_string()),
        desk_open: desk.map(|desk| desk.open),
        next_open: desk.and_then(|desk| desk.next_open.clone()),
    };
    Ok(axum::Json(answer).into_response())
}

/// The members by which Fini names a conversation.
const MEANT: [&str; 4] = ["interaction_id", ATTRIBUTE_CONVERSATION, ATTRIBUTE_TURN, ATTRIBUTE_SPEAKER];

async fn read(public: &Public, request: Request, members: &[&str]) -> Result<Form, Problem> {
    let (parts, body) = request.into_parts();
    is_fini(public, &parts.headers)?;
    let body = body::read(body, &parts.headers, public.settings.max_body).await?;
    let known: Vec<&str> = MEANT.iter().chain(members).copied().collect();
    Form::read(&body, &known)
}

/// Refuses callers without the key; if none is configured, there is no such route.
fn is_fini(public: &Public, headers: &HeaderMap) -> Result<(), Problem> {
    let Some(known) = *public.action_key.borrow() else {
        return Err(Problem::new(Code::NotFound).detail("there is no such route"));
    };
    let mut given = headers.get_all("x-api-key").iter();
    let key = given.next().and_then(|key| key.to_str().ok()).map(|key| digest(key.trim()));
    let is_right = key.is_some_and(|key| bool::from(key.ct_eq(&known)));
    if is_right && given.next().is_none() {
        return Ok(());
    }
    Err(Problem::new(Code::Unauthorized).detail("x-api-key is not the key that is configured"))
}

fn meant(form: &mut Form) -> Meant {
    let interaction = form.text("interaction_id", ID).map(InteractionId::trusted);
    let attribute = form.text(ATTRIBUTE_CONVERSATION, ID);
    // Known members, so that all attributes may be sent as they are; these name nothing more.
    let _ = (form.text(ATTRIBUTE_TURN, ID), form.text(ATTRIBUTE_SPEAKER, ID));
    Meant { interaction, attribute }
}
