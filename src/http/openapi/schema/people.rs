//! Requests and answers about a person.

use utoipa::ToSchema;

use super::{Author, State};

/// A part of a person's conversations.
#[derive(ToSchema)]
pub struct UserConversations {
    /// Newest first.
    pub conversations: Vec<ListedConversation>,
    /// Cursor of the next page; null on the last one.
    #[schema(required)]
    pub next_cursor: Option<String>,
}

/// A conversation in a person's list.
#[derive(ToSchema)]
pub struct ListedConversation {
    /// The frontend's own id.
    pub conversation_id: String,
    /// State of the conversation.
    pub state: State,
    /// The newest message that the asker may see.
    #[schema(required)]
    pub last_message: Option<LastMessage>,
    /// The number of the newest feed event.
    #[schema(minimum = 0)]
    pub last_sequence: i64,
    /// Sequence of the last event that the customer has read.
    #[schema(minimum = 0)]
    pub read_sequence: i64,
    /// Time of the last event of its feed.
    #[schema(format = DateTime)]
    pub updated_at: String,
}

/// A message in a person's list.
#[derive(ToSchema)]
pub struct LastMessage {
    /// Author of the message.
    pub author: Author,
    /// Its text.
    pub text: String,
    /// Time at which it was written.
    #[schema(format = DateTime)]
    pub created_at: String,
}

/// Sequence of the last event that the customer has read.
#[derive(ToSchema)]
#[schema(example = json!({"sequence": 3}))]
#[serde(deny_unknown_fields)]
pub struct ReadWish {
    /// The number of the newest event that was read.
    #[schema(minimum = 0, maximum = 9_007_199_254_740_991_i64)]
    pub sequence: i64,
}

/// State of a read mark.
#[derive(ToSchema)]
pub struct ReadMark {
    /// The conversation.
    pub conversation_id: String,
    /// Sequence of the last event that the customer has read.
    #[schema(minimum = 0)]
    pub read_sequence: i64,
    /// The number of the newest feed event.
    #[schema(minimum = 0)]
    pub last_sequence: i64,
}

/// Names the conversation to give to a user.
#[derive(ToSchema)]
#[schema(example = json!({"conversation_id": "web-8121"}))]
#[serde(deny_unknown_fields)]
pub struct ClaimWish {
    /// The frontend's own id of the conversation.
    #[schema(pattern = "^[A-Za-z0-9._~:@+=-]{1,200}$")]
    pub conversation_id: String,
}

/// Whose a conversation is.
#[derive(ToSchema)]
pub struct Claimed {
    /// The conversation.
    pub conversation_id: String,
    /// The user.
    pub user_id: String,
}

/// Progress of the erasure of a person.
#[derive(ToSchema)]
pub struct PersonErased {
    /// The user.
    pub user_id: String,
    /// `erased`: nothing that was said is in any table or file of the bridge's any more. `pending`: the bridge is at it.
    pub local: String,
    /// `not_requested`, `not_bound` (nothing was sent to Fini), `pending` (the bridge goes on trying), `erased` (proved by reading
    /// back, for every conversation) or `failed` (given up for some).
    pub upstream: String,
    /// Time at which it was asked for.
    #[schema(format = DateTime)]
    pub requested_at: String,
    /// Number of conversations.
    pub conversations: PersonErasedCounts,
}

/// Conversations of an erased person.
#[derive(ToSchema)]
pub struct PersonErasedCounts {
    /// Erased here.
    #[schema(minimum = 0)]
    pub erased: i64,
    /// Gone at Fini, proved by reading back.
    #[schema(minimum = 0)]
    pub proved: i64,
    /// Still to be deleted at Fini.
    #[schema(minimum = 0)]
    pub pending: i64,
    /// Given up at Fini.
    #[schema(minimum = 0)]
    pub failed: i64,
}
