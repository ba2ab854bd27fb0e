//! Clocks that are wrong, or are set while the bridge runs: nothing that waits moves, and what the world judges goes by the
//! machine's clock.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use fini_bridge::app::{App, Surroundings};
use fini_bridge::config::{Needs, Sources, load};
use fini_bridge::domain::{WallClock, WallTime, steady::Uptime};
use fini_bridge::lifecycle::Signals;
use fini_bridge::metrics::LogCounters;
use fini_bridge::sandbox::{Fault, FaultKind, FaultRoute};
use fini_bridge::system::{SystemClock, SystemEntropy};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::auth::{post, signed};
use crate::browser;
use crate::harness::{Bridge, Reply, Setup, epoch_millis, epoch_seconds, eventually, server, unique, within};
use crate::postgres::{Server, execute};

const HOUR_MS: i64 = 3_600_000;

/// A machine's clock that somebody sets: by so many milliseconds off.
#[derive(Clone, Default)]
struct Machine(Arc<AtomicI64>);

impl Machine {
    fn set(&self, off_ms: i64) {
        self.0.store(off_ms, Ordering::Relaxed);
    }
}

impl WallClock for Machine {
    fn now(&self) -> WallTime {
        WallTime::from_millis(SystemClock.now().as_millis() + self.0.load(Ordering::Relaxed))
    }

    fn uptime(&self) -> Option<Uptime> {
        SystemClock.uptime()
    }
}

/// Stops the bridge when it is cancelled.
struct When(CancellationToken);

impl Signals for When {
    async fn next(&mut self) -> &'static str {
        self.0.cancelled().await;
        self.0 = CancellationToken::new();
        "TERM"
    }
}

/// A bridge in this process, on the data of `bridge`, at the machine's time.
struct Inside {
    end: CancellationToken,
    running: JoinHandle<()>,
}

impl Inside {
    /// Takes the place of the process that runs, and is what the harness speaks to from now on.
    async fn start(bridge: &mut Bridge, machine: &Machine) -> Self {
        let sources = Sources {
            file: Some(PathBuf::from(bridge.config_file())),
            default_file: PathBuf::new(),
            env: BTreeMap::new(),
            now: jiff::Timestamp::UNIX_EPOCH,
            needs: Needs::Serve,
        };
        let loaded = load(&sources).expect("the process took it too");
        let surroundings = Surroundings {
            wall: Arc::new(machine.clone()),
            entropy: Arc::new(SystemEntropy),
            log: LogCounters::default(),
            extra: None,
            listener: None,
        };
        let app = App::start(&loaded.config, surroundings).await.expect("it starts");
        bridge.url = format!("http://{}", app.public_address());
        bridge.admin_url = format!("http://{}", app.admin_address());
        let end = CancellationToken::new();
        let signals = When(end.clone());
        #[expect(clippy::disallowed_methods, reason = "it is waited for by `stop`")]
        let running = tokio::spawn(async move {
            let _ = app.run(signals).await;
        });
        Self { end, running }
    }

    async fn stop(self) {
        self.end.cancel();
        self.running.await.expect("it ends in order");
    }
}

/// What waits and what is read goes on as ever: a message, an agent in a conversation of its own, and a callback that failed.
async fn all_is_well(bridge: &mut Bridge, conversation: &str) {
    bridge.receiver.script_for(conversation, [Reply::Status(503)]);
    let (_, end) = bridge.turn(conversation, "Does time go on?").await;
    assert_eq!(end["data"]["outcome"], "answered");
    let interaction = bridge.bound(conversation).await;
    let word = unique("An agent's word");
    let id = bridge.sandbox.agent_message(&interaction, &word).expect("it exists").id.clone();
    bridge.event(conversation, "the agent's word", |event| event["data"]["message"]["id"] == id.as_str()).await;
    eventually("the callbacks, the one that failed included", async || {
        let open = bridge.deliveries(&format!("state=pending&conversation_id={conversation}")).await;
        (open.is_empty() && !bridge.receiver.of(conversation).is_empty()).then_some(())
    })
    .await;
}

/// The time stamps of a feed never go back.
fn never_back(feed: &[Value]) {
    let stamps: Vec<&str> = feed.iter().filter_map(|event| event["timestamp"].as_str()).collect();
    assert!(stamps.is_sorted(), "{stamps:?}");
}

