//! Claiming turns for sending.
//!
//! One transaction picks due turns, takes a request out of the budget for each and writes `sending`, so that a turn that
//! is handed out can always be paid for, and a crash right after leaves it on record. Frontends are served in rounds, and
//! inside each its people ([`fair`]). Slow steps come before the budget is taken from, because other processes wait for it
//! from then on.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    time::Duration,
};

use super::{
    Conn, Cx, Row, budget, continued, db, dialect,
    in_flight::{JOINT, occupying},
    intake::Extras,
    rows,
};
use crate::{
    domain::{
        Timestamp,
        correlation::Correlation,
        fair,
        ids::{ConversationId, ConversationKey, FrontendName, MessageId, TurnKey},
        message::{MAX_TEXT_CHARS, Role},
        turn::{TurnMove, TurnState},
    },
    store::{
        Change, ClaimTurns, ClaimedTurn, ClaimedTurns, ConversationRef, PermitId, RequestClass, Result, StoreError,
        Token,
    },
};

/// Time after which a conversation is claimed again that was skipped because another transaction was writing to it.
const PASSED_OVER: Duration = Duration::from_millis(20);
/// The most messages that are joined: the next turn takes the rest.
const MAX_JOINED: i64 = 50;

pub(in crate::store) async fn claim(conn: &mut Conn, cx: &mut Cx, claim: &ClaimTurns) -> Result<ClaimedTurns> {
    continued::take_up_due(conn, cx, &claim.frontends, claim.lease.now).await?;
    let mut due = Vec::with_capacity(claim.frontends.len());
    for frontend in &claim.frontends {
        due.push(VecDeque::from(due_in(conn, claim, frontend).await?));
    }
    let picked: Vec<usize> = due.iter().map(VecDeque::len).collect();
    let waiting: usize = picked.iter().sum();
    let now = claim.lease.now;
    let next = if waiting >= claim.max { Some(now) } else { next_due(conn, claim, &picked).await? };
    let mut claimed = ClaimedTurns { next, ..ClaimedTurns::default() };
    if waiting == 0 {
        return Ok(claimed);
    }
    let mut ready = Vec::with_capacity(waiting.min(claim.max));
    for conversation in in_rounds(due).take(claim.max) {
        let key = ConversationKey(rows::int(&conversation, "key")?);
        let joined = if claim.join_window.is_zero() { 1 } else { MAX_JOINED };
        if let Some(turn) = join(queued(conn, key, joined).await?) {
            ready.push((conversation, turn));
        }
    }
    // Late, because others wait for the budget from here to the commit.
    let wanted = ready.len();
    let (permits, room_at) = budget::take(conn, RequestClass::Send, claim.budget, now, wanted).await?;
    claimed.held_by_budget = permits.len() < wanted;
    ready.truncate(permits.len());
    overtake(conn, &ready).await?;
    mark_sending(conn, cx, claim, &ready).await?;
    for ((conversation, turn), permit) in ready.into_iter().zip(permits) {
        let turn = hand_out(&conversation, turn, claim.token.clone(), permit)?;
        cx.announce(Change::Started(turn.conversation.key));
        claimed.turns.push(turn);
    }
    if claimed.held_by_budget {
        claimed.next = room_at;
    }
    Ok(claimed)
}

/// Returns one of each in turn, until all are empty.
fn in_rounds<T>(mut queues: Vec<VecDeque<T>>) -> impl Iterator<Item = T> {
    let mut next = 0;
    std::iter::from_fn(move || {
        for _ in 0..queues.len() {
            let taken = queues[next].pop_front();
            next = (next + 1) % queues.len();
            if taken.is_some() {
                return taken;
            }
        }
        None
    })
}

/// Returns the latest time at which a user's message can have been accepted and have waited long enough for others to join it.
fn joined_until(claim: &ClaimTurns) -> Timestamp {
    if claim.join_window.is_zero() { Timestamp::MAX } else { claim.lease.now.minus(claim.join_window) }
}

/// Conversations of a frontend's backlog that are examined in one go, for each turn that is wanted.
const LOOKED_AT: usize = 4;
/// The most such goes.
const LOOKS: usize = 8;

