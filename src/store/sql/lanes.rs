//! Lanes: one per conversation that owes callbacks. The only code that writes the table `lanes`.
//!
//! Invariants: a conversation that owes a callback has a lane; the lane shows when its head (the owed delivery with the
//! lowest sequence) is due; a lane that is blocked by a dead letter is never due. Whoever changes a lane's deliveries
//! holds the lane's row, so that nobody closes a lane into which somebody else is just filing.

use super::{Conn, Cx, db, dialect, rows};
use crate::{
    domain::{
        Timestamp,
        ids::{ConversationKey, FrontendName},
    },
    store::{Change, DeliveryPermits, Lease, Result, Token},
};

/// Makes sure that a conversation has a lane, because a delivery that is due now is being filed for it. What the
/// conversation owes already keeps its place: the head of an existing lane does not change.
pub(super) async fn open(
    conn: &mut Conn,
    conversation: ConversationKey,
    frontend: &FrontendName,
    now: Timestamp,
) -> Result<()> {
    // The update changes nothing but takes the row, where `DO NOTHING` would leave it to somebody who is closing it.
    db::query(
        "INSERT INTO lanes (conversation_key, frontend, due_at) VALUES ($1, $2, $3) \
         ON CONFLICT (conversation_key) DO UPDATE SET frontend = excluded.frontend",
    )
    .bind(conversation.0)
    .bind(frontend.as_str())
    .bind(now.as_millis())
    .execute(conn)
    .await?;
    Ok(())
}

/// Brings lanes in line with their conversations' deliveries, after deliveries were revived, withdrawn or removed: closes
/// the empty ones, unblocks those whose dead letter is dead no more, and lets the others show when their head is due.
/// Leases stay as they are.
pub(super) async fn refresh(conn: &mut Conn, conversations: &[i64]) -> Result<()> {
    if conversations.is_empty() {
        return Ok(());
    }
    let keys = rows::array(conversations)?;
    dialect::lock_lanes(conn, &keys).await?;
    db::query(concat!(
        "DELETE FROM lanes WHERE conversation_key",
        is_key_in!("$1"),
        " AND NOT EXISTS (SELECT 1 FROM deliveries AS d \
             WHERE d.conversation_key = lanes.conversation_key AND d.state = 'pending') \
         AND NOT EXISTS (SELECT 1 FROM deliveries AS d WHERE d.key = lanes.blocked_by AND d.state = 'dead')",
    ))
    .bind(&keys)
    .execute(&mut *conn)
    .await?;
    db::query(concat!(
        "INSERT INTO lanes (conversation_key, frontend, due_at, is_retry) \
         SELECT head.conversation_key, head.frontend, head.due_at, head.attempts > head.attempts_before \
         FROM conversations AS c JOIN deliveries AS head ON head.key = (SELECT d.key FROM deliveries AS d \
             WHERE d.conversation_key = c.key AND d.state = 'pending' ORDER BY d.sequence LIMIT 1) \
         WHERE c.key",
        is_key_in!("$1"),
        " ON CONFLICT (conversation_key) DO UPDATE SET \
             blocked_by = (SELECT d.key FROM deliveries AS d WHERE d.key = lanes.blocked_by AND d.state = 'dead'), \
             due_at = CASE WHEN EXISTS (SELECT 1 FROM deliveries AS d \
                           WHERE d.key = lanes.blocked_by AND d.state = 'dead') \
                      THEN NULL ELSE excluded.due_at END, \
             is_retry = excluded.is_retry",
    ))
    .bind(&keys)
    .execute(conn)
    .await?;
    Ok(())
}

