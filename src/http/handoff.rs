//! The desk's routes, and the customer's request for a human: `/v1/conversations/{id}/handoff…` and `PUT /v1/desk`.

use axum::{
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::Value;

use super::{
    Public,
    auth::Caller,
    body,
    conversations::{is_current, no_conversation, own},
    form::Form,
    openapi::{Errors, schema},
    path::Path,
    problem::{Code, FieldError, Problem},
};
use crate::{
    domain::{
        Timestamp,
        conversation::State as Standing,
        event::EscalationReason,
        handoff::{Agent, Desk, Handoff, Place, Speaker},
        ids::ConversationId,
    },
    store::{HandedOff, HandoffAct},
};

/// Characters of a name, an id or a reason at most.
const SHORT: usize = 200;
/// Characters of a note at most.
const NOTE: usize = 4000;

/// A handoff as it is shown to callers.
#[derive(Serialize)]
pub struct View<'a> {
    speaker: Speaker,
    reason: Option<EscalationReason>,
    requested_at: Option<String>,
    claimed_at: Option<String>,
    agent: Option<&'a Agent>,
    position: Option<u32>,
    expected_wait_seconds: Option<u32>,
}

impl<'a> View<'a> {
    /// Shows `handoff` in its present state.
    pub fn of(handoff: &'a Handoff) -> Self {
        let shown = |at: Option<Timestamp>| at.map(|at| at.to_string());
        Self {
            speaker: handoff.speaker(),
            reason: handoff.reason(),
            requested_at: shown(handoff.requested_at()),
            claimed_at: shown(handoff.claimed_at()),
            agent: handoff.agent(),
            position: handoff.place().map(|place| place.position),
            expected_wait_seconds: handoff.place().and_then(|place| place.expected_wait_seconds),
        }
    }
}

#[derive(Serialize)]
struct Answer<'a> {
    conversation_id: &'a ConversationId,
    state: Standing,
    handoff: View<'a>,
}

/// Asks for a human.
#[utoipa::path(
    post,
    path = "/v1/conversations/{conversation_id}/handoff",
    operation_id = "requestHuman",
    tag = "Handoff",
    summary = "Ask for a human: the desk, or the customer with a browser token",
    description = "Tells `conversation.escalated` and `handoff.requested` once; asking again changes nothing. `note` is for the desk alone.",
    params(("conversation_id" = String, Path, description = "The frontend's own id"),),
    request_body(content = Option<schema::HumanWish>),
    responses(
        (status = 200, description = "A human is asked for, or was before", body = schema::HandedOff),
        (status = 429, description = "rate_limited", body = schema::ProblemBody, content_type = "application/problem+json"),
        Errors,
    ),
    security(("frontend_token" = []), ("browser_token" = []))
)]
pub async fn request(
    State(public): State<Public>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let (caller, body) = body::of_caller(&public, request).await?;
    let admitted = public.reads.admit(&caller)?;
    let id = own(&public, &caller, &id).await?;
    is_current(&public, &caller, &id).await?;
    let mut form = Form::read(&body, &["reason", "note"])?;
    let (reason, note) = (form.text("reason", SHORT), form.text("note", NOTE));
    form.finish()?;
    let (note, begins) = (joined([reason, note]), caller.is_browser());
    let act = HandoffAct::Request { reason: EscalationReason::Requested, note, begins };
    Ok(admitted.until_taken(done(&public, &caller, &id, act).await?))
}

/// Takes a conversation.
#[utoipa::path(
    post,
    path = "/v1/conversations/{conversation_id}/handoff/claim",
    operation_id = "claimHandoff",
    tag = "Handoff",
    summary = "An agent takes the conversation, or joins: from then on the bot is silent",
    description = "Whether anybody asked for a human or not. Another agent who has it is told, unless `join` is true.",
    params(("conversation_id" = String, Path, description = "The frontend's own id"),),
    request_body = schema::Claim,
    responses(
        (status = 200, description = "The agent has it, or had it before", body = schema::HandedOff),
        (status = 409, description = "already_claimed, with the `agent` who has it", body = schema::ProblemBody, content_type = "application/problem+json"),
        Errors,
    ),
    security(("frontend_token" = []))
)]
pub async fn claim(
    State(public): State<Public>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let (caller, id, mut form) = of_desk(&public, &id, request, &["agent", "join"]).await?;
    let mut faults = Vec::new();
    let agent = agent(form.take("agent"), true, &mut faults);
    form.faults(faults);
    let joins = form.flag("join").unwrap_or(false);
    let agent = form.finish_with("agent", agent)?;
    done(&public, &caller, &id, HandoffAct::Claim { agent, joins }).await
}

