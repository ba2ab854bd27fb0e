//! The messages that wait to be sent, and the requests in the budget's window.

use std::time::Duration;

use super::Result;
use crate::domain::{
    Timestamp,
    ids::{ConversationKey, FrontendName},
};

/// A frontend's backlog at present.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// The times at which the sends of the window left, oldest first.
    pub sends: Vec<Timestamp>,
    /// The times at which its reads left, oldest first.
    pub reads: Vec<Timestamp>,
    /// The frontend's conversations in which messages wait, each with its person and the number that wait.
    pub conversations: Vec<(ConversationKey, Option<String>, u64)>,
    /// The number of messages that wait in each frontend.
    pub frontends: Vec<(FrontendName, u64)>,
}

/// Reads the backlog.
#[async_trait::async_trait]
pub trait WaitStore: Send + Sync {
    /// Reads the backlog at present; of the frontend's messages at most the oldest `most`.
    async fn waiting(&self, frontend: &FrontendName, window: Duration, now: Timestamp, most: usize) -> Result<Waiting>;
}
