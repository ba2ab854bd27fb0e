//! The views of operators: one conversation from end to end, found by any id; lanes that stand still; figures; configuration.

use std::collections::BTreeSet;

use fini_bridge::sandbox::{Fault, FaultKind, FaultParams, FaultRoute};
use serde_json::{Value, json};

use crate::harness::{Allow, Bridge, Reply, Setup, database, eventually, unique};

/// The same setup on each database there is.
async fn on_both(setup: impl Fn() -> Setup) -> Vec<Bridge> {
    let mut bridges = vec![setup().start().await];
    if let Some(url) = database().await {
        bridges.push(setup().store(&url).start().await);
    }
    bridges
}

async fn look(bridge: &Bridge, path: &str) -> Value {
    bridge.admin("GET", &format!("/admin/v1/{path}")).send().await.expect(200).json()
}

#[tokio::test]
async fn a_conversation_is_found_by_any_of_its_ids() {
    for mut bridge in on_both(Setup::new).await {
        let body = json!({"conversation_id": "c", "message_id": "m-of-c", "text": unique("Where is my order?"),
            "user": {"id": "u-9"}});
        bridge.message(&body).header("x-request-id", "req-of-c").send().await.expect(202);
        bridge.end_of("c", "m-of-c").await;
        bridge.turn("other", "Where is my order?").await;
        let interaction = bridge.bound("c").await;
        let reply = bridge.event("c", "the reply", |event| event["data"]["message"]["author"] == "bot").await;
        let callback = bridge.receiver.wait_for("c", "turn.completed").await;
        let delivery = bridge.deliveries("conversation_id=c").await[0]["id"].clone();
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        for (id, matched) in [
            ("c".to_owned(), "conversation_id"),
            ("u-9".to_owned(), "user_id"),
            ("m-of-c".to_owned(), "message_id"),
            ("req-of-c".to_owned(), "request_id"),
            (text(&reply["id"]), "event_id"),
            (text(&callback.event["id"]), "event_id"),
            (text(&reply["data"]["message"]["id"]), "fini_event_id"),
            (text(&delivery), "delivery_id"),
            (interaction, "interaction_id"),
        ] {
            let found = look(&bridge, &format!("conversations?q={id}")).await;
            let all = found["conversations"].as_array().expect("a list");
            let seen: Vec<_> = all.iter().map(|one| (&one["conversation_id"], &one["matched"])).collect();
            assert_eq!(seen, [(&json!("c"), &json!(matched))], "{id}");
        }
        assert_eq!(look(&bridge, "conversations?q=nothing").await["conversations"], json!([]));
        bridge.admin("GET", "/admin/v1/conversations").send().await.problem(422, "invalid_request");
        bridge.admin("GET", "/admin/v1/conversations?q=c&colour=red").send().await.problem(422, "invalid_request");
        bridge.finish().await;
    }
}

