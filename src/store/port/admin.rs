//! Figures over everything, for metrics and readiness.

use super::Result;
use crate::domain::Timestamp;

/// Figures over everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Turns that are queued.
    pub queued_turns: u64,
    /// Turns that are being sent.
    pub sending_turns: u64,
    /// Turns that await a reply.
    pub awaiting_turns: u64,
    /// Turns whose outcome is unclear.
    pub unclear_turns: u64,
    /// Conversations that want a binding.
    pub unbound: u64,
    /// Conversations in quarantine.
    pub quarantined: u64,
    /// Deliveries that are owed.
    pub pending_deliveries: u64,
    /// Dead letters.
    pub dead_deliveries: u64,
    /// Due time of the longest overdue turn.
    pub oldest_due_turn: Option<Timestamp>,
    /// Due time of the longest overdue delivery of a frontend that is not held.
    pub oldest_due_delivery: Option<Timestamp>,
    /// Bound conversations that are watched.
    pub watched: u64,
}

/// Figures over everything.
#[async_trait::async_trait]
pub trait AdminStore: Send + Sync {
    /// The figures at `now`. Cheap enough to ask every few seconds.
    async fn backlog(&self, now: Timestamp) -> Result<Backlog>;
}
