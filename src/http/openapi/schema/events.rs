//! The feed event: one schema for each type, told apart by `type`, and one for the types that are yet to come.

use serde_json::{Map, Value};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr, Schema,
        schema::{
            Discriminator, KnownFormat, Object, ObjectBuilder, OneOfBuilder, Ref, SchemaFormat, SchemaType, Type,
        },
    },
};

use super::{
    super::samples, EscalationReason, FailureCode, FeedMessage, MessageChange, MessageOrigin, Outcome, ReturnedBy,
    State, Unclaimed, free_form,
};

/// Collects schemas by their names.
type Schemas = Vec<(String, RefOr<Schema>)>;

macro_rules! events {
    ($($(#[doc = $doc:literal])+ $name:ident, $kind:literal, $data:ty;)+) => {
        $($(#[doc = $doc])+
        pub struct $name;

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let data = Ref::from_schema_name(<$data>::name());
                event(concat!($($doc),+), $kind, RefOr::Ref(data)).examples(samples::of($kind)).build().into()
            }
        }

        impl ToSchema for $name {
            fn schemas(schemas: &mut Schemas) {
                schemas.push((<$data>::name().into_owned(), <$data>::schema()));
                <$data>::schemas(schemas);
            }
        })+

        /// Every type that has a schema, with the name of that.
        pub const SHAPES: &[(&str, &str)] = &[$(($kind, stringify!($name))),+];

        fn known(schemas: &mut Schemas) {
            $(schemas.push((<$name>::name().into_owned(), <$name>::schema()));
            <$name>::schemas(schemas);)+
        }
    };
}

events! {
    /// A message of anyone.
    MessageCreated, "message.created", MessageCreatedData;
    /// Fini changed a message that was told.
    MessageUpdated, "message.updated", MessageUpdatedData;
    /// The done signal of one message.
    TurnCompleted, "turn.completed", TurnCompletedData;
    /// A message came to nothing.
    TurnFailed, "turn.failed", TurnFailedData;
    /// A human takes over.
    ConversationEscalated, "conversation.escalated", ConversationEscalatedData;
    /// A human is asked for.
    HandoffRequested, "handoff.requested", HandoffRequestedData;
    /// An agent has taken the conversation.
    HandoffClaimed, "handoff.claimed", HandoffAgentData;
    /// Another agent has come.
    HandoffAgentJoined, "handoff.agent_joined", HandoffAgentData;
    /// An agent has gone.
    HandoffAgentLeft, "handoff.agent_left", HandoffAgentData;
    /// Where the customer who waits stands.
    HandoffPosition, "handoff.position", HandoffPositionData;
    /// The customer still waits. Not for browsers.
    HandoffWaiting, "handoff.waiting", HandoffWaitingData;
    /// Nobody came in time.
    HandoffUnclaimed, "handoff.unclaimed", HandoffUnclaimedData;
    /// The bot has the conversation again.
    HandoffReturned, "handoff.returned", HandoffReturnedData;
    /// State, status text or `awaiting_customer` changed.
    ConversationStatusChanged, "conversation.status_changed", ConversationStatusChangedData;
    /// Resolved, or opened again.
    ConversationResolved, "conversation.resolved", ConversationResolvedData;
    /// Another conversation of the same person goes on with its Fini conversation.
    ConversationContinued, "conversation.continued", ConversationContinuedData;
    /// A form is presented.
    FormPresented, "form.presented", FormPresentedData;
    /// A rating changed. Not for browsers.
    FeedbackUpdated, "feedback.updated", FeedbackUpdatedData;
    /// Something of Fini's that the bridge does not know. Not for browsers.
    FiniUnrecognized, "fini.unrecognized", FiniUnrecognizedData;
    /// For browsers alone: stands in place of an event that is not for the customer, so that numbers have no gap.
    Hidden, "hidden", HiddenData;
}

/// The envelope around data.
fn event(description: &str, kind: &str, data: RefOr<Schema>) -> ObjectBuilder {
    let kind = ObjectBuilder::new().schema_type(Type::String).enum_values(Some([kind])).build();
    let sequence = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
        .minimum(Some(1))
        .description(Some("1, 2, 3 … without gaps."));
    envelope(description, kind, sequence.build(), data)
}

fn envelope(description: &str, kind: Object, sequence: Object, data: RefOr<Schema>) -> ObjectBuilder {
    let text = |description: &str| ObjectBuilder::new().schema_type(Type::String).description(Some(description));
    let nullable = SchemaType::Array(vec![Type::String, Type::Null]);
    let properties: [(&str, RefOr<Schema>); 8] = [
        ("id", text("Stable over retries and replays; the `webhook-id`.").pattern(Some("^evt_")).into()),
        ("type", kind.into()),
        (
            "timestamp",
            text("When it was recorded.").format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime))).into(),
        ),
        ("frontend", text("Whose conversation.").into()),
        ("conversation_id", text("Which conversation.").into()),
        ("interaction_id", text("Its Fini conversation, when bound.").schema_type(nullable).into()),
        ("sequence", sequence.into()),
        ("data", data),
    ];
    let object = ObjectBuilder::new().description(Some(description));
    properties.into_iter().fold(object, |object, (name, schema)| object.property(name, schema).required(name))
}

