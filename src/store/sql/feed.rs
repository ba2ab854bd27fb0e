//! The feed: appending to it, and reading it.
//!
//! Invariants: numbers count 1, 2, 3 … per conversation without gaps (the number is taken and the event written in one
//! transaction); a body is rendered once; its callbacks are filed in the same transaction.

use futures_util::FutureExt;

use super::{Conn, Cx, ThisStore, db, handoff, outbox, records::ConversationRecord, rows};
use crate::{
    domain::{
        Timestamp,
        destination::Poster,
        event::{Envelope, FeedEvent},
        ids::{ConversationId, ConversationKey, EventId, FrontendName, TurnKey},
        turn::TurnState,
    },
    store::{Change, FeedEntry, FeedPage, FeedStore, Most, Result, Unanswered},
};

#[async_trait::async_trait]
impl FeedStore for ThisStore {
    async fn feed(
        &self,
        frontend: &FrontendName,
        id: &ConversationId,
        after: i64,
        most: Most,
    ) -> Result<Option<(ConversationKey, FeedPage)>> {
        let of = (frontend.clone(), id.clone(), after, most);
        self.serve(of, |conn, of| page(conn, &of.0, &of.1, of.2, of.3).boxed()).await
    }

    async fn unanswered(&self, conversation: ConversationKey) -> Result<Vec<Unanswered>> {
        self.serve(conversation, |conn, key| unanswered(conn, *key).boxed()).await
    }
}

/// An event to append, and the turn that it belongs to.
pub(in crate::store) type Happened = (FeedEvent, Option<TurnKey>);

/// Appends to a conversation's feed, and files the callbacks that its frontend wants. The numbers are taken from the record,
/// which the transaction saves.
pub(in crate::store) async fn append(
    conn: &mut Conn,
    cx: &mut Cx,
    conversation: &mut ConversationRecord,
    happened: &[Happened],
    now: Timestamp,
) -> Result<()> {
    if happened.is_empty() {
        return Ok(());
    }
    let key = conversation.key();
    conversation.updated_at = now;
    let shown_at = conversation.stamp(cx);
    conversation.plan_handoff(cx);
    for (event, turn) in happened {
        let completed;
        let event = match event {
            FeedEvent::HandoffRequested(request) => {
                completed = handoff::complete(conn, conversation, request).await?;
                &FeedEvent::HandoffRequested(Box::new(completed))
            }
            event => event,
        };
        let leaves_out = turn.is_none() && mutated!("a number of the feed is left out");
        conversation.last_sequence += 1 + i64::from(leaves_out);
        let sequence = conversation.last_sequence;
        let id = EventId::trusted(cx.id("evt_", now));
        let body = Envelope {
            id: &id,
            timestamp: shown_at,
            frontend: &conversation.reference.frontend,
            conversation_id: &conversation.reference.id,
            interaction_id: conversation.interaction.as_ref(),
            sequence,
        }
        .render(event);
        db::query(
            "INSERT INTO events (conversation_key, sequence, id, kind, turn_key, body, recorded_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(key.0)
        .bind(sequence)
        .bind(id.as_str())
        .bind(event.kind())
        .bind(turn.map(|turn| turn.0))
        .bind(body)
        .bind(now.as_millis())
        .execute(&mut *conn)
        .await?;
        let frontend = &conversation.reference.frontend;
        let (id, poster) = (&id, Poster::Server);
        let appended = outbox::Appended { frontend, conversation: key, sequence, id, event, poster };
        outbox::file(conn, cx, &appended, &mut conversation.opened, now).await?;
    }
    cx.announce(Change::Feed(key));
    Ok(())
}

/// The turns of a conversation that are not over, by the indexes of those alone.
pub(in crate::store) const UNANSWERED: &str = "SELECT key, message_id, state, accepted_at, sent_at FROM turns \
        WHERE conversation_key = $1 AND role = 'user' AND state IN ('queued', 'sending', 'awaiting', 'unclear') \
     UNION ALL SELECT key, message_id, state, accepted_at, sent_at FROM turns \
        WHERE conversation_key = $1 AND role = 'user' AND state = 'late' ORDER BY key LIMIT 50";

async fn unanswered(conn: &mut Conn, conversation: ConversationKey) -> Result<Vec<Unanswered>> {
    let found = db::query(UNANSWERED).bind(conversation.0).fetch_all(conn).await?;
    let message = |row| {
        let state = rows::turn_state(row, "state")?;
        let is_sent = state != TurnState::Queued;
        Ok(Unanswered {
            message: rows::message_id(row, "message_id")?,
            is_sent,
            accepted_at: rows::time(row, "accepted_at")?,
            busy_since: rows::maybe_time(row, "sent_at")?.filter(|_| is_sent && state != TurnState::Late),
        })
    };
    found.iter().map(message).collect()
}

/// The sizes of a feed's entries, without their bodies.
pub(in crate::store) const SIZES: &str = "SELECT sequence, CAST(OCTET_LENGTH(body) AS BIGINT) AS bytes FROM events \
     WHERE conversation_key = $1 AND sequence > $2 ORDER BY sequence LIMIT $3";

async fn page(
    conn: &mut Conn,
    frontend: &FrontendName,
    id: &ConversationId,
    after: i64,
    most: Most,
) -> Result<Option<(ConversationKey, FeedPage)>> {
    let found = db::query(
        "SELECT key, last_sequence, read_sequence FROM conversations \
         WHERE frontend = $1 AND conversation_id = $2 AND erased_at IS NULL",
    )
    .bind(frontend.as_str())
    .bind(id.as_str())
    .fetch_optional(&mut *conn)
    .await?;
    let Some(found) = found else { return Ok(None) };
    let key = rows::int(&found, "key")?;
    let limit = i64::try_from(most.entries).unwrap_or(i64::MAX);
    // The sizes stand in the rows' heads: entries that do not fit are never read.
    let sizes = db::query(SIZES).bind(key).bind(after).bind(limit.saturating_add(1)).fetch_all(&mut *conn).await?;
    let (mut last, mut bytes, mut fit) = (after, 0_usize, 0_usize);
    for row in sizes.iter().take(most.entries) {
        bytes = bytes.saturating_add(usize::try_from(rows::int(row, "bytes")?).unwrap_or(usize::MAX));
        if fit > 0 && bytes > most.bytes {
            break;
        }
        (last, fit) = (rows::int(row, "sequence")?, fit + 1);
    }
    let events = db::query(
        "SELECT sequence, kind, body FROM events WHERE conversation_key = $1 AND sequence > $2 AND sequence <= $3 \
         ORDER BY sequence",
    )
    .bind(key)
    .bind(after)
    .bind(last)
    .fetch_all(conn)
    .await?;
    let has_more = sizes.len() > fit;
    let newest_read = sizes.last().map_or(Ok(0), |event| rows::int(event, "sequence"))?;
    let entries = events.iter().map(|event| {
        Ok(FeedEntry {
            sequence: rows::int(event, "sequence")?,
            kind: rows::text(event, "kind")?,
            body: rows::text(event, "body")?,
        })
    });
    let page = FeedPage {
        entries: entries.collect::<Result<_>>()?,
        // The entries were read later than the conversation.
        last_sequence: rows::int(&found, "last_sequence")?.max(newest_read),
        read_sequence: rows::int(&found, "read_sequence")?,
        has_more,
    };
    Ok(Some((ConversationKey(key), page)))
}
