//! The shapes of the API as the document describes them. The handlers parse and render by hand (so that every fault is told at
//! once and bodies keep their bytes); a test holds these shapes to what they really take and give.

mod data;
mod events;
mod handoff;
mod people;
mod words;

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr, Schema,
        schema::{AdditionalProperties, Object, ObjectBuilder, SchemaType, Type},
    },
};

pub use data::*;
pub use events::*;
pub use handoff::*;
pub use people::*;
pub use words::*;

use words::free_form;

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
    #[schema(schema_with = metadata, required = false)]
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

/// Metadata, as a message takes it.
fn metadata() -> Object {
    ObjectBuilder::new()
        .schema_type(SchemaType::Array(vec![Type::Object, Type::Null]))
        .description(Some("Further metadata, passed to Fini."))
        .additional_properties(Some(AdditionalProperties::<Schema>::FreeForm(true)))
        .build()
}

/// Attributes, as a token's maker vouches for them.
fn vouched() -> Object {
    free_form("What is known of the customer, passed to Fini with every message; the page cannot change it.")
}

/// State of a message that was accepted.
#[derive(ToSchema)]
#[schema(example = json!({"conversation_id": "web-8121", "message_id": "m-17", "status": "queued", "duplicate": false, "expected_wait_ms": null}))]
pub struct Accepted {
    /// The conversation.
    pub conversation_id: String,
    /// The message.
    pub message_id: String,
    /// State of its turn.
    pub status: TurnStatus,
    /// True if the same message was stored before.
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
    /// State of its turn, which is over.
    pub status: TurnStatus,
    /// True if the same message was stored before.
    pub duplicate: bool,
    /// An estimate of how long it waits until it is sent, in milliseconds, by what is known of budget and backlog; null where it
    /// is sent at once, or was.
    #[schema(required, minimum = 0)]
    pub expected_wait_ms: Option<i64>,
    /// The feed events of the turn.
    pub events: Vec<FeedEvent>,
    /// State of the conversation after the turn.
    #[schema(nullable = false)]
    pub state: Option<State>,
}

/// A conversation.
#[derive(ToSchema)]
#[schema(example = json!({"conversation_id": "web-8121", "state": "open", "status_text": null, "awaiting_customer": false, "handoff": {"speaker": "bot", "reason": null, "requested_at": null, "claimed_at": null, "agent": null, "position": null, "expected_wait_seconds": null}, "interaction_id": null, "last_sequence": 3, "read_sequence": 2, "created_at": "2026-11-21T05:00:00.123Z", "updated_at": "2026-11-21T05:00:02.456Z"}))]
pub struct Conversation {
    /// The frontend's own id.
    pub conversation_id: String,
    /// State of the conversation.
    pub state: State,
    /// Fini's status text at the last read.
    #[schema(required)]
    pub status_text: Option<String>,
    /// True if the customer is asked for something.
    pub awaiting_customer: bool,
    /// The right to speak to the customer.
    pub handoff: Handoff,
    /// Its Fini conversation, when bound.
    #[schema(required)]
    pub interaction_id: Option<String>,
    /// The number of the newest feed event.
    #[schema(minimum = 0)]
    pub last_sequence: i64,
    /// Sequence of the last event that the customer has read.
    #[schema(minimum = 0)]
    pub read_sequence: i64,
    /// Time at which its first message was accepted.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// Time of the last event of its feed.
    #[schema(format = DateTime)]
    pub updated_at: String,
    /// With `with=transcript`: its latest messages as they are now, oldest first; `withheld: true` on those that the customer
    /// was not shown.
    #[schema(required = false)]
    pub transcript: Vec<TranscriptMessage>,
}

/// Addition to a conversation.
#[derive(ToSchema, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum With {
    /// Its latest messages.
    Transcript,
}

/// A part of the feed.
#[derive(ToSchema)]
pub struct FeedPage {
    /// Oldest first.
    pub events: Vec<FeedEvent>,
    /// The number of the newest event of the conversation.
    #[schema(minimum = 0)]
    pub last_sequence: i64,
    /// True if there are events after the last one of this page.
    pub has_more: bool,
    /// True where `after` lay beyond the feed, which was restored or begun anew: the page starts at 1.
    #[schema(nullable = false)]
    pub reset: Option<bool>,
}

/// A part of the frontend's log.
#[derive(ToSchema)]
pub struct LogPage {
    /// Oldest first.
    pub events: Vec<LogEvent>,
    /// Cursor of the next page.
    pub next_cursor: String,
    /// True if the next page already has events.
    pub has_more: bool,
}

/// Filter by type: `*`, a group such as `conversation.*`, or a type; several with commas.
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

/// Wishes for a browser token.
#[derive(ToSchema)]
#[schema(example = json!({"user_id": "u-9", "attributes": {"plan": "Pro"}, "origins": ["https://shop.example"], "ttl_seconds": 600}))]
#[serde(deny_unknown_fields)]
pub struct TokenWish {
    /// The customer it stands for.
    #[schema(min_length = 1, max_length = 200, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*$", nullable = false)]
    pub user_id: Option<String>,
    /// Attributes of the customer, passed to Fini with every message; the page cannot change them.
    #[schema(schema_with = vouched, required = false)]
    pub attributes: Map<String, Value>,
    /// Web origins that may present it, of any scheme: `https://shop.example`, `capacitor://localhost`.
    #[schema(min_items = 1, nullable = false)]
    pub origins: Option<Vec<WebOrigin>>,
    /// Lifetime of the token.
    #[schema(minimum = 1, maximum = 3600, nullable = false)]
    pub ttl_seconds: Option<i64>,
}

/// Wishes for a user's browser token.
#[derive(ToSchema)]
#[schema(example = json!({"attributes": {"plan": "Pro"}, "origins": ["https://shop.example"], "ttl_seconds": 600}))]
#[serde(deny_unknown_fields)]
pub struct UserTokenWish {
    /// Attributes of the user, passed to Fini with every message; the page cannot change them.
    #[schema(schema_with = vouched, required = false)]
    pub attributes: Map<String, Value>,
    /// Web origins that may present it, of any scheme: `https://shop.example`, `capacitor://localhost`.
    #[schema(min_items = 1, nullable = false)]
    pub origins: Option<Vec<WebOrigin>>,
    /// Lifetime of the token.
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
    /// Time at which the token ends.
    #[schema(format = DateTime)]
    pub expires_at: String,
}

/// Result of an erasure.
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

/// An error (RFC 9457).
#[derive(ToSchema)]
#[schema(example = json!({"type": "urn:fini-bridge:problem:invalid_message", "title": "The message is not valid", "status": 422, "code": "invalid_message", "request_id": "req_01jd6y5q3v8w", "errors": [{"field": "text", "message": "must not be blank"}]}))]
pub struct ProblemBody {
    /// A URN of the code.
    #[schema(rename = "type")]
    pub r#type: String,
    /// The code in words.
    pub title: String,
    /// The status.
    pub status: u16,
    /// Stable code for programs.
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
    pub agent: Option<HandoffAgent>,
}

/// A fault of one field.
#[derive(ToSchema)]
pub struct Fault {
    /// The field, as a path.
    pub field: String,
    /// Description of a valid value.
    pub message: String,
}
