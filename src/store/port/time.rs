//! The steady time of waits, as far as it is written down; and the repair of times that lie beyond every possible wait.

use std::time::Duration;

use super::Result;
use crate::domain::{Timestamp, steady::Agreed};

/// The longest waits: a due time further away than that was written under a clock that was ahead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LongestWaits {
    /// Wait of a callback, by the number of its attempts; the last one holds for any higher number.
    pub retries: Vec<Duration>,
    /// Wait of a turn that may be sent.
    pub turn: Duration,
    /// Wait between two looks for the result of a turn or a binding, and before a single read.
    pub look: Duration,
    /// Term of any lease.
    pub lease: Duration,
    /// Term of the watch over a conversation.
    pub watch: Duration,
    /// Wait until a handoff is looked at.
    pub handoff: Duration,
}

/// Keeps the steady time that waits are measured by.
#[async_trait::async_trait]
pub trait TimeStore: Send + Sync {
    /// Returns the time on the database server's own clock, if several processes share it; and the note that was written last.
    async fn time(&self) -> Result<(Option<Timestamp>, Option<Agreed>)>;

    /// Writes a new note, unless the stored one is not `before`; returns true if it was written.
    async fn agree(&self, before: Option<&Agreed>, note: &Agreed) -> Result<bool>;

    /// Moves due times that lie further in the future than their own longest wait back to that; returns the number of rows.
    /// Requests to Fini with a future time count from now on.
    async fn bring_back(&self, now: Timestamp, longest: &LongestWaits) -> Result<u64>;
}
