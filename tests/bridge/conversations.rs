//! Conversations as their frontend reads and erases them.

use serde_json::{Value, json};

use crate::harness::{Allow, Bridge, Setup, eventually, unique, within};
use fini_bridge::sandbox::{Fault, FaultKind, FaultRoute, Route};
use std::time::Duration;

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

async fn page(bridge: &Bridge, query: &str) -> Value {
    bridge.call("GET", &format!("/v1/conversations/c/events{query}")).send().await.expect(200).json()
}

fn sequences(page: &Value) -> Vec<i64> {
    page["events"]
        .as_array()
        .expect("events")
        .iter()
        .map(|event| event["sequence"].as_i64().expect("a number"))
        .collect()
}

#[tokio::test]
async fn a_conversation_as_it_stands() {
    let mut bridge = Setup::new().start().await;
    bridge.turn("c", "Where is my order?").await;
    let interaction = bridge.bound("c").await;
    let view = bridge.conversation("c").await;
    let wanted =
        ["conversation_id", "created_at", "interaction_id", "last_sequence", "state", "status_text", "updated_at"];
    for name in wanted {
        assert!(view.get(name).is_some(), "{name}: {view}");
    }
    assert_eq!((&view["conversation_id"], &view["state"]), (&json!("c"), &json!("open")));
    assert!(bridge.sandbox.conversation(&interaction).is_ok(), "{interaction} is Fini's id");
    let feed = bridge.events("c").await;
    assert_eq!(view["last_sequence"], feed.len());
    for time in ["created_at", "updated_at"] {
        let text = view[time].as_str().expect("a text");
        assert!(text.ends_with('Z') && text.parse::<jiff::Timestamp>().is_ok(), "{text}");
    }
    for unknown in ["d", "no%20such", "%C3%A9", &"x".repeat(201)] {
        bridge.call("GET", &format!("/v1/conversations/{unknown}")).send().await.problem(404, "not_found");
        bridge.call("GET", &format!("/v1/conversations/{unknown}/events")).send().await.problem(404, "not_found");
    }
    bridge.finish().await;
}

#[tokio::test]
async fn ids_with_every_allowed_character_work_in_addresses() {
    let mut bridge = Setup::new().start().await;
    let id = "A.z_0~:@+=-";
    bridge.turn(id, "Where is my order?").await;
    for written in [id.to_owned(), id.bytes().map(|byte| format!("%{byte:02X}")).collect()] {
        let view = bridge.call("GET", &format!("/v1/conversations/{written}")).send().await.expect(200).json();
        assert_eq!(view["conversation_id"], id);
    }
    bridge.finish().await;
}

#[tokio::test]
async fn the_feed_is_read_page_by_page() {
    let mut bridge = Setup::new().start().await;
    bridge.turn("c", "Where is my order? Say it twice").await;
    bridge.turn("c", "And once more").await;
    bridge.bound("c").await;
    let all = page(&bridge, "").await;
    assert_eq!(keys(&all), ["events", "has_more", "last_sequence"]);
    let last = all["last_sequence"].as_i64().expect("a number");
    assert!(last >= 6);
    assert_eq!(sequences(&all), (1..=last).collect::<Vec<_>>());
    assert_eq!(all["has_more"], false);
    let second = page(&bridge, "?after=2&limit=3").await;
    assert_eq!(sequences(&second), [3, 4, 5]);
    assert_eq!((&second["has_more"], &second["last_sequence"]), (&json!(true), &json!(last)));
    assert_eq!(second["events"][0], all["events"][2]);
    let exact = page(&bridge, &format!("?after={}&limit=2", last - 2)).await;
    assert_eq!((sequences(&exact), &exact["has_more"]), (vec![last - 1, last], &json!(false)));
    let none = page(&bridge, &format!("?after={last}")).await;
    assert_eq!((sequences(&none), &none["has_more"]), (Vec::new(), &json!(false)));
    assert_eq!(none["last_sequence"], last);
    assert_eq!(sequences(&page(&bridge, "?limit=100000").await).len() as i64, last);
    for query in ["?after=-1", "?after=x", "?limit=0", "?limit=-1", "?limit=x"] {
        let answer = bridge.call("GET", &format!("/v1/conversations/c/events{query}")).send().await;
        assert!((400..500).contains(&answer.status), "{query}: {}", answer.text);
    }
    bridge.finish().await;
}

