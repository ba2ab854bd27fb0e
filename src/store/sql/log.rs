//! The log of each frontend: giving committed events their positions, and reading by cursor.
//!
//! On a database with many writers a number that is taken inside a transaction may become visible after a higher one, and a
//! reader that has passed the higher one never sees it. So events get their positions behind their commit, from one process at
//! a time (`dialect::lock_log`) that holds the lock until its own commit: positions become visible in their order. Compared
//! with reading below the oldest running transaction (`pg_snapshot_xmin`), a long transaction never stops the log, a restored
//! dump keeps its order, and events of an older version get positions too; it costs one small update for each event.
//!
//! Invariants: a position is given once and never changes; within a conversation positions follow the feed; a cursor below the
//! pruned part is refused, never read on from.

use futures_util::FutureExt;

use super::{Conn, Cx, Row, ThisStore, db, dialect, report, rows};
use crate::{
    domain::{
        Timestamp,
        ids::{ConversationId, ConversationKey, EventId, FrontendName},
        log::{ERASED, LogCursor, erased_body},
    },
    store::{Change, LogEntry, LogPage, LogQuery, LogRead, LogStart, LogStore, Result},
};

/// Entries that one statement examines.
const CHUNK: i64 = 1_000;
/// The most chunks that one read examines if few of their entries are wanted.
const CHUNKS: usize = 20;

#[async_trait::async_trait]
impl LogStore for ThisStore {
    async fn number_log(&self, most: usize) -> Result<usize> {
        // The common case costs no transaction and no lock.
        if self.read((), |conn, ()| is_numbered(conn).boxed()).await? {
            return Ok(0);
        }
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        self.write(most, |conn, cx, most| number(conn, cx, *most).boxed()).await
    }

    async fn log(&self, query: &LogQuery) -> Result<LogRead> {
        self.serve(query.clone(), |conn, query| read(conn, query).boxed()).await
    }

    async fn log_start(&self, frontend: &FrontendName, start: LogStart) -> Result<LogCursor> {
        self.serve((frontend.clone(), start), |conn, of| start_at(conn, &of.0, of.1).boxed()).await
    }
}

/// The oldest event and notice without a position, and the positions that the log has given and the report has counted.
pub(in crate::store) const UNNUMBERED: &str = "SELECT (SELECT MIN(recorded_at) FROM events WHERE log_position IS NULL) AS event, \
        (SELECT MIN(key) FROM log_notices) AS notice, \
        COALESCE((SELECT position FROM log_head WHERE name = 'log'), 0) AS head, \
        COALESCE((SELECT position FROM log_head WHERE name = 'report'), 0) AS counted";

async fn is_numbered(conn: &mut Conn) -> Result<bool> {
    let row = db::query(UNNUMBERED).fetch_one(conn).await?;
    let is_counted = rows::int(&row, "counted")? >= rows::int(&row, "head")?;
    Ok(is_counted && rows::maybe_time(&row, "event")?.is_none() && rows::maybe_time(&row, "notice")?.is_none())
}

/// Numbers the oldest events without a position, beginning behind `$1`: of each conversation all up to the youngest that is
/// taken, in the order of its feed, whatever their times.
pub(in crate::store) const NUMBER: &str = "WITH due AS (SELECT conversation_key, sequence FROM events \
         WHERE log_position IS NULL ORDER BY recorded_at LIMIT $2), \
     firsts AS (SELECT conversation_key, MAX(sequence) AS most FROM due GROUP BY conversation_key), \
     whole AS (SELECT e.conversation_key AS k, e.sequence AS s, \
             MAX(e.recorded_at) OVER (PARTITION BY e.conversation_key ORDER BY e.sequence) AS at \
         FROM firsts CROSS JOIN events AS e \
         WHERE e.conversation_key = firsts.conversation_key AND e.sequence <= firsts.most AND e.log_position IS NULL), \
     numbered AS (SELECT k, s, ROW_NUMBER() OVER (ORDER BY at, k, s) AS number FROM whole) \
     UPDATE events SET log_position = $1 + numbered.number FROM numbered \
     WHERE events.conversation_key = numbered.k AND events.sequence = numbered.s \
     RETURNING events.conversation_key, events.log_position";