/// An event of a type that this document does not name yet. Pass over it, or keep it as it is.
pub struct OtherEvent;

impl PartialSchema for OtherEvent {
    fn schema() -> RefOr<Schema> {
        let description = "An event of a type that this document does not name yet. Pass over it, or keep it as it is.";
        // `complete` excludes the types that are named.
        let kind = ObjectBuilder::new().schema_type(Type::String).build();
        let sequence = ObjectBuilder::new()
            .schema_type(SchemaType::Array(vec![Type::Integer, Type::Null]))
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)))
            .description(Some("1, 2, 3 … without gaps; null where it stands in no feed."));
        envelope(description, kind, sequence.build(), free_form("By type.").into()).build().into()
    }
}

impl ToSchema for OtherEvent {}

/// One event: the body of a callback, the data of a stream, an entry of the feed.
pub struct FeedEvent;

impl PartialSchema for FeedEvent {
    fn schema() -> RefOr<Schema> {
        union(
            "One event: the body of a callback, the data of a stream, an entry of the feed. Further types may come.",
            &[],
        )
    }
}

impl ToSchema for FeedEvent {
    fn schemas(schemas: &mut Schemas) {
        known(schemas);
        schemas.push((OtherEvent::name().into_owned(), OtherEvent::schema()));
    }
}

/// An entry of the log: a feed event, or that a conversation was erased.
pub struct LogEvent;

/// The type that stands in the log alone, with its schema.
pub const IN_LOG_ALONE: (&str, &str) = (crate::domain::log::ERASED, "ConversationErased");

impl PartialSchema for LogEvent {
    fn schema() -> RefOr<Schema> {
        union("An entry of the log: a feed event, or that a conversation was erased.", &[IN_LOG_ALONE])
    }
}

impl ToSchema for LogEvent {
    fn schemas(schemas: &mut Schemas) {
        FeedEvent::schemas(schemas);
        schemas.push((ConversationErased::name().into_owned(), ConversationErased::schema()));
        ConversationErased::schemas(schemas);
    }
}

/// One of the events with a schema, or one of no type that has one: that comes last, since readers who know no discriminator
/// try one after the other.
fn union(description: &str, further: &[(&str, &str)]) -> RefOr<Schema> {
    let named = || SHAPES.iter().chain(further);
    let mapping = named().map(|(kind, name)| (*kind, Ref::from_schema_name(*name).ref_location));
    let one_of = OneOfBuilder::new()
        .description(Some(description))
        .discriminator(Some(Discriminator::with_mapping("type", mapping)));
    let one_of = named()
        .map(|(_, name)| *name)
        .chain(["OtherEvent"])
        .fold(one_of, |one_of, name| one_of.item(Ref::from_schema_name(name)));
    RefOr::T(Schema::OneOf(one_of.build()))
}

