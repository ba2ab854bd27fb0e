//! Turns after their claim: released, lost sight of, failed, proven absent, looked for, recovered, expired.
//!
//! Once something was sent for an unbound conversation, nothing else is sent for it until its Fini conversation is known;
//! if it turns out that nothing was sent after all, the next turn begins as if it were the first.

use futures_util::FutureExt;

use super::{
    Conn, Cx, Row, ThisStore, budget, claims, db, dialect, feed,
    in_flight::{self, Step},
    records, rows,
};
use crate::{
    domain::{
        Timestamp,
        ids::{ConversationId, ConversationKey, FrontendName, InteractionId, TurnKey},
        observation::TurnResult,
        resend::Tries,
        turn::{FailureCode, TurnFailure, TurnMove, TurnState},
    },
    store::{
        Change, ClaimTurns, ClaimedTurns, ConversationRef, EndOfTurn, Hold, Lease, Result, StoreError, Token,
        TurnStore, TurnToRead,
    },
};

/// The messages examined in one transaction to find the conversations whose queued turns are failed: other work gets its
/// turn in between.
const EXPIRY_BATCH: i64 = 50;

#[async_trait::async_trait]
impl TurnStore for ThisStore {
    async fn claim_turns(&self, claim: ClaimTurns) -> Result<ClaimedTurns> {
        self.write(claim, |conn, cx, claim| claims::claim(conn, cx, claim).boxed()).await
    }

    async fn void_claim(&self, token: &Token, now: Timestamp) -> Result<usize> {
        self.write((token.clone(), now), |conn, cx, of| void(conn, cx, &of.0, of.1).boxed()).await
    }

    async fn release_turn(
        &self,
        key: TurnKey,
        token: &Token,
        now: Timestamp,
        due_at: Timestamp,
        detail: &str,
    ) -> Result<bool> {
        let hold = Hold::Sender(token.clone());
        let release = Return { key, hold, now, due_at, detail: Some(detail.to_owned()) };
        self.write(release, |conn, cx, release| give_back(conn, cx, release).boxed()).await
    }

    async fn lose_sight(
        &self,
        key: TurnKey,
        token: &Token,
        now: Timestamp,
        look_at: Timestamp,
        resend_at: Timestamp,
        detail: &str,
    ) -> Result<bool> {
        let loss = Loss { key, token: token.clone(), now, look_at, resend_at, detail: detail.to_owned() };
        self.write(loss, |conn, cx, loss| lose_sight(conn, cx, loss).boxed()).await
    }

    async fn fail_turn(&self, key: TurnKey, hold: Hold, now: Timestamp, failure: &TurnFailure) -> Result<bool> {
        let end = (key, hold, now, failure.clone());
        self.write(end, |conn, cx, of| fail(conn, cx, of.0, &of.1, of.2, &of.3).boxed()).await
    }

    async fn prove_absent(&self, key: TurnKey, attempt: u32, now: Timestamp, due_at: Timestamp) -> Result<bool> {
        let absence = Return { key, hold: Hold::Looked(attempt), now, due_at, detail: None };
        self.write(absence, |conn, cx, absence| give_back(conn, cx, absence).boxed()).await
    }

    async fn others_arrived(
        &self,
        frontends: &[FrontendName],
        except: ConversationKey,
        since: Timestamp,
    ) -> Result<bool> {
        self.read((frontends.to_vec(), except, since), |conn, of| others_arrived(conn, &of.0, of.1, of.2).boxed()).await
    }

    async fn postpone_look(&self, key: TurnKey, attempt: u32, look_at: Timestamp) -> Result<()> {
        self.write_once((key, attempt, look_at), |conn, cx, of| postpone_look(conn, cx, of.0, of.1, of.2).boxed()).await
    }

    async fn turns_to_read(&self, now: Timestamp, limit: usize) -> Result<Vec<TurnToRead>> {
        self.read((now, limit), |conn, of| to_read(conn, of.0, of.1).boxed()).await
    }

    async fn next_look_at(&self) -> Result<Option<Timestamp>> {
        self.read((), |conn, ()| next_look_at(conn).boxed()).await
    }

