//! Replicas and their PostgreSQL in trouble: taken away, cut off, full, of another version, at another time.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fini_bridge::app::{App, Surroundings};
use fini_bridge::config::{Needs, Sources, load};
use fini_bridge::domain::{WallClock, WallTime};
use fini_bridge::lifecycle::Signals;
use fini_bridge::metrics::LogCounters;
use fini_bridge::system::{SystemClock, SystemEntropy};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::harness::{Allow, Bridge, Reply, Setup, database, eventually, server, unique, within};
use crate::postgres::{Stop, cut_connections, execute, number};

/// What stands while the database is away, and is looked for afterwards, takes longer than most.
const PATIENCE: Duration = Duration::from_secs(60);

/// Posts a message as a frontend would that is told to try again: under the same id until it is accepted.
async fn insist(bridge: &mut Bridge, conversation: &str, text: &str) -> String {
    let id = unique("m").replace(' ', "-");
    let message = json!({"conversation_id": conversation, "message_id": id, "text": unique(text)});
    let call = bridge.message(&message);
    within(PATIENCE, "the message to be accepted", async || {
        let answer = call.clone().attempt().await?;
        assert!([202, 503].contains(&answer.status), "{}", answer.text);
        (answer.status == 202).then_some(())
    })
    .await;
    id
}

async fn answered(bridge: &Bridge, conversation: &str, id: &str) {
    let end = within(PATIENCE, &format!("the end of {id}"), async || {
        let path = format!("/v1/conversations/{conversation}/events?limit=500");
        let answer = bridge.call("GET", &path).attempt().await.filter(|answer| answer.status == 200)?.json();
        let events = answer["events"].as_array()?.clone();
        events.into_iter().find(|event| event["data"]["message_id"] == id)
    })
    .await;
    assert_eq!(end["data"]["outcome"], "answered", "{end}");
}

async fn readiness(bridge: &Bridge, status: u16) -> Value {
    within(PATIENCE, &format!("readiness to be {status}"), async || {
        Some(bridge.admin("GET", "/readyz").send().await).filter(|answer| answer.status == status)
    })
    .await
    .json()
}

#[tokio::test]
async fn a_database_that_goes_and_comes_back() {
    let Some(server) = server("") else { return };
    let mut bridge = Setup::new().store(&server.database().await).start().await;
    bridge.join().await;
    bridge.turn("c", "Where is my order?").await;
    for how in [Stop::Fast, Stop::Immediate] {
        let before = insist(&mut bridge, "c", "Just before").await;
        server.down(how);
        server.gone().await;
        let refused = json!({"conversation_id": "c", "message_id": unique("x").replace(' ', "-"), "text": "Too late"});
        bridge.call("POST", "/v1/messages").json(&refused).send().await.problem(503, "store_unavailable");
        readiness(&bridge, 503).await;
        bridge.admin("GET", "/healthz").send().await.expect(200);
        server.up().await;
        let after = insist(&mut bridge, "c", "Just after").await;
        for _ in 0..bridge.replicas() {
            bridge.next_replica();
            readiness(&bridge, 200).await;
        }
        answered(&bridge, "c", &before).await;
        answered(&bridge, "c", &after).await;
    }
    bridge.allow(Allow::FailedLoops);
    bridge.allow(Allow::Repeats);
    bridge.finish().await;
}

#[tokio::test]
async fn connections_that_are_cut_are_made_anew() {
    let Some(url) = database().await else { return };
    let mut bridge = Setup::new().store(&url).vendor(|vendor| vendor.reply_latency_ms = 60).start().await;
    bridge.join().await;
    let mut posted = Vec::new();
    for n in 0..10 {
        posted.push(insist(&mut bridge, "c", &format!("Message {n}")).await);
        if n % 2 == 0 {
            assert!(cut_connections(&url).await > 0, "there are connections");
        }
        bridge.next_replica();
    }
    for id in &posted {
        answered(&bridge, "c", id).await;
    }
    bridge.allow(Allow::FailedLoops);
    bridge.allow(Allow::Repeats);
    bridge.finish().await;
}

/// From now on commits wait for a standby that never comes: they are in effect, and nobody is told.
async fn hold_commits(url: &str) {
    execute(url, "ALTER SYSTEM SET synchronous_standby_names = 'nobody'").await;
    execute(url, "SELECT pg_reload_conf()").await;
    let waiting = "SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    within(PATIENCE, "a commit that waits", async || (number(url, waiting).await > 0).then_some(())).await;
}

