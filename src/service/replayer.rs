//! The replayer: does the steps of replays as they fall due. Every process has one; each step is done by one of them.

use std::sync::Arc;

use crate::{
    domain::Clock,
    lifecycle::{Loop, Step},
    store::{Result, Store, StoreError},
};

/// The replayer.
pub struct Replayer {
    /// Holds the replays.
    pub store: Arc<dyn Store>,
    /// Sets their pace.
    pub clock: Arc<dyn Clock>,
}

impl Loop for Arc<Replayer> {
    type Error = StoreError;

    async fn step(&self) -> Result<Step> {
        let until = self.store.step_replays(self.clock.now()).await?;
        Ok(Step::Idle { until })
    }
}
