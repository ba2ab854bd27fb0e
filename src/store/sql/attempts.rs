//! Attempts at callbacks: claiming the heads of lanes, and recording the result of an attempt.
//!
//! Invariants: only the head of a lane is ever handed out, and only to the holder of the lane's token; a completion under
//! another token changes nothing. So callbacks of a conversation leave in order and one at a time, whatever dies when.
//!
//! A dead letter that was given up with `hold_lane` blocks its lane: nothing of that conversation is attempted until the
//! dead letter itself is replayed, pruned at the end of its retention, or erased with its conversation.

use std::collections::{HashMap, HashSet};

use super::{Conn, Cx, Row, db, lanes, rows, tries};
use crate::{
    domain::{
        Timestamp,
        destination::Destination,
        ids::{ConversationId, ConversationKey, DeliveryId, EventId},
    },
    store::{
        Change, ClaimDeliveries, ClaimedDelivery, ConversationRef, DeliveryOutcome, FinishDelivery, Finished, Result,
        Token,
    },
};

/// The head of a lane with all that an attempt needs; the tables are called `lane`, `head`, `event`, `conversation`
/// and `cause`, the turn that the event belongs to.
macro_rules! select_head {
    ($lanes:literal) => {
        concat!(
            "SELECT head.id, head.event_id, head.sequence, head.kind, head.recorded_at, head.due_at, \
                 COALESCE(head.owed_since, head.recorded_at) AS owed_since, head.attempts - head.attempts_before AS spent, \
                 event.body, lane.conversation_key, lane.frontend, conversation.conversation_id, cause.request_id, \
                 cause.traceparent \
             FROM ",
            $lanes,
            " AS lane \
             JOIN deliveries AS head ON head.key = (SELECT d.key FROM deliveries AS d \
                 WHERE d.conversation_key = lane.conversation_key AND d.frontend = lane.frontend AND d.state = 'pending' \
                 ORDER BY d.sequence LIMIT 1) \
             JOIN events AS event ON event.conversation_key = head.conversation_key AND event.sequence = head.sequence \
             JOIN conversations AS conversation ON conversation.key = lane.conversation_key \
             LEFT JOIN turns AS cause ON cause.key = event.turn_key"
        )
    };
}
macro_rules! heads {
    ($lanes:literal) => {
        concat!(
            select_head!($lanes),
            " WHERE lane.lease_until = $1 AND lane.token = $2 AND head.due_at <= $3 \
              ORDER BY lane.due_at, lane.is_retry, lane.conversation_key"
        )
    };
}
/// The heads of the lanes that a claim has just leased.
pub(super) const HEADS: [&str; 2] = [heads!("lanes"), heads!("destination_lanes")];

/// Leases due lanes and returns their heads in the order in which they fell due.
pub(super) async fn claim(conn: &mut Conn, claim: &ClaimDeliveries) -> Result<Vec<ClaimedDelivery>> {
    // One token for all lanes of a claim is enough: the next claim of any of them brings another one.
    let token = &claim.token;
    let mut leased: HashMap<Destination, HashSet<i64>> = HashMap::new();
    for permits in claim.permits.iter().filter(|permits| permits.first > 0) {
        let keys = lanes::lease(conn, token, &claim.lease, permits).await?;
        if !keys.is_empty() {
            leased.entry(permits.destination.clone()).or_default().extend(keys);
        }
    }
    let mut heads = Vec::new();
    for (number, statement) in HEADS.into_iter().enumerate() {
        if !leased.keys().any(|destination| lanes::table(destination) == number) {
            continue;
        }
        let found = db::query(statement)
            .bind(claim.lease.until.as_millis())
            .bind(&*token.0)
            .bind(claim.lease.now.as_millis())
            .fetch_all(&mut *conn)
            .await?;
        for row in &found {
            heads.push(head(row, token)?.0);
        }
    }
    for head in &heads {
        if let Some(keys) = leased.get_mut(&head.destination) {
            keys.remove(&head.conversation.key.0);
        }
    }
    for (destination, keys) in leased.into_iter().filter(|(_, keys)| !keys.is_empty()) {
        // Their deliveries changed after the lane was read: it is corrected here, and waits for its time.
        let keys: Vec<i64> = keys.into_iter().collect();
        lanes::free(conn, &destination, &keys).await?;
        lanes::refresh(conn, &keys).await?;
    }
    Ok(heads)
}

