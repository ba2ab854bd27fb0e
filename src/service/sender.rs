//! Sending turns: one at a time per conversation, conversations in parallel, each message at most once.
//!
//! A turn is on record as `sending` before its request leaves. What comes back decides, by the failure's class, between
//! settled, queued again (provably not sent), and unclear (found out by reading, never by sending again). Should the
//! process die on any line, the record says `sending`, and the next start makes it unclear.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::Value;
use tracing::Instrument as _;

use super::{
    gate::{Gate, Pass, Side},
    ledger::Ledger,
};
use crate::{
    domain::{
        Clock, Entropy, Timestamp,
        ids::FrontendName,
        resend,
        turn::{FailureCode, TurnFailure, TurnState},
        vendor::{ATTRIBUTE_CONVERSATION, ATTRIBUTE_TURN},
    },
    fini::{
        Failure, FiniApi, GenerateAnswer, Target,
        budget::{Budget, Permit},
    },
    lifecycle::{Loop, Step, Tasks, Wake},
    store::{
        Bindings, ClaimTurns, ClaimedTurn, Hold, Lease, LostClaims, Owner, RequestClass, Result, Store, StoreError,
        Token,
    },
};

/// When an unclear turn is looked for first.
const FIRST_LOOK: Duration = Duration::from_secs(1);
/// What a lease has over the deadline of its send: time to record what came of it.
const LEASE_SLACK: Duration = Duration::from_secs(20);
/// Pauses between attempts to record it.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// At most so many sends at once: far above what the budget lets through in the time of one reply.
const MAX_IN_FLIGHT: usize = 512;
/// Claimed in one go.
const BATCH: usize = 32;
/// While the budget has no room, every further message would have it asked again, and what is due locked meanwhile: not more
/// often than this. Room that was given back unused is found as late at most.
const ASKED_EVERY: Duration = Duration::from_millis(250);

/// What the sender has to know.
#[derive(Clone, Debug)]
pub struct SenderSettings {
    /// Each frontend with its bot.
    pub bots: Vec<(FrontendName, String)>,
    /// The deadline of one Generate Answer call; the lease outlasts it.
    pub reply_timeout: Duration,
    /// How long consecutive messages are gathered into one turn; zero: not at all.
    pub join_window: Duration,
    /// A message that could not be sent for so long is failed.
    pub give_up_after: Duration,
}

/// The sender.
pub struct Sender {
    /// Where turns are.
    pub store: Arc<dyn Store>,
    /// Where they go.
    pub fini: Arc<dyn FiniApi>,
    /// Which Fini conversation is whose.
    pub bindings: Bindings,
    /// Records what came back.
    pub ledger: Arc<Ledger>,
    /// Says when not to send.
    pub gate: Arc<Gate>,
    /// Says how much may be sent.
    pub budget: Arc<Budget>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// For jitter, and the spans of requests.
    pub entropy: Arc<dyn Entropy>,
    /// Runs the sends.
    pub tasks: Tasks,
    /// Wakes this loop when a send ends.
    pub wake: Wake,
    /// This process.
    pub owner: Owner,
    /// What it has to know.
    pub settings: SenderSettings,
    /// Sends under way.
    pub in_flight: AtomicUsize,
    /// Whose turn it is among the frontends.
    pub round: AtomicUsize,
    /// Claims that failed.
    pub lost_claims: LostClaims,
}

impl Loop for Arc<Sender> {
    type Error = StoreError;

