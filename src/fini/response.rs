//! Fini's answers, apart from events and conversations themselves (see [`crate::domain::vendor`]).

use serde_json::value::RawValue;

use crate::domain::{Timestamp, ids::InteractionId, vendor::FiniConversation};

use super::wire;

/// One page of conversations ("List conversations", Response).
#[derive(Clone, Debug, Default)]
pub struct ConversationPage {
    /// The conversations in Fini's order, newest latest message first.
    pub conversations: Vec<RawConversation>,
    /// Number of entries that could not be read at all and were left out. More than 0 deserves a warning.
    pub malformed: usize,
    /// True if there is a further page.
    pub has_more: bool,
    /// The cursor towards older conversations.
    pub next_cursor: Option<String>,
    /// The cursor towards newer conversations.
    pub prev_cursor: Option<String>,
}

/// A listed conversation, not yet parsed: most conversations of a sweep have not changed, and the digest shows that for the
/// price of reading the bytes once.
#[derive(Clone)]
pub struct RawConversation {
    /// Fini's id.
    pub id: InteractionId,
    /// The first 64 bits of the SHA-256 of the raw JSON: equal on every replica and across restarts. An equal digest
    /// means an unchanged conversation; an unequal one only that it is worth parsing.
    pub digest: u64,
    pub(super) raw: Box<RawValue>,
}

/// The error of a conversation that could not be parsed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a conversation: {reason}")]
pub struct Malformed {
    /// The reason, without any of its content.
    pub reason: String,
}

impl RawConversation {
    /// Parses the whole conversation.
    pub fn parse(&self) -> Result<FiniConversation, Malformed> {
        wire::parse_conversation(self.raw.get().as_bytes())
    }

    /// Returns when its newest event was created, without building the events; `None` if none has a time.
    pub fn latest_at(&self) -> Option<Timestamp> {
        wire::latest_event_at(self.raw.get())
    }

    /// Returns the JSON as Fini sent it.
    pub fn as_json(&self) -> &str {
        self.raw.get()
    }
}

/// Leaves out the content: message texts do not belong in logs.
impl std::fmt::Debug for RawConversation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RawConversation")
            .field("id", &self.id)
            .field("digest", &self.digest)
            .field("bytes", &self.raw.get().len())
            .finish()
    }
}

/// A tag of a workspace, or a group of tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// Its id.
    pub id: String,
    /// Its text.
    pub name: String,
    /// The group of a tag, if Fini names it.
    pub group: Option<String>,
}

/// One agent of the workspace ("List agents").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// Its id, which other routes call `botId`.
    pub id: String,
    /// Its name in Fini's dashboard; empty if Fini gives none.
    pub name: String,
    /// Creation time.
    pub created_at: Option<Timestamp>,
}
