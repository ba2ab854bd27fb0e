//! The feed event: the one object that callbacks, streams and reads all carry.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    Timestamp, WallTime,
    content::Changed,
    conversation::State,
    handoff::{Agent, Place, ReturnedBy},
    ids::{ConversationId, EventId, FrontendName, InteractionId, MessageId},
    turn::{FailureCode, Outcome},
    vendor::{Article, Feedback},
};

/// Every type of feed event there is, in the order of their first appearance in a conversation.
pub const EVENT_TYPES: [&str; 19] = [
    "message.created",
    "message.updated",
    "turn.completed",
    "turn.failed",
    "conversation.escalated",
    "handoff.requested",
    "handoff.claimed",
    "handoff.agent_joined",
    "handoff.agent_left",
    "handoff.position",
    "handoff.waiting",
    "handoff.unclaimed",
    "handoff.returned",
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

/// How a text is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TextFormat {
    /// As it stands: every character is itself.
    #[default]
    Plain,
    /// As Markdown, with any HTML in it taken as text.
    Markdown,
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
    /// How that is meant. Bodies that were rendered before there were formats lack it: they are plain.
    pub format: TextFormat,
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EscalationReason {
    /// Its status says so.
    Status,
    /// Fini escalated without a word (`silent_escalation`).
    SilentEscalation,
    /// A human agent wrote in Fini.
    HumanMessage,
    /// Fini asked for it, by the action that it was given for that.
    Action,
    /// The customer, or the desk, asked for it at the bridge.
    #[default]
    Requested,
}

impl EscalationReason {
    /// The name used in bodies.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::SilentEscalation => "silent_escalation",
            Self::HumanMessage => "human_message",
            Self::Action => "action",
            Self::Requested => "requested",
        }
    }
}

/// A request for a human, with what a desk has to know. All but reason and note is added when it is recorded.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Requested {
    /// Why.
    pub reason: EscalationReason,
    /// What whoever asked has to say about it.
    pub note: Option<String>,
    /// Who waits.
    pub user: Customer,
    /// The tags that Fini set so far, each once.
    pub tags: Vec<Value>,
    /// Whether the frontend's desk is there, as far as it has said so.
    pub desk_open: Option<bool>,
    /// When it is there again, as it has said.
    pub next_open: Option<String>,
}

/// The customer, as far as the frontend has said who it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Customer {
    /// The frontend's own id.
    pub id: Option<String>,
    /// The attributes that were given with its messages; the latest of each counts.
    pub attributes: Map<String, Value>,
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
        /// Whether it is the bot's while a desk has the conversation: not for the customer.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        withheld: bool,
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
    /// `handoff.requested`
    HandoffRequested(Box<Requested>),
    /// `handoff.claimed`
    HandoffClaimed {
        /// Who owns the conversation.
        agent: Agent,
    },
    /// `handoff.agent_joined`
    HandoffAgentJoined {
        /// Who came.
        agent: Agent,
    },
    /// `handoff.agent_left`
    HandoffAgentLeft {
        /// Who went.
        agent: Agent,
    },
    /// `handoff.position`
    HandoffPosition(Place),
    /// `handoff.waiting`
    HandoffWaiting {
        /// So long nobody has come.
        waiting_seconds: u64,
    },
    /// `handoff.unclaimed`
    HandoffUnclaimed {
        /// So long nobody came.
        waited_seconds: u64,
        /// What happens now: `bot`, `stay` or `ask`.
        then: &'static str,
        /// The words in which the customer is asked for an address.
        text: Option<String>,
    },
    /// `handoff.returned`
    HandoffReturned {
        /// Who or what ended it.
        by: ReturnedBy,
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
        /// Whether it is the bot's while a desk has the conversation: not for the customer.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        withheld: bool,
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
            Self::HandoffRequested(_) => "handoff.requested",
            Self::HandoffClaimed { .. } => "handoff.claimed",
            Self::HandoffAgentJoined { .. } => "handoff.agent_joined",
            Self::HandoffAgentLeft { .. } => "handoff.agent_left",
            Self::HandoffPosition(_) => "handoff.position",
            Self::HandoffWaiting { .. } => "handoff.waiting",
            Self::HandoffUnclaimed { .. } => "handoff.unclaimed",
            Self::HandoffReturned { .. } => "handoff.returned",
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
