//! Our keys come back late: a conversation that does not show one yet is no proof of anything.

use std::time::Duration;

use crate::harness::{Setup, unique, within};
use fini_bridge::sandbox::{Fault, FaultKind, FaultParams, FaultRoute};

/// The time that a search until a key shows may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);
/// How long Fini takes to show a key: longer than a message without a trace is looked for.
const SHOWN_AFTER_MS: u64 = 15_000;

#[tokio::test]
async fn a_first_message_whose_key_shows_late_is_not_sent_twice() {
    let setup = Setup::new()
        .set("poll.sweep_interval", "\"100ms\"")
        .set("turns.absence_window", "\"1s\"")
        .vendor(|vendor| vendor.attributes_after_ms = SHOWN_AFTER_MS);
    let mut bridge = setup.start().await;
    // Once the key of somebody else was seen to come back, one without a key could be taken for a stranger's.
    bridge.turn("d", "Hello").await;
    let interaction = bridge.bound("d").await;
    within(PATIENCE, "the key of the first one", async || {
        let shown = bridge.sandbox.conversation(&interaction).expect("it exists");
        (!shown.user_attributes.is_empty()).then_some(())
    })
    .await;
    let agent = bridge.sandbox.agent_message(&interaction, &unique("This is Ada")).expect("it exists").id.clone();
    bridge.event("d", "the agent's message", |event| event["data"]["message"]["id"] == agent.as_str()).await;
    let params = FaultParams { at_once: true, ..FaultParams::default() };
    let fault = Fault::new(FaultRoute::GenerateAnswer, FaultKind::StoreThen500).with(params);
    bridge.sandbox.add_fault(fault).expect("valid");
    let (id, text) = bridge.say("c", "Where is my order?").await;
    let end = within(PATIENCE, "the end of the turn", async || {
        bridge.events("c").await.into_iter().find(|event| {
            event["type"].as_str().is_some_and(|kind| kind.starts_with("turn."))
                && event["data"]["message_id"] == id.as_str()
        })
    })
    .await;
    assert_eq!(end["data"]["outcome"], "answered", "{end}");
    assert_eq!(bridge.times_stored(&text), 1);
    bridge.finish().await;
}
