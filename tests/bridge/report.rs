//! The report: equal to a recount of the log, also after a kill and after what it counts was pruned or erased.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Allow, Bridge, Frontend, Setup, database, eventually};

/// A recount of the log: the sums of all time, and the waiting times for first answers and humans, in milliseconds.
#[derive(Debug, Default, PartialEq)]
struct Recount {
    counts: HashMap<&'static str, u64>,
    first_answers: Vec<i64>,
    humans: Vec<i64>,
}

const COUNTS: [&str; 5] = ["messages", "answered", "escalated", "resolved", "failed"];

fn millis(event: &Value) -> i64 {
    let at: jiff::Timestamp = event["timestamp"].as_str().expect("a time").parse().expect("a time");
    at.as_millisecond()
}

fn recount(log: &[Value]) -> Recount {
    let mut recount = Recount { counts: COUNTS.map(|name| (name, 0)).into(), ..Recount::default() };
    let mut conversations: HashMap<&str, Vec<&Value>> = HashMap::new();
    for event in log {
        let (data, mut count) = (&event["data"], |name| *recount.counts.entry(name).or_default() += 1);
        match event["type"].as_str().expect("a type") {
            "message.created" if data["message"]["author"] == "user" => count("messages"),
            "turn.completed" if data["outcome"] == "answered" => count("answered"),
            "turn.failed" => count("failed"),
            "conversation.escalated" => count("escalated"),
            "conversation.resolved" if data["resolved"] == true => count("resolved"),
            _ => {}
        }
        conversations.entry(event["conversation_id"].as_str().expect("an id")).or_default().push(event);
    }
    for events in conversations.values() {
        let is_by = |event: &&&Value, author: &str| event["data"]["message"]["author"] == author;
        let asked = events.iter().position(|event| is_by(&event, "user"));
        let answers = asked.map(|asked| &events[asked..]).unwrap_or_default();
        let answer = answers.iter().find(|event| is_by(event, "bot") || is_by(event, "agent"));
        if let (Some(asked), Some(answer)) = (asked, answer) {
            recount.first_answers.push(millis(answer) - millis(events[asked]));
        }
        let requested = events.iter().position(|event| event["type"] == "handoff.requested");
        let later = requested.map(|requested| &events[requested..]).unwrap_or_default();
        let came = later.iter().find(|event| event["type"] == "handoff.claimed" || is_by(event, "agent"));
        if let (Some(requested), Some(came)) = (requested, came) {
            recount.humans.push(millis(came) - millis(events[requested]));
        }
    }
    recount
}

async fn log(bridge: &Bridge) -> Vec<Value> {
    let page = bridge.call("GET", "/v1/events?limit=500").send().await.expect(200).json();
    assert_eq!(page["has_more"], false, "one page holds all of it");
    page["events"].as_array().expect("a list").clone()
}

async fn report(bridge: &Bridge, query: &str) -> Value {
    bridge.admin("GET", &format!("/admin/v1/report{query}")).send().await.expect(200).json()
}

/// A quantile is told as the upper bound of a bucket: never less than it was, and by 15 % more at most.
fn is_told(told: &Value, took: &mut [i64], percent: usize) {
    took.sort_unstable();
    let took = took[(took.len() * percent).div_ceil(100) - 1];
    let told = Duration::try_from_secs_f64(told.as_f64().expect("a number")).expect("a time").as_millis();
    let took = u128::try_from(took).expect("time goes on");
    assert!(told >= took && told <= (took * 115 / 100).max(100), "{took} ms are told as {told} ms");
}

/// Compares the report's sums with a recount of the log.
fn agrees(total: &Value, log: &[Value]) {
    let mut recount = recount(log);
    for (name, count) in &recount.counts {
        assert_eq!(total[*name], *count, "{name}: {total}");
    }
    assert_eq!(total["first_answers"], recount.first_answers.len(), "{total}");
    assert_eq!(total["humans"], recount.humans.len(), "{total}");
    for (percent, name) in [(50, "first_answer_median_seconds"), (95, "first_answer_p95_seconds")] {
        is_told(&total[name], &mut recount.first_answers, percent);
    }
    for (percent, name) in [(50, "human_median_seconds"), (95, "human_p95_seconds")] {
        is_told(&total[name], &mut recount.humans, percent);
    }
}

/// Customers with answers, an escalation that a human takes, one that nobody takes, and a message that fails.
async fn talk(bridge: &mut Bridge) {
    for conversation in ["a", "b", "c"] {
        bridge.turn(conversation, "Where is my order?").await;
        bridge.bound(conversation).await;
    }
    bridge.sandbox.set(|settings| settings.reply_latency_ms = 700);
    bridge.turn("slow", "And mine?").await;
    bridge.sandbox.set(|settings| settings.reply_latency_ms = 0);
    for conversation in ["a", "b"] {
        let path = format!("/v1/conversations/{conversation}/handoff");
        bridge.call("POST", &path).json(&json!({"reason": "requested"})).send().await.expect(200);
    }
    let claim = bridge.call("POST", "/v1/conversations/a/handoff/claim");
    claim.json(&json!({"agent": {"id": "ada", "name": "Ada"}})).send().await.expect(200);
}