    async fn recover_turns(&self, lease: &Lease) -> Result<usize> {
        // Nearly always there is none: nobody locks or commits to find that out.
        if !self.read(lease.clone(), |conn, lease| has_orphan(conn, lease).boxed()).await? {
            return Ok(0);
        }
        self.write(lease.clone(), |conn, cx, lease| recover(conn, cx, lease).boxed()).await
    }

    async fn expire_turns(&self, now: Timestamp, accepted_before: Timestamp, failure: &TurnFailure) -> Result<usize> {
        let mut expired = 0;
        // Seldom does anything wait for so long: nobody locks or commits to find that out.
        let before = accepted_before;
        if self.read(before, |conn, before| waiting_longest(conn, *before).boxed()).await?.is_empty() {
            return Ok(0);
        }
        loop {
            let batch = (now, accepted_before, failure.clone());
            let found = self.write(batch, |conn, cx, of| expire(conn, cx, of.0, of.1, &of.2).boxed()).await?;
            if found == 0 {
                return Ok(expired);
            }
            expired += found;
        }
    }

    async fn queued_turns(&self) -> Result<Vec<(FrontendName, u64)>> {
        self.read((), |conn, ()| queued(conn).boxed()).await
    }
}

/// The return of a turn into the queue: released by its sender, or proven absent by a look.
struct Return {
    key: TurnKey,
    hold: Hold,
    now: Timestamp,
    due_at: Timestamp,
    detail: Option<String>,
}

async fn give_back(conn: &mut Conn, cx: &mut Cx, back: &Return) -> Result<bool> {
    let Some((mut conversation, turn)) = in_flight::find(conn, back.key).await? else { return Ok(false) };
    let (by, matches) = match back.hold {
        Hold::Sender(_) => (TurnMove::NotSent, true),
        // Progress that was seen outweighs any look that did not see it.
        Hold::Looked(_) => (TurnMove::ProveAbsent, turn.state == TurnState::Unclear && !turn.progress.has_arrived()),
    };
    if !turn.is_in(&back.hold) {
        return Ok(false);
    }
    if by == TurnMove::ProveAbsent && turn.state == TurnState::Unclear && conversation.is_set_aside() {
        // It may stand in the Fini conversation that is shared with somebody else, which is not read for it.
        let failure = TurnFailure {
            code: FailureCode::UnclearOutcome,
            detail: "Fini may have the message in a conversation that is not this one's alone".to_owned(),
            may_resend: false,
        };
        in_flight::fail(conn, cx, &mut conversation, &turn, back.now, &failure).await?;
        conversation.save(conn).await?;
        return Ok(false);
    }
    if !matches {
        return Ok(false);
    }
    let step = Step { detail: back.detail.as_deref(), is_absent: true, ..Step::new(by, back.now) };
    in_flight::advance(conn, cx, &turn, step).await?;
    let tried_since = (by == TurnMove::ProveAbsent).then_some(turn.sent_at.as_millis());
    // Joined messages part again: the next claim may join others to them. A pause that a send asked for outlasts the proof.
    db::query(concat!(
        "UPDATE turns SET leader_key = NULL, due_at = CASE WHEN due_at > $2 THEN due_at ELSE $2 END, \
            resends = resends + $3, tried_since = COALESCE(tried_since, $4), echo = NULL, replies = 0, \
            escalated = FALSE, no_reply = FALSE, withheld = FALSE, held_until = NULL WHERE key",
        is_key_in!("$1")
    ))
    .bind(rows::array(turn.messages.iter().map(|(key, _)| key.0))?)
    .bind(back.due_at.as_millis())
    .bind(i64::from(by == TurnMove::ProveAbsent))
    .bind(tried_since)
    .execute(&mut *conn)
    .await?;
    conversation.forget_send();
    records::refresh_turns(conn, cx, &mut conversation).await?;
    conversation.save(conn).await?;
    Ok(true)
}

