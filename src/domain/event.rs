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

/// All types of feed events, in the order of their first appearance in a conversation.
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

/// The author of a message, in the bridge's terms.
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

/// The side on which a message entered the conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Found in Fini.
    Fini,
    /// Posted by the frontend itself; in the feed, but not called back to it.
    Frontend,
}

/// The markup of a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TextFormat {
    /// Plain text: every character stands for itself.
    #[default]
    Plain,
    /// Markdown, with any HTML in it taken as text.
    Markdown,
}

/// A message as customers may see it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Message {
    /// Fini's event id, or the frontend's `message_id`.
    pub id: String,
    /// Its author.
    pub author: Author,
    /// Its text, without any markup added by the bridge.
    pub text: String,
    /// The markup of the text. Bodies rendered before this field existed lack it: they are plain.
    pub format: TextFormat,
    /// Time of writing.
    #[serde(serialize_with = "as_rfc3339")]
    pub created_at: Timestamp,
    /// Knowledge articles behind it.
    pub articles: Vec<Article>,
    /// Attachments as Fini passes them through.
    pub attachments: Vec<Value>,
    /// Tags as Fini passes them through.
    pub tags: Vec<Value>,
}

/// The reason why a conversation counts as escalated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EscalationReason {
    /// Fini's status says so.
    Status,
    /// Fini escalated without a visible reply (`silent_escalation`).
    SilentEscalation,
    /// A human agent wrote in Fini.
    HumanMessage,
    /// Fini requested it, by the action that it was given for that.
    Action,
    /// The customer or the desk requested it at the bridge.
    #[default]
    Requested,
}

impl EscalationReason {
    /// Returns the name used in bodies.
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

/// A request for a human, with what a desk needs to know. All but reason and note is added when it is recorded.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Requested {
    /// The reason for the request.
    pub reason: EscalationReason,
    /// The requester's note.
    pub note: Option<String>,
    /// The customer who waits.
    pub user: Customer,
    /// The tags that Fini has set so far, each once.
    pub tags: Vec<Value>,
    /// True if the frontend's desk is open; `None` if the frontend has not said.
    pub desk_open: Option<bool>,
    /// The desk's next opening time, as the frontend gave it.
    pub next_open: Option<String>,
}

/// The customer, as far as the frontend has identified it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Customer {
    /// The frontend's own id.
    pub id: Option<String>,
    /// The attributes sent with its messages; the latest value of each counts.
    pub attributes: Map<String, Value>,
}

/// The content of an event: its kind, with its data.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum FeedEvent {
    /// `message.created`
    MessageCreated {
        /// The message.
        message: Message,
        /// The side it came from.
        origin: Origin,
        /// The frontend's message that it answers.
        in_reply_to: Option<MessageId>,
        /// True for a message of the bot while a desk has the conversation: not for the customer.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        withheld: bool,
    },
    /// `message.updated`
    MessageUpdated {
        /// Fini's event id: the id of the message that was reported.
        message_id: String,
        /// The changed parts, with their new values.
        changed: Changed,
    },
    /// `turn.completed`
    TurnCompleted {
        /// The frontend's message.
        message_id: MessageId,
        /// The way in which it ended.
        outcome: Outcome,
        /// Number of replies that were shown.
        replies: u32,
    },
    /// `turn.failed`
    TurnFailed {
        /// The frontend's message.
        message_id: MessageId,
        /// The reason, as a stable code.
        code: FailureCode,
        /// The reason, in words.
        detail: String,
        /// True if the same text may be posted again (under a new id) without the risk of a double.
        may_resend: bool,
    },
    /// `conversation.escalated`
    Escalated {
        /// The sign that showed it.
        reason: EscalationReason,
        /// Fini's status text, if known.
        status_text: Option<String>,
    },
    /// `handoff.requested`
    HandoffRequested(Box<Requested>),
    /// `handoff.claimed`
    HandoffClaimed {
        /// The agent who owns the conversation.
        agent: Agent,
    },
    /// `handoff.agent_joined`
    HandoffAgentJoined {
        /// The agent who joined.
        agent: Agent,
    },
    /// `handoff.agent_left`
    HandoffAgentLeft {
        /// The agent who left.
        agent: Agent,
    },
    /// `handoff.position`
    HandoffPosition(Place),
    /// `handoff.waiting`
    HandoffWaiting {
        /// Seconds for which nobody has come.
        waiting_seconds: u64,
    },
    /// `handoff.unclaimed`
    HandoffUnclaimed {
        /// Seconds for which nobody came.
        waited_seconds: u64,
        /// The consequence: `bot`, `stay` or `ask`.
        then: &'static str,
        /// The text that asks the customer for an address.
        text: Option<String>,
    },
    /// `handoff.returned`
    HandoffReturned {
        /// The party that ended it.
        by: ReturnedBy,
    },
    /// `conversation.status_changed`
    StatusChanged {
        /// The state now.
        state: State,
        /// The state before; the same if only Fini's text changed.
        previous_state: State,
        /// Fini's status text, if known.
        status_text: Option<String>,
        /// True while the customer is asked for something.
        awaiting_customer: bool,
    },
    /// `conversation.resolved`
    Resolved {
        /// True for resolved, false for reopened.
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
        /// Its text, if it has one.
        text: Option<String>,
        /// The event as Fini sent it.
        raw: Value,
        /// True for a form of the bot while a desk has the conversation: not for the customer.
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
    /// Returns the `type` of the envelope.
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

/// The envelope around an event in the feed. A body is rendered once, when the event is recorded; every callback attempt,
/// stream and read carries those same bytes.
#[derive(Clone, Debug)]
pub struct Envelope<'a> {
    /// The event's id.
    pub id: &'a EventId,
    /// Time of recording.
    pub timestamp: WallTime,
    /// The frontend of the conversation.
    pub frontend: &'a FrontendName,
    /// The conversation.
    pub conversation_id: &'a ConversationId,
    /// Its Fini conversation, if bound.
    pub interaction_id: Option<&'a InteractionId>,
    /// Its number in the conversation's feed: 1, 2, 3 … without gaps.
    pub sequence: i64,
}

impl Envelope<'_> {
    /// Renders the event as JSON text.
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
