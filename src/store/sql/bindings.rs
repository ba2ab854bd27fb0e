//! Whose Fini conversation is whose.
//!
//! Invariant: no two conversations are ever bound to one Fini conversation; where it looks as if they should be, the later
//! one is quarantined, nothing of the Fini conversation is shown to it, and nothing is sent for it until an operator
//! decides. The database keeps this itself (a unique index), so a race between two bindings ends in one of them.

use super::{
    Conn, Cx, Row, db, evidence,
    feed::{self, Happened},
    in_flight,
    records::{self, ConversationRecord, NextRead},
    rows,
};
use crate::{
    domain::{
        Timestamp,
        conversation::{Standing, State},
        ids::{ConversationId, ConversationKey, FiniEventId, FrontendName, InteractionId},
        turn::{FailureCode, TurnFailure, TurnState},
    },
    store::{Bound, Change, ConversationRef, Result},
};

/// Binds a conversation that is looked for, or quarantines it.
pub(in crate::store) async fn bind(
    conn: &mut Conn,
    cx: &mut Cx,
    key: ConversationKey,
    interaction: &InteractionId,
    events: &[FiniEventId],
    now: Timestamp,
) -> Result<Bound> {
    let Some(mut conversation) = records::load(conn, key).await? else { return Ok(Bound::Stale) };
    if conversation.interaction.as_ref() == Some(interaction) {
        return Ok(Bound::Already);
    }
    if !conversation.is_looked_for() {
        return Ok(Bound::Stale);
    }
    if let Some(owner) = owner(conn, interaction).await? {
        let note =
            format!("its Fini conversation {interaction} belongs to conversation {} of {}", owner.id, owner.frontend);
        set_aside(conn, cx, &mut conversation, note, now).await?;
        conversation.save(conn).await?;
        evidence::reserve(conn, key, events).await?;
        return Ok(Bound::Quarantined { owner });
    }
    // What was lost has begun anew, also where its responses never arrived.
    let state = match conversation.standing.state {
        State::Lost => State::Open,
        state => state,
    };
    attach(conn, cx, &mut conversation, interaction, state, now).await?;
    conversation.save(conn).await?;
    Ok(Bound::Now)
}

/// Quarantines a conversation that is looked for.
pub(in crate::store) async fn quarantine(
    conn: &mut Conn,
    cx: &mut Cx,
    key: ConversationKey,
    now: Timestamp,
    reason: &str,
) -> Result<bool> {
    let Some(mut conversation) = records::load(conn, key).await? else { return Ok(false) };
    if !conversation.is_looked_for() {
        return Ok(false);
    }
    set_aside(conn, cx, &mut conversation, reason.to_owned(), now).await?;
    conversation.save(conn).await?;
    Ok(true)
}

/// Unbinds a conversation whose Fini conversation is gone, or gives up looking for it.
pub(in crate::store) async fn lose(
    conn: &mut Conn,
    cx: &mut Cx,
    key: ConversationKey,
    interaction: Option<&InteractionId>,
    now: Timestamp,
    detail: &str,
) -> Result<bool> {
    let Some(mut conversation) = records::load(conn, key).await? else { return Ok(false) };
    let matches = conversation.interaction.as_ref() == interaction;
    if !matches || (interaction.is_none() && !conversation.is_looked_for()) {
        return Ok(false);
    }
    // It was lost before and has begun anew meanwhile: for that nobody has looked yet.
    if interaction.is_none() && conversation.first_sent_at.is_some_and(|sent_at| sent_at > now) {
        return Ok(false);
    }
    // Where it was found once, its messages are gone with it; where it was never found, Fini may still have them.
    let is_unclear =
        interaction.is_none() && in_flight::load(conn, key).await?.is_some_and(|turn| turn.state == TurnState::Unclear);
    let failure = TurnFailure {
        code: if is_unclear { FailureCode::UnclearOutcome } else { FailureCode::InteractionLost },
        detail: detail.to_owned(),
        may_resend: interaction.is_some(),
    };
    // List leaves out what no customer wrote in: that it is not found there says nothing about it.
    let is_listed = interaction.is_some() || has_customer(conn, &conversation).await?;
    let state = if is_listed { State::Lost } else { conversation.standing.state };
    detach(conn, cx, &mut conversation, state, &failure, now).await?;
    conversation.save(conn).await?;
    Ok(true)
}

/// Whether a customer's message was sent to the Fini conversation that is looked for.
async fn has_customer(conn: &mut Conn, conversation: &ConversationRecord) -> Result<bool> {
    let found =
        db::query("SELECT 1 FROM turns WHERE conversation_key = $1 AND role = 'user' AND sent_at >= $2 LIMIT 1")
            .bind(conversation.key().0)
            .bind(conversation.first_sent_at.map(Timestamp::as_millis))
            .fetch_optional(conn)
            .await?;
    Ok(found.is_some())
}