/// Cuts off the sessions whose commits wait until this question counts one, then lets all others go on.
async fn cut_commits_until(url: &str, counts_one: &str) {
    within(PATIENCE, counts_one, async || {
        execute(url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'").await;
        (number(url, counts_one).await == 1).then_some(())
    })
    .await;
    execute(url, "ALTER SYSTEM RESET synchronous_standby_names").await;
    execute(url, "SELECT pg_reload_conf()").await;
}

fn says(bridge: &Bridge, message: &str) -> bool {
    bridge.log().iter().any(|line| line["message"] == message)
}

#[tokio::test]
async fn a_claim_of_turns_whose_commit_was_cut_off_is_made_good_at_once() {
    let Some(server) = server("") else { return };
    let url = server.database().await;
    let mut bridge = Setup::new().store(&url).set("turns.join_window", "\"3s\"").start().await;
    let (id, text) = bridge.say("c", "Where is my order?").await;
    hold_commits(&url).await;
    cut_commits_until(&url, "SELECT COUNT(*) FROM turns WHERE state = 'sending'").await;
    assert_eq!(bridge.times_stored(&text), 0, "the sender was not told of its claim");
    // Long before the claim's lease ends.
    assert_eq!(bridge.end_of("c", &id).await["data"]["outcome"], "answered");
    assert_eq!(bridge.times_stored(&text), 1);
    assert!(says(&bridge, "claim given back whose answer was lost"));
    bridge.allow(Allow::FailedLoops);
    bridge.finish().await;
}

#[tokio::test]
async fn a_reply_whose_record_was_cut_off_is_recorded_once() {
    let Some(server) = server("") else { return };
    let url = server.database().await;
    let mut bridge = Setup::new().store(&url).vendor(|vendor| vendor.reply_latency_ms = 4000).start().await;
    let (id, text) = bridge.say("c", "Where is my order?").await;
    eventually("the send", async || (bridge.times_stored(&text) == 1).then_some(())).await;
    hold_commits(&url).await;
    cut_commits_until(&url, "SELECT COUNT(*) FROM turns WHERE state = 'answered'").await;
    assert_eq!(bridge.end_of("c", &id).await["data"]["outcome"], "answered");
    bridge.receiver.wait_for("c", "turn.completed").await;
    assert_eq!(bridge.times_stored(&text), 1);
    assert!(says(&bridge, "outcome of a send not recorded yet"));
    bridge.allow(Allow::FailedLoops);
    bridge.finish().await;
}

#[tokio::test]
async fn a_claim_of_callbacks_whose_commit_was_cut_off_is_made_good_at_once() {
    let Some(server) = server("") else { return };
    let url = server.database().await;
    let setup = Setup::new().store(&url).set("delivery.retry_schedule", "[\"3s\"]").set("delivery.lease", "\"120s\"");
    let mut bridge = setup.start().await;
    bridge.receiver.script_for("c", [Reply::Status(500)]);
    bridge.turn("c", "Where is my order?").await;
    let tried = "SELECT COUNT(*) FROM deliveries WHERE attempts = 1";
    within(PATIENCE, tried, async || (number(&url, tried).await == 1).then_some(())).await;
    hold_commits(&url).await;
    cut_commits_until(&url, "SELECT COUNT(*) FROM lanes WHERE lease_until IS NOT NULL").await;
    assert_eq!(bridge.receiver.of("c").len(), 1, "the dispatcher was not told of its claim");
    bridge.receiver.wait_for("c", "turn.completed").await;
    assert!(says(&bridge, "claim given back whose answer was lost"));
    bridge.allow(Allow::FailedLoops);
    bridge.finish().await;
}

/// Nothing goes out twice, and the next one waits for nobody.
#[tokio::test]
async fn a_callback_whose_record_was_cut_off_is_recorded_again() {
    let Some(server) = server("") else { return };
    let url = server.database().await;
    let mut bridge = Setup::new().store(&url).set("delivery.lease", "\"120s\"").start().await;
    bridge.receiver.script_for("c", [Reply::Hold]);
    bridge.turn("c", "Where is my order?").await;
    bridge.receiver.wait_attempts("c", 1).await;
    hold_commits(&url).await;
    bridge.receiver.release();
    cut_commits_until(&url, "SELECT COUNT(*) FROM deliveries WHERE state = 'delivered'").await;
    bridge.receiver.wait_for("c", "turn.completed").await;
    assert!(says(&bridge, "outcome of a callback not recorded yet"));
    bridge.allow(Allow::FailedLoops);
    bridge.finish().await;
}

#[tokio::test]
async fn a_full_disk_is_said_and_outlived() {
    let Some(url) = database().await else { return };
    let mut bridge = Setup::new().store(&url).start().await;
    bridge.turn("c", "Where is my order?").await;
    bridge.bound("c").await;
    // What the server answers when it cannot extend a file.
    let full = "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS \
                $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$; \
                CREATE TRIGGER full_disk BEFORE INSERT ON turns EXECUTE FUNCTION full_disk(); \
                CREATE TRIGGER full_disk BEFORE INSERT ON notes EXECUTE FUNCTION full_disk(); \
                CREATE TRIGGER full_disk BEFORE INSERT ON events EXECUTE FUNCTION full_disk()";
    execute(&url, full).await;
    let message = json!({"conversation_id": "c", "message_id": "m-full", "text": "No room for this"});
    let refused = bridge.call("POST", "/v1/messages").json(&message).send().await;
    refused.problem(503, "store_unavailable");
    assert!(refused.text.find("extend file").is_none(), "what the database says is for the log: {}", refused.text);
    assert_eq!(readiness(&bridge, 503).await["checks"]["store"]["ok"], false);
    let words = |line: &Value| line["error"].as_str().is_some_and(|error| error.contains("the server's disk is full"));
    assert!(bridge.log().iter().any(words), "the operator is told whose limit it is");
    execute(&url, "DROP FUNCTION full_disk() CASCADE").await;
    readiness(&bridge, 200).await;
    let id = insist(&mut bridge, "c", "Room again").await;
    answered(&bridge, "c", &id).await;
    bridge.allow(Allow::FailedLoops);
    bridge.finish().await;
}

#[tokio::test]
async fn a_newer_schema_is_left_alone() {
    let Some(url) = database().await else { return };
    let mut bridge = Setup::new().store(&url).start().await;
    bridge.turn("c", "Where is my order?").await;
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                 VALUES (99, 'newer', TRUE, '', 0)";
    execute(&url, newer).await;
    let (status, said) = bridge.second_process().await;
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("schema version 99") && said.contains("use a newer fini-bridge"), "{said}");
    // The version before goes on while the newer one is being rolled out.
    bridge.turn("c", "And on it goes").await;
    execute(&url, "DELETE FROM _sqlx_migrations WHERE version = 99").await;
    bridge.finish().await;
}

