//! Fini puts two customers into one of its conversations: nobody is shown a word of the other's, whatever is lost or late.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Allow, Bridge, Setup, database, eventually, unique, within};
use fini_bridge::sandbox::{Fault, FaultKind, FaultParams, FaultRoute, ResolveMode};

/// What finding out may take: a search of the whole List, or the proof that something is absent.
const PATIENCE: Duration = Duration::from_secs(60);

fn setup() -> Setup {
    Setup::new().set("poll.sweep_interval", "\"50ms\"")
}

/// What the first customer asks, and what the bot answers to that alone.
const FIRST: (&str, &str) = ("Hello from the one with the red hat", "Hello! How can I help you today?");
/// The same for the second one.
const SECOND: (&str, &str) = ("Thanks for the blue shoes", "You are welcome!");

async fn stored(bridge: &Bridge, text: &str) {
    eventually("the message to be at Fini", async || (bridge.times_stored(text) == 1).then_some(())).await;
}

async fn end_of(bridge: &Bridge, conversation: &str, message: &str) -> Value {
    within(PATIENCE, &format!("the end of {message}"), async || {
        let feed = bridge.events(conversation).await;
        let is_end = |event: &Value| event["type"].as_str().is_some_and(|kind| kind.starts_with("turn."));
        feed.into_iter().find(|event| is_end(event) && event["data"]["message_id"] == message)
    })
    .await
}

/// Neither was shown what the other wrote or was answered, by feed or callback.
async fn are_apart(bridge: &Bridge, first: &str, second: &str) {
    for (conversation, text, answer) in [("second", first, FIRST.1), ("first", second, SECOND.1)] {
        let feed = bridge.events(conversation).await;
        let callbacks: Vec<Value> =
            bridge.receiver.of(conversation).into_iter().map(|callback| callback.event).collect();
        for events in [&feed, &callbacks] {
            let all = json!(events).to_string();
            assert!(
                !all.contains(text) && !all.contains(answer),
                "{conversation} was shown what is not its own: {all}"
            );
        }
    }
}

/// Two whose first messages are being answered in one Fini conversation, the second one slower by so much.
async fn both_at_once(bridge: &mut Bridge, slower: u64) -> [(String, String); 2] {
    bridge.sandbox.set(|settings| settings.reply_latency_ms = 1_500);
    let first = bridge.say("first", FIRST.0).await;
    stored(bridge, &first.1).await;
    bridge.sandbox.set(|settings| {
        settings.resolve_mode = ResolveMode::NewestOfBot;
        settings.reply_latency_ms = 1_500 + slower;
    });
    let second = bridge.say("second", SECOND.0).await;
    stored(bridge, &second.1).await;
    [first, second]
}

async fn the_two_are_told_apart(mut bridge: Bridge, slower: u64) {
    let [first, second] = both_at_once(&mut bridge, slower).await;
    // One of them has it, the other is held until an operator decides.
    let held = within(PATIENCE, "one to be quarantined", async || {
        for conversation in ["first", "second"] {
            if bridge.conversation(conversation).await["state"] == "quarantined" {
                return Some(conversation);
            }
        }
        None
    })
    .await;
    bridge.allow(Allow::Unbound);
    let ends = [end_of(&bridge, "first", &first.0).await, end_of(&bridge, "second", &second.0).await];
    for end in ends {
        assert_eq!(end["data"]["outcome"], "answered", "each has its answer: {end}");
    }
    let other = if held == "first" { "second" } else { "first" };
    let interaction = bridge.bound(other).await;
    bridge.sandbox.agent_message(&interaction, "A person speaks to one of them").expect("it exists");
    bridge.turn(other, "I go on").await;
    are_apart(&bridge, &first.1, &second.1).await;
    assert_eq!(bridge.conversation(held).await["state"], "quarantined");
    bridge.finish().await;
}

#[tokio::test]
async fn while_both_are_being_answered_neither_is_shown_the_others() {
    the_two_are_told_apart(setup().start().await, 1_500).await;
}

#[tokio::test]
async fn of_two_that_are_recorded_at_one_moment_one_is_quarantined_and_none_is_lost() {
    the_two_are_told_apart(setup().start().await, 0).await;
}

#[tokio::test]
async fn neither_is_shown_the_others_by_any_replica() {
    let Some(url) = database().await else { return };
    let mut bridge = setup().store(&url).start().await;
    bridge.join().await;
    the_two_are_told_apart(bridge, 700).await;
}

/// A conversation that is bound, into whose Fini conversation somebody else's first message falls.
async fn joined(bridge: &mut Bridge) -> (String, String) {
    let first = bridge.say("first", FIRST.0).await;
    bridge.end_of("first", &first.0).await;
    let interaction = bridge.bound("first").await;
    bridge.sandbox.set(|settings| settings.resolve_mode = ResolveMode::NewestOfBot);
    (interaction, first.1)
}

