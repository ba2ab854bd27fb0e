//! Recording what Fini said: the only way by which anything of Fini's enters the feed.

use std::time::Duration;

use super::{Result, Token};
use crate::domain::{
    Timestamp,
    conversation::State,
    correlation::Correlation,
    ids::{ConversationKey, FiniEventId, InteractionId, TurnKey},
    message::Role,
    turn::TurnState,
    vendor::{FiniConversation, FiniEvent},
};

/// How a conversation's watch ends.
#[derive(Clone, Copy, Debug)]
pub struct WatchPolicy {
    /// After so long without activity.
    pub idle: Duration,
    /// The same while escalated.
    pub escalated: Duration,
}

/// One look at a Fini conversation, to be recorded.
#[derive(Clone, Debug)]
pub struct Record {
    /// Whose conversation it is.
    pub conversation: ConversationKey,
    /// Where the look comes from.
    pub source: Source,
    /// The events, oldest first.
    pub events: Vec<FiniEvent>,
    /// The present time.
    pub now: Timestamp,
}

/// Where a look comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// The answer to a send. An outdated token records nothing.
    Response {
        /// The turn that was sent.
        turn: TurnKey,
        /// The proof of the claim.
        token: Token,
        /// Should the turn now be awaiting its reply: when it is looked for.
        look_at: Timestamp,
    },
    /// A wrapper from List or Get. Records nothing where the conversation is not (or no longer) bound to it.
    Wrapper {
        /// The Fini conversation that was read.
        interaction: InteractionId,
        /// When Fini created it.
        created_at: Timestamp,
        /// Whether it was read by itself, and so is not cut.
        is_whole: bool,
        /// Its status text.
        status: Option<String>,
        /// Its resolved flag.
        resolved: Option<bool>,
        /// The value of our turn attribute on it.
        turn_attribute: Option<String>,
        /// It was the truth at Fini no earlier than that.
        as_of: Timestamp,
        /// Should the open turn now be awaiting its reply: when it is looked for.
        look_at: Timestamp,
    },
}

/// What recording changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is an answer of its own, and any may come with any other")]
pub struct Recorded {
    /// Whether the look still counted (token and binding matched).
    pub counted: bool,
    /// How many feed events it caused.
    pub added: usize,
    /// Creation times of Fini events that were new, for the published lag.
    pub new_events: Vec<Timestamp>,
    /// The conversation's state after it.
    pub state: Option<State>,
    /// Where the turn stands after it, also where nothing changed; `None` where no turn is in flight.
    pub turn: Option<TurnState>,
    /// Whether what was found may be the turn's message or somebody else's, so that it is neither there nor absent; or
    /// something was found of which it is not known yet whose it is.
    pub doubtful: bool,
    /// How many events this look withheld from everybody.
    pub withheld: usize,
    /// Whether this look quarantined the conversation.
    pub quarantined: bool,
    /// Whether the snapshot lacks an event that was seen not long ago: what else it lacks may be there all the same.
    pub is_behind: bool,
    /// When one more look is wanted although nothing else changes: the snapshot was behind what is known, or its status was
    /// not judged since the last word of the exchange.
    pub judge_at: Option<Timestamp>,
    /// The turns that this look ended, oldest first.
    pub ended: Vec<Ended>,
}

impl Recorded {
    /// Adds the changes of the next part of the same look.
    #[must_use]
    pub fn then(self, mut next: Self) -> Self {
        next.added += self.added;
        next.withheld += self.withheld;
        next.new_events.splice(0..0, self.new_events);
        next.ended.splice(0..0, self.ended);
        next
    }
}

/// A turn that a look ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The name of its outcome.
    pub outcome: &'static str,
    /// When its first message was accepted.
    pub accepted_at: Timestamp,
    /// The request that brought that message.
    pub cause: Correlation,
}

/// Conversations that look for theirs at once; the ones that have looked longest come first.
pub const UNBOUND: usize = 500;

/// A conversation whose first turn was claimed for sending, but whose Fini conversation is not known yet.
#[derive(Clone, Debug)]
pub struct Unbound {
    /// The conversation.
    pub conversation: super::ConversationRef,
    /// The value of our conversation attribute.
    pub attribute: String,
    /// The Fini events that are known to be its own (from responses).
    pub events: Vec<FiniEventId>,
    /// Its message in flight, while the event of that was not seen: what could turn up in a foreign conversation.
    pub open: Option<Open>,
    /// When its first message was created at Fini, by Fini's clock, as far as that is known.
    pub own_since: Option<Timestamp>,
    /// When its first turn was sent.
    pub first_sent_at: Timestamp,
    /// Since when the binding is wanted.
    pub wanted_since: Timestamp,
    /// When to look (again).
    pub look_at: Timestamp,
    /// How often it was looked for.
    pub looks: u32,
    /// Whether messages wait for the binding while nothing of a customer's was sent yet. Fini's List leaves such
    /// conversations out ("List conversations": only those Fini has touched), so it may never be found.
    pub waits_unlisted: bool,
}

