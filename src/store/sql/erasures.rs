//! Deletions at Fini: recorded in the transaction that erases here, taken one at a time, proved by reading.

use futures_util::FutureExt;

use super::{
    Conn, Cx, Row, ThisStore,
    db::{self, Columns as _},
    rows,
};
use crate::{
    domain::{
        Timestamp,
        evidence::absent::digest,
        ids::{ConversationId, ConversationKey, FiniEventId, FrontendName, InteractionId},
        vendor::FiniEvent,
    },
    store::{
        Change, Erasure, ErasureEnd, ErasureSearch, ErasureState, ErasureStore, Known, Result, SearchEnd, StoreError,
    },
};

/// The most conversations remembered as having stood beside one that is deleted.
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
    ) -> Result<Option<(Option<InteractionId>, ErasureState)>> {
        self.serve((frontend.clone(), id.clone()), |conn, of| latest(conn, &of.0, &of.1).boxed()).await
    }

    async fn erasure_searches(&self, limit: usize) -> Result<Vec<ErasureSearch>> {
        self.read(limit, |conn, limit| searches(conn, *limit).boxed()).await
    }

    async fn end_erasure_search(
        &self,
        conversation: ConversationKey,
        end: SearchEnd,
        now: Timestamp,
    ) -> Result<Option<ErasureState>> {
        self.write((conversation, end, now), |conn, _, of| end_search(conn, of.0, &of.1, of.2).boxed()).await
    }

    async fn next_erasure_at(&self) -> Result<Option<Timestamp>> {
        self.read((), |conn, ()| next(conn).boxed()).await
    }
}

/// The next deletion that is due.
pub(in crate::store) const DUE: &str = concat!(
    "SELECT interaction_id, requested_at, attempts, COALESCE(latest_message_at, requested_at) AS latest_at, beside, \
        missed_since, busy_until FROM erasures \
     WHERE due_at IS NOT NULL AND due_at <= $1 ORDER BY due_at LIMIT 1",
    skip_locked!("erasures")
);

/// A conversation that is to be deleted at Fini.
pub(in crate::store) struct Wish<'a> {
    pub(in crate::store) conversation: ConversationKey,
    pub(in crate::store) frontend: &'a FrontendName,
    /// The hash of the erased conversation's id.
    pub(in crate::store) id: &'a ConversationId,
    /// The hash of the person with whom it was erased.
    pub(in crate::store) person: Option<&'a str>,
    pub(in crate::store) requested_at: Timestamp,
    pub(in crate::store) busy_until: Option<Timestamp>,
}

/// Records that a Fini conversation is to be deleted, due at once.
pub(in crate::store) async fn want(
    conn: &mut Conn,
    wish: &Wish<'_>,
    interaction: &InteractionId,
    latest_at: Timestamp,
    now: Timestamp,
) -> Result<()> {
    db::query(
        "INSERT INTO erasures (interaction_id, frontend, conversation_id, requested_at, due_at, latest_message_at, \
            busy_until, conversation_key, person) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (interaction_id) DO UPDATE SET frontend = excluded.frontend, \
            conversation_id = excluded.conversation_id, requested_at = excluded.requested_at, \
            due_at = excluded.due_at, latest_message_at = excluded.latest_message_at, \
            busy_until = excluded.busy_until, conversation_key = excluded.conversation_key, \
            person = COALESCE(excluded.person, erasures.person), attempts = 0, state = 'pending', settled_at = NULL",
    )
    .bind(interaction.as_str())
    .bind(wish.frontend.as_str())
    .bind(wish.id.as_str())
    .bind(wish.requested_at.as_millis())
    .bind(now.as_millis())
    .bind(latest_at.as_millis())
    .bind(wish.busy_until.map(Timestamp::as_millis))
    .bind(wish.conversation.0)
    .bind(wish.person)
    .execute(conn)
    .await?;
    Ok(())
}

