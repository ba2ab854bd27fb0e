//! Recording what Fini said: one look, one transaction, whoever looked.
//!
//! What a look means is decided by the domain ([`Look::apply`]); here it is given what is on record, and its verdict is
//! written down. Invariant: a Fini event enters the feed at most once, and only that of the conversation it belongs to.

use futures_util::FutureExt;

use super::{
    Conn, Cx, ThisStore, bindings, db, evidence,
    feed::{self, Happened},
    in_flight::{self, InFlight, Step},
    records::{self, ConversationRecord, NextRead},
    rows, unbound,
};
use crate::{
    domain::{
        Timestamp,
        conversation::State,
        event::FeedEvent,
        ids::{ConversationKey, FiniEventId, InteractionId, MessageId},
        look::{Applied, Look, OpenTurn, TurnResult, Wrapper},
        turn::{Outcome, TurnMove, TurnState},
        vendor::FiniEvent,
    },
    store::{Bound, Change, ConversationRef, LedgerStore, Record, Recorded, Result, Source, Unbound, UnboundSummary},
};

#[async_trait::async_trait]
impl LedgerStore for ThisStore {
    async fn record(&self, record: Record) -> Result<Recorded> {
        self.write(record, |conn, cx, look| self::record(conn, cx, look).boxed()).await
    }

    async fn owners(&self, interactions: &[InteractionId]) -> Result<Vec<(InteractionId, ConversationRef)>> {
        self.read(interactions.to_vec(), |conn, interactions| bindings::owners(conn, interactions).boxed()).await
    }

    async fn unbound(&self, limit: usize) -> Result<Vec<Unbound>> {
        self.snapshot(limit, |conn, limit| unbound::list(conn, *limit).boxed()).await
    }

    async fn unbound_summary(&self, now: Timestamp, limit: usize) -> Result<UnboundSummary> {
        self.read((now, limit), |conn, of| unbound::summary(conn, of.0, of.1).boxed()).await
    }

    async fn postpone_binding(&self, conversation: ConversationKey, look_at: Timestamp) -> Result<()> {
        self.write_once((conversation, look_at), |conn, cx, of| bindings::postpone(conn, cx, of.0, of.1).boxed()).await
    }

    async fn bind(
        &self,
        conversation: ConversationKey,
        interaction: &InteractionId,
        events: &[FiniEventId],
        now: Timestamp,
    ) -> Result<Bound> {
        let of = (conversation, interaction.clone(), events.to_vec(), now);
        self.write(of, |conn, cx, of| bindings::bind(conn, cx, of.0, &of.1, &of.2, of.3).boxed()).await
    }

    async fn quarantine(&self, conversation: ConversationKey, now: Timestamp, reason: &str) -> Result<bool> {
        let of = (conversation, now, reason.to_owned());
        self.write(of, |conn, cx, of| bindings::quarantine(conn, cx, of.0, of.1, &of.2).boxed()).await
    }

    async fn lose(
        &self,
        conversation: ConversationKey,
        interaction: Option<&InteractionId>,
        now: Timestamp,
        detail: &str,
    ) -> Result<bool> {
        let loss = (conversation, interaction.cloned(), now, detail.to_owned());
        self.write(loss, |conn, cx, of| bindings::lose(conn, cx, of.0, of.1.as_ref(), of.2, &of.3).boxed()).await
    }

    async fn settle_quarantine(
        &self,
        conversation: ConversationKey,
        interaction: Option<&InteractionId>,
        now: Timestamp,
    ) -> Result<Bound> {
        let of = (conversation, interaction.cloned(), now);
        self.write(of, |conn, cx, of| bindings::settle(conn, cx, of.0, of.1.as_ref(), of.2).boxed()).await
    }
}

