//! The right to speak to the customer, read and changed in the transaction that records.
//!
//! The domain decides what an act means; this module gives it the record, and appends its events in the same
//! transaction as the new state. Invariant: nothing but a conversation's record writes its handoff.

use std::collections::HashSet;

use futures_util::FutureExt;
use serde_json::{Map, Value};

use super::{
    Conn, Cx, Row, ThisStore, bindings, conversations, db, feed, intake,
    intake::Extras,
    records::{self, ConversationRecord},
    rows,
    unbound::looked_for,
};
use crate::{
    domain::{
        Timestamp, WallTime,
        correlation::Correlation,
        event::{Customer, EscalationReason, FeedEvent, Requested},
        handoff::{ActionWords, Desk, Handoff, ReturnedBy, Speaker},
        ids::{ConversationId, ConversationKey, FrontendName, InteractionId, MessageId},
        message::{InboundMessage, Role},
    },
    store::{
        BacklogLimits, Change, HandedOff, HandoffAct, HandoffStore, KeptPush, Meant, MeantConversation, NewMessage,
        OpenHandoff, Result, Ticked,
    },
};

#[async_trait::async_trait]
impl HandoffStore for ThisStore {
    async fn hand_off(
        &self,
        frontend: &FrontendName,
        id: &ConversationId,
        act: HandoffAct,
        now: Timestamp,
    ) -> Result<HandedOff> {
        let of = (frontend.clone(), id.clone(), act, now);
        self.write(of, |conn, cx, of| hand_off(conn, cx, &of.0, &of.1, &of.2, of.3).boxed()).await
    }

    async fn push(&self, meant: Meant, note: Option<String>, now: Timestamp) -> Result<Option<MeantConversation>> {
        self.write((meant, note, now), |conn, cx, of| push(conn, cx, &of.0, of.1.as_deref(), of.2).boxed()).await
    }

    async fn meant(&self, meant: &Meant) -> Result<Option<MeantConversation>> {
        self.serve(meant.clone(), |conn, meant| standing_of(conn, meant).boxed()).await
    }

    async fn set_desk(&self, frontend: &FrontendName, desk: &Desk) -> Result<()> {
        let of = (desk_note(frontend), serde_json::to_string(desk)?);
        self.write_once(of, |conn, _, (name, desk)| super::reading::remember(conn, name, desk).boxed()).await
    }

    async fn tick_handoffs(&self, now: Timestamp, limit: usize) -> Result<Vec<Ticked>> {
        self.write((now, limit), |conn, cx, of| tick_due(conn, cx, of.0, of.1).boxed()).await
    }

    async fn next_handoff_at(&self) -> Result<Option<Timestamp>> {
        self.read((), |conn, ()| next_at(conn).boxed()).await
    }

    async fn open_handoffs(
        &self,
        frontend: Option<&FrontendName>,
        limit: usize,
    ) -> Result<(Vec<OpenHandoff>, Vec<KeptPush>)> {
        self.serve((frontend.cloned(), limit), |conn, of| open(conn, of.0.as_ref(), of.1).boxed()).await
    }

    async fn waiting_for_humans(&self) -> Result<(u64, Option<Timestamp>)> {
        self.read((), |conn, ()| waiting(conn).boxed()).await
    }

    async fn words(&self, conversation: ConversationKey, messages: usize) -> Result<Vec<String>> {
        self.serve((conversation, messages), |conn, of| words(conn, of.0, of.1).boxed()).await
    }

    async fn type_along(&self, conversation: ConversationKey) -> Result<()> {
        self.write_once(conversation, |_, cx, key| {
            cx.announce(Change::Typing(*key));
            async { Ok(()) }.boxed()
        })
        .await
    }
}

/// Loads the record of a conversation that was not erased.
async fn find(conn: &mut Conn, frontend: &FrontendName, id: &ConversationId) -> Result<Option<ConversationRecord>> {
    let key: Option<i64> = db::query_scalar(
        "SELECT key FROM conversations WHERE frontend = $1 AND conversation_id = $2 AND erased_at IS NULL",
    )
    .bind(frontend.as_str())
    .bind(id.as_str())
    .fetch_optional(&mut *conn)
    .await?;
    match key {
        Some(key) => records::load(conn, ConversationKey(key)).await,
        None => Ok(None),
    }
}

