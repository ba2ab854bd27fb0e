//! The audit: acts of operators, and the texts that they looked at. Rows are added, and none is ever changed or removed but for
//! an erased conversation's id, of which its hash stays.

use super::Result;
use crate::domain::{
    WallTime,
    ids::{ConversationId, FrontendName},
};

/// One act of an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    /// Time of the act, by the wall clock.
    pub at: WallTime,
    /// The operator's name.
    pub operator: String,
    /// The name of the act.
    pub act: String,
    /// Its object: the path below `/admin/v1`, with `{id}` in place of a conversation's id.
    pub object: String,
    /// The conversation that it was about, with its frontend.
    pub conversation: Option<(FrontendName, ConversationId)>,
    /// The operator's reason.
    pub reason: Option<String>,
    /// True if it was refused.
    pub is_refused: bool,
}

/// A page of the audit, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditPage {
    /// The acts.
    pub acts: Vec<Act>,
    /// Cursor of the next page, if there is one; opaque.
    pub next_cursor: Option<String>,
}

/// Adds and reads acts of the audit.
#[async_trait::async_trait]
pub trait AuditStore: Send + Sync {
    /// Adds an act.
    async fn add_act(&self, act: &Act) -> Result<()>;

    /// Reads a page of the audit. A cursor that the store never gave out leads to an empty page.
    async fn audit(&self, cursor: Option<&str>, limit: usize) -> Result<AuditPage>;
}
