//! The acts of a person inside the vendor: an agent at the inbox, or a tester who wants something to happen.
//!
//! The same acts that the control routes offer, as methods. A conversation is named by its id, by `key:value` of a user
//! attribute (the one with the newest message), or as `latest`.

use std::borrow::Cow;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Number, Value};

use super::model::{Conversation, Event};
use super::script::Draft;
use super::{Sandbox, SandboxError};

/// A rating of one event.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Feedback {
    /// The event rated.
    pub event_id: String,
    /// A number; 0 is one.
    #[serde(default)]
    pub csat_rating: Option<Number>,
    /// Words.
    #[serde(default)]
    pub feedback: Option<String>,
    /// Thumbs up or down.
    #[serde(default)]
    pub approved: Option<bool>,
}

impl Sandbox {
    /// Returns the conversation in its present state, notes included.
    pub fn conversation(&self, key: &str) -> Result<Arc<Conversation>, SandboxError> {
        self.world().find(key).cloned()
    }

    /// Returns the newest conversations by latest message, at most `limit`.
    pub fn conversations(&self, limit: usize) -> Vec<Arc<Conversation>> {
        self.world().truth.older_than(None).take(limit).cloned().collect()
    }

    /// Returns the conversations whose user attribute `key` has this value, newest message first.
    pub fn conversations_with(&self, key: &str, value: &str) -> Vec<Arc<Conversation>> {
        self.world().truth.with_attribute(key, value)
    }

    /// Returns the number of conversations.
    pub fn conversation_count(&self) -> usize {
        self.world().truth.len()
    }

    /// Writes to the customer as a human agent.
    pub fn agent_message(&self, key: &str, text: &str) -> Result<Arc<Event>, SandboxError> {
        self.say(key, Draft::text("agent", "message", text))
    }

    /// Writes a note as a human agent, not for the customer.
    pub fn note(&self, key: &str, text: &str) -> Result<Arc<Event>, SandboxError> {
        self.say(key, Draft::text("agent", "internalnote", text))
    }

    /// Writes as the customer without Generate Answer, by e-mail or in a widget of the vendor's; the bot does not react.
    pub fn customer_message(&self, key: &str, text: &str) -> Result<Arc<Event>, SandboxError> {
        self.say(key, Draft::text("user", "message", text))
    }

    /// Begins a conversation in the inbox as a human agent, about somebody with these attributes.
    pub fn agent_begins(&self, bot_id: &str, attributes: Map<String, Value>, text: &str) -> Arc<Conversation> {
        let mut world = self.world();
        let now = world.now();
        let mut conversation = world.blank(bot_id.to_ascii_lowercase(), "ui", now);
        conversation.given_attributes.clone_from(&attributes);
        conversation.user_attributes = attributes;
        conversation.touched = true;
        conversation.events.push(Arc::new(world.event(Draft::text("agent", "message", text), now)));
        let conversation = Arc::new(conversation);
        world.write(Conversation::clone(&conversation), now);
        conversation
    }

    /// Writes as the bot, unasked or late.
    pub fn bot_message(&self, key: &str, text: &str) -> Result<Arc<Event>, SandboxError> {
        self.say(key, Draft::text("finibot", "message", text))
    }

    /// Sets the status, which does not move the conversation in List. The escalated status puts it into human hands, any
    /// other gives it back to the bot.
    pub fn set_status(&self, key: &str, status: Option<&str>) -> Result<(), SandboxError> {
        let escalated = self.world().settings.escalated_status.clone();
        self.change(key, |conversation| {
            conversation.human_owned = status.is_some_and(|status| status.to_lowercase() == escalated.to_lowercase());
            conversation.ever_escalated |= conversation.human_owned;
            conversation.status = status.map(ToOwned::to_owned);
        })
    }

    /// Sets the wrapper's `resolved`; `true` also ends a human's care. The status stays as it is, as in the vendor's example.
    pub fn set_resolved(&self, key: &str, resolved: Option<bool>) -> Result<(), SandboxError> {
        self.change(key, |conversation| {
            conversation.resolved = resolved;
            conversation.human_owned &= resolved != Some(true);
        })
    }