#[tokio::test]
async fn the_report_is_a_recount_of_the_log_also_after_a_kill() {
    let mut setups = vec![Setup::new()];
    setups.extend(database().await.map(|url| Setup::new().store(&url)));
    for setup in setups {
        let mut bridge = setup.start().await;
        talk(&mut bridge).await;
        // What was acknowledged and not recorded before the kill comes again.
        bridge.allow(Allow::Repeats);
        bridge.kill9().await;
        bridge.restart().await;
        bridge.turn("after", "Still there?").await;
        let events = eventually("the log to hold all feeds", async || {
            let mut count = 0;
            for conversation in ["a", "b", "c", "slow", "after"] {
                count += bridge.events(conversation).await.len();
            }
            Some(log(&bridge).await).filter(|log| log.len() == count)
        })
        .await;
        let told = report(&bridge, "").await;
        agrees(&told["total"], &events);
        assert!(told["total"]["first_answer_p95_seconds"].as_f64().expect("a number") >= 0.7, "{told}");
        let requests = bridge.sandbox.audit(0, false).requests;
        let used = told["total"]["budget_used"].as_u64().expect("a number");
        assert!(used >= requests as u64, "{used} of the budget for {requests} requests");
        let hours = report(&bridge, "?by=hour&frontend=web").await;
        agrees(&hours["total"], &events);
        assert_eq!(hours["total"]["budget_used"], Value::Null, "the budget is the workspace's");
        let sum: u64 = hours["rows"].as_array().expect("rows").iter().filter_map(|row| row["messages"].as_u64()).sum();
        assert_eq!(hours["total"]["messages"], sum);
        bridge.finish().await;
    }
}

#[tokio::test]
async fn sums_stay_when_what_they_count_is_erased_or_pruned() {
    let mut bridge = Setup::new().start().await;
    bridge.turn("kept", "Where is my order?").await;
    bridge.turn("erased", "Forget me").await;
    let before = eventually("both answers to be counted", async || {
        let total = report(&bridge, "").await["total"].clone();
        (total["messages"] == 2 && total["answered"] == 2).then_some(total)
    })
    .await;
    assert_eq!(before["first_answers"], 2);
    bridge.call("DELETE", "/v1/conversations/erased").send().await.expect(202);
    assert_eq!(report(&bridge, "").await["total"]["messages"], 2);
    bridge.known_forget("web", "erased");
    bridge.stop().await;
    // It is pruned at the start, and once a minute.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let forgetful = |setup: Setup| {
        let watch = |setup: Setup, key| setup.set(key, "\"1s\"");
        ["store.retention", "poll.watch_idle", "poll.watch_escalated"].into_iter().fold(setup, watch)
    };
    bridge.restart_with(forgetful).await;
    eventually("the log to be pruned", async || {
        let answer = bridge.call("GET", "/v1/events?type=message.created").send().await.expect(200).json();
        (answer["events"] == json!([])).then_some(())
    })
    .await;
    bridge.known_forget("web", "kept");
    let after = report(&bridge, "").await["total"].clone();
    for name in ["messages", "answered", "first_answers", "first_answer_median_seconds", "first_answer_p95_seconds"] {
        assert_eq!(after[name], before[name], "{name}");
    }
    bridge.finish().await;
}

#[tokio::test]
async fn parameters_are_checked_and_the_table_is_safe_for_spreadsheets() {
    let bridge = Setup::new().frontend(Frontend::new("-dash")).start().await;
    let wrong = [
        ("from=yesterday", "from"),
        ("from=2026-13-01", "from"),
        ("to=9223372036854775807", "to"),
        ("from=2026-11-30&to=2026-11-30", "to"),
        ("by=week", "by"),
        ("tz=Mars/Olympus", "tz"),
        ("tz=../../etc/passwd", "tz"),
        ("frontend=nobody", "frontend"),
        ("format=xlsx", "format"),
        ("until=2026-11-30", "until"),
        ("from=1970-01-01&to=2026-11-30&by=hour", "from"),
    ];
    for (query, field) in wrong {
        let answer = bridge.admin("GET", &format!("/admin/v1/report?{query}")).send().await;
        let problem = answer.problem(422, "invalid_request");
        assert_eq!(problem["errors"][0]["field"], field, "{query}: {problem}");
    }
    let query = "?from=2026-10-25&to=2026-10-26&tz=Europe/Berlin";
    let day = report(&bridge, query).await;
    assert_eq!(day["rows"][0]["from"], "2026-10-25T00:00:00+02:00");
    assert_eq!(day["rows"][0]["to"], "2026-10-26T00:00:00+01:00");
    assert_eq!((day["rows"].as_array().map(Vec::len), &day["tz"]), (Some(1), &json!("Europe/Berlin")));
    let hours = report(&bridge, &format!("{query}&by=hour")).await;
    assert_eq!(hours["rows"].as_array().map(Vec::len), Some(25));
    let table =
        bridge.admin("GET", &format!("/admin/v1/report{query}&frontend=-dash&format=csv")).send().await.expect(200);
    assert_eq!(table.header("content-type"), "text/csv; charset=utf-8");
    let lines: Vec<&str> = table.text.split("\r\n").collect();
    assert!(lines[0].starts_with("from,to,frontend,messages,answered,"), "{}", lines[0]);
    assert!(lines[1].starts_with("2026-10-25T00:00:00+02:00,2026-10-26T00:00:00+01:00,'-dash,0,0,"), "{}", lines[1]);
    assert_eq!((lines.len(), lines[2]), (3, ""));
    bridge.finish().await;
}
