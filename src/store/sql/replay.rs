//! Deliveries as operators see them: lists, replay, and destinations whose callbacks are held.
//!
//! Invariant: a replay never changes what is sent. It gives the same event, with its id and its bytes, a fresh schedule at
//! its old place in the lane.

use super::{
    Conn, Cx, Row,
    db::{self, Columns as _, QueryBuilder},
    dialect, lanes, rows,
};
use crate::{
    domain::{
        Timestamp,
        destination::{Destination, MAIN},
        ids::{ConversationId, DeliveryId, EventId},
    },
    store::{Change, Delivery, DeliveryFilter, DeliveryPage, DeliveryState, DestinationHold, Result, StoreError},
};

/// The most deliveries that one transaction of a bulk replay revives: other work gets its turn in between.
pub(super) const BATCH: usize = 500;

macro_rules! select_delivery {
    () => {
        "SELECT d.key, d.id, d.event_id, d.frontend, c.conversation_id, d.sequence, d.kind, d.state, d.attempts, \
             CASE WHEN f.not_before > d.due_at THEN f.not_before ELSE d.due_at END AS due_at, \
             d.last_status, d.last_error, d.last_response, d.dead_end, d.replays, d.recorded_at, d.finished_at \
         FROM deliveries AS d JOIN conversations AS c ON c.key = d.conversation_key \
         LEFT JOIN frontends AS f ON f.frontend = d.frontend WHERE "
    };
}

/// Reads a page of deliveries, newest first. A cursor that is none of ours leads to an empty page.
pub(super) async fn list(
    conn: &mut Conn,
    filter: &DeliveryFilter,
    cursor: Option<&str>,
    limit: usize,
) -> Result<DeliveryPage> {
    let before = match cursor.map(str::parse::<i64>) {
        None => i64::MAX,
        Some(Ok(before)) => before,
        Some(Err(_)) => return Ok(DeliveryPage::default()),
    };
    let limit = limit.max(1);
    let mut query = QueryBuilder::new(select_delivery!());
    query.push("d.key < ").push_bind(before);
    push_filter(&mut query, filter);
    query.push(" ORDER BY d.key DESC LIMIT ").push_bind(i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1));
    let found = query.build().fetch_all(conn).await?;
    let page = &found[..found.len().min(limit)];
    let next_cursor = match page.last() {
        Some(last) if found.len() > limit => Some(rows::int(last, "key")?.to_string()),
        _ => None,
    };
    Ok(DeliveryPage { deliveries: page.iter().map(delivery).collect::<Result<_>>()?, next_cursor })
}

/// Reads one delivery.
pub(super) async fn get(conn: &mut Conn, id: &DeliveryId) -> Result<Option<Delivery>> {
    let row = db::query(concat!(select_delivery!(), "d.id = $1")).bind(id.as_str()).fetch_optional(conn).await?;
    row.as_ref().map(delivery).transpose()
}

/// Makes one delivery due at once with a fresh schedule, whatever its state, as long as its event is there.
pub(super) async fn retry(conn: &mut Conn, cx: &mut Cx, id: &DeliveryId, now: Timestamp) -> Result<Option<Delivery>> {
    let found: Option<(i64, i64)> = db::query_as(
        "SELECT d.key, d.conversation_key FROM deliveries AS d \
         JOIN events AS e ON e.conversation_key = d.conversation_key AND e.sequence = d.sequence \
         JOIN conversations AS c ON c.key = d.conversation_key WHERE d.id = $1 AND c.erased_at IS NULL",
    )
    .bind(id.as_str())
    .fetch_optional(&mut *conn)
    .await?;
    let Some((key, conversation)) = found else { return Ok(None) };
    // The lane before the delivery, in the order in which the end of an attempt takes them.
    dialect::lock_lanes(conn, &rows::array([conversation])?).await?;
    revive(conn, &[key], now).await?;
    lanes::refresh(conn, &[conversation]).await?;
    cx.announce(Change::Deliveries);
    get(conn, id).await
}

