//! The right to speak to the customer: it passes by acts of desk, customer, Fini's action and time.

use super::{Conversation, Result};
use crate::domain::{
    Timestamp, WallTime,
    event::EscalationReason,
    handoff::{Agent, Desk, Handoff, Place, Speaker},
    ids::{ConversationId, ConversationKey, FrontendName, InteractionId},
};

/// An act of a desk or a customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HandoffAct {
    /// A human is asked for.
    Request {
        /// The reason, as the feed tells it.
        reason: EscalationReason,
        /// The requester's own words about it.
        note: Option<String>,
        /// True if it begins a conversation that has not begun: the customer's own, who need not write first.
        begins: bool,
    },
    /// An agent takes the conversation.
    Claim {
        /// The agent.
        agent: Agent,
        /// True if the agent joins another one who has it.
        joins: bool,
    },
    /// The desk states the customer's place in the queue.
    Position(Place),
    /// An agent leaves: the named one, or the owner.
    Leave {
        /// The desk's id of the agent.
        agent: Option<String>,
    },
    /// The bot gets the conversation back.
    Return,
}

/// The result of an act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HandedOff {
    /// The act is in effect, now or already before. The conversation as it stands after it.
    Done(Box<Conversation>),
    /// There is no such conversation.
    Unknown,
    /// Another agent has it; nothing was changed.
    AlreadyClaimed(Agent),
    /// The bot has it (for a position also: a human has it); nothing was changed.
    NoHandoff,
}

/// The conversation that Fini means: by its own id, or by our key that it was given as an attribute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meant {
    /// Fini's id of the conversation.
    pub interaction: Option<InteractionId>,
    /// The value of our conversation attribute.
    pub attribute: Option<String>,
}

/// A conversation that Fini means, as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeantConversation {
    /// The frontend that it belongs to.
    pub frontend: FrontendName,
    /// The frontend's id of it.
    pub id: ConversationId,
    /// The right to speak in it.
    pub handoff: Handoff,
    /// Its number among the frontend's customers who wait, the longest waiting first; `None` if it does not wait.
    pub position: Option<u32>,
    /// The desk's presence, if the desk has reported it.
    pub desk: Option<Desk>,
}

/// A handoff, as operators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenHandoff {
    /// The frontend that it belongs to.
    pub frontend: FrontendName,
    /// The frontend's id of the conversation.
    pub id: ConversationId,
    /// The right to speak in it.
    pub handoff: Handoff,
}

/// A request of Fini's that matches no conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptPush {
    /// Its id.
    pub id: String,
    /// Time of its arrival, by the wall clock.
    pub received_at: WallTime,
    /// The conversation that it means.
    pub meant: Meant,
    /// Its note.
    pub note: Option<String>,
}

/// A conversation that the loop that watches the time has handled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticked {
    /// The frontend that it belongs to.
    pub frontend: FrontendName,
    /// The frontend's id of it.
    pub id: ConversationId,
    /// The one who may speak in it now.
    pub speaker: Speaker,
    /// True if it stayed unclaimed for too long just now.
    pub is_unclaimed: bool,
}

/// The right to speak to the customer.
#[async_trait::async_trait]
pub trait HandoffStore: Send + Sync {
    /// Performs an act in one transaction with the events that report it. Announces `Feed` and `Deliveries`.
    async fn hand_off(
        &self,
        frontend: &FrontendName,
        id: &ConversationId,
        act: HandoffAct,
        now: Timestamp,
    ) -> Result<HandedOff>;

    /// Records that Fini asks for a human by its action. If it means no conversation that is known (yet), the request is kept:
    /// for the conversation that turns out to be meant, and for operators.
    async fn push(&self, meant: Meant, note: Option<String>, now: Timestamp) -> Result<Option<MeantConversation>>;

    /// Reads the conversation that Fini means, as it stands.
    async fn meant(&self, meant: &Meant) -> Result<Option<MeantConversation>>;

    /// Records whether the frontend's desk is there.
    async fn set_desk(&self, frontend: &FrontendName, desk: &Desk) -> Result<()>;

    /// Handles at most `limit` due conversations: reports that customers wait, ends handoffs that nobody claimed or that are
    /// idle. Each is handled once, however many processes call this.
    async fn tick_handoffs(&self, now: Timestamp, limit: usize) -> Result<Vec<Ticked>>;

    /// Returns the due time of the next of them, if any.
    async fn next_handoff_at(&self) -> Result<Option<Timestamp>>;

    /// Lists the conversations that wait for a human or have one, the longest first; and the requests that match no conversation,
    /// the latest first.
    async fn open_handoffs(
        &self,
        frontend: Option<&FrontendName>,
        limit: usize,
    ) -> Result<(Vec<OpenHandoff>, Vec<KeptPush>)>;

    /// Counts the customers who wait for a human; with the time since which the first of them waits.
    async fn waiting_for_humans(&self) -> Result<(u64, Option<Timestamp>)>;

    /// Reads the bodies of the latest `messages` messages of a conversation and of their later changes, oldest first.
    async fn words(&self, conversation: ConversationKey, messages: usize) -> Result<Vec<String>>;

    /// Announces `Typing`, here and in the other processes.
    async fn type_along(&self, conversation: ConversationKey) -> Result<()>;
}