/// Says where the customer stands.
#[utoipa::path(
    post,
    path = "/v1/conversations/{conversation_id}/handoff/position",
    operation_id = "setPosition",
    tag = "Handoff",
    summary = "Say where the customer who waits stands",
    description = "Told as `handoff.position`.",
    params(("conversation_id" = String, Path, description = "The frontend's own id"),),
    request_body = schema::Position,
    responses(
        (status = 200, description = "The customer is told", body = schema::HandedOff),
        (status = 409, description = "no_handoff: nobody waits", body = schema::ProblemBody, content_type = "application/problem+json"),
        Errors,
    ),
    security(("frontend_token" = []))
)]
pub async fn position(
    State(public): State<Public>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let (caller, id, mut form) = of_desk(&public, &id, request, &["position", "expected_wait_seconds"]).await?;
    let position = form.number("position", 1..=u32::MAX.into());
    let expected_wait_seconds = form.number("expected_wait_seconds", 0..=u32::MAX.into());
    let position = form.finish_with("position", position)?;
    let place = Place {
        position: u32::try_from(position).unwrap_or(u32::MAX),
        expected_wait_seconds: expected_wait_seconds.and_then(|seconds| u32::try_from(seconds).ok()),
    };
    done(&public, &caller, &id, HandoffAct::Position(place)).await
}

/// Lets the customer know that an agent writes.
#[utoipa::path(
    post,
    path = "/v1/conversations/{conversation_id}/handoff/typing",
    operation_id = "typing",
    tag = "Handoff",
    summary = "An agent is writing: open streams are told `typing`",
    description = "Nothing is stored.",
    params(("conversation_id" = String, Path, description = "The frontend's own id"),),
    request_body(content = Option<schema::WhichAgent>),
    responses((status = 204, description = "Told"), Errors),
    security(("frontend_token" = []))
)]
pub async fn typing(
    State(public): State<Public>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let (caller, id, mut form) = of_desk(&public, &id, request, &["agent"]).await?;
    which_agent(&mut form);
    form.finish()?;
    let found = public.store.conversation(caller.frontend(), &id).await?.ok_or_else(no_conversation)?;
    public.handoffs.typing(found.reference.key).await?;
    Ok(axum::http::StatusCode::NO_CONTENT.into_response())
}

/// Lets an agent go.
#[utoipa::path(
    post,
    path = "/v1/conversations/{conversation_id}/handoff/leave",
    operation_id = "leaveHandoff",
    tag = "Handoff",
    summary = "An agent leaves; after the last one the customer waits again",
    description = "Told as `handoff.agent_left`.",
    params(("conversation_id" = String, Path, description = "The frontend's own id"),),
    request_body(content = Option<schema::WhichAgent>),
    responses(
        (status = 200, description = "The agent has left, or was not there", body = schema::HandedOff),
        (status = 409, description = "no_handoff", body = schema::ProblemBody, content_type = "application/problem+json"),
        Errors,
    ),
    security(("frontend_token" = []))
)]
pub async fn leave(
    State(public): State<Public>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let (caller, id, mut form) = of_desk(&public, &id, request, &["agent"]).await?;
    let agent = which_agent(&mut form);
    form.finish()?;
    done(&public, &caller, &id, HandoffAct::Leave { agent: agent.map(|agent| agent.id) }).await
}

/// Gives the conversation back.
#[utoipa::path(
    post,
    path = "/v1/conversations/{conversation_id}/handoff/return",
    operation_id = "returnHandoff",
    tag = "Handoff",
    summary = "Give the conversation back to the bot",
    description = "Told as `handoff.returned`: the bot answers again.",
    params(("conversation_id" = String, Path, description = "The frontend's own id"),),
    request_body(content = Option<schema::Return>),
    responses(
        (status = 200, description = "The bot has it", body = schema::HandedOff),
        (status = 409, description = "no_handoff", body = schema::ProblemBody, content_type = "application/problem+json"),
        Errors,
    ),
    security(("frontend_token" = []))
)]
pub async fn give_back(
    State(public): State<Public>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let (caller, id, mut form) = of_desk(&public, &id, request, &["to"]).await?;
    if form.take("to").is_some_and(|to| to != "bot") {
        form.fault("to", "must be \"bot\"");
    }
    form.finish()?;
    done(&public, &caller, &id, HandoffAct::Return).await
}

