//! The request budget: never more requests in any window than Fini allows, over all routes and restarts.

use std::time::Duration;

use serde_json::json;

use crate::harness::{Bridge, Setup, eventually, within};
use fini_bridge::sandbox::Route;

/// A limit that is soon used up, the same at the bridge and at the vendor.
fn narrow() -> Setup {
    Setup::new().rate_limit(12, 3_000).set("poll.sweep_interval", "\"100ms\"")
}

async fn end(bridge: &Bridge, conversation: &str, id: &str) {
    within(Duration::from_secs(60), &format!("the end of {id}"), async || {
        let feed = bridge.events(conversation).await;
        feed.iter().any(|event| event["data"]["message_id"] == id).then_some(())
    })
    .await;
}

fn never_throttled(bridge: &Bridge) {
    let audit = bridge.sandbox.audit(0, false);
    assert_eq!(audit.throttled, 0, "{} requests in one window", audit.max_in_window);
    assert!(audit.max_in_window <= 12, "{} requests in one window", audit.max_in_window);
}

#[tokio::test]
async fn a_burst_is_spread_over_windows() {
    let mut bridge = narrow().start().await;
    let posted = bridge.say_in_each((0..30).map(|n| format!("c-{n}")).collect(), "Where is my order?").await;
    for (conversation, id) in &posted {
        end(&bridge, conversation, id).await;
    }
    for (conversation, _) in &posted {
        bridge.bound(conversation).await;
    }
    never_throttled(&bridge);
    assert!(bridge.sandbox.audit(0, false).max_in_window >= 10, "what may be used is used");
    bridge.finish().await;
}

#[tokio::test]
async fn the_window_outlives_the_process() {
    let mut bridge = narrow().start().await;
    for round in 0..4 {
        bridge.say_in_each((0..8).map(|n| format!("c-{round}-{n}")).collect(), "Where is my order?").await;
        let before = bridge.sandbox.audit(0, false).requests;
        eventually("the budget to be in use", async || {
            (bridge.sandbox.audit(0, false).requests >= before + 4).then_some(())
        })
        .await;
        if round % 2 == 0 {
            bridge.kill9().await;
        } else {
            bridge.stop().await;
        }
        bridge.restart().await;
        never_throttled(&bridge);
    }
    for round in 0..4 {
        for n in 0..8 {
            within(Duration::from_secs(60), "every turn to end", async || {
                let feed = bridge.events(&format!("c-{round}-{n}")).await;
                feed.iter().any(|event| event["type"] == "turn.completed").then_some(())
            })
            .await;
        }
    }
    never_throttled(&bridge);
    bridge.allow(crate::harness::Allow::Repeats);
    bridge.finish().await;
}

#[tokio::test]
async fn reading_goes_on_while_messages_queue_up() {
    let mut bridge = narrow().start().await;
    bridge.turn("watched", "Where is my order?").await;
    let interaction = bridge.bound("watched").await;
    let posted = bridge.say_in_each((0..30).map(|n| format!("c-{n}")).collect(), "Where is my order?").await;
    let id = bridge.sandbox.agent_message(&interaction, "Can you hear me?").expect("it exists").id.clone();
    bridge.event("watched", "the agent's message", |event| event["data"]["message"]["id"] == id.as_str()).await;
    let answered = bridge.sandbox.audit(0, true).inbound.values().flatten().count();
    assert!(answered < 31, "it came while messages were still waiting");
    for (conversation, id) in &posted {
        end(&bridge, conversation, id).await;
    }
    never_throttled(&bridge);
    bridge.finish().await;
}

#[tokio::test]
async fn reading_leaves_the_reserve_to_sending() {
    let mut bridge = narrow().start().await;
    bridge.turn("c", "Where is my order?").await;
    bridge.bound("c").await;
    // Left alone, reading uses its half and no more, whether it lists or reads singly.
    let reads = || {
        let audit = bridge.sandbox.audit(0, false);
        audit.count(Route::List, 200) + audit.count(Route::Get, 200)
    };
    let before = reads();
    eventually("some reading", async || (reads() >= before + 6).then_some(())).await;
    let budget = bridge.admin("GET", "/admin/v1/budget").send().await.expect(200).json();
    assert!(budget["used"].as_u64().is_some_and(|used| used <= 8), "{budget}");
    let started = std::time::Instant::now();
    bridge.turn("c", "A message is not held up by reading").await;
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    bridge.finish().await;
}

#[tokio::test]
async fn operators_see_the_budget() {
    let mut bridge = narrow().start().await;
    bridge.turn("c", "Where is my order?").await;
    let budget = bridge.admin("GET", "/admin/v1/budget").send().await.expect(200).json();
    assert_eq!((&budget["limit"], &budget["window_seconds"]), (&json!(12), &json!(3)));
    assert!(budget["used"].as_u64().is_some_and(|used| (1..=12).contains(&used)), "{budget}");
    for class in ["send", "bind", "sweep", "get"] {
        assert!(budget["waiting"][class].is_u64(), "{budget}");
    }
    bridge.say_in_each((0..30).map(|n| format!("c-{n}")).collect(), "Where is my order?").await;
    eventually("messages that wait for the budget", async || {
        let budget = bridge.admin("GET", "/admin/v1/budget").send().await.expect(200).json();
        budget["waiting"]["send"].as_u64().is_some_and(|waiting| waiting > 0).then_some(())
    })
    .await;
    eventually("the budget in the metrics", async || {
        let used = bridge.metric("fini_bridge_fini_budget_used").await?;
        (used > 0.0 && bridge.metric("fini_bridge_fini_budget_limit").await == Some(12.0)).then_some(())
    })
    .await;
    bridge.finish().await;
}
