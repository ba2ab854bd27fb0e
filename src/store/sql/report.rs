//! The sums behind the report: folded out of the log in the transaction that enters it, and read.
//!
//! Folding belongs to the numberer, one process at a time (`dialect::lock_log`): it meets each event once, in the order
//! of its conversation, and no message that is taken in waits for a sum. So the sums agree exactly with the log, whatever dies
//! when, and go on after an older version has numbered without counting.
//!
//! Invariants: an event is counted in the transaction that moves `log_head.report` past it; only the numberer writes the folded
//! sums; nothing here is a text of anybody's.

use std::collections::{BTreeMap, HashMap};

use futures_util::FutureExt;

use super::{
    Conn, Row, ThisStore,
    db::{self, QueryBuilder},
    rows,
};
use crate::{
    domain::{
        Timestamp, WallTime,
        ids::FrontendName,
        report::{COUNTED, Histogram, Slot, Sums, Waits, fold},
    },
    store::{ReportStore, Result},
};

/// Positions that are folded with one statement for each frontend.
const CHUNK: i64 = 1_000;
/// The most chunks that one transaction folds if very much is left, after an upgrade.
const CHUNKS: usize = 8;

#[async_trait::async_trait]
impl ReportStore for ThisStore {
    async fn sums(&self, frontend: Option<&FrontendName>, from: Slot, to: Slot) -> Result<Vec<(Slot, Sums)>> {
        let of = (frontend.cloned(), from, to);
        self.serve(of, |conn, of| read(conn, of.0.as_ref(), of.1, of.2).boxed()).await
    }
}

/// Folds the log's entries behind `begun`, up to which they were folded before, up to `head`. `grown` names the logs that have
/// grown since the head was at `before`. Returns the position that it has reached, which the caller keeps.
pub(in crate::store) async fn catch_up(
    conn: &mut Conn,
    (begun, before, head): (i64, i64, i64),
    grown: &[String],
) -> Result<i64> {
    if begun >= head {
        return Ok(begun);
    }
    let logs = if begun < before { logs(conn).await? } else { grown.to_vec() };
    let mut position = begun;
    for _ in 0..CHUNKS {
        let end = head.min(position + CHUNK);
        for frontend in &logs {
            fold_log(conn, frontend, position, end).await?;
        }
        position = end;
        if position == head {
            break;
        }
    }
    Ok(position)
}

/// Every frontend that has a log.
pub(in crate::store) const LOGS: &str = "WITH RECURSIVE logs (frontend) AS (SELECT MIN(frontend) FROM log_entries \
     UNION ALL SELECT (SELECT MIN(later.frontend) FROM log_entries AS later WHERE later.frontend > logs.frontend) FROM logs \
     WHERE logs.frontend IS NOT NULL) SELECT frontend FROM logs WHERE frontend IS NOT NULL";

async fn logs(conn: &mut Conn) -> Result<Vec<String>> {
    Ok(db::query_scalar(LOGS).fetch_all(conn).await?)
}

/// The events of a part of a log that are counted ([`COUNTED`]), and those with which a
/// conversation begins.
pub(in crate::store) const ENTERED: &str = concat!(
    "SELECT e.conversation_key, e.sequence, e.body FROM log_entries AS l \
     JOIN events AS e ON e.conversation_key = l.conversation_key AND e.sequence = l.sequence \
     WHERE l.frontend = $1 AND l.position > $2 AND l.position <= $3 AND (l.sequence = 1 OR l.kind",
    is_text_in!("$4"),
    ") ORDER BY l.position"
);