#[derive(Serialize)]
struct DeskView {
    open: bool,
    next_open: Option<String>,
}

/// Says whether the desk is there.
#[utoipa::path(
    put,
    path = "/v1/desk",
    operation_id = "setDesk",
    tag = "Handoff",
    summary = "Say whether the frontend's desk is there",
    description = "Told to customers who wait, and to Fini where it asks. The bridge keeps no calendar.",
    request_body = schema::Desk,
    responses((status = 200, description = "As it is noted", body = schema::Desk), Errors),
    security(("frontend_token" = []))
)]
pub async fn put_desk(State(public): State<Public>, request: Request) -> Result<Response, Problem> {
    let (caller, body) = body::of_caller(&public, request).await?;
    let frontend = caller.server_only()?;
    let mut form = Form::read(&body, &["open", "next_open"])?;
    let open = form.flag("open");
    let next_open = form.time("next_open");
    let desk = Desk { open: form.finish_with("open", open)?, next_open };
    public.handoffs.set_desk(&frontend, &desk).await?;
    Ok(axum::Json(DeskView { open: desk.open, next_open: desk.next_open }).into_response())
}

/// Finds the calling desk and the conversation, and reads the body.
async fn of_desk(
    public: &Public,
    id: &str,
    request: Request,
    members: &[&str],
) -> Result<(Caller, ConversationId, Form), Problem> {
    let (caller, body) = body::of_caller(public, request).await?;
    caller.clone().server_only()?;
    let id = own(public, &caller, id).await?;
    Ok((caller, id, Form::read(&body, members)?))
}

async fn done(public: &Public, caller: &Caller, id: &ConversationId, act: HandoffAct) -> Result<Response, Problem> {
    match public.handoffs.act(caller.frontend(), id, act).await? {
        HandedOff::Done(found) => {
            let answer = Answer { conversation_id: id, state: found.state, handoff: View::of(&found.handoff) };
            Ok(axum::Json(answer).into_response())
        }
        HandedOff::Unknown => Err(no_conversation()),
        HandedOff::AlreadyClaimed(agent) => Err(Problem::new(Code::AlreadyClaimed).agent(agent)),
        HandedOff::NoHandoff => Err(Problem::new(Code::NoHandoff)),
    }
}

/// Joins texts that belong together.
pub(super) fn joined<const N: usize>(texts: [Option<String>; N]) -> Option<String> {
    let texts: Vec<String> = texts.into_iter().flatten().collect();
    (!texts.is_empty()).then(|| texts.join(": "))
}

/// Takes the agent whom the desk names, of whom only the id counts.
fn which_agent(form: &mut Form) -> Option<Agent> {
    let mut faults = Vec::new();
    let agent = form.take("agent").and_then(|named| agent(Some(named), false, &mut faults));
    form.faults(faults);
    agent
}

/// Reads an agent of a desk; with `whole` it needs a name too.
pub(super) fn agent(value: Option<Value>, whole: bool, errors: &mut Vec<FieldError>) -> Option<Agent> {
    let fields = match value {
        Some(Value::Object(fields)) => fields,
        None | Some(Value::Null) => {
            errors.push(FieldError::new("agent", "is required"));
            return None;
        }
        Some(_) => {
            errors.push(FieldError::new("agent", "must be an object"));
            return None;
        }
    };
    let mut form = Form::of(fields, "agent", &["id", "name", "avatar_url"]);
    let (id, name, avatar_url) = (form.line("id"), form.line("name"), form.address("avatar_url"));
    let id = form.required("id", id);
    let name = if whole { form.required("name", name) } else { name };
    let faults = form.into_faults();
    let is_whole = faults.is_empty();
    errors.extend(faults.into_iter().map(|error| {
        let field =
            if error.field.starts_with("agent.") { error.field } else { format!("agent.{}", error.field).into() };
        FieldError { field, ..error }
    }));
    is_whole.then(|| Agent { id: id.unwrap_or_default(), name: name.unwrap_or_default(), avatar_url })
}
