//! Generate Answer: takes a message in, and has the bot answer it.
//!
//! The message is stored before anything else happens, and the reply comes whether or not its sender is still there to
//! hear it, as on any server. The response never names the conversation.

use std::sync::Arc;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::audit::Inbound;
use super::error::VendorError;
use super::model::{Conversation, Event};
use super::script::{self, Draft, Timing};
use super::settings::{AttributeMode, ResolveMode};
use super::world::{Awaited, World};

/// A validated Generate Answer body.
#[derive(Clone, Debug)]
pub struct Turn {
    content: String,
    role: String,
    target: Target,
    user_attributes: Map<String, Value>,
    channel: Option<String>,
}

#[derive(Clone, Debug)]
enum Target {
    Interaction(String),
    Bot(String),
}

/// What becomes of the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// As the bot's script says.
    Normal,
    /// None is ever made.
    Never,
    /// It turns up so many milliseconds later, and the response is without it.
    Late(u64),
}

/// What stands after the message is stored.
pub struct Begun {
    /// The events stored at once.
    pub created: Vec<Arc<Event>>,
    /// The reply to wait for.
    pub reply: Option<Awaited>,
    /// Generating the reply fails after the usual time.
    pub fails: bool,
}

const ROLES: [&str; 4] = ["user", "agent", "finibot", "otherbot"];

impl Turn {
    /// Reads a request body and names every rule it breaks.
    pub fn parse(body: &[u8]) -> Result<Self, VendorError> {
        let body: Value =
            serde_json::from_slice(body).map_err(|_| VendorError::bad_request("The body is not valid JSON"))?;
        let mut broken = Vec::new();
        let content = match &body["content"] {
            Value::String(text) if !text.trim().is_empty() => text.clone(),
            _ => {
                broken.push("content is required and must be a text that is not empty".to_owned());
                String::new()
            }
        };
        let role = match &body["role"] {
            Value::Null => "user".to_owned(),
            Value::String(role) if ROLES.contains(&role.as_str()) => role.clone(),
            _ => {
                broken.push(format!("role must be one of {}", ROLES.join(", ")));
                String::new()
            }
        };
        let interaction = optional_text(&body, "interactionId", &mut broken);
        let bot = optional_text(&body, "botId", &mut broken);
        let target = match (interaction, bot) {
            (Some(id), _) => Target::Interaction(id),
            (None, Some(id)) => Target::Bot(id),
            (None, None) => {
                broken.push("either interactionId or botId is required".into());
                Target::Bot(String::new())
            }
        };
        let metadata = &body["metadata"];
        if !metadata.is_null() && !metadata.is_object() {
            broken.push("metadata must be an object".into());
        }
        if !broken.is_empty() {
            return Err(VendorError::validation(broken));
        }
        let user_attributes = metadata["user_attributes"].as_object().cloned().unwrap_or_default();
        let channel = metadata["channel"].as_str().map(ToOwned::to_owned);
        Ok(Self { content, role, target, user_attributes, channel })
    }
}

fn optional_text(body: &Value, field: &str, broken: &mut Vec<String>) -> Option<String> {
    match &body[field] {
        Value::Null => None,
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        _ => {
            broken.push(format!("{field} must be a text that is not empty"));
            None
        }
    }
}

