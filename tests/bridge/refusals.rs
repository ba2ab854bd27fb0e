//! A refusal is believed for the smallest thing it can be about: the text, the conversation, the bot, the key, the vendor; and
//! only in the vendor's own words.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Allow, Bridge, Frontend, Setup, database, eventually, unique, within};
use fini_bridge::sandbox::{Bot, DEFAULT_BOT_ID, Fault, FaultKind, FaultParams, FaultRoute};

/// What was unclear is looked for in vain, for longer than any lag, before it is sent again.
const PATIENCE: Duration = Duration::from_secs(90);
/// Nobody else's trouble may delay a turn by more than this, on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(15);

const OTHER_BOT: &str = "0b9cb9a0-3f9e-4f0c-9a53-7d1cf8b0a7aa";

fn page(status: u16) -> FaultParams {
    FaultParams { status: Some(status), html: true, ..FaultParams::default() }
}

async fn end_within(bridge: &Bridge, patience: Duration, frontend: &Frontend, conversation: &str, id: &str) -> Value {
    within(patience, &format!("the end of {id} in {conversation}"), async || {
        bridge.feed(frontend, conversation).await?.into_iter().find(|event| {
            event["type"].as_str().is_some_and(|kind| kind.starts_with("turn.")) && event["data"]["message_id"] == id
        })
    })
    .await
}

async fn answered_within(bridge: &Bridge, patience: Duration, conversation: &str, id: &str) {
    let end = end_within(bridge, patience, bridge.web(), conversation, id).await;
    assert_eq!(end["data"]["outcome"], "answered", "{conversation}: {end}");
}

async fn is_ready(bridge: &Bridge) {
    bridge.admin("GET", "/readyz").send().await.expect(200);
}

/// A message of the second frontend, whose bot is another one.
async fn say_elsewhere(bridge: &mut Bridge, conversation: &str) -> String {
    let frontend = bridge.frontends[1].clone();
    let id = unique("m").replace(' ', "-");
    let message = json!({"conversation_id": conversation, "message_id": id, "text": unique("Where is my order?")});
    bridge.remember(&frontend.name, &message);
    bridge.call("POST", "/v1/messages").bearer(&frontend.tokens[0]).json(&message).send().await.expect(202);
    id
}

fn two_bots() -> Setup {
    let mut setup = Setup::new().frontend(Frontend { bot_id: OTHER_BOT.to_owned(), ..Frontend::new("app") });
    setup.sandbox.bots.push(Bot { id: OTHER_BOT.into(), name: "Another".into() });
    setup
}

#[tokio::test]
async fn a_page_that_dislikes_one_text_delays_no_other_and_says_nothing_of_the_key() {
    for status in [403, 401, 406, 413] {
        let mut bridge = Setup::new().start().await;
        bridge.turn("c", "Where is my order?").await;
        bridge.bound("c").await;
        let text = unique("'; DROP TABLE orders");
        let fault = Fault::new(FaultRoute::GenerateAnswer, FaultKind::Status).containing(&text).times(1);
        bridge.sandbox.add_fault(fault.with(page(status))).expect("valid");
        bridge.post(&json!({"conversation_id": "c", "message_id": "disliked", "text": text})).await.expect(202);
        for n in 0..6 {
            let (id, _) = bridge.say(&format!("d-{n}"), "And mine?").await;
            answered_within(&bridge, AT_ONCE, &format!("d-{n}"), &id).await;
            is_ready(&bridge).await;
        }
        // It was no refusal of Fini's, so it is looked for, and sent again.
        answered_within(&bridge, PATIENCE, "c", "disliked").await;
        assert_eq!(bridge.times_stored(&text), 1);
        assert_eq!(bridge.metric("fini_bridge_fini_key_refused{key=\"write\"}").await, Some(0.0));
        assert!(!bridge.log().iter().any(|line| line["scope"].is_string()), "nobody is left alone for one text");
        bridge.finish().await;
    }
}

