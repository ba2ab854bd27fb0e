//! What operators look at: quarantines, lanes that stand still, conversations by any id, and one of them from end to end.

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
    /// Where the part before ended, as it was given out; one that is none of the store's own leads to an empty part.
    pub cursor: Option<String>,
    /// The most entries.
    pub limit: usize,
}

/// Entries, and where the next part begins, if there is one.
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
    /// Both its names.
    pub conversation: ConversationRef,
    /// The user that was named for it, and whether somebody vouches for that.
    pub user: Option<(String, bool)>,
    /// Its state.
    pub state: State,
    /// Its Fini conversation, when bound.
    pub interaction: Option<InteractionId>,
    /// Messages that wait in it.
    pub queued: u64,
    /// The number of the newest feed event.
    pub last_sequence: i64,
    /// When its first message was accepted.
    pub created_at: Timestamp,
    /// When its feed last grew or its state last changed.
    pub updated_at: Timestamp,
}

/// A quarantine: a conversation, and the one whose Fini conversation it got into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantine {
    /// The conversation that waits for an operator.
    pub own: Outline,
    /// Since when.
    pub since: Timestamp,
    /// Why, in words.
    pub note: Option<String>,
    /// The Fini conversation in which its messages turned up.
    pub shares: Option<InteractionId>,
    /// The conversation of ours that is bound to that one; `None` where it is nobody's whom the bridge knows.
    pub owner: Option<Outline>,
}

/// A conversation that was found, and by which of its ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The conversation.
    pub conversation: Outline,
    /// Which id it was: `conversation_id`, `user_id`, `message_id`, `request_id`, `event_id`, `delivery_id`,
    /// `fini_event_id` or `interaction_id`.
    pub matched: String,
}

/// What is known in this process of those who are left alone for a while.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftAlone {
    /// Destinations whose circuit breaker is not closed.
    pub destinations: Vec<Destination>,
    /// Frontends whose messages Fini is not sent at present.
    pub frontends: Vec<FrontendName>,
    /// Whether sends wait for the budget.
    pub budget: bool,
}

/// A lane that stands still: a conversation's callbacks to one destination, or its messages to Fini.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockedLane {
    /// The conversation.
    pub conversation: ConversationRef,
    /// The destination; `None` for messages to Fini.
    pub destination: Option<Destination>,
    /// What holds it, and until when where that is known.
    pub standstill: Standstill,
    /// How many callbacks or messages wait.
    pub waiting: u64,
    /// When the first of them was recorded or accepted.
    pub since: Timestamp,
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
    /// The delivery.
    pub id: DeliveryId,
    /// The event.
    pub event_id: EventId,
    /// The event's number.
    pub sequence: i64,
    /// The event's type.
    pub kind: String,
    /// Attempts so far.
    pub attempts: u32,
    /// The receiver's last status.
    pub last_status: Option<u16>,
    /// What last went wrong.
    pub last_error: Option<String>,
}

/// One request for a message, or one attempt at a callback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Try {
    /// Counts from 1.
    pub number: u32,
    /// When it began; not kept of callbacks.
    pub began_at: Option<Timestamp>,
    /// When it was over; `None` while it is under way, or where nobody knows since its process died.
    pub ended_at: Option<Timestamp>,
    /// What it came to, in one word.
    pub outcome: Option<String>,
    /// The status that a receiver answered.
    pub status: Option<u16>,
    /// What went wrong, in words.
    pub error: Option<String>,
}

/// A message on its way to Fini and back, as operators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The message.
    pub message: MessageId,
    /// On whose behalf.
    pub role: Role,
    /// Where it stands.
    pub state: TurnState,
    /// The message that it was joined to; the tries are that one's.
    pub joined_to: Option<MessageId>,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// When it was last sent.
    pub sent_at: Option<Timestamp>,
    /// Since when it stands where it does.
    pub state_since: Timestamp,
    /// Until when it holds the next message, once Fini has it.
    pub held_until: Option<Timestamp>,
    /// When its reply, or its fate, is looked for next.
    pub look_at: Option<Timestamp>,
    /// Fini's event of it, where that was seen.
    pub fini_event: Option<String>,
    /// Replies so far.
    pub replies: u32,
    /// What last happened to it, in words.
    pub detail: String,
    /// The request that brought it.
    pub request_id: Option<String>,
    /// Its text.
    pub text: String,
    /// Its requests to Fini, the first one first.
    pub tries: Vec<Try>,
}

/// What operators look at. None of it is asked all the time.
#[async_trait::async_trait]
pub trait OperatorStore: Send + Sync {
    /// Conversations in quarantine, the longest first.
    async fn quarantines(&self, frontend: Option<&FrontendName>, part: Part) -> Result<Entries<Quarantine>>;

    /// Lanes that stand still. A part may hold fewer than its limit although there are more.
    async fn blocked_lanes(&self, left_alone: LeftAlone, part: Part, now: Timestamp) -> Result<Entries<BlockedLane>>;

    /// Conversations one of whose ids is exactly this, the youngest first.
    async fn find_conversations(&self, id: &str, part: Part) -> Result<Entries<Hit>>;

    /// A conversation's messages, the oldest of the latest `limit` first.
    async fn turns_of(&self, conversation: ConversationKey, limit: usize) -> Result<Vec<Turn>>;

    /// The attempts at a conversation's callbacks that failed, by delivery.
    async fn delivery_tries(&self, conversation: ConversationKey) -> Result<Vec<(DeliveryId, Try)>>;
}
