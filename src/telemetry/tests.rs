use std::sync::PoisonError;

use serde_json::Value as Json;
use tracing::{debug, error, info, info_span, warn};

use super::repeat::PASS;
use super::*;
use crate::domain::WallTime;

struct Still;

impl WallClock for Still {
    fn now(&self) -> WallTime {
        WallTime::from_millis(1_795_237_200_123)
    }
}

/// Standard output that can be read back.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Runs `act` under a log of its own; gives back what was written and counted.
fn written(settings: &LogSettings, act: impl FnOnce()) -> (String, LogCounters) {
    let paper = Paper::default();
    let style = match settings.format {
        LogFormat::Json => Style::Json,
        LogFormat::Pretty => Style::Pretty { colour: false },
    };
    let (subscriber, guard) = subscriber(settings, style, Arc::new(Still), paper.clone()).unwrap();
    tracing::subscriber::with_default(subscriber, act);
    assert!(guard.flush(Duration::from_secs(10)));
    let bytes = paper.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    (String::from_utf8(bytes).unwrap(), guard.counters())
}

fn lines(settings: &LogSettings, act: impl FnOnce()) -> Vec<Json> {
    written(settings, act).0.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_line_carries_its_fields_and_those_around_it_with_the_inner_winning() {
    let given = lines(&LogSettings::default(), || {
        let request = info_span!("request", request_id = "r-1", frontend = "web", status = tracing::field::Empty);
        let _request = request.enter();
        request.record("status", 202);
        let turn = info_span!("turn", conversation_id = %"web-1", attempt = 1, frontend = "app");
        let _turn = turn.enter();
        info!(attempt = 2, duration_ms = 12.5, "turn finished");
    });
    let wanted = serde_json::json!([{
        "timestamp": "2026-11-21T05:00:00.123Z",
        "level": "INFO",
        "target": "fini_bridge::telemetry::tests",
        "message": "turn finished",
        "attempt": 2,
        "duration_ms": 12.5,
        "conversation_id": "web-1",
        "frontend": "app",
        "request_id": "r-1",
        "status": 202,
        "replica": &*crate::system::replica(),
    }]);
    assert_eq!(Json::Array(given), wanted);
}

#[test]
fn secrets_and_contents_are_not_shown_wherever_they_come_from() {
    let planted = "planted-value";
    let act = || {
        let span = info_span!("s", token = planted, authorization = tracing::field::Empty);
        let _span = span.enter();
        span.record("authorization", planted);
        info!(api_key = planted, secret = ?planted, text = %planted, content = planted, "one");
        warn!(error = format!("refused whsec_{planted}"), "two");
    };
    let (text, _) = written(&LogSettings::default(), act);
    assert!(!text.contains(planted), "{text}");
    let with_content = LogSettings { content: true, ..LogSettings::default() };
    let given = lines(&with_content, act);
    assert_eq!(given[0]["text"], planted);
    assert_eq!(given[0]["content"], planted);
    assert_eq!(given[0]["api_key"], "[redacted]");
}

#[test]
fn an_error_is_told_with_its_causes() {
    #[derive(Debug, thiserror::Error)]
    #[error("cannot open the store")]
    struct Outer(#[source] io::Error);

    let failure = Outer(io::Error::other("disk full"));
    let given = lines(&LogSettings::default(), || {
        error!(error = &failure as &(dyn std::error::Error + 'static), "giving up");
    });
    assert_eq!(given[0]["error"], "cannot open the store: disk full");
}

#[test]
fn hostile_text_stays_inside_its_value() {
    let given = lines(&LogSettings::default(), || {
        info!(conversation_id = "x\"}\n{\"level\":\"ERROR\"\u{1b}[2J", level = "fake", "ok\nnot a line");
    });
    assert_eq!(given.len(), 1);
    assert_eq!(given[0]["level"], "INFO");
    assert_eq!(given[0]["field_level"], "fake");
    assert_eq!(given[0]["conversation_id"], "x\"}\n{\"level\":\"ERROR\"\u{1b}[2J");
}

#[test]
fn the_level_is_heeded_and_nonsense_refused() {
    let act = || {
        debug!("fine");
        info!("coarse");
    };
    assert_eq!(lines(&LogSettings::default(), act).len(), 1);
    let level = |level: &str| LogSettings { level: level.to_owned(), ..LogSettings::default() };
    assert_eq!(lines(&level("warn,fini_bridge=debug"), act).len(), 2);
    assert_eq!(lines(&level("warn"), act).len(), 0);
    let refused = subscriber(&level("a=b=c"), Style::Json, Arc::new(Still), io::sink());
    assert!(matches!(refused, Err(TelemetryError::Level(_))));
}

#[test]
fn of_a_complaint_without_end_ten_lines_pass_and_of_other_lines_all() {
    let often = PASS + 90;
    let (text, counters) = written(&LogSettings::default(), || {
        for attempt in 0..often {
            warn!(attempt, "cannot reach Fini");
            info!(attempt, "tried");
            error!(target: ACCESS, attempt, "delivery attempt");
        }
        warn!("another complaint");
    });
    let count = |what: &str| text.matches(what).count() as u64;
    assert_eq!(count("cannot reach Fini"), PASS);
    assert_eq!(count("\"tried\""), often);
    assert_eq!(count("delivery attempt"), often);
    assert_eq!(count("another complaint"), 1);
    assert_eq!(counters.suppressed(), often - PASS);
}

#[test]
fn a_person_gets_a_readable_line() {
    let settings = LogSettings { format: LogFormat::Pretty, ..LogSettings::default() };
    let (text, _) = written(&settings, || info!(frontend = "web", "listening"));
    let wanted = "2026-11-21T05:00:00.123Z INFO  fini_bridge::telemetry::tests listening frontend=web\n";
    assert_eq!(text, wanted);
}

#[test]
fn a_panic_is_told_without_quoting_conversations() {
    let formatted: Box<dyn Any + Send> = Box::new("in `where is my order`".to_owned());
    let constant: Box<dyn Any + Send> = Box::new("checked above");
    assert_eq!(panic_message(&*constant, false), "checked above");
    assert_eq!(panic_message(&*formatted, false), "message withheld: it may quote a conversation");
    assert_eq!(panic_message(&*formatted, true), "in `where is my order`");
}

#[test]
fn a_level_is_the_bridges_own_and_libraries_only_warn() {
    let says = |level: &str| {
        let settings = LogSettings { level: level.to_owned(), ..LogSettings::default() };
        let given = lines(&settings, || {
            debug!(target: "fini_bridge::sender", "own");
            debug!(target: "hyper_util::client", "connecting to 127.0.0.1:9");
            warn!(target: "hyper_util::client", "theirs");
        });
        given.iter().map(|line| line["message"].as_str().unwrap().to_owned()).collect::<Vec<_>>().join(", ")
    };
    assert_eq!(says("debug"), "own, theirs");
    assert_eq!(says("info"), "theirs");
    assert_eq!(says("error"), "");
    assert_eq!(says("warn,hyper_util=debug"), "connecting to 127.0.0.1:9, theirs");
}
