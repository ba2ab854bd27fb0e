//! The watched conversations and their next reads; the named leases and notes of readers.
//!
//! Never decides when something is read: it keeps the times it is given and hands out due reads.

use std::time::Duration;

use futures_util::FutureExt;

use super::{Conn, Row, ThisStore, bindings::reference, db, prune, rows};
use crate::{
    domain::{
        Timestamp,
        evidence::gone::Misses,
        ids::{ConversationKey, InteractionId},
    },
    store::{DueRead, Lease, Missed, ReadingStore, Result, WatchSummary, WatchedConversation},
};

#[async_trait::async_trait]
impl ReadingStore for ThisStore {
    async fn watch_summary(&self, now: Timestamp) -> Result<WatchSummary> {
        self.read(now, |conn, now| watch_summary(conn, *now).boxed()).await
    }

    async fn longest_watched(&self, now: Timestamp, limit: usize) -> Result<Vec<WatchedConversation>> {
        self.read((now, limit), |conn, (now, limit)| watched(conn, WATCHED_UNTIL, *now, Timestamp::MAX, *limit).boxed())
            .await
    }

    async fn watched_until(&self, now: Timestamp, until: Timestamp, limit: usize) -> Result<Vec<WatchedConversation>> {
        self.read((now, until, limit), |conn, of| watched(conn, WATCHED_UNTIL, of.0, of.1, of.2).boxed()).await
    }

    async fn watched_below(&self, now: Timestamp, latest: Timestamp, limit: usize) -> Result<Vec<WatchedConversation>> {
        self.read((now, latest, limit), |conn, of| watched(conn, WATCHED_BELOW, of.0, of.1, of.2).boxed()).await
    }

    async fn due_reads(&self, now: Timestamp, limit: usize) -> Result<Vec<DueRead>> {
        self.read((now, limit), |conn, (now, limit)| due_reads(conn, *now, *limit).boxed()).await
    }

    async fn next_read_at(&self) -> Result<Option<Timestamp>> {
        self.read((), |conn, ()| next_read_at(conn).boxed()).await
    }

    async fn schedule_read(&self, conversation: ConversationKey, due_at: Option<Timestamp>, misses: u32) -> Result<()> {
        self.write_once((conversation, due_at, misses), |conn, _, of| schedule_read(conn, of.0, of.1, of.2).boxed())
            .await
    }

    async fn count_miss(
        &self,
        conversation: ConversationKey,
        interaction: &InteractionId,
        asked_at: Timestamp,
    ) -> Result<Option<Missed>> {
        let miss = (conversation, interaction.clone(), asked_at);
        self.write(miss, |conn, _, of| count_miss(conn, of.0, &of.1, of.2).boxed()).await
    }

    async fn take_lease(&self, name: &str, lease: &Lease) -> Result<bool> {
        self.write_once((name.to_owned(), lease.clone()), |conn, _, (name, lease)| {
            take_lease(conn, name, lease).boxed()
        })
        .await
    }

    async fn give_lease(&self, name: &str, lease: &Lease) -> Result<()> {
        self.write_once((name.to_owned(), lease.clone()), |conn, _, (name, lease)| {
            give_lease(conn, name, lease).boxed()
        })
        .await
    }

    async fn remember(&self, name: &str, value: &str) -> Result<()> {
        self.write_once((name.to_owned(), value.to_owned()), |conn, _, (name, value)| {
            remember(conn, name, value).boxed()
        })
        .await
    }

    async fn recall(&self, name: &str) -> Result<Option<String>> {
        self.read(name.to_owned(), |conn, name| recall(conn, name).boxed()).await
    }

    async fn prune(&self, now: Timestamp, retention: Duration, batch: usize) -> Result<usize> {
        self.write((now, retention, batch), |conn, _, of| prune::prune(conn, of.0, of.1, of.2).boxed()).await
    }
}

