//! The log of a frontend: every event over all its conversations, by pages and as a stream, and the commands that follow it.

use std::collections::HashSet;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use standardwebhooks::Webhook;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::harness::{Bridge, Frontend, Setup, Stream, database, eventually, unique};

/// One page; its events and its cursor.
async fn page(bridge: &Bridge, query: &str) -> (Vec<Value>, String, bool) {
    let page = bridge.call("GET", &format!("/v1/events{query}")).send().await.expect(200).json();
    let cursor = page["next_cursor"].as_str().expect("a cursor").to_owned();
    (page["events"].as_array().expect("a list").clone(), cursor, page["has_more"] == true)
}

/// The log from a cursor on, in small pages.
async fn log_after(bridge: &Bridge, after: Option<&str>) -> Vec<Value> {
    let (mut all, mut cursor) = (Vec::new(), after.map(str::to_owned));
    loop {
        let after = cursor.map(|cursor| format!("&after={cursor}")).unwrap_or_default();
        let (events, next, has_more) = page(bridge, &format!("?limit=3{after}")).await;
        all.extend(events);
        if !has_more {
            return all;
        }
        cursor = Some(next);
    }
}

/// Waits until the log holds what the feeds of these conversations hold, and gives it.
async fn whole_log(bridge: &Bridge, conversations: &[&str]) -> Vec<Value> {
    eventually("the log to hold every feed", async || {
        let mut count = 0;
        for conversation in conversations {
            count += bridge.events(conversation).await.len();
        }
        Some(log_after(bridge, None).await).filter(|log| log.len() >= count)
    })
    .await
}

fn of<'a>(log: &'a [Value], conversation: &str) -> Vec<&'a Value> {
    log.iter().filter(|event| event["conversation_id"] == conversation).collect()
}

async fn quiet(bridge: &mut Bridge, conversations: &[&str]) {
    for conversation in conversations {
        bridge.turn(conversation, "Where is my order?").await;
        bridge.bound(conversation).await;
    }
}

#[tokio::test]
async fn the_log_holds_every_conversation_in_the_order_of_its_feed() {
    let mut bridge = Setup::new().start().await;
    let conversations = ["a", "b", "c"];
    for _ in 0..2 {
        quiet(&mut bridge, &conversations).await;
    }
    let log = whole_log(&bridge, &conversations).await;
    for conversation in conversations {
        let feed = bridge.events(conversation).await;
        assert!(of(&log, conversation).into_iter().eq(feed.iter()), "the same objects in the same order");
    }
    let ids: HashSet<_> = log.iter().map(|event| event["id"].to_string()).collect();
    assert_eq!(ids.len(), log.len());
    let (events, _, _) = page(&bridge, "?type=turn.*&limit=500").await;
    assert_eq!(events.len(), 6);
    assert!(events.iter().all(|event| event["type"] == "turn.completed"));
    let (events, _, has_more) = page(&bridge, "?conversation_id=b&limit=2").await;
    assert_eq!((events.len(), has_more), (2, true));
    assert!(events.iter().all(|event| event["conversation_id"] == "b"));
    bridge.finish().await;
}

#[tokio::test]
async fn a_page_waits_for_what_happens_next_and_a_cursor_survives_a_crash() {
    let mut bridge = Setup::new().start().await;
    quiet(&mut bridge, &["c"]).await;
    whole_log(&bridge, &["c"]).await;
    let (_, end, _) = page(&bridge, "?limit=500").await;
    let empty =
        bridge.call("GET", &format!("/v1/events?after={end}")).header("prefer", "wait=1").send().await.expect(200);
    assert_eq!(empty.header("preference-applied"), "wait=1");
    assert_eq!(empty.json()["events"], json!([]));
    let waiting = bridge.call("GET", &format!("/v1/events?after={end}")).header("prefer", "wait=30");
    #[expect(clippy::disallowed_methods, reason = "it is waited for below")]
    let waiting = tokio::spawn(waiting.send());
    let (id, _) = bridge.say("c", "And another thing").await;
    let woken = waiting.await.expect("it answers").expect(200).json();
    assert_eq!(woken["events"][0]["data"]["message"]["id"], id.as_str());
    bridge.end_of("c", &id).await;
    let before = whole_log(&bridge, &["c"]).await;
    bridge.kill9().await;
    bridge.restart().await;
    let after = log_after(&bridge, Some(&end)).await;
    assert_eq!(after[..], before[before.len() - after.len()..]);
    bridge.finish().await;
}

