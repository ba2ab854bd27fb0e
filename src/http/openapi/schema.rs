//! The shapes of the API as the document describes them. The handlers parse and render by hand (so that every fault is told at
//! once and bodies keep their bytes); a test holds these shapes to what they really take and give.

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr, Schema,
        schema::{Object, ObjectBuilder, SchemaType, Type},
    },
};

use crate::domain::{event::EVENT_TYPES, log::ERASED};

/// A message from a frontend.
#[derive(ToSchema)]
#[schema(example = json!({"conversation_id": "web-8121", "message_id": "m-17", "text": "Where is my order?", "role": "user",
    "user": {"id": "u-9", "attributes": {"plan": "Pro"}}, "channel": "chat"}))]
#[serde(deny_unknown_fields)]
pub struct NewMessage {
    /// The frontend's own id of the conversation.
    #[schema(pattern = "^[A-Za-z0-9._~:@+=-]{1,200}$")]
    pub conversation_id: String,
    /// The frontend's own id of the message: the key of idempotency. Made by the bridge where it is left out.
    #[schema(pattern = "^[\\x21-\\x7e]{1,200}$")]
    pub message_id: Option<String>,
    /// The text; not blank.
    #[schema(min_length = 1, max_length = 16000, pattern = "^[^\\x00]*[^\\s\\x00][^\\x00]*$")]
    pub text: String,
    /// On whose behalf. `agent` and `otherbot` are mirrored into Fini; no reply is awaited.
    pub role: Option<Role>,
    /// With the role `agent`: who it is. Takes the conversation by speaking, or joins.
    pub agent: Option<Agent>,
    /// The customer.
    pub user: Option<User>,
    /// Fini's channel.
    #[schema(min_length = 1, max_length = 64, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*$")]
    pub channel: Option<String>,
    /// Further metadata, passed to Fini.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Map<String, Value>>,
}

/// On whose behalf a frontend posts.
#[derive(ToSchema, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The customer: Fini answers.
    User,
    /// A human agent of an in-house desk.
    Agent,
    /// An in-house bot.
    OtherBot,
}

/// The customer.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// The frontend's own id of the customer.
    #[schema(min_length = 1, max_length = 200, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*$")]
    pub id: Option<String>,
    /// Attributes, passed to Fini.
    #[schema(schema_with = attributes, required = false)]
    pub attributes: Option<Map<String, Value>>,
}

/// An object whose names hold no control characters, and whose texts none but tab and line break.
fn attributes() -> Object {
    let names = ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[^\\x00-\\x1f\\x7f-\\x9f]*$")).build();
    // Of any type: a pattern says nothing of what is no text.
    let texts = ObjectBuilder::new()
        .schema_type(SchemaType::AnyValue)
        .pattern(Some("^[^\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f]*$"))
        .build();
    ObjectBuilder::new()
        .schema_type(SchemaType::Array(vec![Type::Object, Type::Null]))
        .description(Some("Attributes, passed to Fini."))
        .property_names(Some(names))
        .additional_properties(Some(RefOr::T(Schema::from(texts))))
        .build()
}

/// What became of a message.
#[derive(ToSchema)]
pub struct Accepted {
    /// The conversation.
    pub conversation_id: String,
    /// The message.
    pub message_id: String,
    /// Where its turn stands.
    pub status: TurnStatus,
    /// Whether the same message was stored before.
    pub duplicate: bool,
    /// An estimate of how long it waits until it is sent, in milliseconds, by what is known of budget and backlog; null where it
    /// is sent at once, or was.
    #[schema(required, minimum = 0)]
    pub expected_wait_ms: Option<i64>,
}

/// The same, with the feed events of the turn: `Prefer: wait=N`.
#[derive(ToSchema)]
pub struct Answered {
    /// The conversation.
    pub conversation_id: String,
    /// The message.
    pub message_id: String,
    /// Where its turn stands: over.
    pub status: TurnStatus,
    /// Whether the same message was stored before.
    pub duplicate: bool,
    /// An estimate of how long it waits until it is sent, in milliseconds, by what is known of budget and backlog; null where it
    /// is sent at once, or was.
    #[schema(required, minimum = 0)]
    pub expected_wait_ms: Option<i64>,
    /// The feed events of the turn.
    pub events: Vec<FeedEvent>,
}

