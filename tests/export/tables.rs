//! The two CSV tables, cell by cell against the vendor's truth.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use csv::StringRecord;
use serde_json::Value;

use crate::{memory, run::Export, vendor::Vendor};

/// Runs it.
pub async fn run(vendor: &Vendor) -> Result<String> {
    let mut export = Export::new(vendor, "out.csv")?;
    export.start(&["--format", "csv"])?;
    let outcome = export.ended().await?;
    let mut truth = vendor.sandbox.conversations(usize::MAX);
    truth.sort_by_key(|conversation| conversation.created_at);
    let folder = vendor.folder.path();
    let mut conversations = Table::open(&folder.join("out.conversations.csv"))?;
    let mut events = Table::open(&folder.join("out.events.csv"))?;
    let (mut rows, mut zeros) = (0, 0);
    for conversation in &truth {
        let truth = serde_json::to_value(&**conversation)?;
        let row = conversations.next()?.context("the table of conversations ends too early")?;
        let listed = truth["events"].as_array().context("events")?;
        for (column, member) in [
            ("id", "id"),
            ("source", "source"),
            ("channel", "channel"),
            ("status", "status"),
            ("resolved", "resolved"),
            ("external_id", "externalId"),
            ("url", "url"),
            ("subject_preview", "subjectPreview"),
            ("has_feedback", "hasFeedback"),
        ] {
            row.is(column, &plain(&truth[member]))?;
        }
        row.is("created_at", &time(&truth["createdAt"])?)?;
        row.is_json("user_attributes", &truth["userAttributes"])?;
        row.is_json("used_articles", &truth["usedArticles"])?;
        row.is("events", &listed.len().to_string())?;
        for (position, event) in listed.iter().enumerate() {
            let row = events.next()?.context("the table of events ends too early")?;
            row.is("conversation_id", &plain(&truth["id"]))?;
            row.is("position", &(position + 1).to_string())?;
            for (column, member) in [
                ("id", "id"),
                ("role", "role"),
                ("type", "type"),
                ("message", "message"),
                ("csat_rating", "csatRating"),
                ("feedback", "feedback"),
                ("approved", "approved"),
            ] {
                row.is(column, &plain(&event[member]))?;
            }
            row.is("created_at", &time(&event["createdAt"])?)?;
            row.is_json("used_articles", &event["usedArticles"])?;
            zeros += u64::from(row.cell("csat_rating")? == "0");
            rows += 1;
        }
    }
    ensure!(conversations.next()?.is_none() && events.next()?.is_none(), "there is more than the truth");
    ensure!(zeros > 0, "no rating of 0 was kept apart from none");
    Ok(format!("{}, {} conversations, {rows} events, {zeros} ratings of 0", memory(&outcome)?, truth.len()))
}

struct Table {
    header: StringRecord,
    rows: csv::StringRecordsIntoIter<std::fs::File>,
}

struct Row<'a> {
    header: &'a StringRecord,
    row: StringRecord,
}

impl Table {
    fn open(path: &Path) -> Result<Self> {
        let mut reader = csv::Reader::from_path(path).with_context(|| path.display().to_string())?;
        Ok(Self { header: reader.headers()?.clone(), rows: reader.into_records() })
    }

    fn next(&mut self) -> Result<Option<Row<'_>>> {
        let row = self.rows.next().transpose()?;
        Ok(row.map(|row| Row { header: &self.header, row }))
    }
}

impl Row<'_> {
    fn cell(&self, column: &str) -> Result<&str> {
        let at = self.header.iter().position(|name| name == column);
        at.and_then(|at| self.row.get(at)).with_context(|| format!("no column {column}"))
    }

    fn is(&self, column: &str, wanted: &str) -> Result<()> {
        let cell = self.cell(column)?;
        ensure!(cell == wanted, "{column} is {cell:?} instead of {wanted:?} in {:?}", self.row);
        Ok(())
    }

    fn is_json(&self, column: &str, wanted: &Value) -> Result<()> {
        let cell: Value = serde_json::from_str(self.cell(column)?)?;
        ensure!(cell == *wanted, "{column} is {cell} instead of {wanted}");
        Ok(())
    }
}

/// A member as a cell shows it: nothing for null.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A time as a cell shows it.
fn time(value: &Value) -> Result<String> {
    let at = jiff::Timestamp::from_millisecond(value.as_i64().context("a time")?)?;
    Ok(format!("{at:.3}"))
}
