//! Lanes that stand still, as operators see them: three lists one after the other, each in the order of its key.

use super::{
    Conn, Row, bindings,
    db::{self, Columns as _},
    rows,
};
use crate::{
    domain::{
        Timestamp,
        blocked::{Callbacks, Messages, Standstill},
        conversation::State,
        destination::Destination,
        ids::{DeliveryId, EventId},
    },
    store::{BlockedLane, Entries, Head, LeftAlone, Part, Result},
};

/// Lanes that something holds: $1 and $2 where the part before ended, $3 now, $4 the destinations that are left alone.
macro_rules! blocked {
    ($lanes:literal) => {
        concat!(
            "SELECT l.conversation_key AS key, c.frontend, c.conversation_id, l.frontend AS destination, l.due_at, l.is_retry, \
                 f.hold_reason, f.not_before, letter.id AS dead_letter, d.id, d.event_id, d.kind, d.sequence, d.attempts, \
                 d.last_status, d.last_error, COALESCE(d.recorded_at, letter.recorded_at, c.created_at) AS since, \
                 l.frontend",
            is_text_in!("$4"),
            " AS is_left_alone, \
                 (SELECT COUNT(*) FROM deliveries AS w WHERE w.conversation_key = l.conversation_key \
                     AND w.frontend = l.frontend AND w.state = 'pending') AS waiting \
             FROM ",
            $lanes,
            " AS l JOIN conversations AS c ON c.key = l.conversation_key \
             LEFT JOIN frontends AS f ON f.frontend = l.frontend \
             LEFT JOIN deliveries AS letter ON letter.key = l.blocked_by AND letter.state = 'dead' \
             LEFT JOIN deliveries AS d ON d.key = (SELECT h.key FROM deliveries AS h \
                 WHERE h.conversation_key = l.conversation_key AND h.frontend = l.frontend AND h.state = 'pending' \
                 ORDER BY h.sequence LIMIT 1) \
             WHERE l.conversation_key >= $1 AND (l.conversation_key > $1 OR l.frontend > $2) \
               AND (l.blocked_by IS NOT NULL OR f.hold_reason IS NOT NULL OR f.not_before > $3 \
                   OR (l.is_retry = TRUE AND l.due_at > $3) OR l.frontend",
            is_text_in!("$4"),
            ") ORDER BY l.conversation_key, l.frontend LIMIT $5"
        )
    };
}
pub(super) const BLOCKED: [&str; 2] = [blocked!("lanes"), blocked!("destination_lanes")];

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

/// Where a part begins: which list, and behind which row of it. As a cursor `0.17.web`.
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
            let lane = if place.list < BLOCKED.len() { of_callbacks(row, now)? } else { of_messages(row, alone, now)? };
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

fn of_callbacks(row: &Row, now: Timestamp) -> Result<Option<BlockedLane>> {
    let dead_letter = rows::maybe_text(row, "dead_letter")?.map(DeliveryId::trusted);
    let lane = Callbacks {
        is_paused: rows::maybe_text(row, "hold_reason")?.is_some(),
        waits_for_dead_letter: dead_letter.is_some(),
        is_left_alone: rows::flag(row, "is_left_alone")?,
        not_before: rows::maybe_time(row, "not_before")?,
        due_at: rows::maybe_time(row, "due_at")?,
        is_retry: rows::flag(row, "is_retry")?,
    };
    let head = match rows::maybe_text(row, "id")? {
        None => None,
        Some(id) => Some(Head {
            id: DeliveryId::trusted(id),
            event_id: EventId::trusted(rows::text(row, "event_id")?),
            sequence: rows::int(row, "sequence")?,
            kind: rows::text(row, "kind")?,
            attempts: rows::small(row, "attempts")?,
            last_status: rows::maybe_int(row, "last_status")?.and_then(|status| u16::try_from(status).ok()),
            last_error: rows::maybe_text(row, "last_error")?,
        }),
    };
    let destination = Some(Destination::recorded(&rows::text(row, "destination")?));
    let waiting = rows::count(row, "waiting")?;
    held(row, lane.standstill(now), |lane| BlockedLane { destination, waiting, head, dead_letter, ..lane })
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
    let waiting = rows::count(row, "queued")?;
    held(row, messages.standstill(now), |lane| BlockedLane { waiting, open, ..lane })
}

/// The lane of a row, if something holds it.
fn held(
    row: &Row,
    standstill: Option<Standstill>,
    complete: impl FnOnce(BlockedLane) -> BlockedLane,
) -> Result<Option<BlockedLane>> {
    let Some(standstill) = standstill else { return Ok(None) };
    Ok(Some(complete(BlockedLane {
        conversation: bindings::reference(row)?,
        destination: None,
        standstill,
        waiting: 0,
        since: rows::time(row, "since")?,
        head: None,
        dead_letter: None,
        open: None,
    })))
}
