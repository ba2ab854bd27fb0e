//! Filing what is owed to a frontend, in the transaction that caused it.
//!
//! Only filing stands here; claiming and finishing have their own file. Invariant: an event that is called back and wanted
//! is filed exactly once, in the transaction that appends it to the feed.

use super::{Conn, Cx, db, lanes};
use crate::{
    domain::{
        Timestamp,
        ids::{ConversationKey, EventId, FrontendName},
    },
    store::{Change, Result},
};

/// An event that is owed to its frontend.
pub(in crate::store) struct Owed<'a> {
    /// Whose conversation.
    pub(in crate::store) frontend: &'a FrontendName,
    /// Which conversation.
    pub(in crate::store) conversation: ConversationKey,
    /// Its number in the feed.
    pub(in crate::store) sequence: i64,
    /// The event.
    pub(in crate::store) event: &'a EventId,
    /// Its type.
    pub(in crate::store) kind: &'a str,
}

/// Files a delivery that is due at once, behind whatever its lane still owes.
pub(in crate::store) async fn file(conn: &mut Conn, cx: &mut Cx, owed: Owed<'_>, now: Timestamp) -> Result<()> {
    db::query(
        "INSERT INTO deliveries (id, conversation_key, frontend, sequence, event_id, kind, due_at, recorded_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $7)",
    )
    .bind(cx.id("dlv_", now))
    .bind(owed.conversation.0)
    .bind(owed.frontend.as_str())
    .bind(owed.sequence)
    .bind(owed.event.as_str())
    .bind(owed.kind)
    .bind(now.as_millis())
    .execute(&mut *conn)
    .await?;
    lanes::open(conn, owed.conversation, owed.frontend, now).await?;
    cx.announce(Change::Deliveries);
    Ok(())
}
