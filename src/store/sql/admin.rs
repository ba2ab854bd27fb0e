//! The figures behind metrics and readiness. Each comes from an index that holds little more than the rows counted, so
//! that it stays cheap however much has been settled.

use futures_util::FutureExt;

use super::{Conn, Row, ThisStore, db, rows};
use crate::{
    domain::{Timestamp, ids::FrontendName},
    store::{AdminStore, Backlog, Held, LeftAlone, Result},
};

#[async_trait::async_trait]
impl AdminStore for ThisStore {
    async fn backlog(&self, left_alone: &LeftAlone, now: Timestamp) -> Result<Backlog> {
        self.read((left_alone.clone(), now), |conn, of| backlog(conn, &of.0, of.1).boxed()).await
    }
}

/// True if callbacks to the destination in that column go out at $1; those in $2 are left alone.
macro_rules! is_called {
    ($column:literal) => {
        concat!(
            $column,
            " NOT IN (SELECT f.frontend FROM frontends AS f WHERE f.hold_reason IS NOT NULL OR f.not_before > $1) AND NOT ",
            $column,
            is_text_in!("$2")
        )
    };
}

/// All figures in one statement. Due times are asked for per frontend, the first column of both indexes.
pub(super) const BACKLOG: &str = concat!(
    "WITH called AS (SELECT DISTINCT waiting.frontend FROM waiting WHERE ",
    is_called!("waiting.frontend"),
    ") SELECT \
     (SELECT COUNT(*) FROM turns WHERE state = 'queued') AS queued_turns, \
     (SELECT COUNT(*) FROM turns WHERE state = 'sending') AS sending_turns, \
     (SELECT COUNT(*) FROM turns WHERE look_at IS NOT NULL AND state = 'awaiting') \
         + (SELECT COUNT(*) FROM turns WHERE state = 'late') AS awaiting_turns, \
     (SELECT COUNT(*) FROM turns WHERE look_at IS NOT NULL AND state = 'unclear') AS unclear_turns, \
     (SELECT COUNT(*) FROM conversations WHERE binding_wanted_since IS NOT NULL) AS unbound, \
     (SELECT COUNT(*) FROM conversations WHERE state = 'quarantined') AS quarantined, \
     (SELECT COUNT(*) FROM deliveries WHERE state = 'pending') AS pending_deliveries, \
     (SELECT COUNT(*) FROM deliveries WHERE state = 'dead') AS dead_deliveries, \
     (SELECT MIN(due.at) FROM (SELECT (SELECT MIN(c.turn_due_at) FROM conversations AS c \
          WHERE c.frontend = f.frontend AND c.turn_due_at IS NOT NULL) AS at FROM (SELECT DISTINCT frontend FROM waiting) AS f) AS due \
          WHERE due.at <= $1) AS oldest_due_turn, \
     (SELECT MIN(due.at) FROM ( \
          SELECT (SELECT MIN(l.due_at) FROM lanes AS l WHERE l.frontend = f.frontend AND l.is_retry = FALSE) AS at \
          FROM called AS f \
          UNION ALL \
          SELECT (SELECT MIN(l.due_at) FROM lanes AS l WHERE l.frontend = f.frontend AND l.is_retry = TRUE) \
          FROM called AS f \
          UNION ALL \
          SELECT (SELECT MIN(l.due_at) FROM destination_lanes AS l WHERE l.due_at IS NOT NULL AND l.due_at <= $1 AND ",
    is_called!("l.frontend"),
    ")) AS due WHERE due.at <= $1) AS oldest_due_delivery, \
     (SELECT COUNT(*) FROM conversations \
          WHERE watch_until IS NOT NULL AND interaction_id IS NOT NULL AND watch_until > $1) AS watched"
);

/// A row of the lanes of some destinations; asked destination by destination, in the order of the index.
macro_rules! held_lanes {
    ($kind:literal, $of:literal, $lanes:literal, $due:literal) => {
        concat!(
            "SELECT '",
            $kind,
            "', CAST(COALESCE(SUM((SELECT COUNT(*) FROM ",
            $lanes,
            " AS l WHERE l.frontend = f.frontend",
            $due,
            ")), 0) AS BIGINT), MIN((SELECT MIN(l.due_at) FROM ",
            $lanes,
            " AS l WHERE l.frontend = f.frontend",
            $due,
            ")) FROM ",
            $of,
            " AS f"
        )
    };
}

