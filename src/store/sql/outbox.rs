//! Filing the deliveries owed to a frontend's destinations, in the transaction that caused them.
//!
//! Only filing stands here; claiming and finishing have their own file. Invariant: an event that is called back and wanted
//! is filed exactly once for each destination, in the transaction that appends it to the feed.

use super::{Conn, Cx, db, lanes};
use crate::{
    domain::{
        Timestamp,
        destination::{Destination, Poster},
        event::FeedEvent,
        ids::{ConversationKey, EventId, FrontendName},
    },
    store::{Change, Lane, Result},
};

/// An event that has just entered the feed.
pub(in crate::store) struct Appended<'a> {
    /// The frontend that the conversation belongs to.
    pub(in crate::store) frontend: &'a FrontendName,
    /// The conversation's key.
    pub(in crate::store) conversation: ConversationKey,
    /// Its number in the feed.
    pub(in crate::store) sequence: i64,
    /// Its id.
    pub(in crate::store) id: &'a EventId,
    /// The event to file.
    pub(in crate::store) event: &'a FeedEvent,
    /// The poster, if the frontend posted it.
    pub(in crate::store) poster: Poster,
}

/// Files a delivery that is due at once for each destination that wants the event, behind whatever its lane still owes.
/// `opened` names the conversation's lanes that this piece of work has opened already and thereby holds.
pub(in crate::store) async fn file(
    conn: &mut Conn,
    cx: &mut Cx,
    appended: &Appended<'_>,
    opened: &mut Vec<Destination>,
    now: Timestamp,
) -> Result<()> {
    let owed: Vec<_> = cx.rules().subscriptions.owed(appended.frontend, appended.event, appended.poster).collect();
    for destination in owed {
        let lane = Lane { conversation: appended.conversation, destination };
        db::query(
            "INSERT INTO deliveries (id, conversation_key, frontend, sequence, event_id, kind, due_at, recorded_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $7)",
        )
        .bind(cx.id("dlv_", now))
        .bind(appended.conversation.0)
        .bind(lane.destination.to_string())
        .bind(appended.sequence)
        .bind(appended.id.as_str())
        .bind(appended.event.kind())
        .bind(now.as_millis())
        .execute(&mut *conn)
        .await?;
        if !opened.contains(&lane.destination) {
            lanes::open(conn, &lane, now).await?;
            opened.push(lane.destination);
        }
        cx.announce(Change::Deliveries);
    }
    Ok(())
}