async fn hand_off(
    conn: &mut Conn,
    cx: &mut Cx,
    frontend: &FrontendName,
    id: &ConversationId,
    act: &HandoffAct,
    now: Timestamp,
) -> Result<HandedOff> {
    if matches!(act, HandoffAct::Request { begins: true, .. }) {
        begin(conn, cx, frontend, id, now).await?;
    }
    let Some(mut conversation) = find(conn, frontend, id).await? else { return Ok(HandedOff::Unknown) };
    let mut told = Vec::new();
    let standing = &mut conversation.standing;
    let done = match act {
        HandoffAct::Request { reason, note, .. } => {
            standing.request_human(*reason, note.clone(), now, &mut told);
            Ok(())
        }
        HandoffAct::Claim { agent, joins } => match standing.claim(agent.clone(), *joins, now, &mut told) {
            Ok(()) => Ok(()),
            Err(already) => return Ok(HandedOff::AlreadyClaimed(already.0)),
        },
        HandoffAct::Position(place) => standing.set_place(*place, &mut told),
        HandoffAct::Leave { agent } => standing.leave(agent.as_deref(), now, &mut told),
        HandoffAct::Return => standing.give_back(ReturnedBy::Desk, &mut told),
    };
    if done.is_err() {
        return Ok(HandedOff::NoHandoff);
    }
    record(conn, cx, conversation, told, now).await?;
    let found = conversations::conversation(conn, frontend, id).await?;
    Ok(found.map_or(HandedOff::Unknown, |found| HandedOff::Done(Box::new(found))))
}

/// Begins a conversation without a message, unless it has begun.
async fn begin(
    conn: &mut Conn,
    cx: &mut Cx,
    frontend: &FrontendName,
    id: &ConversationId,
    now: Timestamp,
) -> Result<()> {
    let begun = db::query(
        "INSERT INTO conversations (frontend, conversation_id, attribute, created_at, updated_at, last_activity_at, \
            shown_created_at, shown_updated_at) VALUES ($1, $2, $3, $4, $4, $4, $5, $5) \
         ON CONFLICT (frontend, conversation_id) WHERE erased_at IS NULL DO NOTHING",
    )
    .bind(frontend.as_str())
    .bind(id.as_str())
    .bind(cx.rules().entropy.key())
    .bind(now.as_millis())
    .bind(cx.rules().wall.now().as_millis())
    .execute(conn)
    .await?;
    if begun.rows_affected() > 0 {
        // A client that waits for it to begin knows only its name.
        cx.announce(Change::Feed(ConversationKey::unborn(frontend, id)));
    }
    Ok(())
}

/// Writes down a conversation after an act, with the act's events.
async fn record(
    conn: &mut Conn,
    cx: &mut Cx,
    mut conversation: ConversationRecord,
    told: Vec<FeedEvent>,
    now: Timestamp,
) -> Result<()> {
    append(conn, cx, &mut conversation, told, now).await?;
    conversation.save(conn).await
}

async fn append(
    conn: &mut Conn,
    cx: &mut Cx,
    conversation: &mut ConversationRecord,
    told: Vec<FeedEvent>,
    now: Timestamp,
) -> Result<()> {
    let happened: Vec<feed::Happened> = told.into_iter().map(|event| (event, None)).collect();
    feed::append(conn, cx, conversation, &happened, now).await?;
    conversation.plan_handoff(cx);
    Ok(())
}

/// Applies a desk's message to the handoff: an agent who names himself takes the conversation, or joins.
pub(in crate::store) async fn desk_speaks(
    conn: &mut Conn,
    cx: &mut Cx,
    new: &NewMessage,
    key: ConversationKey,
) -> Result<()> {
    let Some(mut conversation) = records::load(conn, key).await? else { return Ok(()) };
    let mut told = Vec::new();
    match &new.agent {
        // An agent who joins is never refused.
        Some(agent) => drop(conversation.standing.claim(agent.clone(), true, new.now, &mut told)),
        None => conversation.standing.somebody_wrote(new.now),
    }
    conversation.last_activity_at = conversation.last_activity_at.max(new.now);
    record(conn, cx, conversation, told, new.now).await
}

