//! The numberer: gives committed events their place in the frontends' logs, soon after the commit. Every process has one;
//! the store lets one at a time.

use std::sync::Arc;

use crate::{
    lifecycle::{Loop, Step},
    store::{Result, Store, StoreError},
};

/// Events that are numbered in one transaction.
const BATCH: usize = 500;
/// From this number on there may be more: of notices fewer are entered at once than of events.
const FULL: usize = 100;

/// The numberer.
pub struct Numberer {
    /// Holds the logs.
    pub store: Arc<dyn Store>,
}

impl Loop for Arc<Numberer> {
    type Error = StoreError;

    async fn step(&self) -> Result<Step> {
        let numbered = self.store.number_log(BATCH).await?;
        // Fewer were all that there were: whatever is committed later wakes this loop.
        Ok(if numbered < FULL { Step::Idle { until: None } } else { Step::Did(numbered) })
    }
}