async fn record(conn: &mut Conn, cx: &mut Cx, look: &Record) -> Result<Recorded> {
    let Some(mut conversation) = records::load(conn, look.conversation).await? else { return Ok(Recorded::default()) };
    let turn = in_flight::load(conn, look.conversation).await?;
    if !counts(look, &conversation, turn.as_ref()) {
        return Ok(Recorded {
            state: Some(conversation.standing.state),
            turn: stands(conn, &look.source).await?,
            ..Recorded::default()
        });
    }
    let seen = evidence::seen(conn, &conversation, &look.events).await?;
    if matches!(look.source, Source::Wrapper { .. }) && evidence::is_mixed(conn, &seen.foreign).await? {
        return Ok(Recorded { state: Some(conversation.standing.state), ..Recorded::default() });
    }
    let events: Vec<FiniEvent> =
        look.events.iter().filter(|event| !seen.foreign.contains(&event.id)).cloned().collect();
    let unechoed = evidence::unechoed(conn, &conversation).await?;
    let open = turn.as_ref().and_then(open_turn);
    let wrapper = wrapper(&look.source, turn.as_ref());
    let rules = Look { policy: &cx.rules().statuses, wrapper: wrapper.as_ref(), events: &events };
    let mut applied = rules.apply(&conversation.standing, open.as_ref(), &unechoed, &seen.marks);
    keep_in_quarantine(&conversation, &mut applied);
    let news: Vec<&FiniEvent> = events.iter().filter(|event| is_news(event, &applied, open.as_ref())).collect();
    let unseen: Vec<&FiniEvent> = news.iter().filter(|event| !seen.marks.contains_key(&event.id)).copied().collect();
    if wrapper.is_some() && evidence::may_be_anothers(conn, &unseen).await? {
        return Ok(Recorded { state: Some(conversation.standing.state), ..Recorded::default() });
    }

    evidence::mark(conn, look.conversation, &seen, &applied.marks).await?;
    for (event, of, _) in &applied.marks {
        if let Some(earlier) = of.filter(|of| unechoed.iter().any(|turn| turn.key == *of)) {
            evidence::echoed(conn, &conversation, earlier, event).await?;
        }
    }
    let happened = attributed(&applied, turn.as_ref(), wrapper.is_none());
    stand(&mut conversation, &applied);
    feed::append(conn, cx, &mut conversation, &happened, look.now).await?;

    let mut recorded = Recorded {
        counted: true,
        added: happened.len(),
        new_events: unseen.iter().map(|event| event.created_at).collect(),
        state: Some(applied.standing.state),
        ..Recorded::default()
    };
    if wrapper.is_none() && conversation.is_looked_for() {
        conversation.want(cx, look.now);
    }
    let fresh = applied.marks.iter().any(|(id, ..)| !seen.marks.contains_key(id));
    let stirred = wrapper.is_none() || fresh || applied.standing.state != conversation.stored().standing.state;
    let next = next_read(conn, &conversation, look, events.len()).await?;
    if stirred {
        // Fini's clock may be ahead of ours.
        let latest = events.iter().map(|event| event.created_at.min(look.now)).max();
        conversation.last_activity_at =
            latest.map_or(conversation.last_activity_at, |at| at.max(conversation.last_activity_at));
        conversation.watch(cx, next, look.now);
    } else {
        conversation.read = next;
    }
    if let Some(turn) = &turn {
        settle(conn, cx, &mut conversation, turn, &applied, look, &mut recorded).await?;
    }
    conversation.save(conn).await?;
    Ok(recorded)
}

/// Whether the look is one that still counts.
fn counts(look: &Record, conversation: &ConversationRecord, turn: Option<&InFlight>) -> bool {
    match &look.source {
        Source::Response { turn: key, token, .. } => {
            turn.is_some_and(|turn| turn.key == *key && turn.is_held_by(token))
        }
        Source::Wrapper { interaction, .. } => conversation.interaction.as_ref() == Some(interaction),
    }
}

/// Where the turn of a response that does not count stands.
async fn stands(conn: &mut Conn, source: &Source) -> Result<Option<TurnState>> {
    let Source::Response { turn, .. } = source else { return Ok(None) };
    let row = db::query("SELECT state FROM turns WHERE key = $1").bind(turn.0).fetch_optional(conn).await?;
    row.map(|row| rows::turn_state(&row, "state")).transpose()
}

fn open_turn(turn: &InFlight) -> Option<OpenTurn> {
    let (_, message_id) = turn.messages.last()?;
    Some(OpenTurn {
        key: turn.key,
        message_id: message_id.clone(),
        role: turn.role,
        text: turn.text.clone(),
        sent_at: turn.sent_at,
        progress: turn.progress.clone(),
    })
}

fn wrapper(source: &Source, turn: Option<&InFlight>) -> Option<Wrapper> {
    let Source::Wrapper { status, resolved, turn_attribute, .. } = source else { return None };
    let names_open_turn = turn.is_some_and(|turn| turn_attribute.as_deref() == Some(turn.attribute.as_str()));
    Some(Wrapper { status: status.clone(), resolved: *resolved, names_open_turn })
}

/// Only an operator ends a quarantine, whatever a late response says.
fn keep_in_quarantine(conversation: &ConversationRecord, applied: &mut Applied) {
    if conversation.standing.state == State::Quarantined {
        applied.standing.state = State::Quarantined;
        applied.feed.retain(|event| !matches!(event, FeedEvent::StatusChanged { .. }));
    }
}

