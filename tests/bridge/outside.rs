//! What an acceptance from outside found: a Fini that fails in one part only, that rewords, and whose times are none; callers
//! whose JSON says something twice.

use std::time::Duration;

use crate::harness::{Setup, within};
use fini_bridge::sandbox::{Fault, FaultKind, FaultRoute};

#[tokio::test]
async fn while_list_fails_agents_are_heard_by_reads_of_each_conversation() {
    let mut bridge = Setup::new().start().await;
    let mut interactions = Vec::new();
    for conversation in ["c", "d", "e"] {
        bridge.turn(conversation, "Where is my order?").await;
        interactions.push((conversation, bridge.bound(conversation).await));
    }
    let fault =
        bridge.sandbox.add_fault(Fault::new(FaultRoute::List, FaultKind::Status).times(100_000)).expect("valid");
    within(Duration::from_secs(60), "List to be left alone", async || {
        bridge.log().iter().any(|line| line["message"] == "Fini is left alone for a while").then_some(())
    })
    .await;
    let mut posted = Vec::new();
    for (conversation, interaction) in &interactions {
        let id = bridge.sandbox.agent_message(interaction, "Can you hear me?").expect("it exists").id.clone();
        posted.push((conversation, id));
    }
    for (conversation, id) in posted {
        within(Duration::from_secs(60), "the agent's message", async || {
            let feed = bridge.events(conversation).await;
            feed.iter().any(|event| event["data"]["message"]["id"] == id.as_str()).then_some(())
        })
        .await;
    }
    bridge.sandbox.remove_fault(fault);
    bridge.finish().await;
}