/// A clock that is wrong.
struct Wrong(Duration, bool);

impl WallClock for Wrong {
    fn now(&self) -> WallTime {
        let Self(off, is_fast) = *self;
        let off = i64::try_from(off.as_millis()).expect("minutes");
        WallTime::from_millis(SystemClock.now().as_millis() + if is_fast { off } else { -off })
    }
}

/// Stops an application when it is cancelled.
struct When(CancellationToken);

impl Signals for When {
    async fn next(&mut self) -> &'static str {
        self.0.cancelled().await;
        self.0 = CancellationToken::new();
        "TERM"
    }
}

#[tokio::test]
async fn clocks_that_are_minutes_apart_change_nothing() {
    let Some(url) = database().await else { return };
    let setup = Setup::new().rate_limit(12, 3_000).set("poll.sweep_interval", "\"100ms\"").store(&url);
    let mut bridge = setup.start().await;
    let file = PathBuf::from(bridge.config_file());
    let (mut apps, end) = (JoinSet::new(), CancellationToken::new());
    let mut voices = vec![(bridge.url.clone(), bridge.admin_url.clone())];
    for is_fast in [true, false] {
        // Whoever calls back signs by the clock of its own machine.
        bridge.receiver.expect_off(if is_fast { 600 } else { -600 });
        let sources = Sources {
            file: Some(file.clone()),
            default_file: PathBuf::new(),
            env: BTreeMap::new(),
            now: jiff::Timestamp::UNIX_EPOCH,
            needs: Needs::Serve,
        };
        let loaded = load(&sources).expect("the process took it too");
        let surroundings = Surroundings {
            wall: Arc::new(Wrong(Duration::from_mins(10), is_fast)),
            entropy: Arc::new(SystemEntropy),
            log: LogCounters::default(),
            extra: None,
            listener: None,
        };
        let app = App::start(&loaded.config, surroundings).await.expect("it starts");
        voices.push((format!("http://{}", app.public_address()), format!("http://{}", app.admin_address())));
        apps.spawn(app.run(When(end.clone())));
    }
    let started = SystemClock.now();
    let mut posted = Vec::new();
    for round in 0..2 {
        for (n, voice) in voices.iter().enumerate() {
            (bridge.url, bridge.admin_url) = voice.clone();
            let conversations = (0..5).map(|c| format!("c-{round}-{n}-{c}")).collect();
            posted.extend(bridge.say_in_each(conversations, "What time is it?").await);
        }
    }
    for (number, (conversation, id)) in posted.iter().enumerate() {
        (bridge.url, bridge.admin_url) = voices[number % voices.len()].clone();
        answered(&bridge, conversation, id).await;
    }
    for (conversation, _) in &posted {
        for event in bridge.events(conversation).await {
            let at: jiff::Timestamp = event["timestamp"].as_str().and_then(|at| at.parse().ok()).expect("a time");
            let off = (at.as_millisecond() - started.as_millis()).abs();
            assert!(off < 12 * 60_000, "{off} ms off, and no machine's clock is: {event}");
        }
    }
    let audit = bridge.sandbox.audit(0, false);
    assert_eq!(audit.throttled, 0, "{} requests in one window", audit.max_in_window);
    (bridge.url, bridge.admin_url) = voices[0].clone();
    let unclear =
        bridge.log().iter().filter(|line| line["message"].as_str().is_some_and(|m| m.contains("lease"))).count();
    assert_eq!(unclear, 0, "nobody took over what somebody else was at");
    end.cancel();
    while apps.join_next().await.is_some() {}
    bridge.finish().await;
}