macro_rules! is_due {
    () => {
        // The condition on the oldest turn is a subquery of its own, not a join: so the conversations are taken from their
        // index in the order in which they are due, and no more of them than are wanted, however many are due.
        "c.turn_due_at IS NOT NULL AND c.turn_due_at <= $2 AND c.state <> 'continued' \
            AND (SELECT t.role <> 'user' OR t.accepted_at <= $3 FROM turns t WHERE t.conversation_key = c.key \
                AND t.state IN ('queued', 'sending', 'awaiting', 'unclear') AND t.state = 'queued' \
                ORDER BY t.key LIMIT 1)"
    };
}

/// The conversations of a frontend whose oldest queued turn is due since $5 or later, oldest first, except those of people who
/// were seen before.
pub(in crate::store) const DUE: &str = concat!(
    "SELECT c.key, CASE WHEN c.user_vouched THEN c.user_id END AS person, c.turn_due_at, c.last_sent_at \
     FROM conversations c WHERE c.frontend = $1 AND ",
    is_due!(),
    " AND c.turn_due_at >= $5 AND (c.user_id IS NULL OR NOT c.user_vouched OR NOT (c.user_id",
    is_text_in!("$6"),
    ")) ORDER BY c.turn_due_at LIMIT $4",
);

/// Those of them that are claimed, except those that another transaction is just writing to.
pub(in crate::store) const PICKED: &str = concat!(
    "SELECT c.key, c.frontend, c.conversation_id, c.attribute, c.binding_version, c.occupied, \
        c.interaction_id IS NOT NULL AS is_bound, c.speaker, c.handoff IS NOT NULL AS is_handed_off \
     FROM conversations c WHERE c.frontend = $1 AND ",
    is_due!(),
    " AND c.key",
    is_key_in!("$4"),
    skip_locked!("c"),
);

/// The times at which these people were last served.
pub(in crate::store) const SERVED: &str = concat!(
    "SELECT named.value AS person, (SELECT MAX(c.last_sent_at) FROM conversations c WHERE c.frontend = $1 \
        AND c.user_id = named.value AND c.last_sent_at IS NOT NULL) AS served_at FROM ",
    texts!("$2"),
    " AS named",
);

/// The one who is served by a conversation's turn: a person, or the conversation itself if no person is known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Whose {
    Person(String),
    Nobody(i64),
}

/// Reads the due conversations of a frontend in the order in which its people are served.
async fn due_in(conn: &mut Conn, claim: &ClaimTurns, frontend: &FrontendName) -> Result<Vec<Row>> {
    let mut found: Vec<(i64, (Whose, Timestamp))> = Vec::new();
    let (mut served, mut seen, mut known): (HashMap<Whose, Timestamp>, HashSet<i64>, HashSet<String>) =
        Default::default();
    let (mut since, mut order) = (i64::MIN, Vec::new());
    let look_at = claim.max.saturating_mul(LOOKED_AT);
    for _ in 0..LOOKS {
        let page = db::query(DUE)
            .bind(frontend.as_str())
            .bind(claim.lease.now.as_millis())
            .bind(joined_until(claim).as_millis())
            .bind(i64::try_from(look_at).unwrap_or(i64::MAX))
            .bind(since)
            .bind(rows::array(&known)?)
            .fetch_all(&mut *conn)
            .await?;
        let mut people = HashSet::new();
        for row in &page {
            let (key, due_at) = (rows::int(row, "key")?, rows::time(row, "turn_due_at")?);
            since = due_at.as_millis();
            if !seen.insert(key) {
                continue;
            }
            let whose = if let Some(person) = rows::maybe_text(row, "person")? {
                people.insert(person.clone());
                Whose::Person(person)
            } else {
                let served_at = rows::maybe_time(row, "last_sent_at")?;
                served.extend(served_at.map(|served_at| (Whose::Nobody(key), served_at)));
                Whose::Nobody(key)
            };
            found.push((key, (whose, due_at)));
        }
        served.extend(served_people(conn, frontend, &people).await?);
        known.extend(people);
        let waiting: Vec<_> = found.iter().map(|(_, waiting)| waiting.clone()).collect();
        order = fair::order(&waiting, &served, claim.lease.now);
        // A person not examined yet has waited since then at the longest.
        let settled = order.iter().take_while(|(_, waited_since)| waited_since.as_millis() <= since).count();
        if page.len() < look_at || settled >= claim.max {
            break;
        }
    }
    let picked: Vec<i64> = order.iter().take(claim.max).map(|(number, _)| found[*number].0).collect();
    lock(conn, claim, frontend, &picked).await
}

