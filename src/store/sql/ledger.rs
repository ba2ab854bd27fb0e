//! Recording what Fini said: one observation, one transaction, whatever its source.
//!
//! The domain decides what an observation means ([`Observation::apply`]); this module gives it the record and writes down its verdict.
//! Invariant: a Fini event enters the feed at most once, and only that of the conversation it belongs to.
//! An observation with very many new events is recorded in parts, a transaction each, so that nobody waits for it. Each part is like a
//! snapshot that lags behind; only the last one settles turns and judges the status.
//! An observation that ends several turns (a late one and the one in flight) reports the end of each, the oldest first.

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt;

use super::{
    Conn, Cx, ThisStore, bindings, db, erased, erasures,
    evidence::{self, Seen, Snapshot},
    feed,
    in_flight::{self, InFlight, Step},
    records::{self, ConversationRecord, NextRead},
    rows, unbound,
};
use crate::{
    domain::{
        Timestamp,
        evidence::own::Whose,
        ids::{ConversationKey, InteractionId, TurnKey},
        observation::{Applied, Observation, OpenTurn, OpenTurns, Progress, SnapshotFields, TurnResult, UnseenMessage},
        own_event::same_text,
        turn::{TurnMove, TurnState},
        vendor::{FiniConversation, FiniEvent, FiniKind, FiniRole},
    },
    store::{
        Bound, Change, ConversationRef, Ended, LedgerStore, Record, Recorded, Result, Source, Unbound, UnboundSummary,
    },
};

