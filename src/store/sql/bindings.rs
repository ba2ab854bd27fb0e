//! The binding of conversations to Fini conversations.
//!
//! Invariant: no two conversations are ever bound to one Fini conversation; if it looks as if they should be, the later
//! one is quarantined, nothing of the Fini conversation is shown to it, and nothing is sent for it until an operator
//! decides. The database keeps this itself (a unique index), so a race between two bindings ends in one of them.

use super::{
    Conn, Cx, Row, continued, db,
    evidence::{self, Weighed},
    feed::{self, Happened},
    handoff, in_flight,
    records::{self, ConversationRecord, NextRead},
    rows,
};
use crate::{
    domain::{
        Timestamp,
        conversation::{Standing, State},
        evidence::news::{self, Began},
        ids::{ConversationId, ConversationKey, FrontendName, InteractionId},
        turn::{FailureCode, TurnFailure, TurnState},
        vendor::FiniConversation,
    },
    store::{Bound, Change, ConversationRef, Result},
};

/// Binds a conversation that is looked for, or quarantines it.
pub(in crate::store) async fn bind(
    conn: &mut Conn,
    cx: &mut Cx,
    key: ConversationKey,
    snapshot: &FiniConversation,
    now: Timestamp,
) -> Result<Bound> {
    let interaction = &snapshot.id;
    let Some(mut conversation) = records::load(conn, key).await? else { return Ok(Bound::Stale) };
    if conversation.interaction.as_ref() == Some(interaction) {
        return Ok(Bound::Already);
    }
    if !conversation.is_looked_for() {
        return Ok(Bound::Stale);
    }
    if let Some(owner) = owner(conn, interaction).await? {
        let other = records::load(conn, owner.key).await?;
        if other.is_some_and(|other| continued::is_one_person(&other, &conversation)) {
            let weighed = weigh(conn, &conversation, snapshot, now).await?;
            let begins_at = continued::begins_at(&snapshot.events, &weighed.attribution);
            continued::go_on(conn, cx, owner.key, &mut conversation, snapshot, begins_at, now).await?;
            conversation.save(conn).await?;
            return Ok(Bound::Now);
        }
        let note =
            format!("its Fini conversation {interaction} belongs to conversation {} of {}", owner.id, owner.frontend);
        set_aside(conn, cx, &mut conversation, interaction, note, now).await?;
        conversation.save(conn).await?;
        return Ok(Bound::Quarantined { owner: Some(owner) });
    }
    if is_continued(conn, &conversation, snapshot, now).await? {
        let note = format!("Fini continued its conversation {interaction}, in which somebody else wrote before");
        set_aside(conn, cx, &mut conversation, interaction, note, now).await?;
        conversation.save(conn).await?;
        return Ok(Bound::Quarantined { owner: None });
    }
    // A lost conversation has begun anew, even if its responses never arrived.
    let state = match conversation.standing.state {
        State::Lost => conversation.standing.active(),
        state => state,
    };
    attach(conn, cx, &mut conversation, interaction, state, now).await?;
    conversation.save(conn).await?;
    Ok(Bound::Now)
}

/// Returns true if a Fini conversation without an owner here continues one of a person unknown to the bridge.
async fn is_continued(
    conn: &mut Conn,
    conversation: &ConversationRecord,
    snapshot: &FiniConversation,
    now: Timestamp,
) -> Result<bool> {
    let novelty = weigh(conn, conversation, snapshot, now).await?.novelty;
    let began = Began { own_since: novelty.own_since, ..conversation.began(now) };
    Ok(novelty.has_stranger || news::is_older(snapshot.created_at, began))
}

/// Weighs a snapshot for a conversation that is not bound to it.
async fn weigh(
    conn: &mut Conn,
    conversation: &ConversationRecord,
    snapshot: &FiniConversation,
    now: Timestamp,
) -> Result<Weighed> {
    let turn = in_flight::load(conn, conversation.key()).await?;
    let unseen_messages = evidence::unseen_messages(conn, conversation).await?;
    let seen = evidence::seen(conn, conversation, &snapshot.events, false).await?;
    let part = evidence::Snapshot {
        interaction: &snapshot.id,
        created_at: snapshot.created_at,
        events: &snapshot.events,
        is_whole: false,
        turn_attribute: snapshot.turn_attribute(),
    };
    evidence::weigh(conn, conversation, turn.as_ref(), &unseen_messages, &seen, part, now).await
}

/// Quarantines a conversation whose Fini conversation turns out to be somebody else's.
pub(in crate::store) async fn expel(
    conn: &mut Conn,
    cx: &mut Cx,
    conversation: &mut ConversationRecord,
    note: String,
    now: Timestamp,
) -> Result<()> {
    let Some(interaction) = conversation.interaction.take() else { return Ok(()) };
    conversation.binding_version += 1;
    conversation.watch_until = None;
    conversation.read_misses = 0;
    cx.announce(Change::Binding(conversation.key()));
    set_aside(conn, cx, conversation, &interaction, note, now).await
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
    // It was lost before and has begun anew meanwhile: the search does not cover that.
    if interaction.is_none() && conversation.first_sent_at.is_some_and(|sent_at| sent_at > now) {
        return Ok(false);
    }
    // If it was found once, its messages are gone with it; if it was never found, Fini may still have them.
    let is_unclear =
        interaction.is_none() && in_flight::load(conn, key).await?.is_some_and(|turn| turn.state == TurnState::Unclear);
    let failure = TurnFailure {
        code: if is_unclear { FailureCode::UnclearOutcome } else { FailureCode::InteractionLost },
        detail: detail.to_owned(),
        may_resend: interaction.is_some(),
    };
    // List leaves out conversations in which no customer wrote: its absence there proves nothing.
    let is_listed = interaction.is_some() || has_customer(conn, &conversation).await?;
    let state = if is_listed { State::Lost } else { conversation.standing.state };
    detach(conn, cx, &mut conversation, state, &failure, now).await?;
    conversation.save(conn).await?;
    Ok(true)
}