async fn served_people(
    conn: &mut Conn,
    frontend: &FrontendName,
    people: &HashSet<String>,
) -> Result<Vec<(Whose, Timestamp)>> {
    if people.is_empty() {
        return Ok(Vec::new());
    }
    let found = db::query(SERVED).bind(frontend.as_str()).bind(rows::array(people)?).fetch_all(conn).await?;
    let mut served = Vec::with_capacity(found.len());
    for row in &found {
        if let Some(served_at) = rows::maybe_time(row, "served_at")? {
            served.push((Whose::Person(rows::text(row, "person")?), served_at));
        }
    }
    Ok(served)
}

/// Locks the picked conversations, and reads them again: those that changed meanwhile are left out.
async fn lock(conn: &mut Conn, claim: &ClaimTurns, frontend: &FrontendName, picked: &[i64]) -> Result<Vec<Row>> {
    if picked.is_empty() {
        return Ok(Vec::new());
    }
    let found = db::query(PICKED)
        .bind(frontend.as_str())
        .bind(claim.lease.now.as_millis())
        .bind(joined_until(claim).as_millis())
        .bind(rows::array(picked)?)
        .fetch_all(conn)
        .await?;
    let place: HashMap<i64, usize> = picked.iter().enumerate().map(|(place, key)| (*key, place)).collect();
    let mut found: Vec<(usize, Row)> = found
        .into_iter()
        .map(|row| Ok((place.get(&rows::int(&row, "key")?).copied().unwrap_or(usize::MAX), row)))
        .collect::<Result<_>>()?;
    found.sort_by_key(|(place, _)| *place);
    Ok(found.into_iter().map(|(_, row)| row).collect())
}

macro_rules! later {
    () => {
        "SELECT MIN(turn_due_at) FROM conversations WHERE frontend = $1 AND turn_due_at IS NOT NULL AND turn_due_at > $2"
    };
}
/// The first due time of a frontend after now.
pub(in crate::store) const LATER: &str = later!();

/// The same, and whether more is due now than was picked ($4, and one): a conversation was left out because another
/// transaction was just writing to it (a read mark, say), and nothing announces the end of that to wake anybody.
pub(in crate::store) const LATER_OR_PASSED_OVER: &str = concat!(
    "SELECT (",
    later!(),
    ") AS later, (SELECT COUNT(*) FROM (SELECT c.key FROM conversations c WHERE c.frontend = $1 AND ",
    is_due!(),
    " ORDER BY c.turn_due_at LIMIT $4) AS due) AS due"
);

/// Returns the next due time of a frontend of which so many turns are being claimed.
async fn later(
    conn: &mut Conn,
    claim: &ClaimTurns,
    frontend: &FrontendName,
    picked: usize,
) -> Result<Option<Timestamp>> {
    let now = claim.lease.now;
    if !dialect::SHARED {
        let later: Option<i64> =
            db::query_scalar(LATER).bind(frontend.as_str()).bind(now.as_millis()).fetch_one(conn).await?;
        return Ok(later.map(Timestamp::from_millis));
    }
    let row = db::query(LATER_OR_PASSED_OVER)
        .bind(frontend.as_str())
        .bind(now.as_millis())
        .bind(joined_until(claim).as_millis())
        .bind(i64::try_from(picked).unwrap_or(i64::MAX).saturating_add(1))
        .fetch_one(conn)
        .await?;
    let is_passed_over = usize::try_from(rows::int(&row, "due")?).is_ok_and(|due| due > picked);
    let later = rows::maybe_time(&row, "later")?;
    Ok(if is_passed_over { Some(now.plus(PASSED_OVER)).min(later.or(Some(Timestamp::MAX))) } else { later })
}

