//! The watched conversations, and their next reads.

use std::time::Duration;

use super::{ConversationRef, Lease, Result};
use crate::domain::{
    Timestamp,
    conversation::State,
    evidence::gone::Misses,
    ids::{ConversationKey, InteractionId},
};

/// Totals over the watch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchSummary {
    /// Number of bound conversations that are watched.
    pub watched: u64,
    /// Number of them that are escalated.
    pub escalated: u64,
    /// The earliest creation time among the watched (a List window has to begin there if `since` means creation).
    pub oldest_created_at: Option<Timestamp>,
}

/// A conversation whose own read (Get) is due.
#[derive(Clone, Debug)]
pub struct DueRead {
    /// The store's key and the frontend's id.
    pub conversation: ConversationRef,
    /// Its Fini conversation.
    pub interaction: InteractionId,
    /// Its state.
    pub state: State,
    /// Due time of the read.
    pub due_at: Timestamp,
    /// Consecutive reads that failed in a way that may mean that it is gone.
    pub misses: u32,
    /// Time at which the customer, an agent or the bot last wrote.
    pub last_activity_at: Timestamp,
}

/// The reads of a conversation that did not find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missed {
    /// Number of such reads in a row.
    pub count: u32,
    /// Times of the first and the last of them.
    pub misses: Misses,
    /// The time of its latest message, by which List sorts, or an earlier one.
    pub latest_at: Timestamp,
}

/// A watched conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchedConversation {
    /// The store's key and the frontend's id.
    pub conversation: ConversationRef,
    /// Its Fini conversation.
    pub interaction: InteractionId,
    /// Its state.
    pub state: State,
    /// Time at which the customer, an agent or the bot last wrote.
    pub last_activity_at: Timestamp,
    /// End of its watch.
    pub watch_until: Timestamp,
}

/// The watched conversations, and their next reads.
#[async_trait::async_trait]
pub trait ReadingStore: Send + Sync {
    /// Returns the totals over the watch.
    async fn watch_summary(&self, now: Timestamp) -> Result<WatchSummary>;

    /// Lists the watched conversations whose watch lasts longest from now on, longest first: those with a human (they are
    /// watched longer), and of these and the rest the most recently active.
    async fn longest_watched(&self, now: Timestamp, limit: usize) -> Result<Vec<WatchedConversation>>;

    /// Lists further watched conversations in that order: those whose watch ends at `until` or earlier.
    async fn watched_until(&self, now: Timestamp, until: Timestamp, limit: usize) -> Result<Vec<WatchedConversation>>;

    /// Lists the watched conversations in which somebody last wrote at `latest` or earlier, the most recent first. Reads the
    /// whole watch: for emergencies.
    async fn watched_below(&self, now: Timestamp, latest: Timestamp, limit: usize) -> Result<Vec<WatchedConversation>>;

    /// Lists single reads that are due, most urgent first: just-finished turns, then escalated, then the rest; inside each by
    /// due time.
    async fn due_reads(&self, now: Timestamp, limit: usize) -> Result<Vec<DueRead>>;

    /// Returns the time of the next single read, if any.
    async fn next_read_at(&self) -> Result<Option<Timestamp>>;

    /// Sets the time of the conversation's next single read (`None`: not before something asks for it) and the number of misses
    /// in a row.
    async fn schedule_read(&self, conversation: ConversationKey, due_at: Option<Timestamp>, misses: u32) -> Result<()>;

    /// Counts a read that began at `asked_at` and to which Fini answered that it does not know the conversation; `None` if that
    /// is no longer its binding. Any look that shows the conversation ends the row of misses.
    async fn count_miss(
        &self,
        conversation: ConversationKey,
        interaction: &InteractionId,
        asked_at: Timestamp,
    ) -> Result<Option<Missed>>;

    /// Takes or renews the lease `name` (such as the sweeper's) if it is free, expired or held by the same owner.
    async fn take_lease(&self, name: &str, lease: &Lease) -> Result<bool>;

    /// Ends the lease early.
    async fn give_lease(&self, name: &str, lease: &Lease) -> Result<()>;

    /// Stores a small text under a name (the sweep's watermark).
    async fn remember(&self, name: &str, value: &str) -> Result<()>;

    /// Reads the text stored under that name.
    async fn recall(&self, name: &str) -> Result<Option<String>>;

    /// Removes data older than `retention`, in one small batch: settled conversations without activity (with their
    /// events, marks and turns), delivered callbacks, budget entries. Dead letters stay until `retention` too. Returns
    /// the number of rows removed; zero means that nothing is left to prune.
    async fn prune(&self, now: Timestamp, retention: Duration, batch: usize) -> Result<usize>;
}