/// Revives up to [`BATCH`] of the deliveries that match and died before or at `now`; returns their number.
pub(super) async fn retry_batch(
    conn: &mut Conn,
    cx: &mut Cx,
    filter: &DeliveryFilter,
    now: Timestamp,
) -> Result<usize> {
    if filter.state.is_some_and(|state| state != DeliveryState::Dead) {
        return Ok(0);
    }
    let mut query = QueryBuilder::new(
        "SELECT d.key, d.conversation_key FROM deliveries AS d \
         JOIN conversations AS c ON c.key = d.conversation_key \
         WHERE c.erased_at IS NULL AND d.finished_at <= ",
    );
    query.push_bind(now.as_millis());
    push_filter(&mut query, &DeliveryFilter { state: Some(DeliveryState::Dead), ..filter.clone() });
    query.push(" ORDER BY d.key LIMIT ").push_bind(i64::try_from(BATCH).unwrap_or(i64::MAX));
    let found: Vec<(i64, i64)> = query.build_query_as().fetch_all(&mut *conn).await?;
    if found.is_empty() {
        return Ok(0);
    }
    let keys: Vec<i64> = found.iter().map(|(key, _)| *key).collect();
    let mut conversations: Vec<i64> = found.iter().map(|(_, conversation)| *conversation).collect();
    conversations.sort_unstable();
    conversations.dedup();
    dialect::lock_lanes(conn, &rows::array(&conversations)?).await?;
    revive(conn, &keys, now).await?;
    lanes::refresh(conn, &conversations).await?;
    cx.announce(Change::Deliveries);
    Ok(keys.len())
}

/// Holds a destination's callbacks. An operator's hold keeps the operator's reason, whatever the receiver says.
pub(super) async fn hold(conn: &mut Conn, hold: &DestinationHold) -> Result<()> {
    db::query(
        "INSERT INTO frontends (frontend, hold_reason, held_since) VALUES ($1, $2, $3) \
         ON CONFLICT (frontend) DO UPDATE SET hold_reason = excluded.hold_reason, held_since = excluded.held_since \
         WHERE frontends.hold_reason IS NULL \
            OR (excluded.hold_reason = 'operator' AND frontends.hold_reason <> 'operator')",
    )
    .bind(hold.destination.to_string())
    .bind(hold.reason.as_str())
    .bind(hold.since.as_millis())
    .execute(conn)
    .await?;
    Ok(())
}

/// Defers a destination until then.
pub(super) async fn defer(conn: &mut Conn, destination: &Destination, until: Timestamp) -> Result<()> {
    db::query(
        "INSERT INTO frontends (frontend, not_before) VALUES ($1, $2) \
         ON CONFLICT (frontend) DO UPDATE SET not_before = excluded.not_before \
         WHERE frontends.not_before IS NULL OR frontends.not_before < excluded.not_before",
    )
    .bind(destination.to_string())
    .bind(until.as_millis())
    .execute(conn)
    .await?;
    Ok(())
}

/// Lets a destination's callbacks go; returns false if they were not held.
pub(super) async fn release(conn: &mut Conn, cx: &mut Cx, destination: &Destination) -> Result<bool> {
    let released = db::query(
        "UPDATE frontends SET hold_reason = NULL, held_since = NULL, not_before = NULL \
         WHERE frontend = $1 AND hold_reason IS NOT NULL",
    )
    .bind(destination.to_string())
    .execute(conn)
    .await?
    .rows_affected();
    if released > 0 {
        cx.announce(Change::Deliveries);
    }
    Ok(released > 0)
}

/// Lists the destinations whose callbacks are held.
pub(super) async fn held(conn: &mut Conn) -> Result<Vec<DestinationHold>> {
    let found = db::query(
        "SELECT frontend, hold_reason, held_since FROM frontends WHERE hold_reason IS NOT NULL ORDER BY frontend",
    )
    .fetch_all(conn)
    .await?;
    found
        .iter()
        .map(|row| {
            Ok(DestinationHold {
                destination: Destination::recorded(&rows::text(row, "frontend")?),
                reason: rows::text(row, "hold_reason")?,
                since: rows::time(row, "held_since")?,
            })
        })
        .collect()
}