/// Completes a request with the facts on record that a desk has to know.
pub(in crate::store) async fn complete(
    conn: &mut Conn,
    conversation: &ConversationRecord,
    request: &Requested,
) -> Result<Requested> {
    let key = conversation.key();
    let desk = desk(conn, &conversation.reference.frontend).await?;
    Ok(Requested {
        user: customer(conn, key).await?,
        tags: tags(conn, key).await?,
        desk_open: desk.as_ref().map(|desk| desk.open),
        next_open: desk.and_then(|desk| desk.next_open),
        ..request.clone()
    })
}

/// The most messages of a customer that are searched for facts about the customer, the latest ones.
const LOOKED_THROUGH: i64 = 20;
/// The most messages whose tags are gathered, the latest ones.
const TAGGED: i64 = 50;

/// The latest messages of a conversation's customer.
pub(in crate::store) const EXTRAS: &str =
    "SELECT extras FROM turns WHERE conversation_key = $1 AND role = 'user' ORDER BY key DESC LIMIT $2";

async fn customer(conn: &mut Conn, key: ConversationKey) -> Result<Customer> {
    let named: Option<Option<String>> = db::query_scalar("SELECT user_id FROM conversations WHERE key = $1")
        .bind(key.0)
        .fetch_optional(&mut *conn)
        .await?;
    let found = db::query(EXTRAS).bind(key.0).bind(LOOKED_THROUGH).fetch_all(conn).await?;
    let mut customer = Customer { id: None, attributes: Map::new() };
    for row in found.iter().rev() {
        let extras: Extras = serde_json::from_str(&rows::text(row, "extras")?)?;
        customer.id = extras.user_id.or(customer.id);
        customer.attributes.extend(extras.attributes);
    }
    customer.id = named.flatten().or(customer.id);
    Ok(customer)
}

/// The latest messages of a conversation and their changes.
pub(in crate::store) const MESSAGES: &str = "SELECT body FROM events WHERE conversation_key = $1 \
     AND kind IN ('message.created', 'message.updated') ORDER BY sequence DESC LIMIT $2";

/// Gathers the tags of the latest messages, each once.
async fn tags(conn: &mut Conn, key: ConversationKey) -> Result<Vec<Value>> {
    let bodies: Vec<String> = db::query_scalar(MESSAGES).bind(key.0).bind(TAGGED).fetch_all(conn).await?;
    let mut known = HashSet::new();
    let mut tags: Vec<Value> = Vec::new();
    for body in &bodies {
        let event: Value = serde_json::from_str(body)?;
        let data = &event["data"];
        let message = data.get("message").unwrap_or(&data["changed"]);
        let id = data["message_id"].as_str().or(message["id"].as_str()).unwrap_or_default().to_owned();
        let Some(found) = message.get("tags").and_then(Value::as_array) else { continue };
        // A later event overrides an earlier one; one without tags says nothing.
        if known.insert(id) {
            tags.extend(found.iter().rev().cloned());
        }
    }
    tags.reverse();
    let mut seen = HashSet::new();
    tags.retain(|tag| seen.insert(tag.to_string()));
    Ok(tags)
}

/// Returns the name of the note that says whether a frontend's desk is there.
fn desk_note(frontend: &FrontendName) -> String {
    format!("desk.{frontend}")
}

async fn desk(conn: &mut Conn, frontend: &FrontendName) -> Result<Option<Desk>> {
    let note = super::reading::recall(conn, &desk_note(frontend)).await?;
    Ok(note.and_then(|note| serde_json::from_str(&note).ok()))
}

/// The conversation of one of our keys.
pub(in crate::store) const BY_ATTRIBUTE: &str =
    "SELECT key FROM conversations WHERE attribute = $1 AND attribute <> '' AND erased_at IS NULL";

/// Finds the conversation that Fini means. Its own id counts more than a key of ours, which Fini merges from message to message.
async fn meant(conn: &mut Conn, meant: &Meant) -> Result<Option<ConversationKey>> {
    if let Some(interaction) = &meant.interaction
        && let Some(owner) = bindings::owner(conn, interaction).await?
    {
        return Ok(Some(owner.key));
    }
    let Some(attribute) = meant.attribute.as_deref().filter(|attribute| !attribute.is_empty()) else { return Ok(None) };
    let key: Option<i64> = db::query_scalar(BY_ATTRIBUTE).bind(attribute).fetch_optional(&mut *conn).await?;
    let Some(key) = key else { return Ok(None) };
    // A key that stands on another conversation of Fini's proves nothing about this one.
    let bound: Option<Option<String>> = db::query_scalar("SELECT interaction_id FROM conversations WHERE key = $1")
        .bind(key)
        .fetch_optional(conn)
        .await?;
    let is_other =
        bound.flatten().zip(meant.interaction.as_ref()).is_some_and(|(bound, named)| bound != named.as_str());
    Ok((!is_other).then_some(ConversationKey(key)))
}