    /// Rates an event, which does not move the conversation in List.
    pub fn feedback(&self, key: &str, rating: &Feedback) -> Result<(), SandboxError> {
        let mut world = self.world();
        let mut conversation = Conversation::clone(world.find(key)?);
        let found = conversation.events.iter_mut().find(|event| event.id == rating.event_id);
        let event = found.ok_or_else(|| SandboxError::UnknownEvent(rating.event_id.clone()))?;
        let mut rated = Event::clone(event);
        rated.csat_rating = rating.csat_rating.clone().or(rated.csat_rating);
        rated.feedback = rating.feedback.clone().or(rated.feedback);
        rated.approved = rating.approved.or(rated.approved);
        if let Some(raw) = &mut rated.raw {
            raw.insert("csatRating".into(), rated.csat_rating.clone().map_or(Value::Null, Value::Number));
            raw.insert("feedback".into(), rated.feedback.clone().into());
            raw.insert("approved".into(), rated.approved.into());
        }
        *event = Arc::new(rated);
        let now = world.now();
        world.write(conversation, now);
        Ok(())
    }

    /// Injects an event exactly as given: any role, any type, fields missing or unheard of. Only `id` and `createdAt` are
    /// filled in when they are missing.
    pub fn inject(&self, key: &str, fields: &Map<String, Value>) -> Result<Arc<Event>, SandboxError> {
        let mut world = self.world();
        let id = world.find(key)?.id;
        let now = world.now();
        let text = |name: &str| fields.get(name).and_then(Value::as_str).map(ToOwned::to_owned);
        let label = |name: &str| text(name).map_or(Cow::Borrowed(""), Cow::Owned);
        let event_id = text("id").unwrap_or_else(|| world.new_id().to_string());
        let created_at = fields.get("createdAt").and_then(Value::as_i64).unwrap_or(now);
        let mut raw = fields.clone();
        raw.entry("id").or_insert_with(|| event_id.clone().into());
        raw.entry("createdAt").or_insert_with(|| created_at.into());
        let event = Event {
            id: event_id,
            created_at,
            role: label("role"),
            kind: label("type"),
            message: text("message"),
            csat_rating: fields.get("csatRating").and_then(Value::as_number).cloned(),
            feedback: text("feedback"),
            approved: fields.get("approved").and_then(Value::as_bool),
            tags: Vec::new(),
            used_articles: Vec::new(),
            raw: Some(Box::new(raw)),
        };
        let event = Arc::new(event);
        world.append_events(id, vec![Arc::clone(&event)], now);
        Ok(event)
    }

    /// Changes members of an injected event, as if the vendor filled something in later.
    pub fn amend(&self, key: &str, event_id: &str, fields: &Map<String, Value>) -> Result<(), SandboxError> {
        let mut world = self.world();
        let mut conversation = Conversation::clone(world.find(key)?);
        let found = conversation.events.iter_mut().find(|event| event.id == event_id && event.raw.is_some());
        let event = found.ok_or_else(|| SandboxError::UnknownEvent(event_id.to_owned()))?;
        let mut amended = Event::clone(event);
        if let Some(text) = fields.get("message") {
            amended.message = text.as_str().map(ToOwned::to_owned);
        }
        if let Some(raw) = &mut amended.raw {
            raw.extend(fields.clone());
        }
        *event = Arc::new(amended);
        let now = world.now();
        world.write(conversation, now);
        Ok(())
    }

    /// Makes a conversation vanish, as if somebody deleted it in the dashboard: reading it is a 500 from now on.
    pub fn vanish(&self, key: &str) -> Result<(), SandboxError> {
        let mut world = self.world();
        let id = world.find(key)?.id;
        world.erase(id);
        Ok(())
    }

    fn say(&self, key: &str, draft: Draft) -> Result<Arc<Event>, SandboxError> {
        let mut world = self.world();
        let id = world.find(key)?.id;
        let now = world.now();
        let event = Arc::new(world.event(draft, now));
        world.append_events(id, vec![Arc::clone(&event)], now);
        Ok(event)
    }

    fn change(&self, key: &str, change: impl FnOnce(&mut Conversation)) -> Result<(), SandboxError> {
        let mut world = self.world();
        let mut conversation = Conversation::clone(world.find(key)?);
        change(&mut conversation);
        let now = world.now();
        world.write(conversation, now);
        Ok(())
    }
}