    async fn step(&self) -> Result<Step> {
        let now = self.clock.now();
        let pass = self.gate.pass(Side::Write);
        let room = MAX_IN_FLIGHT.saturating_sub(self.in_flight.load(Ordering::Acquire));
        let max = match pass {
            Pass::Closed(until) => return Ok(Step::Idle { until: Some(until) }),
            Pass::Probe => 1,
            Pass::Open => room.min(BATCH),
        };
        if max == 0 {
            return Ok(Step::Idle { until: None });
        }
        if pass == Pass::Probe {
            self.gate.probing(Side::Write, self.settings.reply_timeout);
        }
        self.void_lost_claims(now).await?;
        let token = Token(Arc::from(self.entropy.key()));
        let claim = ClaimTurns {
            lease: self.lease(now),
            token: token.clone(),
            max,
            frontends: self.frontends_in_turn(),
            join_window: self.settings.join_window,
            budget: self.budget.terms(),
        };
        let claimed = self.store.claim_turns(claim).await.inspect_err(|_| self.lost_claims.add(token, now))?;
        if claimed.turns.is_empty() && pass == Pass::Probe {
            self.gate.not_probed(Side::Write);
        }
        if claimed.held_by_budget {
            let queued = self.store.queued_turns().await?;
            self.budget.set_waiting(RequestClass::Send, queued.iter().map(|(_, count)| count).sum());
        } else {
            self.budget.set_waiting(RequestClass::Send, 0);
        }
        let count = claimed.turns.len();
        for turn in claimed.turns {
            self.start(turn, now);
        }
        Ok(match claimed.next {
            Some(next) if count > 0 && next <= now => Step::Did(count),
            Some(room_at) if claimed.held_by_budget => {
                Step::Held { until: claimed.next, rest: room_at.since(now).min(ASKED_EVERY) }
            }
            until => Step::Idle { until: [until, self.lost_claims.look_at(now)].into_iter().flatten().min() },
        })
    }
}

impl Sender {
    /// Gives back what was claimed without this process ever hearing of it: nothing was sent for it.
    async fn void_lost_claims(&self, now: Timestamp) -> Result<()> {
        let void = async |token: Token| self.store.void_claim(&token, now).await;
        let turns = self.lost_claims.give_back(now, void).await?;
        if turns > 0 {
            tracing::info!(turns, "claim given back whose answer was lost");
        }
        Ok(())
    }

    fn lease(&self, now: Timestamp) -> Lease {
        let until = now.plus(self.settings.reply_timeout + LEASE_SLACK);
        Lease { owner: self.owner.clone(), now, until }
    }

    fn frontends_in_turn(&self) -> Vec<FrontendName> {
        let bots = &self.settings.bots;
        let first = self.round.fetch_add(1, Ordering::Relaxed) % bots.len().max(1);
        bots[first..].iter().chain(&bots[..first]).map(|(name, _)| name.clone()).collect()
    }

    fn start(self: &Arc<Self>, turn: ClaimedTurn, claimed_at: Timestamp) {
        let span = tracing::info_span!(
            "send",
            frontend = %turn.conversation.frontend,
            conversation_id = %turn.conversation.id,
            message_id = turn.messages.last().map_or("", |id| id.as_str()),
            attempt = turn.attempt,
            request_id = turn.cause.request_id(),
            trace_id = turn.cause.trace_id()
        );
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        let guard = InFlight(Arc::clone(self));
        let sender = Arc::clone(self);
        let work = async move {
            let _guard = guard;
            if let Err(error) = sender.send(turn, claimed_at).await {
                // The lease ends, and the turn becomes unclear: nothing is lost or sent twice.
                tracing::error!(%error, "outcome of a send could not be recorded");
            }
        };
        drop(self.tasks.spawn("send", work.instrument(span)));
    }

