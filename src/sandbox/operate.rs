//! Carries the vendor's operations out, once a request has been let in.
//!
//! Never holds the sandbox's lock while it waits for anything.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::audit::Route;
use super::choices::ResolveAt;
use super::error::VendorError;
use super::exchange::{Ingest, Reply};
use super::model::{Conversation, Event, Events};
use super::present::{Kind, Shape};
use super::query::Query;
use super::turn::Turn;
use super::vendor::Call;
use super::{Bot, Sandbox, Settings};

/// The manner in which an operation is carried out.
#[derive(Clone, Copy)]
pub struct Manner {
    /// The fate of a reply.
    pub reply: Reply,
    /// True to wait until the reply is made.
    pub wait: bool,
}

impl Manner {
    /// The vendor's own manner.
    pub const USUAL: Self = Self { reply: Reply::Normal, wait: true };
}

/// The answer of an operation, before it is written out.
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
    /// Returns the same answer without content; a page may claim that there is more.
    pub fn emptied(self, has_more: bool) -> Self {
        match self {
            Self::Page(page) => Self::Page(page.emptied(has_more)),
            _ => Self::Json(json!([])),
        }
    }

    /// Returns the same answer, larger than anybody would read.
    pub fn padded(self, bytes: usize) -> Self {
        match self {
            Self::Page(page) => Self::Page(page.padded(bytes)),
            other => other,
        }
    }

    /// Returns it as JSON text, by default settings.
    fn plain(&self) -> Vec<u8> {
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

    /// Returns it as JSON text.
    pub fn to_bytes(&self, settings: &Settings) -> Vec<u8> {
        self.shape(settings).write(self.kind(), self.plain())
    }

    /// Returns it as a response.
    pub fn respond(&self, settings: &Settings) -> Response {
        self.shape(settings).respond(self.to_bytes(settings))
    }

    fn shape(&self, settings: &Settings) -> Shape {
        Shape::of(settings, matches!(self, Self::Page(_)))
    }

    fn kind(&self) -> Option<Kind> {
        match self {
            Self::Events(_) => Some(Kind::Events),
            Self::Conversation(_) => Some(Kind::Conversation),
            Self::Page(_) => Some(Kind::Page),
            Self::Json(_) => None,
        }
    }
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
            Route::List => self.list(&query).await,
            Route::Agents => Ok(Answer::Json(self.agents())),
            Route::History => self.world().history(&query).map(Answer::Json),
            Route::Delete => self.delete(&call.id).map(Answer::Json),
            Route::BulkDelete => self.bulk_delete(&call.body).map(Answer::Json),
        }
    }

    async fn generate_answer(&self, body: &[u8], manner: Manner) -> Result<Vec<Arc<Event>>, VendorError> {
        let turn = Turn::parse(body)?;
        let (latency_ms, coming) = {
            let mut world = self.world();
            let (latency_ms, now) = (world.settings.reply_latency_ms, world.now());
            let ingest = Ingest { turn, reply: manner.reply, received_at: None, latency_ms };
            if world.settings.resolve_at == ResolveAt::Reply && ingest.turn.asks_first() {
                // The wait is over by the time it is stored.
                let ingest = Ingest { received_at: Some(now), latency_ms: 0, ..ingest };
                (latency_ms, Err(world.schedule_ingest(ingest, latency_ms)))
            } else {
                (latency_ms, Ok(world.ingest(&ingest, now)?))
            }
        };
        let latency = Duration::from_millis(latency_ms);
        let begun = match coming {
            Err(_) if !manner.wait => return Ok(Vec::new()),
            Err(awaited) => {
                tokio::time::sleep(latency).await;
                self.world().collect(&awaited).unwrap_or_else(|| Err(VendorError::internal()))?
            }
            Ok(begun) if !manner.wait => return Ok(begun.created),
            Ok(begun) => {
                if !latency.is_zero() && (begun.fails || begun.reply.is_some()) {
                    tokio::time::sleep(latency).await;
                }
                begun
            }
        };
        if begun.fails {
            return Err(VendorError::internal());
        }
        let mut events = begun.created;
        if let Some(awaited) = begun.reply {
            // Without it the conversation was deleted while the reply was being made.
            let reply = self.world().collect(&awaited).flatten().ok_or_else(VendorError::internal)?;
            let place = if begun.in_front { 0 } else { events.len() };
            events.splice(place..place, reply);
        }
        Ok(events)
    }

    fn agents(&self) -> Value {
        let world = self.world();
        let agent = |(bot, created): &(Bot, i64)| json!({"id": bot.id, "name": bot.name, "createdAt": iso(*created)});
        world.bots.iter().map(agent).collect()
    }

    /// Deletes a conversation; answers success even if there was none.
    fn delete(&self, id: &str) -> Result<Value, VendorError> {
        let id = Uuid::parse_str(id).map_err(|_| VendorError::internal())?;
        let mut world = self.world();
        if world.settings.delete_works {
            world.erase(id);
        }
        Ok(json!({"success": true}))
    }

    /// Deletes several conversations. Not atomic: those that can be deleted are, before unknown ids are refused.
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

/// Reads 1 to 50 UUIDs, each once.
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

/// Writes a time as text (ISO 8601, UTC, milliseconds), which only List agents does.
fn iso(ms: i64) -> String {
    let time = Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH);
    time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}