/// Reads the events and texts that identify an erased conversation's own at Fini; called before they are erased.
pub(in crate::store) async fn traces(conn: &mut Conn, key: ConversationKey) -> Result<(Vec<String>, Vec<String>)> {
    let events = db::query_scalar(
        "SELECT m.fini_event_id FROM marks m JOIN turns t ON t.key = m.turn_key \
            JOIN conversations c ON c.key = m.conversation_key \
         WHERE m.conversation_key = $1 AND t.sent_at >= c.first_sent_at",
    )
    .bind(key.0)
    .fetch_all(&mut *conn)
    .await?;
    let found = db::query(
        "SELECT COALESCE(leader_key, key) AS leader, text FROM turns WHERE conversation_key = $1 AND sent_at IS NOT NULL \
         ORDER BY key",
    )
    .bind(key.0)
    .fetch_all(conn)
    .await?;
    let mut texts: Vec<(i64, String)> = Vec::new();
    for row in &found {
        let (leader, text) = (rows::int(row, "leader")?, rows::text(row, "text")?);
        match texts.last_mut().filter(|(of, _)| *of == leader) {
            Some((_, joined)) => *joined = format!("{joined}{}{text}", super::in_flight::JOINT),
            None => texts.push((leader, text)),
        }
    }
    Ok((events, texts.iter().map(|(_, text)| digest(text)).collect()))
}

/// Records a search for the Fini conversation of an erased one.
pub(in crate::store) async fn search(
    conn: &mut Conn,
    wish: &Wish<'_>,
    attribute: &str,
    first_sent_at: Timestamp,
    (events, texts): (Vec<String>, Vec<String>),
) -> Result<()> {
    db::query(
        "INSERT INTO erasure_searches (conversation_key, frontend, conversation_id, requested_at, first_sent_at, \
            attribute, events, texts, busy_until, look_at, person) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $4, $10)",
    )
    .bind(wish.conversation.0)
    .bind(wish.frontend.as_str())
    .bind(wish.id.as_str())
    .bind(wish.requested_at.as_millis())
    .bind(first_sent_at.as_millis())
    .bind(attribute)
    .bind(rows::array(events)?)
    .bind(rows::array(texts)?)
    .bind(wish.busy_until.map(Timestamp::as_millis))
    .bind(wish.person)
    .execute(conn)
    .await?;
    Ok(())
}

/// Records the answer to a send whose conversation was erased meanwhile: its events identify the Fini conversation.
pub(in crate::store) async fn hear(
    conn: &mut Conn,
    cx: &mut Cx,
    key: ConversationKey,
    events: &[FiniEvent],
    now: Timestamp,
) -> Result<()> {
    db::query("UPDATE erasures SET busy_until = NULL, due_at = $2 WHERE conversation_key = $1 AND settled_at IS NULL")
        .bind(key.0)
        .bind(now.as_millis())
        .execute(&mut *conn)
        .await?;
    let known: Option<String> =
        db::query_scalar("SELECT events FROM erasure_searches WHERE conversation_key = $1 AND settled_at IS NULL")
            .bind(key.0)
            .fetch_optional(&mut *conn)
            .await?;
    let Some(known) = known else { return Ok(()) };
    let mut known: Vec<String> = serde_json::from_str(&known)?;
    known.extend(events.iter().map(|event| event.id.to_string()));
    db::query("UPDATE erasure_searches SET events = $2, busy_until = NULL, look_at = $3 WHERE conversation_key = $1")
        .bind(key.0)
        .bind(rows::array(known)?)
        .bind(now.as_millis())
        .execute(conn)
        .await?;
    cx.announce(Change::Reading);
    Ok(())
}

async fn searches(conn: &mut Conn, limit: usize) -> Result<Vec<ErasureSearch>> {
    let found = db::query(
        "SELECT conversation_key, attribute, events, texts, first_sent_at, requested_at, busy_until, look_at, looks \
         FROM erasure_searches WHERE look_at IS NOT NULL ORDER BY look_at LIMIT $1",
    )
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(conn)
    .await?;
    let search = |row: &Row| {
        let events: Vec<String> = serde_json::from_str(&rows::text(row, "events")?)?;
        Ok(ErasureSearch {
            conversation: ConversationKey(rows::int(row, "conversation_key")?),
            attribute: rows::text(row, "attribute")?,
            events: events.into_iter().map(FiniEventId::trusted).collect(),
            texts: serde_json::from_str(&rows::text(row, "texts")?)?,
            first_sent_at: rows::time(row, "first_sent_at")?,
            requested_at: rows::time(row, "requested_at")?,
            busy_until: rows::maybe_time(row, "busy_until")?,
            look_at: rows::time(row, "look_at")?,
            looks: rows::small(row, "looks")?,
        })
    };
    found.iter().map(search).collect()
}

