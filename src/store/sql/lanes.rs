//! Lanes: one per conversation and destination that is owed callbacks. The only code that writes their tables.
//!
//! The lanes of frontends' own callbacks stand in `lanes`, as they always did, so that the version before finds them; those of
//! further destinations stand in `destination_lanes`. One text of each statement serves both.
//!
//! Invariants: a conversation that owes a callback to a destination has a lane; the lane shows when its head (the owed delivery
//! with the lowest sequence) is due; a lane that is blocked by a dead letter is never due. A transaction that changes a lane's
//! deliveries holds the lane's row, so that nobody closes a lane into which another one is just filing.

use super::{Conn, Cx, db, dialect, rows};
use crate::{
    domain::{Timestamp, destination::Destination, ids::ConversationKey},
    store::{Change, DeliveryPermits, Lane, Lease, Result, Token},
};

/// The same statement for both tables.
macro_rules! for_both {
    ($text:ident) => {
        [$text!("lanes"), $text!("destination_lanes")]
    };
}

/// Returns the index of the table that holds a destination's lanes.
pub(super) fn table(destination: &Destination) -> usize {
    usize::from(!destination.is_main())
}

macro_rules! open {
    ($lanes:literal, $key:literal) => {
        // The update changes nothing but locks the row, which `DO NOTHING` would leave to a transaction that is closing it.
        concat!(
            "INSERT INTO ",
            $lanes,
            " (conversation_key, frontend, due_at) VALUES ($1, $2, $3) ON CONFLICT (",
            $key,
            ") DO UPDATE SET frontend = excluded.frontend"
        )
    };
}
const OPEN: [&str; 2] = [open!("lanes", "conversation_key"), open!("destination_lanes", "conversation_key, frontend")];

/// Makes sure that there is a lane, because a delivery that is due now is being filed for it. Deliveries that the lane already
/// owes keep their place: the head of an existing lane does not change.
pub(super) async fn open(conn: &mut Conn, lane: &Lane, now: Timestamp) -> Result<()> {
    db::query(OPEN[table(&lane.destination)])
        .bind(lane.conversation.0)
        .bind(lane.destination.to_string())
        .bind(now.as_millis())
        .execute(conn)
        .await?;
    Ok(())
}

macro_rules! close_empty_of {
    ($lanes:literal) => {
        concat!(
            "DELETE FROM ",
            $lanes,
            " WHERE conversation_key",
            is_key_in!("$1"),
            " AND NOT EXISTS (SELECT 1 FROM deliveries AS d WHERE d.conversation_key = ",
            $lanes,
            ".conversation_key AND d.frontend = ",
            $lanes,
            ".frontend AND d.state = 'pending') AND NOT EXISTS (SELECT 1 FROM deliveries AS d WHERE d.key = ",
            $lanes,
            ".blocked_by AND d.state = 'dead')"
        )
    };
}
const CLOSE_EMPTY_OF: [&str; 2] = for_both!(close_empty_of);

macro_rules! bring_in_line {
    ($lanes:literal, $key:literal, $owing:expr) => {
        concat!(
            "INSERT INTO ",
            $lanes,
            " (conversation_key, frontend, due_at, is_retry) \
             SELECT head.conversation_key, head.frontend, head.due_at, head.attempts > head.attempts_before FROM ",
            $owing,
            " AS owing JOIN deliveries AS head ON head.key = (SELECT d.key FROM deliveries AS d \
                 WHERE d.conversation_key = owing.conversation_key AND d.frontend = owing.frontend \
                   AND d.state = 'pending' ORDER BY d.sequence LIMIT 1) \
             WHERE TRUE ON CONFLICT (",
            $key,
            ") DO UPDATE SET \
                 blocked_by = (SELECT d.key FROM deliveries AS d WHERE d.key = ",
            $lanes,
            ".blocked_by AND d.state = 'dead'), \
                 due_at = CASE WHEN EXISTS (SELECT 1 FROM deliveries AS d WHERE d.key = ",
            $lanes,
            ".blocked_by AND d.state = 'dead') THEN NULL ELSE excluded.due_at END, \
                 is_retry = excluded.is_retry"
        )
    };
}
const BRING_IN_LINE: [&str; 2] = [
    bring_in_line!(
        "lanes",
        "conversation_key",
        concat!(
            "(SELECT c.key AS conversation_key, c.frontend FROM conversations AS c WHERE c.key",
            is_key_in!("$1"),
            ")"
        )
    ),
    bring_in_line!(
        "destination_lanes",
        "conversation_key, frontend",
        concat!(
            "(SELECT DISTINCT d.conversation_key, d.frontend FROM deliveries AS d \
              JOIN conversations AS c ON c.key = d.conversation_key \
              WHERE d.state = 'pending' AND d.frontend <> c.frontend AND d.conversation_key",
            is_key_in!("$1"),
            ")"
        )
    ),
];