async fn fold_log(conn: &mut Conn, frontend: &str, after: i64, end: i64) -> Result<()> {
    let found = db::query(ENTERED)
        .bind(frontend)
        .bind(after)
        .bind(end)
        .bind(rows::array(COUNTED)?)
        .fetch_all(&mut *conn)
        .await?;
    if found.is_empty() {
        return Ok(());
    }
    let keys = found.iter().map(|row| rows::int(row, "conversation_key")).collect::<Result<Vec<_>>>()?;
    let before = waits(conn, &keys).await?;
    let mut now = before.clone();
    let mut sums = BTreeMap::<Slot, Sums>::new();
    for row in &found {
        let is_begun = rows::int(row, "sequence")? > 1;
        // A conversation that began before counting did has no beginning to measure from.
        let unknown = if is_begun { Waits::SETTLED } else { Waits::default() };
        let waits = now.entry(rows::int(row, "conversation_key")?).or_insert(unknown);
        // A log that goes on is worth more than a sum: a damaged body counts for nothing.
        if let Some((slot, more)) = fold(&rows::text(row, "body")?, waits) {
            sums.entry(slot).or_default().add(&more);
        }
    }
    save_waits(conn, &before, &now).await?;
    for (slot, more) in sums.iter().filter(|(_, more)| **more != Sums::default()) {
        add(conn, frontend, *slot, more).await?;
    }
    Ok(())
}

async fn waits(conn: &mut Conn, keys: &[i64]) -> Result<HashMap<i64, Waits>> {
    let found = db::query(concat!(
        "SELECT conversation_key, asked_at, answered, human_asked_at FROM report_waits WHERE conversation_key",
        is_key_in!("$1"),
    ))
    .bind(rows::array(keys)?)
    .fetch_all(conn)
    .await?;
    let one = |row: &Row| {
        let waits = Waits {
            asked_at: rows::maybe_time(row, "asked_at")?,
            is_answered: rows::flag(row, "answered")?,
            human_asked_at: rows::maybe_time(row, "human_asked_at")?,
        };
        Ok((rows::int(row, "conversation_key")?, waits))
    };
    found.iter().map(one).collect()
}

/// Writes down the changes; no row is kept of a conversation that waits for nothing.
async fn save_waits(conn: &mut Conn, before: &HashMap<i64, Waits>, now: &HashMap<i64, Waits>) -> Result<()> {
    let (mut settled, mut changed) = (Vec::new(), Vec::new());
    for (key, waits) in now.iter().filter(|(key, waits)| before.get(key) != Some(waits)) {
        if *waits == Waits::SETTLED {
            if before.contains_key(key) {
                settled.push(*key);
            }
            continue;
        }
        changed.push((*key, *waits));
    }
    for part in rows::parts(&changed) {
        put_waits(conn, part).await?;
    }
    forget(conn, &settled).await
}

async fn put_waits(conn: &mut Conn, changed: &[(i64, Waits)]) -> Result<()> {
    let mut query =
        QueryBuilder::new("INSERT INTO report_waits (conversation_key, asked_at, answered, human_asked_at) VALUES ");
    for (number, (key, waits)) in changed.iter().enumerate() {
        query.push(if number == 0 { "(" } else { ", (" }).push_bind(*key);
        query.push(", ").push_bind(waits.asked_at.map(Timestamp::as_millis));
        query.push(", ").push_bind(waits.is_answered);
        query.push(", ").push_bind(waits.human_asked_at.map(Timestamp::as_millis));
        query.push(")");
    }
    query.push(
        " ON CONFLICT (conversation_key) DO UPDATE SET asked_at = excluded.asked_at, answered = excluded.answered, \
            human_asked_at = excluded.human_asked_at",
    );
    query.build().execute(conn).await?;
    Ok(())
}

/// Deletes the waits of these conversations.
pub(in crate::store) async fn forget(conn: &mut Conn, conversations: &[i64]) -> Result<()> {
    if conversations.is_empty() {
        return Ok(());
    }
    db::query(concat!("DELETE FROM report_waits WHERE conversation_key", is_key_in!("$1")))
        .bind(rows::array(conversations)?)
        .execute(conn)
        .await?;
    Ok(())
}

macro_rules! add_sums {
    ($columns:literal, $values:literal, $set:literal) => {
        concat!(
            "INSERT INTO report_sums (slot, frontend, messages, answered, escalated, resolved, failed",
            $columns,
            ") VALUES ($1, $2, $3, $4, $5, $6, $7",
            $values,
            ") ON CONFLICT (slot, frontend) DO UPDATE SET messages = report_sums.messages + excluded.messages, \
                answered = report_sums.answered + excluded.answered, escalated = report_sums.escalated + excluded.escalated, \
                resolved = report_sums.resolved + excluded.resolved, failed = report_sums.failed + excluded.failed",
            $set
        )
    };
}
/// Adds counts.
const ADD: &str = add_sums!("", "", "");
/// Adds counts, and puts histograms in place of those before.
const ADD_WITH_WAITS: &str = add_sums!(
    ", first_answers, humans",
    ", $8, $9",
    ", first_answers = excluded.first_answers, humans = excluded.humans"
);

