//! The bindings of conversations to Fini conversations, kept in memory (moka) over the store.
//!
//! The store is always right; the cache only saves asking it. It is filled after a commit and forgets a conversation when
//! the change feed says that its binding changed. Should a change be missed all the same, nothing goes wrong: a binding is
//! cached with its version, and a claim carries the version that counts.

use std::{sync::Arc, time::Duration};

use moka::future::Cache;

use super::{Change, Result, Store};
use crate::{
    domain::ids::{ConversationKey, InteractionId},
    metrics::Metrics,
};

/// The cache of bindings.
#[derive(Clone)]
pub struct Bindings {
    store: Arc<dyn Store>,
    interactions: Cache<ConversationKey, (InteractionId, i64)>,
    metrics: Metrics,
}

impl Bindings {
    /// Returns an empty cache of at most `capacity` bindings over `store`; those unused for `time_to_idle` are dropped.
    pub fn new(store: Arc<dyn Store>, capacity: u64, time_to_idle: Duration, metrics: Metrics) -> Self {
        Self {
            store,
            interactions: Cache::builder().max_capacity(capacity).time_to_idle(time_to_idle).build(),
            metrics,
        }
    }

    /// Returns the Fini conversation of a conversation whose binding has this version; `None` if the store has no such binding
    /// (any more).
    pub async fn interaction(&self, conversation: ConversationKey, version: i64) -> Result<Option<InteractionId>> {
        if let Some((interaction, cached)) = self.interactions.get(&conversation).await
            && cached == version
        {
            self.metrics.cache_hit();
            return Ok(Some(interaction));
        }
        self.metrics.cache_miss();
        let Some((Some(interaction), found)) = self.store.binding(conversation).await? else {
            self.interactions.invalidate(&conversation).await;
            return Ok(None);
        };
        self.interactions.insert(conversation, (interaction.clone(), found)).await;
        Ok((found == version).then_some(interaction))
    }

    /// Forgets a conversation's binding.
    pub async fn forget(&self, conversation: ConversationKey) {
        self.interactions.invalidate(&conversation).await;
    }

    /// Follows the change feed until the store is gone. After a lapse it forgets everything.
    pub async fn follow(&self, mut changes: super::Listener) {
        loop {
            match changes.next().await {
                super::Heard::Change(Change::Binding(conversation)) => self.forget(conversation).await,
                super::Heard::Change(_) => {}
                super::Heard::Missed => self.interactions.invalidate_all(),
                super::Heard::Closed => return,
            }
        }
    }
}