/// Brings the lanes of conversations in line with their deliveries, after deliveries were revived, withdrawn or removed: closes
/// the empty ones, unblocks those whose dead letter is no longer dead, and lets the others show when their head is due.
/// Leases stay as they are.
pub(super) async fn refresh(conn: &mut Conn, conversations: &[i64]) -> Result<()> {
    if conversations.is_empty() {
        return Ok(());
    }
    let keys = rows::array(conversations)?;
    dialect::lock_lanes(conn, &keys).await?;
    for statement in CLOSE_EMPTY_OF.into_iter().chain(BRING_IN_LINE) {
        db::query(statement).bind(&keys).execute(&mut *conn).await?;
    }
    Ok(())
}

macro_rules! lease {
    ($lanes:literal) => {
        concat!(
            "WITH firsts AS (SELECT conversation_key, is_retry, due_at FROM ",
            $lanes,
            " WHERE frontend = $4 AND is_retry = FALSE AND due_at <= $5 AND (lease_until IS NULL OR lease_until <= $5) \
               AND NOT EXISTS (SELECT 1 FROM frontends AS f WHERE f.frontend = $4 \
                 AND (f.hold_reason IS NOT NULL OR f.not_before > $5)) \
             ORDER BY due_at LIMIT $6",
            skip_locked!($lanes),
            "), retries AS (SELECT conversation_key, is_retry, due_at FROM ",
            $lanes,
            " WHERE frontend = $4 AND is_retry = TRUE AND due_at <= $5 AND (lease_until IS NULL OR lease_until <= $5) \
               AND NOT EXISTS (SELECT 1 FROM frontends AS f WHERE f.frontend = $4 \
                 AND (f.hold_reason IS NOT NULL OR f.not_before > $5)) \
             ORDER BY due_at LIMIT $7",
            skip_locked!($lanes),
            "), picked AS (SELECT conversation_key AS picked_key FROM \
                 (SELECT * FROM firsts UNION ALL SELECT * FROM retries) AS due ORDER BY due_at, is_retry LIMIT $6) \
             UPDATE ",
            $lanes,
            " SET token = $1, owner = $2, lease_until = $3 FROM picked \
             WHERE conversation_key = picked_key AND frontend = $4 RETURNING conversation_key"
        )
    };
}
/// Picks the due lanes of a destination and leases them.
pub(super) const LEASE: [&str; 2] = for_both!(lease);

/// Leases a destination's due lanes, earliest due first, each kind as far as its permits go: neither waits for the other.
pub(super) async fn lease(
    conn: &mut Conn,
    token: &Token,
    lease: &Lease,
    permits: &DeliveryPermits,
) -> Result<Vec<i64>> {
    let keys = db::query_scalar(LEASE[table(&permits.destination)])
        .bind(&*token.0)
        .bind(&*lease.owner.0)
        .bind(lease.until.as_millis())
        .bind(permits.destination.to_string())
        .bind(lease.now.as_millis())
        .bind(i64::try_from(permits.first).unwrap_or(i64::MAX))
        .bind(i64::try_from(permits.retries).unwrap_or(i64::MAX))
        .fetch_all(conn)
        .await?;
    Ok(keys)
}

macro_rules! free {
    ($lanes:literal) => {
        concat!(
            "UPDATE ",
            $lanes,
            " SET token = NULL, owner = NULL, lease_until = NULL WHERE frontend = $2 AND conversation_key",
            is_key_in!("$1")
        )
    };
}
const FREE: [&str; 2] = for_both!(free);

/// Frees lanes of a destination.
pub(super) async fn free(conn: &mut Conn, destination: &Destination, keys: &[i64]) -> Result<()> {
    let statement = FREE[table(destination)];
    db::query(statement).bind(rows::array(keys)?).bind(destination.to_string()).execute(conn).await?;
    Ok(())
}

macro_rules! leave {
    ($lanes:literal) => {
        concat!(
            "UPDATE ",
            $lanes,
            " SET token = NULL, owner = NULL, lease_until = NULL, due_at = $3, is_retry = $4 \
             WHERE conversation_key = $1 AND frontend = $2"
        )
    };
}
const LEAVE: [&str; 2] = for_both!(leave);

