//! The requests to Fini.

use std::fmt;

use serde_json::{Map, Value};

use crate::domain::{Timestamp, ids::InteractionId, message::Role};

/// One message for Fini ("Generate Answer", Body parameters). Its `Debug` shows no text, name or attribute, so that none
/// reaches a log by accident.
#[derive(Clone, PartialEq)]
pub struct GenerateAnswer {
    /// The message (`content`).
    pub text: String,
    /// The person for whom it speaks.
    pub role: Role,
    /// The conversation, or the agent for a new one.
    pub target: Target,
    /// Facts about the user, the bridge's own keys included; they travel as `metadata.user_attributes` and come back as
    /// `userAttributes` of the conversation. Win over `user_attributes` inside `metadata`, name by name.
    pub attributes: Map<String, Value>,
    /// Fini's channel (`metadata.channel`); wins over `channel` inside `metadata`.
    pub channel: Option<String>,
    /// Further metadata, passed on as it is.
    pub metadata: Map<String, Value>,
}

impl fmt::Debug for GenerateAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GenerateAnswer")
            .field("target", &self.target)
            .field("role", &self.role)
            .field("text_bytes", &self.text.len())
            .finish_non_exhaustive()
    }
}

/// The destination of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Into a known conversation (`interactionId`).
    Conversation(InteractionId),
    /// To an agent (`botId`): Fini creates *or resolves* a conversation and does not say which.
    Bot(String),
}

/// The direction in which a cursor moves. Lists are sorted newest first, which makes Fini's names read the wrong way round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// `next`: towards older conversations.
    #[default]
    Older,
    /// `previous`: towards newer ones.
    Newer,
}

impl Direction {
    /// Returns Fini's word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Older => "next",
            Self::Newer => "previous",
        }
    }
}

/// The conversations to list ("List conversations", Query parameters). Without a parameter, Fini's default applies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListQuery {
    /// Start of the window; by default 7 days ago. Must be earlier than `until`, by at most 90 days.
    pub since: Option<Timestamp>,
    /// End of the window; by default now.
    pub until: Option<Timestamp>,
    /// 1 to 100; by default 50.
    pub limit: Option<u32>,
    /// A cursor of an earlier page.
    pub cursor: Option<String>,
    /// The direction in which the cursor moves; sent only beside a cursor.
    pub direction: Direction,
    /// Only conversations of this agent.
    pub bot_id: Option<String>,
    /// Only these sources; empty for all.
    pub sources: Vec<String>,
    /// Only these channels; empty for all.
    pub channels: Vec<String>,
}

/// 1 to 50 different conversations to delete in one request ("Delete conversation", bulk).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdBatch(Vec<InteractionId>);

/// The error of a batch that is empty or too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a batch has 1 to {} ids, not {count}", IdBatch::MAX)]
pub struct InvalidBatch {
    /// Number of different ids that were given.
    pub count: usize,
}

impl IdBatch {
    /// The most ids that one request takes.
    pub const MAX: usize = 50;

    /// Drops repeated ids (Fini refuses them) and takes the rest if they fit into one request.
    pub fn new(ids: impl IntoIterator<Item = InteractionId>) -> Result<Self, InvalidBatch> {
        let mut unique: Vec<InteractionId> = Vec::new();
        for id in ids {
            if !unique.contains(&id) {
                unique.push(id);
            }
        }
        if (1..=Self::MAX).contains(&unique.len()) {
            Ok(Self(unique))
        } else {
            Err(InvalidBatch { count: unique.len() })
        }
    }

    /// Returns the ids.
    pub fn ids(&self) -> &[InteractionId] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(range: std::ops::Range<usize>) -> impl Iterator<Item = InteractionId> {
        range.map(|n| InteractionId::trusted(n.to_string()))
    }

    #[test]
    fn a_batch_has_one_to_fifty_different_ids() {
        assert_eq!(IdBatch::new(ids(0..0)), Err(InvalidBatch { count: 0 }));
        assert_eq!(IdBatch::new(ids(0..51)), Err(InvalidBatch { count: 51 }));
        let batch = IdBatch::new(ids(0..50).chain(ids(0..50))).expect("50 different ids");
        assert_eq!(batch.ids().len(), 50);
    }
}