/// Gives deliveries a fresh schedule that begins now. A pending one is merely hurried; that is no replay.
pub(super) async fn revive(conn: &mut Conn, keys: &[i64], now: Timestamp) -> Result<()> {
    db::query(concat!(
        "UPDATE deliveries SET replays = replays + CASE WHEN state = 'pending' THEN 0 ELSE 1 END, state = 'pending', \
             attempts_before = attempts, due_at = $2, owed_since = $2, dead_end = NULL, finished_at = NULL \
         WHERE key",
        is_key_in!("$1"),
    ))
    .bind(rows::array(keys)?)
    .bind(now.as_millis())
    .execute(conn)
    .await?;
    Ok(())
}

fn push_filter(query: &mut QueryBuilder, filter: &DeliveryFilter) {
    if let Some(state) = filter.state {
        query.push(" AND d.state = ").push_bind(state.as_str());
    }
    match (&filter.frontend, filter.destination.as_deref()) {
        (None, None) => {}
        (Some(frontend), Some(name)) => {
            let destination = Destination::new(frontend.clone(), name).to_string();
            query.push(" AND d.frontend = ").push_bind(destination);
        }
        (Some(frontend), None) => {
            query.push(" AND (d.frontend = ").push_bind(frontend.to_string());
            query.push(" OR d.frontend LIKE ").push_bind(format!("{frontend}/%")).push(")");
        }
        (None, Some(MAIN)) => {
            query.push(" AND d.frontend NOT LIKE ").push_bind("%/%".to_owned());
        }
        (None, Some(name)) => {
            query.push(" AND d.frontend LIKE ").push_bind(format!("%/{name}"));
        }
    }
    if let Some(id) = &filter.conversation {
        // The index of conversations begins with the frontend: without one, the query names every frontend.
        query.push(
            " AND d.conversation_key IN (SELECT named.key FROM conversations AS named \
              WHERE named.erased_at IS NULL AND named.frontend IN (SELECT frontend FROM waiting) \
                AND named.conversation_id = ",
        );
        query.push_bind(id.to_string()).push(")");
    }
    if let Some(event) = &filter.event {
        // Deliveries have no index by event; their conversation's do.
        query.push(" AND d.event_id = ").push_bind(event.as_str().to_owned());
        query.push(" AND d.conversation_key IN (SELECT named.conversation_key FROM events AS named WHERE named.id = ");
        query.push_bind(event.as_str().to_owned()).push(")");
    }
    if let Some(since) = filter.since {
        query.push(" AND d.recorded_at >= ").push_bind(since.as_millis());
    }
    if let Some(until) = filter.until {
        query.push(" AND d.recorded_at < ").push_bind(until.as_millis());
    }
}

fn delivery(row: &Row) -> Result<Delivery> {
    let state = rows::text(row, "state")?;
    let state = DeliveryState::parse(&state)
        .ok_or_else(|| StoreError::Damaged(format!("a delivery has the unknown state {state:?}")))?;
    Ok(Delivery {
        id: DeliveryId::trusted(rows::text(row, "id")?),
        event_id: EventId::trusted(rows::text(row, "event_id")?),
        destination: Destination::recorded(&rows::text(row, "frontend")?),
        conversation_id: ConversationId::trusted(rows::text(row, "conversation_id")?),
        sequence: rows::int(row, "sequence")?,
        kind: rows::text(row, "kind")?,
        state,
        attempts: rows::small(row, "attempts")?,
        next_attempt_at: rows::maybe_time(row, "due_at")?.filter(|_| state == DeliveryState::Pending),
        last_status: row.try_get::<Option<i64>, _>("last_status")?.and_then(|status| u16::try_from(status).ok()),
        last_error: rows::maybe_text(row, "last_error")?,
        last_response: rows::maybe_text(row, "last_response")?,
        dead_end: rows::maybe_text(row, "dead_end")?,
        replays: rows::small(row, "replays")?,
        created_at: rows::time(row, "recorded_at")?,
        delivered_at: rows::maybe_time(row, "finished_at")?.filter(|_| state == DeliveryState::Delivered),
    })
}