impl World {
    /// Stores the message and sets its reply going.
    pub fn begin(&mut self, turn: &Turn, reply: Reply, at: i64) -> Result<Begun, VendorError> {
        let mut conversation = self.resolve(turn, at)?;
        let id = conversation.id;
        let from_user = turn.role == "user";
        self.merge_attributes(&mut conversation, turn);
        if from_user {
            conversation.touched = true;
            if conversation.resolved == Some(true) {
                conversation.resolved = None;
                conversation.status.clone_from(&self.settings.open_status);
            }
        }
        let human_owned = conversation.human_owned;
        self.write(conversation, at);
        let created = self.append(id, vec![Draft::text(turn.role.clone(), "message", turn.content.clone())], at);
        if let Some(event) = created.first() {
            self.audit.stored(Inbound {
                conversation_id: id.to_string(),
                event_id: event.id.clone(),
                role: turn.role.clone(),
                content: turn.content.clone(),
                at,
                user_attributes: turn.user_attributes.clone(),
            });
        }
        let mut begun = Begun { created, reply: None, fails: false };
        if !from_user || human_owned || reply == Reply::Never {
            return Ok(begun);
        }
        let plan = script::plan(&turn.content);
        if plan.fails {
            begun.fails = true;
            return Ok(begun);
        }
        let late = match (reply, plan.timing) {
            (Reply::Late(ms), _) => Some(ms),
            (_, Timing::Late) => Some(self.settings.late_reply_ms),
            (_, Timing::After(seconds)) => Some(seconds.saturating_mul(1_000)),
            (_, Timing::InTime) => None,
        };
        let awaited =
            self.schedule_reply(id, plan.drafts, plan.handover, at, late.unwrap_or(self.settings.reply_latency_ms));
        begun.reply = Some(awaited).filter(|_| late.is_none());
        Ok(begun)
    }

    /// What an id that names nothing gets.
    pub fn unknown_id(&self) -> VendorError {
        match self.settings.unknown_id_status {
            500 => VendorError::internal(),
            status => VendorError::new(status, "Not found"),
        }
    }

    /// "Create or resolve": the conversation the message belongs to.
    fn resolve(&mut self, turn: &Turn, at: i64) -> Result<Conversation, VendorError> {
        let bot_id = match &turn.target {
            Target::Interaction(id) => {
                let known = Uuid::parse_str(id).ok().and_then(|id| self.truth.get(id));
                return known.map(|known| Conversation::clone(known)).ok_or_else(|| self.unknown_id());
            }
            Target::Bot(id) if self.bots.iter().any(|(bot, _)| bot.id.eq_ignore_ascii_case(id)) => {
                id.to_ascii_lowercase()
            }
            Target::Bot(_) => return Err(self.unknown_id()),
        };
        let existing = match self.settings.resolve_mode {
            ResolveMode::AlwaysNew => None,
            ResolveMode::NewestOfBot => self.truth.older_than(None).find(|known| known.bot_id == bot_id).cloned(),
            ResolveMode::SameAttribute => {
                let name = &self.settings.resolve_attribute;
                let value = turn.user_attributes.get(name).and_then(super::book::scalar);
                value.and_then(|value| {
                    self.truth.with_attribute(name, &value).into_iter().find(|known| known.bot_id == bot_id)
                })
            }
        };
        Ok(existing.map_or_else(|| self.blank(bot_id, "api", at), |known| Conversation::clone(&known)))
    }

    /// A conversation in which nothing has been said.
    pub fn blank(&mut self, bot_id: String, source: &str, at: i64) -> Conversation {
        Conversation {
            id: self.new_id(),
            bot_id,
            created_at: at,
            latest_at: at,
            source: source.to_owned(),
            channel: None,
            status: self.settings.open_status.clone(),
            external_id: None,
            resolved: None,
            user_attributes: Map::new(),
            events: Vec::new(),
            human_owned: false,
            ever_escalated: false,
            touched: false,
        }
    }

    fn merge_attributes(&self, conversation: &mut Conversation, turn: &Turn) {
        if turn.channel.is_some() {
            conversation.channel.clone_from(&turn.channel);
        }
        let given = turn.user_attributes.clone();
        match self.settings.user_attributes {
            AttributeMode::Merge => conversation.user_attributes.extend(given),
            AttributeMode::FirstOnly if conversation.events.is_empty() => conversation.user_attributes = given,
            AttributeMode::Replace if !given.is_empty() => conversation.user_attributes = given,
            AttributeMode::FirstOnly | AttributeMode::Replace | AttributeMode::Ignore => {}
        }
    }
}
