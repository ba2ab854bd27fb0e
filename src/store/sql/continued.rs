//! Conversations of one person that Fini merges into one.
//!
//! If Fini goes on with an older conversation for a newer one of the same person, it is bound to the one in which the
//! customer wrote last; the other is `continued` until a message takes it up again. Invariant: only conversations of one
//! frontend and one vouched-for person ever hand a Fini conversation on to each other.

use super::{
    Conn, Cx, bindings, db,
    feed::{self, Happened},
    in_flight, ledger,
    records::{self, ConversationRecord, NextRead},
    rows,
};
use crate::{
    domain::{
        Timestamp,
        conversation::State,
        event::FeedEvent,
        evidence::own::{Attribution, Whose},
        ids::{ConversationKey, FrontendName, InteractionId},
        turn::{FailureCode, TurnFailure, TurnState},
        vendor::{FiniConversation, FiniEvent, FiniRole},
    },
    store::{Change, Record, Result, Source},
};

/// The most conversations of a frontend taken up again in one go.
const BATCH: i64 = 20;
/// Pause while the other conversation has a message under way.
const BUSY: std::time::Duration = std::time::Duration::from_millis(500);

/// Returns true if both belong to one person.
pub(in crate::store) fn is_one_person(one: &ConversationRecord, other: &ConversationRecord) -> bool {
    one.person.is_some() && one.person == other.person && one.reference.frontend == other.reference.frontend
}

/// Hands the Fini conversation of `older` on to `newer`, as it was read. Events from before `newer` began belong to `older`.
pub(in crate::store) async fn go_on(
    conn: &mut Conn,
    cx: &mut Cx,
    older: ConversationKey,
    newer: &mut ConversationRecord,
    snapshot: &FiniConversation,
    begins_at: usize,
    now: Timestamp,
) -> Result<()> {
    let source = Source::Snapshot {
        interaction: snapshot.id.clone(),
        created_at: snapshot.created_at,
        is_whole: false,
        status: snapshot.status.clone(),
        resolved: snapshot.resolved,
        turn_attribute: None,
        as_of: Timestamp::ZERO,
        look_at: now,
    };
    let before = snapshot.events[..begins_at].to_vec();
    ledger::record(conn, cx, &Record { conversation: older, source, events: before, now }).await?;
    let Some(mut older) = records::load(conn, older).await? else { return Ok(()) };
    yield_to(conn, cx, &mut older, newer, now).await?;
    older.save(conn).await?;
    newer.has_past = true;
    let active = newer.standing.active();
    bindings::attach(conn, cx, newer, &snapshot.id, active, now).await
}

/// Returns the index at which the newer one's events begin in a snapshot: at its own message.
pub(in crate::store) fn begins_at(events: &[FiniEvent], attribution: &Attribution) -> usize {
    let mut all = events.iter().zip(&attribution.whose);
    all.position(|(event, whose)| *whose == Whose::Own && event.role != FiniRole::Bot).unwrap_or(events.len())
}

/// Ends the open turns of `older` in a Fini conversation that belongs to `newer` from now on.
async fn yield_to(
    conn: &mut Conn,
    cx: &mut Cx,
    older: &mut ConversationRecord,
    newer: &ConversationRecord,
    now: Timestamp,
) -> Result<()> {
    // An answer that is on its way is still recorded; nothing else of a message will be found.
    for turn in in_flight::all(conn, older.key()).await? {
        let code = match turn.state {
            TurnState::Sending => continue,
            TurnState::Unclear => FailureCode::UnclearOutcome,
            _ => FailureCode::NoReplyInTime,
        };
        let detail = "the customer went on in another conversation".to_owned();
        let failure = TurnFailure { code, detail, may_resend: false };
        in_flight::fail(conn, cx, older, &turn, now, &failure).await?;
    }
    older.shares = older.interaction.take();
    older.binding_version += 1;
    older.watch_until = None;
    older.read = NextRead::NONE;
    older.read_misses = 0;
    let continued: Happened = (FeedEvent::Continued { by: newer.reference.id.clone() }, None);
    feed::append(conn, cx, older, &[continued], now).await?;
    bindings::change_state(conn, cx, older, State::Continued, now).await?;
    records::refresh_turns(conn, cx, older).await?;
    cx.announce(Change::Binding(older.key()));
    Ok(())
}

/// Continued conversations of a frontend to which somebody wrote.
pub(in crate::store) const DUE: &str = "SELECT key FROM conversations WHERE frontend = $1 AND state = 'continued' \
     AND turn_due_at IS NOT NULL AND turn_due_at <= $2 LIMIT $3";

/// Takes up continued conversations that got a message.
pub(in crate::store) async fn take_up_due(
    conn: &mut Conn,
    cx: &mut Cx,
    frontends: &[FrontendName],
    now: Timestamp,
) -> Result<()> {
    for frontend in frontends {
        let due: Vec<i64> = db::query_scalar(DUE)
            .bind(frontend.as_str())
            .bind(now.as_millis())
            .bind(BATCH)
            .fetch_all(&mut *conn)
            .await?;
        for key in due {
            take_up(conn, cx, ConversationKey(key), now).await?;
        }
    }
    Ok(())
}

async fn take_up(conn: &mut Conn, cx: &mut Cx, key: ConversationKey, now: Timestamp) -> Result<()> {
    let Some(mut taker) = records::load(conn, key).await? else { return Ok(()) };
    if taker.standing.state != State::Continued {
        return Ok(());
    }
    let interaction = taker.shares.clone();
    let owner = match &interaction {
        Some(interaction) => bindings::owner(conn, interaction).await?,
        None => None,
    };
    let owner = match owner {
        Some(owner) => records::load(conn, owner.key).await?,
        None => None,
    };
    match (owner.filter(|owner| is_one_person(owner, &taker)), interaction) {
        (Some(owner), _) if owner.queue.occupied => {
            taker.queue.due_at = Some(now.plus(BUSY));
        }
        (Some(mut owner), Some(interaction)) => {
            yield_to(conn, cx, &mut owner, &taker, now).await?;
            owner.save(conn).await?;
            taker.has_past = true;
            let active = taker.standing.active();
            bindings::attach(conn, cx, &mut taker, &interaction, active, now).await?;
        }
        // The conversation that went on with it has lost it: the message begins a new one.
        _ => {
            taker.first_sent_at = None;
            taker.own_since = None;
            taker.has_past = false;
            let active = taker.standing.active();
            bindings::change_state(conn, cx, &mut taker, active, now).await?;
            records::refresh_turns(conn, cx, &mut taker).await?;
        }
    }
    taker.save(conn).await
}

/// The conversations of the same person that Fini has merged with the one that is bound to this.
pub(in crate::store) const COMPANIONS: &str =
    "SELECT key FROM conversations WHERE shared_interaction_id = $1 AND state = 'continued'";

/// Finds those conversations.
pub(in crate::store) async fn companions(conn: &mut Conn, interaction: &InteractionId) -> Result<Vec<ConversationKey>> {
    let found = db::query(COMPANIONS).bind(interaction.as_str()).fetch_all(conn).await?;
    found.iter().map(|row| Ok(ConversationKey(rows::int(row, "key")?))).collect()
}