/// Work that is held up, in rows of number and start: messages behind one in flight (or a Fini conversation that is looked
/// for), quarantines, callbacks of paused destinations, callbacks of those that are left alone ($2, or as they asked), and
/// messages that are not sent to Fini at present ($3).
pub(super) const HELD: &str = concat!(
    "WITH busy AS (SELECT conversation_key AS key FROM turns WHERE state = 'sending' \
        UNION SELECT conversation_key FROM turns WHERE look_at IS NOT NULL AND state = 'awaiting' \
        UNION SELECT conversation_key FROM turns WHERE look_at IS NOT NULL AND state = 'unclear' \
        UNION SELECT key FROM conversations WHERE binding_wanted_since IS NOT NULL), \
     paused AS (SELECT frontend FROM frontends WHERE hold_reason IS NOT NULL), \
     alone AS (SELECT value AS frontend FROM ",
    texts!("$2"),
    " AS named WHERE value NOT IN (SELECT frontend FROM paused) UNION SELECT frontend FROM frontends \
        WHERE not_before > $1 AND hold_reason IS NULL), \
     unsent AS (SELECT value AS frontend FROM ",
    texts!("$3"),
    " AS named) \
     SELECT 'turn' AS kind, COUNT(*) AS held, MIN(t.accepted_at) AS since FROM busy JOIN turns AS t \
        ON t.conversation_key = busy.key AND t.state = 'queued' AND t.state IN ('queued', 'sending', 'awaiting', 'unclear') \
     UNION ALL SELECT 'quarantine', COUNT(*), MIN(COALESCE(quarantined_since, updated_at)) FROM conversations \
        WHERE state = 'quarantined' \
     UNION ALL ",
    held_lanes!("pause", "paused", "lanes", ""),
    " UNION ALL ",
    held_lanes!("pause", "paused", "destination_lanes", ""),
    " UNION ALL ",
    held_lanes!("breaker", "alone", "lanes", " AND l.due_at <= $1"),
    " UNION ALL ",
    held_lanes!("breaker", "alone", "destination_lanes", " AND l.due_at <= $1"),
    " \
     UNION ALL SELECT 'breaker', CAST(COALESCE(SUM((SELECT COUNT(*) FROM conversations AS c WHERE c.frontend = f.frontend \
            AND c.turn_due_at IS NOT NULL AND c.turn_due_at <= $1)), 0) AS BIGINT), \
        MIN((SELECT MIN(c.turn_due_at) FROM conversations AS c WHERE c.frontend = f.frontend AND c.turn_due_at IS NOT NULL \
            AND c.turn_due_at <= $1)) FROM unsent AS f"
);

/// Reads the figures at `now`.
async fn backlog(conn: &mut Conn, left_alone: &LeftAlone, now: Timestamp) -> Result<Backlog> {
    let destinations = rows::array(left_alone.destinations.iter().map(ToString::to_string))?;
    let row = db::query(BACKLOG).bind(now.as_millis()).bind(&destinations).fetch_one(&mut *conn).await?;
    let held = db::query(HELD)
        .bind(now.as_millis())
        .bind(&destinations)
        .bind(rows::array(left_alone.frontends.iter().map(FrontendName::as_str))?)
        .fetch_all(conn)
        .await?;
    Ok(Backlog {
        queued_turns: rows::count(&row, "queued_turns")?,
        sending_turns: rows::count(&row, "sending_turns")?,
        awaiting_turns: rows::count(&row, "awaiting_turns")?,
        unclear_turns: rows::count(&row, "unclear_turns")?,
        unbound: rows::count(&row, "unbound")?,
        quarantined: rows::count(&row, "quarantined")?,
        pending_deliveries: rows::count(&row, "pending_deliveries")?,
        dead_deliveries: rows::count(&row, "dead_deliveries")?,
        oldest_due_turn: rows::maybe_time(&row, "oldest_due_turn")?,
        oldest_due_delivery: rows::maybe_time(&row, "oldest_due_delivery")?,
        watched: rows::count(&row, "watched")?,
        behind_turns: sum(&held, "turn")?,
        in_quarantine: sum(&held, "quarantine")?,
        paused: sum(&held, "pause")?,
        left_alone: sum(&held, "breaker")?,
    })
}

/// Sums up one kind of held-up work over its rows.
fn sum(all: &[Row], kind: &str) -> Result<Held> {
    let mut sum = Held::default();
    for row in all {
        if rows::text(row, "kind")? == kind {
            sum.count += rows::count(row, "held")?;
            sum.since = [sum.since, rows::maybe_time(row, "since")?].into_iter().flatten().min();
        }
    }
    Ok(sum)
}
