//! Replays by range. A piece of one makes deliveries due again and moves its place on, in one transaction: a crash between
//! pieces repeats none and leaves none out.
//!
//! Invariant: only deliveries that were delivered when the replay began are sent again, once, under their old id and at their
//! old place in their lane.

use futures_util::FutureExt;

use super::{Conn, Cx, Row, ThisStore, db, dialect, lanes, replay, rows};
use crate::{
    domain::{
        Timestamp,
        destination::Destination,
        ids::{FrontendName, ReplayId},
        job::{self, Act, JobState},
        log::TypeFilter,
    },
    store::{Change, Replay, ReplayRange, ReplayStore, Result, StoreError},
};

/// Deliveries that are examined at once, whether they match or not.
const CHUNK: i64 = 20_000;
/// Pause between two looks for the outcome of the last pieces.
const LOOK: std::time::Duration = std::time::Duration::from_secs(1);

#[async_trait::async_trait]
impl ReplayStore for ThisStore {
    async fn replay_matches(&self, range: &ReplayRange) -> Result<u64> {
        let (mut matched, mut after) = (0, 0);
        let last = self.serve((), |conn, ()| last_key(conn).boxed()).await?;
        while after < last {
            let of = (range.clone(), after);
            matched += self.serve(of, |conn, of| count(conn, &of.0, of.1).boxed()).await?;
            after += CHUNK;
        }
        Ok(matched)
    }

    async fn begin_replay(&self, replay: &Replay) -> Result<()> {
        self.write(replay.clone(), |conn, _, replay| begin(conn, replay).boxed()).await
    }

    async fn replay(&self, id: &ReplayId) -> Result<Option<Replay>> {
        self.serve(id.clone(), |conn, id| load(conn, id).boxed()).await
    }

    async fn steer_replay(&self, id: &ReplayId, act: Act, now: Timestamp) -> Result<Option<Replay>> {
        self.write((id.clone(), act, now), |conn, _, of| steer(conn, &of.0, of.1, of.2).boxed()).await
    }

    async fn step_replays(&self, now: Timestamp) -> Result<Option<Timestamp>> {
        let due = self.read((), |conn, ()| next(conn).boxed()).await?;
        if due.is_none_or(|due| due > now) {
            return Ok(due);
        }
        self.write(now, |conn, cx, now| step(conn, cx, *now).boxed()).await?;
        self.read((), |conn, ()| next(conn).boxed()).await
    }
}

async fn last_key(conn: &mut Conn) -> Result<i64> {
    Ok(db::query_scalar("SELECT COALESCE(MAX(key), 0) FROM deliveries").fetch_one(conn).await?)
}

/// Returns the recorded names that a range selects: of one destination, or of all of a frontend.
fn pattern(range: &ReplayRange) -> (String, String) {
    match &range.destination {
        Some(name) => {
            let one = Destination::new(range.frontend.clone(), name.as_str()).to_string();
            (one.clone(), one)
        }
        None => (range.frontend.to_string(), format!("{}/%", range.frontend)),
    }
}

/// Delivered events of a range behind a key, no further than to another one, by the index of states.
pub(super) const MATCHING: &str = "SELECT d.key, d.conversation_key, d.kind FROM deliveries AS d \
     WHERE d.state = 'delivered' AND d.key > $1 AND d.key <= $2 AND (d.frontend = $3 OR d.frontend LIKE $4) \
       AND d.recorded_at >= $5 AND d.recorded_at < $6 \
       AND (SELECT c.erased_at IS NULL FROM conversations AS c WHERE c.key = d.conversation_key) ORDER BY d.key";

async fn matching(conn: &mut Conn, range: &ReplayRange, after: i64, to: i64) -> Result<Vec<(i64, i64)>> {
    let (name, like) = pattern(range);
    let found = db::query(MATCHING)
        .bind(after)
        .bind(to)
        .bind(name)
        .bind(like)
        .bind(range.since.as_millis())
        .bind(range.until.as_millis())
        .fetch_all(conn)
        .await?;
    let mut keys = Vec::with_capacity(found.len());
    for row in &found {
        if range.types.wants(&rows::text(row, "kind")?) {
            keys.push((rows::int(row, "key")?, rows::int(row, "conversation_key")?));
        }
    }
    Ok(keys)
}

