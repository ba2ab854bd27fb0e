//! `export conversations`.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    time::Duration,
};

use serde_json::json;

use super::{
    Common, Summary, TableName, WITNESSES, explain, interruptible, open_stage, progress::Progress, same_workspace,
};
use crate::{
    cli::{
        console::{CliError, Done, say},
        vendor,
        when::parse_span,
    },
    domain::{Timestamp, WallClock as _},
    export::{
        CONVERSATION_COLUMNS, Column, Conversations, Destination, EVENT_COLUMNS, ExportError, Filter, Follow, Format,
        Kept, Patience, Patient, Range, Stage, State, Tables, Watcher as _, finish,
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
    /// Do not end: add a line whenever a conversation is new or has changed (NDJSON only). The last line of an id counts.
    /// With --resume it goes on adding to the file where an earlier run stood
    #[arg(long)]
    follow: bool,
    /// The pause between two looks when following
    #[arg(long, value_name = "SPAN", default_value = "30s", value_parser = parse_span, requires = "follow")]
    interval: Duration,
}

pub(super) async fn run(args: Args) -> Done {
    let common = &args.common;
    if args.follow && (common.format() != Format::Ndjson || common.until.is_some()) {
        return Err(CliError::usage("--follow takes NDJSON and no --until").help("drop --format csv and --until"));
    }
    let mut prepared = common.prepare(Tables::Conversations)?;
    let purpose = json!({
        "export": "conversations", "base_url": prepared.config.fini.base_url.as_str(),
        // As it was written: a span such as 7d means another time later, and still the same export.
        "since": common.since.trim(), "until": common.until, "agent": args.agent, "source": args.source, "channel": args.channel,
    });
    let mut found = open_stage::<State>(&prepared, &purpose)?;
    if args.follow && found.state.is_none() && prepared.kept != Kept::Discard {
        refuse_what_was_followed(prepared.plan.target())?;
    }
    let now = SystemClock.now().point();
    let earlier = found.state.take();
    let resumed = earlier.is_some();
    let mut state = earlier.unwrap_or_else(|| {
        let range = Range { since: prepared.since, until: prepared.until };
        State::new(now.as_millis(), prepared.until.map(Timestamp::as_millis), range.windows(now))
    });
    if state.following.is_some() && !args.follow {
        return Err(
            CliError::usage("this file was followed").help("go on by --follow --resume, or begin anew by --restart")
        );
    }
    let age = |at: &i64| Duration::from_millis(u64::try_from(now.as_millis() - at).unwrap_or_default());
    let permits = common.permits(&prepared.config, state.requests_at.iter().map(age).collect()).await?;
    let (client, fini_time) = vendor::timed_client(&prepared.config)?;
    let progress = Progress::new(common.quiet);
    let patient = Patient::new(client.as_ref(), permits.as_ref(), &progress, &SystemEntropy, Patience::default());
    let filter = Filter { bot_id: args.agent.clone(), sources: args.source.clone(), channels: args.channel.clone() };
    let export = Conversations::new(&patient, &fini_time, filter);
    same_workspace(&found, &state.witnesses, &patient).await?;
    let mut staging = found.staging;

    if state.following.is_none() {
        let read = interruptible(&mut prepared.signals, &prepared.plan, export.read(&mut staging, &mut state)).await;
        progress.end();
        read?;
        if let Some(ahead) = fini_time.machine_is_ahead() {
            progress.note(&format!("this machine's clock is {} s ahead of Fini's", ahead.as_secs()));
        }
        let outputs = &prepared.plan.outputs;
        let finished = finish(&staging, Tables::Conversations, common.format(), outputs)
            .map_err(|error| explain(error, &prepared.plan))?;
        common.summarise(&Summary {
            finished,
            counts: state.counts,
            begun: prepared.begun,
            plan: &prepared.plan,
            more: json!({ "range_means": state.reading, "resumed": resumed }),
        });
        if !args.follow {
            return staging.discard().map_err(|error| explain(error, &prepared.plan));
        }
        state.following = Some(Follow::new(&export, &state).place());
        state.recent.clear();
        state.witnesses = staging.some_ids(WITNESSES).map_err(|error| explain(error, &prepared.plan))?;
        staging.keep_place(&state).map_err(|error| explain(error, &prepared.plan))?;
    }
    if !common.quiet {
        say(format!("following, every {}; Ctrl-C ends it", humantime::format_duration(args.interval)));
    }
    let mut follower = Follower { out: prepared.plan.outputs.first.as_ref(), staging, state };
    follower.out.and_then(Destination::file).map_or(Ok(()), cut_half_line).map_err(CliError::failed)?;
    follower.run(&export, args.interval, &mut prepared.signals).await
}

/// A file that nobody knows the place of would be replaced by what `--since` reaches, and what is older lost.
fn refuse_what_was_followed(file: Option<&Path>) -> Done {
    let Some(file) = file else { return Ok(()) };
    let Ok(text) = File::open(file) else { return Ok(()) };
    let lines = BufReader::new(text).split(b'\n').count();
    if lines == 0 {
        return Ok(());
    }
    Err(CliError::usage(format!("it holds {lines} lines, and nothing says where following them would go on"))
        .at(file.display())
        .help("choose another --out, or begin anew by --restart"))
}

/// A kill can leave half a line; it is told again.
fn cut_half_line(path: &Path) -> io::Result<()> {
    let mut file = match File::options().read(true).write(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    let (mut end, mut block) = (file.metadata()?.len(), vec![0; 64 * 1024]);
    let whole = loop {
        let length = usize::try_from(end).unwrap_or(usize::MAX).min(block.len());
        if length == 0 {
            break 0;
        }
        let begin = end - length as u64;
        file.seek(SeekFrom::Start(begin))?;
        file.read_exact(&mut block[..length])?;
        if let Some(at) = block[..length].iter().rposition(|byte| *byte == b'\n') {
            break begin + at as u64 + 1;
        }
        end = begin;
    };
    file.set_len(whole)
}

/// Adds to the output until somebody wants it to end, which is no failure.
struct Follower<'a> {
    out: Option<&'a Destination>,
    staging: Stage,
    state: State,
}

impl Follower<'_> {
    async fn run(&mut self, export: &Conversations<'_>, interval: Duration, signals: &mut OsSignals) -> Done {
        let Some(place) = self.state.following.take() else { return Ok(()) };
        let mut follow = Follow::resume(export, &place);
        loop {
            tokio::select! {
                _ = signals.next() => return Ok(()),
                () = tokio::time::sleep(interval) => {}
            }
            // Opened anew each time: it may have been moved away meanwhile.
            let mut out = self.open().map_err(CliError::failed)?;
            let poll = follow.poll(|line| {
                // In one piece, so that an interruption leaves no half line.
                out.write_all(format!("{line}\n").as_bytes()).and_then(|()| out.flush()).map_err(|error| {
                    match error.kind() {
                        io::ErrorKind::BrokenPipe => ExportError::ReaderGone,
                        _ => ExportError::File { path: self.path().to_owned(), error },
                    }
                })
            });
            let told = tokio::select! {
                _ = signals.next() => return Ok(()),
                told = poll => told,
            };
            match told {
                Ok(0) => {}
                Ok(_) => {
                    // A row counts as told only once it is on the disk.
                    if self.out.and_then(Destination::file).is_some() {
                        let synced = File::open(self.path()).and_then(|file| file.sync_data());
                        synced.map_err(|error| CliError::failed(error).at(self.path().display()))?;
                    }
                    self.state.following = Some(follow.place());
                    self.staging.commit(&self.state).map_err(CliError::failed)?;
                }
                Err(ExportError::ReaderGone) => return Ok(()),
                Err(error) => return Err(CliError::failed(error)),
            }
        }
    }

    fn path(&self) -> &Path {
        match self.out {
            Some(Destination::File(path) | Destination::Stream(path)) => path,
            Some(Destination::Stdout) | None => Path::new("-"),
        }
    }

    fn open(&self) -> Result<Box<dyn io::Write>, ExportError> {
        let mut options = File::options();
        let opened = match self.out {
            Some(Destination::File(path)) => options.append(true).create(true).mode(0o600).open(path),
            Some(Destination::Stream(path)) => options.write(true).open(path),
            Some(Destination::Stdout) | None => return Ok(Box::new(io::stdout())),
        };
        match opened {
            Ok(file) => Ok(Box::new(file)),
            Err(error) => Err(ExportError::File { path: self.path().to_owned(), error }),
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
