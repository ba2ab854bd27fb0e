//! The legacy chat history ("Get chat history"): one route with two documented response shapes, shown as one.

use serde_json::Value;

use crate::domain::Timestamp;

use super::Direction;

/// Which history to read. All parameters are optional; what is left out is Fini's default.
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
    /// Which way the cursor moves; sent only beside a cursor.
    pub direction: Direction,
    /// Only these sources (`all`, `zendesk`, `widget`, `api`, …); sent as repeated parameters.
    pub sources: Vec<String>,
    /// Only this category.
    pub category: Option<String>,
    /// `thumbs_up`, `thumbs_down` or `no_feedback`.
    pub feedback_type: Option<String>,
    /// Only what was (not) escalated.
    pub escalation: Option<bool>,
    /// Only what has (no) knowledge behind it.
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
    /// How many entries were no objects and were left out.
    pub malformed: usize,
    /// Whether there is a further page.
    pub has_more: bool,
    /// The cursor of the next page, where Fini gives one. None is documented.
    pub next_cursor: Option<String>,
}

impl HistoryPage {
    /// Where to read on: Fini's own cursor, else the last conversation's id, as "List conversations" documents for
    /// itself. `None` at the end, or when there is no way on. The page does not document what a cursor is: whoever
    /// follows this must stop when a page brings nothing new.
    pub fn following(&self) -> Option<&str> {
        if !self.has_more {
            return None;
        }
        let last = self.conversations.last().and_then(|conversation| conversation.id.as_deref());
        self.next_cursor.as_deref().or(last)
    }
}

/// One conversation of the history. Everything may be missing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HistoryConversation {
    /// Fini's id.
    pub id: Option<String>,
    /// The ticketing system's id.
    pub external_id: Option<String>,
    /// Where it was asked.
    pub source: Option<String>,
    /// The channel.
    pub channel: Option<String>,
    /// Whether it was escalated.
    pub escalation: Option<bool>,
    /// `thumbs_up`, `thumbs_down` or nothing.
    pub feedback_type: Option<String>,
    /// Categories that Fini assigned.
    pub categories: Vec<String>,
    /// When it began.
    pub created_at: Option<Timestamp>,
    /// When it last changed.
    pub updated_at: Option<Timestamp>,
    /// Questions and answers, in Fini's order.
    pub requests: Vec<HistoryRequest>,
    /// The entry as it arrived.
    pub raw: Value,
}

/// One question and its answer. Everything may be missing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HistoryRequest {
    /// The agent's name; only the older shape has it.
    pub bot_name: Option<String>,
    /// What was asked.
    pub question: Option<String>,
    /// What Fini answered.
    pub answer: Option<String>,
    /// Categories that Fini assigned.
    pub categories: Vec<String>,
    /// Whether the answer led to an escalation.
    pub escalation: Option<bool>,
    /// `thumbs_up`, `thumbs_down` or nothing.
    pub feedback_type: Option<String>,
    /// When it was asked.
    pub created_at: Option<Timestamp>,
    /// Knowledge behind the answer, as Fini passes it through.
    pub based_on: Vec<Value>,
}
