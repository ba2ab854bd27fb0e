//! The feed event: the one object that callbacks, streams and reads all carry.

use serde::Serialize;
use serde_json::Value;

use super::{
    Timestamp, WallTime,
    content::Changed,
    conversation::State,
    ids::{ConversationId, EventId, FrontendName, InteractionId, MessageId},
    turn::{FailureCode, Outcome},
    vendor::{Article, Feedback},
};

/// Every type of feed event there is, in the order of their first appearance in a conversation.
pub const EVENT_TYPES: [&str; 11] = [
    "message.created",
    "message.updated",
    "turn.completed",
    "turn.failed",
    "conversation.escalated",
    "conversation.status_changed",
    "conversation.resolved",
    "conversation.continued",
    "form.presented",
    "feedback.updated",
    "fini.unrecognized",
];

/// Who wrote a message, in the bridge's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Author {
    /// The customer.
    User,
    /// Fini's bot.
    Bot,
    /// A human agent.
    Agent,
    /// Another automation.
    OtherBot,
}

/// Where a message entered the conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Found in Fini.
    Fini,
    /// Posted by the frontend itself; in the feed, but not called back to it.
    Frontend,
}

/// A message as customers may see it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Message {
    /// Fini's event id, or the frontend's `message_id`.
    pub id: String,
    /// Who wrote it.
    pub author: Author,
    /// Its text, never markup of ours.
    pub text: String,
    /// When it was written.
    #[serde(serialize_with = "as_rfc3339")]
    pub created_at: Timestamp,
    /// Articles behind it.
    pub articles: Vec<Article>,
    /// Attachments as Fini passes them through.
    pub attachments: Vec<Value>,
    /// Tags as Fini passes them through.
    pub tags: Vec<Value>,
}

/// Why a conversation counts as escalated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EscalationReason {
    /// Its status says so.
    Status,
    /// Fini escalated without a word (`silent_escalation`).
    SilentEscalation,
    /// A human agent wrote in Fini.
    HumanMessage,
}

/// What happened, with its data.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum FeedEvent {
    /// `message.created`
    MessageCreated {
        /// The message.
        message: Message,
        /// Where it came from.
        origin: Origin,
        /// The frontend's message that it answers.
        in_reply_to: Option<MessageId>,
    },
    /// `message.updated`
    MessageUpdated {
        /// Fini's event id: the id of the message that was told.
        message_id: String,
        /// The parts that Fini changed, as they are now.
        changed: Changed,
    },
    /// `turn.completed`
    TurnCompleted {
        /// The frontend's message.
        message_id: MessageId,
        /// How it ended.
        outcome: Outcome,
        /// How many replies were shown.
        replies: u32,
    },
    /// `turn.failed`
    TurnFailed {
        /// The frontend's message.
        message_id: MessageId,
        /// Why, as a stable code.
        code: FailureCode,
        /// Why, in words.
        detail: String,
        /// Whether the same text may be posted again (under a new id) without the risk of a double.
        may_resend: bool,
    },
    /// `conversation.escalated`
    Escalated {
        /// What showed it.
        reason: EscalationReason,
        /// Fini's status text, when known.
        status_text: Option<String>,
    },
    /// `conversation.status_changed`
    StatusChanged {
        /// The state now.
        state: State,
        /// The state before; the same where only Fini's text changed.
        previous_state: State,
        /// Fini's status text, when known.
        status_text: Option<String>,
        /// Whether the customer is asked for something.
        awaiting_customer: bool,
    },
    /// `conversation.resolved`
    Resolved {
        /// Resolved, or opened again.
        resolved: bool,
    },
    /// `conversation.continued`
    Continued {
        /// The same person's conversation that goes on with its Fini conversation.
        by: ConversationId,
    },
    /// `form.presented`
    FormPresented {
        /// Fini's event id.
        event_id: String,
        /// Its text, when it has one.
        text: Option<String>,
        /// The event as Fini sent it.
        raw: Value,
    },
    /// `feedback.updated`
    FeedbackUpdated {
        /// Fini's event id.
        event_id: String,
        /// The rating.
        #[serde(flatten)]
        rating: Feedback,
    },
    /// `fini.unrecognized`
    Unrecognized {
        /// Fini's event id.
        event_id: String,
        /// The role as Fini named it.
        role: String,
        /// The type as Fini named it.
        #[serde(rename = "type")]
        kind: String,
        /// The event as Fini sent it.
        raw: Value,
    },
}

