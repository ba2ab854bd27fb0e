//! The evidence about Fini: events seen before, and sent messages whose own event was never seen; with them, the owners of a
//! snapshot's events.
//!
//! Invariant: an event belongs to the first conversation that saw it, for ever; for any other it does not exist. An event that
//! is only reserved for one, without proof, belongs to the conversation for which an answer of Fini's names it.

use std::collections::{HashMap, HashSet};

use super::{
    Conn, Cx, continued,
    db::{self, Columns as _, QueryBuilder},
    erased,
    in_flight::{self, InFlight, JOINT},
    records::ConversationRecord,
    rows,
};
use crate::{
    domain::{
        Timestamp,
        content::Content,
        conversation::State,
        evidence::{
            newer,
            news::{self, Began, Novelty},
            own::{self, Attribution, CLOCK_MARGIN, Facts, SeenBy, Unseen, Whose, Wording},
        },
        ids::{ConversationKey, FiniEventId, InteractionId, TurnKey},
        observation::{SeenEvent, UnseenMessage},
        turn::TurnState,
        vendor::{FiniEvent, FiniKind, FiniRole},
    },
    store::Result,
};

/// The most rows searched for earlier messages without an event of their own; joined ones take several.
const UNSEEN_ROWS: i64 = 40;
/// The most such messages that are still expected to turn up.
const UNSEEN: usize = 5;
/// Time by which Fini's reads show a message, and our attributes.
const SHOWN_WITHIN: std::time::Duration = newer::LIST_LAG.saturating_mul(2);
/// The longest time after its sending for which somebody else's message is still considered. One that was given up is
/// forgotten far earlier.
pub(in crate::store) const UNSEEN_FOR: std::time::Duration = std::time::Duration::from_hours(24);

/// The record about the events of an observation.
#[derive(Debug, Default)]
pub(in crate::store) struct Seen {
    /// Events that the conversation saw before.
    pub(in crate::store) events: HashMap<FiniEventId, SeenEvent>,
    /// The conversation that saw each event seen before.
    by: HashMap<FiniEventId, SeenBy>,
    /// Those of these conversations that were erased since.
    erased: HashSet<ConversationKey>,
    /// Events that were only reserved for a conversation, this one included, before its own response named them.
    reserved: HashSet<FiniEventId>,
}

impl Seen {
    /// Returns true if a response may name the event for the conversation: nobody else has it with proof.
    pub(in crate::store) fn may_be_named(&self, event: &FiniEventId) -> bool {
        self.events.contains_key(event) || self.reserved.contains(event) || !self.by.contains_key(event)
    }
}

/// Those of the events that some conversation saw before.
pub(in crate::store) const MARKED: &str = concat!(
    "SELECT m.fini_event_id, m.conversation_key, m.turn_key, m.rating, m.content, m.withheld, \
        (SELECT t.state FROM turns t WHERE t.key = m.turn_key) AS turn_state, \
        (SELECT c.erased_at FROM conversations c WHERE c.key = m.conversation_key) AS erased_at \
     FROM marks m WHERE m.fini_event_id",
    is_text_in!("$1")
);

/// Loads the record about these events, for the response to a message of the conversation or for a snapshot.
pub(in crate::store) async fn seen(
    conn: &mut Conn,
    conversation: &ConversationRecord,
    events: &[FiniEvent],
    is_response: bool,
) -> Result<Seen> {
    let mut seen = Seen::default();
    if events.is_empty() {
        return Ok(seen);
    }
    let found = db::query(MARKED).bind(rows::array(events.iter().map(|event| &event.id))?).fetch_all(conn).await?;
    for row in &found {
        let id = FiniEventId::trusted(rows::text(row, "fini_event_id")?);
        let by = ConversationKey(rows::int(row, "conversation_key")?);
        let is_own = by == conversation.key();
        // In quarantine it sees only its own responses, whose events belong to their turn: an event without a turn is reserved.
        let was_set_aside = is_own && conversation.standing.state == State::Quarantined;
        let has_turn = row.try_get::<Option<i64>, _>("turn_key")?.is_some();
        let withheld = rows::flag(row, "withheld")? || (was_set_aside && !has_turn);
        if is_response && withheld {
            seen.reserved.insert(id.clone());
        } else if is_own {
            let rating = rows::maybe_text(row, "rating")?.map(|rating| serde_json::from_str(&rating)).transpose()?;
            let content = rows::maybe_text(row, "content")?.and_then(|content| Content::parse(&content));
            seen.events.insert(id.clone(), SeenEvent { rating: rating.unwrap_or_default(), content });
        }
        if rows::maybe_time(row, "erased_at")?.is_some() {
            seen.erased.insert(by);
        }
        let turn = rows::maybe_text(row, "turn_state")?.as_deref().and_then(TurnState::parse);
        seen.by.insert(id, SeenBy { conversation: by, withheld, turn });
    }
    Ok(seen)
}