/// Enters the events numbered behind `$1`, of the conversations `$3`, and returns their frontends and time stamps. A body begins
/// with id, type and time stamp.
pub(in crate::store) const ENTER: &str = concat!(
    "INSERT INTO log_entries (frontend, position, event_id, kind, conversation_key, sequence, recorded_at, shown_at) \
     SELECT c.frontend, e.log_position, e.id, e.kind, e.conversation_key, e.sequence, e.recorded_at, ",
    later_text!(
        "$2",
        concat!(
            "MAX(SUBSTR(e.body, ",
            text_position!("e.body", "'\"timestamp\":\"'"),
            " + 13, 24)) OVER (ORDER BY e.log_position)"
        )
    ),
    " FROM events AS e JOIN conversations AS c ON c.key = e.conversation_key \
     WHERE e.log_position > $1 AND e.conversation_key",
    is_key_in!("$3"),
    " RETURNING frontend, shown_at",
);

async fn number(conn: &mut Conn, cx: &mut Cx, most: i64) -> Result<usize> {
    dialect::lock_log(conn).await?;
    let heads = db::query(HEADS).fetch_one(&mut *conn).await?;
    let before = rows::int(&heads, "position")?;
    let shown_at = rows::maybe_text(&heads, "shown_at")?.unwrap_or_default();
    let counted = rows::int(&heads, "counted")?;
    let mut head = before;
    let numbered: Vec<(i64, i64)> = db::query_as(NUMBER).bind(head).bind(most).fetch_all(&mut *conn).await?;
    let mut grown: Vec<String> = Vec::new();
    let mut latest = shown_at.clone();
    if !numbered.is_empty() {
        let mut keys: Vec<i64> = numbered.iter().map(|(key, _)| *key).collect();
        keys.sort_unstable();
        keys.dedup();
        let entered: Vec<(String, String)> =
            db::query_as(ENTER).bind(head).bind(shown_at).bind(rows::array(&keys)?).fetch_all(&mut *conn).await?;
        head = numbered.iter().map(|(_, position)| *position).max().unwrap_or(head);
        for (frontend, shown_at) in entered {
            latest = latest.max(shown_at);
            if !grown.contains(&frontend) {
                grown.push(frontend);
            }
        }
    }
    let has_notices = rows::flag(&heads, "has_notices")?;
    let notices = if has_notices { enter_notices(conn, cx, &mut head, &mut latest, &mut grown).await? } else { 0 };
    let folded = report::catch_up(conn, (counted, before, head), &grown).await?;
    if folded == counted && head == before {
        return Ok(0);
    }
    db::query(
        "INSERT INTO log_head (name, position, shown_at) VALUES ('log', $1, $2), ('report', $3, '') \
         ON CONFLICT (name) DO UPDATE SET position = excluded.position, shown_at = excluded.shown_at",
    )
    .bind(head)
    .bind(latest)
    .bind(folded)
    .execute(conn)
    .await?;
    for frontend in grown {
        cx.announce(Change::Feed(ConversationKey::log(&FrontendName::trusted(frontend))));
    }
    // What an older version left uncounted is work as well.
    Ok((numbered.len() + notices).max(usize::try_from(folded - counted).unwrap_or(usize::MAX)))
}

/// The positions that the log has given and the report has counted, and whether there are notices.
const HEADS: &str = "SELECT COALESCE((SELECT position FROM log_head WHERE name = 'log'), 0) AS position, \
        (SELECT shown_at FROM log_head WHERE name = 'log') AS shown_at, \
        COALESCE((SELECT position FROM log_head WHERE name = 'report'), 0) AS counted, \
        EXISTS (SELECT 1 FROM log_notices) AS has_notices";

/// Enters the notices, which stand in no feed, behind `head`.
async fn enter_notices(
    conn: &mut Conn,
    cx: &Cx,
    head: &mut i64,
    latest: &mut String,
    grown: &mut Vec<String>,
) -> Result<usize> {
    let notices = db::query(
        "SELECT key, frontend, conversation_key, event_id, kind, body, recorded_at FROM log_notices ORDER BY key LIMIT 100",
    )
    .fetch_all(&mut *conn)
    .await?;
    for notice in &notices {
        *head += 1;
        let now = cx.rules().wall.now().point().to_string();
        if now > *latest {
            *latest = now;
        }
        let (frontend, body) = (rows::text(notice, "frontend")?, rows::text(notice, "body")?);
        db::query(
            "INSERT INTO log_entries (frontend, position, event_id, kind, conversation_key, sequence, body, recorded_at, \
                shown_at) VALUES ($1, $2, $3, $4, $5, 0, $6, $7, $8)",
        )
        .bind(frontend.as_str())
        .bind(*head)
        .bind(rows::text(notice, "event_id")?)
        .bind(rows::text(notice, "kind")?)
        .bind(rows::int(notice, "conversation_key")?)
        .bind(body)
        .bind(rows::int(notice, "recorded_at")?)
        .bind(latest.as_str())
        .execute(&mut *conn)
        .await?;
        db::query("DELETE FROM log_notices WHERE key = $1").bind(rows::int(notice, "key")?).execute(&mut *conn).await?;
        if !grown.contains(&frontend) {
            grown.push(frontend);
        }
    }
    Ok(notices.len())
}

