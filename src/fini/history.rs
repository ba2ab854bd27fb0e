//! The legacy chat history ("Get chat history"): one route with two documented response shapes, shown as one.

use serde_json::Value;

use crate::domain::Timestamp;

use super::Direction;

/// The part of the history to read. All parameters are optional; without one, Fini's default applies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryQuery {
    /// `startEpoch`.
    pub start: Option<Timestamp>,
    /// `endEpoch`.
    pub end: Option<Timestamp>,
    /// Records per page.
    pub limit: Option<u32>,
    /// A cursor of an earlier page, see [`HistoryPage::following`].
    pub cursor: Option<String>,
    /// The direction in which the cursor moves; sent only beside a cursor.
    pub direction: Direction,
    /// Only these sources (`all`, `zendesk`, `widget`, `api`, …); sent as repeated parameters.
    pub sources: Vec<String>,
    /// Only this category.
    pub category: Option<String>,
    /// `thumbs_up`, `thumbs_down` or `no_feedback`.
    pub feedback_type: Option<String>,
    /// Only escalated conversations, or only others.
    pub escalation: Option<bool>,
    /// Only conversations with knowledge behind them, or only others.
    pub has_links: Option<bool>,
    /// Only this user.
    pub user_id: Option<String>,
    /// Only this ticket.
    pub ticket_id: Option<String>,
    /// Only this question text.
    pub question: Option<String>,
}

/// One page of history.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HistoryPage {
    /// The conversations. The older shape, a bare array of questions, gives one conversation without id per question.
    pub conversations: Vec<HistoryConversation>,
    /// Number of entries that were no objects and were left out.
    pub malformed: usize,
    /// True if there is a further page.
    pub has_more: bool,
    /// The cursor of the next page, if Fini gives one. None is documented.
    pub next_cursor: Option<String>,
}

impl HistoryPage {
    /// Returns the cursor to read on from: Fini's own, else the last conversation's id, as "List conversations" documents
    /// for itself. `None` at the end, or if there is no way on. The page does not document what a cursor is: a caller that
    /// follows this must stop when a page brings nothing new.
    pub fn following(&self) -> Option<&str> {
        if !self.has_more {
            return None;
        }
        let last = self.conversations.last().and_then(|conversation| conversation.id.as_deref());
        self.next_cursor.as_deref().or(last)
    }
}

/// One conversation of the history. Any field may be missing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HistoryConversation {
    /// Fini's id.
    pub id: Option<String>,
    /// The ticketing system's id.
    pub external_id: Option<String>,
    /// The source in which it was asked.
    pub source: Option<String>,
    /// The channel.
    pub channel: Option<String>,
    /// True if it was escalated.
    pub escalation: Option<bool>,
    /// `thumbs_up`, `thumbs_down` or nothing.
    pub feedback_type: Option<String>,
    /// Categories that Fini assigned.
    pub categories: Vec<String>,
    /// Creation time.
    pub created_at: Option<Timestamp>,
    /// Time of the last change.
    pub updated_at: Option<Timestamp>,
    /// Questions and answers, in Fini's order.
    pub requests: Vec<HistoryRequest>,
    /// The entry as it arrived.
    pub raw: Value,
}

/// One question and its answer. Any field may be missing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HistoryRequest {
    /// The agent's name; only the older shape has it.
    pub bot_name: Option<String>,
    /// The customer's question.
    pub question: Option<String>,
    /// Fini's answer.
    pub answer: Option<String>,
    /// Categories that Fini assigned.
    pub categories: Vec<String>,
    /// True if the answer led to an escalation.
    pub escalation: Option<bool>,
    /// `thumbs_up`, `thumbs_down` or nothing.
    pub feedback_type: Option<String>,
    /// Time of the question.
    pub created_at: Option<Timestamp>,
    /// Knowledge behind the answer, as Fini passes it through.
    pub based_on: Vec<Value>,
}
