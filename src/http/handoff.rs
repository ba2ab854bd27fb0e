//! The desk's routes, and the customer's request for a human: `/v1/conversations/{id}/handoff…` and `PUT /v1/desk`.

use axum::{
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    Public,
    auth::Caller,
    body,
    conversations::{is_current, no_conversation, own},
    openapi::{Errors, schema},
    path::Path,
    problem::{Code, FieldError, Problem},
    tokens::whole,
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
/// Characters of an address at most.
const LONGEST_ADDRESS: usize = 2000;

/// A handoff as it is shown.
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
    /// As `handoff` stands.
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
    summary = "Ask for a human: the desk, or the customer with a browser token",
    params(("conversation_id" = String, Path, description = "The frontend's own id"),),
    request_body(content = Option<schema::HumanWish>),
    responses(
        (status = 200, description = "A human is asked for, or was before", body = schema::HandedOff),
        (status = 429, description = "rate_limited", body = schema::ProblemBody, content_type = "application/problem+json"),
        Errors,
    ),
    security(("bearer" = []))
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
    summary = "An agent takes the conversation, or joins: from then on the bot is silent",
    params(("conversation_id" = String, Path, description = "The frontend's own id"),),
    request_body = schema::Claim,
    responses(
        (status = 200, description = "The agent has it, or had it before", body = schema::HandedOff),
        (status = 409, description = "already_claimed, with the `agent` who has it", body = schema::ProblemBody, content_type = "application/problem+json"),
        Errors,
    ),
    security(("bearer" = []))
)]
pub async fn claim(
    State(public): State<Public>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let (caller, id, mut form) = of_desk(&public, &id, request, &["agent", "join"]).await?;
    let agent = agent(form.fields.remove("agent"), true, &mut form.errors);
    let joins = form.flag("join").unwrap_or(false);
    form.finish()?;
    let agent = agent.ok_or_else(|| Problem::new(Code::InvalidRequest))?;
    done(&public, &caller, &id, HandoffAct::Claim { agent, joins }).await
}

/// Says where the customer stands.
#[utoipa::path(
    post,
    path = "/v1/conversations/{conversation_id}/handoff/position",
    operation_id = "setPosition",
    summary = "Say where the customer who waits stands",
    params(("conversation_id" = String, Path, description = "The frontend's own id"),),
    request_body = schema::Position,
    responses(
        (status = 200, description = "The customer is told", body = schema::HandedOff),
        (status = 409, description = "no_handoff: nobody waits", body = schema::ProblemBody, content_type = "application/problem+json"),
        Errors,
    ),
    security(("bearer" = []))
)]
pub async fn position(
    State(public): State<Public>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let (caller, id, mut form) = of_desk(&public, &id, request, &["position", "expected_wait_seconds"]).await?;
    let position = form.count("position", 1);
    if position.is_none() && form.errors.is_empty() {
        form.fault("position", "is required");
    }
    let expected_wait_seconds = form.count("expected_wait_seconds", 0);
    form.finish()?;
    let place = Place { position: position.unwrap_or_default(), expected_wait_seconds };
    done(&public, &caller, &id, HandoffAct::Position(place)).await
}

/// Lets the customer know that an agent writes.
#[utoipa::path(
    post,
    path = "/v1/conversations/{conversation_id}/handoff/typing",
    operation_id = "typing",
    summary = "An agent is writing: open streams are told `typing`",
    params(("conversation_id" = String, Path, description = "The frontend's own id"),),
    request_body(content = Option<schema::WhichAgent>),
    responses((status = 204, description = "Told"), Errors),
    security(("bearer" = []))
)]
pub async fn typing(
    State(public): State<Public>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let (caller, id, mut form) = of_desk(&public, &id, request, &["agent"]).await?;
    let named = form.fields.remove("agent").filter(|value| !value.is_null());
    let _ = named.map(|named| agent(Some(named), false, &mut form.errors));
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
    summary = "An agent leaves; after the last one the customer waits again",
    params(("conversation_id" = String, Path, description = "The frontend's own id"),),
    request_body(content = Option<schema::WhichAgent>),
    responses(
        (status = 200, description = "The agent has left, or was not there", body = schema::HandedOff),
        (status = 409, description = "no_handoff", body = schema::ProblemBody, content_type = "application/problem+json"),
        Errors,
    ),
    security(("bearer" = []))
)]
pub async fn leave(
    State(public): State<Public>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let (caller, id, mut form) = of_desk(&public, &id, request, &["agent"]).await?;
    let named = form.fields.remove("agent").filter(|value| !value.is_null());
    let agent = named.and_then(|named| agent(Some(named), false, &mut form.errors));
    form.finish()?;
    done(&public, &caller, &id, HandoffAct::Leave { agent: agent.map(|agent| agent.id) }).await
}

