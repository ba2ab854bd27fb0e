//! `export`: conversations or the legacy chat history, into files that are whole and in order.

mod conversations;
mod history;
mod output;
mod progress;

use std::{
    fmt::Write as _,
    num::NonZeroU32,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::{Subcommand, ValueEnum};
use secrecy::ExposeSecret as _;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{
    admin::AdminArgs,
    console::{CliError, Done, say},
    pace,
    when::parse_when,
};
use crate::{
    config::{Config, Needs},
    domain::{Timestamp, WallClock as _},
    export::{
        Cells, Counts, ExportError, Finished, Format, Found, Kept, Patient, Permits, Purpose, Stage, Tables, workspace,
    },
    lifecycle::{OsSignals, Signals as _},
    system::SystemClock,
};
use output::Plan;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Export conversations with all their events ("List conversations")
    Conversations(Box<conversations::Args>),
    /// Export the legacy chat history: questions and answers ("Get chat history")
    History(Box<history::Args>),
}

/// The options of both exports.
#[expect(clippy::struct_excessive_bools, reason = "independent flags of a command line")]
#[derive(Debug, clap::Args)]
struct Common {
    /// From when on: RFC 3339, a date (from 00:00 UTC), or a span ago such as 7d
    #[arg(long, value_name = "TIME", default_value = "7d")]
    since: String,
    /// Until when; without it up to now
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// One JSON object per line as Fini sent it, or two flat tables
    #[arg(long, value_enum, default_value_t = FormatName::Ndjson)]
    format: FormatName,
    /// The target: a file, a folder, a pipe or device, or - for standard output. CSV becomes two files: out.csv gives
    /// out.conversations.csv and out.events.csv (out.questions.csv for history). A new file only its owner may read
    #[arg(long, value_name = "FILE", default_value = "-")]
    out: PathBuf,
    /// Write one of the two CSV tables only, exactly to --out
    #[arg(long, value_enum)]
    table: Option<TableName>,
    /// Write texts into CSV as they are; by default an apostrophe precedes what a spreadsheet would take for a formula
    #[arg(long)]
    raw: bool,
    /// Go on with an interrupted export to the same --out; begins one where there is none
    #[arg(long)]
    resume: bool,
    /// Throw away an interrupted export to the same --out
    #[arg(long, conflicts_with = "resume")]
    restart: bool,
    /// Say nothing but errors
    #[arg(long, short)]
    quiet: bool,
    /// The form of the closing summary on stderr
    #[arg(long, value_enum, default_value_t = SummaryForm::Text)]
    summary: SummaryForm,
    /// At most so many requests per window of `fini.rate_limit`; by default nine tenths of it, or what a running bridge
    /// leaves
    #[arg(long, value_name = "N")]
    rate: Option<NonZeroU32>,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FormatName {
    Ndjson,
    Csv,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TableName {
    Conversations,
    #[value(alias = "questions")]
    Events,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SummaryForm {
    Text,
    Json,
    None,
}

pub(super) async fn run(args: Args) -> Done {
    match args.command {
        Command::Conversations(args) => conversations::run(*args).await,
        Command::History(args) => history::run(*args).await,
    }
}

/// The parts that are ready before the first request.
struct Prepared {
    config: Config,
    plan: Plan,
    kept: Kept,
    since: Timestamp,
    until: Option<Timestamp>,
    signals: OsSignals,
    begun: Instant,
}

impl Common {
    fn prepare(&self, tables: Tables) -> Result<Prepared, CliError> {
        let signals = OsSignals::listen()?;
        let now = SystemClock.now().point();
        let time =
            |name: &str, text: &str| parse_when(text, now).map_err(|why| CliError::usage(format!("--{name}: {why}")));
        let since = time("since", &self.since)?;
        let until = self.until.as_deref().map(|text| time("until", text)).transpose()?;
        if until.unwrap_or(now) <= since {
            return Err(CliError::usage("--since must be earlier than --until").help("both default to now: --since 7d"));
        }
        let plan = output::plan(&self.out, self.format, self.table, tables)?;
        if self.raw && self.format == FormatName::Ndjson {
            return Err(CliError::usage("--raw is about CSV").help("NDJSON is always as Fini sent it"));
        }
        if self.resume && plan.target().is_none() {
            return Err(CliError::usage("only a file can be gone on with").help("write to a file with --out"));
        }
        let kept = match (self.resume, self.restart) {
            (true, _) => Kept::Continue,
            (_, true) => Kept::Discard,
            _ => Kept::Respect,
        };
        let config = self.admin.config.load(Needs::ReadKey)?.config;
        Ok(Prepared { config, plan, kept, since, until, signals, begun: Instant::now() })
    }

    /// Returns the authority over the time of the next request. `recent` are the ages of requests of an interrupted run.
    async fn permits(&self, config: &Config, recent: Vec<Duration>) -> Result<Arc<dyn Permits>, CliError> {
        pace::permits(config, &self.admin, self.rate, recent, self.quiet).await
    }

    fn format(&self) -> Format {
        match self.format {
            FormatName::Ndjson => Format::Ndjson,
            FormatName::Csv => Format::Csv(if self.raw { Cells::Raw } else { Cells::Safe }),
        }
    }

    /// The closing summary.
    fn summarise(&self, summary: &Summary<'_>) {
        match self.summary {
            _ if self.quiet => {}
            SummaryForm::None => {}
            SummaryForm::Json => say(summary.json()),
            SummaryForm::Text => say(summary.text()),
        }
    }
}

/// The summary at the end.
struct Summary<'a> {
    finished: Finished,
    counts: Counts,
    begun: Instant,
    plan: &'a Plan,
    more: Value,
}

impl Summary<'_> {
    fn json(&self) -> Value {
        let counts = &self.counts;
        let mut summary = json!({
            "conversations": self.finished.conversations,
            self.plan.detail: self.finished.events,
            "requests": counts.requests,
            "pages": counts.pages,
            "rows_read": counts.rows,
            "throttled": counts.throttled,
            "failed_requests": counts.failed,
            "detours": counts.detours,
            "restarts": counts.restarts,
            "malformed": counts.malformed,
            "seconds": (self.begun.elapsed().as_secs_f64() * 10.0).round() / 10.0,
            "files": self.plan.names(),
        });
        if let (Some(summary), Some(more)) = (summary.as_object_mut(), self.more.as_object()) {
            summary.extend(more.clone());
        }
        summary
    }

    fn text(&self) -> String {
        let (finished, counts) = (&self.finished, &self.counts);
        let mut text = format!(
            "{} conversations with {} {} in {} requests ({} pages, {} throttled, {} failed) after {}",
            finished.conversations,
            finished.events,
            self.plan.detail,
            counts.requests,
            counts.pages,
            counts.throttled,
            counts.failed,
            humantime::format_duration(Duration::from_secs(self.begun.elapsed().as_secs())),
        );
        if counts.malformed > 0 {
            let _ = write!(text, "\nwarning: {} entries had no id and are missing", counts.malformed);
        }
        for file in self.plan.names() {
            let _ = write!(text, "\n  {file}");
        }
        text
    }
}

/// Runs `work` until it ends or somebody wants it to stop; what was read until then is kept.
async fn interruptible<T>(
    signals: &mut OsSignals,
    plan: &Plan,
    work: impl Future<Output = Result<T, ExportError>>,
) -> Result<T, CliError> {
    tokio::select! {
        done = work => done.map_err(|error| explain(error, plan)),
        name = signals.next() => Err(resumable(CliError::failed(format!("stopped by {name}")), plan)),
    }
}

fn explain(error: ExportError, plan: &Plan) -> CliError {
    use crate::fini::Failure;
    match error {
        ExportError::ReaderGone => CliError::gone(),
        ExportError::Fini(Failure::Unauthorised { status, detail }) => {
            CliError::failed(format!("Fini does not accept the key (status {status}): {detail}"))
                .help("an export needs a key with the scope read; see `fini.api_key`")
        }
        ExportError::Fini(failure @ Failure::Rejected { .. }) => CliError::failed(failure),
        ExportError::Staging(why) => {
            CliError::usage(why).help("go on with it by --resume, throw it away by --restart, or choose another --out")
        }
        ExportError::File { .. } => CliError::failed(error),
        other => resumable(CliError::failed(other), plan),
    }
}

fn resumable(error: CliError, plan: &Plan) -> CliError {
    match plan.target() {
        Some(_) => error.help("nothing is lost: the same command with --resume goes on from here"),
        None => error,
    }
}

/// The staging file of the plan, and where an interrupted export stood.
fn open_stage<S: DeserializeOwned>(prepared: &Prepared, purpose: &Value) -> Result<Found<S>, CliError> {
    let workspace = workspace(prepared.config.fini.keys.read.expose_secret());
    let purpose = purpose.to_string();
    let purpose = Purpose { text: &purpose, workspace: &workspace };
    let opened = match prepared.plan.target() {
        Some(target) => Stage::open(target, purpose, prepared.kept),
        None => Stage::nameless().map(|staging| Found { staging, state: None, is_of_other_key: false }),
    };
    opened.map_err(|error| explain(error, &prepared.plan))
}

/// Most conversations that a new key is asked for.
const WITNESSES: u32 = 3;

/// Makes sure that an export which was begun with another key goes on with the same company's conversations: a key that
/// replaced it sees what it saw.
async fn same_workspace(found: &Found<impl Sized>, witnesses: &[String], patient: &Patient<'_>) -> Done {
    if !found.is_of_other_key {
        return Ok(());
    }
    let staged = found.staging.some_ids(WITNESSES).map_err(CliError::failed)?;
    let ids = if staged.is_empty() { witnesses } else { &staged };
    for id in ids {
        if patient.sees(id).await.map_err(CliError::failed)? {
            return Ok(());
        }
    }
    if ids.is_empty() {
        return Ok(());
    }
    Err(CliError::usage(
        "the unfinished export was begun with another key, and this one does not see its conversations",
    )
    .help("give the key of that workspace, or throw the export away by --restart"))
}
