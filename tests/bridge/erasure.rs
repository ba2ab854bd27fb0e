//! A conversation is erased here while its first message is on its way, and Fini puts that into somebody else's: no word of
//! the erased one is told to anybody, and none of the other's in its place.

use serde_json::{Value, json};

use crate::harness::{Allow, Bridge, Setup, database, eventually, unique};
use fini_bridge::sandbox::{Fault, FaultKind, FaultParams, FaultRoute, ResolveMode};

/// The erased one's question, and the bot's answer to that alone.
const ERASED: (&str, &str) = ("Thanks for the blue shoes", "You are welcome!");

fn setup() -> Setup {
    Setup::new().set("poll.sweep_interval", "\"50ms\"")
}

/// `kept` is bound; whoever comes next is put into its Fini conversation.
async fn kept(setup: Setup) -> (Bridge, String) {
    let mut bridge = setup.start().await;
    bridge.turn("kept", "Where is my order?").await;
    let interaction = bridge.bound("kept").await;
    bridge.sandbox.set(|settings| settings.resolve_mode = ResolveMode::NewestOfBot);
    (bridge, interaction)
}

async fn erase(bridge: &Bridge, conversation: &str) {
    bridge.call("DELETE", &format!("/v1/conversations/{conversation}")).send().await.expect(202);
    bridge.call("GET", &format!("/v1/conversations/{conversation}")).send().await.expect(404);
}

/// Waits until a text stands at Fini.
async fn stands(bridge: &Bridge, interaction: &str, text: &str) {
    eventually(&format!("{text:?} at Fini"), async || {
        let conversation = bridge.sandbox.conversation(interaction).expect("it exists");
        conversation.events.iter().any(|event| event.message.as_deref() == Some(text)).then_some(())
    })
    .await;
}

/// The kept one goes on, is shown what is its own, and nothing of the erased one's; the erased one is nowhere.
async fn nothing_is_told(bridge: &mut Bridge, interaction: &str, text: &str) {
    // Two turns, so that reading has seen all that there is.
    for line in ["I go on", "And on"] {
        let (_, end) = bridge.turn("kept", line).await;
        assert_eq!(end["data"]["outcome"], "answered", "{end}");
    }
    let agent = bridge.sandbox.agent_message(interaction, &unique("This is Ada")).expect("it exists").id.clone();
    bridge.event("kept", "the agent's message", |event| event["data"]["message"]["id"] == agent.as_str()).await;
    let feed = bridge.events("kept").await;
    let callbacks: Vec<Value> = bridge.receiver.of("kept").into_iter().map(|callback| callback.event).collect();
    for events in [json!(feed), json!(callbacks)] {
        let all = events.to_string();
        for word in [text, ERASED.1] {
            assert!(!all.contains(word), "{word:?} was told: {all}");
        }
    }
    bridge.call("GET", "/v1/conversations/erased").send().await.expect(404);
    assert_eq!(bridge.times_stored(text), 1, "Fini has it once");
}

async fn in_flight(setup: Setup, joins: bool) {
    let (mut bridge, interaction) = kept(setup).await;
    if joins {
        bridge.join().await;
    }
    bridge.sandbox.set(|settings| settings.reply_latency_ms = 2_000);
    let (_, text) = bridge.say("erased", ERASED.0).await;
    stands(&bridge, &interaction, &text).await;
    erase(&bridge, "erased").await;
    stands(&bridge, &interaction, ERASED.1).await;
    bridge.sandbox.set(|settings| settings.reply_latency_ms = 0);
    nothing_is_told(&mut bridge, &interaction, &text).await;
    bridge.finish().await;
}

#[tokio::test]
async fn what_is_erased_while_it_is_being_answered_is_told_to_nobody() {
    in_flight(setup(), false).await;
}

#[tokio::test]
async fn what_is_erased_while_it_is_being_answered_is_told_to_nobody_by_any_replica() {
    let Some(url) = database().await else { return };
    in_flight(setup().store(&url), true).await;
}

#[tokio::test]
async fn what_is_erased_before_list_shows_whose_conversation_it_is_in_is_told_to_nobody() {
    let (mut bridge, interaction) = kept(setup()).await;
    bridge.sandbox.set(|settings| settings.list_lag_ms = 4_000);
    let (id, text) = bridge.say("erased", ERASED.0).await;
    bridge.end_of("erased", &id).await;
    erase(&bridge, "erased").await;
    bridge.sandbox.set(|settings| settings.list_lag_ms = 0);
    nothing_is_told(&mut bridge, &interaction, &text).await;
    bridge.finish().await;
}

#[tokio::test]
async fn what_is_erased_while_nobody_knows_whether_it_arrived_is_told_to_nobody() {
    for kind in [FaultKind::StoreThenHang, FaultKind::StoreThenReset, FaultKind::StoreThen500] {
        let (mut bridge, interaction) = kept(setup()).await;
        bridge.sandbox.set(|settings| settings.reply_latency_ms = 1_500);
        let text = unique(ERASED.0);
        let params = FaultParams { at_once: true, ms: Some(3_000), ..FaultParams::default() };
        let fault = Fault::new(FaultRoute::GenerateAnswer, kind).containing(&text).with(params);
        bridge.sandbox.add_fault(fault).expect("valid");
        bridge.post(&json!({"conversation_id": "erased", "message_id": "m-1", "text": text})).await.expect(202);
        stands(&bridge, &interaction, &text).await;
        erase(&bridge, "erased").await;
        stands(&bridge, &interaction, ERASED.1).await;
        bridge.sandbox.set(|settings| settings.reply_latency_ms = 0);
        nothing_is_told(&mut bridge, &interaction, &text).await;
        bridge.finish().await;
    }
}

#[tokio::test]
async fn whoever_comes_into_the_conversation_of_an_erased_one_is_kept_apart() {
    for is_bound in [true, false] {
        let mut bridge = setup().vendor(|vendor| vendor.list_lag_ms = if is_bound { 0 } else { 4_000 }).start().await;
        let (id, text) = bridge.say("erased", ERASED.0).await;
        bridge.end_of("erased", &id).await;
        if is_bound {
            bridge.bound("erased").await;
        }
        erase(&bridge, "erased").await;
        bridge.sandbox.set(|settings| {
            settings.resolve_mode = ResolveMode::NewestOfBot;
            settings.list_lag_ms = 0;
        });
        bridge.say("next", "Where is my order?").await;
        bridge.state("next", "quarantined").await;
        let all = json!(bridge.events("next").await).to_string();
        assert!(!all.contains(&text) && !all.contains(ERASED.1), "{all}");
        bridge.allow(Allow::Unbound);
        bridge.finish().await;
    }
}
