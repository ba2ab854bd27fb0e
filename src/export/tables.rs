//! CSV: two flat tables, column by column, from the JSON of one conversation.
//!
//! No value is interpreted away: a missing value is an empty cell and a rating of 0 is `0`; a value with a shape of its own
//! (attributes, articles, attachments) stays JSON, as Fini sent it. Times are RFC 3339 in UTC.
//!
//! A customer's text must not run in the spreadsheet that opens the file: a text that a spreadsheet would take for a formula
//! stands behind an apostrophe ([`Cells::Safe`]; OWASP, "CSV Injection").

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::compact;
use crate::domain::{Timestamp, spreadsheet::safe_cell};

/// One column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its name in the header line.
    pub name: &'static str,
    /// A description of its content.
    pub holds: &'static str,
    form: Form,
}

#[derive(Clone, Copy, Debug)]
enum Form {
    /// A text, number or truth value of this member.
    Plain(&'static str),
    /// A time in epoch milliseconds of this member.
    Time(&'static str),
    /// The JSON of this member.
    Json(&'static str),
    /// A member of the conversation the row belongs to.
    Parent(&'static str),
    /// The row's number within its conversation, from 1.
    Position,
    /// The number of the conversation's rows in the other table.
    Rows,
    /// The earliest and the latest time among those rows.
    First,
    Last,
}

const fn column(name: &'static str, form: Form, holds: &'static str) -> Column {
    Column { name, holds, form }
}

/// The table of conversations.
pub const CONVERSATION_COLUMNS: [Column; 16] = [
    column("id", Form::Plain("id"), "Fini's id of the conversation"),
    column("created_at", Form::Time("createdAt"), "when it was created"),
    column("source", Form::Plain("source"), "where it came from, such as widget or zendesk"),
    column("channel", Form::Plain("channel"), "its channel"),
    column("status", Form::Plain("status"), "its status, such as Escalated to Human Agent"),
    column("resolved", Form::Plain("resolved"), "true, false, or empty where nobody said"),
    column("external_id", Form::Plain("externalId"), "its id in the ticketing system"),
    column("url", Form::Plain("url"), "its page in Fini's dashboard"),
    column("subject_preview", Form::Plain("subjectPreview"), "the beginning of its subject"),
    column("has_feedback", Form::Plain("hasFeedback"), "whether an event was rated"),
    column("user_attributes", Form::Json("userAttributes"), "JSON object, as captured"),
    column("used_articles", Form::Json("usedArticles"), "JSON array of articles"),
    column("used_subfolders", Form::Json("usedSubfolders"), "JSON array of folders"),
    column("events", Form::Rows, "how many rows it has in the other table"),
    column("first_event_at", Form::First, "when its first event was created"),
    column("last_event_at", Form::Last, "when its last event was created"),
];

/// The table of events.
pub const EVENT_COLUMNS: [Column; 16] = [
    column("conversation_id", Form::Parent("id"), "the conversation's id"),
    column("position", Form::Position, "number within the conversation, from 1, in Fini's order"),
    column("id", Form::Plain("id"), "Fini's id of the event"),
    column("created_at", Form::Time("createdAt"), "when it was created"),
    column("role", Form::Plain("role"), "user, agent, finibot, otherbot, or what comes later"),
    column("type", Form::Plain("type"), "message, internalnote, no_reply, silent_escalation, …"),
    column("message", Form::Plain("message"), "its text"),
    column("external_id", Form::Plain("externalId"), "the provider's id of the message"),
    column("external_created_at", Form::Time("externalCreatedAt"), "the provider's time"),
    column("csat_rating", Form::Plain("csatRating"), "number as stored; 0 is a rating, empty is none"),
    column("feedback", Form::Plain("feedback"), "words about it"),
    column("approved", Form::Plain("approved"), "true thumbs up, false thumbs down, empty unrated"),
    column("resolved", Form::Plain("resolved"), "resolution flag of rated or flagged events"),
    column("attachments", Form::Json("attachments"), "JSON array, as passed through"),
    column("tags", Form::Json("tags"), "JSON array of tags"),
    column("used_articles", Form::Json("usedArticles"), "JSON array of articles"),
];

/// The table of conversations of the chat history. Entries of the older shape have no conversation and no row here.
pub const HISTORY_COLUMNS: [Column; 12] = [
    column("id", Form::Plain("id"), "Fini's id of the conversation"),
    column("created_at", Form::Time("createdAt"), "when it was created"),
    column("updated_at", Form::Time("updatedAt"), "when it last changed"),
    column("source", Form::Plain("source"), "where it came from"),
    column("channel", Form::Plain("channel"), "its channel"),
    column("external_id", Form::Plain("externalId"), "its id in the ticketing system"),
    column("url", Form::Plain("url"), "its address, if any"),
    column("escalation", Form::Plain("escalation"), "whether it was escalated"),
    column("has_links", Form::Plain("hasLinks"), "whether it contains links"),
    column("feedback_type", Form::Plain("feedbackType"), "thumbs_up, thumbs_down or empty"),
    column("categories", Form::Json("categories"), "JSON array of categories"),
    column("questions", Form::Rows, "how many rows it has in the other table"),
];

/// The table of questions of the chat history.
pub const QUESTION_COLUMNS: [Column; 13] = [
    column("conversation_id", Form::Parent("id"), "the conversation's id; empty in the older shape"),
    column("position", Form::Position, "number within the conversation, from 1"),
    column("created_at", Form::Time("createdAt"), "when it was asked or answered"),
    column("bot_name", Form::Plain("botName"), "the agent's name (older shape)"),
    column("source", Form::Plain("source"), "where it was asked (older shape)"),
    column("question", Form::Plain("question"), "what was asked"),
    column("answer", Form::Plain("answer"), "what Fini answered"),
    column("categories", Form::Json("categories"), "JSON array, or text in the older shape"),
    column("escalation", Form::Plain("escalation"), "whether it led to an escalation"),
    column("reasoning", Form::Plain("reasoning"), "reasoning behind the answer, if any"),
    column("feedback_type", Form::Plain("feedbackType"), "thumbs_up, thumbs_down or empty"),
    column("based_on", Form::Json("basedOn"), "JSON array of knowledge sources"),
    column("message_history", Form::Json("messageHistory"), "JSON array of messages so far (older shape)"),
];

/// The form of texts in cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cells {
    /// An apostrophe precedes a text that a spreadsheet would take for a formula.
    Safe,
    /// As Fini sent it.
    Raw,
}

/// A pair of tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tables {
    /// Conversations and their events.
    Conversations,
    /// The chat history: conversations and their questions.
    History,
}

type Members<'a> = BTreeMap<String, &'a RawValue>;

/// One conversation taken apart.
pub(super) struct Parts<'a> {
    tables: Tables,
    cells: Cells,
    wrapper: Members<'a>,
    rows: Vec<Members<'a>>,
}

impl Tables {
    /// Returns the columns of the first and of the second table.
    pub fn columns(self) -> (&'static [Column], &'static [Column]) {
        match self {
            Self::Conversations => (&CONVERSATION_COLUMNS, &EVENT_COLUMNS),
            Self::History => (&HISTORY_COLUMNS, &QUESTION_COLUMNS),
        }
    }

