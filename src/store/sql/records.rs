//! A conversation's record, and the one function that keeps its queue of turns true.
//!
//! A transaction that works on a conversation loads and locks its record, changes it in memory, and writes it once, at its
//! end, with one statement. Nothing else of the transaction writes the conversation's row meanwhile.

use std::{
    ops::{Deref, DerefMut},
    time::Duration,
};

use super::{Conn, Cx, Row, db, handoff, rows};
use crate::{
    domain::{
        Timestamp, WallTime,
        conversation::{Escalation, JUDGED_WITHIN, Standing, State},
        destination::Destination,
        evidence::news::Began,
        ids::{ConversationId, ConversationKey, FrontendName, InteractionId},
    },
    store::{Change, ConversationRef, Result},
};

/// A conversation locked by a transaction, which ends with [`save`](Self::save).
#[derive(Clone, Debug)]
pub(in crate::store) struct ConversationRecord {
    pub(in crate::store) reference: ConversationRef,
    /// Its lanes that were opened since it was loaded; nobody closes them before the end of the transaction.
    pub(in crate::store) opened: Vec<Destination>,
    columns: Columns,
    stored: Columns,
}

/// The columns of a conversation that may change.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::store) struct Columns {
    pub(in crate::store) standing: Standing,
    /// The reason for its loss or its quarantine.
    pub(in crate::store) note: Option<String>,
    pub(in crate::store) interaction: Option<InteractionId>,
    /// Counts the changes of `interaction`.
    pub(in crate::store) binding_version: i64,
    pub(in crate::store) wanted: Option<Wanted>,
    pub(in crate::store) first_sent_at: Option<Timestamp>,
    /// Creation time of its first message in its Fini conversation, by Fini's clock.
    pub(in crate::store) own_since: Option<Timestamp>,
    /// True if its Fini conversation is known to have begun before it.
    pub(in crate::store) has_past: bool,
    /// The person to whom the conversation belongs, if somebody vouches for one.
    pub(in crate::store) person: Option<String>,
    /// The Fini conversation that it shares with somebody else: the reason for its present or past quarantine.
    pub(in crate::store) shares: Option<InteractionId>,
    /// Time of its last quarantine.
    pub(in crate::store) quarantined_since: Option<Timestamp>,
    pub(in crate::store) last_sequence: i64,
    pub(in crate::store) queue: Queue,
    pub(in crate::store) updated_at: Timestamp,
    /// Time stamp of the last event of the feed.
    pub(in crate::store) shown_updated_at: Option<WallTime>,
    pub(in crate::store) last_activity_at: Timestamp,
    pub(in crate::store) watch_until: Option<Timestamp>,
    pub(in crate::store) read: NextRead,
    /// Consecutive single reads that did not find it.
    pub(in crate::store) read_misses: i64,
    /// Time of the first of them.
    pub(in crate::store) missed_since: Option<Timestamp>,
    /// The time of the latest message that Fini ever showed in it.
    pub(in crate::store) latest_message_at: Option<Timestamp>,
    /// Time at which the next step of its handoff is due.
    pub(in crate::store) handoff_due_at: Option<Timestamp>,
}

/// A Fini conversation that is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Wanted {
    pub(in crate::store) since: Timestamp,
    pub(in crate::store) look_at: Option<Timestamp>,
    pub(in crate::store) looks: i64,
}

/// A conversation's turns that are not over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Queue {
    /// Number of turns that wait.
    pub(in crate::store) queued: i64,
    /// True if one is in flight and not late.
    pub(in crate::store) occupied: bool,
    /// Time until which that one holds the next, once Fini has its message.
    pub(in crate::store) held_until: Option<Timestamp>,
    /// Time from which the oldest that waits may be claimed, if it may.
    pub(in crate::store) due_at: Option<Timestamp>,
}

/// The next single read of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct NextRead {
    pub(in crate::store) at: Option<Timestamp>,
    /// 0: a turn has just ended; 1: escalated; 2: the rest.
    pub(in crate::store) urgency: i64,
}

/// Time from the end of a turn to the single read of its snapshot, unless a sweep has brought it by then.
const AFTER_TURN: Duration = Duration::from_secs(3);
/// The same for the one more read once its status must have been judged: a sweep has the time to spare it.
const AFTER_JUDGEMENT: Duration = Duration::from_secs(3);

impl NextRead {
    /// No single read: sweeps see any change.
    pub(in crate::store) const NONE: Self = Self { at: None, urgency: 2 };

    /// Reads it soon: Fini's responses do not contain the status, so the snapshot has to be read after each.
    pub(in crate::store) fn after_turn(now: Timestamp) -> Self {
        Self { at: Some(now.plus(AFTER_TURN)), urgency: 0 }
    }

