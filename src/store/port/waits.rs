//! Who waits to be sent, and what the budget's window holds.

use std::time::Duration;

use super::Result;
use crate::domain::{
    Timestamp,
    ids::{ConversationKey, FrontendName},
};

/// The present of a frontend's backlog.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// When the sends of the window left, oldest first.
    pub sends: Vec<Timestamp>,
    /// When its reads left, oldest first.
    pub reads: Vec<Timestamp>,
    /// The frontend's conversations in which messages wait, each with its person and how many wait.
    pub conversations: Vec<(ConversationKey, Option<String>, u64)>,
    /// How many messages wait in each frontend.
    pub frontends: Vec<(FrontendName, u64)>,
}

/// Looking at what waits.
#[async_trait::async_trait]
pub trait WaitStore: Send + Sync {
    /// What waits at present; of the frontend's messages the oldest, so many at most.
    async fn waiting(&self, frontend: &FrontendName, window: Duration, now: Timestamp, most: usize) -> Result<Waiting>;
}