/// The parts of a snapshot of a Fini conversation that tell its owner.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Snapshot<'a> {
    pub(in crate::store) interaction: &'a InteractionId,
    pub(in crate::store) created_at: Timestamp,
    pub(in crate::store) events: &'a [FiniEvent],
    /// True if it cannot be cut.
    pub(in crate::store) is_whole: bool,
    /// Our key of the latest turn that reached it, if Fini returned the attribute.
    pub(in crate::store) turn_attribute: Option<&'a str>,
}

/// A snapshot as it is to a conversation that is bound to it, or would be.
#[derive(Debug)]
pub(in crate::store) struct Weighed {
    /// The owner of each of its events.
    pub(in crate::store) attribution: Attribution,
    /// The part of it that is new.
    pub(in crate::store) novelty: Novelty,
    /// Conversations that have something in it, or may have, and were erased here.
    pub(in crate::store) erased: HashSet<ConversationKey>,
}

/// Finds the owner of each event of a snapshot, and the events that are new to the conversation.
pub(in crate::store) async fn weigh(
    conn: &mut Conn,
    conversation: &ConversationRecord,
    turn: Option<&InFlight>,
    unseen_messages: &[UnseenMessage],
    seen: &Seen,
    snapshot: Snapshot<'_>,
    now: Timestamp,
) -> Result<Weighed> {
    let in_flight = turn.filter(|turn| turn.progress.own_event.is_none());
    let unseen_turns = unseen_messages.iter().map(|earlier| earlier.key).chain(in_flight.map(|turn| turn.key));
    let began = Began {
        may_be_earlier: may_be_earlier(conn, conversation, unseen_turns.min()).await?,
        ..conversation.began(now)
    };
    // If everything in it came after its own first message, an equal text needs no time of its own.
    let is_all_own = began.own_since.is_some() && !began.has_past;
    let own = |turn, role, text: &str, sent_at: Timestamp, state| Unseen {
        conversation: conversation.key(),
        turn,
        role,
        text: Wording::Text(text.to_owned()),
        state,
        shares: false,
        not_before: if is_all_own { Timestamp::ZERO } else { sent_at.minus(CLOCK_MARGIN) },
        not_after: Timestamp::MAX,
    };
    let mut unseen: Vec<Unseen> =
        in_flight.iter().map(|turn| own(turn.key, turn.role, &turn.text, turn.sent_at, turn.state)).collect();
    unseen.extend(unseen_messages.iter().map(|earlier| {
        let state = if earlier.arrived { TurnState::Answered } else { TurnState::Failed };
        own(earlier.key, earlier.role, &earlier.text, earlier.sent_at, state)
    }));
    let is_message = |event: &&FiniEvent| {
        event.kind == FiniKind::Message
            && !seen.by.contains_key(&event.id)
            && matches!(event.role, FiniRole::User | FiniRole::Agent | FiniRole::OtherBot)
    };
    if let Some(oldest) = snapshot.events.iter().filter(is_message).map(|event| event.created_at).min() {
        let seen_at = oldest.min(now);
        unseen.extend(of_others(conn, conversation.key(), snapshot.interaction, seen_at).await?);
        unseen.extend(erased::messages(conn, seen_at.minus(UNSEEN_FOR), now).await?);
    }
    let is_erased = |message: &&Unseen| matches!(message.text, Wording::Digest(_));
    let erased_unseen = unseen.iter().filter(is_erased).map(|message| message.conversation);
    let erased: HashSet<ConversationKey> = seen.erased.iter().copied().chain(erased_unseen).collect();
    let has_others = seen.by.values().any(|by| by.conversation != conversation.key())
        || unseen.iter().any(|message| message.conversation != conversation.key());
    let companions = if has_others { continued::companions(conn, snapshot.interaction).await? } else { Vec::new() };
    // The attribute names no send whose response may still come, or that Fini's reads may not show yet.
    let is_past = |turn: &&InFlight| turn.state != TurnState::Sending && now >= turn.sent_at.plus(SHOWN_WITHIN);
    let is_named = |turn: &&InFlight| snapshot.turn_attribute == Some(turn.attribute.as_str());
    let facts = Facts {
        named: in_flight.filter(is_past).filter(is_named).map(|turn| turn.key),
        owner: conversation.key(),
        owner_is_answered: turn.is_some_and(|turn| turn.state == TurnState::Sending),
        seen: &seen.by,
        unseen: &unseen,
        companions: &companions,
        is_cut: !snapshot.is_whole && news::is_cut(snapshot.created_at, snapshot.events),
    };
    let attribution = own::attribute(snapshot.events, &facts);
    let novelty = news::novelty(snapshot.created_at, snapshot.events, &attribution.whose, began, &erased);
    Ok(Weighed { attribution, novelty, erased })
}

