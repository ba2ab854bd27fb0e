//! A conversation's record, and the one function that keeps its queue of turns true.

use std::time::Duration;

use super::{Conn, Cx, db, rows};
use crate::{
    domain::{
        Timestamp,
        conversation::{Standing, State},
        ids::{ConversationId, ConversationKey, FrontendName, InteractionId},
    },
    store::{Change, ConversationRef, Result},
};

/// A conversation as transactions need it.
#[derive(Clone, Debug)]
pub(in crate::store) struct ConversationRecord {
    pub(in crate::store) reference: ConversationRef,
    pub(in crate::store) standing: Standing,
    pub(in crate::store) interaction: Option<InteractionId>,
    pub(in crate::store) first_sent_at: Option<Timestamp>,
    pub(in crate::store) last_activity_at: Timestamp,
    pub(in crate::store) read: NextRead,
}

/// When a conversation is read singly next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct NextRead {
    pub(in crate::store) at: Option<Timestamp>,
    /// 0: a turn has just ended; 1: escalated; 2: the rest.
    pub(in crate::store) urgency: i64,
}

/// How long after a turn the wrapper is read singly, unless a sweep has brought it by then.
const AFTER_TURN: Duration = Duration::from_secs(3);

impl NextRead {
    /// None: sweeps see what happens.
    pub(in crate::store) const NONE: Self = Self { at: None, urgency: 2 };

    /// Soon: Fini's responses do not tell the status, so the wrapper has to be read after each.
    pub(in crate::store) fn after_turn(now: Timestamp) -> Self {
        Self { at: Some(now.plus(AFTER_TURN)), urgency: 0 }
    }
}

impl ConversationRecord {
    /// Its key.
    pub(in crate::store) fn key(&self) -> ConversationKey {
        self.reference.key
    }

    /// Whether something of it may have reached Fini, in a Fini conversation that is not known.
    pub(in crate::store) fn is_looked_for(&self) -> bool {
        self.interaction.is_none() && self.first_sent_at.is_some() && self.standing.state != State::Quarantined
    }
}

/// Loads and locks a conversation that was not erased.
pub(in crate::store) async fn load(conn: &mut Conn, key: ConversationKey) -> Result<Option<ConversationRecord>> {
    let row = db::query(concat!(
        "SELECT frontend, conversation_id, state, status_text, resolved, wrapper_read, interaction_id, \
            first_sent_at, last_activity_at, read_at, read_urgency \
         FROM conversations WHERE key = $1 AND erased_at IS NULL",
        for_update!("conversations")
    ))
    .bind(key.0)
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(ConversationRecord {
        reference: ConversationRef {
            key,
            frontend: FrontendName::trusted(rows::text(&row, "frontend")?),
            id: ConversationId::trusted(rows::text(&row, "conversation_id")?),
        },
        standing: Standing {
            state: rows::state(&row, "state")?,
            status_text: rows::maybe_text(&row, "status_text")?,
            resolved: rows::maybe_flag(&row, "resolved")?,
            wrapper_read: rows::flag(&row, "wrapper_read")?,
        },
        interaction: rows::maybe_text(&row, "interaction_id")?.map(InteractionId::trusted),
        first_sent_at: rows::maybe_time(&row, "first_sent_at")?,
        last_activity_at: rows::time(&row, "last_activity_at")?,
        read: NextRead { at: rows::maybe_time(&row, "read_at")?, urgency: rows::int(&row, "read_urgency")? },
    }))
}

/// Sets how long a conversation is watched from now on, and when it is read singly next.
pub(in crate::store) async fn watch(
    conn: &mut Conn,
    cx: &mut Cx,
    key: ConversationKey,
    state: State,
    read: NextRead,
    now: Timestamp,
) -> Result<()> {
    let policy = cx.rules().watch;
    let span = if state == State::Escalated { policy.escalated } else { policy.idle };
    db::query("UPDATE conversations SET watch_until = $2 WHERE key = $1")
        .bind(key.0)
        .bind(now.plus(span).as_millis())
        .execute(&mut *conn)
        .await?;
    cx.announce(Change::Reading);
    read_next(conn, key, read).await
}

/// Sets when a conversation is read singly next.
pub(in crate::store) async fn read_next(conn: &mut Conn, key: ConversationKey, read: NextRead) -> Result<()> {
    db::query("UPDATE conversations SET read_at = $2, read_urgency = $3 WHERE key = $1")
        .bind(key.0)
        .bind(read.at.map(Timestamp::as_millis))
        .bind(read.urgency)
        .execute(conn)
        .await?;
    Ok(())
}

/// A conversation's open turns, and what bars it. Counted together: of the indexes that hold open turns only the one by
/// conversation serves then, whatever the planner believes of how many there are.
pub(in crate::store) const TURNS: &str = "SELECT c.frontend, c.queued, c.occupied, open.queued AS now_queued, open.in_flight, \
            (SELECT t.due_at FROM turns t WHERE t.conversation_key = c.key AND t.state = 'queued' \
                AND t.state IN ('queued', 'sending', 'awaiting', 'unclear') ORDER BY t.key LIMIT 1) AS due_at, \
            (c.state = 'quarantined' OR c.erased_at IS NOT NULL OR c.binding_wanted_since IS NOT NULL \
                OR (c.interaction_id IS NULL AND c.first_sent_at IS NOT NULL)) AS is_barred \
         FROM conversations c, (SELECT COUNT(CASE WHEN t.state = 'queued' THEN 1 END) AS queued, \
            COUNT(CASE WHEN t.state <> 'queued' THEN 1 END) AS in_flight FROM turns t \
            WHERE t.conversation_key = $1 AND t.state IN ('queued', 'sending', 'awaiting', 'unclear')) AS open \
         WHERE c.key = $1";

/// Works out anew how many turns of a conversation wait, whether one is in flight, and when the oldest may be claimed.
/// Called by everything that changes its turns, its binding or its state.
///
/// Nothing is claimable while a turn is in flight, while the conversation is quarantined, or while something was sent into
/// a Fini conversation that is not known yet: another send would begin a second one.
pub(in crate::store) async fn refresh_turns(conn: &mut Conn, cx: &mut Cx, key: ConversationKey) -> Result<()> {
    let row = db::query(TURNS).bind(key.0).fetch_optional(&mut *conn).await?;
    let Some(row) = row else { return Ok(()) };
    let queued = rows::int(&row, "now_queued")?;
    let occupied = rows::int(&row, "in_flight")? > 0;
    let due_at = rows::maybe_time(&row, "due_at")?.filter(|_| !occupied);
    let due_at = if rows::flag(&row, "is_barred")? { None } else { due_at };
    db::query("UPDATE conversations SET queued = $2, occupied = $3, turn_due_at = $4 WHERE key = $1")
        .bind(key.0)
        .bind(queued)
        .bind(occupied)
        .bind(due_at.map(Timestamp::as_millis))
        .execute(conn)
        .await?;
    let frontend = FrontendName::trusted(rows::text(&row, "frontend")?);
    cx.add_waiting(&frontend, queued - rows::int(&row, "queued")?);
    if due_at.is_some() {
        cx.announce(Change::Turns);
    }
    Ok(())
}
