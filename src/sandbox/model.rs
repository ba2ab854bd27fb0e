//! Conversations and events in the vendor's public shape (List conversations → `PublicConversation`, `PublicEvent`).
//!
//! Only data and its JSON form: every documented field is always present, and none of the sandbox's own bookkeeping gets
//! into it.

use std::borrow::Cow;
use std::sync::Arc;

use serde::ser::{SerializeMap, SerializeStruct};
use serde::{Serialize, Serializer};
use serde_json::{Map, Number, Value};
use uuid::Uuid;

/// One event of a conversation.
#[derive(Clone, Debug)]
pub struct Event {
    /// UUID, unless an injected event brought its own.
    pub id: String,
    /// Epoch milliseconds.
    pub created_at: i64,
    /// `user`, `agent`, `finibot`, `otherbot`, or something no client has heard of.
    pub role: Cow<'static, str>,
    /// The vendor's `type`: `message`, `internalnote`, …
    pub kind: Cow<'static, str>,
    /// The text, if the event has one.
    pub message: Option<String>,
    /// A stored rating; 0 is a value.
    pub csat_rating: Option<Number>,
    /// A note attached to the rating.
    pub feedback: Option<String>,
    /// Thumbs up or down.
    pub approved: Option<bool>,
    /// Tags that somebody or something put on it.
    pub tags: Vec<Tag>,
    /// The articles from which the reply was drawn.
    pub used_articles: Vec<Article>,
    /// The fields of an injected event, shown exactly as given (with `id` and `createdAt` filled in).
    pub raw: Option<Box<Map<String, Value>>>,
}

impl Event {
    /// Returns true if a customer sees it; "latest message" is taken to mean that.
    pub fn is_visible_message(&self) -> bool {
        matches!(self.kind.as_ref(), "message" | "widget_form")
    }

    /// Returns true if somebody rated it.
    pub fn has_feedback(&self) -> bool {
        self.csat_rating.is_some() || self.feedback.is_some() || self.approved.is_some()
    }
}

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Some(raw) = &self.raw {
            let mut map = serializer.serialize_map(Some(raw.len()))?;
            for (key, value) in raw.iter() {
                map.serialize_entry(key, value)?;
            }
            return map.end();
        }
        let nothing: &[Value] = &[];
        let mut event = serializer.serialize_struct("Event", 14)?;
        event.serialize_field("id", &self.id)?;
        event.serialize_field("createdAt", &self.created_at)?;
        event.serialize_field("role", &self.role)?;
        event.serialize_field("type", &self.kind)?;
        event.serialize_field("message", &self.message)?;
        event.serialize_field("externalId", &None::<()>)?;
        event.serialize_field("externalCreatedAt", &None::<()>)?;
        event.serialize_field("csatRating", &self.csat_rating)?;
        event.serialize_field("feedback", &self.feedback)?;
        event.serialize_field("approved", &self.approved)?;
        event.serialize_field("resolved", &None::<()>)?;
        event.serialize_field("attachments", nothing)?;
        event.serialize_field("tags", &self.tags)?;
        event.serialize_field("usedArticles", &self.used_articles)?;
        event.end()
    }
}

/// A knowledge article from which a reply was drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Article {
    /// UUID.
    pub id: &'static str,
    /// Title.
    pub title: &'static str,
    /// The source document, when there is one.
    pub document_url: Option<&'static str>,
}

/// A tag on an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tag {
    /// UUID.
    pub id: &'static str,
    /// Name.
    pub name: &'static str,
    /// The group it belongs to, when there is one.
    pub group_id: Option<&'static str>,
}

/// A conversation ("interaction" on the wire) with everything known about it.
#[derive(Clone, Debug)]
pub struct Conversation {
    /// The `interactionId`.
    pub id: Uuid,
    /// The bot it belongs to; not shown on the wire.
    pub bot_id: String,
    /// Time at which it began, epoch milliseconds.
    pub created_at: i64,
    /// The time List sorts by, epoch milliseconds.
    pub latest_at: i64,
    /// `api` for messages that came through Generate Answer.
    pub source: String,
    /// From `metadata.channel`.
    pub channel: Option<String>,
    /// Free text, e.g. `Escalated to Human Agent`.
    pub status: Option<String>,
    /// The id in a ticketing system.
    pub external_id: Option<String>,
    /// The wrapper's own flag.
    pub resolved: Option<bool>,
    /// From `metadata.user_attributes`, as far as they are shown.
    pub user_attributes: Map<String, Value>,
    /// All attributes ever given, by which "create or resolve" decides. Not on the wire.
    pub given_attributes: Map<String, Value>,
    /// All events, in the order in which they were stored.
    pub events: Vec<Arc<Event>>,
    /// True while a human looks after it, so that the bot keeps silent. Not on the wire.
    pub human_owned: bool,
    /// True once it was escalated. Not on the wire except in chat history.
    pub ever_escalated: bool,
    /// True if the bot had to do with it; List shows only such conversations.
    pub touched: bool,
}

impl Conversation {
    /// Returns the customer's first words, shortened.
    pub fn subject_preview(&self) -> Option<String> {
        let first = self.events.iter().find(|event| event.role == "user")?;
        first.message.as_ref().map(|text| text.chars().take(120).collect())
    }

    /// Returns each article used, once.
    pub fn used_articles(&self) -> Vec<Article> {
        let mut articles: Vec<Article> = Vec::new();
        for article in self.events.iter().flat_map(|event| &event.used_articles) {
            if !articles.contains(article) {
                articles.push(*article);
            }
        }
        articles
    }
}

impl Serialize for Conversation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let nothing: &[Value] = &[];
        let mut wrapper = serializer.serialize_struct("Conversation", 14)?;
        wrapper.serialize_field("id", &self.id.to_string())?;
        wrapper.serialize_field("createdAt", &self.created_at)?;
        wrapper.serialize_field("source", &self.source)?;
        wrapper.serialize_field("channel", &self.channel)?;
        wrapper.serialize_field("status", &self.status)?;
        wrapper.serialize_field("externalId", &self.external_id)?;
        wrapper.serialize_field("url", &format!("https://app.usefini.com/dashboard/inbox/{}", self.id))?;
        wrapper.serialize_field("subjectPreview", &self.subject_preview())?;
        wrapper.serialize_field("hasFeedback", &self.events.iter().any(|event| event.has_feedback()))?;
        wrapper.serialize_field("resolved", &self.resolved)?;
        wrapper.serialize_field("userAttributes", &self.user_attributes)?;
        wrapper.serialize_field("usedArticles", &self.used_articles())?;
        wrapper.serialize_field("usedSubfolders", nothing)?;
        wrapper.serialize_field("events", &Events(&self.events))?;
        wrapper.end()
    }
}

/// Shared events as a JSON array.
pub struct Events<'a>(pub &'a [Arc<Event>]);

impl Serialize for Events<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(AsRef::as_ref))
    }
}
