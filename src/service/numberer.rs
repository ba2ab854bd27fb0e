//! The numberer: gives committed events their place in the frontends' logs, soon after the commit. Every process has one;
//! the store lets one at a time.

use std::sync::Arc;

use crate::{
    lifecycle::{Loop, Step},
    store::{Result, Store, StoreError},
};

/// Events that are numbered in one transaction.
const BATCH: usize = 500;

/// The numberer.
pub struct Numberer {
    /// Holds the logs.
    pub store: Arc<dyn Store>,
}

impl Loop for Arc<Numberer> {
    type Error = StoreError;

    async fn step(&self) -> Result<Step> {
        self.store.number_log(BATCH).await.map(Step::Did)
    }
}
