//! Giving up callbacks that could not be attempted for too long.
//!
//! An attempt checks the age of its callback itself; this is the net for callbacks that nobody attempts: of a frontend that is
//! paused or no longer configured, or in a lane that a dead letter blocks. Invariant: a leased lane is left alone, and a
//! callback given up is a dead letter like any other, so that it is shown, replayed and in the end pruned.

use std::{collections::BTreeMap, time::Duration};

use super::{Conn, Cx, db, dialect, lanes, rows};
use crate::{
    domain::{Timestamp, destination::Destination},
    store::{DeadEnd, Result},
};

/// Lanes of one batch.
const BATCH: i64 = 100;

/// Lanes whose head has been due for too long, and blocked ones with something behind the dead letter that is too old.
/// `CROSS JOIN` because SQLite then keeps the order: for each frontend, by the index.
pub(super) const OVERDUE: &str = "WITH called AS (SELECT DISTINCT frontend FROM waiting) \
     SELECT due.conversation_key FROM ( \
         SELECT l.conversation_key, l.lease_until FROM called CROSS JOIN lanes AS l \
             WHERE l.frontend = called.frontend AND l.is_retry = FALSE AND l.due_at <= $1 \
         UNION ALL \
         SELECT l.conversation_key, l.lease_until FROM called CROSS JOIN lanes AS l \
             WHERE l.frontend = called.frontend AND l.is_retry = TRUE AND l.due_at <= $1 \
         UNION ALL \
         SELECT l.conversation_key, l.lease_until FROM lanes AS l WHERE l.blocked_by IS NOT NULL \
             AND l.blocked_by > 0 \
             AND (SELECT COALESCE(d.owed_since, d.recorded_at) FROM deliveries AS d \
                  WHERE d.conversation_key = l.conversation_key AND d.frontend = l.frontend AND d.state = 'pending' \
                  ORDER BY d.sequence LIMIT 1) <= $1 \
     ) AS due WHERE due.lease_until IS NULL OR due.lease_until <= $2 LIMIT $3";

/// The same for further destinations, whose names no table lists.
pub(super) const OVERDUE_FURTHER: &str = "SELECT due.conversation_key FROM ( \
         SELECT l.conversation_key, l.lease_until FROM destination_lanes AS l WHERE l.due_at IS NOT NULL AND l.due_at <= $1 \
         UNION ALL \
         SELECT l.conversation_key, l.lease_until FROM destination_lanes AS l WHERE l.blocked_by IS NOT NULL \
             AND l.blocked_by > 0 \
             AND (SELECT COALESCE(d.owed_since, d.recorded_at) FROM deliveries AS d \
                  WHERE d.conversation_key = l.conversation_key AND d.frontend = l.frontend AND d.state = 'pending' \
                  ORDER BY d.sequence LIMIT 1) <= $1 \
     ) AS due WHERE due.lease_until IS NULL OR due.lease_until <= $2 LIMIT $3";

macro_rules! give_up {
    ($lanes:literal) => {
        concat!(
            "UPDATE deliveries SET state = 'dead', dead_end = $4, finished_at = $2, due_at = NULL, \
                 last_error = COALESCE(last_error, 'older than delivery.max_age') \
             WHERE state = 'pending' AND COALESCE(owed_since, recorded_at) <= $1 AND conversation_key",
            is_key_in!("$3"),
            " AND EXISTS (SELECT 1 FROM ",
            $lanes,
            " AS l WHERE l.conversation_key = deliveries.conversation_key AND l.frontend = deliveries.frontend \
                 AND (l.lease_until IS NULL OR l.lease_until <= $2)) \
             RETURNING key, conversation_key, sequence, frontend"
        )
    };
}
const GIVE_UP: [&str; 2] = [give_up!("lanes"), give_up!("destination_lanes")];

/// Gives up a batch; returns the number per destination.
pub(super) async fn expire(
    conn: &mut Conn,
    cx: &mut Cx,
    now: Timestamp,
    max_age: Duration,
    hold_lane: bool,
) -> Result<Vec<(Destination, u64)>> {
    let mut counts = BTreeMap::<String, u64>::new();
    for (overdue, give_up) in [OVERDUE, OVERDUE_FURTHER].into_iter().zip(GIVE_UP) {
        expire_of(conn, (overdue, give_up), now.minus(max_age), (now, hold_lane), &mut counts).await?;
    }
    let counts: Vec<_> =
        counts.into_iter().map(|(destination, count)| (Destination::recorded(&destination), count)).collect();
    for (destination, dead) in &counts {
        cx.add_dead_letters(&destination.frontend, *dead);
    }
    Ok(counts)
}

async fn expire_of(
    conn: &mut Conn,
    (overdue, give_up): (&'static str, &'static str),
    before: Timestamp,
    (now, hold_lane): (Timestamp, bool),
    counts: &mut BTreeMap<String, u64>,
) -> Result<()> {
    let keys: Vec<i64> = db::query_scalar(overdue)
        .bind(before.as_millis())
        .bind(now.as_millis())
        .bind(BATCH)
        .fetch_all(&mut *conn)
        .await?;
    if keys.is_empty() {
        return Ok(());
    }
    let lanes = rows::array(&keys)?;
    dialect::lock_lanes(conn, &lanes).await?;
    // A process that took a lane meanwhile checks the age of its head by itself.
    let found = db::query(give_up)
        .bind(before.as_millis())
        .bind(now.as_millis())
        .bind(&lanes)
        .bind(DeadEnd::Expired.as_str())
        .fetch_all(&mut *conn)
        .await?;
    // The first of each lane: it blocks the lane, if dead letters do.
    let mut firsts = BTreeMap::<(i64, String), (i64, i64)>::new();
    for row in &found {
        let destination = rows::text(row, "frontend")?;
        *counts.entry(destination.clone()).or_default() += 1;
        let one = (rows::int(row, "sequence")?, rows::int(row, "key")?);
        let lane = (rows::int(row, "conversation_key")?, destination);
        firsts.entry(lane).and_modify(|first| *first = one.min(*first)).or_insert(one);
    }
    if hold_lane {
        for ((conversation, destination), (_, key)) in &firsts {
            lanes::block_if_free(conn, &lanes::of(*conversation, destination), *key).await?;
        }
    }
    lanes::refresh(conn, &keys).await
}
