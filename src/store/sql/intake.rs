//! Taking messages in: the busiest transaction of all, four statements long.
//!
//! Idempotent by (frontend, conversation, message id). Two messages with one id that race each other meet in the unique
//! index over turns: the later transaction fails and is run again, where it finds the earlier one.

use std::time::Duration;

use futures_util::FutureExt;
use serde_json::{Map, Value};

use super::{
    Conn, Cx, Row, ThisStore,
    db::{self, Columns as _},
    dialect, handoff, outbox, rows,
};
use crate::{
    domain::{
        WallTime,
        destination::Poster,
        event::{Author, Envelope, FeedEvent, Message, Origin, TextFormat},
        exact,
        ids::{ConversationId, ConversationKey, EventId, FrontendName, IdSpace, InteractionId, MessageId},
        message::{InboundMessage, Role},
        window::MINUTE,
    },
    store::{Accepted, Change, IntakeStore, NewMessage, Result, StoreError, TurnView},
};

#[async_trait::async_trait]
impl IntakeStore for ThisStore {
    async fn accept(&self, message: NewMessage) -> Result<Accepted> {
        self.take_in(message, |conn, cx, message| accept(conn, cx, message).boxed()).await
    }

    async fn turn(
        &self,
        frontend: &FrontendName,
        conversation: &ConversationId,
        message: &MessageId,
        space: IdSpace,
    ) -> Result<Option<TurnView>> {
        let of = (frontend.clone(), conversation.clone(), message.clone(), space);
        self.serve(of, |conn, of| turn(conn, &of.0, &of.1, &of.2, of.3).boxed()).await
    }
}

/// The types of events that close a turn.
const CLOSING: [&str; 2] = ["turn.completed", "turn.failed"];

/// Data for Fini besides the text, as stored with the turn.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub(in crate::store) struct Extras {
    /// The frontend's user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::store) user_id: Option<String>,
    /// The user's attributes.
    #[serde(skip_serializing_if = "Map::is_empty", deserialize_with = "exact::object")]
    pub(in crate::store) attributes: Map<String, Value>,
    /// Fini's channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::store) channel: Option<String>,
    /// Further metadata.
    #[serde(skip_serializing_if = "Map::is_empty", deserialize_with = "exact::object")]
    pub(in crate::store) metadata: Map<String, Value>,
}

/// The conversation of a message, and the turn of one of the same id. Not joined: a planner without statistics of a young
/// table would look for the message in all conversations. The version before stored a browser's ids among the server's ($4).
pub(in crate::store) const KNOWN: &str = concat!(
    "SELECT c.key, c.queued, CASE WHEN c.user_vouched THEN c.user_id END AS person, \
        (SELECT t.fingerprint FROM turns t WHERE t.conversation_key = c.key AND t.message_id IN ($3, $4) \
            AND (t.message_id = $3 OR t.counted_for IS NOT NULL) LIMIT 1) AS fingerprint, \
        (SELECT t.state FROM turns t WHERE t.conversation_key = c.key AND t.message_id IN ($3, $4) \
            AND (t.message_id = $3 OR t.counted_for IS NOT NULL) LIMIT 1) AS state \
     FROM conversations c WHERE c.frontend = $1 AND c.conversation_id = $2 AND c.erased_at IS NULL",
    for_update!("c")
);