async fn standing_of(conn: &mut Conn, of: &Meant) -> Result<Option<MeantConversation>> {
    let Some(key) = meant(conn, of).await? else { return Ok(None) };
    let Some(row) = db::query("SELECT frontend, conversation_id, handoff FROM conversations WHERE key = $1")
        .bind(key.0)
        .fetch_optional(&mut *conn)
        .await?
    else {
        return Ok(None);
    };
    let (id, handoff) = (ConversationId::trusted(rows::text(&row, "conversation_id")?), handoff(&row)?);
    let frontend = FrontendName::trusted(rows::text(&row, "frontend")?);
    let position =
        if handoff.speaker() == Speaker::Waiting { position(conn, &frontend, &handoff).await? } else { None };
    let desk = desk(conn, &frontend).await?;
    Ok(Some(MeantConversation { frontend, id, handoff, position, desk }))
}

/// The handoffs of a frontend's customers who wait.
pub(in crate::store) const WAITING: &str =
    "SELECT handoff FROM conversations WHERE frontend = $1 AND speaker = 'waiting' AND speaker <> 'bot'";

/// Returns a customer's place among those who wait: as the desk says, else in the order in which they began to.
async fn position(conn: &mut Conn, frontend: &FrontendName, own: &Handoff) -> Result<Option<u32>> {
    if let Some(place) = own.place() {
        return Ok(Some(place.position));
    }
    let found = db::query(WAITING).bind(frontend.as_str()).fetch_all(conn).await?;
    let mut before = 0;
    for row in &found {
        before += usize::from(handoff(row)?.since() < own.since());
    }
    Ok(u32::try_from(before + 1).ok())
}

/// Reads the handoff of a row.
pub(in crate::store) fn handoff(row: &Row) -> Result<Handoff> {
    let text = rows::maybe_text(row, "handoff")?;
    Ok(text.as_deref().map(serde_json::from_str).transpose()?.unwrap_or_default())
}

