//! Turns that were sent and are not over: loading them, moving them, ending them.
//!
//! At most one of them occupies its conversation ([`TurnState::occupies`]); any number may be late. If messages were
//! joined, a turn consists of several rows that share their fate: the leader (the first message) and its members. Every move
//! is checked against [`TurnState::after`].

use super::{
    Conn, Cx, Row,
    db::{self, Columns as _},
    evidence,
    feed::{self, Happened},
    records::{self, ConversationRecord},
    rows, tries,
};
use crate::{
    domain::{
        Timestamp,
        correlation::Correlation,
        event::FeedEvent,
        ids::{ConversationKey, FiniEventId, MessageId, TurnKey},
        message::Role,
        observation::Progress,
        turn::{Outcome, TurnFailure, TurnMove, TurnState},
    },
    store::{Change, EndOfTurn, Hold, Result, Token},
};

/// The states in which a turn occupies its conversation, by the index of those that wait or do.
macro_rules! occupying {
    () => {
        "state IN ('queued', 'sending', 'awaiting', 'unclear') AND state <> 'queued'"
    };
}
pub(in crate::store) use occupying;

/// A turn in flight.
#[derive(Debug)]
pub(in crate::store) struct InFlight {
    /// The leader's key.
    pub(in crate::store) key: TurnKey,
    pub(in crate::store) state: TurnState,
    pub(in crate::store) role: Role,
    /// Number of its claims.
    attempt: u32,
    /// Our turn attribute in Fini.
    pub(in crate::store) attribute: String,
    pub(in crate::store) progress: Progress,
    /// Time until which it holds the next message, once Fini has it.
    pub(in crate::store) held_until: Option<Timestamp>,
    /// Time at which the first of its messages was accepted.
    pub(in crate::store) accepted_at: Timestamp,
    /// Time of its last send.
    pub(in crate::store) sent_at: Timestamp,
    /// Its messages, oldest first, each with its own key.
    pub(in crate::store) messages: Vec<(TurnKey, MessageId)>,
    /// The last of them: the one that replies answer.
    pub(in crate::store) last_message: MessageId,
    /// The text as it was sent.
    pub(in crate::store) text: String,
    /// The request that brought the first of its messages.
    pub(in crate::store) cause: Correlation,
    token: Option<String>,
}

impl InFlight {
    /// Returns the keys of its rows as an array.
    fn keys(&self) -> Result<String> {
        rows::array(self.messages.iter().map(|(key, _)| key.0))
    }

    /// Returns the time until which it holds the next message, from the first proof on that Fini has it.
    fn holds_until(&self, cx: &Cx, has_arrived: bool, now: Timestamp) -> Option<Timestamp> {
        self.held_until.or_else(|| has_arrived.then(|| now.plus(cx.rules().hold_window)))
    }

    /// Returns true if `hold` fits its state and holder.
    pub(in crate::store) fn is_in(&self, hold: &Hold) -> bool {
        match hold {
            Hold::Sender(token) => self.is_held_by(token),
            Hold::Looked(attempt) => self.state != TurnState::Sending && self.attempt == *attempt,
        }
    }

    /// Returns true if it is being sent under this very claim.
    pub(in crate::store) fn is_held_by(&self, token: &Token) -> bool {
        self.state == TurnState::Sending && self.token.as_deref() == Some(&*token.0)
    }
}

macro_rules! rows_of {
    ($($state:tt)*) => {
        concat!(
            "SELECT key, leader_key, message_id, role, text, attribute, attempt, state, token, accepted_at, held_until, \
                COALESCE(sent_at, state_since) AS sent_at, echo, replies, escalated, no_reply, withheld, request_id, traceparent \
             FROM turns WHERE conversation_key = $1 AND ",
            $($state)*,
        )
    };
}
/// The rows of the turn that occupies a conversation.
pub(in crate::store) const OCCUPYING: &str = concat!(rows_of!(occupying!()), " ORDER BY key");
/// The rows of a conversation's turns that were sent and are not over: the late ones, and the one that occupies it.
pub(in crate::store) const UNDER_WAY: &str =
    concat!(rows_of!(occupying!()), " UNION ALL ", rows_of!("state = 'late'"), " ORDER BY key");

