//! What is watched, and what is to be read next.

use std::time::Duration;

use super::{ConversationRef, Lease, Result};
use crate::domain::{
    Timestamp,
    conversation::State,
    evidence::gone::Misses,
    ids::{ConversationKey, InteractionId},
};

/// The watch as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchSummary {
    /// Bound conversations that are watched.
    pub watched: u64,
    /// How many of them are escalated.
    pub escalated: u64,
    /// The earliest creation time among the watched (where a List window has to begin if `since` means creation).
    pub oldest_created_at: Option<Timestamp>,
}

/// A conversation whose own read (Get) is due.
#[derive(Clone, Debug)]
pub struct DueRead {
    /// The conversation.
    pub conversation: ConversationRef,
    /// Its Fini conversation.
    pub interaction: InteractionId,
    /// Its state.
    pub state: State,
    /// When the read fell due.
    pub due_at: Timestamp,
    /// Reads in a row that failed in a way that may mean that it is gone.
    pub misses: u32,
    /// When the customer, an agent or the bot last wrote.
    pub last_activity_at: Timestamp,
}

/// A conversation that reads do not find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missed {
    /// How many reads in a row.
    pub count: u32,
    /// When they were made.
    pub misses: Misses,
    /// The time of its latest message, by which List sorts, or an earlier one.
    pub latest_at: Timestamp,
}

/// A watched conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchedConversation {
    /// The conversation.
    pub conversation: ConversationRef,
    /// Its Fini conversation.
    pub interaction: InteractionId,
    /// Its state.
    pub state: State,
    /// When the customer, an agent or the bot last wrote.
    pub last_activity_at: Timestamp,
    /// When its watch ends.
    pub watch_until: Timestamp,
}

/// What is watched, and what is to be read next.
#[async_trait::async_trait]
pub trait ReadingStore: Send + Sync {
    /// The watch as a whole.
    async fn watch_summary(&self, now: Timestamp) -> Result<WatchSummary>;

    /// The watched conversations whose watch lasts longest from now on, that one first: those with a human (they are
    /// watched longer), and of these and the rest the most recently active.
    async fn longest_watched(&self, now: Timestamp, limit: usize) -> Result<Vec<WatchedConversation>>;

    /// Further watched conversations in that order: those whose watch ends at `until` or earlier.
    async fn watched_until(&self, now: Timestamp, until: Timestamp, limit: usize) -> Result<Vec<WatchedConversation>>;

    /// The watched conversations in which somebody last wrote at `latest` or earlier, the most recent first. Reads the whole
    /// watch: for emergencies.
    async fn watched_below(&self, now: Timestamp, latest: Timestamp, limit: usize) -> Result<Vec<WatchedConversation>>;

    /// Single reads that are due, most urgent first: just-finished turns, then escalated, then the rest; inside each by
    /// due time.
    async fn due_reads(&self, now: Timestamp, limit: usize) -> Result<Vec<DueRead>>;

    /// When the next single read falls due, if any.
    async fn next_read_at(&self) -> Result<Option<Timestamp>>;

    /// Sets when the conversation is read singly next (`None`: not before something asks for it) and how many misses in a
    /// row there were.
    async fn schedule_read(&self, conversation: ConversationKey, due_at: Option<Timestamp>, misses: u32) -> Result<()>;

    /// Counts a read that began at `asked_at` and that Fini answered by not knowing the conversation; `None` where that is not
    /// its binding any more. Whatever shows the conversation ends the row of misses.
    async fn count_miss(
        &self,
        conversation: ConversationKey,
        interaction: &InteractionId,
        asked_at: Timestamp,
    ) -> Result<Option<Missed>>;

    /// Takes or renews the lease `name` (such as the sweeper's) if it is free, expired or held by the same owner.
    async fn take_lease(&self, name: &str, lease: &Lease) -> Result<bool>;

    /// Gives the lease back.
    async fn give_lease(&self, name: &str, lease: &Lease) -> Result<()>;

    /// Remembers a small text under a name (the sweep's watermark).
    async fn remember(&self, name: &str, value: &str) -> Result<()>;

    /// What was remembered.
    async fn recall(&self, name: &str) -> Result<Option<String>>;

    /// Removes what is older than `retention`, in one small batch: settled conversations without activity (with their
    /// events, marks and turns), delivered callbacks, budget entries. Dead letters stay until `retention` too. Returns
    /// how many rows went; zero means that nothing is left to prune.
    async fn prune(&self, now: Timestamp, retention: Duration, batch: usize) -> Result<usize>;
}