#[tokio::test]
async fn the_log_is_for_the_frontend_s_own_server_and_its_own_cursors() {
    let other = Frontend::new("other");
    let mut bridge = Setup::new().frontend(other.clone()).start().await;
    quiet(&mut bridge, &["c"]).await;
    whole_log(&bridge, &["c"]).await;
    let (_, cursor, _) = page(&bridge, "").await;
    for path in ["/v1/events", "/v1/stream"] {
        bridge.anonymous("GET", path).send().await.problem(401, "unauthorized");
        let minted = bridge.call("POST", "/v1/conversations/c/tokens").json(&json!({})).send().await.expect(200).json();
        let browser = bridge.anonymous("GET", path).bearer(minted["token"].as_str().expect("a token"));
        browser.send().await.problem(403, "forbidden");
        for wrong in ["1", "log_1_0000000000000000", &cursor[..cursor.len() - 1]] {
            let answer = bridge.call("GET", &format!("{path}?after={wrong}")).send().await;
            answer.problem(400, "invalid_cursor");
        }
        let foreign = bridge.anonymous("GET", &format!("{path}?after={cursor}")).bearer(&other.tokens[0]);
        foreign.send().await.problem(400, "invalid_cursor");
        for wrong in [
            "type=turns.*",
            "since=yesterday",
            "conversation_id=a%20b",
            &format!("after={cursor}&since=2026-01-01T00:00:00Z"),
        ] {
            bridge.call("GET", &format!("{path}?{wrong}")).send().await.problem(422, "invalid_request");
        }
    }
    // A stream's reader that remembers nothing yet may say so; a page is asked for on purpose.
    bridge.call("GET", "/v1/events?after=").send().await.problem(400, "invalid_cursor");
    bridge.call("GET", "/v1/events?limit=0").send().await.problem(422, "invalid_request");
    let call = bridge.call("GET", "/v1/stream").header("last-event-id", "7");
    call.send().await.problem(400, "invalid_cursor");
    let none = bridge.anonymous("GET", "/v1/events").bearer(&other.tokens[0]).send().await.expect(200).json();
    assert_eq!(none["events"], json!([]), "another frontend's events are nobody else's");
    bridge.finish().await;
}

#[tokio::test]
async fn the_stream_begins_now_resumes_and_begins_at_a_time() {
    let mut bridge = Setup::new().start().await;
    quiet(&mut bridge, &["a"]).await;
    let log = whole_log(&bridge, &["a"]).await;
    let mut now = Stream::open(bridge.call("GET", "/v1/stream")).await;
    assert!(now.content_type.starts_with("text/event-stream"));
    quiet(&mut bridge, &["b"]).await;
    let seen = now.take(3).await;
    assert!(seen.iter().all(|event| event.data["conversation_id"] == "b"), "{seen:?}");
    assert_eq!(seen[0].event, "message.created");
    let mut resumed = Stream::open(bridge.call("GET", "/v1/stream").header("last-event-id", &seen[0].id)).await;
    let again = resumed.take(2).await;
    assert_eq!((&again[0].raw, &again[1].raw), (&seen[1].raw, &seen[2].raw), "the same bytes, each once");
    let first = log[0]["timestamp"].as_str().expect("a time");
    let mut since = Stream::open(bridge.call("GET", &format!("/v1/stream?since={first}&type=message.created"))).await;
    assert_eq!(since.next().await.expect("the first").data, log[0]);
    let callback = bridge.receiver.wait_for("b", "turn.completed").await;
    let all = whole_log(&bridge, &["a", "b"]).await;
    assert!(all.iter().any(|event| event["id"] == callback.id()));
    drop((now, resumed, since));
    bridge.finish().await;
}