    /// Returns the header lines of the first and of the second table.
    pub(super) fn headers(self) -> (String, String) {
        let line = |columns: &[Column]| columns.iter().map(|column| column.name).collect::<Vec<_>>().join(",");
        let (first, second) = self.columns();
        (line(first), line(second))
    }

    /// Returns the tables that the entry in this line of JSON belongs to, if it is one.
    pub(super) fn of_line(line: &str) -> Option<Self> {
        let members: Members<'_> = serde_json::from_str(line).ok()?;
        if members.contains_key(Self::History.list()) || members.contains_key("question") {
            return Some(Self::History);
        }
        members.contains_key(Self::Conversations.list()).then_some(Self::Conversations)
    }

    /// Returns the member that holds the rows of the second table.
    const fn list(self) -> &'static str {
        match self {
            Self::Conversations => "events",
            Self::History => "botRequests",
        }
    }

    /// Takes the JSON of a conversation apart. Anything but an object has no rows.
    pub(super) fn parts(self, json: &str, cells: Cells) -> Parts<'_> {
        let wrapper: Members<'_> = serde_json::from_str(json).unwrap_or_default();
        let rows = match wrapper.get(self.list()) {
            Some(raw) => entries(raw),
            // The older shape of the history: the entry is the question itself.
            None if self == Self::History && wrapper.contains_key("question") => vec![wrapper.clone()],
            None => Vec::new(),
        };
        Parts { tables: self, cells, wrapper, rows }
    }
}

fn entries(raw: &RawValue) -> Vec<Members<'_>> {
    let entries: Vec<&RawValue> = serde_json::from_str(raw.get()).unwrap_or_default();
    entries.into_iter().filter_map(|entry| serde_json::from_str(entry.get()).ok()).collect()
}

