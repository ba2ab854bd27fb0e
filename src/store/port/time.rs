//! The time that waiting goes by, as far as it is written down; and what is brought back that lies beyond every wait there is.

use std::time::Duration;

use super::Result;
use crate::domain::{Timestamp, steady::Agreed};

/// The longest waits there are: what is due further away than that was written under a clock that was ahead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LongestWaits {
    /// Of a callback, by the attempts that it has had; the last one holds for whatever had more.
    pub retries: Vec<Duration>,
    /// Of a turn that may be sent.
    pub turn: Duration,
    /// Between two looks at what a turn or a binding has come to, and before a single read.
    pub look: Duration,
    /// Of any lease.
    pub lease: Duration,
    /// Of the watch over a conversation.
    pub watch: Duration,
    /// Before somebody looks at a handoff.
    pub handoff: Duration,
}

/// The time that waiting goes by.
#[async_trait::async_trait]
pub trait TimeStore: Send + Sync {
    /// What the database server's own clock shows, where several processes share it; and the note that was written last.
    async fn time(&self) -> Result<(Option<Timestamp>, Option<Agreed>)>;

    /// Writes a new note, unless the one that stands there is not `before`; whether it was written.
    async fn agree(&self, before: Option<&Agreed>, note: &Agreed) -> Result<bool>;

    /// Brings back what lies further in the future than its own longest wait; how many rows that were. Requests to Fini of the
    /// future count from now on.
    async fn bring_back(&self, now: Timestamp, longest: &LongestWaits) -> Result<u64>;
}
