//! Conversations that Fini is to delete: wanted, tried again after a crash, and proved.

use std::collections::BTreeSet;

use super::Result;
use crate::domain::{
    Timestamp,
    ids::{ConversationId, ConversationKey, FiniEventId, FrontendName, InteractionId},
};

/// A Fini conversation to delete now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erasure {
    /// Which one.
    pub interaction: InteractionId,
    /// Since when that is wanted.
    pub requested_at: Timestamp,
    /// How often it was tried, this time included.
    pub attempts: u32,
    /// What is known of it.
    pub known: Known,
    /// Until when a send into it may be under way that would bring it back.
    pub busy_until: Option<Timestamp>,
}

/// A conversation that was erased here before anybody knew which one at Fini is its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErasureSearch {
    /// The conversation, of which nothing else is left.
    pub conversation: ConversationKey,
    /// The value of its attribute in Fini.
    pub attribute: String,
    /// Fini's events that are known to be its own.
    pub events: Vec<FiniEventId>,
    /// Digests of the texts that were sent for it.
    pub texts: Vec<String>,
    /// When the first of them was sent.
    pub first_sent_at: Timestamp,
    /// Since when the deletion is wanted.
    pub requested_at: Timestamp,
    /// Until when one of them may be under way.
    pub busy_until: Option<Timestamp>,
    /// When it is looked for next.
    pub look_at: Timestamp,
    /// How often it was looked for.
    pub looks: u32,
}

/// What became of such a search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SearchEnd {
    /// This is it, with the time of its latest message: it is to be deleted.
    Found(InteractionId, Timestamp),
    /// Nothing of it is at Fini.
    Nothing,
    /// Given up, or mixed into somebody else's conversation.
    Failed,
    /// Looked for again then.
    Later(Timestamp),
}

/// What is known of a Fini conversation that is deleted: by this its absence is proved afterwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The time of its latest message, or an earlier one.
    pub latest_at: Timestamp,
    /// What List showed beside it before it was deleted; `None` until List has shown it.
    pub beside: Option<BTreeSet<InteractionId>>,
    /// When Fini first said that it does not know it, as long as nothing else has shown it since.
    pub missed_since: Option<Timestamp>,
}

/// How far a deletion at Fini is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErasureState {
    /// It is tried until it is proved.
    Pending,
    /// Reading has proved it.
    Erased,
    /// Given up: Fini refuses it, or goes on showing the conversation.
    Failed,
}

impl ErasureState {
    /// The name it is stored under.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Erased => "erased",
            Self::Failed => "failed",
        }
    }

    /// The state of that stored name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Pending, Self::Erased, Self::Failed].into_iter().find(|state| state.as_str() == name)
    }
}

/// What came of one try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErasureEnd {
    /// Proved by reading.
    Erased,
    /// Given up.
    Failed,
    /// Not proved yet: to be tried again then.
    Later(Timestamp),
}

/// Deletions at Fini. They are begun by `ConversationStore::erase`.
#[async_trait::async_trait]
pub trait ErasureStore: Send + Sync {
    /// Takes the deletion that has been due for longest. It is not due again before `until`, whatever becomes of who took it.
    async fn claim_erasure(&self, now: Timestamp, until: Timestamp) -> Result<Option<Erasure>>;

    /// Keeps what is known of it for the tries to come.
    async fn know(&self, interaction: &InteractionId, known: &Known) -> Result<()>;

    /// Records what came of a try; a deletion that has ended already stays as it is.
    async fn end_erasure(&self, interaction: &InteractionId, end: ErasureEnd, now: Timestamp) -> Result<()>;

    /// The latest deletion that was wanted for an erased conversation of this id; without a Fini conversation where none was
    /// found so far, or none is there.
    async fn erasure(
        &self,
        frontend: &FrontendName,
        id: &ConversationId,
    ) -> Result<Option<(Option<InteractionId>, ErasureState)>>;

    /// The erased conversations whose Fini conversation is looked for, those first that are due first.
    async fn erasure_searches(&self, limit: usize) -> Result<Vec<ErasureSearch>>;

    /// Records what became of a search; one that has ended stays as it is. A Fini conversation that belongs to another
    /// conversation here is not deleted: that is a failure. Returns the state.
    async fn end_erasure_search(
        &self,
        conversation: ConversationKey,
        end: SearchEnd,
        now: Timestamp,
    ) -> Result<Option<ErasureState>>;

    /// When the next deletion is due.
    async fn next_erasure_at(&self) -> Result<Option<Timestamp>>;
}