pub(in crate::store) async fn accept(conn: &mut Conn, cx: &mut Cx, new: &NewMessage) -> Result<Accepted> {
    let known = db::query(KNOWN)
        .bind(new.frontend.as_str())
        .bind(new.message.conversation_id.as_str())
        .bind(new.message.message_id.stored(new.id_space()))
        .bind(new.message.message_id.as_str())
        .fetch_optional(&mut *conn)
        .await?;
    let (mut waiting_here, mut known_key) = (0, None);
    if let Some(row) = &known {
        known_key = Some(ConversationKey(rows::int(row, "key")?));
        if !may_write(row, new)? {
            return Ok(Accepted::NotTheirs);
        }
        if let Some(fingerprint) = rows::maybe_text(row, "fingerprint")? {
            return if fingerprint == new.fingerprint {
                let conversation = ConversationKey(rows::int(row, "key")?);
                Ok(Accepted::Duplicate { conversation, state: rows::turn_state(row, "state")? })
            } else {
                Ok(Accepted::Conflict)
            };
        }
        waiting_here = rows::small(row, "queued")?;
    }
    let waiting_in_frontend = u32::try_from(cx.waiting(conn, &new.frontend).await?.max(0)).unwrap_or(u32::MAX);
    if waiting_here >= new.limits.per_conversation || waiting_in_frontend >= new.limits.per_frontend {
        return Ok(Accepted::BacklogFull { waiting_in_frontend, waiting_in_conversation: waiting_here });
    }
    if let Some(row) = known.filter(|_| waiting_here > 0 && new.limits.bytes_per_conversation > 0) {
        let waiting: i64 = db::query_scalar(BYTES_WAITING).bind(rows::int(&row, "key")?).fetch_one(&mut *conn).await?;
        let bytes = usize::try_from(waiting).unwrap_or(usize::MAX).saturating_add(new.message.text.len());
        if bytes > new.limits.bytes_per_conversation {
            return Ok(Accepted::TooLarge { waiting_in_frontend });
        }
    }
    if let Some(wait) = person_waits(conn, new).await? {
        return Ok(Accepted::TooFast { wait });
    }
    if new.message.role != Role::Agent {
        return store(conn, cx, new).await;
    }
    // The act of speaking comes before the message, except in a conversation that begins with it.
    if let Some(key) = known_key {
        handoff::desk_speaks(conn, cx, new, key).await?;
    }
    let accepted = store(conn, cx, new).await?;
    if let (None, Accepted::New { conversation, .. }) = (known_key, &accepted) {
        handoff::desk_speaks(conn, cx, new, *conversation).await?;
    }
    Ok(accepted)
}

/// The bytes that wait in one conversation, by the index of turns that are not over.
pub(in crate::store) const BYTES_WAITING: &str = "SELECT CAST(COALESCE(SUM(OCTET_LENGTH(text) + OCTET_LENGTH(extras)), 0) AS BIGINT) \
     FROM turns WHERE conversation_key = $1 AND state IN ('queued', 'sending', 'awaiting', 'unclear') AND state = 'queued'";

/// The message that has to leave the window before a person may write the next one.
pub(in crate::store) const WRITTEN: &str = "SELECT accepted_at FROM turns \
     WHERE frontend = $1 AND counted_for = $2 AND accepted_at > $3 ORDER BY accepted_at DESC LIMIT 1 OFFSET $4";

/// Returns how long the browser's user has to wait before writing again; `None` if not at all.
async fn person_waits(conn: &mut Conn, new: &NewMessage) -> Result<Option<Duration>> {
    let (Some(person), most @ 1..) = (&new.counted_for, new.limits.browser_messages_per_user) else { return Ok(None) };
    dialect::lock_person(conn, new.frontend.as_str(), person).await?;
    let leaving = db::query(WRITTEN)
        .bind(new.frontend.as_str())
        .bind(person.as_str())
        .bind(new.now.minus(MINUTE).as_millis())
        .bind(i64::try_from(most - 1).unwrap_or(i64::MAX))
        .fetch_optional(conn)
        .await?;
    let Some(leaving) = leaving else { return Ok(None) };
    Ok(Some(rows::time(&leaving, "accepted_at")?.plus(MINUTE).since(new.now).max(Duration::from_millis(1))))
}