/// Returns true if the first of a conversation's messages whose event was not seen was sent before those whose event was: then
/// the conversation may have begun with it.
async fn may_be_earlier(conn: &mut Conn, conversation: &ConversationRecord, unseen: Option<TurnKey>) -> Result<bool> {
    let (Some(unseen), Some(since)) = (unseen, conversation.first_sent_at) else { return Ok(false) };
    let seen: Option<i64> = db::query_scalar(
        "SELECT MIN(key) FROM turns WHERE conversation_key = $1 AND echo IS NOT NULL AND sent_at >= $2",
    )
    .bind(conversation.key().0)
    .bind(since.as_millis())
    .fetch_one(conn)
    .await?;
    Ok(seen.is_some_and(|seen| unseen.0 < seen))
}

/// Messages of other conversations that may stand in a Fini conversation without their event having been seen: conversations
/// whose own is not known, was another one when they were sent, or is known to be this one. A quarantined one's is known.
pub(in crate::store) const OF_OTHERS: &str = "SELECT COALESCE(t.leader_key, t.key) AS leader, t.conversation_key, t.role, t.text, t.sent_at, t.state, \
        COALESCE(c.shared_interaction_id = $2, FALSE) AS shares FROM turns t JOIN conversations c ON c.key = t.conversation_key \
     WHERE t.echo IS NULL AND t.sent_at IS NOT NULL AND t.sent_at >= $3 AND t.conversation_key <> $1 \
        AND (c.interaction_id IS NULL AND (c.state <> 'quarantined' OR c.shared_interaction_id IS NULL) \
             OR t.sent_at < c.first_sent_at OR c.shared_interaction_id = $2) \
     ORDER BY leader, t.key";

async fn of_others(
    conn: &mut Conn,
    conversation: ConversationKey,
    interaction: &InteractionId,
    seen_at: Timestamp,
) -> Result<Vec<Unseen>> {
    let found = db::query(OF_OTHERS)
        .bind(conversation.0)
        .bind(interaction.as_str())
        .bind(seen_at.minus(UNSEEN_FOR).as_millis())
        .fetch_all(conn)
        .await?;
    let mut unseen: Vec<Unseen> = Vec::new();
    for row in &found {
        let (turn, text) = (TurnKey(rows::int(row, "leader")?), rows::text(row, "text")?);
        if let Some(Unseen { text: Wording::Text(joined), .. }) = unseen.last_mut().filter(|one| one.turn == turn) {
            *joined = format!("{joined}{JOINT}{text}");
            continue;
        }
        let (state, shares) = (rows::turn_state(row, "state")?, rows::flag(row, "shares")?);
        let (not_before, not_after) = Unseen::window(rows::time(row, "sent_at")?, state, shares);
        unseen.push(Unseen {
            conversation: ConversationKey(rows::int(row, "conversation_key")?),
            turn,
            role: rows::role(row, "role")?,
            text: Wording::Text(text),
            state,
            shares,
            not_before,
            not_after,
        });
    }
    Ok(unseen)
}

/// Reserves for others the events that are theirs, or may be, so that these never reach anybody else, whatever is learnt
/// later. Returns the number of events withheld from everybody.
pub(in crate::store) async fn reserve(
    conn: &mut Conn,
    cx: &Cx,
    events: &[FiniEvent],
    attribution: &Attribution,
    seen: &Seen,
    look_at: Timestamp,
    now: Timestamp,
) -> Result<usize> {
    let mut withheld = 0;
    for (event, whose) in events.iter().zip(&attribution.whose) {
        let (conversation, turn) = match whose {
            Whose::Others(conversation, turn @ Some(_)) => (*conversation, *turn),
            Whose::Withheld(conversation) => (*conversation, None),
            _ => continue,
        };
        if seen.by.contains_key(&event.id) {
            continue;
        }
        db::query("INSERT INTO marks (fini_event_id, conversation_key, turn_key, withheld) VALUES ($1, $2, $3, TRUE)")
            .bind(event.id.as_str())
            .bind(conversation.0)
            .bind(turn.map(|turn| turn.0))
            .execute(&mut *conn)
            .await?;
        match turn {
            Some(turn) => in_flight::found_elsewhere(conn, cx, turn, &event.id, look_at, now).await?,
            None => withheld += 1,
        }
    }
    Ok(withheld)
}

/// Returns true if a snapshot lacks an event of the conversation that was seen a short while ago.
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