/// Returns true if a customer's message was sent to the Fini conversation that is looked for.
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
            detail: "the conversation was in quarantine and begins anew; Fini may have the message".to_owned(),
            may_resend: false,
        };
        let active = conversation.standing.active();
        detach(conn, cx, &mut conversation, active, &failure, now).await?;
        conversation.save(conn).await?;
        return Ok(Bound::Now);
    };
    if let Some(owner) = owner(conn, interaction).await? {
        return Ok(Bound::Quarantined { owner: Some(owner) });
    }
    // An operator knows that it is the same customer's, or that its past is to be skipped.
    conversation.has_past = true;
    let active = conversation.standing.active();
    attach(conn, cx, &mut conversation, interaction, active, now).await?;
    conversation.save(conn).await?;
    Ok(Bound::Now)
}

/// Binds a conversation and moves it to `state`.
pub(in crate::store) async fn attach(
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
    handoff::take_kept(conn, cx, conversation, interaction, now).await?;
    records::refresh_turns(conn, cx, conversation).await?;
    cx.announce(Change::Binding(conversation.key()));
    Ok(())
}

/// Removes the binding, so that the next message begins a new Fini conversation; turns in flight fail.
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
    let standing_before = conversation.standing.state;
    conversation.interaction = None;
    conversation.binding_version += 1;
    conversation.first_sent_at = None;
    conversation.has_past = false;
    // A Fini conversation that List only left out may still turn up, with the messages first sent to it.
    if state != standing_before {
        conversation.own_since = None;
    }
    conversation.wanted = None;
    conversation.watch_until = None;
    conversation.read = NextRead::NONE;
    conversation.is_there();
    conversation.note = (state == State::Lost).then(|| failure.detail.clone());
    change_state(conn, cx, conversation, state, now).await?;
    // Fini forgot it; the human who has it did not.
    let handoff = std::mem::take(&mut conversation.standing.handoff);
    conversation.standing = Standing { handoff, ..Standing::in_state(state) };
    records::refresh_turns(conn, cx, conversation).await?;
    cx.announce(Change::Binding(conversation.key()));
    Ok(())
}

async fn set_aside(
    conn: &mut Conn,
    cx: &mut Cx,
    conversation: &mut ConversationRecord,
    interaction: &InteractionId,
    note: String,
    now: Timestamp,
) -> Result<()> {
    conversation.shares = Some(interaction.clone());
    conversation.wanted = None;
    conversation.read.at = None;
    conversation.note = Some(note);
    conversation.quarantined_since = Some(now);
    change_state(conn, cx, conversation, State::Quarantined, now).await?;
    records::refresh_turns(conn, cx, conversation).await
}

/// Moves a conversation to a state, and adds the event that reports it.
pub(in crate::store) async fn change_state(
    conn: &mut Conn,
    cx: &mut Cx,
    conversation: &mut ConversationRecord,
    state: State,
    now: Timestamp,
) -> Result<()> {
    let changed: Option<Happened> = conversation.standing.enter(state).map(|changed| (changed, None));
    feed::append(conn, cx, conversation, changed.as_slice(), now).await
}

/// Finds the conversation bound to a Fini conversation.
pub(in crate::store) async fn owner(conn: &mut Conn, interaction: &InteractionId) -> Result<Option<ConversationRef>> {
    let found = db::query("SELECT key, frontend, conversation_id FROM conversations WHERE interaction_id = $1")
        .bind(interaction.as_str())
        .fetch_optional(conn)
        .await?;
    found.as_ref().map(reference).transpose()
}

/// Reads both names of the conversation of a row.
pub(in crate::store) fn reference(row: &Row) -> Result<ConversationRef> {
    Ok(ConversationRef {
        key: ConversationKey(rows::int(row, "key")?),
        frontend: FrontendName::trusted(rows::text(row, "frontend")?),
        id: ConversationId::trusted(rows::text(row, "conversation_id")?),
    })
}

/// The conversations bound to these Fini conversations.
pub(in crate::store) const OWNERS: &str = concat!(
    "SELECT key, frontend, conversation_id, interaction_id FROM conversations \
     WHERE interaction_id IS NOT NULL AND interaction_id",
    is_text_in!("$1")
);

/// Finds the conversations bound to these Fini conversations.
pub(in crate::store) async fn owners(
    conn: &mut Conn,
    interactions: &[InteractionId],
) -> Result<Vec<(InteractionId, ConversationRef)>> {
    let found = db::query(OWNERS).bind(rows::array(interactions)?).fetch_all(conn).await?;
    found.iter().map(|row| Ok((InteractionId::trusted(rows::text(row, "interaction_id")?), reference(row)?))).collect()
}

/// Sets the time of the next look for a wanted binding.
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