#[tokio::test]
async fn a_clock_that_is_set_moves_nothing_that_waits() {
    for step in [-HOUR_MS, HOUR_MS, 20 * 365 * 24 * HOUR_MS] {
        let mut bridge = Setup::new().set("delivery.max_age", "\"1h\"").start().await;
        let machine = Machine::default();
        bridge.stop().await;
        let inside = Inside::start(&mut bridge, &machine).await;
        all_is_well(&mut bridge, "before").await;
        bridge.receiver.script_for("late", vec![Reply::Status(503); 3]);
        bridge.say("late", "My callback waits while the clock is set").await;
        bridge.receiver.expect_off(step / 1000);
        machine.set(step);
        all_is_well(&mut bridge, "before").await;
        all_is_well(&mut bridge, "after").await;
        bridge.receiver.wait_attempts("late", 4).await;
        assert!(bridge.deliveries("state=dead").await.is_empty(), "nothing is too old");
        never_back(&bridge.events("before").await);
        let signed: i64 = bridge.receiver.of("after")[0].header("webhook-timestamp").parse().expect("seconds");
        let off = signed - (epoch_seconds() + step / 1000);
        assert!(off.abs() < 60, "signed {off} s off the machine's clock");
        inside.stop().await;
        // The clock is put right while the bridge is down.
        machine.set(0);
        let inside = Inside::start(&mut bridge, &machine).await;
        all_is_well(&mut bridge, "after").await;
        all_is_well(&mut bridge, "again").await;
        inside.stop().await;
        bridge.restart().await;
        bridge.finish().await;
    }
}

#[tokio::test]
async fn a_clock_that_is_set_lets_no_more_requests_through() {
    for step in [-HOUR_MS, HOUR_MS] {
        let mut bridge = Setup::new().rate_limit(12, 6_000).start().await;
        let machine = Machine::default();
        bridge.stop().await;
        let inside = Inside::start(&mut bridge, &machine).await;
        let conversations = (0..8).map(|number| format!("c-{number}")).collect();
        let posted = bridge.say_in_each(conversations, "What time is it?").await;
        eventually("some of the budget to be used", async || {
            (bridge.sandbox.audit(0, false).max_in_window >= 4).then_some(())
        })
        .await;
        bridge.receiver.expect_off(step / 1000);
        bridge.receiver.expect_off(2 * step / 1000);
        machine.set(step);
        inside.stop().await;
        let inside = Inside::start(&mut bridge, &machine).await;
        machine.set(2 * step);
        for (conversation, id) in &posted {
            within(Duration::from_secs(60), "the end of a turn", async || {
                let feed = bridge.events(conversation).await;
                feed.into_iter().find(|event| event["data"]["message_id"] == id.as_str())
            })
            .await;
        }
        let audit = bridge.sandbox.audit(0, false);
        assert_eq!(audit.throttled, 0, "{} requests in one window", audit.max_in_window);
        inside.stop().await;
        bridge.restart().await;
        bridge.finish().await;
    }
}

#[tokio::test]
async fn a_machine_that_is_off_says_so_and_reads_all_the_same() {
    for off in [-20 * 60_000, 20 * 60_000, 30 * HOUR_MS] {
        let mut bridge = Setup::new().start().await;
        let machine = Machine::default();
        machine.set(off);
        bridge.receiver.expect_off(off / 1000);
        bridge.stop().await;
        let inside = Inside::start(&mut bridge, &machine).await;
        all_is_well(&mut bridge, "c").await;
        let readiness = eventually("the warning", async || {
            let answer = bridge.admin("GET", "/readyz").send().await.expect(200).json();
            (answer["warnings"] == serde_json::json!(["clock"])).then_some(answer)
        })
        .await;
        #[expect(clippy::cast_precision_loss, reason = "hours")]
        let wanted = off as f64 / 1000.0;
        let said = readiness["checks"]["clock"]["ahead_of_fini_seconds"].as_f64().expect("a number");
        assert!((said - wanted).abs() < 3.0, "{readiness}");
        let sample = "fini_bridge_clock_offset_seconds{to=\"fini\"}";
        within(Duration::from_secs(10), "the figure", async || {
            bridge.metric(sample).await.filter(|shown| (shown - wanted).abs() < 3.0)
        })
        .await;
        inside.stop().await;
        bridge.restart().await;
        bridge.finish().await;
    }
}

#[tokio::test]
async fn reading_that_never_worked_is_late_and_messages_are_taken_in() {
    let mut bridge = Setup::new().start().await;
    let fault = Fault::new(FaultRoute::List, FaultKind::Status).times(10_000);
    let id = bridge.sandbox.add_fault(fault).expect("valid");
    bridge.say("c", "Nobody can find this").await;
    let late = eventually("the age of reading to grow", async || {
        let answer = bridge.admin("GET", "/readyz").send().await.expect(200).json();
        (answer["checks"]["reading"]["sweep_age_ms"].as_u64()? > 1_500).then_some(answer)
    })
    .await;
    assert_eq!(late["ready"], true);
    assert!(bridge.metric("fini_bridge_sweep_age_seconds").await.expect("a figure") > 1.0);
    bridge.sandbox.remove_fault(id);
    bridge.bound("c").await;
    bridge.finish().await;
}