    async fn send(&self, turn: ClaimedTurn, claimed_at: Timestamp) -> Result<()> {
        let (result, closed_until) = match self.target(&turn).await {
            Ok(Some(target)) => self.generate(&turn, target, claimed_at).await,
            // Nothing has left, so it is given back: else it would be in these hands until the lease ends.
            Ok(None) => (never_left("the binding changed meanwhile"), None),
            Err(error) => (never_left(format!("the binding could not be read: {error}")), None),
        };
        let deadline = self.clock.now().plus(LEASE_SLACK / 2);
        let mut pause = FIRST_PAUSE;
        loop {
            match self.settle(&turn, &result, closed_until).await {
                // A disk that is full for a moment must not cost what Fini said: while the lease lasts, it is tried again.
                Err(error) if self.clock.now().plus(pause) < deadline => {
                    tracing::warn!(%error, "outcome of a send not recorded yet");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                ended => return ended,
            }
        }
    }

    async fn generate(&self, turn: &ClaimedTurn, target: Target, claimed_at: Timestamp) -> (Answer, Option<Timestamp>) {
        let request = GenerateAnswer {
            text: turn.text.clone(),
            role: turn.role,
            target,
            attributes: attributes(turn),
            channel: turn.channel.clone(),
            metadata: turn.metadata.clone(),
        };
        let permit = Permit { id: turn.permit, at: claimed_at };
        let departure = self.budget.departure(permit).on_behalf(turn.cause.onward(&*self.entropy));
        let result = self.fini.generate_answer(&request, &departure).await;
        let closed_until = self.gate.learn(Side::Write, claimed_at, &result);
        (result, closed_until)
    }

    async fn target(&self, turn: &ClaimedTurn) -> Result<Option<Target>> {
        if turn.is_bound {
            let found = self.bindings.interaction(turn.conversation.key, turn.binding_version).await?;
            return Ok(found.map(Target::Conversation));
        }
        let bot = self.settings.bots.iter().find(|(name, _)| *name == turn.conversation.frontend);
        Ok(bot.map(|(_, bot)| Target::Bot(bot.clone())))
    }

    async fn settle(&self, turn: &ClaimedTurn, result: &Answer, closed_until: Option<Timestamp>) -> Result<()> {
        let now = self.clock.now();
        let failure = match result {
            Ok(events) => {
                let recorded = self.ledger.response(&turn.conversation, turn.key, &turn.token, events.clone()).await?;
                if recorded.turn == Some(TurnState::Unclear) {
                    tracing::warn!("Fini answered without a trace of the message");
                }
                return Ok(());
            }
            Err(failure) => failure,
        };
        match failure {
            Failure::NeverLeft { detail } => {
                if now.since(turn.accepted_at) >= self.settings.give_up_after {
                    return self.fail(turn, FailureCode::FiniUnavailable, detail, true).await;
                }
                let pause = Duration::from_millis(500).saturating_mul(1 << turn.attempt.min(6));
                let due =
                    now.plus(pause.mul_f64(1.0 + self.entropy.fraction() * 0.25)).max(closed_until.unwrap_or(now));
                self.store.release_turn(turn.key, &turn.token, now, due, detail).await?;
            }
            Failure::Throttled { detail, .. } | Failure::Unauthorised { detail, .. } => {
                // Nothing was stored; the gate says when to try again, not the turn.
                self.store.release_turn(turn.key, &turn.token, now, now, detail).await?;
            }
            // The conversation may be gone (Fini documents 500 for that, others have seen 404): a read confirms it.
            Failure::Rejected { status: 404, detail } if turn.is_bound => {
                self.store.lose_sight(turn.key, &turn.token, now, now.plus(FIRST_LOOK), now, detail).await?;
            }
            Failure::Rejected { detail, .. } | Failure::Missing { detail } => {
                return self.fail(turn, FailureCode::FiniRejected, detail, false).await;
            }
            Failure::Unclear { detail, .. } if mutated!("an unclear answer counts as never left") => {
                self.store.release_turn(turn.key, &turn.token, now, now, detail).await?;
            }
            Failure::Unclear { detail, retry_after, .. } => {
                let resend_at = resend::not_before(*retry_after, now);
                self.store.lose_sight(turn.key, &turn.token, now, now.plus(FIRST_LOOK), resend_at, detail).await?;
            }
        }
        tracing::warn!(class = failure.class(), status = failure.status(), error = %failure, "message not delivered to Fini");
        Ok(())
    }

    async fn fail(&self, turn: &ClaimedTurn, code: FailureCode, detail: &str, may_resend: bool) -> Result<()> {
        let failure = TurnFailure { code, detail: detail.to_owned(), may_resend };
        self.ledger
            .fail(
                &turn.conversation,
                turn.key,
                Hold::Sender(turn.token.clone()),
                turn.accepted_at,
                &failure,
                &turn.cause,
            )
            .await?;
        Ok(())
    }
}

/// What came of a send.
type Answer = std::result::Result<Vec<crate::domain::vendor::FiniEvent>, Failure>;

fn never_left(detail: impl Into<String>) -> Answer {
    Err(Failure::NeverLeft { detail: detail.into() })
}

/// The caller's attributes with our two keys, which always win, and the user's id where no attribute says otherwise.
fn attributes(turn: &ClaimedTurn) -> serde_json::Map<String, Value> {
    let mut attributes = turn.attributes.clone();
    if let Some(id) = &turn.user_id {
        attributes.entry("user_id").or_insert_with(|| Value::from(id.as_str()));
    }
    attributes.insert(ATTRIBUTE_CONVERSATION.to_owned(), Value::from(turn.conversation_attribute.as_str()));
    attributes.insert(ATTRIBUTE_TURN.to_owned(), Value::from(turn.turn_attribute.as_str()));
    attributes
}

/// Counts a send as under way until it is dropped, also when it panics.
struct InFlight(Arc<Sender>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
        self.0.wake.notify();
    }
}
