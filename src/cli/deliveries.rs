//! `deliveries`: dead letters and their replay, through the admin listener of a running bridge.

use std::collections::BTreeSet;

use clap::{Subcommand, ValueEnum};
use serde_json::{Map, Value, json};

use super::{
    admin::{Admin, AdminArgs, Refusal},
    console::{CliError, Done, confirm, harmless, put, say},
    table::Table,
    when::{FORMS, parse_when},
};
use crate::{
    domain::{Timestamp, WallClock as _},
    system::SystemClock,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List deliveries, newest first
    List(ListArgs),
    /// Show everything known about one delivery
    Show(ShowArgs),
    /// Send one delivery again, or all dead ones that match
    Retry(RetryArgs),
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    /// Only those in this state
    #[arg(long)]
    state: Option<State>,
    /// Only those of this frontend
    #[arg(long, value_name = "NAME")]
    frontend: Option<String>,
    /// Only those to destinations of this name
    #[arg(long, value_name = "NAME")]
    destination: Option<String>,
    /// Only those of this conversation (the frontend's own id)
    #[arg(long, value_name = "ID")]
    conversation: Option<String>,
    /// At most so many; 0 for all
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum State {
    Pending,
    Dead,
    Delivered,
}

#[derive(Debug, clap::Args)]
struct ShowArgs {
    /// The delivery; or an event, whose deliveries to all destinations are shown
    id: String,
    /// Print the JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Debug, clap::Args)]
struct RetryArgs {
    /// The delivery; a delivered one is sent again under the same event id
    #[arg(required_unless_present_any = ["frontend", "destination", "conversation", "since", "until", "all"])]
    id: Option<String>,
    /// All dead ones of this frontend
    #[arg(long, value_name = "NAME", conflicts_with = "id")]
    frontend: Option<String>,
    /// All dead ones to destinations of this name
    #[arg(long, value_name = "NAME", conflicts_with = "id")]
    destination: Option<String>,
    /// All dead ones of this conversation (the frontend's own id)
    #[arg(long, value_name = "ID", conflicts_with = "id")]
    conversation: Option<String>,
    /// All dead ones recorded at or after this time: RFC 3339, a date, or a span ago such as 7d
    #[arg(long, value_name = "TIME", conflicts_with = "id")]
    since: Option<String>,
    /// All dead ones recorded before this time
    #[arg(long, value_name = "TIME", conflicts_with = "id")]
    until: Option<String>,
    /// All dead ones there are
    #[arg(long, conflicts_with_all = ["id", "frontend", "destination", "conversation", "since", "until"])]
    all: bool,
    /// Do not ask before sending many again
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

/// The number of rows in a page.
const PAGE: usize = 100;

/// The columns of the table.
const COLUMNS: [(&str, &str); 12] = [
    ("ID", "id"),
    ("EVENT", "event_id"),
    ("FRONTEND", "frontend"),
    ("DESTINATION", "destination"),
    ("CONVERSATION", "conversation_id"),
    ("SEQ", "sequence"),
    ("TYPE", "type"),
    ("STATE", "state"),
    ("ATTEMPTS", "attempts"),
    ("NEXT", "next_attempt_at"),
    ("CREATED", "created_at"),
    ("LAST", "last_error"),
];

pub(super) async fn run(args: Args) -> Done {
    match args.command {
        Command::List(args) => list(args).await,
        Command::Show(args) => show(args).await,
        Command::Retry(args) => retry(args).await,
    }
}

async fn list(args: ListArgs) -> Done {
    let admin = args.admin.connect()?;
    let state = args.state.map(|state| match state {
        State::Pending => "pending".to_owned(),
        State::Dead => "dead".to_owned(),
        State::Delivered => "delivered".to_owned(),
    });
    let filter = [
        ("state", state),
        ("frontend", args.frontend),
        ("destination", args.destination),
        ("conversation_id", args.conversation),
    ];
    let filter: Vec<(&str, String)> =
        filter.into_iter().filter_map(|(name, value)| value.map(|value| (name, value))).collect();
    let most = if args.limit == 0 { usize::MAX } else { args.limit };
    let mut table = Table::new(&COLUMNS.map(|(title, _)| title));
    let mut shown = 0;
    let mut pages = Pages::new(&admin, filter);
    while let Some(page) = pages.next(most - shown).await? {
        for delivery in page.into_iter().take(most - shown) {
            shown += 1;
            if args.json {
                put(&delivery)?;
            } else {
                table.row(COLUMNS.map(|(_, name)| cell(&delivery, name)));
            }
        }
        if shown == most {
            break;
        }
    }
    if !args.json {
        table.print()?;
        if shown == most && pages.more {
            say(format!("note: the first {shown} only; see more with --limit"));
        }
    }
    Ok(())
}

/// The pages of a list, one request each.
struct Pages<'a> {
    admin: &'a Admin,
    filter: Vec<(&'a str, String)>,
    cursor: Option<String>,
    more: bool,
}

impl<'a> Pages<'a> {
    fn new(admin: &'a Admin, filter: Vec<(&'a str, String)>) -> Self {
        Self { admin, filter, cursor: None, more: true }
    }

    async fn next(&mut self, wanted: usize) -> Result<Option<Vec<Value>>, CliError> {
        if !self.more {
            return Ok(None);
        }
        let mut query = self.filter.clone();
        query.push(("limit", wanted.clamp(1, PAGE).to_string()));
        query.extend(self.cursor.take().map(|cursor| ("cursor", cursor)));
        let mut page = self.admin.get(&["deliveries"], &query).await.map_err(|refusal| self.admin.explain(&refusal))?;
        let Value::Array(deliveries) = page["deliveries"].take() else {
            return Err(CliError::failed("the answer holds no list of deliveries"));
        };
        self.cursor = page["next_cursor"].as_str().map(str::to_owned);
        self.more = self.cursor.is_some() && !deliveries.is_empty();
        Ok(Some(deliveries))
    }
}

fn cell(delivery: &Value, name: &str) -> Option<String> {
    match (&delivery[name], &delivery["last_status"]) {
        (Value::Null, Value::Number(status)) if name == "last_error" => Some(status.to_string()),
        (Value::String(error), Value::Number(status)) if name == "last_error" => Some(format!("{status} {error}")),
        (Value::Null, _) => None,
        (Value::String(text), _) => Some(text.clone()),
        (other, _) => Some(other.to_string()),
    }
}

async fn show(args: ShowArgs) -> Done {
    let admin = args.admin.connect()?;
    if !args.id.starts_with("evt_") {
        return print(find(&admin, &args.id).await?, args.json);
    }
    let mut pages = Pages::new(&admin, vec![("event_id", args.id.clone())]);
    let found = pages.next(PAGE).await?.unwrap_or_default();
    if found.is_empty() {
        return Err(CliError::failed(format!("there is no delivery of event {}", args.id)));
    }
    found.into_iter().try_for_each(|delivery| print(delivery, args.json))
}

fn print(delivery: Value, as_json: bool) -> Done {
    if as_json {
        return put(delivery);
    }
    let Value::Object(mut fields) = delivery else {
        return Err(CliError::failed("the answer is no delivery"));
    };
    let order = ["id", "state", "frontend", "conversation_id", "sequence", "type", "event_id", "attempts"];
    let rest: BTreeSet<String> = fields.keys().filter(|name| !order.contains(&name.as_str())).cloned().collect();
    for name in order.into_iter().map(str::to_owned).chain(rest) {
        let value = match fields.remove(&name) {
            None | Some(Value::Null) => "-".to_owned(),
            Some(Value::String(text)) => harmless(&text),
            Some(other) => other.to_string(),
        };
        put(format!("{:<16} {value}", format!("{name}:")))?;
    }
    Ok(())
}

/// One delivery by its id: asked for directly, else looked for in the list.
async fn find(admin: &Admin, id: &str) -> Result<Value, CliError> {
    let absent = |refusal: &Refusal| refusal.status.is_some_and(|status| matches!(status.as_u16(), 404 | 405));
    match admin.get(&["deliveries", id], &[]).await {
        Ok(mut delivery) => {
            return Ok(if delivery["delivery"].is_object() { delivery["delivery"].take() } else { delivery });
        }
        Err(refusal) if !absent(&refusal) => return Err(admin.explain(&refusal)),
        Err(_) => {}
    }
    let mut pages = Pages::new(admin, Vec::new());
    while let Some(page) = pages.next(PAGE).await? {
        if let Some(delivery) = page.into_iter().find(|delivery| delivery["id"] == id) {
            return Ok(delivery);
        }
    }
    Err(CliError::failed(format!("there is no delivery {id}")).help("`fini-bridge deliveries list` shows their ids"))
}

async fn retry(args: RetryArgs) -> Done {
    let filter = filter(&args, SystemClock.now().point())?;
    let admin = args.admin.connect()?;
    let explain = |refusal: Refusal| admin.explain(&refusal);
    if let Some(id) = &args.id {
        admin.post(&["deliveries", id, "retry"], &json!({})).await.map_err(explain)?;
        return put(format!("{id} is due again"));
    }
    confirm(&format!("Send every dead delivery again that matches {}?", Value::Object(filter.clone())), args.yes)?;
    let answer = admin.post(&["deliveries", "retry"], &Value::Object(filter)).await.map_err(explain)?;
    match answer["retried"].as_u64() {
        Some(1) => put("1 delivery is due again"),
        Some(retried) => put(format!("{retried} deliveries are due again")),
        None => Err(CliError::failed("the answer does not say how many were retried")),
    }
}

fn filter(args: &RetryArgs, now: Timestamp) -> Result<Map<String, Value>, CliError> {
    let time = |name: &str, text: &Option<String>| {
        let parsed = text.as_deref().map(|text| parse_when(text, now)).transpose();
        parsed
            .map(|at| at.map(|at| at.to_string()))
            .map_err(|why| CliError::usage(format!("--{name}: {why}")).help(format!("write {FORMS}")))
    };
    let fields = [
        ("frontend", args.frontend.clone()),
        ("destination", args.destination.clone()),
        ("conversation_id", args.conversation.clone()),
        ("since", time("since", &args.since)?),
        ("until", time("until", &args.until)?),
    ];
    Ok(fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), Value::String(value?)))).collect())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::{super::Only, *};

    fn parsed(arguments: &[&str]) -> Result<RetryArgs, clap::Error> {
        let only = Only::<RetryArgs>::try_parse_from(std::iter::once(&"retry").chain(arguments));
        only.map(|only| only.args)
    }

    #[test]
    fn retrying_everything_must_be_said() {
        assert!(parsed(&[]).is_err());
        assert!(parsed(&["dlv_1", "--frontend", "web"]).is_err());
        assert!(parsed(&["--all"]).is_ok());
        assert!(parsed(&["dlv_1"]).is_ok());
    }

    #[test]
    fn filters_carry_absolute_times() {
        let now = Timestamp::from_millis(1_767_225_600_000);
        let args = parsed(&["--frontend", "web", "--since", "1d", "--until", "2026-01-01"]).expect("valid");
        let wanted = json!({
            "frontend": "web", "since": "2025-12-31T00:00:00.000Z", "until": "2026-01-01T00:00:00.000Z"
        });
        assert_eq!(Value::Object(filter(&args, now).expect("valid")), wanted);
        let args = parsed(&["--since", "soon"]).expect("parsed");
        assert_eq!(filter(&args, now).expect_err("no time").status(), 2);
    }

    #[test]
    fn the_last_column_shows_status_and_words() {
        let last = |delivery: Value| cell(&delivery, "last_error");
        assert_eq!(last(json!({"last_status": 500, "last_error": "oops"})).as_deref(), Some("500 oops"));
        assert_eq!(last(json!({"last_status": 200, "last_error": null})).as_deref(), Some("200"));
        assert_eq!(last(json!({"last_status": null, "last_error": null})), None);
    }
}