#[tokio::test]
async fn pages_have_a_hundred_events_unless_asked_and_never_more_than_500() {
    // Calling back five hundred times in a row is not what this is about, and takes a busy machine long.
    let mut bridge = Setup::new().web(|web| web.callbacks = false).start().await;
    bridge.turn("c", "Where is my order?").await;
    let interaction = bridge.bound("c").await;
    for n in 0..510 {
        bridge.sandbox.agent_message(&interaction, &format!("One of many things to say: {n}")).expect("it exists");
    }
    within(Duration::from_secs(40), "all messages of the agent", async || {
        (bridge.conversation("c").await["last_sequence"].as_i64()? >= 513).then_some(())
    })
    .await;
    assert_eq!(sequences(&page(&bridge, "").await), (1..=100).collect::<Vec<_>>());
    let largest = page(&bridge, "?limit=501").await;
    assert_eq!((sequences(&largest).len(), &largest["has_more"]), (500, &json!(true)));
    bridge.finish().await;
}

#[tokio::test]
async fn erasing_here_leaves_fini_alone() {
    let mut bridge = Setup::new().start().await;
    let (_, end) = bridge.turn("c", "Where is my order?").await;
    assert_eq!(end["data"]["outcome"], "answered");
    let interaction = bridge.bound("c").await;
    bridge.receiver.wait_for("c", "turn.completed").await;
    let answer = bridge.call("DELETE", "/v1/conversations/c").send().await.expect(202);
    assert!(answer.json().is_object(), "{}", answer.text);
    for path in ["", "/events", "/stream"] {
        bridge.call("GET", &format!("/v1/conversations/c{path}")).send().await.problem(404, "not_found");
    }
    bridge.call("DELETE", "/v1/conversations/c").send().await.problem(404, "not_found");
    assert!(bridge.sandbox.conversation(&interaction).is_ok());
    assert_eq!(bridge.sandbox.audit(0, false).count(Route::Delete, 200), 0);
    // Whoever writes there now, begins anew: with number one, in another Fini conversation.
    bridge.turn("c", "A new beginning").await;
    assert_eq!(bridge.events("c").await[0]["sequence"], 1);
    assert_ne!(bridge.bound("c").await, interaction);
    bridge.sandbox.agent_message(&interaction, "Nobody here is to read this any more").expect("it exists");
    bridge.turn("c", "And on").await;
    let seen = bridge.events("c").await.iter().any(|event| event.to_string().contains("Nobody here"));
    assert!(!seen, "the old conversation is not this one");
    bridge.allow(Allow::Undelivered);
    bridge.known_forget("web", "c");
    bridge.finish().await;
}

#[tokio::test]
async fn erasing_upstream_is_proven_by_reading() {
    let mut bridge = Setup::new().start().await;
    bridge.turn("c", "Where is my order?").await;
    let interaction = bridge.bound("c").await;
    let answer = bridge.call("DELETE", "/v1/conversations/c?upstream=true").send().await.expect(202).json();
    assert_eq!(answer["upstream"], "erased", "{answer}");
    assert!(bridge.sandbox.conversation(&interaction).is_err());
    let audit = bridge.sandbox.audit(0, false);
    assert!(audit.routes.contains_key("delete"));
    assert!(audit.count(Route::Get, 500) >= 1, "only a read proves it");
    bridge.call("GET", "/v1/conversations/c").send().await.problem(404, "not_found");
    bridge.finish().await;
}

#[tokio::test]
async fn what_is_erased_before_it_is_found_is_deleted_once_it_is() {
    // List shows it only later; once after the answer, once while the message is on its way.
    for latency in [0, 3_000] {
        let setup = Setup::new().vendor(|vendor| {
            (vendor.list_lag_ms, vendor.reply_latency_ms) = (4_000, latency);
        });
        let mut bridge = setup.start().await;
        let (id, _) = bridge.say("c", "Where is my order?").await;
        if latency == 0 {
            bridge.end_of("c", &id).await;
        } else {
            eventually("the message to be at Fini", async || (bridge.sandbox.conversation_count() >= 1).then_some(()))
                .await;
        }
        let erase = async |bridge: &Bridge| {
            bridge.call("DELETE", "/v1/conversations/c?upstream=true").send().await.expect(202).json()
        };
        let answer = erase(&bridge).await;
        assert_eq!((&answer["local"], &answer["upstream"]), (&json!("erased"), &json!("pending")), "{answer}");
        bridge.call("GET", "/v1/conversations/c").send().await.problem(404, "not_found");
        within(Duration::from_secs(120), "the deletion at Fini", async || {
            (bridge.sandbox.conversation_count() == 0).then_some(())
        })
        .await;
        within(Duration::from_secs(120), "its proof", async || {
            (erase(&bridge).await["upstream"] == "erased").then_some(())
        })
        .await;
        bridge.allow(Allow::Undelivered);
        bridge.known_forget("web", "c");
        bridge.finish().await;
    }
}

