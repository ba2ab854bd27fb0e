//! Words that the API answers with. Further ones may come in later versions, so each is open: a reader takes any text.

use serde_json::Value;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr, Schema,
        schema::{AdditionalProperties, AnyOfBuilder, Object, ObjectBuilder, Type},
    },
};

macro_rules! words {
    ($($(#[doc = $doc:literal])+ $name:ident = $($word:literal)|+;)+) => {$(
        $(#[doc = $doc])+
        pub struct $name;

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                open(concat!($($doc, "\n"),+).trim(), &[$($word),+])
            }
        }

        impl ToSchema for $name {}
    )+};
}

/// One of these words, or another one that came later.
fn open(description: &str, words: &[&str]) -> RefOr<Schema> {
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let any_of = AnyOfBuilder::new()
        .description(Some(description))
        .item(text().enum_values(Some(words.iter().copied())))
        .item(text());
    RefOr::T(Schema::AnyOf(any_of.build()))
}

/// An object with any members.
pub(super) fn free_form(description: &str) -> Object {
    ObjectBuilder::new()
        .description(Some(description))
        .additional_properties(Some(AdditionalProperties::<Schema>::FreeForm(true)))
        .build()
}

words! {
    /// State of a turn: it waits, is on its way, or is over. `answered`: Fini answered, decided not to, or handed over;
    /// `stored`: mirrored; `failed`: see `turn.failed`.
    TurnStatus = "queued" | "sending" | "answered" | "stored" | "failed";
    /// State of a conversation: with the bot, with a human, done; `quarantined` until an operator settles whose Fini
    /// conversation is whose; `lost` where its Fini conversation is gone, so that the next message starts a new one; `continued`
    /// where Fini goes on for another conversation of the same person, until a message takes it up again.
    State = "open" | "escalated" | "resolved" | "quarantined" | "lost" | "continued";
    /// The party that may speak to the customer: Fini's bot, nobody yet (a human was asked for), or a human.
    Speaker = "bot" | "waiting" | "human";
    /// Author of a message: the customer, Fini's bot, a human agent, or another automation.
    Author = "user" | "bot" | "agent" | "otherbot";
    /// Format of a text: every character as itself, or Markdown, in which HTML is text.
    TextFormat = "plain" | "markdown";
    /// Side from which a message entered the conversation: it was found in Fini, or the frontend posted it.
    MessageOrigin = "fini" | "frontend";
    /// End of a turn: with replies, without any since Fini decided so, with a human, or mirrored.
    Outcome = "answered" | "no_reply" | "escalated" | "stored";
    /// Reason for which a turn failed.
    FailureCode = "fini_rejected" | "fini_unavailable" | "no_reply_in_time" | "interaction_lost" | "unclear_outcome";
    /// The reason why a human takes over.
    EscalationReason = "status" | "silent_escalation" | "human_message" | "action" | "requested";
    /// Consequence when nobody came: the bot goes on, the customer waits on, or is asked for an address.
    Unclaimed = "bot" | "stay" | "ask";
    /// Cause of the end of a handoff.
    ReturnedBy = "desk" | "resolution" | "idle";
}

/// A message in the feed.
#[derive(ToSchema)]
pub struct FeedMessage {
    /// Fini's event id; of what the frontend posted, the `message_id`.
    pub id: String,
    /// Author of the message.
    pub author: Author,
    /// Its text.
    pub text: String,
    /// Format of the text. Left out of events that were recorded before there were formats: those are plain.
    #[schema(nullable = false)]
    pub format: Option<TextFormat>,
    /// Time at which it was written.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// The articles behind it.
    pub articles: Vec<Article>,
    /// As Fini gives them.
    pub attachments: Vec<Value>,
    /// As Fini gives them; empty for browsers.
    pub tags: Vec<Value>,
}

/// A message of a transcript: as it is now.
#[derive(ToSchema)]
pub struct TranscriptMessage {
    /// Fini's event id; of what the frontend posted, the `message_id`.
    pub id: String,
    /// Author of the message.
    pub author: Author,
    /// Its text, as it was last changed.
    pub text: String,
    /// Format of the text; plain if it is left out.
    #[schema(nullable = false)]
    pub format: Option<TextFormat>,
    /// Time at which it was written.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// The articles behind it.
    pub articles: Vec<Article>,
    /// As Fini gives them.
    pub attachments: Vec<Value>,
    /// As Fini gives them; empty for browsers.
    pub tags: Vec<Value>,
    /// True where the customer was not shown it.
    #[schema(nullable = false)]
    pub withheld: Option<bool>,
}

/// The changed members of a message.
#[derive(ToSchema)]
pub struct MessageChange {
    /// Its text now.
    #[schema(nullable = false)]
    pub text: Option<String>,
    /// All its articles now.
    #[schema(nullable = false)]
    pub articles: Option<Vec<Article>>,
    /// All its attachments now.
    #[schema(nullable = false)]
    pub attachments: Option<Vec<Value>>,
    /// All its tags now. Not for browsers.
    #[schema(nullable = false)]
    pub tags: Option<Vec<Value>>,
}

/// An article behind a message.
#[derive(ToSchema)]
pub struct Article {
    /// Fini's id of it.
    pub id: String,
    /// Its title.
    pub title: String,
    /// Its source: an absolute http or https address, when there is one.
    #[schema(required)]
    pub url: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_named_and_any_other_text_passes() {
        let schema = serde_json::to_value(Speaker::schema()).expect("JSON");
        assert_eq!(schema["anyOf"][0]["enum"], serde_json::json!(["bot", "waiting", "human"]));
        assert_eq!(schema["anyOf"][1], serde_json::json!({"type": "string"}));
    }
}