/// Files a notice that a conversation was erased; the log reports it by the hash of its id.
pub(in crate::store) async fn tell_erased(
    conn: &mut Conn,
    cx: &mut Cx,
    frontend: &FrontendName,
    (key, id): (ConversationKey, &ConversationId),
    now: Timestamp,
) -> Result<()> {
    let event = EventId::trusted(cx.id("evt_", now));
    let body = erased_body(&event, cx.rules().wall.now(), frontend, id);
    db::query(
        "INSERT INTO log_notices (frontend, conversation_key, event_id, kind, body, recorded_at) \
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(frontend.as_str())
    .bind(key.0)
    .bind(event.as_str())
    .bind(ERASED)
    .bind(body)
    .bind(now.as_millis())
    .execute(conn)
    .await?;
    Ok(())
}

/// The last position and the pruned one of a log, with their events.
pub(in crate::store) const BOUNDS: &str = "SELECT \
        (SELECT position FROM log_pruned WHERE frontend = $1) AS pruned, \
        (SELECT event_id FROM log_pruned WHERE frontend = $1) AS pruned_event, \
        (SELECT position FROM log_entries WHERE frontend = $1 ORDER BY position DESC LIMIT 1) AS last, \
        (SELECT event_id FROM log_entries WHERE frontend = $1 ORDER BY position DESC LIMIT 1) AS last_event";

/// The bounds of the part of a log that is kept.
struct Bounds {
    oldest: LogCursor,
    end: LogCursor,
}

async fn bounds(conn: &mut Conn, frontend: &FrontendName) -> Result<Bounds> {
    let row = db::query(BOUNDS).bind(frontend.as_str()).fetch_one(conn).await?;
    let oldest = maybe_cursor(&row, "pruned", "pruned_event")?.unwrap_or(LogCursor::START);
    Ok(Bounds { oldest, end: maybe_cursor(&row, "last", "last_event")?.unwrap_or(oldest) })
}

fn maybe_cursor(row: &Row, position: &str, event: &str) -> Result<Option<LogCursor>> {
    let position = rows::maybe_time(row, position)?.map(Timestamp::as_millis);
    let event = rows::maybe_text(row, event)?.map(EventId::trusted);
    Ok(position.zip(event).map(|(position, event)| LogCursor::behind(position, &event)))
}

async fn read(conn: &mut Conn, query: &LogQuery) -> Result<LogRead> {
    let before = bounds(conn, &query.frontend).await?;
    if query.after.position >= before.oldest.position && !is_given(conn, query, &before).await? {
        return Ok(LogRead::Unknown);
    }
    let page = match &query.conversation {
        None => page(conn, query, before.end).await?,
        Some(id) => page_of(conn, query, id, before.end).await?,
    };
    // Read last: entries pruned meanwhile may be missing in the page.
    let oldest = bounds(conn, &query.frontend).await?.oldest;
    Ok(if query.after.position < oldest.position { LogRead::Expired { oldest } } else { LogRead::Page(page) })
}

/// Returns true if this log gave that cursor.
async fn is_given(conn: &mut Conn, query: &LogQuery, bounds: &Bounds) -> Result<bool> {
    let after = query.after;
    if after == bounds.oldest || after == bounds.end || after == LogCursor::START {
        return Ok(true);
    }
    let event: Option<String> =
        db::query_scalar("SELECT event_id FROM log_entries WHERE frontend = $1 AND position = $2")
            .bind(query.frontend.as_str())
            .bind(after.position)
            .fetch_optional(conn)
            .await?;
    Ok(event.is_some_and(|event| LogCursor::behind(after.position, &EventId::trusted(event)) == after))
}

/// Entries with the sizes of their bodies; an entry of an erased conversation has none.
pub(in crate::store) const ENTRIES: &str = "SELECT l.position, l.event_id, l.kind, \
        CAST(OCTET_LENGTH(COALESCE(l.body, e.body)) AS BIGINT) AS bytes \
     FROM log_entries AS l LEFT JOIN events AS e ON e.conversation_key = l.conversation_key AND e.sequence = l.sequence \
     WHERE l.frontend = $1 AND l.position > $2 ORDER BY l.position LIMIT $3";

/// The same of one conversation, by its feed.
pub(in crate::store) const ENTRIES_OF: &str = "SELECT e.log_position AS position, e.id AS event_id, e.kind, \
        CAST(OCTET_LENGTH(e.body) AS BIGINT) AS bytes \
     FROM events AS e WHERE e.conversation_key = $1 AND e.log_position > $2 AND e.log_position <= $3 \
     ORDER BY e.sequence LIMIT $4";

/// Their bodies.
pub(in crate::store) const BODIES: &str = concat!(
    "SELECT l.position, l.event_id, l.kind, COALESCE(l.body, e.body) AS body \
     FROM log_entries AS l LEFT JOIN events AS e ON e.conversation_key = l.conversation_key AND e.sequence = l.sequence \
     WHERE l.frontend = $1 AND l.position",
    is_key_in!("$2"),
    " ORDER BY l.position",
);

/// The entries picked so far by one read.
struct Picking<'a> {
    query: &'a LogQuery,
    picked: Vec<i64>,
    bytes: usize,
    reached: LogCursor,
    is_full: bool,
}