/// The totals over the watch; answered by one index alone.
pub(super) const WATCH_SUMMARY: &str = "SELECT COUNT(*) AS watched, \
         CAST(COALESCE(SUM(CASE WHEN state = 'escalated' THEN 1 ELSE 0 END), 0) AS BIGINT) AS escalated, \
         MIN(created_at) AS oldest FROM conversations \
     WHERE watch_until IS NOT NULL AND interaction_id IS NOT NULL AND watch_until > $1";

macro_rules! watched {
    ($rest:literal) => {
        concat!(
            "SELECT key, frontend, conversation_id, interaction_id, state, last_activity_at, watch_until \
             FROM conversations WHERE watch_until IS NOT NULL AND interaction_id IS NOT NULL AND watch_until > $1 ",
            $rest
        )
    };
}

/// A part of the watch, read backwards from a place in one index.
pub(super) const WATCHED_UNTIL: &str = watched!("AND watch_until <= $2 ORDER BY watch_until DESC LIMIT $3");

/// The watch by last activity: no index holds that order.
const WATCHED_BELOW: &str = watched!("AND last_activity_at <= $2 ORDER BY last_activity_at DESC LIMIT $3");

macro_rules! due_reads_of {
    ($urgency:literal) => {
        concat!(
            "SELECT * FROM (SELECT key, frontend, conversation_id, interaction_id, state, read_at, read_misses, \
                 read_urgency, last_activity_at FROM conversations \
             WHERE read_urgency = ",
            $urgency,
            " AND read_at IS NOT NULL AND read_at <= $1 AND interaction_id IS NOT NULL \
             ORDER BY read_at LIMIT $2) AS urgency_",
            $urgency
        )
    };
}
/// The reads of each urgency, earliest due first: parts of one index, so that reads that are not due yet are never looked at.
pub(super) const DUE_READS: &str =
    concat!(due_reads_of!("0"), " UNION ALL ", due_reads_of!("1"), " UNION ALL ", due_reads_of!("2"));

/// The first read of each urgency.
pub(super) const NEXT_READ: &str = "SELECT MIN(firsts.at) FROM ( \
         SELECT MIN(read_at) AS at FROM conversations WHERE read_at IS NOT NULL AND read_urgency = 0 \
         UNION ALL SELECT MIN(read_at) FROM conversations WHERE read_at IS NOT NULL AND read_urgency = 1 \
         UNION ALL SELECT MIN(read_at) FROM conversations WHERE read_at IS NOT NULL AND read_urgency = 2) AS firsts";

/// Reads the totals over the watch.
async fn watch_summary(conn: &mut Conn, now: Timestamp) -> Result<WatchSummary> {
    let row = db::query(WATCH_SUMMARY).bind(now.as_millis()).fetch_one(conn).await?;
    Ok(WatchSummary {
        watched: rows::count(&row, "watched")?,
        escalated: rows::count(&row, "escalated")?,
        oldest_created_at: rows::maybe_time(&row, "oldest")?,
    })
}

/// Reads watched conversations, by one of the statements above.
async fn watched(
    conn: &mut Conn,
    statement: &'static str,
    now: Timestamp,
    until: Timestamp,
    limit: usize,
) -> Result<Vec<WatchedConversation>> {
    let found = db::query(statement)
        .bind(now.as_millis())
        .bind(until.as_millis())
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(conn)
        .await?;
    found
        .iter()
        .map(|row| {
            Ok(WatchedConversation {
                conversation: reference(row)?,
                interaction: InteractionId::trusted(rows::text(row, "interaction_id")?),
                state: rows::state(row, "state")?,
                last_activity_at: rows::time(row, "last_activity_at")?,
                watch_until: rows::time(row, "watch_until")?,
            })
        })
        .collect()
}

/// Reads due reads, most urgent first.
async fn due_reads(conn: &mut Conn, now: Timestamp, limit: usize) -> Result<Vec<DueRead>> {
    let found = db::query(DUE_READS)
        .bind(now.as_millis())
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(conn)
        .await?;
    let read = |row: &Row| Ok((rows::int(row, "read_urgency")?, due_read(row)?));
    let mut due = found.iter().map(read).collect::<Result<Vec<_>>>()?;
    due.sort_by_key(|(urgency, read)| (*urgency, read.due_at));
    Ok(due.into_iter().take(limit).map(|(_, read)| read).collect())
}

