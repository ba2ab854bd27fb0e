//! Conversations as their frontends and operators see them, and erasing them.

use futures_util::FutureExt;

use super::{
    Conn, Cx, Row, ThisStore, audit,
    db::{self, Columns as _},
    erased,
    erasures::{self, Wish},
    handoff, log, rows,
};
use crate::{
    domain::{
        Timestamp, WallTime,
        ids::{ConversationId, ConversationKey, FrontendName, InteractionId},
    },
    store::{Change, Conversation, ConversationRef, ConversationStore, Result},
};

#[async_trait::async_trait]
impl ConversationStore for ThisStore {
    async fn conversation(&self, frontend: &FrontendName, id: &ConversationId) -> Result<Option<Conversation>> {
        self.serve((frontend.clone(), id.clone()), |conn, of| conversation(conn, &of.0, &of.1).boxed()).await
    }

    async fn binding(&self, conversation: ConversationKey) -> Result<Option<(Option<InteractionId>, i64)>> {
        self.read(conversation, |conn, key| binding(conn, *key).boxed()).await
    }

    async fn erase(
        &self,
        frontend: &FrontendName,
        id: &ConversationId,
        upstream: bool,
        now: Timestamp,
    ) -> Result<Option<Option<InteractionId>>> {
        let of = (frontend.clone(), id.clone(), upstream, now);
        let erased = self.write(of, |conn, cx, of| erase(conn, cx, &of.0, &of.1, of.2, None, of.3).boxed()).await;
        self.left_traces();
        erased
    }

    async fn erased_at(&self, frontend: &FrontendName, id: &ConversationId) -> Result<Option<WallTime>> {
        self.serve((frontend.clone(), id.erased()), |conn, of| erased_at(conn, &of.0, &of.1).boxed()).await
    }
}

pub(in crate::store) async fn conversation(
    conn: &mut Conn,
    frontend: &FrontendName,
    id: &ConversationId,
) -> Result<Option<Conversation>> {
    let found = db::query(
        "SELECT c.key, CASE WHEN c.user_vouched THEN c.user_id END AS person, c.state, c.status_text, c.interaction_id, c.binding_version, c.last_sequence, c.read_sequence, \
            c.handoff, COALESCE(c.shown_created_at, c.created_at) AS created_at, \
            COALESCE(c.shown_updated_at, c.updated_at) AS updated_at, c.note, c.erased_at, c.queued, c.watch_until, c.read_at, c.binding_look_at, \
            (SELECT MIN(t.look_at) FROM turns t WHERE t.conversation_key = c.key \
                AND t.state IN ('sending', 'awaiting', 'late', 'unclear')) AS turn_look_at, c.awaiting_customer, \
            (SELECT COUNT(*) FROM deliveries d WHERE d.conversation_key = c.key AND d.state = 'pending') AS pending, \
            (SELECT COUNT(*) FROM deliveries d WHERE d.conversation_key = c.key AND d.state = 'dead') AS dead \
         FROM conversations c WHERE c.frontend = $1 AND c.conversation_id = $2 AND c.erased_at IS NULL",
    )
    .bind(frontend.as_str())
    .bind(id.as_str())
    .fetch_optional(conn)
    .await?;
    found.as_ref().map(|row| view(row, frontend, id)).transpose()
}

fn view(row: &Row, frontend: &FrontendName, id: &ConversationId) -> Result<Conversation> {
    let reads = [rows::maybe_time(row, "turn_look_at")?, rows::maybe_time(row, "binding_look_at")?];
    let is_bound = rows::maybe_text(row, "interaction_id")?.is_some();
    let own_read = rows::maybe_time(row, "read_at")?.filter(|_| is_bound);
    Ok(Conversation {
        reference: ConversationRef {
            key: ConversationKey(rows::int(row, "key")?),
            frontend: frontend.clone(),
            id: id.clone(),
        },
        person: rows::maybe_text(row, "person")?,
        state: rows::state(row, "state")?,
        status_text: rows::maybe_text(row, "status_text")?,
        awaiting_customer: rows::flag(row, "awaiting_customer")?,
        handoff: handoff::handoff(row)?,
        interaction: rows::maybe_text(row, "interaction_id")?.map(InteractionId::trusted),
        binding_version: rows::int(row, "binding_version")?,
        last_sequence: rows::int(row, "last_sequence")?,
        read_sequence: rows::int(row, "read_sequence")?,
        created_at: rows::time(row, "created_at")?,
        updated_at: rows::time(row, "updated_at")?,
        note: rows::maybe_text(row, "note")?,
        erased_at: rows::maybe_time(row, "erased_at")?,
        queued: rows::count(row, "queued")?,
        pending_deliveries: rows::count(row, "pending")?,
        dead_deliveries: rows::count(row, "dead")?,
        next_read_at: reads.into_iter().chain([own_read]).flatten().min(),
        watch_until: rows::maybe_time(row, "watch_until")?,
    })
}

async fn binding(conn: &mut Conn, key: ConversationKey) -> Result<Option<(Option<InteractionId>, i64)>> {
    let found =
        db::query("SELECT interaction_id, binding_version FROM conversations WHERE key = $1 AND erased_at IS NULL")
            .bind(key.0)
            .fetch_optional(conn)
            .await?;
    let Some(found) = found else { return Ok(None) };
    let interaction = rows::maybe_text(&found, "interaction_id")?.map(InteractionId::trusted);
    Ok(Some((interaction, rows::int(&found, "binding_version")?)))
}

