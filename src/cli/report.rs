//! `report`: the numbers of some hours or days, through the admin listener of a running bridge.

use std::io::Write as _;

use serde_json::Value;

use super::{
    admin::AdminArgs,
    console::{Done, one_line, put},
    table::Table,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// From when on: a date (its beginning in the time zone), RFC 3339 or epoch milliseconds; by default seven days before the
    /// end, or one where hours are asked for
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Up to when; what it names is not part of the report: for one day write the next; by default now
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// One row for each
    #[arg(long, value_name = "STEP", value_parser = ["hour", "day"], default_value = "day")]
    by: String,
    /// Only this frontend
    #[arg(long, value_name = "NAME")]
    frontend: Option<String>,
    /// In which hours and days begin, such as Europe/Berlin
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    tz: String,
    /// Print CSV, safe to open in a spreadsheet
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

const COLUMNS: [(&str, &str); 13] = [
    ("FROM", "from"),
    ("MESSAGES", "messages"),
    ("ANSWERED", "answered"),
    ("ESCALATED", "escalated"),
    ("RESOLVED", "resolved"),
    ("FAILED", "failed"),
    ("DEAD LETTERS", "dead_letters"),
    ("BUDGET USED", "budget_used"),
    ("ANSWER P50", "first_answer_median_seconds"),
    ("P95", "first_answer_p95_seconds"),
    ("HUMAN P50", "human_median_seconds"),
    ("P95", "human_p95_seconds"),
    ("TO", "to"),
];

pub(super) async fn run(args: Args) -> Done {
    let admin = args.admin.connect()?;
    let mut query = vec![("by", args.by), ("tz", args.tz)];
    for (name, value) in [("from", args.from), ("to", args.to), ("frontend", args.frontend)] {
        query.extend(value.map(|value| (name, value)));
    }
    if args.csv {
        query.push(("format", "csv".to_owned()));
        let text = admin.get_text(&["report"], &query).await.map_err(|refusal| admin.explain(&refusal))?;
        return Ok(std::io::stdout().write_all(text.as_bytes())?);
    }
    let report = admin.get(&["report"], &query).await.map_err(|refusal| admin.explain(&refusal))?;
    if args.json {
        return put(report);
    }
    let mut table = Table::new(&COLUMNS.map(|(title, _)| title));
    for row in report["rows"].as_array().into_iter().flatten() {
        table.row(COLUMNS.map(|(_, name)| cell(&row[name], name)));
    }
    let total = &report["total"];
    table.row(COLUMNS.map(|(_, name)| if name == "from" { Some("all".to_owned()) } else { cell(&total[name], name) }));
    table.print()
}

/// As a person reads it.
fn cell(value: &Value, name: &str) -> Option<String> {
    let is_time_taken = name.ends_with("_seconds");
    match value {
        Value::Null => None,
        Value::String(text) => Some(one_line(text)),
        other if is_time_taken => Some(format!("{other} s")),
        other => Some(other.to_string()),
    }
}
