//! People: their conversations, their read marks, and erasing all that is known of one.

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
    /// The frontend's id of it.
    pub id: ConversationId,
    /// Its state.
    pub state: State,
    /// The newest message that the asker may see.
    pub last_message: Option<LastMessage>,
    /// The number of the newest feed event.
    pub last_sequence: i64,
    /// Number of the newest event that the customer has read.
    pub read_sequence: i64,
    /// Time at which its feed last grew or its state last changed, by the wall clock.
    pub updated_at: Timestamp,
    /// Its place in the list.
    pub place: Place,
}

/// The read mark of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadMark {
    /// The number of the newest event that was read; 0 if none was.
    pub read_sequence: i64,
    /// The number of the newest feed event.
    pub last_sequence: i64,
}

/// The progress of a person's erasure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PersonErasure {
    /// Time of the request, by the wall clock.
    pub requested_at: WallTime,
    /// True if Fini is to delete its conversations too.
    pub upstream: bool,
    /// True if nothing of the person is left in the store.
    pub is_done_here: bool,
    /// Number of conversations that were erased here.
    pub conversations: u64,
    /// Number of those of which reading has proved that Fini no longer has anything.
    pub proved: u64,
    /// Number of those that Fini is still to delete.
    pub pending: u64,
    /// Number of those whose deletion at Fini was given up.
    pub failed: u64,
}

/// Lists, claims and erases the conversations of people, and keeps their read marks.
#[async_trait::async_trait]
pub trait PersonStore: Send + Sync {
    /// Lists at most `limit` conversations of a person behind a place of the list, newest first.
    async fn conversations_of(
        &self,
        frontend: &FrontendName,
        user: &str,
        behind: Option<&Place>,
        limit: usize,
        is_browser: bool,
    ) -> Result<Vec<Listed>>;

    /// Moves the read mark of a conversation up to `sequence`, by the rule of
    /// [`read_up_to`](crate::domain::person::read_up_to); `None` if there is no such conversation. Announces `Feed` if
    /// it moved.
    async fn mark_read(&self, frontend: &FrontendName, id: &ConversationId, sequence: i64) -> Result<Option<ReadMark>>;

    /// Gives a conversation of nobody to a person; `None` if there is no such conversation.
    async fn claim_conversation(
        &self,
        frontend: &FrontendName,
        user: &str,
        id: &ConversationId,
    ) -> Result<Option<Claim>>;

    /// Orders the erasure of all that is known of a person: from now on every conversation of the person is to be erased, those
    /// included that begin before [`Self::erase_some`] has found none left. Returns false if no such person is known.
    async fn want_person_erased(
        &self,
        frontend: &FrontendName,
        user: &str,
        upstream: bool,
        now: Timestamp,
    ) -> Result<bool>;

    /// Returns true if conversations of persons are still to be erased here.
    async fn persons_to_erase(&self) -> Result<bool>;

    /// Erases up to `batch` conversations of one such person, or of the named one. `None` if there is nobody,
    /// or another process is at it.
    async fn erase_some(
        &self,
        of: Option<(&FrontendName, &str)>,
        now: Timestamp,
        batch: usize,
    ) -> Result<Option<usize>>;

    /// Returns the progress of a person's latest erasure; `None` if none was requested, or its record is gone.
    async fn person_erasure(&self, frontend: &FrontendName, user: &str) -> Result<Option<PersonErasure>>;

    /// Returns the time of a person's last erasure, by the wall clock.
    async fn person_erased_at(&self, frontend: &FrontendName, user: &str) -> Result<Option<WallTime>>;
}