/// The time at which the latest conversation of a hash was erased, by the clock that tokens are judged by.
pub(in crate::store) const ERASED_AT: &str = "SELECT MAX(COALESCE(shown_updated_at, erased_at)) FROM conversations \
     WHERE frontend = $1 AND conversation_id = $2 AND erased_at IS NOT NULL";

async fn erased_at(conn: &mut Conn, frontend: &FrontendName, hash: &ConversationId) -> Result<Option<WallTime>> {
    let at: Option<i64> =
        db::query_scalar(ERASED_AT).bind(frontend.as_str()).bind(hash.as_str()).fetch_one(conn).await?;
    Ok(at.map(WallTime::from_millis))
}

/// Erases all of a conversation's content, and leaves only the fact that there was one, as a hash of its id, and the time of
/// its erasure.
///
/// Without its turns a completion that is still under way finds nothing to complete. `person` is the hash of the person with
/// whom it is erased.
pub(in crate::store) async fn erase(
    conn: &mut Conn,
    cx: &mut Cx,
    frontend: &FrontendName,
    id: &ConversationId,
    upstream: bool,
    person: Option<&str>,
    now: Timestamp,
) -> Result<Option<Option<InteractionId>>> {
    let found = db::query(concat!(
        "SELECT key, queued, interaction_id, attribute, first_sent_at, COALESCE(latest_message_at, created_at) AS latest_at, \
            (SELECT MAX(t.lease_until) FROM turns t WHERE t.conversation_key = conversations.key \
                AND t.state = 'sending') AS busy_until FROM conversations \
         WHERE frontend = $1 AND conversation_id = $2 AND erased_at IS NULL",
        for_update!("conversations")
    ))
    .bind(frontend.as_str())
    .bind(id.as_str())
    .fetch_optional(&mut *conn)
    .await?;
    let Some(found) = found else { return Ok(None) };
    let (key, hash) = (rows::int(&found, "key")?, id.erased());
    let traces = erasures::traces(conn, ConversationKey(key)).await?;
    erased::keep(conn, ConversationKey(key), now).await?;
    for statement in [
        "DELETE FROM lanes WHERE conversation_key = $1",
        "DELETE FROM destination_lanes WHERE conversation_key = $1",
        "DELETE FROM deliveries WHERE conversation_key = $1",
        "DELETE FROM events WHERE conversation_key = $1",
        "DELETE FROM report_waits WHERE conversation_key = $1",
        // Marks of events in a Fini conversation that is or may be shared, or is unknown, stay: without an owner these events
        // would become somebody else's.
        "DELETE FROM marks WHERE conversation_key = $1 AND EXISTS (SELECT 1 FROM conversations own \
            WHERE own.key = $1 AND own.interaction_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM conversations other \
            WHERE other.shared_interaction_id = COALESCE(own.shared_interaction_id, own.interaction_id)))",
        "UPDATE marks SET rating = NULL, content = NULL, turn_key = NULL WHERE conversation_key = $1",
        "DELETE FROM turns WHERE conversation_key = $1",
    ] {
        db::query(statement).bind(key).execute(&mut *conn).await?;
    }
    db::query(
        "UPDATE conversations SET erased_at = $2, updated_at = $2, attribute = '', state = 'open', note = NULL, \
            status_text = NULL, resolved = NULL, wrapper_read = FALSE, awaiting_customer = FALSE, escalation = 0, \
            unjudged_since = NULL, status_as_of = 0, held_until = NULL, interaction_id = NULL, \
            binding_version = binding_version + 1, binding_wanted_since = NULL, binding_look_at = NULL, \
            first_sent_at = NULL, queued = 0, occupied = FALSE, turn_due_at = NULL, watch_until = NULL, read_at = NULL, \
            missed_since = NULL, latest_message_at = NULL, speaker = 'bot', handoff = NULL, handoff_due_at = NULL, \
             conversation_id = $3, user_id = NULL, read_sequence = 0, last_sent_at = NULL, shown_updated_at = $4 \
         WHERE key = $1",
    )
    .bind(key)
    .bind(now.as_millis())
    .bind(hash.as_str())
    .bind(cx.rules().wall.now().as_millis())
    .execute(&mut *conn)
    .await?;
    let interaction = found.try_get::<Option<String>, _>("interaction_id")?;
    db::query("DELETE FROM fini_pushes WHERE interaction_id = $1 OR attribute = $2")
        .bind(interaction.as_deref())
        .bind(rows::text(&found, "attribute")?)
        .execute(&mut *conn)
        .await?;
    let interaction = interaction.map(InteractionId::trusted);
    let wish = Wish {
        conversation: ConversationKey(key),
        frontend,
        id: &hash,
        person,
        requested_at: now,
        busy_until: rows::maybe_time(&found, "busy_until")?,
    };
    match (&interaction, rows::maybe_time(&found, "first_sent_at")?) {
        _ if !upstream => {}
        (Some(interaction), _) => {
            erasures::want(conn, &wish, interaction, rows::time(&found, "latest_at")?, now).await?;
        }
        // Something may be at Fini, at an unknown place.
        (None, Some(first_sent_at)) => {
            erasures::search(conn, &wish, &rows::text(&found, "attribute")?, first_sent_at, traces).await?;
            cx.announce(Change::Reading);
        }
        (None, None) => {}
    }
    cx.add_waiting(frontend, -rows::int(&found, "queued")?);
    let key = ConversationKey(key);
    cx.announce(Change::Binding(key));
    // Clients that wait for this conversation or stream it look again, and find it gone.
    cx.announce(Change::Settled(key));
    cx.announce(Change::Feed(key));
    log::tell_erased(conn, cx, frontend, (key, id), now).await?;
    audit::forget(conn, frontend, id).await?;
    Ok(Some(interaction))
}
