//! Chat history (legacy): questions with their answers, in either of the two documented shapes.

use std::sync::Arc;

use serde_json::{Value, json};

use super::choices::HistoryShape;
use super::error::VendorError;
use super::model::{Conversation, Event};
use super::query::Query;
use super::script;
use super::world::World;

/// A customer's message with the bot's reply to it.
struct Exchange<'a> {
    question: &'a Event,
    answers: Vec<&'a Event>,
}

impl Exchange<'_> {
    fn answer(&self) -> String {
        let texts: Vec<&str> = self.answers.iter().filter_map(|event| event.message.as_deref()).collect();
        texts.join("\n")
    }

    fn answered_at(&self) -> i64 {
        self.answers.first().map_or(self.question.created_at, |event| event.created_at)
    }

    fn category(&self) -> &'static str {
        script::category(self.question.message.as_deref().unwrap_or_default())
    }

    fn feedback(&self) -> Option<&'static str> {
        let approved = self.answers.iter().find_map(|event| event.approved)?;
        Some(if approved { "thumbs_up" } else { "thumbs_down" })
    }

    fn based_on(&self) -> Vec<Value> {
        let articles = self.answers.iter().flat_map(|event| &event.used_articles);
        let source = |article: &super::model::Article| {
            json!({
                "id": article.id.replace('-', ""),
                "entry": null,
                "score": 0.8,
                "title": article.title,
                "answer": self.answer(),
                "question": self.question.message,
                "source_id": article.document_url,
                "source_type": "url",
            })
        };
        articles.map(source).collect()
    }
}

fn exchanges(conversation: &Conversation) -> Vec<Exchange<'_>> {
    let mut exchanges: Vec<Exchange<'_>> = Vec::new();
    for event in conversation.events.iter().map(AsRef::as_ref).filter(|event: &&Event| event.kind == "message") {
        match (event.role.as_ref(), exchanges.last_mut()) {
            ("user", _) => exchanges.push(Exchange { question: event, answers: Vec::new() }),
            ("finibot", Some(exchange)) => exchange.answers.push(event),
            _ => {}
        }
    }
    exchanges
}

/// Validated parameters.
struct Wanted {
    start: i64,
    end: i64,
    sources: Vec<String>,
    category: Option<String>,
    feedback: Option<String>,
    escalation: Option<bool>,
    has_links: Option<bool>,
    user_id: Option<String>,
    ticket_id: Option<String>,
    question: Option<String>,
}

impl Wanted {
    fn parse(query: &Query) -> Result<Self, VendorError> {
        let feedback = query.text("feedbackType").map(ToOwned::to_owned);
        if feedback.as_ref().is_some_and(|kind| !["thumbs_up", "thumbs_down", "no_feedback"].contains(&kind.as_str())) {
            return Err(VendorError::bad_request("feedbackType must be thumbs_up, thumbs_down or no_feedback"));
        }
        let text = |name| query.text(name).map(ToOwned::to_owned);
        Ok(Self {
            start: query.time("startEpoch")?.unwrap_or(0),
            end: query.time("endEpoch")?.unwrap_or(i64::MAX),
            sources: query.list("source").into_iter().map(ToOwned::to_owned).collect(),
            category: text("category"),
            feedback,
            escalation: query.flag("escalation")?,
            has_links: query.flag("hasLinks")?,
            user_id: text("userId"),
            ticket_id: text("ticketId"),
            question: query.text("question").map(str::to_lowercase),
        })
    }

    fn matches(&self, conversation: &Conversation) -> bool {
        let exchanges = exchanges(conversation);
        let all_sources = self.sources.is_empty() || self.sources.iter().any(|source| source == "all");
        let user_ids = ["userId", "user_id", "id"];
        let user_id = |wanted: &String| {
            let values = user_ids.iter().filter_map(|name| conversation.user_attributes.get(*name));
            values.filter_map(super::book::scalar).any(|value| value == *wanted)
        };
        !exchanges.is_empty()
            && (self.start..=self.end).contains(&conversation.created_at)
            && (all_sources || self.sources.contains(&conversation.source))
            && self
                .category
                .as_ref()
                .is_none_or(|wanted| exchanges.iter().any(|exchange| exchange.category() == wanted))
            && self.feedback.as_ref().is_none_or(|wanted| feedback(&exchanges).unwrap_or("no_feedback") == wanted)
            && self.escalation.is_none_or(|wanted| conversation.ever_escalated == wanted)
            && self.has_links.is_none_or(|wanted| has_links(conversation) == wanted)
            && self.user_id.as_ref().is_none_or(user_id)
            && self.ticket_id.as_ref().is_none_or(|wanted| conversation.external_id.as_ref() == Some(wanted))
            && self.question.as_ref().is_none_or(|wanted| asks(&exchanges, wanted))
    }
}

