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

use super::{breakers::Breakers, ledger::Ledger, waits::Waits};
use crate::{
    domain::{
        Clock, Entropy, Timestamp,
        backoff::Backoff,
        breaker::State,
        ids::FrontendName,
        message::Role,
        resend,
        scopes::About,
        turn::{FailureCode, TurnFailure, TurnState},
        vendor::{ATTRIBUTE_CONVERSATION, ATTRIBUTE_SPEAKER, ATTRIBUTE_TURN},
    },
    fini::{
        Failure, FiniApi, GenerateAnswer, Target,
        budget::{Budget, Permit},
    },
    lifecycle::{Loop, Step, Tasks, Wake},
    store::{
        Bindings, ClaimTurns, ClaimedTurn, ClaimedTurns, Hold, Lease, LostClaims, Owner, RequestClass, Result, Store,
        StoreError, Token,
    },
};

/// Delay before the first look for an unclear turn.
const FIRST_LOOK: Duration = Duration::from_secs(1);
/// Time by which a lease outlasts the deadline of its send: enough to record the outcome.
const LEASE_SLACK: Duration = Duration::from_secs(20);
/// Pauses of a message that did not leave.
const UNSENT: Backoff = Backoff { first: Duration::from_secs(1), cap: Duration::from_secs(30) };
/// Pauses between attempts to record it.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// At most so many sends at once: far above what the budget lets through in the time of one reply.
const MAX_IN_FLIGHT: usize = 512;
/// Claimed in one go.
const BATCH: usize = 32;
/// While the budget has no room, every further message would ask it again, and lock the due turns meanwhile: not more often
/// than this. Room that was given back unused is found as late at most.
const ASKED_EVERY: Duration = Duration::from_millis(250);

/// Settings of the sender.
#[derive(Clone, Debug)]
pub struct SenderSettings {
    /// Each frontend with its bot.
    pub bots: Vec<(FrontendName, String)>,
    /// The deadline of one Generate Answer call; the lease outlasts it.
    pub reply_timeout: Duration,
    /// Time for which consecutive messages are gathered into one turn; zero turns that off.
    pub join_window: Duration,
    /// A message that could not be sent for so long is failed.
    pub give_up_after: Duration,
}

/// The sender.
pub struct Sender {
    /// Holds the turns.
    pub store: Arc<dyn Store>,
    /// Receives the turns.
    pub fini: Arc<dyn FiniApi>,
    /// Knows which Fini conversation belongs to which conversation.
    pub bindings: Bindings,
    /// Records Fini's answers.
    pub ledger: Arc<Ledger>,
    /// Say when not to send.
    pub breakers: Arc<Breakers>,
    /// Says how much may be sent.
    pub budget: Arc<Budget>,
    /// Learns how long replies take.
    pub waits: Arc<Waits>,
    /// The steady clock.
    pub clock: Arc<dyn Clock>,
    /// Draws jitter, and the ids of request spans.
    pub entropy: Arc<dyn Entropy>,
    /// Runs the sends.
    pub tasks: Tasks,
    /// Wakes this loop when a send ends for which it waits.
    pub wake: Wake,
    /// This process, as the owner of leases.
    pub owner: Owner,
    /// Bots, timeouts and windows.
    pub settings: SenderSettings,
    /// Sends under way.
    pub in_flight: AtomicUsize,
    /// The frontend whose turn it is.
    pub round: AtomicUsize,
    /// Claims that failed.
    pub lost_claims: LostClaims,
}

impl Loop for Arc<Sender> {
    type Error = StoreError;