macro_rules! ended {
    ($lanes:literal) => {
        concat!(
            "UPDATE deliveries SET state = $4, attempts = attempts + $5, attempts_before = attempts_before + $12, \
                 due_at = CASE WHEN $12 = 0 THEN $6 ELSE due_at END, finished_at = $7, dead_end = $8, \
                 last_status = CASE WHEN $5 = 0 THEN last_status ELSE $9 END, \
                 last_error = CASE WHEN $5 = 0 THEN last_error ELSE $10 END, \
                 last_response = CASE WHEN $5 = 0 THEN last_response ELSE $11 END \
             WHERE id = $1 AND conversation_key = $2 AND state = 'pending' AND EXISTS (SELECT 1 FROM ",
            $lanes,
            " AS lane WHERE lane.conversation_key = $2 AND lane.frontend = $13 AND lane.token = $3",
            for_update!("lane"),
            ") RETURNING key, due_at, attempts, attempts - attempts_before AS spent, \
                EXISTS (SELECT 1 FROM deliveries AS d WHERE d.conversation_key = $2 AND d.frontend = $13 \
                    AND d.state = 'pending' AND d.id <> $1) AS owes_more"
        )
    };
}
const ENDED: [&str; 2] = [ended!("lanes"), ended!("destination_lanes")];

/// Records the result of an attempt, and frees the lane or hands out its next head under the same token.
pub(super) async fn finish(conn: &mut Conn, cx: &mut Cx, finish: &FinishDelivery) -> Result<Finished> {
    let (end, lane) = (End::of(finish), &finish.lane);
    let row = db::query(ENDED[lanes::table(&lane.destination)])
        .bind(finish.id.as_str())
        .bind(lane.conversation.0)
        .bind(&*finish.token.0)
        .bind(end.state)
        .bind(end.attempts)
        .bind(end.due_at.map(Timestamp::as_millis))
        .bind(end.finished_at.map(Timestamp::as_millis))
        .bind(end.given_up)
        .bind(finish.status.map(i64::from))
        .bind(storable(finish.error.as_deref()))
        .bind(storable(finish.response.as_deref()))
        .bind(end.free)
        .bind(lane.destination.to_string())
        .fetch_optional(&mut *conn)
        .await?;
    let Some(row) = row else { return Ok(Finished::default()) };
    if end.given_up.is_some() {
        cx.add_dead_letters(&lane.destination.frontend, 1);
    }
    if end.attempts > 0 && !matches!(finish.outcome, DeliveryOutcome::Delivered) {
        let error = storable(finish.error.as_deref());
        let (key, number) = (rows::int(&row, "key")?, rows::small(&row, "attempts")?);
        tries::failed(conn, key, number, (finish.status, error.as_deref()), finish.now).await?;
    }
    if let Some(due_at) = rows::maybe_time(&row, "due_at")? {
        lanes::leave(conn, lane, due_at, rows::small(&row, "spent")? > 0).await?;
        return Ok(Finished { counted: true, ..Finished::default() });
    }
    if end.holds_lane {
        lanes::block(conn, lane, rows::int(&row, "key")?).await?;
        return Ok(Finished { counted: true, ..Finished::default() });
    }
    // Another one may have been filed since the statement began: a lane that seems to owe no more is looked at again.
    if !rows::flag(&row, "owes_more")? && lanes::close_empty(conn, lane).await? {
        return Ok(Finished { counted: true, lane_is_closed: true, next: None });
    }
    let next = next_head(conn, cx, finish).await?;
    Ok(Finished { counted: true, lane_is_closed: false, next })
}