/// Frees a lane whose head is due at `due_at`.
pub(super) async fn leave(conn: &mut Conn, lane: &Lane, due_at: Timestamp, is_retry: bool) -> Result<()> {
    db::query(LEAVE[table(&lane.destination)])
        .bind(lane.conversation.0)
        .bind(lane.destination.to_string())
        .bind(due_at.as_millis())
        .bind(is_retry)
        .execute(conn)
        .await?;
    Ok(())
}

macro_rules! keep {
    ($lanes:literal) => {
        concat!(
            "UPDATE ",
            $lanes,
            " SET due_at = $3, is_retry = $4, owner = $5, lease_until = $6 WHERE conversation_key = $1 AND frontend = $2"
        )
    };
}
const KEEP: [&str; 2] = for_both!(keep);

/// Keeps a leased lane for its next head.
pub(super) async fn keep(conn: &mut Conn, lane: &Lane, due_at: Timestamp, is_retry: bool, lease: &Lease) -> Result<()> {
    db::query(KEEP[table(&lane.destination)])
        .bind(lane.conversation.0)
        .bind(lane.destination.to_string())
        .bind(due_at.as_millis())
        .bind(is_retry)
        .bind(&*lease.owner.0)
        .bind(lease.until.as_millis())
        .execute(conn)
        .await?;
    Ok(())
}

macro_rules! block {
    ($lanes:literal) => {
        concat!(
            "UPDATE ",
            $lanes,
            " SET token = NULL, owner = NULL, lease_until = NULL, due_at = NULL, blocked_by = $3 \
             WHERE conversation_key = $1 AND frontend = $2"
        )
    };
}
const BLOCK: [&str; 2] = for_both!(block);

/// Frees a lane and blocks it until the delivery `by` is no longer dead.
pub(super) async fn block(conn: &mut Conn, lane: &Lane, by: i64) -> Result<()> {
    run(conn, BLOCK[table(&lane.destination)], lane, by).await
}

macro_rules! block_if_free {
    ($lanes:literal) => {
        concat!(
            "UPDATE ",
            $lanes,
            " SET due_at = NULL, blocked_by = $3 WHERE conversation_key = $1 AND frontend = $2 AND blocked_by IS NULL"
        )
    };
}
const BLOCK_IF_FREE: [&str; 2] = for_both!(block_if_free);

/// Blocks a lane that nobody has leased until the delivery `by` is no longer dead, unless another one blocks it already.
pub(super) async fn block_if_free(conn: &mut Conn, lane: &Lane, by: i64) -> Result<()> {
    run(conn, BLOCK_IF_FREE[table(&lane.destination)], lane, by).await
}

async fn run(conn: &mut Conn, statement: &'static str, lane: &Lane, by: i64) -> Result<()> {
    db::query(statement).bind(lane.conversation.0).bind(lane.destination.to_string()).bind(by).execute(conn).await?;
    Ok(())
}

macro_rules! close_empty {
    ($lanes:literal) => {
        concat!(
            "DELETE FROM ",
            $lanes,
            " WHERE conversation_key = $1 AND frontend = $2 AND NOT EXISTS (SELECT 1 FROM deliveries AS d \
                 WHERE d.conversation_key = $1 AND d.frontend = $2 AND d.state = 'pending')"
        )
    };
}
const CLOSE_EMPTY: [&str; 2] = for_both!(close_empty);

/// Closes a lane if it owes nothing; returns true if it did.
pub(super) async fn close_empty(conn: &mut Conn, lane: &Lane) -> Result<bool> {
    let statement = CLOSE_EMPTY[table(&lane.destination)];
    let closed =
        db::query(statement).bind(lane.conversation.0).bind(lane.destination.to_string()).execute(conn).await?;
    Ok(closed.rows_affected() > 0)
}

macro_rules! void {
    ($lanes:literal) => {
        concat!(
            "UPDATE ",
            $lanes,
            " SET token = NULL, owner = NULL, lease_until = NULL WHERE lease_until IS NOT NULL AND token = $1 \
             AND conversation_key = COALESCE($2, conversation_key) AND frontend = COALESCE($3, frontend)"
        )
    };
}
/// Frees the lanes that are leased under a token, or the one of them that is named.
pub(super) const VOID: [&str; 2] = for_both!(void);

