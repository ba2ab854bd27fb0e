//! The control routes under `/_sandbox`: a test bench over HTTP, without authentication.
//!
//! Only translates between JSON and the sandbox's methods.

use axum::body::Bytes;
use axum::extract::{FromRequest, Path, RawQuery, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::desk::Feedback;
use super::model::Conversation;
use super::query::Query;
use super::rule::Fault;
use super::seed::Seed;
use super::{Sandbox, SandboxError};

/// The most conversations one control answer holds.
const MOST: usize = 1_000;

/// Returns the routes.
pub fn router() -> Router<Sandbox> {
    Router::new()
        .route("/_sandbox/conversations", get(conversations))
        .route("/_sandbox/conversations/{id}", get(conversation).delete(vanish))
        .route("/_sandbox/conversations/{id}/agent-message", post(agent_message))
        .route("/_sandbox/conversations/{id}/note", post(note))
        .route("/_sandbox/conversations/{id}/bot-message", post(bot_message))
        .route("/_sandbox/conversations/{id}/status", post(status))
        .route("/_sandbox/conversations/{id}/resolve", post(resolve))
        .route("/_sandbox/conversations/{id}/events", post(events))
        .route("/_sandbox/conversations/{id}/feedback", post(feedback))
        .route("/_sandbox/settings", get(settings).patch(patch_settings))
        .route("/_sandbox/faults", get(faults).post(add_fault).delete(clear_faults))
        .route("/_sandbox/faults/{id}", delete(remove_fault))
        .route("/_sandbox/audit", get(audit).delete(reset_audit))
        .route("/_sandbox/seed", post(seed))
        .route("/_sandbox/reset", post(reset))
}

/// A JSON body. Its content type does not matter (`curl -d` gets it wrong), and its faults are reported in the same shape
/// as all other errors here.
struct Body<T>(T);

impl<T: DeserializeOwned> FromRequest<Sandbox> for Body<T> {
    type Rejection = SandboxError;

    async fn from_request(request: Request, sandbox: &Sandbox) -> Result<Self, SandboxError> {
        let bytes =
            Bytes::from_request(request, sandbox).await.map_err(|error| SandboxError::Invalid(error.body_text()))?;
        serde_json::from_slice(&bytes).map(Self).map_err(|error| SandboxError::Invalid(error.to_string()))
    }
}

type Answer = Result<Response, SandboxError>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Status {
    status: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Resolve {
    resolved: Option<bool>,
}

async fn conversations(State(sandbox): State<Sandbox>, RawQuery(query): RawQuery) -> Answer {
    let query = Query::parse(query.as_deref().unwrap_or_default());
    let wrong = |name: &str| SandboxError::Invalid(format!("{name} cannot be read"));
    let limit = query.number("limit").map_err(|_| wrong("limit"))?.unwrap_or(100);
    let limit = usize::try_from(limit).map_err(|_| wrong("limit"))?.min(MOST);
    let mut found = match query.text("attribute") {
        Some(attribute) => {
            let (key, value) = attribute.split_once(':').ok_or_else(|| wrong("attribute (key:value)"))?;
            sandbox.conversations_with(key, value)
        }
        None => sandbox.conversations(limit),
    };
    found.truncate(limit);
    let shown: Vec<Value> = found.iter().map(|conversation| shown(conversation)).collect();
    Ok(Json(json!({"conversations": shown, "total": sandbox.conversation_count()})).into_response())
}

async fn conversation(State(sandbox): State<Sandbox>, Path(id): Path<String>) -> Answer {
    Ok(Json(shown(&*sandbox.conversation(&id)?)).into_response())
}

async fn vanish(State(sandbox): State<Sandbox>, Path(id): Path<String>) -> Answer {
    sandbox.vanish(&id).map(done)
}

async fn agent_message(State(sandbox): State<Sandbox>, Path(id): Path<String>, Body(body): Body<Text>) -> Answer {
    sandbox.agent_message(&id, &body.text).map(|event| created(&event))
}

async fn note(State(sandbox): State<Sandbox>, Path(id): Path<String>, Body(body): Body<Text>) -> Answer {
    sandbox.note(&id, &body.text).map(|event| created(&event))
}

async fn bot_message(State(sandbox): State<Sandbox>, Path(id): Path<String>, Body(body): Body<Text>) -> Answer {
    sandbox.bot_message(&id, &body.text).map(|event| created(&event))
}

async fn status(State(sandbox): State<Sandbox>, Path(id): Path<String>, Body(body): Body<Status>) -> Answer {
    sandbox.set_status(&id, body.status.as_deref())?;
    conversation(State(sandbox), Path(id)).await
}

async fn resolve(State(sandbox): State<Sandbox>, Path(id): Path<String>, Body(body): Body<Resolve>) -> Answer {
    sandbox.set_resolved(&id, body.resolved)?;
    conversation(State(sandbox), Path(id)).await
}

async fn events(
    State(sandbox): State<Sandbox>,
    Path(id): Path<String>,
    Body(fields): Body<Map<String, Value>>,
) -> Answer {
    sandbox.inject(&id, &fields).map(|event| created(&event))
}

async fn feedback(State(sandbox): State<Sandbox>, Path(id): Path<String>, Body(body): Body<Feedback>) -> Answer {
    sandbox.feedback(&id, &body)?;
    conversation(State(sandbox), Path(id)).await
}

async fn settings(State(sandbox): State<Sandbox>) -> Response {
    Json(sandbox.settings()).into_response()
}

async fn patch_settings(State(sandbox): State<Sandbox>, Body(patch): Body<Value>) -> Answer {
    sandbox.patch_settings(&patch).map(|settings| Json(settings).into_response())
}

async fn faults(State(sandbox): State<Sandbox>) -> Response {
    Json(json!({"faults": sandbox.faults()})).into_response()
}

async fn add_fault(State(sandbox): State<Sandbox>, Body(fault): Body<Fault>) -> Answer {
    sandbox.add_fault(fault).map(|id| (StatusCode::CREATED, Json(json!({"id": id}))).into_response())
}

async fn remove_fault(State(sandbox): State<Sandbox>, Path(id): Path<u64>) -> Response {
    if sandbox.remove_fault(id) { done(()) } else { StatusCode::NOT_FOUND.into_response() }
}

async fn clear_faults(State(sandbox): State<Sandbox>) -> Response {
    sandbox.clear_faults();
    done(())
}

async fn audit(State(sandbox): State<Sandbox>, RawQuery(query): RawQuery) -> Answer {
    let query = Query::parse(query.as_deref().unwrap_or_default());
    let wrong = |_| SandboxError::Invalid("requests is a number, inbound is true or false".into());
    let latest = query.number("requests").map_err(wrong)?.unwrap_or(0);
    let inbound = query.flag("inbound").map_err(wrong)?.unwrap_or(true);
    let report = sandbox.audit(usize::try_from(latest).unwrap_or(0), inbound);
    Ok(Json(report).into_response())
}

async fn reset_audit(State(sandbox): State<Sandbox>) -> Response {
    sandbox.reset_audit();
    done(())
}

async fn seed(State(sandbox): State<Sandbox>, Body(seed): Body<Seed>) -> Answer {
    sandbox.seed(&seed).map(|seeded| (StatusCode::CREATED, Json(seeded)).into_response())
}

async fn reset(State(sandbox): State<Sandbox>) -> Response {
    sandbox.reset();
    done(())
}

/// Shows the public wrapper, with the sandbox's own knowledge beside it.
fn shown(conversation: &Conversation) -> Value {
    let mut shown = json!(conversation);
    shown["sandbox"] = json!({
        "botId": conversation.bot_id,
        "latestAt": conversation.latest_at,
        "humanOwned": conversation.human_owned,
        "touched": conversation.touched,
    });
    shown
}

fn created(event: &super::model::Event) -> Response {
    (StatusCode::CREATED, Json(event)).into_response()
}

fn done((): ()) -> Response {
    StatusCode::NO_CONTENT.into_response()
}