/// Returns the time of the next read.
async fn next_read_at(conn: &mut Conn) -> Result<Option<Timestamp>> {
    let at: Option<i64> = db::query_scalar(NEXT_READ).fetch_one(conn).await?;
    Ok(at.map(Timestamp::from_millis))
}

/// Sets the next read. After a miss it keeps its urgency; after any other read the conversation is read in its ordinary
/// turn again. Only a conversation that has a binding can be read.
async fn schedule_read(
    conn: &mut Conn,
    conversation: ConversationKey,
    due_at: Option<Timestamp>,
    misses: u32,
) -> Result<()> {
    db::query(
        "UPDATE conversations SET read_at = CASE WHEN interaction_id IS NULL THEN NULL ELSE $2 END, read_misses = $3, \
             missed_since = CASE WHEN $3 > 0 THEN missed_since END, \
             read_urgency = CASE WHEN $3 > 0 THEN read_urgency WHEN state = 'escalated' THEN 1 ELSE 2 END \
         WHERE key = $1",
    )
    .bind(conversation.0)
    .bind(due_at.map(Timestamp::as_millis))
    .bind(i64::from(misses))
    .execute(conn)
    .await?;
    Ok(())
}

/// Counts a read that did not find the conversation.
async fn count_miss(
    conn: &mut Conn,
    conversation: ConversationKey,
    interaction: &InteractionId,
    asked_at: Timestamp,
) -> Result<Option<Missed>> {
    let row = db::query(
        "UPDATE conversations SET read_misses = read_misses + 1, missed_since = COALESCE(missed_since, $3) \
         WHERE key = $1 AND interaction_id = $2 \
         RETURNING read_misses, missed_since, COALESCE(latest_message_at, created_at) AS latest_at",
    )
    .bind(conversation.0)
    .bind(interaction.as_str())
    .bind(asked_at.as_millis())
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Missed {
        count: rows::small(&row, "read_misses")?,
        misses: Misses { first_at: rows::time(&row, "missed_since")?, last_at: asked_at },
        latest_at: rows::time(&row, "latest_at")?,
    }))
}

/// Takes or renews a named lease.
async fn take_lease(conn: &mut Conn, name: &str, lease: &Lease) -> Result<bool> {
    let taken = db::query(
        "INSERT INTO leases (name, owner, until) VALUES ($1, $2, $3) \
         ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, until = excluded.until \
         WHERE leases.owner = excluded.owner OR leases.until <= $4",
    )
    .bind(name)
    .bind(&*lease.owner.0)
    .bind(lease.until.as_millis())
    .bind(lease.now.as_millis())
    .execute(conn)
    .await?
    .rows_affected();
    Ok(taken > 0)
}

/// Gives a named lease back, if it is still the owner's.
async fn give_lease(conn: &mut Conn, name: &str, lease: &Lease) -> Result<()> {
    db::query("DELETE FROM leases WHERE name = $1 AND owner = $2")
        .bind(name)
        .bind(&*lease.owner.0)
        .execute(conn)
        .await?;
    Ok(())
}

/// Writes a note.
pub(super) async fn remember(conn: &mut Conn, name: &str, value: &str) -> Result<()> {
    db::query(
        "INSERT INTO notes (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    )
    .bind(name)
    .bind(value)
    .execute(conn)
    .await?;
    Ok(())
}

/// Reads a note.
pub(super) async fn recall(conn: &mut Conn, name: &str) -> Result<Option<String>> {
    Ok(db::query_scalar("SELECT value FROM notes WHERE name = $1").bind(name).fetch_optional(conn).await?)
}

fn due_read(row: &Row) -> Result<DueRead> {
    Ok(DueRead {
        conversation: reference(row)?,
        interaction: InteractionId::trusted(rows::text(row, "interaction_id")?),
        state: rows::state(row, "state")?,
        due_at: rows::time(row, "read_at")?,
        misses: rows::small(row, "read_misses")?,
        last_activity_at: rows::time(row, "last_activity_at")?,
    })
}