async fn void(conn: &mut Conn, cx: &mut Cx, token: &Token, now: Timestamp) -> Result<usize> {
    let keys: Vec<i64> =
        db::query_scalar("SELECT key FROM turns WHERE state = 'sending' AND token = $1 AND leader_key IS NULL")
            .bind(&*token.0)
            .fetch_all(&mut *conn)
            .await?;
    let mut voided = 0;
    for key in keys.into_iter().map(TurnKey) {
        let back = Return { key, hold: Hold::Sender(token.clone()), now, due_at: now, detail: None };
        voided += usize::from(give_back(conn, cx, &back).await?);
    }
    Ok(voided)
}

/// A send whose result is unknown.
struct Loss {
    key: TurnKey,
    token: Token,
    now: Timestamp,
    look_at: Timestamp,
    resend_at: Timestamp,
    detail: String,
}

async fn lose_sight(conn: &mut Conn, cx: &mut Cx, loss: &Loss) -> Result<bool> {
    let now = loss.now;
    let Some((mut conversation, turn)) = in_flight::find(conn, loss.key).await? else { return Ok(false) };
    if !turn.is_held_by(&loss.token) {
        return Ok(false);
    }
    // A reader may have found it meanwhile: then nothing is unclear.
    match turn.progress.result(turn.role, &conversation.standing) {
        TurnResult::Over(outcome) => {
            let step = Step { progress: Some(&turn.progress), ..Step::new(outcome.as_move(), now) };
            in_flight::complete(conn, cx, &mut conversation, &turn, outcome, step).await?;
        }
        found => {
            let by = if found == TurnResult::Stored { TurnMove::Await } else { TurnMove::LoseSight };
            let step = Step { look_at: Some(loss.look_at), detail: Some(&loss.detail), ..Step::new(by, now) };
            in_flight::advance(conn, cx, &turn, step).await?;
            db::query(concat!("UPDATE turns SET due_at = $2 WHERE key", is_key_in!("$1")))
                .bind(rows::array(turn.messages.iter().map(|(key, _)| key.0))?)
                .bind(loss.resend_at.as_millis())
                .execute(&mut *conn)
                .await?;
            records::refresh_turns(conn, cx, &mut conversation).await?;
            cx.announce(Change::Reading);
        }
    }
    conversation.save(conn).await?;
    Ok(true)
}

/// Messages that arrived, among the conversations that changed since a time.
pub(in crate::store) const ARRIVED_SINCE: &str = concat!(
    "SELECT 1 AS arrived FROM conversations c JOIN turns t ON t.conversation_key = c.key \
     WHERE c.updated_at >= $1 AND c.key <> $2 AND t.sent_at >= $1 AND t.state IN ('awaiting', 'late', 'answered', 'stored') \
        AND c.frontend",
    is_text_in!("$3"),
    " LIMIT 1"
);

async fn others_arrived(
    conn: &mut Conn,
    frontends: &[FrontendName],
    except: ConversationKey,
    since: Timestamp,
) -> Result<bool> {
    let found = db::query(ARRIVED_SINCE)
        .bind(since.as_millis())
        .bind(except.0)
        .bind(rows::array(frontends.iter().map(FrontendName::as_str))?)
        .fetch_optional(conn)
        .await?;
    Ok(found.is_some())
}

async fn fail(
    conn: &mut Conn,
    cx: &mut Cx,
    key: TurnKey,
    hold: &Hold,
    now: Timestamp,
    failure: &TurnFailure,
) -> Result<bool> {
    let Some((mut conversation, turn)) = in_flight::find(conn, key).await? else { return Ok(false) };
    if !turn.is_in(hold) {
        return Ok(false);
    }
    if failure.code.proves_absence() {
        conversation.forget_send();
    } else if conversation.is_looked_for() {
        // Fini may have begun a conversation for it; the next message must not begin another one.
        conversation.want(cx, now);
    }
    in_flight::fail(conn, cx, &mut conversation, &turn, now, failure).await?;
    conversation.save(conn).await?;
    Ok(true)
}

async fn postpone_look(conn: &mut Conn, cx: &mut Cx, key: TurnKey, attempt: u32, look_at: Timestamp) -> Result<()> {
    db::query(
        "UPDATE turns SET look_at = $2, looks = looks + 1 \
         WHERE key = $1 AND leader_key IS NULL AND attempt = $3 AND state IN ('awaiting', 'late', 'unclear')",
    )
    .bind(key.0)
    .bind(look_at.as_millis())
    .bind(i64::from(attempt))
    .execute(conn)
    .await?;
    cx.announce(Change::Reading);
    Ok(())
}