/// Picks the due lanes of a frontend and leases them.
pub(super) const LEASE: &str = concat!(
    "WITH firsts AS (SELECT conversation_key, is_retry, due_at FROM lanes \
             WHERE frontend = $4 AND is_retry = FALSE AND due_at <= $5 AND (lease_until IS NULL OR lease_until <= $5) \
               AND NOT EXISTS (SELECT 1 FROM frontends AS f WHERE f.frontend = $4 \
                 AND (f.hold_reason IS NOT NULL OR f.not_before > $5)) \
             ORDER BY due_at LIMIT $6",
    skip_locked!("lanes"),
    "), retries AS (SELECT conversation_key, is_retry, due_at FROM lanes \
             WHERE frontend = $4 AND is_retry = TRUE AND due_at <= $5 AND (lease_until IS NULL OR lease_until <= $5) \
               AND NOT EXISTS (SELECT 1 FROM frontends AS f WHERE f.frontend = $4 \
                 AND (f.hold_reason IS NOT NULL OR f.not_before > $5)) \
             ORDER BY due_at LIMIT $7",
    skip_locked!("lanes"),
    "), picked AS (SELECT conversation_key AS picked_key FROM \
             (SELECT * FROM firsts UNION ALL SELECT * FROM retries) AS due ORDER BY due_at, is_retry LIMIT $6) \
         UPDATE lanes SET token = $1, owner = $2, lease_until = $3 FROM picked \
         WHERE conversation_key = picked_key RETURNING conversation_key",
);

/// Leases a frontend's due lanes, earliest due first, each kind as far as its permits go: neither waits for the other.
pub(super) async fn lease(
    conn: &mut Conn,
    token: &Token,
    lease: &Lease,
    permits: &DeliveryPermits,
) -> Result<Vec<i64>> {
    let keys = db::query_scalar(LEASE)
        .bind(&*token.0)
        .bind(&*lease.owner.0)
        .bind(lease.until.as_millis())
        .bind(permits.frontend.as_str())
        .bind(lease.now.as_millis())
        .bind(i64::try_from(permits.first).unwrap_or(i64::MAX))
        .bind(i64::try_from(permits.retries).unwrap_or(i64::MAX))
        .fetch_all(conn)
        .await?;
    Ok(keys)
}

/// Frees lanes.
pub(super) async fn free(conn: &mut Conn, keys: &[i64]) -> Result<()> {
    db::query(concat!(
        "UPDATE lanes SET token = NULL, owner = NULL, lease_until = NULL \
         WHERE conversation_key",
        is_key_in!("$1"),
    ))
    .bind(rows::array(keys)?)
    .execute(conn)
    .await?;
    Ok(())
}

/// Frees a lane whose head is due at `due_at`.
pub(super) async fn leave(conn: &mut Conn, lane: ConversationKey, due_at: Timestamp, is_retry: bool) -> Result<()> {
    db::query(
        "UPDATE lanes SET token = NULL, owner = NULL, lease_until = NULL, due_at = $2, is_retry = $3 \
         WHERE conversation_key = $1",
    )
    .bind(lane.0)
    .bind(due_at.as_millis())
    .bind(is_retry)
    .execute(conn)
    .await?;
    Ok(())
}

/// Keeps a lane in hand for its next head.
pub(super) async fn keep(
    conn: &mut Conn,
    lane: ConversationKey,
    due_at: Timestamp,
    is_retry: bool,
    lease: &Lease,
) -> Result<()> {
    db::query("UPDATE lanes SET due_at = $2, is_retry = $3, owner = $4, lease_until = $5 WHERE conversation_key = $1")
        .bind(lane.0)
        .bind(due_at.as_millis())
        .bind(is_retry)
        .bind(&*lease.owner.0)
        .bind(lease.until.as_millis())
        .execute(conn)
        .await?;
    Ok(())
}

/// Frees a lane and blocks it until the delivery `by` is dead no more.
pub(super) async fn block(conn: &mut Conn, lane: ConversationKey, by: i64) -> Result<()> {
    db::query(
        "UPDATE lanes SET token = NULL, owner = NULL, lease_until = NULL, due_at = NULL, blocked_by = $2 \
         WHERE conversation_key = $1",
    )
    .bind(lane.0)
    .bind(by)
    .execute(conn)
    .await?;
    Ok(())
}

/// Blocks a lane that nobody holds until the delivery `by` is dead no more, unless another one blocks it already.
pub(super) async fn block_if_free(conn: &mut Conn, lane: ConversationKey, by: i64) -> Result<()> {
    db::query("UPDATE lanes SET due_at = NULL, blocked_by = $2 WHERE conversation_key = $1 AND blocked_by IS NULL")
        .bind(lane.0)
        .bind(by)
        .execute(conn)
        .await?;
    Ok(())
}

