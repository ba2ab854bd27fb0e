//! Taking messages in.

use std::time::Duration;

use super::Result;
use crate::domain::{
    Timestamp,
    correlation::Correlation,
    handoff::Agent,
    ids::{ConversationId, ConversationKey, FrontendName, IdSpace, MessageId},
    message::InboundMessage,
    turn::TurnState,
};

/// A message to store.
#[derive(Clone, Debug)]
pub struct NewMessage {
    /// The frontend that posts it.
    pub frontend: FrontendName,
    /// The message as posted.
    pub message: InboundMessage,
    /// [`InboundMessage::fingerprint`], computed outside the transaction.
    pub fingerprint: String,
    /// The person to whom the conversation belongs, if the frontend's server or a token's subject says so.
    pub vouched_user: Option<String>,
    /// True if it may only go into a conversation of that person, or begin one.
    pub only_own: bool,
    /// The desk's agent who wrote it, if one is named.
    pub agent: Option<Agent>,
    /// The user whose limit it counts toward, if a browser sent it.
    pub counted_for: Option<String>,
    /// The request that brought it.
    pub cause: Correlation,
    /// Time of its receipt.
    pub now: Timestamp,
    /// Limits on the turns that may wait.
    pub limits: BacklogLimits,
}

impl NewMessage {
    /// Returns the space of message ids that its id belongs to.
    pub const fn id_space(&self) -> IdSpace {
        if self.counted_for.is_some() { IdSpace::Browser } else { IdSpace::Server }
    }
}

/// Limits on turns that wait (are queued) before further messages are refused, and on a browser's messages. 0 bytes or
/// 0 browser messages means no limit.
#[derive(Clone, Copy, Debug)]
pub struct BacklogLimits {
    /// Turns per conversation.
    pub per_conversation: u32,
    /// Turns per frontend.
    pub per_frontend: u32,
    /// Bytes that may wait in one conversation.
    pub bytes_per_conversation: usize,
    /// Messages of one browser user in any minute.
    pub browser_messages_per_user: usize,
}

/// The result of storing a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// Stored: the turn is due, and the message is in the feed with this sequence (as an event of origin `frontend`).
    New {
        /// The store's key of the conversation.
        conversation: ConversationKey,
        /// Its number in the feed.
        sequence: i64,
        /// True if nothing of its conversation comes before it: it waits for the budget alone.
        is_next: bool,
    },
    /// The same message was stored before; nothing was changed.
    Duplicate {
        /// The store's key of the conversation.
        conversation: ConversationKey,
        /// The state of its turn.
        state: TurnState,
    },
    /// The id was used with other content; nothing was changed.
    Conflict,
    /// The conversation does not belong to that person; nothing was changed.
    NotTheirs,
    /// The person has written as much as is allowed in a minute; nothing was stored.
    TooFast {
        /// Time until there is room again.
        wait: Duration,
    },
    /// The conversation holds as many waiting bytes as allowed; nothing was stored.
    TooLarge {
        /// Number of the frontend's turns that wait, for an honest `Retry-After`.
        waiting_in_frontend: u32,
    },
    /// Too many turns wait; nothing was stored.
    BacklogFull {
        /// Number of the frontend's turns that wait, for an honest `Retry-After`.
        waiting_in_frontend: u32,
        /// Number of the conversation's turns that wait.
        waiting_in_conversation: u32,
    },
}

/// A turn as `Prefer: wait` and repeats see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TurnView {
    /// The store's key of the conversation.
    pub conversation: ConversationKey,
    /// Its state.
    pub state: TurnState,
    /// The bodies of the feed events that belong to it, oldest first: its own message, replies, the closing event and
    /// the events that the same look caused (an escalation).
    pub events: Vec<String>,
}

/// Takes messages in.
#[async_trait::async_trait]
pub trait IntakeStore: Send + Sync {
    /// Stores a message, its conversation if that is new, its turn and its feed event; idempotent by
    /// (frontend, conversation, message id). Announces `Turns` and `Feed`.
    async fn accept(&self, message: NewMessage) -> Result<Accepted>;

    /// Reads a turn by its frontend's ids, or by those of a browser of the frontend.
    async fn turn(
        &self,
        frontend: &FrontendName,
        conversation: &ConversationId,
        message: &MessageId,
        space: IdSpace,
    ) -> Result<Option<TurnView>>;
}
