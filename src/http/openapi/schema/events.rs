//! The feed event: one schema for each type, told apart by `type`, and one for the types that are yet to come.

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
    super::samples,
    data::{
        ConversationContinuedData, ConversationEscalatedData, ConversationResolvedData, ConversationStatusChangedData,
        FeedbackUpdatedData, FiniUnrecognizedData, FormPresentedData, HandoffAgentData, HandoffPositionData,
        HandoffRequestedData, HandoffReturnedData, HandoffUnclaimedData, HandoffWaitingData, HiddenData,
        MessageCreatedData, MessageUpdatedData, TurnCompletedData, TurnFailedData,
    },
    free_form,
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
    /// The place of the waiting customer.
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
    /// Time of the erasure.
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
