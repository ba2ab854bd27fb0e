//! `export conversations`.

use std::{
    fs::File,
    io::{self, Write as _},
    path::Path,
    time::Duration,
};

use serde_json::json;

use super::{Common, Summary, TableName, explain, interruptible, open_stage, progress::Progress};
use crate::{
    cli::{
        console::{CliError, Done, say},
        vendor,
        when::parse_span,
    },
    domain::{Timestamp, WallClock as _},
    export::{
        CONVERSATION_COLUMNS, Column, Conversations, EVENT_COLUMNS, ExportError, Filter, Follow, Format, Patience,
        Patient, Range, State, Tables, finish,
    },
    lifecycle::{OsSignals, Signals as _},
    system::{SystemClock, SystemEntropy},
};

#[derive(Debug, clap::Args)]
#[command(after_long_help = columns_help())]
pub(super) struct Args {
    #[command(flatten)]
    common: Common,
    /// Only conversations of this agent; see `fini-bridge agents`
    #[arg(long, value_name = "ID")]
    agent: Option<String>,
    /// Only these sources, such as widget,zendesk
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    source: Vec<String>,
    /// Only these channels
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    channel: Vec<String>,
    /// Do not end: add a line whenever a conversation is new or has changed (NDJSON only). The last line of an id counts
    #[arg(long)]
    follow: bool,
    /// How often to look when following
    #[arg(long, value_name = "SPAN", default_value = "30s", value_parser = parse_span, requires = "follow")]
    interval: Duration,
}

pub(super) async fn run(args: Args) -> Done {
    let common = &args.common;
    if args.follow && (common.format() != Format::Ndjson || common.until.is_some()) {
        return Err(CliError::usage("--follow takes NDJSON and no --until").help("drop --format csv and --until"));
    }
    let mut prepared = common.prepare("events")?;
    let purpose = json!({
        "export": "conversations", "base_url": prepared.config.fini.base_url.as_str(),
        // As it was written: a span such as 7d means another time later, and still the same export.
        "since": common.since.trim(), "until": common.until, "agent": args.agent, "source": args.source, "channel": args.channel,
    });
    let (mut staging, found) = open_stage::<State>(&prepared, &purpose)?;
    let now = SystemClock.now().point();
    let resumed = found.is_some();
    let mut state = found.unwrap_or_else(|| {
        let range = Range { since: prepared.since, until: prepared.until };
        State::new(now.as_millis(), prepared.until.map(Timestamp::as_millis), range.windows(now))
    });
    let age = |at: &i64| Duration::from_millis(u64::try_from(now.as_millis() - at).unwrap_or_default());
    let permits = common.permits(&prepared.config, state.requests_at.iter().map(age).collect()).await?;
    let client = vendor::client(&prepared.config)?;
    let progress = Progress::new(common.quiet);
    let patient = Patient::new(client.as_ref(), permits.as_ref(), &progress, &SystemEntropy, Patience::default());
    let filter = Filter { bot_id: args.agent.clone(), sources: args.source.clone(), channels: args.channel.clone() };
    let export = Conversations::new(&patient, &SystemClock, filter);

    let read = interruptible(&mut prepared.signals, &prepared.plan, export.read(&mut staging, &mut state)).await;
    progress.end();
    read?;
    let finished = finish(&staging, Tables::Conversations, common.format(), &prepared.plan.outputs)
        .and_then(|finished| staging.discard().map(|()| finished))
        .map_err(|error| explain(error, &prepared.plan))?;
    common.summarise(&Summary {
        finished,
        counts: state.counts,
        begun: prepared.begun,
        plan: &prepared.plan,
        more: json!({ "range_means": state.reading, "resumed": resumed }),
    });
    if args.follow {
        let follow = Follow::new(&export, &state);
        return keep_following(follow, &args, &mut prepared.signals, prepared.plan.outputs.first.as_deref()).await;
    }
    Ok(())
}

/// Adds to the output until somebody wants it to end, which is no failure.
async fn keep_following(mut follow: Follow<'_>, args: &Args, signals: &mut OsSignals, out: Option<&Path>) -> Done {
    let file = match out {
        Some(path) if path != Path::new("-") => {
            let opened = File::options().append(true).open(path);
            Some(opened.map_err(|error| CliError::failed(error).at(path.display()))?)
        }
        _ => None,
    };
    if !args.common.quiet {
        say(format!("following, every {}; Ctrl-C ends it", humantime::format_duration(args.interval)));
    }
    loop {
        tokio::select! {
            _ = signals.next() => return Ok(()),
            () = tokio::time::sleep(args.interval) => {}
        }
        let poll = follow.poll(|line| {
            // In one piece, so that an interruption leaves no half line.
            let line = format!("{line}\n");
            let written = match &file {
                Some(file) => (&*file).write_all(line.as_bytes()),
                None => io::stdout().lock().write_all(line.as_bytes()).and_then(|()| io::stdout().flush()),
            };
            written.map_err(|error| match error.kind() {
                io::ErrorKind::BrokenPipe => ExportError::ReaderGone,
                _ => ExportError::File { path: out.unwrap_or(Path::new("-")).to_owned(), error },
            })
        });
        tokio::select! {
            _ = signals.next() => return Ok(()),
            told = poll => match told {
                Ok(_) => {}
                Err(ExportError::ReaderGone) => return Ok(()),
                Err(error) => return Err(CliError::failed(error)),
            },
        }
    }
}

fn columns_help() -> String {
    let tables = [(TableName::Conversations, &CONVERSATION_COLUMNS[..]), (TableName::Events, &EVENT_COLUMNS[..])];
    tables.map(|(table, columns)| table_help(&format!("{table:?}").to_lowercase(), columns)).join("\n")
        + "\nTimes are RFC 3339 in UTC. An empty cell is a missing value."
}

/// The columns of one CSV table, one per line.
pub(super) fn table_help(name: &str, columns: &[Column]) -> String {
    let lines: Vec<String> = columns.iter().map(|column| format!("  {:<20} {}\n", column.name, column.holds)).collect();
    format!("CSV table {name}:\n{}", lines.concat())
}
