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
    /// Both its names.
    pub reference: ConversationRef,
    /// The person whose conversation it is, where somebody vouched for that and nobody named another.
    pub person: Option<String>,
    /// Its state.
    pub state: State,
    /// Fini's status text at the last read.
    pub status_text: Option<String>,
    /// Whether the customer is asked for something.
    pub awaiting_customer: bool,
    /// Who may speak to the customer.
    pub handoff: Handoff,
    /// Its Fini conversation, when bound.
    pub interaction: Option<InteractionId>,
    /// Counts the changes of the binding.
    pub binding_version: i64,
    /// The number of the newest feed event.
    pub last_sequence: i64,
    /// How far the customer has read.
    pub read_sequence: i64,
    /// When its first message was accepted.
    pub created_at: Timestamp,
    /// When its feed last grew or its state last changed.
    pub updated_at: Timestamp,
    /// Why it is quarantined or lost, for the operator.
    pub note: Option<String>,
    /// When it was erased.
    pub erased_at: Option<Timestamp>,
    /// Turns that wait.
    pub queued: u64,
    /// Deliveries that are owed.
    pub pending_deliveries: u64,
    /// Dead letters.
    pub dead_deliveries: u64,
    /// When a reply or a fate is looked for next.
    pub next_read_at: Option<Timestamp>,
    /// Until when it is watched.
    pub watch_until: Option<Timestamp>,
}

/// Conversations.
#[async_trait::async_trait]
pub trait ConversationStore: Send + Sync {
    /// A conversation by its frontend's id; `None` where there is none or it was erased.
    async fn conversation(&self, frontend: &FrontendName, id: &ConversationId) -> Result<Option<Conversation>>;

    /// The binding and its version, for the cache; `None` where there is no such conversation.
    async fn binding(&self, conversation: ConversationKey) -> Result<Option<(Option<InteractionId>, i64)>>;

    /// Erases everything that was said: its turns, its feed, its deliveries, the mapping and the marks. What waited or was
    /// owed is withdrawn, an in-flight turn's completion is fenced off. Only the bare fact remains that there was a
    /// conversation, the hash of its id and when it was erased; and, where nobody knows in which Fini conversation its messages
    /// are, the ids of its events and for a day the digests of its texts, so that they are told to nobody else. The id may be
    /// used again as a new conversation. Returns the Fini
    /// conversation it was bound to (outer `None`: no such conversation). With `upstream`, that one is from the same
    /// moment on wanted to be deleted at Fini too. Announces `Binding`, `Settled` and `Feed`, so that
    /// whoever waits looks again.
    async fn erase(
        &self,
        frontend: &FrontendName,
        id: &ConversationId,
        upstream: bool,
        now: Timestamp,
    ) -> Result<Option<Option<InteractionId>>>;

    /// When the latest conversation of this id was erased, by the wall clock; `None` where none was, or nobody knows any more.
    async fn erased_at(&self, frontend: &FrontendName, id: &ConversationId) -> Result<Option<WallTime>>;
}
