//! Claiming, sending and settling turns.

use std::time::Duration;

use serde_json::{Map, Value};

use super::{BudgetTerms, Lease, Result, Token};
use crate::domain::{
    Timestamp,
    correlation::Correlation,
    handoff::Speaker,
    ids::{ConversationId, ConversationKey, FrontendName, InteractionId, MessageId, TurnKey},
    message::Role,
    resend::Tries,
    turn::{TurnFailure, TurnState},
};

/// A conversation, by both its names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConversationRef {
    /// The store's key of it.
    pub key: ConversationKey,
    /// The frontend that it belongs to.
    pub frontend: FrontendName,
    /// The frontend's id of it.
    pub id: ConversationId,
}

/// The end of a turn, for log and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndOfTurn {
    /// Its conversation.
    pub conversation: ConversationRef,
    /// Id of its first message, as its poster gave it.
    pub message: MessageId,
    /// The name of its outcome, or the code of its failure.
    pub outcome: &'static str,
    /// The reason for its failure, in words; `None` if it did not fail.
    pub failure: Option<String>,
    /// Time from the acceptance of that message to the end.
    pub took: Duration,
    /// The request that brought that message.
    pub cause: Correlation,
}

/// A request to claim turns for sending.
#[derive(Clone, Debug)]
pub struct ClaimTurns {
    /// The lease to take on each turn.
    pub lease: Lease,
    /// The proof of holding them, new for each claim: it identifies them should the answer to the claim be lost.
    pub token: Token,
    /// The most turns to claim.
    pub max: usize,
    /// The frontends to take from, in the order in which they are served: one turn each per round, so that a busy one
    /// cannot starve another. Frontends that are not named are skipped.
    pub frontends: Vec<FrontendName>,
    /// Consecutive queued user messages of a conversation are sent as one turn once the oldest has waited this long;
    /// zero sends every message by itself, at once.
    pub join_window: std::time::Duration,
    /// The budget: one request of class `Send` is taken per claimed turn, in the same transaction.
    pub budget: BudgetTerms,
}

/// The result of a claim.
#[derive(Clone, Debug, Default)]
pub struct ClaimedTurns {
    /// The claimed turns; on record as `sending`.
    pub turns: Vec<ClaimedTurn>,
    /// Time of the next claim: the earliest due time of a turn that could not be claimed yet, or the time at which the budget has
    /// room. `None` if nothing waits.
    pub next: Option<Timestamp>,
    /// True if the budget held back turns that were due.
    pub held_by_budget: bool,
}

/// A turn that a sender has claimed. It was written as `sending` before this was returned.
#[derive(Clone, Debug)]
pub struct ClaimedTurn {
    /// The turn (the first of a joined one).
    pub key: TurnKey,
    /// The proof of the claim.
    pub token: Token,
    /// Its conversation.
    pub conversation: ConversationRef,
    /// The attribute value that marks the conversation in Fini.
    pub conversation_attribute: String,
    /// The attribute value that marks this turn in Fini.
    pub turn_attribute: String,
    /// Counts the changes of the conversation's binding; a cached binding of another version is stale.
    pub binding_version: i64,
    /// True if the conversation is bound; otherwise this turn begins a new Fini conversation.
    pub is_bound: bool,
    /// The message ids, oldest first; more than one if messages were joined.
    pub messages: Vec<MessageId>,
    /// The author's role.
    pub role: Role,
    /// The text; joined messages are separated by a newline.
    pub text: String,
    /// The user's id, if the frontend named it.
    pub user_id: Option<String>,
    /// The user's attributes.
    pub attributes: Map<String, Value>,
    /// Fini's channel, if the frontend named it.
    pub channel: Option<String>,
    /// Further metadata.
    pub metadata: Map<String, Value>,
    /// Number of this attempt; 1 for the first.
    pub attempt: u32,
    /// The one who may speak to the customer, once a human was ever asked for in the conversation.
    pub speaker: Option<Speaker>,
    /// Number of times that it was sent again after proven absence.
    pub resends: u32,
    /// Time at which the first of its messages was accepted.
    pub accepted_at: Timestamp,
    /// The request that brought the first of its messages.
    pub cause: Correlation,
    /// The budget entry taken for it.
    pub permit: super::PermitId,
}

