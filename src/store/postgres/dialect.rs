//! PostgreSQL's part of the dialects: the counterpart of SQLite's file of the same name.
//!
//! Transactions run under READ COMMITTED, where every statement sees only what was committed before it began. So a transaction
//! that decides on stored rows takes the row's lock first and reads in a later statement.

use super::{Conn, Result};
use crate::domain::Timestamp;

/// True if other processes may work on the same database.
pub(in crate::store) const SHARED: bool = true;

/// Locks the selected rows of the table until the end of the transaction. Not against mere references to them: appending
/// to a conversation must not wait for a transaction that only files a row that points at it.
macro_rules! for_update {
    ($table:literal) => {
        concat!(" FOR NO KEY UPDATE OF ", $table)
    };
}

/// The same, leaving out rows that another transaction has locked.
macro_rules! skip_locked {
    ($table:literal) => {
        concat!(" FOR NO KEY UPDATE OF ", $table, " SKIP LOCKED")
    };
}

/// The texts of a JSON array parameter (`rows::array`), as a table with the column `value`.
macro_rules! texts {
    ($parameter:literal) => {
        concat!("(SELECT value FROM jsonb_array_elements_text(", $parameter, "::jsonb) AS item (value))")
    };
}

/// True if the text before it is one of those of a JSON array parameter. An array, not a subquery to be joined with: the
/// planner looks that up in the index, however little it knows about the table yet.
macro_rules! is_text_in {
    ($parameter:literal) => {
        concat!(" = ANY (ARRAY(SELECT jsonb_array_elements_text(", $parameter, "::jsonb)))")
    };
}

/// True if the key before it is one of those of a JSON array parameter.
macro_rules! is_key_in {
    ($parameter:literal) => {
        concat!(" = ANY (ARRAY(SELECT jsonb_array_elements_text(", $parameter, "::jsonb)::bigint))")
    };
}

/// The part of a count that this transaction adds to: each connection has its own, or all that count for one frontend
/// would wait for each other's commits.
macro_rules! shard {
    () => {
        "pg_backend_pid() % 64"
    };
}

/// The later of two texts; the first one if the second is null.
macro_rules! later_text {
    ($one:expr, $other:expr) => {
        concat!("GREATEST(", $one, "::text, ", $other, ")")
    };
}

/// The position of the second text in the first, counted from 1; 0 if it is not there.
macro_rules! text_position {
    ($text:literal, $part:literal) => {
        concat!("STRPOS(", $text, ", ", $part, ")")
    };
}

/// Returns the server's own time: the clocks of several processes need not agree.
pub(in crate::store) async fn server_time(conn: &mut Conn) -> Result<Option<Timestamp>> {
    let millis = sqlx::query_scalar("SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)");
    Ok(Some(Timestamp::from_millis(millis.fetch_one(conn).await?)))
}

/// The advisory lock of the budget; any number that nothing else in the database uses.
const BUDGET_LOCK: i64 = 0x0046_696e_6942;

/// Lets one process at a time decide about the budget, until the end of its transaction.
pub(in crate::store) async fn lock_budget(conn: &mut Conn) -> Result<()> {
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(BUDGET_LOCK).execute(conn).await?;
    Ok(())
}

/// The first half of the advisory locks of persons; any number that nothing else in the database uses.
const PERSON_LOCK: i32 = 0x4669_6e69;

/// Lets one transaction at a time count a person's messages, until its end.
pub(in crate::store) async fn lock_person(conn: &mut Conn, frontend: &str, person: &str) -> Result<()> {
    sqlx::query("SELECT pg_advisory_xact_lock($1, hashtext($2 || ' ' || $3))")
        .bind(PERSON_LOCK)
        .bind(frontend)
        .bind(person)
        .execute(conn)
        .await?;
    Ok(())
}

/// Locks the lanes of these conversations until the end of the transaction, always in the same order.
pub(in crate::store) async fn lock_lanes(conn: &mut Conn, conversations: &str) -> Result<()> {
    for statement in [
        concat!(
            "SELECT conversation_key FROM lanes WHERE conversation_key",
            is_key_in!("$1"),
            " ORDER BY conversation_key",
            for_update!("lanes"),
        ),
        concat!(
            "SELECT conversation_key FROM destination_lanes WHERE conversation_key",
            is_key_in!("$1"),
            " ORDER BY conversation_key, frontend",
            for_update!("destination_lanes"),
        ),
    ] {
        sqlx::query(statement).bind(conversations).fetch_all(&mut *conn).await?;
    }
    Ok(())
}

/// The advisory lock of the log's numbers; any number that nothing else in the database uses.
const LOG_LOCK: i64 = 0x0046_696e_694c;

/// Lets one process at a time number the log, until its transaction is committed.
pub(in crate::store) async fn lock_log(conn: &mut Conn) -> Result<()> {
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(LOG_LOCK).execute(conn).await?;
    Ok(())
}
