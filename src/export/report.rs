//! What the caller is told while an export runs, and the counts at its end.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What was done so far, over all runs of the same export.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Requests that were sent.
    pub requests: u64,
    /// Pages that came.
    pub pages: u64,
    /// Rows on them, repeated ones included.
    pub rows: u64,
    /// Answers with 429.
    pub throttled: u64,
    /// Requests that failed in another way and were repeated.
    pub failed: u64,
    /// Cursors that had moved or vanished, for which another one was found.
    pub detours: u64,
    /// Windows that were begun anew in the middle.
    pub restarts: u64,
    /// Entries without an id, which cannot be exported.
    pub malformed: u64,
}

/// Where an export stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// How much of the range is behind, 0 to 1; `None` where nobody can know.
    pub fraction: Option<f64>,
    /// The counts so far.
    pub counts: Counts,
}

/// Is told how it goes. Called on the export's own task; must not block.
pub trait Watcher: Send + Sync {
    /// A page was read and is safe.
    fn page(&self, place: &Place);

    /// Nothing happens for this long, and why.
    fn waiting(&self, why: &str, pause: Duration);

    /// Something worth knowing.
    fn note(&self, text: &str);
}

/// Nobody is told.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quiet;

impl Watcher for Quiet {
    fn page(&self, _: &Place) {}
    fn waiting(&self, _: &str, _: Duration) {}
    fn note(&self, _: &str) {}
}