#[tokio::test]
async fn what_a_search_finds_comes_part_by_part_the_youngest_first() {
    for mut bridge in on_both(Setup::new).await {
        for n in 0..5 {
            let body = json!({"conversation_id": format!("c{n}"), "message_id": "m", "text": unique("Where is it?"),
                "user": {"id": "u-9"}});
            bridge.post(&body).await.expect(202);
            bridge.end_of(&format!("c{n}"), "m").await;
        }
        let (mut found, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = look(&bridge, &format!("conversations?q=u-9&limit=2{cursor}")).await;
            let part = page["conversations"].as_array().expect("a list");
            assert!(part.len() <= 2);
            found.extend(part.iter().filter_map(|one| one["conversation_id"].as_str().map(str::to_owned)));
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(found, ["c4", "c3", "c2", "c1", "c0"]);
        bridge.finish().await;
    }
}

#[tokio::test]
async fn a_conversation_is_followed_from_each_try_at_fini_to_each_attempt_at_a_callback() {
    for mut bridge in on_both(Setup::new).await {
        let refused = FaultParams { status: Some(429), ..FaultParams::default() };
        let fault = Fault::new(FaultRoute::GenerateAnswer, FaultKind::Status).times(1).with(refused);
        bridge.sandbox.add_fault(fault).expect("valid");
        bridge.receiver.script([Reply::Status(500), Reply::Status(503)]);
        let body = json!({"conversation_id": "c", "message_id": "m", "text": unique("Where is my order?")});
        bridge.message(&body).header("x-request-id", "req-1").send().await.expect(202);
        bridge.end_of("c", "m").await;
        let story = eventually("every callback to be delivered", async || {
            let story = look(&bridge, "conversations/web/c").await;
            let all = story["deliveries"].as_array().expect("a list").clone();
            (all.len() >= 2 && all.iter().all(|one| one["state"] == "delivered")).then_some(story)
        })
        .await;
        let turn = &story["turns"][0];
        assert_eq!(
            (&turn["message_id"], &turn["state"], &turn["request_id"], &turn["text"]),
            (&json!("m"), &json!("answered"), &json!("req-1"), &Value::Null)
        );
        let outcomes: Vec<_> = turn["tries"].as_array().expect("a list").iter().map(|one| &one["outcome"]).collect();
        assert_eq!(outcomes, ["not_sent", "answered"]);
        for one in turn["tries"].as_array().expect("a list") {
            assert!(one["began_at"].is_string() && one["ended_at"].is_string() && one["duration_ms"].is_u64(), "{one}");
        }
        let first = story["deliveries"].as_array().expect("a list").last().expect("one").clone();
        let statuses: Vec<_> = first["tries"].as_array().expect("a list").iter().map(|one| &one["status"]).collect();
        assert_eq!(statuses, [500, 503, 200], "{first}");
        let kinds: Vec<_> = story["events"].as_array().expect("a list").iter().map(|one| &one["type"]).collect();
        assert!(kinds.contains(&&json!("turn.completed")), "{kinds:?}");
        assert!(story["events"][0]["timestamp"].is_string() && story["events"][0]["data"].is_null());
        let with_texts = look(&bridge, "conversations/web/c?content=true&after=1").await;
        assert_eq!(with_texts["turns"][0]["text"], body["text"]);
        assert_eq!(with_texts["events"][0]["sequence"], 2);
        bridge.finish().await;
    }
}

async fn lane(bridge: &Bridge, kind: &str, conversation: &str) -> Option<Value> {
    let all = look(bridge, "lanes").await["lanes"].as_array().expect("a list").clone();
    all.into_iter().find(|lane| lane["kind"] == kind && lane["conversation_id"] == conversation)
}

#[tokio::test]
async fn each_lane_that_stands_still_says_what_holds_it() {
    let setup = || Setup::new().set("delivery.retry_schedule", "[\"1h\"]").vendor(|vendor| vendor.reply_latency_ms = 0);
    for mut bridge in on_both(setup).await {
        assert_eq!(look(&bridge, "lanes").await, json!({"lanes": [], "next_cursor": null}));
        bridge.receiver.script([Reply::Status(500)]);
        bridge.turn("retried", "Where is my order?").await;
        let held = eventually("a lane that waits for its retry", async || {
            lane(&bridge, "callbacks", "retried").await.filter(|lane| lane["blocked_by"] == "retry")
        })
        .await;
        assert_eq!((&held["destination"], &held["head"]["last_status"]), (&json!("main"), &json!(500)), "{held}");
        assert!(held["until"].is_string() && held["waiting"].as_u64().is_some_and(|waiting| waiting >= 1), "{held}");
        bridge.admin("POST", "/admin/v1/frontends/web/pause").send().await.expect(200);
        let held = lane(&bridge, "callbacks", "retried").await.expect("held");
        assert_eq!(held["blocked_by"], "pause", "that comes first");
        // A message behind one that Fini is still answering.
        // Longer than the longest time between two measurements.
        bridge.sandbox.set(|settings| settings.reply_latency_ms = 12_000);
        let (first, _) = bridge.say("behind", "The first").await;
        let (second, _) = bridge.say("behind", "The second").await;
        let held = eventually("a message behind another", async || lane(&bridge, "messages", "behind").await).await;
        assert_eq!((&held["blocked_by"], &held["waiting"]), (&json!("turn"), &json!(1)), "{held}");
        assert_eq!(held["open_turn"]["message_id"], first.as_str());
        eventually("the gauge of it", async || {
            let waiting = bridge.metric("fini_bridge_waiting{kind=\"turn\"}").await?;
            let paused = bridge.metric("fini_bridge_waiting{kind=\"pause\"}").await?;
            (waiting >= 1.0 && paused >= 1.0).then_some(())
        })
        .await;
        bridge.sandbox.set(|settings| settings.reply_latency_ms = 0);
        bridge.end_of("behind", &second).await;
        // Part by part the same lanes come, each once.
        bridge.turn("third", "Another").await;
        let (mut seen, mut cursor) = (BTreeSet::new(), String::new());
        loop {
            let page = look(&bridge, &format!("lanes?limit=1{cursor}")).await;
            for lane in page["lanes"].as_array().expect("a list") {
                assert!(seen.insert(lane["conversation_id"].to_string()), "{lane} twice");
            }
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(seen.len(), 3, "{seen:?}");
        bridge.admin("POST", "/admin/v1/frontends/web/resume").send().await.expect(200);
        let retry = bridge.deliveries("state=pending&conversation_id=retried").await;
        for one in retry {
            let id = one["id"].as_str().expect("an id").to_owned();
            bridge.admin("POST", &format!("/admin/v1/deliveries/{id}/retry")).send().await.expect(202);
        }
        bridge.finish().await;
    }
}

#[tokio::test]
async fn callbacks_that_a_breaker_holds_are_not_the_bridges_fault() {
    for mut bridge in on_both(|| Setup::new().set("delivery.retry_schedule", "[\"1s\", \"1h\"]")).await {
        bridge.receiver.script(vec![Reply::Status(503); 400]);
        let all = (0..30).map(|n| format!("c{n}")).collect();
        bridge.say_in_each(all, "Where is my order?").await;
        let held = eventually("a lane that a breaker holds", async || {
            let all = look(&bridge, "lanes").await["lanes"].as_array().expect("a list").clone();
            all.into_iter().find(|lane| lane["blocked_by"] == "breaker")
        })
        .await;
        assert_eq!(held["kind"], "callbacks");
        eventually("what the breaker holds to be counted as that", async || {
            let waiting = bridge.metric("fini_bridge_waiting{kind=\"breaker\"}").await?;
            let age = bridge.metric("fini_bridge_oldest_waiting_seconds{kind=\"breaker\"}").await?;
            let due = bridge.metric("fini_bridge_oldest_due_seconds{kind=\"deliveries\"}").await?;
            (waiting >= 1.0 && age > 2.0 && due < 1.0).then_some(())
        })
        .await;
        bridge.allow(Allow::Undelivered);
        bridge.finish().await;
    }
}

#[tokio::test]
async fn figures_show_the_last_day_and_are_bounded() {
    for mut bridge in on_both(Setup::new).await {
        bridge.turn("c", "Where is my order?").await;
        let figures = eventually("a point in which a request was made", async || {
            let figures = look(&bridge, "figures?window=24h").await;
            let used = |point: &Value| point["budget"]["used"].as_u64().is_some_and(|used| used > 0);
            figures["points"].as_array().expect("a list").iter().any(used).then_some(figures)
        })
        .await;
        assert_eq!((&figures["window_seconds"], &figures["step_seconds"]), (&json!(86_400), &json!(300)));
        assert!(figures["replica"].as_str().is_some_and(|name| !name.is_empty()));
        let point = &figures["points"][0];
        for kind in ["turn", "breaker", "pause", "quarantine", "budget", "handoff"] {
            assert_eq!(point["waiting"][kind], 0, "{point}");
            assert!(point["oldest_waiting_seconds"][kind].is_number(), "{point}");
        }
        for wrong in ["25h", "0s", "soon"] {
            let answer = bridge.admin("GET", &format!("/admin/v1/figures?window={wrong}")).send().await;
            answer.problem(422, "invalid_request");
        }
        let size = "fini_bridge_store_bytes{file=\"database\"}";
        assert!(bridge.metric(size).await.is_some_and(|bytes| bytes > 4096.0));
        assert!(bridge.metric("fini_bridge_postgres_oldest_snapshot_seconds").await.is_some());
        bridge.finish().await;
    }
}

#[tokio::test]
async fn the_configuration_is_shown_whole_and_without_a_secret() {
    let bridge = Setup::new().start().await;
    let answer = bridge.admin("GET", "/admin/v1/configuration").send().await.expect(200);
    for secret in bridge.web().secrets() {
        assert!(!answer.text.contains(secret.trim_start_matches("whsec_")), "a secret is shown");
    }
    assert!(!answer.text.contains("/callback/web"), "of an address that may be a credential the host alone is shown");
    let shown = answer.json()["configuration"].clone();
    assert_eq!(shown["frontends"][0]["tokens"], json!(["(hidden)"]));
    assert_eq!(shown["delivery"]["timeout"], "5s");
    let defaults: toml::Table = include_str!("../../config/default.toml").parse().expect("TOML");
    // One key stands for both, and is shown as both.
    let elsewhere = ["fini.api_key"];
    for (section, keys) in defaults.iter().filter_map(|(name, value)| Some((name, value.as_table()?))) {
        for key in keys.keys().filter(|key| !elsewhere.contains(&format!("{section}.{key}").as_str())) {
            assert!(shown[section].get(key).is_some(), "{section}.{key} is not shown");
        }
    }
    bridge.finish().await;
}