async fn push(
    conn: &mut Conn,
    cx: &mut Cx,
    of: &Meant,
    note: Option<&str>,
    now: Timestamp,
) -> Result<Option<MeantConversation>> {
    let found = match meant(conn, of).await? {
        Some(key) => records::load(conn, key).await?,
        None => None,
    };
    let Some(mut conversation) = found else {
        db::query(
            "INSERT INTO fini_pushes (id, received_at, shown_at, interaction_id, attribute, note) \
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(cx.id("psh_", now))
        .bind(now.as_millis())
        .bind(cx.rules().wall.now().as_millis())
        .bind(of.interaction.as_ref().map(InteractionId::as_str))
        .bind(of.attribute.as_deref())
        .bind(note)
        .execute(conn)
        .await?;
        return Ok(None);
    };
    let note = if note.is_some() && words_of(conn, &conversation, of).await?.are_its_own() { note } else { None };
    let mut told = Vec::new();
    conversation.standing.request_human(EscalationReason::Action, note.map(str::to_owned), now, &mut told);
    record(conn, cx, conversation, told, now).await?;
    standing_of(conn, of).await
}

/// Another conversation of ours that is, or was, in the same Fini conversation.
pub(in crate::store) const SHARING: &str = "SELECT COUNT(*) FROM (SELECT key FROM conversations \
     WHERE shared_interaction_id = $1 AND key <> $2 LIMIT 1) AS others";

/// Another conversation whose Fini conversation is not known yet.
pub(in crate::store) const ANOTHER_LOOKED_FOR: &str = concat!(
    "SELECT COUNT(*) FROM (SELECT key FROM conversations WHERE ",
    looked_for!(),
    " AND key <> $1 LIMIT 1) AS others"
);

/// Gathers the facts by which the words of Fini's action are a conversation's own, or may be somebody else's.
async fn words_of(conn: &mut Conn, conversation: &ConversationRecord, of: &Meant) -> Result<ActionWords> {
    let key = conversation.key().0;
    let attribute: String =
        db::query_scalar("SELECT attribute FROM conversations WHERE key = $1").bind(key).fetch_one(&mut *conn).await?;
    let sharing: i64 = match &conversation.interaction {
        Some(interaction) => {
            db::query_scalar(SHARING).bind(interaction.as_str()).bind(key).fetch_one(&mut *conn).await?
        }
        None => 0,
    };
    let looked_for: i64 = db::query_scalar(ANOTHER_LOOKED_FOR).bind(key).fetch_one(conn).await?;
    Ok(ActionWords {
        names_another: of.attribute.as_deref().is_some_and(|named| !named.is_empty() && named != attribute),
        is_shared: sharing > 0,
        is_answered: conversation.queue.occupied,
        another_begins: looked_for > 0,
    })
}

/// Applies a request of Fini's that came before its conversation was known. Called once that is known.
pub(in crate::store) async fn take_kept(
    conn: &mut Conn,
    cx: &mut Cx,
    conversation: &mut ConversationRecord,
    interaction: &InteractionId,
    now: Timestamp,
) -> Result<()> {
    let kept = db::query("DELETE FROM fini_pushes WHERE interaction_id = $1 RETURNING note")
        .bind(interaction.as_str())
        .fetch_all(&mut *conn)
        .await?;
    let Some(last) = kept.last().filter(|_| !is_forgotten()) else { return Ok(()) };
    let named = Meant { interaction: Some(interaction.clone()), attribute: None };
    let words = words_of(conn, conversation, &named).await?;
    let note = rows::maybe_text(last, "note")?.filter(|_| words.are_its_own());
    let mut told = Vec::new();
    conversation.standing.request_human(EscalationReason::Action, note, now, &mut told);
    append(conn, cx, conversation, told, now).await
}

fn is_forgotten() -> bool {
    mutated!("a request of Fini's is forgotten where its conversation is not known")
}

/// Conversations whose handoff is due, except those that another transaction has locked.
pub(in crate::store) const DUE: &str = concat!(
    "SELECT key FROM conversations WHERE handoff_due_at IS NOT NULL AND handoff_due_at <= $1 \
     ORDER BY handoff_due_at LIMIT $2",
    skip_locked!("conversations")
);

async fn tick_due(conn: &mut Conn, cx: &mut Cx, now: Timestamp, limit: usize) -> Result<Vec<Ticked>> {
    let due: Vec<i64> = db::query_scalar(DUE)
        .bind(now.as_millis())
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&mut *conn)
        .await?;
    let mut ticked = Vec::new();
    for key in due {
        ticked.extend(tick(conn, cx, ConversationKey(key), now).await?);
    }
    Ok(ticked)
}

async fn tick(conn: &mut Conn, cx: &mut Cx, key: ConversationKey, now: Timestamp) -> Result<Option<Ticked>> {
    let Some(mut conversation) = records::load(conn, key).await? else { return Ok(None) };
    let reference = conversation.reference.clone();
    let policy = cx.rules().handoffs.of(&reference.frontend).clone();
    let (mut told, last_word_at) = (Vec::new(), conversation.last_activity_at);
    let asks = conversation.standing.tick(&policy, last_word_at, now, &mut told);
    let ticked = Ticked {
        frontend: reference.frontend.clone(),
        id: reference.id.clone(),
        speaker: conversation.standing.handoff.speaker(),
        is_unclaimed: told.iter().any(|event| matches!(event, FeedEvent::HandoffUnclaimed { .. })),
    };
    record(conn, cx, conversation, told, now).await?;
    if let Some(text) = asks {
        ask(conn, cx, reference.frontend, reference.id, text, now).await?;
    }
    Ok(Some(ticked))
}