async fn store(conn: &mut Conn, cx: &mut Cx, new: &NewMessage) -> Result<Accepted> {
    let now = new.now.as_millis();
    // Due at once, unless something else of the conversation comes first: the same rule as in `refresh_turns`.
    let conversation = db::query(
        "INSERT INTO conversations (frontend, conversation_id, attribute, last_sequence, queued, turn_due_at, \
                created_at, updated_at, last_activity_at, shown_created_at, shown_updated_at, user_id, user_vouched) \
            VALUES ($1, $2, $3, 1, 1, $4, $4, $4, $4, $5, $5, $6, $7) \
         ON CONFLICT (frontend, conversation_id) WHERE erased_at IS NULL DO UPDATE SET \
            last_sequence = conversations.last_sequence + 1, \
            queued = conversations.queued + 1, \
            turn_due_at = CASE WHEN conversations.queued > 0 OR (conversations.occupied AND conversations.held_until IS NULL) \
                    OR conversations.state = 'quarantined' OR conversations.binding_wanted_since IS NOT NULL \
                    OR (conversations.interaction_id IS NULL AND conversations.first_sent_at IS NOT NULL \
                        AND conversations.state <> 'continued') \
                THEN conversations.turn_due_at \
                WHEN conversations.occupied AND conversations.held_until > excluded.turn_due_at THEN conversations.held_until \
                ELSE excluded.turn_due_at END, \
            updated_at = excluded.updated_at, \
            last_activity_at = excluded.last_activity_at, \
            shown_updated_at = CASE WHEN conversations.shown_updated_at > excluded.shown_updated_at \
                THEN conversations.shown_updated_at ELSE excluded.shown_updated_at END, \
            user_id = COALESCE(conversations.user_id, excluded.user_id), \
            user_vouched = CASE WHEN excluded.user_id IS NULL THEN conversations.user_vouched \
                WHEN conversations.user_id IS NULL THEN TRUE \
                ELSE conversations.user_vouched AND conversations.user_id = excluded.user_id END \
         RETURNING key, last_sequence, interaction_id, turn_due_at, shown_updated_at, queued, \
            CASE WHEN user_vouched THEN user_id END AS person",
    )
    .bind(new.frontend.as_str())
    .bind(new.message.conversation_id.as_str())
    .bind(cx.rules().entropy.key())
    .bind(now)
    .bind(cx.rules().wall.now().as_millis())
    .bind(new.vouched_user.as_deref())
    .bind(new.vouched_user.is_some())
    .fetch_one(&mut *conn)
    .await?;
    if !may_write(&conversation, new)? {
        // Somebody else began it after the check above. Rolled back; the next run sees it.
        return Err(StoreError::Contended("another person's conversation was begun at the same time".to_owned()));
    }
    let key = rows::int(&conversation, "key")?;
    let sequence = rows::int(&conversation, "last_sequence")?;
    let turn = insert_turn(conn, cx, new, key).await?;

    let shown_at = WallTime::from_millis(rows::int(&conversation, "shown_updated_at")?);
    let event = posted(new, shown_at);
    let id = EventId::trusted(cx.id("evt_", new.now));
    let body = Envelope {
        id: &id,
        timestamp: shown_at,
        frontend: &new.frontend,
        conversation_id: &new.message.conversation_id,
        interaction_id: rows::maybe_text(&conversation, "interaction_id")?.map(InteractionId::trusted).as_ref(),
        sequence,
    }
    .render(&event);
    db::query(
        "INSERT INTO events (conversation_key, sequence, id, kind, turn_key, body, recorded_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(key)
    .bind(sequence)
    .bind(id.as_str())
    .bind(event.kind())
    .bind(turn)
    .bind(body)
    .bind(now)
    .execute(&mut *conn)
    .await?;
    let appended = outbox::Appended {
        frontend: &new.frontend,
        conversation: ConversationKey(key),
        sequence,
        id: &id,
        event: &event,
        // Every poster from a browser is counted.
        poster: if new.counted_for.is_some() { Poster::Browser } else { Poster::Server },
    };
    outbox::file(conn, cx, &appended, &mut Vec::new(), new.now).await?;

    cx.add_waiting(&new.frontend, 1);
    cx.announce(Change::Feed(ConversationKey(key)));
    if sequence == 1 {
        // A client that waits for it to begin knows only its name.
        cx.announce(Change::Feed(ConversationKey::unborn(&new.frontend, &new.message.conversation_id)));
    }
    let due_at = rows::maybe_time(&conversation, "turn_due_at")?;
    if due_at.is_some() {
        cx.announce(Change::Turns);
    }
    let is_next = rows::int(&conversation, "queued")? == 1 && due_at.is_some_and(|due_at| due_at <= new.now);
    Ok(Accepted::New { conversation: ConversationKey(key), sequence, is_next })
}

/// Returns true if a message may go into this conversation.
fn may_write(conversation: &Row, new: &NewMessage) -> Result<bool> {
    Ok(!new.only_own || rows::maybe_text(conversation, "person")? == new.vouched_user)
}

async fn insert_turn(conn: &mut Conn, cx: &Cx, new: &NewMessage, conversation: i64) -> Result<i64> {
    let InboundMessage { message_id, text, role, .. } = &new.message;
    let extras = Extras {
        user_id: new.message.user_id.clone(),
        attributes: new.message.attributes.clone(),
        channel: new.message.channel.clone(),
        metadata: new.message.metadata.clone(),
    };
    let key = db::query_scalar(
        "INSERT INTO turns (conversation_key, frontend, message_id, fingerprint, role, text, extras, attribute, \
                accepted_at, due_at, state_since, request_id, traceparent, counted_for) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9, $9, $10, $11, $12) RETURNING key",
    )
    .bind(conversation)
    .bind(new.frontend.as_str())
    .bind(message_id.stored(new.id_space()))
    .bind(&new.fingerprint)
    .bind(role.as_str())
    .bind(text)
    .bind(serde_json::to_string(&extras)?)
    .bind(cx.rules().entropy.key())
    .bind(new.now.as_millis())
    .bind(new.cause.request_id())
    .bind(new.cause.trace.map(|trace| trace.to_string()))
    .bind(new.counted_for.as_deref())
    .fetch_one(conn)
    .await?;
    Ok(key)
}

/// Returns the message as it stands in the feed.
fn posted(new: &NewMessage, shown_at: WallTime) -> FeedEvent {
    FeedEvent::MessageCreated {
        message: Message {
            id: new.message.message_id.to_string(),
            author: match new.message.role {
                Role::User => Author::User,
                Role::Agent => Author::Agent,
                Role::OtherBot => Author::OtherBot,
            },
            text: new.message.text.clone(),
            format: TextFormat::Plain,
            created_at: shown_at.point(),
            articles: Vec::new(),
            attachments: Vec::new(),
            tags: Vec::new(),
        },
        origin: Origin::Frontend,
        in_reply_to: None,
        withheld: false,
    }
}

/// The most bytes of a turn's events that a waiting caller gets.
const MOST_OF_TURN: i64 = 1 << 20;

/// The events of a turn and of its leader, up to so many bytes, and those that close it. Their sizes stand in the rows' heads,
/// so that events that are left out are not read either.
pub(in crate::store) const EVENTS_OF_TURN: &str = "WITH sizes AS (SELECT sequence, conversation_key, kind, \
    SUM(CAST(OCTET_LENGTH(body) AS BIGINT)) OVER (ORDER BY sequence) AS bytes FROM events WHERE turn_key IN ($1, $2)) \
 SELECT e.turn_key, e.kind, e.body FROM sizes s \
    JOIN events e ON e.conversation_key = s.conversation_key AND e.sequence = s.sequence \
 WHERE s.bytes <= $3 OR s.kind IN ('turn.completed', 'turn.failed') ORDER BY e.sequence";

async fn turn(
    conn: &mut Conn,
    frontend: &FrontendName,
    conversation: &ConversationId,
    message: &MessageId,
    space: IdSpace,
) -> Result<Option<TurnView>> {
    let found = db::query(
        "SELECT c.key AS conversation_key, t.key, t.leader_key, t.state FROM conversations c \
         JOIN turns t ON t.conversation_key = c.key AND t.message_id IN ($3, $4) \
            AND (t.message_id = $3 OR t.counted_for IS NOT NULL) \
         WHERE c.frontend = $1 AND c.conversation_id = $2 AND c.erased_at IS NULL LIMIT 1",
    )
    .bind(frontend.as_str())
    .bind(conversation.as_str())
    .bind(message.stored(space))
    .bind(message.as_str())
    .fetch_optional(&mut *conn)
    .await?;
    let Some(found) = found else { return Ok(None) };
    let own = rows::int(&found, "key")?;
    let leader: Option<i64> = found.try_get("leader_key")?;
    // The state was read first: if it says that the turn is over, its last event is there too.
    // Of a turn with very many events only the oldest and the closing ones are returned; the feed has all of them.
    let events =
        db::query(EVENTS_OF_TURN).bind(own).bind(leader.unwrap_or(own)).bind(MOST_OF_TURN).fetch_all(conn).await?;
    Ok(Some(TurnView {
        conversation: ConversationKey(rows::int(&found, "conversation_key")?),
        state: rows::turn_state(&found, "state")?,
        events: of_turn(&events, own)?,
    }))
}

/// Picks the bodies that belong to the turn `own` out of its own events and those of the turn it was joined into: of the
/// latter the leader's message and its closing event are left out.
fn of_turn(events: &[Row], own: i64) -> Result<Vec<String>> {
    let mut bodies = Vec::with_capacity(events.len());
    let mut leaders_message_passed = false;
    for event in events {
        if rows::int(event, "turn_key")? != own {
            if !std::mem::replace(&mut leaders_message_passed, true) {
                continue;
            }
            if CLOSING.contains(&rows::text(event, "kind")?.as_str()) {
                continue;
            }
        }
        bodies.push(rows::text(event, "body")?);
    }
    Ok(bodies)
}
