//! The sums behind the report. They are kept for good: nothing prunes them, and erasing a conversation changes none.

use super::Result;
use crate::domain::{
    ids::FrontendName,
    report::{Slot, Sums},
};

/// Reads the sums behind the report.
#[async_trait::async_trait]
pub trait ReportStore: Send + Sync {
    /// Reads the sums from one slot on, up to another one that is left out, oldest first; empty slots are left out, and a
    /// slot may come several times, to be added up. Of one frontend, or of all of them together with the slots that belong
    /// to none (`Sums::requests`). They agree with the log: an event counts once it stands there.
    async fn sums(&self, frontend: Option<&FrontendName>, from: Slot, to: Slot) -> Result<Vec<(Slot, Sums)>>;
}
