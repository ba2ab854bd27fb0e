//! Honest waiting: whoever has to wait is told for how long, and somebody who writes in a loop keeps nobody else from an answer.

use serde_json::{Value, json};

use crate::harness::{Setup, epoch_millis, unique};

#[tokio::test]
async fn whoever_has_to_wait_is_told_for_how_long() {
    let window = 8_000;
    let mut bridge = Setup::new().rate_limit(12, window).start().await;
    let mut told = Vec::new();
    for number in 0..16 {
        let message = json!({"conversation_id": format!("c-{number}"), "message_id": "m", "text": unique("hello")});
        let answer = bridge.post(&message).await.expect(202).json();
        assert!(answer.get("expected_wait_ms").is_some(), "{answer}");
        told.push((answer["expected_wait_ms"].as_i64(), message));
    }
    assert_eq!(told[0].0, None, "there was room for the first");
    let (wait, last) = told.last().expect("there are some").clone();
    let wait = wait.expect("the last one waits");
    assert!((1_000..=3 * i64::try_from(window).expect("small")).contains(&wait), "{wait} ms");
    // A repeat is told the same of what is left.
    let repeat = bridge.post(&last).await.expect(202).json();
    assert_eq!((&repeat["duplicate"], &repeat["status"]), (&json!(true), &json!("queued")), "{repeat}");
    assert!(repeat["expected_wait_ms"].as_i64().is_some_and(|left| left <= wait + 1_000), "{repeat} after {wait}");
    // So is whoever looks on, once it takes longer than one is used to.
    let mut stream = bridge.stream("c-15", "").await;
    let delayed = loop {
        let event = stream.next_or_hint().await.expect("the stream goes on");
        if event.event == "turn.delayed" {
            break event.data;
        }
    };
    assert_eq!(delayed["message_id"], "m");
    let expected_at: jiff::Timestamp = delayed["expected_at"].as_str().expect("a time").parse().expect("RFC 3339");
    assert!(expected_at.as_millisecond() >= epoch_millis() - 5_000, "{delayed}");
    drop(stream);
    let last = bridge.end_of("c-15", "m").await;
    assert_eq!(last["data"]["outcome"], "answered", "{last}");
    // What is over waits for nothing.
    let over = bridge.post(&told[15].1).await.expect(202).json();
    assert_eq!((&over["status"], &over["expected_wait_ms"]), (&json!("answered"), &Value::Null));
    bridge.finish().await;
}

#[tokio::test]
async fn somebody_who_writes_in_a_loop_keeps_nobody_from_an_answer() {
    let mut bridge = Setup::new().rate_limit(10, 4_000).start().await;
    let flood: Vec<String> = (0..30).map(|number| format!("flood-{number}")).collect();
    for conversation in &flood {
        let message = json!({"conversation_id": conversation, "message_id": "m", "text": unique("again"),
            "user": {"id": "flood"}});
        bridge.post(&message).await.expect(202);
    }
    for number in 0..3 {
        let user = json!({"id": format!("u-{number}")});
        let message =
            json!({"conversation_id": format!("c-{number}"), "message_id": "m", "text": unique("hello"), "user": user});
        bridge.post(&message).await.expect(202);
    }
    for number in 0..3 {
        bridge.end_of(&format!("c-{number}"), "m").await;
    }
    let mut open = 0;
    for conversation in &flood {
        let events = bridge.events(conversation).await;
        open += usize::from(events.iter().all(|event| event["type"] != "turn.completed"));
    }
    assert!(open >= 8, "only {open} of the flood still wait when the last of the others is answered");
    for conversation in &flood {
        bridge.end_of(conversation, "m").await;
    }
    bridge.finish().await;
}
