//! The audit: what operators did, and which texts they looked at. Rows are added, and none is ever changed or removed but for an
//! erased conversation's id, of which its hash stays.

use super::Result;
use crate::domain::{
    WallTime,
    ids::{ConversationId, FrontendName},
};

/// One act of an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    /// When, by the wall clock.
    pub at: WallTime,
    /// Who.
    pub operator: String,
    /// What was done.
    pub act: String,
    /// To what: the path below `/admin/v1`, with `{id}` where a conversation's id stands.
    pub object: String,
    /// The conversation that it was about, with its frontend.
    pub conversation: Option<(FrontendName, ConversationId)>,
    /// Why, as the operator said.
    pub reason: Option<String>,
    /// Whether it was refused.
    pub is_refused: bool,
}

/// A page of the audit, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditPage {
    /// The acts.
    pub acts: Vec<Act>,
    /// Where the next page begins, if there is one; opaque.
    pub next_cursor: Option<String>,
}

/// The audit.
#[async_trait::async_trait]
pub trait AuditStore: Send + Sync {
    /// Adds an act.
    async fn add_act(&self, act: &Act) -> Result<()>;

    /// A page of the audit. A cursor that is none of the store's own leads to an empty page.
    async fn audit(&self, cursor: Option<&str>, limit: usize) -> Result<AuditPage>;
}