/// Closes a lane if it owes nothing; whether it did.
pub(super) async fn close_empty(conn: &mut Conn, lane: ConversationKey) -> Result<bool> {
    let closed = db::query(
        "DELETE FROM lanes WHERE conversation_key = $1 AND NOT EXISTS (SELECT 1 FROM deliveries AS d \
             WHERE d.conversation_key = $1 AND d.state = 'pending')",
    )
    .bind(lane.0)
    .execute(conn)
    .await?;
    Ok(closed.rows_affected() > 0)
}

/// Frees the lanes that are held under a token, or the one of them that is named.
pub(super) const VOID: &str = "UPDATE lanes SET token = NULL, owner = NULL, lease_until = NULL \
     WHERE lease_until IS NOT NULL AND token = $1 AND conversation_key = COALESCE($2, conversation_key)";

/// Frees lanes whose holder never heard of holding them; returns how many.
pub(super) async fn void(conn: &mut Conn, cx: &mut Cx, token: &Token, lane: Option<ConversationKey>) -> Result<usize> {
    let voided = db::query(VOID).bind(&*token.0).bind(lane.map(|lane| lane.0)).execute(conn).await?.rows_affected();
    if voided > 0 {
        cx.announce(Change::Deliveries);
    }
    Ok(usize::try_from(voided).unwrap_or(usize::MAX))
}

/// Frees the lanes whose lease has ended and, where `all_others`, those of every other owner too.
pub(super) async fn recover(conn: &mut Conn, cx: &mut Cx, lease: &Lease, all_others: bool) -> Result<usize> {
    let freed = db::query(
        "UPDATE lanes SET token = NULL, owner = NULL, lease_until = NULL \
         WHERE lease_until IS NOT NULL AND (lease_until <= $1 OR ($2 AND owner <> $3))",
    )
    .bind(lease.now.as_millis())
    .bind(all_others)
    .bind(&*lease.owner.0)
    .execute(conn)
    .await?
    .rows_affected();
    if freed > 0 {
        cx.announce(Change::Deliveries);
    }
    Ok(usize::try_from(freed).unwrap_or(usize::MAX))
}

/// The first lane of each of these frontends, first attempts and retries apart, and the first lease that ends.
pub(super) const NEXT: &str = concat!(
    "WITH named AS (SELECT value AS frontend, \
             (SELECT f.not_before FROM frontends AS f WHERE f.frontend = value) AS not_before FROM ",
    texts!("$1"),
    " AS names WHERE value NOT IN (SELECT f.frontend FROM frontends AS f WHERE f.hold_reason IS NOT NULL)) \
         SELECT MIN(CASE WHEN firsts.not_before > firsts.at THEN firsts.not_before ELSE firsts.at END) FROM ( \
             SELECT (SELECT l.due_at FROM lanes AS l WHERE l.frontend = named.frontend AND l.is_retry = FALSE \
                     AND l.due_at IS NOT NULL AND l.lease_until IS NULL ORDER BY l.due_at LIMIT 1) AS at, \
                 named.not_before AS not_before FROM named \
             UNION ALL \
             SELECT (SELECT l.due_at FROM lanes AS l WHERE l.frontend = named.frontend AND l.is_retry = TRUE \
                     AND l.due_at IS NOT NULL AND l.lease_until IS NULL ORDER BY l.due_at LIMIT 1), \
                 named.not_before FROM named \
             UNION ALL \
             SELECT MIN(CASE WHEN l.due_at > l.lease_until THEN l.due_at ELSE l.lease_until END), NULL FROM lanes AS l \
             WHERE l.lease_until IS NOT NULL AND l.due_at IS NOT NULL \
               AND l.frontend IN (SELECT named.frontend FROM named) \
         ) AS firsts",
);

/// When the next lane of these frontends may be claimed. A lane in somebody's hands counts from the end of the lease, so
/// that one whose holder has died is asked for in time.
pub(super) async fn next_at(conn: &mut Conn, frontends: &[FrontendName]) -> Result<Option<Timestamp>> {
    let at: Option<i64> = db::query_scalar(NEXT).bind(rows::array(frontends)?).fetch_one(conn).await?;
    Ok(at.map(Timestamp::from_millis))
}