/// Loads the turn that occupies a conversation, if any.
pub(in crate::store) async fn load(conn: &mut Conn, conversation: ConversationKey) -> Result<Option<InFlight>> {
    Ok(turns(&db::query(OCCUPYING).bind(conversation.0).fetch_all(conn).await?)?.pop())
}

/// Loads a conversation's turns that were sent and are not over: the one that occupies it, if any, and the late ones, oldest
/// first.
pub(in crate::store) async fn under_way(
    conn: &mut Conn,
    conversation: ConversationKey,
) -> Result<(Option<InFlight>, Vec<InFlight>)> {
    let found = turns(&db::query(UNDER_WAY).bind(conversation.0).fetch_all(conn).await?)?;
    let (late, mut current): (Vec<_>, Vec<_>) = found.into_iter().partition(|turn| turn.state == TurnState::Late);
    Ok((current.pop(), late))
}

/// Loads all turns of a conversation that were sent and are not over, oldest first.
pub(in crate::store) async fn all(conn: &mut Conn, conversation: ConversationKey) -> Result<Vec<InFlight>> {
    let (current, mut turns) = under_way(conn, conversation).await?;
    turns.extend(current);
    Ok(turns)
}

/// Reads turns from these rows, which are in order: members follow their leader.
fn turns(rows: &[Row]) -> Result<Vec<InFlight>> {
    let mut turns: Vec<InFlight> = Vec::new();
    for row in rows {
        let message = (TurnKey(rows::int(row, "key")?), rows::message_id(row, "message_id")?);
        let text = rows::text(row, "text")?;
        let leader = row.try_get::<Option<i64>, _>("leader_key")?.map(TurnKey);
        if let Some(turn) = turns.iter_mut().find(|turn| Some(turn.key) == leader) {
            turn.last_message.clone_from(&message.1);
            turn.messages.push(message);
            turn.text.push_str(JOINT);
            turn.text.push_str(&text);
        } else {
            turns.push(turn(row, message, text)?);
        }
    }
    Ok(turns)
}

fn turn(leader: &Row, message: (TurnKey, MessageId), text: String) -> Result<InFlight> {
    Ok(InFlight {
        key: message.0,
        state: rows::turn_state(leader, "state")?,
        role: rows::role(leader, "role")?,
        attempt: rows::small(leader, "attempt")?,
        attribute: rows::text(leader, "attribute")?,
        progress: Progress {
            own_event: rows::maybe_text(leader, "echo")?.map(FiniEventId::trusted),
            replies: rows::small(leader, "replies")?,
            escalated: rows::flag(leader, "escalated")?,
            no_reply: rows::flag(leader, "no_reply")?,
            withheld: rows::flag(leader, "withheld")?,
        },
        held_until: rows::maybe_time(leader, "held_until")?,
        accepted_at: rows::time(leader, "accepted_at")?,
        sent_at: rows::time(leader, "sent_at")?,
        last_message: message.1.clone(),
        messages: vec![message],
        text,
        cause: rows::cause(leader)?,
        token: rows::maybe_text(leader, "token")?,
    })
}

/// The separator of joined messages.
pub(in crate::store) const JOINT: &str = "\n";

/// Finds a turn that was sent and is not over by its leader's key, and locks its conversation.
pub(in crate::store) async fn find(conn: &mut Conn, key: TurnKey) -> Result<Option<(ConversationRecord, InFlight)>> {
    let conversation: Option<i64> = db::query_scalar("SELECT conversation_key FROM turns WHERE key = $1")
        .bind(key.0)
        .fetch_optional(&mut *conn)
        .await?;
    let Some(conversation) = conversation else { return Ok(None) };
    let Some(conversation) = records::load(conn, ConversationKey(conversation)).await? else { return Ok(None) };
    let turn = all(conn, conversation.key()).await?.into_iter().find(|turn| turn.key == key);
    Ok(turn.map(|turn| (conversation, turn)))
}