/// A conversation was erased: what its events said is gone. In the log only.
#[derive(ToSchema)]
pub struct ConversationErased {
    /// Stable.
    #[schema(pattern = "^evt_")]
    pub id: String,
    /// `conversation.erased`
    #[schema(schema_with = erased_type)]
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
    pub data: HiddenData,
}

fn erased_type() -> Object {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some([IN_LOG_ALONE.0])).build()
}

/// A message, and where it came from.
#[derive(ToSchema)]
pub struct MessageCreatedData {
    /// The message.
    pub message: FeedMessage,
    /// Where it entered the conversation.
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

/// How a turn ended.
#[derive(ToSchema)]
pub struct TurnCompletedData {
    /// The frontend's message.
    pub message_id: String,
    /// How it ended.
    pub outcome: Outcome,
    /// How many replies were shown.
    #[schema(minimum = 0)]
    pub replies: i64,
}

/// Why a turn came to nothing.
#[derive(ToSchema)]
pub struct TurnFailedData {
    /// The frontend's message.
    pub message_id: String,
    /// Why, for programs.
    pub code: FailureCode,
    /// Why, in words.
    pub detail: String,
    /// Whether the same text may be posted again, under a new id, without the risk of a double.
    pub may_resend: bool,
}

/// Why a conversation counts as escalated.
#[derive(ToSchema)]
pub struct ConversationEscalatedData {
    /// What showed it.
    pub reason: EscalationReason,
    /// Fini's status text, when known.
    #[schema(required)]
    pub status_text: Option<String>,
}

/// A request for a human, with what a desk has to know. Browsers are told `reason`, `desk_open` and `next_open` alone.
#[derive(ToSchema)]
pub struct HandoffRequestedData {
    /// Why.
    pub reason: EscalationReason,
    /// What whoever asked has to say about it.
    pub note: Option<String>,
    /// Who waits.
    #[schema(nullable = false)]
    pub user: Option<HandoffUser>,
    /// The tags that Fini set so far, each once.
    #[schema(nullable = false)]
    pub tags: Option<Vec<Value>>,
    /// Whether the desk is there, as it has said.
    #[schema(required)]
    pub desk_open: Option<bool>,
    /// When it is there again, as it has said.
    #[schema(required)]
    pub next_open: Option<String>,
}

/// The customer, as far as the frontend has said who it is.
#[derive(ToSchema)]
pub struct HandoffUser {
    /// The frontend's own id.
    #[schema(required)]
    pub id: Option<String>,
    /// What was said of them; the latest of each attribute counts.
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

/// Where the customer who waits stands, as the desk says.
#[derive(ToSchema)]
pub struct HandoffPositionData {
    /// 1: next.
    #[schema(minimum = 1)]
    pub position: i64,
    /// How long it may take.
    #[schema(required, minimum = 0)]
    pub expected_wait_seconds: Option<i64>,
}

/// How long the customer has waited.
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
    /// What happens now.
    pub then: Unclaimed,
    /// The words in which the customer is asked for an address.
    #[schema(required)]
    pub text: Option<String>,
}

/// Who or what gave the conversation back.
#[derive(ToSchema)]
pub struct HandoffReturnedData {
    /// Who or what.
    pub by: ReturnedBy,
}

/// Where a conversation stands now.
#[derive(ToSchema)]
pub struct ConversationStatusChangedData {
    /// The state now.
    pub state: State,
    /// The state before; the same where only the rest changed.
    pub previous_state: State,
    /// Fini's status text, when known.
    #[schema(required)]
    pub status_text: Option<String>,
    /// Whether the customer is asked for something. Left out of events that an older version recorded.
    #[schema(nullable = false)]
    pub awaiting_customer: Option<bool>,
}

/// Whether a conversation is resolved.
#[derive(ToSchema)]
pub struct ConversationResolvedData {
    /// Resolved, or opened again.
    pub resolved: bool,
}

/// Which conversation goes on.
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