/// Says something to the customer on the frontend's behalf. Fini gets it too, so that its bot knows what is answered.
async fn ask(
    conn: &mut Conn,
    cx: &mut Cx,
    frontend: FrontendName,
    conversation_id: ConversationId,
    text: String,
    now: Timestamp,
) -> Result<()> {
    let message = InboundMessage {
        conversation_id,
        message_id: MessageId::trusted(cx.id("msg_", now)),
        text,
        role: Role::OtherBot,
        user_id: None,
        attributes: Map::new(),
        channel: None,
        metadata: Map::new(),
    };
    let limits = BacklogLimits {
        per_conversation: u32::MAX,
        per_frontend: u32::MAX,
        bytes_per_conversation: 0,
        browser_messages_per_user: 0,
    };
    let message = NewMessage {
        frontend,
        fingerprint: message.fingerprint(),
        message,
        vouched_user: None,
        only_own: false,
        counted_for: None,
        agent: None,
        cause: Correlation::default(),
        now,
        limits,
    };
    intake::accept(conn, cx, &message).await.map(drop)
}

/// The earliest time at which a handoff is due.
pub(in crate::store) const NEXT_AT: &str =
    "SELECT MIN(handoff_due_at) FROM conversations WHERE handoff_due_at IS NOT NULL";

async fn next_at(conn: &mut Conn) -> Result<Option<Timestamp>> {
    let at: Option<i64> = db::query_scalar(NEXT_AT).fetch_one(conn).await?;
    Ok(at.map(Timestamp::from_millis))
}

/// Conversations in which the bot is not the speaker.
pub(in crate::store) const OPEN: &str = "SELECT frontend, conversation_id, handoff FROM conversations \
     WHERE speaker <> 'bot' AND frontend = COALESCE($1, frontend)";

async fn open(
    conn: &mut Conn,
    frontend: Option<&FrontendName>,
    limit: usize,
) -> Result<(Vec<OpenHandoff>, Vec<KeptPush>)> {
    let found = db::query(OPEN).bind(frontend.map(FrontendName::as_str)).fetch_all(&mut *conn).await?;
    let handoff = |row| {
        Ok(OpenHandoff {
            frontend: FrontendName::trusted(rows::text(row, "frontend")?),
            id: ConversationId::trusted(rows::text(row, "conversation_id")?),
            handoff: handoff(row)?,
        })
    };
    let mut open = found.iter().map(handoff).collect::<Result<Vec<_>>>()?;
    open.sort_by_key(|open| (open.handoff.speaker() == Speaker::Human, open.handoff.since()));
    open.truncate(limit);
    let kept = db::query(
        "SELECT id, shown_at, interaction_id, attribute, note FROM fini_pushes ORDER BY received_at DESC LIMIT $1",
    )
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(conn)
    .await?;
    let kept = kept.iter().map(|row| {
        Ok(KeptPush {
            id: rows::text(row, "id")?,
            received_at: WallTime::from_millis(rows::int(row, "shown_at")?),
            meant: Meant {
                interaction: rows::maybe_text(row, "interaction_id")?.map(InteractionId::trusted),
                attribute: rows::maybe_text(row, "attribute")?,
            },
            note: rows::maybe_text(row, "note")?,
        })
    });
    Ok((open, kept.collect::<Result<_>>()?))
}

async fn waiting(conn: &mut Conn) -> Result<(u64, Option<Timestamp>)> {
    let found = db::query("SELECT handoff FROM conversations WHERE speaker = 'waiting' AND speaker <> 'bot'")
        .fetch_all(conn)
        .await?;
    let since = found.iter().map(|row| Ok(handoff(row)?.since())).collect::<Result<Vec<_>>>()?;
    Ok((u64::try_from(since.len()).unwrap_or(u64::MAX), since.into_iter().min()))
}

/// A transcript's events: the latest messages, and the changes of any message since the first of them.
pub(in crate::store) const WORDS: &str = "SELECT body FROM events WHERE conversation_key = $1 \
     AND kind IN ('message.created', 'message.updated') AND sequence >= COALESCE((SELECT MIN(latest.sequence) FROM \
        (SELECT sequence FROM events WHERE conversation_key = $1 AND kind = 'message.created' \
         ORDER BY sequence DESC LIMIT $2) AS latest), 0) ORDER BY sequence";

async fn words(conn: &mut Conn, key: ConversationKey, messages: usize) -> Result<Vec<String>> {
    let limit = i64::try_from(messages).unwrap_or(i64::MAX);
    Ok(db::query_scalar(WORDS).bind(key.0).bind(limit).fetch_all(conn).await?)
}

/// Deletes requests of Fini's that were kept for too long.
pub(super) const FORGOTTEN: &str = "DELETE FROM fini_pushes WHERE received_at <= $1";