impl FeedEvent {
    /// The `type` of the envelope.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::MessageCreated { .. } => "message.created",
            Self::MessageUpdated { .. } => "message.updated",
            Self::TurnCompleted { .. } => "turn.completed",
            Self::TurnFailed { .. } => "turn.failed",
            Self::Escalated { .. } => "conversation.escalated",
            Self::StatusChanged { .. } => "conversation.status_changed",
            Self::Resolved { .. } => "conversation.resolved",
            Self::Continued { .. } => "conversation.continued",
            Self::FormPresented { .. } => "form.presented",
            Self::FeedbackUpdated { .. } => "feedback.updated",
            Self::Unrecognized { .. } => "fini.unrecognized",
        }
    }
}

/// What surrounds an event in the feed. A body is rendered once, when the event is recorded; every callback attempt,
/// stream and read carries those same bytes.
#[derive(Clone, Debug)]
pub struct Envelope<'a> {
    /// The event's id.
    pub id: &'a EventId,
    /// When it was recorded.
    pub timestamp: WallTime,
    /// Whose conversation.
    pub frontend: &'a FrontendName,
    /// Which conversation.
    pub conversation_id: &'a ConversationId,
    /// Its Fini conversation, when bound.
    pub interaction_id: Option<&'a InteractionId>,
    /// Its number in the conversation's feed: 1, 2, 3 … without gaps.
    pub sequence: i64,
}

impl Envelope<'_> {
    /// The event as JSON text.
    #[expect(clippy::missing_panics_doc, reason = "a feed event always has a JSON form")]
    pub fn render(&self, event: &FeedEvent) -> String {
        #[derive(Serialize)]
        struct Body<'a> {
            id: &'a EventId,
            #[serde(rename = "type")]
            kind: &'static str,
            #[serde(serialize_with = "as_rfc3339")]
            timestamp: WallTime,
            frontend: &'a FrontendName,
            conversation_id: &'a ConversationId,
            interaction_id: Option<&'a InteractionId>,
            sequence: i64,
            data: &'a FeedEvent,
        }
        let body = Body {
            id: self.id,
            kind: event.kind(),
            timestamp: self.timestamp,
            frontend: self.frontend,
            conversation_id: self.conversation_id,
            interaction_id: self.interaction_id,
            sequence: self.sequence,
            data: event,
        };
        serde_json::to_string(&body).expect("a feed event has only string keys and finite numbers")
    }
}

/// Serialises a timestamp the way every body shows it.
pub fn as_rfc3339<S: serde::Serializer>(at: &impl std::fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_has_the_documented_shape() {
        let event =
            FeedEvent::TurnCompleted { message_id: MessageId::trusted("m-17"), outcome: Outcome::Answered, replies: 1 };
        let body = Envelope {
            id: &EventId::trusted("evt_1"),
            timestamp: WallTime::from_millis(0),
            frontend: &FrontendName::trusted("web"),
            conversation_id: &ConversationId::trusted("web-8121"),
            interaction_id: None,
            sequence: 3,
        }
        .render(&event);
        let expected = serde_json::json!({
            "id": "evt_1", "type": "turn.completed", "timestamp": "1970-01-01T00:00:00.000Z", "frontend": "web",
            "conversation_id": "web-8121", "interaction_id": null, "sequence": 3,
            "data": {"message_id": "m-17", "outcome": "answered", "replies": 1},
        });
        assert_eq!(serde_json::from_str::<Value>(&body).expect("JSON"), expected);
    }
}