/// Where a turn stands.
#[derive(ToSchema, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TurnStatus {
    /// Waits.
    Queued,
    /// On its way.
    Sending,
    /// Over: Fini answered, decided not to, or handed over.
    Answered,
    /// Over: mirrored.
    Stored,
    /// Over: see `turn.failed`.
    Failed,
}

/// A conversation.
#[derive(ToSchema)]
pub struct Conversation {
    /// The frontend's own id.
    pub conversation_id: String,
    /// Where it stands.
    pub state: State,
    /// Fini's status text at the last read.
    #[schema(required)]
    pub status_text: Option<String>,
    /// Whether the customer is asked for something.
    pub awaiting_customer: bool,
    /// Who may speak to the customer.
    pub handoff: Handoff,
    /// Its Fini conversation, when bound.
    #[schema(required)]
    pub interaction_id: Option<String>,
    /// The number of the newest feed event.
    #[schema(minimum = 0)]
    pub last_sequence: i64,
    /// How far the customer has read.
    #[schema(minimum = 0)]
    pub read_sequence: i64,
    /// When its first message was accepted.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// When its feed last grew.
    #[schema(format = DateTime)]
    pub updated_at: String,
    /// With `with=transcript`: its latest messages as they are now, oldest first; `withheld: true` on those that the customer
    /// was not shown.
    #[schema(value_type = Vec<Object>, required = false)]
    pub transcript: Vec<Value>,
}

/// What comes with a conversation.
#[derive(ToSchema, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum With {
    /// Its latest messages.
    Transcript,
}

/// Who may speak to the customer; what is not known is null.
#[derive(ToSchema)]
pub struct Handoff {
    /// Who may speak.
    pub speaker: Speaker,
    /// Why a human was asked for: `status`, `silent_escalation`, `human_message`, `action` or `requested`.
    #[schema(required)]
    pub reason: Option<String>,
    /// When a human was asked for.
    #[schema(required, format = DateTime)]
    pub requested_at: Option<String>,
    /// When a human took it.
    #[schema(required, format = DateTime)]
    pub claimed_at: Option<String>,
    /// Who has it; null also where Fini's own human has.
    #[schema(required)]
    pub agent: Option<Agent>,
    /// Where the customer who waits stands, as the desk says.
    #[schema(required, minimum = 1)]
    pub position: Option<i64>,
    /// How long it may take, as the desk says.
    #[schema(required, minimum = 0)]
    pub expected_wait_seconds: Option<i64>,
}

/// Who may speak to the customer.
#[derive(ToSchema, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Speaker {
    /// Fini's bot.
    Bot,
    /// A human was asked for, and none has come.
    Waiting,
    /// A human.
    Human,
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
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// Who takes it.
    pub agent: Agent,
    /// Whether to join another agent who has it, instead of being refused.
    pub join: Option<bool>,
}

/// Where a customer stands among those who wait.
#[derive(ToSchema)]
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

/// Where a conversation stands.
#[derive(ToSchema, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// With the bot.
    Open,
    /// With a human.
    Escalated,
    /// Done.
    Resolved,
    /// Held until an operator settles whose Fini conversation is whose.
    Quarantined,
    /// Its Fini conversation is gone; the next message starts a new one.
    Lost,
    /// Fini goes on with its Fini conversation for another one of the same person; a message takes it up again.
    Continued,
}

/// A part of the feed.
#[derive(ToSchema)]
pub struct FeedPage {
    /// Oldest first.
    pub events: Vec<FeedEvent>,
    /// The number of the newest event of the conversation.
    #[schema(minimum = 0)]
    pub last_sequence: i64,
    /// Whether there are events after the last one of this page.
    pub has_more: bool,
}

/// A part of the frontend's log.
#[derive(ToSchema)]
pub struct LogPage {
    /// Oldest first.
    pub events: Vec<LogEvent>,
    /// Where reading goes on.
    pub next_cursor: String,
    /// Whether there are events behind that already.
    pub has_more: bool,
}

/// Which events are wanted: `*`, a group such as `conversation.*`, or a type; several with commas.
pub struct TypePattern;