/// Turns whose look is due.
pub(in crate::store) const TO_READ: &str = "SELECT t.key, t.attempt, t.state, t.role, t.attribute AS turn_attribute, \
            COALESCE(t.sent_at, t.state_since) AS sent_at, t.state_since, t.looks, t.resends, \
            COALESCE(t.tried_since, t.sent_at, t.state_since) AS tried_since, t.detail, \
            t.request_id, t.traceparent, \
            c.key AS conversation_key, c.frontend, c.conversation_id, c.attribute AS conversation_attribute, \
            c.interaction_id \
         FROM turns t JOIN conversations c ON c.key = t.conversation_key \
         WHERE t.look_at IS NOT NULL AND t.look_at <= $1 ORDER BY t.look_at LIMIT $2";

async fn to_read(conn: &mut Conn, now: Timestamp, limit: usize) -> Result<Vec<TurnToRead>> {
    let found =
        db::query(TO_READ).bind(now.as_millis()).bind(i64::try_from(limit).unwrap_or(i64::MAX)).fetch_all(conn).await?;
    found.iter().map(turn_to_read).collect()
}

fn turn_to_read(row: &Row) -> Result<TurnToRead> {
    Ok(TurnToRead {
        key: TurnKey(rows::int(row, "key")?),
        attempt: rows::small(row, "attempt")?,
        state: rows::turn_state(row, "state")?,
        role: rows::role(row, "role")?,
        conversation: ConversationRef {
            key: ConversationKey(rows::int(row, "conversation_key")?),
            frontend: FrontendName::trusted(rows::text(row, "frontend")?),
            id: ConversationId::trusted(rows::text(row, "conversation_id")?),
        },
        conversation_attribute: rows::text(row, "conversation_attribute")?,
        turn_attribute: rows::text(row, "turn_attribute")?,
        interaction: rows::maybe_text(row, "interaction_id")?.map(InteractionId::trusted),
        sent_at: rows::time(row, "sent_at")?,
        since: rows::time(row, "state_since")?,
        looks: rows::small(row, "looks")?,
        tries: Tries { count: rows::small(row, "resends")? + 1, since: rows::time(row, "tried_since")? },
        detail: rows::text(row, "detail")?,
        cause: rows::cause(row)?,
    })
}

async fn next_look_at(conn: &mut Conn) -> Result<Option<Timestamp>> {
    let at: Option<i64> =
        db::query_scalar("SELECT MIN(look_at) FROM turns WHERE look_at IS NOT NULL").fetch_one(conn).await?;
    Ok(at.map(Timestamp::from_millis))
}

/// Sends whose lease has ended at $1, or whose process is not this one ($2) and is known to be gone: that of a database that is
/// not shared ($3) is.
macro_rules! orphaned {
    () => {
        "state = 'sending' AND (lease_until <= $1 OR (owner <> $2 AND (NOT $3 OR EXISTS \
            (SELECT 1 FROM leases WHERE leases.name = 'process.' || turns.owner AND leases.until <= $1))))"
    };
}
/// One of them.
pub(in crate::store) const ORPHAN: &str = concat!("SELECT key FROM turns WHERE ", orphaned!(), " LIMIT 1");

async fn has_orphan(conn: &mut Conn, lease: &Lease) -> Result<bool> {
    let found: Option<i64> = db::query_scalar(ORPHAN)
        .bind(lease.now.as_millis())
        .bind(&*lease.owner.0)
        .bind(dialect::SHARED)
        .fetch_optional(conn)
        .await?;
    Ok(found.is_some())
}

