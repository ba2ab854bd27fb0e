//! The replayer: does the pieces of replays as they fall due. Every process has one; a piece is done by one.

use std::sync::Arc;

use crate::{
    domain::Clock,
    lifecycle::{Loop, Step},
    store::{Result, Store, StoreError},
};

/// The replayer.
pub struct Replayer {
    /// Where the replays are.
    pub store: Arc<dyn Store>,
    /// Their pace goes by it.
    pub clock: Arc<dyn Clock>,
}

impl Loop for Arc<Replayer> {
    type Error = StoreError;

    async fn step(&self) -> Result<Step> {
        let until = self.store.step_replays(self.clock.now()).await?;
        Ok(Step::Idle { until })
    }
}