/// The changes to a delivery at the end of an attempt.
struct End {
    state: &'static str,
    attempts: i64,
    /// The number of these that do not advance the schedule.
    free: i64,
    due_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
    given_up: Option<&'static str>,
    holds_lane: bool,
}

impl End {
    fn of(finish: &FinishDelivery) -> Self {
        let over = Self {
            state: "delivered",
            attempts: 1,
            free: 0,
            due_at: None,
            finished_at: Some(finish.now),
            given_up: None,
            holds_lane: false,
        };
        let owed = |at| Self { state: "pending", due_at: Some(at), finished_at: None, ..over };
        match &finish.outcome {
            DeliveryOutcome::Delivered => over,
            DeliveryOutcome::RetryAt(at) => owed(*at),
            DeliveryOutcome::Unattempted(at) => Self { attempts: 0, ..owed(*at) },
            DeliveryOutcome::Refused => Self { free: 1, ..owed(finish.now) },
            DeliveryOutcome::Dead { hold_lane, end } => {
                Self { state: "dead", given_up: Some(end.as_str()), holds_lane: *hold_lane, ..over }
            }
        }
    }
}

macro_rules! next_head {
    ($lanes:literal) => {
        concat!(select_head!($lanes), " WHERE lane.conversation_key = $1 AND lane.frontend = $2")
    };
}
/// The head of one lane.
pub(super) const NEXT_HEAD: [&str; 2] = [next_head!("lanes"), next_head!("destination_lanes")];

/// Passes on to the next head of a leased lane: keeps the lane for it, or frees the lane.
async fn next_head(conn: &mut Conn, cx: &mut Cx, finish: &FinishDelivery) -> Result<Option<ClaimedDelivery>> {
    let lane = &finish.lane;
    let row = db::query(NEXT_HEAD[lanes::table(&lane.destination)])
        .bind(lane.conversation.0)
        .bind(lane.destination.to_string())
        .fetch_optional(&mut *conn)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let (next, due_at) = head(&row, &finish.token)?;
    let is_due = due_at <= finish.now;
    if let (Some(lease), true) = (&finish.keep_lane, is_due) {
        lanes::keep(conn, lane, due_at, next.attempts > 0, lease).await?;
        return Ok(Some(next));
    }
    lanes::leave(conn, lane, due_at, next.attempts > 0).await?;
    if is_due {
        cx.announce(Change::Deliveries);
    }
    Ok(None)
}

/// Makes a receiver's text storable in both databases: PostgreSQL has no U+0000 in texts.
fn storable(text: Option<&str>) -> Option<String> {
    text.map(|text| text.replace('\0', "\u{fffd}"))
}

/// Reads a head and its due time.
fn head(row: &Row, token: &Token) -> Result<(ClaimedDelivery, Timestamp)> {
    let destination = Destination::recorded(&rows::text(row, "frontend")?);
    let claimed = ClaimedDelivery {
        id: DeliveryId::trusted(rows::text(row, "id")?),
        token: token.clone(),
        conversation: ConversationRef {
            key: ConversationKey(rows::int(row, "conversation_key")?),
            frontend: destination.frontend.clone(),
            id: ConversationId::trusted(rows::text(row, "conversation_id")?),
        },
        destination,
        event_id: EventId::trusted(rows::text(row, "event_id")?),
        sequence: rows::int(row, "sequence")?,
        kind: rows::text(row, "kind")?,
        body: rows::text(row, "body")?,
        attempts: rows::small(row, "spent")?,
        recorded_at: rows::time(row, "recorded_at")?,
        owed_since: rows::time(row, "owed_since")?,
        cause: rows::cause(row)?,
    };
    Ok((claimed, rows::time(row, "due_at")?))
}