#[tokio::test]
async fn the_pages_of_a_gateway_that_is_rolled_out_fail_nothing() {
    let mut bridge = Setup::new().start().await;
    bridge.turn("c", "Where is my order?").await;
    bridge.bound("c").await;
    let fault = Fault::new(FaultRoute::Any, FaultKind::Status).times(10_000).with(page(404));
    let fault = bridge.sandbox.add_fault(fault).expect("valid");
    let mut said = vec![("c".to_owned(), bridge.say("c", "In between").await.0)];
    for n in 0..4 {
        let conversation = format!("d-{n}");
        let (id, _) = bridge.say(&conversation, "In between").await;
        said.push((conversation, id));
    }
    eventually("the pages", async || {
        let audit = bridge.sandbox.audit(0, false);
        let pages: u64 = audit.routes.values().filter_map(|statuses| statuses.get("404")).sum();
        (pages >= 5).then_some(())
    })
    .await;
    is_ready(&bridge).await;
    bridge.sandbox.remove_fault(fault);
    for (conversation, id) in said {
        answered_within(&bridge, PATIENCE, &conversation, &id).await;
    }
    assert_ne!(bridge.conversation("c").await["state"], "lost");
    bridge.finish().await;
}

#[tokio::test]
async fn a_bot_that_is_refused_or_only_fails_delays_no_other_frontend() {
    for kind in [FaultKind::Forbidden, FaultKind::Unauthorised, FaultKind::Status] {
        let mut bridge = two_bots().start().await;
        let fault = Fault::new(FaultRoute::GenerateAnswer, kind).containing(OTHER_BOT).times(10_000);
        let fault = bridge.sandbox.add_fault(fault).expect("valid");
        let mut waiting = Vec::new();
        for n in 0..5 {
            let conversation = format!("waits-{n}");
            let id = say_elsewhere(&mut bridge, &conversation).await;
            waiting.push((conversation, id));
            let (id, _) = bridge.say(&format!("c-{n}"), "And mine?").await;
            answered_within(&bridge, AT_ONCE, &format!("c-{n}"), &id).await;
            is_ready(&bridge).await;
        }
        let left_alone = bridge.admin("GET", "/readyz").send().await.json()["checks"]["fini"]["left_alone"].clone();
        assert_eq!((&left_alone[0]["scope"], &left_alone[0]["bot"]), (&json!("bot"), &json!(OTHER_BOT)));
        assert_eq!(bridge.metric("fini_bridge_fini_key_refused{key=\"write\"}").await, Some(0.0), "{kind:?}");
        bridge.sandbox.remove_fault(fault);
        let app = bridge.frontends[1].clone();
        for (conversation, id) in waiting {
            let end = end_within(&bridge, PATIENCE, &app, &conversation, &id).await;
            assert_eq!(end["data"]["outcome"], "answered", "{kind:?}: {end}");
        }
        bridge.finish().await;
    }
}

#[tokio::test]
async fn a_key_that_both_bots_are_refused_with_is_believed_and_recovers() {
    let mut bridge = two_bots().start().await;
    let fault = Fault::new(FaultRoute::GenerateAnswer, FaultKind::Forbidden).times(10_000);
    let fault = bridge.sandbox.add_fault(fault).expect("valid");
    let (id, _) = bridge.say("c", "Where is my order?").await;
    let elsewhere = say_elsewhere(&mut bridge, "d").await;
    let readiness = eventually("the bridge not to be ready", async || {
        Some(bridge.admin("GET", "/readyz").send().await).filter(|answer| answer.status == 503)
    })
    .await
    .json();
    assert_eq!(readiness["checks"]["key_write"]["ok"], false, "{readiness}");
    assert_eq!(readiness["checks"]["key_read"]["ok"], true, "{readiness}");
    assert_eq!(bridge.metric("fini_bridge_fini_key_refused{key=\"write\"}").await, Some(1.0));
    bridge.sandbox.remove_fault(fault);
    answered_within(&bridge, PATIENCE, "c", &id).await;
    let app = bridge.frontends[1].clone();
    end_within(&bridge, PATIENCE, &app, "d", &elsewhere).await;
    eventually("the bridge to be ready", async || {
        (bridge.admin("GET", "/readyz").send().await.status == 200).then_some(())
    })
    .await;
    bridge.finish().await;
}