    /// Returns the time by which the status of an exchange that ended then has been judged, and a sweep has had the time to
    /// show it.
    pub(in crate::store) fn for_judgement(unjudged_since: Timestamp) -> Timestamp {
        unjudged_since.plus(JUDGED_WITHIN + AFTER_JUDGEMENT)
    }

    /// Plans one more read at `at` for its status, if any, in its turn among the rest; sooner if one was planned sooner.
    pub(in crate::store) fn again(self, at: Option<Timestamp>) -> Self {
        let Some(at) = at else { return Self::NONE };
        let sooner = self.at.filter(|before| self.urgency == Self::NONE.urgency && *before < at);
        Self { at: Some(sooner.unwrap_or(at)), ..Self::NONE }
    }
}

impl Deref for ConversationRecord {
    type Target = Columns;

    fn deref(&self) -> &Columns {
        &self.columns
    }
}

impl DerefMut for ConversationRecord {
    fn deref_mut(&mut self) -> &mut Columns {
        &mut self.columns
    }
}

impl Columns {
    /// Returns true if something of it may have reached Fini, in a Fini conversation that is not known.
    pub(in crate::store) fn is_looked_for(&self) -> bool {
        self.interaction.is_none() && self.first_sent_at.is_some() && !self.is_set_aside()
    }

    /// Returns true if the Fini conversation in which it speaks is not its own to read.
    pub(in crate::store) fn is_set_aside(&self) -> bool {
        self.standing.state.is_set_aside()
    }

    /// Returns true if no waiting turn may be claimed: the conversation is quarantined, or something was sent into a Fini
    /// conversation that is not known yet and another send would begin a second one.
    fn is_barred(&self) -> bool {
        match self.standing.state {
            State::Quarantined => true,
            // A claim takes the conversation up again.
            State::Continued => false,
            _ => self.wanted.is_some() || (self.interaction.is_none() && self.first_sent_at.is_some()),
        }
    }

    /// Returns the time stamp of an event that is added now: the wall clock's, and never earlier than that of the event before.
    pub(in crate::store) fn stamp(&mut self, cx: &Cx) -> WallTime {
        let now = cx.rules().wall.now();
        *self.shown_updated_at.insert(self.shown_updated_at.map_or(now, |before| before.max(now)))
    }

    /// Stamps the parts of its handoff that have begun, and works out when the handoff is due.
    fn plan(&mut self, cx: &Cx, frontend: &FrontendName) {
        if self.standing.handoff.is_bots() {
            self.handoff_due_at = None;
            return;
        }
        let shown_at = self.shown_updated_at.unwrap_or_else(|| cx.rules().wall.now());
        self.standing.handoff.stamp(shown_at);
        self.handoff_due_at = self.standing.handoff.due_at(cx.rules().handoffs.of(frontend), self.last_activity_at);
    }

    /// Makes its binding wanted, if it is not yet.
    pub(in crate::store) fn want(&mut self, cx: &mut Cx, now: Timestamp) {
        if self.interaction.is_none() && self.wanted.is_none() && !self.is_set_aside() {
            self.wanted = Some(Wanted { since: now, look_at: Some(now), looks: 0 });
        }
        cx.announce(Change::Reading);
    }

    /// Takes back the send that made Fini begin a conversation and did not happen after all: the next send begins it. If an
    /// earlier send made the binding wanted, that one still counts.
    pub(in crate::store) fn forget_send(&mut self) {
        if self.interaction.is_none() && self.wanted.is_none() {
            self.first_sent_at = None;
        }
    }

    /// Returns the evidence of its beginning.
    pub(in crate::store) fn began(&self, now: Timestamp) -> Began {
        Began {
            own_since: self.own_since,
            may_be_earlier: false,
            first_sent_at: self.first_sent_at.unwrap_or(now),
            has_past: self.has_past,
        }
    }

    /// Resets the misses: Fini showed the conversation, so it is there.
    pub(in crate::store) fn is_there(&mut self) {
        self.read_misses = 0;
        self.missed_since = None;
    }

    /// Sets the end of its watch, counted from `now`, and its next single read.
    pub(in crate::store) fn watch(&mut self, cx: &mut Cx, read: NextRead, now: Timestamp) {
        let policy = cx.rules().watch;
        let span = if self.standing.state == State::Escalated { policy.escalated } else { policy.idle };
        self.watch_until = Some(now.plus(span));
        self.read = read;
        cx.announce(Change::Reading);
    }
}

impl ConversationRecord {
    /// Returns its key.
    pub(in crate::store) fn key(&self) -> ConversationKey {
        self.reference.key
    }

    /// Does as [`Columns::plan`]; every change of its handoff calls this afterwards.
    pub(in crate::store) fn plan_handoff(&mut self, cx: &Cx) {
        let Self { reference, columns, .. } = self;
        columns.plan(cx, &reference.frontend);
    }