/// A move of a turn in flight, and its effects besides the state.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Step<'a> {
    pub(in crate::store) by: TurnMove,
    pub(in crate::store) now: Timestamp,
    /// Time of the next look for it.
    pub(in crate::store) look_at: Option<Timestamp>,
    /// The reason, in words.
    pub(in crate::store) detail: Option<&'a str>,
    /// True if it is known that Fini does not have the message.
    pub(in crate::store) is_absent: bool,
    /// The progress seen at Fini, if that is news.
    pub(in crate::store) progress: Option<&'a Progress>,
}

impl Step<'_> {
    /// Returns the bare move.
    pub(in crate::store) const fn new(by: TurnMove, now: Timestamp) -> Self {
        Self { by, now, look_at: None, detail: None, is_absent: false, progress: None }
    }
}

/// Moves a turn in flight to a state in which it is not being sent. Ends the lease; looks are counted anew.
pub(in crate::store) async fn advance(conn: &mut Conn, cx: &Cx, turn: &InFlight, step: Step<'_>) -> Result<TurnState> {
    let state = turn.state.after(step.by)?;
    if turn.state == TurnState::Sending {
        tries::sent(conn, turn, turn.attempt, (step.by, step.detail), step.now).await?;
    }
    let progress = step.progress.unwrap_or(&turn.progress);
    let has_arrived = progress.has_arrived() || step.by == TurnMove::Await;
    db::query(concat!(
        "UPDATE turns SET state = $2, state_since = $3, token = NULL, owner = NULL, lease_until = NULL, looks = 0, \
            look_at = CASE WHEN leader_key IS NULL THEN CAST($4 AS BIGINT) END, \
            detail = COALESCE($5, detail), sent_at = CASE WHEN $6 THEN NULL ELSE sent_at END, \
            echo = $7, replies = $8, escalated = $9, no_reply = $10, held_until = $11, withheld = $12 WHERE key",
        is_key_in!("$1")
    ))
    .bind(turn.keys()?)
    .bind(state.as_str())
    .bind(step.now.as_millis())
    .bind(step.look_at.map(Timestamp::as_millis))
    .bind(step.detail)
    .bind(step.is_absent)
    .bind(progress.own_event.as_ref().map(FiniEventId::as_str))
    .bind(i64::from(progress.replies))
    .bind(progress.escalated)
    .bind(progress.no_reply)
    .bind(turn.holds_until(cx, has_arrived, step.now).map(Timestamp::as_millis))
    .bind(progress.withheld)
    .execute(conn)
    .await?;
    Ok(state)
}

/// Writes down the progress of a turn in flight that keeps its state.
pub(in crate::store) async fn save_progress(
    conn: &mut Conn,
    cx: &Cx,
    turn: &InFlight,
    progress: &Progress,
    now: Timestamp,
) -> Result<()> {
    if *progress == turn.progress {
        return Ok(());
    }
    db::query(concat!(
        "UPDATE turns SET echo = $2, replies = $3, escalated = $4, no_reply = $5, held_until = $6, withheld = $7 WHERE key",
        is_key_in!("$1")
    ))
    .bind(turn.keys()?)
    .bind(progress.own_event.as_ref().map(FiniEventId::as_str))
    .bind(i64::from(progress.replies))
    .bind(progress.escalated)
    .bind(progress.no_reply)
    .bind(turn.holds_until(cx, progress.has_arrived(), now).map(Timestamp::as_millis))
    .bind(progress.withheld)
    .execute(conn)
    .await?;
    Ok(())
}

