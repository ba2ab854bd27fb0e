//! The operators' views: quarantines, lanes that stand still, conversations by any id, and one of them from end to end.

use super::{ConversationRef, Result};
use crate::domain::{
    Timestamp,
    blocked::Standstill,
    conversation::State,
    destination::Destination,
    ids::{ConversationKey, DeliveryId, EventId, FrontendName, InteractionId, MessageId},
    message::Role,
    turn::TurnState,
};

/// A part of a list; each begins behind the cursor of the one before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// The end of the part before, as the store gave it out; one that it never gave out leads to an empty part.
    pub cursor: Option<String>,
    /// The most entries to return.
    pub limit: usize,
}

/// Entries, and the cursor of the next part, if there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entries<T> {
    /// The entries.
    pub entries: Vec<T>,
    /// The next part's cursor; opaque.
    pub next_cursor: Option<String>,
}

/// A conversation in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outline {
    /// The store's key and the frontend's id.
    pub conversation: ConversationRef,
    /// The user named for it, and true if somebody vouches for it.
    pub user: Option<(String, bool)>,
    /// Its state.
    pub state: State,
    /// Its Fini conversation, when bound.
    pub interaction: Option<InteractionId>,
    /// Number of messages that wait in it.
    pub queued: u64,
    /// The number of the newest feed event.
    pub last_sequence: i64,
    /// Time at which its first message was accepted.
    pub created_at: Timestamp,
    /// Time at which its feed last grew or its state last changed.
    pub updated_at: Timestamp,
}

/// A quarantine: a conversation, and the one whose Fini conversation it got into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantine {
    /// The conversation that waits for an operator.
    pub own: Outline,
    /// Time of its quarantine.
    pub since: Timestamp,
    /// The reason, in words.
    pub note: Option<String>,
    /// The Fini conversation in which its messages turned up.
    pub shares: Option<InteractionId>,
    /// Our conversation that is bound to that one; `None` if the bridge knows no owner.
    pub owner: Option<Outline>,
}

/// A conversation that was found, and the kind of id that matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// An outline of the conversation.
    pub conversation: Outline,
    /// The kind of id: `conversation_id`, `user_id`, `message_id`, `request_id`, `event_id`, `delivery_id`,
    /// `fini_event_id` or `interaction_id`.
    pub matched: String,
}

/// The destinations and frontends to which this process sends nothing for a while.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftAlone {
    /// Destinations whose circuit breaker is not closed.
    pub destinations: Vec<Destination>,
    /// Frontends whose messages are not sent to Fini at present.
    pub frontends: Vec<FrontendName>,
    /// True if sends wait for the budget.
    pub budget: bool,
}

/// A lane that stands still: a conversation's callbacks to one destination, or its messages to Fini.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockedLane {
    /// The conversation that owes the callbacks or messages.
    pub conversation: ConversationRef,
    /// The destination; `None` for messages to Fini.
    pub destination: Option<Destination>,
    /// The cause that holds it, and its end if that is known.
    pub standstill: Standstill,
    /// Number of waiting callbacks or messages.
    pub waiting: u64,
    /// Time at which the first of them was recorded or accepted; `None` if only a dead letter is left.
    pub since: Option<Timestamp>,
    /// The callback at its head.
    pub head: Option<Head>,
    /// The dead letter that it waits for.
    pub dead_letter: Option<DeliveryId>,
    /// The message in flight that the others wait for.
    pub open: Option<(MessageId, TurnState, Timestamp)>,
}

/// The callback at the head of a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Id of the delivery (`dlv_…`).
    pub id: DeliveryId,
    /// Id of the event, sent as `webhook-id`.
    pub event_id: EventId,
    /// The event's number in the feed.
    pub sequence: i64,
    /// The event's type, such as `message.created`.
    pub kind: String,
    /// Number of attempts so far.
    pub attempts: u32,
    /// The receiver's last status.
    pub last_status: Option<u16>,
    /// The error of the last failed attempt.
    pub last_error: Option<String>,
}

/// One request for a message, or one attempt at a callback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Try {
    /// Counts from 1.
    pub number: u32,
    /// Start; not kept of callbacks.
    pub began_at: Option<Timestamp>,
    /// End; `None` while it is under way, or if its process died and the end is unknown.
    pub ended_at: Option<Timestamp>,
    /// Its result, in one word.
    pub outcome: Option<String>,
    /// The status that a receiver answered.
    pub status: Option<u16>,
    /// The error, in words.
    pub error: Option<String>,
}

/// A message on its way to Fini and back, as operators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Id of the message, as its poster gave it.
    pub message: MessageId,
    /// The author's role.
    pub role: Role,
    /// Its state.
    pub state: TurnState,
    /// The message that it was joined to, which has the tries.
    pub joined_to: Option<MessageId>,
    /// Time of its acceptance.
    pub accepted_at: Timestamp,
    /// Time of its last send.
    pub sent_at: Option<Timestamp>,
    /// Start of its present state.
    pub state_since: Timestamp,
    /// End of its hold on the next message, once Fini has it.
    pub held_until: Option<Timestamp>,
    /// Time of the next look for its reply or its fate.
    pub look_at: Option<Timestamp>,
    /// Fini's event of it, if that was seen.
    pub fini_event: Option<String>,
    /// Number of replies so far.
    pub replies: u32,
    /// The last change of it, in words.
    pub detail: String,
    /// The request that brought it.
    pub request_id: Option<String>,
    /// Its text.
    pub text: String,
    /// Its requests to Fini, the first one first.
    pub tries: Vec<Try>,
}

/// Reads the operators' views. None of them is queried all the time.
#[async_trait::async_trait]
pub trait OperatorStore: Send + Sync {
    /// Lists conversations in quarantine, the longest first.
    async fn quarantines(&self, frontend: Option<&FrontendName>, part: Part) -> Result<Entries<Quarantine>>;

    /// Lists lanes that stand still. A part may hold fewer than its limit although there are more.
    async fn blocked_lanes(&self, left_alone: LeftAlone, part: Part, now: Timestamp) -> Result<Entries<BlockedLane>>;

    /// Finds conversations one of whose ids is exactly this, the youngest first.
    async fn find_conversations(&self, id: &str, part: Part) -> Result<Entries<Hit>>;

    /// Reads the latest `limit` messages of a conversation, oldest first.
    async fn turns_of(&self, conversation: ConversationKey, limit: usize) -> Result<Vec<Turn>>;

    /// Reads the failed attempts at a conversation's callbacks, by delivery.
    async fn delivery_tries(&self, conversation: ConversationKey) -> Result<Vec<(DeliveryId, Try)>>;
}
