//! What was seen of Fini before: marked events, and sent messages whose own event was never seen.
//!
//! Invariant: an event belongs to the first conversation that saw it, for ever; for any other it does not exist.

use std::collections::{HashMap, HashSet};

use super::{
    Conn,
    db::{self, Columns as _},
    records::ConversationRecord,
    rows, unbound,
};
use crate::{
    domain::{
        Timestamp,
        content::Content,
        conversation::State,
        echo::same_text,
        evidence::newer,
        ids::{ConversationKey, FiniEventId, TurnKey},
        look::{Mark, Unechoed},
        turn::TurnState,
        vendor::{FiniEvent, FiniRole},
    },
    store::{Result, UNBOUND},
};

/// Rows among which earlier messages without an event of their own are looked for; joined ones take several.
const UNECHOED_ROWS: i64 = 40;
/// How many such messages are still expected to turn up.
const UNECHOED: usize = 5;

/// What is on record about the events of a look.
#[derive(Debug, Default)]
pub(in crate::store) struct Seen {
    /// Events that the conversation saw before.
    pub(in crate::store) marks: HashMap<FiniEventId, Mark>,
    /// Events that another conversation saw before.
    pub(in crate::store) foreign: HashSet<FiniEventId>,
    /// Events that were kept for the conversation when it was set aside, before its own response named them: it has them to
    /// see yet.
    reserved: HashSet<FiniEventId>,
}

/// Those of the events that somebody saw before.
pub(in crate::store) const MARKED: &str = concat!(
    "SELECT fini_event_id, conversation_key, turn_key, rating, content FROM marks WHERE fini_event_id",
    is_text_in!("$1")
);

/// What is on record about these events.
pub(in crate::store) async fn seen(
    conn: &mut Conn,
    conversation: &ConversationRecord,
    events: &[FiniEvent],
) -> Result<Seen> {
    let mut seen = Seen::default();
    if events.is_empty() {
        return Ok(seen);
    }
    let found = db::query(MARKED).bind(rows::array(events.iter().map(|event| &event.id))?).fetch_all(conn).await?;
    for row in &found {
        let id = FiniEventId::trusted(rows::text(row, "fini_event_id")?);
        let is_own = rows::int(row, "conversation_key")? == conversation.key().0;
        // In quarantine it sees nothing but its own responses, whose events belong to their turn.
        let was_set_aside = conversation.standing.state == State::Quarantined && conversation.interaction.is_none();
        if is_own && was_set_aside && row.try_get::<Option<i64>, _>("turn_key")?.is_none() {
            seen.reserved.insert(id);
        } else if is_own {
            let rating = rows::maybe_text(row, "rating")?.map(|rating| serde_json::from_str(&rating)).transpose()?;
            let content = rows::maybe_text(row, "content")?.and_then(|content| Content::parse(&content));
            seen.marks.insert(id, Mark { rating: rating.unwrap_or_default(), content });
        } else {
            seen.foreign.insert(id);
        }
    }
    Ok(seen)
}

/// Whether somebody who was mixed into the same Fini conversation is still being answered: a quarantined conversation with a
/// turn in flight, of which some of these events are. Its reply is in none of the marks yet.
pub(in crate::store) async fn is_mixed(conn: &mut Conn, foreign: &HashSet<FiniEventId>) -> Result<bool> {
    if foreign.is_empty() {
        return Ok(false);
    }
    let found = db::query(concat!(
        "SELECT 1 FROM marks m JOIN conversations c ON c.key = m.conversation_key JOIN turns t ON t.conversation_key = c.key \
         WHERE c.state = 'quarantined' AND t.state IN ('sending', 'awaiting', 'late', 'unclear') AND m.fini_event_id", is_text_in!("$1"),
        " LIMIT 1"
    ))
    .bind(rows::array(foreign)?)
    .fetch_optional(conn)
    .await?;
    Ok(found.is_some())
}

/// Whether a customer's message that this conversation did not send may be that of one whose Fini conversation is looked for:
/// Fini then has reused this one for it. Until that is settled, nothing of the look may be shown to anyone.
pub(in crate::store) async fn may_be_anothers(conn: &mut Conn, unseen: &[&FiniEvent]) -> Result<bool> {
    let strangers: Vec<Option<&str>> =
        unseen.iter().filter(|event| event.role == FiniRole::User).map(|event| event.text.as_deref()).collect();
    if strangers.is_empty() {
        return Ok(false);
    }
    let looked_for = unbound::list(conn, UNBOUND).await?;
    let mut texts = looked_for.iter().filter_map(|unbound| unbound.open_text.as_deref());
    Ok(texts.any(|text| strangers.iter().any(|found| same_text(*found, text))))
}