#[tokio::test]
async fn a_reply_that_is_still_being_written_after_a_500_is_shown_to_nobody_and_nothing_is_sent_twice() {
    let mut bridge = setup().start().await;
    let (interaction, first) = joined(&mut bridge).await;
    bridge.sandbox.set(|settings| settings.reply_latency_ms = 2_500);
    let text = unique(SECOND.0);
    let params = FaultParams { at_once: true, ..FaultParams::default() };
    let fault = Fault::new(FaultRoute::GenerateAnswer, FaultKind::StoreThen500).containing(&text).with(params);
    bridge.sandbox.add_fault(fault).expect("valid");
    bridge.post(&json!({"conversation_id": "second", "message_id": "m-1", "text": text})).await.expect(202);
    bridge.state("second", "quarantined").await;
    eventually("the reply to be written", async || {
        let conversation = bridge.sandbox.conversation(&interaction).expect("it exists");
        conversation.events.iter().any(|event| event.message.as_deref() == Some(SECOND.1)).then_some(())
    })
    .await;
    bridge.sandbox.set(|settings| settings.reply_latency_ms = 0);
    bridge.turn("first", "I go on").await;
    bridge.turn("first", "And on").await;
    are_apart(&bridge, &first, &text).await;
    // An operator lets it begin anew: what Fini has is not sent again, and the end says so.
    bridge.sandbox.set(|settings| settings.resolve_mode = ResolveMode::AlwaysNew);
    let bind = bridge.admin("POST", "/admin/v1/conversations/web/second/bind").json(&json!({"new": true}));
    bind.send().await.expect(200);
    let end = bridge.end_of("second", "m-1").await;
    assert_eq!((&end["type"], &end["data"]["may_resend"]), (&json!("turn.failed"), &json!(false)), "{end}");
    let code = end["data"]["code"].as_str().unwrap_or_default();
    assert!(["interaction_lost", "unclear_outcome"].contains(&code), "{end}");
    bridge.turn("second", "Then from the beginning").await;
    bridge.bound("second").await;
    bridge.turn("first", "Still here").await;
    assert_eq!(bridge.times_stored(&text), 1);
    are_apart(&bridge, &first, &text).await;
    // The events that are shown to nobody are counted, and said with their number.
    let withheld = bridge.metric("fini_bridge_events_withheld_total{frontend=\"web\"}").await;
    assert!(withheld >= Some(1.0), "{withheld:?}");
    let log = bridge.log();
    let mut said =
        log.iter().filter(|line| line["message"].as_str().is_some_and(|text| text.starts_with("events withheld")));
    assert!(said.any(|line| line["events"].as_u64() >= Some(1)));
    bridge.finish().await;
}

#[tokio::test]
async fn an_own_answer_that_was_lost_is_found_behind_somebody_elses_message() {
    let mut bridge = setup().start().await;
    let (_, first) = joined(&mut bridge).await;
    bridge.sandbox.set(|settings| settings.reply_latency_ms = 1_500);
    let second = bridge.say("second", SECOND.0).await;
    stored(&bridge, &second.1).await;
    let text = unique("Is my order on its way?");
    let params = FaultParams { at_once: true, ..FaultParams::default() };
    let fault = Fault::new(FaultRoute::GenerateAnswer, FaultKind::StoreThenReset).containing(&text).with(params);
    bridge.sandbox.add_fault(fault).expect("valid");
    bridge.post(&json!({"conversation_id": "first", "message_id": "m-2", "text": text})).await.expect(202);
    let end = end_of(&bridge, "first", "m-2").await;
    assert_eq!(end["data"]["outcome"], "answered", "{end}");
    let end = end_of(&bridge, "second", &second.0).await;
    assert_eq!(end["data"]["outcome"], "answered", "{end}");
    assert_eq!(bridge.times_stored(&text), 1);
    let own = json!(bridge.events("first").await).to_string();
    assert!(own.contains("What is your order number?"), "{own}");
    assert!(json!(bridge.events("second").await).to_string().contains(SECOND.1));
    are_apart(&bridge, &first, &second.1).await;
    bridge.state("second", "quarantined").await;
    bridge.allow(Allow::Unbound);
    bridge.finish().await;
}

#[tokio::test]
async fn a_desk_may_write_before_its_customer_does() {
    let setup = setup().vendor(|vendor| vendor.resolve_mode = ResolveMode::SameAttribute);
    let mut bridge = setup.start().await;
    let user = json!({"id": "u-1", "attributes": {"email": "c@example.com"}});
    let text = unique("This is the desk: we have sent your order");
    let body = json!({"conversation_id": "c", "message_id": "m-1", "text": text, "role": "agent", "user": user});
    bridge.post(&body).await.expect(202);
    bridge.end_of("c", "m-1").await;
    let text = unique("When does it come?");
    let body = json!({"conversation_id": "c", "message_id": "m-2", "text": text, "user": user});
    bridge.post(&body).await.expect(202);
    let end = end_of(&bridge, "c", "m-2").await;
    assert_eq!(end["data"]["outcome"], "answered", "{end}");
    let interaction = bridge.bound("c").await;
    bridge.state("c", "open").await;
    let id = bridge.sandbox.agent_message(&interaction, "Tomorrow").expect("it exists").id.clone();
    bridge.event("c", "the agent's message", |event| event["data"]["message"]["id"] == id.as_str()).await;
    bridge.finish().await;
}
