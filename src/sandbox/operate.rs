//! Carries the vendor's operations out, once a request has been let in.
//!
//! Never holds the sandbox's lock while it waits for anything.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::audit::Route;
use super::error::VendorError;
use super::model::{Conversation, Event, Events};
use super::query::Query;
use super::turn::{Reply, Turn};
use super::vendor::Call;
use super::{Bot, Sandbox};

/// How an operation is carried out.
#[derive(Clone, Copy)]
pub struct Manner {
    /// What becomes of a reply.
    pub reply: Reply,
    /// Whether to wait until the reply is made.
    pub wait: bool,
}

impl Manner {
    /// As the vendor does it.
    pub const USUAL: Self = Self { reply: Reply::Normal, wait: true };
}

/// What an operation answers, before it is written out.
pub enum Answer {
    /// Events made by Generate Answer.
    Events(Vec<Arc<Event>>),
    /// One conversation.
    Conversation(Arc<Conversation>),
    /// A page of List.
    Page(super::list::Page),
    /// Anything else.
    Json(Value),
}

impl Answer {
    /// The same answer without content.
    pub fn emptied(self) -> Self {
        match self {
            Self::Page(page) => Self::Page(page.emptied()),
            _ => Self::Json(json!([])),
        }
    }

    /// As JSON text.
    pub fn to_bytes(&self) -> Vec<u8> {
        fn text(value: &impl Serialize) -> Vec<u8> {
            serde_json::to_vec(value).expect("plain data with text keys always has a JSON form")
        }
        match self {
            Self::Events(events) => text(&Events(events)),
            Self::Conversation(conversation) => text(conversation.as_ref()),
            Self::Page(page) => text(page),
            Self::Json(value) => text(value),
        }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        json_response(Body::from(self.to_bytes()))
    }
}

/// 200 with a body that says it is JSON.
pub fn json_response(body: Body) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    response
}

impl Sandbox {
    /// Carries the operation out.
    pub(super) async fn perform(&self, call: &Call, manner: Manner) -> Result<Answer, VendorError> {
        let query = Query::parse(&call.query);
        match call.route {
            Route::GenerateAnswer => self.generate_answer(&call.body, manner).await.map(Answer::Events),
            Route::Get => {
                let world = self.world();
                let known = Uuid::parse_str(&call.id).ok().and_then(|id| world.truth.get(id).cloned());
                known.map(Answer::Conversation).ok_or_else(|| world.unknown_id())
            }
            Route::List => self.world().page(&query).map(Answer::Page),
            Route::Agents => Ok(Answer::Json(self.agents())),
            Route::History => self.world().history(&query).map(Answer::Json),
            Route::Delete => self.delete(&call.id).map(Answer::Json),
            Route::BulkDelete => self.bulk_delete(&call.body).map(Answer::Json),
        }
    }

    async fn generate_answer(&self, body: &[u8], manner: Manner) -> Result<Vec<Arc<Event>>, VendorError> {
        let turn = Turn::parse(body)?;
        let (begun, latency) = {
            let mut world = self.world();
            let now = world.now();
            (world.begin(&turn, manner.reply, now)?, Duration::from_millis(world.settings.reply_latency_ms))
        };
        let mut events = begun.created;
        if !manner.wait {
            return Ok(events);
        }
        if !latency.is_zero() && (begun.fails || begun.reply.is_some()) {
            tokio::time::sleep(latency).await;
        }
        if begun.fails {
            return Err(VendorError::internal());
        }
        if let Some(awaited) = begun.reply {
            let reply = self.world().collect(&awaited);
            // Deleted while the reply was being made.
            if reply.is_empty() {
                return Err(VendorError::internal());
            }
            events.extend(reply);
        }
        Ok(events)
    }

    fn agents(&self) -> Value {
        let world = self.world();
        let agent = |(bot, created): &(Bot, i64)| json!({"id": bot.id, "name": bot.name, "createdAt": iso(*created)});
        world.bots.iter().map(agent).collect()
    }

    /// Success whether or not there was such a conversation.
    fn delete(&self, id: &str) -> Result<Value, VendorError> {
        let id = Uuid::parse_str(id).map_err(|_| VendorError::internal())?;
        let mut world = self.world();
        if world.settings.delete_works {
            world.erase(id);
        }
        Ok(json!({"success": true}))
    }

    /// Not atomic: what can be deleted is, before unknown ids are complained about.
    fn bulk_delete(&self, body: &[u8]) -> Result<Value, VendorError> {
        let ids = bulk_ids(body)?;
        let mut world = self.world();
        let unknown = ids.iter().filter(|id| world.truth.get(**id).is_none()).count();
        if world.settings.delete_works {
            for id in ids {
                world.erase(id);
            }
        }
        if unknown > 0 && world.settings.bulk_delete_406 {
            return Err(VendorError::new(406, format!("{unknown} of the conversations could not be deleted")));
        }
        Ok(json!({"success": true}))
    }
}

/// 1 to 50 UUIDs, each once.
fn bulk_ids(body: &[u8]) -> Result<Vec<Uuid>, VendorError> {
    let body: Value =
        serde_json::from_slice(body).map_err(|_| VendorError::bad_request("The body is not valid JSON"))?;
    let texts = body["ids"].as_array().ok_or_else(|| VendorError::validation(vec!["ids must be an array".into()]))?;
    let mut broken = Vec::new();
    if !(1..=50).contains(&texts.len()) {
        broken.push("ids must hold 1 to 50 entries".to_owned());
    }
    let ids: Vec<Uuid> = texts.iter().filter_map(|id| id.as_str().and_then(|id| Uuid::parse_str(id).ok())).collect();
    if ids.len() < texts.len() {
        broken.push("each of ids must be a UUID".into());
    }
    if ids.iter().collect::<HashSet<_>>().len() < ids.len() {
        broken.push("all of ids must be different".into());
    }
    if broken.is_empty() { Ok(ids) } else { Err(VendorError::validation(broken)) }
}

/// List agents alone writes times as text (ISO 8601, UTC, milliseconds).
fn iso(ms: i64) -> String {
    let time = Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH);
    time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}
