//! A Fini that names a time before which it is not to be asked again: nothing is sent before that, restarts included.

use std::time::Duration;

use serde_json::json;

use crate::harness::{Bridge, Setup, eventually, within};
use fini_bridge::sandbox::{Fault, FaultKind, FaultParams, FaultRoute, Route};

/// The time for proving it absent and sending it again on a busy machine, beyond the time that was named.
const PATIENCE: Duration = Duration::from_secs(90);
/// The time that is named, in seconds.
const NAMED: i64 = 12;

/// When each message was sent to Fini.
fn sends(bridge: &Bridge) -> Vec<i64> {
    let audit = bridge.sandbox.audit(10_000, false);
    audit.latest.iter().filter(|one| one.route == Route::GenerateAnswer).map(|one| one.at).collect()
}

/// One send is answered 503 with a time; the bridge dies and comes back. `is_first`: the conversation begins with it.
async fn is_kept(is_first: bool) {
    let setup = Setup::new().set("poll.sweep_interval", "\"100ms\"").set("turns.absence_window", "\"1s\"");
    let mut bridge = setup.start().await;
    // Somebody else, so that a List without the message proves something.
    bridge.turn("d", "Hello").await;
    bridge.bound("d").await;
    if !is_first {
        bridge.turn("c", "Hello").await;
        bridge.bound("c").await;
    }
    let params = FaultParams { status: Some(503), retry_after: Some(json!(NAMED)), ..FaultParams::default() };
    bridge.sandbox.add_fault(Fault::new(FaultRoute::GenerateAnswer, FaultKind::Status).with(params)).expect("valid");
    let before = sends(&bridge).len();
    let (id, text) = bridge.say("c", "Where is my order?").await;
    eventually("the answer to be recorded", async || {
        let log = bridge.log();
        log.iter().any(|line| line["message"] == "message not delivered to Fini").then_some(())
    })
    .await;
    bridge.kill9().await;
    bridge.restart().await;
    let end = within(PATIENCE, "the end of the turn", async || {
        bridge.events("c").await.into_iter().find(|event| {
            event["type"].as_str().is_some_and(|kind| kind.starts_with("turn."))
                && event["data"]["message_id"] == id.as_str()
        })
    })
    .await;
    assert_eq!(end["data"]["outcome"], "answered", "{end}");
    assert_eq!(bridge.times_stored(&text), 1);
    let sends = sends(&bridge).split_off(before);
    assert_eq!(sends.len(), 2, "{sends:?}");
    assert!(sends[1] - sends[0] >= NAMED * 1_000, "sent again after {} ms", sends[1] - sends[0]);
    bridge.allow(crate::harness::Allow::Repeats);
    bridge.finish().await;
}

#[tokio::test]
async fn a_message_waits_for_the_time_that_its_answer_named_over_a_restart() {
    is_kept(false).await;
}

#[tokio::test]
async fn a_first_message_waits_for_the_time_that_its_answer_named_over_a_restart() {
    is_kept(true).await;
}
