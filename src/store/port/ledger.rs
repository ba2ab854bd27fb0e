//! Recording what Fini said: the only way from Fini into the feed.

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

/// The times after which a conversation's watch ends.
#[derive(Clone, Copy, Debug)]
pub struct WatchPolicy {
    /// Time without activity.
    pub idle: Duration,
    /// Time without activity while escalated.
    pub escalated: Duration,
}

/// One look at a Fini conversation, to be recorded.
#[derive(Clone, Debug)]
pub struct Record {
    /// The conversation that the look is about.
    pub conversation: ConversationKey,
    /// The origin of the look.
    pub source: Source,
    /// The events, oldest first.
    pub events: Vec<FiniEvent>,
    /// Time at which the look is recorded.
    pub now: Timestamp,
}

/// The origin of a look.
#[derive(Clone, Debug)]
pub enum Source {
    /// The answer to a send. An outdated token records nothing.
    Response {
        /// The turn that was sent.
        turn: TurnKey,
        /// The proof of the claim.
        token: Token,
        /// Time of the next look, should the turn now await its reply.
        look_at: Timestamp,
    },
    /// A snapshot from List or Get. Records nothing if the conversation is not (or no longer) bound to it.
    Snapshot {
        /// The Fini conversation that was read.
        interaction: InteractionId,
        /// Its creation time at Fini.
        created_at: Timestamp,
        /// True if it was read by itself, and so is not cut.
        is_whole: bool,
        /// Fini's status text of it.
        status: Option<String>,
        /// Fini's resolved flag of it.
        resolved: Option<bool>,
        /// The value of our turn attribute on it.
        turn_attribute: Option<String>,
        /// The earliest time at which Fini's state may have been this.
        as_of: Timestamp,
        /// Time of the next look, should the open turn now await its reply.
        look_at: Timestamp,
    },
}

/// The changes that recording made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is an answer of its own, and any may come with any other")]
pub struct Recorded {
    /// True if the look still counted (token and binding matched).
    pub counted: bool,
    /// Number of feed events that it caused.
    pub added: usize,
    /// Creation times of Fini events that were new, for the published lag.
    pub new_events: Vec<Timestamp>,
    /// The conversation's state after it.
    pub state: Option<State>,
    /// The turn's state after it, also if nothing changed; `None` if no turn is in flight.
    pub turn: Option<TurnState>,
    /// True if an event that was found may be the turn's message or somebody else's, so that the turn is neither there nor
    /// absent; or if the owner of something that was found is not known yet.
    pub doubtful: bool,
    /// Number of events that this look withheld from everybody.
    pub withheld: usize,
    /// True if this look quarantined the conversation.
    pub quarantined: bool,
    /// True if the snapshot lacks an event that was seen not long ago: it may lack others that are there, too.
    pub is_behind: bool,
    /// Time of one more look that is wanted although nothing else changes: the snapshot was older than the record, or its status
    /// was not judged since the last word of the exchange.
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
    /// Time at which its first message was accepted.
    pub accepted_at: Timestamp,
    /// The request that brought that message.
    pub cause: Correlation,
}

/// The most conversations to look for at once; those that have waited longest come first.
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
    /// Its message in flight, until the event of that is seen: it could turn up in a foreign conversation.
    pub open: Option<Open>,
    /// Creation time of its first message, by Fini's clock, if known.
    pub own_since: Option<Timestamp>,
    /// Time of its first send.
    pub first_sent_at: Timestamp,
    /// Time since which the binding is wanted.
    pub wanted_since: Timestamp,
    /// Time of the next look.
    pub look_at: Timestamp,
    /// Number of looks for it.
    pub looks: u32,
    /// True if messages wait for the binding while no customer's message was sent yet. Fini's List leaves such
    /// conversations out ("List conversations": only those Fini has touched), so it may never be found.
    pub waits_unlisted: bool,
}

/// A message that may stand at Fini without its event having been seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// The author's role.
    pub role: Role,
    /// The text as it was sent.
    pub text: String,
    /// Time of its last send.
    pub sent_at: Timestamp,
    /// True if it was given up meanwhile: nobody waits for its fate.
    pub is_given_up: bool,
}

