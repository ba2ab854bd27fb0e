//! A message for Generate Answer: the rules for its body, and the conversation to which it belongs.

use std::sync::Arc;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::choices::{AttributeMode, ResolveMode};
use super::error::VendorError;
use super::late::{self, Late};
use super::model::Conversation;
use super::world::World;

/// A validated Generate Answer body.
#[derive(Clone, Debug)]
pub struct Turn {
    /// Its text.
    pub content: String,
    /// The role of its author.
    pub role: String,
    /// The attributes that came with it.
    pub user_attributes: Map<String, Value>,
    target: Target,
    channel: Option<String>,
}

#[derive(Clone, Debug)]
enum Target {
    Interaction(String),
    Bot(String),
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
        Ok(Self { content, role, user_attributes, target, channel })
    }

    /// Returns true if it is a customer's and may begin a conversation.
    pub fn asks_first(&self) -> bool {
        self.role == "user" && matches!(self.target, Target::Bot(_))
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
    /// Returns the error for an unknown id.
    pub fn unknown_id(&self) -> VendorError {
        match self.settings.unknown_id_status {
            500 => VendorError::internal(),
            status => VendorError::new(status, "Not found"),
        }
    }

    /// Finds the conversation of the message by "create or resolve".
    pub fn resolve(&mut self, turn: &Turn, at: i64) -> Result<Conversation, VendorError> {
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
        let settings = &self.settings;
        let fits = |known: &&Arc<Conversation>| {
            (settings.resolve_across_bots || known.bot_id == bot_id)
                && (!settings.resolve_open_only || late::is_open(known))
        };
        let existing = match settings.resolve_mode {
            ResolveMode::AlwaysNew => None,
            ResolveMode::NewestOfBot => self.truth.older_than(None).find(fits).cloned(),
            ResolveMode::SameAttribute => {
                let name = &settings.resolve_attribute;
                let value = turn.user_attributes.get(name).and_then(super::book::scalar);
                value.and_then(|value| self.truth.with_attribute(name, &value).iter().find(fits).cloned())
            }
        };
        Ok(existing.map_or_else(|| self.blank(bot_id, "api", at), |known| Conversation::clone(&known)))
    }

    /// Creates a conversation in which nothing has been said.
    pub fn blank(&mut self, bot_id: String, source: &str, at: i64) -> Conversation {
        Conversation {
            id: self.new_id(),
            bot_id,
            created_at: self.stamp(at),
            latest_at: self.stamp(at),
            source: source.to_owned(),
            channel: None,
            status: self.settings.open_status.clone(),
            external_id: None,
            resolved: None,
            user_attributes: Map::new(),
            given_attributes: Map::new(),
            events: Vec::new(),
            human_owned: false,
            ever_escalated: false,
            touched: false,
        }
    }

    /// Takes over the message's metadata.
    pub fn merge_metadata(&mut self, conversation: &mut Conversation, turn: &Turn, at: i64) {
        if turn.channel.is_some() {
            conversation.channel.clone_from(&turn.channel);
        }
        let given = turn.user_attributes.clone();
        conversation.given_attributes.extend(given.clone());
        let first = conversation.events.is_empty();
        match self.settings.attributes_after_ms {
            0 => show_attributes(&mut conversation.user_attributes, given, first, self.settings.user_attributes),
            after => self.later(conversation.id, Late::Attributes(given, first), at, after),
        }
    }
}

/// Shows the attributes of a conversation's `first` message or of a later one.
pub fn show_attributes(shown: &mut Map<String, Value>, given: Map<String, Value>, first: bool, mode: AttributeMode) {
    match mode {
        AttributeMode::Merge => shown.extend(given),
        AttributeMode::FirstOnly if first => *shown = given,
        AttributeMode::Replace if !given.is_empty() => *shown = given,
        AttributeMode::FirstOnly | AttributeMode::Replace | AttributeMode::Ignore => {}
    }
}
