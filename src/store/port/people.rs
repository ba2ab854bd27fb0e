//! People: their conversations, how far they have read, and erasing all that is known of one.

use super::Result;
use crate::domain::{
    Timestamp, WallTime,
    conversation::State,
    ids::{ConversationId, FrontendName},
    person::{Claim, LastMessage, Place},
};

/// A conversation as it stands in a person's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its id.
    pub id: ConversationId,
    /// Its state.
    pub state: State,
    /// The newest message that the asker may see.
    pub last_message: Option<LastMessage>,
    /// The number of the newest feed event.
    pub last_sequence: i64,
    /// How far the customer has read.
    pub read_sequence: i64,
    /// When its feed last grew or its state last changed, by the wall clock.
    pub updated_at: Timestamp,
    /// Where it stands in the list.
    pub place: Place,
}

/// How far a conversation was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadMark {
    /// The number of the newest event that was read; 0 where none was.
    pub read_sequence: i64,
    /// The number of the newest feed event.
    pub last_sequence: i64,
}

/// How far the erasure of a person is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PersonErasure {
    /// When it was asked for, by the wall clock.
    pub requested_at: WallTime,
    /// Whether Fini is asked too.
    pub upstream: bool,
    /// Whether nothing of the person is left in the store.
    pub is_done_here: bool,
    /// Conversations that were erased here.
    pub conversations: u64,
    /// Those of which reading has proved that Fini has nothing any more.
    pub proved: u64,
    /// Those that Fini is still to delete.
    pub pending: u64,
    /// Those that were given up at Fini.
    pub failed: u64,
}

/// People.
#[async_trait::async_trait]
pub trait PersonStore: Send + Sync {
    /// The conversations of a person behind a place of the list, newest first, at most so many.
    async fn conversations_of(
        &self,
        frontend: &FrontendName,
        user: &str,
        behind: Option<&Place>,
        limit: usize,
        is_browser: bool,
    ) -> Result<Vec<Listed>>;

    /// Moves the read mark of a conversation up to `sequence`, by the rule of
    /// [`read_up_to`](crate::domain::person::read_up_to); `None` where there is no such conversation. Announces `Feed` where
    /// it moved.
    async fn mark_read(&self, frontend: &FrontendName, id: &ConversationId, sequence: i64) -> Result<Option<ReadMark>>;

    /// Gives a conversation of nobody to a person; `None` where there is no such conversation.
    async fn claim_conversation(
        &self,
        frontend: &FrontendName,
        user: &str,
        id: &ConversationId,
    ) -> Result<Option<Claim>>;

    /// Has everything of a person erased: from this moment on every conversation of the person is wanted gone, those included
    /// that begin before [`Self::erase_some`] has found none left. Returns false where nothing is known of such a person.
    async fn want_person_erased(
        &self,
        frontend: &FrontendName,
        user: &str,
        upstream: bool,
        now: Timestamp,
    ) -> Result<bool>;

    /// Whether conversations of persons are still to be erased here.
    async fn persons_to_erase(&self) -> Result<bool>;

    /// Erases up to `batch` conversations of one such person, the named one where one is named. `None` where there is nobody,
    /// or another process is at it.
    async fn erase_some(
        &self,
        of: Option<(&FrontendName, &str)>,
        now: Timestamp,
        batch: usize,
    ) -> Result<Option<usize>>;

    /// How far the latest erasure of a person is; `None` where none was asked for, or nobody knows any more.
    async fn person_erasure(&self, frontend: &FrontendName, user: &str) -> Result<Option<PersonErasure>>;

    /// When a person was last erased, by the wall clock.
    async fn person_erased_at(&self, frontend: &FrontendName, user: &str) -> Result<Option<WallTime>>;
}
