//! Lanes that stand still, as operators see them: three lists one after the other, each in the order of its key.

use super::{
    Conn, Row, bindings,
    db::{self, Columns as _},
    rows,
};
use crate::{
    domain::{
        Timestamp,
        blocked::{Callbacks, Messages},
        conversation::State,
        destination::Destination,
        ids::{DeliveryId, EventId},
    },
    store::{BlockedLane, Entries, Head, LeftAlone, Part, Result},
};

/// Lanes that something holds: $1 and $2 are the place at which the part before ended, $3 now, $4 the destinations left alone.
macro_rules! blocked {
    ($lanes:literal) => {
        concat!(
            "SELECT l.conversation_key AS key, l.frontend AS destination, l.due_at, l.is_retry, \
                 (SELECT c.frontend FROM conversations AS c WHERE c.key = l.conversation_key) AS frontend, \
                 (SELECT c.conversation_id FROM conversations AS c WHERE c.key = l.conversation_key) AS conversation_id, \
                 (SELECT f.hold_reason FROM frontends AS f WHERE f.frontend = l.frontend) AS hold_reason, \
                 (SELECT f.not_before FROM frontends AS f WHERE f.frontend = l.frontend) AS not_before, \
                 (SELECT d.id FROM deliveries AS d WHERE d.key = l.blocked_by AND d.state = 'dead') AS dead_letter, \
                 l.frontend",
            is_text_in!("$4"),
            " AS is_left_alone, \
                 (SELECT COUNT(*) FROM deliveries AS w WHERE w.conversation_key = l.conversation_key \
                     AND w.frontend = l.frontend AND w.state = 'pending') AS waiting \
             FROM ",
            $lanes,
            " AS l WHERE l.conversation_key >= $1 AND (l.conversation_key > $1 OR l.frontend > $2) \
               AND (l.blocked_by IS NOT NULL OR (l.is_retry = TRUE AND l.due_at > $3) \
                   OR l.frontend IN (SELECT f.frontend FROM frontends AS f WHERE f.hold_reason IS NOT NULL OR f.not_before > $3) \
                   OR l.frontend",
            is_text_in!("$4"),
            ") ORDER BY l.conversation_key, l.frontend LIMIT $5"
        )
    };
}
pub(super) const BLOCKED: [&str; 2] = [blocked!("lanes"), blocked!("destination_lanes")];

/// The head of a lane: the delivery that is owed first.
pub(super) const HEAD: &str = "SELECT id, event_id, kind, sequence, attempts, last_status, last_error, recorded_at FROM deliveries \
     WHERE conversation_key = $1 AND frontend = $2 AND state = 'pending' ORDER BY sequence LIMIT 1";

/// Conversations in which messages wait, with the message in flight that comes before them.
pub(super) const WAITING: &str = "SELECT c.key, c.frontend, c.conversation_id, c.state, c.queued, c.occupied, c.held_until, \
        c.turn_due_at, c.binding_wanted_since, c.interaction_id, c.first_sent_at, o.message_id, o.state AS open_state, \
        o.state_since, (SELECT MIN(t.accepted_at) FROM turns AS t WHERE t.conversation_key = c.key AND t.state = 'queued' \
            AND t.state IN ('queued', 'sending', 'awaiting', 'unclear')) AS since \
     FROM (SELECT DISTINCT t.conversation_key FROM turns AS t WHERE t.conversation_key > $1 AND t.state = 'queued' \
            AND t.state IN ('queued', 'sending', 'awaiting', 'unclear') ORDER BY t.conversation_key LIMIT $2) AS page \
     JOIN conversations AS c ON c.key = page.conversation_key \
     LEFT JOIN turns AS o ON o.key = (SELECT t.key FROM turns AS t WHERE t.conversation_key = c.key \
            AND t.state IN ('queued', 'sending', 'awaiting', 'unclear') AND t.state <> 'queued' AND t.leader_key IS NULL \
            ORDER BY t.key LIMIT 1) ORDER BY c.key";

/// The place at which a part begins: a list, and the row behind which to go on. As a cursor `0.17.web`.
struct Place {
    list: usize,
    key: i64,
    name: String,
}

/// The lists: both tables of lanes, and the messages.
const LISTS: usize = BLOCKED.len() + 1;

impl Place {
    fn start_of(list: usize) -> Self {
        Self { list, key: 0, name: String::new() }
    }

    fn parse(cursor: &str) -> Option<Self> {
        let mut parts = cursor.splitn(3, '.');
        let list = parts.next()?.parse().ok().filter(|list| *list < LISTS)?;
        Some(Self { list, key: parts.next()?.parse().ok()?, name: parts.next()?.to_owned() })
    }

    fn cursor(&self) -> String {
        format!("{}.{}.{}", self.list, self.key, self.name)
    }
}

