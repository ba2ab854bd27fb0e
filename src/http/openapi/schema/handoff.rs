//! The right to speak to a customer, and Fini's own requests about it.

use serde::Serialize;
use utoipa::ToSchema;

use super::{EscalationReason, HandoffAgent, Speaker, State};

/// The right to speak to the customer; unknown members are null.
#[derive(ToSchema)]
pub struct Handoff {
    /// The party that may speak.
    pub speaker: Speaker,
    /// Reason for which a human was asked for.
    #[schema(required)]
    pub reason: Option<EscalationReason>,
    /// Time at which a human was asked for.
    #[schema(required, format = DateTime)]
    pub requested_at: Option<String>,
    /// Time at which a human took it.
    #[schema(required, format = DateTime)]
    pub claimed_at: Option<String>,
    /// The agent who has it; null also while Fini's own human has.
    #[schema(required)]
    pub agent: Option<HandoffAgent>,
    /// Place of the waiting customer, as the desk says.
    #[schema(required, minimum = 1)]
    pub position: Option<i64>,
    /// Expected further wait, as the desk says.
    #[schema(required, minimum = 0)]
    pub expected_wait_seconds: Option<i64>,
}

/// An agent of a desk outside Fini.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Agent {
    /// The desk's own id.
    #[schema(
        min_length = 1,
        max_length = 200,
        pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*[^\\s\\x00-\\x1f\\x7f-\\x9f][^\\x00-\\x1f\\x7f-\\x9f]*$"
    )]
    pub id: String,
    /// As the customer reads it.
    #[schema(
        min_length = 1,
        max_length = 200,
        pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*[^\\s\\x00-\\x1f\\x7f-\\x9f][^\\x00-\\x1f\\x7f-\\x9f]*$"
    )]
    pub name: String,
    /// A picture: an http or https address.
    #[schema(max_length = 2000, pattern = "^https?://[!-~]+$")]
    pub avatar_url: Option<String>,
}

/// An agent, of whom the id alone counts.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentId {
    /// The desk's own id.
    #[schema(
        min_length = 1,
        max_length = 200,
        pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*[^\\s\\x00-\\x1f\\x7f-\\x9f][^\\x00-\\x1f\\x7f-\\x9f]*$"
    )]
    pub id: String,
    /// As the customer reads it.
    #[schema(max_length = 200, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*$")]
    pub name: Option<String>,
    /// A picture: an http or https address.
    #[schema(max_length = 2000, pattern = "^https?://[!-~]+$")]
    pub avatar_url: Option<String>,
}

/// Names an agent; without one, the agent who has the conversation is meant.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WhichAgent {
    /// The agent.
    pub agent: Option<AgentId>,
}

/// A wish for a human.
#[derive(ToSchema)]
#[schema(example = json!({"reason": "refund", "note": "asks about a refund"}))]
#[serde(deny_unknown_fields)]
pub struct HumanWish {
    /// The reason, in a word.
    #[schema(max_length = 200, pattern = "^[^\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f]*$")]
    pub reason: Option<String>,
    /// Note for the desk; not shown to the customer.
    #[schema(max_length = 4000, pattern = "^[^\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f]*$")]
    pub note: Option<String>,
}

/// A claim.
#[derive(ToSchema)]
#[schema(example = json!({"agent": {"id": "ada", "name": "Ada"}}))]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// The agent who takes it.
    pub agent: Agent,
    /// True to join another agent who has it, instead of being refused.
    pub join: Option<bool>,
}

/// Place of a customer among those who wait.
#[derive(ToSchema)]
#[schema(example = json!({"position": 2, "expected_wait_seconds": 120}))]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// 1: next.
    #[schema(minimum = 1, maximum = 4_294_967_295_i64)]
    pub position: i64,
    /// Expected further wait.
    #[schema(minimum = 0, maximum = 4_294_967_295_i64)]
    pub expected_wait_seconds: Option<i64>,
}

/// To whom a conversation is given back.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Return {
    /// To whom.
    pub to: Option<ReturnTo>,
}