async fn recover(conn: &mut Conn, cx: &mut Cx, lease: &Lease) -> Result<usize> {
    let unclear = TurnState::Sending.after(TurnMove::LoseSight).map_err(StoreError::from)?;
    let unclear = if mutated!("a send cut off by a kill counts as never sent") { TurnState::Queued } else { unclear };
    let done = db::query(concat!(
        "UPDATE turns SET state = $4, state_since = $1, token = NULL, owner = NULL, lease_until = NULL, looks = 0, \
            look_at = CASE WHEN leader_key IS NULL THEN CAST($1 AS BIGINT) END, \
            detail = 'the bridge stopped while the message was being sent' WHERE ",
        orphaned!()
    ))
    .bind(lease.now.as_millis())
    .bind(&*lease.owner.0)
    .bind(dialect::SHARED)
    .bind(unclear.as_str())
    .execute(&mut *conn)
    .await?;
    let recovered = usize::try_from(done.rows_affected()).unwrap_or(usize::MAX);
    if recovered > 0 {
        budget::assume_late(conn, lease.now).await?;
        cx.announce(Change::Reading);
    }
    Ok(recovered)
}

/// Conversations with messages that have waited since before a time.
pub(in crate::store) const WAITING_LONGEST: &str = "SELECT DISTINCT oldest.conversation_key \
         FROM (SELECT conversation_key FROM turns WHERE state = 'queued' AND accepted_at < $1 \
            ORDER BY accepted_at LIMIT $2) AS oldest";

async fn waiting_longest(conn: &mut Conn, accepted_before: Timestamp) -> Result<Vec<i64>> {
    let found = db::query_scalar(WAITING_LONGEST).bind(accepted_before.as_millis()).bind(EXPIRY_BATCH);
    Ok(found.fetch_all(conn).await?)
}

async fn expire(
    conn: &mut Conn,
    cx: &mut Cx,
    now: Timestamp,
    accepted_before: Timestamp,
    failure: &TurnFailure,
) -> Result<usize> {
    let conversations = waiting_longest(conn, accepted_before).await?;
    let failed = TurnState::Queued.after(TurnMove::Fail).map_err(StoreError::from)?;
    let mut expired = 0;
    for key in conversations.into_iter().map(ConversationKey) {
        let Some(mut conversation) = records::load(conn, key).await? else { continue };
        let ended = db::query(
            "UPDATE turns SET state = $2, state_since = $3, detail = $4 WHERE conversation_key = $1 \
                AND state IN ('queued', 'sending', 'awaiting', 'unclear') AND state = 'queued' AND accepted_at < $5 \
             RETURNING key, message_id, accepted_at, request_id, traceparent",
        )
        .bind(key.0)
        .bind(failed.as_str())
        .bind(now.as_millis())
        .bind(&failure.detail)
        .bind(accepted_before.as_millis())
        .fetch_all(&mut *conn)
        .await?;
        for row in &ended {
            cx.ended(EndOfTurn {
                conversation: conversation.reference.clone(),
                message: rows::message_id(row, "message_id")?,
                outcome: failure.code.as_str(),
                failure: Some(failure.detail.clone()),
                took: now.since(rows::time(row, "accepted_at")?),
                cause: rows::cause(row)?,
            });
        }
        let mut happened = ended
            .iter()
            .map(|row| {
                let message = rows::message_id(row, "message_id")?;
                Ok((in_flight::closing(&message, failure), Some(TurnKey(rows::int(row, "key")?))))
            })
            .collect::<Result<Vec<feed::Happened>>>()?;
        happened.sort_by_key(|(_, turn)| *turn);
        feed::append(conn, cx, &mut conversation, &happened, now).await?;
        records::refresh_turns(conn, cx, &mut conversation).await?;
        conversation.save(conn).await?;
        cx.announce(Change::Settled(key));
        expired += happened.len();
    }
    Ok(expired)
}

pub(in crate::store) async fn queued(conn: &mut Conn) -> Result<Vec<(FrontendName, u64)>> {
    let found = db::query(
        "SELECT frontend, CAST(SUM(turns) AS BIGINT) AS queued FROM waiting GROUP BY frontend HAVING SUM(turns) > 0 \
         ORDER BY frontend",
    )
    .fetch_all(conn)
    .await?;
    found
        .iter()
        .map(|row| Ok((FrontendName::trusted(rows::text(row, "frontend")?), rows::count(row, "queued")?)))
        .collect()
}