/// A turn whose fate is read back from Fini.
#[derive(Clone, Debug)]
pub struct TurnToRead {
    /// The turn; the first of a joined one.
    pub key: TurnKey,
    /// The attempt that is looked for: a conclusion from a look counts for no other.
    pub attempt: u32,
    /// `Awaiting`, `Late` or `Unclear`.
    pub state: TurnState,
    /// The author's role.
    pub role: Role,
    /// Its conversation.
    pub conversation: ConversationRef,
    /// The conversation's attribute value in Fini.
    pub conversation_attribute: String,
    /// This turn's attribute value in Fini.
    pub turn_attribute: String,
    /// The Fini conversation, if bound.
    pub interaction: Option<InteractionId>,
    /// Time of its last send.
    pub sent_at: Timestamp,
    /// Start of its present state.
    pub since: Timestamp,
    /// Number of looks for it in this state.
    pub looks: u32,
    /// Number of its sends, this one included, and the time of the first.
    pub tries: Tries,
    /// The reason for its state, in words (for the operator).
    pub detail: String,
    /// The request that brought its message.
    pub cause: Correlation,
}

/// The state and holder that a turn must have for a change to apply.
#[derive(Clone, Debug)]
pub enum Hold {
    /// `sending`, under this token.
    Sender(Token),
    /// `awaiting`, `late` or `unclear`, after this attempt.
    Looked(u32),
}

/// Claims, sends and settles turns. A method that takes a token returns false if the token is no longer the turn's: another
/// process has the turn now, and nothing was changed.
#[async_trait::async_trait]
pub trait TurnStore: Send + Sync {
    /// Claims due turns: per conversation only the oldest queued one, only if none is in flight, and only if the
    /// conversation is bound or nothing was ever sent (else a second Fini conversation would begin). Skips conversations
    /// that are quarantined or whose frontends are not named. Writes `sending` and the budget entries.
    async fn claim_turns(&self, claim: ClaimTurns) -> Result<ClaimedTurns>;

    /// Moves every `sending` turn of a claim whose answer never arrived to `queued`: nothing was sent for any of them. Returns
    /// their number.
    async fn void_claim(&self, token: &Token, now: Timestamp) -> Result<usize>;

    /// Moves a `sending` turn to `queued`: provably not sent; due again at `due_at`.
    async fn release_turn(
        &self,
        key: TurnKey,
        token: &Token,
        now: Timestamp,
        due_at: Timestamp,
        detail: &str,
    ) -> Result<bool>;

    /// Moves a `sending` turn to `unclear`: to be looked for at `look_at`, and not to be sent again before `resend_at`, whatever
    /// the look shows.
    async fn lose_sight(
        &self,
        key: TurnKey,
        token: &Token,
        now: Timestamp,
        look_at: Timestamp,
        resend_at: Timestamp,
        detail: &str,
    ) -> Result<bool>;

    /// Moves a turn to `failed`, with `turn.failed` in the feed for each of its messages; returns false if it is not in `hold`.
    async fn fail_turn(&self, key: TurnKey, hold: Hold, now: Timestamp, failure: &TurnFailure) -> Result<bool>;

    /// Moves an `unclear` turn to `queued`, due at `due_at` or when its last send allows it, with one more try on record; returns
    /// false if this attempt is no longer `unclear`: a look that began before another send proves nothing about that one.
    async fn prove_absent(&self, key: TurnKey, attempt: u32, now: Timestamp, due_at: Timestamp) -> Result<bool>;

    /// Returns true if a message of another conversation of these frontends was sent since `since` and arrived.
    async fn others_arrived(
        &self,
        frontends: &[FrontendName],
        except: ConversationKey,
        since: Timestamp,
    ) -> Result<bool>;

    /// Sets the next look for an `awaiting`, `late` or `unclear` turn, and counts the look, if this attempt is the latest.
    async fn postpone_look(&self, key: TurnKey, attempt: u32, look_at: Timestamp) -> Result<()>;

    /// Lists the `awaiting`, `late` and `unclear` turns whose look is due, oldest look first.
    async fn turns_to_read(&self, now: Timestamp, limit: usize) -> Result<Vec<TurnToRead>>;

    /// Returns the time of the next look, if any.
    async fn next_look_at(&self) -> Result<Option<Timestamp>>;

    /// Moves `sending` turns to `unclear`, to be looked for at once, if their lease has ended or their process is known to
    /// be dead: in a store that is not shared every other owner is, in a shared one those whose
    /// [`Owner::process_lease`](super::Owner::process_lease) has ended. Returns their number.
    async fn recover_turns(&self, lease: &Lease) -> Result<usize>;

    /// Fails with `failure` the `queued` turns that were accepted before `accepted_before` and have not been sent in their
    /// latest attempt; returns their number.
    async fn expire_turns(&self, now: Timestamp, accepted_before: Timestamp, failure: &TurnFailure) -> Result<usize>;

    /// Counts the queued turns per frontend.
    async fn queued_turns(&self) -> Result<Vec<(FrontendName, u64)>>;
}
