//! Fini's conversations and events as the rest of the bridge sees them: parsed, tolerant of unknown values.
//!
//! Source: Fini's public API pages "Generate Answer", "Get conversation" and "List conversations". Both of the vendor's
//! lists (roles, types) say "currently", so an unknown value is a normal value here, never an error.

use serde_json::{Map, Number, Value};

use super::{
    Timestamp,
    ids::{FiniEventId, InteractionId},
};

/// The author of an event, in Fini's terms.
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

/// The type of an event, in Fini's terms.
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
    /// Its source document, if there is one.
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
    /// Returns this rating with what `newer` adds to it. A field that `newer` leaves out is kept: not every answer of
    /// Fini's shows every field.
    #[must_use]
    pub fn with(&self, newer: &Self) -> Self {
        Self {
            csat_rating: newer.csat_rating.clone().or_else(|| self.csat_rating.clone()),
            feedback: newer.feedback.clone().or_else(|| self.feedback.clone()),
            approved: newer.approved.or(self.approved),
        }
    }

    /// Returns true if nothing at all was rated.
    pub fn is_empty(&self) -> bool {
        self.csat_rating.is_none() && self.feedback.is_none() && self.approved.is_none()
    }
}

/// One event of a Fini conversation.
#[derive(Clone, Debug, PartialEq)]
pub struct FiniEvent {
    /// Fini's id; the bridge takes every event at most once by it.
    pub id: FiniEventId,
    /// Creation time at Fini.
    pub created_at: Timestamp,
    /// Its author.
    pub role: FiniRole,
    /// Its type.
    pub kind: FiniKind,
    /// Its text, if it has one.
    pub text: Option<String>,
    /// Its rating.
    pub rating: Feedback,
    /// Articles used for it.
    pub articles: Vec<Article>,
    /// Attachments as Fini passes them through.
    pub attachments: Vec<Value>,
    /// Tags as Fini passes them through.
    pub tags: Vec<Value>,
    /// The event as it arrived, for the parts that the bridge does not understand.
    pub raw: Value,
}

#[cfg(test)]
impl FiniEvent {
    /// Creates a message with nothing else to it, for tests.
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

/// The snapshot around a conversation's events, as Get and List return it.
#[derive(Clone, Debug, PartialEq)]
pub struct FiniConversation {
    /// Fini's id.
    pub id: InteractionId,
    /// Creation time at Fini.
    pub created_at: Timestamp,
    /// Free text such as "Escalated to Human Agent".
    pub status: Option<String>,
    /// True if somebody marked it as resolved.
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
/// The attribute that tells Fini who may speak to the customer (`bot`, `waiting`, `human`), once a human was requested.
pub const ATTRIBUTE_SPEAKER: &str = "bridge_speaker";

impl FiniConversation {
    /// Returns the bridge's key of the conversation, if Fini returned the attribute.
    pub fn conversation_attribute(&self) -> Option<&str> {
        self.attributes.get(ATTRIBUTE_CONVERSATION).and_then(Value::as_str)
    }

    /// Returns the bridge's key of the latest turn that reached this conversation, if Fini returned the attribute.
    pub fn turn_attribute(&self) -> Option<&str> {
        self.attributes.get(ATTRIBUTE_TURN).and_then(Value::as_str)
    }

    /// Returns the creation time of the newest message, by which Fini sorts its List; the snapshot's own if it has none.
    pub fn latest_message_at(&self) -> Timestamp {
        let messages =
            self.events.iter().filter(|event| matches!(event.kind, FiniKind::Message | FiniKind::WidgetForm));
        messages.map(|event| event.created_at).max().unwrap_or(self.created_at)
    }

    /// Returns the creation time of the newest event; the snapshot's own if it has none.
    pub fn latest_at(&self) -> Timestamp {
        self.events.iter().map(|event| event.created_at).max().unwrap_or(self.created_at)
    }
}
