//! Conversations as their frontends and operators see them.

use super::{ConversationRef, Result};
use crate::domain::{
    Timestamp, WallTime,
    conversation::State,
    handoff::Handoff,
    ids::{ConversationId, ConversationKey, FrontendName, InteractionId},
};

/// A conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversation {
    /// The store's key and the frontend's id.
    pub reference: ConversationRef,
    /// The person to whom the conversation belongs, if somebody vouched for that and nobody named another.
    pub person: Option<String>,
    /// Its state.
    pub state: State,
    /// Fini's status text at the last read.
    pub status_text: Option<String>,
    /// True if the customer is asked for something.
    pub awaiting_customer: bool,
    /// The right to speak to the customer.
    pub handoff: Handoff,
    /// Its Fini conversation, when bound.
    pub interaction: Option<InteractionId>,
    /// Counts the changes of the binding.
    pub binding_version: i64,
    /// The number of the newest feed event.
    pub last_sequence: i64,
    /// Number of the newest event that the customer has read.
    pub read_sequence: i64,
    /// Time at which its first message was accepted.
    pub created_at: Timestamp,
    /// Time at which its feed last grew or its state last changed.
    pub updated_at: Timestamp,
    /// The reason for its quarantine or loss, for the operator.
    pub note: Option<String>,
    /// Time of its erasure.
    pub erased_at: Option<Timestamp>,
    /// Number of turns that wait.
    pub queued: u64,
    /// Number of deliveries that are owed.
    pub pending_deliveries: u64,
    /// Number of dead letters.
    pub dead_deliveries: u64,
    /// Time of the next look for a reply or a fate.
    pub next_read_at: Option<Timestamp>,
    /// End of its watch.
    pub watch_until: Option<Timestamp>,
}

/// Reads and erases conversations.
#[async_trait::async_trait]
pub trait ConversationStore: Send + Sync {
    /// Reads a conversation by its frontend's id; `None` if there is none or it was erased.
    async fn conversation(&self, frontend: &FrontendName, id: &ConversationId) -> Result<Option<Conversation>>;

    /// Reads the binding and its version, for the cache; `None` if there is no such conversation.
    async fn binding(&self, conversation: ConversationKey) -> Result<Option<(Option<InteractionId>, i64)>>;

    /// Erases all of a conversation's content: its turns, its feed, its deliveries, the mapping and the marks. Withdraws what
    /// waited or was owed, and fences off the completion of an in-flight turn. Only the fact remains that there was a
    /// conversation, the hash of its id and the time of its erasure; and, if its Fini conversation is unknown, the ids of its
    /// events and for a day the digests of its texts, so that no other conversation's feed gets them. The id may be used again
    /// as a new conversation. Returns the Fini conversation it was bound to (outer `None`: no such conversation). With
    /// `upstream`, the deletion of that one at Fini is recorded in the same transaction. Announces `Binding`, `Settled` and
    /// `Feed`, so that all who wait look again.
    async fn erase(
        &self,
        frontend: &FrontendName,
        id: &ConversationId,
        upstream: bool,
        now: Timestamp,
    ) -> Result<Option<Option<InteractionId>>>;

    /// Returns the time of the latest erasure of a conversation of this id, by the wall clock; `None` if there was none, or its
    /// record is gone.
    async fn erased_at(&self, frontend: &FrontendName, id: &ConversationId) -> Result<Option<WallTime>>;
}
