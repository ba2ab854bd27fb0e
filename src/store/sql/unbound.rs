//! Conversations that look for their Fini conversation, with the evidence that identifies it.

use std::collections::HashMap;

use super::{Conn, bindings, db, in_flight::JOINT, rows};
use crate::{
    domain::{Timestamp, ids::FiniEventId},
    store::{Open, Result, Unbound, UnboundSummary},
};

/// Conversations that look for their Fini conversation, by the index of those that do.
macro_rules! looked_for {
    () => {
        "interaction_id IS NULL AND first_sent_at IS NOT NULL AND state NOT IN ('quarantined', 'continued') AND erased_at IS NULL"
    };
}
pub(in crate::store) use looked_for;

/// Conversations for which something was sent while their Fini conversation is unknown.
pub(in crate::store) const LOOKED_FOR: &str = concat!(
    "SELECT key, frontend, conversation_id, attribute, first_sent_at, own_since, binding_look_at, binding_looks, \
            COALESCE(binding_wanted_since, first_sent_at) AS wanted_since, \
            queued > 0 AND NOT EXISTS (SELECT 1 FROM turns t WHERE t.conversation_key = conversations.key \
                AND t.role = 'user' AND t.sent_at >= conversations.first_sent_at) AS waits_unlisted FROM conversations \
         WHERE ",
    looked_for!(),
    " ORDER BY first_sent_at LIMIT $1"
);

/// Lists conversations for which something was sent, but that are not bound: from the moment of the claim on, so that a sweep
/// that is faster than Fini's response can tell the owner of a new Fini conversation. Until its binding is wanted, nobody has
/// to look for it.
pub(in crate::store) async fn list(conn: &mut Conn, limit: usize) -> Result<Vec<Unbound>> {
    let found = db::query(LOOKED_FOR).bind(i64::try_from(limit).unwrap_or(i64::MAX)).fetch_all(&mut *conn).await?;
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let keys = found.iter().map(|row| rows::int(row, "key")).collect::<Result<Vec<_>>>()?;
    let keys = rows::array(keys)?;
    let mut events = events(conn, &keys).await?;
    let mut open = open(conn, &keys).await?;
    found
        .iter()
        .map(|row| {
            let conversation = bindings::reference(row)?;
            let key = conversation.key.0;
            Ok(Unbound {
                conversation,
                attribute: rows::text(row, "attribute")?,
                events: events.remove(&key).unwrap_or_default(),
                open: open.remove(&key),
                own_since: rows::maybe_time(row, "own_since")?,
                first_sent_at: rows::time(row, "first_sent_at")?,
                wanted_since: rows::time(row, "wanted_since")?,
                look_at: rows::maybe_time(row, "binding_look_at")?.unwrap_or(Timestamp::MAX),
                looks: rows::small(row, "binding_looks")?,
                waits_unlisted: rows::flag(row, "waits_unlisted")?,
            })
        })
        .collect()
}

/// The totals over them.
pub(in crate::store) const SUMMARY: &str = concat!(
    "SELECT COUNT(*) AS unbound, MIN(look_at) AS look_at, \
         MIN(CASE WHEN look_at <= $1 THEN first_sent_at END) AS due_since \
     FROM (SELECT first_sent_at, binding_look_at AS look_at FROM conversations \
         WHERE ",
    looked_for!(),
    " ORDER BY first_sent_at LIMIT $2) AS oldest"
);

/// Reads the totals over the conversations of [`list`].
pub(in crate::store) async fn summary(conn: &mut Conn, now: Timestamp, limit: usize) -> Result<UnboundSummary> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let row = db::query(SUMMARY).bind(now.as_millis()).bind(limit).fetch_one(conn).await?;
    Ok(UnboundSummary {
        count: rows::count(&row, "unbound")?,
        due_since: rows::maybe_time(&row, "due_since")?,
        look_at: rows::maybe_time(&row, "look_at")?,
    })
}

/// Fini's events that responses named. Turns before the first send belong to a Fini conversation that was lost.
pub(in crate::store) const EVENTS: &str = concat!(
    "SELECT m.conversation_key, m.fini_event_id FROM marks m WHERE m.conversation_key",
    is_key_in!("$1"),
    " AND (SELECT t.sent_at FROM turns t WHERE t.key = m.turn_key) \
        >= (SELECT c.first_sent_at FROM conversations c WHERE c.key = m.conversation_key)"
);

async fn events(conn: &mut Conn, keys: &str) -> Result<HashMap<i64, Vec<FiniEventId>>> {
    let found = db::query(EVENTS).bind(keys).fetch_all(conn).await?;
    let mut events: HashMap<i64, Vec<FiniEventId>> = HashMap::new();
    for row in &found {
        let event = FiniEventId::trusted(rows::text(row, "fini_event_id")?);
        events.entry(rows::int(row, "conversation_key")?).or_default().push(event);
    }
    Ok(events)
}

/// The messages that may be in Fini without an answer of Fini's on record.
pub(in crate::store) const OPEN: &str = concat!(
    "SELECT conversation_key, role, text, COALESCE(sent_at, state_since) AS sent_at FROM turns WHERE state IN ('queued', 'sending', 'awaiting', 'unclear') \
        AND state IN ('sending', 'unclear') AND echo IS NULL AND conversation_key",
    is_key_in!("$1"),
    " ORDER BY key"
);

/// The messages that were given up without being seen. One that began a Fini conversation began it all the same: without its
/// message a key alone would not tell the owner.
pub(in crate::store) const GIVEN_UP: &str = concat!(
    "SELECT t.conversation_key, t.role, t.text, t.sent_at FROM turns t WHERE t.echo IS NULL AND t.sent_at IS NOT NULL \
        AND t.state = 'failed' AND t.conversation_key",
    is_key_in!("$1"),
    " AND t.sent_at >= (SELECT c.first_sent_at FROM conversations c WHERE c.key = t.conversation_key) ORDER BY t.key"
);

async fn open(conn: &mut Conn, keys: &str) -> Result<HashMap<i64, Open>> {
    let mut all: HashMap<i64, Open> = HashMap::new();
    for (query, is_given_up) in [(OPEN, false), (GIVEN_UP, true)] {
        let found = db::query(query).bind(keys).fetch_all(&mut *conn).await?;
        for row in &found {
            let (key, text) = (rows::int(row, "conversation_key")?, rows::text(row, "text")?);
            match all.get_mut(&key) {
                Some(open) if open.is_given_up == is_given_up => open.text = format!("{}{JOINT}{text}", open.text),
                Some(_) => {}
                None => {
                    let (role, sent_at) = (rows::role(row, "role")?, rows::time(row, "sent_at")?);
                    all.insert(key, Open { role, text, sent_at, is_given_up });
                }
            }
        }
    }
    Ok(all)
}
