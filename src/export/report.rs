//! Reports to the caller while an export runs, and the counts at its end.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Counts over all runs of the same export.
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

/// The progress of an export.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// The part of the range that is read, 0 to 1; `None` if that cannot be known.
    pub fraction: Option<f64>,
    /// The counts so far.
    pub counts: Counts,
}

/// Receives reports of the progress. Called on the export's own task; must not block.
pub trait Watcher: Send + Sync {
    /// Reports that a page was read and is safe.
    fn page(&self, place: &Place);

    /// Reports that nothing happens for this long, and why.
    fn waiting(&self, why: &str, pause: Duration);

    /// Reports something worth knowing.
    fn note(&self, text: &str);
}

/// A watcher that reports to nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quiet;

impl Watcher for Quiet {
    fn page(&self, _: &Place) {}
    fn waiting(&self, _: &str, _: Duration) {}
    fn note(&self, _: &str) {}
}