/// To whom a conversation may be given back.
#[derive(ToSchema, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ReturnTo {
    /// Fini's bot.
    Bot,
}

/// Presence of a desk.
#[derive(ToSchema)]
#[schema(example = json!({"open": false, "next_open": "2026-11-23T08:00:00Z"}))]
#[serde(deny_unknown_fields)]
pub struct Desk {
    /// True while somebody is there.
    pub open: bool,
    /// Time from which somebody is there again.
    #[schema(format = DateTime)]
    pub next_open: Option<String>,
}

/// A conversation after an act on its handoff.
#[derive(ToSchema)]
pub struct HandedOff {
    /// The frontend's own id.
    pub conversation_id: String,
    /// State of the conversation.
    pub state: State,
    /// The right to speak to the customer.
    pub handoff: Handoff,
}

/// Names a conversation by Fini's own id, or by the bridge's attributes on it.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FiniMeans {
    /// Fini's id.
    #[schema(max_length = 200, pattern = "^[^\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f]*$")]
    pub interaction_id: Option<String>,
    /// The bridge's attribute of that name.
    #[schema(max_length = 200, pattern = "^[^\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f]*$")]
    pub bridge_conversation: Option<String>,
    /// The bridge's attribute of that name.
    #[schema(max_length = 200, pattern = "^[^\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f]*$")]
    pub bridge_turn: Option<String>,
    /// The bridge's attribute of that name.
    #[schema(max_length = 200, pattern = "^[^\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f]*$")]
    pub bridge_speaker: Option<String>,
}

/// Fini's request for a human.
#[derive(ToSchema)]
#[schema(example = json!({"bridge_conversation": "web-8121", "reason": "refund", "priority": "high"}))]
#[serde(deny_unknown_fields)]
pub struct FiniEscalation {
    /// Fini's id.
    #[schema(max_length = 200, pattern = "^[^\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f]*$")]
    pub interaction_id: Option<String>,
    /// The bridge's attribute of that name.
    #[schema(max_length = 200, pattern = "^[^\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f]*$")]
    pub bridge_conversation: Option<String>,
    /// The bridge's attribute of that name.
    #[schema(max_length = 200, pattern = "^[^\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f]*$")]
    pub bridge_turn: Option<String>,
    /// The bridge's attribute of that name.
    #[schema(max_length = 200, pattern = "^[^\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f]*$")]
    pub bridge_speaker: Option<String>,
    /// The reason.
    #[schema(max_length = 4000, pattern = "^[^\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f]*$")]
    pub reason: Option<String>,
    /// Summary of the conversation.
    #[schema(max_length = 4000, pattern = "^[^\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f]*$")]
    pub summary: Option<String>,
    /// Urgency, as a word or a number.
    #[schema(max_length = 200, pattern = "^[^\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f]*$")]
    pub priority: Option<String>,
}

/// Facts that Fini's rulebook can say to the customer; unknown ones are null.
#[derive(ToSchema)]
pub struct FiniEscalated {
    /// Always true: what fits no conversation is kept.
    pub accepted: bool,
    /// True if the desk is there; null if it has not said so.
    #[schema(required)]
    pub open: Option<bool>,
    /// Place of the waiting customer.
    #[schema(required)]
    pub position: Option<i64>,
    /// Expected further wait, as the desk says.
    #[schema(required)]
    pub wait_minutes: Option<i64>,
    /// Time from which the desk is there again, if it has said one.
    #[schema(required)]
    pub next_open: Option<String>,
}

/// Whose a conversation is; what is not known is null.
#[derive(ToSchema)]
pub struct FiniAttributes {
    /// The party that may speak.
    pub owner: Speaker,
    /// Time since which a human has it.
    #[schema(required)]
    pub human_since: Option<String>,
    /// True if the desk is there; null if it has not said so.
    #[schema(required)]
    pub desk_open: Option<bool>,
    /// Time from which the desk is there again, if it has said one.
    #[schema(required)]
    pub next_open: Option<String>,
}
