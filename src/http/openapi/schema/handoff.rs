//! Who may speak to a customer, and Fini's own requests about it.

use serde::Serialize;
use utoipa::ToSchema;

use super::{EscalationReason, HandoffAgent, Speaker, State};

/// Who may speak to the customer; what is not known is null.
#[derive(ToSchema)]
pub struct Handoff {
    /// Who may speak.
    pub speaker: Speaker,
    /// Why a human was asked for.
    #[schema(required)]
    pub reason: Option<EscalationReason>,
    /// When a human was asked for.
    #[schema(required, format = DateTime)]
    pub requested_at: Option<String>,
    /// When a human took it.
    #[schema(required, format = DateTime)]
    pub claimed_at: Option<String>,
    /// Who has it; null also where Fini's own human has.
    #[schema(required)]
    pub agent: Option<HandoffAgent>,
    /// Where the customer who waits stands, as the desk says.
    #[schema(required, minimum = 1)]
    pub position: Option<i64>,
    /// How long it may take, as the desk says.
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

/// Which agent; without one, the agent who has the conversation.
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
    /// Why, in a word.
    #[schema(max_length = 200, pattern = "^[^\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f]*$")]
    pub reason: Option<String>,
    /// What the desk should know; not told to the customer.
    #[schema(max_length = 4000, pattern = "^[^\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f]*$")]
    pub note: Option<String>,
}

/// A claim.
#[derive(ToSchema)]
#[schema(example = json!({"agent": {"id": "ada", "name": "Ada"}}))]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// Who takes it.
    pub agent: Agent,
    /// Whether to join another agent who has it, instead of being refused.
    pub join: Option<bool>,
}

/// Where a customer stands among those who wait.
#[derive(ToSchema)]
#[schema(example = json!({"position": 2, "expected_wait_seconds": 120}))]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// 1: next.
    #[schema(minimum = 1, maximum = 4_294_967_295_i64)]
    pub position: i64,
    /// How long it may take.
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

/// Whether a desk is there.
#[derive(ToSchema)]
#[schema(example = json!({"open": false, "next_open": "2026-11-23T08:00:00Z"}))]
#[serde(deny_unknown_fields)]
pub struct Desk {
    /// Whether somebody is there.
    pub open: bool,
    /// When somebody is there again.
    #[schema(format = DateTime)]
    pub next_open: Option<String>,
}

/// A conversation after an act on its handoff.
#[derive(ToSchema)]
pub struct HandedOff {
    /// The frontend's own id.
    pub conversation_id: String,
    /// Where it stands.
    pub state: State,
    /// Who may speak to the customer.
    pub handoff: Handoff,
}

/// Which conversation Fini means: by its own id, or by the bridge's attributes as they stand on it.
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
    /// Why.
    #[schema(max_length = 4000, pattern = "^[^\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f]*$")]
    pub reason: Option<String>,
    /// What was said.
    #[schema(max_length = 4000, pattern = "^[^\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f]*$")]
    pub summary: Option<String>,
    /// How urgent it is, in a word or a number.
    #[schema(max_length = 200, pattern = "^[^\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f]*$")]
    pub priority: Option<String>,
}

/// What Fini's rulebook can say to the customer; what is not known is null.
#[derive(ToSchema)]
pub struct FiniEscalated {
    /// Always true: what fits no conversation is kept.
    pub accepted: bool,
    /// Whether the desk is there, as it has said.
    #[schema(required)]
    pub open: Option<bool>,
    /// Where the customer stands.
    #[schema(required)]
    pub position: Option<i64>,
    /// How long it may take, as the desk says.
    #[schema(required)]
    pub wait_minutes: Option<i64>,
    /// When the desk is there again, as it has said.
    #[schema(required)]
    pub next_open: Option<String>,
}

/// Whose a conversation is; what is not known is null.
#[derive(ToSchema)]
pub struct FiniAttributes {
    /// Who may speak.
    pub owner: Speaker,
    /// Since when a human has it.
    #[schema(required)]
    pub human_since: Option<String>,
    /// Whether the desk is there, as it has said.
    #[schema(required)]
    pub desk_open: Option<bool>,
    /// When the desk is there again, as it has said.
    #[schema(required)]
    pub next_open: Option<String>,
}
