//! Reading the feed.

use super::Result;
use crate::domain::{
    Timestamp,
    ids::{ConversationId, ConversationKey, FrontendName, MessageId},
};

/// One entry of the feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedEntry {
    /// Its number.
    pub sequence: i64,
    /// Its type.
    pub kind: String,
    /// Its body, exactly as it is called back.
    pub body: String,
}

/// How much of a feed is read at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Most {
    /// Entries.
    pub entries: usize,
    /// Bytes of their bodies. Whatever is beyond them is not read of the database either.
    pub bytes: usize,
}

/// A part of the feed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FeedPage {
    /// Entries, oldest first.
    pub entries: Vec<FeedEntry>,
    /// The number of the newest entry of the conversation.
    pub last_sequence: i64,
    /// How far the customer has read.
    pub read_sequence: i64,
    /// Whether there are entries after the last one of this page.
    pub has_more: bool,
}

/// A message that is not answered yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unanswered {
    /// The message.
    pub message: MessageId,
    /// Whether it was handed to Fini; otherwise it waits to be.
    pub is_sent: bool,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// Since when it has kept the next message of the conversation waiting; `None` where it does not.
    pub busy_since: Option<Timestamp>,
}

/// Reading the feed.
#[async_trait::async_trait]
pub trait FeedStore: Send + Sync {
    /// Entries after `after`, as many as `most` allows but one at least; `None` where there is no such conversation.
    async fn feed(
        &self,
        frontend: &FrontendName,
        id: &ConversationId,
        after: i64,
        most: Most,
    ) -> Result<Option<(ConversationKey, FeedPage)>>;

    /// The messages of the frontend's users that are not answered yet, oldest first; of many the oldest alone.
    async fn unanswered(&self, conversation: ConversationKey) -> Result<Vec<Unanswered>>;
}
