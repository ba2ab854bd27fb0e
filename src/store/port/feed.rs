//! Reading the feed.

use super::Result;
use crate::domain::{
    Timestamp,
    ids::{ConversationId, ConversationKey, FrontendName, MessageId},
};

/// One entry of the feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedEntry {
    /// Its number, counted from 1 without gaps.
    pub sequence: i64,
    /// Its type, such as `message.created`.
    pub kind: String,
    /// Its body, exactly as it is called back.
    pub body: String,
}

/// The most to read of a feed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Most {
    /// Entries.
    pub entries: usize,
    /// Bytes of their bodies. The database does not read beyond them either.
    pub bytes: usize,
}

/// A part of the feed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FeedPage {
    /// Entries, oldest first.
    pub entries: Vec<FeedEntry>,
    /// The number of the newest entry of the conversation.
    pub last_sequence: i64,
    /// Number of the newest event that the customer has read.
    pub read_sequence: i64,
    /// True if there are entries after the last one of this page.
    pub has_more: bool,
}

/// A message that is not answered yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unanswered {
    /// Id of the message, as its poster gave it.
    pub message: MessageId,
    /// True if it was handed to Fini; otherwise it waits to be.
    pub is_sent: bool,
    /// Time of its acceptance.
    pub accepted_at: Timestamp,
    /// Time since which it has kept the conversation's next message waiting; `None` if it does not.
    pub busy_since: Option<Timestamp>,
}

/// Reads feeds.
#[async_trait::async_trait]
pub trait FeedStore: Send + Sync {
    /// Reads entries after `after`, as many as `most` allows but at least one; `None` if there is no such conversation.
    async fn feed(
        &self,
        frontend: &FrontendName,
        id: &ConversationId,
        after: i64,
        most: Most,
    ) -> Result<Option<(ConversationKey, FeedPage)>>;

    /// Lists the unanswered messages of the frontend's users, oldest first; of many only the oldest.
    async fn unanswered(&self, conversation: ConversationKey) -> Result<Vec<Unanswered>>;
}
