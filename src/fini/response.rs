//! What Fini answers with, apart from events and conversations themselves (see [`crate::domain::vendor`]).

use serde_json::value::RawValue;

use crate::domain::{Timestamp, ids::InteractionId, vendor::FiniConversation};

use super::wire;

/// One page of conversations ("List conversations", Response).
#[derive(Clone, Debug, Default)]
pub struct ConversationPage {
    /// The conversations in Fini's order, newest latest message first.
    pub conversations: Vec<RawConversation>,
    /// How many entries could not be read at all and were left out. More than 0 deserves a warning.
    pub malformed: usize,
    /// Whether there is a further page.
    pub has_more: bool,
    /// The cursor towards older conversations.
    pub next_cursor: Option<String>,
    /// The cursor towards newer conversations.
    pub prev_cursor: Option<String>,
}

/// A listed conversation, not yet parsed: most of a sweep is what it was before, and the digest tells so for the price
/// of reading the bytes once.
#[derive(Clone)]
pub struct RawConversation {
    /// Fini's id.
    pub id: InteractionId,
    /// The first 64 bits of the SHA-256 of the raw JSON: equal on every replica and across restarts. An equal digest
    /// means an unchanged conversation; an unequal one only that it is worth parsing.
    pub digest: u64,
    pub(super) raw: Box<RawValue>,
}

/// A conversation could not be parsed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a conversation: {reason}")]
pub struct Malformed {
    /// Why, without any of its content.
    pub reason: String,
}

impl RawConversation {
    /// Parses the whole conversation.
    pub fn parse(&self) -> Result<FiniConversation, Malformed> {
        wire::parse_conversation(self.raw.get().as_bytes())
    }

    /// When its newest event was created, without building the events; `None` where it has none with a time.
    pub fn latest_at(&self) -> Option<Timestamp> {
        wire::latest_event_at(self.raw.get())
    }

    /// The JSON as Fini sent it.
    pub fn as_json(&self) -> &str {
        self.raw.get()
    }
}

/// Without the content: message texts do not belong into logs.
impl std::fmt::Debug for RawConversation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RawConversation")
            .field("id", &self.id)
            .field("digest", &self.digest)
            .field("bytes", &self.raw.get().len())
            .finish()
    }
}

/// A tag, or a group of them, as a workspace has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// Its id.
    pub id: String,
    /// What it says.
    pub name: String,
    /// The group of a tag, where Fini says so.
    pub group: Option<String>,
}

/// One agent of the workspace ("List agents").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// What other routes call `botId`.
    pub id: String,
    /// Its name in Fini's dashboard; empty where Fini gives none.
    pub name: String,
    /// When it was created.
    pub created_at: Option<Timestamp>,
}