impl<'a> Picking<'a> {
    const fn new(query: &'a LogQuery) -> Self {
        Self { query, picked: Vec::new(), bytes: 0, reached: query.after, is_full: false }
    }

    /// Examines one entry; once there is no more room, none beyond it.
    fn look(&mut self, row: &Row) -> Result<()> {
        if self.is_full {
            return Ok(());
        }
        let bytes =
            rows::maybe_time(row, "bytes")?.map(|bytes| usize::try_from(bytes.as_millis()).unwrap_or(usize::MAX));
        let (position, event) = (rows::int(row, "position")?, EventId::trusted(rows::text(row, "event_id")?));
        if let Some(bytes) = bytes.filter(|_| self.query.types.wants(&rows::text(row, "kind").unwrap_or_default())) {
            let most = self.query.most;
            let total = self.bytes.saturating_add(bytes);
            if self.picked.len() >= most.entries || (!self.picked.is_empty() && total > most.bytes) {
                self.is_full = true;
                return Ok(());
            }
            self.picked.push(position);
            self.bytes = total;
        }
        self.reached = LogCursor::behind(position, &event);
        Ok(())
    }

    async fn page(self, conn: &mut Conn, has_more: bool) -> Result<LogPage> {
        let found = db::query(BODIES)
            .bind(self.query.frontend.as_str())
            .bind(rows::array(&self.picked)?)
            .fetch_all(conn)
            .await?;
        let mut entries = Vec::with_capacity(found.len());
        for row in &found {
            // Erased since it was examined.
            let Some(body) = rows::maybe_text(row, "body")? else { continue };
            let event = EventId::trusted(rows::text(row, "event_id")?);
            let cursor = LogCursor::behind(rows::int(row, "position")?, &event);
            entries.push(LogEntry { cursor, kind: rows::text(row, "kind")?, body });
        }
        Ok(LogPage { entries, reached: self.reached, has_more: has_more || self.is_full })
    }
}

async fn page(conn: &mut Conn, query: &LogQuery, end: LogCursor) -> Result<LogPage> {
    let mut picking = Picking::new(query);
    // Most often every entry is wanted.
    let mut limit = i64::try_from(query.most.entries).unwrap_or(i64::MAX).saturating_add(1);
    for _ in 0..CHUNKS {
        let found = db::query(ENTRIES)
            .bind(query.frontend.as_str())
            .bind(picking.reached.position)
            .bind(limit)
            .fetch_all(&mut *conn)
            .await?;
        for row in &found {
            picking.look(row)?;
        }
        let is_end = i64::try_from(found.len()).is_ok_and(|found| found < limit);
        if picking.is_full || is_end {
            return picking.page(conn, false).await;
        }
        limit = CHUNK;
    }
    let has_more = picking.reached.position < end.position;
    picking.page(conn, has_more).await
}