impl Parts<'_> {
    /// Counts its rows of the second table.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Returns the row of the first table, if it has one.
    pub(super) fn first(&self) -> Option<Vec<String>> {
        if self.tables == Tables::History && !self.wrapper.contains_key("botRequests") && !self.rows.is_empty() {
            return None;
        }
        let columns = self.tables.columns().0;
        Some(columns.iter().map(|column| self.cell(column.form, &self.wrapper, 0)).collect())
    }

    /// Returns the rows of the second table.
    pub(super) fn second(&self) -> impl Iterator<Item = Vec<String>> + '_ {
        let columns = self.tables.columns().1;
        (1..)
            .zip(&self.rows)
            .map(move |(position, row)| columns.iter().map(|column| self.cell(column.form, row, position)).collect())
    }

    fn cell(&self, form: Form, row: &Members<'_>, position: usize) -> String {
        let times = || self.rows.iter().filter_map(|row| row.get("createdAt")?.get().parse::<i64>().ok());
        let shown = |at: Option<i64>| at.map(|at| Timestamp::from_millis(at).to_string()).unwrap_or_default();
        match form {
            Form::Plain(name) => self.plain(row.get(name)),
            Form::Time(name) => match row.get(name).map(|raw| raw.get().parse::<i64>()) {
                Some(Ok(at)) => shown(Some(at)),
                _ => self.plain(row.get(name)),
            },
            Form::Json(name) => {
                row.get(name).filter(|raw| raw.get() != "null").map(|raw| compact(raw.get())).unwrap_or_default()
            }
            // In the older shape of the history a row is its own wrapper and has no id.
            Form::Parent(name) => self.plain(self.wrapper.get(name)),
            Form::Position => position.to_string(),
            Form::Rows => self.rows.len().to_string(),
            Form::First => shown(times().min()),
            Form::Last => shown(times().max()),
        }
    }

    fn plain(&self, raw: Option<&&RawValue>) -> String {
        let Some(raw) = raw.map(|raw| raw.get()).filter(|raw| *raw != "null") else {
            return String::new();
        };
        if !raw.starts_with('"') {
            return compact(raw);
        }
        // Half a surrogate pair is no text; its escape is shown as it came.
        let text: String = serde_json::from_str(raw).unwrap_or_else(|_| raw.to_owned());
        if self.cells == Cells::Safe { safe_cell(text) } else { text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_interpreted_away() {
        let json = r#"{"id":"c","createdAt":1747075200000,"resolved":null,"userAttributes":{"b":1.0,"a":null},
            "events":[{"id":"e1","createdAt":1747075201000,"role":"user","type":"message","message":"a,\"b\"\n","csatRating":0},
                      {"id":"e2","createdAt":1747075205000,"csatRating":null,"approved":false,"extra":1}]}"#;
        let parts = Tables::Conversations.parts(json, Cells::Safe);
        let names = CONVERSATION_COLUMNS.map(|column| column.name);
        let row: BTreeMap<_, _> = names.into_iter().zip(parts.first().expect("a row")).collect();
        assert_eq!(row["id"], "c");
        assert_eq!(row["created_at"], "2025-05-12T18:40:00.000Z");
        assert_eq!(row["resolved"], "");
        assert_eq!(row["user_attributes"], r#"{"b":1.0,"a":null}"#);
        assert_eq!((row["events"].as_str(), row["last_event_at"].as_str()), ("2", "2025-05-12T18:40:05.000Z"));
        let names = EVENT_COLUMNS.map(|column| column.name);
        let rows: Vec<BTreeMap<_, _>> = parts.second().map(|row| names.into_iter().zip(row).collect()).collect();
        assert_eq!((rows[0]["csat_rating"].as_str(), rows[1]["csat_rating"].as_str()), ("0", ""));
        assert_eq!((rows[0]["approved"].as_str(), rows[1]["approved"].as_str()), ("", "false"));
        assert_eq!((rows[0]["message"].as_str(), rows[1]["position"].as_str()), ("a,\"b\"\n", "2"));
        assert_eq!(rows[1]["conversation_id"], "c");
    }

    #[test]
    fn a_text_is_no_formula_and_a_number_stays_one() {
        let json = r#"{"id":"=1+1","resolved":-1,"events":[{"message":"=HYPERLINK(\"http://x\")"},{"message":"-5"},{"message":"a=b"}]}"#;
        let cells = |cells| {
            let parts = Tables::Conversations.parts(json, cells);
            let messages: Vec<String> = parts.second().map(|row| row[6].clone()).collect();
            (parts.first().expect("a row")[5].clone(), messages)
        };
        let (number, safe) = cells(Cells::Safe);
        assert_eq!(
            (number.as_str(), safe),
            ("-1", vec!["'=HYPERLINK(\"http://x\")".into(), "'-5".into(), "a=b".into()])
        );
        assert_eq!(cells(Cells::Raw).1[1], "-5");
    }

    #[test]
    fn both_shapes_of_the_history_give_questions() {
        let newer = Tables::History.parts(r#"{"id":"c","botRequests":[{"question":"q","answer":"a"}]}"#, Cells::Safe);
        assert!(newer.first().is_some());
        assert_eq!(newer.second().next().expect("a row")[..2], ["c".to_owned(), "1".to_owned()]);
        let older = Tables::History.parts(r#"{"botName":"b","question":"q","answer":"a","createdAt":0}"#, Cells::Safe);
        assert!(older.first().is_none());
        assert_eq!(older.second().next().expect("a row")[2..6], ["1970-01-01T00:00:00.000Z", "b", "", "q"]);
    }
}