#[tokio::test]
async fn an_erasure_that_fini_only_claims_is_not_reported_as_done() {
    let mut bridge = Setup::new().vendor(|vendor| vendor.delete_works = false).start().await;
    bridge.turn("c", "Where is my order?").await;
    bridge.bound("c").await;
    let answer = bridge.call("DELETE", "/v1/conversations/c?upstream=true").send().await.expect(202).json();
    assert_ne!(answer["upstream"], "erased", "{answer}");
    bridge.finish().await;
}

#[tokio::test]
async fn an_erasure_upstream_outlives_the_process() {
    let mut bridge = Setup::new().start().await;
    bridge.turn("c", "Where is my order?").await;
    let interaction = bridge.bound("c").await;
    bridge.vendor_down().await;
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(bridge.call("DELETE", "/v1/conversations/c?upstream=true").attempt());
    eventually("the conversation to be erased here", async || {
        (bridge.call("GET", "/v1/conversations/c").send().await.status == 404).then_some(())
    })
    .await;
    bridge.kill9().await;
    bridge.vendor_up().await;
    assert!(bridge.sandbox.conversation(&interaction).is_ok());
    bridge.restart().await;
    within(Duration::from_secs(90), "the deletion at Fini", async || {
        bridge.sandbox.conversation(&interaction).is_err().then_some(())
    })
    .await;
    // Whoever was not told asks again.
    let answer = bridge.call("DELETE", "/v1/conversations/c?upstream=true").send().await.expect(202).json();
    assert_eq!((&answer["upstream"], &answer["interaction_id"]), (&json!("erased"), &json!(interaction)), "{answer}");
    bridge.call("DELETE", "/v1/conversations/c").send().await.problem(404, "not_found");
    bridge.finish().await;
}

#[tokio::test]
async fn a_fini_that_is_ill_does_not_pass_for_one_that_has_erased() {
    let mut bridge = Setup::new().vendor(|vendor| vendor.delete_works = false).start().await;
    bridge.turn("c", "Where is my order?").await;
    bridge.bound("c").await;
    for route in [FaultRoute::Get, FaultRoute::List] {
        bridge.sandbox.add_fault(Fault::new(route, FaultKind::Status).times(10_000)).expect("valid");
    }
    let answer = bridge.call("DELETE", "/v1/conversations/c?upstream=true").send().await.expect(202).json();
    assert_eq!(answer["upstream"], "unconfirmed", "500 is what it says to everything: {answer}");
    bridge.sandbox.clear_faults();
    bridge.finish().await;
}

#[tokio::test]
async fn nothing_of_an_erased_conversation_stays_on_the_disk() {
    let mut bridge = Setup::new().start().await;
    let (_, text) = bridge.say("c", "Where is my order?").await;
    let (_, kept) = bridge.say("d", "This one stays").await;
    bridge.event_of("c", "turn.completed").await;
    bridge.event_of("d", "turn.completed").await;
    bridge.bound("c").await;
    bridge.receiver.wait_for("c", "turn.completed").await;
    assert!(bridge.is_on_disk(&text), "the test can find what is there");
    bridge.call("DELETE", "/v1/conversations/c").send().await.expect(202);
    bridge.stop().await;
    assert!(!bridge.is_on_disk(&text), "the text is still in the database");
    assert!(bridge.is_on_disk(&kept));
    bridge.restart().await;
    bridge.finish().await;
}

#[tokio::test]
async fn erasing_what_is_still_under_way() {
    let mut bridge = Setup::new().start().await;
    bridge.sandbox.set(|settings| settings.reply_latency_ms = 800);
    let (_, text) = bridge.say("c", "This one is under way").await;
    eventually("the message to be under way", async || (bridge.times_stored(&text) == 1).then_some(())).await;
    bridge.call("DELETE", "/v1/conversations/c").send().await.expect(202);
    let again = unique("Somebody else starts here");
    bridge.post(&json!({"conversation_id": "c", "message_id": "m-2", "text": again})).await.expect(202);
    let end = bridge.end_of("c", "m-2").await;
    assert_eq!(end["data"]["outcome"], "answered");
    let feed = bridge.events("c").await;
    assert!(!feed.iter().any(|event| event.to_string().contains(&text)), "the erased message is back");
    bridge.allow(Allow::Unsent);
    bridge.finish().await;
}