/// Settles a quarantine.
pub(in crate::store) async fn settle(
    conn: &mut Conn,
    cx: &mut Cx,
    key: ConversationKey,
    interaction: Option<&InteractionId>,
    now: Timestamp,
) -> Result<Bound> {
    let Some(mut conversation) = records::load(conn, key).await? else { return Ok(Bound::Stale) };
    if conversation.standing.state != State::Quarantined {
        return Ok(Bound::Stale);
    }
    let Some(interaction) = interaction else {
        let failure = TurnFailure {
            code: FailureCode::InteractionLost,
            detail: "the conversation was in quarantine; it begins anew".to_owned(),
            may_resend: true,
        };
        detach(conn, cx, &mut conversation, State::Open, &failure, now).await?;
        conversation.save(conn).await?;
        return Ok(Bound::Now);
    };
    if let Some(owner) = owner(conn, interaction).await? {
        return Ok(Bound::Quarantined { owner });
    }
    attach(conn, cx, &mut conversation, interaction, State::Open, now).await?;
    conversation.save(conn).await?;
    Ok(Bound::Now)
}

async fn attach(
    conn: &mut Conn,
    cx: &mut Cx,
    conversation: &mut ConversationRecord,
    interaction: &InteractionId,
    state: State,
    now: Timestamp,
) -> Result<()> {
    conversation.interaction = Some(interaction.clone());
    conversation.binding_version += 1;
    conversation.wanted = None;
    conversation.is_there();
    conversation.latest_message_at = None;
    conversation.note = None;
    conversation.first_sent_at.get_or_insert(now);
    change_state(conn, cx, conversation, state, now).await?;
    conversation.watch(cx, NextRead::after_turn(now), now);
    records::refresh_turns(conn, cx, conversation).await?;
    cx.announce(Change::Binding(conversation.key()));
    Ok(())
}

/// Takes the binding away, so that the next message begins a new Fini conversation; turns in flight fail.
async fn detach(
    conn: &mut Conn,
    cx: &mut Cx,
    conversation: &mut ConversationRecord,
    state: State,
    failure: &TurnFailure,
    now: Timestamp,
) -> Result<()> {
    for turn in in_flight::all(conn, conversation.key()).await? {
        in_flight::fail(conn, cx, conversation, &turn, now, failure).await?;
    }
    conversation.interaction = None;
    conversation.binding_version += 1;
    conversation.first_sent_at = None;
    conversation.wanted = None;
    conversation.watch_until = None;
    conversation.read = NextRead::NONE;
    conversation.is_there();
    conversation.note = (state == State::Lost).then(|| failure.detail.clone());
    change_state(conn, cx, conversation, state, now).await?;
    conversation.standing = Standing::in_state(state);
    records::refresh_turns(conn, cx, conversation).await?;
    cx.announce(Change::Binding(conversation.key()));
    Ok(())
}

async fn set_aside(
    conn: &mut Conn,
    cx: &mut Cx,
    conversation: &mut ConversationRecord,
    note: String,
    now: Timestamp,
) -> Result<()> {
    conversation.wanted = None;
    conversation.read.at = None;
    conversation.note = Some(note);
    change_state(conn, cx, conversation, State::Quarantined, now).await?;
    records::refresh_turns(conn, cx, conversation).await
}

async fn change_state(
    conn: &mut Conn,
    cx: &mut Cx,
    conversation: &mut ConversationRecord,
    state: State,
    now: Timestamp,
) -> Result<()> {
    let changed: Option<Happened> = conversation.standing.enter(state).map(|changed| (changed, None));
    feed::append(conn, cx, conversation, changed.as_slice(), now).await
}

async fn owner(conn: &mut Conn, interaction: &InteractionId) -> Result<Option<ConversationRef>> {
    let found = db::query("SELECT key, frontend, conversation_id FROM conversations WHERE interaction_id = $1")
        .bind(interaction.as_str())
        .fetch_optional(conn)
        .await?;
    found.as_ref().map(reference).transpose()
}

/// Both names of the conversation of a row.
pub(in crate::store) fn reference(row: &Row) -> Result<ConversationRef> {
    Ok(ConversationRef {
        key: ConversationKey(rows::int(row, "key")?),
        frontend: FrontendName::trusted(rows::text(row, "frontend")?),
        id: ConversationId::trusted(rows::text(row, "conversation_id")?),
    })
}

/// The conversations of some Fini conversations.
pub(in crate::store) const OWNERS: &str = concat!(
    "SELECT key, frontend, conversation_id, interaction_id FROM conversations \
     WHERE interaction_id IS NOT NULL AND interaction_id",
    is_text_in!("$1")
);

/// The conversations of these Fini conversations.
pub(in crate::store) async fn owners(
    conn: &mut Conn,
    interactions: &[InteractionId],
) -> Result<Vec<(InteractionId, ConversationRef)>> {
    let found = db::query(OWNERS).bind(rows::array(interactions)?).fetch_all(conn).await?;
    found.iter().map(|row| Ok((InteractionId::trusted(rows::text(row, "interaction_id")?), reference(row)?))).collect()
}

/// Sets when a wanted binding is looked for next.
pub(in crate::store) async fn postpone(
    conn: &mut Conn,
    cx: &mut Cx,
    key: ConversationKey,
    at: Timestamp,
) -> Result<()> {
    db::query(
        "UPDATE conversations SET binding_look_at = $2, binding_looks = binding_looks + 1 \
         WHERE key = $1 AND binding_wanted_since IS NOT NULL",
    )
    .bind(key.0)
    .bind(at.as_millis())
    .execute(conn)
    .await?;
    cx.announce(Change::Reading);
    Ok(())
}
