//! Who may speak to the customer: the acts of desk, customer, Fini's action and time.

use super::{Conversation, Result};
use crate::domain::{
    Timestamp, WallTime,
    event::EscalationReason,
    handoff::{Agent, Desk, Handoff, Place, Speaker},
    ids::{ConversationId, ConversationKey, FrontendName, InteractionId},
};

/// Something that a desk or a customer does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HandoffAct {
    /// A human is asked for.
    Request {
        /// Why, as the feed tells it.
        reason: EscalationReason,
        /// What whoever asks has to say about it.
        note: Option<String>,
        /// Whether a conversation that has not begun begins with it: the customer's own, who need not write first.
        begins: bool,
    },
    /// An agent takes the conversation.
    Claim {
        /// Who.
        agent: Agent,
        /// Whether the agent joins another one who has it.
        joins: bool,
    },
    /// The desk says where the customer stands.
    Position(Place),
    /// An agent leaves: that one, or the one who owns it.
    Leave {
        /// The desk's id of the agent.
        agent: Option<String>,
    },
    /// The bot gets it back.
    Return,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HandedOff {
    /// It is so now, or was before. The conversation as it is after it.
    Done(Box<Conversation>),
    /// There is no such conversation.
    Unknown,
    /// Another agent has it; nothing was changed.
    AlreadyClaimed(Agent),
    /// The bot has it (for a position also: a human has it); nothing was changed.
    NoHandoff,
}

/// Which conversation Fini means: by its own id, or by our key that it was given as an attribute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meant {
    /// Fini's id.
    pub interaction: Option<InteractionId>,
    /// The value of our conversation attribute.
    pub attribute: Option<String>,
}

/// A conversation that Fini means, as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeantConversation {
    /// Whose it is.
    pub frontend: FrontendName,
    /// Which one.
    pub id: ConversationId,
    /// Who may speak in it.
    pub handoff: Handoff,
    /// Its number among the frontend's customers who wait, the longest waiting first; nothing where it does not wait.
    pub position: Option<u32>,
    /// Whether the desk is there, where it has said so.
    pub desk: Option<Desk>,
}

/// A handoff, as operators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenHandoff {
    /// Whose it is.
    pub frontend: FrontendName,
    /// Which conversation.
    pub id: ConversationId,
    /// Who may speak in it.
    pub handoff: Handoff,
}

/// A request of Fini's that fits no conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptPush {
    /// Its id.
    pub id: String,
    /// When it came, as people read it.
    pub received_at: WallTime,
    /// Which conversation it means.
    pub meant: Meant,
    /// What it says.
    pub note: Option<String>,
}

/// What the loop that watches the time did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticked {
    /// Whose conversation.
    pub frontend: FrontendName,
    /// Which one.
    pub id: ConversationId,
    /// Who may speak in it now.
    pub speaker: Speaker,
    /// Whether it stayed unclaimed for too long just now.
    pub is_unclaimed: bool,
}

/// Who may speak to the customer.
#[async_trait::async_trait]
pub trait HandoffStore: Send + Sync {
    /// Does it in one transaction with the events that tell of it. Announces `Feed` and `Deliveries`.
    async fn hand_off(
        &self,
        frontend: &FrontendName,
        id: &ConversationId,
        act: HandoffAct,
        now: Timestamp,
    ) -> Result<HandedOff>;

    /// Fini asks for a human by its action. Where it means no conversation that is known (yet), the request is kept: for the
    /// conversation that turns out to be meant, and for operators.
    async fn push(&self, meant: Meant, note: Option<String>, now: Timestamp) -> Result<Option<MeantConversation>>;

    /// How the conversation stands that Fini means.
    async fn meant(&self, meant: &Meant) -> Result<Option<MeantConversation>>;

    /// Says whether the frontend's desk is there.
    async fn set_desk(&self, frontend: &FrontendName, desk: &Desk) -> Result<()>;

    /// Does what is due in at most `limit` conversations: reports that customers wait, ends what nobody claimed and what is
    /// idle. Each is done once, however many processes do it.
    async fn tick_handoffs(&self, now: Timestamp, limit: usize) -> Result<Vec<Ticked>>;

    /// When the next of that falls due, if any.
    async fn next_handoff_at(&self) -> Result<Option<Timestamp>>;

    /// The conversations that wait for a human or have one, the longest first; and the requests that fit no conversation, the
    /// latest first.
    async fn open_handoffs(
        &self,
        frontend: Option<&FrontendName>,
        limit: usize,
    ) -> Result<(Vec<OpenHandoff>, Vec<KeptPush>)>;

    /// How many customers wait for a human, and since when the first of them does.
    async fn waiting_for_humans(&self) -> Result<(u64, Option<Timestamp>)>;

    /// The bodies of the latest `messages` messages of a conversation, and of what changed them later, oldest first.
    async fn words(&self, conversation: ConversationKey, messages: usize) -> Result<Vec<String>>;

    /// Announces `Typing`, here and in the other processes.
    async fn type_along(&self, conversation: ConversationKey) -> Result<()>;
}