impl PartialSchema for TypePattern {
    fn schema() -> RefOr<Schema> {
        let types = || EVENT_TYPES.into_iter().chain([ERASED]);
        let mut groups: Vec<&str> = types().filter_map(|kind| kind.split_once('.').map(|(group, _)| group)).collect();
        groups.sort_unstable();
        groups.dedup();
        let any =
            groups.iter().map(|group| format!("{group}[.][*]")).chain(types().map(|kind| kind.replace('.', "[.]")));
        let one = format!("([*]|{})", any.collect::<Vec<_>>().join("|"));
        let pattern = format!("^{one}(,{one})*$");
        RefOr::T(ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern)).into())
    }
}

impl ToSchema for TypePattern {}

/// An entry of the log: a feed event, or that a conversation was erased.
#[derive(ToSchema)]
#[serde(untagged)]
pub enum LogEvent {
    /// An event of a feed.
    Feed(FeedEvent),
    /// An erasure.
    Erased(ConversationErased),
}

/// A conversation was erased: what its events said is gone. In the log only.
#[derive(ToSchema)]
pub struct ConversationErased {
    /// Stable.
    #[schema(pattern = "^evt_")]
    pub id: String,
    /// `conversation.erased`
    #[schema(rename = "type", pattern = "^conversation.erased$")]
    pub r#type: String,
    /// When it was erased.
    #[schema(format = DateTime)]
    pub timestamp: String,
    /// Whose conversation.
    pub frontend: String,
    /// The hash of its id: `sha256:` and the hexadecimal digest.
    #[schema(pattern = "^sha256:")]
    pub conversation_id: String,
    /// Always null.
    #[schema(required)]
    pub interaction_id: Option<String>,
    /// Always null: it stands in no feed.
    #[schema(required)]
    pub sequence: Option<i64>,
    /// Empty.
    #[schema(value_type = Object)]
    pub data: Value,
}

/// One event: the body of a callback, the data of a stream, an entry of the feed.
#[derive(ToSchema)]
pub struct FeedEvent {
    /// Stable over retries and replays; the `webhook-id`.
    #[schema(pattern = "^evt_")]
    pub id: String,
    /// What happened.
    #[schema(rename = "type")]
    pub r#type: EventType,
    /// When it was recorded.
    #[schema(format = DateTime)]
    pub timestamp: String,
    /// Whose conversation.
    pub frontend: String,
    /// Which conversation.
    pub conversation_id: String,
    /// Its Fini conversation, when bound.
    #[schema(required)]
    pub interaction_id: Option<String>,
    /// 1, 2, 3 … without gaps.
    #[schema(minimum = 1)]
    pub sequence: i64,
    /// By type; see the description of each.
    #[schema(value_type = Object)]
    pub data: Value,
}

/// What happened.
///
/// `message.created`: `{message: {id, author, text, format, created_at, articles, attachments, tags}, origin, in_reply_to, withheld?}` ·
/// `message.updated`: `{message_id, changed: {text?, articles?, attachments?, tags?}}` ·
/// `turn.completed`: `{message_id, outcome, replies}` · `turn.failed`: `{message_id, code, detail, may_resend}` ·
/// `conversation.escalated`: `{reason, status_text}` · `conversation.status_changed`: `{state, previous_state, status_text, awaiting_customer}` ·
/// `handoff.requested`: `{reason, note, user: {id, attributes}, tags, desk_open, next_open}` ·
/// `handoff.claimed`, `handoff.agent_joined`, `handoff.agent_left`: `{agent: {id, name, avatar_url}}` ·
/// `handoff.position`: `{position, expected_wait_seconds}` · `handoff.waiting`: `{waiting_seconds}` ·
/// `handoff.unclaimed`: `{waited_seconds, then, text}` · `handoff.returned`: `{by}` ·
/// `conversation.resolved`: `{resolved}` · `conversation.continued`: `{by}` · `form.presented`: `{event_id, text, raw}` ·
/// `feedback.updated`: `{event_id, csat_rating, feedback, approved}` · `fini.unrecognized`: `{event_id, role, type, raw}` ·
/// `hidden`: `{}`
#[derive(ToSchema, Serialize)]
pub enum EventType {
    /// A message of anyone.
    #[serde(rename = "message.created")]
    MessageCreated,
    /// Fini changed a message that was told.
    #[serde(rename = "message.updated")]
    MessageUpdated,
    /// The done signal of one message.
    #[serde(rename = "turn.completed")]
    TurnCompleted,
    /// A message came to nothing.
    #[serde(rename = "turn.failed")]
    TurnFailed,
    /// A human takes over.
    #[serde(rename = "conversation.escalated")]
    Escalated,
    /// A human is asked for.
    #[serde(rename = "handoff.requested")]
    HandoffRequested,
    /// An agent has taken the conversation.
    #[serde(rename = "handoff.claimed")]
    HandoffClaimed,
    /// Another agent has come.
    #[serde(rename = "handoff.agent_joined")]
    HandoffAgentJoined,
    /// An agent has gone.
    #[serde(rename = "handoff.agent_left")]
    HandoffAgentLeft,
    /// Where the customer who waits stands.
    #[serde(rename = "handoff.position")]
    HandoffPosition,
    /// The customer still waits.
    #[serde(rename = "handoff.waiting")]
    HandoffWaiting,
    /// Nobody came in time.
    #[serde(rename = "handoff.unclaimed")]
    HandoffUnclaimed,
    /// The bot has the conversation again.
    #[serde(rename = "handoff.returned")]
    HandoffReturned,
    /// State or status text changed.
    #[serde(rename = "conversation.status_changed")]
    StatusChanged,
    /// Resolved, or opened again.
    #[serde(rename = "conversation.resolved")]
    Resolved,
    /// Another conversation of the same person goes on with its Fini conversation.
    #[serde(rename = "conversation.continued")]
    Continued,
    /// A form is presented.
    #[serde(rename = "form.presented")]
    FormPresented,
    /// A rating changed.
    #[serde(rename = "feedback.updated")]
    FeedbackUpdated,
    /// Something of Fini's that the bridge does not know.
    #[serde(rename = "fini.unrecognized")]
    Unrecognized,
    /// Browsers only: stands in place of an event that is not for the customer, so that numbers have no gap.
    #[serde(rename = "hidden")]
    Hidden,
}