/// Whether a snapshot lacks an event of the conversation that was seen a short while ago.
pub(in crate::store) async fn is_behind(
    conn: &mut Conn,
    key: ConversationKey,
    shown: &[FiniEvent],
    now: Timestamp,
) -> Result<bool> {
    let lately: Vec<String> =
        db::query_scalar("SELECT fini_event_id FROM marks WHERE conversation_key = $1 AND seen_at > $2")
            .bind(key.0)
            .bind(newer::expected_since(now).as_millis())
            .fetch_all(conn)
            .await?;
    let lately: Vec<FiniEventId> = lately.into_iter().map(FiniEventId::trusted).collect();
    Ok(newer::is_behind(&lately, shown.iter().map(|event| &event.id)))
}

/// Marks events as seen. A new mark that somebody else has meanwhile is an error: the transaction is run again.
pub(in crate::store) async fn mark(
    conn: &mut Conn,
    key: ConversationKey,
    seen: &Seen,
    marks: &[(FiniEventId, Option<TurnKey>, Mark)],
    now: Timestamp,
) -> Result<()> {
    for (id, turn, mark) in marks {
        let rating = (!mark.rating.is_empty()).then(|| serde_json::to_string(&mark.rating)).transpose()?;
        let content = mark.content.as_ref().map(Content::to_text);
        let query = if seen.marks.contains_key(id) {
            db::query("UPDATE marks SET rating = $2, content = $3 WHERE fini_event_id = $1")
                .bind(id.as_str())
                .bind(rating)
                .bind(content)
        } else if seen.reserved.contains(id) {
            db::query(
                "UPDATE marks SET rating = $2, content = $3, turn_key = $4, seen_at = $5 WHERE fini_event_id = $1",
            )
            .bind(id.as_str())
            .bind(rating)
            .bind(content)
            .bind(turn.map(|turn| turn.0))
            .bind(now.as_millis())
        } else {
            db::query(
                "INSERT INTO marks (fini_event_id, rating, content, conversation_key, turn_key, seen_at) \
                 VALUES ($1, $2, $3, $4, $5, $6)",
            )
            .bind(id.as_str())
            .bind(rating)
            .bind(content)
            .bind(key.0)
            .bind(turn.map(|turn| turn.0))
            .bind(now.as_millis())
        };
        query.execute(&mut *conn).await?;
    }
    Ok(())
}

/// Messages of a conversation that were sent, occupy it no more and whose event was not seen, latest first.
pub(in crate::store) const UNECHOED_TURNS: &str = "SELECT key, COALESCE(leader_key, key) AS leader, role, text, sent_at, state FROM turns WHERE conversation_key = $1 \
            AND echo IS NULL AND sent_at IS NOT NULL AND state IN ('late', 'answered', 'stored', 'failed') \
         ORDER BY key DESC LIMIT $2";

/// Messages that were sent and occupy the conversation no more, but whose own event was never seen; the latest few, oldest
/// first.
pub(in crate::store) async fn unechoed(conn: &mut Conn, conversation: &ConversationRecord) -> Result<Vec<Unechoed>> {
    let found = db::query(UNECHOED_TURNS).bind(conversation.key().0).bind(UNECHOED_ROWS).fetch_all(conn).await?;
    let mut turns: Vec<Unechoed> = Vec::new();
    for row in found.iter().rev() {
        let key = TurnKey(rows::int(row, "leader")?);
        let text = rows::text(row, "text")?;
        if let Some(turn) = turns.last_mut().filter(|turn| turn.key == key) {
            turn.text = format!("{}{}{text}", turn.text, super::in_flight::JOINT);
        } else {
            let arrived = rows::turn_state(row, "state")? != TurnState::Failed;
            let (role, sent_at) = (rows::role(row, "role")?, rows::time(row, "sent_at")?);
            turns.push(Unechoed { key, role, text, sent_at, arrived });
        }
    }
    turns.drain(..turns.len().saturating_sub(UNECHOED));
    Ok(turns)
}

/// The event of an earlier message turned up.
pub(in crate::store) async fn echoed(
    conn: &mut Conn,
    conversation: &ConversationRecord,
    turn: TurnKey,
    event: &FiniEventId,
) -> Result<()> {
    db::query(
        "UPDATE turns SET echo = $3 WHERE conversation_key = $1 AND echo IS NULL AND sent_at IS NOT NULL \
            AND (key = $2 OR leader_key = $2)",
    )
    .bind(conversation.key().0)
    .bind(turn.0)
    .bind(event.as_str())
    .execute(conn)
    .await?;
    Ok(())
}

/// Marks those of the events that nobody has seen as this conversation's, so that no other ever shows them.
pub(in crate::store) async fn reserve(conn: &mut Conn, key: ConversationKey, events: &[FiniEventId]) -> Result<()> {
    for event in events {
        db::query(
            "INSERT INTO marks (fini_event_id, conversation_key) VALUES ($1, $2) ON CONFLICT (fini_event_id) DO NOTHING",
        )
        .bind(event.as_str())
        .bind(key.0)
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}