/// Returns the time of the next claim for the named frontends, of which so many are being claimed: the next due time, or soon
/// if a turn that is due now was left out.
async fn next_due(conn: &mut Conn, claim: &ClaimTurns, picked: &[usize]) -> Result<Option<Timestamp>> {
    let mut next: Option<i64> = None;
    let mut consider = |at: Option<i64>| next = [next, at].into_iter().flatten().min();
    let now = claim.lease.now.as_millis();
    for (frontend, picked) in claim.frontends.iter().zip(picked) {
        consider(later(conn, claim, frontend, *picked).await?.map(Timestamp::as_millis));
        if !claim.join_window.is_zero() {
            let oldest: Option<i64> = db::query_scalar(
                "SELECT MIN(h.accepted_at) FROM conversations c JOIN turns h ON h.key = (SELECT MIN(t.key) FROM turns t \
                    WHERE t.conversation_key = c.key AND t.state IN ('queued', 'sending', 'awaiting', 'unclear') \
                        AND t.state = 'queued') \
                 WHERE c.frontend = $1 AND c.turn_due_at IS NOT NULL AND c.turn_due_at <= $2 \
                    AND h.role = 'user' AND h.accepted_at > $3",
            )
            .bind(frontend.as_str())
            .bind(now)
            .bind(joined_until(claim).as_millis())
            .fetch_one(&mut *conn)
            .await?;
            consider(oldest.map(|at| Timestamp::from_millis(at).plus(claim.join_window).as_millis()));
        }
    }
    Ok(next.map(Timestamp::from_millis))
}

/// A queued message.
struct Queued {
    key: TurnKey,
    message: MessageId,
    role: Role,
    text: String,
    extras: Extras,
    attribute: String,
    attempt: u32,
    resends: u32,
    accepted_at: Timestamp,
    cause: Correlation,
}