    /// Returns the columns as stored.
    pub(in crate::store) fn stored(&self) -> &Columns {
        &self.stored
    }

    /// Writes the changed columns.
    pub(in crate::store) async fn save(self, conn: &mut Conn) -> Result<()> {
        let Self { reference, columns, stored, .. } = self;
        if columns == stored {
            return Ok(());
        }
        let handoff = &columns.standing.handoff;
        db::query(
            "UPDATE conversations SET state = $2, status_text = $3, resolved = $4, wrapper_read = $5, note = $6, \
                interaction_id = $7, binding_version = $8, binding_wanted_since = $9, binding_look_at = $10, \
                binding_looks = $11, first_sent_at = $12, last_sequence = $13, queued = $14, occupied = $15, \
                turn_due_at = $16, updated_at = $17, last_activity_at = $18, watch_until = $19, read_at = $20, \
                read_urgency = $21, read_misses = $22, held_until = $23, awaiting_customer = $24, escalation = $25, \
                unjudged_since = $26, status_as_of = $27, shown_updated_at = $28, own_since = $29, has_past = $30, \
                shared_interaction_id = $31, missed_since = $32, latest_message_at = $33, speaker = $34, handoff = $35, \
                handoff_due_at = $36, quarantined_since = $37 WHERE key = $1",
        )
        .bind(reference.key.0)
        .bind(columns.standing.state.as_str())
        .bind(columns.standing.status_text)
        .bind(columns.standing.resolved)
        .bind(columns.standing.snapshot_read)
        .bind(columns.note)
        .bind(columns.interaction.as_ref().map(InteractionId::as_str))
        .bind(columns.binding_version)
        .bind(columns.wanted.map(|wanted| wanted.since.as_millis()))
        .bind(columns.wanted.and_then(|wanted| wanted.look_at).map(Timestamp::as_millis))
        .bind(columns.wanted.map_or(0, |wanted| wanted.looks))
        .bind(columns.first_sent_at.map(Timestamp::as_millis))
        .bind(columns.last_sequence)
        .bind(columns.queue.queued)
        .bind(columns.queue.occupied)
        .bind(columns.queue.due_at.map(Timestamp::as_millis))
        .bind(columns.updated_at.as_millis())
        .bind(columns.last_activity_at.as_millis())
        .bind(columns.watch_until.map(Timestamp::as_millis))
        .bind(columns.read.at.map(Timestamp::as_millis))
        .bind(columns.read.urgency)
        .bind(columns.read_misses)
        .bind(columns.queue.held_until.map(Timestamp::as_millis))
        .bind(columns.standing.awaiting_customer)
        .bind(columns.standing.escalation.to_bits())
        .bind(columns.standing.unjudged_since.map(Timestamp::as_millis))
        .bind(columns.standing.as_of.as_millis())
        .bind(columns.shown_updated_at.map(WallTime::as_millis))
        .bind(columns.own_since.map(Timestamp::as_millis))
        .bind(columns.has_past)
        .bind(columns.shares.as_ref().map(InteractionId::as_str))
        .bind(columns.missed_since.map(Timestamp::as_millis))
        .bind(columns.latest_message_at.map(Timestamp::as_millis))
        .bind(handoff.speaker().as_str())
        .bind(handoff.is_begun().then(|| serde_json::to_string(handoff)).transpose()?)
        .bind(columns.handoff_due_at.map(Timestamp::as_millis))
        .bind(columns.quarantined_since.map(Timestamp::as_millis))
        .execute(conn)
        .await?;
        Ok(())
    }
}

/// Loads and locks a conversation that was not erased.
pub(in crate::store) async fn load(conn: &mut Conn, key: ConversationKey) -> Result<Option<ConversationRecord>> {
    let row = db::query(concat!(
        "SELECT frontend, conversation_id, state, status_text, resolved, wrapper_read, note, interaction_id, \
            binding_version, binding_wanted_since, binding_look_at, binding_looks, first_sent_at, last_sequence, \
            queued, occupied, turn_due_at, updated_at, last_activity_at, watch_until, read_at, read_urgency, read_misses, \
            held_until, awaiting_customer, escalation, unjudged_since, status_as_of, shown_updated_at, \
            own_since, has_past, shared_interaction_id, quarantined_since, missed_since, latest_message_at, handoff, handoff_due_at, \
            CASE WHEN user_vouched THEN user_id END AS person \
         FROM conversations WHERE key = $1 AND erased_at IS NULL",
        for_update!("conversations")
    ))
    .bind(key.0)
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let columns = columns(&row)?;
    Ok(Some(ConversationRecord {
        reference: ConversationRef {
            key,
            frontend: FrontendName::trusted(rows::text(&row, "frontend")?),
            id: ConversationId::trusted(rows::text(&row, "conversation_id")?),
        },
        opened: Vec::new(),
        stored: columns.clone(),
        columns,
    }))
}

