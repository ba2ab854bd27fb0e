//! Changes of a message that was told before: tags, articles, attachments, the text.

use serde_json::{Map, Value, json};

use crate::harness::{Bridge, Setup, eventually, unique};
use fini_bridge::sandbox::Settings;

fn updates(feed: &[Value]) -> Vec<Value> {
    feed.iter().filter(|event| event["type"] == "message.updated").map(|event| event["data"].clone()).collect()
}

/// Waits for so many updates, and gives them as they stand then.
async fn updated(bridge: &Bridge, count: usize) -> Vec<Value> {
    eventually(&format!("{count} updates"), async || {
        Some(updates(&bridge.events("c").await)).filter(|told| told.len() >= count)
    })
    .await
}

fn members(value: Value) -> Map<String, Value> {
    let Value::Object(members) = value else { panic!("an object") };
    members
}

/// A conversation with one answered turn; gives the message of the bot as it was told first.
async fn answered(change: impl FnOnce(&mut Settings)) -> (Bridge, Value) {
    let mut bridge = Setup::new().vendor(change).start().await;
    let (_, end) = bridge.turn("c", "Where is my order?").await;
    assert_eq!(end["data"]["outcome"], "answered");
    let told = bridge.event("c", "the reply", |event| event["data"]["message"]["author"] == "bot").await;
    (bridge, told["data"]["message"].clone())
}

#[tokio::test]
async fn tags_and_articles_that_come_late_are_told() {
    let (bridge, told) = answered(|vendor| vendor.annotations_after_ms = Some(1_500)).await;
    assert_eq!((&told["tags"], &told["articles"]), (&json!([]), &json!([])), "not there yet");
    let update = &updated(&bridge, 1).await[0];
    let interaction = bridge.bound("c").await;
    let stored = bridge.sandbox.conversation(&interaction).expect("it exists");
    let stored = stored.events.iter().find(|event| event.id == told["id"].as_str().expect("an id")).expect("stored");
    assert_eq!(update["message_id"], told["id"]);
    let keys: Vec<&String> = update["changed"].as_object().expect("an object").keys().collect();
    assert_eq!(keys, ["articles", "tags"]);
    assert_eq!(update["changed"]["tags"], json!(stored.tags));
    assert_eq!(update["changed"]["articles"][0]["title"], "Track your order");
    bridge.event_of("c", "feedback.updated").await;
    bridge.finish().await;
}

#[tokio::test]
async fn a_text_that_is_filled_in_later_is_told() {
    let (bridge, told) = answered(|vendor| vendor.text_after_ms = 1_500).await;
    assert_eq!(told["text"], "");
    let update = &updated(&bridge, 1).await[0];
    let interaction = bridge.bound("c").await;
    let stored = bridge.sandbox.conversation(&interaction).expect("it exists");
    let text = stored.events.iter().find(|event| event.role == "finibot").and_then(|event| event.message.clone());
    assert_eq!(*update, json!({"message_id": told["id"], "changed": {"text": text.expect("filled in")}}));
    bridge.finish().await;
}

#[tokio::test]
async fn what_changes_of_a_message_is_told_and_what_is_only_signed_anew_is_not() {
    let (bridge, _) = answered(|_| {}).await;
    let interaction = bridge.bound("c").await;
    let file = |signature: &str| {
        json!([{"name": "a.pdf", "url": format!("https://files.example.com/a.pdf?signature={signature}"),
        "expiresAt": signature}])
    };
    let fields = json!({"role": "agent", "type": "message", "message": "I look into it", "attachments": []});
    let id = bridge.sandbox.inject(&interaction, &members(fields)).expect("it exists").id.clone();
    bridge.event("c", "the message", |event| event["data"]["message"]["id"] == id.as_str()).await;
    let amend = |fields: Value| bridge.sandbox.amend(&interaction, &id, &members(fields)).expect("it exists");
    amend(json!({"attachments": file("first")}));
    let told = updated(&bridge, 1).await;
    assert_eq!(told[0]["message_id"], id.as_str());
    assert_eq!(told[0]["changed"]["attachments"][0]["name"], "a.pdf");
    assert_eq!(told[0]["changed"].as_object().map(Map::len), Some(1), "{}", told[0]);
    // Signed anew, which happens each time that it is shown; the next change shows that it was read.
    amend(json!({"attachments": file("second")}));
    let text = unique("I have found it");
    amend(json!({"message": text}));
    let told = updated(&bridge, 2).await;
    assert_eq!(told[1], json!({"message_id": id, "changed": {"text": text}}));
    // The customer's next turn tells nothing of it again.
    let mut bridge = bridge;
    bridge.turn("c", "Thank you").await;
    assert_eq!(updates(&bridge.events("c").await).len(), 2);
    bridge.finish().await;
}