/// Records that a turn's message stands in a Fini conversation to which its conversation is not bound: Fini has it, and its
/// reply there is shown to nobody.
pub(in crate::store) async fn found_elsewhere(
    conn: &mut Conn,
    cx: &Cx,
    key: TurnKey,
    event: &FiniEventId,
    look_at: Timestamp,
    now: Timestamp,
) -> Result<()> {
    let Some((_, turn)) = find(conn, key).await? else {
        let of: Option<i64> = db::query_scalar("SELECT conversation_key FROM turns WHERE key = $1")
            .bind(key.0)
            .fetch_optional(&mut *conn)
            .await?;
        let Some(of) = of else { return Ok(()) };
        return evidence::own_event_seen(conn, ConversationKey(of), key, event).await;
    };
    let progress = Progress { own_event: Some(event.clone()), ..turn.progress.clone() };
    if turn.state == TurnState::Unclear {
        let step = Step { look_at: Some(look_at), progress: Some(&progress), ..Step::new(TurnMove::Await, now) };
        advance(conn, cx, &turn, step).await?;
    } else {
        save_progress(conn, cx, &turn, &progress, now).await?;
    }
    Ok(())
}

/// Ends a turn in flight: every one of its messages gets the closing event that `closing` makes for it.
pub(in crate::store) async fn end(
    conn: &mut Conn,
    cx: &mut Cx,
    conversation: &mut ConversationRecord,
    turn: &InFlight,
    step: Step<'_>,
    closing: impl Fn(&MessageId) -> FeedEvent,
) -> Result<TurnState> {
    let state = advance(conn, cx, turn, step).await?;
    let happened: Vec<Happened> = turn.messages.iter().map(|(key, id)| (closing(id), Some(*key))).collect();
    feed::append(conn, cx, conversation, &happened, step.now).await?;
    records::refresh_turns(conn, cx, conversation).await?;
    cx.announce(Change::Settled(conversation.key()));
    Ok(state)
}

/// Ends a turn in flight with `outcome`.
pub(in crate::store) async fn complete(
    conn: &mut Conn,
    cx: &mut Cx,
    conversation: &mut ConversationRecord,
    turn: &InFlight,
    outcome: Outcome,
    step: Step<'_>,
) -> Result<TurnState> {
    let replies = step.progress.map_or(0, |progress| progress.replies);
    report(cx, conversation, turn, (outcome.as_str(), None), step.now);
    let closing = |message: &MessageId| FeedEvent::TurnCompleted { message_id: message.clone(), outcome, replies };
    end(conn, cx, conversation, turn, step, closing).await
}

/// Ends a turn in flight as failed.
pub(in crate::store) async fn fail(
    conn: &mut Conn,
    cx: &mut Cx,
    conversation: &mut ConversationRecord,
    turn: &InFlight,
    now: Timestamp,
    failure: &TurnFailure,
) -> Result<()> {
    report(cx, conversation, turn, (failure.code.as_str(), Some(&failure.detail)), now);
    let step = Step {
        detail: Some(&failure.detail),
        is_absent: failure.code.proves_absence(),
        ..Step::new(TurnMove::Fail, now)
    };
    end(conn, cx, conversation, turn, step, |id| closing(id, failure)).await?;
    Ok(())
}

/// Has the end of a turn in flight reported.
fn report(
    cx: &mut Cx,
    conversation: &ConversationRecord,
    turn: &InFlight,
    (outcome, failure): (&'static str, Option<&str>),
    now: Timestamp,
) {
    cx.ended(EndOfTurn {
        conversation: conversation.reference.clone(),
        message: turn.messages.first().map_or_else(|| turn.last_message.clone(), |(_, message)| message.clone()),
        outcome,
        failure: failure.map(str::to_owned),
        took: now.since(turn.accepted_at),
        cause: turn.cause.clone(),
    });
}

/// Returns the event that tells a frontend of a message that failed.
pub(in crate::store) fn closing(message: &MessageId, failure: &TurnFailure) -> FeedEvent {
    FeedEvent::TurnFailed {
        message_id: message.clone(),
        code: failure.code,
        detail: failure.detail.clone(),
        may_resend: failure.may_resend,
    }
}
