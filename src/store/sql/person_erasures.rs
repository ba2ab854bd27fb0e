//! Erasing everything of a person: recorded in one transaction, done a few conversations at a time, each as
//! [`conversations`](super::conversations) erases one.
//!
//! Invariant: an erasure stands in a row with the person's id until none of the person's conversations is left here; from
//! then on in the same row with only the id's hash. So a process may die at any point, and another goes on.

use super::{Conn, Cx, conversations, db, rows};
use crate::{
    domain::{
        Timestamp, WallTime,
        ids::{ConversationId, FrontendName},
        person::hash,
    },
    store::{PersonErasure, Result},
};

/// A conversation in which the person was named first, even if somebody else was named later.
const ANY: &str = "SELECT conversation_id FROM conversations WHERE frontend = $1 AND user_id = $2 LIMIT $3";

pub(in crate::store) async fn want(
    conn: &mut Conn,
    cx: &mut Cx,
    frontend: &FrontendName,
    user: &str,
    upstream: bool,
    now: Timestamp,
) -> Result<bool> {
    let any = db::query(ANY).bind(frontend.as_str()).bind(user).bind(1_i64).fetch_optional(&mut *conn).await?;
    if any.is_none() {
        // Requested again, perhaps with `upstream` this time: conversations gone here cannot be found at Fini any more.
        let known = db::query("SELECT person FROM person_erasures WHERE frontend = $1 AND person = $2")
            .bind(frontend.as_str())
            .bind(hash(user))
            .fetch_optional(conn)
            .await?;
        return Ok(known.is_some());
    }
    db::query(
        "INSERT INTO person_erasures (frontend, person, user_id, requested_at, shown_at, upstream) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (frontend, person) DO UPDATE SET user_id = excluded.user_id, \
            requested_at = excluded.requested_at, shown_at = excluded.shown_at, \
            upstream = excluded.upstream OR person_erasures.upstream",
    )
    .bind(frontend.as_str())
    .bind(hash(user))
    .bind(user)
    .bind(now.as_millis())
    .bind(cx.rules().wall.now().as_millis())
    .bind(upstream)
    .execute(conn)
    .await?;
    Ok(true)
}

pub(in crate::store) async fn are_open(conn: &mut Conn) -> Result<bool> {
    let open: i64 =
        db::query_scalar("SELECT COUNT(*) FROM person_erasures WHERE user_id IS NOT NULL").fetch_one(conn).await?;
    Ok(open > 0)
}

/// The person who has waited for longest, or the named one.
const OPEN: &str = concat!(
    "SELECT frontend, person, user_id, upstream FROM person_erasures WHERE user_id IS NOT NULL \
        AND frontend = COALESCE($1, frontend) AND user_id = COALESCE($2, user_id) ORDER BY requested_at LIMIT 1",
    skip_locked!("person_erasures")
);

pub(in crate::store) async fn erase_some(
    conn: &mut Conn,
    cx: &mut Cx,
    of: Option<&(FrontendName, String)>,
    now: Timestamp,
    batch: usize,
) -> Result<Option<usize>> {
    let open = db::query(OPEN)
        .bind(of.map(|(frontend, _)| frontend.as_str()))
        .bind(of.map(|(_, user)| user.as_str()))
        .fetch_optional(&mut *conn)
        .await?;
    let Some(open) = open else { return Ok(None) };
    let frontend = FrontendName::trusted(rows::text(&open, "frontend")?);
    let (person, user) = (rows::text(&open, "person")?, rows::text(&open, "user_id")?);
    let upstream = rows::flag(&open, "upstream")?;
    let limit = i64::try_from(batch).unwrap_or(i64::MAX);
    let found: Vec<String> =
        db::query_scalar(ANY).bind(frontend.as_str()).bind(&user).bind(limit).fetch_all(&mut *conn).await?;
    let mut erased = 0;
    for id in &found {
        let id = ConversationId::trusted(id.as_str());
        let gone = conversations::erase(conn, cx, &frontend, &id, upstream, Some(&person), now).await?;
        erased += usize::from(gone.is_some());
    }
    db::query(
        "UPDATE person_erasures SET conversations = conversations + $3, user_id = CASE WHEN $4 THEN NULL ELSE user_id END \
         WHERE frontend = $1 AND person = $2",
    )
    .bind(frontend.as_str())
    .bind(&person)
    .bind(i64::try_from(erased).unwrap_or(i64::MAX))
    .bind(found.len() < batch)
    .execute(conn)
    .await?;
    Ok(Some(erased))
}

pub(in crate::store) async fn state(
    conn: &mut Conn,
    frontend: &FrontendName,
    user: &str,
) -> Result<Option<PersonErasure>> {
    let person = hash(user);
    let found = db::query(
        "SELECT user_id IS NULL AS is_done, shown_at, upstream, conversations FROM person_erasures \
         WHERE frontend = $1 AND person = $2",
    )
    .bind(frontend.as_str())
    .bind(&person)
    .fetch_optional(&mut *conn)
    .await?;
    let Some(found) = found else { return Ok(None) };
    let at_fini = db::query(
        "SELECT state, COUNT(*) AS conversations FROM erasures WHERE frontend = $1 AND person = $2 GROUP BY state \
         UNION ALL SELECT state, COUNT(*) AS conversations FROM erasure_searches WHERE frontend = $1 AND person = $2 \
         GROUP BY state",
    )
    .bind(frontend.as_str())
    .bind(&person)
    .fetch_all(conn)
    .await?;
    let mut erasure = PersonErasure {
        requested_at: WallTime::from_millis(rows::int(&found, "shown_at")?),
        upstream: rows::flag(&found, "upstream")?,
        is_done_here: rows::flag(&found, "is_done")?,
        conversations: rows::count(&found, "conversations")?,
        proved: 0,
        pending: 0,
        failed: 0,
    };
    for row in &at_fini {
        let count = match rows::text(row, "state")?.as_str() {
            "erased" => &mut erasure.proved,
            "failed" => &mut erasure.failed,
            _ => &mut erasure.pending,
        };
        *count += rows::count(row, "conversations")?;
    }
    Ok(Some(erasure))
}

pub(in crate::store) async fn erased_at(
    conn: &mut Conn,
    frontend: &FrontendName,
    user: &str,
) -> Result<Option<WallTime>> {
    let at: Option<i64> = db::query_scalar("SELECT shown_at FROM person_erasures WHERE frontend = $1 AND person = $2")
        .bind(frontend.as_str())
        .bind(hash(user))
        .fetch_optional(conn)
        .await?;
    Ok(at.map(WallTime::from_millis))
}

/// Erasures that ended before the retention and have no record of a deletion at Fini left.
pub(in crate::store) const ENDED: &str = "DELETE FROM person_erasures WHERE user_id IS NULL AND requested_at <= $1 \
     AND NOT EXISTS (SELECT 1 FROM erasures e WHERE e.frontend = person_erasures.frontend \
        AND e.person = person_erasures.person) \
     AND NOT EXISTS (SELECT 1 FROM erasure_searches s WHERE s.frontend = person_erasures.frontend \
        AND s.person = person_erasures.person)";

/// Deletes them.
pub(in crate::store) async fn forget(conn: &mut Conn, before: i64) -> Result<()> {
    db::query(ENDED).bind(before).execute(conn).await?;
    Ok(())
}