/// Adds the folded sums. Histograms are added up here, not by the database; most events measure no wait.
async fn add(conn: &mut Conn, frontend: &str, slot: Slot, more: &Sums) -> Result<()> {
    let measures = more.first_answers != Histogram::default() || more.humans != Histogram::default();
    let mut query = db::query(if measures { ADD_WITH_WAITS } else { ADD })
        .bind(slot.number())
        .bind(frontend)
        .bind(count(more.messages))
        .bind(count(more.answered))
        .bind(count(more.escalated))
        .bind(count(more.resolved))
        .bind(count(more.failed));
    if measures {
        let known = db::query("SELECT first_answers, humans FROM report_sums WHERE slot = $1 AND frontend = $2")
            .bind(slot.number())
            .bind(frontend)
            .fetch_optional(&mut *conn)
            .await?;
        let (mut first_answers, mut humans) = match &known {
            Some(row) => (histogram(row, "first_answers")?, histogram(row, "humans")?),
            None => Default::default(),
        };
        first_answers.add(&more.first_answers);
        humans.add(&more.humans);
        query = query.bind(serde_json::to_string(&first_answers)?).bind(serde_json::to_string(&humans)?);
    }
    query.execute(conn).await?;
    Ok(())
}

/// Counts callbacks that were given up.
pub(in crate::store) async fn add_dead_letters(
    conn: &mut Conn,
    frontend: &FrontendName,
    dead: i64,
    now: WallTime,
) -> Result<()> {
    db::query(
        "INSERT INTO report_sums (slot, frontend, dead_letters) VALUES ($1, $2, $3) \
         ON CONFLICT (slot, frontend) DO UPDATE SET dead_letters = report_sums.dead_letters + excluded.dead_letters",
    )
    .bind(Slot::of(now.point()).number())
    .bind(frontend.as_str())
    .bind(dead)
    .execute(conn)
    .await?;
    Ok(())
}

/// Counts requests to Fini, by the budget's clock; the caller holds the budget's lock.
pub(in crate::store) async fn add_requests(conn: &mut Conn, requests: i64, now: Timestamp) -> Result<()> {
    db::query(
        "INSERT INTO report_sums (slot, frontend, requests) VALUES ($1, '', $2) \
         ON CONFLICT (slot, frontend) DO UPDATE SET requests = report_sums.requests + excluded.requests",
    )
    .bind(Slot::of(now).number())
    .bind(requests)
    .execute(conn)
    .await?;
    Ok(())
}

/// The sums of some slots.
pub(in crate::store) const SUMS: &str = "SELECT slot, messages, answered, escalated, resolved, failed, dead_letters, \
        requests, first_answers, humans FROM report_sums \
     WHERE slot >= $1 AND slot < $2 AND (CAST($3 AS TEXT) IS NULL OR frontend = $3) ORDER BY slot, frontend";

async fn read(conn: &mut Conn, frontend: Option<&FrontendName>, from: Slot, to: Slot) -> Result<Vec<(Slot, Sums)>> {
    let found = db::query(SUMS)
        .bind(from.number())
        .bind(to.number())
        .bind(frontend.map(FrontendName::as_str))
        .fetch_all(conn)
        .await?;
    let one = |row: &Row| {
        let sums = Sums {
            messages: rows::count(row, "messages")?,
            answered: rows::count(row, "answered")?,
            escalated: rows::count(row, "escalated")?,
            resolved: rows::count(row, "resolved")?,
            failed: rows::count(row, "failed")?,
            dead_letters: rows::count(row, "dead_letters")?,
            requests: rows::count(row, "requests")?,
            first_answers: histogram(row, "first_answers")?,
            humans: histogram(row, "humans")?,
        };
        Ok((Slot::numbered(rows::int(row, "slot")?), sums))
    };
    found.iter().map(one).collect()
}

fn histogram(row: &Row, column: &str) -> Result<Histogram> {
    Ok(serde_json::from_str(&rows::text(row, column)?)?)
}

fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
