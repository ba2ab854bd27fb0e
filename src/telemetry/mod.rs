//! The log: one JSON object per line on standard output.
//!
//! Rooms use the `tracing` macros: a constant message, values in fields, ids in the spans around the work. Field names are
//! those of the log's documentation (`request_id`, `trace_id`, `frontend`, `conversation_id`, `message_id`, `interaction_id`,
//! `event_id`, `sequence`, `attempt`, `status`, `duration_ms`, `error`); they stand at the top level of the line, the innermost
//! span winning over outer ones and the event over all.
//!
//! Logging never waits: lines go through a bounded queue, and what does not fit is dropped and counted. Secrets are not
//! handed to the log in the first place; as a second line of defence, fields named like one are shown as `[redacted]`, and so
//! is what follows a well-known secret prefix in any text. Of a WARN or ERROR that keeps coming from one place in the code,
//! ten lines pass in ten seconds and the rest are counted into one line. The [`ACCESS`] target is exempt, and so is a line that names one
//! thing to act on: an event, a delivery, a message or a conversation.

mod layer;
mod line;
#[cfg(feature = "otlp")]
pub mod otlp;
mod render;
mod repeat;
pub mod spans;
mod writer;

use std::any::Any;
use std::io::{self, IsTerminal as _, Write};
use std::panic::PanicHookInfo;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tracing::level_filters::LevelFilter;
use tracing::{Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::layer::SubscriberExt as _;

use self::layer::LineLayer;
use self::line::{Fields, Value};
use self::render::Head;
use self::repeat::Repeats;
use self::writer::Lines;
use crate::domain::WallClock;
use crate::metrics::LogCounters;
use crate::system::replica;

/// The target of the closing line of each request and each delivery attempt: one line per piece of work, however many fail.
/// Use it as `tracing::info!(target: telemetry::ACCESS, …)`.
pub const ACCESS: &str = "fini_bridge::access";

/// The form of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// One JSON object per line.
    #[default]
    Json,
    /// For a person at a terminal.
    Pretty,
}

/// The level, form and contents of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// The form of a line.
    pub format: LogFormat,
    /// A level of the bridge's own lines, or directives per target: `info`, `info,fini_bridge::delivery=debug`.
    pub level: String,
    /// True if customers' texts may be logged. Secrets never may.
    pub content: bool,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { format: LogFormat::Json, level: "info".to_owned(), content: false }
    }
}

/// The reason why the log cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `level` cannot be read.
    #[error("log.level is neither a level nor a list of target=level: {0}")]
    Level(#[from] ParseError),
    /// The writer's thread could not be started.
    #[error("the log writer cannot be started: {0}")]
    Writer(#[from] io::Error),
    /// Another log is already in place in this process.
    #[error("logging is already set up in this process")]
    AlreadySet,
}

/// Rendering, decided once.
#[derive(Debug, Clone, Copy)]
enum Style {
    Json,
    Pretty { colour: bool },
}

/// The running log.
#[derive(Debug, Clone)]
pub struct Guard {
    lines: Lines,
    counters: LogCounters,
}

impl Guard {
    /// The writer's counts, for the metrics.
    pub fn counters(&self) -> LogCounters {
        self.counters.clone()
    }

    /// Waits until everything logged so far is written, no longer than `limit`; says whether it was. Last act of the program.
    pub fn flush(&self, limit: Duration) -> bool {
        self.lines.flush(limit)
    }
}

/// Starts the log of this process on standard output and reports panics through it. Once per process.
pub fn init(settings: &LogSettings, clock: Arc<dyn WallClock>) -> Result<Guard, TelemetryError> {
    let out = io::stdout();
    let style = match settings.format {
        LogFormat::Json => Style::Json,
        LogFormat::Pretty => Style::Pretty { colour: out.is_terminal() },
    };
    let (subscriber, guard) = subscriber(settings, style, clock, out)?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| TelemetryError::AlreadySet)?;
    let content = settings.content;
    std::panic::set_hook(Box::new(move |info| report_panic(info, content)));
    Ok(guard)
}

fn subscriber(
    settings: &LogSettings,
    style: Style,
    clock: Arc<dyn WallClock>,
    out: impl Write + Send + 'static,
) -> Result<(impl Subscriber + Send + Sync, Guard), TelemetryError> {
    let filter = EnvFilter::builder().parse(directives(&settings.level))?;
    let counters = LogCounters::default();
    let notice_clock = clock.clone();
    let notice = Box::new(move |lines| {
        let head = Head { at: notice_clock.now(), level: Level::WARN, target: module_path!() };
        let fields = Fields {
            message: "log lines were dropped because their reader did not keep up".to_owned(),
            named: vec![("lines", Value::Uint(lines))],
        };
        style.render(head, &fields)
    });
    let lines = Lines::start(out, counters.clone(), notice)?;
    let layer = LineLayer {
        style,
        content: settings.content,
        replica: matches!(style, Style::Json).then(replica),
        clock,
        lines: lines.clone(),
        counters: counters.clone(),
        repeats: Mutex::new(Repeats::default()),
    };
    let subscriber = tracing_subscriber::registry().with(filter).with(layer);
    Ok((subscriber, Guard { lines, counters }))
}

/// A level alone is that of the bridge: libraries are heard where they warn, since what they tell beyond that is in no
/// catalogue and names addresses. Directives mean what they say.
fn directives(level: &str) -> String {
    match level.trim().parse::<LevelFilter>() {
        // The database's driver repeats itself about each connection that it makes or checks; the store says it once.
        Ok(own) if own > LevelFilter::WARN => format!("warn,sqlx_core::pool=off,fini_bridge={own}"),
        _ => level.to_owned(),
    }
}

fn report_panic(info: &PanicHookInfo<'_>, content: bool) {
    let location = info.location().map(ToString::to_string).unwrap_or_default();
    let error = panic_message(info.payload(), content);
    tracing::error!(location, thread = std::thread::current().name(), error, "panic");
}

/// A panic's message may quote what was being worked on (slicing a string between characters quotes the string), so only
/// messages that are constants of the code are shown where contents may not be.
fn panic_message(payload: &dyn Any, content: bool) -> &str {
    let formatted = || payload.downcast_ref::<String>().filter(|_| content).map(String::as_str);
    payload
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(formatted)
        .unwrap_or("message withheld: it may quote a conversation")
}

#[cfg(test)]
mod tests;