#[tokio::test]
async fn a_refused_key_shows_before_the_first_message() {
    let mut bridge = Setup::new().start().await;
    let accepted = async |bridge: &Bridge| {
        let answer = bridge.admin("GET", "/readyz").send().await.json();
        (answer["checks"]["key_read"]["accepted"] == true).then_some(())
    };
    eventually("the key to be asked about", async || accepted(&bridge).await).await;
    let fault = Fault::new(FaultRoute::Any, FaultKind::Unauthorised).times(10_000);
    let fault = bridge.sandbox.add_fault(fault).expect("valid");
    bridge.stop().await;
    bridge.restart().await;
    eventually("the bridge not to be ready", async || {
        (bridge.admin("GET", "/readyz").send().await.status == 503).then_some(())
    })
    .await;
    bridge.sandbox.remove_fault(fault);
    within(Duration::from_secs(40), "the bridge to be ready", async || {
        (bridge.admin("GET", "/readyz").send().await.status == 200).then_some(())
    })
    .await;
    bridge.finish().await;
}

#[tokio::test]
async fn a_fini_that_cannot_be_reached_at_the_start_is_no_refused_key() {
    let mut bridge = Setup::new().start().await;
    bridge.stop().await;
    bridge.vendor_down().await;
    bridge.restart().await;
    let (id, _) = bridge.say("c", "Anybody there?").await;
    is_ready(&bridge).await;
    bridge.vendor_up().await;
    answered_within(&bridge, PATIENCE, "c", &id).await;
    bridge.finish().await;
}

#[tokio::test]
async fn after_being_throttled_nobody_waits_for_one_slow_reply() {
    let mut bridge = Setup::new().vendor(|vendor| vendor.reply_latency_ms = 10_000).start().await;
    bridge.sandbox.add_fault(Fault::new(FaultRoute::GenerateAnswer, FaultKind::RateLimited).times(1)).expect("valid");
    let mut said = Vec::new();
    for n in 0..6 {
        said.push((format!("c-{n}"), bridge.say(&format!("c-{n}"), "Where is my order?").await.0));
    }
    for (conversation, id) in said {
        // A pause and one reply; two replies after another would be a probe that all others waited for.
        answered_within(&bridge, Duration::from_secs(22), &conversation, &id).await;
    }
    bridge.finish().await;
}

#[tokio::test]
async fn what_fini_itself_rejects_fails_at_once() {
    let mut bridge = Setup::new().start().await;
    let params = FaultParams { status: Some(400), ..FaultParams::default() };
    let fault = Fault::new(FaultRoute::GenerateAnswer, FaultKind::Status).containing(DEFAULT_BOT_ID).with(params);
    bridge.sandbox.add_fault(fault).expect("valid");
    let (id, text) = bridge.say("c", "Where is my order?").await;
    let end = end_within(&bridge, AT_ONCE, bridge.web(), "c", &id).await;
    assert_eq!((&end["type"], &end["data"]["code"]), (&json!("turn.failed"), &json!("fini_rejected")), "{end}");
    assert_eq!(bridge.times_stored(&text), 0);
    bridge.allow(Allow::Unsent);
    bridge.allow(Allow::Unbound);
    bridge.finish().await;
}

/// One conversation's strange status is its own affair, whatever the database can hold.
#[tokio::test]
async fn a_status_that_no_database_holds_stops_nobodys_reading() {
    let mut stores = vec![None];
    stores.extend(database().await.map(Some));
    for store in stores {
        let setup = Setup::new();
        let mut bridge = match &store {
            Some(url) => setup.store(url).start().await,
            None => setup.start().await,
        };
        let mut bound = Vec::new();
        for conversation in ["a", "b", "c"] {
            bridge.turn(conversation, "Where is my order?").await;
            bound.push(bridge.bound(conversation).await);
        }
        bridge.sandbox.set_status(&bound[0], Some("Under\u{0}review")).expect("it exists");
        for (conversation, interaction) in ["a", "b", "c"].iter().zip(&bound) {
            let id = bridge.sandbox.agent_message(interaction, "Can you hear me?").expect("it exists").id.clone();
            bridge.event(conversation, "the agent's word", |event| event["data"]["message"]["id"] == id.as_str()).await;
        }
        eventually("the status", async || {
            (bridge.conversation("a").await["status_text"] == "Under\u{fffd}review").then_some(())
        })
        .await;
        bridge.finish().await;
    }
}