    async fn step(&self) -> Result<Step> {
        let now = self.clock.now();
        let room = MAX_IN_FLIGHT.saturating_sub(self.in_flight.load(Ordering::Acquire));
        if room == 0 {
            return Ok(Step::Idle { until: None });
        }
        self.void_lost_claims(now).await?;
        let mut next = self.lost_claims.look_at(now);
        let mut later = |at: Option<Timestamp>| next = [next, at].into_iter().flatten().min();
        let mut count = 0;
        let mut closed = Vec::new();
        for (bot, frontends) in self.bots_in_turn() {
            match self.breakers.sends(bot) {
                State::Closed => closed.extend(frontends),
                State::Open { until, .. } => later(Some(until)),
                State::HalfOpen { .. } => {
                    let claimed = self.claim(now, frontends, 1).await?;
                    if !claimed.turns.is_empty() {
                        self.breakers.probe_send(bot, self.settings.reply_timeout);
                        count += self.start_all(claimed.turns, now, true);
                    }
                    later(claimed.next.filter(|next| *next > now));
                }
            }
        }
        if closed.is_empty() {
            self.budget.set_waiting(RequestClass::Send, 0);
            return Ok(if count > 0 { Step::Did(count) } else { Step::Idle { until: next } });
        }
        let claimed = self.claim(now, closed.clone(), room.min(BATCH)).await?;
        self.note_waiting(claimed.held_by_budget, &closed).await?;
        let started = self.start_all(claimed.turns, now, false);
        later(claimed.next);
        Ok(match claimed.next {
            Some(due) if started > 0 && due <= now => Step::Did(count + started),
            Some(room_at) if claimed.held_by_budget => {
                Step::Held { until: next, rest: room_at.since(now).min(ASKED_EVERY) }
            }
            _ if count > 0 => Step::Did(count),
            _ => Step::Idle { until: next },
        })
    }
}

impl Sender {
    /// Gives back turns that were claimed without an answer reaching this process: nothing was sent for them.
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

    /// Returns each bot with its frontends, beginning with another frontend each time.
    fn bots_in_turn(&self) -> Vec<(usize, Vec<FrontendName>)> {
        let frontends = &self.settings.bots;
        let first = self.round.fetch_add(1, Ordering::Relaxed) % frontends.len().max(1);
        let mut bots: Vec<(usize, Vec<FrontendName>)> = Vec::new();
        for (name, bot) in frontends[first..].iter().chain(&frontends[..first]) {
            let bot = self.breakers.bot(bot);
            match bots.iter_mut().find(|(known, _)| *known == bot) {
                Some((_, names)) => names.push(name.clone()),
                None => bots.push((bot, vec![name.clone()])),
            }
        }
        bots
    }

    async fn claim(&self, now: Timestamp, frontends: Vec<FrontendName>, max: usize) -> Result<ClaimedTurns> {
        let token = Token(Arc::from(self.entropy.key()));
        let claim = ClaimTurns {
            lease: self.lease(now),
            token: token.clone(),
            max,
            frontends,
            join_window: self.settings.join_window,
            budget: self.budget.terms(),
        };
        self.store.claim_turns(claim).await.inspect_err(|_| self.lost_claims.add(token, now))
    }

    /// Notes how many messages wait for the budget: those that no breaker holds back.
    async fn note_waiting(&self, held_by_budget: bool, frontends: &[FrontendName]) -> Result<()> {
        let waiting = if held_by_budget {
            let queued = self.store.queued_turns().await?;
            queued.iter().filter(|(name, _)| frontends.contains(name)).map(|(_, count)| count).sum()
        } else {
            0
        };
        self.budget.set_waiting(RequestClass::Send, waiting);
        Ok(())
    }

    fn start_all(self: &Arc<Self>, turns: Vec<ClaimedTurn>, claimed_at: Timestamp, is_probe: bool) -> usize {
        let count = turns.len();
        for turn in turns {
            self.start(turn, claimed_at, is_probe);
        }
        count
    }