/// Reads the entries of one conversation; once all were examined, reading goes on from the end that the log had before.
async fn page_of(conn: &mut Conn, query: &LogQuery, id: &ConversationId, end: LogCursor) -> Result<LogPage> {
    let key: Option<i64> = db::query_scalar(
        "SELECT key FROM conversations WHERE frontend = $1 AND conversation_id = $2 AND erased_at IS NULL",
    )
    .bind(query.frontend.as_str())
    .bind(id.as_str())
    .fetch_optional(&mut *conn)
    .await?;
    let mut picking = Picking::new(query);
    let Some(key) = key else { return Ok(LogPage { entries: Vec::new(), reached: end, has_more: false }) };
    for _ in 0..CHUNKS {
        let found = db::query(ENTRIES_OF)
            .bind(key)
            .bind(picking.reached.position)
            .bind(end.position)
            .bind(CHUNK)
            .fetch_all(&mut *conn)
            .await?;
        for row in &found {
            picking.look(row)?;
        }
        if picking.is_full {
            return picking.page(conn, true).await;
        }
        if i64::try_from(found.len()).is_ok_and(|found| found < CHUNK) {
            if picking.reached.position < end.position {
                picking.reached = end;
            }
            return picking.page(conn, false).await;
        }
    }
    picking.page(conn, true).await
}

/// The first entry with the earliest time stamp that is not earlier than $2.
pub(in crate::store) const SINCE: &str = "SELECT MIN(position) FROM log_entries WHERE frontend = $1 AND shown_at = (SELECT MIN(shown_at) FROM log_entries \
     WHERE frontend = $1 AND shown_at >= $2)";

async fn start_at(conn: &mut Conn, frontend: &FrontendName, start: LogStart) -> Result<LogCursor> {
    let Bounds { oldest, end } = bounds(conn, frontend).await?;
    let since = match start {
        LogStart::Oldest => return Ok(oldest),
        LogStart::End => return Ok(end),
        LogStart::Since(since) => since,
    };
    let first: Option<i64> =
        db::query_scalar(SINCE).bind(frontend.as_str()).bind(since.to_string()).fetch_one(&mut *conn).await?;
    let Some(first) = first else { return Ok(end) };
    let before = db::query(
        "SELECT position, event_id FROM log_entries WHERE frontend = $1 AND position < $2 ORDER BY position DESC LIMIT 1",
    )
    .bind(frontend.as_str())
    .bind(first)
    .fetch_optional(conn)
    .await?;
    let before = before.as_ref().map(|row| maybe_cursor(row, "position", "event_id")).transpose()?.flatten();
    Ok(before.unwrap_or(oldest))
}

/// Removes the oldest entries of each log that were recorded before the retention; returns the number of rows.
pub(in crate::store) async fn prune(conn: &mut Conn, before: i64, limit: i64) -> Result<u64> {
    let frontends: Vec<String> =
        db::query_scalar("SELECT DISTINCT frontend FROM waiting").fetch_all(&mut *conn).await?;
    let mut pruned = 0;
    for frontend in frontends {
        let oldest = db::query(
            "SELECT position, event_id, recorded_at FROM log_entries WHERE frontend = $1 ORDER BY position LIMIT $2",
        )
        .bind(frontend.as_str())
        .bind(limit)
        .fetch_all(&mut *conn)
        .await?;
        let mut last = None;
        for row in &oldest {
            if rows::int(row, "recorded_at")? > before {
                break;
            }
            last = Some((rows::int(row, "position")?, rows::text(row, "event_id")?));
        }
        let Some((position, event)) = last else { continue };
        db::query(
            "INSERT INTO log_pruned (frontend, position, event_id) VALUES ($1, $2, $3) \
             ON CONFLICT (frontend) DO UPDATE SET position = excluded.position, event_id = excluded.event_id",
        )
        .bind(frontend.as_str())
        .bind(position)
        .bind(event)
        .execute(&mut *conn)
        .await?;
        let deleted = db::query("DELETE FROM log_entries WHERE frontend = $1 AND position <= $2")
            .bind(frontend.as_str())
            .bind(position)
            .execute(&mut *conn)
            .await?;
        pruned += deleted.rows_affected();
    }
    Ok(pruned)
}