/// Marks events as seen. A new mark that somebody else has made meanwhile is an error: the transaction is run again.
pub(in crate::store) async fn mark(
    conn: &mut Conn,
    key: ConversationKey,
    seen: &Seen,
    seen_events: &[(FiniEventId, Option<TurnKey>, SeenEvent)],
    now: Timestamp,
) -> Result<()> {
    let mut new = Vec::new();
    for (id, turn, mark) in seen_events {
        let rating = (!mark.rating.is_empty()).then(|| serde_json::to_string(&mark.rating)).transpose()?;
        let content = mark.content.as_ref().map(Content::to_text);
        let query = if seen.events.contains_key(id) {
            db::query("UPDATE marks SET rating = $2, content = $3 WHERE fini_event_id = $1")
                .bind(id.as_str())
                .bind(rating)
                .bind(content)
        } else if seen.reserved.contains(id) {
            db::query(
                "UPDATE marks SET rating = $2, content = $3, conversation_key = $4, turn_key = $5, seen_at = $6, \
                    withheld = FALSE WHERE fini_event_id = $1",
            )
            .bind(id.as_str())
            .bind(rating)
            .bind(content)
            .bind(key.0)
            .bind(turn.map(|turn| turn.0))
            .bind(now.as_millis())
        } else {
            new.push((id.as_str().to_owned(), rating, content, turn.map(|turn| turn.0)));
            continue;
        };
        query.execute(&mut *conn).await?;
    }
    for new in rows::parts(&new) {
        insert_marks(conn, key, new, now).await?;
    }
    Ok(())
}

/// A mark's event, rating, content and turn.
type NewMark = (String, Option<String>, Option<String>, Option<i64>);

async fn insert_marks(conn: &mut Conn, key: ConversationKey, new: &[NewMark], now: Timestamp) -> Result<()> {
    let mut query = QueryBuilder::new(
        "INSERT INTO marks (fini_event_id, rating, content, conversation_key, turn_key, seen_at) VALUES ",
    );
    for (number, (id, rating, content, turn)) in new.iter().enumerate() {
        query.push(if number == 0 { "(" } else { ", (" }).push_bind(id.clone());
        query.push(", ").push_bind(rating.clone());
        query.push(", ").push_bind(content.clone());
        query.push(", ").push_bind(key.0);
        query.push(", ").push_bind(*turn);
        query.push(", ").push_bind(now.as_millis());
        query.push(")");
    }
    query.build().execute(conn).await?;
    Ok(())
}

/// Messages of a conversation that were sent, no longer occupy it and whose event was not seen, latest first.
pub(in crate::store) const UNSEEN_TURNS: &str = "SELECT key, COALESCE(leader_key, key) AS leader, role, text, sent_at, state FROM turns WHERE conversation_key = $1 \
            AND echo IS NULL AND sent_at IS NOT NULL AND state IN ('late', 'answered', 'stored', 'failed') \
         ORDER BY key DESC LIMIT $2";

/// Loads messages that were sent and no longer occupy the conversation, but whose own event was never seen; the latest few,
/// oldest first.
pub(in crate::store) async fn unseen_messages(
    conn: &mut Conn,
    conversation: &ConversationRecord,
) -> Result<Vec<UnseenMessage>> {
    let found = db::query(UNSEEN_TURNS).bind(conversation.key().0).bind(UNSEEN_ROWS).fetch_all(conn).await?;
    let mut turns: Vec<UnseenMessage> = Vec::new();
    for row in found.iter().rev() {
        let key = TurnKey(rows::int(row, "leader")?);
        let text = rows::text(row, "text")?;
        if let Some(turn) = turns.last_mut().filter(|turn| turn.key == key) {
            turn.text = format!("{}{}{text}", turn.text, JOINT);
        } else {
            let arrived = rows::turn_state(row, "state")? != TurnState::Failed;
            let (role, sent_at) = (rows::role(row, "role")?, rows::time(row, "sent_at")?);
            turns.push(UnseenMessage { key, role, text, sent_at, arrived });
        }
    }
    turns.drain(..turns.len().saturating_sub(UNSEEN));
    Ok(turns)
}

/// Records the event of an earlier message, which turned up.
pub(in crate::store) async fn own_event_seen(
    conn: &mut Conn,
    conversation: ConversationKey,
    turn: TurnKey,
    event: &FiniEventId,
) -> Result<()> {
    db::query(
        "UPDATE turns SET echo = $3 WHERE conversation_key = $1 AND echo IS NULL AND sent_at IS NOT NULL \
            AND (key = $2 OR leader_key = $2)",
    )
    .bind(conversation.0)
    .bind(turn.0)
    .bind(event.as_str())
    .execute(conn)
    .await?;
    Ok(())
}