/// What a browser token should be like.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenWish {
    /// The customer it stands for.
    #[schema(min_length = 1, max_length = 200, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*$", nullable = false)]
    pub user_id: Option<String>,
    /// What is known of the customer, passed to Fini with every message; the page cannot change it.
    #[schema(value_type = Object, required = false)]
    pub attributes: Map<String, Value>,
    /// Web origins that may present it, of any scheme: `https://shop.example`, `capacitor://localhost`.
    #[schema(min_items = 1, nullable = false)]
    pub origins: Option<Vec<WebOrigin>>,
    /// How long it lives.
    #[schema(minimum = 1, maximum = 3600, nullable = false)]
    pub ttl_seconds: Option<i64>,
}

/// What a user's browser token should be like.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserTokenWish {
    /// What is known of the user, passed to Fini with every message; the page cannot change it.
    #[schema(value_type = Object, required = false)]
    pub attributes: Map<String, Value>,
    /// Web origins that may present it, of any scheme: `https://shop.example`, `capacitor://localhost`.
    #[schema(min_items = 1, nullable = false)]
    pub origins: Option<Vec<WebOrigin>>,
    /// How long it lives.
    #[schema(minimum = 1, maximum = 3600, nullable = false)]
    pub ttl_seconds: Option<i64>,
}

/// A web origin, as browsers send it.
#[derive(ToSchema)]
#[schema(value_type = String, pattern = "^[a-z][a-z0-9+.-]{1,19}://[a-z0-9][a-z0-9-]{0,62}([.][a-z0-9][a-z0-9-]{0,62}){0,9}(:[1-9][0-9]{0,3})?$")]
pub struct WebOrigin(pub String);

/// A browser token.
#[derive(ToSchema)]
pub struct Token {
    /// The JWT.
    pub token: String,
    /// When it ends.
    #[schema(format = DateTime)]
    pub expires_at: String,
}

/// What was erased.
#[derive(ToSchema)]
pub struct Erased {
    /// The conversation.
    pub conversation_id: String,
    /// `erased`: what was said is in no table and in no file of the bridge's any more. `pending`: it is in no table, and
    /// somebody was still reading in the file; ask again.
    pub local: String,
    /// `not_requested`, `not_bound` (nothing was sent to Fini), `pending` (it is not known yet which one at Fini it is; it is
    /// deleted as soon as it is found), `erased` (proved by reading back), `unconfirmed` (the bridge goes on trying; ask
    /// again for the outcome) or `failed`.
    pub upstream: String,
    /// The Fini conversation that it was.
    #[schema(required)]
    pub interaction_id: Option<String>,
}