/// The feed events of a look with the turn they belong to: what a response says belongs to its turn; of a wrapper, what
/// answers the open turn, and what else became known once Fini had its message. Ratings are of earlier events.
fn attributed(applied: &Applied, turn: Option<&InFlight>, is_response: bool) -> Vec<Happened> {
    let progress = &applied.progress;
    let reached = progress.echo.is_some() || progress.replies > 0 || progress.escalated || progress.no_reply;
    let turn = turn.filter(|_| is_response || reached).map(|turn| turn.key);
    let belongs = |event: &FeedEvent| match event {
        FeedEvent::MessageCreated { in_reply_to, .. } => is_response || in_reply_to.is_some(),
        FeedEvent::FeedbackUpdated { .. } => false,
        _ => true,
    };
    applied.feed.iter().map(|event| (event.clone(), turn.filter(|_| belongs(event)))).collect()
}

/// Whether an event is news at all: not one of our own messages.
fn is_news(event: &FiniEvent, applied: &Applied, open: Option<&OpenTurn>) -> bool {
    let mark = applied.marks.iter().find(|(id, ..)| *id == event.id);
    let of_earlier_turn = mark.is_some_and(|(_, turn, _)| turn.is_some() && *turn != open.map(|open| open.key));
    mark.is_some() && !of_earlier_turn && applied.progress.echo.as_ref() != Some(&event.id)
}

/// Puts a conversation where the look leaves it.
fn stand(conversation: &mut ConversationRecord, applied: &Applied) {
    if applied.standing != conversation.standing {
        conversation.standing = applied.standing.clone();
        if applied.standing.state != State::Quarantined {
            conversation.note = None;
        }
    }
}

/// When the conversation is read singly next: not at all, once a look has shown everything that is known (List may lag behind
/// a response).
async fn next_read(
    conn: &mut Conn,
    conversation: &ConversationRecord,
    look: &Record,
    shown: usize,
) -> Result<NextRead> {
    if matches!(look.source, Source::Response { .. }) {
        return Ok(NextRead::after_turn(look.now));
    }
    if conversation.read.at.is_none() {
        return Ok(conversation.read);
    }
    let row = db::query("SELECT COUNT(*) AS known FROM marks WHERE conversation_key = $1")
        .bind(look.conversation.0)
        .fetch_one(conn)
        .await?;
    let known = usize::try_from(rows::int(&row, "known")?).unwrap_or(usize::MAX);
    Ok(if known <= shown { NextRead::NONE } else { conversation.read })
}

/// Moves the turn in flight to where the look leaves it.
async fn settle(
    conn: &mut Conn,
    cx: &mut Cx,
    conversation: &mut ConversationRecord,
    turn: &InFlight,
    applied: &Applied,
    look: &Record,
    recorded: &mut Recorded,
) -> Result<()> {
    let (is_response, look_at) = match look.source {
        Source::Response { look_at, .. } => (true, look_at),
        Source::Wrapper { look_at, .. } => (false, look_at),
    };
    // While a sender waits for its response, that response settles the turn; what a reader finds earlier is kept for it.
    let by = match applied.turn {
        _ if !is_response && turn.state == TurnState::Sending => None,
        TurnResult::Over(outcome) => Some(outcome.as_move()),
        TurnResult::Stored if turn.state == TurnState::Awaiting => None,
        TurnResult::Stored => Some(TurnMove::Await),
        TurnResult::Nothing if is_response => Some(TurnMove::LoseSight),
        TurnResult::Nothing => None,
        TurnResult::Doubtful => {
            recorded.doubtful = true;
            None
        }
    };
    let Some(by) = by else {
        // A look that showed nothing of the turn is news too: it may prove that Fini does not have the message.
        recorded.turn = Some(turn.state);
        return in_flight::save_progress(conn, turn, &applied.progress).await;
    };
    let step = Step { progress: Some(&applied.progress), ..Step::new(by, look.now) };
    if let TurnResult::Over(outcome) = applied.turn {
        recorded.turn = Some(end(conn, cx, conversation, turn, outcome, step).await?);
        recorded.ended = Some((outcome.as_str(), turn.accepted_at));
        recorded.cause = turn.cause.clone();
        recorded.added += turn.messages.len();
        return Ok(());
    }
    let detail = (by == TurnMove::LoseSight).then_some("Fini's response did not contain the message");
    let step = Step { look_at: Some(look_at), detail, ..step };
    recorded.turn = Some(in_flight::advance(conn, turn, step).await?);
    cx.announce(Change::Reading);
    Ok(())
}

async fn end(
    conn: &mut Conn,
    cx: &mut Cx,
    conversation: &mut ConversationRecord,
    turn: &InFlight,
    outcome: Outcome,
    step: Step<'_>,
) -> Result<TurnState> {
    let replies = step.progress.map_or(0, |progress| progress.replies);
    let closing = |message: &MessageId| FeedEvent::TurnCompleted { message_id: message.clone(), outcome, replies };
    in_flight::end(conn, cx, conversation, turn, step, closing).await
}
