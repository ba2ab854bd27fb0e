//! The record of tries: each request to Fini for a message, and each failed attempt at a callback. For people who follow one
//! conversation; no decision uses it.

use super::{Conn, Row, db, in_flight::InFlight, rows};
use crate::{
    domain::{
        Timestamp,
        ids::{ConversationKey, DeliveryId, MessageId, TurnKey},
        turn::TurnMove,
    },
    store::{Result, Try, Turn},
};

/// The most failed attempts kept of a delivery; a receiver that refuses all day would fill the table.
const MOST: u32 = 100;

/// Records the end of a request for a turn, by the move that it led to.
pub(super) async fn sent(
    conn: &mut Conn,
    turn: &InFlight,
    number: u32,
    (by, error): (TurnMove, Option<&str>),
    now: Timestamp,
) -> Result<()> {
    db::query(
        "INSERT INTO turn_tries (turn_key, number, began_at, ended_at, outcome, error) VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT (turn_key, number) DO NOTHING",
    )
    .bind(turn.key.0)
    .bind(i64::from(number))
    .bind(turn.sent_at.as_millis())
    .bind(now.as_millis())
    .bind(outcome(by))
    .bind(error)
    .execute(conn)
    .await?;
    Ok(())
}

/// Returns the result of a request, in a word.
const fn outcome(by: TurnMove) -> &'static str {
    match by {
        TurnMove::Claim | TurnMove::NotSent | TurnMove::ProveAbsent => "not_sent",
        TurnMove::LoseSight => "unclear",
        TurnMove::Await | TurnMove::Overtake => "no_reply_yet",
        TurnMove::Answer => "answered",
        TurnMove::Store => "stored",
        TurnMove::Fail => "failed",
    }
}

/// Records a failed attempt at a callback.
pub(super) async fn failed(
    conn: &mut Conn,
    delivery: i64,
    number: u32,
    (status, error): (Option<u16>, Option<&str>),
    now: Timestamp,
) -> Result<()> {
    if number > MOST {
        return Ok(());
    }
    db::query(
        "INSERT INTO delivery_tries (delivery_key, number, ended_at, status, error) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (delivery_key, number) DO NOTHING",
    )
    .bind(delivery)
    .bind(i64::from(number))
    .bind(now.as_millis())
    .bind(status.map(i64::from))
    .bind(error)
    .execute(conn)
    .await?;
    Ok(())
}

/// A conversation's latest messages.
pub(super) const TURNS: &str = "SELECT t.key, t.leader_key, t.message_id, t.role, t.state, t.attempt, t.accepted_at, t.sent_at, \
        t.state_since, t.held_until, t.look_at, t.echo, t.replies, t.detail, t.request_id, t.text, \
        leader.message_id AS joined_to FROM turns AS t LEFT JOIN turns AS leader ON leader.key = t.leader_key \
     WHERE t.conversation_key = $1 ORDER BY t.key DESC LIMIT $2";

/// The requests for them.
pub(super) const SENT: &str = concat!(
    "SELECT turn_key, number, began_at, ended_at, outcome, error FROM turn_tries WHERE turn_key",
    is_key_in!("$1"),
    " ORDER BY turn_key, number"
);

pub(super) async fn turns(conn: &mut Conn, key: ConversationKey, limit: usize) -> Result<Vec<Turn>> {
    let found =
        db::query(TURNS).bind(key.0).bind(i64::try_from(limit).unwrap_or(i64::MAX)).fetch_all(&mut *conn).await?;
    let keys = found.iter().map(|row| rows::int(row, "key")).collect::<Result<Vec<_>>>()?;
    let mut tries: Vec<(TurnKey, Try)> = Vec::new();
    for row in db::query(SENT).bind(rows::array(keys)?).fetch_all(conn).await? {
        let sent = Try {
            number: rows::small(&row, "number")?,
            began_at: Some(rows::time(&row, "began_at")?),
            ended_at: Some(rows::time(&row, "ended_at")?),
            outcome: Some(rows::text(&row, "outcome")?),
            status: None,
            error: rows::maybe_text(&row, "error")?,
        };
        tries.push((TurnKey(rows::int(&row, "turn_key")?), sent));
    }
    found.iter().rev().map(|row| turn(row, &tries)).collect()
}

fn turn(row: &Row, all: &[(TurnKey, Try)]) -> Result<Turn> {
    let (key, attempt) = (TurnKey(rows::int(row, "key")?), rows::small(row, "attempt")?);
    let sent_at = rows::maybe_time(row, "sent_at")?;
    let mut tries: Vec<Try> = all.iter().filter(|(of, _)| *of == key).map(|(_, one)| one.clone()).collect();
    let is_leader = rows::maybe_int(row, "leader_key")?.is_none();
    // One is under way, or its end was never recorded.
    if is_leader && attempt > 0 && tries.last().is_none_or(|last| last.number < attempt) && sent_at.is_some() {
        let open = Try { number: attempt, began_at: sent_at, ended_at: None, outcome: None, status: None, error: None };
        tries.push(open);
    }
    Ok(Turn {
        message: rows::message_id(row, "message_id")?,
        role: rows::role(row, "role")?,
        state: rows::turn_state(row, "state")?,
        joined_to: rows::maybe_text(row, "joined_to")?.as_deref().map(MessageId::from_stored),
        accepted_at: rows::time(row, "accepted_at")?,
        sent_at,
        state_since: rows::time(row, "state_since")?,
        held_until: rows::maybe_time(row, "held_until")?,
        look_at: rows::maybe_time(row, "look_at")?,
        fini_event: rows::maybe_text(row, "echo")?,
        replies: rows::small(row, "replies")?,
        detail: rows::text(row, "detail")?,
        request_id: rows::maybe_text(row, "request_id")?,
        text: rows::text(row, "text")?,
        tries,
    })
}

/// The failed attempts at a conversation's callbacks.
pub(super) const FAILED: &str = "SELECT d.id, a.number, a.ended_at, a.status, a.error FROM deliveries AS d \
     JOIN delivery_tries AS a ON a.delivery_key = d.key WHERE d.conversation_key = $1 ORDER BY d.key, a.number";

pub(super) async fn deliveries(conn: &mut Conn, key: ConversationKey) -> Result<Vec<(DeliveryId, Try)>> {
    let found = db::query(FAILED).bind(key.0).fetch_all(conn).await?;
    let one = |row: &Row| {
        let failed = Try {
            number: rows::small(row, "number")?,
            began_at: None,
            ended_at: Some(rows::time(row, "ended_at")?),
            outcome: None,
            status: rows::maybe_int(row, "status")?.and_then(|status| u16::try_from(status).ok()),
            error: rows::maybe_text(row, "error")?,
        };
        Ok((DeliveryId::trusted(rows::text(row, "id")?), failed))
    };
    found.iter().map(one).collect()
}