async fn count(conn: &mut Conn, range: &ReplayRange, after: i64) -> Result<u64> {
    Ok(matching(conn, range, after, after + CHUNK).await?.len() as u64)
}

async fn begin(conn: &mut Conn, replay: &Replay) -> Result<()> {
    let last = last_key(conn).await?;
    let range = &replay.range;
    db::query(
        "INSERT INTO replays (id, frontend, destination, since, until, types, per_second, state, matched, after_key, \
            last_key, due, next_at, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, $10, 0, $11, $11)",
    )
    .bind(replay.id.as_str())
    .bind(range.frontend.as_str())
    .bind(range.destination.as_deref())
    .bind(range.since.as_millis())
    .bind(range.until.as_millis())
    .bind(rows::array(range.types.patterns())?)
    .bind(i64::from(replay.per_second))
    .bind(replay.state.as_str())
    .bind(i64::try_from(replay.matched).unwrap_or(i64::MAX))
    .bind(last)
    .bind(replay.created_at.as_millis())
    .execute(conn)
    .await?;
    Ok(())
}

/// Deliveries of a replay by state: counted while it goes on, kept once it is over.
const COUNTED: &str = "SELECT COUNT(CASE WHEN state = 'delivered' THEN 1 END) AS sent, \
        COUNT(CASE WHEN state = 'dead' THEN 1 END) AS failed, COUNT(CASE WHEN state = 'pending' THEN 1 END) AS owed \
     FROM deliveries WHERE replay_id = $1";

macro_rules! select_replay {
    () => {
        "SELECT id, frontend, destination, since, until, types, per_second, state, matched, after_key, last_key, due, sent, \
            failed, created_at, ended_at FROM replays WHERE "
    };
}

async fn load(conn: &mut Conn, id: &ReplayId) -> Result<Option<Replay>> {
    let row = db::query(concat!(select_replay!(), "id = $1")).bind(id.as_str()).fetch_optional(&mut *conn).await?;
    let Some(row) = row else { return Ok(None) };
    let mut replay = view(&row)?;
    if !replay.state.is_over() {
        let row = db::query(COUNTED).bind(id.as_str()).fetch_one(conn).await?;
        (replay.sent, replay.failed) = (rows::count(&row, "sent")?, rows::count(&row, "failed")?);
    }
    Ok(Some(replay))
}

fn view(row: &Row) -> Result<Replay> {
    let state = rows::text(row, "state")?;
    let state = JobState::parse(&state)
        .ok_or_else(|| StoreError::Damaged(format!("a replay has the unknown state {state:?}")))?;
    Ok(Replay {
        id: ReplayId::trusted(rows::text(row, "id")?),
        range: ReplayRange {
            frontend: FrontendName::trusted(rows::text(row, "frontend")?),
            destination: rows::maybe_text(row, "destination")?,
            since: rows::time(row, "since")?,
            until: rows::time(row, "until")?,
            types: TypeFilter::trusted(serde_json::from_str(&rows::text(row, "types")?)?),
        },
        per_second: rows::small(row, "per_second")?,
        state,
        matched: rows::count(row, "matched")?,
        due: rows::count(row, "due")?,
        sent: rows::count(row, "sent")?,
        failed: rows::count(row, "failed")?,
        created_at: rows::time(row, "created_at")?,
        ended_at: rows::maybe_time(row, "ended_at")?,
    })
}

async fn steer(conn: &mut Conn, id: &ReplayId, act: Act, now: Timestamp) -> Result<Option<Replay>> {
    let row = db::query(concat!(select_replay!(), "id = $1", for_update!("replays")))
        .bind(id.as_str())
        .fetch_optional(&mut *conn)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let before = view(&row)?.state;
    let after = before.after(act);
    if after != before {
        move_to(conn, id, after, now).await?;
    }
    load(conn, id).await
}

/// Moves a replay to another state; once it is over, its counts stay as they are.
async fn move_to(conn: &mut Conn, id: &ReplayId, state: JobState, now: Timestamp) -> Result<()> {
    let row = db::query(COUNTED).bind(id.as_str()).fetch_one(&mut *conn).await?;
    db::query("UPDATE replays SET state = $2, next_at = $3, sent = $4, failed = $5, ended_at = $6 WHERE id = $1")
        .bind(id.as_str())
        .bind(state.as_str())
        .bind(matches!(state, JobState::Running | JobState::Draining).then_some(now.as_millis()))
        .bind(rows::int(&row, "sent")?)
        .bind(rows::int(&row, "failed")?)
        .bind(state.is_over().then_some(now.as_millis()))
        .execute(conn)
        .await?;
    Ok(())
}