/// A database whose server's clock is off, as a session sees it that has a search path of its own: its address for the operator,
/// and that for the bridge.
async fn with_a_clock(server: &Server, off: &str) -> (String, String) {
    let database = server.database().await;
    execute(
        &database,
        &format!(
            "CREATE SCHEMA set_clock; CREATE TABLE set_clock.step (by interval NOT NULL); \
             INSERT INTO set_clock.step VALUES ('{off}'); \
             CREATE FUNCTION set_clock.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS \
             'SELECT pg_catalog.clock_timestamp() + by FROM set_clock.step'"
        ),
    )
    .await;
    let url = format!("{database}?options=-csearch_path%3Dset_clock,pg_catalog");
    (database, url)
}

fn millis_of(step: &str) -> i64 {
    1000 * step.split(' ').next().and_then(|seconds| seconds.parse::<i64>().ok()).expect("so many seconds")
}

/// Fini's clock, which is right in these tests.
fn is_about_now(shown: &Value) {
    let shown: jiff::Timestamp = shown.as_str().and_then(|at| at.parse().ok()).expect("a time");
    assert!((shown.as_millisecond() - epoch_millis()).abs() < 60_000, "{shown}");
}

/// Signatures, tokens and time stamps go by the machine's clock, however far off the server's is from the start; which of the two
/// is wrong shows in what each replica says of both.
#[tokio::test]
async fn a_database_server_that_is_off_changes_nothing_that_the_world_judges() {
    let Some(server) = server("") else { return };
    for off in ["-600 seconds", "600 seconds"] {
        let (_, url) = with_a_clock(&server, off).await;
        let mut bridge = Setup::new().store(&url).start().await;
        bridge.join().await;
        for replica in ["one", "two"] {
            all_is_well(&mut bridge, replica).await;
            let at: i64 = bridge.receiver.of(replica)[0].header("webhook-timestamp").parse().expect("seconds");
            assert!((at - epoch_seconds()).abs() < 60, "signed by the machine's clock");
            let secret = bridge.web().signing_secrets[0].clone();
            let body = serde_json::json!({"conversation_id": replica, "text": unique("Signed just now")});
            let id = unique("req").replace(' ', "-");
            signed(post(&bridge, &body), &secret, &id, epoch_seconds(), &body.to_string()).send().await.expect(202);
            let token = browser::own(&bridge, &browser::claims(replica));
            bridge.keep_private(&token);
            assert_eq!(browser::reads(&bridge, replica, &token).await, [200; 3]);
            let sample = |to: &str| format!("fini_bridge_clock_offset_seconds{{to=\"{to}\"}}");
            #[expect(clippy::cast_precision_loss, reason = "minutes")]
            let wanted = -(millis_of(off) as f64) / 1000.0;
            within(Duration::from_secs(20), "how far the server is off", async || {
                bridge.metric(&sample("postgres")).await.filter(|shown| (shown - wanted).abs() < 5.0)
            })
            .await;
            let to_fini =
                within(Duration::from_secs(20), "Fini's date", async || bridge.metric(&sample("fini")).await).await;
            assert!(to_fini.abs() < 5.0, "the machine is right, which Fini vouches for");
            bridge.next_replica();
        }
        bridge.finish().await;
    }
}

#[tokio::test]
async fn a_database_server_whose_clock_is_set_moves_nothing() {
    let Some(server) = server("") else { return };
    for step in ["-600 seconds", "600 seconds"] {
        let (database, url) = with_a_clock(&server, "0 seconds").await;
        let mut bridge = Setup::new().store(&url).start().await;
        all_is_well(&mut bridge, "before").await;
        execute(&database, &format!("UPDATE set_clock.step SET by = '{step}'")).await;
        all_is_well(&mut bridge, "before").await;
        all_is_well(&mut bridge, "after").await;
        let signed: i64 = bridge.receiver.of("after")[0].header("webhook-timestamp").parse().expect("seconds");
        assert!((signed - epoch_seconds()).abs() < 60, "signed by the machine's clock");
        let told = within(Duration::from_secs(120), "the step to be reported", async || {
            let said =
                |line: &Value| line["message"].as_str().is_some_and(|text| text.contains("server's clock was set"));
            bridge.log().into_iter().find(said)
        })
        .await;
        // By how much, and what Fini's clock shows: that tells which of the two is wrong.
        let by_ms = told["by_ms"].as_i64().expect("a number");
        assert!((by_ms - millis_of(step)).abs() < 60_000, "{told}");
        is_about_now(&told["fini"]);
        bridge.join().await;
        all_is_well(&mut bridge, "joined").await;
        let readiness = bridge.admin("GET", "/readyz").send().await.expect(200).json();
        assert_eq!(readiness["warnings"], serde_json::json!(["clock"]), "{readiness}");
        bridge.finish().await;
    }
}