/// Moves turns that have held the next one long enough to `late`: still open, but no longer in the way.
async fn overtake(conn: &mut Conn, ready: &[(Row, Joined)]) -> Result<()> {
    let mut held = Vec::new();
    for (conversation, _) in ready {
        if rows::flag(conversation, "occupied")? {
            held.push(rows::int(conversation, "key")?);
        }
    }
    if held.is_empty() {
        return Ok(());
    }
    let late = TurnState::Awaiting.after(TurnMove::Overtake).map_err(StoreError::from)?;
    db::query(concat!(
        "UPDATE turns SET state = $2 WHERE ",
        occupying!(),
        " AND state = 'awaiting' AND conversation_key",
        is_key_in!("$1")
    ))
    .bind(rows::array(held)?)
    .bind(late.as_str())
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes down that these turns are being sent. One token for all turns of a claim is enough: the next claim of any of them
/// brings another one.
async fn mark_sending(conn: &mut Conn, cx: &mut Cx, claim: &ClaimTurns, ready: &[(Row, Joined)]) -> Result<()> {
    if ready.is_empty() {
        return Ok(());
    }
    let now = claim.lease.now.as_millis();
    let sending = TurnState::Queued.after(TurnMove::Claim).map_err(StoreError::from)?;
    db::query(concat!(
        "UPDATE turns SET state = $2, leader_key = NULL, attempt = attempt + 1, token = $3, owner = $4, \
            lease_until = $5, sent_at = $6, state_since = $6, look_at = NULL, looks = 0, held_until = NULL WHERE key",
        is_key_in!("$1")
    ))
    .bind(rows::array(ready.iter().flat_map(|(_, turn)| &turn.keys).map(|key| key.0))?)
    .bind(sending.as_str())
    .bind(&*claim.token.0)
    .bind(&*claim.lease.owner.0)
    .bind(claim.lease.until.as_millis())
    .bind(now)
    .execute(&mut *conn)
    .await?;
    let mut taken: BTreeMap<usize, Vec<i64>> = BTreeMap::new();
    for (conversation, turn) in ready {
        taken.entry(turn.keys.len()).or_default().push(rows::int(conversation, "key")?);
        let frontend = FrontendName::trusted(rows::text(conversation, "frontend")?);
        cx.add_waiting(&frontend, -i64::try_from(turn.keys.len()).unwrap_or(i64::MAX));
        let [leader, members @ ..] = turn.keys.as_slice() else { continue };
        if !members.is_empty() {
            db::query(concat!("UPDATE turns SET leader_key = $2 WHERE key", is_key_in!("$1")))
                .bind(rows::array(members.iter().map(|key| key.0))?)
                .bind(leader.0)
                .execute(&mut *conn)
                .await?;
        }
    }
    // The result of `refresh_turns` is plain here: they wait no more, and one is in flight.
    for (messages, conversations) in taken {
        db::query(concat!(
            "UPDATE conversations SET first_sent_at = COALESCE(first_sent_at, $2), queued = queued - $3, \
                occupied = TRUE, held_until = NULL, turn_due_at = NULL, last_sent_at = $2 WHERE key",
            is_key_in!("$1")
        ))
        .bind(rows::array(&conversations)?)
        .bind(now)
        .bind(i64::try_from(messages).unwrap_or(i64::MAX))
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

fn hand_out(conversation: &Row, turn: Joined, token: Token, permit: PermitId) -> Result<ClaimedTurn> {
    let leader = turn.keys.first().copied();
    Ok(ClaimedTurn {
        key: leader.ok_or_else(|| StoreError::Internal("a turn without a message".to_owned()))?,
        token,
        conversation: ConversationRef {
            key: ConversationKey(rows::int(conversation, "key")?),
            frontend: FrontendName::trusted(rows::text(conversation, "frontend")?),
            id: ConversationId::trusted(rows::text(conversation, "conversation_id")?),
        },
        conversation_attribute: rows::text(conversation, "attribute")?,
        turn_attribute: turn.attribute,
        binding_version: rows::int(conversation, "binding_version")?,
        is_bound: rows::flag(conversation, "is_bound")?,
        messages: turn.messages,
        role: turn.role,
        text: turn.text,
        user_id: turn.extras.user_id,
        attributes: turn.extras.attributes,
        channel: turn.extras.channel,
        metadata: turn.extras.metadata,
        attempt: turn.attempt,
        speaker: rows::flag(conversation, "is_handed_off")?
            .then(|| rows::speaker(conversation, "speaker"))
            .transpose()?,
        resends: turn.resends,
        accepted_at: turn.accepted_at,
        cause: turn.cause,
        permit,
    })
}

async fn queued(conn: &mut Conn, conversation: ConversationKey, limit: i64) -> Result<Vec<Queued>> {
    let found = db::query(
        "SELECT key, message_id, role, text, extras, attribute, attempt, resends, accepted_at, request_id, traceparent \
         FROM turns \
         WHERE conversation_key = $1 AND state IN ('queued', 'sending', 'awaiting', 'unclear') AND state = 'queued' \
         ORDER BY key LIMIT $2",
    )
    .bind(conversation.0)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    let message = |row: &Row| {
        Ok(Queued {
            key: TurnKey(rows::int(row, "key")?),
            message: rows::message_id(row, "message_id")?,
            role: rows::role(row, "role")?,
            text: rows::text(row, "text")?,
            extras: serde_json::from_str(&rows::text(row, "extras")?)?,
            attribute: rows::text(row, "attribute")?,
            attempt: rows::small(row, "attempt")?,
            resends: rows::small(row, "resends")?,
            accepted_at: rows::time(row, "accepted_at")?,
            cause: rows::cause(row)?,
        })
    };
    found.iter().map(message).collect()
}

/// Queued messages as one turn.
struct Joined {
    keys: Vec<TurnKey>,
    messages: Vec<MessageId>,
    role: Role,
    text: String,
    extras: Extras,
    attribute: String,
    attempt: u32,
    resends: u32,
    accepted_at: Timestamp,
    cause: Correlation,
}

/// Joins the messages that follow the first one as long as they speak for the same user over the same channel and the text
/// stays within the limit of one message. If they differ in attributes or metadata, the latest value counts.
fn join(queued: Vec<Queued>) -> Option<Joined> {
    let mut queued = queued.into_iter();
    let first = queued.next()?;
    let mut turn = Joined {
        keys: vec![first.key],
        messages: vec![first.message],
        role: first.role,
        text: first.text,
        extras: first.extras,
        attribute: first.attribute,
        attempt: first.attempt + 1,
        resends: first.resends,
        accepted_at: first.accepted_at,
        cause: first.cause,
    };
    for next in queued {
        let same_voice = turn.role == Role::User
            && next.role == Role::User
            && next.extras.user_id == turn.extras.user_id
            && next.extras.channel == turn.extras.channel;
        let length = turn.text.chars().count() + JOINT.len() + next.text.chars().count();
        if !same_voice || length > MAX_TEXT_CHARS {
            break;
        }
        turn.keys.push(next.key);
        turn.messages.push(next.message);
        turn.text.push_str(JOINT);
        turn.text.push_str(&next.text);
        turn.extras.attributes.extend(next.extras.attributes);
        turn.extras.metadata.extend(next.extras.metadata);
        turn.resends = turn.resends.max(next.resends);
    }
    Some(turn)
}