#[async_trait::async_trait]
impl LedgerStore for ThisStore {
    async fn record(&self, record: Record) -> Result<Recorded> {
        let (observation, mut recorded, mut from) = (Arc::new(record), Recorded::default(), 0);
        loop {
            let part = (Arc::clone(&observation), from);
            let (part, next) =
                self.write(part, |conn, cx, part| record_part(conn, cx, &part.0, part.1, PART).boxed()).await?;
            recorded = recorded.then(part);
            match next {
                Some(next) if recorded.counted => from = next,
                _ => return Ok(recorded),
            }
        }
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

    async fn bind(&self, conversation: ConversationKey, snapshot: &FiniConversation, now: Timestamp) -> Result<Bound> {
        let of = (conversation, snapshot.clone(), now);
        self.write(of, |conn, cx, of| bindings::bind(conn, cx, of.0, &of.1, of.2).boxed()).await
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

/// Time before the next read of a conversation whose snapshot was out of date.
const BEHIND_PAUSE: Duration = Duration::from_secs(2);

/// The most new events that one transaction records.
const PART: usize = 500;

/// Records an observation as a whole.
pub(in crate::store) async fn record(conn: &mut Conn, cx: &mut Cx, observation: &Record) -> Result<Recorded> {
    record_part(conn, cx, observation, 0, usize::MAX).await.map(|(recorded, _)| recorded)
}

/// Records the part of an observation up to `most` new events beyond the event of number `from`; returns where to go on, if more is
/// left.
async fn record_part(
    conn: &mut Conn,
    cx: &mut Cx,
    observation: &Record,
    from: usize,
    most: usize,
) -> Result<(Recorded, Option<usize>)> {
    let Some(mut conversation) = records::load(conn, observation.conversation).await? else {
        hear_of_erased(conn, cx, observation).await?;
        return Ok((Recorded::default(), None));
    };
    let (turn, late) = in_flight::under_way(conn, observation.conversation).await?;
    if !counts(observation, &conversation, turn.as_ref()) {
        let stands = stands(conn, &observation.source).await?;
        let state = Some(conversation.standing.state);
        return Ok((Recorded { state, turn: stands, ..Recorded::default() }, None));
    }
    let seen = evidence::seen(conn, &conversation, &observation.events, is_response(observation)).await?;
    let unseen_messages = evidence::unseen_messages(conn, &conversation).await?;
    let is_snapshot = !is_response(observation);
    let end = end_of_part(&observation.events, &seen, from, most);
    let is_partial = end < observation.events.len();
    let taken = take(conn, cx, &mut conversation, turn.as_ref(), &unseen_messages, &seen, (observation, end)).await?;
    if taken.has_stranger {
        let reason = "somebody else wrote in its Fini conversation before".to_owned();
        bindings::expel(conn, cx, &mut conversation, reason, observation.now).await?;
        let state = Some(conversation.standing.state);
        conversation.save(conn).await?;
        return Ok((Recorded { state, quarantined: true, ..Recorded::default() }, None));
    }
    let events = taken.events;
    let lacks_known =
        is_snapshot && evidence::is_behind(conn, observation.conversation, &events, observation.now).await?;
    let is_behind = is_snapshot && (is_partial || lacks_known);
    let snapshot = snapshot_fields(&observation.source, turn.as_ref().filter(|_| !is_partial), is_behind);
    let applied = {
        let rules = cx.rules();
        let opened = |turn: &InFlight| open_turn(turn, observation.now, rules.hold_window);
        let (current, late) = (turn.as_ref().map(opened), late.iter().map(opened).collect::<Vec<_>>());
        let turns = OpenTurns { current: current.as_ref(), late: &late };
        let format = rules.formats.get(&conversation.reference.frontend).copied().unwrap_or_default();
        let rules = Observation {
            policy: &rules.statuses,
            snapshot: snapshot.as_ref(),
            events: &events,
            format,
            now: observation.now,
        };
        rules.apply(&conversation.standing, turns, &unseen_messages, &seen.events)
    };
    let open: Vec<TurnKey> = late.iter().chain(&turn).map(|turn| turn.key).collect();
    let news: Vec<&FiniEvent> = events.iter().filter(|event| is_news(event, &applied, &open)).collect();
    let unseen: Vec<&FiniEvent> = news.iter().filter(|event| !seen.events.contains_key(&event.id)).copied().collect();

    mark(conn, observation, &unseen_messages, &seen, &applied).await?;
    stand(&mut conversation, &applied);
    feed::append(conn, cx, &mut conversation, &applied.feed, observation.now).await?;

    let mut recorded = Recorded {
        counted: true,
        is_behind,
        added: applied.feed.len(),
        new_events: unseen.iter().map(|event| event.created_at).collect(),
        state: Some(applied.standing.state),
        doubtful: applied.is_doubtful || taken.is_doubtful,
        withheld: taken.withheld,
        judge_at: (!applied.is_judged).then(|| judge_at(applied.standing.unjudged_since, observation.now)),
        ..Recorded::default()
    };
    if snapshot.is_none() {
        let own = events.iter().find(|event| applied.progress.own_event.as_ref() == Some(&event.id));
        let since = own.map(|event| event.created_at);
        conversation.own_since = [conversation.own_since, since].into_iter().flatten().min();
        if conversation.is_looked_for() {
            conversation.want(cx, observation.now);
        }
    }
    let fresh = applied.seen_events.iter().any(|(id, ..)| !seen.events.contains_key(id));
    if snapshot.is_some() {
        conversation.is_there();
    }
    let (latest, latest_message) = latest(&events, observation.now);
    conversation.latest_message_at = conversation.latest_message_at.max(latest_message);
    let stirred = snapshot.is_none() || fresh || applied.standing.state != conversation.stored().standing.state;
    let next =
        next_read(conversation.read, is_snapshot, taken.wants_whole, is_behind, recorded.judge_at, observation.now);
    if stirred {
        conversation.last_activity_at =
            latest.map_or(conversation.last_activity_at, |at| at.max(conversation.last_activity_at));
        conversation.watch(cx, next, observation.now);
    } else {
        conversation.read = next;
    }
    for (turn, (progress, result)) in late.iter().zip(&applied.late) {
        let (found, observation) = ((progress, *result), (observation, is_partial));
        settle(conn, cx, &mut conversation, turn, found, observation, &mut recorded).await?;
    }
    if let Some(turn) = &turn {
        let found = (&applied.progress, applied.turn);
        let observation = (observation, is_partial);
        recorded.turn = Some(settle(conn, cx, &mut conversation, turn, found, observation, &mut recorded).await?);
    }
    conversation.save(conn).await?;
    Ok((recorded, is_partial.then_some(end)))
}

/// Records the events as seen, and each message whose own event is among them as found.
async fn mark(
    conn: &mut Conn,
    observation: &Record,
    unseen_messages: &[UnseenMessage],
    seen: &Seen,
    applied: &Applied,
) -> Result<()> {
    evidence::mark(conn, observation.conversation, seen, &applied.seen_events, observation.now).await?;
    for (event, of, _) in &applied.seen_events {
        if let Some(earlier) = of.filter(|of| unseen_messages.iter().any(|turn| turn.key == *of)) {
            evidence::own_event_seen(conn, observation.conversation, earlier, event).await?;
        }
    }
    Ok(())
}

/// Returns the next single read after `read`.
fn next_read(
    read: NextRead,
    is_snapshot: bool,
    wants_whole: bool,
    is_behind: bool,
    judge_at: Option<Timestamp>,
    now: Timestamp,
) -> NextRead {
    match judge_at {
        _ if !is_snapshot => NextRead::after_turn(now),
        _ if wants_whole => NextRead { at: Some(now), urgency: 0 },
        // List may lag behind a response: a read that was due stays due.
        Some(_) if is_behind => read,
        judge_at => read.again(judge_at),
    }
}

/// Keeps the evidence of an answer whose conversation was erased meanwhile.
async fn hear_of_erased(conn: &mut Conn, cx: &mut Cx, observation: &Record) -> Result<()> {
    let Source::Response { turn, .. } = observation.source else { return Ok(()) };
    erased::answered(conn, observation.conversation, turn, &observation.events).await?;
    erasures::hear(conn, cx, observation.conversation, &observation.events, observation.now).await
}

/// Returns the times of the latest event and of the latest message; Fini's clock may be ahead of ours.
fn latest(events: &[FiniEvent], now: Timestamp) -> (Option<Timestamp>, Option<Timestamp>) {
    let is_message = |event: &&FiniEvent| matches!(event.kind, FiniKind::Message | FiniKind::WidgetForm);
    let messages = events.iter().filter(is_message).map(|event| event.created_at.min(now)).max();
    (events.iter().map(|event| event.created_at.min(now)).max(), messages)
}

/// Returns the end of the part that begins at `from`.
fn end_of_part(events: &[FiniEvent], seen: &Seen, from: usize, most: usize) -> usize {
    let is_new = |(_, event): &(usize, &FiniEvent)| !seen.events.contains_key(&event.id);
    events.iter().enumerate().skip(from).filter(is_new).nth(most).map_or(events.len(), |(end, _)| end)
}

/// The part of an observation that belongs to the conversation.
#[derive(Default)]
struct Taken {
    events: Vec<FiniEvent>,
    /// True if an unknown person has spoken in it before: nothing of it belongs to the conversation.
    has_stranger: bool,
    /// True if the owner of something in it is in doubt or not known yet.
    is_doubtful: bool,
    wants_whole: bool,
    withheld: usize,
}

/// Takes out of the observation up to `end` the events of the conversation, and reserves those of others for them.
async fn take(
    conn: &mut Conn,
    cx: &Cx,
    conversation: &mut ConversationRecord,
    turn: Option<&InFlight>,
    unseen_messages: &[UnseenMessage],
    seen: &Seen,
    (observation, end): (&Record, usize),
) -> Result<Taken> {
    let Source::Snapshot { interaction, created_at, is_whole, look_at, turn_attribute, .. } = &observation.source
    else {
        return Ok(Taken { events: named(&observation.events[..end], seen, turn), ..Taken::default() });
    };
    let (created_at, is_whole) = (*created_at, *is_whole);
    let turn_attribute = turn_attribute.as_deref();
    let snapshot = Snapshot { interaction, created_at, events: &observation.events, is_whole, turn_attribute };
    let weighed = evidence::weigh(conn, conversation, turn, unseen_messages, seen, snapshot, observation.now).await?;
    let (attribution, novelty) = (weighed.attribution, weighed.novelty);
    erased::found(conn, &weighed.erased, &attribution.whose, interaction).await?;
    if novelty.has_stranger {
        return Ok(Taken { has_stranger: true, ..Taken::default() });
    }
    let withheld =
        evidence::reserve(conn, cx, &observation.events, &attribution, seen, *look_at, observation.now).await?;
    conversation.own_since = novelty.own_since;
    let events = observation.events[..end].iter().zip(&novelty.is_news).filter(|(_, is_news)| **is_news);
    Ok(Taken {
        events: events.map(|(event, _)| event.clone()).collect(),
        has_stranger: false,
        is_doubtful: attribution.owner_in_doubt || attribution.whose.contains(&Whose::Pending),
        wants_whole: attribution.wants_whole,
        withheld,
    })
}

/// Returns the events that the answer to a message names: they belong to its turn, except those that somebody else has with
/// proof. A further customer's message with another text was not sent.
fn named(events: &[FiniEvent], seen: &Seen, turn: Option<&InFlight>) -> Vec<FiniEvent> {
    let mut own = 0;
    let is_named = |event: &&FiniEvent| {
        let is_message = event.role == FiniRole::User && event.kind == FiniKind::Message;
        own += usize::from(is_message);
        let is_other = is_message
            && own > 1
            && !turn.is_some_and(|turn| same_text(event.text.as_deref(), &turn.text))
            && !seen.events.contains_key(&event.id);
        seen.may_be_named(&event.id) && !is_other
    };
    events.iter().filter(is_named).cloned().collect()
}

const fn is_response(observation: &Record) -> bool {
    matches!(observation.source, Source::Response { .. })
}

/// Returns true if the observation still counts.
fn counts(observation: &Record, conversation: &ConversationRecord, turn: Option<&InFlight>) -> bool {
    match &observation.source {
        Source::Response { turn: key, token, .. } => {
            turn.is_some_and(|turn| turn.key == *key && turn.is_held_by(token))
        }
        Source::Snapshot { interaction, .. } => conversation.interaction.as_ref() == Some(interaction),
    }
}

/// Returns the state of the turn of a response that does not count.
async fn stands(conn: &mut Conn, source: &Source) -> Result<Option<TurnState>> {
    let Source::Response { turn, .. } = source else { return Ok(None) };
    let row = db::query("SELECT state FROM turns WHERE key = $1").bind(turn.0).fetch_optional(conn).await?;
    row.map(|row| rows::turn_state(&row, "state")).transpose()
}

/// Returns a turn as the domain sees it. Its answer, which may tell the owner of a reply, is awaited as long as one message
/// holds the next.
fn open_turn(turn: &InFlight, now: Timestamp, hold_window: Duration) -> OpenTurn {
    OpenTurn {
        key: turn.key,
        message_id: turn.last_message.clone(),
        role: turn.role,
        text: turn.text.clone(),
        sent_at: turn.sent_at,
        is_answering: turn.state == TurnState::Sending && now < turn.sent_at.plus(hold_window),
        progress: turn.progress.clone(),
    }
}

fn snapshot_fields(source: &Source, turn: Option<&InFlight>, is_behind: bool) -> Option<SnapshotFields> {
    let Source::Snapshot { status, resolved, turn_attribute, as_of, .. } = source else { return None };
    let names_open_turn = turn.is_some_and(|turn| turn_attribute.as_deref() == Some(turn.attribute.as_str()));
    Some(SnapshotFields { status: status.clone(), resolved: *resolved, names_open_turn, as_of: *as_of, is_behind })
}

/// Returns true if an event is news at all: not one of our own messages.
fn is_news(event: &FiniEvent, applied: &Applied, open: &[TurnKey]) -> bool {
    let mark = applied.seen_events.iter().find(|(id, ..)| *id == event.id);
    let of_earlier_turn = mark.is_some_and(|(_, turn, _)| turn.is_some_and(|turn| !open.contains(&turn)));
    mark.is_some() && !of_earlier_turn && applied.progress.own_event.as_ref() != Some(&event.id)
}

/// Sets the standing that a conversation has after the observation.
fn stand(conversation: &mut ConversationRecord, applied: &Applied) {
    if applied.standing != conversation.standing {
        conversation.standing = applied.standing.clone();
        if !applied.standing.state.is_set_aside() {
            conversation.note = None;
        }
    }
}

/// Returns the time of the next read of a snapshot that was behind, or whose status was not judged yet.
fn judge_at(unjudged_since: Option<Timestamp>, now: Timestamp) -> Timestamp {
    let judged = unjudged_since.map(NextRead::for_judgement);
    judged.filter(|at| *at > now).unwrap_or(now.plus(BEHIND_PAUSE))
}

/// Moves a turn as the observation, or a part of it, requires; returns its state afterwards.
async fn settle(
    conn: &mut Conn,
    cx: &mut Cx,
    conversation: &mut ConversationRecord,
    turn: &InFlight,
    (progress, result): (&Progress, TurnResult),
    (observation, is_partial): (&Record, bool),
    recorded: &mut Recorded,
) -> Result<TurnState> {
    let (is_response, look_at) = match observation.source {
        Source::Response { look_at, .. } => (true, look_at),
        Source::Snapshot { look_at, .. } => (false, look_at),
    };
    // While a sender waits for its response, that response settles the turn; earlier finds of a reader are kept for it.
    let by = match result {
        _ if is_partial => None,
        _ if !is_response && turn.state == TurnState::Sending => None,
        TurnResult::Over(outcome) => Some(outcome.as_move()),
        TurnResult::Stored if matches!(turn.state, TurnState::Awaiting | TurnState::Late) => None,
        TurnResult::Stored => Some(TurnMove::Await),
        TurnResult::Nothing if is_response && turn.state == TurnState::Sending => Some(TurnMove::LoseSight),
        TurnResult::Nothing | TurnResult::Doubtful => None,
    };
    let Some(by) = by else {
        // An observation that showed nothing of the turn is news too: it may prove that Fini does not have the message.
        in_flight::save_progress(conn, cx, turn, progress, observation.now).await?;
        return Ok(turn.state);
    };
    let step = Step { progress: Some(progress), ..Step::new(by, observation.now) };
    if let TurnResult::Over(outcome) = result {
        recorded.ended.push(Ended {
            outcome: outcome.as_str(),
            accepted_at: turn.accepted_at,
            cause: turn.cause.clone(),
        });
        recorded.added += turn.messages.len();
        return in_flight::complete(conn, cx, conversation, turn, outcome, step).await;
    }
    let detail = (by == TurnMove::LoseSight).then_some("Fini's response did not contain the message");
    let step = Step { look_at: Some(look_at), detail, ..step };
    let state = in_flight::advance(conn, cx, turn, step).await?;
    records::refresh_turns(conn, cx, conversation).await?;
    cx.announce(Change::Reading);
    Ok(state)
}