#[tokio::test]
async fn an_erased_conversation_is_told_by_its_hash_and_says_nothing_any_more() {
    let mut bridge = Setup::new().start().await;
    quiet(&mut bridge, &["kept", "gone"]).await;
    whole_log(&bridge, &["kept", "gone"]).await;
    let (_, end, _) = page(&bridge, "?limit=500").await;
    let mut stream = Stream::open(bridge.call("GET", &format!("/v1/stream?after={end}"))).await;
    bridge.call("DELETE", "/v1/conversations/gone").send().await.expect(202);
    bridge.known_forget("web", "gone");
    let told = stream.next().await.expect("the erasure").data;
    assert_eq!(told["type"], "conversation.erased");
    assert_eq!((&told["data"], &told["sequence"]), (&json!({}), &Value::Null));
    assert!(told["conversation_id"].as_str().is_some_and(|hash| hash.starts_with("sha256:")), "{told}");
    let log = log_after(&bridge, None).await;
    assert!(of(&log, "gone").is_empty());
    assert_eq!(of(&log, "kept").len(), bridge.events("kept").await.len());
    assert_eq!(log.last(), Some(&told));
    drop(stream);
    bridge.finish().await;
}

#[tokio::test]
async fn whoever_was_away_for_longer_than_the_retention_is_told() {
    let setup = Setup::new()
        .set("store.retention", "\"1s\"")
        .set("poll.watch_idle", "\"1s\"")
        .set("poll.watch_escalated", "\"1s\"");
    let mut bridge = setup.start().await;
    quiet(&mut bridge, &["c"]).await;
    let (_, first, _) = page(&bridge, "?limit=1").await;
    // It is pruned at the start, and once a minute.
    tokio::time::sleep(Duration::from_secs(2)).await;
    bridge.stop().await;
    bridge.restart().await;
    let answer = eventually("the log to be pruned", async || {
        let answer = bridge.call("GET", &format!("/v1/events?after={first}")).send().await;
        (answer.status == 410).then_some(answer)
    })
    .await;
    let oldest = answer.problem(410, "cursor_expired")["oldest_cursor"].as_str().expect("a cursor").to_owned();
    bridge.call("GET", &format!("/v1/stream?after={first}")).send().await.problem(410, "cursor_expired");
    let (events, ..) = page(&bridge, &format!("?after={oldest}")).await;
    let (from_start, ..) = page(&bridge, "").await;
    assert_eq!(events, from_start);
    bridge.known_forget("web", "c");
    bridge.finish().await;
}