    fn start(self: &Arc<Self>, turn: ClaimedTurn, claimed_at: Timestamp, is_probe: bool) {
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
        let guard = InFlight { sender: Arc::clone(self), is_probe };
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
        let result = match self.target(&turn).await {
            Ok(Some(target)) => self.generate(&turn, target, claimed_at).await,
            // Nothing has left, so the turn is given back: else this process would hold it until the lease ends.
            Ok(None) => never_left("the binding changed meanwhile"),
            Err(error) => never_left(format!("the binding could not be read: {error}")),
        };
        let deadline = self.clock.now().plus(LEASE_SLACK / 2);
        let mut pause = FIRST_PAUSE;
        loop {
            match self.settle(&turn, &result).await {
                // A disk that is full for a moment must not lose Fini's answer: recording is retried while the lease lasts.
                Err(error) if self.clock.now().plus(pause) < deadline => {
                    tracing::warn!(%error, "outcome of a send not recorded yet");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                ended => return ended,
            }
        }
    }

    async fn generate(&self, turn: &ClaimedTurn, target: Target, claimed_at: Timestamp) -> Answer {
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
        let asked_at = self.clock.now();
        let result = self.fini.generate_answer(&request, &departure).await;
        if result.is_ok() && turn.role == Role::User {
            self.waits.replied(self.clock.now().since(asked_at));
        }
        let bot = self.bot(turn).map_or(usize::MAX, |bot| self.breakers.bot(bot));
        if self.breakers.learn(About::Message(bot, turn.conversation.key), claimed_at, &result) {
            self.wake.notify();
        }
        result
    }

    async fn target(&self, turn: &ClaimedTurn) -> Result<Option<Target>> {
        if turn.is_bound {
            let found = self.bindings.interaction(turn.conversation.key, turn.binding_version).await?;
            return Ok(found.map(Target::Conversation));
        }
        Ok(self.bot(turn).map(|bot| Target::Bot(bot.to_owned())))
    }

    fn bot(&self, turn: &ClaimedTurn) -> Option<&str> {
        let bot = self.settings.bots.iter().find(|(name, _)| *name == turn.conversation.frontend);
        bot.map(|(_, bot)| bot.as_str())
    }

    async fn settle(&self, turn: &ClaimedTurn, result: &Answer) -> Result<()> {
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
                let due = now.plus(UNSENT.delay(turn.attempt, self.entropy.fraction()));
                self.store.release_turn(turn.key, &turn.token, now, due, detail).await?;
            }
            Failure::Throttled { detail, .. } | Failure::Unauthorised { detail, .. } => {
                // Nothing was stored; a breaker says when to try again, not the turn.
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
        self.ledger.fail(turn.key, Hold::Sender(turn.token.clone()), &failure).await?;
        Ok(())
    }
}

/// The outcome of a send: Fini's events, or the failure.
type Answer = std::result::Result<Vec<crate::domain::vendor::FiniEvent>, Failure>;

fn never_left(detail: impl Into<String>) -> Answer {
    Err(Failure::NeverLeft { detail: detail.into() })
}

/// Returns the caller's attributes with our keys and the user's id. These always win: no attribute makes one customer
/// another, or a human of the bot.
fn attributes(turn: &ClaimedTurn) -> serde_json::Map<String, Value> {
    let mut attributes = turn.attributes.clone();
    if let Some(id) = &turn.user_id {
        attributes.insert("user_id".to_owned(), Value::from(id.as_str()));
    }
    attributes.insert(ATTRIBUTE_CONVERSATION.to_owned(), Value::from(turn.conversation_attribute.as_str()));
    attributes.insert(ATTRIBUTE_TURN.to_owned(), Value::from(turn.turn_attribute.as_str()));
    // Both ends of a human's time are marked: with the first message after it the bot reads that it is the bot's again.
    match turn.speaker {
        Some(speaker) => attributes.insert(ATTRIBUTE_SPEAKER.to_owned(), Value::from(speaker.as_str())),
        None => attributes.remove(ATTRIBUTE_SPEAKER),
    };
    attributes
}

/// Counts a send as under way until it is dropped, also when it panics.
struct InFlight {
    sender: Arc<Sender>,
    /// True if a breaker waits for its outcome.
    is_probe: bool,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let before = self.sender.in_flight.fetch_sub(1, Ordering::AcqRel);
        // A turn that may be sent now is announced by the store, whoever made it due: a claim for every end of a send would
        // find nothing nearly always.
        if before >= MAX_IN_FLIGHT || self.is_probe {
            self.sender.wake.notify();
        }
    }
}
