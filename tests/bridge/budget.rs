//! The request budget: never more requests in any window than Fini allows, over all routes and restarts.

use std::time::Duration;

use serde_json::json;

use crate::harness::{Bridge, Frontend, Setup, eventually, unique, within};
use fini_bridge::sandbox::{Fault, FaultKind, FaultParams, FaultRoute, Route};

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

#[tokio::test]
async fn a_429_makes_everything_step_back() {
    for (asked, pause_ms) in [(Some(json!(4)), 3_000), (None, 4_000)] {
        let mut bridge = Setup::new().start().await;
        bridge.turn("c", "Where is my order?").await;
        bridge.bound("c").await;
        let params = FaultParams { retry_after: asked.clone(), ..FaultParams::default() };
        let fault = Fault::new(FaultRoute::GenerateAnswer, FaultKind::RateLimited).with(params);
        bridge.sandbox.add_fault(fault).expect("valid");
        let mut posted = Vec::new();
        for conversation in ["c", "d", "e"] {
            posted.push((conversation, bridge.say(conversation, "And now?").await.0));
        }
        eventually("the budget to be believed smaller", async || {
            let budget = bridge.admin("GET", "/admin/v1/budget").send().await.expect(200).json();
            (budget["limit"].as_u64() < Some(100_000)).then_some(())
        })
        .await;
        for (conversation, id) in &posted {
            end(&bridge, conversation, id).await;
        }
        // Sweeps come every 200 ms otherwise. What was on its way already may still arrive after the refusal.
        let latest = bridge.sandbox.audit(100_000, false).latest;
        let refused = latest.iter().position(|request| request.fault.is_some()).expect("it was refused");
        let times: Vec<i64> = latest[refused..].iter().map(|request| request.at).collect();
        let pause = times.windows(2).map(|pair| pair[1] - pair[0]).max();
        assert!(pause >= Some(pause_ms), "{asked:?}: the longest pause was {pause:?} ms");
        bridge.finish().await;
    }
}

#[tokio::test]
async fn a_busy_frontend_does_not_hold_up_another() {
    let mut bridge = narrow().frontend(Frontend::new("desk")).start().await;
    let busy = bridge.say_in_each((0..40).map(|n| format!("c-{n}")).collect(), "Where is my order?").await;
    let desk = bridge.frontends[1].clone();
    let stored_before = bridge.sandbox.audit(0, true).inbound.values().flatten().count();
    let mut texts = Vec::new();
    for n in 0..3 {
        let text = unique("From the desk");
        let body = json!({"conversation_id": format!("d-{n}"), "message_id": "m-1", "text": text});
        bridge.remember("desk", &body);
        bridge.anonymous("POST", "/v1/messages").bearer(&desk.tokens[0]).json(&body).send().await.expect(202);
        texts.push(text);
    }
    for text in &texts {
        within(Duration::from_secs(60), "the desk's message", async || (bridge.times_stored(text) == 1).then_some(()))
            .await;
    }
    let mut inbound: Vec<_> = bridge.sandbox.audit(0, true).inbound.into_values().flatten().collect();
    inbound.sort_by_key(|message| message.at);
    let last = inbound.iter().rposition(|message| texts.contains(&message.content)).expect("stored");
    // By turns: as many of the busy one's as of the desk's, and what was claimed or stored before these were posted.
    assert!(last < stored_before + 20, "the desk's last one is number {last}, {stored_before} were there before");
    for (conversation, id) in &busy {
        end(&bridge, conversation, id).await;
    }
    never_throttled(&bridge);
    bridge.finish().await;
}

#[tokio::test]
async fn whoever_comes_back_when_told_finds_room() {
    let setup = narrow().set("turns.max_waiting_per_frontend", "15").set("turns.max_waiting_per_conversation", "15");
    let mut bridge = setup.start().await;
    let mut refused = None;
    for n in 0..100 {
        let body = json!({"conversation_id": format!("c-{n}"), "message_id": "m-1", "text": unique("Where is it?")});
        let answer = bridge.message(&body).send().await;
        if answer.status == 429 {
            answer.problem(429, "backlog_full");
            refused = Some((body, answer.header("retry-after").parse::<u64>().expect("whole seconds")));
            break;
        }
        answer.expect(202);
    }
    let (body, wait) = refused.expect("it is full at some time");
    // Fifteen wait, and twelve go in each window of three seconds: not longer than two of those.
    assert!((1..=6).contains(&wait), "{wait}");
    tokio::time::sleep(Duration::from_secs(wait)).await;
    bridge.message(&body).send().await.expect(202);
    for n in 0..100 {
        let conversation = format!("c-{n}");
        if bridge.events(&conversation).await.is_empty() {
            break;
        }
        end(&bridge, &conversation, "m-1").await;
    }
    bridge.finish().await;
}
