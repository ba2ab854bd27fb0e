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
    /// Who posts.
    pub frontend: FrontendName,
    /// What is posted.
    pub message: InboundMessage,
    /// [`InboundMessage::fingerprint`], computed outside the transaction.
    pub fingerprint: String,
    /// The person whose conversation it is, where the frontend's server or a token's subject says so.
    pub vouched_user: Option<String>,
    /// Whether it may only go into a conversation of that person, or begin one.
    pub only_own: bool,
    /// The desk's agent whose word it is, where one is named.
    pub agent: Option<Agent>,
    /// Whom it is counted for, where a browser sent it.
    pub counted_for: Option<String>,
    /// The request that brought it.
    pub cause: Correlation,
    /// When it was received.
    pub now: Timestamp,
    /// How many turns may wait.
    pub limits: BacklogLimits,
}

impl NewMessage {
    /// Whose ids its own is one of.
    pub const fn id_space(&self) -> IdSpace {
        if self.counted_for.is_some() { IdSpace::Browser } else { IdSpace::Server }
    }
}

/// How many turns may wait (be queued) before further messages are refused, and how many a browser may send. 0 of bytes or
/// of browsers' messages is no limit.
#[derive(Clone, Copy, Debug)]
pub struct BacklogLimits {
    /// Per conversation.
    pub per_conversation: u32,
    /// Per frontend.
    pub per_frontend: u32,
    /// Bytes that may wait in one conversation.
    pub bytes_per_conversation: usize,
    /// Messages of one browser user in any minute.
    pub browser_messages_per_user: usize,
}

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// Stored: the turn is due, and the message is in the feed with this sequence (as an event of origin `frontend`).
    New {
        /// The conversation's key.
        conversation: ConversationKey,
        /// Its number in the feed.
        sequence: i64,
        /// Whether nothing of its conversation comes before it: it waits for the budget alone.
        is_next: bool,
    },
    /// The same message was stored before; nothing was changed.
    Duplicate {
        /// The conversation's key.
        conversation: ConversationKey,
        /// Where its turn stands.
        state: TurnState,
    },
    /// The id was used with other content; nothing was changed.
    Conflict,
    /// The conversation is not that person's; nothing was changed.
    NotTheirs,
    /// The person wrote as much as may be written in a minute; nothing was stored. When there is room again.
    TooFast {
        /// In this time.
        wait: Duration,
    },
    /// As much waits in the conversation as may; nothing was stored.
    TooLarge {
        /// How many turns of the frontend wait, for an honest `Retry-After`.
        waiting_in_frontend: u32,
    },
    /// Too many turns wait; nothing was stored.
    BacklogFull {
        /// How many turns of the frontend wait, for an honest `Retry-After`.
        waiting_in_frontend: u32,
        /// How many turns of the conversation wait.
        waiting_in_conversation: u32,
    },
}

/// A turn as `Prefer: wait` and repeats see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TurnView {
    /// The conversation's key.
    pub conversation: ConversationKey,
    /// Where it stands.
    pub state: TurnState,
    /// The bodies of the feed events that belong to it, oldest first: its own message, replies, the closing event and
    /// what was caused by the same look (an escalation).
    pub events: Vec<String>,
}

/// Taking messages in.
#[async_trait::async_trait]
pub trait IntakeStore: Send + Sync {
    /// Stores a message, its conversation where it is new, its turn and its feed event; idempotent by
    /// (frontend, conversation, message id). Announces `Turns` and `Feed`.
    async fn accept(&self, message: NewMessage) -> Result<Accepted>;

    /// A turn by its frontend's ids, or a browser's of it.
    async fn turn(
        &self,
        frontend: &FrontendName,
        conversation: &ConversationId,
        message: &MessageId,
        space: IdSpace,
    ) -> Result<Option<TurnView>>;
}
