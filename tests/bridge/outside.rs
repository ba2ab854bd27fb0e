//! What an acceptance from outside found: a Fini that fails in one part only, that rewords, and whose times are none; callers
//! whose JSON says something twice.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Allow, Setup, eventually, within};
use fini_bridge::sandbox::{Fault, FaultKind, FaultRoute, Route};

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

#[tokio::test]
async fn a_message_that_fini_may_have_stored_in_other_words_is_not_sent_again() {
    let mut bridge = Setup::new().set("fini.late_reply_window", "\"25s\"").start().await;
    let fault = Fault::new(FaultRoute::GenerateAnswer, FaultKind::MergeThen500).times(1);
    bridge.sandbox.add_fault(fault).expect("valid");
    let (id, _) = bridge.say("c", "Is R&D open?").await;
    let reworded = json!({"role": "user", "type": "message", "message": "Is R&amp;D open?"});
    eventually("the conversation at Fini", async || {
        bridge.sandbox.inject("latest", reworded.as_object().expect("an object")).ok()
    })
    .await;
    let end = within(Duration::from_secs(90), "the end of the turn", async || {
        bridge
            .events("c")
            .await
            .into_iter()
            .find(|event| event["type"].as_str().is_some_and(|kind| kind.starts_with("turn.")))
    })
    .await;
    assert_eq!(end["data"]["message_id"], id.as_str());
    assert_eq!((&end["data"]["code"], &end["data"]["may_resend"]), (&json!("unclear_outcome"), &json!(false)), "{end}");
    let sends: u64 = bridge.sandbox.audit(0, false).routes[Route::GenerateAnswer.name()].values().sum();
    assert_eq!(sends, 1, "it may stand there already");
    bridge.allow(Allow::Unbound);
    bridge.allow(Allow::Unsent);
    bridge.finish().await;
}

#[tokio::test]
async fn an_event_without_a_possible_time_stands_beside_its_neighbours() {
    let mut bridge = Setup::new().start().await;
    bridge.turn("c", "Where is my order?").await;
    let interaction = bridge.bound("c").await;
    for (number, time) in [0, -1, i64::MAX].into_iter().enumerate() {
        let event =
            json!({"role": "agent", "type": "message", "message": format!("Timeless {number}"), "createdAt": time});
        bridge.sandbox.inject(&interaction, event.as_object().expect("an object")).expect("it exists");
    }
    bridge.sandbox.agent_message(&interaction, "Can you hear me?").expect("it exists");
    let heard = |feed: &[Value]| -> Vec<String> {
        let texts = feed.iter().filter(|event| event["data"]["message"]["author"] == "agent");
        texts.filter_map(|event| event["data"]["message"]["text"].as_str().map(str::to_owned)).collect()
    };
    let texts = within(Duration::from_secs(30), "the agent's words", async || {
        Some(heard(&bridge.events("c").await)).filter(|texts| texts.len() >= 4)
    })
    .await;
    assert_eq!(texts, ["Timeless 0", "Timeless 1", "Timeless 2", "Can you hear me?"]);
    assert_eq!(bridge.conversation("c").await["state"], "escalated", "and nobody has to settle anything");
    bridge.finish().await;
}

#[tokio::test]
async fn a_member_that_stands_twice_is_refused_by_name() {
    let mut bridge = Setup::new().start().await;
    bridge.turn("c", "Where is my order?").await;
    let twice: [(&str, &str, &str, &str); 4] = [
        ("POST", "/v1/messages", r#"{"conversation_id":"c","text":"one","text":"two"}"#, "text"),
        (
            "POST",
            "/v1/messages",
            r#"{"conversation_id":"c","text":"x","user":{"attributes":{"plan":"a","plan":"b"}}}"#,
            "plan",
        ),
        ("POST", "/v1/conversations/c/read", r#"{"sequence":1,"sequence":2}"#, "sequence"),
        ("POST", "/v1/conversations/c/tokens", r#"{"ttl_seconds":60,"ttl_seconds":3600}"#, "ttl_seconds"),
    ];
    for (method, path, body, name) in twice {
        let answer = bridge.call(method, path).header("content-type", "application/json").body(body).send().await;
        let code = if path == "/v1/messages" { "invalid_message" } else { "invalid_request" };
        assert_eq!(answer.problem(422, code)["errors"][0]["field"], name, "{body}");
    }
    assert_eq!(bridge.events("c").await.iter().filter(|event| event["type"] == "turn.completed").count(), 1);
    bridge.finish().await;
}

#[tokio::test]
async fn nothing_is_accepted_into_a_database_file_that_was_moved_away() {
    let mut bridge = Setup::new().start().await;
    bridge.turn("c", "Where is my order?").await;
    let folder = std::path::PathBuf::from(bridge.config_file()).parent().expect("a folder").to_owned();
    let (there, away) = (folder.join("bridge.db"), folder.join("away.db"));
    std::fs::rename(&there, &away).expect("the file can be moved");
    let message = json!({"conversation_id": "c", "message_id": "m-away", "text": "Is anybody there?"});
    let answer = bridge.call("POST", "/v1/messages").json(&message).send().await;
    answer.problem(503, "store_unavailable");
    within(Duration::from_secs(20), "the bridge not to be ready", async || {
        (bridge.admin("GET", "/readyz").send().await.status == 503).then_some(())
    })
    .await;
    // A copy in its place is another file: what is written to the one that is open would be lost.
    std::fs::copy(&away, &there).expect("it can be copied");
    bridge.call("POST", "/v1/messages").json(&message).send().await.problem(503, "store_unavailable");
    std::fs::rename(&away, &there).expect("it can be put back");
    within(Duration::from_secs(20), "the message to be taken", async || {
        (bridge.call("POST", "/v1/messages").json(&message).send().await.status == 202).then_some(())
    })
    .await;
    bridge.end_of("c", "m-away").await;
    bridge.allow(Allow::FailedLoops);
    bridge.finish().await;
}