fn columns(row: &Row) -> Result<Columns> {
    let wanted = rows::maybe_time(row, "binding_wanted_since")?.map(|since| {
        Ok::<_, crate::store::StoreError>(Wanted {
            since,
            look_at: rows::maybe_time(row, "binding_look_at")?,
            looks: rows::int(row, "binding_looks")?,
        })
    });
    Ok(Columns {
        standing: Standing {
            state: rows::state(row, "state")?,
            status_text: rows::maybe_text(row, "status_text")?,
            resolved: rows::maybe_flag(row, "resolved")?,
            snapshot_read: rows::flag(row, "wrapper_read")?,
            awaiting_customer: rows::flag(row, "awaiting_customer")?,
            escalation: Escalation::from_bits(rows::int(row, "escalation")?),
            handoff: handoff::handoff(row)?,
            unjudged_since: rows::maybe_time(row, "unjudged_since")?,
            as_of: rows::time(row, "status_as_of")?,
        },
        note: rows::maybe_text(row, "note")?,
        interaction: rows::maybe_text(row, "interaction_id")?.map(InteractionId::trusted),
        binding_version: rows::int(row, "binding_version")?,
        wanted: wanted.transpose()?,
        first_sent_at: rows::maybe_time(row, "first_sent_at")?,
        own_since: rows::maybe_time(row, "own_since")?,
        has_past: rows::flag(row, "has_past")?,
        person: rows::maybe_text(row, "person")?,
        shares: rows::maybe_text(row, "shared_interaction_id")?.map(InteractionId::trusted),
        quarantined_since: rows::maybe_time(row, "quarantined_since")?,
        last_sequence: rows::int(row, "last_sequence")?,
        queue: Queue {
            queued: rows::int(row, "queued")?,
            occupied: rows::flag(row, "occupied")?,
            held_until: rows::maybe_time(row, "held_until")?,
            due_at: rows::maybe_time(row, "turn_due_at")?,
        },
        updated_at: rows::time(row, "updated_at")?,
        shown_updated_at: rows::maybe_time(row, "shown_updated_at")?.map(|at| WallTime::from_millis(at.as_millis())),
        last_activity_at: rows::time(row, "last_activity_at")?,
        watch_until: rows::maybe_time(row, "watch_until")?,
        read: NextRead { at: rows::maybe_time(row, "read_at")?, urgency: rows::int(row, "read_urgency")? },
        read_misses: rows::int(row, "read_misses")?,
        missed_since: rows::maybe_time(row, "missed_since")?,
        latest_message_at: rows::maybe_time(row, "latest_message_at")?,
        handoff_due_at: rows::maybe_time(row, "handoff_due_at")?,
    })
}

/// A conversation's open turns. Counted together: then only the index by conversation serves, of all that hold open turns,
/// whatever number of them the planner assumes.
pub(in crate::store) const TURNS: &str = "SELECT COUNT(CASE WHEN state = 'queued' THEN 1 END) AS queued, \
            COUNT(CASE WHEN state <> 'queued' THEN 1 END) AS in_flight, \
            MAX(CASE WHEN state = 'awaiting' THEN held_until END) AS held_until, \
            (SELECT t.due_at FROM turns t WHERE t.conversation_key = $1 AND t.state = 'queued' \
                AND t.state IN ('queued', 'sending', 'awaiting', 'unclear') ORDER BY t.key LIMIT 1) AS due_at \
         FROM turns WHERE conversation_key = $1 AND state IN ('queued', 'sending', 'awaiting', 'unclear')";

/// Works out anew how many turns of a conversation wait, whether one is in flight, and when the oldest may be claimed: not
/// while one is in flight, unless Fini has its message and it has held the next long enough; never while the conversation is
/// barred. Every change of its turns, its binding or its state calls this afterwards.
pub(in crate::store) async fn refresh_turns(
    conn: &mut Conn,
    cx: &mut Cx,
    conversation: &mut ConversationRecord,
) -> Result<()> {
    let row = db::query(TURNS).bind(conversation.key().0).fetch_one(conn).await?;
    let (queued, occupied) = (rows::int(&row, "queued")?, rows::int(&row, "in_flight")? > 0);
    let held_until = rows::maybe_time(&row, "held_until")?;
    let due_at = rows::maybe_time(&row, "due_at")?
        .filter(|_| (!occupied || held_until.is_some()) && !conversation.is_barred())
        .map(|due_at| held_until.map_or(due_at, |held_until| due_at.max(held_until)));
    cx.add_waiting(&conversation.reference.frontend, queued - conversation.queue.queued);
    conversation.queue = Queue { queued, occupied, held_until, due_at };
    if due_at.is_some() {
        cx.announce(Change::Turns);
    }
    Ok(())
}
