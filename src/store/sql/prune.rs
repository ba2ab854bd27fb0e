//! Deleting data older than the retention, a small batch at a time, so that pruning never keeps a customer waiting.
//!
//! Never removes owed or open work: a conversation goes as a whole, and only when none of its turns is open, no
//! delivery of it is left, nobody watches it any more, and it shares its Fini conversation with nobody who is kept: without
//! it, its events there would have no owner. Its events, marks and turns go with it (`ON DELETE CASCADE`).

use std::time::Duration;

use super::{Conn, db, erased, handoff, lanes, log, person_erasures, replays, report, rows};
use crate::{domain::Timestamp, store::Result};

/// Callbacks that ended before the retention. The time is checked twice: one that is replayed meanwhile is kept.
pub(super) const FINISHED: &str = "DELETE FROM deliveries WHERE finished_at <= $1 AND key IN ( \
         SELECT key FROM deliveries WHERE finished_at IS NOT NULL AND finished_at <= $1 ORDER BY finished_at LIMIT $2)";

/// Conversations that ended before the retention, with the number of events that go with each. A subquery per conversation
/// checks that it is not open: joined, the planner may go through all open turns for each.
pub(super) const ENDED: &str = concat!(
    "SELECT key, last_sequence FROM conversations \
     WHERE updated_at <= $1 AND last_activity_at <= $1 AND turn_due_at IS NULL AND binding_wanted_since IS NULL \
       AND (watch_until IS NULL OR watch_until <= $2) \
       AND (state = 'continued' OR NOT EXISTS (SELECT 1 FROM conversations owner \
            WHERE owner.interaction_id = conversations.shared_interaction_id)) \
       AND (SELECT COUNT(*) FROM conversations other \
            WHERE other.shared_interaction_id = conversations.interaction_id AND other.state <> 'continued' \
              AND other.erased_at IS NULL) = 0 \
       AND (SELECT MIN(turns.key) FROM turns WHERE turns.conversation_key = conversations.key \
            AND turns.state IN ('queued', 'sending', 'awaiting', 'unclear')) IS NULL \
       AND (SELECT MIN(turns.key) FROM turns WHERE turns.conversation_key = conversations.key \
            AND turns.state = 'late') IS NULL \
       AND (SELECT MIN(deliveries.sequence) FROM deliveries \
            WHERE deliveries.conversation_key = conversations.key) IS NULL \
     ORDER BY updated_at LIMIT $3",
    skip_locked!("conversations"),
);

/// Budget entries before the retention; most were dropped long before, when others were taken.
pub(super) const SPENT: &str =
    "DELETE FROM budget WHERE key IN (SELECT key FROM budget WHERE at <= $1 ORDER BY at LIMIT $2)";

/// Leases of processes that died so long ago that nothing of theirs is open any more.
pub(super) const DEAD: &str = "DELETE FROM leases WHERE name LIKE 'process.%' AND until <= $1";
const DEAD_FOR: Duration = Duration::from_hours(24);
/// Deletions at Fini that ended before the retention.
pub(super) const ERASED: &str = "DELETE FROM erasures WHERE interaction_id IN ( \
         SELECT interaction_id FROM erasures WHERE settled_at IS NOT NULL AND settled_at <= $1 ORDER BY settled_at LIMIT $2)";

/// Searches for those that ended before the retention.
pub(super) const SEARCHED: &str = "DELETE FROM erasure_searches WHERE conversation_key IN ( \
         SELECT conversation_key FROM erasure_searches WHERE settled_at IS NOT NULL AND settled_at <= $1 \
         ORDER BY settled_at LIMIT $2)";

/// Removes one batch; returns the number of rows, zero when nothing is left.
pub(super) async fn prune(conn: &mut Conn, now: Timestamp, retention: Duration, batch: usize) -> Result<usize> {
    let before = now.minus(retention).as_millis();
    let limit = i64::try_from(batch).unwrap_or(i64::MAX);
    let finished = db::query(FINISHED).bind(before).bind(limit).execute(&mut *conn).await?.rows_affected();
    if finished > 0 {
        unblock(conn).await?;
    }
    // Before the events themselves: a reader of the log learns that they are gone, and never finds them missing.
    let logged = log::prune(conn, before, limit).await?;
    let ended = delete_ended(conn, before, now, limit).await?;
    erased::forget(conn, now).await?;
    person_erasures::forget(conn, before).await?;
    db::query(handoff::FORGOTTEN).bind(before).execute(&mut *conn).await?;
    replays::forget(conn, before).await?;
    db::query(DEAD).bind(now.minus(DEAD_FOR).as_millis()).execute(&mut *conn).await?;
    let spent = db::query(SPENT).bind(before).bind(limit).execute(&mut *conn).await?.rows_affected();
    let erased = db::query(ERASED).bind(before).bind(limit).execute(&mut *conn).await?.rows_affected();
    let searched = db::query(SEARCHED).bind(before).bind(limit).execute(conn).await?.rows_affected();
    let pruned = [finished, logged, ended, spent, erased, searched].into_iter().fold(0_u64, u64::saturating_add);
    Ok(usize::try_from(pruned).unwrap_or(usize::MAX))
}

/// Lets lanes go on that waited for a dead letter that no longer exists.
async fn unblock(conn: &mut Conn) -> Result<()> {
    let keys: Vec<i64> = db::query_scalar(
        "SELECT conversation_key FROM lanes WHERE blocked_by IS NOT NULL \
         AND NOT EXISTS (SELECT 1 FROM deliveries WHERE deliveries.key = lanes.blocked_by) \
         UNION SELECT conversation_key FROM destination_lanes AS further WHERE blocked_by IS NOT NULL \
         AND NOT EXISTS (SELECT 1 FROM deliveries WHERE deliveries.key = further.blocked_by)",
    )
    .fetch_all(&mut *conn)
    .await?;
    lanes::refresh(conn, &keys).await
}

/// Deletes as many ended conversations as fit the batch with their events; one always fits.
async fn delete_ended(conn: &mut Conn, before: i64, now: Timestamp, batch: i64) -> Result<u64> {
    let ended: Vec<(i64, i64)> =
        db::query_as(ENDED).bind(before).bind(now.as_millis()).bind(batch).fetch_all(&mut *conn).await?;
    let mut rows = 0_i64;
    let keys: Vec<i64> = ended
        .into_iter()
        .take_while(|(_, events)| {
            let fits = rows == 0 || rows.saturating_add(*events) < batch;
            rows = rows.saturating_add(*events).saturating_add(1);
            fits
        })
        .map(|(key, _)| key)
        .collect();
    if keys.is_empty() {
        return Ok(0);
    }
    report::forget(conn, &keys).await?;
    let deleted = db::query(concat!("DELETE FROM conversations WHERE key", is_key_in!("$1"),))
        .bind(rows::array(&keys)?)
        .execute(conn)
        .await?
        .rows_affected();
    Ok(deleted)
}