async fn end_search(
    conn: &mut Conn,
    key: ConversationKey,
    end: &SearchEnd,
    now: Timestamp,
) -> Result<Option<ErasureState>> {
    let found = db::query(
        "SELECT frontend, conversation_id, person, requested_at, busy_until FROM erasure_searches \
         WHERE conversation_key = $1 AND settled_at IS NULL",
    )
    .bind(key.0)
    .fetch_optional(&mut *conn)
    .await?;
    let Some(row) = found else { return Ok(None) };
    let state = match end {
        SearchEnd::Later(at) => {
            db::query("UPDATE erasure_searches SET look_at = $2, looks = looks + 1 WHERE conversation_key = $1")
                .bind(key.0)
                .bind(at.as_millis())
                .execute(conn)
                .await?;
            return Ok(Some(ErasureState::Pending));
        }
        SearchEnd::Found(interaction, latest_at) => {
            let owner: Option<i64> = db::query_scalar("SELECT key FROM conversations WHERE interaction_id = $1")
                .bind(interaction.as_str())
                .fetch_optional(&mut *conn)
                .await?;
            if owner.is_none() {
                let person = rows::maybe_text(&row, "person")?;
                let wish = Wish {
                    conversation: key,
                    frontend: &FrontendName::trusted(rows::text(&row, "frontend")?),
                    id: &ConversationId::trusted(rows::text(&row, "conversation_id")?),
                    person: person.as_deref(),
                    requested_at: rows::time(&row, "requested_at")?,
                    busy_until: rows::maybe_time(&row, "busy_until")?,
                };
                want(conn, &wish, interaction, *latest_at, now).await?;
                db::query("DELETE FROM erasure_searches WHERE conversation_key = $1").bind(key.0).execute(conn).await?;
                return Ok(Some(ErasureState::Pending));
            }
            ErasureState::Failed
        }
        SearchEnd::Nothing => ErasureState::Erased,
        SearchEnd::Failed => ErasureState::Failed,
    };
    // The evidence kept to identify it goes as well.
    db::query(
        "UPDATE erasure_searches SET state = $2, settled_at = $3, look_at = NULL, attribute = '', events = '[]', \
            texts = '[]' WHERE conversation_key = $1",
    )
    .bind(key.0)
    .bind(state.as_str())
    .bind(now.as_millis())
    .execute(conn)
    .await?;
    Ok(Some(state))
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
        busy_until: rows::maybe_time(&found, "busy_until")?,
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
) -> Result<Option<(Option<InteractionId>, ErasureState)>> {
    let found = db::query(
        // Those of an earlier version stand under the id itself.
        "SELECT interaction_id, state, requested_at FROM erasures WHERE frontend = $1 AND conversation_id IN ($2, $3) \
         UNION ALL SELECT NULL, state, requested_at FROM erasure_searches \
            WHERE frontend = $1 AND conversation_id IN ($2, $3) ORDER BY requested_at DESC LIMIT 1",
    )
    .bind(frontend.as_str())
    .bind(id.erased().as_str())
    .bind(id.as_str())
    .fetch_optional(conn)
    .await?;
    let Some(found) = found else { return Ok(None) };
    let state: String = found.try_get("state")?;
    let state = ErasureState::parse(&state)
        .ok_or_else(|| StoreError::Internal(format!("an erasure is {state}, which is no state of one")))?;
    Ok(Some((rows::maybe_text(&found, "interaction_id")?.map(InteractionId::trusted), state)))
}

async fn next(conn: &mut Conn) -> Result<Option<Timestamp>> {
    let at: Option<i64> =
        db::query_scalar("SELECT MIN(due_at) FROM erasures WHERE due_at IS NOT NULL").fetch_one(conn).await?;
    Ok(at.map(Timestamp::from_millis))
}
