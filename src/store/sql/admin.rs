//! The figures behind metrics and readiness. Each comes from an index that holds little more than what is counted, so
//! that asking stays cheap however much has been settled.

use futures_util::FutureExt;

use super::{Conn, ThisStore, db, rows};
use crate::{
    domain::Timestamp,
    store::{AdminStore, Backlog, Result},
};

#[async_trait::async_trait]
impl AdminStore for ThisStore {
    async fn backlog(&self, now: Timestamp) -> Result<Backlog> {
        self.read(now, |conn, now| backlog(conn, *now).boxed()).await
    }
}

/// All figures in one statement. Due times are asked for per frontend, the first column of both indexes.
pub(super) const BACKLOG: &str = "WITH called AS (SELECT DISTINCT frontend FROM waiting \
         WHERE frontend NOT IN (SELECT frontend FROM frontends WHERE hold_reason IS NOT NULL)) SELECT \
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
          SELECT (SELECT MIN(l.due_at) FROM destination_lanes AS l WHERE l.due_at IS NOT NULL AND l.due_at <= $1 \
              AND l.frontend NOT IN (SELECT frontend FROM frontends WHERE hold_reason IS NOT NULL))) AS due \
          WHERE due.at <= $1) AS oldest_due_delivery, \
     (SELECT COUNT(*) FROM conversations \
          WHERE watch_until IS NOT NULL AND interaction_id IS NOT NULL AND watch_until > $1) AS watched";

/// The figures at `now`.
async fn backlog(conn: &mut Conn, now: Timestamp) -> Result<Backlog> {
    let row = db::query(BACKLOG).bind(now.as_millis()).fetch_one(conn).await?;
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
    })
}
