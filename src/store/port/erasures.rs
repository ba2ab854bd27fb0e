//! Conversations that Fini is to delete: a deletion is recorded, tried again after a crash, and proved.

use std::collections::BTreeSet;

use super::Result;
use crate::domain::{
    Timestamp,
    ids::{ConversationId, ConversationKey, FiniEventId, FrontendName, InteractionId},
};

/// A Fini conversation to delete now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erasure {
    /// The conversation's id at Fini.
    pub interaction: InteractionId,
    /// Time of the request for deletion.
    pub requested_at: Timestamp,
    /// Number of tries, this one included.
    pub attempts: u32,
    /// The evidence for proving its absence.
    pub known: Known,
    /// Time until which a send that would bring it back may be under way.
    pub busy_until: Option<Timestamp>,
}

/// A conversation that was erased here before its Fini conversation was known.
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
    /// Time of the first send.
    pub first_sent_at: Timestamp,
    /// Time of the request for deletion.
    pub requested_at: Timestamp,
    /// Time until which one of them may be under way.
    pub busy_until: Option<Timestamp>,
    /// Time of the next look for it.
    pub look_at: Timestamp,
    /// Number of looks for it.
    pub looks: u32,
}

/// The result of one look for an [`ErasureSearch`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SearchEnd {
    /// It was found, with the time of its latest message: it is to be deleted.
    Found(InteractionId, Timestamp),
    /// Nothing of it is at Fini.
    Nothing,
    /// Given up, or mixed into somebody else's conversation.
    Failed,
    /// Not decided: it is looked for again at this time.
    Later(Timestamp),
}

/// The evidence about a Fini conversation that is deleted: its absence is proved by it afterwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The time of its latest message, or an earlier one.
    pub latest_at: Timestamp,
    /// Conversations that List showed beside it before its deletion; `None` until List has shown it.
    pub beside: Option<BTreeSet<InteractionId>>,
    /// Time at which Fini first denied knowing it, as long as nothing else has shown it since.
    pub missed_since: Option<Timestamp>,
}

/// The progress of a deletion at Fini.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErasureState {
    /// It is tried until it is proved.
    Pending,
    /// Reading has proved the deletion.
    Erased,
    /// Given up: Fini refuses it, or goes on showing the conversation.
    Failed,
}

impl ErasureState {
    /// Returns the name it is stored under.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Erased => "erased",
            Self::Failed => "failed",
        }
    }

    /// Returns the state of that stored name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Pending, Self::Erased, Self::Failed].into_iter().find(|state| state.as_str() == name)
    }
}

/// The result of one try at a deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErasureEnd {
    /// Proved by reading.
    Erased,
    /// Given up.
    Failed,
    /// Not proved yet: it is tried again at this time.
    Later(Timestamp),
}

/// Keeps the deletions at Fini. `ConversationStore::erase` begins them.
#[async_trait::async_trait]
pub trait ErasureStore: Send + Sync {
    /// Takes the deletion that has been due for longest. It is not due again before `until`, whatever becomes of the taker.
    async fn claim_erasure(&self, now: Timestamp, until: Timestamp) -> Result<Option<Erasure>>;

    /// Keeps the evidence for later tries.
    async fn know(&self, interaction: &InteractionId, known: &Known) -> Result<()>;

    /// Records the result of a try; a deletion that has ended already stays as it is.
    async fn end_erasure(&self, interaction: &InteractionId, end: ErasureEnd, now: Timestamp) -> Result<()>;

    /// Returns the latest deletion for an erased conversation of this id; without a Fini conversation if none was found so far,
    /// or none is there.
    async fn erasure(
        &self,
        frontend: &FrontendName,
        id: &ConversationId,
    ) -> Result<Option<(Option<InteractionId>, ErasureState)>>;

    /// Lists the erased conversations whose Fini conversation is looked for, earliest due first.
    async fn erasure_searches(&self, limit: usize) -> Result<Vec<ErasureSearch>>;

    /// Records the result of a search; one that has ended stays as it is. A Fini conversation that belongs to another
    /// conversation here is not deleted: that is a failure. Returns the state.
    async fn end_erasure_search(
        &self,
        conversation: ConversationKey,
        end: SearchEnd,
        now: Timestamp,
    ) -> Result<Option<ErasureState>>;

    /// Returns the due time of the next deletion.
    async fn next_erasure_at(&self) -> Result<Option<Timestamp>>;
}