/// A message that may stand at Fini without its event having been seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// On whose behalf it was sent.
    pub role: Role,
    /// The text as it was sent.
    pub text: String,
    /// When it was sent, the last time.
    pub sent_at: Timestamp,
    /// Whether it was given up meanwhile: nobody waits for what becomes of it.
    pub is_given_up: bool,
}

/// What the conversations whose Fini conversation is not known amount to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnboundSummary {
    /// How many there are.
    pub count: u64,
    /// The first send of those that are to be looked for now.
    pub due_since: Option<Timestamp>,
    /// When the first of them is to be looked for.
    pub look_at: Option<Timestamp>,
}

/// What binding came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Bound; waiting turns of the conversation are due.
    Now,
    /// It was bound to exactly this before.
    Already,
    /// The Fini conversation belongs to another conversation, or a person whom nobody knows has spoken in it before: this one
    /// is quarantined now.
    Quarantined {
        /// Its owner, if it is one of ours.
        owner: Option<super::ConversationRef>,
    },
    /// The conversation no longer wants it (bound elsewhere, erased, settled by an operator).
    Stale,
}

/// Recording what Fini said, and whose Fini conversation is whose.
#[async_trait::async_trait]
pub trait LedgerStore: Send + Sync {
    /// Applies one look in one transaction: marks events as seen, appends to the feed, files deliveries, settles the turn,
    /// moves the conversation, its watch and its next read. Announces what follows.
    ///
    /// A response of a conversation that is not bound also makes its binding wanted. A response from which no trace of the
    /// message could be told (an empty array) leaves the turn `unclear`.
    async fn record(&self, record: Record) -> Result<Recorded>;

    /// The conversations of these Fini conversations.
    async fn owners(&self, interactions: &[InteractionId]) -> Result<Vec<(InteractionId, super::ConversationRef)>>;

    /// Conversations that something was sent for without their Fini conversation being known, longest first; from the claim
    /// on, because a sweep may be faster than the response. Their `look_at` is [`Timestamp::MAX`] until their binding is
    /// wanted; those in quarantine are left out.
    async fn unbound(&self, limit: usize) -> Result<Vec<Unbound>>;

    /// What those same conversations amount to at `now`: asked far more often than who they are.
    async fn unbound_summary(&self, now: Timestamp, limit: usize) -> Result<UnboundSummary>;

    /// Sets when a wanted binding is looked for next, and counts the look; nothing where it is not wanted.
    async fn postpone_binding(&self, conversation: ConversationKey, look_at: Timestamp) -> Result<()>;

    /// Binds a conversation that looks for its Fini conversation to this one, as it was read; or quarantines it where that
    /// one belongs to another conversation, or is somebody's whom nobody knows. From then on the quarantined one counts as
    /// one of those who speak in it: what is said to it reaches nobody else.
    async fn bind(&self, conversation: ConversationKey, snapshot: &FiniConversation, now: Timestamp) -> Result<Bound>;

    /// The Fini conversation is gone (or was never found): unbinds, state `lost`; an open turn fails with
    /// `interaction_lost` (`unclear_outcome` where nobody knows whether it arrived and nothing was ever found); the next message starts a new Fini conversation. The state stays what it was where only mirrored
    /// messages were sent to a Fini conversation that was never found: List does not show such, lost or not. `interaction` must still be the binding
    /// (`None`: still unbound, and nothing of it sent after `now`), else nothing changes and `false` is returned.
    async fn lose(
        &self,
        conversation: ConversationKey,
        interaction: Option<&InteractionId>,
        now: Timestamp,
        detail: &str,
    ) -> Result<bool>;

    /// Settles a quarantine: binds to the given Fini conversation, of which nothing older than the conversation is told, or
    /// makes the next message start a new one. Then a turn in flight fails with `interaction_lost` and is not to be sent
    /// again: Fini may have it, and nobody would find its reply any more. `Stale` where there is no such
    /// conversation or it is not quarantined; `Quarantined` where the Fini conversation belongs to another one: not even an
    /// operator binds two to one.
    async fn settle_quarantine(
        &self,
        conversation: ConversationKey,
        interaction: Option<&InteractionId>,
        now: Timestamp,
    ) -> Result<Bound>;
}