fn feedback(exchanges: &[Exchange<'_>]) -> Option<&'static str> {
    exchanges.iter().find_map(Exchange::feedback)
}

/// Returns true for "Conversations that contain knowledge".
fn has_links(conversation: &Conversation) -> bool {
    conversation.events.iter().any(|event| !event.used_articles.is_empty())
}

fn asks(exchanges: &[Exchange<'_>], wanted: &str) -> bool {
    let mut questions = exchanges.iter().filter_map(|exchange| exchange.question.message.as_deref());
    questions.any(|question| question.to_lowercase().contains(wanted))
}

impl World {
    /// Returns chat history's answer to a query string.
    pub fn history(&self, query: &Query) -> Result<Value, VendorError> {
        let wanted = Wanted::parse(query)?;
        match self.settings.history_shape {
            HistoryShape::Conversations => self.history_page(&wanted, query),
            HistoryShape::Array => Ok(self.history_array(&wanted)),
        }
    }

    fn history_page(&self, wanted: &Wanted, query: &Query) -> Result<Value, VendorError> {
        let limit = query.limit()?;
        let newer = query.towards_newer()?;
        let cursor = query.uuid("cursor")?.map(|id| {
            let known = self.truth.get(id).map(|conversation| (conversation.created_at, id));
            known.ok_or_else(|| {
                VendorError::new(self.settings.unknown_cursor_status, "The cursor names no conversation")
            })
        });
        let cursor = cursor.transpose()?;
        let start = wanted.start;
        let mut found: Vec<&Arc<Conversation>> = match cursor {
            Some(place) if newer => {
                self.truth.created_after(place).filter(|it| wanted.matches(it)).take(limit + 1).collect()
            }
            place => {
                let inside = self.truth.created_before(place).take_while(|it| it.created_at >= start);
                inside.filter(|it| wanted.matches(it)).take(limit + 1).collect()
            }
        };
        let has_more = found.len() > limit;
        found.truncate(limit);
        if newer && cursor.is_some() {
            found.reverse();
        }
        let conversations: Vec<Value> =
            found.into_iter().map(|conversation| conversation_entry(conversation)).collect();
        Ok(json!({"conversations": conversations, "hasMore": has_more}))
    }

    /// Returns the older shape. Its page documents no paging: everything in the window comes at once.
    fn history_array(&self, wanted: &Wanted) -> Value {
        let inside = self.truth.created_before(None).take_while(|it| it.created_at >= wanted.start);
        let found = inside.filter(|it| wanted.matches(it));
        let entries = found.flat_map(|conversation| self.question_entries(conversation));
        // This shape has no pages: it does not say what the cap cuts off.
        entries.take(self.settings.list_page_cap.unwrap_or(usize::MAX)).collect()
    }

    fn question_entries(&self, conversation: &Conversation) -> Vec<Value> {
        let bot = self.bots.iter().find(|(bot, _)| bot.id == conversation.bot_id);
        let bot_name = bot.map_or("", |(bot, _)| bot.name.as_str());
        let mut messages: Vec<Value> = Vec::new();
        let mut entries = Vec::new();
        for exchange in exchanges(conversation) {
            messages.push(json!({"role": "user", "content": exchange.question.message}));
            let answer = exchange.answer();
            messages.push(json!({"role": "assistant", "content": answer}));
            entries.push(json!({
                "botName": bot_name,
                "createdAt": exchange.question.created_at,
                "source": conversation.source,
                "question": exchange.question.message,
                "answer": answer,
                "categories": exchange.category(),
                "basedOn": exchange.based_on(),
                "messageHistory": messages,
            }));
        }
        entries
    }
}

fn conversation_entry(conversation: &Conversation) -> Value {
    let exchanges = exchanges(conversation);
    let mut categories: Vec<&str> = Vec::new();
    for exchange in &exchanges {
        if !categories.contains(&exchange.category()) {
            categories.push(exchange.category());
        }
    }
    let last = exchanges.len().saturating_sub(1);
    let requests: Vec<Value> = exchanges
        .iter()
        .enumerate()
        .map(|(n, exchange)| {
            json!({
                "question": exchange.question.message,
                "answer": exchange.answer(),
                "categories": [exchange.category()],
                "escalation": conversation.ever_escalated && n == last,
                "reasoning": null,
                "feedbackType": exchange.feedback(),
                "expectingUserFollowup": false,
                "createdAt": exchange.answered_at(),
                "basedOn": exchange.based_on(),
            })
        })
        .collect();
    json!({
        "id": conversation.id.to_string(),
        "externalId": conversation.external_id,
        "source": conversation.source,
        "channel": conversation.channel,
        "escalation": conversation.ever_escalated,
        "hasLinks": has_links(conversation),
        "feedbackType": feedback(&exchanges),
        "expectingUserFollowup": false,
        "url": null,
        "categories": categories,
        "createdAt": conversation.created_at,
        "updatedAt": conversation.events.last().map_or(conversation.created_at, |event| event.created_at),
        "botRequests": requests,
    })
}