/// Totals over the conversations whose Fini conversation is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnboundSummary {
    /// Number of such conversations.
    pub count: u64,
    /// The earliest first send of those that are due for a look now.
    pub due_since: Option<Timestamp>,
    /// Time of the earliest look that is due.
    pub look_at: Option<Timestamp>,
}

/// The result of binding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Bound; waiting turns of the conversation are due.
    Now,
    /// It was bound to exactly this before.
    Already,
    /// The Fini conversation belongs to another conversation, or a person unknown to the bridge has spoken in it before:
    /// this one is quarantined now.
    Quarantined {
        /// Its owner, if it is one of ours.
        owner: Option<super::ConversationRef>,
    },
    /// The conversation no longer wants it (bound elsewhere, erased, settled by an operator).
    Stale,
}

/// Records what Fini said, and which Fini conversation belongs to which conversation.
#[async_trait::async_trait]
pub trait LedgerStore: Send + Sync {
    /// Applies one look in one transaction: marks events as seen, appends to the feed, files deliveries, settles the turn,
    /// moves the conversation, its watch and its next read. Announces the changes.
    ///
    /// A response of a conversation that is not bound also makes its binding wanted. A response that shows no trace of the
    /// message (an empty array) leaves the turn `unclear`.
    async fn record(&self, record: Record) -> Result<Recorded>;

    /// Finds the conversations that are bound to these Fini conversations.
    async fn owners(&self, interactions: &[InteractionId]) -> Result<Vec<(InteractionId, super::ConversationRef)>>;

    /// Lists conversations for which something was sent while their Fini conversation is unknown, longest first; from the claim
    /// on, because a sweep may be faster than the response. Their `look_at` is [`Timestamp::MAX`] until their binding is
    /// wanted; those in quarantine are left out.
    async fn unbound(&self, limit: usize) -> Result<Vec<Unbound>>;

    /// Returns the totals over those conversations at `now`: asked far more often than the list.
    async fn unbound_summary(&self, now: Timestamp, limit: usize) -> Result<UnboundSummary>;

    /// Sets the time of the next look for a wanted binding, and counts the look; does nothing if it is not wanted.
    async fn postpone_binding(&self, conversation: ConversationKey, look_at: Timestamp) -> Result<()>;

    /// Binds a conversation that looks for its Fini conversation to this one, as it was read; quarantines it if that one
    /// belongs to another conversation, or to a person unknown to the bridge. From then on the quarantined conversation
    /// counts as one of those that speak in it: messages to it reach nobody else.
    async fn bind(&self, conversation: ConversationKey, snapshot: &FiniConversation, now: Timestamp) -> Result<Bound>;

    /// Unbinds a conversation whose Fini conversation is gone (or was never found): its state becomes `lost`, and an open
    /// turn fails with `interaction_lost` (`unclear_outcome` if its arrival is unknown and nothing was ever found); the next
    /// message starts a new Fini conversation. The state stays as it was if only mirrored messages were sent to a Fini
    /// conversation that was never found: List does not show such, lost or not. `interaction` must still be the binding
    /// (`None`: still unbound, and nothing of it sent after `now`), else nothing changes and it returns false.
    async fn lose(
        &self,
        conversation: ConversationKey,
        interaction: Option<&InteractionId>,
        now: Timestamp,
        detail: &str,
    ) -> Result<bool>;

    /// Settles a quarantine: binds to the given Fini conversation, of which the feed gets nothing older than the conversation, or
    /// makes the next message start a new one. Then a turn in flight fails with `interaction_lost` and must not be sent
    /// again: Fini may have it, and its reply would never be found. `Stale` if there is no such
    /// conversation or it is not quarantined; `Quarantined` if the Fini conversation belongs to another one: not even an
    /// operator binds two to one.
    async fn settle_quarantine(
        &self,
        conversation: ConversationKey,
        interaction: Option<&InteractionId>,
        now: Timestamp,
    ) -> Result<Bound>;
}
