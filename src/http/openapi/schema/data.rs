//! The `data` of each type of feed event.

use serde_json::{Map, Value};
use utoipa::{ToSchema, openapi::schema::Object};

use super::{
    EscalationReason, FailureCode, FeedMessage, MessageChange, MessageOrigin, Outcome, ReturnedBy, State, Unclaimed,
    free_form,
};

/// A message, and where it came from.
#[derive(ToSchema)]
pub struct MessageCreatedData {
    /// The message.
    pub message: FeedMessage,
    /// Side from which it entered the conversation.
    pub origin: MessageOrigin,
    /// The `message_id` that it answers, where that is known.
    #[schema(required)]
    pub in_reply_to: Option<String>,
    /// True where it is the bot's while a human has the conversation: not for the customer.
    #[schema(nullable = false)]
    pub withheld: Option<bool>,
}

/// The parts of a message that Fini changed.
#[derive(ToSchema)]
pub struct MessageUpdatedData {
    /// The `id` of the message that was told.
    pub message_id: String,
    /// Each as it is now; what is not named is as it was.
    pub changed: MessageChange,
}

/// The end of a turn.
#[derive(ToSchema)]
pub struct TurnCompletedData {
    /// The frontend's message.
    pub message_id: String,
    /// Kind of its end.
    pub outcome: Outcome,
    /// Number of replies that were shown.
    #[schema(minimum = 0)]
    pub replies: i64,
}

/// The reason why a turn came to nothing.
#[derive(ToSchema)]
pub struct TurnFailedData {
    /// The frontend's message.
    pub message_id: String,
    /// The reason, for programs.
    pub code: FailureCode,
    /// The reason, in words.
    pub detail: String,
    /// True if the same text may be posted again, under a new id, without the risk of a double.
    pub may_resend: bool,
}

/// The reason why a conversation counts as escalated.
#[derive(ToSchema)]
pub struct ConversationEscalatedData {
    /// Sign by which it was noticed.
    pub reason: EscalationReason,
    /// Fini's status text, when known.
    #[schema(required)]
    pub status_text: Option<String>,
}

/// A request for a human, with what a desk has to know. Browsers are told `reason`, `desk_open` and `next_open` alone.
#[derive(ToSchema)]
pub struct HandoffRequestedData {
    /// The reason.
    pub reason: EscalationReason,
    /// Note of the party that asked.
    pub note: Option<String>,
    /// The customer who waits.
    #[schema(nullable = false)]
    pub user: Option<HandoffUser>,
    /// The tags that Fini set so far, each once.
    #[schema(nullable = false)]
    pub tags: Option<Vec<Value>>,
    /// True if the desk is there; null if it has not said so.
    #[schema(required)]
    pub desk_open: Option<bool>,
    /// Time from which the desk is there again, if it has said one.
    #[schema(required)]
    pub next_open: Option<String>,
}

/// The customer, as far as the frontend has said who it is.
#[derive(ToSchema)]
pub struct HandoffUser {
    /// The frontend's own id.
    #[schema(required)]
    pub id: Option<String>,
    /// Attributes as the frontend gave them; the latest value of each counts.
    #[schema(schema_with = attributes)]
    pub attributes: Map<String, Value>,
}

fn attributes() -> Object {
    free_form("What was said of them; the latest of each attribute counts.")
}

/// An agent of a desk outside Fini.
#[derive(ToSchema)]
pub struct HandoffAgentData {
    /// The agent.
    pub agent: HandoffAgent,
}

/// An agent as customers may see them.
#[derive(ToSchema)]
pub struct HandoffAgent {
    /// The desk's own id.
    pub id: String,
    /// As the customer reads it.
    pub name: String,
    /// A picture: an http or https address.
    #[schema(required)]
    pub avatar_url: Option<String>,
}

/// Place of the waiting customer, as the desk says.
#[derive(ToSchema)]
pub struct HandoffPositionData {
    /// 1: next.
    #[schema(minimum = 1)]
    pub position: i64,
    /// Expected further wait.
    #[schema(required, minimum = 0)]
    pub expected_wait_seconds: Option<i64>,
}

/// Time that the customer has waited.
#[derive(ToSchema)]
pub struct HandoffWaitingData {
    /// In seconds.
    #[schema(minimum = 0)]
    pub waiting_seconds: i64,
}

/// That nobody came, and what happens now.
#[derive(ToSchema)]
pub struct HandoffUnclaimedData {
    /// In seconds.
    #[schema(minimum = 0)]
    pub waited_seconds: i64,
    /// Consequence.
    pub then: Unclaimed,
    /// The words in which the customer is asked for an address.
    #[schema(required)]
    pub text: Option<String>,
}

/// The cause by which the conversation went back to the bot.
#[derive(ToSchema)]
pub struct HandoffReturnedData {
    /// Cause.
    pub by: ReturnedBy,
}

/// State of a conversation after a change.
#[derive(ToSchema)]
pub struct ConversationStatusChangedData {
    /// The state now.
    pub state: State,
    /// The state before; the same where only the rest changed.
    pub previous_state: State,
    /// Fini's status text, when known.
    #[schema(required)]
    pub status_text: Option<String>,
    /// True if the customer is asked for something. Left out of events that an older version recorded.
    #[schema(nullable = false)]
    pub awaiting_customer: Option<bool>,
}

/// A conversation was resolved, or is not resolved any more.
#[derive(ToSchema)]
pub struct ConversationResolvedData {
    /// Resolved, or opened again.
    pub resolved: bool,
}

/// The conversation that goes on in its place.
#[derive(ToSchema)]
pub struct ConversationContinuedData {
    /// The same person's conversation that goes on with the Fini conversation.
    pub by: String,
}

/// A form of Fini's.
#[derive(ToSchema)]
pub struct FormPresentedData {
    /// Fini's event id.
    pub event_id: String,
    /// Its text, when it has one.
    #[schema(required)]
    pub text: Option<String>,
    /// The event as Fini sent it. Not for browsers.
    #[schema(schema_with = raw, required = false)]
    pub raw: Option<Value>,
    /// True where it is the bot's while a human has the conversation: not for the customer.
    #[schema(nullable = false)]
    pub withheld: Option<bool>,
}

fn raw() -> Object {
    free_form("The event as Fini sent it.")
}

/// A rating; what was not rated is null.
#[derive(ToSchema)]
pub struct FeedbackUpdatedData {
    /// Fini's event id.
    pub event_id: String,
    /// Satisfaction as a number; 0 is one.
    #[schema(required)]
    pub csat_rating: Option<f64>,
    /// In words.
    #[schema(required)]
    pub feedback: Option<String>,
    /// Thumbs up (true) or down (false).
    #[schema(required)]
    pub approved: Option<bool>,
}

/// An event of Fini's whose role or type the bridge does not know. Nothing to show to a customer.
#[derive(ToSchema)]
pub struct FiniUnrecognizedData {
    /// Fini's event id.
    pub event_id: String,
    /// The role as Fini names it.
    pub role: String,
    /// The type as Fini names it.
    pub r#type: String,
    /// The event as Fini sent it.
    #[schema(schema_with = raw)]
    pub raw: Value,
}

/// Nothing.
#[derive(ToSchema)]
pub struct HiddenData {}