/// Frees lanes that their holder does not know of; returns their number.
pub(super) async fn void(conn: &mut Conn, cx: &mut Cx, token: &Token, lane: Option<&Lane>) -> Result<usize> {
    let mut voided = 0;
    for statement in VOID {
        voided += db::query(statement)
            .bind(&*token.0)
            .bind(lane.map(|lane| lane.conversation.0))
            .bind(lane.map(|lane| lane.destination.to_string()))
            .execute(&mut *conn)
            .await?
            .rows_affected();
    }
    if voided > 0 {
        cx.announce(Change::Deliveries);
    }
    Ok(usize::try_from(voided).unwrap_or(usize::MAX))
}

macro_rules! recover {
    ($lanes:literal) => {
        concat!(
            "UPDATE ",
            $lanes,
            " SET token = NULL, owner = NULL, lease_until = NULL \
             WHERE lease_until IS NOT NULL AND (lease_until <= $1 OR ($2 AND owner <> $3))"
        )
    };
}
const RECOVER: [&str; 2] = for_both!(recover);

/// Frees the lanes whose lease has ended and, if `all_others`, those of every other owner too.
pub(super) async fn recover(conn: &mut Conn, cx: &mut Cx, lease: &Lease, all_others: bool) -> Result<usize> {
    let mut freed = 0;
    for statement in RECOVER {
        freed += db::query(statement)
            .bind(lease.now.as_millis())
            .bind(all_others)
            .bind(&*lease.owner.0)
            .execute(&mut *conn)
            .await?
            .rows_affected();
    }
    if freed > 0 {
        cx.announce(Change::Deliveries);
    }
    Ok(usize::try_from(freed).unwrap_or(usize::MAX))
}

macro_rules! next {
    ($lanes:literal) => {
        concat!(
            "WITH named AS (SELECT value AS frontend, \
                 (SELECT f.not_before FROM frontends AS f WHERE f.frontend = value) AS not_before FROM ",
            texts!("$1"),
            " AS names WHERE value NOT IN (SELECT f.frontend FROM frontends AS f WHERE f.hold_reason IS NOT NULL)) \
             SELECT MIN(CASE WHEN firsts.not_before > firsts.at THEN firsts.not_before ELSE firsts.at END) FROM ( \
                 SELECT (SELECT l.due_at FROM ",
            $lanes,
            " AS l WHERE l.frontend = named.frontend AND l.is_retry = FALSE \
                         AND l.due_at IS NOT NULL AND l.lease_until IS NULL ORDER BY l.due_at LIMIT 1) AS at, \
                     named.not_before AS not_before FROM named \
                 UNION ALL \
                 SELECT (SELECT l.due_at FROM ",
            $lanes,
            " AS l WHERE l.frontend = named.frontend AND l.is_retry = TRUE \
                         AND l.due_at IS NOT NULL AND l.lease_until IS NULL ORDER BY l.due_at LIMIT 1), \
                     named.not_before FROM named \
                 UNION ALL \
                 SELECT MIN(CASE WHEN l.due_at > l.lease_until THEN l.due_at ELSE l.lease_until END), NULL FROM ",
            $lanes,
            " AS l WHERE l.lease_until IS NOT NULL AND l.due_at IS NOT NULL \
                   AND l.frontend IN (SELECT named.frontend FROM named) \
             ) AS firsts"
        )
    };
}
/// The first lane of each of these destinations, first attempts and retries apart, and the first lease that ends.
pub(super) const NEXT: [&str; 2] = for_both!(next);

/// Returns the time at which the next lane of these destinations may be claimed. A leased lane counts from the end of its
/// lease, so that the lane of a dead holder is claimed in time.
pub(super) async fn next_at(conn: &mut Conn, destinations: &[Destination]) -> Result<Option<Timestamp>> {
    let mut next: Option<i64> = None;
    for (number, statement) in NEXT.into_iter().enumerate() {
        let names: Vec<String> =
            destinations.iter().filter(|one| table(one) == number).map(ToString::to_string).collect();
        if names.is_empty() {
            continue;
        }
        let at: Option<i64> = db::query_scalar(statement).bind(rows::array(names)?).fetch_one(&mut *conn).await?;
        next = [next, at].into_iter().flatten().min();
    }
    Ok(next.map(Timestamp::from_millis))
}

/// Returns the lane of a conversation at a destination.
pub(super) fn of(conversation: i64, destination: &str) -> Lane {
    Lane { conversation: ConversationKey(conversation), destination: Destination::recorded(destination) }
}