pub(super) async fn list(
    conn: &mut Conn,
    alone: &LeftAlone,
    part: &Part,
    now: Timestamp,
) -> Result<Entries<BlockedLane>> {
    let begin = part.cursor.as_deref().map_or_else(|| Some(Place::start_of(0)), Place::parse);
    let Some(mut place) = begin else { return Ok(Entries { entries: Vec::new(), next_cursor: None }) };
    let mut entries = Vec::new();
    loop {
        let room = part.limit.max(1).saturating_sub(entries.len());
        let limit = i64::try_from(room).unwrap_or(i64::MAX);
        let found = if place.list < BLOCKED.len() {
            callbacks(conn, alone, &place, now, limit).await?
        } else {
            messages(conn, place.key, limit).await?
        };
        for row in &found {
            let lane = if place.list < BLOCKED.len() {
                of_callbacks(conn, row, now).await?
            } else {
                of_messages(row, alone, now)?
            };
            entries.extend(lane);
        }
        let is_over = found.len() < room;
        if let Some(last) = found.last() {
            place.key = rows::int(last, "key")?;
            place.name = if place.list < BLOCKED.len() { rows::text(last, "destination")? } else { String::new() };
        }
        if is_over {
            place = Place::start_of(place.list + 1);
        }
        if place.list == LISTS || entries.len() >= part.limit || !is_over {
            break;
        }
    }
    Ok(Entries { entries, next_cursor: (place.list < LISTS).then(|| place.cursor()) })
}

async fn callbacks(conn: &mut Conn, alone: &LeftAlone, place: &Place, now: Timestamp, limit: i64) -> Result<Vec<Row>> {
    let found = db::query(BLOCKED[place.list])
        .bind(place.key)
        .bind(place.name.as_str())
        .bind(now.as_millis())
        .bind(rows::array(alone.destinations.iter().map(ToString::to_string))?)
        .bind(limit)
        .fetch_all(conn)
        .await?;
    Ok(found)
}

async fn messages(conn: &mut Conn, after: i64, limit: i64) -> Result<Vec<Row>> {
    Ok(db::query(WAITING).bind(after).bind(limit).fetch_all(conn).await?)
}

async fn of_callbacks(conn: &mut Conn, row: &Row, now: Timestamp) -> Result<Option<BlockedLane>> {
    let dead_letter = rows::maybe_text(row, "dead_letter")?.map(DeliveryId::trusted);
    let lane = Callbacks {
        is_paused: rows::maybe_text(row, "hold_reason")?.is_some(),
        waits_for_dead_letter: dead_letter.is_some(),
        is_left_alone: rows::flag(row, "is_left_alone")?,
        not_before: rows::maybe_time(row, "not_before")?,
        due_at: rows::maybe_time(row, "due_at")?,
        is_retry: rows::flag(row, "is_retry")?,
    };
    let Some(standstill) = lane.standstill(now) else { return Ok(None) };
    let name = rows::text(row, "destination")?;
    let found = db::query(HEAD).bind(rows::int(row, "key")?).bind(name.as_str()).fetch_optional(conn).await?;
    let (head, since) = match &found {
        None => (None, None),
        Some(row) => (Some(head(row)?), Some(rows::time(row, "recorded_at")?)),
    };
    Ok(Some(BlockedLane {
        conversation: bindings::reference(row)?,
        destination: Some(Destination::recorded(&name)),
        standstill,
        waiting: rows::count(row, "waiting")?,
        since,
        head,
        dead_letter,
        open: None,
    }))
}

fn head(row: &Row) -> Result<Head> {
    Ok(Head {
        id: DeliveryId::trusted(rows::text(row, "id")?),
        event_id: EventId::trusted(rows::text(row, "event_id")?),
        sequence: rows::int(row, "sequence")?,
        kind: rows::text(row, "kind")?,
        attempts: rows::small(row, "attempts")?,
        last_status: rows::maybe_int(row, "last_status")?.and_then(|status| u16::try_from(status).ok()),
        last_error: rows::maybe_text(row, "last_error")?,
    })
}

fn of_messages(row: &Row, alone: &LeftAlone, now: Timestamp) -> Result<Option<BlockedLane>> {
    let of = bindings::reference(row)?;
    let is_unbound = rows::maybe_text(row, "interaction_id")?.is_none();
    let state = rows::state(row, "state")?;
    let messages = Messages {
        is_quarantined: state == State::Quarantined,
        is_occupied: rows::flag(row, "occupied")?,
        held_until: rows::maybe_time(row, "held_until")?,
        is_looked_for: rows::maybe_time(row, "binding_wanted_since")?.is_some()
            || (is_unbound && rows::maybe_time(row, "first_sent_at")?.is_some() && state != State::Continued),
        is_left_alone: alone.frontends.contains(&of.frontend),
        budget_is_used_up: alone.budget,
        due_at: rows::maybe_time(row, "turn_due_at")?,
    };
    let open = match row.try_get::<Option<String>, _>("open_state")? {
        None => None,
        Some(_) => Some((
            rows::message_id(row, "message_id")?,
            rows::turn_state(row, "open_state")?,
            rows::time(row, "state_since")?,
        )),
    };
    let Some(standstill) = messages.standstill(now) else { return Ok(None) };
    Ok(Some(BlockedLane {
        conversation: of,
        destination: None,
        standstill,
        waiting: rows::count(row, "queued")?,
        since: rows::maybe_time(row, "since")?,
        head: None,
        dead_letter: None,
        open,
    }))
}