/// The due time of the next piece of any replay.
pub(super) const NEXT_PIECE: &str = "SELECT MIN(next_at) FROM replays WHERE next_at IS NOT NULL";

async fn next(conn: &mut Conn) -> Result<Option<Timestamp>> {
    let at: Option<i64> = db::query_scalar(NEXT_PIECE).fetch_one(conn).await?;
    Ok(at.map(Timestamp::from_millis))
}

async fn step(conn: &mut Conn, cx: &mut Cx, now: Timestamp) -> Result<()> {
    let row = db::query(concat!(
        select_replay!(),
        "next_at IS NOT NULL AND next_at <= $1 ORDER BY next_at LIMIT 1",
        skip_locked!("replays")
    ))
    .bind(now.as_millis())
    .fetch_optional(&mut *conn)
    .await?;
    let Some(row) = row else { return Ok(()) };
    let replay = view(&row)?;
    if replay.state == JobState::Draining {
        return drain(conn, &replay.id, now).await;
    }
    let (after, last) = (rows::int(&row, "after_key")?, rows::int(&row, "last_key")?);
    let to = last.min(after.saturating_add(CHUNK));
    let mut found = matching(conn, &replay.range, after, to).await?;
    let piece = job::piece(replay.per_second);
    let reached = match found.get(piece) {
        Some(_) => found[piece - 1].0,
        None => to,
    };
    found.truncate(piece);
    revive(conn, cx, &replay.id, &found, now).await?;
    if reached >= last {
        db::query("UPDATE replays SET after_key = $2, due = due + $3 WHERE id = $1")
            .bind(replay.id.as_str())
            .bind(reached)
            .bind(i64::try_from(found.len()).unwrap_or(i64::MAX))
            .execute(&mut *conn)
            .await?;
        return move_to(conn, &replay.id, JobState::Draining, now).await;
    }
    db::query("UPDATE replays SET after_key = $2, due = due + $3, next_at = $4 WHERE id = $1")
        .bind(replay.id.as_str())
        .bind(reached)
        .bind(i64::try_from(found.len()).unwrap_or(i64::MAX))
        .bind(now.plus(job::rest(replay.per_second, found.len())).as_millis())
        .execute(conn)
        .await?;
    Ok(())
}

/// Ends a replay once it owes nothing more.
async fn drain(conn: &mut Conn, id: &ReplayId, now: Timestamp) -> Result<()> {
    let row = db::query(COUNTED).bind(id.as_str()).fetch_one(&mut *conn).await?;
    if rows::int(&row, "owed")? == 0 {
        return move_to(conn, id, JobState::Done, now).await;
    }
    db::query("UPDATE replays SET next_at = $2 WHERE id = $1")
        .bind(id.as_str())
        .bind(now.plus(LOOK).as_millis())
        .execute(conn)
        .await?;
    Ok(())
}

async fn revive(conn: &mut Conn, cx: &mut Cx, id: &ReplayId, found: &[(i64, i64)], now: Timestamp) -> Result<()> {
    if found.is_empty() {
        return Ok(());
    }
    let keys: Vec<i64> = found.iter().map(|(key, _)| *key).collect();
    let mut conversations: Vec<i64> = found.iter().map(|(_, conversation)| *conversation).collect();
    conversations.sort_unstable();
    conversations.dedup();
    dialect::lock_lanes(conn, &rows::array(&conversations)?).await?;
    replay::revive(conn, &keys, now).await?;
    db::query(concat!("UPDATE deliveries SET replay_id = $2 WHERE key", is_key_in!("$1")))
        .bind(rows::array(&keys)?)
        .bind(id.as_str())
        .execute(&mut *conn)
        .await?;
    lanes::refresh(conn, &conversations).await?;
    cx.announce(Change::Deliveries);
    Ok(())
}

/// Forgets replays that ended before the retention.
pub(super) async fn forget(conn: &mut Conn, before: i64) -> Result<()> {
    db::query("DELETE FROM replays WHERE ended_at IS NOT NULL AND ended_at <= $1").bind(before).execute(conn).await?;
    Ok(())
}
