//! Fini's conversations and events as the rest of the bridge sees them: parsed, tolerant of what is not known yet.
//!
//! Source: Fini's public API pages "Generate Answer", "Get conversation" and "List conversations". Both of the vendor's
//! lists (roles, types) say "currently", so an unknown value is a normal value here, never an error.

use serde_json::{Map, Number, Value};

use super::{
    Timestamp,
    ids::{FiniEventId, InteractionId},
};

/// Who wrote an event, in Fini's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FiniRole {
    /// `user`: the customer.
    User,
    /// `agent`: a human agent.
    Agent,
    /// `finibot`: Fini's own bot.
    Bot,
    /// `otherbot`: another automation.
    OtherBot,
    /// A role that is not documented today.
    Unknown(String),
}

/// What an event is, in Fini's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FiniKind {
    /// `message`: shown to the customer.
    Message,
    /// `internalnote`: never shown to the customer.
    InternalNote,
    /// `no_reply`: Fini decided not to answer.
    NoReply,
    /// `silent_escalation`: Fini escalated without a visible reply.
    SilentEscalation,
    /// `debounce`: Fini's own timing; internal.
    Debounce,
    /// `widget_form`: a form is presented.
    WidgetForm,
    /// A type that is not documented today.
    Unknown(String),
}

/// A knowledge article behind an answer.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Article {
    /// Fini's article id.
    pub id: String,
    /// Its title.
    pub title: String,
    /// Its source document, when there is one.
    pub url: Option<String>,
}

/// The rating of one event. `csat_rating` 0 is a value; `None` means that nothing was rated.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Feedback {
    /// Numeric satisfaction as stored by Fini.
    pub csat_rating: Option<Number>,
    /// Free text.
    pub feedback: Option<String>,
    /// Thumbs up (true) or down (false).
    pub approved: Option<bool>,
}

impl Feedback {
    /// This rating with what `newer` says beyond it. What a picture leaves out it does not take back: not every answer of
    /// Fini's shows every field.
    #[must_use]
    pub fn with(&self, newer: &Self) -> Self {
        Self {
            csat_rating: newer.csat_rating.clone().or_else(|| self.csat_rating.clone()),
            feedback: newer.feedback.clone().or_else(|| self.feedback.clone()),
            approved: newer.approved.or(self.approved),
        }
    }

    /// Whether nothing at all was rated.
    pub fn is_empty(&self) -> bool {
        self.csat_rating.is_none() && self.feedback.is_none() && self.approved.is_none()
    }
}

/// One event of a Fini conversation.
#[derive(Clone, Debug, PartialEq)]
pub struct FiniEvent {
    /// Fini's id; every event is taken at most once by it.
    pub id: FiniEventId,
    /// When Fini created it.
    pub created_at: Timestamp,
    /// Who wrote it.
    pub role: FiniRole,
    /// What it is.
    pub kind: FiniKind,
    /// Its text, where it has one.
    pub text: Option<String>,
    /// Its rating.
    pub rating: Feedback,
    /// Articles used for it.
    pub articles: Vec<Article>,
    /// Attachments as Fini passes them through.
    pub attachments: Vec<Value>,
    /// Tags as Fini passes them through.
    pub tags: Vec<Value>,
    /// The event as it arrived, for what the bridge does not understand.
    pub raw: Value,
}

#[cfg(test)]
impl FiniEvent {
    /// A message with nothing else to it, for tests.
    pub fn message(id: impl Into<std::sync::Arc<str>>, created_at: Timestamp, role: FiniRole, text: &str) -> Self {
        Self {
            id: FiniEventId::trusted(id),
            created_at,
            role,
            kind: FiniKind::Message,
            text: Some(text.to_owned()),
            rating: Feedback::default(),
            articles: Vec::new(),
            attachments: Vec::new(),
            tags: Vec::new(),
            raw: Value::Null,
        }
    }
}

/// The wrapper around a conversation's events, as Get and List return it.
#[derive(Clone, Debug, PartialEq)]
pub struct FiniConversation {
    /// Fini's id.
    pub id: InteractionId,
    /// When Fini created it.
    pub created_at: Timestamp,
    /// Free text such as "Escalated to Human Agent".
    pub status: Option<String>,
    /// Whether somebody marked it as resolved.
    pub resolved: Option<bool>,
    /// The attributes captured on it, ours among them.
    pub attributes: Map<String, Value>,
    /// All its events, oldest first.
    pub events: Vec<FiniEvent>,
}

/// The attribute that carries the bridge's key of a conversation through Fini (comes back in `userAttributes`).
pub const ATTRIBUTE_CONVERSATION: &str = "bridge_conversation";
/// The attribute that carries the bridge's key of the latest turn through Fini.
pub const ATTRIBUTE_TURN: &str = "bridge_turn";
/// The attribute that tells Fini who may speak to the customer (`bot`, `waiting`, `human`), once a human was asked for.
pub const ATTRIBUTE_SPEAKER: &str = "bridge_speaker";

impl FiniConversation {
    /// The bridge's key of the conversation, when Fini returned the attribute.
    pub fn conversation_attribute(&self) -> Option<&str> {
        self.attributes.get(ATTRIBUTE_CONVERSATION).and_then(Value::as_str)
    }

    /// The bridge's key of the latest turn that reached this conversation, when Fini returned the attribute.
    pub fn turn_attribute(&self) -> Option<&str> {
        self.attributes.get(ATTRIBUTE_TURN).and_then(Value::as_str)
    }

    /// When the newest message was created, by which Fini sorts its List; the wrapper's own creation where it has none.
    pub fn latest_message_at(&self) -> Timestamp {
        let messages =
            self.events.iter().filter(|event| matches!(event.kind, FiniKind::Message | FiniKind::WidgetForm));
        messages.map(|event| event.created_at).max().unwrap_or(self.created_at)
    }

    /// When the newest event was created; the wrapper's own creation where it has none.
    pub fn latest_at(&self) -> Timestamp {
        self.events.iter().map(|event| event.created_at).max().unwrap_or(self.created_at)
    }
}