/// A part of a person's conversations.
#[derive(ToSchema)]
pub struct UserConversations {
    /// Newest first.
    pub conversations: Vec<ListedConversation>,
    /// Where the next page begins; null on the last one.
    #[schema(required)]
    pub next_cursor: Option<String>,
}

/// A conversation in a person's list.
#[derive(ToSchema)]
pub struct ListedConversation {
    /// The frontend's own id.
    pub conversation_id: String,
    /// Where it stands.
    pub state: State,
    /// The newest message that the asker may see.
    #[schema(required)]
    pub last_message: Option<LastMessage>,
    /// The number of the newest feed event.
    #[schema(minimum = 0)]
    pub last_sequence: i64,
    /// How far the customer has read.
    #[schema(minimum = 0)]
    pub read_sequence: i64,
    /// When its feed last grew.
    #[schema(format = DateTime)]
    pub updated_at: String,
}

/// A message in a person's list.
#[derive(ToSchema)]
pub struct LastMessage {
    /// `user`, `bot`, `agent` or `otherbot`.
    pub author: String,
    /// Its text.
    pub text: String,
    /// When it was written.
    #[schema(format = DateTime)]
    pub created_at: String,
}

/// How far the customer has read.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadWish {
    /// The number of the newest event that was read.
    #[schema(minimum = 0, maximum = 9_007_199_254_740_991_i64)]
    pub sequence: i64,
}

/// Where a read mark stands.
#[derive(ToSchema)]
pub struct ReadMark {
    /// The conversation.
    pub conversation_id: String,
    /// How far the customer has read.
    #[schema(minimum = 0)]
    pub read_sequence: i64,
    /// The number of the newest feed event.
    #[schema(minimum = 0)]
    pub last_sequence: i64,
}

/// Which conversation is a user's.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClaimWish {
    /// The frontend's own id of the conversation.
    #[schema(pattern = "^[A-Za-z0-9._~:@+=-]{1,200}$")]
    pub conversation_id: String,
}

/// Whose a conversation is.
#[derive(ToSchema)]
pub struct Claimed {
    /// The conversation.
    pub conversation_id: String,
    /// The user.
    pub user_id: String,
}

/// How far the erasure of a person is.
#[derive(ToSchema)]
pub struct PersonErased {
    /// The user.
    pub user_id: String,
    /// `erased`: nothing that was said is in any table or file of the bridge's any more. `pending`: the bridge is at it.
    pub local: String,
    /// `not_requested`, `not_bound` (nothing was sent to Fini), `pending` (the bridge goes on trying), `erased` (proved by reading
    /// back, for every conversation) or `failed` (given up for some).
    pub upstream: String,
    /// When it was asked for.
    #[schema(format = DateTime)]
    pub requested_at: String,
    /// How many conversations.
    pub conversations: PersonErasedCounts,
}

/// Conversations of an erased person.
#[derive(ToSchema)]
pub struct PersonErasedCounts {
    /// Erased here.
    #[schema(minimum = 0)]
    pub erased: i64,
    /// Gone at Fini, proved by reading back.
    #[schema(minimum = 0)]
    pub proved: i64,
    /// Still to be deleted at Fini.
    #[schema(minimum = 0)]
    pub pending: i64,
    /// Given up at Fini.
    #[schema(minimum = 0)]
    pub failed: i64,
}

/// An error (RFC 9457).
#[derive(ToSchema)]
pub struct ProblemBody {
    /// A URN of the code.
    #[schema(rename = "type")]
    pub r#type: String,
    /// The code in words.
    pub title: String,
    /// The status.
    pub status: u16,
    /// What programs decide by.
    pub code: String,
    /// This case in words.
    pub detail: Option<String>,
    /// The request's id, as in the log and the `x-request-id` header.
    pub request_id: String,
    /// Field by field.
    pub errors: Option<Vec<Fault>>,
    /// With `cursor_expired`: the cursor from which on nothing is missing.
    pub oldest_cursor: Option<String>,
    /// With `already_claimed`: who has the conversation.
    pub agent: Option<Agent>,
}

/// What is wrong with one field.
#[derive(ToSchema)]
pub struct Fault {
    /// The field, as a path.
    pub field: String,
    /// What is expected.
    pub message: String,
}