#[tokio::test]
async fn many_replicas_write_one_log_and_nobody_who_follows_misses_anything() {
    let Some(url) = database().await else { return };
    let mut bridge = Setup::new().store(&url).start().await;
    while bridge.replicas() < 3 {
        bridge.join().await;
    }
    let mut streams = Vec::new();
    for _ in 0..bridge.replicas() {
        streams.push(Stream::open(bridge.call("GET", "/v1/stream")).await);
        bridge.next_replica();
    }
    let names: Vec<String> = (0..24).map(|number| format!("c-{number}")).collect();
    let mut posted = Vec::new();
    for chunk in names.chunks(8) {
        posted.extend(bridge.say_in_each(chunk.to_vec(), "Where is my order?").await);
        bridge.next_replica();
    }
    for (conversation, id) in &posted {
        bridge.end_of(conversation, id).await;
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let log = whole_log(&bridge, &names).await;
    for name in &names {
        let feed = bridge.events(name).await;
        assert!(of(&log, name).into_iter().eq(feed.iter()), "{name}");
    }
    for mut stream in streams {
        let seen = stream.take(log.len()).await;
        let same = seen.iter().map(|event| &event.data).eq(log.iter());
        assert!(same, "every follower sees the same log");
    }
    // The cursor of one replica is good on the others.
    let (_, cursor, _) = page(&bridge, "?limit=10").await;
    for _ in 0..bridge.replicas() {
        bridge.next_replica();
        assert_eq!(log_after(&bridge, Some(&cursor)).await, log[10..]);
    }
    bridge.finish().await;
}

/// Starts a command that follows the log of this bridge.
fn follow(bridge: &Bridge, arguments: &[&str]) -> (Child, BufReader<tokio::process::ChildStdout>) {
    let token = std::path::Path::new(&bridge.config_file()).with_file_name("token");
    std::fs::write(&token, &bridge.web().tokens[0]).expect("writable");
    let mut command = Command::new(env!("CARGO_BIN_EXE_fini-bridge"));
    command.args(arguments).args(["--url", &bridge.url, "--token-file"]).arg(token).env_clear();
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().expect("the binary under test was built");
    let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
    (child, stdout)
}

async fn line(from: &mut (impl tokio::io::AsyncBufRead + Unpin)) -> String {
    let mut line = String::new();
    let read = from.read_line(&mut line);
    tokio::time::timeout(Duration::from_secs(20), read).await.expect("in time").expect("readable");
    line
}

#[tokio::test]
async fn listen_posts_events_signed_by_the_developer_and_takes_nothing_away() {
    let mut bridge = Setup::new().start().await;
    quiet(&mut bridge, &["before"]).await;
    let log = whole_log(&bridge, &["before"]).await;
    // The developer's own server: another path of the same receiver, which knows the developer's secret.
    let secret = crate::harness::random_secret();
    bridge.receiver.expect_secrets("developer", std::slice::from_ref(&secret));
    let file = std::path::Path::new(&bridge.config_file()).with_file_name("developer");
    std::fs::write(&file, &secret).expect("writable");
    let to = format!("{}/callback/developer", bridge.receiver.url);
    let since = log[0]["timestamp"].as_str().expect("a time").to_owned();
    let arguments = ["listen", "--forward-to", &to, "--since", &since, "--secret-file", file.to_str().expect("plain")];
    let (_child, mut out) = follow(&bridge, &arguments);
    let first = line(&mut out).await;
    assert!(first.starts_with("200  message.created  log_"), "{first}");
    // It resumes where it was when the bridge comes back, at the same address.
    let developers = |bridge: &Bridge| -> Vec<_> {
        bridge.receiver.all().into_iter().filter(|callback| callback.frontend == "developer").collect()
    };
    eventually("everything so far", async || (developers(&bridge).len() >= log.len()).then_some(())).await;
    let (id, _) = bridge.say("before", "And another thing").await;
    bridge.end_of("before", &id).await;
    let log = whole_log(&bridge, &["before"]).await;
    let seen = eventually("all of it", async || Some(developers(&bridge)).filter(|seen| seen.len() >= log.len())).await;
    assert!(seen.iter().map(|callback| &callback.event).eq(log.iter()), "the log, in its order, each once");
    for callback in &seen {
        let webhook = Webhook::new(&secret).expect("a secret");
        webhook.verify(&callback.body, &callback.headers).expect("signed by the developer's secret");
    }
    let own = bridge.receiver.wait_for("before", "turn.completed").await;
    assert_eq!(own.frontend, "web", "the real receiver got its own");
    bridge.finish().await;
}

#[tokio::test]
async fn tail_prints_what_happens_as_a_person_reads_it() {
    let mut bridge = Setup::new().start().await;
    let text = unique("Where is my order?");
    let (_child, mut out) = follow(&bridge, &["tail", "--since", "1h"]);
    let (mut json_child, mut json) = follow(&bridge, &["tail", "--since", "1h", "--json"]);
    bridge.post(&json!({"conversation_id": "c", "message_id": "m", "text": text})).await.expect(202);
    bridge.end_of("c", "m").await;
    let first = line(&mut out).await;
    assert!(first.contains(&format!("c #1  message.created  user: {text}")), "{first}");
    let event: Value = serde_json::from_str(&line(&mut json).await).expect("JSON");
    assert_eq!(event, bridge.events("c").await[0]);
    let (mut refused, _) = follow(&bridge, &["tail", "--after", "log_1_0000000000000000"]);
    assert_eq!(refused.wait().await.expect("it ends").code(), Some(1));
    json_child.start_kill().expect("it runs");
    bridge.finish().await;
}
