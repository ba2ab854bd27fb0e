//! Figures over everything, for metrics and readiness.

use super::{LeftAlone, Result};
use crate::domain::Timestamp;

/// Figures over everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Number of turns that are queued.
    pub queued_turns: u64,
    /// Number of turns that are being sent.
    pub sending_turns: u64,
    /// Number of turns that await a reply, late ones included.
    pub awaiting_turns: u64,
    /// Number of turns whose outcome is unclear.
    pub unclear_turns: u64,
    /// Number of conversations that want a binding.
    pub unbound: u64,
    /// Number of conversations in quarantine.
    pub quarantined: u64,
    /// Number of deliveries that are owed.
    pub pending_deliveries: u64,
    /// Number of dead letters.
    pub dead_deliveries: u64,
    /// Due time of the longest overdue turn.
    pub oldest_due_turn: Option<Timestamp>,
    /// Due time of the longest overdue delivery to a destination that is neither paused nor left alone.
    pub oldest_due_delivery: Option<Timestamp>,
    /// Number of bound conversations that are watched.
    pub watched: u64,
    /// Messages behind one in flight, or behind a Fini conversation that is looked for.
    pub behind_turns: Held,
    /// Conversations in quarantine.
    pub in_quarantine: Held,
    /// Conversations whose callbacks to a paused destination wait, each destination counted.
    pub paused: Held,
    /// Conversations whose callbacks wait for a receiver that is left alone, or whose messages wait for Fini likewise.
    pub left_alone: Held,
}

/// Work held up by something that is not the bridge itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Their number.
    pub count: u64,
    /// Time since which the first of them waits.
    pub since: Option<Timestamp>,
}

/// Figures over everything.
#[async_trait::async_trait]
pub trait AdminStore: Send + Sync {
    /// Reads the figures at `now`. Cheap enough to call every few seconds.
    async fn backlog(&self, left_alone: &LeftAlone, now: Timestamp) -> Result<Backlog>;
}
