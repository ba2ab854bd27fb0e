use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// A second reading of the classic text: family name → (type, samples by their full text).
#[derive(Default)]
struct Exposition {
    types: BTreeMap<String, String>,
    helped: BTreeSet<String>,
    samples: BTreeMap<String, f64>,
}

fn parse(text: &str) -> Exposition {
    let mut page = Exposition::default();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("help has a text");
            assert!(!help.is_empty());
            assert!(page.helped.insert(name.to_owned()), "{name} described twice");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("type has a kind");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{kind}");
            page.types.insert(name.to_owned(), kind.to_owned());
        } else {
            assert!(!line.starts_with('#'), "not in the classic format: {line}");
            let (series, value) = line.rsplit_once(' ').expect("a sample has a value");
            let value = value.parse().expect("a sample's value is a number");
            assert!(page.samples.insert(series.to_owned(), value).is_none(), "twice: {series}");
        }
    }
    page
}

fn family<'a>(page: &'a Exposition, series: &str) -> Option<&'a str> {
    let name = series.split('{').next().unwrap_or_default();
    let base = ["_bucket", "_sum", "_count"]
        .iter()
        .filter_map(|suffix| name.strip_suffix(suffix))
        .find(|base| page.types.get(*base).is_some_and(|kind| kind == "histogram"));
    page.types.get_key_value(base.unwrap_or(name)).map(|(name, _)| name.as_str())
}

fn sample() -> Metrics {
    let metrics = Metrics::new(&["web".to_owned(), "app".to_owned()], "1.2.3");
    metrics.message_accepted("web");
    metrics.turn_finished("web", TurnOutcome::Answered, Duration::from_secs(3));
    metrics.turn_finished("nobody", "brand new", Duration::from_secs(3));
    metrics.fini_request(FiniRoute::GenerateAnswer, 200, Duration::from_millis(1500));
    metrics.fini_request(FiniRoute::ListConversations, CallStatus::Timeout, Duration::from_secs(15));
    metrics.budget(7, 100);
    metrics.budget_used_by(BudgetClass::Sweep, 5);
    metrics.sweep_age(Duration::from_millis(1_500));
    metrics.clock_offset(ClockOf::Postgres, -1_500);
    metrics.budget_waiting(BudgetClass::Sweep, 2);
    metrics.fini_key_refused("write", true);
    metrics.event_lag(Duration::from_secs(2));
    metrics.deliveries("web", "main", DeliveryOutcome::Retried, 1);
    metrics.delivery_attempt("web", AttemptClass::Refused, Duration::from_millis(20));
    metrics.delivery_latency(Duration::from_millis(80));
    metrics.backlog(Backlog::DeadLetters, 4);
    metrics.oldest_due(Backlog::Turns, Duration::from_millis(1250));
    metrics.waiting(WaitsFor::Handoff, Waiting { count: 3, oldest: Duration::from_secs(90) });
    metrics.store_bytes("database", 4096);
    metrics.oldest_snapshot(Duration::from_secs(1));
    metrics.watched(12);
    metrics.cache_hit();
    metrics.cache_miss();
    metrics.store_operation("accept_message", Duration::from_millis(2));
    metrics.http_request(Some("/v1/messages"), "POST", 202, Duration::from_millis(4));
    metrics.http_request(None, "BREW", 404, Duration::from_millis(1));
    metrics.connection_ended("public", ConnectionEnd::HeaderTimeout);
    metrics.accept_failed("public");
    metrics.rows_left_out(LeftOut::Unreadable, 3);
    metrics.events_withheld("web", 2);
    metrics.panicked(PanicPlace::Http);
    metrics.loop_failed("sweeps");
    metrics
}

#[test]
fn every_sample_belongs_to_a_described_family_of_the_classic_format() {
    let metrics = sample();
    let _open = metrics.connection_opened("public");
    let page = parse(&metrics.encode());
    assert_eq!(page.helped, page.types.keys().cloned().collect());
    for series in page.samples.keys() {
        let name = family(&page, series).unwrap_or_else(|| panic!("undeclared: {series}"));
        let counter = page.types[name] == "counter";
        assert_eq!(name.ends_with("_total"), counter, "{name}");
    }
}

