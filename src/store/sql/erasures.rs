//! Deletions at Fini: wanted in the transaction that erases here, taken one at a time, proved by reading.

use futures_util::FutureExt;

use super::{
    Conn, Row, ThisStore,
    db::{self, Columns as _},
    rows,
};
use crate::{
    domain::{
        Timestamp,
        ids::{ConversationId, FrontendName, InteractionId},
    },
    store::{Erasure, ErasureEnd, ErasureState, ErasureStore, Known, Result, StoreError},
};

/// Conversations that are remembered as having stood beside one that is deleted.
const BESIDE: usize = 50;

#[async_trait::async_trait]
impl ErasureStore for ThisStore {
    async fn claim_erasure(&self, now: Timestamp, until: Timestamp) -> Result<Option<Erasure>> {
        self.write((now, until), |conn, _, of| claim(conn, of.0, of.1).boxed()).await
    }

    async fn know(&self, interaction: &InteractionId, known: &Known) -> Result<()> {
        self.write((interaction.clone(), known.clone()), |conn, _, of| know(conn, &of.0, &of.1).boxed()).await
    }

    async fn end_erasure(&self, interaction: &InteractionId, end: ErasureEnd, now: Timestamp) -> Result<()> {
        self.write((interaction.clone(), end, now), |conn, _, of| finish(conn, &of.0, of.1, of.2).boxed()).await
    }

    async fn erasure(
        &self,
        frontend: &FrontendName,
        id: &ConversationId,
    ) -> Result<Option<(InteractionId, ErasureState)>> {
        self.read((frontend.clone(), id.clone()), |conn, of| latest(conn, &of.0, &of.1).boxed()).await
    }

    async fn next_erasure_at(&self) -> Result<Option<Timestamp>> {
        self.read((), |conn, ()| next(conn).boxed()).await
    }
}

/// The next deletion that is due.
pub(in crate::store) const DUE: &str = concat!(
    "SELECT interaction_id, requested_at, attempts, COALESCE(latest_message_at, requested_at) AS latest_at, beside, \
        missed_since FROM erasures \
     WHERE due_at IS NOT NULL AND due_at <= $1 ORDER BY due_at LIMIT 1",
    skip_locked!("erasures")
);

/// Wants a conversation deleted, due at once.
pub(in crate::store) async fn want(
    conn: &mut Conn,
    frontend: &FrontendName,
    id: &ConversationId,
    interaction: &str,
    latest_at: Timestamp,
    now: Timestamp,
) -> Result<()> {
    db::query(
        "INSERT INTO erasures (interaction_id, frontend, conversation_id, requested_at, due_at, latest_message_at) \
         VALUES ($1, $2, $3, $4, $4, $5) ON CONFLICT (interaction_id) DO UPDATE SET frontend = excluded.frontend, \
            conversation_id = excluded.conversation_id, requested_at = excluded.requested_at, \
            due_at = excluded.due_at, latest_message_at = excluded.latest_message_at, attempts = 0, state = 'pending', settled_at = NULL",
    )
    .bind(interaction)
    .bind(frontend.as_str())
    .bind(id.as_str())
    .bind(now.as_millis())
    .bind(latest_at.as_millis())
    .execute(conn)
    .await?;
    Ok(())
}

async fn know(conn: &mut Conn, interaction: &InteractionId, known: &Known) -> Result<()> {
    let beside = known.beside.as_ref().map(|ids| rows::array(ids.iter().take(BESIDE))).transpose()?;
    db::query("UPDATE erasures SET latest_message_at = $2, beside = $3, missed_since = $4 WHERE interaction_id = $1")
        .bind(interaction.as_str())
        .bind(known.latest_at.as_millis())
        .bind(beside)
        .bind(known.missed_since.map(Timestamp::as_millis))
        .execute(conn)
        .await?;
    Ok(())
}

async fn claim(conn: &mut Conn, now: Timestamp, until: Timestamp) -> Result<Option<Erasure>> {
    let Some(found) = db::query(DUE).bind(now.as_millis()).fetch_optional(&mut *conn).await? else {
        return Ok(None);
    };
    let interaction = rows::text(&found, "interaction_id")?;
    db::query("UPDATE erasures SET due_at = $2, attempts = attempts + 1 WHERE interaction_id = $1")
        .bind(&interaction)
        .bind(until.as_millis())
        .execute(conn)
        .await?;
    Ok(Some(Erasure {
        interaction: InteractionId::trusted(interaction),
        requested_at: rows::time(&found, "requested_at")?,
        attempts: rows::small(&found, "attempts")? + 1,
        known: known(&found)?,
    }))
}

fn known(row: &Row) -> Result<Known> {
    let ids = rows::maybe_text(row, "beside")?.map(|ids| serde_json::from_str::<Vec<String>>(&ids)).transpose()?;
    Ok(Known {
        latest_at: rows::time(row, "latest_at")?,
        beside: ids.map(|ids| ids.into_iter().map(InteractionId::trusted).collect()),
        missed_since: rows::maybe_time(row, "missed_since")?,
    })
}

async fn finish(conn: &mut Conn, interaction: &InteractionId, end: ErasureEnd, now: Timestamp) -> Result<()> {
    let (state, due_at) = match end {
        ErasureEnd::Erased => (ErasureState::Erased, None),
        ErasureEnd::Failed => (ErasureState::Failed, None),
        ErasureEnd::Later(at) => (ErasureState::Pending, Some(at)),
    };
    let settled_at = due_at.is_none().then_some(now);
    db::query(
        "UPDATE erasures SET state = $2, due_at = $3, settled_at = $4 WHERE interaction_id = $1 AND settled_at IS NULL",
    )
    .bind(interaction.as_str())
    .bind(state.as_str())
    .bind(due_at.map(Timestamp::as_millis))
    .bind(settled_at.map(Timestamp::as_millis))
    .execute(conn)
    .await?;
    Ok(())
}

async fn latest(
    conn: &mut Conn,
    frontend: &FrontendName,
    id: &ConversationId,
) -> Result<Option<(InteractionId, ErasureState)>> {
    let found = db::query(
        "SELECT interaction_id, state FROM erasures WHERE frontend = $1 AND conversation_id = $2 \
         ORDER BY requested_at DESC LIMIT 1",
    )
    .bind(frontend.as_str())
    .bind(id.as_str())
    .fetch_optional(conn)
    .await?;
    let Some(found) = found else { return Ok(None) };
    let state: String = found.try_get("state")?;
    let state = ErasureState::parse(&state)
        .ok_or_else(|| StoreError::Internal(format!("an erasure is {state}, which is no state of one")))?;
    Ok(Some((InteractionId::trusted(rows::text(&found, "interaction_id")?), state)))
}

async fn next(conn: &mut Conn) -> Result<Option<Timestamp>> {
    let at: Option<i64> =
        db::query_scalar("SELECT MIN(due_at) FROM erasures WHERE due_at IS NOT NULL").fetch_one(conn).await?;
    Ok(at.map(Timestamp::from_millis))
}