/// Gives the conversation back.
#[utoipa::path(
    post,
    path = "/v1/conversations/{conversation_id}/handoff/return",
    operation_id = "returnHandoff",
    summary = "Give the conversation back to the bot",
    params(("conversation_id" = String, Path, description = "The frontend's own id"),),
    request_body(content = Option<schema::Return>),
    responses(
        (status = 200, description = "The bot has it", body = schema::HandedOff),
        (status = 409, description = "no_handoff", body = schema::ProblemBody, content_type = "application/problem+json"),
        Errors,
    ),
    security(("bearer" = []))
)]
pub async fn give_back(
    State(public): State<Public>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let (caller, id, mut form) = of_desk(&public, &id, request, &["to"]).await?;
    match form.fields.remove("to") {
        None | Some(Value::Null) => {}
        Some(Value::String(to)) if to == "bot" => {}
        Some(_) => form.fault("to", "must be \"bot\""),
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
    summary = "Say whether the frontend's desk is there",
    request_body = schema::Desk,
    responses((status = 200, description = "As it is noted", body = schema::Desk), Errors),
    security(("bearer" = []))
)]
pub async fn put_desk(State(public): State<Public>, request: Request) -> Result<Response, Problem> {
    let (caller, body) = body::of_caller(&public, request).await?;
    let frontend = caller.server_only()?;
    let mut form = Form::read(&body, &["open", "next_open"])?;
    let open = form.flag("open");
    if open.is_none() && form.errors.is_empty() {
        form.fault("open", "is required");
    }
    let next_open = match form.fields.remove("next_open") {
        None | Some(Value::Null) => None,
        Some(Value::String(at)) if at.parse::<jiff::Timestamp>().is_ok() => Some(at),
        Some(_) => {
            form.fault("next_open", "must be a time such as 2027-01-04T08:00:00Z");
            None
        }
    };
    form.finish()?;
    let desk = Desk { open: open.unwrap_or_default(), next_open };
    public.handoffs.set_desk(&frontend, &desk).await?;
    Ok(axum::Json(DeskView { open: desk.open, next_open: desk.next_open }).into_response())
}

/// The desk that calls, the conversation, and what it says.
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

/// Texts that say one thing together.
pub(super) fn joined<const N: usize>(texts: [Option<String>; N]) -> Option<String> {
    let texts: Vec<String> = texts.into_iter().flatten().collect();
    (!texts.is_empty()).then(|| texts.join(": "))
}

/// An agent of a desk; with `whole` it has a name too.
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
    let mut form = Form { errors: body::unknown(&fields, "agent", &["id", "name", "avatar_url"]), fields };
    let (id, name) = (form.line("id"), form.line("name"));
    let avatar_url = form.address("avatar_url");
    for (member, is_missing) in [("id", id.is_none()), ("name", whole && name.is_none())] {
        if is_missing && form.errors.is_empty() {
            form.fault(member, "is required");
        }
    }
    let is_whole = form.errors.is_empty();
    errors.extend(form.errors.into_iter().map(|error| {
        let field =
            if error.field.starts_with("agent.") { error.field } else { format!("agent.{}", error.field).into() };
        FieldError { field, ..error }
    }));
    is_whole.then(|| Agent { id: id.unwrap_or_default(), name: name.unwrap_or_default(), avatar_url })
}

/// The members of a body, and what is wrong with them.
pub(super) struct Form {
    pub(super) fields: Map<String, Value>,
    pub(super) errors: Vec<FieldError>,
}

impl Form {
    pub(super) fn read(body: &[u8], members: &[&str]) -> Result<Self, Problem> {
        let fields = body::object(body)?;
        let errors = body::unknown(&fields, "", members);
        Ok(Self { fields, errors })
    }

    fn fault(&mut self, field: &'static str, message: impl Into<String>) {
        self.errors.push(FieldError::new(field, message));
    }

    /// A text that may be left out; blank is left out too.
    pub(super) fn text(&mut self, field: &'static str, longest: usize) -> Option<String> {
        let is_plain = |text: &str| !text.contains(|c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r'));
        match self.fields.remove(field) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) if text.trim().is_empty() => None,
            Some(Value::String(text)) if text.chars().count() <= longest && is_plain(&text) => Some(text),
            Some(_) => {
                self.fault(field, format!("must be a string of at most {longest} characters, without controls"));
                None
            }
        }
    }

    /// A name of one line; blank is none.
    fn line(&mut self, field: &'static str) -> Option<String> {
        match self.fields.remove(field) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) if text.chars().count() <= SHORT && !text.contains(char::is_control) => {
                (!text.trim().is_empty()).then_some(text)
            }
            Some(_) => {
                self.fault(field, format!("must be a string of at most {SHORT} characters, without controls"));
                None
            }
        }
    }

    /// An address that a page may show: of the web, and of no scheme that runs something.
    fn address(&mut self, field: &'static str) -> Option<String> {
        let is_web = |text: &str| {
            let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
            rest.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_graphic()))
        };
        match self.fields.remove(field) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) if text.len() <= LONGEST_ADDRESS && is_web(&text) => Some(text),
            Some(_) => {
                self.fault(field, "must be an absolute http or https address");
                None
            }
        }
    }

    fn flag(&mut self, field: &'static str) -> Option<bool> {
        match self.fields.remove(field) {
            None | Some(Value::Null) => None,
            Some(Value::Bool(flag)) => Some(flag),
            Some(_) => {
                self.fault(field, "must be true or false");
                None
            }
        }
    }

    fn count(&mut self, field: &'static str, least: u32) -> Option<u32> {
        let value = self.fields.remove(field).filter(|value| !value.is_null())?;
        let count = whole(&value).and_then(|count| u32::try_from(count).ok()).filter(|count| *count >= least);
        if count.is_none() {
            self.fault(field, format!("must be a whole number, {least} or more"));
        }
        count
    }

    pub(super) fn finish(self) -> Result<(), Problem> {
        if self.errors.is_empty() { Ok(()) } else { Err(Problem::new(Code::InvalidRequest).errors(self.errors)) }
    }
}