#[test]
fn the_promised_names_and_labels_are_there() {
    let page = parse(&sample().encode());
    for (series, value) in [
        (r#"fini_bridge_messages_accepted_total{frontend="web"}"#, 1.0),
        (r#"fini_bridge_turns_total{frontend="web",outcome="answered"}"#, 1.0),
        (r#"fini_bridge_turns_total{frontend="other",outcome="other"}"#, 1.0),
        ("fini_bridge_turn_duration_seconds_count", 2.0),
        (r#"fini_bridge_fini_requests_total{route="generate_answer",status="200"}"#, 1.0),
        (r#"fini_bridge_fini_requests_total{route="list_conversations",status="timeout"}"#, 1.0),
        (r#"fini_bridge_fini_request_duration_seconds_sum{route="generate_answer"}"#, 1.5),
        ("fini_bridge_fini_budget_used", 7.0),
        ("fini_bridge_fini_budget_limit", 100.0),
        (r#"fini_bridge_fini_budget_used_by_class{class="sweep"}"#, 5.0),
        ("fini_bridge_sweep_age_seconds", 1.5),
        (r#"fini_bridge_clock_offset_seconds{to="postgres"}"#, -1.5),
        (r#"fini_bridge_fini_budget_waiting{class="sweep"}"#, 2.0),
        (r#"fini_bridge_fini_key_refused{key="write"}"#, 1.0),
        ("fini_bridge_event_lag_seconds_sum", 2.0),
        (r#"fini_bridge_deliveries_total{frontend="web",destination="main",outcome="retried"}"#, 1.0),
        (r#"fini_bridge_delivery_attempts_total{frontend="web",class="refused"}"#, 1.0),
        ("fini_bridge_delivery_latency_seconds_count", 1.0),
        (r#"fini_bridge_backlog{kind="dead_letters"}"#, 4.0),
        (r#"fini_bridge_oldest_due_seconds{kind="turns"}"#, 1.25),
        (r#"fini_bridge_waiting{kind="handoff"}"#, 3.0),
        (r#"fini_bridge_oldest_waiting_seconds{kind="handoff"}"#, 90.0),
        ("fini_bridge_watched_conversations", 12.0),
        ("fini_bridge_cache_hits_total", 1.0),
        ("fini_bridge_cache_misses_total", 1.0),
        (r#"fini_bridge_http_requests_total{route="/v1/messages",method="POST",status="202"}"#, 1.0),
        (r#"fini_bridge_http_requests_total{route="other",method="other",status="404"}"#, 1.0),
        (r#"fini_bridge_http_request_duration_seconds_count{route="/v1/messages"}"#, 1.0),
        (r#"fini_bridge_http_connections_ended_total{listener="public",reason="header_timeout"}"#, 1.0),
        (r#"fini_bridge_list_rows_left_out_total{reason="unreadable"}"#, 3.0),
        (r#"fini_bridge_list_rows_left_out_total{reason="unrecordable"}"#, 0.0),
        (r#"fini_bridge_events_withheld_total{frontend="web"}"#, 2.0),
        (r#"fini_bridge_panics_total{place="http"}"#, 1.0),
        (r#"fini_bridge_loop_errors_total{loop="sweeps"}"#, 1.0),
        (r#"fini_bridge_build_info{version="1.2.3"}"#, 1.0),
        ("fini_bridge_log_lines_dropped_total", 0.0),
    ] {
        assert_eq!(page.samples.get(series), Some(&value), "{series}");
    }
}

#[test]
fn what_can_be_foreseen_starts_at_zero() {
    let page = parse(&Metrics::new(&["web".to_owned()], "0").encode());
    let zero = |series: &str| assert_eq!(page.samples.get(series), Some(&0.0), "{series}");
    for outcome in ["answered", "no_reply", "escalated", "stored", "fini_rejected", "fini_unavailable"]
        .into_iter()
        .chain(["no_reply_in_time", "interaction_lost", "unclear_outcome"])
    {
        zero(&format!(r#"fini_bridge_turns_total{{frontend="web",outcome="{outcome}"}}"#));
    }
    for outcome in ["delivered", "retried", "paused", "dead"] {
        zero(&format!(r#"fini_bridge_deliveries_total{{frontend="web",destination="main",outcome="{outcome}"}}"#));
    }
    for place in ["loop", "task", "http"] {
        zero(&format!(r#"fini_bridge_panics_total{{place="{place}"}}"#));
    }
}

#[test]
fn ten_thousand_raw_paths_do_not_make_ten_thousand_series() {
    let metrics = Metrics::new(&[], "0");
    for n in 0..10_000 {
        metrics.http_request(Some(&format!("/v1/{n}")), "GET", 200, Duration::ZERO);
        metrics.message_accepted(&format!("frontend-{n}"));
    }
    let page = parse(&metrics.encode());
    let requests =
        |series: &&String| series.starts_with("fini_bridge_http_requests_total") && !series.contains(r#"status="500""#);
    assert_eq!(page.samples.keys().filter(requests).count(), MAX_ROUTES + 1);
    let accepted = r#"fini_bridge_messages_accepted_total{frontend="other"}"#;
    assert_eq!(page.samples.get(accepted), Some(&10_000.0));
}

#[test]
fn log_counters_and_open_connections_are_read_at_scrape_time() {
    let log = LogCounters::default();
    let metrics = Metrics::with_log(&[], "0", log.clone());
    log.line_dropped();
    log.line_dropped();
    let open = metrics.connection_opened("admin");
    let page = parse(&metrics.encode());
    assert_eq!(page.samples.get("fini_bridge_log_lines_dropped_total"), Some(&2.0));
    assert_eq!(page.samples.get(r#"fini_bridge_http_connections{listener="admin"}"#), Some(&1.0));
    drop(open);
    let page = parse(&metrics.encode());
    assert_eq!(page.samples.get(r#"fini_bridge_http_connections{listener="admin"}"#), Some(&0.0));
}

#[cfg(target_os = "linux")]
#[test]
fn the_process_describes_itself() {
    let page = parse(&Metrics::new(&[], "0").encode());
    for series in ["process_resident_memory_bytes", "process_open_fds", "process_max_fds"] {
        assert!(page.samples[series] > 0.0, "{series}");
    }
    // 2020-01-01: the start time is a date, not a number of ticks.
    assert!(page.samples["process_start_time_seconds"] > 1_577_836_800.0);
}
